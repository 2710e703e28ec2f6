//! Softmax and layer normalisation: the operators that divide by a computed number.

use super::builder::Quantity;
use super::scale::exponent_for;
use super::{Quantiser, TABLE_BITS, ir, sum_factors};
use crate::error::Result;
use crate::graph::{Function, Id, Node, Op};
use dsperse_sumcheck_verifier::program::{MAX_MAX_INPUTS, TensorId};
use dsperse_sumcheck_verifier::wire::Factor;

/// `e^x` is tabulated down to `-2^EXP_RANGE`; below it counts as `e^-16`.
const EXP_RANGE: i32 = 4;
/// Fraction bits of the tabulated exponential. `e^-16 · 2^24 > 1`, so that every
/// entry, and with it every sum, is positive.
const EXP_BITS: u32 = 24;
/// Fraction bits of a normalised value.
const NORMAL_BITS: i32 = 12;
/// The same where activations are wider than a table: a few massive values in a row leave
/// small numbers for the rest.
const FINE_NORMAL_BITS: i32 = 18;
/// Most bits of a value that is normalised: its squares are summed.
const NORMALISED_BITS: u32 = 20;
/// Most bits of a Softmax's input.
const SCORE_BITS: u32 = 20;
/// A Softmax's input is clipped when it reaches so many times further than the entries
/// near the maximum.
const LONE_MASK: f64 = 4.0;
/// Sums of squares stay below `2^SQUARE_BITS`.
const SQUARE_BITS: u32 = 58;

impl Quantiser<'_> {
    /// `e^(x - max) / sum`, with the exponential from a table.
    pub(super) fn softmax(&mut self, id: Id, input: Id, axis: usize) -> Result<Quantity> {
        let x = self.scores(input)?;
        let shape = self.graph.shape(input).to_vec();
        let most = self.axis_max(x.tensor, axis)?;
        let most = self.repeat(most, axis, shape[axis])?;
        let below = self.push(ir::Op::Affine {
            terms: vec![(x.tensor, 1), (most, -1)],
            constant: 0,
        })?;
        let bits = self.precision.table_bits();
        let below = Quantity {
            tensor: below,
            exponent: x.exponent,
        };
        // As fine as the table allows or the input is; what is below the table's range
        // saturates at its end.
        let step = (EXP_RANGE - bits.cast_signed()).max(x.exponent);
        let entries = 1i64 << (EXP_RANGE - step).max(1);
        let below = self.round(below, step, 1 - entries, 0)?;
        let (lo, hi) = self.b.bounds(below.tensor);
        let unit = f64::from(1u32 << EXP_BITS);
        let values = (lo..=hi)
            .map(|i| {
                let e = Function::Exp.at(i as f64 * 2f64.powi(step));
                (e * unit).round_ties_even().max(1.0) as i32
            })
            .collect();
        let exp = self.b.look_up(below.tensor, lo, values);
        let exp = exp.map_err(|e| self.refuse(e))?;
        let sum = self.push(ir::Op::Wire {
            input: exp,
            factors: sum_factors(shape.len(), &[axis]),
        })?;
        let den = self.repeat(sum, axis, shape[axis])?;
        // As fine as the greatest probability deserves, as long as numerator and divisor
        // stay exact.
        let result = exponent_for(self.ranges.max_abs(id), self.bits(id));
        let n_bits = usize::BITS - shape[axis].leading_zeros();
        let most = 24u32.min(32u32.saturating_sub(n_bits));
        let wanted = u32::try_from(-result).unwrap_or(0);
        let fraction = wanted.max(bits - 2).min(most);
        let num = self.push(ir::Op::Affine {
            terms: vec![(exp, 1 << fraction)],
            constant: 0,
        })?;
        let tensor = self.push(ir::Op::Div {
            num,
            den,
            lo: 0,
            hi: (2 << fraction) - 1,
        })?;
        Ok(Quantity {
            tensor,
            exponent: -fraction.cast_signed(),
        })
    }

    /// The input of a Softmax, as fine as the entries near their row's maximum deserve.
    /// Entries far below it (a mask of -10000 that is added to scores around 1) only have
    /// to stay far below: they saturate where their exponential is as good as 0.
    fn scores(&mut self, input: Id) -> Result<Quantity> {
        let value = self.value(input)?;
        match self.score_limits(input, value.exponent) {
            Some((exponent, lo, hi)) => self.round(value, exponent, lo, hi),
            None => self.narrow_within(input, SCORE_BITS),
        }
    }

    /// Whether a node is read by nothing but Softmax.
    pub(super) fn only_scores(&self, id: Id) -> bool {
        let reads = |n: &&Node| n.op.operands().contains(&id);
        let mut readers = self.graph.nodes.iter().filter(reads);
        !self.graph.outputs.contains(&id) && readers.all(|n| matches!(n.op, Op::Softmax { .. }))
    }

    /// Exponent, least and greatest integer of a Softmax's input some entries of which are
    /// far below their row's maximum; `None` where all of them count. The exponent is at
    /// least `finest`.
    pub(super) fn score_limits(&self, input: Id, finest: i32) -> Option<(i32, i64, i64)> {
        let near = self.ranges.near_maximum(input);
        let bits = self.precision.table_bits();
        if self.ranges.max_abs(input) <= LONE_MASK * near.max(1.0) {
            return None;
        }
        // Finer than a quarter of the exponential's step gains nothing.
        let exponent = exponent_for(near, bits)
            .max(finest)
            .max(EXP_RANGE - bits.cast_signed() - 2);
        // Every row has its maximum at `-HEADROOM · near` or above.
        let least = -(super::scale::HEADROOM * near + 2f64.powi(EXP_RANGE) + 1.0);
        let mut half = 1i64 << (bits - 1);
        while -(half as f64) * 2f64.powi(exponent) > least && half < 1 << SCORE_BITS {
            half *= 2;
        }
        Some((exponent, -half, half - 1))
    }

    /// Greatest element over an axis, which keeps size 1: each step halves or quarters
    /// the axis. Parts may overlap, since an element may count twice in a maximum.
    fn axis_max(&mut self, mut tensor: TensorId, axis: usize) -> Result<TensorId> {
        loop {
            let shape = self.b.shape(tensor).to_vec();
            let n = shape[axis];
            if n == 1 {
                return Ok(tensor);
            }
            let ways = n.min(MAX_MAX_INPUTS);
            let size = n.div_ceil(ways);
            let mut parts = Vec::new();
            for i in 0..ways {
                let mut factors: Vec<Factor> =
                    (0..shape.len()).map(|dim| Factor::Keep { dim }).collect();
                factors[axis] = Factor::Strided {
                    dim: axis,
                    size,
                    start: (i * size).min(n - size) as i64,
                    step: 1,
                };
                let part = ir::Op::Wire {
                    input: tensor,
                    factors,
                };
                parts.push(self.push(part)?);
            }
            tensor = self.greatest(parts)?;
        }
    }

    fn sum_over(&mut self, input: TensorId, rank: usize, axes: &[usize]) -> Result<TensorId> {
        let factors = sum_factors(rank, axes);
        self.push(ir::Op::Wire { input, factors })
    }

    /// Repeats an axis of size 1.
    fn repeat(&mut self, tensor: TensorId, axis: usize, size: usize) -> Result<TensorId> {
        let mut to = self.b.shape(tensor).to_vec();
        to[axis] = size;
        self.repeat_to(tensor, &to)
    }

    fn repeat_to(&mut self, tensor: TensorId, to: &[usize]) -> Result<TensorId> {
        let factors = super::expand_factors(self.b.shape(tensor), to);
        self.push(ir::Op::Wire {
            input: tensor,
            factors,
        })
    }

    /// `(x - mean) / sqrt(variance + epsilon)`.
    ///
    /// With `n` elements in a row and `d = k·x - m`, where either `k = n` and `m` is the
    /// sum (exact), or `k` is a power of two and `m` the rounded mean times `k`:
    /// `V = sum d² + epsilon·n·k²` in units of `x` squared, and the result is
    /// `d·sqrt(n) / sqrt(V)`. `V` is at least 1, hence so is its root. Without centring
    /// `d` is `x` itself (RMSNorm: Zhang, Sennrich 2019, equation 4).
    pub(super) fn normalise(
        &mut self,
        input: Id,
        axes: &[usize],
        epsilon: f64,
        centred: bool,
    ) -> Result<Quantity> {
        let x = self.narrow_within(input, NORMALISED_BITS)?;
        let normal_bits = if self.precision.activation_bits > TABLE_BITS {
            FINE_NORMAL_BITS
        } else {
            NORMAL_BITS
        };
        let shape = self.graph.shape(input).to_vec();
        let n: usize = axes.iter().map(|&a| shape[a]).product();
        let rank = shape.len();
        let bits = |v: i64| 64 - v.unsigned_abs().leading_zeros();
        let own_bits = bits(self.b.max_abs(x.tensor));
        let n_bits = bits(n as i64);
        let (k, mean) = if !centred {
            (1, None)
        } else if 2 * (own_bits + n_bits + 1) + n_bits <= SQUARE_BITS {
            (n as i64, Some(self.sum_over(x.tensor, rank, axes)?))
        } else {
            let spare = SQUARE_BITS.saturating_sub(n_bits) / 2;
            let fraction = spare.saturating_sub(own_bits + 1).min(6);
            let shift = 30u32;
            let multiplier = (f64::from(1u32 << fraction) * f64::from(1u32 << shift) / n as f64)
                .round()
                .max(1.0) as i64;
            let half = 1i64 << (own_bits + fraction);
            let sum = self.sum_over(x.tensor, rank, axes)?;
            let mean = self.push(ir::Op::Requant {
                input: sum,
                multiplier,
                shift,
                lo: -half,
                hi: half - 1,
            })?;
            (1i64 << fraction, Some(mean))
        };
        let d = match mean {
            Some(mean) => {
                let mean = self.repeat_to(mean, &shape)?;
                self.push(ir::Op::Affine {
                    terms: vec![(x.tensor, k), (mean, -1)],
                    constant: 0,
                })?
            }
            None => x.tensor,
        };
        let squares = self.times(d, d)?;
        let total = self.push(ir::Op::Wire {
            input: squares,
            factors: sum_factors(rank, axes),
        })?;
        // The root keeps more bits when its operand is scaled up by an even power of two.
        let room = 60u32.saturating_sub(bits(self.b.max_abs(total)) + 1);
        let t = (room / 2).min(8);
        let scale = epsilon * n as f64 * (k as f64).powi(2) * 2f64.powi(-2 * x.exponent);
        let added = (scale * 2f64.powi(2 * t.cast_signed())).round().max(1.0);
        if added.is_nan() || added >= 2f64.powi(60) {
            return Err(self.refuse("its epsilon is far above the variance of its input"));
        }
        let radicand = self.push(ir::Op::Affine {
            terms: vec![(total, 1 << (2 * t))],
            constant: added as i64,
        })?;
        let root = self.push(ir::Op::Sqrt { input: radicand })?;
        let den = self.repeat_to(root, &shape)?;
        let factor = (n as f64).sqrt() * 2f64.powi(t.cast_signed() + normal_bits);
        let num = self.push(ir::Op::Affine {
            terms: vec![(d, factor.round() as i64)],
            constant: 0,
        })?;
        // |d| <= sqrt(V), and rounding the root down at most doubles the quotient: this
        // bound can't be exceeded, so the division never fails.
        let reach = 2.0 * (n as f64).sqrt() * 2f64.powi(normal_bits) + 2.0;
        let mut half = 1i64;
        while (half as f64) < reach {
            half *= 2;
        }
        let tensor = self.push(ir::Op::Div {
            num,
            den,
            lo: -half,
            hi: half - 1,
        })?;
        Ok(Quantity {
            tensor,
            exponent: -normal_bits,
        })
    }
}
