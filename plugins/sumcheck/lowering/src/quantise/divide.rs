//! Quotients of computed tensors.

use super::Quantiser;
use super::builder::Quantity;
use super::scale::exponent_for;
use super::{ir, scale};
use crate::error::Result;
use crate::graph::Id;
use dsperse_sumcheck_verifier::program::TensorId;

/// Most bits of a divisor.
const DIVISOR_BITS: u32 = 18;
/// Most bits of a numerator.
const NUMERATOR_BITS: u32 = 20;
/// Bits of a quotient below those of its rounded result.
const GUARD_BITS: i32 = 2;
/// Quotient and divisor together have at most so many bits (see the bounds of `Div`).
const PRODUCT_BITS: u32 = 55;
/// The doubled numerator stays below `2^SUM_BITS`.
const SUM_BITS: u32 = 58;

impl Quantiser<'_> {
    /// `num / den`, or `1 / den` without a numerator.
    ///
    /// The program divides by positive numbers: both sides are multiplied by the divisor's
    /// sign, unless calibration saw only positive ones, and a divisor below one unit counts
    /// as one unit.
    pub(super) fn divide(&mut self, id: Id, num: Option<Id>, den: Id) -> Result<Quantity> {
        let mut n = num
            .map(|n| self.narrow_within(n, NUMERATOR_BITS))
            .transpose()?;
        let d = self.divisor(den)?;
        let mut divisor = d.tensor;
        if self.ranges.least(den) < 0.0 && self.b.bounds(divisor).0 < 0 {
            let sign = self.sign(divisor)?;
            divisor = self.times(sign, divisor)?;
            let signed = match n {
                Some(n) => Quantity {
                    tensor: self.times(sign, n.tensor)?,
                    ..n
                },
                None => Quantity {
                    tensor: sign,
                    exponent: 0,
                },
            };
            n = Some(signed);
        }
        let (lo, hi) = self.b.bounds(divisor);
        if lo < 1 {
            divisor = self.push(ir::Op::Requant {
                input: divisor,
                multiplier: 1,
                shift: 0,
                lo: 1,
                hi: hi.max(1),
            })?;
        }
        let bits = |v: i64| 64 - v.unsigned_abs().leading_zeros();
        let (den_bits, num_bits) = (bits(hi), n.map_or(1, |n| bits(self.b.max_abs(n.tensor))));
        let exponent = n.map_or(0, |n| n.exponent) - d.exponent;
        let wanted = exponent_for(self.ranges.max_abs(id), self.bits(id)) - GUARD_BITS;
        let room = SUM_BITS.min(PRODUCT_BITS.saturating_sub(den_bits) + 8) - num_bits;
        let fraction = (exponent - wanted)
            .clamp(0, room.cast_signed())
            .cast_unsigned();
        let num = match n {
            Some(n) => self.b.affine(vec![(n.tensor, 1 << fraction)], 0),
            None => self.b.affine(vec![(divisor, 0)], 1 << fraction),
        };
        let num = num.map_err(|e| self.refuse(e))?;
        // A quotient that is too large for the field has no proof; calibration saw none.
        let half = 1i64 << (num_bits + fraction).min(PRODUCT_BITS - den_bits);
        let tensor = self.push(ir::Op::Div {
            num,
            den: divisor,
            lo: -half,
            hi: half - 1,
        })?;
        Ok(Quantity {
            tensor,
            exponent: exponent - fraction.cast_signed(),
        })
    }

    fn divisor(&mut self, den: Id) -> Result<Quantity> {
        let value = self.value(den)?;
        if self.b.max_abs(value.tensor) < 1 << DIVISOR_BITS {
            return Ok(value);
        }
        let exponent = exponent_for(self.ranges.max_abs(den), DIVISOR_BITS).max(value.exponent);
        let (lo, hi) = scale::limits(DIVISOR_BITS);
        self.round(value, exponent, lo, hi)
    }

    /// 1 or -1; 1 for 0.
    fn sign(&mut self, input: TensorId) -> Result<TensorId> {
        let below = self.push(ir::Op::Requant {
            input,
            multiplier: 1,
            shift: 0,
            lo: -1,
            hi: 0,
        })?;
        self.push(ir::Op::Affine {
            terms: vec![(below, 2)],
            constant: 1,
        })
    }
}
