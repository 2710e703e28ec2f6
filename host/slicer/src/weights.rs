//! Which nodes are computed, which are constant, and which carry weights.

use crate::cost;
use crate::facts::Facts;
use crate::fold;
use dsperse_onnx::{GraphProto, NodeProto, ValueInfoProto};
use std::collections::HashSet;

/// What becomes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It belongs to exactly one slice.
    Computed,
    /// It depends on no input: a part of the weights, copied to each slice that reads it.
    Constant,
}

/// What becomes of each node.
pub(crate) fn roles(graph: &GraphProto) -> Vec<Role> {
    let outputs: HashSet<&str> = graph.output.iter().map(ValueInfoProto::name).collect();
    let mut fixed: HashSet<&str> = graph.initializer_names();
    graph
        .node
        .iter()
        .map(|n| {
            let constant = n.reads().iter().all(|r| fixed.contains(r))
                && !fold::is_random(n)
                && !n.output.iter().any(|o| outputs.contains(o.as_str()));
            if constant {
                fixed.extend(n.output.iter().map(String::as_str));
                Role::Constant
            } else {
                Role::Computed
            }
        })
        .collect()
}

/// Computed nodes in order: index in the graph, and whether the node carries weights.
pub(crate) fn computed_nodes<'a>(
    graph: &'a GraphProto,
    roles: &'a [Role],
    facts: &'a Facts,
) -> impl Iterator<Item = (usize, bool)> + 'a {
    let mut fixed: HashSet<&str> = graph.initializer_names();
    for (n, role) in graph.node.iter().zip(roles) {
        if *role == Role::Constant {
            fixed.extend(n.output.iter().map(String::as_str));
        }
    }
    roles
        .iter()
        .enumerate()
        .filter(|(_, r)| **r == Role::Computed)
        .map(move |(i, _)| (i, carries_weights(&graph.node[i], &fixed, facts)))
}

/// Whether a node carries weights: one of the inputs at which its operator takes them is
/// constant, whatever constant nodes (`Transpose`, `DequantizeLinear`, …) lie between.
fn carries_weights(n: &NodeProto, fixed: &HashSet<&str>, facts: &Facts) -> bool {
    let constant = |i: usize| n.input.get(i).is_some_and(|s| fixed.contains(s.as_str()));
    let rank = |i: usize| {
        n.input
            .get(i)
            .and_then(|s| facts.get(s)?.shape.as_ref())
            .map_or(0, Vec::len)
    };
    let numbers = |i: usize| {
        n.input
            .get(i)
            .and_then(|s| facts.get(s)?.dtype)
            .is_some_and(cost::is_weight)
    };
    let any_matrix = || (0..n.input.len()).any(|i| constant(i) && rank(i) >= 2);
    if n.domain() == "ai.onnx.ml" {
        return n.attribute.iter().any(|a| !a.floats.is_empty());
    }
    if !n.is_standard() {
        return any_matrix();
    }
    match n.op_type() {
        "Conv" | "ConvTranspose" | "ConvInteger" | "DeformConv" => constant(1),
        "QLinearConv" => constant(3),
        "Gemm" | "MatMul" | "MatMulInteger" => constant(0) || constant(1),
        "QLinearMatMul" => constant(0) || constant(3),
        "LSTM" | "GRU" | "RNN" => constant(1) || constant(2),
        "Einsum" => any_matrix(),
        // A table of embeddings, not a list of sizes.
        "Gather" => constant(0) && rank(0) >= 2 && numbers(0),
        "If" | "Loop" | "Scan" => n.subgraphs().any(|g| body_carries_weights(g, fixed)),
        _ => false,
    }
}

/// Whether a sub-graph has a node with weights of its own or of the graph around it.
fn body_carries_weights(g: &GraphProto, outer: &HashSet<&str>) -> bool {
    let mut fixed: HashSet<&str> = outer.clone();
    fixed.extend(g.initializer_names());
    let mut found = false;
    for n in &g.node {
        if n.reads().iter().all(|r| fixed.contains(r)) {
            fixed.extend(n.output.iter().map(String::as_str));
        } else {
            found |= carries_weights(n, &fixed, &Facts::new());
        }
    }
    found
}
