//! Claims about tensors and columns that the protocol collects on its way.

use crate::commit::EF;
use crate::program::TensorId;

/// Most open claims about one polynomial. Real programs have a handful; without
/// a limit a hostile key could make their number grow exponentially.
pub const MAX_CLAIMS: usize = 1024;

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
}

impl Claims {
    /// No claims yet.
    pub fn new(tensors: usize, columns: usize) -> Self {
        Self {
            tensors: vec![vec![]; tensors],
            columns: vec![vec![]; columns],
        }
    }

    /// Adds a claim about a tensor; two claims at the same point must agree.
    pub fn tensor(&mut self, t: TensorId, point: &[EF], value: EF) -> Result<(), String> {
        add(&mut self.tensors[t as usize], point, value)
    }

    /// Adds a claim about a column; two claims at the same point must agree.
    pub fn column(&mut self, c: usize, point: &[EF], value: EF) -> Result<(), String> {
        add(&mut self.columns[c], point, value)
    }
}

fn add(list: &mut Vec<Claim>, point: &[EF], value: EF) -> Result<(), String> {
    match list.iter().find(|c| c.point == point) {
        Some(c) if c.value == value => Ok(()),
        Some(_) => Err("two claims about one value differ".into()),
        None if list.len() >= MAX_CLAIMS => {
            Err(format!("a value has more than {MAX_CLAIMS} claims"))
        }
        None => {
            list.push(Claim {
                point: point.to_vec(),
                value,
            });
            Ok(())
        }
    }
}
