//! The shape of the linear layers' sumchecks, shared by prover and verifier:
//! how a point of a `Wire`'s or `Einsum`'s output splits into the parts that
//! pass straight to an operand and the parts that a sumcheck runs over.

use p3_field::PrimeCharacteristicRing;

use crate::commit::{EF, F};
use crate::mle::{below, bits, eq_eval, eq_table, num_vars, pad_index};
use crate::wire::Factor;

/// One factor of a wire against a point of the output.
pub struct WirePart<'a> {
    /// The factor.
    pub factor: &'a Factor,
    /// Its input dimensions.
    pub dims: Vec<usize>,
    /// Their sizes.
    pub sizes: Vec<usize>,
    /// Sizes of its output dimensions.
    pub out_sizes: Vec<usize>,
    /// Offset of its output dimensions in an output point.
    pub offset: usize,
    /// True when the coordinates pass through unchanged, followed by the bits
    /// of `tail`.
    pub free: bool,
    /// Constant last coordinates of the input: value and number of bits.
    pub tail: (usize, usize),
}

impl WirePart<'_> {
    /// The coordinates of an output point that belong to this factor.
    pub fn out_point<'p>(&self, point: &'p [EF]) -> &'p [EF] {
        &point[self.offset..self.offset + num_vars(&self.out_sizes)]
    }

    /// Entries that one evaluation goes through.
    pub fn cost(&self) -> u64 {
        let entries = self.factor.entry_bound(&self.sizes, &self.out_sizes);
        u64::try_from(entries).unwrap_or(u64::MAX)
    }

    /// `M(point, y)` for every padded index `y` of the factor's input.
    pub fn row(&self, point: &[EF]) -> Vec<EF> {
        let eq = eq_table(self.out_point(point));
        let mut row = vec![EF::ZERO; 1 << num_vars(&self.sizes)];
        for (o, i, c) in self.factor.entries(&self.sizes) {
            let e = eq[pad_index(o as usize, &self.out_sizes)];
            let slot = &mut row[pad_index(i as usize, &self.sizes)];
            if c == 1 {
                *slot += e
            } else {
                *slot += e * F::from_i64(c.into())
            }
        }
        row
    }

    /// `M(point, at)` for a point `at` of the factor's input.
    pub fn eval(&self, point: &[EF], at: &[EF]) -> EF {
        match self.factor {
            Factor::Repeat { size } => below(self.out_point(point), *size),
            Factor::Sum { .. } => below(at, self.sizes[0]),
            _ => {
                let row = self.row(point);
                row.iter().zip(eq_table(at)).map(|(&r, e)| r * e).sum()
            }
        }
    }
}

/// Splits a wire into its parts.
pub fn wire_parts<'a>(factors: &'a [Factor], in_shape: &[usize]) -> Vec<WirePart<'a>> {
    let mut offset = 0;
    factors
        .iter()
        .map(|factor| {
            let dims = factor.input_dims();
            let sizes: Vec<usize> = dims.iter().map(|&d| in_shape[d]).collect();
            let out_sizes = factor.output_sizes(&sizes).unwrap_or_default();
            let tail = aligned_stride(factor, &sizes);
            let free = is_free(factor, &sizes, &out_sizes);
            let part = WirePart {
                factor,
                dims,
                sizes,
                out_sizes,
                offset,
                free,
                tail: tail.unwrap_or((0, 0)),
            };
            offset += num_vars(&part.out_sizes);
            part
        })
        .collect()
}

/// Entries that evaluating a wire's factors for `claims` claims goes through.
pub fn evaluation_cost(bound: &[&WirePart<'_>], claims: usize) -> u64 {
    let once = bound.iter().fold(0u64, |n, p| n.saturating_add(p.cost()));
    once.saturating_mul(claims as u64)
}

/// Whether a factor costs no sumcheck and no entries: coordinates pass through it.
pub fn is_free(factor: &Factor, sizes: &[usize], out: &[usize]) -> bool {
    aligned_stride(factor, sizes).is_some() || passes_through(factor, sizes, out)
}

/// Whether padded indices stay the same: the identity, and reshapes in which
/// every size but the first is a power of two.
fn passes_through(factor: &Factor, sizes: &[usize], out: &[usize]) -> bool {
    match factor {
        Factor::Keep { .. } => true,
        Factor::Reshape { .. } => {
            let real = |s: &[usize]| s.iter().copied().filter(|&d| d > 1).collect::<Vec<_>>();
            let (a, b) = (real(sizes), real(out));
            let aligned = |s: &[usize]| s.iter().skip(1).all(|d| d.is_power_of_two());
            a == b || (aligned(&a) && aligned(&b) && num_vars(&a) == num_vars(&b))
        }
        _ => false,
    }
}

/// A slice `out[o] = in[2^k o + start]` that never leaves the input and uses all
/// of its bits only fixes the last `k` bits of the index: those bits.
fn aligned_stride(factor: &Factor, sizes: &[usize]) -> Option<(usize, usize)> {
    let Factor::Strided {
        size, start, step, ..
    } = factor
    else {
        return None;
    };
    let (step, start) = (usize::try_from(*step).ok()?, usize::try_from(*start).ok()?);
    let k = step.trailing_zeros() as usize;
    let fits = step.is_power_of_two()
        && start < step
        && start + step * (size - 1) < sizes[0]
        && bits(*size) + k == bits(sizes[0])
        // What follows the slice must be padding too: a public output's padding is 0.
        && (size.is_power_of_two() || start + step * size >= sizes[0]);
    fits.then_some((start, k))
}

/// How one label of an `Einsum` is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The label.
    pub label: u8,
    /// Size of its dimension.
    pub size: usize,
    /// True when the label is in the output, false when it is summed.
    pub batch: bool,
}

/// The labels that both operands have, in the order of `a`: the sumcheck runs
/// over these.
pub fn shared_labels(
    a_labels: &[u8],
    a_shape: &[usize],
    b_labels: &[u8],
    out_labels: &[u8],
) -> Vec<Shared> {
    a_labels
        .iter()
        .zip(a_shape)
        .filter(|(l, _)| b_labels.contains(l))
        .map(|(&label, &size)| Shared {
            label,
            size,
            batch: out_labels.contains(&label),
        })
        .collect()
}

/// The coordinates of each label in an output point.
pub fn label_points<'p>(
    out_labels: &[u8],
    out_shape: &[usize],
    point: &'p [EF],
) -> Vec<(u8, &'p [EF])> {
    let parts = crate::mle::split(point, out_shape);
    out_labels.iter().copied().zip(parts).collect()
}

/// The coordinates that belong to a label.
pub fn find<'p>(points: &[(u8, &'p [EF])], label: u8) -> Option<&'p [EF]> {
    points.iter().find(|p| p.0 == label).map(|p| p.1)
}

/// The weight `eq(point, x)` for batch labels and `[x is not padding]` for
/// summed ones, as one vector for each shared label.
pub fn einsum_weights(shared: &[Shared], points: &[(u8, &[EF])]) -> Vec<Vec<EF>> {
    shared
        .iter()
        .map(|s| match find(points, s.label) {
            Some(p) if s.batch => eq_table(p),
            _ => (0..1usize << bits(s.size))
                .map(|i| if i < s.size { EF::ONE } else { EF::ZERO })
                .collect(),
        })
        .collect()
}

/// The same weight, extended to a point of the shared labels.
pub fn einsum_weight_at(shared: &[Shared], points: &[(u8, &[EF])], at: &[EF]) -> EF {
    let mut rest = at;
    let mut weight = EF::ONE;
    for s in shared {
        let (here, after) = rest.split_at(bits(s.size));
        rest = after;
        weight *= match find(points, s.label) {
            Some(p) if s.batch => eq_eval(p, here),
            _ => below(here, s.size),
        };
    }
    weight
}

/// The point of an operand: shared labels from the sumcheck's point, the others
/// from the output's.
pub fn operand_point(
    labels: &[u8],
    shared: &[Shared],
    points: &[(u8, &[EF])],
    at: &[EF],
) -> Vec<EF> {
    let mut out = Vec::new();
    for &label in labels {
        let mut rest = at;
        let mut found = None;
        for s in shared {
            let (here, after) = rest.split_at(bits(s.size));
            rest = after;
            if s.label == label {
                found = Some(here);
            }
        }
        out.extend_from_slice(found.or_else(|| find(points, label)).unwrap_or(&[]));
    }
    out
}

/// The point of a wire's input: free dimensions from the output's point, the
/// others from the sumcheck's.
pub fn wire_input_point(
    parts: &[WirePart<'_>],
    in_shape: &[usize],
    out: &[EF],
    at: &[EF],
) -> Vec<EF> {
    let mut by_dim: Vec<Vec<EF>> = vec![vec![]; in_shape.len()];
    let mut rest = at;
    for part in parts {
        let mut coordinates = if part.free {
            let (value, k) = part.tail;
            let tail = (0..k).rev().map(|i| EF::from_usize(value >> i & 1));
            part.out_point(out).iter().copied().chain(tail).collect()
        } else {
            let (here, after) = rest.split_at(num_vars(&part.sizes));
            rest = after;
            here.to_vec()
        };
        for (&dim, &size) in part.dims.iter().zip(&part.sizes) {
            let after = coordinates.split_off(bits(size));
            by_dim[dim] = std::mem::replace(&mut coordinates, after);
        }
    }
    by_dim.concat()
}
