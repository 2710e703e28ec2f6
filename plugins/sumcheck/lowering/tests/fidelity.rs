//! Kinds of models whose numbers differ much in size: an accepted program is within the
//! target of the float reference, on samples that calibration did not see.

use dsperse_onnx::{
    AttributeProto, DataType, GraphProto, ModelProto, NodeProto, Tensor, TensorProto,
    ValueInfoProto, Values,
};
use dsperse_sumcheck_lowering::array::Array;
use dsperse_sumcheck_lowering::graph::evaluate;
use dsperse_sumcheck_lowering::quantise::Precision;
use dsperse_sumcheck_lowering::{Calibration, Lowered, Settings, lower, measure};

/// SplitMix64 (Steele, Lea, Flood 2014), as numbers in -1..1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / 2f64.powi(52) - 1.0
    }

    fn array(&mut self, shape: &[usize]) -> Array {
        let n = shape.iter().product();
        Array {
            shape: shape.to_vec(),
            data: (0..n).map(|_| self.next()).collect(),
        }
    }
}

fn constant(name: &str, shape: &[usize], value: impl Fn(usize) -> f64) -> TensorProto {
    let n: usize = shape.iter().product();
    let data = (0..n).map(|i| value(i) as f32).collect();
    let tensor = Tensor::new(shape.to_vec(), Values::F32(data)).expect("fits");
    tensor.to_proto(name)
}

fn model(nodes: Vec<NodeProto>, constants: Vec<TensorProto>, x: &[usize]) -> ModelProto {
    let x: Vec<u64> = x.iter().map(|&d| d as u64).collect();
    ModelProto::from_graph(
        GraphProto {
            name: Some("case".into()),
            node: nodes,
            initializer: constants,
            input: vec![ValueInfoProto::concrete("x", DataType::F32, &x)],
            output: vec![ValueInfoProto::concrete("y", DataType::F32, &[])],
            ..GraphProto::default()
        },
        17,
    )
}

/// Lowers with two samples and judges on two more.
fn lowered(model: &ModelProto, samples: &[Array]) -> (Lowered, f64) {
    let samples: Vec<Vec<Array>> = samples.iter().map(|s| vec![s.clone()]).collect();
    let (seen, unseen) = samples.split_at(2);
    let calibration = Calibration {
        inputs: seen.to_vec(),
        outputs: Vec::new(),
    };
    let lowered = lower(model, None, &calibration, Settings::default()).expect("lowers");
    let reference: Vec<Vec<Array>> = unseen.iter().map(|s| evaluate(&lowered.graph, s)).collect();
    let judged = measure(&lowered.quantised, unseen, &reference).expect("runs");
    println!(
        "{:?} calibration {:.1e} unseen {:.1e}",
        lowered.precision, lowered.fidelity.relative_error, judged.relative_error
    );
    (lowered, judged.relative_error)
}

fn faithful(model: &ModelProto, samples: &[Array]) -> Precision {
    let (lowered, unseen) = lowered(model, samples);
    assert!(lowered.meets_target, "{:?}", lowered.fidelity);
    assert!(unseen <= 0.01, "{unseen}");
    lowered.precision
}

/// A column of 300 beside columns of 0.01, cut off by a Relu.
#[test]
fn an_outlier_column_does_not_cost_the_others() {
    let mut r = Random(1);
    let w = r.array(&[16, 8]);
    let value = |i: usize| {
        let w = w.data[i];
        if i % 8 == 3 {
            -300.0 * w.abs()
        } else {
            0.01 * w
        }
    };
    let m = model(
        vec![
            NodeProto::new("MatMul", &["x", "w"], &["h"]),
            NodeProto::new("Relu", &["h"], &["y"]),
        ],
        vec![constant("w", &[16, 8], value)],
        &[1, 16],
    );
    let samples: Vec<Array> = (0..4)
        .map(|_| {
            let mut x = r.array(&[1, 16]);
            x.data.iter_mut().for_each(|v| *v = v.abs());
            x
        })
        .collect();
    let precision = faithful(&m, &samples);
    assert!(
        precision.channels && precision.activation_bits <= 16,
        "{precision:?}"
    );
}

/// Depthwise filters whose channels spread by 10^4, which the next layer undoes.
#[test]
fn a_spread_that_the_next_layer_undoes_is_harmless() {
    let mut r = Random(2);
    let (depthwise, pointwise) = (r.array(&[8, 1, 3, 3]), r.array(&[4, 8, 1, 1]));
    let spread = |c: usize| 10f64.powf(4.0 * c as f64 / 7.0);
    let m = model(
        vec![
            NodeProto::new("Conv", &["x", "d"], &["h"])
                .with(AttributeProto::from_int("group", 8))
                .with(AttributeProto::from_ints("pads", &[1, 1, 1, 1])),
            NodeProto::new("Relu", &["h"], &["a"]),
            NodeProto::new("Conv", &["a", "p"], &["y"]),
        ],
        vec![
            constant("d", &[8, 1, 3, 3], |i| depthwise.data[i] * spread(i / 9)),
            constant("p", &[4, 8, 1, 1], |i| pointwise.data[i] / spread(i % 8)),
        ],
        &[1, 8, 6, 6],
    );
    let samples: Vec<Array> = (0..4).map(|_| r.array(&[1, 8, 6, 6])).collect();
    faithful(&m, &samples);
}

/// The same with a limit on both sides, which no channel's scale can follow.
#[test]
fn a_spread_below_a_limit_is_harmless_too() {
    let mut r = Random(3);
    let (depthwise, pointwise) = (r.array(&[8, 1, 3, 3]), r.array(&[4, 8, 1, 1]));
    let spread = |c: usize| 10f64.powf(3.0 * c as f64 / 7.0);
    let m = model(
        vec![
            NodeProto::new("Conv", &["x", "d"], &["h"]).with(AttributeProto::from_int("group", 8)),
            NodeProto::new("Clip", &["h", "lo", "hi"], &["a"]),
            NodeProto::new("Conv", &["a", "p"], &["y"]),
        ],
        vec![
            constant("d", &[8, 1, 3, 3], |i| depthwise.data[i] * spread(i / 9)),
            constant("p", &[4, 8, 1, 1], |i| pointwise.data[i] / spread(i % 8)),
            constant("lo", &[], |_| 0.0),
            constant("hi", &[], |_| 600.0),
        ],
        &[1, 8, 6, 6],
    );
    let samples: Vec<Array> = (0..4).map(|_| r.array(&[1, 8, 6, 6])).collect();
    faithful(&m, &samples);
}

/// A mask that is added to the scores does not eat their range.
#[test]
fn an_added_mask_costs_nothing() {
    for mask in [-1e3, -1e4, -1e9] {
        let mut r = Random(4);
        let w = r.array(&[16, 16]);
        let m = model(
            vec![
                NodeProto::new("MatMul", &["x", "w"], &["q"]),
                NodeProto::new("Transpose", &["x"], &["k"])
                    .with(AttributeProto::from_ints("perm", &[0, 2, 1])),
                NodeProto::new("MatMul", &["q", "k"], &["s"]),
                NodeProto::new("Add", &["s", "mask"], &["sm"]),
                NodeProto::new("Softmax", &["sm"], &["p"]),
                NodeProto::new("MatMul", &["p", "x"], &["y"]),
            ],
            vec![
                constant("w", &[16, 16], |i| w.data[i] / 4.0),
                constant("mask", &[8, 8], |i| if i % 8 > i / 8 { mask } else { 0.0 }),
            ],
            &[1, 8, 16],
        );
        let samples: Vec<Array> = (0..4).map(|_| r.array(&[1, 8, 16])).collect();
        let precision = faithful(&m, &samples);
        assert!(!precision.channels, "mask {mask}: {precision:?}");
    }
}

/// Scores that come masked from the slice before.
#[test]
fn a_masked_input_of_a_softmax_keeps_its_scores() {
    let mut r = Random(8);
    let m = model(
        vec![
            NodeProto::new("Softmax", &["x"], &["p"]),
            NodeProto::new("MatMul", &["p", "v"], &["y"]),
        ],
        vec![constant("v", &[8, 4], |i| (i * 7 % 11) as f64 - 5.0)],
        &[1, 8, 8],
    );
    let samples: Vec<Array> = (0..4)
        .map(|_| {
            let mut x = r.array(&[1, 8, 8]);
            for (i, v) in x.data.iter_mut().enumerate() {
                if i % 8 > i / 8 {
                    *v = -3e38;
                }
            }
            x
        })
        .collect();
    let precision = faithful(&m, &samples);
    assert!(!precision.channels, "{precision:?}");
}

/// Two massive channels in a residual stream, before a normalisation that is asked for the
/// others.
#[test]
fn massive_activations_leave_room_for_the_rest() {
    let mut r = Random(5);
    let (w, v) = (r.array(&[32, 32]), r.array(&[32, 32]));
    let m = model(
        vec![
            NodeProto::new("Add", &["x", "bias"], &["h"]),
            NodeProto::new("MatMul", &["h", "w"], &["d"]),
            NodeProto::new("Add", &["h", "d"], &["s"]),
            NodeProto::new("LayerNormalization", &["s", "gamma", "beta"], &["n"]),
            NodeProto::new("MatMul", &["n", "v"], &["y"]),
        ],
        vec![
            constant("bias", &[32], |i| if i % 16 == 3 { 1500.0 } else { 0.0 }),
            constant("w", &[32, 32], |i| {
                if i / 32 % 16 == 3 {
                    0.0
                } else {
                    0.2 * w.data[i]
                }
            }),
            constant("gamma", &[32], |i| if i % 16 == 3 { 0.001 } else { 40.0 }),
            constant("beta", &[32], |_| 0.0),
            constant("v", &[32, 32], |i| v.data[i]),
        ],
        &[1, 4, 32],
    );
    let samples: Vec<Array> = (0..4).map(|_| r.array(&[1, 4, 32])).collect();
    faithful(&m, &samples);
}

/// One value of 10^4 at a sigmoid's input: beyond what changes the function it saturates.
#[test]
fn a_table_is_as_fine_as_its_function_deserves() {
    let mut r = Random(6);
    let m = model(
        vec![
            NodeProto::new("Mul", &["x", "scale"], &["h"]),
            NodeProto::new("Sigmoid", &["h"], &["y"]),
        ],
        vec![constant("scale", &[64], |i| if i == 9 { 1e4 } else { 1.0 })],
        &[1, 64],
    );
    let samples: Vec<Array> = (0..4).map(|_| r.array(&[1, 64])).collect();
    let precision = faithful(&m, &samples);
    assert!(!precision.channels && !precision.clip, "{precision:?}");
}

/// What the allowed bits can't hold is not accepted, and the worst element is named.
#[test]
fn what_misses_the_target_says_where() {
    let mut r = Random(7);
    let w = r.array(&[16, 8]);
    let m = model(
        vec![NodeProto::new("MatMul", &["x", "w"], &["y"])],
        vec![constant("w", &[16, 8], |i| w.data[i])],
        &[1, 16],
    );
    let calibration = Calibration {
        inputs: vec![vec![r.array(&[1, 16])]],
        outputs: Vec::new(),
    };
    let settings = Settings {
        target: 1e-6,
        least_bits: 8,
        most_bits: 8,
        wide: false,
    };
    let lowered = lower(&m, None, &calibration, settings).expect("lowers");
    assert!(!lowered.meets_target);
    let worst = lowered.fidelity.worst.expect("a place");
    let error = (worst.found - worst.expected).abs();
    assert!(
        worst.output == 0 && worst.element < 8 && error > 0.0,
        "{worst:?}"
    );
}

/// Integers pass a product unchanged, also where its weight is cut along what is summed and
/// along what is not.
#[test]
fn a_weight_in_pieces_gives_the_same_integers() {
    let mut random = Random(11);
    let mut whole = |shape: &[usize], most: f64| {
        let mut array = random.array(shape);
        array.data.iter_mut().for_each(|x| *x = (*x * most).round());
        array
    };
    let weight = whole(&[600, 576], 3.0);
    let proto = constant("w", &weight.shape, |i| weight.data[i]);
    let cases = [
        (NodeProto::new("MatMul", &["x", "w"], &["y"]), vec![3, 600]),
        (
            NodeProto::new("MatMul", &["x", "w"], &["y"]),
            vec![2, 3, 600],
        ),
        (NodeProto::new("MatMul", &["w", "x"], &["y"]), vec![576, 3]),
        (
            NodeProto::new("Gemm", &["x", "w"], &["y"]).with(AttributeProto::from_int("transB", 1)),
            vec![3, 576],
        ),
    ];
    for (node, shape) in cases {
        let samples: Vec<Array> = (0..4).map(|_| whole(&shape, 4.0)).collect();
        let (lowered, unseen) = lowered(&model(vec![node], vec![proto.clone()], &shape), &samples);
        assert_eq!(unseen, 0.0, "{shape:?}");
        // 600 is 512 and 88, 576 is 512 and 64.
        assert_eq!(lowered.quantised.weights.len(), 4, "{shape:?}");
    }
}
