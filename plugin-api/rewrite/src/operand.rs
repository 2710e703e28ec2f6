//! Tensors as rules see them: a name with a type.

use dsperse_onnx::{DataType, Dim, ValueInfoProto};

/// Element type and shape of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorType {
    /// The element type.
    pub dtype: DataType,
    /// The sizes; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorType {
    /// Makes a type.
    #[must_use]
    pub fn new(dtype: DataType, shape: &[usize]) -> Self {
        Self {
            dtype,
            shape: shape.to_vec(),
        }
    }

    /// The type that a file states; `None` when it leaves something open.
    #[must_use]
    pub fn of(info: &ValueInfoProto) -> Option<Self> {
        let shape = info
            .dims()?
            .into_iter()
            .map(|d| match d {
                Dim::Known(n) => usize::try_from(n).ok(),
                _ => None,
            })
            .collect::<Option<_>>()?;
        (info.dtype() != DataType::Undefined).then_some(Self {
            dtype: info.dtype(),
            shape,
        })
    }

    /// Number of elements; `None` when it can't be counted.
    #[must_use]
    pub fn elements(&self) -> Option<usize> {
        elements(&self.shape)
    }
}

/// Number of elements of a shape; `None` when it can't be counted.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
}

/// A tensor that a rule reads or has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// Its name in the graph.
    pub name: String,
    /// The element type.
    pub dtype: DataType,
    /// The sizes.
    pub shape: Vec<usize>,
}

impl Operand {
    /// Number of axes.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements (0 when it can't be counted, which no tensor that exists has).
    #[must_use]
    pub fn elements(&self) -> usize {
        elements(&self.shape).unwrap_or(0)
    }

    /// Size of an axis; 1 beyond the last.
    #[must_use]
    pub fn size(&self, axis: usize) -> usize {
        self.shape.get(axis).copied().unwrap_or(1)
    }
}

/// The shape that several shapes broadcast to, by the standard's (NumPy's) rule.
#[must_use]
pub fn broadcast(shapes: &[&[usize]]) -> Option<Vec<usize>> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = vec![1; rank];
    for shape in shapes {
        for (o, d) in out.iter_mut().rev().zip(shape.iter().rev()) {
            if *o == 1 {
                *o = *d;
            } else if *d != 1 && d != o {
                return None;
            }
        }
    }
    Some(out)
}

/// An axis counted from the end when negative; `None` when it is out of range.
#[must_use]
pub fn position(axis: i64, rank: usize) -> Option<usize> {
    let rank_i = i64::try_from(rank).ok()?;
    let axis = if axis < 0 {
        axis.checked_add(rank_i)?
    } else {
        axis
    };
    usize::try_from(axis).ok().filter(|a| *a < rank)
}

/// The steps between neighbours along each axis, row-major.
#[must_use]
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1; shape.len()];
    for i in (0..shape.len().saturating_sub(1)).rev() {
        out[i] = out[i + 1] * shape[i + 1];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_as_in_numpy() {
        assert_eq!(broadcast(&[&[2, 1], &[3]]), Some(vec![2, 3]));
        assert_eq!(broadcast(&[&[], &[4]]), Some(vec![4]));
        assert_eq!(broadcast(&[&[2], &[3]]), None);
        assert_eq!(broadcast(&[&[1], &[0]]), Some(vec![0]));
    }

    #[test]
    fn axes_count_from_both_ends() {
        assert_eq!(position(-1, 3), Some(2));
        assert_eq!(position(3, 3), None);
        assert_eq!(position(-4, 3), None);
        assert_eq!(position(i64::MIN, 3), None);
    }
}
