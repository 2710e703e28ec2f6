//! Multilinear extensions over padded tensors.
//!
//! A tensor of shape `[d_1, .., d_k]` is a multilinear polynomial in
//! `b_1 + .. + b_k` variables, `b_i = ceil(log2 d_i)`: each dimension is padded
//! with zeros to a power of two, and its index is read most significant bit
//! first. A point is the list of all coordinates in that order.

use p3_field::PrimeCharacteristicRing;

use crate::commit::{EF, F};
use crate::wide::WideSum;

/// Number of variables of a dimension of size `d`.
pub fn bits(d: usize) -> usize {
    d.next_power_of_two().trailing_zeros() as usize
}

/// Number of variables of a tensor.
pub fn num_vars(shape: &[usize]) -> usize {
    shape.iter().map(|&d| bits(d)).sum()
}

/// The field element that stands for an integer of absolute value below p.
pub fn field(x: i128) -> F {
    let p = i128::from(<F as p3_field::PrimeField64>::ORDER_U64);
    F::from_u64(x.rem_euclid(p) as u64)
}

/// `eq(point, i)` for every `i`: the table of length `2^point.len()`.
pub fn eq_table(point: &[EF]) -> Vec<EF> {
    let mut table = EF::zero_vec(1 << point.len());
    table[0] = EF::ONE;
    let mut len = 1;
    for &x in point {
        // The new variable becomes the least significant one; from the end, so
        // that nothing is overwritten before it is read.
        for i in (0..len).rev() {
            let high = table[i] * x;
            table[2 * i] = table[i] - high;
            table[2 * i + 1] = high;
        }
        len *= 2;
    }
    table
}

/// `eq(a, b)` of two points of equal length.
pub fn eq_eval(a: &[EF], b: &[EF]) -> EF {
    a.iter()
        .zip(b)
        .map(|(&x, &y)| {
            let xy = x * y;
            EF::ONE - x - y + xy + xy
        })
        .product()
}

/// `eq(bits of index, point)`, the index read most significant bit first.
pub fn eq_index(index: usize, point: &[EF]) -> EF {
    let n = point.len();
    point
        .iter()
        .enumerate()
        .map(|(i, &x)| {
            if index >> (n - 1 - i) & 1 == 1 {
                x
            } else {
                EF::ONE - x
            }
        })
        .product()
}

/// `sum_{i < size} eq(point, i)`: the extension of "index is not padding".
pub fn below(point: &[EF], size: usize) -> EF {
    let n = point.len();
    if size >= 1 << n {
        return EF::ONE;
    }
    // Sum over the first bit at which i is smaller than `size`.
    let (mut sum, mut prefix) = (EF::ZERO, EF::ONE);
    for (i, &x) in point.iter().enumerate() {
        if size >> (n - 1 - i) & 1 == 1 {
            sum += prefix * (EF::ONE - x);
            prefix *= x;
        } else {
            prefix *= EF::ONE - x;
        }
    }
    sum
}

/// `sum_{i < size} eq(a, i) eq(b, i)`: equality restricted to what is not padding.
pub fn eq_below(a: &[EF], b: &[EF], size: usize) -> EF {
    let n = a.len();
    if size >= 1 << n {
        return eq_eval(a, b);
    }
    let (mut sum, mut prefix) = (EF::ZERO, EF::ONE);
    for i in 0..n {
        let one = a[i] * b[i];
        let zero = (EF::ONE - a[i]) * (EF::ONE - b[i]);
        if size >> (n - 1 - i) & 1 == 1 {
            sum += prefix * zero * eq_eval(&a[i + 1..], &b[i + 1..]);
            prefix *= one;
        } else {
            prefix *= zero;
        }
    }
    sum
}

/// The parts of a point that belong to each dimension of a shape.
pub fn split<'a>(point: &'a [EF], shape: &[usize]) -> Vec<&'a [EF]> {
    let mut rest = point;
    shape
        .iter()
        .map(|&d| {
            let (part, after) = rest.split_at(bits(d));
            rest = after;
            part
        })
        .collect()
}

/// The last `n` coordinates.
pub fn suffix(point: &[EF], n: usize) -> &[EF] {
    &point[point.len() - n..]
}

/// The extension of "not padding" of a whole tensor.
pub fn mask(point: &[EF], shape: &[usize]) -> EF {
    split(point, shape)
        .iter()
        .zip(shape)
        .map(|(p, &d)| below(p, d))
        .product()
}

/// Equality of two points restricted to what is not padding, of a whole tensor.
pub fn eq_masked(a: &[EF], b: &[EF], shape: &[usize]) -> EF {
    let parts = split(a, shape).into_iter().zip(split(b, shape));
    parts
        .zip(shape)
        .map(|((a, b), &d)| eq_below(a, b, d))
        .product()
}

/// The tensor product of one vector for each dimension, row-major.
pub fn outer(vectors: &[Vec<EF>]) -> Vec<EF> {
    vectors.iter().fold(vec![EF::ONE], |acc, v| {
        acc.iter()
            .flat_map(|&a| v.iter().map(move |&x| a * x))
            .collect()
    })
}

/// Evaluates a tensor of integers (row-major, not padded) at a point.
pub fn evaluate(data: &[i64], shape: &[usize], point: &[EF]) -> EF {
    let weights: Vec<Vec<EF>> = split(point, shape)
        .iter()
        .zip(shape)
        .map(|(p, &d)| {
            let mut t = eq_table(p);
            t.truncate(d);
            t
        })
        .collect();
    // Two halves, so that the table of weights stays small.
    let (high, low) = weights.split_at(weights.len() - low_dimensions(shape));
    let (high, low) = (outer(high), outer(low));
    data.chunks(low.len().max(1))
        .zip(high)
        .map(|(chunk, h)| dot(chunk, &low) * h)
        .sum()
}

/// How many of the last dimensions have one table: as many as keep it short, and the last
/// that is longer than one in any case.
fn low_dimensions(shape: &[usize]) -> usize {
    let mut size = 1;
    let short = |&&d: &&usize| {
        let longer = size * d;
        let short = size == 1 || longer <= 1 << 12;
        size = longer;
        short
    };
    shape.iter().rev().take_while(short).count()
}

/// `sum data * weights`, reduced once.
pub fn dot(data: &[i64], weights: &[EF]) -> EF {
    let mut sum = WideSum::default();
    for (&x, &w) in data.iter().zip(weights) {
        sum.add_base(w, F::from_i64(x));
    }
    sum.value()
}

/// Where the element with row-major index `flat` of `sizes` lies in the padded
/// layout.
pub fn pad_index(flat: usize, sizes: &[usize]) -> usize {
    let (mut rest, mut out, mut shift) = (flat, 0, 0);
    for &d in sizes.iter().rev() {
        out |= (rest % d) << shift;
        shift += bits(d);
        rest /= d;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_weights_stay_short() {
        for (shape, low) in [
            (&[][..], 0),
            (&[5000], 1),
            (&[2, 5000], 1),
            (&[2, 5000, 1], 2),
            (&[3, 2, 2048], 2),
            (&[3, 2, 2049], 1),
            (&[1, 3, 2, 5], 4),
        ] {
            assert_eq!(low_dimensions(shape), low, "{shape:?}");
        }
    }

    #[test]
    fn a_tensor_in_two_halves_has_the_value_of_its_elements() {
        let shape = [3, 2, 2049];
        let data: Vec<i64> = (0..3 * 2 * 2049).map(|i| i * i % 1009 - 500).collect();
        let point: Vec<EF> = (3..18).map(EF::from_u64).collect();
        let eq = eq_table(&point);
        let element = |(i, &x): (usize, &i64)| eq[pad_index(i, &shape)] * F::from_i64(x);
        let sum: EF = data.iter().enumerate().map(element).sum();
        assert_eq!(evaluate(&data, &shape, &point), sum);
        assert_eq!(evaluate(&[7], &[], &[]), EF::from_u64(7));
    }
}
