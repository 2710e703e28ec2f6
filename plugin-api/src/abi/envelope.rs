//! The JSON around each operation: names of operations, the request envelope, events.
//! Unknown fields are ignored and new fields have defaults, on both sides.

use crate::context::Level;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The operations of this version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// [`ProbeJob`](crate::ProbeJob) to [`Probe`](crate::Probe).
    Probe,
    /// [`SupportsJob`](crate::SupportsJob) to [`Support`](crate::Support).
    Supports,
    /// [`CompileJob`](crate::CompileJob) to [`Done`](crate::Done).
    Compile,
    /// [`WitnessJob`](crate::WitnessJob) to [`Done`](crate::Done).
    Witness,
    /// [`ProveJob`](crate::ProveJob) to [`Done`](crate::Done).
    Prove,
    /// [`VerifyJob`](crate::VerifyJob) to [`Verdict`](crate::Verdict).
    Verify,
}

impl Op {
    /// Every operation, in the order in which a slice meets them.
    pub const ALL: [Self; 6] = [
        Self::Probe,
        Self::Supports,
        Self::Compile,
        Self::Witness,
        Self::Prove,
        Self::Verify,
    ];

    /// The name that crosses the boundary.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Supports => "supports",
            Self::Compile => "compile",
            Self::Witness => "witness",
            Self::Prove => "prove",
            Self::Verify => "verify",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Op {
    type Err = crate::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|op| op.as_str() == name)
            .ok_or_else(|| {
                crate::Error::unsupported(format!("this backend knows no operation \"{name}\""))
            })
    }
}

/// The request document of `call`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRequest<Job> {
    /// The operation's own document (`CompileJob`, …).
    pub job: Job,
    /// Absolute path of the job's directory: exists, is empty, and is the only place
    /// where the call may write.
    pub dir: String,
    /// How many threads the call should use at most.
    #[serde(default = "one")]
    pub threads: usize,
    /// Memory limit in bytes, when there is one. Since API 1.1.
    #[serde(default)]
    pub memory: Option<u64>,
    /// Log events below this level are not wanted. Since API 1.1.
    #[serde(default = "info")]
    pub log_level: Level,
}

fn one() -> usize {
    1
}

fn info() -> Level {
    Level::Info
}

/// Kinds of events; hosts ignore numbers that they don't know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum EventKind {
    /// A [`LogEvent`].
    Log = 1,
    /// A [`ProgressEvent`].
    Progress = 2,
    /// A [`PanicEvent`]. Since API 1.1.
    Panic = 3,
}

impl EventKind {
    /// The kind behind a number.
    #[must_use]
    pub fn from_u32(kind: u32) -> Option<Self> {
        match kind {
            1 => Some(Self::Log),
            2 => Some(Self::Progress),
            3 => Some(Self::Panic),
            _ => None,
        }
    }
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogEvent {
    /// Severity.
    pub level: Level,
    /// Where in the plugin it comes from (a module path), when known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// The line.
    pub message: String,
}

/// How far the call is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgressEvent {
    /// From 0 to 1.
    pub fraction: f64,
    /// A short word for the step.
    #[serde(default)]
    pub step: String,
}

/// A panic in any thread of the plugin, sent when it happens: also when the process dies
/// of it afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PanicEvent {
    /// The panic's message.
    pub message: String,
    /// `file:line:column`, when known.
    #[serde(default)]
    pub place: String,
    /// Name of the thread, when it has one.
    #[serde(default)]
    pub thread: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, ProbeJob};

    #[test]
    fn names_of_operations_round_trip() {
        for op in Op::ALL {
            assert_eq!(op.as_str().parse::<Op>(), Ok(op));
        }
        assert_eq!(
            "transmogrify".parse::<Op>().unwrap_err().kind,
            ErrorKind::Unsupported
        );
    }

    #[test]
    fn a_minimal_request_has_defaults_and_unknown_fields_are_ignored() {
        let request: CallRequest<ProbeJob> =
            serde_json::from_str(r#"{"job":{"future":1},"dir":"/job","future":[]}"#)
                .expect("a request");
        assert_eq!(request.threads, 1);
        assert_eq!(request.memory, None);
        assert_eq!(request.log_level, Level::Info);
        assert_eq!(request.job, ProbeJob::default());
    }
}
