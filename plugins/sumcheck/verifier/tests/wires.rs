//! Wires that claim to pass through: where the verifier maps an output's coordinates straight
//! to the input's, that is what the wire's entries say. Compared at every corner of the cube,
//! over small sizes.

use dsperse_sumcheck_verifier::commit::EF;
use dsperse_sumcheck_verifier::linear::{
    Shared, einsum_weight_at, einsum_weights, evaluation_cost, wire_input_point, wire_parts,
};
use dsperse_sumcheck_verifier::mle::{below, bits, eq_index, eq_table, num_vars, outer, pad_index};
use dsperse_sumcheck_verifier::wire::{Factor, MAX_FACTOR_ENTRIES, WireError, select_factors};
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
    // One more or one fewer is another protocol.
    assert_eq!(free, 2961);
}

/// What does not pass through costs its entries; sizes that only gain or lose ones pass.
#[test]
fn rewirings_are_free_or_counted() {
    let reshape = Factor::Reshape {
        dims: vec![0, 1],
        sizes: vec![3, 1, 5],
    };
    assert!(passes(&reshape, &[3, 5]));
    // So do sizes that are powers of two behind the first.
    for (from, to) in [([3, 4], [6, 2]), ([3, 4], [12, 1]), ([1, 8], [2, 4])] {
        let reshape = Factor::Reshape {
            dims: vec![0, 1],
            sizes: to.to_vec(),
        };
        assert!(passes(&reshape, &from), "{from:?} {to:?}");
    }
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

/// Coordinates without a pattern.
fn point(seed: u64, n: usize) -> Vec<EF> {
    let coordinate = |i| EF::from_u64((seed + i) * 0x9e37_79b9 % 1_000_003);
    (1..=n as u64).map(coordinate).collect()
}

type Entries = Vec<(u32, u32, i32)>;

/// Every kind of factor, sizes that it reads, its entries, and how many they can be.
fn samples() -> Vec<(Factor, Vec<usize>, Entries, u128)> {
    let ones = |pairs: &[(u32, u32)]| pairs.iter().map(|&(o, i)| (o, i, 1)).collect();
    let same = |n| (0..n).map(|i| (i, i, 1)).collect();
    let (dim, kernel, size, dilation, pad) = (0, 2, 3, 3, 1);
    let pool = |stride| Factor::Pool {
        dim,
        kernel,
        size,
        stride,
        dilation,
        pad,
    };
    let matrix = vec![(0, 3, -2), (1, 0, 1), (2, 5, 7)];
    vec![
        (Factor::Keep { dim }, vec![3], same(3), 0),
        (
            Factor::Repeat { size },
            vec![],
            ones(&[(0, 0), (1, 0), (2, 0)]),
            0,
        ),
        (
            Factor::Strided {
                dim,
                size,
                start: 4,
                step: -3,
            },
            vec![5],
            ones(&[(0, 4), (1, 1)]),
            3,
        ),
        (
            // Positions 2o + 3k - 1, by k first.
            Factor::Window {
                dim,
                kernel,
                size,
                stride: 2,
                dilation,
                pad,
            },
            vec![5],
            ones(&[(1, 1), (2, 3), (3, 2), (4, 4)]),
            6,
        ),
        (
            // Positions o + 3k - 1.
            pool(1),
            vec![5],
            ones(&[(0, 2), (1, 0), (1, 3), (2, 1), (2, 4)]),
            6,
        ),
        (
            // Positions 2o + 3k - 1.
            pool(2),
            vec![5],
            ones(&[(0, 2), (1, 1), (1, 4), (2, 3)]),
            6,
        ),
        (
            Factor::Sum { dim },
            vec![3],
            ones(&[(0, 0), (0, 1), (0, 2)]),
            3,
        ),
        (
            Factor::Gather {
                dim,
                indices: vec![2, -1, 2, 3],
            },
            vec![3],
            ones(&[(0, 2), (2, 2)]),
            4,
        ),
        (
            Factor::Reshape {
                dims: vec![0, 1],
                sizes: vec![3, 2],
            },
            vec![2, 3],
            same(6),
            6,
        ),
        (
            Factor::Matrix {
                dims: vec![0, 1],
                sizes: vec![3],
                entries: matrix.clone(),
            },
            vec![2, 3],
            matrix,
            3,
        ),
    ]
}

#[test]
fn factors_have_the_entries_of_their_definition() {
    for (factor, sizes, entries, bound) in samples() {
        let out = factor.output_sizes(&sizes).expect("valid");
        assert_eq!(factor.entries(&sizes), entries, "{factor:?}");
        assert_eq!(factor.entry_bound(&sizes, &out), bound, "{factor:?}");
    }
}

#[test]
fn an_evaluated_factor_is_the_sum_over_its_entries() {
    for (factor, shape, entries, bound) in samples() {
        // Behind another factor, so that its coordinates are not the first.
        let factors = [Factor::Repeat { size: 3 }, factor];
        let parts = wire_parts(&factors, &shape);
        let part = &parts[1];
        assert_eq!(u128::from(part.cost()), bound, "{:?}", factors[1]);
        let cost = evaluation_cost(&[part, part], 3);
        assert_eq!(u128::from(cost), 6 * bound, "{:?}", factors[1]);
        let out = point(5, 2 + num_vars(&part.out_sizes));
        let at = point(99, num_vars(&part.sizes));
        let entry = |(o, i, c): (u32, u32, i32)| {
            let out_index = pad_index(o as usize, &part.out_sizes);
            let in_index = pad_index(i as usize, &part.sizes);
            eq_index(out_index, &out[2..]) * eq_index(in_index, &at) * EF::from_i32(c)
        };
        let want: EF = entries.into_iter().map(entry).sum();
        assert_eq!(part.eval(&out, &at), want, "{:?}", factors[1]);
    }
}

/// They have no entries, or are counted as if, however large they are.
#[test]
fn repeating_and_summing_are_evaluated_without_their_entries() {
    let (size, at) = (1 << 50, point(9, 50));
    let all = [Factor::Repeat { size: size - 3 }, Factor::Sum { dim: 0 }];
    let parts = wire_parts(&all, &[size - 3]);
    let want = below(&at, size - 3);
    assert_eq!(parts[0].eval(&at, &[]), want);
    assert_eq!(parts[1].eval(&at, &at), want);
}

/// What the prover sums over is what the verifier evaluates.
#[test]
fn weights_of_a_product_extend_to_every_point() {
    let shared = [(b'i', 3, true), (b'k', 5, false), (b'j', 4, true)]
        .map(|(label, size, batch)| Shared { label, size, batch });
    // Summed labels have no coordinates; here they would show if they were taken.
    let (i, j, k) = (point(1, 2), point(7, 2), point(3, 3));
    let points = [(b'k', &k[..]), (b'j', &j[..]), (b'i', &i[..])];
    let at = point(20, 7);
    let table = outer(&einsum_weights(&shared, &points));
    let eq = eq_table(&at);
    assert_eq!(table.len(), eq.len());
    let sum: EF = table.iter().zip(eq).map(|(&w, e)| w * e).sum();
    assert_eq!(einsum_weight_at(&shared, &points, &at), sum);
}

#[test]
fn a_selection_gathers_along_one_dimension() {
    let keep = |dim| Factor::Keep { dim };
    let indices = vec![4, 2];
    let gather = Factor::Gather { dim: 1, indices };
    assert_eq!(select_factors(3, 1, &[4, 2]), [keep(0), gather, keep(2)]);
}

#[test]
fn factors_have_limits() {
    let far = 1i64 << 32;
    let strided = |size, start, step| Factor::Strided {
        dim: 0,
        size,
        start,
        step,
    };
    let of = |factor: &Factor| factor.output_sizes(&[4]);
    for (start, step) in [(far, 1), (-far, 1), (0, far), (0, -far)] {
        assert_eq!(of(&strided(2, start, step)), Ok(vec![2]));
        for (start, step) in [
            (start + start.signum(), step),
            (start, step + step.signum()),
        ] {
            let got = of(&strided(2, start, step));
            let outside = start.abs().max(step.abs()) > far;
            let refused = matches!(got, Err(WireError::Slice { .. }));
            assert_eq!(refused, outside, "{start} {step}");
        }
    }
    assert_eq!(
        of(&strided(2, 1, 0)),
        Err(WireError::Slice { start: 1, step: 0 })
    );
    assert_eq!(of(&strided(0, 0, 1)), Err(WireError::Empty(vec![0])));
    assert!(of(&strided(MAX_FACTOR_ENTRIES, 0, 1)).is_ok());
    let got = of(&strided(MAX_FACTOR_ENTRIES + 1, 0, 1));
    assert_eq!(got, Err(WireError::Entries));

    // Kernel, positions, stride, dilation, padding: each just outside, the others inside.
    let most = 1 << 24;
    let inside = [[1, 1, most, most, most], [2, 3, 1, 1, 0]];
    let windows = |[kernel, size, stride, dilation, pad]: [usize; 5]| {
        let dim = 0;
        [
            Factor::Window {
                dim,
                kernel,
                size,
                stride,
                dilation,
                pad,
            },
            Factor::Pool {
                dim,
                kernel,
                size,
                stride,
                dilation,
                pad,
            },
        ]
    };
    for numbers in inside {
        let [kernel, size, ..] = numbers;
        let got = windows(numbers).map(|w| of(&w));
        assert_eq!(got, [Ok(vec![kernel, size]), Ok(vec![size])]);
        for (at, outside) in (0..5).flat_map(|at| [(at, 0), (at, most + 1)]) {
            let mut numbers = numbers;
            numbers[at] = outside;
            for window in windows(numbers) {
                let got = of(&window);
                let refused = matches!(got, Err(WireError::Window { .. }));
                assert_eq!(refused, (at, outside) != (4, 0), "{window:?}");
            }
        }
    }

    let matrix = |sizes: &[usize], entry| Factor::Matrix {
        dims: vec![0],
        sizes: sizes.to_vec(),
        entries: vec![entry],
    };
    assert_eq!(of(&matrix(&[3], (2, 3, -1))), Ok(vec![3]));
    for outside in [(3, 3, 1), (2, 4, 1), (2, 3, 0)] {
        assert_eq!(of(&matrix(&[3], outside)), Err(WireError::Matrix));
    }
    // Indices have 32 bits.
    assert!(of(&matrix(&[65_535, 65_537], (0, 0, 1))).is_ok());
    for sizes in [vec![65_536, 65_536], vec![usize::MAX, 2]] {
        let got = of(&matrix(&sizes, (0, 0, 1)));
        assert_eq!(got, Err(WireError::Large(sizes)));
    }
    let reshape = |sizes: &[usize]| Factor::Reshape {
        dims: vec![0],
        sizes: sizes.to_vec(),
    };
    assert_eq!(of(&reshape(&[2, 2])), Ok(vec![2, 2]));
    let (from, to) = (vec![4], vec![2, 3]);
    assert_eq!(of(&reshape(&to)), Err(WireError::Reshape { from, to }));
}
