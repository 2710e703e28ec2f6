//! Reads a slice's model, and answers whether the backend takes it.

use crate::kept;
use dsperse_onnx::ModelProto;
use dsperse_plugin_api::job::Options;
use dsperse_plugin_api::{Cost, Cx, Error, Result, SliceInfo, Support};
use dsperse_sumcheck_lowering::quantise::outline;
use dsperse_sumcheck_lowering::quantise::scale::Ranges;
use dsperse_sumcheck_lowering::{LowerError, Settings, import};
use dsperse_sumcheck_prover::{Memory, lay_out, memory};
use dsperse_sumcheck_verifier::key::{KeyError, VerifyingKey};
use dsperse_sumcheck_verifier::layout::WeightRanges;
use dsperse_sumcheck_verifier::program::Program;

/// Reads the slice's model.
///
/// # Errors
/// `invalid_input` when there is no model or it can't be read.
pub fn read(slice: &SliceInfo) -> Result<ModelProto> {
    let path = slice.model.as_ref().ok_or_else(|| {
        Error::invalid_input(format!("slice {} comes without its model", slice.index))
    })?;
    let bytes = std::fs::read(path).map_err(|e| {
        Error::invalid_input(format!("the slice's model \"{path}\" can't be read: {e}"))
    })?;
    ModelProto::parse(bytes)
        .map_err(|e| Error::invalid_input(format!("the slice's model \"{path}\": {e}")))
}

/// The shapes of the slice's inputs.
///
/// # Errors
/// `invalid_input` when a dimension does not fit this machine.
pub fn input_shapes(slice: &SliceInfo) -> Result<Vec<Vec<usize>>> {
    let one = |d: &u64| {
        usize::try_from(*d).map_err(|_| Error::invalid_input(format!("dimension {d} is too large")))
    };
    slice
        .inputs
        .iter()
        .map(|t| t.shape.iter().map(one).collect())
        .collect()
}

/// The backend's options, with their defaults.
///
/// # Errors
/// `invalid_input` that names the option.
pub fn settings(options: &Options) -> Result<Settings> {
    let mut settings = Settings::default();
    if let Some(value) = options.get("fidelity_target") {
        settings.target = value
            .as_f64()
            .filter(|t| *t > 0.0 && *t <= 1.0)
            .ok_or_else(|| {
                Error::invalid_input(format!(
                    "option \"fidelity_target\" is {value}, expected a number above 0 and at most 1"
                ))
            })?;
    }
    if let Some(value) = options.get("activation_bits").filter(|v| !v.is_null()) {
        let bits = value
            .as_u64()
            .and_then(|b| u32::try_from(b).ok())
            .filter(|b| (8..=16).contains(b))
            .ok_or_else(|| {
                Error::invalid_input(format!(
                    "option \"activation_bits\" is {value}, expected an integer from 8 to 16"
                ))
            })?;
        (settings.least_bits, settings.most_bits) = (bits, bits);
        settings.wide = false;
    }
    Ok(settings)
}

/// Where the weights' ranges are to be shown, if the user says so.
///
/// # Errors
/// `invalid_input` that names the option.
pub fn weight_ranges(options: &Options) -> Result<Option<WeightRanges>> {
    let Some(value) = options.get("weight_ranges").filter(|v| !v.is_null()) else {
        return Ok(None);
    };
    match value.as_str() {
        Some("key") => Ok(Some(WeightRanges::Key)),
        Some("proof") => Ok(Some(WeightRanges::Proof)),
        _ => Err(Error::invalid_input(format!(
            "option \"weight_ranges\" is {value}, expected \"key\" or \"proof\""
        ))),
    }
}

/// A refusal of the lowering as the host's kind of error.
#[must_use]
pub fn lowering_error(e: LowerError) -> Error {
    match e {
        LowerError::Unsupported { node, op, reason } => {
            Error::unsupported(format!("node \"{node}\" (\"{op}\"): {reason}")).at_node(node, op)
        }
        LowerError::Slice { .. } => Error::unsupported(e.to_string()),
        _ => Error::invalid_input(e.to_string()),
    }
}

/// Answers for the very slice: it is lowered, with ranges that no data gave, and the
/// proof system is laid out for it, so that every limit is seen.
///
/// # Errors
/// `invalid_input` when the slice can't be read.
pub fn supports(slice: &SliceInfo, options: &Options) -> Result<Support> {
    let settings = settings(options)?;
    let ranges = weight_ranges(options)?;
    let model = read(slice)?;
    let shapes = input_shapes(slice)?;
    let no = |node, op, reason| Ok(Support::No { node, op, reason });
    let lowered = import::import(&model, Some(&shapes))
        .and_then(|graph| outline(&graph, &Ranges::unit(&graph), settings.finest()));
    let quantised = match lowered {
        Ok(quantised) => quantised,
        Err(LowerError::Unsupported { node, op, reason }) => {
            return no(Some(node), Some(op), reason);
        }
        Err(LowerError::Slice { reason }) => return no(None, None, reason),
        Err(e) => return Err(lowering_error(e)),
    };
    match lay_out(&quantised.program, ranges) {
        Ok(key) => Ok(Support::Yes { cost: cost(&key) }),
        Err(e) => no(None, None, e.to_string()),
    }
}

/// What a compilation needs at least, before its program is known.
#[must_use]
pub fn lowering_bytes(model: &ModelProto) -> u64 {
    let initializers = model.graph.iter().flat_map(|g| &g.initializer);
    let weights = initializers.filter_map(|t| Some(dsperse_onnx::tensor::dims(t).ok()?.1 as u64));
    // The reals are turned around before they become integers, which are as long.
    PROGRAM + (REALS + 8) * weights.sum::<u64>()
}

/// [`lay_out`], but ranges of weights are shown in each proof where showing them once would take
/// more memory than a job may have.
///
/// # Errors
/// What the proof system refuses.
pub fn lay_out_within(
    program: &Program,
    ranges: Option<WeightRanges>,
    most: Option<u64>,
) -> std::result::Result<VerifyingKey, KeyError> {
    let key = lay_out(program, ranges)?;
    let fits = most.is_none_or(|most| commit_bytes(&key) <= most);
    if fits || ranges.is_some() || key.parameters.ranges == WeightRanges::Proof {
        return Ok(key);
    }
    lay_out(program, Some(WeightRanges::Proof))
}

/// What committing to a program's weights needs, and showing their ranges.
#[must_use]
pub fn commit_bytes(key: &VerifyingKey) -> u64 {
    PROGRAM + memory(key).compile
}

/// Refuses a compilation that the job's memory does not allow, before it takes the memory.
///
/// # Errors
/// `resource`, with both figures and what to type.
pub fn fits_compile(needed: u64, cx: &Cx) -> Result<()> {
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    match cx.memory_limit().filter(|most| needed > *most) {
        None => Ok(()),
        Some(most) => Err(Error::resource(format!(
            "its compilation is estimated to need {} MiB of memory, more than the {} MiB that a job may have",
            mebibytes(needed),
            most >> 20,
        ))
        .with_hint(format!(
            "allow it with \"--memory {}M\", or slice again with \"--split-above\" and a number of weights that is smaller",
            mebibytes(needed)
        ))),
    }
}

/// What the worker itself takes: program, threads.
const PROGRAM: u64 = 20 << 20;

/// What a proof takes in a worker, which keeps small keys, by what is alive in it. An allocator
/// holds something back: glibc's 1 to 4.5 % in ten of the thirteen slices of GPT-2.
fn proof_bytes(key: &VerifyingKey, memory: &Memory) -> u64 {
    let kept = if kept::is_worth(key) { memory.key } else { 0 };
    let alive = memory.prove + kept;
    PROGRAM + alive + alive / 20
}

/// Bytes that the lowering holds for each weight: those of the model, and its reals.
const REALS: u64 = 4 + 8;

/// What later stages take, for the host's [`dsperse_plugin_api::job::PEAK_BYTES`].
#[must_use]
pub fn peaks(key: &VerifyingKey) -> serde_json::Value {
    let memory = memory(key);
    serde_json::json!({
        "witness": PROGRAM + memory.evaluate,
        "prove": proof_bytes(key, &memory),
    })
}

/// An estimate: of time by the sizes that dominate (values looked up, committed, and encoded),
/// of memory by what is alive at once.
///
/// The constants were fitted to `prove` on 53 slices of five models, from 7 ms to 6.5 s
/// of CPU time on one core of a cloud machine; all but a few estimates were within a
/// factor of 1.5.
fn cost(key: &VerifyingKey) -> Cost {
    let layout = &key.layout;
    let power = |vars: usize| 2f64.powi(i32::try_from(vars).unwrap_or(64));
    let (mut committed, mut encoded) = (0.0, 0.0);
    let activations = (layout.activation_vars, key.parameters.activation_rate);
    let stack = layout.weight_vars.map(|v| (v, key.parameters.weight_rate));
    for (vars, rate) in std::iter::once(activations).chain(stack) {
        committed += power(vars);
        encoded += power(vars + usize::from(rate));
    }
    let values = layout.leaves as f64 + committed;
    let memory = memory(key);
    let shapes = key.program.weights().into_iter();
    let elements = |id: u32| key.checked.shapes[id as usize].iter().product::<usize>();
    let weights: usize = shapes.map(elements).sum();
    let lowering = REALS * weights as u64 + memory.evaluate;
    Cost {
        prove_cpu_seconds: 0.01 + 2.5e-7 * values + 8e-8 * encoded,
        peak_bytes: proof_bytes(key, &memory).max(PROGRAM + memory.compile.max(lowering)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_sumcheck_verifier::program::Op;

    #[test]
    fn ranges_are_shown_once_where_there_are_many_weights_and_memory_for_it() {
        let mut program = Program::default();
        let (lo, hi) = (-128, 127);
        let x = program.push(Op::Input {
            shape: vec![1024],
            lo,
            hi,
        });
        let w = program.push(Op::Weight {
            shape: vec![1024, 1024],
            lo,
            hi,
        });
        let y = program.push(Op::Einsum {
            a: x,
            b: w,
            a_labels: vec![0],
            b_labels: vec![0, 1],
            out_labels: vec![1],
        });
        program.outputs.push(y);
        let of = |ranges, most| {
            let key = lay_out_within(&program, ranges, most).expect("it can be proven");
            (key.parameters.ranges, commit_bytes(&key))
        };
        let (ranges, once) = of(None, None);
        assert_eq!(ranges, WeightRanges::Key);
        let (ranges, each) = of(None, Some(once - 1));
        assert_eq!(ranges, WeightRanges::Proof);
        assert!(each < once);
        // Who asks for it gets it, or is told that it does not fit.
        let (ranges, _) = of(Some(WeightRanges::Key), Some(once - 1));
        assert_eq!(ranges, WeightRanges::Key);
        assert_eq!(of(Some(WeightRanges::Proof), None).0, WeightRanges::Proof);
    }
}
