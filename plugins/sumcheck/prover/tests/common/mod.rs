//! Small random programs, one kind for each primitive.

use dsperse_sumcheck_verifier::program::*;

/// A small deterministic generator (SplitMix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn range(&mut self, lo: i64, hi: i64) -> i64 {
        let span = (i128::from(hi) - i128::from(lo) + 1) as u128;
        (i128::from(lo) + (u128::from(self.next()) % span) as i128) as i64
    }

    pub fn size(&mut self, lo: usize, hi: usize) -> usize {
        self.range(lo as i64, hi as i64) as usize
    }

    pub fn tensor(&mut self, shape: &[usize], lo: i64, hi: i64) -> Tensor {
        let n: usize = shape.iter().product();
        // The ends of the range come up often.
        let data = (0..n).map(|_| match self.next() % 8 {
            0 => lo,
            1 => hi,
            _ => self.range(lo, hi),
        });
        Tensor {
            shape: shape.to_vec(),
            data: data.collect(),
        }
    }

    pub fn shape(&mut self, rank: usize, most: usize) -> Vec<usize> {
        (0..rank).map(|_| self.size(1, most)).collect()
    }
}

/// A program with values for its weights and inputs.
pub struct Case {
    pub program: Program,
    pub weights: Vec<Tensor>,
    pub inputs: Vec<Tensor>,
}

pub struct Build {
    pub case: Case,
    pub rng: Rng,
}

impl Build {
    pub fn new(seed: u64) -> Self {
        let case = Case {
            program: Program::default(),
            weights: vec![],
            inputs: vec![],
        };
        Self {
            case,
            rng: Rng(seed),
        }
    }

    pub fn push(&mut self, op: Op) -> TensorId {
        self.case.program.push(op)
    }

    pub fn input(&mut self, shape: &[usize], lo: i64, hi: i64) -> TensorId {
        let t = self.rng.tensor(shape, lo, hi);
        self.case.inputs.push(t);
        self.push(Op::Input {
            shape: shape.to_vec(),
            lo,
            hi,
        })
    }

    pub fn weight(&mut self, shape: &[usize], lo: i64, hi: i64) -> TensorId {
        let t = self.rng.tensor(shape, lo, hi);
        self.case.weights.push(t);
        self.push(Op::Weight {
            shape: shape.to_vec(),
            lo,
            hi,
        })
    }

    pub fn requant(&mut self, input: TensorId, shift: u32, lo: i64, hi: i64) -> TensorId {
        let multiplier = self.rng.range(1, 5);
        self.push(Op::Requant {
            input,
            multiplier,
            shift,
            lo,
            hi,
        })
    }

    pub fn einsum(&mut self, a: TensorId, al: &str, b: TensorId, bl: &str, out: &str) -> TensorId {
        self.push(Op::Einsum {
            a,
            b,
            a_labels: al.bytes().collect(),
            b_labels: bl.bytes().collect(),
            out_labels: out.bytes().collect(),
        })
    }

    /// Ends the program: the tensor itself is public, or it is kept committed
    /// or virtual and only a function of it is public.
    pub fn finish(mut self, last: TensorId, public: bool) -> Case {
        let out = if public {
            last
        } else {
            self.push(Op::Affine {
                terms: vec![(last, 3)],
                constant: -7,
            })
        };
        self.case.program.outputs = vec![out];
        self.case
    }
}

/// The kinds of program that [`random_case`] makes.
pub const KINDS: usize = 14;

/// A random program of a kind.
pub fn random_case(kind: usize, seed: u64) -> Case {
    let mut b = Build::new(seed.wrapping_mul(31).wrapping_add(kind as u64));
    let public = b.rng.next().is_multiple_of(2);
    let last = match kind {
        // Dense layers with bias and every sort of saturation.
        0 => {
            let (k, n) = (b.rng.size(1, 9), b.rng.size(1, 9));
            let x = b.input(&[k], -128, 127);
            let w = b.weight(&[n, k], -128, 127);
            let bias = b.weight(&[n], -1000, 1000);
            let acc = b.einsum(x, "k", w, "nk", "n");
            let acc = b.push(Op::Affine {
                terms: vec![(acc, 1), (bias, 1)],
                constant: 5,
            });
            let (lo, hi) = [
                (0, 255),
                (-128, 127),
                (-5, 6),
                (0, 1 << 40),
                (-(1 << 40), 0),
            ][b.rng.size(0, 4)];
            let shift = b.rng.range(0, 20) as u32;
            b.requant(acc, shift, lo, hi)
        }
        // Batched products of activations.
        1 => {
            let s = b.rng.shape(4, 5);
            let a = b.input(&[s[0], s[1], s[2]], -100, 100);
            let c = b.input(&[s[0], s[2], s[3]], -3, 1000);
            let acc = b.einsum(a, "bik", c, "bkj", "bij");
            b.requant(acc, 6, -512, 511)
        }
        // Convolution with stride, padding, dilation; 1-D in the last case.
        2 => conv(&mut b, 1),
        3 => conv(&mut b, 2),
        4 => grouped_conv(&mut b),
        // Max over 2 to 4 operands, from wide and narrow ranges.
        5 => {
            let rank = b.rng.size(0, 3);
            let shape = b.rng.shape(rank, 5);
            let inputs: Vec<TensorId> = (0..b.rng.size(2, 4))
                .map(|i| {
                    let reach = if i == 2 { 1 << 30 } else { 200 };
                    b.input(&shape, -reach, reach)
                })
                .collect();
            b.push(Op::Max { inputs })
        }
        6 => {
            let rank = b.rng.size(0, 3);
            let shape = b.rng.shape(rank, 6);
            let lo = b.rng.range(-300, 300);
            let len = b.rng.size(1, 300);
            let x = b.input(&shape, lo, lo + len as i64 - 1);
            let values = (0..len)
                .map(|_| b.rng.range(-70000, 70000) as i32)
                .collect();
            b.case.program.tables.push(Table { lo, values });
            b.push(Op::Lookup { input: x, table: 0 })
        }
        7 => {
            let shape = b.rng.shape(2, 6);
            let num = b.input(&shape, -100_000, 100_000);
            let den = b.input(&shape, 1, 70_000);
            b.push(Op::Div {
                num,
                den,
                lo: -100_000,
                hi: 100_000,
            })
        }
        8 => {
            let shape = b.rng.shape(2, 6);
            let reach = [3, 1000, 1 << 40][b.rng.size(0, 2)];
            let x = b.input(&shape, 0, reach);
            b.push(Op::Sqrt { input: x })
        }
        // Each wire factor on a committed tensor.
        9 => wires(&mut b),
        // Rows of weights and of activations, picked by ids that are read twice.
        13 => {
            let (n, d, k) = (b.rng.size(1, 9), b.rng.size(1, 4), b.rng.size(1, 7));
            let ids = b.input(&[k], 0, n as i64 - 1);
            let w = b.weight(&[n, d], -100, 100);
            let x = b.input(&[d, n], -100, 100);
            let rows = b.push(Op::Select {
                input: w,
                dim: 0,
                ids,
            });
            let columns = b.push(Op::Select {
                input: x,
                dim: 1,
                ids,
            });
            let both = b.einsum(rows, "kd", columns, "dk", "k");
            let sum = b.push(Op::Affine {
                terms: vec![(both, 1), (ids, 5)],
                constant: 0,
            });
            b.requant(sum, 3, -512, 511)
        }
        // Softmax over the last axis.
        10 => softmax(&mut b),
        // Squares, elementwise products with broadcast, an outer product.
        11 => {
            let (c, h) = (b.rng.size(1, 5), b.rng.size(1, 6));
            let x = b.input(&[c, h], -20, 20);
            let g = b.weight(&[c], -7, 9);
            let sq = b.einsum(x, "ch", x, "ch", "ch");
            let scaled = b.einsum(sq, "ch", g, "c", "ch");
            let o = b.einsum(g, "a", x, "ch", "ach");
            let s = b.push(Op::Wire {
                input: o,
                factors: vec![
                    Factor::Sum { dim: 0 },
                    Factor::Keep { dim: 1 },
                    Factor::Keep { dim: 2 },
                ],
            });
            let terms = vec![(scaled, 2), (s, -1), (x, 0)];
            let y = b.push(Op::Affine { terms, constant: 3 });
            b.requant(y, 3, -1000, 1000)
        }
        // A fork: one committed tensor with several limbs and many readers.
        _ => {
            let n = b.rng.size(1, 20);
            let x = b.input(&[n], -(1 << 30), 1 << 30);
            let y = b.requant(x, 2, -(1 << 25), 1 << 25);
            let rev = b.push(Op::Wire {
                input: y,
                factors: vec![Factor::Strided {
                    dim: 0,
                    size: n,
                    start: n as i64 - 1,
                    step: -1,
                }],
            });
            let p = b.einsum(y, "a", rev, "a", "a");
            let q = b.requant(p, 30, -(1 << 20), 1 << 20);
            b.push(Op::Affine {
                terms: vec![(q, 1), (y, -2), (rev, 5)],
                constant: 0,
            })
        }
    };
    b.finish(last, public)
}

/// A slice with every primitive, small enough to attack everywhere: saturation
/// at both ends of a range that is no power of two, virtual and committed
/// public outputs.
pub fn every_primitive() -> Case {
    let mut p = Program::default();
    let x = p.push(Op::Input {
        shape: vec![2, 5],
        lo: -128,
        hi: 127,
    });
    let w = p.push(Op::Weight {
        shape: vec![3, 2, 2],
        lo: -100,
        hi: 100,
    });
    let window = Factor::Window {
        dim: 1,
        kernel: 2,
        size: 4,
        stride: 1,
        dilation: 1,
        pad: 0,
    };
    let patches = p.push(Op::Wire {
        input: x,
        factors: vec![Factor::Keep { dim: 0 }, window],
    });
    let acc = p.push(Op::Einsum {
        a: patches,
        b: w,
        a_labels: b"cyp".to_vec(),
        b_labels: b"ocy".to_vec(),
        out_labels: b"op".to_vec(),
    });
    // 0..=200 is not a power of two of values, and both ends saturate.
    let y = p.push(Op::Requant {
        input: acc,
        multiplier: 3,
        shift: 7,
        lo: 0,
        hi: 200,
    });
    let views: Vec<TensorId> = (0..2)
        .map(|start| {
            let half = Factor::Strided {
                dim: 1,
                size: 2,
                start,
                step: 2,
            };
            p.push(Op::Wire {
                input: y,
                factors: vec![Factor::Keep { dim: 0 }, half],
            })
        })
        .collect();
    let m = p.push(Op::Max { inputs: views });
    let values = (0..256).map(|v| v * v / 64 + 1).collect();
    p.tables.push(Table { lo: 0, values });
    let t = p.push(Op::Lookup { input: m, table: 0 });
    let square = p.push(Op::Einsum {
        a: t,
        b: t,
        a_labels: b"ij".to_vec(),
        b_labels: b"ij".to_vec(),
        out_labels: b"ij".to_vec(),
    });
    let sum = p.push(Op::Wire {
        input: square,
        factors: vec![
            Factor::Keep { dim: 0 },
            Factor::Sum { dim: 1 },
            Factor::Repeat { size: 2 },
        ],
    });
    let root = p.push(Op::Sqrt { input: sum });
    let den = p.push(Op::Affine {
        terms: vec![(root, 1)],
        constant: 1,
    });
    let num = p.push(Op::Affine {
        terms: vec![(t, 100), (m, -7)],
        constant: 3,
    });
    let q = p.push(Op::Div {
        num,
        den,
        lo: -500,
        hi: 500,
    });
    let mixed = p.push(Op::Affine {
        terms: vec![(q, 2), (t, 1)],
        constant: -5,
    });
    let last = p.push(Op::Requant {
        input: mixed,
        multiplier: 1,
        shift: 1,
        lo: -128,
        hi: 127,
    });
    p.outputs = vec![mixed, last];
    let tensor = |s: &[usize], d: &[i64]| Tensor {
        shape: s.to_vec(),
        data: d.to_vec(),
    };
    let weights = vec![tensor(
        &[3, 2, 2],
        &[100, -100, 50, 7, 3, 99, -20, 60, -1, 0, 88, -90],
    )];
    let inputs = vec![tensor(
        &[2, 5],
        &[127, -128, 5, 90, -30, 11, 64, -7, 100, 3],
    )];
    Case {
        program: p,
        weights,
        inputs,
    }
}

/// A slice without weights, lookups or equations: sums of neighbours.
pub fn nothing_committed() -> Case {
    let mut p = Program::default();
    let x = p.push(Op::Input {
        shape: vec![5],
        lo: -9,
        hi: 9,
    });
    let pool = Factor::Pool {
        dim: 0,
        kernel: 2,
        size: 4,
        stride: 1,
        dilation: 1,
        pad: 0,
    };
    let input = x;
    let factors = vec![pool];
    let sums = p.push(Op::Wire { input, factors });
    p.outputs = vec![sums];
    let data = vec![9, -9, 3, 0, 4];
    Case {
        program: p,
        weights: vec![],
        inputs: vec![Tensor {
            shape: vec![5],
            data,
        }],
    }
}

/// A slice with every sort of rewiring, a product that is claimed at two points, a selection by
/// an input, a table that is no power of two long, and terms that vanish.
pub fn every_rewiring() -> Case {
    let mut p = Program::default();
    let (lo, hi) = (-20, 20);
    let x = p.push(Op::Input {
        shape: vec![3, 4],
        lo,
        hi,
    });
    let ids = p.push(Op::Input {
        shape: vec![2],
        lo: 0,
        hi: 2,
    });
    let one = p.push(Op::Input {
        shape: vec![1],
        lo,
        hi,
    });
    let w = p.push(Op::Weight {
        shape: vec![4, 5],
        lo: -64,
        hi: 63,
    });
    let keep = |dim| Factor::Keep { dim };
    let strided = |dim, size, start, step| Factor::Strided {
        dim,
        size,
        start,
        step,
    };
    let wire = |p: &mut Program, input, factors| p.push(Op::Wire { input, factors });
    let picked = p.push(Op::Select {
        input: x,
        dim: 0,
        ids,
    });
    let product = p.push(Op::Einsum {
        a: picked,
        b: w,
        a_labels: b"tc".to_vec(),
        b_labels: b"cn".to_vec(),
        out_labels: b"tn".to_vec(),
    });
    let rounded = p.push(Op::Requant {
        input: product,
        multiplier: 5,
        shift: 6,
        lo: -30,
        hi: 29,
    });
    let row = wire(&mut p, product, vec![strided(0, 1, 1, 1), keep(1)]);
    let values = (0..60).map(|v| v * v % 37 - 9).collect();
    p.tables.push(Table { lo: -30, values });
    let looked_up = p.push(Op::Lookup {
        input: rounded,
        table: 0,
    });
    // Two rewirings of one tensor, so that it is claimed at several points.
    let gathered = Factor::Gather {
        dim: 1,
        indices: vec![4, -1, 0],
    };
    let gathered = wire(&mut p, looked_up, vec![keep(0), gathered]);
    let backwards = wire(&mut p, looked_up, vec![strided(1, 5, 4, -1), keep(0)]);
    let matrix = Factor::Matrix {
        dims: vec![0, 1],
        sizes: vec![3],
        entries: vec![(0, 0, 3), (0, 7, -2), (1, 11, 1), (2, 4, 1)],
    };
    let mixed = wire(&mut p, x, vec![matrix, Factor::Repeat { size: 3 }]);
    let reshape = Factor::Reshape {
        dims: vec![1, 0],
        sizes: vec![6, 2],
    };
    let turned = wire(&mut p, x, vec![reshape]);
    let pool = Factor::Pool {
        dim: 0,
        kernel: 2,
        size: 3,
        stride: 1,
        dilation: 2,
        pad: 1,
    };
    let pooled = wire(&mut p, x, vec![pool, strided(1, 2, 1, 2)]);
    let nowhere = Factor::Gather {
        dim: 0,
        indices: vec![-1],
    };
    let nothing = wire(&mut p, one, vec![nowhere]);
    let vanished = p.push(Op::Affine {
        terms: vec![(looked_up, 0)],
        constant: 6,
    });
    let tripled = p.push(Op::Affine {
        terms: vec![(looked_up, 3)],
        constant: 6,
    });
    p.outputs = vec![
        row, gathered, backwards, mixed, turned, pooled, nothing, vanished, tripled,
    ];
    let tensor = |s: &[usize], d: Vec<i64>| Tensor {
        shape: s.to_vec(),
        data: d,
    };
    let spread = |n: i64| (0..n).map(|i| i * 29 % 41 - 20).collect();
    Case {
        program: p,
        weights: vec![tensor(
            &[4, 5],
            (0..20).map(|i| i * 53 % 127 - 64).collect(),
        )],
        inputs: vec![
            tensor(&[3, 4], spread(12)),
            tensor(&[2], vec![2, 0]),
            tensor(&[1], vec![17]),
        ],
    }
}

fn out_size(
    size: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
) -> Option<usize> {
    let reach = dilation * (kernel - 1) + 1;
    (size + 2 * pad)
        .checked_sub(reach)
        .map(|rest| rest / stride + 1)
}

fn window(b: &mut Build, dim: usize, size: usize) -> (Factor, usize) {
    loop {
        let (kernel, stride) = (b.rng.size(1, 3), b.rng.size(1, 3));
        let (dilation, pad) = (b.rng.size(1, 2), b.rng.size(0, 2));
        if let Some(out) = out_size(size, kernel, stride, dilation, pad) {
            return (
                Factor::Window {
                    dim,
                    kernel,
                    size: out,
                    stride,
                    dilation,
                    pad,
                },
                kernel,
            );
        }
    }
}

fn conv(b: &mut Build, spatial: usize) -> TensorId {
    let (c, o) = (b.rng.size(1, 3), b.rng.size(1, 4));
    let sizes = b.rng.shape(spatial, 7);
    let mut shape = vec![c];
    shape.extend(&sizes);
    let x = b.input(&shape, -128, 127);
    let mut factors = vec![Factor::Keep { dim: 0 }];
    let mut w_shape = vec![o, c];
    for (i, &size) in sizes.iter().enumerate() {
        let (factor, kernel) = window(b, i + 1, size);
        factors.push(factor);
        w_shape.push(kernel);
    }
    let w = b.weight(&w_shape, -128, 127);
    let patches = b.push(Op::Wire { input: x, factors });
    let acc = match spatial {
        1 => b.einsum(patches, "cyp", w, "ocy", "op"),
        _ => b.einsum(patches, "cypxq", w, "ocyx", "opq"),
    };
    b.requant(acc, 7, 0, 255)
}

fn grouped_conv(b: &mut Build) -> TensorId {
    let (g, c, o) = (b.rng.size(1, 3), b.rng.size(1, 3), b.rng.size(1, 2));
    let size = b.rng.size(1, 6);
    let x = b.input(&[g * c, size], -128, 127);
    let split = b.push(Op::Wire {
        input: x,
        factors: vec![
            Factor::Reshape {
                dims: vec![0],
                sizes: vec![g, c],
            },
            Factor::Keep { dim: 1 },
        ],
    });
    let (factor, kernel) = window(b, 2, size);
    let patches = b.push(Op::Wire {
        input: split,
        factors: vec![Factor::Keep { dim: 0 }, Factor::Keep { dim: 1 }, factor],
    });
    let w = b.weight(&[g, o, c, kernel], -128, 127);
    let acc = b.einsum(patches, "gcyp", w, "gocy", "gop");
    let q = b.requant(acc, 5, -128, 127);
    b.push(Op::Wire {
        input: q,
        factors: vec![
            Factor::Reshape {
                dims: vec![0, 1],
                sizes: vec![g * o],
            },
            Factor::Keep { dim: 2 },
        ],
    })
}

fn wires(b: &mut Build) -> TensorId {
    let shape = [b.rng.size(1, 5), b.rng.size(1, 5), b.rng.size(1, 6)];
    let x = b.input(&shape, -2000, 2000);
    let y = b.requant(x, 1, -900, 900);
    let pick = b.rng.size(0, 6);
    let last = shape[2];
    let third = match pick {
        0 => vec![Factor::Strided {
            dim: 2,
            size: 4,
            start: -1,
            step: 2,
        }],
        1 => {
            let indices = (0..5).map(|_| b.rng.range(-1, last as i64)).collect();
            vec![Factor::Gather { dim: 2, indices }]
        }
        2 => vec![Factor::Pool {
            dim: 2,
            kernel: 2,
            size: last,
            stride: 1,
            dilation: 1,
            pad: 1,
        }],
        3 => vec![Factor::Sum { dim: 2 }, Factor::Repeat { size: 3 }],
        4 => vec![window(b, 2, last).0],
        5 => {
            let entries = vec![(0, 0, -3), (1, last as u32 - 1, 2), (5, 0, 7)];
            vec![Factor::Matrix {
                dims: vec![2],
                sizes: vec![2, 3],
                entries,
            }]
        }
        _ => vec![Factor::Keep { dim: 2 }],
    };
    let mut factors = third;
    if b.rng.next().is_multiple_of(2) {
        factors.push(Factor::Keep { dim: 1 });
        factors.insert(0, Factor::Keep { dim: 0 });
    } else {
        // Two dimensions in exchanged order, flattened.
        let n = shape[0] * shape[1];
        factors.push(Factor::Reshape {
            dims: vec![1, 0],
            sizes: vec![n, 1],
        });
    }
    b.push(Op::Wire { input: y, factors })
}

fn softmax(b: &mut Build) -> TensorId {
    let (rows, n) = (b.rng.size(1, 3), 4);
    let x = b.input(&[rows, n], -200, 200);
    let column = |b: &mut Build, t: TensorId, i: usize| {
        b.push(Op::Wire {
            input: t,
            factors: vec![
                Factor::Keep { dim: 0 },
                Factor::Strided {
                    dim: 1,
                    size: 1,
                    start: i as i64,
                    step: 1,
                },
            ],
        })
    };
    let columns: Vec<TensorId> = (0..n).map(|i| column(b, x, i)).collect();
    let max = b.push(Op::Max { inputs: columns });
    let spread = |b: &mut Build, t: TensorId| {
        b.push(Op::Wire {
            input: t,
            factors: vec![
                Factor::Keep { dim: 0 },
                Factor::Reshape {
                    dims: vec![1],
                    sizes: vec![],
                },
                Factor::Repeat { size: n },
            ],
        })
    };
    let max = spread(b, max);
    let d = b.push(Op::Affine {
        terms: vec![(x, 1), (max, -1)],
        constant: 0,
    });
    let values = (-400..=0).map(|v| (1000.0 * (f64::from(v) / 50.0).exp()).round() as i32 + 1);
    b.case.program.tables.push(Table {
        lo: -400,
        values: values.collect(),
    });
    let d = b.requant(d, 0, -400, 0);
    let e = b.push(Op::Lookup { input: d, table: 0 });
    let sum = b.push(Op::Wire {
        input: e,
        factors: vec![
            Factor::Keep { dim: 0 },
            Factor::Sum { dim: 1 },
            Factor::Repeat { size: n },
        ],
    });
    let num = b.push(Op::Affine {
        terms: vec![(e, 255)],
        constant: 0,
    });
    b.push(Op::Div {
        num,
        den: sum,
        lo: 0,
        hi: 255,
    })
}
