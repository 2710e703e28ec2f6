//! What follows from the end of a try.

use crate::document::JobExit;
use crate::engine::Ended;
use dsperse_documents::BackendError;
use dsperse_documents::setting::MEMORY;

/// Tries that may be lost before the job is given up.
pub const TRIES: usize = 3;

/// Memory that is asked for: half as much again as is expected, and some for the program.
#[must_use]
pub fn memory(estimate: Option<u64>, usual: u64, most: u64) -> u64 {
    const PROGRAM: u64 = 256 << 20;
    let expected = estimate.map_or(usual, |e| e.saturating_add(e / 2).saturating_add(PROGRAM));
    expected.min(most)
}

/// What a job has behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Memory of the next try.
    pub memory: u64,
    /// Most memory of a try.
    pub most: u64,
    /// Nodes that must not get it again.
    pub exclude: Vec<String>,
    /// Nodes that must get no job of this plugin.
    pub other_build: Vec<String>,
    /// Whether the inputs have to be looked at before the next try.
    pub put_again: bool,
    /// Why earlier tries came to nothing, for the message.
    pub reasons: Vec<String>,
    lost: usize,
    /// Whether a node missed an input before.
    missed: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Try again, as the history says.
    Again,
    /// The backend's error, as if the job had run here.
    Backend(BackendError),
    /// Nobody can carry it out.
    GiveUp(String),
    /// It was stopped because somebody asked for it.
    Cancelled,
}

impl History {
    /// Nothing yet.
    #[must_use]
    pub fn new(memory: u64, most: u64) -> Self {
        Self {
            memory,
            most,
            exclude: Vec::new(),
            other_build: Vec::new(),
            put_again: false,
            reasons: Vec::new(),
            lost: 0,
            missed: false,
        }
    }

    /// A try ended without a result. `error` is what the node wrote down.
    pub fn ended(&mut self, ended: &Ended, error: Option<BackendError>) -> Next {
        let exit = ended.code.and_then(JobExit::from_code);
        let why = match (&error, ended.code) {
            (Some(e), _) => e.message.clone(),
            (None, Some(code)) => format!("exit code {code} {}", ended.reason),
            (None, None) => ended.reason.clone(),
        };
        self.reasons.push(match &ended.node {
            Some(node) => format!("node \"{node}\": {why}"),
            None => why,
        });
        match exit {
            Some(JobExit::Cancelled) => Next::Cancelled,
            Some(JobExit::Time) => Next::Backend(error.unwrap_or_else(|| {
                BackendError::resource(format!("it took longer than it may: {}", ended.reason))
            })),
            Some(JobExit::Memory) => self.more_memory(error),
            Some(JobExit::OtherBuild) => {
                let Some(node) = &ended.node else {
                    return self.lose(None);
                };
                if !self.other_build.contains(node) {
                    self.other_build.push(node.clone());
                }
                Next::Again
            }
            Some(JobExit::Input) => {
                self.put_again = true;
                // The store is to blame as a rule, and then another node does no better. Who does
                // not see what was put there again, sees an old store.
                let again = std::mem::replace(&mut self.missed, true);
                self.lose(ended.node.clone().filter(|_| again))
            }
            // A node that says that there is a result, where there is none, is no better
            // than one that is gone.
            _ => {
                if ended.memory {
                    self.memory = self.memory.saturating_mul(2).min(self.most);
                }
                self.lose(ended.node.clone())
            }
        }
    }

    /// A result was not believed.
    pub fn rejected(&mut self, node: Option<&str>, why: &str) -> Next {
        self.reasons.push(match node {
            Some(node) => format!("the result of node \"{node}\" is not believed: {why}"),
            None => format!("the result is not believed: {why}"),
        });
        self.lose(node.map(str::to_owned))
    }

    fn more_memory(&mut self, error: Option<BackendError>) -> Next {
        if self.memory < self.most {
            self.memory = self.memory.saturating_mul(2).min(self.most);
            return Next::Again;
        }
        let why = "it needs more memory than a job may have";
        Next::Backend(
            error
                .unwrap_or_else(|| BackendError::resource(why))
                .with_hint(format!(
                    "allow more with {MEMORY}, or most_memory in [executor]"
                )),
        )
    }

    fn lose(&mut self, node: Option<String>) -> Next {
        if let Some(node) = node.filter(|n| !self.exclude.contains(n)) {
            self.exclude.push(node);
        }
        self.lost += 1;
        if self.lost < TRIES {
            return Next::Again;
        }
        Next::GiveUp(format!(
            "{} tries came to nothing ({})",
            self.lost,
            self.reasons.join("; ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(node: &str, code: Option<i32>) -> Ended {
        Ended {
            node: Some(node.into()),
            code,
            reason: "gone".into(),
            memory: false,
        }
    }

    #[test]
    fn lost_tries_go_elsewhere_and_end_by_name() {
        let mut h = History::new(1, 8);
        assert_eq!(h.ended(&ended("a", None), None), Next::Again);
        assert_eq!(h.ended(&ended("b", Some(15)), None), Next::Again);
        assert_eq!(h.exclude, ["a", "b"]);
        let Next::GiveUp(why) = h.ended(&ended("c", Some(0)), None) else {
            panic!("it is given up")
        };
        assert!(
            why.contains("3 tries") && why.contains("node \"b\": exit code 15"),
            "{why}"
        );
    }

    #[test]
    fn memory_is_doubled_up_to_the_cap() {
        let mut h = History::new(3, 8);
        for expected in [6, 8] {
            assert_eq!(h.ended(&ended("a", Some(11)), None), Next::Again);
            assert_eq!(h.memory, expected);
        }
        assert!(h.exclude.is_empty());
        let Next::Backend(e) = h.ended(&ended("a", Some(11)), None) else {
            panic!("the backend's error")
        };
        assert!(e.hint.is_some_and(|h| h.contains("most_memory")));
    }

    #[test]
    fn another_build_costs_no_try() {
        let mut h = History::new(1, 1);
        for node in ["a", "b", "c", "d"] {
            assert_eq!(h.ended(&ended(node, Some(13)), None), Next::Again);
        }
        assert_eq!(h.other_build, ["a", "b", "c", "d"]);
        assert!(h.exclude.is_empty());
    }

    #[test]
    fn time_is_the_backends_own_and_a_cancellation_is_one() {
        let mut h = History::new(1, 1);
        assert!(matches!(
            h.ended(&ended("a", Some(12)), None),
            Next::Backend(_)
        ));
        assert_eq!(h.ended(&ended("a", Some(130)), None), Next::Cancelled);
    }

    #[test]
    fn inputs_are_put_again_before_a_node_is_blamed() {
        let mut h = History::new(1, 1);
        assert_eq!(h.ended(&ended("a", Some(14)), None), Next::Again);
        assert!(h.put_again && h.exclude.is_empty());
        assert_eq!(h.ended(&ended("a", Some(14)), None), Next::Again);
        assert_eq!(h.exclude, ["a"]);
    }

    #[test]
    fn estimates_get_a_margin_and_a_cap() {
        assert_eq!(memory(None, 5, 10), 5);
        assert_eq!(memory(Some(100 << 20), 0, 1 << 40), 406 << 20);
        assert_eq!(memory(Some(u64::MAX), 0, 7), 7);
    }
}
