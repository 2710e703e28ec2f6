//! How much memory a proof will take, from the sizes of the program alone.
//!
//! The estimate follows [`crate::prove`] step by step and counts what is alive in each: its
//! constants are the sizes of what is stored, not fitted figures. Whoever changes what is kept
//! where changes it here; `tests/memory.rs` holds it against the truth.

use dsperse_sumcheck_verifier::commit::{EF, F, first_fold};
use dsperse_sumcheck_verifier::hash::DIGEST_BYTES;
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::layout::{Atom, Column, WeightRanges};
use dsperse_sumcheck_verifier::mle::num_vars;
use std::collections::BTreeSet;

use crate::witness::is_read;

const INTEGER: usize = size_of::<i64>();
const BASE: usize = size_of::<F>();
const EXT: usize = size_of::<EF>();

/// What steps of a job take at most, in bytes, besides the program itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Committing to the weights, from the program and its weights, and proving their ranges if
    /// the key shows them.
    pub compile: u64,
    /// A proving key that is kept.
    pub key: u64,
    /// Evaluating the program.
    pub evaluate: u64,
    /// One proof by a key that is not kept.
    pub prove: u64,
}

/// A commitment with what opens it: the table twice, its codeword, and the tree over the
/// codeword's rows.
fn committed(vars: usize, rate: u8) -> usize {
    let rows = 1 << (vars + usize::from(rate) - first_fold(vars));
    let codeword = BASE << (vars + usize::from(rate));
    2 * (BASE << vars) + codeword + 2 * DIGEST_BYTES * rows
}

/// What a program's proof takes.
pub fn memory(key: &VerifyingKey) -> Memory {
    let layout = &key.layout;
    let shapes = &key.checked.shapes;
    let elements = |shape: &[usize]| shape.iter().product::<usize>();
    let padded = |shape: &[usize]| 1usize << num_vars(shape);
    let sizes = |ids: &[u32]| -> usize { ids.iter().map(|&i| elements(&shapes[i as usize])).sum() };
    let columns = |want: &dyn Fn(&Column) -> bool| -> usize {
        let wanted = layout.columns.iter().filter(|c| want(c));
        wanted.map(|c| elements(&c.shape)).sum()
    };
    let tensors: usize = shapes.iter().map(|s| elements(s)).sum();
    let weights = sizes(&key.program.weights());

    let integers = INTEGER * weights;
    let weight_stack = layout.weight_vars.map_or(0, |v| BASE << v);
    let weight_data = layout
        .weight_vars
        .map_or(0, |v| committed(v, key.parameters.weight_rate));
    let proving_key = integers + weight_data;
    let filling = integers + INTEGER * columns(&|c| c.is_weight) + weight_stack;
    // (K2) is a proof by a key that is there.
    let ranges = match key.parameters.ranges {
        WeightRanges::Key => key.of_weights().map_or(0, |k| {
            memory(&k).prove as usize + weight_data - weight_stack
        }),
        WeightRanges::Proof => 0,
    };

    // All tensors, weights among them, and where the largest of them reads its operands.
    let largest = shapes.iter().map(|s| elements(s)).max().unwrap_or(0);
    let evaluate = INTEGER * (tensors + 2 * largest);

    let data = committed(layout.activation_vars, key.parameters.activation_rate);
    let witness = INTEGER * (tensors + columns(&|c| is_read(key, c)));
    let open = integers + weight_stack + witness + data;
    let atoms: usize = layout
        .atoms
        .iter()
        .filter(|a| matches!(a, Atom::Tensor(_)))
        .map(|&a| BASE * padded(layout.shape(&key.checked, a)))
        .sum();
    // The layer above the leaves has half as many fractions of two elements; with it, at most
    // the layer above that.
    let lookups = 3 * EXT * layout.leaves / 2;
    // For each size one combined array; of every gadget's arrays half, once a variable is bound.
    let sums: BTreeSet<usize> = layout
        .lookup_atoms
        .iter()
        .map(|&a| padded(layout.shape(&key.checked, a)))
        .collect();
    let gadgets = layout.gadgets.iter().map(|g| {
        let forms = g
            .constraints
            .iter()
            .flat_map(|c| c.products.iter().flatten());
        let used: BTreeSet<Atom> = forms.flat_map(|l| l.terms.iter().map(|t| t.0)).collect();
        used.len() * padded(&g.shape) / 2
    });
    let equations = EXT * (sums.iter().sum::<usize>() + gadgets.sum::<usize>());
    // The witness is gone by then.
    let fold = |vars: usize| EXT << (vars - 1);
    let reduce = fold(layout.activation_vars).max(layout.weight_vars.map_or(0, fold));
    // At the end the weights are committed to.
    let after = (integers + weight_stack + data + reduce).max(integers + weight_data);
    let prove = filling
        .max(open + atoms + lookups.max(equations))
        .max(after);
    Memory {
        compile: filling.max(proving_key).max(ranges) as u64,
        key: proving_key as u64,
        evaluate: evaluate as u64,
        prove: prove as u64,
    }
}
