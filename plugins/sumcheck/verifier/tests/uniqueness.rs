//! The equations and lookups of a gadget admit exactly one assignment of its
//! columns, and that is the evaluator's result. Checked by trying all of them,
//! for small ranges, over all inputs: every edge of rounding, sign and clamp. Where
//! a result has no range of its own, it is tried with the elements that could hide there.
//! Weights, which nothing determines, are exactly what is in their bounds.

use dsperse_sumcheck_evaluator::evaluate;
use dsperse_sumcheck_verifier::commit::F;
use dsperse_sumcheck_verifier::layout::{Atom, FUNCTION_TAG, Layout, Linear, Source, WeightRanges};
use dsperse_sumcheck_verifier::mle::field;
use dsperse_sumcheck_verifier::program::*;
use dsperse_sumcheck_verifier::validate::validate;
use p3_field::{Field, PrimeCharacteristicRing, PrimeField64};

fn apply(form: &Linear, tensors: &[Tensor], columns: &[F]) -> F {
    let (constant, terms) = form.in_field();
    terms.iter().fold(constant, |sum, &(atom, c)| {
        let value = match atom {
            Atom::Tensor(t) => field(i128::from(tensors[t as usize].data[0])),
            Atom::Column(i) => columns[i],
        };
        sum + c * value
    })
}

/// What a column without a range of its own is tried with: the small integers, and those
/// elements of the field that hide behind them (halves, thirds, powers of two, their
/// negatives).
fn candidates() -> Vec<F> {
    let small = (-70..=70).map(F::from_i64);
    let fractions = (2..20).map(|n| F::from_i64(n).inverse());
    let powers = (8..64).step_by(5).map(|k| F::TWO.exp_u64(k));
    small
        .chain(fractions.chain(powers).flat_map(|x| [x, -x]))
        .collect()
}

/// Tries every assignment of the columns of `node` on these inputs, all of those that have a
/// range, and returns the values of `node` in the admitted ones.
fn admitted(program: &Program, node: TensorId, inputs: &[i64]) -> (Vec<F>, i64) {
    admitted_with(program, node, inputs, &[])
}

fn admitted_with(
    program: &Program,
    node: TensorId,
    inputs: &[i64],
    weights: &[i64],
) -> (Vec<F>, i64) {
    let checked = validate(program).expect("valid");
    let layout = Layout::new(program, &checked, 4, WeightRanges::Proof).expect("has a layout");
    let scalars = |list: &[i64]| -> Vec<Tensor> {
        let scalar = |&x: &i64| Tensor {
            shape: vec![1],
            data: vec![x],
        };
        list.iter().map(scalar).collect()
    };
    let tensors = evaluate(program, &checked, &scalars(weights), &scalars(inputs));
    let tensors = tensors.expect("evaluates");
    let own: Vec<(usize, u32)> = layout
        .columns
        .iter()
        .enumerate()
        .filter_map(|(i, c)| (c.node == node).then_some((i, c.width?)))
        .collect();
    let bits: u32 = own.iter().map(|c| c.1).sum();
    assert!(bits <= 20, "{bits} bits are too many to try");
    let free: Vec<usize> = (0..layout.columns.len())
        .filter(|&i| {
            let c = &layout.columns[i];
            c.node == node && c.source == Source::Value && c.width.is_none()
        })
        .collect();
    assert!(free.len() <= 1, "a result is one column");
    let tries = match free.is_empty() {
        true => vec![F::ZERO],
        false => candidates(),
    };
    let mut values = vec![];
    for (code, value) in (0..1u64 << bits).flat_map(|c| tries.iter().map(move |v| (c, *v))) {
        let mut columns = vec![F::ZERO; layout.columns.len()];
        let mut rest = code;
        for &(i, width) in &own {
            columns[i] = F::from_u64(rest & ((1 << width) - 1));
            rest >>= width;
        }
        for &i in &free {
            columns[i] = value;
        }
        let in_tables = layout.lookups.iter().all(|l| {
            let tuple: Vec<F> = l
                .args
                .iter()
                .map(|a| apply(a, &tensors, &columns))
                .collect();
            match l.tag.checked_sub(FUNCTION_TAG) {
                None => tuple[0].as_canonical_u64() < 1 << l.tag,
                Some(t) => {
                    let table = &program.tables[t as usize];
                    let rows = table.values.iter().enumerate();
                    let row = |(i, y): (usize, &i32)| {
                        [table.lo + i as i64, i64::from(*y)].map(F::from_i64)
                    };
                    rows.map(row).any(|row| row[..] == tuple)
                }
            }
        });
        let holds = in_tables
            && layout.gadgets.iter().flat_map(|g| &g.constraints).all(|c| {
                let sum: F = c
                    .products
                    .iter()
                    .map(|p| {
                        p.iter()
                            .map(|f| apply(f, &tensors, &columns))
                            .product::<F>()
                    })
                    .sum();
                sum == F::ZERO
            });
        if holds {
            let value = layout.values[node as usize]
                .as_ref()
                .expect("the node is committed");
            values.push(apply(value, &tensors, &columns));
        }
    }
    (values, tensors[node as usize].data[0])
}

/// The node must stay committed, so an affine form of it is the output.
fn hide(mut p: Program, node: TensorId) -> Program {
    let out = p.push(Op::Affine {
        terms: vec![(node, 1)],
        constant: 0,
    });
    p.outputs = vec![out];
    p
}

#[test]
fn requantisation_admits_only_the_rounded_and_clamped_value() {
    // (multiplier, shift, lo, hi): no saturation, either end, both ends, ranges
    // that are and are not powers of two, no shift, negative ranges.
    for (multiplier, shift, lo, hi) in [
        (1, 2, -16, 15),
        (1, 2, 0, 7),
        (1, 3, 0, 4),
        (3, 2, -2, 5),
        (1, 1, -20, -3),
        (1, 0, -3, 3),
        (5, 3, -9, 6),
        (1, 1, -9, 40),
        (2, 1, 3, 4),
        (1, 2, 1, 1),
    ] {
        let mut p = Program::default();
        let x = p.push(Op::Input {
            shape: vec![1],
            lo: -33,
            hi: 31,
        });
        let y = p.push(Op::Requant {
            input: x,
            multiplier,
            shift,
            lo,
            hi,
        });
        let p = hide(p, y);
        for x in -17..=16 {
            // The definition in exact rationals: nearest, halves upward.
            let rounded = ((x * multiplier) as f64 / f64::from(1 << shift) + 0.5).floor() as i64;
            let expected = rounded.clamp(lo, hi);
            let (values, result) = admitted(&p, y, &[x]);
            assert_eq!(
                result, expected,
                "x {x}, {multiplier} >> {shift} in {lo}..={hi}"
            );
            assert_eq!(
                values,
                [field(expected.into())],
                "x {x}, {multiplier} >> {shift}"
            );
        }
    }
}

#[test]
fn division_admits_only_the_nearest_quotient() {
    let mut p = Program::default();
    let n = p.push(Op::Input {
        shape: vec![1],
        lo: -20,
        hi: 20,
    });
    let d = p.push(Op::Input {
        shape: vec![1],
        lo: 1,
        hi: 7,
    });
    let q = p.push(Op::Div {
        num: n,
        den: d,
        lo: -20,
        hi: 20,
    });
    let p = hide(p, q);
    for n in -20i64..=20 {
        for d in 1..=7 {
            let expected = (n as f64 / d as f64 + 0.5).floor() as i64;
            let (values, result) = admitted(&p, q, &[n, d]);
            assert_eq!(result, expected, "{n} / {d}");
            assert_eq!(values, [field(expected.into())], "{n} / {d}");
            // So integers are divided downwards: by what is twice them, less a half.
            if (0..=10).contains(&n) && d <= 3 {
                let (_, whole) = admitted(&p, q, &[2 * n - d, 2 * d]);
                assert_eq!(whole, n / d, "{n} / {d}");
            }
        }
    }
}

/// The lowering rounds half to even by the sum of two roundings, `⌊v/2 + 1/4⌋` and
/// `⌈v/2 - 1/4⌉`, each with limits of its own: both are determined, and so is the sum.
#[test]
fn two_roundings_admit_only_the_even_one_at_ties() {
    for (multiplier, shift, lo, hi) in [
        (1, 1, -128, 127),
        (1, 2, -4, 3),
        (3, 2, -7, 6),
        (6, 3, 0, 5),
        (5, 2, -3, -1),
    ] {
        let half = 1i64 << (shift - 1);
        let part = |sign: i64, lo: i64, hi: i64| {
            let mut p = Program::default();
            let x = p.push(Op::Input {
                shape: vec![1],
                lo: -17,
                hi: 17,
            });
            let moved = p.push(Op::Affine {
                terms: vec![(x, sign * multiplier)],
                constant: -half,
            });
            let y = p.push(Op::Requant {
                input: moved,
                multiplier: 1,
                shift: shift + 1,
                lo: lo.div_euclid(2),
                hi: hi.div_euclid(2),
            });
            (hide(p, y), y)
        };
        let parts = [part(1, lo, hi), part(-1, -hi, -lo)];
        for x in -17i64..=17 {
            let v = (x * multiplier) as f64 / f64::from(1 << shift);
            let expected = (v.round_ties_even() as i64).clamp(lo, hi);
            let [(ups, up), (downs, down)] =
                [0, 1].map(|i: usize| admitted(&parts[i].0, parts[i].1, &[x]));
            assert_eq!(up - down, expected, "x {x}, {multiplier} >> {shift}");
            assert_eq!((ups.len(), downs.len()), (1, 1), "x {x}");
            assert_eq!(ups[0] - downs[0], field(expected.into()), "x {x}");
        }
    }
}

#[test]
fn square_roots_admit_only_the_floor() {
    let mut p = Program::default();
    let x = p.push(Op::Input {
        shape: vec![1],
        lo: 0,
        hi: 70,
    });
    let s = p.push(Op::Sqrt { input: x });
    let p = hide(p, s);
    for x in 0..=70 {
        let expected = (0..).take_while(|s| s * s <= x).count() as i64 - 1;
        let (values, result) = admitted(&p, s, &[x]);
        assert_eq!(result, expected, "sqrt {x}");
        assert_eq!(values, [field(expected.into())], "sqrt {x}");
    }
}

#[test]
fn a_maximum_admits_only_the_greatest_operand() {
    // The gaps as looked-up forms, and, where they need more bits than a limb, as limbs.
    for (lo, hi, count) in [(0, 15, 3), (-9, 12, 2)] {
        let mut p = Program::default();
        let operands = (0..count).map(|_| {
            p.push(Op::Input {
                shape: vec![1],
                lo,
                hi,
            })
        });
        let inputs = operands.collect();
        let m = p.push(Op::Max { inputs });
        let p = hide(p, m);
        for values in [
            [lo, lo, lo],
            [hi, lo, 0],
            [lo, hi, hi],
            [3, 4, 5],
            [5, 5, 4],
            [0, 1, hi],
        ] {
            let inputs = &values[..count];
            let expected = inputs.iter().copied().max().expect("operands");
            let (values, result) = admitted(&p, m, inputs);
            assert_eq!(result, expected, "{inputs:?}");
            assert_eq!(values, [field(expected.into())], "{inputs:?}");
        }
    }
}

#[test]
fn a_table_admits_only_the_row_of_its_operand() {
    // Not injective, with a value that is also an operand, and padded to 8 rows.
    let table = Table {
        lo: -2,
        values: vec![7, -2, 0, 0, 3],
    };
    let mut p = Program {
        tables: vec![table.clone()],
        ..Program::default()
    };
    let x = p.push(Op::Input {
        shape: vec![1],
        lo: -2,
        hi: 2,
    });
    let y = p.push(Op::Lookup { input: x, table: 0 });
    let p = hide(p, y);
    for (i, &expected) in table.values.iter().enumerate() {
        let x = table.lo + i as i64;
        let (values, result) = admitted(&p, y, &[x]);
        assert_eq!(result, i64::from(expected), "row {x}");
        assert_eq!(values, [field(expected.into())], "row {x}");
    }
}

#[test]
fn a_weight_admits_exactly_the_values_in_its_bounds() {
    for (lo, hi) in [(-8, 7), (-3, 2), (0, 4), (5, 5), (-40, 33)] {
        let mut p = Program::default();
        let x = p.push(Op::Input {
            shape: vec![1],
            lo: 0,
            hi: 1,
        });
        let w = p.push(Op::Weight {
            shape: vec![1],
            lo,
            hi,
        });
        let sum = p.push(Op::Affine {
            terms: vec![(x, 1), (w, 1)],
            constant: 0,
        });
        p.outputs = vec![sum];
        let (mut values, _) = admitted_with(&p, w, &[1], &[hi]);
        // No value twice: the columns of a weight are its digits.
        let mut expected: Vec<F> = (lo..=hi).map(F::from_i64).collect();
        values.sort_by_key(PrimeField64::as_canonical_u64);
        expected.sort_by_key(PrimeField64::as_canonical_u64);
        assert_eq!(values, expected, "{lo}..={hi}");
    }
}
