//! Products with weights in pieces whose sides are powers of two.
//!
//! What is committed to is padded to a power of two in each dimension: a weight of 768 × 3072
//! takes as much as one of 1024 × 4096, which is 1.8 times its elements. Its pieces of 512 and
//! 256 by 2048 and 1024 are not padded at all. The product is the sum of the products along what
//! is summed over, and they stand side by side along the rest: the same integers.

use super::Quantiser;
use super::linear::Layer;
use crate::error::Result;
use dsperse_sumcheck_verifier::program::{Op, TensorId};
use dsperse_sumcheck_verifier::validate::padded_len;
use dsperse_sumcheck_verifier::wire::Factor;
use std::collections::BTreeMap;

/// Fewer elements than this are not worth it: small stacks have longer codewords
/// (`default_rate`), so that half a small stack takes as long.
const LEAST_SAVED: usize = 1 << 18;
/// Most pieces of one weight.
const MOST_PIECES: usize = 16;

/// Where a piece begins and ends, along each dimension.
type Piece = Vec<(usize, usize)>;

/// A dimension cut at powers of two, until padding is an eighth of it or less: four pieces at
/// most.
fn cuts(size: usize) -> Piece {
    let mut cuts = vec![];
    let mut from = 0;
    loop {
        let rest = size - from;
        let whole = rest.next_power_of_two();
        if rest < 2 || 8 * (whole - rest) <= size {
            cuts.push((from, size));
            return cuts;
        }
        cuts.push((from, from + whole / 2));
        from += whole / 2;
    }
}

fn lens(piece: &Piece) -> Vec<usize> {
    piece.iter().map(|(from, to)| to - from).collect()
}

/// The pieces of a weight; one if cutting leaves out no more than `cost` elements.
fn pieces(shape: &[usize], cost: usize) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = vec![vec![]];
    for &size in shape {
        let cuts = cuts(size);
        pieces = pieces
            .iter()
            .flat_map(|piece| cuts.iter().map(|&cut| [&piece[..], &[cut]].concat()))
            .collect();
    }
    let taken: usize = pieces.iter().map(|piece| padded_len(&lens(piece))).sum();
    let saved = padded_len(shape) - taken;
    if pieces.len() > MOST_PIECES || saved < LEAST_SAVED.max(cost) {
        return vec![shape.iter().map(|&size| (0, size)).collect()];
    }
    pieces
}

/// What a piece of a weight means for a tensor with these labels and sizes.
fn of_labels(piece: &Piece, weight_labels: &[u8], labels: &[u8], sizes: &[usize]) -> Piece {
    let cut = |label| weight_labels.iter().position(|&l| l == label);
    let each = labels.iter().zip(sizes);
    each.map(|(&label, &size)| cut(label).map_or((0, size), |at| piece[at]))
        .collect()
}

impl Quantiser<'_> {
    /// The product of a layer's weight and its other operand, in the order `weight`, `other` if
    /// `weight_first`.
    pub(super) fn product(
        &mut self,
        layer: &Layer,
        weight_labels: &[u8],
        labels: &[u8],
        out_labels: &[u8],
        weight_first: bool,
    ) -> Result<TensorId> {
        let other = layer.other.tensor;
        let sizes = self.b.shape(other).to_vec();
        let shape = &layer.weight.shape;
        let size_of = |label: &u8| {
            let mut all = weight_labels
                .iter()
                .zip(shape)
                .chain(labels.iter().zip(&sizes));
            all.find(|(l, _)| *l == label).map_or(1, |(_, &size)| size)
        };
        let out_sizes: Vec<usize> = out_labels.iter().map(size_of).collect();
        // Operand and result are read in pieces. The patches of a convolution are never written
        // out as long as nothing but the product reads them.
        let cost = match self.is_window(other) {
            true => usize::MAX,
            false => padded_len(&sizes) + padded_len(&out_sizes),
        };
        let pieces = pieces(shape, cost);
        let mut parts: BTreeMap<Piece, TensorId> = BTreeMap::new();
        let mut sums: BTreeMap<Piece, Vec<_>> = BTreeMap::new();
        for piece in &pieces {
            let weight = match pieces.len() {
                1 => self.weight(&layer.weight, layer.exponent)?,
                _ => self.weight(&layer.weight.part(piece), layer.exponent)?,
            };
            let place = of_labels(piece, weight_labels, labels, &sizes);
            let part = match parts.get(&place) {
                Some(&part) => part,
                None => self.part(other, &place, &sizes)?,
            };
            parts.insert(place, part);
            let mut operands = [
                (weight.tensor, weight_labels.to_vec()),
                (part, labels.to_vec()),
            ];
            if !weight_first {
                operands.reverse();
            }
            let [(a, a_labels), (b, b_labels)] = operands;
            let product = self.push(Op::Einsum {
                a,
                b,
                a_labels,
                b_labels,
                out_labels: out_labels.to_vec(),
            })?;
            let place = of_labels(piece, weight_labels, out_labels, &out_sizes);
            sums.entry(place).or_default().push((product, 1));
        }
        let mut side_by_side = vec![];
        for (place, products) in sums {
            let sum = self.b.affine(products, 0).map_err(|e| self.refuse(e))?;
            side_by_side.push((self.placed(sum, &place, &out_sizes)?, 1));
        }
        let whole = self.b.affine(side_by_side, 0);
        whole.map_err(|e| self.refuse(e))
    }

    /// Whether a tensor is made of windows, as the patches of a convolution are.
    fn is_window(&self, tensor: TensorId) -> bool {
        match &self.b.program.nodes[tensor as usize] {
            Op::Wire { factors, .. } => factors
                .iter()
                .any(|f| matches!(f, Factor::Window { .. } | Factor::Pool { .. })),
            _ => false,
        }
    }

    /// A tensor's elements in these places.
    fn part(&mut self, input: TensorId, place: &Piece, sizes: &[usize]) -> Result<TensorId> {
        let dims = place.iter().zip(sizes).enumerate();
        let factors =
            dims.map(|(dim, (&(from, to), &size))| slice(dim, size, to - from, from as i64));
        self.wire_of(input, factors.collect())
    }

    /// A tensor in its place among zeros.
    fn placed(&mut self, input: TensorId, place: &Piece, sizes: &[usize]) -> Result<TensorId> {
        let dims = place.iter().zip(sizes).enumerate();
        let factors =
            dims.map(|(dim, (&(from, to), &size))| slice(dim, to - from, size, -(from as i64)));
        self.wire_of(input, factors.collect())
    }

    /// A wire, unless it changes nothing.
    fn wire_of(&mut self, input: TensorId, factors: Vec<Factor>) -> Result<TensorId> {
        if factors.iter().all(|f| matches!(f, Factor::Keep { .. })) {
            return Ok(input);
        }
        self.push(Op::Wire { input, factors })
    }
}

/// `size` elements of a dimension that has `old`, from `start` on; zeros where it has none.
fn slice(dim: usize, old: usize, size: usize, start: i64) -> Factor {
    if size == old {
        return Factor::Keep { dim };
    }
    Factor::Strided {
        dim,
        size,
        start,
        step: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_leave_little_padding() {
        let lens = |size| lens(&cuts(size));
        assert_eq!(lens(768), [512, 256]);
        assert_eq!(lens(3072), [2048, 1024]);
        assert_eq!(lens(1792), [1024, 512, 256]);
        assert_eq!(lens(16753), [16384, 369]);
        // An eighth may stay.
        assert_eq!(lens(1000), [1000]);
        assert_eq!(lens(1), [1]);
        for size in 0..5000 {
            let lens = lens(size);
            assert!(lens.len() <= 4, "{size}");
            assert_eq!(lens.iter().sum::<usize>(), size);
            assert!(
                lens[1..]
                    .iter()
                    .zip(&lens)
                    .all(|(_, len)| len.is_power_of_two())
            );
            let taken: usize = lens.iter().map(|&len| padded_len(&[len])).sum();
            assert!(8 * (taken - size.max(1)) <= size, "{size}");
        }
    }

    #[test]
    fn small_gains_are_left() {
        assert_eq!(pieces(&[768, 3072], 1000).len(), 4);
        assert_eq!(pieces(&[1024, 3072], 1000).len(), 2);
        assert_eq!(pieces(&[768, 3072], 2 << 20).len(), 1);
        assert_eq!(pieces(&[384, 768], 0).len(), 1);
        assert_eq!(pieces(&[7, 7, 7, 7, 7, 7, 7], 0).len(), 1);
    }
}
