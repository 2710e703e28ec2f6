//! Scales of their own for channels.
//!
//! A layer may have channels that differ in size by orders of magnitude: one weight column
//! of 300 beside columns of 0.01, or depthwise filters whose spread the next layer undoes.
//! One exponent for the whole tensor then rounds the small channels to nothing. Here each
//! channel `c` of a rounded tensor stands for `integer · 2^(exponent + shift[c])`.
//!
//! All of it is exact and costs nothing that is committed for each element: a value is
//! *stretched* (multiplied by a constant power of two along one dimension, which is a
//! virtual product with one small weight) so that a single shift rounds every channel at
//! its own place; a layer with constant weights takes the shifts of its input into its
//! weights. Whoever can't read such a tensor asks for [`Quantiser::plain`], which stretches
//! it back. After Jacob et al. (2018), per-channel weights, and Nagel et al. (2019),
//! equalisation across layers.

use super::Quantiser;
use super::builder::Quantity;
use super::scale::{HEADROOM, exponent_for, limits};
use crate::array::Array;
use crate::error::Result;
use crate::graph::Id;
use dsperse_sumcheck_evaluator::strides;
use dsperse_sumcheck_verifier::program::TensorId;
use dsperse_sumcheck_verifier::wire::Factor;
use std::rc::Rc;

/// Most bits by which channels of one tensor may differ.
const MOST_SHIFT: i32 = 24;
/// Bits that a channel must win on average for the trouble to be worth it.
const LEAST_GAIN: f64 = 1.0;
/// Most channels that get scales of their own.
const MOST_CHANNELS: usize = 1 << 16;
/// Stretched values stay below `2^ROOM`.
const ROOM: i32 = 60;

/// Channel `c` along `axis` stands for `integer · 2^(exponent + shifts[c])`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Channels {
    pub(super) axis: usize,
    pub(super) shifts: Vec<i32>,
}

/// How a rounding gives each channel its own place.
struct Stretch {
    axis: usize,
    /// Bits by which each channel is finer than the coarsest.
    up: Vec<i32>,
    /// The exponent of the coarsest channel.
    coarsest: i32,
}

impl Quantiser<'_> {
    /// The channels of a tensor, where it has scales of its own for them.
    pub(super) fn channels_of(&self, tensor: TensorId) -> Option<Rc<Channels>> {
        self.channels.get(&tensor).cloned()
    }

    /// The same values with one exponent for all channels; exact.
    pub(super) fn plain(&mut self, value: Quantity) -> Result<Quantity> {
        let Some(channels) = self.channels_of(value.tensor) else {
            return Ok(value);
        };
        if let Some(known) = self.plain_of.get(&value.tensor) {
            return Ok(*known);
        }
        let tensor = self.stretch(value.tensor, channels.axis, &channels.shifts)?;
        let plain = Quantity {
            tensor,
            exponent: value.exponent,
        };
        self.plain_of.insert(value.tensor, plain);
        Ok(plain)
    }

    /// The operand rounded to an activation, for a reader that knows of channels.
    pub(super) fn narrow_channels(&mut self, id: Id) -> Result<Quantity> {
        let raw = self.raw(id)?;
        if !self.precision.channels || self.is_narrow(raw.tensor) {
            return if self.channels.contains_key(&raw.tensor) {
                Ok(raw)
            } else {
                self.narrow(id)
            };
        }
        if let Some(done) = self.narrowed_channels[id] {
            return Ok(done);
        }
        let value = self.plain(raw)?;
        let bits = self.bits(id);
        let (lo, hi) = limits(bits);
        let out = match self.stretch_for(id, value, bits) {
            Some(stretch) => self.round_channels(value, &stretch, lo, hi)?,
            None => self.narrow(id)?,
        };
        self.narrowed_channels[id] = Some(out);
        Ok(out)
    }

    /// Rounds a value between limits that hold for every channel's integers; `None` where
    /// scales of their own would not help its channels.
    pub(super) fn round_by_channel(
        &mut self,
        id: Id,
        value: Quantity,
        lo: i64,
        hi: i64,
    ) -> Result<Option<Quantity>> {
        let stretch = self.stretch_for(id, value, self.bits(id));
        stretch
            .map(|s| self.round_channels(value, &s, lo, hi))
            .transpose()
    }

    fn round_channels(
        &mut self,
        value: Quantity,
        stretch: &Stretch,
        lo: i64,
        hi: i64,
    ) -> Result<Quantity> {
        let stretched = Quantity {
            tensor: self.stretch(value.tensor, stretch.axis, &stretch.up)?,
            exponent: value.exponent,
        };
        let rounded = self.round(stretched, stretch.coarsest, lo, hi)?;
        let most = stretch.up.iter().copied().max().unwrap_or(0);
        let channels = Channels {
            axis: stretch.axis,
            shifts: stretch.up.iter().map(|u| most - u).collect(),
        };
        self.channels.insert(rounded.tensor, Rc::new(channels));
        Ok(Quantity {
            tensor: rounded.tensor,
            exponent: stretch.coarsest - most,
        })
    }

    /// The dimension along which channels win most from scales of their own.
    fn stretch_for(&self, id: Id, value: Quantity, bits: u32) -> Option<Stretch> {
        if !self.precision.channels {
            return None;
        }
        let coarsest = exponent_for(self.ranges.max_abs(id), bits);
        let magnitude = self.b.max_abs(value.tensor).max(1);
        let room = ROOM - (64 - magnitude.leading_zeros().cast_signed());
        let most = room.min(coarsest - value.exponent).min(MOST_SHIFT);
        if most <= 0 {
            return None;
        }
        let axes = self.ranges.by_axis(id)?.iter().enumerate();
        let stretches = axes.map(|(axis, ranges)| {
            let finer = |r: f64| (coarsest - exponent_for(r, bits)).clamp(0, most);
            // A channel that calibration never saw keeps the common scale.
            let up = ranges.iter().map(|&r| if r > 0.0 { finer(r) } else { 0 });
            Stretch {
                axis,
                up: up.collect(),
                coarsest,
            }
        });
        best(stretches, |s| &s.up)
    }

    /// Multiplies each channel by a power of two; virtual.
    pub(super) fn stretch(
        &mut self,
        tensor: TensorId,
        axis: usize,
        up: &[i32],
    ) -> Result<TensorId> {
        if up.iter().all(|&u| u == 0) {
            return Ok(tensor);
        }
        self.times_along(tensor, axis, up.iter().map(|&u| 2f64.powi(u)).collect())
    }

    /// The channels of a wired tensor; `None` when they are spread over several dimensions,
    /// or summed.
    pub(super) fn wired(
        &self,
        channels: &Channels,
        shape: &[usize],
        factors: &[Factor],
    ) -> Option<Channels> {
        let mut at = 0;
        for factor in factors {
            let dims = factor.input_dims();
            let sizes: Vec<usize> = dims.iter().map(|&d| shape[d]).collect();
            let out = factor.output_sizes(&sizes).ok()?;
            let Some(position) = dims.iter().position(|&d| d == channels.axis) else {
                at += out.len();
                continue;
            };
            return match factor {
                Factor::Keep { .. } => Some(Channels {
                    axis: at,
                    shifts: channels.shifts.clone(),
                }),
                Factor::Reshape { .. } => {
                    let wide: Vec<usize> = (0..out.len()).filter(|&i| out[i] > 1).collect();
                    let [only] = wide.as_slice() else { return None };
                    let within: usize = sizes[position + 1..].iter().product();
                    let of = |i: usize| channels.shifts[i / within % channels.shifts.len()];
                    (out[*only] <= MOST_CHANNELS).then(|| Channels {
                        axis: at + only,
                        shifts: (0..out[*only]).map(of).collect(),
                    })
                }
                _ => None,
            };
        }
        None
    }

    /// Takes the shifts of an operand's channels into the weight that it is multiplied
    /// with; `None` when the weight does not have that dimension.
    pub(super) fn absorbed(
        channels: &Channels,
        labels: &[u8],
        weight: &Array,
        weight_labels: &[u8],
    ) -> Option<Array> {
        let label = labels[channels.axis];
        let axis = weight_labels.iter().position(|&l| l == label)?;
        let mut weight = weight.clone();
        scale_along(&mut weight, axis, &channels.shifts, 1);
        Some(weight)
    }

    /// Scales of their own for the output channels of a weight: the dimension of the result
    /// and, for each channel, the bits by which its weights are stored coarser than at
    /// `exponent`. The result has to be stretched by them.
    pub(super) fn weight_channels(
        &self,
        weight: &Array,
        weight_labels: &[u8],
        out_labels: &[u8],
        other_bits: i32,
    ) -> Option<(usize, usize, Vec<i32>, i32)> {
        if !self.precision.channels {
            return None;
        }
        let bits = self.precision.weight_bits;
        let fit = |m: f64| exponent_for(m / HEADROOM, bits);
        let kept = weight_labels.iter().filter(|l| out_labels.contains(l));
        let summed: usize = weight_labels
            .iter()
            .zip(&weight.shape)
            .filter(|(l, _)| !out_labels.contains(l))
            .map(|(_, s)| *s)
            .product();
        let sum_bits = (usize::BITS - summed.leading_zeros()).cast_signed();
        let room = ROOM - 1 - other_bits - bits.cast_signed() - sum_bits;
        let most = room.min(MOST_SHIFT);
        if most <= 0 {
            return None;
        }
        let of_label = |&label: &u8| {
            let axis = weight_labels.iter().position(|&l| l == label)?;
            let out_axis = out_labels.iter().position(|&l| l == label)?;
            let ranges = axis_ranges(weight, axis);
            let coarsest = fit(weight.max_abs());
            let down = |r: f64| (coarsest - fit(r)).clamp(0, most);
            let down: Vec<i32> = ranges
                .iter()
                .map(|&r| if r > 0.0 { down(r) } else { 0 })
                .collect();
            Some((axis, out_axis, down, coarsest))
        };
        let (axis, out_axis, down, coarsest) = best(kept.filter_map(of_label), |c| &c.2)?;
        let finest = down.iter().copied().max().unwrap_or(0);
        let up = down.iter().map(|d| finest - d).collect();
        Some((axis, out_axis, up, coarsest - finest))
    }
}

/// The choice whose channels win most bits on average, if that is worth it.
fn best<T>(choices: impl Iterator<Item = T>, gains: impl Fn(&T) -> &Vec<i32>) -> Option<T> {
    let gain = |choice: &T| {
        let gains = gains(choice);
        gains.iter().map(|&g| f64::from(g)).sum::<f64>() / gains.len().max(1) as f64
    };
    choices
        .map(|c| (gain(&c), c))
        .filter(|(g, c)| *g >= LEAST_GAIN && gains(c).len() <= MOST_CHANNELS)
        // The first of equals, so that the choice does not hang on anything else.
        .fold(None, |best: Option<(f64, T)>, (g, c)| match best {
            Some(b) if b.0 >= g => Some(b),
            _ => Some((g, c)),
        })
        .map(|b| b.1)
}

/// Greatest magnitude at each index of a dimension.
pub(super) fn axis_ranges(array: &Array, axis: usize) -> Vec<f64> {
    let mut out = vec![0f64; array.shape[axis]];
    let step = strides(&array.shape)[axis];
    for (i, x) in array.data.iter().enumerate() {
        let at = i / step % out.len();
        out[at] = out[at].max(x.abs());
    }
    out
}

/// Multiplies index `c` of a dimension by `2^(sign · shifts[c])`.
pub(super) fn scale_along(array: &mut Array, axis: usize, shifts: &[i32], sign: i32) {
    let step = strides(&array.shape)[axis];
    let factors: Vec<f64> = shifts.iter().map(|&s| 2f64.powi(sign * s)).collect();
    for (i, x) in array.data.iter_mut().enumerate() {
        *x *= factors[i / step % factors.len()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_measured_and_scaled_along_their_dimension() {
        let mut a = Array {
            shape: vec![2, 3],
            data: vec![1.0, -2.0, 3.0, -4.0, 0.5, 0.0],
        };
        assert_eq!(axis_ranges(&a, 0), [3.0, 4.0]);
        assert_eq!(axis_ranges(&a, 1), [4.0, 2.0, 3.0]);
        scale_along(&mut a, 1, &[1, 0, -1], 1);
        assert_eq!(a.data, [2.0, -2.0, 1.5, -8.0, 0.5, 0.0]);
    }

    #[test]
    fn the_dimension_with_most_to_win_is_taken() {
        let choices = [vec![0, 0, 1], vec![9, 0, 3], vec![4, 4, 4]];
        assert_eq!(best(choices.iter().cloned(), |c| c), Some(vec![9, 0, 3]));
        assert_eq!(best([vec![1, 0]].into_iter(), |c| c), None);
    }
}
