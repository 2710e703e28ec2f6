//! LinearRegressor and LinearClassifier (ai.onnx.ml 1): `X·Wᵀ + b`, the classifier's label
//! is that of the largest score. Classifiers with one row of weights for two labels are
//! declined.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, ML, Rule, Site};
use dsperse_onnx::{AttributeProto, DataType};

use super::simple::{single, vector};

pub(crate) const REGRESSOR: Rule =
    Rule::of(ML, "ml-linear-regressor", "LinearRegressor", regressor);
pub(crate) const CLASSIFIER: Rule =
    Rule::of(ML, "ml-linear-classifier", "LinearClassifier", classifier);

/// `X·Wᵀ + b` for this many targets.
fn scores(b: &mut Builder<'_>, n: &Site<'_>, targets: usize) -> Done<Operand> {
    let mut x = single(b, n)?;
    if x.rank() == 1 {
        x = b.reshape(&x, &[1, x.size(0)])?;
    }
    let list = n.floats("coefficients")?;
    let [_, features] = *x.shape.as_slice() else {
        return Decline::because("its input is no matrix");
    };
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

/// The standard's `post_transform` of several scores.
pub(crate) fn transformed(b: &mut Builder<'_>, n: &Site<'_>, y: &Operand) -> Done<Operand> {
    match n.text("post_transform", "NONE")? {
        "NONE" => Ok(y.clone()),
        "LOGISTIC" => b.sigmoid(y),
        "SOFTMAX" => b.softmax(y, 1),
        other => Decline::because(format!("its post_transform is \"{other}\"")),
    }
}

fn regressor(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let targets = usize::try_from(n.int("targets", 1)?).unwrap_or(0);
    let y = scores(b, n, targets)?;
    Ok(vec![transformed(b, n, &y)?])
}

/// The labels that belong to scores, when someone reads them.
pub(crate) fn labels(b: &mut Builder<'_>, n: &Site<'_>, index: &Operand) -> Done<Operand> {
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

/// Label and scores, as the classifiers of `ai.onnx.ml` give them.
pub(crate) fn classified(
    b: &mut Builder<'_>,
    n: &Site<'_>,
    raw: &Operand,
    scores: Operand,
) -> Done {
    let label = if n.output_is_used(0) {
        let attributes = vec![
            AttributeProto::from_int("axis", 1),
            AttributeProto::from_int("keepdims", 0),
        ];
        let index = b.node("ArgMax", &[raw], attributes)?;
        labels(b, n, &index)?
    } else {
        // Its name is empty or unread, so any tensor of the right kind does.
        let zeros = vec![0.0; raw.size(0)];
        b.numbers(DataType::I64, &[raw.size(0)], &zeros)?
    };
    Ok(vec![label, scores])
}

fn classifier(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let strings = n.node().strings("classlabels_strings")?.unwrap_or_default();
    let count = n
        .ints("classlabels_ints")?
        .map_or(strings.len(), <[i64]>::len);
    let raw = scores(b, n, count)?;
    let y = transformed(b, n, &raw)?;
    classified(b, n, &raw, y)
}
