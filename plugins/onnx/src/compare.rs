//! Claimed outputs against recomputed ones.
//!
//! With tolerance 0 every byte must be the same. With a tolerance `t` above 0, a floating
//! point element `c` agrees with the recomputed `r` when
//!
//! ```text
//! |c − r| ≤ t · max(|r|, m)        m: median magnitude of the tensor's finite, non-zero r
//! ```
//!
//! so that elements which cancel to nearly nothing are judged by the tensor's typical
//! size. It is a median and not a norm because one huge element (a mask of −1e9) would
//! make a norm, and with it the allowance for all others, meaninglessly large. NaN agrees
//! with NaN only, an infinity with the same infinity only. Integers and booleans always
//! have to be equal.
//!
//! A fixed-point claim, `integer · 2^exponent`, comes from a backend that quantises. It is
//! judged by the same rule (its grid is the claimant's choice, so it earns no allowance);
//! without a tolerance only an exact equality can be confirmed, and anything else stays
//! undecided.

use crate::values;
use dsperse_plugin_api::tensor::Number;
use dsperse_plugin_api::values::round::{f64_to_f16, fixed_to_whole};
use dsperse_plugin_api::{Encoding, Error, Result, TensorInfo, Values};
use tract_onnx::prelude::Tensor;

/// How far apart claimed and recomputed values are.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Difference {
    /// Whether all bytes are the same.
    pub identical: bool,
    /// Largest `|c − r|`.
    pub absolute: f64,
    /// Largest `|c − r| / max(|r|, m)`.
    pub relative: f64,
}

impl Difference {
    /// The larger of two, over several outputs.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            identical: self.identical && other.identical,
            absolute: self.absolute.max(other.absolute),
            relative: self.relative.max(other.relative),
        }
    }
}

/// What comparing one output gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The claim agrees.
    Agrees(Difference),
    /// The claim is wrong; which element shows it.
    Differs(String),
    /// A fixed-point claim was compared without a tolerance.
    Undecided(String),
}

/// Compares one output. `recomputed` has the type and shape of `declared`, the slice's own
/// output; `claimed` says how `bytes` are to be read.
///
/// # Errors
/// `internal` when the recomputed tensor can't be read.
pub fn output(
    claimed: &TensorInfo,
    bytes: &[u8],
    declared: &TensorInfo,
    recomputed: &Tensor,
    tolerance: f64,
) -> Result<Outcome> {
    if claimed.name != declared.name || claimed.shape != declared.shape {
        return Ok(Outcome::Differs(format!(
            "output \"{}\" with shape {:?} is claimed, expected \"{}\" with shape {:?}",
            claimed.name, claimed.shape, declared.name, declared.shape
        )));
    }
    let fixed = matches!(claimed.encoding, Encoding::Fixed { .. });
    if !fixed && claimed.encoding != declared.encoding {
        return Ok(Outcome::Differs(format!(
            "output \"{}\" is claimed as {:?}, expected {:?}",
            claimed.name, claimed.encoding, declared.encoding
        )));
    }
    let own = values::to_bytes(recomputed)?;
    let width = declared.encoding.element_size();
    let count = own.len() / width;
    if bytes.len() != count * claimed.encoding.element_size() {
        return Ok(Outcome::Differs(format!(
            "output \"{}\" is claimed with {} bytes, expected {}",
            claimed.name,
            bytes.len(),
            count * claimed.encoding.element_size()
        )));
    }
    if !fixed && bytes == own {
        return Ok(Outcome::Agrees(Difference {
            identical: true,
            ..Difference::default()
        }));
    }
    let Some(r) = floats(&own, declared) else {
        return Ok(exact(claimed, bytes, declared, &own));
    };
    let Some(c) = floats(bytes, claimed) else {
        return Err(Error::internal("a float output has no float claim"));
    };
    let pairs = Pairs {
        claimed: &c,
        recomputed: &r,
        scale: typical_magnitude(&r),
    };
    let name = &claimed.name;
    let show = |at: usize| {
        let (claim, own) = (
            shown(c[at], claimed.encoding),
            shown(r[at], declared.encoding),
        );
        let place = place(at, &declared.shape);
        let note = if claim == own { " with other bits" } else { "" };
        format!("output \"{name}\"{place}: claimed {claim}, recomputed {own}{note}")
    };
    if tolerance > 0.0 {
        return Ok(match pairs.worst(tolerance) {
            Some(at) => Outcome::Differs(format!(
                "{}, which differ by more than the tolerance {tolerance:e} allows",
                show(at)
            )),
            None => Outcome::Agrees(pairs.difference()),
        });
    }
    let first = (0..count).find(|&i| {
        if fixed {
            c[i] != r[i]
        } else {
            bytes[i * width..][..width] != own[i * width..][..width]
        }
    });
    Ok(match first {
        None => Outcome::Agrees(pairs.difference()),
        Some(at) if fixed => Outcome::Undecided(format!(
            "{}; a fixed-point claim can be recomputed only within a tolerance",
            show(at)
        )),
        Some(at) => Outcome::Differs(format!(
            "{} (compared bit for bit; largest relative difference {:.1e})",
            show(at),
            pairs.difference().relative
        )),
    })
}

/// Claimed and recomputed values side by side.
struct Pairs<'a> {
    claimed: &'a [f64],
    recomputed: &'a [f64],
    scale: f64,
}

impl Pairs<'_> {
    fn same(c: f64, r: f64) -> bool {
        c == r || (c.is_nan() && r.is_nan())
    }

    /// The element furthest outside the tolerance, when one is.
    fn worst(&self, tolerance: f64) -> Option<usize> {
        let mut worst = None;
        for (at, (&c, &r)) in self.claimed.iter().zip(self.recomputed).enumerate() {
            if Self::same(c, r) {
                continue;
            }
            let allowed = tolerance * r.abs().max(self.scale);
            // Written so that NaN counts as outside; an infinity must not allow anything.
            let inside = c.is_finite() && r.is_finite() && (c - r).abs() <= allowed;
            if !inside {
                let excess = (c - r).abs() / allowed;
                let excess = if excess.is_nan() {
                    f64::INFINITY
                } else {
                    excess
                };
                if worst.is_none_or(|(e, _)| excess > e) {
                    worst = Some((excess, at));
                }
            }
        }
        worst.map(|(_, at)| at)
    }

    fn difference(&self) -> Difference {
        let mut d = Difference::default();
        for (&c, &r) in self.claimed.iter().zip(self.recomputed) {
            if !Self::same(c, r) {
                let gap = (c - r).abs();
                let size = r.abs().max(self.scale);
                d.absolute = d.absolute.max(gap);
                d.relative = d.relative.max(if size > 0.0 {
                    gap / size
                } else {
                    f64::INFINITY
                });
            }
        }
        d
    }
}

/// The median magnitude of the finite, non-zero values; 0 when there are none.
fn typical_magnitude(values: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = values
        .iter()
        .map(|v| v.abs())
        .filter(|v| v.is_finite() && *v > 0.0)
        .collect();
    if sizes.is_empty() {
        return 0.0;
    }
    let middle = (sizes.len() - 1) / 2;
    *sizes.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// Integers and booleans.
fn exact(claimed: &TensorInfo, bytes: &[u8], declared: &TensorInfo, own: &[u8]) -> Outcome {
    let r = whole(own, declared);
    let c = whole(bytes, claimed);
    let show = |v: Option<i128>| v.map_or("a fraction".to_owned(), |v| v.to_string());
    match c.iter().zip(&r).position(|(c, r)| c != r) {
        Some(at) => Outcome::Differs(format!(
            "output \"{}\"{}: claimed {}, recomputed {}",
            claimed.name,
            place(at, &declared.shape),
            show(c[at]),
            show(r[at])
        )),
        None => Outcome::Agrees(Difference::default()),
    }
}

fn whole(bytes: &[u8], info: &TensorInfo) -> Vec<Option<i128>> {
    let value = |n: Number| match (n, info.encoding) {
        (Number::Int(n), Encoding::Fixed { exponent }) => i64::try_from(n)
            .ok()
            .and_then(|n| fixed_to_whole(n, exponent)),
        (n, _) => n.whole(),
    };
    // The byte itself: a claim of 2 is not the same as 1.
    if info.encoding == Encoding::Bool {
        return bytes.iter().map(|b| Some(i128::from(*b))).collect();
    }
    bytes
        .chunks_exact(info.encoding.element_size())
        .map(|c| value(Number::read(c, info.encoding)))
        .collect()
}

/// The values of a float or fixed-point tensor; `None` for integers and booleans.
fn floats(bytes: &[u8], info: &TensorInfo) -> Option<Vec<f64>> {
    match Values::from_bytes(bytes, info.encoding)? {
        Values::Int(_) => None,
        values => Some(values.to_f64()),
    }
}

fn shown(value: f64, encoding: Encoding) -> String {
    match encoding {
        Encoding::F32 => format!("{:?}", value as f32),
        Encoding::F16 => format!("{:?}", f64_to_f16(value)),
        _ => format!("{value:?}"),
    }
}

/// ` at [1, 0, 4]`, or nothing for a scalar.
fn place(flat: usize, shape: &[u64]) -> String {
    if shape.is_empty() {
        return String::new();
    }
    let mut rest = flat as u64;
    let mut index: Vec<u64> = shape
        .iter()
        .rev()
        .map(|d| {
            let at = rest % (*d).max(1);
            rest /= (*d).max(1);
            at
        })
        .collect();
    index.reverse();
    format!(" at {index:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(encoding: Encoding, n: u64) -> TensorInfo {
        TensorInfo {
            name: "y".into(),
            encoding,
            shape: vec![1, n],
        }
    }

    fn compare_f32(claimed: &[f32], own: &[f32], tolerance: f64) -> Outcome {
        let info = info(Encoding::F32, own.len() as u64);
        let bytes: Vec<u8> = claimed.iter().flat_map(|v| v.to_le_bytes()).collect();
        let own = Tensor::from_shape(&[1, own.len()], own).unwrap();
        output(&info, &bytes, &info, &own, tolerance).unwrap()
    }

    fn compare_fixed(claimed: &[i64], exponent: i32, own: &[f32], tolerance: f64) -> Outcome {
        let declared = info(Encoding::F32, own.len() as u64);
        let claim = info(Encoding::Fixed { exponent }, own.len() as u64);
        let bytes: Vec<u8> = claimed.iter().flat_map(|v| v.to_le_bytes()).collect();
        let own = Tensor::from_shape(&[1, own.len()], own).unwrap();
        output(&claim, &bytes, &declared, &own, tolerance).unwrap()
    }

    fn differs(o: Outcome) -> String {
        match o {
            Outcome::Differs(reason) => reason,
            other => panic!("expected a difference, got {other:?}"),
        }
    }

    #[test]
    fn bit_for_bit_knows_signed_zero_and_the_last_bit() {
        assert_eq!(
            compare_f32(&[1.0, f32::NAN], &[1.0, f32::NAN], 0.0),
            Outcome::Agrees(Difference {
                identical: true,
                absolute: 0.0,
                relative: 0.0
            })
        );
        let reason = differs(compare_f32(&[1.0, -0.0], &[1.0, 0.0], 0.0));
        assert_eq!(
            reason,
            "output \"y\" at [0, 1]: claimed -0.0, recomputed 0.0 (compared bit for bit; \
             largest relative difference 0.0e0)"
        );
        let next = f32::from_bits(1f32.to_bits() + 1);
        assert!(differs(compare_f32(&[next, 2.0], &[1.0, 2.0], 0.0)).contains("1.0000001"));
    }

    #[test]
    fn tolerance_is_relative_to_the_element_or_the_median() {
        let own = [1000.0, 1.0, 1.0, 1e-7];
        // 0.05 of 1000, and 0.00005 of the median for the element near zero.
        assert!(matches!(
            compare_f32(&[1000.05, 1.0, 1.0, 5e-5], &own, 1e-4),
            Outcome::Agrees(d) if !d.identical && (d.absolute - 0.05).abs() < 1e-3
        ));
        let reason = differs(compare_f32(&[1000.0, 1.001, 1.0, 1e-7], &own, 1e-4));
        assert_eq!(
            reason,
            "output \"y\" at [0, 1]: claimed 1.001, recomputed 1.0, which differ by more than \
             the tolerance 1e-4 allows"
        );
    }

    #[test]
    fn one_huge_element_does_not_excuse_the_others() {
        let own = [-1e30, 1.0, 2.0, 3.0];
        assert!(differs(compare_f32(&[-1e30, 1.1, 2.0, 3.0], &own, 1e-4)).contains("claimed 1.1"));
        let own = [f32::NEG_INFINITY, 1.0, 2.0, 3.0];
        assert!(
            differs(compare_f32(&[f32::NEG_INFINITY, 1.1, 2.0, 3.0], &own, 1e-4)).contains("1.1")
        );
    }

    #[test]
    fn nan_and_infinity_agree_only_with_themselves() {
        let nan = f32::NAN;
        let inf = f32::INFINITY;
        for (claimed, own) in [
            (nan, 1.0),
            (1.0, nan),
            (inf, 1.0),
            (1.0, inf),
            (-inf, inf),
            (nan, inf),
        ] {
            differs(compare_f32(&[claimed, 1.0], &[own, 1.0], 0.5));
        }
        let other_nan = f32::from_bits(0xffc0_0001);
        assert!(matches!(
            compare_f32(&[nan, inf, 1.0], &[other_nan, inf, 1.00001], 1e-3),
            Outcome::Agrees(_)
        ));
        differs(compare_f32(&[other_nan], &[nan], 0.0));
    }

    #[test]
    fn all_zero_allows_nothing() {
        differs(compare_f32(&[1e-20, 0.0], &[0.0, 0.0], 0.1));
        assert!(matches!(
            compare_f32(&[-0.0, 0.0], &[0.0, 0.0], 0.1),
            Outcome::Agrees(_)
        ));
    }

    #[test]
    fn fixed_point_claims_need_a_tolerance() {
        // 1.5 and 0.25 on a grid of 2^-4.
        assert!(
            matches!(compare_fixed(&[24, 4], -4, &[1.5, 0.25], 0.0), Outcome::Agrees(d) if !d.identical)
        );
        assert!(matches!(
            compare_fixed(&[24, 5], -4, &[1.5, 0.25], 0.0),
            Outcome::Undecided(_)
        ));
        assert!(
            matches!(compare_fixed(&[24, 5], -4, &[1.5, 0.25], 0.25), Outcome::Agrees(d) if d.relative == 0.25)
        );
        let reason = differs(compare_fixed(&[24, 5], -4, &[1.5, 0.25], 0.2));
        assert!(
            reason.contains("claimed 0.3125, recomputed 0.25"),
            "{reason}"
        );
    }

    #[test]
    fn a_coarse_grid_earns_no_allowance() {
        for exponent in [3, 60, 1023, i32::MAX] {
            differs(compare_fixed(&[0, 0], exponent, &[1.5, 0.25], 1e-3));
        }
        differs(compare_fixed(&[1, 0], i32::MAX, &[1.5, 0.25], 1e-3));
        differs(compare_fixed(&[1, 1], i32::MIN, &[1.5, 0.25], 1e-3));
    }

    #[test]
    fn integers_are_exact_whatever_the_tolerance() {
        let declared = info(Encoding::I64, 2);
        let own = Tensor::from_shape(&[1, 2], &[50_000i64, 7]).unwrap();
        let bytes: Vec<u8> = [50_001i64, 7]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let reason = differs(output(&declared, &bytes, &declared, &own, 0.1).unwrap());
        assert_eq!(
            reason,
            "output \"y\" at [0, 0]: claimed 50001, recomputed 50000"
        );
        let claim = info(Encoding::Fixed { exponent: -1 }, 2);
        let bytes = |v: [i64; 2]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let same = output(&claim, &bytes([100_000, 14]), &declared, &own, 0.0).unwrap();
        assert_eq!(same, Outcome::Agrees(Difference::default()));
        let half = output(&claim, &bytes([100_000, 15]), &declared, &own, 0.1).unwrap();
        assert!(differs(half).contains("claimed a fraction, recomputed 7"));
    }

    #[test]
    fn other_shape_type_name_or_length_is_a_difference() {
        let declared = info(Encoding::F32, 1);
        let own = Tensor::from_shape(&[1, 1], &[1f32]).unwrap();
        let bytes = 1f32.to_le_bytes();
        for claim in [
            info(Encoding::F64, 1),
            info(Encoding::F32, 2),
            TensorInfo {
                name: "z".into(),
                ..declared.clone()
            },
        ] {
            differs(output(&claim, &bytes, &declared, &own, 0.0).unwrap());
        }
        assert!(
            differs(output(&declared, &bytes[..3], &declared, &own, 0.0).unwrap())
                .contains("3 bytes, expected 4")
        );
    }

    #[test]
    fn place_counts_row_major() {
        assert_eq!(place(0, &[]), "");
        assert_eq!(place(7, &[2, 2, 3]), " at [1, 0, 1]");
    }
}
