//! Types, shapes and provable values of every tensor, by tract's inference.
//!
//! tract sees a copy of the model without its large weights (each becomes an input of the
//! same shape), which makes the analysis of a large model a matter of milliseconds. Labels
//! are read from the *inference* model: they don't survive tract's later forms. Where tract
//! knows nothing (operators that it lacks), the file's own `value_info` is used.
//!
//! tract may panic on models that contradict themselves, so it runs in a thread of its own
//! whose panics become errors.

use crate::facts::{Fact, Facts};
use dsperse_onnx::{
    DataType, GraphProto, ModelProto, NodeProto, Tensor, ValueInfoProto, Values, tensor,
};
use prost::Message as _;
use std::collections::HashMap;
use std::sync::Once;
use tract_onnx::pb;
use tract_onnx::tract_hir::internal::{
    DatumType, DimLike as _, Factoid as _, InferenceFact, InferenceModel, InferenceModelExt as _,
    Tensor as TractTensor,
};

/// Constants of up to this many elements are kept for tract: they may be shapes, axes or
/// scales. Larger ones are weights, of which only the shape matters.
const KEEP: u64 = 1024;
/// Largest tensor whose value is reported.
const MAX_VALUE: usize = 4096;
/// Name of the thread in which tract runs; its panics are not printed.
const THREAD: &str = "dsperse-shapes";

/// A tensor's type and shape, as given to tract.
pub(crate) type Known = HashMap<String, (DataType, Vec<u64>)>;

/// What inference found out.
#[derive(Debug, Default)]
pub(crate) struct Inferred {
    /// Facts by name.
    pub facts: Facts,
    /// The first thing that tract complained about, if anything.
    pub complaint: Option<String>,
}

/// Infers facts of all tensors of the main graph. `inputs` are the real inputs with
/// concrete shapes; `hints` is what the file's `value_info` says, used only for what tract
/// can't derive.
pub(crate) fn infer(
    model: &ModelProto,
    inputs: &[(String, DataType, Vec<u64>)],
    hints: &Known,
) -> Inferred {
    let mut out = Inferred::default();
    let Some(graph) = &model.graph else {
        return out;
    };
    let fixed = fixed_facts(graph, inputs);
    let bytes = stripped(model, graph, &fixed).encode_to_vec();
    let hints_for_tract = hints.clone();
    match in_thread(move || run_tract(&bytes, &hints_for_tract)) {
        Ok(inferred) => out = inferred,
        Err(e) => out.complaint = Some(e),
    }
    for (name, (dtype, shape)) in hints {
        let fact = out.facts.entry(name.clone()).or_default();
        fact.dtype.get_or_insert(*dtype);
        if fact.shape.is_none() {
            fact.shape = Some(shape.clone());
        }
    }
    // What the file fixes is beyond doubt: tract's copy may use stand-in types.
    for (name, (dtype, shape)) in fixed {
        let fact = out.facts.entry(name).or_default();
        fact.dtype = Some(dtype);
        fact.shape = Some(shape);
    }
    out
}

/// Types and shapes of inputs and initializers.
fn fixed_facts(graph: &GraphProto, inputs: &[(String, DataType, Vec<u64>)]) -> Known {
    let mut out: Known = inputs
        .iter()
        .map(|(n, d, s)| (n.clone(), (*d, s.clone())))
        .collect();
    for t in &graph.initializer {
        if let (Ok(dtype), Ok((dims, _))) = (tensor::dtype(t), tensor::dims(t)) {
            out.insert(
                t.name().to_owned(),
                (dtype, dims.iter().map(|d| *d as u64).collect()),
            );
        }
    }
    out
}

/// The type under which tract gets a constant that it can't hold; only its shape matters.
fn stand_in(dtype: DataType) -> DataType {
    match dtype {
        DataType::I4 | DataType::I2 => DataType::I8,
        DataType::U4 | DataType::U2 => DataType::U8,
        DataType::Bf16 => DataType::F16,
        d if d.is_float() && d.bits().is_some_and(|b| b <= 8) => DataType::U8,
        d => d,
    }
}

/// The copy without weights.
fn stripped(model: &ModelProto, graph: &GraphProto, fixed: &Known) -> ModelProto {
    let mut weights: Vec<(&str, DataType, Vec<u64>)> = Vec::new();
    let mut kept = Vec::new();
    for t in &graph.initializer {
        let Some((dtype, shape)) = fixed.get(t.name()) else {
            continue;
        };
        let elements = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
        if elements.is_some_and(|n| n <= KEEP) && stand_in(*dtype) == *dtype {
            kept.push(t.clone());
        } else {
            weights.push((t.name(), *dtype, shape.clone()));
        }
    }
    let mut nodes = Vec::with_capacity(graph.node.len());
    for n in &graph.node {
        // Weights of models that were made light: a shape and one value.
        if let Some((dtype, shape)) = constant_of_shape(graph, n)
            && let Some(out) = n.output.first()
            && shape
                .iter()
                .try_fold(1u64, |n, d| n.checked_mul(*d))
                .is_none_or(|n| n > KEEP)
        {
            weights.push((out, dtype, shape));
            continue;
        }
        let mut plain = plain_node(n, nodes.len());
        if asks_too_much(graph, n) {
            plain.op_type = Some(format!("{HIDDEN}{}", n.op_type()));
        }
        nodes.push(plain);
    }
    let input = graph
        .real_inputs()
        .iter()
        .filter_map(|v| Some((v.name(), fixed.get(v.name())?)))
        .map(|(name, (d, s))| (name, *d, s.clone()))
        .chain(weights)
        .map(|(name, d, s)| ValueInfoProto::concrete(name, stand_in(d), &s))
        .collect();
    ModelProto {
        graph: Some(GraphProto {
            node: nodes,
            initializer: kept,
            input,
            output: graph
                .output
                .iter()
                .map(|o| ValueInfoProto {
                    name: o.name.clone(),
                    ..ValueInfoProto::default()
                })
                .collect(),
            ..GraphProto::default()
        }),
        ir_version: model.ir_version,
        opset_import: model.opset_import.clone(),
        ..ModelProto::default()
    }
}

/// Type and shape of a `ConstantOfShape` whose shape stands in the file.
pub(crate) fn constant_of_shape(
    graph: &GraphProto,
    node: &NodeProto,
) -> Option<(DataType, Vec<u64>)> {
    if !node.is("ConstantOfShape") {
        return None;
    }
    let shape = Tensor::read(graph.initializer(node.input.first()?)?).ok()?;
    let shape = shape
        .values
        .to_i64()?
        .into_iter()
        .map(|d| u64::try_from(d).ok())
        .collect::<Option<Vec<u64>>>()?;
    let dtype = match node.tensor("value").ok()? {
        Some(t) => tensor::dtype(t).ok()?,
        None => DataType::F32,
    };
    Some((dtype, shape))
}

/// Whether a node multiplies its input by constants so large that computing it would take
/// all memory: tract evaluates what depends on constants only, and a file of a few bytes
/// must not bring the process down.
fn asks_too_much(graph: &GraphProto, n: &NodeProto) -> bool {
    const GROWING: &[&str] = &[
        "ConstantOfShape",
        "Expand",
        "EyeLike",
        "OneHot",
        "Pad",
        "Range",
        "Reshape",
        "Resize",
        "Tile",
        "Upsample",
    ];
    const LIMIT: f64 = (1u64 << 28) as f64;
    GROWING.contains(&n.op_type())
        && n.input
            .iter()
            .filter_map(|i| graph.initializer(i))
            .filter(|t| t.dims.iter().product::<i64>() <= 64)
            .filter_map(|t| Tensor::read(t).ok()?.values.to_f64())
            .any(|v| v.iter().map(|x| x.abs().max(1.0)).product::<f64>() > LIMIT)
}

/// A node with a unique name, without texts; operators of foreign domains get a name that
/// tract can't mistake for one of its own.
fn plain_node(n: &NodeProto, index: usize) -> NodeProto {
    let mut out = n.clone();
    out.name = Some(format!("n{index}"));
    out.doc_string = None;
    out.metadata_props = Vec::new();
    if !n.is_standard() && n.domain() != "ai.onnx.ml" {
        out.op_type = Some(format!("{}::{}", n.domain(), n.op_type()));
    }
    for a in &mut out.attribute {
        a.doc_string = None;
        for g in a.g.as_deref_mut().into_iter().chain(&mut a.graphs) {
            g.value_info = Vec::new();
            for (i, n) in g.node.iter_mut().enumerate() {
                *n = plain_node(n, i);
            }
        }
    }
    out
}

fn run_tract(bytes: &[u8], hints: &Known) -> Result<Inferred, String> {
    let mut proto = pb::ModelProto::decode(bytes).map_err(|e| e.to_string())?;
    let framework = tract_onnx::onnx().with_ignore_value_info(true);
    let mut complaint = None;
    // A node that tract refuses to build spoils the whole model: hide it and try again.
    let parsed = loop {
        let e = match framework.parse(&proto, None) {
            Ok(parsed) => break parsed,
            Err(e) => format!("{e:#}"),
        };
        let graph = proto.graph.as_mut().ok_or("the model has no graph")?;
        let refused = node_in(&e).and_then(|i| graph.node.get_mut(i));
        match refused {
            Some(n) if !n.op_type.starts_with(HIDDEN) => {
                n.op_type = format!("{HIDDEN}{}", n.op_type);
                n.attribute.clear();
                complaint.get_or_insert(e);
            }
            _ => return Err(e),
        }
    };
    let mut model = parsed.model;
    let mut analyse = |model: &mut InferenceModel| {
        if let Err(e) = model.analyse(true) {
            complaint.get_or_insert(format!("{e:#}"));
        }
    };
    analyse(&mut model);
    // Second round: fill the gaps with what the file says, and derive from that.
    let mut filled = false;
    for (name, (dtype, shape)) in hints {
        let Some(outlet) = parsed.outlets_by_name.get(name) else {
            continue;
        };
        let Ok(fact) = model.outlet_fact(*outlet) else {
            continue;
        };
        if fact.shape.is_concrete() && fact.datum_type.is_concrete() {
            continue;
        }
        let shape: Vec<usize> = shape
            .iter()
            .filter_map(|d| usize::try_from(*d).ok())
            .collect();
        let hint = InferenceFact::default().with_shape(shape);
        let hint = match datum_type(*dtype) {
            Some(d) if !fact.datum_type.is_concrete() => hint.with_datum_type(d),
            _ => hint,
        };
        if let Ok(unified) = fact.unify(&hint) {
            filled |= model.set_outlet_fact(*outlet, unified).is_ok();
        }
    }
    if filled {
        analyse(&mut model);
    }
    let mut facts = Facts::new();
    for (name, outlet) in &parsed.outlets_by_name {
        if let Ok(fact) = model.outlet_fact(*outlet) {
            facts.insert(name.clone(), to_fact(fact));
        }
    }
    Ok(Inferred { facts, complaint })
}

/// Prefix of operators that tract refused; it knows none of them.
const HIDDEN: &str = "hidden::";

/// Index of the node that an error of tract's parser speaks of.
fn node_in(error: &str) -> Option<usize> {
    let rest = error.split("Building node n").nth(1)?;
    rest.split(' ').next()?.parse().ok()
}

fn to_fact(fact: &InferenceFact) -> Fact {
    let dtype = fact.datum_type.concretize().and_then(onnx_type);
    let shape = fact
        .shape
        .concretize()
        .and_then(|dims| {
            dims.iter()
                .map(|d| d.to_usize().ok())
                .collect::<Option<Vec<_>>>()
        })
        .map(|dims| dims.into_iter().map(|d| d as u64).collect());
    let value = fact
        .value
        .concretize()
        .filter(|t| t.len() <= MAX_VALUE)
        .and_then(|t| to_value(&t));
    Fact {
        dtype,
        shape,
        value,
    }
}

fn to_value(t: &TractTensor) -> Option<Tensor> {
    macro_rules! take {
        ($variant:ident, $t:ty) => {
            Values::$variant(t.try_as_plain_ram().ok()?.as_slice::<$t>().ok()?.to_vec())
        };
    }
    let values = match t.datum_type() {
        DatumType::TDim => Values::I64(
            t.cast_to::<i64>()
                .ok()?
                .try_as_plain_ram()
                .ok()?
                .as_slice::<i64>()
                .ok()?
                .to_vec(),
        ),
        DatumType::I64 => take!(I64, i64),
        DatumType::I32 => take!(I32, i32),
        DatumType::Bool => take!(Bool, bool),
        DatumType::F32 => take!(F32, f32),
        DatumType::F64 => take!(F64, f64),
        _ => return None,
    };
    Tensor::new(t.shape().to_vec(), values)
}

fn onnx_type(d: DatumType) -> Option<DataType> {
    Some(match d {
        DatumType::Bool => DataType::Bool,
        DatumType::U8 | DatumType::QU8(_) => DataType::U8,
        DatumType::U16 => DataType::U16,
        DatumType::U32 => DataType::U32,
        DatumType::U64 => DataType::U64,
        DatumType::I8 | DatumType::QI8(_) => DataType::I8,
        DatumType::I16 => DataType::I16,
        DatumType::I32 | DatumType::QI32(_) => DataType::I32,
        // tract's symbolic integers are what the standard calls int64.
        DatumType::I64 | DatumType::TDim => DataType::I64,
        DatumType::F16 => DataType::F16,
        DatumType::F32 => DataType::F32,
        DatumType::F64 => DataType::F64,
        DatumType::String => DataType::String,
        _ => return None,
    })
}

fn datum_type(d: DataType) -> Option<DatumType> {
    Some(match d {
        DataType::Bool => DatumType::Bool,
        DataType::U8 => DatumType::U8,
        DataType::U16 => DatumType::U16,
        DataType::U32 => DatumType::U32,
        DataType::U64 => DatumType::U64,
        DataType::I8 => DatumType::I8,
        DataType::I16 => DatumType::I16,
        DataType::I32 => DatumType::I32,
        // Left open for int64: tract may want its symbolic type instead.
        DataType::F16 => DatumType::F16,
        DataType::F32 => DatumType::F32,
        DataType::F64 => DatumType::F64,
        DataType::String => DatumType::String,
        _ => return None,
    })
}

/// Runs `f` in a thread with a large stack; a panic becomes an error and is not printed.
fn in_thread<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() != Some(THREAD) {
                previous(info);
            }
        }));
    });
    let thread = std::thread::Builder::new()
        .name(THREAD.into())
        .stack_size(64 << 20)
        .spawn(f)
        .map_err(|e| format!("can't start a thread: {e}"))?;
    thread.join().unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_default();
        Err(format!("shape inference stopped: {text}"))
    })
}
