//! Which nodes the importer reads itself; all others are rewritten by simpler ones first.

use dsperse_rewrite::Site;

/// Operators that are read without conditions.
const PLAIN: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "Atan",
    "AveragePool",
    "Cast",
    "Ceil",
    "Concat",
    "Constant",
    "Cos",
    "Div",
    "Dropout",
    "Equal",
    "Erf",
    "Exp",
    "Flatten",
    "Floor",
    "Gather",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "LRN",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "MatMul",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "RMSNormalization",
    "Reciprocal",
    "Relu",
    "Round",
    "Shape",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softmax",
    "Sqrt",
    "Sub",
    "Sum",
    "Tanh",
    "Transpose",
    "Where",
    "Xor",
];

/// Whether the importer reads the node itself.
#[must_use]
pub fn is_native(site: &Site<'_>) -> bool {
    if !site.node().is_standard() {
        return false;
    }
    let constant =
        |from: usize| (from..site.node().input.len()).all(|i| !site.has(i) || site.is_constant(i));
    match site.operator() {
        "BatchNormalization" | "Clip" | "Expand" | "Pad" | "ReduceMax" | "ReduceMean"
        | "ReduceMin" | "ReduceSum" | "Reshape" | "Slice" | "Split" | "Squeeze" | "Unsqueeze" => {
            constant(1)
        }
        "QuantizeLinear" | "DequantizeLinear" => {
            constant(1) && site.node().int_or("block_size", 0).is_ok_and(|b| b == 0)
        }
        "ConstantOfShape" => constant(0),
        "Conv" => {
            let shape = site.input_type(0).map(|t| t.shape.len());
            let group = site.node().int_or("group", 1).unwrap_or(1);
            // A window of three dimensions and groups have too many dimensions together.
            constant(1) && (shape != Some(5) || group == 1)
        }
        "LayerNormalization" => (1..3).all(|i| !site.output_is_used(i)),
        "MaxPool" => !site.output_is_used(1),
        "Pow" => {
            let float = site.input_type(0).is_none_or(|t| t.dtype.is_float());
            let one = site.input_type(1).is_some_and(|t| t.elements() == Some(1));
            float && one && constant(1)
        }
        operator => PLAIN.binary_search(&operator).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order() {
        assert!(PLAIN.is_sorted());
    }
}
