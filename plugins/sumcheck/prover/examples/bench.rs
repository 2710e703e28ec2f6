//! Prints what compiling, proving and verifying cost, for the shapes that the
//! backend's targets speak of and for a series of sizes.
//!
//! `cargo run --release -p dsperse-sumcheck-prover --example bench [lenet|lenet12|conv|growth]`
//!
//! All times but "wall" are CPU times of the process; peak memory is the process's, so run
//! one case per process for an honest figure.

use std::time::Instant;

use dsperse_sumcheck_prover::{compile, prove, prove_once};
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
    let result = prove_once(pk, &context, &net.inputs).expect("proves");
    let wall = start.elapsed().as_secs_f64() / repeat as f64;
    let proved = (cpu() - before) / repeat as f64;
    let (outputs, proof) = result;
    let vk = key.to_bytes();
    let before = cpu();
    for _ in 0..20 {
        verify(&vk, &context, &net.inputs, &outputs, &proof).expect("verifies");
    }
    let verified = (cpu() - before) / 20.0 * 1e3;
    let layout = &key.layout;
    let bits = soundness(&key).map(|s| s.total_bits).unwrap_or(0.0);
    println!(
        "{name:18} {compiled:10.2} {proved:9.3} {wall:9.3} {verified:9.2} {:9.1} {:7.0} {:5} {:4}/{:<3} {bits:7.1}",
        proof.len() as f64 / 1024.0,
        peak_mb(),
        layout.leaf_vars,
        layout.activation_vars,
        layout.weight_vars.unwrap_or(0),
    );
    proved
}

fn main() {
    let which = std::env::args().nth(1).unwrap_or_default();
    println!(
        "{:18} {:>10} {:>9} {:>9} {:>9} {:>9} {:>7} {:>5} {:>8} {:>7}",
        "case",
        "compile/s",
        "prove/s",
        "wall/s",
        "verify/ms",
        "proof/KiB",
        "peak/MB",
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
