//! The prover's side of every sumcheck over sums of products.
//!
//! An [`Instance`] is `sum_x weight(x) * sum_k c_k prod_j form_kj(x)` with affine
//! forms in its arrays. Variables are bound from the last to the first, so a
//! round pairs neighbours. A batch runs several instances at once: one on fewer
//! variables is over first, and then enters as `x_1 .. x_m` times its value (see
//! the verifier's `zero` module).

use std::ops::{Add, Mul, Sub};

use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::transcript::interpolate;
use p3_field::PrimeCharacteristicRing;

use crate::sender::Sender;

/// Tables of values, in the base field until the first variable is bound.
pub enum Arrays {
    /// Values in the base field.
    Base(Vec<Vec<F>>),
    /// Values in the challenge field.
    Ext(Vec<Vec<EF>>),
}

/// `constant + sum coefficient * array[index]`.
#[derive(Clone)]
pub struct Form {
    /// The constant.
    pub constant: F,
    /// Indices into the arrays, and coefficients.
    pub terms: Vec<(usize, F)>,
}

impl Form {
    /// One array as it is.
    pub fn array(index: usize) -> Self {
        Self {
            constant: F::ZERO,
            terms: vec![(index, F::ONE)],
        }
    }
}

/// One sum.
pub struct Instance {
    /// The multilinear weight.
    pub weight: Vec<EF>,
    /// The tables that the forms refer to, each as long as the weight.
    pub arrays: Arrays,
    /// Coefficients and factors.
    pub products: Vec<(EF, Vec<Form>)>,
    /// The sum, as claimed to the verifier.
    pub claim: EF,
}

impl Instance {
    fn degree(&self) -> usize {
        1 + self.products.iter().map(|p| p.1.len()).max().unwrap_or(0)
    }

    /// The values of the arrays after the last round.
    pub fn ends(&self) -> Vec<EF> {
        match &self.arrays {
            Arrays::Base(a) => a.iter().map(|v| EF::from(v[0])).collect(),
            Arrays::Ext(a) => a.iter().map(|v| v[0]).collect(),
        }
    }

    /// The round's polynomial at 0, 1, .., `degree`.
    fn round(&self) -> Vec<EF> {
        let degree = self.degree();
        let mut values = match &self.arrays {
            Arrays::Base(a) => sums(&self.weight, a, &self.products, degree),
            Arrays::Ext(a) => sums(&self.weight, a, &self.products, degree),
        };
        values.insert(1, self.claim - values[0]);
        values
    }

    fn bind(&mut self, r: EF) {
        self.weight = fold(&self.weight, r);
        self.arrays = Arrays::Ext(match &self.arrays {
            Arrays::Base(a) => a.iter().map(|v| fold(v, r)).collect(),
            Arrays::Ext(a) => a.iter().map(|v| fold(v, r)).collect(),
        });
    }
}

/// An element of one of the two fields.
pub trait Value:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Mul<F, Output = Self>
    + From<F>
{
    /// `self * by`, in the challenge field.
    fn times(self, by: EF) -> EF;
    /// `self`, in the challenge field.
    fn lift(self) -> EF;
}

impl Value for F {
    fn times(self, by: EF) -> EF {
        by * self
    }

    fn lift(self) -> EF {
        EF::from(self)
    }
}

impl Value for EF {
    fn times(self, by: EF) -> EF {
        by * self
    }

    fn lift(self) -> EF {
        self
    }
}

/// Binds the last variable.
pub fn fold<V: Value>(v: &[V], r: EF) -> Vec<EF> {
    v.chunks_exact(2)
        .map(|p| (p[1] - p[0]).times(r) + p[0].lift())
        .collect()
}

/// `sum` of weight times products over all pairs, at 0, 2, .., `degree`.
fn sums<V: Value>(
    weight: &[EF],
    arrays: &[Vec<V>],
    products: &[(EF, Vec<Form>)],
    degree: usize,
) -> Vec<EF> {
    let mut acc = vec![EF::ZERO; degree + 1];
    let zero = V::from(F::ZERO);
    // Affine forms are affine in t as well: two values give all.
    let mut forms: Vec<(V, V)> = Vec::new();
    for (j, w) in weight.chunks_exact(2).enumerate() {
        forms.clear();
        for form in products.iter().flat_map(|p| &p.1) {
            let (mut v, mut d) = (V::from(form.constant), zero);
            for &(i, c) in &form.terms {
                let (lo, hi) = (arrays[i][2 * j], arrays[i][2 * j + 1]);
                if c == F::ONE {
                    v = v + lo;
                    d = d + (hi - lo);
                } else {
                    v = v + lo * c;
                    d = d + (hi - lo) * c;
                }
            }
            forms.push((v, d));
        }
        let (mut wt, dw) = (w[0], w[1] - w[0]);
        for (t, a) in acc.iter_mut().enumerate() {
            if t != 1 {
                let mut sum = EF::ZERO;
                let mut rest = forms.as_slice();
                for (c, factors) in products {
                    let (here, after) = rest.split_at(factors.len());
                    rest = after;
                    let Some((first, others)) = here.split_first() else {
                        sum += *c;
                        continue;
                    };
                    sum += others.iter().fold(first.0, |p, f| p * f.0).times(*c);
                }
                *a += wt * sum;
            }
            wt += dw;
            forms.iter_mut().for_each(|f| f.0 = f.0 + f.1);
        }
    }
    let _ = acc.remove(1);
    acc
}

/// Proves a batch in `rounds` rounds of `degree`; returns the point, first
/// variable first.
pub fn prove_batch(
    instances: &mut [Instance],
    rounds: usize,
    degree: usize,
    sender: &mut Sender<'_>,
) -> Vec<EF> {
    let mut point = Vec::with_capacity(rounds);
    // For each instance that is over: its value times the challenges since.
    let mut over: Vec<Option<EF>> = instances
        .iter()
        .map(|i| (i.weight.len() == 1).then_some(i.claim))
        .collect();
    for _ in 0..rounds {
        let mut total = vec![EF::ZERO; degree + 1];
        let mut own: Vec<Vec<EF>> = vec![];
        for (instance, over) in instances.iter().zip(&over) {
            let values = match over {
                Some(v) => vec![EF::ZERO, *v],
                None => instance.round(),
            };
            for (t, sum) in total.iter_mut().enumerate() {
                *sum += match values.get(t) {
                    Some(v) => *v,
                    None => interpolate(&values, EF::from_u64(t as u64)),
                };
            }
            own.push(values);
        }
        for (t, &v) in total.iter().enumerate() {
            if t != 1 {
                let _ = sender.send(v);
            }
        }
        let r = sender.transcript.challenge();
        for ((instance, over), values) in instances.iter_mut().zip(&mut over).zip(own) {
            match over {
                Some(v) => *v *= r,
                None => {
                    instance.claim = interpolate(&values, r);
                    instance.bind(r);
                    if instance.weight.len() == 1 {
                        *over = Some(instance.claim);
                    }
                }
            }
        }
        point.push(r);
    }
    point.reverse();
    point
}
