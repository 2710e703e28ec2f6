//! The engine: tract, an ONNX file made into an optimised plan, and running it.
//!
//! The optimised form is the reference computation of DSperse: run alone, a slice in that
//! form gives the same bits at every run on one kind of processor. Between processors with
//! different instruction sets, or versions of tract, the last bits differ; so [`identity`]
//! goes into every result.

use crate::values::{self, datum_type};
use crate::{check, rules};
use bytes::Bytes;
use dsperse_onnx::{ModelProto, NodeProto};
use dsperse_plugin_api::{Error, Result, SliceInfo, TensorInfo};
use sha2::{Digest, Sha256};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;

/// The engine's name.
pub const NAME: &str = "tract";

/// The engine's version, which the workspace pins exactly (a test compares them).
pub const VERSION: &str = "0.23.9";

/// How many nodes' tensors are alive at once, as an estimate; branches that wait for each
/// other are rarely more.
const LIVE_NODES: u64 = 4;

/// What the engine's kernels are chosen by: the architecture and the features that are
/// present, like `x86_64+avx2+fma`.
#[must_use]
pub fn instruction_set() -> String {
    let mut found = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! features {
            ($($name:tt),*) => {
                $(if std::arch::is_x86_feature_detected!($name) { found.push($name); })*
            };
        }
        features!(
            "avx",
            "avx2",
            "fma",
            "f16c",
            "avx512f",
            "avx512bw",
            "avx512vnni"
        );
    }
    #[cfg(target_arch = "aarch64")]
    {
        macro_rules! features {
            ($($name:tt),*) => {
                $(if std::arch::is_aarch64_feature_detected!($name) { found.push($name); })*
            };
        }
        features!("neon", "fp16", "dotprod", "i8mm");
    }
    found.join("+")
}

/// Name, version and instruction set, as every result records them.
#[must_use]
pub fn identity() -> serde_json::Value {
    serde_json::json!({
        "name": NAME,
        "version": VERSION,
        "instruction_set": instruction_set(),
    })
}

/// A slice, ready to run.
pub struct Plan {
    runnable: Arc<TypedRunnableModel>,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    /// Bytes of weights that the plan holds while it is kept.
    pub weight_bytes: u64,
    /// Estimated peak of preparing and running it, in bytes, without the process itself.
    pub peak_bytes: u64,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Reads a slice's ONNX file, checks its digest, and prepares it.
    ///
    /// # Errors
    /// - `unsupported` (with node and operator where they are known) when the slice can't be
    ///   run, or has no payload here;
    /// - `invalid_input` when the file can't be read, is not the slice that the job names,
    ///   or its inputs and outputs are not those of the job.
    pub fn load(slice: &SliceInfo) -> Result<Self> {
        let Some(path) = &slice.model else {
            return Err(
                Error::unsupported("the slice's ONNX file is needed to run it").with_hint(
                    "use a bundle with payloads, or a backend that verifies from a proof",
                ),
            );
        };
        let bytes = std::fs::read(path).map_err(|e| {
            Error::invalid_input(format!(
                "the slice's ONNX file \"{path}\" can't be read: {e}"
            ))
        })?;
        let digest = hex::encode(Sha256::digest(&bytes));
        if digest != slice.sha256 {
            return Err(Error::invalid_input(format!(
                "the slice's ONNX file \"{path}\" has SHA-256 {digest}, expected {}",
                slice.sha256
            ))
            .with_hint("slice and compile the model again, or fetch the bundle again"));
        }
        guarded("preparing the slice", || Self::prepare(bytes, slice))
    }

    fn prepare(bytes: Vec<u8>, slice: &SliceInfo) -> Result<Self> {
        // Two views of one buffer: the full schema for checks, without copying weights, and
        // the engine's own.
        let bytes = Bytes::from(bytes);
        let proto = ModelProto::parse(bytes.clone()).map_err(rules::malformed)?;
        let framework = onnx()
            .with_ignore_value_info(true)
            .with_ignore_output_types(true)
            .with_ignore_output_shapes(true);
        check::model(&proto, &|op| framework.op_register.0.contains_key(op))?;
        check_names(&proto, slice)?;
        let refuse = |e: TractError| refusal(&proto, &e);
        let engine_view = framework
            .proto_model_for_read(&mut &bytes[..])
            .map_err(refuse)?;
        let parsed = framework.parse(&engine_view, None).map_err(refuse)?;
        drop(engine_view);
        if let Some(missing) = parsed.unresolved_inputs.first() {
            return Err(Error::unsupported(format!(
                "tensor \"{missing}\" is read but neither an input nor produced by a node"
            )));
        }
        let mut model = parsed.model;
        for (at, info) in slice.inputs.iter().enumerate() {
            fix_input(&mut model, at, info)?;
        }
        if let Some(node) = check::extremum(&proto) {
            check_extrema(&mut model, node).map_err(refuse)??;
        }
        let model = model.into_typed().map_err(refuse)?;
        check_outputs(&model, slice)?;
        let weight_bytes = constants(&model);
        let model = model.into_optimized().map_err(refuse)?;
        // While preparing, the file's two decoded forms and then two forms of the weights
        // exist at once; while running, the weights and the tensors of a few nodes.
        let file = bytes.len() as u64;
        let peak_bytes = weight_bytes
            .saturating_mul(2)
            .max(file.saturating_mul(3))
            .saturating_add(largest_node(&model).saturating_mul(LIVE_NODES));
        let runnable = model.into_runnable().map_err(refuse)?;
        Ok(Self {
            runnable,
            inputs: slice.inputs.clone(),
            outputs: slice.outputs.clone(),
            weight_bytes,
            peak_bytes,
        })
    }

    /// Whether this plan was prepared for the same inputs and outputs.
    #[must_use]
    pub fn fits(&self, slice: &SliceInfo) -> bool {
        self.inputs == slice.inputs && self.outputs == slice.outputs
    }

    /// Runs the slice on tensors of the model's own element types.
    ///
    /// # Errors
    /// `unsupported` when the engine fails on these values, `internal` when it gives
    /// something else than the slice's declared outputs.
    pub fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let inputs: TVec<TValue> = inputs.into_iter().map(Tensor::into_tvalue).collect();
        let results = guarded("running the slice", || {
            self.runnable
                .run(inputs)
                .map_err(|e| Error::unsupported(format!("the engine can't run the slice: {e:#}")))
        })?;
        if results.len() != self.outputs.len() {
            return Err(Error::internal(format!(
                "the engine gave {} outputs, expected {}",
                results.len(),
                self.outputs.len()
            )));
        }
        results
            .into_iter()
            .zip(&self.outputs)
            .map(|(value, info)| values::settle(value.into_tensor(), info))
            .collect()
    }
}

/// The slice's declared inputs and outputs must be the graph's own, in order.
fn check_names(proto: &ModelProto, slice: &SliceInfo) -> Result<()> {
    let graph = proto.main_graph().map_err(rules::malformed)?;
    let inputs = graph.real_inputs().iter().map(|v| v.name()).collect();
    let outputs = graph.output.iter().map(|v| v.name()).collect();
    let sides: [(&str, Vec<&str>, _); 2] = [
        ("inputs", inputs, &slice.inputs),
        ("outputs", outputs, &slice.outputs),
    ];
    for (side, found, expected) in sides {
        let expected: Vec<&str> = expected.iter().map(|i| i.name.as_str()).collect();
        if found != expected {
            return Err(Error::invalid_input(format!(
                "the slice's ONNX file has {side} {found:?}, expected {expected:?}"
            ))
            .with_hint("slice the model again"));
        }
    }
    Ok(())
}

/// Gives an input its concrete type, which must agree with what the file says of it.
fn fix_input(model: &mut InferenceModel, at: usize, info: &TensorInfo) -> Result<()> {
    let engine = |e: TractError| Error::internal(format!("input \"{}\": {e:#}", info.name));
    let shape = values::shape(info)?;
    let wanted = datum_type(info.encoding).ok_or_else(|| {
        Error::invalid_input(format!(
            "input \"{}\" is declared as {}, which the engine does not compute with",
            info.name, info.encoding
        ))
    })?;
    let declared = model.input_fact(at).map_err(engine)?.clone();
    let type_differs = declared
        .datum_type
        .concretize()
        .is_some_and(|t| t != wanted);
    let dims: Vec<Option<i64>> = declared
        .shape
        .dims()
        .map(|d| d.concretize().and_then(|d| d.to_i64().ok()))
        .collect();
    let rank_differs = !declared.shape.is_open() && dims.len() != shape.len();
    let dim_differs = dims
        .iter()
        .zip(&shape)
        .any(|(d, s)| d.is_some_and(|d| d != *s as i64));
    if type_differs || rank_differs || dim_differs {
        return Err(Error::invalid_input(format!(
            "input \"{}\" is {declared:?} in the slice's ONNX file, expected {wanted:?} {shape:?}",
            info.name
        ))
        .with_hint("slice the model again"));
    }
    let shape: TVec<TDim> = shape.iter().map(|d| d.to_dim()).collect();
    model
        .set_input_fact(at, InferenceFact::dt_shape(wanted, shape))
        .map_err(engine)
}

/// The engine starts a maximum from the lowest finite number; over no elements the standard
/// says −∞. A slice with such a node must not hold empty tensors at all.
fn check_extrema(model: &mut InferenceModel, node: &NodeProto) -> TractResult<Result<()>> {
    model.analyse(false)?;
    let zero = 0.to_dim();
    let empty = model.nodes().iter().flat_map(|n| &n.outputs).any(|o| {
        o.fact
            .shape
            .dims()
            .any(|d| d.concretize().as_ref() == Some(&zero))
    });
    Ok(if empty {
        Err(Error::unsupported(format!(
            "{} \"{}\": the engine computes it wrongly over no elements, and the slice has \
             empty tensors",
            node.op_type(),
            node.label()
        ))
        .at_node(node.label(), node.op_type()))
    } else {
        Ok(())
    })
}

/// Output shapes that the engine knows beforehand must be the declared ones: where they
/// differ, it reads a node in another way than the standard.
fn check_outputs(model: &TypedModel, slice: &SliceInfo) -> Result<()> {
    let facts = model.output_outlets().unwrap_or_default().iter();
    for (outlet, info) in facts.zip(&slice.outputs) {
        let Ok(fact) = model.outlet_fact(*outlet) else {
            continue;
        };
        let declared = values::shape(info)?;
        if let Some(shape) = fact.shape.as_concrete().filter(|s| *s != declared) {
            return Err(Error::unsupported(format!(
                "output \"{}\" has shape {declared:?}, but the engine gives it {shape:?}",
                info.name
            )));
        }
    }
    Ok(())
}

/// Bytes of a fact's tensor; 0 when its shape is not known beforehand.
fn fact_bytes(fact: &TypedFact) -> u64 {
    let elements = fact.shape.as_concrete().map_or(0, |s| {
        s.iter().fold(1u64, |n, d| n.saturating_mul(*d as u64))
    });
    elements.saturating_mul(fact.datum_type.size_of() as u64)
}

fn constants(model: &TypedModel) -> u64 {
    let facts = model.nodes().iter().flat_map(|n| &n.outputs);
    let constants = facts.filter(|o| o.fact.konst.is_some());
    constants.map(|o| fact_bytes(&o.fact)).sum()
}

/// Bytes that the node with the most data reads and writes, without its weights.
fn largest_node(model: &TypedModel) -> u64 {
    let node_bytes = |n: &TypedNode| -> u64 {
        let reads = model.node_input_facts(n.id).unwrap_or_default();
        let reads = reads.into_iter().filter(|f| f.konst.is_none());
        reads.map(fact_bytes).sum::<u64>()
            + n.outputs.iter().map(|o| fact_bytes(&o.fact)).sum::<u64>()
    };
    let computed = model.nodes().iter().filter(|n| !n.inputs.is_empty());
    computed.map(node_bytes).max().unwrap_or(0)
}

/// Most characters of what the engine itself says.
const MOST_WORDS: usize = 200;

/// One sentence for an engine error: what went wrong in the end, and at which node, when its
/// text names one. The engine's own text is a chain of contexts and may hold whole patches.
fn refusal(proto: &ModelProto, e: &TractError) -> Error {
    let message = format!("{e:#}");
    let cause = e.root_cause().to_string();
    let cause = cause.lines().next().unwrap_or_default().trim();
    let mut words: String = cause.chars().take(MOST_WORDS).collect();
    if words.len() < cause.len() {
        words.push('…');
    }
    let error = Error::unsupported(format!("the engine refuses the slice: {words}"));
    let nodes = proto.graph.iter().flat_map(|g| &g.node);
    for n in nodes {
        for name in std::iter::once(n.name()).chain(n.output.first().map(String::as_str)) {
            let quoted = [format!("\"{name}\""), format!(" {name} ({})", n.op_type())];
            if !name.is_empty() && quoted.iter().any(|q| message.contains(q)) {
                return error.at_node(name, n.op_type());
            }
        }
    }
    error
}

/// Runs engine code so that a panic inside it (it has many for graphs and indices that it
/// does not expect) is a refusal of this slice, and the worker lives on.
fn guarded<T>(doing: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Error::unsupported(format!(
            "the engine panicked while {doing}: {text}"
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_plugin_api::ErrorKind;

    #[test]
    fn version_is_the_one_in_the_lock_file() {
        let lock =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"))
                .unwrap();
        let entry = format!("name = \"tract-onnx\"\nversion = \"{VERSION}\"\n");
        assert!(lock.contains(&entry), "VERSION is out of date");
    }

    #[test]
    fn instruction_set_starts_with_the_architecture() {
        let set = instruction_set();
        assert_eq!(set.split('+').next(), Some(std::env::consts::ARCH));
    }

    #[test]
    fn panics_become_errors() {
        let e = guarded::<()>("testing", || panic!("number {}", 7));
        let e = e.unwrap_err();
        assert_eq!(e.kind, ErrorKind::Unsupported);
        assert_eq!(e.message, "the engine panicked while testing: number 7");
    }
}
