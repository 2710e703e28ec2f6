//! The Fourier transform of the commitments.
//!
//! A network of butterflies by decimation in time whose twiddles come in bit-reversed order: all
//! of a block share one, whatever the matrix's width. Blocks that exceed a core's cache are
//! walked in tiles of rows that are far from each other, and several layers are done to a tile
//! while it is there.

use std::sync::OnceLock;

use dsperse_sumcheck_verifier::commit::F;
use p3_dft::TwoAdicSubgroupDft;
use p3_field::{PrimeCharacteristicRing, TwoAdicField};
use p3_matrix::Matrix;
use p3_matrix::dense::RowMajorMatrix;
use p3_matrix::util::reverse_matrix_index_bits;
use rayon::prelude::*;

use crate::butterfly;

/// Words that one core works on at once: half of a second-level cache.
const TILE: usize = 1 << 16;
/// Words of a tile's row, at least: fewer would waste what a memory access brings.
const ROW: usize = 64;
/// Ranges of tiles that are handed to other threads.
const TASKS: usize = 16;

/// Twiddles for transforms of `2^bits` values, by `bits`: once made, they stay.
static TWIDDLES: [OnceLock<Box<[F]>>; F::TWO_ADICITY + 1] =
    [const { OnceLock::new() }; F::TWO_ADICITY + 1];

/// Entry `i` is for block `i` of any layer; those of a larger transform serve smaller ones.
fn twiddles(bits: usize) -> &'static [F] {
    if let Some(more) = TWIDDLES[bits..].iter().find_map(OnceLock::get) {
        return more;
    }
    TWIDDLES[bits].get_or_init(|| {
        let mut out = vec![F::ONE];
        // The entry of index `i + 2^k` is that of `i` times the root of order `2^(k + 2)`.
        for k in 0..bits.saturating_sub(1) {
            let root = F::two_adic_generator(k + 2);
            let half = out.len();
            out.extend_from_within(..);
            out[half..].iter_mut().for_each(|t| *t *= root);
        }
        out.into()
    })
}

/// The transform of each column of a matrix.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dft;

impl TwoAdicSubgroupDft<F> for Dft {
    type Evaluations = RowMajorMatrix<F>;

    fn dft_batch(&self, mut mat: RowMajorMatrix<F>) -> RowMajorMatrix<F> {
        let (height, width) = (mat.height(), mat.width());
        if height > 1 && width > 0 {
            let twiddles = twiddles(height.trailing_zeros() as usize);
            block(&mut mat.values, width, 0, twiddles);
            reverse_matrix_index_bits(&mut mat);
        }
        mat
    }
}

/// All layers of the block of this number.
fn block(values: &mut [F], width: usize, number: usize, twiddles: &[F]) {
    let rows = values.len() / width;
    if values.len() <= TILE || rows <= 4 {
        return small(values, width, number, twiddles);
    }
    // As many layers as a tile has rows for.
    let together = ROW.div_ceil(width).next_power_of_two();
    let most = (TILE / (together * width)).max(2).ilog2();
    let layers = most.min(rows.ilog2());
    let part = values.len() >> layers;
    let mut parts: Vec<&mut [F]> = values.chunks_exact_mut(part).collect();
    let step = (together * width).min(part);
    let range = (part / step).div_ceil(TASKS) * step;
    // The ranges of all parts, by range.
    let mut tasks: Vec<Vec<&mut [F]>> = vec![];
    for part in &mut parts {
        for (i, piece) in part.chunks_mut(range).enumerate() {
            match tasks.get_mut(i) {
                Some(task) => task.push(piece),
                None => tasks.push(vec![piece]),
            }
        }
    }
    tasks.into_par_iter().for_each(|mut ranges| {
        while ranges.first().is_some_and(|r| !r.is_empty()) {
            let mut tile = Vec::with_capacity(ranges.len());
            for range in &mut ranges {
                let (row, rest) = std::mem::take(range).split_at_mut(step);
                tile.push(row);
                *range = rest;
            }
            layers_of(&mut tile, number, twiddles);
        }
    });
    parts.into_par_iter().enumerate().for_each(|(i, part)| {
        block(part, width, (number << layers) + i, twiddles);
    });
}

/// The layers of a block between its parts, of each of which the tile has the same rows.
fn layers_of(tile: &mut [&mut [F]], number: usize, twiddles: &[F]) {
    let mut half = tile.len() / 2;
    let mut first = number;
    while half > 0 {
        for (i, pair) in tile.chunks_exact_mut(2 * half).enumerate() {
            let (low, high) = pair.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                butterfly(low, high, twiddles[first + i]);
            }
        }
        first *= 2;
        half /= 2;
    }
}

/// All layers of a block that fits a cache.
fn small(values: &mut [F], width: usize, number: usize, twiddles: &[F]) {
    let mut size = values.len();
    let mut first = number;
    while size > width {
        for (i, pair) in values.chunks_exact_mut(size).enumerate() {
            let (low, high) = pair.split_at_mut(size / 2);
            butterfly(low, high, twiddles[first + i]);
        }
        first *= 2;
        size /= 2;
    }
}
