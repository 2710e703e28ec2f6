//! Which programs are accepted, and what is known of their values: for every rule a program on
//! either side of it, as close to its limit as there is one.

use dsperse_sumcheck_verifier::program::*;
use dsperse_sumcheck_verifier::validate::validate;
use dsperse_sumcheck_verifier::wire::{ENTRIES_PER_VALUE, FREE_ENTRIES, MAX_FACTOR_ENTRIES};

fn input(shape: &[usize], lo: i64, hi: i64) -> Op {
    Op::Input {
        shape: shape.to_vec(),
        lo,
        hi,
    }
}

fn wire(factors: Vec<Factor>) -> Op {
    Op::Wire { input: 0, factors }
}

fn strided(size: usize, start: i64, step: i64) -> Factor {
    Factor::Strided {
        dim: 0,
        size,
        start,
        step,
    }
}

fn affine(terms: &[(TensorId, i64)], constant: i64) -> Op {
    Op::Affine {
        terms: terms.to_vec(),
        constant,
    }
}

fn requant(multiplier: i64, shift: u32, lo: i64, hi: i64) -> Op {
    Op::Requant {
        input: 0,
        multiplier,
        shift,
        lo,
        hi,
    }
}

fn einsum(a: &str, b: &str, out: &str) -> Op {
    Op::Einsum {
        a: 0,
        b: 1,
        a_labels: a.into(),
        b_labels: b.into(),
        out_labels: out.into(),
    }
}

fn select(dim: usize) -> Op {
    let (input, ids) = (0, 1);
    Op::Select { input, dim, ids }
}

fn max(inputs: &[TensorId]) -> Op {
    Op::Max {
        inputs: inputs.to_vec(),
    }
}

fn div(lo: i64, hi: i64) -> Op {
    let (num, den) = (0, 1);
    Op::Div { num, den, lo, hi }
}

const LOOKUP: Op = Op::Lookup { input: 0, table: 0 };
const SQRT: Op = Op::Sqrt { input: 0 };

/// The program of these nodes, whose last one is the output if it can be.
fn program(nodes: Vec<Op>) -> Program {
    let last = nodes.len() as TensorId - 1;
    let outputs = match nodes.last() {
        Some(Op::Input { .. } | Op::Weight { .. }) | None => vec![],
        Some(_) => vec![last],
    };
    let values = vec![9, 1, 2, 3, -9];
    let tables = vec![Table { lo: -2, values }];
    Program {
        nodes,
        tables,
        outputs,
    }
}

/// What is known of the last node: its shape and bounds.
fn known(nodes: Vec<Op>) -> (Vec<usize>, i64, i64) {
    let text = format!("{:?}", nodes.last());
    let checked = validate(&program(nodes)).unwrap_or_else(|e| panic!("{text}: {e}"));
    let b = checked.bounds[checked.bounds.len() - 1];
    (checked.shapes[checked.shapes.len() - 1].clone(), b.lo, b.hi)
}

fn bounds(nodes: Vec<Op>) -> (i64, i64) {
    let (_, lo, hi) = known(nodes);
    (lo, hi)
}

/// That a program is refused, and that the message says this.
fn refused(program: &Program, because: &str) {
    let last = program.nodes.last();
    match validate(program) {
        Ok(_) => panic!("{last:?} is accepted, not refused: {because}"),
        Err(e) => assert!(e.to_string().contains(because), "{last:?}: {e}"),
    }
}

fn refuse(nodes: Vec<Op>, because: &str) {
    refused(&program(nodes), because);
}

/// 2^61, which no value and no side of an equation reaches.
const LIMIT: i64 = 1 << 61;

#[test]
fn values_have_bounds_that_hold() {
    let x = |lo, hi| input(&[2], lo, hi);
    let cases = [
        // The extremes of a product are at each of the four corners.
        (vec![x(-3, 2), x(-5, 7), einsum("i", "i", "i")], (-21, 15)),
        (vec![x(-5, 7), x(-3, 2), einsum("i", "i", "i")], (-21, 15)),
        (vec![x(1, 2), x(3, 4), einsum("i", "i", "i")], (3, 8)),
        (vec![x(-3, 2), x(-5, 7), einsum("i", "i", "")], (-42, 30)),
        // The same labels of other tensors make no square.
        (vec![x(-5, 4), x(-5, 4), einsum("i", "i", "")], (-40, 50)),
        (vec![x(-2, 3), affine(&[(0, 5)], 7)], (-3, 22)),
        (vec![x(-2, 3), affine(&[(0, 5), (0, -1)], -1)], (-14, 16)),
        (vec![x(-9, 9), requant(3, 1, -5, 99)], (-5, 14)),
        (vec![x(-9, 9), requant(1, 0, 4, 4)], (4, 4)),
        (vec![x(-1, 1), LOOKUP], (1, 3)),
        (vec![x(-2, 2), LOOKUP], (-9, 9)),
        (vec![x(-2, 5), x(1, 3), max(&[0, 1])], (1, 5)),
        (vec![x(-7, 9), x(2, 3), div(-99, 99)], (-3, 5)),
        (vec![x(-7, 9), x(2, 3), div(-2, 4)], (-2, 4)),
        (vec![x(5, 80), SQRT], (2, 8)),
    ];
    for (nodes, want) in cases {
        let last = format!("{:?}", nodes.last());
        assert_eq!(bounds(nodes), want, "{last}");
    }
}

/// Least and greatest sum of the coefficients of one output, times the operand's bounds.
#[test]
fn rewired_values_have_bounds_that_hold() {
    let matrix = |dim, entries: &[(u32, u32, i32)]| Factor::Matrix {
        dims: vec![dim],
        sizes: vec![2],
        entries: entries.to_vec(),
    };
    let of = |lo, hi, factors| bounds(vec![input(&[2, 2], lo, hi), wire(factors)]);
    let two_and_five = || matrix(0, &[(0, 0, 2), (1, 0, 1), (1, 1, 4)]);
    let keep = || Factor::Keep { dim: 1 };
    assert_eq!(of(-1, 3, vec![two_and_five(), keep()]), (-5, 15));
    assert_eq!(of(1, 3, vec![two_and_five(), keep()]), (2, 15));
    assert_eq!(of(-3, -1, vec![two_and_five(), keep()]), (-15, -2));
    // Factors multiply; a row without entries is zero; signs count in full.
    let sum = Factor::Sum { dim: 1 };
    assert_eq!(of(1, 3, vec![two_and_five(), sum.clone()]), (4, 30));
    let one_row = matrix(0, &[(0, 0, 3)]);
    assert_eq!(of(1, 3, vec![one_row, sum.clone()]), (0, 18));
    let signed = matrix(0, &[(0, 0, 3), (0, 1, -2), (1, 0, 1)]);
    assert_eq!(of(1, 3, vec![signed, sum]), (-30, 30));
    let nowhere = vec![strided(2, 5, 1), keep()];
    assert_eq!(of(1, 3, nowhere), (0, 0));
    // What moves every element once, or repeats it, leaves the bounds as they are.
    let reshape = Factor::Reshape {
        dims: vec![0, 1],
        sizes: vec![4],
    };
    for factors in [
        vec![reshape],
        vec![keep(), Factor::Repeat { size: 3 }, Factor::Keep { dim: 0 }],
        vec![strided(2, 1, -1), keep()],
    ] {
        assert_eq!(of(1, 3, factors), (1, 3));
    }
}

#[test]
fn values_stay_below_the_limit() {
    let x = |lo, hi| input(&[1], lo, hi);
    let far = 1 << 40;
    let (most, least) = (LIMIT - 1, 1 - LIMIT);
    for accepted in [
        vec![x(least, most)],
        vec![x(0, most / 3), affine(&[(0, 3)], 0)],
        // With a shift of 40, operand and result leave room for half a step.
        vec![x(far - LIMIT + 1, LIMIT - far - 1), requant(1, 40, 0, 1)],
        vec![x(0, 1), requant(1, 40, 2 - (1 << 21), (1 << 21) - 2)],
        vec![x(-1 << 60, 0), x(0, (1 << 60) - 1), max(&[0, 1])],
        // Both sides of a division's equation: 2n + d, and 2 (10 + 2 * 16) d + 2 d.
        vec![x(0, (1 << 60) - 2), x(1, 3), div(0, 0)],
        vec![x(0, 1), x(1, most / 86), div(-5, 10)],
        vec![x(0, 1), x(1, most / 86), div(-10, 5)],
    ] {
        known(accepted);
    }
    for too_large in [
        vec![x(0, LIMIT)],
        vec![x(-LIMIT, 0)],
        vec![x(0, most / 3 + 1), affine(&[(0, 3)], 0)],
        vec![x(0, most / 3 + 1), affine(&[(0, -3)], 0)],
        vec![x(0, most), affine(&[(0, 1)], 1)],
        vec![x(0, LIMIT - far), requant(1, 40, 0, 1)],
        vec![x(far - LIMIT, 0), requant(1, 40, 0, 1)],
        vec![x(0, 1), requant(1, 40, 0, (1 << 21) - 1)],
        vec![x(0, 1), requant(1, 40, 1 - (1 << 21), 0)],
        vec![x(0, most), requant(2, 0, 0, 1)],
        vec![x(-1 << 60, 0), x(0, 1 << 60), max(&[0, 1])],
        vec![x(0, (1 << 60) - 2), x(1, 4), div(0, 0)],
        vec![x(0, 1), x(1, most / 86 + 1), div(-5, 10)],
        vec![x(0, 1), x(1, most / 86 + 1), div(-10, 5)],
        vec![x(0, 1 << 40), x(0, 1 << 40), einsum("i", "i", "i")],
    ] {
        refuse(too_large, "could overflow");
    }
}

#[test]
fn nodes_that_are_not_valid_are_refused() {
    let x = |lo, hi| input(&[2], lo, hi);
    let long = vec![(0, 0); MAX_NODES];
    known(vec![x(0, 1), affine(&long, 0)]);
    known(vec![x(0, 0), requant(1, 40, 0, 1)]);
    known(vec![x(1, 1), x(1, 1), max(&[0, 1, 0, 1])]);
    known(vec![x(0, 1), x(1, 3), div(0, 0)]);
    known(vec![x(0, 0), SQRT]);
    let empty = "bounds 1..=0 are empty";
    for (nodes, because) in [
        (vec![x(1, 0)], empty),
        (vec![x(0, 1), x(1, 3), div(1, 0)], empty),
        (vec![x(0, 1), requant(1, 0, 1, 0)], "bounds 1..=0"),
        (vec![x(0, 1), requant(0, 0, 0, 1)], "multiplier 0"),
        (vec![x(0, 1), requant(-1, 0, 0, 1)], "multiplier -1"),
        (vec![x(0, 0), requant(1, 41, 0, 0)], "shift 41"),
        (vec![x(0, 1), affine(&[], 0)], "no terms"),
        (
            vec![x(0, 1), affine(&[&long[..], &[(0, 0)]].concat(), 0)],
            "too many terms",
        ),
        (vec![x(0, 1), affine(&[(1, 1)], 0)], "reads tensor 1"),
        (vec![x(0, 1), affine(&[(2, 1)], 0)], "reads tensor 2"),
        (vec![x(-3, 2), LOOKUP], "is in -3..=2"),
        (vec![x(-2, 3), LOOKUP], "covers -2..=2"),
        (
            vec![x(0, 1), Op::Lookup { input: 0, table: 1 }],
            "there is no table 1",
        ),
        (vec![x(0, 1), max(&[0])], "it has 1 operands"),
        (vec![x(0, 1), max(&[0; 5])], "it has 5 operands"),
        (vec![x(0, 1), x(0, 3), div(0, 9)], "must be positive"),
        (vec![x(-1, 1), SQRT], "must not be negative"),
        (vec![x(0, 1), x(0, 1), select(1)], "no dimension 1"),
        // The message names the operation.
        (vec![x(0, 1), x(0, 1), select(1)], "(\"Select\")"),
    ] {
        refuse(nodes, because);
    }
    for node in [
        affine(&[(0, 1), (1, 1)], 0),
        max(&[0, 1]),
        div(0, 9),
        einsum("i", "i", "i"),
    ] {
        let because = if matches!(node, Op::Einsum { .. }) {
            "has two sizes"
        } else {
            "have shapes [2] and [3]"
        };
        refuse(vec![x(1, 2), input(&[3], 1, 2), node], because);
    }
}

#[test]
fn labels_name_dimensions_of_the_operands() {
    let nodes = |node| vec![input(&[2, 3], 0, 1), input(&[3, 5], 0, 1), node];
    assert_eq!(known(nodes(einsum("ij", "jk", "ki"))), (vec![5, 2], 0, 3));
    for (node, because) in [
        (einsum("i", "jk", "k"), "do not fit the shape [2, 3]"),
        (einsum("ij", "jkl", "ik"), "do not fit the shape [3, 5]"),
        (einsum("ii", "jk", "i"), "do not fit the shape [2, 3]"),
        (einsum("ij", "ik", "jk"), "has two sizes"),
        (einsum("ij", "jk", "ikl"), "unknown or repeated"),
        (einsum("ij", "jk", "iki"), "unknown or repeated"),
        (einsum("ij", "jk", "i"), "not in both operands"),
        (einsum("ij", "jk", "k"), "not in both operands"),
    ] {
        refuse(nodes(node), because);
    }
}

#[test]
fn a_rewiring_reads_every_dimension_once() {
    let of = |factors| vec![input(&[2, 3], 0, 1), wire(factors)];
    let keep = |dim| Factor::Keep { dim };
    let ones = |n| (0..n).map(|_| Factor::Repeat { size: 1 });
    let with_ones = |n| [keep(0), keep(1)].into_iter().chain(ones(n)).collect();
    assert_eq!(known(of(vec![keep(1), keep(0)])), (vec![3, 2], 0, 1));
    assert_eq!(known(of(with_ones(6))).0.len(), MAX_RANK);
    for (factors, because) in [
        (vec![keep(0)], "no factor reads dimension 1"),
        (vec![keep(0), keep(1), keep(0)], "dimension 0 is absent or"),
        (
            vec![keep(0), keep(2)],
            "reads a dimension that its input has not",
        ),
        (with_ones(7), "more than 8 output dimensions"),
    ] {
        refuse(of(factors), because);
    }
}

#[test]
fn shapes_have_limits() {
    known(vec![input(&[1; MAX_RANK], 0, 1)]);
    refuse(vec![input(&[1; MAX_RANK + 1], 0, 1)], "dimension");
    refuse(vec![input(&[2, 0], 0, 1)], "empty dimension");
    // Tensors that are neither committed nor public may be larger.
    let repeat = |log: u32| {
        wire(vec![Factor::Repeat { size: 1 << 14 }, {
            let size = 1 << (log - 14);
            Factor::Repeat { size }
        }])
    };
    let first = Op::Wire {
        input: 1,
        factors: vec![strided(1, 0, 1), {
            let mut second = strided(1, 0, 1);
            if let Factor::Strided { dim, .. } = &mut second {
                *dim = 1;
            }
            second
        }],
    };
    let scalar = || input(&[], 0, 1);
    known(vec![scalar(), repeat(26)]);
    known(vec![scalar(), repeat(28), first.clone()]);
    let committed = Op::Requant {
        input: 1,
        multiplier: 1,
        shift: 0,
        lo: 0,
        hi: 1,
    };
    let many = |log: u32| format!("{} elements in one tensor", 1u64 << log);
    refuse(vec![scalar(), repeat(27)], &many(27));
    refuse(vec![scalar(), repeat(29), first], &many(29));
    refuse(vec![scalar(), repeat(27), committed], &many(27));
}

#[test]
fn lists_have_limits() {
    let one = || input(&[1], 0, 1);
    let nodes = |n| Program {
        nodes: vec![one(); n],
        ..Program::default()
    };
    let table = |lo, n| Table {
        lo,
        values: vec![0; n],
    };
    let tables = |tables| Program { tables, ..nodes(1) };
    assert!(validate(&nodes(MAX_NODES)).is_ok());
    refused(&nodes(MAX_NODES + 1), "16385 nodes");
    assert!(validate(&tables(vec![table(0, 1); MAX_NODES])).is_ok());
    refused(&tables(vec![table(0, 1); MAX_NODES + 1]), "16385 tables");
    for lo in [1 - LIMIT, LIMIT - 1] {
        assert!(validate(&tables(vec![table(lo, MAX_TABLE)])).is_ok());
    }
    for bad in [
        table(0, 0),
        table(0, MAX_TABLE + 1),
        table(LIMIT, 1),
        table(-LIMIT, 1),
    ] {
        refused(&tables(vec![bad]), "1 to 65536 are supported");
    }
    let outputs = |outputs: &[TensorId]| Program {
        nodes: vec![one(), affine(&[(0, 1)], 0), affine(&[(0, 1)], 1)],
        outputs: outputs.to_vec(),
        ..Program::default()
    };
    assert!(validate(&outputs(&[2, 1])).is_ok());
    refused(&outputs(&[2; MAX_NODES + 1]), "16385 outputs");
    refused(&outputs(&[1, 1]), "named twice");
    refused(&outputs(&[3]), "no such tensor");
    refused(&outputs(&[0]), "an input or a weight");
}

#[test]
fn entries_are_allowed_by_what_the_key_lists() {
    let limit = |values: u64| (FREE_ENTRIES + ENTRIES_PER_VALUE * values) as usize;
    let one = || input(&[1], 0, 1);
    let slice = |size| wire(vec![strided(size, -1, 1)]);
    assert_eq!(limit(1), 65_552);
    known(vec![one(), slice(limit(1))]);
    refuse(vec![one(), slice(limit(1) + 1)], "entries up to node 1");
    // Repeating costs none; what a factor lists allows for more.
    let repeats = vec![Factor::Keep { dim: 0 }, Factor::Repeat { size: 1 << 17 }];
    known(vec![one(), wire(repeats)]);
    let n = 70_000;
    let gather = Factor::Gather {
        dim: 0,
        indices: vec![-1; n],
    };
    known(vec![one(), wire(vec![gather])]);
    let matrix = Factor::Matrix {
        dims: vec![0],
        sizes: vec![n],
        entries: (0..n as u32).map(|o| (o, 0, 1)).collect(),
    };
    known(vec![one(), wire(vec![matrix])]);
    // Ids that are used many times.
    let ids = 1 << 16;
    let selects = |n| {
        let nodes = [one(), input(&[ids], 0, 0)];
        nodes.into_iter().chain(vec![select(0); n]).collect()
    };
    let most = limit(1 + ids as u64) / ids;
    known(selects(most));
    refuse(selects(most + 1), "entries up to node");
    known(vec![one(), input(&[MAX_FACTOR_ENTRIES], 0, 0), select(0)]);
    let many = input(&[MAX_FACTOR_ENTRIES + 1], 0, 0);
    refuse(
        vec![one(), many, select(0)],
        "at most 8388608 are supported",
    );
    let long = input(&[1 << 21], 0, 1);
    let slice = slice(MAX_FACTOR_ENTRIES + 1);
    refuse(vec![long, slice], "more than 8388608 entries");
}
