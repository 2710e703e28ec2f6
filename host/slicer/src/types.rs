//! Element types by the standard's own rules.
//!
//! Shape inference reasons with types of its own (symbolic integers, common super-types)
//! and now and then comes to one that the standard doesn't mean. For the operators below
//! the type follows from the inputs, and this result has the last word.

use crate::facts::Facts;
use dsperse_onnx::{DataType, GraphProto, NodeProto, tensor};

/// Operators all of whose outputs have the type of the first input.
const LIKE_FIRST: &[&str] = &[
    "Abs",
    "Add",
    "AveragePool",
    "BatchNormalization",
    "BitShift",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Ceil",
    "Celu",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Cos",
    "CumSum",
    "DepthToSpace",
    "Div",
    "Einsum",
    "Elu",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "LRN",
    "LSTM",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MatMul",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "PRelu",
    "Pad",
    "Pow",
    "RNN",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Resize",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Upsample",
];
const BOOLEAN: &[&str] = &[
    "And",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "IsInf",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "Not",
    "Or",
    "Xor",
];

/// Corrects the types of the outputs of known operators (the nodes are sorted). A value of
/// another type than its tensor is dropped.
pub(crate) fn correct(graph: &GraphProto, facts: &mut Facts) {
    for node in &graph.node {
        for (i, name) in node.output.iter().enumerate() {
            if name.is_empty() {
                continue;
            }
            if let Some(dtype) = output_type(node, i, facts) {
                let fact = facts.entry(name.clone()).or_default();
                fact.dtype = Some(dtype);
                if fact
                    .value
                    .as_ref()
                    .is_some_and(|v| v.values.dtype() != dtype)
                {
                    fact.value = None;
                }
            }
        }
    }
}

/// The type of an output, where the standard fixes it by what is known.
fn output_type(node: &NodeProto, output: usize, facts: &Facts) -> Option<DataType> {
    if !node.is_standard() {
        return None;
    }
    let input = |i: usize| {
        let name = node.input.get(i).filter(|s| !s.is_empty())?;
        facts.get(name)?.dtype
    };
    let attribute = |name: &str| {
        let number = node.int(name).ok()??;
        match DataType::from_number(i32::try_from(number).ok()) {
            DataType::Undefined => None,
            d => Some(d),
        }
    };
    match (node.op_type(), output) {
        ("Cast", _) => attribute("to"),
        ("CastLike" | "Where", _) => input(1),
        ("Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin", _) => Some(DataType::I64),
        ("ConstantOfShape", _) => match node.tensor("value").ok()? {
            Some(t) => tensor::dtype(t).ok(),
            None => Some(DataType::F32),
        },
        ("TopK" | "MaxPool", 0) | ("Dropout", 0) => input(0),
        ("TopK" | "MaxPool", 1) => Some(DataType::I64),
        ("OneHot", _) => input(2),
        ("QuantizeLinear", _) => attribute("output_dtype")
            .or_else(|| input(2))
            .or(Some(DataType::U8)),
        ("DequantizeLinear", _) => attribute("output_dtype").or_else(|| input(1)),
        ("MatMulInteger" | "ConvInteger", _) => Some(DataType::I32),
        (op, _) if BOOLEAN.contains(&op) => Some(DataType::Bool),
        (op, _) if LIKE_FIRST.contains(&op) => input(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Fact;
    use dsperse_onnx::{AttributeProto, Tensor, Values};

    #[test]
    fn the_standard_has_the_last_word() {
        let graph = GraphProto {
            node: vec![
                NodeProto::new("Shape", &["x"], &["s"]),
                NodeProto::new("Cast", &["s"], &["c"]).with(AttributeProto::from_int("to", 10)),
                NodeProto::new("Less", &["x", "x"], &["l"]),
                NodeProto::new("Where", &["l", "x", "s"], &["w"]),
                NodeProto::new("TopK", &["w", "k"], &["v", "i"]),
                NodeProto::new("Mystery", &["x"], &["m"]),
            ],
            ..GraphProto::default()
        };
        let mut facts = Facts::new();
        let fact = |dtype| Fact {
            dtype: Some(dtype),
            value: Tensor::new(vec![], Values::F64(vec![0.0])),
            ..Fact::default()
        };
        for name in ["s", "c", "l", "w", "v", "i", "m"] {
            facts.insert(name.into(), fact(DataType::F64));
        }
        facts.insert("x".into(), fact(DataType::F32));
        correct(&graph, &mut facts);
        let types: Vec<Option<DataType>> = ["s", "c", "l", "w", "v", "i", "m"]
            .iter()
            .map(|n| facts[*n].dtype)
            .collect();
        assert_eq!(
            types,
            [
                DataType::I64,
                DataType::F16,
                DataType::Bool,
                DataType::F32,
                DataType::F32,
                DataType::I64,
                DataType::F64
            ]
            .map(Some)
        );
        assert_eq!(facts["s"].value, None);
        assert!(facts["m"].value.is_some());
    }
}
