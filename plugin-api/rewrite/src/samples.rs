//! A small node of each operator that has a rule, to find out which of them a consumer gains.

use crate::driver::rewrite;
use crate::rule::{MICROSOFT, ML, Site};
use crate::rules::RULES;
use dsperse_onnx::{
    AttributeProto, AttributeType, DataType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    Tensor, TypeProto, ValueInfoProto, Values, type_proto,
};

/// An operator that a consumer does by rewriting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gained {
    /// Domain of the operator; empty for the standard's own.
    pub domain: &'static str,
    /// The operator.
    pub operator: &'static str,
}

/// The operators that a consumer with these native nodes does by rewriting, at least with
/// ordinary attributes and shapes: found by rewriting a small node of each. Sorted; those
/// that are native themselves are not among them.
pub fn gained(native: &dyn Fn(&Site<'_>) -> bool) -> Vec<Gained> {
    let mut out: Vec<Gained> = RULES
        .iter()
        .filter(|r| {
            let samples = of(r.domain, r.operator);
            samples.into_iter().any(|mut m| {
                rewrite(&mut m, native)
                    .is_ok_and(|o| o.declined.is_empty() && !o.applied.is_empty())
            })
        })
        .map(|r| Gained {
            domain: r.domain,
            operator: r.operator,
        })
        .collect();
    out.sort();
    out.dedup();
    out
}

/// An operand of a sample.
enum X<'a> {
    /// Given when it is run.
    Free(DataType, &'a [usize]),
    /// Fixed floats.
    Fixed(&'a [usize]),
    /// Fixed integers.
    Ints(&'a [i64]),
    /// A fixed tensor.
    Of(Tensor),
    /// Left out.
    None,
}

const F: DataType = DataType::F32;

fn fixed(shape: &[usize]) -> Tensor {
    let count = shape.iter().product();
    #[allow(clippy::cast_precision_loss)] // a few elements
    let values = (0..count).map(|i| 0.5 + i as f32 / 16.0).collect();
    Tensor {
        dims: shape.to_vec(),
        values: Values::F32(values),
    }
}

fn scalar(values: Values) -> X<'static> {
    X::Of(Tensor {
        dims: vec![],
        values,
    })
}

fn model(node: NodeProto, operands: &[X<'_>], outputs: &[DataType]) -> ModelProto {
    let mut node = node;
    let mut graph = GraphProto {
        name: Some("sample".into()),
        ..GraphProto::default()
    };
    for (i, x) in operands.iter().enumerate() {
        let name = format!("x{i}");
        let tensor = match x {
            X::None => {
                node.input.push(String::new());
                continue;
            }
            X::Free(dtype, shape) => {
                let shape: Vec<u64> = shape.iter().map(|d| *d as u64).collect();
                let info = ValueInfoProto::concrete(&name, *dtype, &shape);
                graph.input.push(info);
                None
            }
            X::Fixed(shape) => Some(fixed(shape)),
            X::Ints(v) => Some(Tensor {
                dims: vec![v.len()],
                values: Values::I64(v.to_vec()),
            }),
            X::Of(t) => Some(t.clone()),
        };
        graph.initializer.extend(tensor.map(|t| t.to_proto(&name)));
        node.input.push(name);
    }
    for (i, dtype) in outputs.iter().enumerate() {
        let name = format!("y{i}");
        node.output.push(name.clone());
        // The shapes are left to the rules.
        graph.output.push(ValueInfoProto {
            name: Some(name),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: Some(dtype.number()),
                    shape: None,
                })),
                denotation: None,
            }),
            ..ValueInfoProto::default()
        });
    }
    let opset = match node.op_type() {
        "Upsample" => 9,
        "Scatter" => 10,
        "GroupNormalization" | "TreeEnsemble" => 21,
        "Attention" | "RMSNormalization" | "RotaryEmbedding" | "Gelu" => 23,
        "Swish" => 24,
        _ => 18,
    };
    let domain = node.domain().to_owned();
    graph.node = vec![node];
    let mut out = ModelProto::from_graph(graph, opset);
    if !domain.is_empty() {
        let version = if domain == ML { 3 } else { 1 };
        out.opset_import.push(OperatorSetIdProto {
            domain: Some(domain),
            version: Some(version),
        });
    }
    out
}

fn int(name: &str, v: i64) -> AttributeProto {
    AttributeProto::from_int(name, v)
}
fn ints(name: &str, v: &[i64]) -> AttributeProto {
    AttributeProto::from_ints(name, v)
}
fn floats(name: &str, v: &[f32]) -> AttributeProto {
    AttributeProto::from_floats(name, v)
}
fn text(name: &str, v: &str) -> AttributeProto {
    AttributeProto::from_string(name, v)
}
fn tensor(name: &str, values: Values) -> AttributeProto {
    let t = Tensor {
        dims: vec![values.len()],
        values,
    };
    AttributeProto::from_tensor(name, t.to_proto(""))
}

/// Small models of one node of the operator; none for an operator without a rule.
fn of(domain: &'static str, operator: &'static str) -> Vec<ModelProto> {
    let sample = |operands: &[X<'_>], attributes: Vec<AttributeProto>, outputs: &[DataType]| {
        let node = NodeProto {
            op_type: Some(operator.to_owned()),
            domain: (!domain.is_empty()).then(|| domain.to_owned()),
            attribute: attributes,
            ..NodeProto::default()
        };
        model(node, operands, outputs)
    };
    match domain {
        "" => standard(operator, &sample),
        ML => classical(operator, &sample),
        MICROSOFT => contributed(operator, &sample),
        _ => vec![],
    }
}

type Make<'a> = dyn Fn(&[X<'_>], Vec<AttributeProto>, &[DataType]) -> ModelProto + 'a;

#[allow(clippy::too_many_lines)] // a table
fn standard(operator: &str, m: &Make<'_>) -> Vec<ModelProto> {
    use DataType::{Bool, I32, I64, U8};
    use X::{Fixed, Free, Ints, None as Absent};
    let image: &[usize] = &[1, 4, 4, 4];
    let row: &[usize] = &[1, 6];
    let one = vec![];
    let u8s = |v: u8| scalar(Values::U8(vec![v]));
    let f32s = |v: f32| scalar(Values::F32(vec![v]));
    let bytes = |shape: &[usize]| {
        let count: usize = shape.iter().product();
        X::Of(Tensor {
            dims: shape.to_vec(),
            values: Values::U8(vec![3; count]),
        })
    };
    match operator {
        "Max" | "Min" => vec![
            m(&[Free(F, row), Free(F, row)], one.clone(), &[F]),
            m(&[Free(F, row), Fixed(&[1])], one, &[F]),
        ],
        "Mean" | "Sum" => vec![m(&[Free(F, row), Free(F, row), Free(F, row)], one, &[F])],
        "Mod" => vec![m(&[Free(F, row), Fixed(&[1])], vec![int("fmod", 1)], &[F])],
        "Pow" => vec![m(&[Free(F, row), f32s(2.0)], one, &[F])],
        "PRelu" => vec![m(&[Free(F, row), Fixed(&[6])], one, &[F])],
        "GreaterOrEqual" | "LessOrEqual" => {
            vec![m(&[Free(F, row), Free(F, row)], one, &[Bool])]
        }
        "And" | "Or" | "Xor" => vec![m(&[Free(Bool, row), Free(Bool, row)], one, &[Bool])],
        "Not" => vec![m(&[Free(Bool, row)], one, &[Bool])],
        "IsNaN" => vec![m(&[Free(F, row)], one, &[Bool])],
        "Where" => vec![m(&[Free(Bool, row), Free(F, row), Free(F, row)], one, &[F])],
        "CastLike" => vec![m(&[Free(I64, row), Fixed(&[1])], one, &[F])],
        "Clip" => vec![m(&[Free(F, row), f32s(0.0), f32s(1.0)], one, &[F])],
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceSumSquare"
        | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceMax" | "ReduceSum" => {
            vec![m(&[Free(F, row), Ints(&[1])], one, &[F])]
        }
        "ArgMax" | "ArgMin" => vec![m(&[Free(F, row)], vec![int("axis", 1)], &[I64])],
        "LayerNormalization" => vec![m(&[Free(F, row), Fixed(&[6]), Fixed(&[6])], one, &[F])],
        "RMSNormalization" | "SimplifiedLayerNormalization" => {
            vec![m(&[Free(F, row), Fixed(&[6])], one, &[F])]
        }
        "InstanceNormalization" => vec![m(&[Free(F, image), Fixed(&[4]), Fixed(&[4])], one, &[F])],
        "GroupNormalization" => vec![m(
            &[Free(F, image), Fixed(&[4]), Fixed(&[4])],
            vec![int("num_groups", 2)],
            &[F],
        )],
        "BatchNormalization" => vec![m(
            &[
                Free(F, image),
                Fixed(&[4]),
                Fixed(&[4]),
                Fixed(&[4]),
                Fixed(&[4]),
            ],
            one,
            &[F],
        )],
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" | "MeanVarianceNormalization" => {
            vec![m(&[Free(F, image)], one, &[F])]
        }
        "LRN" => vec![m(&[Free(F, image)], vec![int("size", 3)], &[F])],
        "MaxPool" | "AveragePool" | "LpPool" => vec![
            m(&[Free(F, image)], vec![ints("kernel_shape", &[2, 2])], &[F]),
            m(
                &[Free(F, image)],
                vec![ints("kernel_shape", &[2, 2]), ints("pads", &[1, 1, 0, 0])],
                &[F],
            ),
        ],
        "Conv" => vec![
            m(
                &[Free(F, image), Fixed(&[4, 1, 2, 2])],
                vec![int("group", 4)],
                &[F],
            ),
            m(&[Free(F, &[1, 2, 6]), Fixed(&[2, 2, 3])], vec![], &[F]),
        ],
        "ConvTranspose" => vec![m(
            &[Free(F, image), Fixed(&[4, 2, 2, 2])],
            vec![ints("strides", &[2, 2])],
            &[F],
        )],
        "Einsum" => vec![m(
            &[Free(F, &[2, 3]), Fixed(&[3, 4])],
            vec![text("equation", "ij,jk->ik")],
            &[F],
        )],
        "Gemm" | "MatMul" => vec![
            m(&[Free(F, row), Fixed(&[6, 2])], vec![], &[F]),
            m(&[Free(F, &[1, 2, 6]), Fixed(&[6, 2])], vec![], &[F]),
        ],
        "ConstantOfShape" => vec![m(&[Ints(&[2])], one, &[F])],
        "Range" => vec![m(
            &[
                scalar(Values::I64(vec![0])),
                scalar(Values::I64(vec![3])),
                scalar(Values::I64(vec![1])),
            ],
            one,
            &[I64],
        )],
        "Shape" | "Size" => vec![m(&[Free(F, row)], one, &[I64])],
        "EyeLike" => vec![m(&[Free(F, &[3, 3])], one, &[F])],
        "CumSum" => vec![m(&[Free(F, row), scalar(Values::I64(vec![1]))], one, &[F])],
        "DepthToSpace" | "SpaceToDepth" => {
            vec![m(&[Free(F, image)], vec![int("blocksize", 2)], &[F])]
        }
        "GatherElements" => vec![m(
            &[
                Free(F, row),
                X::Of(Tensor {
                    dims: vec![1, 2],
                    values: Values::I64(vec![3, 1]),
                }),
            ],
            vec![int("axis", 1)],
            &[F],
        )],
        "GatherND" => vec![m(&[Free(F, &[2, 6]), Ints(&[1])], one, &[F])],
        "Gather" => vec![
            m(&[Free(F, row), Ints(&[3, 1])], vec![int("axis", 1)], &[F]),
            m(&[Fixed(&[5, 2]), Free(I64, &[1, 3])], vec![], &[F]),
        ],
        "Slice" => vec![m(
            &[Free(F, row), Ints(&[1]), Ints(&[5]), Ints(&[1]), Ints(&[2])],
            one,
            &[F],
        )],
        "Transpose" => vec![m(&[Free(F, &[2, 3])], one, &[F])],
        "Concat" => vec![m(&[Free(F, row), Free(F, row)], vec![int("axis", 1)], &[F])],
        "Split" => vec![m(
            &[Free(F, row), Ints(&[2, 4])],
            vec![int("axis", 1)],
            &[F, F],
        )],
        "Flatten" | "Identity" | "Dropout" => vec![m(&[Free(F, image)], one, &[F])],
        "Squeeze" => vec![m(&[Free(F, row), Ints(&[0])], one, &[F])],
        "Unsqueeze" => vec![m(&[Free(F, row), Ints(&[0])], one, &[F])],
        "Pad" => vec![
            m(
                &[Free(F, row), Ints(&[0, 1, 0, 2])],
                vec![text("mode", "edge")],
                &[F],
            ),
            m(&[Free(F, row), Ints(&[0, 1, 0, 2])], vec![], &[F]),
        ],
        "OneHot" => vec![m(
            &[Free(I64, &[2]), scalar(Values::I64(vec![3])), Fixed(&[2])],
            one,
            &[F],
        )],
        "ScatterND" => vec![m(
            &[
                Free(F, row),
                X::Of(Tensor {
                    dims: vec![1, 2],
                    values: Values::I64(vec![0, 2]),
                }),
                Free(F, &[1]),
            ],
            one,
            &[F],
        )],
        "ScatterElements" | "Scatter" => vec![m(
            &[
                Free(F, row),
                X::Of(Tensor {
                    dims: vec![1, 1],
                    values: Values::I64(vec![2]),
                }),
                Free(F, &[1, 1]),
            ],
            vec![int("axis", 1)],
            &[F],
        )],
        "ReverseSequence" => vec![m(&[Free(F, &[3, 2]), Ints(&[2, 3])], one, &[F])],
        "Tile" => vec![m(&[Free(F, row), Ints(&[1, 2])], one, &[F])],
        "Expand" => vec![m(&[Free(F, row), Ints(&[3, 6])], one, &[F])],
        "TopK" => vec![m(&[Free(F, row), Ints(&[2])], one, &[F, I64])],
        "Trilu" => vec![m(&[Free(F, &[3, 3])], one, &[F])],
        "Resize" => vec![m(
            &[Free(F, image), Absent, Absent, Ints(&[1, 4, 8, 8])],
            one,
            &[F],
        )],
        "Upsample" => vec![m(
            &[
                Free(F, image),
                X::Of(Tensor {
                    dims: vec![4],
                    values: Values::F32(vec![1.0, 1.0, 2.0, 2.0]),
                }),
            ],
            one,
            &[F],
        )],
        "QuantizeLinear" => vec![m(&[Free(F, row), f32s(0.1), u8s(3)], one, &[U8])],
        "DequantizeLinear" => vec![m(&[Free(U8, row), f32s(0.1), u8s(3)], one, &[F])],
        "DynamicQuantizeLinear" => vec![m(&[Free(F, row)], one, &[U8, F, U8])],
        "MatMulInteger" => vec![m(&[Free(U8, row), bytes(&[6, 2])], one, &[I32])],
        "ConvInteger" => vec![m(&[Free(U8, image), bytes(&[2, 4, 2, 2])], one, &[I32])],
        "QLinearConv" => vec![m(
            &[
                Free(U8, image),
                f32s(0.1),
                u8s(3),
                bytes(&[2, 4, 2, 2]),
                f32s(0.1),
                u8s(3),
                f32s(0.1),
                u8s(3),
            ],
            one,
            &[U8],
        )],
        "QLinearMatMul" => vec![m(
            &[
                Free(U8, row),
                f32s(0.1),
                u8s(3),
                bytes(&[6, 2]),
                f32s(0.1),
                u8s(3),
                f32s(0.1),
                u8s(3),
            ],
            one,
            &[U8],
        )],
        "Attention" => vec![m(
            &[
                Free(F, &[1, 2, 3, 4]),
                Free(F, &[1, 2, 3, 4]),
                Free(F, &[1, 2, 3, 4]),
            ],
            one,
            &[F],
        )],
        "RotaryEmbedding" => vec![m(
            &[Free(F, &[1, 2, 3, 4]), Fixed(&[1, 3, 2]), Fixed(&[1, 3, 2])],
            one,
            &[F],
        )],
        "RNN" | "GRU" | "LSTM" => {
            let gates = match operator {
                "LSTM" => 4,
                "GRU" => 3,
                _ => 1,
            };
            vec![m(
                &[
                    Free(F, &[2, 1, 3]),
                    Fixed(&[1, 2 * gates, 3]),
                    Fixed(&[1, 2 * gates, 2]),
                ],
                vec![int("hidden_size", 2)],
                &[F],
            )]
        }
        // One operand, and nothing that must be said.
        _ => vec![m(&[Free(F, row)], one, &[F])],
    }
}

fn classical(operator: &str, m: &Make<'_>) -> Vec<ModelProto> {
    use DataType::I64;
    use X::{Free, Ints};
    let x = || Free(F, &[1, 3]);
    let labels = |name: &str| ints(name, &[0, 1]);
    let tree = |kind: &str| {
        let list = |part: &str, v: &[i64]| ints(&format!("{kind}_{part}"), v);
        vec![
            ints("nodes_treeids", &[0, 0, 0]),
            ints("nodes_nodeids", &[0, 1, 2]),
            ints("nodes_featureids", &[0, 0, 0]),
            ints("nodes_truenodeids", &[1, 0, 0]),
            ints("nodes_falsenodeids", &[2, 0, 0]),
            floats("nodes_values", &[0.5, 0.0, 0.0]),
            AttributeProto {
                name: Some("nodes_modes".into()),
                r#type: Some(AttributeType::Strings as i32),
                strings: ["BRANCH_LEQ", "LEAF", "LEAF"]
                    .iter()
                    .map(|m| m.as_bytes().into())
                    .collect(),
                ..AttributeProto::default()
            },
            list("treeids", &[0, 0]),
            list("nodeids", &[1, 2]),
            list("ids", &[0, 0]),
            floats(&format!("{kind}_weights"), &[0.25, 0.75]),
        ]
    };
    let kernel = || {
        vec![
            floats("kernel_params", &[0.5, 0.0, 3.0]),
            text("kernel_type", "LINEAR"),
            floats("support_vectors", &[1.0; 6]),
            floats("coefficients", &[0.5, -0.5]),
            floats("rho", &[0.1]),
        ]
    };
    match operator {
        "Scaler" => vec![m(
            &[x()],
            vec![floats("offset", &[0.5]), floats("scale", &[2.0])],
            &[F],
        )],
        "Normalizer" => vec![m(&[x()], vec![text("norm", "L1")], &[F])],
        "ArrayFeatureExtractor" => vec![m(&[x(), Ints(&[1])], vec![], &[F])],
        "LinearRegressor" => vec![m(
            &[x()],
            vec![
                floats("coefficients", &[1.0; 3]),
                floats("intercepts", &[0.5]),
            ],
            &[F],
        )],
        "LinearClassifier" => vec![m(
            &[x()],
            vec![
                floats("coefficients", &[1.0; 6]),
                floats("intercepts", &[0.5; 2]),
                labels("classlabels_ints"),
            ],
            &[I64, F],
        )],
        "TreeEnsembleRegressor" => vec![m(&[x()], tree("target"), &[F])],
        "TreeEnsembleClassifier" => {
            let mut attributes = tree("class");
            attributes.push(labels("classlabels_int64s"));
            vec![m(&[x()], attributes, &[I64, F])]
        }
        "TreeEnsemble" => vec![m(
            &[x()],
            vec![
                ints("tree_roots", &[0]),
                ints("nodes_featureids", &[0]),
                ints("nodes_truenodeids", &[0]),
                ints("nodes_falsenodeids", &[1]),
                ints("nodes_trueleafs", &[1]),
                ints("nodes_falseleafs", &[1]),
                tensor("nodes_modes", Values::U8(vec![0])),
                tensor("nodes_splits", Values::F32(vec![0.5])),
                ints("leaf_targetids", &[0, 0]),
                tensor("leaf_weights", Values::F32(vec![0.25, 0.75])),
            ],
            &[F],
        )],
        "SVMClassifier" => {
            let mut attributes = kernel();
            attributes.push(ints("vectors_per_class", &[1, 1]));
            attributes.push(labels("classlabels_ints"));
            vec![m(&[x()], attributes, &[I64, F])]
        }
        "SVMRegressor" => {
            let mut attributes = kernel();
            attributes.push(int("n_supports", 2));
            vec![m(&[x()], attributes, &[F])]
        }
        "LabelEncoder" => vec![m(
            &[Free(I64, &[2])],
            vec![
                ints("keys_int64s", &[1, 2]),
                floats("values_floats", &[0.5, 1.5]),
            ],
            &[F],
        )],
        "OneHotEncoder" => vec![m(
            &[Free(I64, &[2])],
            vec![ints("cats_int64s", &[1, 2])],
            &[F],
        )],
        "Imputer" => vec![m(
            &[x()],
            vec![
                floats("imputed_value_floats", &[1.0]),
                AttributeProto::from_float("replaced_value_float", f32::NAN),
            ],
            &[F],
        )],
        _ => vec![m(&[x()], vec![], &[F])],
    }
}

fn contributed(operator: &str, m: &Make<'_>) -> Vec<ModelProto> {
    use DataType::{I32, U8};
    use X::{Fixed, Free};
    let row = || Free(F, &[1, 6]);
    let words = || Free(F, &[1, 3, 4]);
    let u8s = || scalar(Values::U8(vec![3]));
    let f32s = || scalar(Values::F32(vec![0.1]));
    let bytes = |shape: &[usize]| {
        let count: usize = shape.iter().product();
        X::Of(Tensor {
            dims: shape.to_vec(),
            values: Values::U8(vec![3; count]),
        })
    };
    let quantised = || Free(U8, &[1, 6]);
    match operator {
        "BiasGelu" => vec![m(&[row(), Fixed(&[6])], vec![], &[F])],
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
            vec![m(&[words(), words(), Fixed(&[4])], vec![], &[F])]
        }
        "FusedMatMul" => vec![m(&[row(), Fixed(&[6, 2])], vec![], &[F])],
        "FusedConv" => vec![m(
            &[Free(F, &[1, 2, 4, 4]), Fixed(&[2, 2, 2, 2])],
            vec![text("activation", "Relu")],
            &[F],
        )],
        "MultiHeadAttention" => vec![m(
            &[words(), words(), words()],
            vec![int("num_heads", 2)],
            &[F],
        )],
        "GroupQueryAttention" => vec![m(
            &[
                words(),
                words(),
                words(),
                X::None,
                X::None,
                X::Of(Tensor {
                    dims: vec![1],
                    values: Values::I32(vec![2]),
                }),
                scalar(Values::I32(vec![3])),
            ],
            vec![int("num_heads", 2), int("kv_num_heads", 2)],
            &[F],
        )],
        "Attention" => vec![m(
            &[words(), Fixed(&[4, 12]), Fixed(&[12])],
            vec![int("num_heads", 2)],
            &[F],
        )],
        "RotaryEmbedding" => vec![m(
            &[
                words(),
                X::Of(Tensor {
                    dims: vec![1, 3],
                    values: Values::I64(vec![0, 1, 2]),
                }),
                Fixed(&[4, 2]),
                Fixed(&[4, 2]),
            ],
            vec![],
            &[F],
        )],
        "EmbedLayerNormalization" => vec![m(
            &[
                Free(I32, &[1, 3]),
                X::None,
                Fixed(&[5, 4]),
                Fixed(&[3, 4]),
                X::None,
                Fixed(&[4]),
                Fixed(&[4]),
            ],
            vec![],
            &[F],
        )],
        "QLinearAdd" | "QLinearMul" => vec![m(
            &[
                quantised(),
                f32s(),
                u8s(),
                quantised(),
                f32s(),
                u8s(),
                f32s(),
                u8s(),
            ],
            vec![],
            &[U8],
        )],
        "QLinearConcat" => vec![m(
            &[f32s(), u8s(), quantised(), f32s(), u8s()],
            vec![int("axis", 1)],
            &[U8],
        )],
        "QLinearAveragePool" | "QLinearGlobalAveragePool" => vec![m(
            &[Free(U8, &[1, 2, 4, 4]), f32s(), u8s(), f32s(), u8s()],
            vec![ints("kernel_shape", &[2, 2])],
            &[U8],
        )],
        "QLinearSigmoid" | "QLinearLeakyRelu" | "QLinearSoftmax" => vec![m(
            &[quantised(), f32s(), u8s(), f32s(), u8s()],
            vec![],
            &[U8],
        )],
        "QGemm" => vec![m(
            &[quantised(), f32s(), u8s(), bytes(&[6, 2]), f32s(), u8s()],
            vec![],
            &[F],
        )],
        "MatMulIntegerToFloat" => vec![m(
            &[quantised(), bytes(&[6, 2]), f32s(), f32s(), u8s(), u8s()],
            vec![],
            &[F],
        )],
        "DynamicQuantizeMatMul" => {
            vec![m(&[row(), bytes(&[6, 2]), f32s(), u8s()], vec![], &[F])]
        }
        "QuantizeLinear" => vec![m(&[row(), f32s(), u8s()], vec![], &[U8])],
        "DequantizeLinear" => vec![m(&[quantised(), f32s(), u8s()], vec![], &[F])],
        _ => vec![m(&[row()], vec![], &[F])],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a consumer has that knows arithmetic, comparisons and movement.
    fn plain(site: &Site<'_>) -> bool {
        let native = [
            "Add",
            "Atan",
            "Cast",
            "Clip",
            "Concat",
            "Conv",
            "Div",
            "Equal",
            "Erf",
            "Exp",
            "Floor",
            "Gather",
            "Greater",
            "Identity",
            "Less",
            "Log",
            "MatMul",
            "Mul",
            "Not",
            "Or",
            "Pad",
            "ReduceMax",
            "ReduceSum",
            "Relu",
            "Reshape",
            "Sin",
            "Slice",
            "Sqrt",
            "Sub",
            "Transpose",
            "AveragePool",
            "MaxPool",
        ];
        site.node().is_standard()
            && native.contains(&site.operator())
            && !(site.operator() == "Slice" && site.has(4))
            && !(site.operator() == "Conv" && site.input_type(0).is_none_or(|t| t.shape.len() != 4))
    }

    #[test]
    fn every_operator_with_a_rule_has_a_sample_that_rules_take() {
        let gained = gained(&plain);
        let missing: Vec<&str> = RULES
            .iter()
            .filter(|r| {
                let found = Gained {
                    domain: r.domain,
                    operator: r.operator,
                };
                !gained.contains(&found) && !NATIVE.contains(&r.operator)
            })
            .map(|r| r.name)
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// Rules for operators that `plain` has, at least in the form of the sample.
    const NATIVE: &[&str] = &[
        "Identity",
        "Not",
        "Or",
        "Relu",
        "Clip",
        "MatMul",
        "Gather",
        "Pad",
        "MaxPool",
        "AveragePool",
        "Transpose",
        "Concat",
        "ReduceSum",
    ];
}
