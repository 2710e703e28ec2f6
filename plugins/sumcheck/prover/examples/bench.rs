//! Prints what compiling, proving and verifying cost, for the shapes that the
//! backend's targets speak of and for a series of sizes.
//!
//! `cargo run --release -p dsperse-sumcheck-prover --example bench [CASE [portable]]`, where CASE is `lenet`,
//! `lenet12`, `conv` (64 to 64 channels, 56x56), `wide` (512 channels, 7x7), `gpt2` (one block of
//! GPT-2 on 64 tokens, 7.1 M weights) or `growth`; without one, all of them. With `portable` no
//! vector instructions are used.
//!
//! All times but "wall" are CPU times of the process; peak memory is the process's, so run
//! one case per process for an honest figure. Beside it stands the estimate.

use std::time::Instant;

use dsperse_sumcheck_packed as packed;
use dsperse_sumcheck_prover::{compile, memory, prove, prove_once};
use dsperse_sumcheck_reuse::{Reuse, release};
use dsperse_sumcheck_verifier::program::*;
use dsperse_sumcheck_verifier::security::soundness;
use dsperse_sumcheck_verifier::verify;

/// A deterministic spread of values.
fn values(n: usize, lo: i64, hi: i64, seed: u64) -> Vec<i64> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            lo + (x % (hi - lo + 1) as u64) as i64
        })
        .collect()
}

/// Bits of activations (unsigned, they come after a ReLU) and weights (signed).
#[derive(Clone, Copy)]
struct Bits {
    activation: u32,
    weight: u32,
}

/// A network under construction.
struct Net {
    bits: Bits,
    program: Program,
    weights: Vec<Tensor>,
    inputs: Vec<Tensor>,
}

impl Net {
    fn new(shape: &[usize], bits: Bits) -> (Self, TensorId) {
        let mut program = Program::default();
        let hi = (1 << bits.activation) - 1;
        let x = program.push(Op::Input {
            shape: shape.to_vec(),
            lo: 0,
            hi,
        });
        let data = values(shape.iter().product(), 0, hi, 1);
        let inputs = vec![Tensor {
            shape: shape.to_vec(),
            data,
        }];
        (
            Self {
                bits,
                program,
                weights: vec![],
                inputs,
            },
            x,
        )
    }

    fn weight(&mut self, shape: &[usize], bits: u32) -> TensorId {
        let (lo, hi) = (-1 << (bits - 1), (1 << (bits - 1)) - 1);
        let n = shape.iter().product();
        let data = values(n, lo, hi, self.weights.len() as u64 + 7);
        self.weights.push(Tensor {
            shape: shape.to_vec(),
            data,
        });
        self.program.push(Op::Weight {
            shape: shape.to_vec(),
            lo,
            hi,
        })
    }

    fn einsum(&mut self, a: TensorId, al: &str, b: TensorId, bl: &str, out: &str) -> TensorId {
        let bytes = |s: &str| s.bytes().collect();
        let (a_labels, b_labels, out_labels) = (bytes(al), bytes(bl), bytes(out));
        self.program.push(Op::Einsum {
            a,
            b,
            a_labels,
            b_labels,
            out_labels,
        })
    }

    /// Convolution with bias and fused ReLU; returns the shift's result.
    fn conv(
        &mut self,
        x: TensorId,
        io: (usize, usize),
        size: usize,
        k: usize,
        pad: usize,
        shift: u32,
    ) -> TensorId {
        let out = size + 2 * pad - k + 1;
        let window = |dim| Factor::Window {
            dim,
            kernel: k,
            size: out,
            stride: 1,
            dilation: 1,
            pad,
        };
        let factors = vec![Factor::Keep { dim: 0 }, window(1), window(2)];
        let patches = self.program.push(Op::Wire { input: x, factors });
        let w = self.weight(&[io.1, io.0, k, k], self.bits.weight);
        let acc = self.einsum(patches, "cypxq", w, "ocyx", "opq");
        let b = self.weight(&[io.1], self.bits.activation + self.bits.weight);
        let factors = vec![
            Factor::Keep { dim: 0 },
            Factor::Repeat { size: out },
            Factor::Repeat { size: out },
        ];
        let b = self.program.push(Op::Wire { input: b, factors });
        let acc = self.program.push(Op::Affine {
            terms: vec![(acc, 1), (b, 1)],
            constant: 0,
        });
        self.relu(acc, shift)
    }

    /// Rescales back to activations, for the given shift at 8 bits.
    fn relu(&mut self, input: TensorId, shift: u32) -> TensorId {
        self.program.push(Op::Requant {
            input,
            multiplier: 1,
            shift: shift + self.bits.weight - 8,
            lo: 0,
            hi: (1 << self.bits.activation) - 1,
        })
    }

    fn pool(&mut self, mut x: TensorId, size: usize) -> TensorId {
        for dim in [1, 2] {
            let inputs = (0..2)
                .map(|start| {
                    let factors = (0..3)
                        .map(|d| match d == dim {
                            true => Factor::Strided {
                                dim: d,
                                size: size / 2,
                                start,
                                step: 2,
                            },
                            false => Factor::Keep { dim: d },
                        })
                        .collect();
                    self.program.push(Op::Wire { input: x, factors })
                })
                .collect();
            x = self.program.push(Op::Max { inputs });
        }
        x
    }

    fn dense(&mut self, x: TensorId, io: (usize, usize), shift: Option<u32>) -> TensorId {
        let w = self.weight(&[io.1, io.0], self.bits.weight);
        let acc = self.einsum(x, "k", w, "nk", "n");
        let b = self.weight(&[io.1], self.bits.activation + self.bits.weight);
        let acc = self.program.push(Op::Affine {
            terms: vec![(acc, 1), (b, 1)],
            constant: 0,
        });
        match shift {
            Some(shift) => self.relu(acc, shift),
            None => acc,
        }
    }
}

/// LeNet-5 on 28x28 (first layer padded), max pooling, ReLU, 61 706 weights.
fn lenet(bits: Bits) -> Net {
    let (mut n, x) = Net::new(&[1, 28, 28], bits);
    let x = n.conv(x, (1, 6), 28, 5, 2, 10);
    let x = n.pool(x, 28);
    let x = n.conv(x, (6, 16), 14, 5, 0, 12);
    let x = n.pool(x, 10);
    let factors = vec![Factor::Reshape {
        dims: vec![0, 1, 2],
        sizes: vec![400],
    }];
    let x = n.program.push(Op::Wire { input: x, factors });
    let x = n.dense(x, (400, 120), Some(12));
    let x = n.dense(x, (120, 84), Some(11));
    let x = n.dense(x, (84, 10), None);
    n.program.outputs = vec![x];
    n
}

/// One convolution with ReLU, 3x3, as in a residual network.
fn conv(channels: usize, size: usize) -> Net {
    let bits = Bits {
        activation: 8,
        weight: 8,
    };
    let (mut n, x) = Net::new(&[channels, size, size], bits);
    let x = n.conv(x, (channels, channels), size, 3, 1, 12);
    n.program.outputs = vec![x];
    n
}

/// Heads of a GPT-2 block.
const HEADS: usize = 12;
/// Elements of one token's vector.
const WIDTH: usize = 768;
/// Fraction bits of the tabulated exponential.
const EXP_BITS: u32 = 24;

impl Net {
    fn affine(&mut self, terms: &[(TensorId, i64)], constant: i64) -> TensorId {
        let terms = terms.to_vec();
        self.program.push(Op::Affine { terms, constant })
    }

    /// To signed activations, saturating.
    fn round(&mut self, input: TensorId, shift: u32) -> TensorId {
        let half = 1 << (self.bits.activation - 1);
        self.program.push(Op::Requant {
            input,
            multiplier: 1,
            shift,
            lo: -half,
            hi: half - 1,
        })
    }

    /// Sum over the last dimension, which keeps size 1.
    fn sum_last(&mut self, input: TensorId, rank: usize) -> TensorId {
        let mut factors: Vec<Factor> = (0..rank - 1).map(|dim| Factor::Keep { dim }).collect();
        factors.push(Factor::Sum { dim: rank - 1 });
        self.program.push(Op::Wire { input, factors })
    }

    /// Repeats a last dimension of size 1, which `sum_last` has dropped.
    fn repeat_last(&mut self, input: TensorId, rank: usize, size: usize) -> TensorId {
        let mut factors: Vec<Factor> = (0..rank - 1).map(|dim| Factor::Keep { dim }).collect();
        factors.push(Factor::Repeat { size });
        self.program.push(Op::Wire { input, factors })
    }

    /// Layer normalisation of [tokens, WIDTH].
    fn normalise(&mut self, x: TensorId) -> TensorId {
        let sum = self.sum_last(x, 2);
        let half = 1 << (self.bits.activation + 3);
        let mean = self.program.push(Op::Requant {
            input: sum,
            multiplier: 22370,
            shift: 20,
            lo: -half,
            hi: half - 1,
        });
        let mean = self.repeat_last(mean, 2, WIDTH);
        let d = self.affine(&[(x, 16), (mean, -1)], 0);
        let squares = self.einsum(d, "tc", d, "tc", "tc");
        let total = self.sum_last(squares, 2);
        let radicand = self.affine(&[(total, 256)], 1 << 12);
        let root = self.program.push(Op::Sqrt { input: radicand });
        let den = self.repeat_last(root, 2, WIDTH);
        let num = self.affine(&[(d, 1_815_893)], 0);
        let half = 1 << 18;
        let quotient = self.program.push(Op::Div {
            num,
            den,
            lo: -half,
            hi: half - 1,
        });
        let weight = self.weight(&[WIDTH], self.bits.weight);
        let scaled = self.einsum(quotient, "tc", weight, "c", "tc");
        self.round(scaled, 16)
    }

    /// A matrix product with weights and a bias, accumulators.
    fn project(&mut self, x: TensorId, tokens: usize, io: (usize, usize)) -> TensorId {
        let w = self.weight(&[io.0, io.1], self.bits.weight);
        let acc = self.einsum(x, "tc", w, "cn", "tn");
        let b = self.weight(&[io.1], self.bits.activation + self.bits.weight);
        let factors = vec![Factor::Repeat { size: tokens }, Factor::Keep { dim: 0 }];
        let b = self.program.push(Op::Wire { input: b, factors });
        self.affine(&[(acc, 1), (b, 1)], 0)
    }

    /// Softmax over the last dimension of [HEADS, tokens, tokens]; 12 fraction bits.
    fn softmax(&mut self, x: TensorId, tokens: usize) -> TensorId {
        let (mut most, mut size) = (x, tokens);
        while size > 1 {
            size /= 4;
            let inputs = (0..4)
                .map(|i| {
                    let factors = vec![
                        Factor::Keep { dim: 0 },
                        Factor::Keep { dim: 1 },
                        Factor::Strided {
                            dim: 2,
                            size,
                            start: (i * size) as i64,
                            step: 1,
                        },
                    ];
                    self.program.push(Op::Wire {
                        input: most,
                        factors,
                    })
                })
                .collect();
            most = self.program.push(Op::Max { inputs });
        }
        let most = self.sum_last(most, 3);
        let most = self.repeat_last(most, 3, tokens);
        let below = self.affine(&[(x, 1), (most, -1)], 0);
        let entries = 1i64 << self.bits.activation;
        let below = self.program.push(Op::Requant {
            input: below,
            multiplier: 1,
            shift: 1,
            lo: 1 - entries,
            hi: 0,
        });
        let unit = f64::from(1u32 << EXP_BITS);
        let values = (1 - entries..=0)
            .map(|i| ((i as f64 / 256.0).exp() * unit).max(1.0) as i32)
            .collect();
        self.program.tables.push(Table {
            lo: 1 - entries,
            values,
        });
        let table = (self.program.tables.len() - 1) as u32;
        let exp = self.program.push(Op::Lookup {
            input: below,
            table,
        });
        let sum = self.sum_last(exp, 3);
        let den = self.repeat_last(sum, 3, tokens);
        let num = self.affine(&[(exp, 1 << 12)], 0);
        self.program.push(Op::Div {
            num,
            den,
            lo: 0,
            hi: (2 << 12) - 1,
        })
    }

    /// A slope that is steeper above zero, by a table.
    fn gelu(&mut self, input: TensorId) -> TensorId {
        let half = 1i64 << (self.bits.activation - 1);
        let values = (-half..half)
            .map(|i| {
                let x = i as f64 / 256.0;
                (i as f64 / (1.0 + (-1.702 * x).exp())).round() as i32
            })
            .collect();
        self.program.tables.push(Table { lo: -half, values });
        let table = (self.program.tables.len() - 1) as u32;
        self.program.push(Op::Lookup { input, table })
    }
}

/// A block of GPT-2, as the lowering would write it: attention with 12 heads of 64 (no mask),
/// two layer normalisations, and the two-layer network with GELU.
fn gpt2_block(tokens: usize) -> Net {
    let bits = Bits {
        activation: 12,
        weight: 12,
    };
    let (mut n, x) = Net::new(&[tokens, WIDTH], bits);
    let x = n.affine(&[(x, 1)], -(1 << 11));
    let h = n.normalise(x);
    let split = |x: TensorId| {
        let factors = vec![
            Factor::Keep { dim: 0 },
            Factor::Reshape {
                dims: vec![1],
                sizes: vec![HEADS, WIDTH / HEADS],
            },
        ];
        Op::Wire { input: x, factors }
    };
    let mut heads = vec![];
    for _ in 0..3 {
        let acc = n.project(h, tokens, (WIDTH, WIDTH));
        let part = n.round(acc, 15);
        heads.push(n.program.push(split(part)));
    }
    let (q, k, v) = (heads[0], heads[1], heads[2]);
    let scores = n.einsum(q, "ihd", k, "jhd", "hij");
    let scores = n.round(scores, 15);
    let p = n.softmax(scores, tokens);
    let mixed = n.einsum(p, "hij", v, "jhd", "ihd");
    let mixed = n.round(mixed, 12);
    let w = n.weight(&[HEADS, WIDTH / HEADS, WIDTH], bits.weight);
    let out = n.einsum(mixed, "ihd", w, "hdn", "in");
    let out = n.round(out, 15);
    let x = n.affine(&[(x, 1), (out, 1)], 0);
    let x = n.round(x, 1);
    let h = n.normalise(x);
    let acc = n.project(h, tokens, (WIDTH, 4 * WIDTH));
    let h = n.round(acc, 15);
    let h = n.gelu(h);
    let acc = n.project(h, tokens, (4 * WIDTH, WIDTH));
    let out = n.round(acc, 16);
    let y = n.affine(&[(x, 1), (out, 1)], 0);
    let y = n.round(y, 1);
    n.program.outputs = vec![y];
    n
}

fn cpu() -> f64 {
    // User and system time of this process, in clock ticks of 1/100 s.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default().to_string();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |i: usize| {
        fields
            .get(i)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|l| l.starts_with("VmHWM"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|k| k.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1024.0
}

/// Runs one case and prints its row; returns the seconds of proving.
fn row(name: &str, net: Net, repeat: usize) -> f64 {
    let before = cpu();
    let pk = compile(net.program, net.weights).expect("the network is valid");
    let compiled = cpu() - before;
    let context = [0; 32];
    let before = cpu();
    let start = Instant::now();
    for _ in 1..repeat {
        prove(&pk, &context, &net.inputs).expect("proves");
    }
    let key = pk.verifying_key().clone();
    let vk = key.to_bytes();
    let weights = pk.weights().to_vec();
    drop(pk);
    // The peak is from here on, where the system lets it be reset.
    release();
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let result = prove_once(&vk, weights, &context, &net.inputs).expect("proves");
    let wall = start.elapsed().as_secs_f64() / repeat as f64;
    let proved = (cpu() - before) / repeat as f64;
    let (outputs, proof) = result;
    let before = cpu();
    for _ in 0..20 {
        verify(&vk, &context, &net.inputs, &outputs, &proof).expect("verifies");
    }
    let verified = (cpu() - before) / 20.0 * 1e3;
    let layout = &key.layout;
    let bits = soundness(&key).map(|s| s.total_bits).unwrap_or(0.0);
    println!(
        "{name:18} {compiled:10.2} {proved:9.3} {wall:9.3} {verified:9.2} {:9.1} {:7.0} {:7.0} {:5} {:4}/{:<3} {bits:7.1}",
        proof.len() as f64 / 1024.0,
        peak_mb(),
        memory(&key).prove as f64 / f64::from(1 << 20),
        layout.leaf_vars,
        layout.activation_vars,
        layout.weight_vars.unwrap_or(0),
    );
    proved
}

/// As in the plugin.
#[global_allocator]
static ALLOCATOR: Reuse = Reuse;

fn main() {
    let which = std::env::args().nth(1).unwrap_or_default();
    if std::env::args().nth(2).is_some_and(|a| a == "portable") {
        packed::limit(packed::Level::Portable);
    }
    println!(
        "{:18} {:>10} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>5} {:>8} {:>7}",
        "case",
        "compile/s",
        "prove/s",
        "wall/s",
        "verify/ms",
        "proof/KiB",
        "peak/MB",
        "est./MB",
        "leaf",
        "stacks",
        "bits"
    );
    if which.is_empty() || which == "lenet" {
        let (activation, weight) = (8, 8);
        row("LeNet-5, 8 bits", lenet(Bits { activation, weight }), 1);
    }
    if which.is_empty() || which == "lenet12" {
        let (activation, weight) = (11, 12);
        row("LeNet-5, 12 bits", lenet(Bits { activation, weight }), 1);
    }
    if which.is_empty() || which == "conv" {
        row("conv 64x64 3x3 56", conv(64, 56), 1);
    }
    if which.is_empty() || which == "wide" {
        row("conv 512x512 3x3 7", conv(512, 7), 1);
    }
    if which.is_empty() || which == "gpt2" {
        row("GPT-2 block, 64", gpt2_block(64), 1);
    }
    if which.is_empty() || which == "growth" {
        // Slope of log(time) against log(weights + activations).
        let mut points = vec![];
        for (channels, size) in [(16, 28), (32, 28), (32, 56), (64, 56), (64, 112)] {
            let elements = (channels * channels * 9 + 2 * channels * size * size) as f64;
            let seconds = row(&format!("conv {channels} {size}"), conv(channels, size), 1);
            points.push((elements.ln(), seconds.ln()));
        }
        let n = points.len() as f64;
        let (mx, my) = points
            .iter()
            .fold((0.0, 0.0), |m, p| (m.0 + p.0 / n, m.1 + p.1 / n));
        let (xy, xx) = points.iter().fold((0.0, 0.0), |s, p| {
            (s.0 + (p.0 - mx) * (p.1 - my), s.1 + (p.0 - mx).powi(2))
        });
        println!(
            "fitted: prove time grows as (weights + activations)^{:.2}",
            xy / xx
        );
    }
}
