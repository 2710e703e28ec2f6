//! How far the claimed output is from the float model's, as part of the verdict.
//!
//! A proof shows that a quantised computation was carried out, not that it says what the
//! model says. Where the model is at hand, the verifier runs it in floats on the claimed
//! input and measures for itself; otherwise there is only what the prover noted, and the
//! report says so. An error beyond what is allowed is a failure either way.

use crate::checker::Again;
use crate::claims::Claims;
use crate::evidence::Evidence;
use crate::fidelity::{compare, told};
use dsperse_documents::{DEFAULT_MAX_ERROR, Fidelity, MeasuredBy, RunResults, VerificationReport};
use dsperse_tensor::{Tensor, TensorInfo};

/// Measures, or takes the prover's note, and adds a failure when the error is beyond what
/// is allowed: `demanded`, else what the slices were compiled for, else the default.
///
/// # Errors
/// Only what ends the whole verification.
pub(crate) fn judge<E: Evidence, C: Again<E::File>>(
    evidence: &E,
    checker: &C,
    claims: &Claims<E::File>,
    demanded: Option<f64>,
    report: &mut VerificationReport,
) -> Result<(), C::Stop> {
    let results = evidence.results();
    let limit = demanded.or_else(|| compiled_for(evidence));
    let (found, by) = match measure(evidence, checker, claims)? {
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
fn compiled_for<E: Evidence>(evidence: &E) -> Option<f64> {
    (0..evidence.model().slices.len())
        .filter_map(|i| evidence.slice(i).ok())
        .flat_map(|s| s.compilations.into_values())
        .filter_map(|c| c.fidelity.map(|f| f.max_error))
        .reduce(f64::min)
}

/// The float model on the claimed input against the claimed output. `None` when something
/// for it is not here.
fn measure<E: Evidence, C: Again<E::File>>(
    evidence: &E,
    checker: &C,
    claims: &Claims<E::File>,
) -> Result<Option<Fidelity>, C::Stop> {
    let model = evidence.model();
    let (Ok(inputs), Some(claimed)) = (
        claims.pick(&model.inputs),
        read(evidence, claims, &model.outputs),
    ) else {
        return Ok(None);
    };
    let reference = checker.float_outputs(&inputs)?;
    Ok(reference.map(|reference| compare(&reference, &claimed)))
}

fn read<E: Evidence>(
    evidence: &E,
    claims: &Claims<E::File>,
    wanted: &[TensorInfo],
) -> Option<Vec<Tensor>> {
    let held = claims.pick(wanted).ok()?;
    held.iter().map(|h| evidence.read(h).ok()).collect()
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
