//! What is committed to and looked up for one node of each sort: the columns with the ranges
//! that are proven of them, and where everything lies.

use dsperse_sumcheck_verifier::commit::MIN_STACK;
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::layout::{FUNCTION_TAG, Layout, LayoutError, Source, WeightRanges};
use dsperse_sumcheck_verifier::program::*;
use dsperse_sumcheck_verifier::validate::{padded_len, validate};

const LIMB_BITS: u32 = 4;

fn input(elements: usize, lo: i64, hi: i64) -> Op {
    let shape = vec![elements];
    Op::Input { shape, lo, hi }
}

/// The layout of some inputs and a node, which stays committed.
fn layout_of(mut nodes: Vec<Op>) -> Result<Layout, LayoutError> {
    let last = nodes.len() as TensorId - 1;
    nodes.push(Op::Affine {
        terms: vec![(last, 1)],
        constant: 0,
    });
    let values = vec![3, -9, 1, 1, 2];
    let program = Program {
        nodes,
        tables: vec![Table { lo: -2, values }; 2],
        outputs: vec![last + 1],
    };
    let checked = validate(&program).expect("valid");
    Layout::new(&program, &checked, LIMB_BITS, WeightRanges::Proof)
}

/// The node's columns: what they hold, what is subtracted and shifted out, and their greatest
/// proven value; then the tags of its lookups.
type Columns = (Vec<(Source, i128, u32, i128)>, Vec<u64>);

fn columns(nodes: Vec<Op>) -> Columns {
    let node = nodes.len() as TensorId - 1;
    let layout = layout_of(nodes).expect("has a layout");
    let own = layout.columns.iter().filter(|c| {
        let counts = matches!(c.source, Source::Multiplicity(_));
        c.node == node && !counts
    });
    let columns = own.map(|c| {
        // A limb's range is that of its width.
        if let Some(width) = c.width {
            assert_eq!(c.bound, (1 << width) - 1);
        }
        (c.source, c.lo, c.shift, c.bound)
    });
    let tags = layout.lookups.iter().map(|l| l.tag);
    (columns.collect(), tags.collect())
}

#[test]
fn columns_hold_what_the_equations_need() {
    let x = |lo, hi| input(1, lo, hi);
    let requant = |multiplier, shift, lo, hi| Op::Requant {
        input: 0,
        multiplier,
        shift,
        lo,
        hi,
    };
    let weight = |lo, hi| Op::Weight {
        shape: vec![1],
        lo,
        hi,
    };
    let div = |lo, hi| {
        let (num, den) = (0, 1);
        Op::Div { num, den, lo, hi }
    };
    let max = |n: TensorId| Op::Max {
        inputs: (0..n).collect(),
    };
    use Source::*;
    let columns_of = |nodes: Vec<Op>, want: &[(Source, i128, u32, i128)], tags: &[u64]| {
        let text = format!("{nodes:?}");
        assert_eq!(columns(nodes), (want.to_vec(), tags.to_vec()), "{text}");
    };
    columns_of(vec![weight(-8, 7)], &[(Value, -8, 0, 15)], &[4]);
    columns_of(
        vec![weight(-8, 8)],
        &[
            (Value, -8, 0, 15),
            (Value, -8, 4, 1),
            (HighSlack, 0, 0, 15),
            (HighSlack, 0, 4, 1),
        ],
        &[4, 1, 4, 1],
    );
    // 160 values are no power of two; 5 in one limb are shown from above by a lookup alone.
    columns_of(
        vec![weight(-80, 79)],
        &[
            (Value, -80, 0, 15),
            (Value, -80, 4, 15),
            (HighSlack, 0, 0, 15),
            (HighSlack, 0, 4, 15),
        ],
        &[4, 4, 4, 4],
    );
    columns_of(vec![weight(-2, 2)], &[(Value, -2, 0, 7)], &[3, 3]);
    let value = (Value, -8, 0, 15);
    // Exactly what the limits admit, what rounding drops, and values beyond either limit.
    columns_of(vec![x(-8, 7), requant(1, 0, -8, 7)], &[value], &[4]);
    let remainder = (Remainder, 0, 0, 3);
    columns_of(
        vec![x(-8, 7), requant(1, 2, -8, 7)],
        &[value, remainder],
        &[4, 2],
    );
    columns_of(
        vec![x(-60, 7), requant(1, 2, -8, 7)],
        &[value, remainder, (Excess, 0, 0, 7)],
        &[4, 2, 3],
    );
    columns_of(
        vec![x(-8, 70), requant(1, 2, -8, 7)],
        &[value, remainder, (Excess, 0, 0, 15)],
        &[4, 2, 4],
    );
    columns_of(
        vec![x(-61, 70), requant(3, 6, -2, 2)],
        &[
            (Value, -2, 0, 7),
            (Remainder, 0, 0, 15),
            (Remainder, 0, 4, 3),
            (Excess, 0, 0, 1),
        ],
        &[3, 3, 4, 2, 1],
    );
    columns_of(vec![x(-61, 70), requant(1, 0, 5, 5)], &[], &[]);
    for table in [0, 1] {
        let lookup = Op::Lookup { input: 0, table };
        let tag = FUNCTION_TAG + u64::from(table);
        columns_of(vec![x(-2, 2), lookup], &[(Value, 0, 0, 9)], &[tag]);
    }
    columns_of(
        vec![x(-2, 2), x(0, 5), max(2)],
        &[(Value, 0, 0, 5)],
        &[3, 3],
    );
    columns_of(
        vec![x(-8, 7), x(-8, 7), x(0, 8), max(3)],
        &[
            (Value, 0, 0, 8),
            (Gap(0), 0, 0, 15),
            (Gap(0), 0, 4, 1),
            (Gap(1), 0, 0, 15),
            (Gap(1), 0, 4, 1),
        ],
        &[4, 1, 4, 1, 4],
    );
    // The first is never less than the second: its gap is zero.
    columns_of(vec![x(7, 7), x(0, 7), max(2)], &[(Value, 0, 0, 7)], &[3]);
    columns_of(
        vec![x(-8, 7), x(1, 4), div(-8, 7)],
        &[value, (DivRemainder, 0, 0, 7)],
        &[4, 3, 3],
    );
    columns_of(
        vec![x(-8, 7), x(1, 9), div(-8, 7)],
        &[
            value,
            (DivRemainder, 0, 0, 15),
            (DivRemainder, 0, 4, 1),
            (DivSlack, 0, 0, 15),
            (DivSlack, 0, 4, 1),
        ],
        &[4, 4, 1, 4, 1],
    );
    let sqrt = || Op::Sqrt { input: 0 };
    columns_of(
        vec![x(0, 63), sqrt()],
        &[(Value, 0, 0, 7), (SqrtRemainder, 0, 0, 15)],
        &[3, 4, 4],
    );
    columns_of(
        vec![x(0, 64), sqrt()],
        &[
            (Value, 0, 0, 15),
            (SqrtRemainder, 0, 0, 15),
            (SqrtRemainder, 0, 4, 1),
            (SqrtSlack, 0, 0, 15),
            (SqrtSlack, 0, 4, 1),
        ],
        &[4, 4, 1, 4, 1],
    );
}

/// Blocks of these offsets and lengths lie side by side from 0 on, each aligned to its length;
/// where they end.
fn end_of(mut blocks: Vec<(usize, usize)>) -> usize {
    blocks.sort_unstable();
    blocks.iter().fold(0, |end, &(offset, len)| {
        assert_eq!((offset, offset % len), (end, 0), "{blocks:?}");
        end + len
    })
}

fn log2(n: usize) -> usize {
    n.next_power_of_two().trailing_zeros() as usize
}

#[test]
fn blocks_lie_side_by_side() {
    let keys: [&[u8]; 3] = [
        include_bytes!("fixture/v2/key.bin"),
        include_bytes!("fixture/v2-rewirings/key.bin"),
        include_bytes!("fixture/v3/key.bin"),
    ];
    for key in keys {
        let layout = VerifyingKey::from_bytes(key).expect("a key").layout;
        let stack = |is_weight| {
            let columns = layout.columns.iter().filter(|c| c.is_weight == is_weight);
            let end = end_of(columns.map(|c| (c.offset, padded_len(&c.shape))).collect());
            log2(end).max(MIN_STACK)
        };
        assert_eq!(layout.activation_vars, stack(false));
        assert_eq!(layout.weight_vars, Some(stack(true)));
        let lookups = layout.lookups.iter();
        let lookups = lookups.map(|l| (l.offset, padded_len(&l.shape)));
        let tables = layout.tables.iter().map(|t| (t.offset, 1 << t.vars));
        assert_eq!(layout.leaves, end_of(lookups.chain(tables).collect()));
        assert_eq!(layout.leaf_vars, log2(layout.leaves));
    }
}

#[test]
fn stacks_have_a_greatest_size() {
    let of = |log: u32| {
        let requant = Op::Requant {
            input: 0,
            multiplier: 1,
            shift: 0,
            lo: 0,
            hi: 15,
        };
        layout_of(vec![input(1 << log, 0, 15), requant])
    };
    // One column, and as many multiplicities as a limb has values.
    let largest = of(25).expect("fits");
    assert_eq!((largest.activation_vars, largest.weight_vars), (26, None));
    let too_many = Err(LayoutError::TooMany((1 << 26) + 16));
    assert_eq!(of(26).map(|l| l.columns.len()), too_many);
}

/// Where the operands can have one value only, nothing is left to be shown.
#[test]
fn a_root_of_zero_has_no_equations() {
    let zero = Op::Requant {
        input: 0,
        multiplier: 1,
        shift: 0,
        lo: 0,
        hi: 0,
    };
    let layout = layout_of(vec![input(1, -3, 3), zero, Op::Sqrt { input: 1 }]);
    let layout = layout.expect("has a layout");
    assert_eq!((layout.gadgets.len(), layout.columns.len()), (0, 0));
}

#[test]
fn limbs_have_four_to_sixteen_bits() {
    let program = Program::default();
    let checked = validate(&program).expect("valid");
    let with = |bits| Layout::new(&program, &checked, bits, WeightRanges::Proof).err();
    for (bits, refused) in [(3, true), (4, false), (16, false), (17, true)] {
        assert_eq!(with(bits), refused.then_some(LayoutError::Limbs(bits)));
    }
}
