//! From a slice to a circuit with settings that make slices link, and the check that the
//! circuit computes what the float model does.
//!
//! Scales are fixed (the same for inputs and weights) and results are rebased to them, so
//! that the integers that leave one slice are those that enter the next one. EZKL's own
//! calibration is not used: it chooses scales that do not link, and circuits that fail on
//! inputs a little larger than those it saw.

use crate::claim::{Settings, field, integer, integers};
use crate::driver::Ezkl;
use crate::files::{Work, payload, read_json, sort_maps, write_json};
use crate::model::normalise;
use crate::options::{DEFAULT_SCALE, integer_option, max_error};
use crate::srs::{LOGROWS, Places};
use crate::verdict::read_settings;
use dsperse_plugin_api::{CompileJob, Cx, Error, Result, TensorFile};
use serde_json::{Value, json};
use std::path::Path;

/// More blocks of columns than this make a proof long and its verification slow.
const MAX_BLOCKS: u64 = 64;

/// The settings of a slice; the files `model.onnx` and `settings.json` lie in the work
/// directory.
#[derive(Debug)]
pub struct Settled {
    /// As EZKL wrote them.
    pub settings: Settings,
    /// Rows that the computation needs with the default number of columns.
    pub rows: u64,
    /// Rows of the circuit as a power of two.
    pub logrows: u32,
    /// Bits after the binary point.
    pub scale: i64,
}

/// Writes the model in explicit form and chooses its settings.
///
/// # Errors
/// `unsupported` when EZKL refuses the slice, `resource` when it needs more memory than
/// the call may use.
pub fn settle(
    ezkl: &Ezkl,
    job: &CompileJob,
    places: &Places,
    work: &Work,
    cx: &Cx,
) -> Result<Settled> {
    std::fs::write(work.file("model.onnx"), normalise(payload(&job.slice)?)?)?;
    let scale = integer_option(&job.options, "scale", 1..=30)?.unwrap_or(DEFAULT_SCALE);
    let make = |logrows: u32| -> Result<Settings> {
        let request = json!({
            "model": work.file("model.onnx"),
            "settings": work.file("settings.json"),
            "scale": scale,
            "logrows": logrows,
        });
        refused(ezkl.run("settings", request, cx)?)?;
        let path = work.file("settings.json");
        write_json(&path, &stable(read_json(&path)?))?;
        read_settings(&path)
    };
    let (low, high) = (*LOGROWS.start(), *LOGROWS.end());
    let wish = integer_option(&job.options, "logrows", i64::from(low)..=i64::from(high))?;
    let first = wish.and_then(|k| u32::try_from(k).ok()).unwrap_or(low);
    let mut settings = make(first)?;
    let rows = settings.num_rows;
    let logrows = match wish {
        Some(_) => first,
        None => choose_logrows(rows, places),
    };
    let estimate = peak_estimate(rows, logrows);
    if let Some(limit) = cx.memory_limit().filter(|limit| *limit < estimate) {
        return Err(Error::resource(format!(
            "EZKL needs about {} MB to prove this slice ({rows} rows), the limit is {} MB",
            estimate >> 20,
            limit >> 20
        )));
    }
    if logrows != first {
        settings = make(logrows)?;
    }
    Ok(Settled {
        settings,
        rows,
        logrows,
        scale,
    })
}

/// Settings without what differs between two compilations of the same slice: the time of
/// day, and the order of sets. The circuit is made from these settings, and its keys depend
/// on the order of the sets, so this is done first and never again.
fn stable(mut document: Value) -> Value {
    if let Some(map) = document.as_object_mut() {
        map.insert("timestamp".into(), json!(0));
        for key in ["required_range_checks", "required_lookups"] {
            if let Some(Value::Array(list)) = map.get_mut(key) {
                list.sort_by_key(ToString::to_string);
            }
        }
        sort_maps(map);
    }
    document
}

/// What is known of a circuit's results.
#[derive(Debug)]
pub struct Fidelity {
    /// Largest error on the calibration samples, relative to the largest float output or to
    /// 1; `None` without samples.
    pub max_error: Option<f64>,
    /// Sentences for the user.
    pub warnings: Vec<String>,
}

/// Makes `circuit.ezkl` in the work directory, compares its outputs with the float model's
/// on the calibration samples, and looks whether inputs twice as large still work.
///
/// # Errors
/// `unsupported` when EZKL refuses the slice, or its results are too far from the floats.
pub fn build(
    ezkl: &Ezkl,
    job: &CompileJob,
    settled: &Settled,
    work: &Work,
    cx: &Cx,
) -> Result<Fidelity> {
    let settings = &settled.settings;
    let circuit = work.file("circuit.ezkl");
    let request = json!({
        "model": work.file("model.onnx"),
        "circuit": circuit,
        "settings": work.file("settings.json"),
    });
    refused(ezkl.run("compile_circuit", request, cx)?)?;

    let bound = max_error(&job.options)?;
    let (_, exponents) = settings.exponents();
    let mut worst = 0f64;
    let mut warnings = Vec::new();
    for (i, sample) in job.calibration.iter().enumerate() {
        let inputs = integers_of(sample, settings)?;
        let outputs = make_witness(ezkl, &circuit, &inputs, settings, work, cx)?;
        if let Some(expected) = job.calibration_outputs.get(i) {
            for ((ints, file), exponent) in outputs.iter().zip(expected).zip(&exponents) {
                worst = worst.max(error(ints, *exponent, &file.read_values()?.to_f64()));
            }
        }
        if i == 0 {
            let twice: Vec<Vec<i64>> = inputs
                .iter()
                .map(|t| t.iter().map(|v| v.saturating_mul(2)).collect())
                .collect();
            if let Err(e) = make_witness(ezkl, &circuit, &twice, settings, work, cx) {
                if e.kind != dsperse_plugin_api::ErrorKind::Unsupported {
                    return Err(e);
                }
                warnings.push(
                    "the circuit fails on inputs twice as large as the calibration data: lower \"scale\" in [backend.ezkl] if such inputs occur"
                        .to_owned(),
                );
            }
        }
    }
    if worst > bound {
        return Err(Error::unsupported(format!(
            "EZKL's result differs from the float model by {worst:.3e} of the largest output, allowed is {bound:.3e}"
        ))
        .with_hint("raise \"scale\" or \"max_error\" in [backend.ezkl]"));
    }
    let compared = !job.calibration.is_empty() && !job.calibration_outputs.is_empty();
    if !compared {
        warnings.push(
            "EZKL's result is not compared with the float model: there is no calibration input"
                .to_owned(),
        );
    }
    Ok(Fidelity {
        max_error: compared.then_some(worst),
        warnings,
    })
}

/// Largest difference, relative to the largest float output or to 1.
fn error(ints: &[i64], exponent: i32, floats: &[f64]) -> f64 {
    if ints.len() != floats.len() {
        return f64::INFINITY;
    }
    let largest = floats.iter().fold(1f64, |m, v| m.max(v.abs()));
    let scale = 2f64.powi(exponent);
    ints.iter()
        .zip(floats)
        .map(|(i, f)| {
            let difference = (*i as f64 * scale - f).abs() / largest;
            if difference.is_nan() {
                f64::INFINITY
            } else {
                difference
            }
        })
        .fold(0.0, f64::max)
}

/// Makes `witness.json` in the work directory and returns the outputs' integers.
///
/// # Errors
/// `unsupported` when a value leaves the circuit's range.
pub fn make_witness(
    ezkl: &Ezkl,
    circuit: &Path,
    inputs: &[Vec<i64>],
    settings: &Settings,
    work: &Work,
    cx: &Cx,
) -> Result<Vec<Vec<i64>>> {
    let data: Vec<Vec<String>> = inputs
        .iter()
        .map(|t| t.iter().map(|v| field(*v)).collect())
        .collect();
    write_json(&work.file("input.json"), &json!({"input_data": data}))?;
    let request = json!({
        "data": work.file("input.json"),
        "circuit": circuit,
        "witness": work.file("witness.json"),
    });
    refused(ezkl.run("witness", request, cx)?)?;
    let document = read_json(&work.file("witness.json"))?;
    let tensors = |key: &str| -> Option<Vec<Vec<i64>>> {
        let list = document.get(key)?.as_array()?;
        list.iter()
            .map(|t| {
                t.as_array()?
                    .iter()
                    .map(|v| integer(v.as_str()?))
                    .collect::<Option<Vec<i64>>>()
            })
            .collect()
    };
    let unreadable = || Error::internal("EZKL's witness file can't be read");
    if tensors("inputs").ok_or_else(unreadable)? != inputs {
        return Err(Error::internal(
            "EZKL's witness is of other inputs than those given",
        ));
    }
    let outputs = tensors("outputs").ok_or_else(unreadable)?;
    if outputs.len() != settings.model_output_scales.len() {
        return Err(unreadable());
    }
    Ok(outputs)
}

/// The integers that stand for a slice's inputs.
///
/// # Errors
/// `invalid_input` when number, size or values of the tensors are wrong.
pub fn integers_of(files: &[TensorFile], settings: &Settings) -> Result<Vec<Vec<i64>>> {
    let (exponents, _) = settings.exponents();
    if files.len() != exponents.len() {
        return Err(Error::invalid_input(format!(
            "{} inputs, the circuit has {}",
            files.len(),
            exponents.len()
        )));
    }
    files
        .iter()
        .zip(exponents)
        .map(|(f, e)| integers(f, e))
        .collect()
}

/// Blocks of 2^logrows rows.
fn blocks(rows: u64, logrows: u32) -> u64 {
    rows.div_ceil(1 << logrows).max(1)
}

/// Few rows and more columns cost the prover least; a size whose SRS is there is preferred
/// to a smaller one whose SRS is not.
fn choose_logrows(rows: u64, places: &Places) -> u32 {
    let fits = |k: &u32| blocks(rows, *k) <= MAX_BLOCKS;
    let least = LOGROWS.clone().find(fits).unwrap_or(*LOGROWS.end());
    let there = places.available();
    there.into_iter().find(|k| *k >= least).unwrap_or(least)
}

/// Peak memory of `prove` in bytes: measured 11 to 22 kB for each row of each block.
fn peak_estimate(rows: u64, logrows: u32) -> u64 {
    (blocks(rows, logrows) << logrows) * 16_000
}

/// A refusal of EZKL while it makes something means that it can't do this slice.
///
/// # Errors
/// `unsupported` with EZKL's words.
pub fn refused(result: std::result::Result<Value, String>) -> Result<Value> {
    match result {
        Ok(Value::Bool(false)) => Err(Error::unsupported("EZKL reports failure")),
        Ok(value) => Ok(value),
        Err(e) => Err(Error::unsupported(format!("EZKL can't do this slice: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    #[test]
    fn rows_are_spread_over_columns() {
        assert_eq!(blocks(1, 15), 1);
        assert_eq!(blocks(342_986, 15), 11);
        let options = Map::from_iter([("srs_dir".to_owned(), json!("/nonexistent"))]);
        let places = Places::new(&options).unwrap();
        assert_eq!(choose_logrows(342_986, &places), 15);
        assert_eq!(choose_logrows(64 << 15, &places), 15);
        assert_eq!(choose_logrows((64 << 15) + 1, &places), 16);
    }

    #[test]
    fn the_error_is_relative_to_the_largest_output() {
        assert_eq!(error(&[2, 4], -1, &[1.0, 2.5]), 0.2);
        assert_eq!(error(&[1], 0, &[f64::NAN]), f64::INFINITY);
        assert_eq!(error(&[1], 0, &[]), f64::INFINITY);
    }
}
