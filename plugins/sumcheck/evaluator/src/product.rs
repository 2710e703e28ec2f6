//! Products of two tensors, summed over labels: packed into panels, worked on in tiles, on as
//! many threads as there are. A sum is made in the order of its labels wherever its tile is,
//! so that floats, too, are the same for any number of threads.

use crate::strides;
use rayon::prelude::*;

/// Elements of a tensor.
pub trait Number: Copy + Default + PartialEq + From<i32> + Send + Sync {
    /// `self + a * b`, in two steps.
    fn plus(self, a: Self, b: Self) -> Self;
}

impl Number for f64 {
    #[inline(always)]
    fn plus(self, a: Self, b: Self) -> Self {
        self + a * b
    }
}

/// The bounds of a program exclude an overflow, so nothing wraps.
impl Number for i64 {
    #[inline(always)]
    fn plus(self, a: Self, b: Self) -> Self {
        self.wrapping_add(a.wrapping_mul(b))
    }
}

/// A tensor with a label for each dimension.
#[derive(Clone, Copy)]
pub struct Labelled<'a, T> {
    /// Elements, row-major.
    pub data: &'a [T],
    /// Dimensions.
    pub shape: &'a [usize],
    /// Their labels.
    pub labels: &'a [u8],
}

/// Magnitudes up to which doubles hold every integer.
const EXACT: i128 = 1 << 53;

/// `out[..] = sum a[..] * b[..]`, see `Op::Einsum`.
#[must_use]
pub fn einsum<T: Number>(a: Labelled<'_, T>, b: Labelled<'_, T>, out: &[u8]) -> Vec<T> {
    Product::new(a, b, out).compute(|x| x, |x| x)
}

/// The same for integers of which the greatest magnitudes are known: sums that doubles hold
/// exactly are made in doubles, of which a processor multiplies several at once.
pub(crate) fn einsum_within(
    a: Labelled<'_, i64>,
    b: Labelled<'_, i64>,
    out: &[u8],
    most: (i64, i64),
) -> Vec<i64> {
    let product = Product::new(a, b, out);
    let terms = product.summed.len() as i128;
    let most = [terms, most.0.into(), most.1.into()]
        .into_iter()
        .try_fold(1i128, i128::checked_mul);
    match most {
        Some(most) if most <= EXACT => product.compute(|x| x as f64, |x| x as i64),
        _ => product.compute(|x| x, |x| x),
    }
}

/// Where an element is: in the left operand, the right one, and the result.
#[derive(Clone, Copy, Default)]
struct At {
    a: usize,
    b: usize,
    out: usize,
}

/// A product as one of matrices for each index of labels that are in all three tensors.
struct Product<'a, T> {
    a: &'a [T],
    b: &'a [T],
    /// Labels of both operands and the result.
    batch: Vec<At>,
    /// Labels of the result that only the left operand has.
    rows: Vec<At>,
    /// Those that only the right operand has.
    columns: Vec<At>,
    /// Labels that are summed over.
    summed: Vec<At>,
}

/// Rows and columns of the innermost product, whose sums stay in registers.
const ROWS: usize = 4;
const COLUMNS: usize = 4;
/// Rows, columns and terms of a tile, whose operands stay in the second-level cache.
const TILE_ROWS: usize = 64;
const TILE_COLUMNS: usize = 128;
const TILE_TERMS: usize = 256;
/// Multiplications that are worth another thread.
const PARALLEL: usize = 1 << 16;

impl<'a, T: Number> Product<'a, T> {
    fn new(a: Labelled<'a, T>, b: Labelled<'a, T>, out: &[u8]) -> Self {
        let size = |l: u8| {
            let of =
                |t: &Labelled<'_, T>| t.labels.iter().position(|x| *x == l).map(|i| t.shape[i]);
            of(&a).or_else(|| of(&b)).unwrap_or(1)
        };
        let shape: Vec<usize> = out.iter().map(|l| size(*l)).collect();
        let steps = |labels: &[u8], shape: &[usize], l: u8| {
            let at = labels.iter().position(|x| *x == l);
            at.map_or(0, |i| strides(shape)[i])
        };
        let group = |labels: &[u8]| {
            let mut all = vec![At::default()];
            for &l in labels {
                let step = At {
                    a: steps(a.labels, a.shape, l),
                    b: steps(b.labels, b.shape, l),
                    out: steps(out, &shape, l),
                };
                let along = |at: At| {
                    (0..size(l)).map(move |i| At {
                        a: at.a + i * step.a,
                        b: at.b + i * step.b,
                        out: at.out + i * step.out,
                    })
                };
                all = all.into_iter().flat_map(along).collect();
            }
            all
        };
        let of_result = |in_a: bool, in_b: bool| -> Vec<u8> {
            let here = |l: &u8| (a.labels.contains(l), b.labels.contains(l)) == (in_a, in_b);
            out.iter().copied().filter(here).collect()
        };
        let mut summed: Vec<u8> = Vec::new();
        for l in a.labels.iter().chain(b.labels) {
            if !out.contains(l) && !summed.contains(l) {
                summed.push(*l);
            }
        }
        Self {
            a: a.data,
            b: b.data,
            batch: group(&of_result(true, true)),
            rows: group(&of_result(true, false)),
            columns: group(&of_result(false, true)),
            summed: group(&summed),
        }
    }

    /// Multiplies as `N`, to which `load` turns elements and from which `store` makes them.
    fn compute<N: Number>(
        &self,
        load: impl Fn(T) -> N + Sync,
        store: impl Fn(N) -> T + Sync,
    ) -> Vec<T> {
        let (m, n) = (self.rows.len(), self.columns.len());
        let mut out = vec![T::default(); self.batch.len() * m * n];
        if self.summed.len() == 1 || m.max(n) < ROWS {
            self.one_by_one(&mut out);
            return out;
        }
        let tiles: Vec<(At, usize, usize)> = self
            .batch
            .iter()
            .flat_map(|&at| (0..m).step_by(TILE_ROWS).map(move |r| (at, r)))
            .flat_map(|(at, r)| (0..n).step_by(TILE_COLUMNS).map(move |c| (at, r, c)))
            .collect();
        let tile = |&(at, r, c): &(At, usize, usize)| {
            let rows = &self.rows[r..m.min(r + TILE_ROWS)];
            let columns = &self.columns[c..n.min(c + TILE_COLUMNS)];
            (at, rows, columns, self.tile(at, rows, columns, &load))
        };
        let work = out.len().saturating_mul(self.summed.len());
        let at_once = match work < PARALLEL {
            true => 1,
            false => 4 * rayon::current_num_threads(),
        };
        for tiles in tiles.chunks(at_once) {
            let done: Vec<_> = match at_once {
                1 => tiles.iter().map(tile).collect(),
                _ => tiles.par_iter().map(tile).collect(),
            };
            for (at, rows, columns, sums) in done {
                let width = columns.len().div_ceil(COLUMNS);
                for (r, row) in rows.iter().enumerate() {
                    for (c, column) in columns.iter().enumerate() {
                        let sum = sums[r / ROWS * width + c / COLUMNS][r % ROWS][c % COLUMNS];
                        out[at.out + row.out + column.out] = store(sum);
                    }
                }
            }
        }
        out
    }

    /// For products without sums, and sums that share no operand with their neighbours.
    fn one_by_one(&self, out: &mut [T]) {
        for at in &self.batch {
            for row in &self.rows {
                let (a, to) = (at.a + row.a, at.out + row.out);
                for column in &self.columns {
                    let b = at.b + column.b;
                    let sum = |sum: T, k: &At| sum.plus(self.a[a + k.a], self.b[b + k.b]);
                    out[to + column.out] = self.summed.iter().fold(T::default(), sum);
                }
            }
        }
    }

    /// The sums of some rows and columns, in blocks.
    fn tile<N: Number>(
        &self,
        at: At,
        rows: &[At],
        columns: &[At],
        load: &impl Fn(T) -> N,
    ) -> Vec<[[N; COLUMNS]; ROWS]> {
        let width = columns.len().div_ceil(COLUMNS);
        let zero = [[N::default(); COLUMNS]; ROWS];
        let mut sums = vec![zero; rows.len().div_ceil(ROWS) * width];
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for terms in self.summed.chunks(TILE_TERMS) {
            let a = |row: &At, k: &At| load(self.a[at.a + row.a + k.a]);
            pack(&mut left, rows, terms, a);
            let b = |column: &At, k: &At| load(self.b[at.b + column.b + k.b]);
            pack(&mut right, columns, terms, b);
            let blocks = sums.chunks_mut(width).zip(left.chunks(terms.len()));
            for (sums, left) in blocks {
                for (sum, right) in sums.iter_mut().zip(right.chunks(terms.len())) {
                    multiply(sum, left, right);
                }
            }
        }
        sums
    }
}

/// Lays elements out in the order in which [`multiply`] reads them: a few rows (or columns)
/// side by side, term after term. Where there are fewer, zeros stand.
fn pack<N: Number, const SIDE: usize>(
    to: &mut Vec<[N; SIDE]>,
    lines: &[At],
    terms: &[At],
    element: impl Fn(&At, &At) -> N,
) {
    to.clear();
    to.resize(
        lines.len().div_ceil(SIDE) * terms.len(),
        [N::default(); SIDE],
    );
    for (lines, to) in lines.chunks(SIDE).zip(to.chunks_mut(terms.len())) {
        for (i, line) in lines.iter().enumerate() {
            for (term, to) in terms.iter().zip(to.iter_mut()) {
                to[i] = element(line, term);
            }
        }
    }
}

#[inline(always)]
fn multiply<N: Number>(
    sums: &mut [[N; COLUMNS]; ROWS],
    left: &[[N; ROWS]],
    right: &[[N; COLUMNS]],
) {
    // A copy, so that it is held in registers.
    let mut own = *sums;
    for (a, b) in left.iter().zip(right) {
        for (sums, &a) in own.iter_mut().zip(a) {
            for (sum, &b) in sums.iter_mut().zip(b) {
                *sum = sum.plus(a, b);
            }
        }
    }
    *sums = own;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], seed: i64) -> Vec<i64> {
        let n = shape.iter().product::<usize>() as i64;
        (0..n).map(|i| (i * 31 + seed) % 17 - 5).collect()
    }

    /// Element by element, by the definition.
    fn plainly(a: Labelled<'_, i64>, b: Labelled<'_, i64>, out: &[u8]) -> Vec<i64> {
        let product = Product::new(a, b, out);
        let size = product.batch.len() * product.rows.len() * product.columns.len();
        let mut out = vec![0; size];
        product.one_by_one(&mut out);
        out
    }

    #[test]
    fn products_are_the_sums_that_they_should_be_whatever_the_sizes() {
        // More and fewer rows, columns and terms than are worked on at once.
        for (rows, terms, columns) in [(9, 5, 130), (1, 3, 64), (70, 300, 2), (4, 1, 2), (3, 7, 3)]
        {
            let (left, by_row) = ([2, rows, terms], [2, terms, columns]);
            let by_column = [2, columns, terms];
            let a = tensor(&left, 1);
            let a = |labels| Labelled {
                data: &a,
                shape: &left,
                labels,
            };
            for (shape, labels) in [(by_row, b"bkn"), (by_column, b"bnk")] {
                let data = tensor(&shape, 2);
                let b = Labelled {
                    data: &data,
                    shape: &shape,
                    labels,
                };
                for out in [b"bmn", b"bnm", b"nbm"] {
                    let right = plainly(a(b"bmk"), b, out);
                    let at = |b: usize, m: usize, n: usize| -> i64 {
                        let of = |k: usize| match labels {
                            b"bkn" => data[(b * terms + k) * columns + n],
                            _ => data[(b * columns + n) * terms + k],
                        };
                        let left = |k: usize| a(b"bmk").data[(b * rows + m) * terms + k];
                        (0..terms).map(|k| left(k) * of(k)).sum()
                    };
                    assert_eq!(right[0], at(0, 0, 0));
                    assert_eq!(right.last(), Some(&at(1, rows - 1, columns - 1)));
                    // As doubles, as integers, and with the operands exchanged.
                    assert_eq!(einsum_within(a(b"bmk"), b, out, (12, 12)), right);
                    assert_eq!(einsum_within(a(b"bmk"), b, out, (1 << 30, 1 << 30)), right);
                    assert_eq!(einsum(b, a(b"bmk"), out), right);
                }
            }
        }
    }

    #[test]
    fn sums_that_doubles_do_not_hold_are_exact() {
        let a = [(1 << 30) + 1; 4];
        let of = |labels| Labelled {
            data: &a,
            shape: &[4, 1],
            labels,
        };
        let exact = a[0] * a[0];
        let pad = [1i64, 1];
        let twice = Labelled {
            data: &pad,
            shape: &[1, 2],
            labels: b"kx",
        };
        assert_eq!(
            einsum_within(of(b"mk"), of(b"nk"), b"mn", (a[0], a[0])),
            [exact; 16]
        );
        assert_eq!(einsum_within(of(b"mk"), twice, b"mx", (a[0], 1)), [a[0]; 8]);
    }

    #[test]
    fn a_sum_of_floats_does_not_depend_on_the_threads() {
        let shape = [150, 600];
        let data: Vec<f64> = (0..shape[0] * shape[1])
            .map(|i| 1.0 / (1.0 + (i * i % 1009) as f64))
            .collect();
        let of = |labels| Labelled {
            data: &data,
            shape: &shape,
            labels,
        };
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("starts")
                .install(|| einsum(of(b"mk"), of(b"nk"), b"mn"))
        };
        let (one, three) = (with(1), with(3));
        assert!(
            one.iter()
                .zip(&three)
                .all(|(x, y)| x.to_bits() == y.to_bits())
        );
        // In the order of the terms.
        let row = |r: usize| &data[r * 600..(r + 1) * 600];
        let sum = row(149).iter().zip(row(2)).fold(0.0, |s, (x, y)| s + x * y);
        assert_eq!(one[149 * 150 + 2].to_bits(), sum.to_bits());
    }
}
