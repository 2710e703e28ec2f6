//! Appends nodes to a program and knows their bounds.

use crate::array::Array;
use dsperse_sumcheck_verifier::program::{
    MAX_NODES, MAX_SHIFT, MAX_TABLE, Op, Program, Table, Tensor, TensorId,
};
use dsperse_sumcheck_verifier::validate::{Checked, check_next};

/// Greatest magnitude of a value that always counts as narrow.
const NARROW: i64 = 1 << 20;

/// A tensor of the program and what its integers stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity {
    pub(super) tensor: TensorId,
    pub(super) exponent: i32,
}

/// The program under construction.
#[derive(Debug, Default)]
pub(super) struct Builder {
    pub(super) program: Program,
    pub(super) checked: Checked,
    pub(super) weights: Vec<Tensor>,
    /// Whether the elements of weights are left out.
    pub(super) outline: bool,
}

/// `round_ties_even`, which is a call of a function where the processor may be any. The sum of
/// a number below `2^51` has no room for a fraction.
fn nearest(x: f64) -> f64 {
    const ROOM: f64 = 1.5 * (1u64 << 52) as f64;
    if x.abs() < (1u64 << 51) as f64 {
        (x + ROOM) - ROOM
    } else {
        x.round_ties_even()
    }
}

impl Builder {
    /// Appends a node; the error is the reason for which the program refuses it.
    pub(super) fn push(&mut self, op: Op) -> Result<TensorId, String> {
        if self.program.nodes.len() >= MAX_NODES {
            return Err(format!("the program has more than {MAX_NODES} nodes"));
        }
        let id = self.program.push(op);
        check_next(&self.program, &mut self.checked).map_err(|e| e.to_string())?;
        Ok(id)
    }

    pub(super) fn bounds(&self, tensor: TensorId) -> (i64, i64) {
        let b = self.checked.bounds[tensor as usize];
        (b.lo, b.hi)
    }

    pub(super) fn shape(&self, tensor: TensorId) -> &[usize] {
        &self.checked.shapes[tensor as usize]
    }

    pub(super) fn max_abs(&self, tensor: TensorId) -> i64 {
        let (lo, hi) = self.bounds(tensor);
        lo.abs().max(hi.abs())
    }

    /// Whether a value need not be rounded where activations have so many bits.
    pub(super) fn is_narrow(&self, tensor: TensorId, bits: u32) -> bool {
        self.max_abs(tensor) <= NARROW.max(1 << bits)
    }

    /// Appends a weight: `round(array / 2^exponent)`, with the least power-of-two bounds.
    pub(super) fn weight(&mut self, array: &Array, exponent: i32) -> Result<TensorId, String> {
        let scale = 2f64.powi(-exponent);
        let limit = 2f64.powi(52);
        let (mut least, mut greatest) = (0f64, 0f64);
        for &w in &array.data {
            let scaled = w * scale;
            if scaled.is_nan() || scaled.abs() >= limit {
                return Err(format!("the constant {w} does not fit its scale"));
            }
            (least, greatest) = (least.min(scaled), greatest.max(scaled));
        }
        // A power of two of values is cheapest to show.
        let mut half = 1i64;
        while nearest(least) < -half as f64 || nearest(greatest) >= half as f64 {
            half *= 2;
        }
        let data = match self.outline {
            true => vec![],
            false => {
                let scaled = array.data.iter().map(|&w| nearest(w * scale) as i64);
                scaled.collect()
            }
        };
        let id = self.push(Op::Weight {
            shape: array.shape.clone(),
            lo: -half,
            hi: half - 1,
        })?;
        self.weights.push(Tensor {
            shape: array.shape.clone(),
            data,
        });
        Ok(id)
    }

    /// Brings a value to an exponent, rounding half up and saturating at the limits;
    /// nothing is appended when it already is what is wanted.
    pub(super) fn round(
        &mut self,
        value: Quantity,
        exponent: i32,
        lo: i64,
        hi: i64,
    ) -> Result<Quantity, String> {
        let mut value = value;
        let mut down = exponent - value.exponent;
        let most = MAX_SHIFT.cast_signed();
        while down > most {
            // In two steps; the first loses only bits that are far below the result.
            let shift = most - 8;
            let (l, h) = self.bounds(value.tensor);
            let tensor = self.push(Op::Requant {
                input: value.tensor,
                multiplier: 1,
                shift: shift.cast_unsigned(),
                lo: (l >> shift) - 1,
                hi: (h >> shift) + 1,
            })?;
            value = Quantity {
                tensor,
                exponent: value.exponent + shift,
            };
            down -= shift;
        }
        let (l, h) = self.bounds(value.tensor);
        if down == 0 && lo <= l && h <= hi {
            return Ok(value);
        }
        let up = (-down).max(0).cast_unsigned();
        if up > 60 {
            return Err("its values are too coarse for its range".into());
        }
        let tensor = self.push(Op::Requant {
            input: value.tensor,
            multiplier: 1 << up,
            shift: down.max(0).cast_unsigned(),
            lo,
            hi,
        })?;
        Ok(Quantity { tensor, exponent })
    }

    /// Appends a lookup of a function given by its values at `lo`, `lo + 1`, …
    pub(super) fn look_up(
        &mut self,
        input: TensorId,
        lo: i64,
        values: Vec<i32>,
    ) -> Result<TensorId, String> {
        if values.len() > MAX_TABLE {
            return Err(format!("a table of {} entries is too large", values.len()));
        }
        let table = Table { lo, values };
        let known = self.program.tables.iter().position(|t| *t == table);
        let table = known.unwrap_or_else(|| {
            self.program.tables.push(table);
            self.program.tables.len() - 1
        });
        self.push(Op::Lookup {
            input,
            table: table as u32,
        })
    }

    /// `sum coefficient · term + constant`.
    pub(super) fn affine(
        &mut self,
        terms: Vec<(TensorId, i64)>,
        constant: i64,
    ) -> Result<TensorId, String> {
        if let ([(id, 1)], 0) = (terms.as_slice(), constant) {
            return Ok(*id);
        }
        self.push(Op::Affine { terms, constant })
    }
}
