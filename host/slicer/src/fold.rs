//! Replaces what analysis proves by constants.
//!
//! With fixed shapes, the chains `Shape → Gather → Concat → Reshape` that exporters write
//! have known results. Left in place, a cut through such a chain would hand a slice its
//! reshape target as an input, which executors refuse and proof systems can't compile.

use crate::facts::Facts;
use dsperse_onnx::{DataType, GraphProto, NodeProto, Tensor, Values};
use std::collections::HashSet;

/// Operators on shapes, indices and conditions whose results are exact, so that it does
/// not matter who computes them.
const EXACT: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "Cast",
    "Ceil",
    "Concat",
    "ConstantOfShape",
    "Div",
    "Equal",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "GatherElements",
    "GatherND",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "NonZero",
    "Not",
    "Or",
    "Range",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "Reshape",
    "ScatterElements",
    "ScatterND",
    "Shape",
    "Sign",
    "Size",
    "Slice",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Where",
    "Xor",
];

/// Folds in place (the nodes are sorted). Returns the first outputs of the nodes that
/// became constants.
pub(crate) fn fold(graph: &mut GraphProto, facts: &Facts) -> HashSet<String> {
    let mut folded = HashSet::new();
    let mut fixed: HashSet<String> = graph
        .initializer_names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        let from_constants = node.reads().iter().all(|r| fixed.contains(*r));
        if let Some(values) = proven(&node, facts, from_constants) {
            for (name, value) in values {
                graph.initializer.push(value.to_proto(&name));
                fixed.insert(name);
            }
            folded.extend(node.output.iter().find(|o| !o.is_empty()).cloned());
            continue;
        }
        if from_constants && !is_random(&node) {
            fixed.extend(node.output.iter().cloned());
        }
        if let Some(target) = reshape_target(&node, facts, &fixed) {
            // The name of the output is taken, and so unique with a suffix of our own.
            let name = format!("{}__shape", node.output[0]);
            graph.initializer.push(target.to_proto(&name));
            node.input[1] = name;
        }
        nodes.push(node);
    }
    graph.node = nodes;
    folded
}

/// Whether two runs of the operator may give different results.
pub(crate) fn is_random(node: &NodeProto) -> bool {
    let random = |n: &NodeProto| {
        n.op_type().starts_with("Random") || matches!(n.op_type(), "Bernoulli" | "Multinomial")
    };
    random(node) || node.subgraphs().any(|g| g.node.iter().any(is_random))
}

/// The values of all outputs, when they are proven and worth folding.
fn proven(node: &NodeProto, facts: &Facts, from_constants: bool) -> Option<Vec<(String, Tensor)>> {
    if !node.is_standard() || !EXACT.contains(&node.op_type()) {
        return None;
    }
    let mut out = Vec::new();
    for name in node.output.iter().filter(|o| !o.is_empty()) {
        let value = facts.get(name)?.value.as_ref()?;
        let dtype = value.values.dtype();
        // Floats that only depend on weights are weights: they stay as they are written.
        let fits = match dtype {
            DataType::Bool => true,
            d if d.is_integer() => true,
            _ => !from_constants,
        };
        if !fits || facts.get(name)?.dtype != Some(dtype) {
            return None;
        }
        out.push((name.clone(), value.clone()));
    }
    (!out.is_empty()).then_some(out)
}

/// The target of a `Reshape` whose target is not fixed though its result's shape is known.
fn reshape_target(node: &NodeProto, facts: &Facts, fixed: &HashSet<String>) -> Option<Tensor> {
    if !node.is("Reshape") || fixed.contains(node.input.get(1)?) {
        return None;
    }
    let shape = facts.get(node.output.first()?)?.shape.as_ref()?;
    // Zero means "as before" in a target.
    if shape.contains(&0) {
        return None;
    }
    let target = shape
        .iter()
        .map(|d| i64::try_from(*d).ok())
        .collect::<Option<Vec<i64>>>()?;
    Tensor::new(vec![target.len()], Values::I64(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Fact;

    fn fact(dtype: DataType, shape: &[u64], value: Option<Values>) -> Fact {
        Fact {
            dtype: Some(dtype),
            shape: Some(shape.to_vec()),
            value: value.map(|v| Tensor {
                dims: shape.iter().map(|d| *d as usize).collect(),
                values: v,
            }),
        }
    }

    #[test]
    fn proven_integers_become_initializers() {
        let mut g = GraphProto {
            node: vec![
                NodeProto::new("Shape", &["x"], &["s"]),
                NodeProto::new("Exp", &["x"], &["y"]),
            ],
            ..GraphProto::default()
        };
        let facts: Facts = [
            (
                "s".to_owned(),
                fact(DataType::I64, &[2], Some(Values::I64(vec![1, 4]))),
            ),
            (
                "y".to_owned(),
                fact(DataType::F32, &[1], Some(Values::F32(vec![1.0]))),
            ),
        ]
        .into();
        let folded = fold(&mut g, &facts);
        assert_eq!(folded.into_iter().collect::<Vec<_>>(), ["s"]);
        assert_eq!(g.node.len(), 1);
        let t = Tensor::read(g.initializer("s").unwrap()).unwrap();
        assert_eq!(t.values, Values::I64(vec![1, 4]));
    }

    #[test]
    fn known_reshape_results_fix_the_target() {
        let mut g = GraphProto {
            node: vec![NodeProto::new("Reshape", &["x", "t"], &["y"])],
            ..GraphProto::default()
        };
        let facts: Facts = [("y".to_owned(), fact(DataType::F32, &[2, 3], None))].into();
        assert!(fold(&mut g, &facts).is_empty());
        assert_eq!(g.node[0].input[1], "y__shape");
        let t = Tensor::read(g.initializer("y__shape").unwrap()).unwrap();
        assert_eq!(t.values, Values::I64(vec![2, 3]));
    }
}
