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

    /// The quotient of integers towards zero: `⌊|n| / |d|⌋` with the product of the signs.
    /// `⌊n / d⌋` is `(2n - d) / 2d` rounded half up. A divisor of 0 counts as 1.
    pub(super) fn quotient(&mut self, num: Id, den: Id) -> Result<Quantity> {
        let (num, num_sign) = self.magnitude(num)?;
        let (mut den, den_sign) = self.magnitude(den)?;
        let most = self.b.bounds(den).1.max(1);
        if self.b.bounds(den).0 < 1 {
            den = self.push(ir::Op::Requant {
                input: den,
                multiplier: 1,
                shift: 0,
                lo: 1,
                hi: most,
            })?;
        }
        let least = self.b.bounds(den).0.max(1);
        let hi = self.b.bounds(num).1 / least;
        let doubled = self.sum(vec![(den, 2)])?;
        let num = self.sum(vec![(num, 2), (den, -1)])?;
        let mut tensor = self.push(ir::Op::Div {
            num,
            den: doubled,
            lo: 0,
            hi,
        })?;
        for sign in [num_sign, den_sign].into_iter().flatten() {
            tensor = self.times(tensor, sign)?;
        }
        Ok(Quantity {
            tensor,
            exponent: 0,
        })
    }

    /// The magnitude of an integer, and its sign when it may be negative.
    fn magnitude(&mut self, id: Id) -> Result<(TensorId, Option<TensorId>)> {
        let value = self.narrow(id)?;
        let up = u32::try_from(value.exponent).ok().filter(|e| *e < 32);
        let up = up.ok_or_else(|| self.refuse("an integer has no exact value"))?;
        let tensor = match up {
            0 => value.tensor,
            up => self.sum(vec![(value.tensor, 1 << up)])?,
        };
        if self.b.bounds(tensor).0 >= 0 {
            return Ok((tensor, None));
        }
        let sign = self.sign(tensor)?;
        Ok((self.times(sign, tensor)?, Some(sign)))
    }

    fn sum(&mut self, terms: Vec<(TensorId, i64)>) -> Result<TensorId> {
        self.b.affine(terms, 0).map_err(|e| self.refuse(e))
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
