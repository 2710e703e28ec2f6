//! Limits, lookup tables and max-pooling.

use super::Quantiser;
use super::builder::Quantity;
use super::ir;
use super::plan::evaluate_chain;
use super::scale::{exponent_for, limits};
use crate::error::Result;
use crate::graph::{Id, Window};
use dsperse_sumcheck_verifier::program::{MAX_MAX_INPUTS, TensorId};
use dsperse_sumcheck_verifier::wire::Factor;

impl Quantiser<'_> {
    /// Relu and Clip: a rounding whose saturation is the limit.
    pub(super) fn clamp(&mut self, id: Id, input: Id, lo: f64, hi: f64) -> Result<Quantity> {
        let value = self.narrowed[input].unwrap_or(self.value(input)?);
        let bits = self.bits(id);
        let mut exponent = exponent_for(self.ranges.max_abs(id), bits).max(value.exponent);
        if self.b.is_narrow(value.tensor) && self.b.max_abs(value.tensor) < 1 << (bits - 1) {
            // It fits as it is: do not round twice.
            exponent = value.exponent;
        }
        let (least, most) = limits(bits);
        let at = |limit: f64| {
            let scaled = (limit * 2f64.powi(-exponent)).round_ties_even();
            (scaled.max(least as f64).min(most as f64)) as i64
        };
        self.round(value, exponent, at(lo), at(hi))
    }

    /// A chain of element-wise functions as one table.
    pub(super) fn table(&mut self, id: Id, source: Id) -> Result<Quantity> {
        let value = self.value(source)?;
        let bits = self.precision.activation_bits;
        let mut exponent = exponent_for(self.ranges.max_abs(source), bits).max(value.exponent);
        let (l, h) = self.b.bounds(value.tensor);
        let (lo, hi) = limits(bits);
        if lo <= l && h <= hi {
            exponent = value.exponent;
        }
        let rounded = self.round(value, exponent, lo, hi)?;
        let (lo, hi) = self.b.bounds(rounded.tensor);
        let points: Vec<f64> = (lo..=hi).map(|i| i as f64 * 2f64.powi(exponent)).collect();
        let out = exponent_for(self.ranges.max_abs(id), self.bits(id));
        let (least, most) = limits(self.bits(id));
        let values = evaluate_chain(self.graph, source, id, &points)
            .into_iter()
            .map(|y| {
                // Outside a function's domain (a root of a negative number) calibration
                // saw no value; NaN becomes 0, infinities saturate.
                let scaled = (y * 2f64.powi(-out)).round_ties_even();
                scaled.max(least as f64).min(most as f64) as i32
            })
            .collect();
        let tensor = self.b.look_up(rounded.tensor, lo, values);
        let tensor = tensor.map_err(|e| self.refuse(e))?;
        Ok(Quantity {
            tensor,
            exponent: out,
        })
    }

    /// Max-pooling: one dimension after the other, or all at once when a window has few
    /// elements. Elements outside read as the least value.
    pub(super) fn max_pool(&mut self, input: Id, windows: &[Window]) -> Result<Quantity> {
        let value = self.narrow(input)?;
        let (least, _) = self.b.bounds(value.tensor);
        let shape = self.graph.shape(input).to_vec();
        let outside = |w: &Window| {
            let last = (w.size - 1) * w.stride + (w.kernel - 1) * w.dilation;
            w.pad > 0 || last >= w.pad + shape[w.dim]
        };
        let shift = if windows.iter().any(outside) {
            least
        } else {
            0
        };
        let lowered = self.b.affine(vec![(value.tensor, 1)], -shift);
        let mut tensor = lowered.map_err(|e| self.refuse(e))?;
        let elements: usize = windows.iter().map(|w| w.kernel).product();
        let groups: Vec<&[Window]> = if elements <= MAX_MAX_INPUTS {
            vec![windows]
        } else {
            windows.chunks(1).collect()
        };
        for group in groups {
            tensor = self.window_max(tensor, group)?;
        }
        let raised = self.b.affine(vec![(tensor, 1)], shift);
        Ok(Quantity {
            tensor: raised.map_err(|e| self.refuse(e))?,
            exponent: value.exponent,
        })
    }

    /// Greatest element over the windows' offsets.
    fn window_max(&mut self, tensor: TensorId, windows: &[Window]) -> Result<TensorId> {
        let rank = self.b.shape(tensor).len();
        let mut choices = vec![Vec::new()];
        for w in windows {
            choices = choices
                .iter()
                .flat_map(|c: &Vec<usize>| {
                    (0..w.kernel).map(move |k| c.iter().copied().chain([k]).collect())
                })
                .collect();
        }
        let mut parts = Vec::new();
        for offsets in choices {
            let mut factors: Vec<Factor> = (0..rank).map(|dim| Factor::Keep { dim }).collect();
            for (w, k) in windows.iter().zip(offsets) {
                factors[w.dim] = Factor::Strided {
                    dim: w.dim,
                    size: w.size,
                    start: (k * w.dilation) as i64 - w.pad as i64,
                    step: w.stride as i64,
                };
            }
            parts.push(self.push(ir::Op::Wire {
                input: tensor,
                factors,
            })?);
        }
        self.greatest(parts)
    }

    /// A tree of maxima.
    pub(super) fn greatest(&mut self, mut parts: Vec<TensorId>) -> Result<TensorId> {
        while parts.len() > 1 {
            let mut next = Vec::new();
            for group in parts.chunks(MAX_MAX_INPUTS) {
                next.push(match group {
                    [single] => *single,
                    several => self.push(ir::Op::Max {
                        inputs: several.to_vec(),
                    })?,
                });
            }
            parts = next;
        }
        parts
            .pop()
            .ok_or_else(|| self.refuse("it takes the maximum of nothing"))
    }
}
