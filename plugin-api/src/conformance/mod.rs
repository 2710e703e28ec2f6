//! The conformance kit: what a host relies on, as numbered checks that anybody can run
//! against a plugin (`dsperse plugin test ./libx.so` does, inside a worker).
//!
//! The checks know no host: they speak to a [`Caller`], which passes bytes to the two
//! functions and brings bytes back. [`InProcess`] is the caller for a backend's own tests:
//!
//! ```no_run
//! # use dsperse_plugin_api::*;
//! # fn check<MyBackend: Backend>() {
//! use dsperse_plugin_api::conformance::{InProcess, run, samples};
//! let report = run(&InProcess::of::<MyBackend>(), &samples::all());
//! assert!(report.passed(), "{report}");
//! # }
//! ```
//!
//! [`CHECKS`] lists the checks with what each of them asks for. Checks that need a slice
//! use those of the given [`SampleSlice`]s that the backend claims to support, and are
//! skipped, with the reason, when it claims none.

mod caller;
mod onnx_bytes;
mod protocol;
mod rig;
pub mod samples;
mod slices;
mod tampering;

pub use caller::{Caller, InProcess, WithOptions};
pub use samples::SampleSlice;

use crate::Descriptor;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// How long a call may go on after it was cancelled.
pub const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// One check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its number: never reused, so that a report stays readable.
    pub number: u32,
    /// A short name.
    pub name: &'static str,
    /// What the backend must do.
    pub requirement: &'static str,
}

/// Every check, in the order in which they run.
pub const CHECKS: &[Check] = &[
    Check {
        number: 1,
        name: "describe is deterministic",
        requirement: "two calls of \"describe\" give the same bytes, a descriptor document",
    },
    Check {
        number: 2,
        name: "descriptor is sound",
        requirement: "name, versions, options, tools and stages of the descriptor are well formed and agree with each other",
    },
    Check {
        number: 3,
        name: "unknown operation",
        requirement: "an operation that the backend does not know gets the error kind \"unsupported\"",
    },
    Check {
        number: 4,
        name: "malformed request",
        requirement: "a request that can't be read gets the error kind \"invalid_input\", whatever the operation",
    },
    Check {
        number: 5,
        name: "unknown fields",
        requirement: "fields that the backend does not know change nothing",
    },
    Check {
        number: 6,
        name: "probe",
        requirement: "\"probe\" says whether the backend can work here, and what to type when it can't",
    },
    Check {
        number: 7,
        name: "cancelled before the start",
        requirement: "a call whose flag is set when it starts gets the error kind \"cancelled\"",
    },
    Check {
        number: 8,
        name: "supports",
        requirement: "\"supports\" answers yes or no with a reason for every slice, and the same when asked again",
    },
    Check {
        number: 9,
        name: "round trip",
        requirement: "each sample slice that the backend claims compiles, runs, is proven (if it proves) and verified",
    },
    Check {
        number: 10,
        name: "artefacts are declared truthfully",
        requirement: "each declared file is a regular file inside the job's directory, with the declared size and digest; outputs have the slice's names and shapes",
    },
    Check {
        number: 11,
        name: "writes only in its job directory",
        requirement: "models, inputs, artefacts of earlier stages and everything beside the job's directory stay as they were",
    },
    Check {
        number: 12,
        name: "outputs are close",
        requirement: "each output differs from the exact result by at most 0.05, or a twentieth of it",
    },
    Check {
        number: 13,
        name: "cancelled while running",
        requirement: "a call that is cancelled ends within 5 seconds",
    },
    Check {
        number: 14,
        name: "tampered proof",
        requirement: "a proof with a changed, missing or additional byte, or of another input, is Invalid (not an error)",
    },
    Check {
        number: 15,
        name: "tampered public values",
        requirement: "a claim with other inputs or outputs is Invalid",
    },
    Check {
        number: 16,
        name: "tampered key",
        requirement: "an artefact of \"compile\" with the role \"verifying\" and a changed, missing or additional byte makes the verdict Invalid",
    },
    Check {
        number: 17,
        name: "fixed-point inputs",
        requirement: "an input that an earlier slice was proven with, in fixed point, makes the same round trip, or gets the error kind \"unsupported\"",
    },
    Check {
        number: 18,
        name: "manifest is the descriptor's",
        requirement: "the manifest in the library, or beside it, has the descriptor's name, version and API version",
    },
    Check {
        number: 19,
        name: "no process stays behind",
        requirement: "every process that a call starts has ended when the call returns",
    },
];

/// What became of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "details")]
pub enum Outcome {
    /// The backend does what is asked.
    Passed,
    /// It does not; each line says where.
    Failed(Vec<String>),
    /// It could not be asked.
    Skipped(String),
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// Which check.
    #[serde(flatten)]
    pub check: Check,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Results of all checks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What the backend says of itself, when it says something readable.
    pub descriptor: Option<Descriptor>,
    /// One result for each of [`CHECKS`].
    pub results: Vec<CheckResult>,
    /// Names of the sample slices that the backend claimed.
    pub claimed: Vec<String>,
}

impl Report {
    /// Whether no check failed. Skipped ones don't count against the backend.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self
            .results
            .iter()
            .any(|r| matches!(r.outcome, Outcome::Failed(_)))
    }

    /// The result of a check.
    #[must_use]
    pub fn outcome(&self, number: u32) -> Option<&Outcome> {
        let found = self.results.iter().find(|r| r.check.number == number);
        found.map(|r| &r.outcome)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(d) = &self.descriptor {
            writeln!(f, "{} {} (plugin API {})", d.name, d.version, d.api_version)?;
        }
        for CheckResult { check, outcome } in &self.results {
            let (word, lines): (_, &[String]) = match outcome {
                Outcome::Passed => ("ok", &[]),
                Outcome::Failed(lines) => ("FAILED", lines),
                Outcome::Skipped(reason) => ("skipped", std::slice::from_ref(reason)),
            };
            writeln!(f, "{:>3}  {word:<8} {}", check.number, check.name)?;
            if matches!(outcome, Outcome::Failed(_)) {
                writeln!(f, "     expected: {}", check.requirement)?;
            }
            for line in lines {
                writeln!(f, "     {line}")?;
            }
        }
        Ok(())
    }
}

/// Runs every check.
///
/// Writes below the system's directory for temporary files, and removes what it wrote.
#[must_use]
pub fn run(caller: &dyn Caller, samples: &[SampleSlice]) -> Report {
    let mut book = Book::default();
    let descriptor = match rig::Rig::new(caller) {
        Ok(rig) => check_all(&rig, samples, &mut book),
        Err(e) => {
            book.rest(&format!("no directory for temporary files: {e}"));
            None
        }
    };
    Report {
        descriptor,
        results: book.results,
        claimed: book.claimed,
    }
}

fn check_all(rig: &rig::Rig<'_>, samples: &[SampleSlice], book: &mut Book) -> Option<Descriptor> {
    let descriptor = protocol::describe(rig, book);
    let Some(descriptor) = descriptor else {
        book.rest("the backend has no descriptor");
        return None;
    };
    protocol::descriptor(&descriptor, book);
    protocol::operations(rig, &descriptor, samples, book);
    slices::check(rig, &descriptor, samples, book);
    protocol::outside(rig, &descriptor, book);
    book.rest("an earlier check failed");
    book.results.sort_by_key(|r| r.check.number);
    Some(descriptor)
}

/// Collects results in the order of [`CHECKS`].
#[derive(Default)]
struct Book {
    results: Vec<CheckResult>,
    claimed: Vec<String>,
}

impl Book {
    /// Enters the next check's result: passed when there are no complaints.
    fn enter(&mut self, number: u32, complaints: Vec<String>) {
        self.push(
            number,
            if complaints.is_empty() {
                Outcome::Passed
            } else {
                Outcome::Failed(complaints)
            },
        );
    }

    fn skip(&mut self, number: u32, reason: &str) {
        self.push(number, Outcome::Skipped(reason.to_owned()));
    }

    /// Skips every check that has no result yet.
    fn rest(&mut self, reason: &str) {
        for check in CHECKS {
            if !self.results.iter().any(|r| r.check.number == check.number) {
                self.skip(check.number, reason);
            }
        }
    }

    fn push(&mut self, number: u32, outcome: Outcome) {
        if let Some(check) = CHECKS.iter().find(|c| c.number == number) {
            // What was given up before it could be asked may be known in the end.
            self.results.retain(|r| r.check.number != number);
            self.results.push(CheckResult {
                check: *check,
                outcome,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_a_report_reads_well_in_both_forms() {
        let mut numbers: Vec<u32> = CHECKS.iter().map(|c| c.number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), CHECKS.len());

        let mut book = Book::default();
        book.enter(1, Vec::new());
        book.enter(2, vec!["the summary is empty".into()]);
        book.skip(11, "given up");
        book.enter(11, Vec::new());
        book.rest("not asked");
        let of_11 = |r: &&CheckResult| r.check.number == 11;
        assert_eq!(book.results.iter().filter(of_11).count(), 1);
        book.results.sort_by_key(|r| r.check.number);
        let report = Report {
            descriptor: None,
            results: book.results,
            claimed: Vec::new(),
        };
        assert!(!report.passed());
        let text = report.to_string();
        assert!(
            text.starts_with("  1  ok       describe is deterministic\n  2  FAILED"),
            "{text}"
        );
        assert!(
            text.contains("\n     the summary is empty\n  3  skipped"),
            "{text}"
        );
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["results"][0]["outcome"], "passed");
        assert_eq!(json["results"][1]["details"][0], "the summary is empty");
        assert_eq!(json["results"][2]["number"], 3);
        assert_eq!(json["results"][2]["details"], "not asked");
    }
}
