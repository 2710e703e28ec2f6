//! Models that are wrong in their structure rather than in their bytes: a script of bytes
//! becomes edits of a valid model. Used by the tests here and by the fuzz target.

use dsperse_onnx::{AttributeProto, DataType, Dim, ModelProto, Tensor, ValueInfoProto, Values};

const OPERATORS: &[&str] = &[
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvTranspose",
    "CumSum",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Einsum",
    "Expand",
    "Flatten",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gemm",
    "GlobalAveragePool",
    "Identity",
    "If",
    "InstanceNormalization",
    "LSTM",
    "LayerNormalization",
    "Loop",
    "MatMul",
    "MaxPool",
    "Mod",
    "NonZero",
    "OneHot",
    "Pad",
    "Pow",
    "QLinearConv",
    "QuantizeLinear",
    "RNN",
    "Range",
    "ReduceSum",
    "Reshape",
    "Resize",
    "Scan",
    "ScatterElements",
    "ScatterND",
    "Shape",
    "Slice",
    "Softmax",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Upsample",
    "Where",
];
const ATTRIBUTES: &[&str] = &[
    "axis",
    "axes",
    "perm",
    "pads",
    "strides",
    "dilations",
    "group",
    "kernel_shape",
    "to",
    "mode",
    "keepdims",
    "hidden_size",
    "direction",
    "auto_pad",
    "blocksize",
    "output_padding",
    "split",
    "num_outputs",
    "value",
    "value_ints",
    "equation",
    "scales",
    "ceil_mode",
    "transA",
    "allowzero",
    "k",
    "body",
    "then_branch",
];
const NUMBERS: &[i64] = &[
    0,
    1,
    2,
    3,
    5,
    -1,
    -2,
    -7,
    64,
    1 << 20,
    1 << 31,
    1 << 40,
    i64::MAX,
    i64::MIN,
];

/// Applies the edits that the script asks for.
pub fn edited(mut model: ModelProto, script: &[u8]) -> ModelProto {
    let Some(graph) = model.graph.as_mut() else {
        return model;
    };
    let (steps, _) = script.as_chunks::<4>();
    for [what, a, b, c] in steps {
        let (a, b, c) = (usize::from(*a), usize::from(*b), usize::from(*c));
        if graph.node.is_empty() || graph.input.is_empty() {
            break;
        }
        let mut names: Vec<String> = graph
            .initializer
            .iter()
            .map(|t| t.name().to_owned())
            .chain(graph.input.iter().map(|v| v.name().to_owned()))
            .chain(graph.node.iter().flat_map(|n| n.output.clone()))
            .collect();
        names.push(String::new());
        let name = names[c % names.len()].clone();
        let number = NUMBERS[c % NUMBERS.len()];
        let count = graph.node.len();
        let node = &mut graph.node[a % count];
        match what % 11 {
            0 => node.op_type = Some(OPERATORS[b % OPERATORS.len()].into()),
            1 => match node.input.len() {
                0 => node.input.push(name),
                n => node.input[b % n] = name,
            },
            2 => node.input.push(name),
            3 => {
                node.input.truncate(b % 4);
            }
            4 => node.output.push(format!("extra{a}_{b}_{c}")),
            5 => {
                let attribute = ATTRIBUTES[b % ATTRIBUTES.len()];
                node.attribute.retain(|x| x.name() != attribute);
                let value = match c % 5 {
                    0 => AttributeProto::from_ints(attribute, &[number; 4]),
                    1 => AttributeProto::from_string(attribute, "linear"),
                    2 => AttributeProto::from_float(attribute, f32::NAN),
                    3 => AttributeProto::from_tensor(attribute, small(b, number, "")),
                    _ => AttributeProto::from_int(attribute, number),
                };
                node.attribute.push(value);
            }
            6 => graph
                .initializer
                .push(small(a, number, &format!("small{a}_{b}_{c}"))),
            7 => {
                let at = b % graph.input.len();
                let dims = vec![Dim::Known(number.unsigned_abs()); a % 6];
                let input = graph.input[at].name().to_owned();
                graph.input[at] = ValueInfoProto::tensor(&input, DataType::F32, &dims);
            }
            8 => {
                let copy = graph.node[b % count].clone();
                graph.node.insert(a % count, copy);
            }
            9 => {
                graph.node.remove(a % count);
            }
            _ => {
                let inner = graph.clone();
                let attribute = ["then_branch", "else_branch", "body"][b % 3];
                if inner.node.iter().all(|n| n.subgraphs().next().is_none()) {
                    graph.node[a % count]
                        .attribute
                        .push(AttributeProto::from_graph(attribute, inner));
                }
            }
        }
    }
    model
}

/// A small constant of integers, with a size that may ask for too much.
fn small(len: usize, number: i64, name: &str) -> dsperse_onnx::TensorProto {
    let values = vec![number; len % 5];
    Tensor {
        dims: vec![values.len()],
        values: Values::I64(values),
    }
    .to_proto(name)
}
