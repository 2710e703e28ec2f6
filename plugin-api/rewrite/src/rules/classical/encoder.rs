//! Tables of numbers (ai.onnx.ml): LabelEncoder gives the value of the key that is equal to
//! the input, `Σ [x = key]·(value − default) + default`; OneHotEncoder one column for each
//! category; Imputer puts a value where the input is another one, or no number.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, ML, Rule, Site};
use dsperse_onnx::{DataType, Tensor};

pub(crate) const LABEL: Rule = Rule::of(ML, "ml-label-encoder", "LabelEncoder", label);
pub(crate) const ONE_HOT: Rule = Rule::of(ML, "ml-one-hot-encoder", "OneHotEncoder", one_hot);
pub(crate) const IMPUTER: Rule = Rule::of(ML, "ml-imputer", "Imputer", imputer);

/// Integers up to here are exact in single precision.
const EXACT: f64 = 16_777_216.0;

/// A list in one of its attributes: integers, floats or a tensor. `None` for strings.
fn table(n: &Site<'_>, name: &str) -> Done<Option<(Vec<f64>, DataType)>> {
    if let Some(v) = n.ints(&format!("{name}_int64s"))? {
        #[allow(clippy::cast_precision_loss)] // looked at by the caller
        let v = v.iter().map(|v| *v as f64).collect();
        return Ok(Some((v, DataType::I64)));
    }
    let floats = n.floats(&format!("{name}_floats"))?;
    if !floats.is_empty() {
        let v = floats.iter().map(|v| f64::from(*v)).collect();
        return Ok(Some((v, DataType::F32)));
    }
    let Some(t) = n.node().tensor(&format!("{name}_tensor"))? else {
        return Ok(None);
    };
    let t = Tensor::read(t)?;
    Ok(t.values.to_f64().map(|v| (v, t.values.dtype())))
}

/// `[x = v]` for each of these values along a new last axis, as single floats.
fn equal(b: &mut Builder<'_>, x: &Operand, v: &[f64]) -> Done<Operand> {
    let mut shape = x.shape.clone();
    shape.push(1);
    let x = b.reshape(x, &shape)?;
    let v = b.numbers(x.dtype, &[v.len()], v)?;
    let hit = b.compare("Equal", &x, &v)?;
    b.cast(&hit, DataType::F32)
}

fn label(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (Some((keys, _)), Some((values, to))) = (table(n, "keys")?, table(n, "values")?) else {
        return Decline::because("it reads or writes strings");
    };
    if keys.len() != values.len() || keys.is_empty() {
        return Decline::because("its keys do not fit its values");
    }
    if keys.iter().any(|k| k.is_nan()) {
        return Decline::because("one of its keys is no number");
    }
    let default = match (n.node().tensor("default_tensor")?, to) {
        (Some(t), _) => Tensor::read(t)?
            .values
            .to_f64()
            .and_then(|v| v.first().copied())
            .ok_or_else(|| Decline("its default is no number".into()))?,
        #[allow(clippy::cast_precision_loss)] // looked at below
        (None, DataType::I64) => n.int("default_int64", -1)? as f64,
        (None, _) => n.float("default_float", -0.0)?,
    };
    let large = values.iter().chain([&default]).any(|v| v.abs() > EXACT);
    if large && !to.is_float() {
        return Decline::because("its values are too large for exact sums");
    }
    // The first of equal keys counts.
    let mut seen: Vec<f64> = Vec::new();
    let mut shifts = Vec::new();
    for (key, value) in keys.iter().zip(&values) {
        if !seen.contains(key) {
            seen.push(*key);
            shifts.push(value - default);
        }
    }
    let hit = equal(b, &x, &seen)?;
    let rows = b.reshape(&hit, &[x.elements(), seen.len()])?;
    let shifts = b.numbers(DataType::F32, &[seen.len(), 1], &shifts)?;
    let y = b.matmul(&rows, &shifts)?;
    let y = b.add_number(&y, default)?;
    let y = b.reshape(&y, &x.shape)?;
    Ok(vec![b.cast(&y, to)?])
}

fn one_hot(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let Some(categories) = n.ints("cats_int64s")? else {
        return Decline::because("its categories are strings");
    };
    if !n.flag("zeros", true)? {
        return Decline::because("it fails on unknown categories");
    }
    let x = b.cast(&x, DataType::I64)?;
    #[allow(clippy::cast_precision_loss)] // looked at in the next line
    let list: Vec<f64> = categories.iter().map(|c| *c as f64).collect();
    if list.iter().any(|c| c.abs() > EXACT) {
        return Decline::because("one of its categories is too large");
    }
    Ok(vec![equal(b, &x, &list)?])
}

fn imputer(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (values, replaced) = if x.dtype.is_float() {
        let v: Vec<f64> = n
            .floats("imputed_value_floats")?
            .iter()
            .map(|v| f64::from(*v))
            .collect();
        (v, n.float("replaced_value_float", 0.0)?)
    } else {
        let v = n.ints("imputed_value_int64s")?.unwrap_or_default();
        #[allow(clippy::cast_precision_loss)] // looked at below
        (
            v.iter().map(|v| *v as f64).collect(),
            n.int("replaced_value_int64", 0)? as f64,
        )
    };
    let width = x.size(x.rank().saturating_sub(1));
    if values.len() != 1 && values.len() != width {
        return Decline::because("its values do not fit its input");
    }
    if !x.dtype.is_float() && values.iter().any(|v| v.abs() > EXACT) {
        return Decline::because("one of its values is too large");
    }
    let hit = if replaced.is_nan() {
        b.unary("IsNaN", &x)?
    } else {
        let replaced = b.scalar(&x, replaced)?;
        b.compare("Equal", &x, &replaced)?
    };
    let values = b.numbers(x.dtype, &[values.len()], &values)?;
    Ok(vec![b.node("Where", &[&hit, &values, &x], vec![])?])
}
