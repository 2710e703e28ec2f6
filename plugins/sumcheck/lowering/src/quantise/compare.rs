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

    /// A quantisation of the model's own: one rounding, with the factor as an integer over
    /// a power of two (Jacob et al. 2018, section 2.2). A tie goes up.
    pub(super) fn rescale(
        &mut self,
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
        let shift = (f64::from(room) - most.log2()).floor().clamp(0.0, 40.0);
        let multipliers: Vec<f64> = factors
            .iter()
            .map(|f| (f * unit * 2f64.powf(shift)).round_ties_even())
            .collect();
        if !(most.is_finite() && multipliers.iter().all(|m| *m < 2f64.powi(room + 1))) {
            return Err(self.refuse("its scale does not fit the values"));
        }
        let (input, multiplier) = match axis {
            Some(axis) => (self.times_along(value.tensor, axis, multipliers)?, 1),
            None => (value.tensor, multipliers[0].max(1.0) as i64),
        };
        let rounded = self.push(ir::Op::Requant {
            input,
            multiplier,
            shift: shift as u32,
            lo: (lo - zero) as i64,
            hi: (hi - zero) as i64,
        })?;
        let tensor = self.b.affine(vec![(rounded, 1)], zero as i64);
        let tensor = tensor.map_err(|e| self.refuse(e))?;
        Ok(Quantity {
            tensor,
            exponent: 0,
        })
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
