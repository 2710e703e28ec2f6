//! Which graphs are refused before the engine sees them.
//!
//! This module walks the graph and its sub-graphs and refuses what holds for any operator:
//! unknown, foreign and random operators, data outside the file, local functions, opsets
//! newer than those that were compared with the engine. What is particular to an operator
//! is in [`rules`]. Graphs that the engine itself refuses need no entry in either.

use crate::rules::{self, at, malformed};
use dsperse_onnx::{Constants, DataLocation, GraphProto, ModelProto, NodeProto, TensorProto};
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
        rules::node(n, self.opset, constants)
    }
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
