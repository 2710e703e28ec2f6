//! Small operators of `ai.onnx.ml`: Scaler `(x − offset)·scale`, Normalizer (rows divided by
//! their 1- or 2-norm, or by their greatest element), Binarizer `[x > threshold]`, ArrayFeatureExtractor (a Gather along
//! the last axis), FeatureVectorizer (Concat of columns).

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, ML, Rule, Site};
use dsperse_onnx::{AttributeProto, DataType};

pub(crate) const RULES: [Rule; 5] = [
    Rule::of(ML, "ml-scaler", "Scaler", scaler),
    Rule::of(ML, "ml-normalizer", "Normalizer", normalizer),
    Rule::of(ML, "ml-binarizer", "Binarizer", binarizer),
    Rule::of(
        ML,
        "ml-array-feature-extractor",
        "ArrayFeatureExtractor",
        extractor,
    ),
    Rule::of(ML, "ml-feature-vectorizer", "FeatureVectorizer", vectorizer),
];

/// The input as single precision, the type in which these operators compute.
pub(crate) fn single(b: &mut Builder<'_>, n: &Site<'_>) -> Done<Operand> {
    let x = n.input(0)?;
    b.cast(&x, DataType::F32)
}

/// The same as a matrix: a vector is one row.
pub(crate) fn matrix(b: &mut Builder<'_>, n: &Site<'_>) -> Done<Operand> {
    let x = single(b, n)?;
    match *x.shape.as_slice() {
        [_, _] => Ok(x),
        [columns] => b.reshape(&x, &[1, columns]),
        _ => Decline::because("its input is no matrix"),
    }
}

/// A list of floats as a vector that broadcasts along the last axis.
pub(crate) fn vector(b: &mut Builder<'_>, v: &[f32]) -> Done<Operand> {
    let v: Vec<f64> = v.iter().map(|x| f64::from(*x)).collect();
    b.numbers(DataType::F32, &[v.len()], &v)
}

fn scaler(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let mut x = single(b, n)?;
    let (offset, scale) = (n.floats("offset")?, n.floats("scale")?);
    let width = x.size(x.rank().saturating_sub(1));
    for (list, operator) in [(offset, "Sub"), (scale, "Mul")] {
        if list.is_empty() {
            continue;
        }
        if list.len() != 1 && list.len() != width {
            return Decline::because("its offset or scale does not fit its input");
        }
        let v = vector(b, list)?;
        x = b.node(operator, &[&x, &v], vec![])?;
    }
    Ok(vec![x])
}

fn normalizer(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = single(b, n)?;
    let last = x.rank().saturating_sub(1);
    let operator = match n.text("norm", "MAX")? {
        "MAX" => {
            // By the greatest with its sign; zero divides nothing.
            let max = b.reduce("ReduceMax", &x, &[last], true)?;
            let zero = b.scalar(&max, 0.0)?;
            let none = b.compare("Equal", &max, &zero)?;
            let none = b.cast(&none, max.dtype)?;
            let max = b.add(&max, &none)?;
            return Ok(vec![b.div(&x, &max)?]);
        }
        "L1" => "ReduceL1",
        "L2" => "ReduceL2",
        other => return Decline::because(format!("its norm is \"{other}\"")),
    };
    let norm = b.reduce(operator, &x, &[last], true)?;
    // All zeros stay zeros.
    let least = b.scalar(&norm, 1e-30)?;
    let norm = b.max(&norm, &least)?;
    Ok(vec![b.div(&x, &norm)?])
}

fn binarizer(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let threshold = b.scalar(&x, n.float("threshold", 0.0)?)?;
    let above = b.compare("Greater", &x, &threshold)?;
    Ok(vec![b.cast(&above, x.dtype)?])
}

fn extractor(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, places) = (n.input(0)?, n.input(1)?);
    let last = x.rank().saturating_sub(1);
    if b.value(&places).is_none() {
        // Whoever has a Gather by computed places takes these too.
        let flat = b.reshape(&places, &[places.elements()])?;
        let axis = vec![AttributeProto::from_int("axis", last as i64)];
        let y = b.node("Gather", &[&x, &flat], axis)?;
        return Ok(vec![b.reshape(
            &y,
            &[x.elements() / x.size(last).max(1), flat.elements()],
        )?]);
    }
    let places: Vec<usize> = b
        .ints_of(&places)?
        .into_iter()
        .map(|p| usize::try_from(p).ok().filter(|p| *p < x.size(last)))
        .collect::<Option<_>>()
        .ok_or_else(|| Decline("its indices are out of range".into()))?;
    let y = b.gather(&x, &places, last)?;
    if x.rank() == 1 {
        return Ok(vec![b.reshape(&y, &[1, places.len()])?]);
    }
    Ok(vec![y])
}

fn vectorizer(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let mut parts = Vec::new();
    for x in n.inputs()? {
        if x.rank() != 2 {
            return Decline::because("its inputs are no matrices");
        }
        parts.push(b.cast(&x, DataType::F32)?);
    }
    Ok(vec![b.concat(&parts, 1)?])
}
