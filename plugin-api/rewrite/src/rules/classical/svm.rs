//! SVMClassifier and SVMRegressor (ai.onnx.ml 1). The kernel of the input with each support
//! vector is `x·s`, `(γ·x·s + c)^d`, `tanh(γ·x·s + c)`, or `exp(−γ·|x − s|²)` with
//! `|x − s|² = |x|² + |s|² − 2·x·s` after both were moved by the mean of the `s`, which
//! takes away most of the cancellation. One product with the coefficients makes the score of
//! each pair of classes; each pair votes, and the label is that of the most votes.
//!
//! With `prob_a` and `prob_b` the pairs' scores become probabilities `r = 1 − σ(a·s + b)`,
//! and the classes' are those that minimise `Σ (r_ji·p_i − r_ij·p_j)²` with sum 1 (Wu, Lin,
//! Weng 2004): `p ∝ adj(Q)·1`, written out for two and three classes. ONNX Runtime stops its
//! iteration towards them at an error of 0.005.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, ML, Rule, Site};
use dsperse_onnx::DataType;

use super::linear::{binary, labels, largest, transformed};
use super::simple::{matrix, vector};

pub(crate) const CLASSIFIER: Rule = Rule::of(ML, "ml-svm-classifier", "SVMClassifier", classifier);
pub(crate) const REGRESSOR: Rule = Rule::of(ML, "ml-svm-regressor", "SVMRegressor", regressor);

/// `[rows, vectors]`: the kernel of each row with each of the vectors, which are listed one
/// after the other.
fn kernel(b: &mut Builder<'_>, n: &Site<'_>, x: &Operand, vectors: &[f32]) -> Done<Operand> {
    let features = x.size(1);
    if features == 0 || vectors.is_empty() || !vectors.len().is_multiple_of(features) {
        return Decline::because("its support vectors do not fit its input");
    }
    let count = vectors.len() / features;
    let (gamma, shift, degree) = match n.floats("kernel_params")? {
        [] => (0.0, 0.0, 0.0),
        [g, c, d] => (f64::from(*g), f64::from(*c), f64::from(*d)),
        _ => return Decline::because("its kernel_params are not three numbers"),
    };
    let name = n.text("kernel_type", "LINEAR")?;
    if name == "RBF" {
        return gaussian(b, x, vectors, gamma);
    }
    let s = vector(b, vectors)?;
    let s = b.reshape(&s, &[count, features])?;
    let s = b.transpose(&s, &[1, 0])?;
    let product = b.matmul(x, &s)?;
    if name == "LINEAR" {
        return Ok(product);
    }
    let t = b.scale(&product, gamma)?;
    let t = b.add_number(&t, shift)?;
    match name {
        "POLY" => {
            let degree = b.scalar(&t, degree)?;
            b.node("Pow", &[&t, &degree], vec![])
        }
        "SIGMOID" => b.tanh(&t),
        other => Decline::because(format!("its kernel \"{other}\" is unknown")),
    }
}

/// `exp(−γ·|x − s|²)`.
fn gaussian(b: &mut Builder<'_>, x: &Operand, vectors: &[f32], gamma: f64) -> Done<Operand> {
    let features = x.size(1);
    let count = vectors.len() / features;
    let mut mean = vec![0.0; features];
    for (i, v) in vectors.iter().enumerate() {
        #[allow(clippy::cast_precision_loss)] // a number of vectors
        let part = f64::from(*v) / count as f64;
        mean[i % features] += part;
    }
    // As it is in single precision, so that both sides move by the same.
    #[allow(clippy::cast_possible_truncation)]
    mean.iter_mut().for_each(|m| *m = f64::from(*m as f32));
    let moved: Vec<f64> = vectors
        .iter()
        .enumerate()
        .map(|(i, v)| f64::from(*v) - mean[i % features])
        .collect();
    let squares: Vec<f64> = moved
        .chunks(features)
        .map(|s| s.iter().map(|v| v * v).sum())
        .collect();
    let mut columns = vec![0.0; moved.len()];
    for (k, s) in moved.chunks(features).enumerate() {
        for (j, v) in s.iter().enumerate() {
            columns[j * count + k] = -2.0 * v;
        }
    }
    let f = DataType::F32;
    let mean = b.numbers(f, &[features], &mean)?;
    let x = b.sub(x, &mean)?;
    let own = b.mul(&x, &x)?;
    let own = b.sum(&own, &[1], true)?;
    let columns = b.numbers(f, &[features, count], &columns)?;
    let cross = b.matmul(&x, &columns)?;
    let squares = b.numbers(f, &[1, count], &squares)?;
    let d = b.add(&cross, &squares)?;
    let d = b.add(&d, &own)?;
    // Rounding must not make a distance negative.
    let d = b.relu(&d)?;
    let d = b.scale(&d, -gamma)?;
    b.exp(&d)
}

/// Pairs of classes, the first below the second.
fn pairs(classes: usize) -> Vec<(usize, usize)> {
    (0..classes)
        .flat_map(|i| (i + 1..classes).map(move |j| (i, j)))
        .collect()
}

fn classifier(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let strings = n.node().strings("classlabels_strings")?.unwrap_or_default();
    let classes = n
        .ints("classlabels_ints")?
        .map_or(strings.len(), <[i64]>::len);
    if classes < 2 {
        return Decline::because("it has less than two classes");
    }
    let x = matrix(b, n)?;
    let rho = n.floats("rho")?;
    let counts = n.ints("vectors_per_class")?.unwrap_or_default();
    let supports: usize = counts
        .iter()
        .map(|c| usize::try_from(*c).unwrap_or(0))
        .sum();
    let coefficients = n.floats("coefficients")?;
    if supports == 0 {
        return linear(b, n, &x, classes, coefficients);
    }
    let pairs = pairs(classes);
    if counts.len() != classes
        || coefficients.len() != (classes - 1) * supports
        || rho.len() < pairs.len()
    {
        return Decline::because("its coefficients do not fit its classes");
    }
    let starts: Vec<usize> = counts
        .iter()
        .scan(0, |at, c| {
            let start = *at;
            *at += usize::try_from(*c).unwrap_or(0);
            Some(start)
        })
        .chain([supports])
        .collect();
    // The coefficients of class i against j stand in row j − 1, those of j against i in i.
    let mut table = vec![0.0; supports * pairs.len()];
    for (k, (i, j)) in pairs.iter().enumerate() {
        for (class, row) in [(*i, j - 1), (*j, *i)] {
            for m in starts[class]..starts[class + 1] {
                table[m * pairs.len() + k] = f64::from(coefficients[row * supports + m]);
            }
        }
    }
    let kernels = kernel(b, n, &x, n.floats("support_vectors")?)?;
    if kernels.size(1) != supports {
        return Decline::because("its support vectors do not fit its classes");
    }
    let f = DataType::F32;
    let table = b.numbers(f, &[supports, pairs.len()], &table)?;
    let scores = b.matmul(&kernels, &table)?;
    let rho = vector(b, &rho[..pairs.len()])?;
    let scores = b.add(&scores, &rho)?;
    let zero = b.scalar(&scores, 0.0)?;
    let first = b.compare("Greater", &scores, &zero)?;
    let first = b.cast(&first, f)?;
    // A pair's vote goes to its first class, or else to its second one.
    let (mut votes, mut else_votes) = (vec![0.0; pairs.len() * classes], vec![0.0; classes]);
    for (k, (i, j)) in pairs.iter().enumerate() {
        votes[k * classes + i] = 1.0;
        votes[k * classes + j] = -1.0;
        else_votes[*j] += 1.0;
    }
    let votes = b.numbers(f, &[pairs.len(), classes], &votes)?;
    let else_votes = b.numbers(f, &[classes], &else_votes)?;
    let votes = b.matmul(&first, &votes)?;
    let votes = b.add(&votes, &else_votes)?;
    let index = largest(b, &votes)?;
    let label = labels(b, n, &index)?;
    if !n.output_is_used(1) {
        return Ok(vec![label]);
    }
    let (pa, pb) = (n.floats("prob_a")?, n.floats("prob_b")?);
    if !pa.is_empty() {
        if pa.len() != pairs.len() || pb.len() != pairs.len() {
            return Decline::because("its prob_a and prob_b do not fit its classes");
        }
        let p = probabilities(b, &scores, classes, (pa, pb))?;
        return Ok(vec![label, transformed(b, n, &p)?]);
    }
    if classes == 2 {
        let probability = n.text("post_transform", "NONE")? != "NONE";
        let both = binary(b, n, &scores, 0.0, probability)?;
        return Ok(vec![label, both[1].clone()]);
    }
    Ok(vec![label, transformed(b, n, &scores)?])
}

/// Without support vectors: one row of coefficients for each class.
fn linear(
    b: &mut Builder<'_>,
    n: &Site<'_>,
    x: &Operand,
    classes: usize,
    coefficients: &[f32],
) -> Done {
    let rho = n.floats("rho")?.first().copied().unwrap_or(0.0);
    if coefficients.len() != classes * x.size(1) {
        return Decline::because("its coefficients do not fit its input");
    }
    let w = vector(b, coefficients)?;
    let w = b.reshape(&w, &[classes, x.size(1)])?;
    let w = b.transpose(&w, &[1, 0])?;
    let scores = b.matmul(x, &w)?;
    let scores = b.add_number(&scores, f64::from(rho))?;
    let mut index = largest(b, &scores)?;
    if classes == 2 && n.floats("prob_a")?.is_empty() {
        // ONNX Runtime gives the second label whenever the largest score says so.
        let positive = coefficients.iter().all(|c| *c >= 0.0);
        let max = b.reduce("ReduceMax", &scores, &[1], false)?;
        let bound = b.scalar(&max, if positive { 0.5 } else { 0.0 })?;
        let operator = if positive {
            "GreaterOrEqual"
        } else {
            "Greater"
        };
        let second = b.compare(operator, &max, &bound)?;
        let second = b.cast(&second, DataType::I64)?;
        index = b.max(&index, &second)?;
    }
    let label = labels(b, n, &index)?;
    Ok(vec![label, transformed(b, n, &scores)?])
}

/// Probabilities of the classes from the scores of the pairs.
fn probabilities(
    b: &mut Builder<'_>,
    scores: &Operand,
    classes: usize,
    (pa, pb): (&[f32], &[f32]),
) -> Done<Operand> {
    if classes > 3 {
        return Decline::because(format!("it has probabilities of {classes} classes"));
    }
    let (pa, pb) = (vector(b, pa)?, vector(b, pb)?);
    let t = b.mul(scores, &pa)?;
    let t = b.add(&t, &pb)?;
    // 1 − σ(t) = σ(−t)
    let t = b.neg(&t)?;
    let r = b.sigmoid(&t)?;
    let r = b.clip(&r, 1e-7, 1.0 - 1e-7)?;
    let one = b.scalar(&r, 1.0)?;
    let back = b.sub(&one, &r)?;
    if classes == 2 {
        return b.concat(&[r, back], 1);
    }
    let (up, down) = (b.split(&r, 1, &[1; 3])?, b.split(&back, 1, &[1; 3])?);
    let [r01, r02, r12] = [&up[0], &up[1], &up[2]];
    let [r10, r20, r21] = [&down[0], &down[1], &down[2]];
    let squares = |b: &mut Builder<'_>, x: &Operand, y: &Operand| {
        let (x, y) = (b.mul(x, x)?, b.mul(y, y)?);
        b.add(&x, &y)
    };
    // Q with its diagonal (q0, q1, q2) and, negated, its other entries (m01, m02, m12).
    let (q0, q1, q2) = (
        squares(b, r10, r20)?,
        squares(b, r01, r21)?,
        squares(b, r02, r12)?,
    );
    let (m01, m02, m12) = (b.mul(r10, r01)?, b.mul(r20, r02)?, b.mul(r21, r12)?);
    // Cofactors a·c − m² on the diagonal, and m·m' + m''·q beside it.
    let minor = |b: &mut Builder<'_>, x: &Operand, y: &Operand, m: &Operand| {
        let (xy, mm) = (b.mul(x, y)?, b.mul(m, m)?);
        b.sub(&xy, &mm)
    };
    let side = |b: &mut Builder<'_>, x: &Operand, y: &Operand, m: &Operand, q: &Operand| {
        let (xy, mq) = (b.mul(x, y)?, b.mul(m, q)?);
        b.add(&xy, &mq)
    };
    let (c00, c11, c22) = (
        minor(b, &q1, &q2, &m12)?,
        minor(b, &q0, &q2, &m02)?,
        minor(b, &q0, &q1, &m01)?,
    );
    let (c01, c02, c12) = (
        side(b, &m02, &m12, &m01, &q2)?,
        side(b, &m01, &m12, &m02, &q1)?,
        side(b, &m01, &m02, &m12, &q0)?,
    );
    let rows = [[&c00, &c01, &c02], [&c01, &c11, &c12], [&c02, &c12, &c22]];
    let mut parts = Vec::new();
    for [x, y, z] in rows {
        let t = b.add(x, y)?;
        parts.push(b.add(&t, z)?);
    }
    let p = b.concat(&parts, 1)?;
    let sum = b.sum(&p, &[1], true)?;
    b.div(&p, &sum)
}

fn regressor(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let transform = n.text("post_transform", "NONE")?;
    if transform != "NONE" {
        return Decline::because(format!("its post_transform is \"{transform}\""));
    }
    let x = matrix(b, n)?;
    let coefficients = n.floats("coefficients")?;
    let kernels = if n.int("n_supports", 0)? > 0 {
        kernel(b, n, &x, n.floats("support_vectors")?)?
    } else {
        x
    };
    if kernels.size(1) != coefficients.len() {
        return Decline::because("its coefficients do not fit its support vectors");
    }
    let w = vector(b, coefficients)?;
    let w = b.reshape(&w, &[coefficients.len(), 1])?;
    let y = b.matmul(&kernels, &w)?;
    let rho = n.floats("rho")?.first().copied().unwrap_or(0.0);
    let y = b.add_number(&y, f64::from(rho))?;
    if !n.flag("one_class", false)? {
        return Ok(vec![y]);
    }
    let zero = b.scalar(&y, 0.0)?;
    let inside = b.compare("Greater", &y, &zero)?;
    let inside = b.cast(&inside, y.dtype)?;
    let inside = b.scale(&inside, 2.0)?;
    Ok(vec![b.add_number(&inside, -1.0)?])
}
