//! Wires that claim to pass through: where the verifier maps an output's coordinates straight
//! to the input's, that is what the wire's entries say. Compared at every corner of the cube,
//! over small sizes.

use dsperse_sumcheck_verifier::commit::EF;
use dsperse_sumcheck_verifier::linear::{wire_input_point, wire_parts};
use dsperse_sumcheck_verifier::mle::{bits, num_vars, pad_index};
use dsperse_sumcheck_verifier::wire::Factor;
use p3_field::PrimeCharacteristicRing;
use std::collections::{BTreeMap, BTreeSet};

/// Whether the factor passes through; when it does, it is compared with its entries.
fn passes(factor: &Factor, shape: &[usize]) -> bool {
    let factors = [factor.clone()];
    let parts = wire_parts(&factors, shape);
    let part = &parts[0];
    if !part.free {
        return false;
    }
    let entries: BTreeMap<u32, (u32, i32)> = factor
        .entries(&part.sizes)
        .into_iter()
        .map(|(out, from, c)| (out, (from, c)))
        .collect();
    let variables = num_vars(&part.out_sizes);
    let input_at = |corner: usize| {
        let point: Vec<EF> = (0..variables)
            .rev()
            .map(|k| EF::from_usize(corner >> k & 1))
            .collect();
        let at = wire_input_point(&parts, shape, &point, &[]);
        at.iter()
            .fold(0, |sum, &x| 2 * sum + usize::from(x == EF::ONE))
    };
    let corners = |sizes: &[usize]| -> BTreeSet<usize> {
        let elements = 0..sizes.iter().product();
        elements.map(|at| pad_index(at, sizes)).collect()
    };
    // Padding comes from padding: what an output does not hold must be zero.
    let (outputs, inputs) = (corners(&part.out_sizes), corners(shape));
    for corner in (0..1 << variables).filter(|c| !outputs.contains(c)) {
        let from = input_at(corner);
        assert!(
            !inputs.contains(&from),
            "{factor:?} {shape:?}, padding {corner}"
        );
    }
    for out in 0..part.out_sizes.iter().product() {
        let got = input_at(pad_index(out, &part.out_sizes));
        let (from, coefficient) = entries[&(out as u32)];
        assert_eq!(coefficient, 1, "{factor:?} {shape:?}");
        // From the factor's own order of dimensions to the input's.
        let mut rest = pad_index(from as usize, &part.sizes);
        let mut coordinates = BTreeMap::new();
        for (&dim, &size) in part.dims.iter().zip(&part.sizes).rev() {
            coordinates.insert(dim, rest & ((1 << bits(size)) - 1));
            rest >>= bits(size);
        }
        let want = shape.iter().enumerate().fold(0, |sum, (dim, &size)| {
            (sum << bits(size)) | coordinates[&dim]
        });
        assert_eq!(got, want, "{factor:?} {shape:?}, output {out}");
    }
    true
}

#[test]
fn what_passes_through_is_what_the_entries_say() {
    let mut free = 0;
    for d in 1..=17 {
        free += usize::from(passes(&Factor::Keep { dim: 0 }, &[d]));
        for size in 1..=17 {
            for start in -3..=16 {
                for step in [-2, -1, 1, 2, 3, 4, 8, 16, 32] {
                    let slice = Factor::Strided {
                        dim: 0,
                        size,
                        start,
                        step,
                    };
                    free += usize::from(passes(&slice, &[d]));
                }
            }
        }
    }
    let mut shapes: Vec<Vec<usize>> = vec![vec![]];
    for _ in 0..3 {
        let longer = shapes.iter().flat_map(|s| {
            (1..=6).map(|d| {
                let mut longer = s.clone();
                longer.push(d);
                longer
            })
        });
        let longer: Vec<_> = longer.collect();
        shapes.extend(longer);
        shapes.sort();
        shapes.dedup();
    }
    for from in &shapes {
        let orders: &[&[usize]] = match from.len() {
            0 => &[&[]],
            1 => &[&[0]],
            2 => &[&[0, 1], &[1, 0]],
            _ => &[&[0, 1, 2], &[2, 0, 1], &[1, 0, 2]],
        };
        let elements: usize = from.iter().product();
        for to in shapes
            .iter()
            .filter(|s| s.iter().product::<usize>() == elements)
        {
            for dims in orders {
                let reshape = Factor::Reshape {
                    dims: dims.to_vec(),
                    sizes: to.clone(),
                };
                free += usize::from(passes(&reshape, from));
            }
        }
    }
    assert!(free > 1000, "{free} pass through");
}

/// What does not pass through costs its entries; sizes that only gain or lose ones pass.
#[test]
fn rewirings_are_free_or_counted() {
    let reshape = Factor::Reshape {
        dims: vec![0, 1],
        sizes: vec![3, 1, 5],
    };
    assert!(passes(&reshape, &[3, 5]));
    let shifted = Factor::Strided {
        dim: 0,
        size: 3,
        start: 1,
        step: 1,
    };
    assert!(!passes(&shifted, &[5]));
    let part = &wire_parts(std::slice::from_ref(&shifted), &[5])[0];
    assert!(part.cost() >= 3, "{}", part.cost());
}

#[test]
fn dilated_windows_and_pools_read_apart() {
    let window = Factor::Window {
        dim: 0,
        kernel: 2,
        size: 2,
        stride: 2,
        dilation: 3,
        pad: 1,
    };
    // Positions 2o + 3k - 1, by k first.
    let entries = [(1, 1, 1), (2, 2, 1), (3, 4, 1)];
    assert_eq!(window.entries(&[5]), entries);
    let pool = Factor::Pool {
        dim: 0,
        kernel: 2,
        size: 3,
        stride: 1,
        dilation: 3,
        pad: 1,
    };
    let entries = [(0, 2, 1), (1, 0, 1), (1, 3, 1), (2, 1, 1), (2, 4, 1)];
    assert_eq!(pool.entries(&[5]), entries);
}
