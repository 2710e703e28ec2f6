//! LinearRegressor and LinearClassifier (ai.onnx.ml 1): `X·Wᵀ + b`, the classifier's label
//! is that of the largest score. One row of weights for two labels makes one score, whose
//! sign decides.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, ML, Rule, Site};
use dsperse_onnx::{AttributeProto, DataType};

use super::simple::{matrix, vector};

pub(crate) const REGRESSOR: Rule =
    Rule::of(ML, "ml-linear-regressor", "LinearRegressor", regressor);
pub(crate) const CLASSIFIER: Rule =
    Rule::of(ML, "ml-linear-classifier", "LinearClassifier", classifier);

/// `X·Wᵀ + b` for this many targets.
fn scores(b: &mut Builder<'_>, n: &Site<'_>, targets: usize) -> Done<Operand> {
    let x = matrix(b, n)?;
    let list = n.floats("coefficients")?;
    let features = x.size(1);
    if targets.checked_mul(features) != Some(list.len()) {
        return Decline::because("its weights do not fit its input");
    }
    let w = vector(b, list)?;
    let w = b.reshape(&w, &[targets, features])?;
    let w = b.transpose(&w, &[1, 0])?;
    let y = b.matmul(&x, &w)?;
    let intercepts = n.floats("intercepts")?;
    if intercepts.is_empty() {
        return Ok(y);
    }
    if intercepts.len() != targets {
        return Decline::because("its intercepts do not fit its targets");
    }
    let v = vector(b, intercepts)?;
    b.add(&y, &v)
}

/// The node's `post_transform` of its scores.
pub(crate) fn transformed(b: &mut Builder<'_>, n: &Site<'_>, y: &Operand) -> Done<Operand> {
    post_transform(b, n.text("post_transform", "NONE")?, y)
}

/// A `post_transform` of scores `[rows, targets]`. `SOFTMAX_ZERO` leaves zeros zero.
pub(crate) fn post_transform(b: &mut Builder<'_>, name: &str, y: &Operand) -> Done<Operand> {
    if y.size(1) == 1 && name != "NONE" {
        return Decline::because(format!(
            "it has one score and the post_transform \"{name}\", which ONNX Runtime does not do"
        ));
    }
    match name {
        "NONE" => Ok(y.clone()),
        "LOGISTIC" => b.sigmoid(y),
        "SOFTMAX" => b.softmax(y, 1),
        "SOFTMAX_ZERO" => {
            let max = b.reduce("ReduceMax", y, &[1], true)?;
            let e = b.sub(y, &max)?;
            let e = b.exp(&e)?;
            let size = b.abs(y)?;
            let least = b.scalar(y, 1e-7)?;
            let counts = b.compare("Greater", &size, &least)?;
            let counts = b.cast(&counts, y.dtype)?;
            let e = b.mul(&e, &counts)?;
            let sum = b.sum(&e, &[1], true)?;
            b.div(&e, &sum)
        }
        other => Decline::because(format!("its post_transform is \"{other}\"")),
    }
}

fn regressor(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let targets = usize::try_from(n.int("targets", 1)?).unwrap_or(0);
    let y = scores(b, n, targets)?;
    Ok(vec![transformed(b, n, &y)?])
}

/// The labels that belong to places, when someone reads them.
pub(crate) fn labels(b: &mut Builder<'_>, n: &Site<'_>, index: &Operand) -> Done<Operand> {
    if !n.output_is_used(0) {
        // Its name is empty or unread, so any tensor of the right kind does.
        return Ok(index.clone());
    }
    let Some(list) = n
        .ints("classlabels_ints")?
        .or(n.ints("classlabels_int64s")?)
    else {
        return Decline::because("its labels are strings");
    };
    if list.iter().copied().eq(0..list.len() as i64) {
        return Ok(index.clone());
    }
    let list = b.ints(list);
    b.node(
        "Gather",
        &[&list, index],
        vec![AttributeProto::from_int("axis", 0)],
    )
}

/// Label and scores, as the classifiers of `ai.onnx.ml` give them: the label is that of the
/// largest of `raw`.
pub(crate) fn classified(
    b: &mut Builder<'_>,
    n: &Site<'_>,
    raw: &Operand,
    scores: Operand,
) -> Done {
    let index = if n.output_is_used(0) {
        largest(b, raw)?
    } else {
        let zeros = vec![0.0; raw.size(0)];
        b.numbers(DataType::I64, &[raw.size(0)], &zeros)?
    };
    Ok(vec![labels(b, n, &index)?, scores])
}

/// The place of the largest of each row.
pub(crate) fn largest(b: &mut Builder<'_>, raw: &Operand) -> Done<Operand> {
    let attributes = vec![
        AttributeProto::from_int("axis", 1),
        AttributeProto::from_int("keepdims", 0),
    ];
    b.node("ArgMax", &[raw], attributes)
}

/// Label and scores of two classes with one score `[rows, 1]`: the second label above
/// `half`; the scores are `1 − s` and `s`, or `−s` and `s`; with LOGISTIC their sigmoids.
pub(crate) fn binary(
    b: &mut Builder<'_>,
    n: &Site<'_>,
    s: &Operand,
    half: f64,
    probability: bool,
) -> Done {
    let half = b.scalar(s, half)?;
    let index = b.compare("Greater", s, &half)?;
    let index = b.cast(&index, DataType::I64)?;
    let index = b.reshape(&index, &[s.size(0)])?;
    let label = labels(b, n, &index)?;
    let logistic = match n.text("post_transform", "NONE")? {
        "LOGISTIC" => true,
        "NONE" | "SOFTMAX" | "SOFTMAX_ZERO" => false,
        other => return Decline::because(format!("its post_transform is \"{other}\"")),
    };
    let other = if probability && !logistic {
        let one = b.scalar(s, 1.0)?;
        b.sub(&one, s)?
    } else {
        b.neg(s)?
    };
    let both = b.concat(&[other, s.clone()], 1)?;
    let both = if logistic { b.sigmoid(&both)? } else { both };
    Ok(vec![label, both])
}

fn classifier(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let strings = n.node().strings("classlabels_strings")?.unwrap_or_default();
    let count = n
        .ints("classlabels_ints")?
        .map_or(strings.len(), <[i64]>::len);
    if count == 2 && n.floats("intercepts")?.len() == 1 {
        let s = scores(b, n, 1)?;
        return binary(b, n, &s, 0.0, true);
    }
    let raw = scores(b, n, count)?;
    let y = transformed(b, n, &raw)?;
    classified(b, n, &raw, y)
}
