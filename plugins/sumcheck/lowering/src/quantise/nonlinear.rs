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

/// Points on each side at which a function is tried for being flat.
const FLAT_POINTS: u32 = 24;
/// Change of a function, relative to its calibrated magnitude, that counts as none.
const FLAT: f64 = 1.0 / 65536.0;

impl Quantiser<'_> {
    /// Relu and Clip: a rounding whose saturation is the limit.
    pub(super) fn clamp(&mut self, id: Id, input: Id, lo: f64, hi: f64) -> Result<Quantity> {
        let value = match self.narrowed[input] {
            Some(narrow) => narrow,
            None => self.value(input)?,
        };
        if self.graph.nodes[id].integral && value.exponent == 0 {
            let (l, h) = self.b.bounds(value.tensor);
            return self.round(
                value,
                0,
                (lo.max(l as f64)) as i64,
                (hi.min(h as f64)) as i64,
            );
        }
        let bits = self.bits(id);
        let (least, most) = limits(bits);
        // These limits are the same integers at every scale.
        if self.precision.channels && hi.is_infinite() && (lo == 0.0 || lo.is_infinite()) {
            let wide = self.value(input)?;
            let lo = if lo == 0.0 { 0 } else { least };
            if let Some(out) = self.round_by_channel(id, wide, lo, most)? {
                return Ok(out);
            }
        }
        let mut exponent = exponent_for(self.ranges.max_abs(id), bits).max(value.exponent);
        if self.is_narrow(value.tensor) && self.b.max_abs(value.tensor) < 1 << (bits - 1) {
            // It fits as it is: do not round twice.
            exponent = value.exponent;
        }
        let at = |limit: f64| {
            let scaled = (limit * 2f64.powi(-exponent)).round_ties_even();
            (scaled.max(least as f64).min(most as f64)) as i64
        };
        self.round(value, exponent, at(lo), at(hi))
    }

    /// A chain of element-wise functions as one table.
    pub(super) fn table(&mut self, id: Id, source: Id) -> Result<Quantity> {
        let value = self.value(source)?;
        let bits = self.precision.table_bits();
        let reach = self.table_reach(id, source);
        let mut exponent = exponent_for(reach, bits).max(value.exponent);
        let (l, h) = self.b.bounds(value.tensor);
        let (lo, hi) = limits(bits);
        if lo <= l && h <= hi {
            exponent = value.exponent;
        }
        let rounded = self.round(value, exponent, lo, hi)?;
        let (lo, hi) = self.b.bounds(rounded.tensor);
        let points: Vec<f64> = (lo..=hi).map(|i| i as f64 * 2f64.powi(exponent)).collect();
        let (out, (least, most)) = if self.graph.nodes[id].integral {
            (0, limits(i32::BITS))
        } else {
            let bits = self.bits(id);
            (exponent_for(self.ranges.max_abs(id), bits), limits(bits))
        };
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

    /// The greatest magnitude that a table has to tell apart: that of its input, or less
    /// where the function does not change any more beyond (a sigmoid), or where clipping
    /// is wanted. What is beyond saturates.
    fn table_reach(&self, id: Id, source: Id) -> f64 {
        let most = self.ranges.max_abs(source);
        let clipped = if self.precision.clip {
            self.ranges.clipped(source)
        } else {
            most
        };
        let magnitude = self.ranges.max_abs(id);
        if magnitude <= 0.0 || !most.is_finite() {
            return clipped;
        }
        let mut reach = most;
        // Halve as long as the function is flat, to less than a rounding of its result,
        // between the halved limits and the greatest magnitudes that can come.
        for _ in 0..64 {
            let next = reach / 2.0;
            let beyond = (0..=FLAT_POINTS).map(|k| {
                let far = most * super::scale::HEADROOM;
                next * (far / next).powf(f64::from(k) / f64::from(FLAT_POINTS))
            });
            let points: Vec<f64> = beyond.flat_map(|x| [x, -x]).collect();
            let values = evaluate_chain(self.graph, source, id, &points);
            let flat = values
                .iter()
                .enumerate()
                .all(|(i, y)| (y - values[i % 2]).abs() <= magnitude * FLAT);
            if !flat {
                break;
            }
            reach = next;
        }
        reach.min(clipped)
    }

    /// Max-pooling: one dimension after the other, or all at once when a window has few
    /// elements. Elements outside read as the least value.
    pub(super) fn max_pool(&mut self, input: Id, windows: &[Window]) -> Result<Quantity> {
        let mut value = if self.judged[input] {
            self.value(input)?
        } else {
            self.narrow_channels(input)?
        };
        let mut channels = self.channels_of(value.tensor);
        if let Some(c) = &channels
            && windows.iter().any(|w| w.dim == c.axis)
        {
            (value, channels) = (self.narrow(input)?, None);
        }
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
        let tensor = raised.map_err(|e| self.refuse(e))?;
        if let Some(channels) = channels {
            self.channels.insert(tensor, channels);
        }
        Ok(Quantity {
            tensor,
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
