//! Parameters and multiply-accumulate operations.
//!
//! A parameter is an element of a weight: of every constant that is not an index, a shape
//! or a condition (int64, bool, strings). Multiply-accumulates are those of one inference
//! at the fixed shapes; element-wise work and biases are not counted, as is usual.

use crate::facts::Facts;
use crate::infer::constant_of_shape;
use dsperse_onnx::{DataType, GraphProto, NodeProto, TensorProto, tensor};
use std::collections::{HashMap, HashSet};

/// Whether constants of this type are weights.
pub(crate) fn is_weight(dtype: DataType) -> bool {
    !matches!(
        dtype,
        DataType::I64 | DataType::Bool | DataType::String | DataType::Undefined
    )
}

fn elements(t: &TensorProto) -> u64 {
    match (tensor::dtype(t), tensor::dims(t)) {
        (Ok(d), Ok((_, n))) if is_weight(d) => n as u64,
        _ => 0,
    }
}

/// Number of parameters of the initializers of these names, of the `Constant` and
/// `ConstantOfShape` nodes among `nodes`, and of everything inside their sub-graphs.
pub(crate) fn parameters<'a>(
    graph: &'a GraphProto,
    names: &HashSet<&str>,
    nodes: impl Iterator<Item = &'a NodeProto>,
) -> u64 {
    let dense: u64 = graph
        .initializer
        .iter()
        .filter(|t| names.contains(t.name()))
        .map(elements)
        .sum();
    dense + nodes.map(|n| node_parameters(graph, n)).sum::<u64>()
}

/// Parameters that the node itself carries, apart from initializers.
pub(crate) fn node_parameters(graph: &GraphProto, n: &NodeProto) -> u64 {
    if let Some((dtype, shape)) = constant_of_shape(graph, n) {
        return if is_weight(dtype) { product(&shape) } else { 0 };
    }
    if n.is_constant() {
        return n
            .attribute
            .iter()
            .map(|a| {
                a.t.iter().map(elements).sum::<u64>()
                    + u64::from(a.f.is_some())
                    + a.floats.len() as u64
            })
            .sum();
    }
    if n.domain() == "ai.onnx.ml" {
        // Trees, linear models and support vectors keep their numbers in attributes.
        return n.attribute.iter().map(|a| a.floats.len() as u64).sum();
    }
    n.subgraphs()
        .map(|g| {
            g.initializer.iter().map(elements).sum::<u64>()
                + g.node.iter().map(|n| node_parameters(g, n)).sum::<u64>()
        })
        .sum()
}

fn product(shape: &[u64]) -> u64 {
    shape.iter().fold(1, |n, d| n.saturating_mul(*d))
}

/// Multiply-accumulates of one run of the node; 0 where shapes are unknown (so for the
/// bodies of `Loop` and `Scan`).
pub(crate) fn macs(n: &NodeProto, facts: &Facts) -> u64 {
    count(n, facts).unwrap_or(0)
}

fn count(n: &NodeProto, facts: &Facts) -> Option<u64> {
    let input = |i: usize| -> Option<&[u64]> {
        let name = n.input.get(i).filter(|s| !s.is_empty())?;
        facts.get(name)?.shape.as_deref()
    };
    let output =
        || -> Option<u64> { Some(product(facts.get(n.output.first()?)?.shape.as_deref()?)) };
    // Output elements times what one of them sums over.
    let conv = |w: usize| Some(output()?.saturating_mul(product(input(w)?.get(1..)?)));
    let matmul = |a: usize| Some(output()?.saturating_mul(*input(a)?.last()?));
    let recurrent = |gates: u64| {
        let x = input(0)?;
        let r = input(2)?;
        let (time_and_batch, width) = (product(x.get(..2)?), *x.get(2)?);
        let (directions, hidden) = (*r.first()?, *r.get(2)?);
        let per_step = gates * hidden.saturating_mul(width.saturating_add(hidden));
        Some(
            time_and_batch
                .saturating_mul(directions)
                .saturating_mul(per_step),
        )
    };
    match n.op_type() {
        "Conv" | "ConvInteger" | "FusedConv" | "DeformConv" => conv(1),
        "QLinearConv" => conv(3),
        "ConvTranspose" => Some(product(input(0)?).saturating_mul(product(input(1)?.get(1..)?))),
        "Gemm" | "FusedGemm" => {
            let a = input(0)?;
            let inner = if n.int_or("transA", 0).ok()? == 0 {
                a.get(1)?
            } else {
                a.first()?
            };
            Some(output()?.saturating_mul(*inner))
        }
        "MatMul" | "MatMulInteger" | "QLinearMatMul" | "FusedMatMul" => matmul(0),
        "LSTM" => recurrent(4),
        "GRU" => recurrent(3),
        "RNN" => recurrent(1),
        "Einsum" => einsum(n, facts),
        "If" => n
            .subgraphs()
            .map(|g| g.node.iter().map(|n| macs(n, facts)).sum())
            .max(),
        "Attention" if n.is_standard() => {
            // (batch, heads, sequence, width); the three-dimensional form fuses the heads.
            let (q, k, v) = (input(0)?, input(1)?, input(2)?);
            let keys = *k.get(k.len().checked_sub(2)?)?;
            let scores = product(q).saturating_mul(keys);
            let queries = *q.get(q.len().checked_sub(2)?)?;
            Some(scores.saturating_add(product(v).saturating_mul(queries)))
        }
        _ => None,
    }
}

/// The product of the sizes of all labels, as a plain loop nest would run.
fn einsum(n: &NodeProto, facts: &Facts) -> Option<u64> {
    let equation: String = n.string("equation").ok()??.split_whitespace().collect();
    let left = equation.split("->").next()?;
    let mut sizes: HashMap<char, u64> = HashMap::new();
    for (term, name) in left.split(',').zip(&n.input) {
        let shape = facts.get(name)?.shape.as_deref()?;
        if term.contains('.') || term.chars().count() != shape.len() {
            return None;
        }
        for (label, size) in term.chars().zip(shape) {
            let known = sizes.entry(label).or_insert(*size);
            *known = (*known).max(*size);
        }
    }
    Some(sizes.values().fold(1, |n, d| n.saturating_mul(*d)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Fact;
    use dsperse_onnx::AttributeProto;

    fn facts(list: &[(&str, &[u64])]) -> Facts {
        list.iter()
            .map(|(n, s)| {
                (
                    (*n).to_owned(),
                    Fact {
                        dtype: Some(DataType::F32),
                        shape: Some(s.to_vec()),
                        value: None,
                    },
                )
            })
            .collect()
    }

    #[test]
    fn counts_of_the_usual_operators() {
        let f = facts(&[
            ("x", &[1, 3, 8, 8]),
            ("w", &[16, 3, 3, 3]),
            ("y", &[1, 16, 6, 6]),
        ]);
        let conv = NodeProto::new("Conv", &["x", "w"], &["y"]);
        assert_eq!(macs(&conv, &f), 16 * 36 * 27);

        let f = facts(&[("a", &[5, 2]), ("b", &[5, 7]), ("y", &[2, 7])]);
        let gemm =
            NodeProto::new("Gemm", &["a", "b"], &["y"]).with(AttributeProto::from_int("transA", 1));
        assert_eq!(macs(&gemm, &f), 2 * 7 * 5);

        let f = facts(&[("a", &[4, 2, 3]), ("b", &[3, 5]), ("y", &[4, 2, 5])]);
        let matmul = NodeProto::new("MatMul", &["a", "b"], &["y"]);
        assert_eq!(macs(&matmul, &f), 4 * 2 * 5 * 3);
        let einsum = NodeProto::new("Einsum", &["a", "b"], &["y"])
            .with(AttributeProto::from_string("equation", "bij, jk -> bik"));
        assert_eq!(macs(&einsum, &f), 4 * 2 * 5 * 3);

        let f = facts(&[("x", &[6, 2, 3]), ("w", &[1, 16, 3]), ("r", &[1, 16, 4])]);
        let lstm = NodeProto::new("LSTM", &["x", "w", "r"], &["y"]);
        assert_eq!(macs(&lstm, &f), 6 * 2 * 4 * 4 * (3 + 4));
        assert_eq!(macs(&NodeProto::new("Relu", &["x"], &["y"]), &f), 0);
    }
}
