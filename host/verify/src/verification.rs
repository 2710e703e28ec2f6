//! A verification from its beginning to its report.

use crate::checker::Again;
use crate::claims::Claims;
use crate::closeness;
use crate::demands::{Demands, plain};
use crate::evidence::{Evidence, Given};
use crate::slice::Judge;
use crate::{keys, receipt};
use dsperse_documents::tensors::digest_of;
use dsperse_documents::{
    MeasuredBy, ModelMetadata, RunResults, SliceVerdict, Verdict, VerificationReport,
};

/// Why no verdict is given at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// A demand makes no sense.
    Demand(String),
    /// The slices contradict themselves.
    Model(String),
    /// The slices are of another model than expected.
    OtherModel {
        /// The identity that was expected.
        expected: String,
        /// Theirs.
        found: String,
        /// Whether what was expected is the digest of the ONNX file, which slices could
        /// claim falsely.
        is_file: bool,
    },
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Demand(reason) | Self::Model(reason) => f.write_str(reason),
            Self::OtherModel {
                expected, found, ..
            } => write!(
                f,
                "these are slices of another model: expected identity {expected}, found {found}"
            ),
        }
    }
}

impl std::error::Error for Refused {}

/// A verification that was begun.
pub struct Verification<'a, E: Evidence, C> {
    evidence: &'a E,
    checker: &'a C,
    demands: Demands,
    claims: Claims<E::File>,
    report: VerificationReport,
}

impl<'a, E: Evidence, C: Again<E::File>> Verification<'a, E, C> {
    /// Reads the claim and holds the run against the slices.
    ///
    /// # Errors
    /// When no verdict can be given at all.
    pub fn begin(
        evidence: &'a E,
        checker: &'a C,
        demands: Demands,
        given: Given<E::File>,
    ) -> Result<Self, Refused> {
        let model = evidence.model();
        let results = evidence.results();
        model
            .validate()
            .map_err(|e| Refused::Model(e.to_string()))?;
        let identity = model.compute_identity();
        let demands = demands.with_receipts();
        if let Some(objection) = demands.objection() {
            return Err(Refused::Demand(objection));
        }
        check_model(&demands, model, &identity)?;
        let (own_input, own_output) = (given.input.is_some(), given.output.is_some());
        let claims = Claims::build(evidence, given);
        let mut report = VerificationReport {
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            model_identity: identity,
            model_sha256: model.model.sha256.clone(),
            input_sha256: digest_of(&claims.records(&model.inputs)),
            output_sha256: digest_of(&claims.records(&model.outputs)),
            require: demands.require,
            policy: demands.noted(),
            ..VerificationReport::default()
        };
        let failures = [
            other_model(&report, results).into_iter().collect(),
            other_slices(model, results),
            other_record(&report, results, own_input, own_output),
        ];
        report.failures = failures.concat();
        Ok(Self {
            evidence,
            checker,
            demands,
            claims,
            report,
        })
    }

    /// The number of slices to judge.
    #[must_use]
    pub fn slices(&self) -> usize {
        self.evidence.model().slices.len()
    }

    /// Judges a slice. One that the model has not is `failed`.
    ///
    /// # Errors
    /// Only what ends the whole verification.
    pub fn slice(&self, index: usize) -> Result<SliceVerdict, C::Stop> {
        let Some(summary) = self.evidence.model().slices.get(index) else {
            let mut verdict = SliceVerdict::new(index, Verdict::Failed, "");
            verdict.reason = Some("the model has no such slice".to_owned());
            return Ok(verdict);
        };
        let judge = Judge {
            evidence: self.evidence,
            checker: self.checker,
            claims: &self.claims,
            demands: &self.demands,
        };
        judge.slice(index, &summary.payload_sha256)
    }

    /// The report over the verdicts. A slice without one is `unchecked`.
    ///
    /// # Errors
    /// Only what ends the whole verification.
    pub fn conclude(
        mut self,
        verdicts: impl IntoIterator<Item = SliceVerdict>,
    ) -> Result<VerificationReport, C::Stop> {
        let (model, results) = (self.evidence.model(), self.evidence.results());
        let report = &mut self.report;
        report.slices = verdicts.into_iter().collect();
        for s in &model.slices {
            if !report.slices.iter().any(|v| v.index == s.index) {
                let mut v = SliceVerdict::new(s.index, Verdict::Unchecked, &s.payload_sha256);
                v.reason = Some("the check did not end".to_owned());
                report.slices.push(v);
            }
        }
        report.slices.sort_by_key(|v| v.index);
        report.conclude(model);
        // Of a claim that is wrong anyway it does not matter how close it is.
        if report.accepted {
            let limit = self.demands.max_error;
            closeness::judge(self.evidence, self.checker, &self.claims, limit, report)?;
        } else {
            report.fidelity.clone_from(&results.fidelity);
            report.fidelity_by = results.fidelity.as_ref().map(|_| MeasuredBy::Prover);
        }
        keys::compare(&self.demands, report);
        for receipt in &self.demands.expect_receipts {
            let differences = receipt::differences(receipt, report);
            report.failures.extend(differences);
        }
        report.conclude(model);
        Ok(self.report)
    }
}

fn check_model(demands: &Demands, model: &ModelMetadata, identity: &str) -> Result<(), Refused> {
    let Some(expected) = demands.expect_model.as_deref().map(plain) else {
        return Ok(());
    };
    if expected == identity {
        return Ok(());
    }
    Err(Refused::OtherModel {
        is_file: expected == model.model.sha256,
        expected,
        found: identity.to_owned(),
    })
}

/// Whether the run was made with another model, or with this one sliced in another way.
fn other_model(report: &VerificationReport, results: &RunResults) -> Option<String> {
    (results.model_identity != report.model_identity).then(|| {
        format!(
            "the run is of another sliced model: its identity is {}, that of the slices is {}",
            results.model_identity, report.model_identity
        )
    })
}

/// Slices that the run lacks, has twice, or has too many.
fn other_slices(model: &ModelMetadata, results: &RunResults) -> Vec<String> {
    let mut failures = Vec::new();
    for s in &model.slices {
        match results.slices.iter().filter(|r| r.index == s.index).count() {
            1 => {}
            0 => failures.push(format!("the run has no slice {}", s.index)),
            n => failures.push(format!("the run has slice {} {n} times", s.index)),
        }
    }
    for r in &results.slices {
        if r.index >= model.slices.len() {
            failures.push(format!(
                "the run has slice {}, which the model has not",
                r.index
            ));
        }
    }
    failures
}

/// A record that names another input or output than the tensors beside it. Where the
/// verifier gives the input or output itself, the record is not asked.
fn other_record(
    report: &VerificationReport,
    results: &RunResults,
    own_input: bool,
    own_output: bool,
) -> Vec<String> {
    let recorded_output = results.output_sha256.as_deref().unwrap_or("nothing");
    let differs = |what: &str, recorded: &str, found: &str| {
        (recorded != found).then(|| {
            format!(
                "the run's record names another {what} than its tensors: recorded {recorded}, found {found}"
            )
        })
    };
    let model = differs("model file", &results.model_sha256, &report.model_sha256);
    let input =
        differs("input", &results.input_sha256, &report.input_sha256).filter(|_| !own_input);
    let output = differs("output", recorded_output, &report.output_sha256).filter(|_| !own_output);
    model.into_iter().chain(input).chain(output).collect()
}
