//! One small slice for each operator of ONNX that a proof system may know, with results
//! computed here by the operator's definition: what a backend proves must be these floats.

use crate::stages::{model, noise};
use dsperse_onnx::{AttributeProto, ModelProto, NodeProto, Tensor, TensorProto, Values};

/// A slice of one operator.
pub struct Case {
    /// Operator and variant.
    pub name: &'static str,
    /// The slice; its inputs are `x` and, for some, `z`.
    pub model: ModelProto,
    /// Input values.
    pub inputs: Vec<Vec<f32>>,
    /// Values of each output.
    pub outputs: Vec<Vec<f32>>,
}

impl Case {
    /// The operator.
    #[must_use]
    pub fn op(&self) -> &str {
        self.name.split(' ').next().unwrap_or(self.name)
    }
}

/// A tensor that is read by index.
#[derive(Clone)]
struct Nd {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Nd {
    fn noise(shape: &[usize], seed: u64) -> Self {
        let data = noise(shape.iter().product(), seed);
        Self {
            shape: shape.to_vec(),
            data: data.into_iter().map(f64::from).collect(),
        }
    }

    /// Every element from its index.
    fn make(shape: &[usize], f: impl Fn(&[usize]) -> f64) -> Self {
        let n = shape.iter().product();
        let mut index = vec![0; shape.len()];
        let data = (0..n)
            .map(|mut i: usize| {
                for (at, d) in index.iter_mut().zip(shape).rev() {
                    (*at, i) = (i % d, i / d);
                }
                f(&index)
            })
            .collect();
        Self {
            shape: shape.to_vec(),
            data,
        }
    }

    fn at(&self, index: &[usize]) -> f64 {
        let flat = index.iter().zip(&self.shape).fold(0, |n, (i, d)| n * d + i);
        self.data[flat]
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self {
            shape: self.shape.clone(),
            data: self.data.iter().map(|v| f(*v)).collect(),
        }
    }

    fn reshaped(&self, shape: &[usize]) -> Self {
        Self {
            shape: shape.to_vec(),
            data: self.data.clone(),
        }
    }

    fn floats(&self) -> Vec<f32> {
        self.data.iter().map(|v| *v as f32).collect()
    }

    fn values(&self) -> Values {
        Values::F32(self.floats())
    }
}

fn tensor(t: &Nd) -> TensorProto {
    Tensor::new(t.shape.clone(), t.values())
        .expect("shape and values agree")
        .to_proto("value")
}

/// What is needed for one case besides its name.
struct Build {
    constants: Vec<(&'static str, Vec<usize>, Values)>,
    nodes: Vec<NodeProto>,
    inputs: Vec<Nd>,
    outputs: Vec<Nd>,
}

impl Build {
    fn new(op: &str, x: &Nd, operands: &[&str], y: Nd) -> Self {
        let names: Vec<&str> = std::iter::once("x")
            .chain(operands.iter().copied())
            .collect();
        Self {
            constants: vec![],
            nodes: vec![NodeProto::new(op, &names, &["y"])],
            inputs: vec![x.clone()],
            outputs: vec![y],
        }
    }
    fn constant(mut self, name: &'static str, value: &Nd) -> Self {
        self.constants
            .push((name, value.shape.clone(), value.values()));
        self
    }
    fn ints(mut self, name: &'static str, values: &[i64]) -> Self {
        let values = (name, vec![values.len()], Values::I64(values.to_vec()));
        self.constants.push(values);
        self
    }
    fn with(mut self, attribute: AttributeProto) -> Self {
        self.nodes = self
            .nodes
            .into_iter()
            .map(|n| n.with(attribute.clone()))
            .collect();
        self
    }
    fn second(mut self, z: &Nd) -> Self {
        self.inputs.push(z.clone());
        self
    }
    fn more(mut self, name: &str, output: Nd) -> Self {
        self.nodes[0].output.push(name.to_owned());
        self.outputs.push(output);
        self
    }
    fn case(self, name: &'static str) -> Case {
        let port = |(name, t): (&'static str, &Nd)| -> (&'static str, Vec<u64>) {
            (name, t.shape.iter().map(|d| *d as u64).collect())
        };
        let inputs: Vec<_> = ["x", "z"].into_iter().zip(&self.inputs).map(port).collect();
        let outputs: Vec<_> = ["y", "y2"]
            .into_iter()
            .zip(&self.outputs)
            .map(port)
            .collect();
        let constants = self.constants.iter();
        Case {
            name,
            model: model(
                &inputs.iter().map(|(n, s)| (*n, &s[..])).collect::<Vec<_>>(),
                &outputs
                    .iter()
                    .map(|(n, s)| (*n, &s[..]))
                    .collect::<Vec<_>>(),
                constants.map(|(n, s, v)| (*n, &s[..], v.clone())).collect(),
                self.nodes,
            ),
            inputs: self.inputs.iter().map(Nd::floats).collect(),
            outputs: self.outputs.iter().map(Nd::floats).collect(),
        }
    }
}

/// The error function by its series, exact enough for small arguments.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..60 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

/// The element of a zero-padded image at a signed place.
fn padded(x: &Nd, n: usize, c: usize, h: isize, w: isize) -> Option<f64> {
    let (h, w) = (usize::try_from(h).ok()?, usize::try_from(w).ok()?);
    (h < x.shape[2] && w < x.shape[3]).then(|| x.at(&[n, c, h, w]))
}

/// A convolution; `step`, `pad` and `dilation` are the same in both directions.
fn conv(
    x: &Nd,
    w: &Nd,
    bias: Option<&Nd>,
    groups: usize,
    step: usize,
    pad: usize,
    dil: usize,
) -> Nd {
    let [out, per_group, kh, kw] = w.shape[..] else {
        panic!("a weight has four dimensions")
    };
    let side = |i: usize, k: usize| (x.shape[i] + 2 * pad - dil * (k - 1) - 1) / step + 1;
    Nd::make(&[x.shape[0], out, side(2, kh), side(3, kw)], |i| {
        let first = i[1] / (out / groups) * per_group;
        let mut sum = bias.map_or(0.0, |b| b.at(&[i[1]]));
        for c in 0..per_group {
            for a in 0..kh {
                for b in 0..kw {
                    let h = (i[2] * step + a * dil) as isize - pad as isize;
                    let v = (i[3] * step + b * dil) as isize - pad as isize;
                    sum += padded(x, i[0], first + c, h, v).unwrap_or(0.0) * w.at(&[i[1], c, a, b]);
                }
            }
        }
        sum
    })
}

/// A fold over a square window; what lies outside is left out.
fn pool(x: &Nd, kernel: usize, step: usize, pad: usize, fold: impl Fn(&[f64]) -> f64) -> Nd {
    let side = |i: usize| (x.shape[i] + 2 * pad - kernel) / step + 1;
    Nd::make(&[x.shape[0], x.shape[1], side(2), side(3)], |i| {
        let mut seen = Vec::new();
        for a in 0..kernel {
            for b in 0..kernel {
                let h = (i[2] * step + a) as isize - pad as isize;
                let w = (i[3] * step + b) as isize - pad as isize;
                seen.extend(padded(x, i[0], i[1], h, w));
            }
        }
        fold(&seen)
    })
}

fn greatest(v: &[f64]) -> f64 {
    v.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len() as f64
}

/// Windows as attributes.
fn window(b: Build, kernel: i64, step: i64, pad: i64) -> Build {
    b.with(AttributeProto::from_ints("kernel_shape", &[kernel; 2]))
        .with(AttributeProto::from_ints("strides", &[step; 2]))
        .with(AttributeProto::from_ints("pads", &[pad; 4]))
}

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut all = unary();
    all.extend(binary());
    all.extend(windows());
    all.extend(matrices());
    all.extend(shapes());
    all
}

/// An image of two channels, and another one.
fn images() -> (Nd, Nd) {
    let shape = [1, 2, 4, 4];
    (
        Nd::noise(&shape, 11).map(|v| 1.5 * v),
        Nd::noise(&shape, 12),
    )
}

fn unary() -> Vec<Case> {
    let (x, _) = images();
    let simple = |op: &'static str, f: fn(f64) -> f64| Build::new(op, &x, &[], x.map(f)).case(op);
    let scalar = |v: f64| Nd {
        shape: vec![],
        data: vec![v],
    };
    let (lo, hi) = (scalar(-0.25), scalar(0.5));
    let row = |i: &[usize]| -> f64 { (0..4).map(|k| x.at(&[i[0], i[1], i[2], k]).exp()).sum() };
    let (s, b, m, v) = (
        Nd::noise(&[2], 1),
        Nd::noise(&[2], 2),
        Nd::noise(&[2], 3),
        Nd::noise(&[2], 4).map(|v| 1.0 + v / 2.0),
    );
    vec![
        simple("Relu", |v| v.max(0.0)),
        simple("Sigmoid", |v| 1.0 / (1.0 + (-v).exp())),
        simple("Tanh", f64::tanh),
        simple("Exp", f64::exp),
        simple("Erf", erf),
        simple("Neg", |v| -v),
        simple("Identity", |v| v),
        Build::new("LeakyRelu", &x, &[], x.map(|v| v.max(0.2 * v)))
            .with(AttributeProto::from_float("alpha", 0.2))
            .case("LeakyRelu"),
        Build::new("Clip", &x, &["lo", "hi"], x.map(|v| v.clamp(-0.25, 0.5)))
            .constant("lo", &lo)
            .constant("hi", &hi)
            .case("Clip"),
        Build::new("Clip", &x, &["lo"], x.map(|v| v.max(-0.25)))
            .constant("lo", &lo)
            .case("Clip below"),
        Build::new("Clip", &x, &["", "hi"], x.map(|v| v.min(0.5)))
            .constant("hi", &hi)
            .case("Clip above"),
        Build::new(
            "Softmax",
            &x,
            &[],
            Nd::make(&x.shape, |i| x.at(i).exp() / row(i)),
        )
        .case("Softmax"),
        Build::new(
            "BatchNormalization",
            &x,
            &["s", "b", "m", "v"],
            Nd::make(&x.shape, |i| {
                let c = &i[1..2];
                (x.at(i) - m.at(c)) / (v.at(c) + 1e-5).sqrt() * s.at(c) + b.at(c)
            }),
        )
        .constant("s", &s)
        .constant("b", &b)
        .constant("m", &m)
        .constant("v", &v)
        .case("BatchNormalization"),
    ]
}

fn binary() -> Vec<Case> {
    type F = fn(f64, f64) -> f64;
    // Operator; names of its cases: a constant for each channel, a constant in front, two tensors.
    let list: [(&str, [&str; 3], F); 6] = [
        (
            "Add",
            ["Add", "Add constant first", "Add tensors"],
            |a, b| a + b,
        ),
        (
            "Sub",
            ["Sub", "Sub constant first", "Sub tensors"],
            |a, b| a - b,
        ),
        (
            "Mul",
            ["Mul", "Mul constant first", "Mul tensors"],
            |a, b| a * b,
        ),
        (
            "Div",
            ["Div", "Div constant first", "Div tensors"],
            |a, b| a / b,
        ),
        (
            "Max",
            ["Max", "Max constant first", "Max tensors"],
            f64::max,
        ),
        (
            "Min",
            ["Min", "Min constant first", "Min tensors"],
            f64::min,
        ),
    ];
    let (x, z) = images();
    let channel = Nd::noise(&[2, 1, 1], 7).map(|v| v + 0.5 * v.signum());
    let full = Nd::noise(&x.shape, 8);
    let mut cases = Vec::new();
    for (op, [a, b, c], f) in list {
        let result = |l: &Nd, r: &Nd| Nd::make(&l.shape, |i| f(l.at(i), r.at(i)));
        let by_channel = Nd::make(&x.shape, |i| f(x.at(i), channel.at(&[i[1], 0, 0])));
        let build = Build::new(op, &x, &["k"], by_channel);
        cases.push(build.constant("k", &channel).case(a));
        let mut build = Build::new(op, &x, &[], result(&full, &x)).constant("k", &full);
        build.nodes[0].input = vec!["k".into(), "x".into()];
        cases.push(build.case(b));
        let build = Build::new(op, &x, &["z"], result(&x, &z));
        cases.push(build.second(&z).case(c));
    }
    cases
}

fn windows() -> Vec<Case> {
    let (x, _) = images();
    let w = Nd::noise(&[3, 2, 3, 3], 5);
    let each = Nd::noise(&[4, 1, 2, 2], 6);
    let bias = Nd::noise(&[3], 7);
    let global = Nd::make(&[1, 2, 1, 1], |i| mean(&x.data[16 * i[1]..16 * (i[1] + 1)]));
    vec![
        Build::new("Conv", &x, &["w"], conv(&x, &w, None, 1, 1, 0, 1))
            .constant("w", &w)
            .case("Conv"),
        window(
            Build::new(
                "Conv",
                &x,
                &["w", "b"],
                conv(&x, &w, Some(&bias), 1, 2, 1, 1),
            ),
            3,
            2,
            1,
        )
        .constant("w", &w)
        .constant("b", &bias)
        .case("Conv padded"),
        Build::new("Conv", &x, &["w"], conv(&x, &each, None, 2, 1, 0, 1))
            .constant("w", &each)
            .with(AttributeProto::from_int("group", 2))
            .case("Conv grouped"),
        Build::new("Conv", &x, &["w"], conv(&x, &w, None, 1, 1, 2, 2))
            .constant("w", &w)
            .with(AttributeProto::from_ints("dilations", &[2, 2]))
            .with(AttributeProto::from_ints("pads", &[2; 4]))
            .case("Conv dilated"),
        window(
            Build::new("MaxPool", &x, &[], pool(&x, 2, 2, 0, greatest)),
            2,
            2,
            0,
        )
        .case("MaxPool"),
        window(
            Build::new("MaxPool", &x, &[], pool(&x, 3, 2, 1, greatest)),
            3,
            2,
            1,
        )
        .case("MaxPool padded"),
        window(
            Build::new("AveragePool", &x, &[], pool(&x, 2, 2, 0, mean)),
            2,
            2,
            0,
        )
        .case("AveragePool"),
        window(
            Build::new("AveragePool", &x, &[], pool(&x, 3, 2, 1, mean)),
            3,
            2,
            1,
        )
        .case("AveragePool padded"),
        Build::new("GlobalAveragePool", &x, &[], global).case("GlobalAveragePool"),
    ]
}

fn matrices() -> Vec<Case> {
    let x = Nd::noise(&[3, 4], 3).map(|v| 1.5 * v);
    let w = Nd::noise(&[4, 5], 1);
    let transposed = Nd::make(&[5, 4], |i| w.at(&[i[1], i[0]]));
    let bias = Nd::noise(&[5], 2);
    let product = Nd::make(&[3, 5], |i| {
        (0..4).map(|k| x.at(&[i[0], k]) * w.at(&[k, i[1]])).sum()
    });
    let (a, b) = images();
    let batched = Nd::make(&a.shape, |i| {
        let row = |k| a.at(&[i[0], i[1], i[2], k]);
        (0..4).map(|k| row(k) * b.at(&[i[0], i[1], k, i[3]])).sum()
    });
    let half = Nd::make(&[3, 5], |i| 0.5 * product.at(i) + bias.at(&i[1..]));
    vec![
        Build::new("MatMul", &x, &["w"], product.clone())
            .constant("w", &w)
            .case("MatMul"),
        Build::new("MatMul", &a, &["z"], batched)
            .second(&b)
            .case("MatMul tensors"),
        Build::new("Gemm", &x, &["w"], product)
            .constant("w", &w)
            .case("Gemm"),
        Build::new("Gemm", &x, &["w", "b"], half)
            .constant("w", &transposed)
            .constant("b", &bias)
            .with(AttributeProto::from_int("transB", 1))
            .with(AttributeProto::from_float("alpha", 0.5))
            .case("Gemm biased"),
    ]
}

fn shapes() -> Vec<Case> {
    let (x, z) = images();
    let summed = |divisor: f64| {
        Nd::make(&[1, 2, 1, 1], |i| {
            x.data[16 * i[1]..16 * (i[1] + 1)].iter().sum::<f64>() / divisor
        })
    };
    let channel = |c: usize| Nd::make(&[1, 1, 4, 4], |i| x.at(&[0, c, i[2], i[3]]));
    let mut constant = Build::new("Add", &x, &["k"], Nd::make(&x.shape, |i| x.at(i) + z.at(i)));
    let value = AttributeProto::from_tensor("value", tensor(&z));
    let node = NodeProto::new("Constant", &[], &["k"]).with(value);
    constant.nodes.insert(0, node);
    vec![
        constant.case("Constant"),
        Build::new("Flatten", &x, &[], x.reshaped(&[1, 32])).case("Flatten"),
        Build::new("Reshape", &x, &["s"], x.reshaped(&[1, 4, 8]))
            .ints("s", &[0, -1, 8])
            .case("Reshape"),
        Build::new("Squeeze", &x, &["a"], x.reshaped(&[2, 4, 4]))
            .ints("a", &[0])
            .case("Squeeze"),
        Build::new("Unsqueeze", &x, &["a"], x.reshaped(&[1, 1, 2, 4, 4, 1]))
            .ints("a", &[-1, 0])
            .case("Unsqueeze"),
        Build::new(
            "Transpose",
            &x,
            &[],
            Nd::make(&[1, 4, 4, 2], |i| x.at(&[i[0], i[3], i[1], i[2]])),
        )
        .with(AttributeProto::from_ints("perm", &[0, 2, 3, 1]))
        .case("Transpose"),
        Build::new(
            "Concat",
            &x,
            &["z"],
            Nd::make(&[1, 4, 4, 4], |i| match i[1] {
                c @ 0..2 => x.at(&[0, c, i[2], i[3]]),
                c => z.at(&[0, c - 2, i[2], i[3]]),
            }),
        )
        .second(&z)
        .with(AttributeProto::from_int("axis", 1))
        .case("Concat"),
        Build::new(
            "Gather",
            &x,
            &["at"],
            Nd::make(&[1, 2, 2, 4], |i| x.at(&[0, i[1], [2, 0][i[2]], i[3]])),
        )
        .ints("at", &[2, 0])
        .with(AttributeProto::from_int("axis", 2))
        .case("Gather"),
        Build::new(
            "Pad",
            &x,
            &["p"],
            Nd::make(&[1, 2, 6, 5], |i| {
                padded(&x, 0, i[1], i[2] as isize - 1, i[3] as isize).unwrap_or(0.0)
            }),
        )
        .ints("p", &[0, 0, 1, 0, 0, 0, 1, 1])
        .case("Pad"),
        Build::new("ReduceMean", &x, &[], summed(16.0))
            .with(AttributeProto::from_ints("axes", &[2, 3]))
            .case("ReduceMean"),
        Build::new("ReduceSum", &x, &["a"], summed(1.0))
            .ints("a", &[2, 3])
            .case("ReduceSum"),
        Build::new(
            "Slice",
            &x,
            &["from", "to", "axes", "steps"],
            Nd::make(&[1, 2, 3, 2], |i| x.at(&[0, i[1], i[2] + 1, 2 * i[3]])),
        )
        .ints("from", &[1, 0])
        .ints("to", &[4, 4])
        .ints("axes", &[2, 3])
        .ints("steps", &[1, 2])
        .case("Slice"),
        Build::new("Split", &x, &["sizes"], channel(0))
            .more("y2", channel(1))
            .ints("sizes", &[1, 1])
            .with(AttributeProto::from_int("axis", 1))
            .case("Split"),
    ]
}
