//! Moving, repeating and summing elements.

use crate::product::Number;
use crate::strides;
use dsperse_sumcheck_verifier::wire::Factor;

/// An element that wires give, as coefficient and place of what they read.
type Term<T> = (T, usize);

/// What one factor reads for each of its outputs.
enum Reads<T> {
    /// At most one element, as of all factors that only move; a coefficient of zero is none.
    One(Vec<Term<T>>),
    /// Sums.
    Many(Vec<Vec<Term<T>>>),
}

impl<T: Number> Reads<T> {
    fn of(factor: &Factor, shape: &[usize], steps: &[usize]) -> Self {
        let dims = factor.input_dims();
        let sizes: Vec<usize> = dims.iter().map(|&d| shape[d]).collect();
        let outputs = factor
            .output_sizes(&sizes)
            .map_or(0, |out| out.iter().product());
        let entries = factor.entries(&sizes).into_iter().map(|(o, i, c)| {
            let (mut rest, mut place) = (i as usize, 0);
            for k in (0..dims.len()).rev() {
                place += rest % sizes[k] * steps[dims[k]];
                rest /= sizes[k];
            }
            (o as usize, (T::from(c), place))
        });
        if !matches!(
            factor,
            Factor::Pool { .. } | Factor::Sum { .. } | Factor::Matrix { .. }
        ) {
            let mut one = vec![Term::default(); outputs];
            entries.for_each(|(o, term)| one[o] = term);
            return Self::One(one);
        }
        let mut many = vec![Vec::new(); outputs];
        entries.for_each(|(o, term)| many[o].push(term));
        Self::Many(many)
    }

    fn len(&self) -> usize {
        match self {
            Self::One(one) => one.len(),
            Self::Many(many) => many.len(),
        }
    }
}

/// See `Op::Wire`. The factors fit the shape.
#[must_use]
pub fn wire<T: Number>(data: &[T], shape: &[usize], factors: &[Factor]) -> Vec<T> {
    let steps = strides(shape);
    let reads: Vec<Reads<T>> = factors
        .iter()
        .map(|f| Reads::of(f, shape, &steps))
        .collect();
    let mut out = Vec::with_capacity(reads.iter().map(Reads::len).product());
    one(&reads, data, (T::from(1), 0), &mut out);
    out
}

fn times<T: Number>(x: T, y: T) -> T {
    T::default().plus(x, y)
}

/// Walks the outputs of factors in row-major order, when those before have chosen one element.
fn one<T: Number>(reads: &[Reads<T>], data: &[T], (coefficient, place): Term<T>, out: &mut Vec<T>) {
    let zero = T::default();
    match reads.split_first() {
        None if coefficient == zero => out.push(zero),
        None => out.push(times(coefficient, data[place])),
        Some((Reads::One(last), [])) => out.extend(last.iter().map(|&(c, at)| {
            let c = times(coefficient, c);
            match c == zero {
                true => zero,
                false => times(c, data[place + at]),
            }
        })),
        Some((Reads::One(first), rest)) => {
            for &(c, at) in first {
                one(rest, data, (times(coefficient, c), place + at), out);
            }
        }
        Some((Reads::Many(_), _)) => many(reads, data, &[(coefficient, place)], out),
    }
}

/// The same when those before have chosen several.
fn many<T: Number>(reads: &[Reads<T>], data: &[T], chosen: &[Term<T>], out: &mut Vec<T>) {
    let zero = T::default();
    if let [single] = chosen
        && !matches!(reads.first(), Some(Reads::Many(_)))
    {
        return one(reads, data, *single, out);
    }
    let Some((first, rest)) = reads.split_first() else {
        let terms = chosen.iter().filter(|t| t.0 != zero);
        out.push(terms.fold(zero, |sum, &(c, at)| sum.plus(c, data[at])));
        return;
    };
    for o in 0..first.len() {
        let own = match first {
            Reads::One(terms) => std::slice::from_ref(&terms[o]),
            Reads::Many(sums) => &sums[o],
        };
        let next: Vec<Term<T>> = chosen
            .iter()
            .flat_map(|&(c, at)| own.iter().map(move |&(d, to)| (times(c, d), at + to)))
            .collect();
        many(rest, data, &next, out);
    }
}

/// See `Op::Select`. What is picked from outside, as an id of `None` says, is `outside`.
#[must_use]
pub fn select<T: Copy>(
    data: &[T],
    shape: &[usize],
    dim: usize,
    ids: &[Option<usize>],
    outside: T,
) -> Vec<T> {
    let row: usize = shape[dim + 1..].iter().product();
    let block = row * shape[dim];
    let mut out = Vec::with_capacity(data.len() / shape[dim] * ids.len());
    for part in data.chunks(block) {
        for id in ids {
            match id.and_then(|id| part.get(id * row..(id + 1) * row)) {
                Some(row) => out.extend_from_slice(row),
                None => out.extend(std::iter::repeat_n(outside, row)),
            }
        }
    }
    out
}
