//! How far computed values are from those of the float model.

use dsperse_documents::{Fidelity, WorstElement};
use dsperse_tensor::{Tensor, TensorInfo};

/// An output that varies by less than its magnitude divided by this is judged as if it
/// varied by so much: a tensor that is nearly constant has no range to speak of.
const LEAST_VARIATION: f64 = 64.0;

/// Rows of the last axis get a figure for their five largest elements from this length on.
const TOP: (usize, usize) = (5, 10);

/// Compares tensors pair by pair. The relative difference is taken against the largest
/// magnitude in the reference tensor: a ratio by element says nothing near zero. The error
/// that counts is taken against that or the tensor's range, whichever is less.
#[must_use]
pub fn compare(reference: &[Tensor], got: &[Tensor]) -> Fidelity {
    let mut out = Fidelity {
        max_abs: Some(0.0),
        max_rel: Some(0.0),
        error: Some(0.0),
        ..Fidelity::default()
    };
    let mut tops: Vec<f64> = Vec::new();
    for (r, g) in reference.iter().zip(got) {
        let (a, b) = (r.to_f64(), g.to_f64());
        let difference = if a.len() == b.len() {
            largest_difference(&a, &b)
        } else {
            None
        };
        let against = |scale: f64| {
            let ratio = difference.map(|(_, d)| if d == 0.0 { 0.0 } else { d / scale });
            ratio.filter(|ratio| ratio.is_finite())
        };
        let magnitude = a.iter().fold(0f64, |m, v| m.max(v.abs()));
        let (relative, error) = (against(magnitude), against(scale_of(&a)));
        out.max_abs = out.max_abs.zip(difference).map(|(m, (_, d))| m.max(d));
        out.max_rel = out.max_rel.zip(relative).map(|(m, d)| m.max(d));
        // The first output that is beyond measure stays the worst.
        if out.error.is_some_and(|most| error.is_none_or(|e| e > most)) {
            let element = difference.map_or_else(|| first_odd(&a, &b), |(at, _)| at);
            let finite = |v: &[f64]| v.get(element).copied().filter(|x| x.is_finite());
            out.worst = Some(WorstElement {
                output: r.info.name.clone(),
                element: element as u64,
                expected: finite(&a),
                found: finite(&b),
            });
        }
        out.error = out.error.zip(error).map(|(m, e)| m.max(e));
        if let Some(same) = argmax_agrees(&r.info, &a, &b) {
            out.same_argmax = Some(out.same_argmax.unwrap_or(true) && same);
        }
        tops.extend(top_agreement(&r.info, &a, &b));
    }
    if !tops.is_empty() {
        out.top5 = Some(tops.iter().sum::<f64>() / tops.len() as f64);
    }
    out
}

/// The worst of several comparisons: of several samples, say.
#[must_use]
pub fn worst(all: impl IntoIterator<Item = Fidelity>) -> Option<Fidelity> {
    let key = |f: &Fidelity| f.error.unwrap_or(f64::INFINITY);
    all.into_iter().reduce(|a, b| {
        let same = a.same_argmax.zip(b.same_argmax).map(|(x, y)| x && y);
        let worse = if key(&b) > key(&a) { b } else { a };
        Fidelity {
            same_argmax: same.or(worse.same_argmax),
            ..worse
        }
    })
}

/// How a miss is told: error, target and worst element.
#[must_use]
pub fn told(f: &Fidelity) -> String {
    let number = |v: Option<f64>| v.map_or_else(|| "not finite".to_owned(), |v| format!("{v:.6e}"));
    let mut out = match f.error {
        Some(error) => format!("the largest relative error is {error:.2e}"),
        None => "values are not finite, or not zero where the float model's are".to_owned(),
    };
    if let Some(target) = f.target {
        out += &format!(", wanted is at most {target:.2e}");
    }
    if let Some(w) = &f.worst {
        out += &format!(
            ": element {} of output \"{}\" is {} where the float model has {}",
            w.element,
            w.output,
            number(w.found),
            number(w.expected)
        );
    }
    out
}

/// What a difference is relative to: the lesser of the largest magnitude and the range, the
/// range being at least a 64th of the magnitude. One element has no range. Values that are
/// not finite do not count.
fn scale_of(values: &[f64]) -> f64 {
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let magnitude = finite().fold(0f64, |m, v| m.max(v.abs()));
    if values.len() < 2 {
        return magnitude;
    }
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    (high - low).clamp(magnitude / LEAST_VARIATION, magnitude)
}

/// The first place where one side is finite and the other is not, or the lengths differ.
fn first_odd(a: &[f64], b: &[f64]) -> usize {
    let odd = a
        .iter()
        .zip(b)
        .position(|(x, y)| !(x - y).is_finite() && x != y);
    odd.unwrap_or(a.len().min(b.len()))
}

/// Where the difference is largest, and how large; `None` when a pair of elements is not
/// finite and not equal.
fn largest_difference(a: &[f64], b: &[f64]) -> Option<(usize, f64)> {
    let pairs = a.iter().zip(b).enumerate();
    pairs.into_iter().try_fold((0, 0f64), |most, (at, (x, y))| {
        // Equal infinities and a NaN on both sides are no difference.
        if x == y || (x.is_nan() && y.is_nan()) {
            return Some(most);
        }
        let d = (x - y).abs();
        d.is_finite()
            .then_some(if d > most.1 { (at, d) } else { most })
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

/// For each row of the last axis, which share of its five largest elements is among those
/// of the reference.
fn top_agreement(info: &TensorInfo, a: &[f64], b: &[f64]) -> Vec<f64> {
    let width = info.shape.last().and_then(|w| usize::try_from(*w).ok());
    let Some(width) = width.filter(|w| *w >= TOP.1 && a.len() == b.len()) else {
        return Vec::new();
    };
    let top = |row: &[f64]| {
        let mut order: Vec<usize> = (0..row.len()).collect();
        // Stable, so that equal elements count in their order on both sides.
        order.sort_by(|x, y| row[*y].total_cmp(&row[*x]));
        order.truncate(TOP.0);
        order
    };
    let rows = a.chunks_exact(width).zip(b.chunks_exact(width));
    rows.map(|(x, y)| {
        let expected = top(x);
        let common = top(y).iter().filter(|i| expected.contains(i)).count();
        common as f64 / TOP.0 as f64
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_tensor::Encoding;

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

    #[test]
    fn the_error_is_relative_to_what_an_output_says() {
        // All of it lies between 1000 and 1001: a difference of 0.5 is half of nothing.
        let reference = [1000.0, 1000.25, 1000.5, 1001.0];
        let f = compare(
            &[f32s(&reference)],
            &[f32s(&[1000.0, 1000.0, 1000.0, 1000.0])],
        );
        assert_eq!(f.max_rel, Some(1.0 / 1001.0));
        assert_eq!(f.error, Some(1.0 / (1001.0 / 64.0)));
        let worst = f.worst.expect("there is a difference");
        assert_eq!((worst.output.as_str(), worst.element), ("y", 3));
        assert_eq!((worst.expected, worst.found), (Some(1001.0), Some(1000.0)));
        // One element has no range; both signs do not make a tensor wider than it is large.
        let f = compare(&[f32s(&[8.0])], &[f32s(&[6.0])]);
        assert_eq!(f.error, Some(0.25));
        let f = compare(&[f32s(&[-8.0, 8.0])], &[f32s(&[-8.0, 6.0])]);
        assert_eq!(f.error, Some(0.25));
    }

    #[test]
    fn the_largest_five_are_compared_in_long_rows() {
        let row: Vec<f32> = (0..10u8).map(f32::from).collect();
        let mut other = row.clone();
        other.swap(0, 9);
        let f = compare(&[f32s(&row)], &[f32s(&other)]);
        assert_eq!(f.top5, Some(0.8));
        assert_eq!(compare(&[f32s(&row[..9])], &[f32s(&row[..9])]).top5, None);
    }

    #[test]
    fn a_target_is_missed_beyond_it_or_beyond_measure() {
        let judged = |reference: &[f32], got: &[f32]| {
            let mut f = compare(&[f32s(reference)], &[f32s(got)]);
            assert!(!f.misses());
            f.target = Some(0.01);
            f.misses()
        };
        assert!(!judged(&[0.0, 1.0], &[0.0, 1.0]));
        assert!(!judged(&[0.0, 1.0], &[0.0, 0.995]));
        assert!(judged(&[0.0, 1.0], &[0.0, 0.98]));
        assert!(judged(&[0.0, 1.0], &[f32::NEG_INFINITY, 1.0]));
        assert!(judged(&[0.0, 0.0], &[0.0, 1.0]));
    }

    #[test]
    fn the_worst_element_is_the_first_of_the_farthest() {
        let at = |reference: &[f32], got: &[f32]| {
            let worst = compare(&[f32s(reference)], &[f32s(got)]).worst;
            worst.map(|w| (w.element, w.expected, w.found))
        };
        assert_eq!(at(&[1.0, 2.0], &[1.0, 2.0]), None);
        assert_eq!(at(&[0.0, 0.0, 4.0], &[1.0, 1.0, 4.0]).unwrap().0, 0);
        // What is not finite on one side is farthest of all, the same on both no difference.
        let nan = f32::NAN;
        let inf = f32::INFINITY;
        assert_eq!(at(&[1.0, 2.0], &[0.0, nan]), Some((1, Some(2.0), None)));
        assert_eq!(at(&[inf, 2.0], &[inf, inf]), Some((1, Some(2.0), None)));
        assert_eq!(
            at(&[inf, nan, 2.0], &[inf, nan, 1.5]),
            Some((2, Some(2.0), Some(1.5)))
        );
        let f64s = |values: [f64; 2]| Tensor {
            info: TensorInfo {
                encoding: Encoding::F64,
                ..f32s(&[0.0, 0.0]).info
            },
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        // Their sum is no number, their difference is.
        let f = compare(&[f64s([1.5e308, 1.0])], &[f64s([1e308, f64::NAN])]);
        assert_eq!(f.worst.unwrap().element, 1);
        // Lengths that differ do so where the shorter one ends.
        assert_eq!(
            at(&[1.0, 2.0], &[1.0, 2.0, 3.0]),
            Some((2, None, Some(3.0)))
        );
        // Of outputs that are equally far the first is told.
        let (mut one, mut two) = (f32s(&[0.0, 1.0]), f32s(&[0.0, 1.0]));
        one.info.name = "first".into();
        two.info.name = "second".into();
        let got = f32s(&[0.0, 0.5]);
        let f = compare(&[one, two], &[got.clone(), got]);
        assert_eq!(f.worst.unwrap().output, "first");
    }

    #[test]
    fn two_elements_have_a_range_and_infinities_are_equal() {
        let f = compare(&[f32s(&[1000.0, 1001.0])], &[f32s(&[1000.0, 1000.5])]);
        assert_eq!(f.error, Some(0.5 / (1001.0 / 64.0)));
        let f = compare(
            &[f32s(&[f32::INFINITY, 1.0])],
            &[f32s(&[f32::INFINITY, 0.5])],
        );
        assert_eq!(f.max_abs, Some(0.5));
    }

    #[test]
    fn the_first_largest_element_of_each_row_counts() {
        let same =
            |reference: &[f32], got: &[f32]| compare(&[f32s(reference)], &[f32s(got)]).same_argmax;
        assert_eq!(same(&[1.0, 3.0, 2.0], &[1.5, 3.0, 0.0]), Some(true));
        assert_eq!(same(&[3.0, 3.0, 1.0], &[3.0, 2.0, 1.0]), Some(true));
        assert_eq!(same(&[3.0, 3.0, 1.0], &[2.0, 3.0, 1.0]), Some(false));
        assert_eq!(same(&[8.0], &[6.0]), None);
        assert_eq!(same(&[1.0, 2.0], &[1.0, 2.0, 3.0]), None);
        let mut none = f32s(&[]);
        none.info.shape = vec![0, 4];
        assert_eq!(compare(&[none.clone()], &[none]).same_argmax, None);
    }

    #[test]
    fn the_share_of_the_largest_five_is_the_mean_over_rows() {
        let row: Vec<f32> = (0..10u8).map(f32::from).collect();
        let mut other = row.clone();
        other.swap(0, 9);
        let reference = [f32s(&row), f32s(&row)];
        let f = compare(&reference, &[f32s(&row), f32s(&other)]);
        assert_eq!(f.top5, Some(0.9));
    }

    #[test]
    fn the_worst_of_several_is_the_farthest_and_agrees_where_all_do() {
        let one = |error: Option<f64>, same_argmax, max_abs| Fidelity {
            error,
            same_argmax,
            max_abs: Some(max_abs),
            ..Fidelity::default()
        };
        let of = |list: &[Fidelity]| worst(list.to_vec()).unwrap();
        assert_eq!(worst([]), None);
        let (near, far) = (
            one(Some(0.1), Some(false), 1.0),
            one(Some(0.2), Some(true), 2.0),
        );
        for list in [[near.clone(), far.clone()], [far.clone(), near.clone()]] {
            let w = of(&list);
            assert_eq!(
                (w.error, w.same_argmax, w.max_abs),
                (Some(0.2), Some(false), Some(2.0))
            );
        }
        // Beyond measure is farther than any number; of equals the first is told.
        assert_eq!(of(&[one(None, None, 3.0), far.clone()]).error, None);
        assert_eq!(
            of(&[one(Some(0.2), None, 4.0), far.clone()]).max_abs,
            Some(4.0)
        );
        assert_eq!(
            of(&[far.clone(), one(Some(0.1), None, 4.0)]).same_argmax,
            Some(true)
        );
    }
}
