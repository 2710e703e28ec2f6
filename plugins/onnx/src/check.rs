//! Which graphs are refused before the engine sees them.
//!
//! tract looks an operator up by its name and reads only the attributes that it knows.
//! Where an attribute that it passes over changes the meaning, it computes wrong values
//! without an error; a verifier that recomputes would then confirm them. Those cases are
//! refused here, each one with a test. Graphs that tract itself refuses need no entry.

use dsperse_plugin_api::{Error, Result};
use std::collections::{HashMap, HashSet};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto,
};

/// How deep sub-graphs (`If`, `Scan`) may nest; real models use one or two levels, and
/// the engine recurses.
const MAX_DEPTH: usize = 16;

/// Operators of `com.microsoft` that tract implements with that domain's meaning. It
/// ignores domains, so any other operator there would be taken for a namesake.
const MICROSOFT_OPS: [&str; 10] = [
    "BiasGelu",
    "FastGelu",
    "GatherBlockQuantized",
    "GroupQueryAttention",
    "MatMulNBits",
    "MultiHeadAttention",
    "QuickGelu",
    "RotaryEmbedding",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
];

/// Operators whose result is not a function of their inputs.
const RANDOM_OPS: [&str; 6] = [
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];

/// Checks a whole model.
///
/// # Errors
/// `unsupported` with the first node that can't be run, its operator and the reason;
/// `invalid_input` when the file has no graph.
pub fn model(model: &ModelProto, known: impl Fn(&str) -> bool) -> Result<()> {
    let Some(graph) = &model.graph else {
        return Err(Error::invalid_input("the slice's ONNX file has no graph")
            .with_hint("slice the model again"));
    };
    if let Some(f) = model.functions.first() {
        return Err(Error::unsupported(format!(
            "the model defines local functions (\"{}\"), which the engine does not expand",
            f.name.as_deref().unwrap_or("")
        )));
    }
    let opset = model
        .opset_import
        .iter()
        .find(|o| o.domain.is_empty() || o.domain == "ai.onnx")
        .map_or(0, |o| o.version);
    Scope {
        opset,
        known: &known,
        constants: HashMap::new(),
    }
    .graph(graph, 0)
}

/// What is known where a node stands: the constants of outer graphs too.
#[derive(Clone)]
struct Scope<'a> {
    opset: i64,
    known: &'a dyn Fn(&str) -> bool,
    constants: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Scope<'a> {
    fn graph(mut self, graph: &'a GraphProto, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::unsupported(format!(
                "sub-graphs are nested more than {MAX_DEPTH} deep"
            )));
        }
        if !graph.sparse_initializer.is_empty() {
            return Err(Error::unsupported("sparse initializers are not supported"));
        }
        for t in &graph.initializer {
            tensor(t, &t.name)?;
            self.constants.insert(&t.name, t);
        }
        let mut produced = HashSet::new();
        for n in &graph.node {
            for output in n.output.iter().filter(|o| !o.is_empty()) {
                if !produced.insert(output.as_str()) {
                    return Err(at(
                        n,
                        format!("tensor \"{output}\" is produced by two nodes"),
                    ));
                }
            }
            if n.op_type == "Constant"
                && let (Some(a), Some(o)) = (attribute(n, "value"), n.output.first())
                && let Some(t) = &a.t
            {
                tensor(t, o)?;
                self.constants.insert(o, t);
            }
        }
        for n in &graph.node {
            self.node(n, depth)?;
        }
        Ok(())
    }

    fn node(&self, n: &'a NodeProto, depth: usize) -> Result<()> {
        let op = n.op_type.as_str();
        match n.domain.as_str() {
            "" | "ai.onnx" | "ai.onnx.ml" => {}
            "com.microsoft" if MICROSOFT_OPS.contains(&op) => {}
            other => {
                return Err(at(
                    n,
                    format!("operator of domain \"{other}\" is not supported"),
                ));
            }
        }
        if !(self.known)(op) {
            return Err(at(n, "the engine has no such operator".into()));
        }
        if RANDOM_OPS.contains(&op) {
            return Err(at(
                n,
                "its result is random, so a verifier can't recompute it".into(),
            ));
        }
        match op {
            "LSTM" | "GRU" | "RNN" => recurrent(n)?,
            "Attention" => self.attention(n)?,
            "SpaceToDepth" => {
                let mode = text(n, "mode").unwrap_or("DCR");
                if mode != "DCR" {
                    return Err(at(n, format!("mode \"{mode}\" is computed as DCR")));
                }
            }
            "BitShift" => self.bit_shift(n)?,
            _ => {}
        }
        for a in &n.attribute {
            if let Some(t) = &a.t {
                tensor(t, &a.name)?;
            }
            if a.sparse_tensor.is_some() {
                return Err(at(n, "sparse tensors are not supported".into()));
            }
            for g in a.g.iter().chain(&a.graphs) {
                self.clone().graph(g, depth + 1)?;
            }
        }
        Ok(())
    }

    /// From opset 24 on the causal mask is shifted by the length of the past.
    fn attention(&self, n: &NodeProto) -> Result<()> {
        let causal = attribute(n, "is_causal").is_some_and(|a| a.i != 0);
        let past = n.input.get(4).is_some_and(|i| !i.is_empty());
        if self.opset >= 24 && causal && past {
            return Err(at(
                n,
                "causal Attention with past keys of opset 24 is masked as in opset 23".into(),
            ));
        }
        Ok(())
    }

    /// ONNX Runtime and the specification give 0 for a shift by the width or more; the
    /// engine shifts by the amount modulo the width. So the amount must be a constant
    /// below the width.
    fn bit_shift(&self, n: &NodeProto) -> Result<()> {
        let amount = n
            .input
            .get(1)
            .and_then(|i| self.constants.get(i.as_str()))
            .ok_or_else(|| {
                at(
                    n,
                    "the shift amount is not a constant, so it may reach the width".into(),
                )
            })?;
        let bits = integer_bits(amount.data_type)
            .ok_or_else(|| at(n, "the shift amount is not an unsigned integer".into()))?;
        let largest = largest(amount)
            .ok_or_else(|| at(n, "the shift amount is not stored as raw data".into()))?;
        if largest >= u64::from(bits) {
            return Err(at(n, format!("it shifts {bits}-bit integers by {largest}")));
        }
        Ok(())
    }
}

/// The engine reads neither `direction` nor the cell's functions.
fn recurrent(n: &NodeProto) -> Result<()> {
    let direction = text(n, "direction").unwrap_or("forward");
    if direction == "reverse" {
        return Err(at(
            n,
            "direction \"reverse\" is computed as \"forward\"".into(),
        ));
    }
    let standard: &[&str] = match n.op_type.as_str() {
        "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
        "GRU" => &["Sigmoid", "Tanh"],
        _ => &["Tanh"],
    };
    if let Some(a) = attribute(n, "activations") {
        let same = a.strings.chunks(standard.len()).all(|c| {
            c.iter()
                .map(Vec::as_slice)
                .eq(standard.iter().map(|s| s.as_bytes()))
        });
        if !same {
            return Err(at(
                n,
                format!("only the activations {} are supported", standard.join(", ")),
            ));
        }
    }
    for name in ["clip", "input_forget"] {
        if attribute(n, name).is_some_and(|a| a.f != 0.0 || a.i != 0) {
            return Err(at(n, format!("attribute \"{name}\" is not supported")));
        }
    }
    Ok(())
}

/// Slices hold their own weights, in types the engine has.
fn tensor(t: &TensorProto, name: &str) -> Result<()> {
    if t.data_location == Some(tensor_proto::DataLocation::External as i32)
        || !t.external_data.is_empty()
    {
        return Err(Error::unsupported(format!(
            "tensor \"{name}\" is stored outside the slice's ONNX file"
        ))
        .with_hint("slice the model again: slices hold their own weights"));
    }
    Ok(())
}

fn at(n: &NodeProto, reason: String) -> Error {
    let name = if n.name.is_empty() {
        n.output.first().cloned().unwrap_or_default()
    } else {
        n.name.clone()
    };
    Error::unsupported(format!("{} \"{name}\": {reason}", n.op_type)).at_node(name, &n.op_type)
}

fn attribute<'a>(n: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    n.attribute.iter().find(|a| a.name == name)
}

fn text<'a>(n: &'a NodeProto, name: &str) -> Option<&'a str> {
    attribute(n, name).and_then(|a| std::str::from_utf8(&a.s).ok())
}

fn integer_bits(data_type: i32) -> Option<u32> {
    use tensor_proto::DataType as D;
    match D::try_from(data_type).ok()? {
        D::Uint8 => Some(8),
        D::Uint16 => Some(16),
        D::Uint32 => Some(32),
        D::Uint64 => Some(64),
        _ => None,
    }
}

/// The largest element of an unsigned constant in either of its two storage forms.
fn largest(t: &TensorProto) -> Option<u64> {
    let width = integer_bits(t.data_type)? as usize / 8;
    if t.raw_data.is_empty() {
        let small = t.int32_data.iter().map(|&v| v as u32 as u64);
        return small.chain(t.uint64_data.iter().copied()).max();
    }
    t.raw_data
        .chunks(width)
        .map(|c| c.iter().rev().fold(0u64, |v, b| v << 8 | u64::from(*b)))
        .max()
}
