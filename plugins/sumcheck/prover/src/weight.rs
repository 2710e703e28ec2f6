//! Weights of sumchecks: tensor products of small vectors.
//!
//! Every weight of the protocol (equality with a point, with or without masks,
//! rows of a wire's matrices) is a product of one vector for each group of
//! variables. It is kept as such: a table as long as the arrays beside it would
//! be most of the memory of a round, and most of the multiplications too.

use dsperse_sumcheck_packed as packed;
use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::mle::{eq_table, outer};
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

/// Variables of the vectors that an equality is split into, and of the low half
/// of a split weight: small enough for the first-level cache.
const LOW_VARS: usize = 9;

/// A tensor product of vectors, the first variables first.
#[derive(Clone)]
pub struct Weight {
    scale: EF,
    factors: Vec<Vec<EF>>,
}

/// A weight as `high[i] * low[j]` at index `i * low.len() + j`.
pub struct Split {
    /// For the first variables.
    pub high: Vec<EF>,
    /// For the last variables.
    pub low: Vec<EF>,
}

/// The parts of a point for which tables of equality are made.
pub fn pieces(point: &[EF]) -> impl Iterator<Item = &[EF]> {
    point.rchunks(LOW_VARS).rev()
}

impl Weight {
    /// The product of `factors`, whose lengths are powers of two.
    pub fn new(factors: Vec<Vec<EF>>) -> Self {
        let mut out = Self {
            scale: EF::ONE,
            factors,
        };
        out.settle();
        out
    }

    /// Equality with a point.
    pub fn eq(point: &[EF]) -> Self {
        Self::new(pieces(point).map(eq_table).collect())
    }

    /// The same times a number.
    pub fn times(mut self, by: EF) -> Self {
        self.scale *= by;
        self
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.factors.iter().map(Vec::len).product()
    }

    /// Moves vectors of one element into the scale.
    fn settle(&mut self) {
        for f in &self.factors {
            if let [only] = f.as_slice() {
                self.scale *= *only;
            }
        }
        self.factors.retain(|f| f.len() != 1);
    }

    /// Binds the last variable.
    pub fn bind(&mut self, r: EF) {
        if let Some(last) = self.factors.last_mut() {
            *last = last
                .chunks_exact(2)
                .map(|p| p[0] + r * (p[1] - p[0]))
                .collect();
        }
        self.settle();
    }

    /// Two tables whose product the weight is.
    pub fn split(&self) -> Split {
        let mut from = self.factors.len();
        let mut size = 1;
        while let Some(next) = from.checked_sub(1).and_then(|i| self.factors.get(i)) {
            // A low half of a few elements would make the high one long.
            if size > 16 && size * next.len() > 1 << (LOW_VARS + 2) {
                break;
            }
            size *= next.len();
            from -= 1;
        }
        let mut high = outer(&self.factors[..from]);
        high.iter_mut().for_each(|h| *h *= self.scale);
        Split {
            high,
            low: outer(&self.factors[from..]),
        }
    }

    /// `sum weight * values`; missing values are 0.
    pub fn inner(&self, values: &[F]) -> EF {
        self.sum(values, packed::inner_base)
    }

    /// The same for values in the challenge field.
    pub fn inner_ext(&self, values: &[EF]) -> EF {
        self.sum(values, packed::inner)
    }

    fn sum<T: Sync>(&self, values: &[T], inner: impl Fn(&[EF], &[T]) -> EF + Sync) -> EF {
        let Split { high, low } = self.split();
        values
            .par_chunks(low.len())
            .zip(&high)
            .map(|(chunk, &h)| inner(&low[..chunk.len()], chunk) * h)
            .reduce(|| EF::ZERO, |a, b| a + b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p3_field::BasedVectorSpace;

    #[test]
    fn a_product_binds_and_splits_like_its_table() {
        let element = |i: u64| EF::from_basis_coefficients_fn(|k| F::from_u64(i * 7 + k as u64));
        let masked = |n: u64, bits: u32| -> Vec<EF> {
            (0..1 << bits)
                .map(|i| if i < n { element(i + 3) } else { EF::ZERO })
                .collect()
        };
        let point: Vec<EF> = (0..12).map(element).collect();
        for factors in [
            vec![masked(5, 3), masked(1, 0), masked(9, 4)],
            vec![eq_table(&point), masked(3, 2)],
            vec![],
        ] {
            let mut weight = Weight::new(factors.clone()).times(element(11));
            let mut table: Vec<EF> = outer(&factors).iter().map(|&x| x * element(11)).collect();
            loop {
                let Split { high, low } = weight.split();
                assert_eq!(outer(&[high, low]), table);
                assert_eq!(weight.len(), table.len());
                if table.len() == 1 {
                    break;
                }
                let r = element(table.len() as u64);
                weight.bind(r);
                table = table
                    .chunks_exact(2)
                    .map(|p| p[0] + r * (p[1] - p[0]))
                    .collect();
            }
        }
        let values: Vec<F> = (0..1u64 << 12).map(F::from_u64).collect();
        let plain: EF = eq_table(&point)
            .iter()
            .zip(&values)
            .map(|(&e, &v)| e * v)
            .sum();
        assert_eq!(Weight::eq(&point).inner(&values), plain);
        let lifted: Vec<EF> = values.iter().map(|&v| EF::from(v)).collect();
        assert_eq!(Weight::eq(&point).inner_ext(&lifted), plain);
    }
}
