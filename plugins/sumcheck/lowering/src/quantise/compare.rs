//! Maxima, steps, roundings to integers, and what picks by ids.

use super::Quantiser;
use super::builder::Quantity;
use super::ir;
use super::scale::{exponent_for, limits};
use crate::error::Result;
use crate::graph::{Id, Op};
use dsperse_sumcheck_verifier::program::TensorId;

/// Bits of a quantisation's factor.
const FACTOR_BITS: i32 = 30;
/// A quantised value has fewer bits than this.
const WIDEST: u32 = 40;

impl Quantiser<'_> {
    /// Greatest of several tensors, all at one exponent.
    pub(super) fn max(&mut self, id: Id, inputs: &[Id]) -> Result<Quantity> {
        let mut values = inputs
            .iter()
            .map(|&i| self.ranked(i))
            .collect::<Result<Vec<_>>>()?;
        let most = inputs.iter().map(|&i| self.ranges.max_abs(i));
        let most = most.fold(0.0, f64::max);
        let finest = values.iter().map(|v| v.exponent).min().unwrap_or(0);
        let same = values.iter().all(|v| v.exponent == finest);
        let exponent = if same {
            finest
        } else {
            exponent_for(most, self.bits(id)).max(finest)
        };
        for value in &mut values {
            if value.exponent != exponent {
                let (lo, hi) = limits(self.bits(id).max(16));
                *value = self.round(*value, exponent, lo, hi)?;
            }
        }
        let tensor = self.greatest(values.iter().map(|v| v.tensor).collect())?;
        Ok(Quantity { tensor, exponent })
    }

    /// `[x > 0]` is `x` limited to `0..=1`, and `[x >= 0]` is 1 more than `x` limited to
    /// `-1..=0`: for integers, at whatever scale.
    pub(super) fn step(&mut self, input: Id, strict: bool) -> Result<Quantity> {
        let value = self.value(input)?;
        let lo = if strict { 0 } else { -1 };
        let limited = self.push(ir::Op::Requant {
            input: value.tensor,
            multiplier: 1,
            shift: 0,
            lo,
            hi: lo + 1,
        })?;
        let tensor = self.b.affine(vec![(limited, 1)], -lo);
        let tensor = tensor.map_err(|e| self.refuse(e))?;
        Ok(Quantity {
            tensor,
            exponent: 0,
        })
    }

    /// Rounding half up of `x - 1/2`, half a unit above, is rounding down.
    pub(super) fn floor(&mut self, id: Id, input: Id) -> Result<Quantity> {
        let value = self.value(input)?;
        if value.exponent >= 0 {
            return if self.graph.nodes[input].integral {
                Ok(value)
            } else {
                self.round(value, 0, i64::from(i32::MIN), i64::from(i32::MAX))
            };
        }
        let (lo, hi) = self
            .whole_limits(id)
            .ok_or_else(|| self.refuse("its result is too large to be an exact integer"))?;
        let half = 1i64 << (-value.exponent - 1).clamp(0, 60);
        let shifted = self.b.affine(vec![(value.tensor, 1)], -half);
        let shifted = shifted.map_err(|e| self.refuse(e))?;
        let lowered = Quantity {
            tensor: shifted,
            exponent: value.exponent,
        };
        self.round(lowered, 0, lo, hi)
    }

    /// A quantisation of the model's own: one rounding half to even, with the factor as an
    /// integer over a power of two (Jacob et al. 2018, section 2.2).
    pub(super) fn rescale(
        &mut self,
        id: Id,
        input: Id,
        axis: Option<usize>,
        factors: &[f64],
        (zero, lo, hi): (f64, f64, f64),
    ) -> Result<Quantity> {
        let mut value = self.value(input)?;
        if self.b.max_abs(value.tensor) >= 1 << WIDEST {
            value = self.narrow_within(input, 24)?;
        }
        let bits = 64 - self.b.max_abs(value.tensor).leading_zeros().cast_signed();
        let unit = 2f64.powi(value.exponent);
        let most = factors.iter().fold(0f64, |m, f| m.max(*f)) * unit;
        let room = FACTOR_BITS.min(58 - bits);
        let shift = (f64::from(room) - most.log2()).floor().clamp(0.0, 39.0);
        let exact: Vec<f64> = factors
            .iter()
            .map(|f| f * unit * 2f64.powf(shift))
            .collect();
        let multipliers: Vec<f64> = exact.iter().map(|m| m.round_ties_even()).collect();
        let is_exact = exact == multipliers;
        if !(most.is_finite() && multipliers.iter().all(|m| *m < 2f64.powi(room + 1))) {
            return Err(self.refuse("its scale does not fit the values"));
        }
        let mut multipliers: Vec<i64> = multipliers.iter().map(|m| *m as i64).collect();
        if axis.is_none() {
            multipliers[0] = multipliers[0].max(1);
        }
        // Bits that are 0 in every factor need not be multiplied and shifted out again.
        let even = multipliers.iter().map(|m| m.trailing_zeros());
        let even = even.min().unwrap_or(0).min(shift as u32);
        multipliers.iter_mut().for_each(|m| *m >>= even);
        let shift = shift as u32 - even;
        // A product is halfway between two results only when the value has the factors of 2
        // that the multiplier lacks. With a rounded factor such a tie is none of the model's.
        let most = self.b.max_abs(value.tensor);
        let tie = |m: &i64| match (shift.checked_sub(1)).map(|s| s.checked_sub(m.trailing_zeros()))
        {
            Some(Some(bits)) => most >> bits.min(62) > 0,
            _ => false,
        };
        let ties = is_exact && multipliers.iter().any(tie);
        let (input, multiplier) = match axis {
            Some(axis) => {
                let factors = multipliers.iter().map(|m| *m as f64).collect();
                (self.times_along(value.tensor, axis, factors)?, 1)
            }
            None => (value.tensor, multipliers[0]),
        };
        let (lo, hi) = if lo.is_finite() {
            ((lo - zero) as i64, (hi - zero) as i64)
        } else {
            self.whole_limits(id)
                .ok_or_else(|| self.refuse("its result is too large to be an exact integer"))?
        };
        let terms = if ties {
            self.half_even(input, multiplier, shift, lo, hi)?
        } else {
            let rounded = self.push(ir::Op::Requant {
                input,
                multiplier,
                shift,
                lo,
                hi,
            })?;
            vec![(rounded, 1)]
        };
        let tensor = self.b.affine(terms, zero as i64);
        let tensor = tensor.map_err(|e| self.refuse(e))?;
        Ok(Quantity {
            tensor,
            exponent: 0,
        })
    }

    /// `m·x / 2^shift` rounded half to even within limits, as a sum. With `v` the quotient it
    /// is `⌊v/2 + 1/4⌋ + ⌈v/2 - 1/4⌉`: away from ties both are halves of the nearest integer,
    /// and at a tie between `k` and `k + 1` both are half of the even one. Each part saturates
    /// where the sum does.
    fn half_even(
        &mut self,
        input: TensorId,
        multiplier: i64,
        shift: u32,
        lo: i64,
        hi: i64,
    ) -> Result<Vec<(TensorId, i64)>> {
        let half = 1i64 << (shift - 1);
        let mut parts = Vec::new();
        // The second part is the negative of the first one's function at `-v`.
        for (sign, lo, hi) in [
            (1, lo.div_euclid(2), hi.div_euclid(2)),
            (-1, (-hi).div_euclid(2), (-lo).div_euclid(2)),
        ] {
            let moved = self.b.affine(vec![(input, sign * multiplier)], -half);
            let moved = moved.map_err(|e| self.refuse(e))?;
            let part = self.push(ir::Op::Requant {
                input: moved,
                multiplier: 1,
                shift: shift + 1,
                lo,
                hi,
            })?;
            parts.push((part, sign));
        }
        Ok(parts)
    }

    /// Picks rows by the elements of an input.
    pub(super) fn select(&mut self, input: Id, dim: usize, ids: Id) -> Result<Quantity> {
        let data = match &self.graph.nodes[input].op {
            Op::Const(_) => self.node(input)?,
            _ => self.narrow(input)?,
        };
        let ids: TensorId = self.value(ids)?.tensor;
        let tensor = self.push(ir::Op::Select {
            input: data.tensor,
            dim,
            ids,
        })?;
        Ok(Quantity {
            tensor,
            exponent: data.exponent,
        })
    }
}
