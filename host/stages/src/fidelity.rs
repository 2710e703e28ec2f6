//! How far computed values are from those of the float model.

use dsperse_documents::Fidelity;
use dsperse_plugin_api::TensorInfo;
use dsperse_store::Tensor;

/// Compares tensors pair by pair. The relative difference is taken against the largest
/// magnitude in the reference tensor: a ratio by element says nothing near zero.
#[must_use]
pub fn compare(reference: &[Tensor], got: &[Tensor]) -> Fidelity {
    let mut max_abs = Some(0f64);
    let mut max_rel = Some(0f64);
    let mut same_argmax = None;
    for (r, g) in reference.iter().zip(got) {
        let a = r.to_f64();
        let b = g.to_f64();
        let scale = a.iter().fold(0f64, |m, v| m.max(v.abs()));
        let difference = if a.len() == b.len() {
            largest_difference(&a, &b)
        } else {
            None
        };
        max_abs = max_abs.zip(difference).map(|(m, d)| m.max(d));
        let relative = difference.map(|d| if d == 0.0 { 0.0 } else { d / scale });
        max_rel = max_rel
            .zip(relative)
            .map(|(m, d)| m.max(d))
            .filter(|d| d.is_finite());
        if let Some(same) = argmax_agrees(&r.info, &a, &b) {
            same_argmax = Some(same_argmax.unwrap_or(true) && same);
        }
    }
    Fidelity {
        max_abs,
        max_rel,
        same_argmax,
        ..Fidelity::default()
    }
}

/// `None` when a pair of elements is not finite and not equal.
fn largest_difference(a: &[f64], b: &[f64]) -> Option<f64> {
    a.iter().zip(b).try_fold(0f64, |most, (x, y)| {
        // Equal infinities and a NaN on both sides are no difference.
        if x == y || (x.is_nan() && y.is_nan()) {
            return Some(most);
        }
        let d = (x - y).abs();
        d.is_finite().then_some(most.max(d))
    })
}

/// Whether every row of the last axis has its largest element at the same place.
fn argmax_agrees(info: &TensorInfo, a: &[f64], b: &[f64]) -> Option<bool> {
    let width = usize::try_from(*info.shape.last()?).ok()?;
    if width < 2 || a.len() != b.len() || a.is_empty() {
        return None;
    }
    let place = |row: &[f64]| {
        let mut best = 0;
        for (i, v) in row.iter().enumerate() {
            if v > &row[best] {
                best = i;
            }
        }
        best
    };
    Some(
        a.chunks(width)
            .zip(b.chunks(width))
            .all(|(x, y)| place(x) == place(y)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_plugin_api::Encoding;

    fn f32s(values: &[f32]) -> Tensor {
        Tensor {
            info: TensorInfo {
                name: "y".into(),
                encoding: Encoding::F32,
                shape: vec![1, values.len() as u64],
            },
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    #[test]
    fn fixed_point_is_compared_with_floats() {
        let got = Tensor {
            info: TensorInfo {
                encoding: Encoding::Fixed { exponent: -2 },
                ..f32s(&[0.0, 0.0]).info
            },
            data: [4i64, -9].iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        let f = compare(&[f32s(&[1.0, -2.0])], &[got]);
        assert_eq!(f.max_abs, Some(0.25));
        assert_eq!(f.max_rel, Some(0.125));
        assert_eq!(f.same_argmax, Some(true));
    }

    #[test]
    fn another_largest_element_is_seen() {
        let f = compare(&[f32s(&[1.0, 1.1])], &[f32s(&[1.1, 1.0])]);
        assert_eq!(f.same_argmax, Some(false));
    }

    #[test]
    fn what_is_not_finite_has_no_difference_to_speak_of() {
        let f = compare(&[f32s(&[1.0, 1.1])], &[f32s(&[f32::NAN, 1.0])]);
        assert_eq!((f.max_abs, f.max_rel), (None, None));
        let f = compare(&[f32s(&[0.0, 0.0])], &[f32s(&[0.0, 1.0])]);
        assert_eq!((f.max_abs, f.max_rel), (Some(1.0), None));
    }
}
