//! JSON inputs: `{"input_data": [[…]]}`, `{"input": …}`, one key per tensor, or a bare
//! nested array for a model with a single input.

use super::{Array, Arrays, Side, describe};
use crate::error::{Error, Result};
use crate::values::Scalar;
use dsperse_plugin_api::TensorInfo;
use serde_json::{Map, Value};

pub(super) fn parse(bytes: &[u8], wanted: &[TensorInfo], side: Side) -> Result<Arrays> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| {
        Error::bad_input(format!("not a JSON document: {e}"))
            .with_hint("write {\"input_data\": [[…]]}, or use a .npy or .npz file")
    })?;
    match value {
        Value::Object(map) => object(map, wanted, side),
        bare if wanted.len() == 1 => Ok(Arrays::InOrder(vec![array(&bare)?])),
        _ => Err(Error::bad_input(format!(
            "a bare array is enough for a model with one {0} only; this model has {1}",
            side.word(),
            wanted.len()
        ))
        .with_hint(format!("write one key for each of {}", describe(wanted)))),
    }
}

fn object(map: Map<String, Value>, wanted: &[TensorInfo], side: Side) -> Result<Arrays> {
    // A tensor may itself be called "input": names of the model come first.
    if !wanted.is_empty() && wanted.iter().all(|w| map.contains_key(&w.name)) {
        return by_name(&map, wanted);
    }
    if side == Side::Output
        && let Some(Value::Object(outputs)) = map.get("outputs")
    {
        return by_name(outputs, wanted);
    }
    let keys: &[&str] = match side {
        Side::Input => &["input_data", "input"],
        Side::Output => &["output_data", "output"],
    };
    for key in keys {
        if let Some(value) = map.get(*key) {
            return in_order(value, wanted, side);
        }
    }
    if wanted.iter().any(|w| map.contains_key(&w.name)) {
        return by_name(&map, wanted);
    }
    let found: Vec<String> = map.keys().take(8).map(|k| format!("\"{k}\"")).collect();
    Err(Error::bad_input(format!(
        "no {} found: expected \"{}\" or the keys {}; found {}",
        side.word(),
        keys.first().copied().unwrap_or_default(),
        describe(wanted),
        if found.is_empty() {
            "nothing".to_owned()
        } else {
            found.join(", ")
        }
    )))
}

fn by_name(map: &Map<String, Value>, wanted: &[TensorInfo]) -> Result<Arrays> {
    let mut list = Vec::new();
    for w in wanted {
        let Some(value) = map.get(&w.name) else {
            continue;
        };
        // `{shape, dtype, data}` as our own output files have it.
        let found = match value.as_object().and_then(|o| o.get("data")) {
            Some(data) => array(data),
            None => array(value),
        };
        list.push((
            w.name.clone(),
            found.map_err(|e| e.at(format!("\"{}\"", w.name)))?,
        ));
    }
    Ok(Arrays::ByName(list))
}

fn in_order(value: &Value, wanted: &[TensorInfo], side: Side) -> Result<Arrays> {
    if wanted.len() == 1 {
        // Both one array for the only tensor and a list of one array are common.
        let whole = array(value);
        let only = wanted.first().and_then(TensorInfo::len);
        if let (Ok(a), Some(n)) = (&whole, only)
            && a.elements.len() as u64 == n
        {
            return whole.map(|a| Arrays::InOrder(vec![a]));
        }
        if let Some([inner]) = value.as_array().map(Vec::as_slice) {
            return Ok(Arrays::InOrder(vec![array(inner)?]));
        }
        return whole.map(|a| Arrays::InOrder(vec![a]));
    }
    let Some(list) = value.as_array() else {
        return Err(Error::bad_input(format!(
            "expected a list with one array for each {}, in this order: {}",
            side.word(),
            describe(wanted)
        )));
    };
    Ok(Arrays::InOrder(
        list.iter().map(array).collect::<Result<_>>()?,
    ))
}

/// A nested array with its shape.
fn array(value: &Value) -> Result<Array> {
    let mut shape = Vec::new();
    let mut at = value;
    while let Value::Array(items) = at {
        shape.push(items.len() as u64);
        match items.first() {
            Some(first) => at = first,
            None => break,
        }
    }
    let mut elements = Vec::new();
    fill(value, &shape, &mut elements)?;
    Ok(Array { shape, elements })
}

fn fill(value: &Value, shape: &[u64], out: &mut Vec<Scalar>) -> Result<()> {
    match (value, shape.split_first()) {
        (Value::Array(items), Some((n, rest))) if items.len() as u64 == *n => {
            items.iter().try_for_each(|v| fill(v, rest, out))
        }
        (Value::Array(_), _) => Err(Error::bad_input(
            "the array is ragged: rows of one axis have different lengths",
        )),
        (other, None) => {
            out.push(scalar(other)?);
            Ok(())
        }
        (other, Some(_)) => Err(Error::bad_input(format!(
            "the array is ragged: expected a row, found {}",
            short(other)
        ))),
    }
}

fn scalar(value: &Value) -> Result<Scalar> {
    match value {
        Value::Bool(b) => Ok(Scalar::Int((*b).into())),
        Value::Number(n) => {
            if let Some(i) = n.as_i64() {
                Ok(Scalar::Int(i.into()))
            } else if let Some(u) = n.as_u64() {
                Ok(Scalar::Int(u.into()))
            } else {
                n.as_f64()
                    .map(Scalar::Float)
                    .ok_or_else(|| Error::bad_input(format!("{n} is outside the range of numbers")))
            }
        }
        other => Err(Error::bad_input(format!(
            "expected a number, found {}",
            short(other)
        ))),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 40 {
        text.chars().take(40).chain("…".chars()).collect()
    } else {
        text
    }
}
