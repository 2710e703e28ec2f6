//! The prover's side of every sumcheck over sums of products.
//!
//! An [`Instance`] is `sum_x weight(x) * sum_k c_k prod_j form_kj(x)` with affine
//! forms in its arrays. Variables are bound from the last to the first, so a
//! round pairs neighbours. A batch runs several instances at once: one on fewer
//! variables is over first, and then enters as `x_1 .. x_m` times its value (see
//! the verifier's `zero` module).

use std::borrow::Cow;
use std::ops::{Add, Mul, Sub};

use dsperse_sumcheck_packed as packed;
use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::transcript::interpolate;
use dsperse_sumcheck_verifier::wide::WideSum;
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use crate::sender::Sender;
use crate::weight::{Split, Weight};

/// Fewest elements that are worth handing to other threads.
pub const PARALLEL: usize = 1 << 12;

/// Tables of values, in the base field until the first variable is bound.
pub enum Arrays<'a> {
    /// Values in the base field.
    Base(Vec<Cow<'a, [F]>>),
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

    /// The array that the form is, if it is just one.
    fn plain(&self) -> Option<usize> {
        match self.terms.as_slice() {
            [(index, c)] if *c == F::ONE && self.constant == F::ZERO => Some(*index),
            _ => None,
        }
    }
}

/// One sum.
pub struct Instance<'a> {
    /// The multilinear weight.
    pub weight: Weight,
    /// The tables that the forms refer to, each as long as the weight.
    pub arrays: Arrays<'a>,
    /// Coefficients and factors.
    pub products: Vec<(EF, Vec<Form>)>,
    /// The sum, as claimed to the verifier.
    pub claim: EF,
}

impl Instance<'_> {
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
            Arrays::Base(a) => {
                let a: Vec<&[F]> = a.iter().map(AsRef::as_ref).collect();
                sums(&self.weight, &a, &self.products, degree)
            }
            Arrays::Ext(a) => {
                let a: Vec<&[EF]> = a.iter().map(Vec::as_slice).collect();
                sums(&self.weight, &a, &self.products, degree)
            }
        };
        values.insert(1, self.claim - values[0]);
        values
    }

    fn bind(&mut self, r: EF) {
        self.weight.bind(r);
        match &mut self.arrays {
            Arrays::Base(a) => {
                self.arrays = Arrays::Ext(a.iter().map(|v| fold(v, r)).collect());
            }
            Arrays::Ext(a) => a.iter_mut().for_each(|v| fold_in_place(v, r)),
        }
    }
}

/// An element of one of the two fields.
pub trait Value:
    Copy
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Mul<F, Output = Self>
    + From<F>
{
    /// Adds `self * by` to a sum.
    fn add_to(self, by: EF, sum: &mut WideSum);

    /// [`packed::inner_pairs`] of this field.
    fn inner_pairs(weights: &[EF], values: &[Self]) -> [EF; 2];

    /// The sum of weight times value at 0 and 2, where neighbours are its values at 0 and 1.
    fn linear_sums(weights: &[EF], values: &[Self]) -> [EF; 2];
}

impl Value for F {
    #[inline(always)]
    fn add_to(self, by: EF, sum: &mut WideSum) {
        sum.add_base(by, self);
    }

    fn inner_pairs(weights: &[EF], values: &[Self]) -> [EF; 2] {
        packed::inner_pairs_base(weights, values)
    }

    fn linear_sums(weights: &[EF], values: &[Self]) -> [EF; 2] {
        let mut acc = [WideSum::default(); 2];
        for (w, v) in weights.chunks_exact(2).zip(values.chunks_exact(2)) {
            v[0].add_to(w[0], &mut acc[0]);
            (v[1] + (v[1] - v[0])).add_to(w[1] + (w[1] - w[0]), &mut acc[1]);
        }
        acc.map(WideSum::value)
    }
}

impl Value for EF {
    #[inline(always)]
    fn add_to(self, by: EF, sum: &mut WideSum) {
        sum.add(self, by);
    }

    fn inner_pairs(weights: &[EF], values: &[Self]) -> [EF; 2] {
        packed::inner_pairs(weights, values)
    }

    fn linear_sums(weights: &[EF], values: &[Self]) -> [EF; 2] {
        packed::linear_sums(weights, values)
    }
}

/// Binds the last variable.
pub fn fold(v: &[F], r: EF) -> Vec<EF> {
    let mut out = EF::zero_vec(v.len() / 2);
    out.par_chunks_mut(PARALLEL)
        .zip(v.par_chunks(2 * PARALLEL))
        .for_each(|(out, v)| packed::fold_base(v, r, out));
    out
}

/// Binds the last variable. The first half of the vector is what is left; no other memory is
/// touched.
pub fn fold_in_place(v: &mut Vec<EF>, r: EF) {
    fold_chunks(v, 1, |_, chunk| packed::fold_in_place(chunk, r));
}

/// Halves a vector of pairs of `width` elements each: `fold` gets the number of the first pair
/// of a chunk, and leaves what becomes of each in the chunk's first half.
pub fn fold_chunks(v: &mut Vec<EF>, width: usize, fold: impl Fn(usize, &mut [EF]) + Sync) {
    let piece = 2 * width * PARALLEL;
    v.par_chunks_mut(piece)
        .enumerate()
        .for_each(|(i, chunk)| fold(i * PARALLEL, chunk));
    let len = v.len();
    let mut to = piece / 2;
    for from in (piece..len).step_by(piece) {
        let half = (len - from).min(piece) / 2;
        v.copy_within(from..from + half, to);
        to += half;
    }
    v.truncate(len / 2);
}

/// `sum` of weight times products over all pairs, at 0, 2, .., `degree`.
fn sums<V: Value>(
    weight: &Weight,
    arrays: &[&[V]],
    products: &[(EF, Vec<Form>)],
    degree: usize,
) -> Vec<EF> {
    let Split { high, low } = weight.split();
    let piece = low.len().min(PARALLEL / 2);
    let pieces = low.len() / piece;
    let one = |task: usize| -> Vec<EF> {
        let (h, at) = (high[task / pieces], task % pieces * piece);
        let from = task * piece;
        let arrays: Vec<&[V]> = arrays.iter().map(|a| &a[from..from + piece]).collect();
        let mut sums = piece_sums(&low[at..at + piece], &arrays, products, degree);
        sums.iter_mut().for_each(|s| *s *= h);
        sums
    };
    let add = |mut a: Vec<EF>, b: Vec<EF>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    let zero = || vec![EF::ZERO; degree];
    let tasks = high.len() * pieces;
    let at_least = (PARALLEL / piece).max(1);
    (0..tasks)
        .into_par_iter()
        .with_min_len(at_least)
        .fold(zero, |sum, task| add(sum, one(task)))
        .reduce(zero, add)
}

fn piece_sums<V: Value>(
    weight: &[EF],
    arrays: &[&[V]],
    products: &[(EF, Vec<Form>)],
    degree: usize,
) -> Vec<EF> {
    // The two commonest sums: a multilinear polynomial, and a product of two.
    if let [(c, factors)] = products {
        match factors.as_slice() {
            [f] => {
                if let Some(i) = f.plain() {
                    return V::linear_sums(weight, arrays[i]).map(|s| s * *c).into();
                }
            }
            [f, g] => {
                if let (Some(i), Some(j)) = (f.plain(), g.plain()) {
                    return product_sums(weight, arrays[i], arrays[j], *c);
                }
            }
            _ => {}
        }
    }
    let mut acc = vec![WideSum::default(); degree + 1];
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
                let mut sum = WideSum::default();
                let mut rest = forms.as_slice();
                for (c, factors) in products {
                    let (here, after) = rest.split_at(factors.len());
                    rest = after;
                    match here.split_first() {
                        Some((first, others)) => others
                            .iter()
                            .fold(first.0, |p, f| p * f.0)
                            .add_to(*c, &mut sum),
                        None => sum.add_base(*c, F::ONE),
                    }
                }
                a.add(sum.value(), wt);
            }
            wt += dw;
            forms.iter_mut().for_each(|f| f.0 = f.0 + f.1);
        }
    }
    let _ = acc.remove(1);
    acc.into_iter().map(WideSum::value).collect()
}

/// `c * sum weight * a * b` at 0, 2 and 3.
fn product_sums<V: Value>(weight: &[EF], a: &[V], b: &[V], c: EF) -> Vec<EF> {
    let mut acc = [WideSum::default(); 3];
    for ((w, a), b) in weight
        .chunks_exact(2)
        .zip(a.chunks_exact(2))
        .zip(b.chunks_exact(2))
    {
        (a[0] * b[0]).add_to(w[0], &mut acc[0]);
        let (da, db, dw) = (a[1] - a[0], b[1] - b[0], w[1] - w[0]);
        let (a, b, w) = (a[1] + da, b[1] + db, w[1] + dw);
        (a * b).add_to(w, &mut acc[1]);
        ((a + da) * (b + db)).add_to(w + dw, &mut acc[2]);
    }
    acc.into_iter().map(|s| s.value() * c).collect()
}

/// Proves a batch in `rounds` rounds (T2) of `degree`; returns the point, first
/// variable first.
pub fn prove_batch(
    instances: &mut [Instance<'_>],
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
        let own: Vec<Vec<EF>> = instances
            .par_iter()
            .zip(&over)
            .map(|(instance, over)| match over {
                Some(v) => vec![EF::ZERO, *v],
                None => instance.round(),
            })
            .collect();
        let mut total = vec![EF::ZERO; degree + 1];
        for values in &own {
            for (t, sum) in total.iter_mut().enumerate() {
                *sum += match values.get(t) {
                    Some(v) => *v,
                    None => interpolate(values, EF::from_u64(t as u64)),
                };
            }
        }
        for (t, &v) in total.iter().enumerate() {
            if t != 1 {
                let _ = sender.send(v);
            }
        }
        let r = sender.transcript.challenge();
        instances
            .par_iter_mut()
            .zip(&mut over)
            .zip(own)
            .for_each(|((instance, over), values)| match over {
                Some(v) => *v *= r,
                None => {
                    instance.claim = interpolate(&values, r);
                    instance.bind(r);
                    if instance.weight.len() == 1 {
                        *over = Some(instance.claim);
                    }
                }
            });
        point.push(r);
    }
    point.reverse();
    point
}
