//! Calibration, lowering and keys.

use crate::{slice, weights};
use dsperse_plugin_api::job::PEAK_BYTES;
use dsperse_plugin_api::{
    Artefact, CompileJob, Cx, Done, Encoding, Error, Result, Role, SliceInfo, TensorFile,
};
use dsperse_sumcheck_judge::VERIFYING_KEY;
use dsperse_sumcheck_judge::claim::digest;
use dsperse_sumcheck_judge::key::{PortName, SliceKey};
use dsperse_sumcheck_lowering::array::Array;
use dsperse_sumcheck_lowering::graph::Graph;
use dsperse_sumcheck_lowering::quantise::Port;
use dsperse_sumcheck_lowering::{Calibration, DEFAULT_RANGE, LowerError, Lowered, lower};
use dsperse_sumcheck_prover::{ProveError, compile_key};
use dsperse_sumcheck_verifier::program::Tensor;
use dsperse_sumcheck_verifier::security::soundness;
use dsperse_sumcheck_verifier::verify::PROTOCOL;
use serde_json::{Map, Value, json};

/// Name of the proving artefact.
pub const WEIGHTS: &str = "weights";

/// Turns a slice into its artefacts.
///
/// # Errors
/// `unsupported` for slices that can't be proven, `invalid_input` for wrong calibration
/// data.
pub fn compile(job: &CompileJob, cx: &Cx) -> Result<Done> {
    let mut settings = slice::settings(&job.options)?;
    let ranges = slice::weight_ranges(&job.options)?;
    let model = slice::read(&job.slice)?;
    slice::fits_compile(slice::lowering_bytes(&model), cx)?;
    let shapes = slice::input_shapes(&job.slice)?;
    let mut done = Done::default();
    let calibration = Calibration {
        inputs: read_samples(&job.calibration)?,
        outputs: read_samples(&job.calibration_outputs)?,
    };
    let guessed = calibration.inputs.is_empty();
    if guessed {
        done.warnings.push(format!(
            "slice {} has no calibration data: its scales come from numbers between \
             -{DEFAULT_RANGE} and {DEFAULT_RANGE}, and values beyond twice the ranges seen there \
             saturate",
            job.slice.index
        ));
        // Guessed ranges are wide; only the most bits make up for it.
        settings.least_bits = settings.most_bits;
        settings.wide = false;
    }
    cx.progress(0.1, "lowering");
    let mut lowered =
        lower(&model, Some(&shapes), &calibration, settings).map_err(compile_error)?;
    drop((model, calibration));
    if !lowered.meets_target {
        let sentence = missed(&lowered, &job.slice, settings.target);
        // Guessed samples say little of real values: `run` measures those.
        if guessed {
            done.warnings.push(sentence);
        } else {
            return Err(Error::unsupported(sentence).with_hint(
                "allow more with --max-error, or calibrate with inputs that are more typical",
            ));
        }
    }
    cx.check_cancelled()?;
    cx.progress(0.5, "committing to weights");
    let refused = |e: ProveError| Error::unsupported(e.to_string());
    let program = &lowered.quantised.program;
    let laid_out =
        slice::lay_out_within(program, ranges, cx.memory_limit()).map_err(|e| refused(e.into()))?;
    slice::fits_compile(slice::commit_bytes(&laid_out), cx)?;
    // What is committed to is held once, and the real numbers no longer.
    lowered.graph = Graph::default();
    let weights = std::mem::take(&mut lowered.quantised.weights);
    let quantised = &lowered.quantised;
    let key = compile_key(laid_out, weights);
    let (key, weights) = key.map_err(refused)?;
    let slice_key = SliceKey {
        slice: digest(&job.slice.sha256).map_err(Error::invalid_input)?,
        inputs: names(&job.slice, true, &quantised.inputs)?,
        outputs: names(&job.slice, false, &quantised.outputs)?,
        key,
    };
    let mut write = |name: &str, role: Role, file: &str, bytes: &[u8]| -> Result<()> {
        std::fs::write(cx.dir().join(file), bytes)?;
        done.artefacts.push(Artefact::new(name, role, file));
        Ok(())
    };
    let facts = facts(&lowered, &slice_key, &weights, settings.target);
    let text = serde_json::to_vec_pretty(&facts).map_err(|e| Error::internal(e.to_string()))?;
    let key_bytes = slice_key.to_bytes();
    write(
        VERIFYING_KEY,
        Role::Verifying,
        "verifying_key.bin",
        &key_bytes,
    )?;
    let weights = weights::to_bytes(&weights);
    write(WEIGHTS, Role::Proving, "weights.bin", &weights)?;
    write("settings", Role::Public, "settings.json", &text)?;
    done.facts = facts;
    Ok(done)
}

/// Values that are not finite on typical inputs are no mistake of the user's: the float model
/// has them, and another backend may take them.
fn compile_error(e: LowerError) -> Error {
    match e {
        LowerError::Calibration { .. } => Error::unsupported(e.to_string()),
        other => slice::lowering_error(other),
    }
}

/// Says how far the closest program is from the float slice, and where.
fn missed(lowered: &Lowered, slice: &SliceInfo, target: f64) -> String {
    let fidelity = &lowered.fidelity;
    let place = fidelity.worst.map(|w| {
        let name = slice.outputs.get(w.output).map_or("", |t| t.name.as_str());
        format!(
            ": element {} of output \"{name}\" is {:.6e} where the float model has {:.6e}",
            w.element, w.found, w.expected
        )
    });
    format!(
        "the quantised slice misses the fidelity target: its largest relative error on {} \
         calibration sample{} is {:.2e} with {} bits, wanted is at most {:.2e}{}",
        fidelity.samples,
        if fidelity.samples == 1 { "" } else { "s" },
        fidelity.relative_error,
        lowered.precision.activation_bits,
        target,
        place.unwrap_or_default()
    )
}

fn read_samples(samples: &[Vec<TensorFile>]) -> Result<Vec<Vec<Array>>> {
    let one = |sample: &Vec<TensorFile>| sample.iter().map(read_sample).collect();
    samples.iter().map(one).collect()
}

fn read_sample(file: &TensorFile) -> Result<Array> {
    let data = file.read_values()?.to_f64();
    let shape = file.info.shape.iter();
    let shape = shape
        .map(|&d| usize::try_from(d))
        .collect::<std::result::Result<Vec<_>, _>>();
    shape
        .ok()
        .and_then(|shape| Array::new(shape, data))
        .ok_or_else(|| {
            Error::invalid_input(format!(
                "calibration tensor \"{}\" does not fit its shape {:?}",
                file.info.name, file.info.shape
            ))
        })
}

/// The ports with the names that the slice gives them.
fn names(slice: &SliceInfo, inputs: bool, ports: &[Port]) -> Result<Vec<PortName>> {
    let infos = if inputs {
        &slice.inputs
    } else {
        &slice.outputs
    };
    let fits = infos.len() == ports.len()
        && infos.iter().zip(ports).all(|(info, port)| {
            info.shape
                .iter()
                .copied()
                .eq(port.shape.iter().map(|&d| d as u64))
        });
    if !fits {
        return Err(Error::invalid_input(format!(
            "the {} of slice {} are not those of its model: {:?}, the model has shapes {:?}",
            if inputs { "inputs" } else { "outputs" },
            slice.index,
            infos.iter().map(|t| &t.shape).collect::<Vec<_>>(),
            ports.iter().map(|p| &p.shape).collect::<Vec<_>>(),
        )));
    }
    let named = infos.iter().zip(ports);
    Ok(named
        .map(|(info, port)| PortName {
            name: info.name.clone(),
            encoding: encoding_of(port),
        })
        .collect())
}

/// How the port's tensor is claimed: floats as fixed point, integers as they are.
fn encoding_of(port: &Port) -> Encoding {
    use dsperse_onnx::DataType as D;
    match port.dtype {
        D::Bool => Encoding::Bool,
        D::I8 => Encoding::I8,
        D::U8 => Encoding::U8,
        D::I16 => Encoding::I16,
        D::U16 => Encoding::U16,
        D::I32 => Encoding::I32,
        D::U32 => Encoding::U32,
        D::I64 => Encoding::I64,
        D::U64 => Encoding::U64,
        _ => Encoding::Fixed {
            exponent: port.exponent,
        },
    }
}

/// What a reader of the settings file and of the report wants to know.
fn facts(lowered: &Lowered, key: &SliceKey, weights: &[Tensor], target: f64) -> Map<String, Value> {
    let layout = &key.key.layout;
    let ports = |names: &[PortName], ports: &[Port]| -> Vec<Value> {
        let both = names.iter().zip(ports);
        both.map(|(n, p)| {
            json!({
                "name": n.name, "dtype": n.encoding.name(), "shape": p.shape,
                "exponent": p.exponent, "lo": p.lo, "hi": p.hi,
            })
        })
        .collect()
    };
    let q = &lowered.quantised;
    let value = json!({
        "protocol": PROTOCOL,
        "activation_bits": lowered.precision.activation_bits,
        "weight_bits": lowered.precision.weight_bits,
        "inputs": ports(&key.inputs, &q.inputs),
        "outputs": ports(&key.outputs, &q.outputs),
        "fidelity": {
            "samples": lowered.fidelity.samples,
            "same_arg_max": lowered.fidelity.same_arg_max,
            "relative_error": lowered.fidelity.relative_error,
            "target": target,
            "met": lowered.meets_target,
            "worst": lowered.fidelity.worst.map(|w| json!({
                "output": key.outputs.get(w.output).map(|o| o.name.clone()),
                "element": w.element,
                "expected": w.expected,
                "found": w.found,
            })),
        },
        "boundary_bits": lowered.precision.boundary_bits,
        "scales_by_channel": lowered.precision.channels,
        "security_bits": soundness(&key.key).ok().map(|s| s.total_bits),
        "program_nodes": q.program.nodes.len(),
        "weights": weights.iter().map(|w| w.data.len()).sum::<usize>(),
        "limb_bits": key.key.parameters.limb_bits,
        "looked_up_values": layout.leaves,
        "committed_values_log2": layout.activation_vars,
        "committed_weights_log2": layout.weight_vars,
        PEAK_BYTES: slice::peaks(&key.key),
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
