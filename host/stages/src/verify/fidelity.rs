//! How far the claimed output is from the float model's, as part of the verdict.
//!
//! A proof shows that a quantised computation was carried out, not that it says what the
//! model says. Where the slices' ONNX files are here, the verifier runs them in floats on
//! the claimed input and measures for itself; otherwise there is only what the prover noted,
//! and the report says so. An error beyond what is allowed is a failure either way.

use super::claims::Claims;
use crate::chain;
use crate::compile::calibration::float_chains;
use crate::error::Result;
use crate::fidelity::{compare, told};
use crate::session::{DEFAULT_MAX_ERROR, Session};
use dsperse_documents::{Fidelity, MeasuredBy, ModelMetadata, RunResults, VerificationReport};
use dsperse_store::SliceStore;
use std::path::Path;

/// Measures, or takes the prover's note, and adds a failure when the error is beyond what
/// is allowed: `demanded`, else what the slices were compiled for, else the default.
///
/// # Errors
/// Only an interruption.
#[allow(clippy::too_many_arguments, reason = "each is a part of the one claim")]
pub(super) fn judge(
    session: &Session<'_>,
    store: &SliceStore,
    model: &ModelMetadata,
    results: &RunResults,
    claims: &Claims,
    demanded: Option<f64>,
    scratch: &Path,
    report: &mut VerificationReport,
) -> Result<()> {
    let limit = demanded.or_else(|| compiled_for(store));
    let measured = measure(session, store, model, claims, scratch);
    session.check_cancelled()?;
    let (found, by) = match measured {
        Some(f) => (Some(f), MeasuredBy::Verifier),
        None => (results.fidelity.clone(), MeasuredBy::Prover),
    };
    let Some(mut found) = found else {
        if demanded.is_some() {
            report.failures.push(
                "how far the output is from the float model's could not be measured, and the prover notes nothing"
                    .to_owned(),
            );
        }
        return Ok(());
    };
    // Notes of earlier versions have the older figure only.
    found.error = found.error.or(found.max_rel);
    found.target = Some(limit.unwrap_or(DEFAULT_MAX_ERROR));
    if found.misses() {
        report.failures.push(format!(
            "the output is too far from the float model's{}: {}{}",
            match by {
                MeasuredBy::Verifier => "",
                MeasuredBy::Prover => ", as the prover notes it",
            },
            told(&found),
            worst_slice(results)
        ));
    }
    report.fidelity = Some(found);
    report.fidelity_by = Some(by);
    Ok(())
}

/// The error that the slices were compiled for, where a backend noted one.
fn compiled_for(store: &SliceStore) -> Option<f64> {
    let slices = store
        .indices()
        .into_iter()
        .filter_map(|i| store.slice(i).ok());
    slices
        .flat_map(|s| s.compilations.into_values())
        .filter_map(|c| c.fidelity.map(|f| f.max_error))
        .reduce(f64::min)
}

/// The float chain on the claimed input against the claimed output. `None` when something
/// for it is not here.
fn measure(
    session: &Session<'_>,
    store: &SliceStore,
    model: &ModelMetadata,
    claims: &Claims,
    scratch: &Path,
) -> Option<Fidelity> {
    let all: Vec<usize> = (0..model.slices.len()).collect();
    let here = |i: &usize| matches!(store.payload(*i), Ok(Some(_)));
    if !all.iter().all(here) {
        return None;
    }
    let read = |wanted| chain::read(&claims.pick(wanted).ok()?).ok();
    let (inputs, claimed) = (read(&model.inputs)?, read(&model.outputs)?);
    let dir = scratch.join("fidelity");
    std::fs::create_dir_all(&dir).ok()?;
    let made = float_chains(session, store, &[inputs], &all, &dir);
    let made = match made {
        Ok(made) => made,
        Err(e) => {
            tracing::info!("the float model could not be computed: {e}");
            return None;
        }
    };
    let reference = chain::read(&chain::pick(made.first()?, &model.outputs).ok()?).ok()?;
    Some(compare(&reference, &claimed))
}

/// The slice with the largest error of its own, by the prover's notes.
fn worst_slice(results: &RunResults) -> String {
    let error = |f: &Fidelity| f.error.unwrap_or(f64::INFINITY);
    results
        .slices
        .iter()
        .filter_map(|s| Some((s.index, error(s.fidelity.as_ref()?))))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map_or_else(String::new, |(index, error)| {
            format!("; of the slices, {index} has the largest error of its own, {error:.2e}")
        })
}
