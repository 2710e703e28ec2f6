//! Products and sums.

use super::Quantiser;
use super::builder::Quantity;
use super::channels::scale_along;
use super::plan::constant_root;
use super::scale::exponent_for;
use super::{expand_factors, ir};
use crate::array::Array;
use crate::error::Result;
use crate::graph::{Id, Op};
use std::rc::Rc;

/// Bits of a coefficient that is not a power of two.
const COEFFICIENT_BITS: i32 = 14;
/// The same where it multiplies a small integer.
const WHOLE_COEFFICIENT_BITS: i32 = 28;
/// A sum is not kept finer than its rounded result by more than this many bits.
const SPARE_BITS: i32 = 24;
/// A shift of more bits than this needs a second range check of the remainder.
const CHEAP_SHIFT: i32 = 16;

/// The operands of a product with a constant.
pub(super) struct Layer {
    pub(super) weight: Rc<Array>,
    /// The weight's integers stand for `integer · 2^exponent`.
    pub(super) exponent: i32,
    pub(super) other: Quantity,
    /// The dimension of the result along which it has to be stretched, and the bits.
    stretch: Option<(usize, Vec<i32>)>,
}

impl Quantiser<'_> {
    /// A product. A constant operand becomes a weight.
    pub(super) fn einsum(
        &mut self,
        id: Id,
        (a, a_labels): (Id, &[u8]),
        (b, b_labels): (Id, &[u8]),
        out_labels: &[u8],
    ) -> Result<Quantity> {
        let constant = |id| self.graph.shared(id);
        let (weight, weight_labels, other, labels, weight_first) = match (constant(a), constant(b))
        {
            (Some(w), _) => (w, a_labels, b, b_labels, true),
            (None, Some(w)) => (w, b_labels, a, a_labels, false),
            (None, None) => {
                let (qa, qb) = (self.narrow(a)?, self.narrow(b)?);
                let tensor = self.push(ir::Op::Einsum {
                    a: qa.tensor,
                    b: qb.tensor,
                    a_labels: a_labels.to_vec(),
                    b_labels: b_labels.to_vec(),
                    out_labels: out_labels.to_vec(),
                })?;
                return Ok(Quantity {
                    tensor,
                    exponent: qa.exponent + qb.exponent,
                });
            }
        };
        let layer = self.layer(id, (weight, weight_labels), (other, labels), out_labels)?;
        let mut tensor = self.product(&layer, weight_labels, labels, out_labels, weight_first)?;
        if let Some((axis, up)) = &layer.stretch {
            tensor = self.stretch(tensor, *axis, up)?;
        }
        Ok(Quantity {
            tensor,
            exponent: layer.exponent + layer.other.exponent,
        })
    }

    /// The operands of a product with a constant.
    fn layer(
        &mut self,
        id: Id,
        (mut weight, weight_labels): (Rc<Array>, &[u8]),
        (other, labels): (Id, &[u8]),
        out_labels: &[u8],
    ) -> Result<Layer> {
        let mut read = self.narrow_channels(other)?;
        if let Some(channels) = self.channels_of(read.tensor) {
            match Self::absorbed(&channels, labels, &weight, weight_labels) {
                Some(absorbed) => weight = Rc::new(absorbed),
                None => read = self.narrow(other)?,
            }
        }
        let bits = 64 - self.b.max_abs(read.tensor).leading_zeros().cast_signed();
        if self.graph.nodes[id].integral {
            return Ok(Layer {
                weight,
                exponent: 0,
                other: read,
                stretch: None,
            });
        }
        let own = self.weight_channels(&weight, weight_labels, out_labels, bits);
        let Some((axis, out_axis, up, exponent)) = own else {
            let exponent = self.weight_exponent(id, &weight, read);
            return Ok(Layer {
                weight,
                exponent,
                other: read,
                stretch: None,
            });
        };
        scale_along(Rc::make_mut(&mut weight), axis, &up, -1);
        Ok(Layer {
            weight,
            exponent,
            other: read,
            stretch: Some((out_axis, up)),
        })
    }

    /// The exponent of a weight: as fine as the weight's bits allow, but not so fine that
    /// rounding the product shifts out more than one lookup covers, as long as 8 bits
    /// are left.
    fn weight_exponent(&self, id: Id, weight: &Array, other: Quantity) -> i32 {
        // Headroom is for activations; a weight is what it is.
        let fit = |bits| exponent_for(weight.max_abs() / super::scale::HEADROOM, bits);
        let finest = fit(self.precision.weight_bits);
        let result = exponent_for(self.ranges.max_abs(id), self.bits(id));
        let cheap = result - other.exponent - CHEAP_SHIFT;
        finest.max(cheap.min(fit(8)))
    }

    /// A sum with real coefficients.
    pub(super) fn affine(
        &mut self,
        id: Id,
        terms: &[(Id, f64)],
        constant: f64,
    ) -> Result<Quantity> {
        if self.graph.nodes[id].integral {
            return self.whole_sum(terms, constant);
        }
        let result = exponent_for(self.ranges.max_abs(id), self.bits(id));
        // Each term as integer · mantissa · 2^exponent.
        let mut parts = Vec::new();
        let mut constants = Vec::new();
        for &(term, coefficient) in terms {
            if coefficient == 0.0 {
                continue;
            }
            if constant_root(self.graph, term).is_some() {
                constants.push((term, coefficient));
                continue;
            }
            // Few bits on one side leave many for the other.
            let bits = if self.graph.nodes[term].integral && self.ranges.max_abs(term) < 65536.0 {
                WHOLE_COEFFICIENT_BITS
            } else {
                COEFFICIENT_BITS
            };
            let (mantissa, shift) = decompose(coefficient, bits);
            let mut value = self.value(term)?;
            // A coefficient that is not exact adds bits; so does a value that is far
            // finer than the result. Round such a term first.
            let finer = result - SPARE_BITS - (value.exponent + shift);
            let wide = mantissa.abs() > 1 && self.b.max_abs(value.tensor) > 1 << 40;
            if finer > 0 || wide {
                value = self.narrow(term)?;
            }
            parts.push((value.tensor, mantissa, value.exponent + shift));
        }
        let finest = parts.iter().map(|p| p.2).min();
        let exponent = finest
            .unwrap_or(result)
            .max(result - SPARE_BITS - COEFFICIENT_BITS);
        let mut sum = Vec::new();
        for (tensor, mantissa, own) in parts {
            let up = own - exponent;
            let coefficient = if up >= 0 {
                u32::try_from(up)
                    .ok()
                    .filter(|&u| u < 60)
                    .and_then(|u| mantissa.checked_mul(1i64 << u))
                    .ok_or_else(|| self.refuse("its operands differ too much in scale"))?
            } else {
                // Far below the result: what is lost here is less than its rounding.
                (mantissa as f64 * 2f64.powi(up)).round() as i64
            };
            if coefficient == 0 {
                continue;
            }
            sum.push((tensor, coefficient));
        }
        for (term, coefficient) in constants {
            let tensor = self.constant_term(term, coefficient, exponent)?;
            sum.push((tensor, 1));
        }
        let constant = (constant * 2f64.powi(-exponent)).round_ties_even();
        if constant.is_nan() || constant.abs() >= 2f64.powi(60) {
            return Err(self.refuse("its constant is too large for its scale"));
        }
        if sum.is_empty() {
            // Only the constant is left, in the shape of the terms.
            let Some(&(term, _)) = terms.first() else {
                return Err(self.refuse("it is a sum of nothing"));
            };
            sum.push((self.value(term)?.tensor, 0));
        }
        let tensor = self.b.affine(sum, constant as i64);
        let tensor = tensor.map_err(|e| self.refuse(e))?;
        Ok(Quantity { tensor, exponent })
    }

    /// A sum of integers with whole coefficients, which is exact.
    fn whole_sum(&mut self, terms: &[(Id, f64)], constant: f64) -> Result<Quantity> {
        let mut sum = Vec::new();
        for &(term, coefficient) in terms {
            let value = self.narrow(term)?;
            if value.exponent < 0 {
                return Err(self.refuse("an integer has no exact value"));
            }
            sum.push((value.tensor, (coefficient as i64) << value.exponent.min(31)));
        }
        let tensor = self.b.affine(sum, constant as i64);
        let tensor = tensor.map_err(|e| self.refuse(e))?;
        Ok(Quantity {
            tensor,
            exponent: 0,
        })
    }

    /// A constant (repeated or moved by wires) as a tensor at the sum's exponent.
    fn constant_term(&mut self, id: Id, coefficient: f64, exponent: i32) -> Result<u32> {
        let node = &self.graph.nodes[id];
        match &node.op {
            Op::Const(array) => {
                let mut array = array.as_ref().clone();
                array.data.iter_mut().for_each(|w| *w *= coefficient);
                Ok(self.weight(&array, exponent)?.tensor)
            }
            Op::Wire { input, factors } => {
                let input = self.constant_term(*input, coefficient, exponent)?;
                let factors = factors.clone();
                self.push(ir::Op::Wire { input, factors })
            }
            Op::Expand { input, shape } => {
                let factors = expand_factors(self.graph.shape(*input), shape);
                let input = self.constant_term(*input, coefficient, exponent)?;
                self.push(ir::Op::Wire { input, factors })
            }
            _ => Err(self.refuse("a constant is not one")),
        }
    }
}

/// `coefficient = mantissa · 2^exponent`: exact for powers of two, else to
/// so many bits.
fn decompose(coefficient: f64, bits: i32) -> (i64, i32) {
    let mut exponent = coefficient.abs().log2().floor() as i32 + 1 - bits;
    let mut mantissa = (coefficient * 2f64.powi(-exponent)).round() as i64;
    while mantissa != 0 && mantissa % 2 == 0 {
        mantissa /= 2;
        exponent += 1;
    }
    (mantissa, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_are_exact_or_close() {
        assert_eq!(decompose(1.0, 14), (1, 0));
        assert_eq!(decompose(-0.25, 14), (-1, -2));
        assert_eq!(decompose(96.0, 14), (3, 5));
        for c in [0.01, -0.99, 1.0 / 3.0, 123.456, 1e-9] {
            let (m, e) = decompose(c, COEFFICIENT_BITS);
            let back = m as f64 * 2f64.powi(e);
            assert!((back / c - 1.0).abs() < 2f64.powi(-COEFFICIENT_BITS), "{c}");
            assert!(m.abs() <= 1 << COEFFICIENT_BITS);
        }
    }
}
