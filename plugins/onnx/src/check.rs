//! Which graphs are refused before the engine sees them.
//!
//! tract looks an operator up by its name and reads only the attributes that it knows.
//! Where an attribute that it passes over changes the meaning, it computes wrong values
//! without an error; a verifier that recomputes would then confirm them. Those cases are
//! refused here. They were found by comparing the attributes of the standard (up to opset
//! 28) with those that the engine's source reads, and by running ONNX's own node tests
//! (`tests/node_cases.rs`). Graphs that tract itself refuses need no entry.
//!
//! One deviation is left, because it depends on values and not on the graph: the maximum
//! of nothing but −∞ is computed as the lowest finite number, and the minimum of nothing
//! but +∞ as the highest.

use dsperse_onnx::{
    Constants, DataLocation, GraphProto, ModelProto, NodeProto, OnnxError, TensorProto, Values,
};
use dsperse_plugin_api::{Error, Result};
use std::collections::HashSet;

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

/// The newest operator set whose attributes were compared with what the engine reads.
const MAX_OPSET: i64 = 28;

/// Attributes that the engine passes over, and the values with which that is right: those
/// listed, and the attribute's absence.
const PASSED_OVER: [(&str, &str, &[f32]); 8] = [
    ("Attention", "left_window_size", &[-1.0]),
    ("Attention", "right_window_size", &[-1.0]),
    ("BatchNormalization", "training_mode", &[0.0]),
    ("Celu", "alpha", &[1.0]),
    ("DequantizeLinear", "output_dtype", &[0.0, 1.0]),
    ("QuantizeLinear", "output_dtype", &[0.0, 2.0]),
    ("QuantizeLinear", "precision", &[0.0, 1.0]),
    ("Swish", "alpha", &[1.0]),
];

/// Attributes that the engine passes over and that change the meaning by being there.
const NOT_READ: [(&str, &str); 13] = [
    // The broadcasting of opsets below 7, along a named axis.
    ("Add", "axis"),
    ("And", "axis"),
    ("Div", "axis"),
    ("Equal", "axis"),
    ("Greater", "axis"),
    ("Less", "axis"),
    ("Mul", "axis"),
    ("Or", "axis"),
    ("Pow", "axis"),
    ("Sub", "axis"),
    ("Xor", "axis"),
    // Scan of opset 8.
    ("Scan", "directions"),
    ("TreeEnsembleClassifier", "base_values_as_tensor"),
];

/// Checks a whole model; `known` tells which operators the engine has.
///
/// # Errors
/// `unsupported` with the first node that can't be run, its operator and the reason;
/// `invalid_input` when the file is no valid model.
pub fn model(model: &ModelProto, known: &dyn Fn(&str) -> bool) -> Result<()> {
    if let Some(f) = model.functions.first() {
        return Err(Error::unsupported(format!(
            "the model defines local functions (\"{}\"), which the engine does not expand",
            f.name()
        )));
    }
    let opset = model.opset("").unwrap_or(MAX_OPSET);
    if !(1..=MAX_OPSET).contains(&opset) {
        return Err(Error::unsupported(format!(
            "the model uses opset {opset}; this backend knows 1 to {MAX_OPSET}"
        )));
    }
    let checker = Checker { opset, known };
    checker.graph(model.main_graph().map_err(malformed)?, 0)
}

/// A node that takes a maximum or minimum over axes, when the model has one.
#[must_use]
pub fn extremum(model: &ModelProto) -> Option<&NodeProto> {
    fn find(graph: &GraphProto) -> Option<&NodeProto> {
        graph.node.iter().find_map(|n| match n.op_type() {
            "ReduceMax" | "ReduceMin" => Some(n),
            _ => n.subgraphs().find_map(find),
        })
    }
    model.graph.as_ref().and_then(find)
}

struct Checker<'a> {
    opset: i64,
    known: &'a dyn Fn(&str) -> bool,
}

impl Checker<'_> {
    fn graph(&self, graph: &GraphProto, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::unsupported(format!(
                "sub-graphs are nested more than {MAX_DEPTH} deep"
            )));
        }
        if !graph.sparse_initializer.is_empty() {
            return Err(Error::unsupported("sparse initializers are not supported"));
        }
        for t in &graph.initializer {
            inside(t, t.name())?;
        }
        let mut produced = HashSet::new();
        for n in &graph.node {
            for output in n.output.iter().filter(|o| !o.is_empty()) {
                if !produced.insert(output.as_str()) {
                    let reason = format!("tensor \"{output}\" is produced by two nodes");
                    return Err(at(n, &reason));
                }
            }
        }
        let constants = Constants::of(graph);
        for n in &graph.node {
            self.node(n, &constants)?;
            for a in &n.attribute {
                if let Some(t) = &a.t {
                    inside(t, a.name())?;
                }
            }
            for g in n.subgraphs() {
                self.graph(g, depth + 1)?;
            }
        }
        Ok(())
    }

    fn node(&self, n: &NodeProto, constants: &Constants) -> Result<()> {
        let op = n.op_type();
        match n.domain() {
            "" | "ai.onnx" | "ai.onnx.ml" => {}
            "com.microsoft" if MICROSOFT_OPS.contains(&op) => {}
            other => {
                let reason = format!("operators of domain \"{other}\" are not supported");
                return Err(at(n, &reason));
            }
        }
        if !(self.known)(op) {
            return Err(at(n, "the engine has no such operator"));
        }
        if RANDOM_OPS.contains(&op) {
            return Err(at(
                n,
                "its result is random, so a verifier can't recompute it",
            ));
        }
        for (name, right) in PASSED_OVER.iter().filter(|e| e.0 == op).map(|e| (e.1, e.2)) {
            if let Some(a) = n.attr(name) {
                #[allow(clippy::cast_precision_loss)] // small enumerations
                let value = a.f.unwrap_or(a.i.unwrap_or(0) as f32);
                if !right.contains(&value) {
                    return Err(at(
                        n,
                        &format!("attribute \"{name}\" is {value}, which the engine ignores"),
                    ));
                }
            }
        }
        if let Some((_, name)) = NOT_READ.iter().find(|e| e.0 == op && n.attr(e.1).is_some()) {
            return Err(at(n, &format!("the engine ignores attribute \"{name}\"")));
        }
        match op {
            "LSTM" | "GRU" | "RNN" => recurrent(n),
            "Attention" => self.attention(n),
            "BitShift" => bit_shift(n, constants),
            "SpaceToDepth" => match n.string_or("mode", "DCR").map_err(malformed)? {
                "DCR" => Ok(()),
                mode => Err(at(n, &format!("mode \"{mode}\" is computed as \"DCR\""))),
            },
            _ => Ok(()),
        }
    }

    /// From opset 24 on the causal mask is shifted by the length of the past.
    fn attention(&self, n: &NodeProto) -> Result<()> {
        let causal = n.int_or("is_causal", 0).map_err(malformed)? != 0;
        let past = n.input.get(4).is_some_and(|i| !i.is_empty());
        if self.opset >= 24 && causal && past {
            return Err(at(
                n,
                "with past keys, the causal mask of opset 24 is computed as in opset 23",
            ));
        }
        Ok(())
    }
}

/// ONNX Runtime gives 0 for a shift by the width or more; the engine takes the amount
/// modulo the width. So the amount has to be a constant below the width.
fn bit_shift(n: &NodeProto, constants: &Constants) -> Result<()> {
    let name = n.input.get(1).map_or("", String::as_str);
    let Some(amount) = constants.get(name).map_err(malformed)? else {
        return Err(at(
            n,
            "its shift is not constant, so it may reach the type's width",
        ));
    };
    let (bits, largest) = match &amount.values {
        Values::U8(v) => (8, v.iter().max().map(|m| u64::from(*m))),
        Values::U16(v) => (16, v.iter().max().map(|m| u64::from(*m))),
        Values::U32(v) => (32, v.iter().max().map(|m| u64::from(*m))),
        Values::U64(v) => (64, v.iter().max().copied()),
        other => {
            let reason = format!("its shift is of type {}, not unsigned", other.dtype());
            return Err(at(n, &reason));
        }
    };
    match largest {
        Some(shift) if shift >= bits => {
            Err(at(n, &format!("it shifts {bits}-bit integers by {shift}")))
        }
        _ => Ok(()),
    }
}

/// The engine reads neither `direction` nor the cell's functions.
fn recurrent(n: &NodeProto) -> Result<()> {
    let direction = n.string_or("direction", "forward").map_err(malformed)?;
    if direction == "reverse" {
        return Err(at(n, "direction \"reverse\" is computed as \"forward\""));
    }
    let standard: &[&str] = match n.op_type() {
        "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
        "GRU" => &["Sigmoid", "Tanh"],
        _ => &["Tanh"],
    };
    let activations = n.strings("activations").map_err(malformed)?;
    if !activations
        .iter()
        .flat_map(|a| a.chunks(standard.len()))
        .all(|a| a == standard)
    {
        let reason = format!("only the activations {} are supported", standard.join(", "));
        return Err(at(n, &reason));
    }
    if n.attr("clip").is_some() {
        return Err(at(n, "attribute \"clip\" is not supported"));
    }
    if n.int_or("input_forget", 0).map_err(malformed)? != 0 {
        return Err(at(n, "attribute \"input_forget\" is not supported"));
    }
    Ok(())
}

/// Slices hold their own weights, and nothing else on this machine is read.
fn inside(t: &TensorProto, name: &str) -> Result<()> {
    if t.data_location() == DataLocation::External || !t.external_data.is_empty() {
        return Err(Error::unsupported(format!(
            "tensor \"{name}\" is stored outside the slice's ONNX file"
        ))
        .with_hint("slice the model again: slices hold their own weights"));
    }
    Ok(())
}

/// A model that contradicts the standard.
pub fn malformed(e: OnnxError) -> Error {
    Error::invalid_input(format!("the slice's ONNX file is not valid: {e}"))
        .with_hint("slice the model again")
}

fn at(n: &NodeProto, reason: &str) -> Error {
    Error::unsupported(format!("{} \"{}\": {reason}", n.op_type(), n.label()))
        .at_node(n.label(), n.op_type())
}
