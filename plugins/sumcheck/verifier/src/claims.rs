//! Claims about tensors and columns that the protocol collects on its way.

use crate::commit::EF;
use crate::fault::ProofFault;
use crate::program::TensorId;

/// Most open claims about one polynomial. Real programs have a handful; without
/// a limit a hostile key could make their number grow exponentially.
pub const MAX_CLAIMS: usize = 1024;

/// Most entries of wires that are evaluated for one proof, each once for every claim about
/// the wire's result. The number of claims follows from the key, so this too bounds what a
/// hostile key can ask for.
pub const MAX_EVALUATED_ENTRIES: u64 = 1 << 27;

/// "This polynomial has this value at this point."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The point.
    pub point: Vec<EF>,
    /// The claimed value.
    pub value: EF,
}

/// All open claims. Prover and verifier add them in the same order.
#[derive(Default)]
pub struct Claims {
    /// For each tensor.
    pub tensors: Vec<Vec<Claim>>,
    /// For each column.
    pub columns: Vec<Vec<Claim>>,
    /// Entries of wires that were evaluated so far.
    evaluated: u64,
}

impl Claims {
    /// No claims yet.
    pub fn new(tensors: usize, columns: usize) -> Self {
        Self {
            tensors: vec![vec![]; tensors],
            columns: vec![vec![]; columns],
            evaluated: 0,
        }
    }

    /// Counts entries of wires that are about to be evaluated. Prover and verifier count the
    /// same, so a prover learns of it before anybody else does.
    ///
    /// # Errors
    /// When they are more than [`MAX_EVALUATED_ENTRIES`].
    pub fn evaluate_entries(&mut self, entries: u64) -> Result<(), ProofFault> {
        self.evaluated = self.evaluated.saturating_add(entries);
        if self.evaluated <= MAX_EVALUATED_ENTRIES {
            Ok(())
        } else {
            Err(ProofFault::TooManyEntries)
        }
    }

    /// Adds a claim about a tensor; two claims at the same point must agree.
    pub fn tensor(&mut self, t: TensorId, point: &[EF], value: EF) -> Result<(), ProofFault> {
        add(&mut self.tensors[t as usize], point, value)
    }

    /// Adds a claim about a column; two claims at the same point must agree.
    pub fn column(&mut self, c: usize, point: &[EF], value: EF) -> Result<(), ProofFault> {
        add(&mut self.columns[c], point, value)
    }
}

fn add(list: &mut Vec<Claim>, point: &[EF], value: EF) -> Result<(), ProofFault> {
    match list.iter().find(|c| c.point == point) {
        Some(c) if c.value == value => Ok(()),
        Some(_) => Err(ProofFault::TwoClaims),
        None if list.len() >= MAX_CLAIMS => Err(ProofFault::TooManyClaims),
        None => {
            list.push(Claim {
                point: point.to_vec(),
                value,
            });
            Ok(())
        }
    }
}
