//! Sums of products that are reduced once, at their end.
//!
//! A product of two words has 128 bits; 192 bits hold the sum of 2^64 of them.
//! A reduction costs as much as several multiplications, so inner products over
//! the challenge field gain from paying it once.

use p3_field::{BasedVectorSpace, PrimeField64};

use crate::commit::{EF, F};

/// A sum of products of two words.
#[derive(Clone, Copy, Default)]
struct Wide {
    low: u128,
    high: u64,
}

/// 2^64 modulo p.
const EPSILON: u64 = 0xffff_ffff;

impl Wide {
    #[inline(always)]
    fn add(&mut self, a: u64, b: u64) {
        let (low, carry) = self.low.overflowing_add(u128::from(a) * u128::from(b));
        self.low = low;
        self.high += u64::from(carry);
    }

    fn merge(&mut self, other: Self) {
        let (low, carry) = self.low.overflowing_add(other.low);
        self.low = low;
        self.high += other.high + u64::from(carry);
    }

    #[inline(always)]
    fn reduce(self) -> F {
        // 2^64 = 2^32 - 1, 2^96 = -1, 2^128 = -2^32 modulo p. Fewer than 2^32
        // terms are ever added, so `high` is below 2^32.
        let (low, middle) = (self.low as u64, (self.low >> 64) as u64);
        let (mut sum, borrow) = low.overflowing_sub(middle >> 32);
        if borrow {
            sum = sum.wrapping_sub(EPSILON);
        }
        let (mut sum, carry) = sum.overflowing_add((middle & EPSILON) * EPSILON);
        if carry {
            sum = sum.wrapping_add(EPSILON);
        }
        F::new(sum) - F::new(self.high << 32)
    }
}

/// A sum of products in the challenge field.
#[derive(Clone, Copy, Default)]
pub struct WideSum([Wide; 3]);

#[inline(always)]
fn words(x: EF) -> [u64; 3] {
    let c: &[F] = x.as_basis_coefficients_slice();
    [
        c[0].as_canonical_u64(),
        c[1].as_canonical_u64(),
        c[2].as_canonical_u64(),
    ]
}

impl WideSum {
    /// Adds `a * b`.
    #[inline(always)]
    pub fn add(&mut self, a: EF, b: EF) {
        let c: &[F] = b.as_basis_coefficients_slice();
        // X^3 = X + 1.
        let ([a0, a1, a2], [b0, b1, b2]) = (words(a), words(b));
        let (b02, b12) = (
            (c[0] + c[2]).as_canonical_u64(),
            (c[1] + c[2]).as_canonical_u64(),
        );
        let [s0, s1, s2] = &mut self.0;
        s0.add(a0, b0);
        s0.add(a1, b2);
        s0.add(a2, b1);
        s1.add(a0, b1);
        s1.add(a1, b02);
        s1.add(a2, b12);
        s2.add(a0, b2);
        s2.add(a1, b1);
        s2.add(a2, b02);
    }

    /// Adds `a * b` for `b` in the base field.
    #[inline(always)]
    pub fn add_base(&mut self, a: EF, b: F) {
        let b = b.as_canonical_u64();
        let a = words(a);
        for (s, a) in self.0.iter_mut().zip(a) {
            s.add(a, b);
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        for (s, o) in self.0.iter_mut().zip(other.0) {
            s.merge(o);
        }
    }

    /// The sum.
    #[inline(always)]
    pub fn value(self) -> EF {
        EF::from_basis_coefficients_fn(|i| self.0[i].reduce())
    }
}

#[cfg(test)]
mod tests {
    use p3_field::PrimeCharacteristicRing;

    use super::*;

    fn elements() -> Vec<EF> {
        let edge = [0, 1, EPSILON, 1 << 32, F::ORDER_U64 - 1, F::ORDER_U64 / 2];
        let mut out = vec![];
        for a in edge {
            for b in edge {
                for c in edge {
                    out.push(EF::from_basis_coefficients_fn(|i| {
                        F::from_u64([a, b, c][i])
                    }));
                }
            }
        }
        out
    }

    #[test]
    fn sums_agree_with_the_fields_own_arithmetic() {
        let all = elements();
        let (mut wide, mut plain) = (WideSum::default(), EF::ZERO);
        let (mut wide_base, mut plain_base) = (WideSum::default(), EF::ZERO);
        for &a in &all {
            for &b in &all {
                let mut one = WideSum::default();
                one.add(a, b);
                assert_eq!(one.value(), a * b);
                wide.merge(&one);
                plain += a * b;
                let base: &[F] = b.as_basis_coefficients_slice();
                wide_base.add_base(a, base[0]);
                plain_base += a * base[0];
            }
        }
        assert_eq!(wide.value(), plain);
        assert_eq!(wide_base.value(), plain_base);
    }
}
