//! Dense arrays of real numbers: what the float reference computes with.

use dsperse_sumcheck_evaluator::strides;

/// A row-major array. Integers of a model (shapes, axes) are held in the same type;
/// they are exact up to 2^53.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements, last dimension fastest.
    pub data: Vec<f64>,
}

impl Array {
    /// With zeros after the elements of an axis, up to a size that is not less.
    #[must_use]
    pub fn lengthened(&self, axis: usize, size: usize) -> Self {
        let mut shape = self.shape.clone();
        let row: usize = shape[axis + 1..].iter().product();
        let block = row * std::mem::replace(&mut shape[axis], size);
        let mut data = Vec::with_capacity(shape.iter().product());
        for part in self.data.chunks(block.max(1)) {
            data.extend_from_slice(part);
            data.resize(data.len() + row * size - part.len(), 0.0);
        }
        Self { shape, data }
    }

    /// The elements between two places of each dimension, which are within the array.
    #[must_use]
    pub fn part(&self, places: &[(usize, usize)]) -> Self {
        let Some((&(from, to), outer)) = places.split_last() else {
            return self.clone();
        };
        let mut rows = vec![from];
        for (&(from, to), step) in outer.iter().zip(strides(&self.shape)) {
            let along = |&o: &usize| (from..to).map(move |i| o + i * step);
            rows = rows.iter().flat_map(along).collect();
        }
        let data = rows.iter().flat_map(|&o| &self.data[o..o + to - from]);
        Self {
            shape: places.iter().map(|(from, to)| to - from).collect(),
            data: data.copied().collect(),
        }
    }

    /// An array from its parts; `None` when the lengths do not agree.
    #[must_use]
    pub fn new(shape: Vec<usize>, data: Vec<f64>) -> Option<Self> {
        let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (n == data.len()).then_some(Self { shape, data })
    }

    /// An array that holds one value everywhere.
    #[must_use]
    pub fn filled(shape: Vec<usize>, value: f64) -> Self {
        let n = shape.iter().product();
        Self {
            shape,
            data: vec![value; n],
        }
    }

    /// The value of all elements, when they are all the same.
    #[must_use]
    pub fn uniform(&self) -> Option<f64> {
        let first = *self.data.first()?;
        self.data.iter().all(|&x| x == first).then_some(first)
    }

    /// Greatest magnitude; 0 for an empty array.
    #[must_use]
    pub fn max_abs(&self) -> f64 {
        self.data.iter().fold(0.0, |m, x| m.max(x.abs()))
    }

    /// The same elements in another shape; `None` when the number differs.
    #[must_use]
    pub fn reshaped(self, shape: Vec<usize>) -> Option<Self> {
        Self::new(shape, self.data)
    }

    /// Combines two arrays element by element with numpy's broadcasting; `None` when
    /// the shapes do not fit.
    #[must_use]
    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Option<Self> {
        let shape = broadcast(&self.shape, &other.shape)?;
        let (a, b) = (self.expanded(&shape), other.expanded(&shape));
        let data = a.data.iter().zip(&b.data).map(|(&x, &y)| f(x, y)).collect();
        Some(Self { shape, data })
    }

    /// Numpy's `broadcast_to`, for a shape that [`broadcast`] returned.
    #[must_use]
    pub fn expanded(&self, shape: &[usize]) -> Self {
        if self.shape == shape {
            return self.clone();
        }
        let lead = shape.len() - self.shape.len();
        let own = strides(&self.shape);
        let steps: Vec<usize> = (0..shape.len())
            .map(|i| match i.checked_sub(lead) {
                Some(k) if self.shape[k] != 1 => own[k],
                _ => 0,
            })
            .collect();
        let mut offsets = vec![0usize];
        for (&d, &step) in shape.iter().zip(&steps) {
            offsets = offsets
                .iter()
                .flat_map(|&o| (0..d).map(move |i| o + i * step))
                .collect();
        }
        Self {
            shape: shape.to_vec(),
            data: offsets.into_iter().map(|o| self.data[o]).collect(),
        }
    }
}

/// The shape that numpy's broadcasting gives for two operands, or `None`.
#[must_use]
pub fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let n = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(n).map_or(1, |k| s[k]);
    (0..n)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast(&[4, 1, 3], &[2, 1]), Some(vec![4, 2, 3]));
        assert_eq!(broadcast(&[2], &[3]), None);
        let a = Array::new(vec![2, 1], vec![1., 2.]).expect("fits");
        let b = Array::new(vec![3], vec![10., 20., 30.]).expect("fits");
        let sum = a.zip(&b, |x, y| x + y).expect("fits");
        assert_eq!(sum.shape, [2, 3]);
        assert_eq!(sum.data, [11., 21., 31., 12., 22., 32.]);
    }

    #[test]
    fn a_part_is_between_its_places() {
        let data = (0..24u8).map(f64::from).collect();
        let a = Array::new(vec![2, 3, 4], data).expect("fits");
        let part = a.part(&[(1, 2), (0, 2), (1, 3)]);
        assert_eq!(part.shape, [1, 2, 2]);
        assert_eq!(part.data, [13., 14., 17., 18.]);
        assert_eq!(a.part(&[(0, 2), (0, 3), (0, 4)]), a);
    }

    #[test]
    fn uniform_and_magnitude() {
        assert_eq!(Array::filled(vec![2, 2], -3.0).uniform(), Some(-3.0));
        let a = Array::new(vec![2], vec![-5.0, 4.0]).expect("fits");
        assert_eq!((a.uniform(), a.max_abs()), (None, 5.0));
        assert_eq!(Array::new(vec![2], vec![1.0]), None);
    }
}
