//! From a chain to the backends that are worth asking.

use crate::policy::Policy;
use crate::spec::Chain;
use dsperse_plugin_api::{Descriptor, Stage};
use serde::{Deserialize, Serialize};

/// At which step a backend was turned down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// No plugin of that name is loaded.
    Load,
    /// Its descriptor lacks a stage or an operator that the slice needs.
    Capabilities,
    /// A `--require-…` policy.
    Policy,
    /// Its answer to `supports` for this slice.
    Supports,
    /// The stage itself failed.
    Stage,
}

/// Why a backend of the chain was not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The backend.
    pub backend: String,
    /// Where it was turned down.
    pub step: Step,
    /// Why, as a sentence without a full stop.
    pub reason: String,
}

/// An operator that occurs in a slice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperatorUse {
    /// ONNX domain, empty for the default one.
    pub domain: String,
    /// Operator name.
    pub op: String,
    /// Opset version that the model imports for the domain.
    pub opset: i64,
}

/// The outcome of the steps that need no worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Backends to ask, in order.
    pub candidates: Vec<String>,
    /// Those that were turned down, in the order of the chain.
    pub rejected: Vec<Rejection>,
}

/// Applies loading, static capabilities and policy to a chain.
///
/// `descriptor` returns the description of a loaded backend. `operators` are those of the
/// slice. A backend with an empty operator list is not judged here: it is asked later.
pub fn plan<'d>(
    chain: &Chain,
    descriptor: impl Fn(&str) -> Option<&'d Descriptor>,
    operators: &[OperatorUse],
    policy: &Policy,
) -> Plan {
    let mut plan = Plan::default();
    for name in &chain.backends {
        match judge(descriptor(name), operators, policy) {
            Ok(()) => plan.candidates.push(name.clone()),
            Err((step, reason)) => plan.rejected.push(Rejection {
                backend: name.clone(),
                step,
                reason,
            }),
        }
    }
    plan
}

fn judge(
    descriptor: Option<&Descriptor>,
    operators: &[OperatorUse],
    policy: &Policy,
) -> Result<(), (Step, String)> {
    let Some(descriptor) = descriptor else {
        return Err((Step::Load, "no plugin of this name is loaded".to_owned()));
    };
    let capabilities = &descriptor.capabilities;
    for (stage, word) in [(Stage::Compile, "compile"), (Stage::Witness, "witness")] {
        if !capabilities.stages.contains(&stage) {
            return Err((Step::Capabilities, format!("it has no {word} stage")));
        }
    }
    if !capabilities.operators.is_empty() {
        let missing = operators.iter().filter(|u| !listed(descriptor, u));
        let words: Vec<String> = missing
            .map(|u| {
                let domain = if u.domain.is_empty() {
                    String::new()
                } else {
                    format!(" of domain \"{}\"", u.domain)
                };
                format!("\"{}\"{domain} (opset {})", u.op, u.opset)
            })
            .collect();
        match words.as_slice() {
            [] => {}
            [one] => {
                let reason = format!("operator {one} is not in its list");
                return Err((Step::Capabilities, reason));
            }
            several => {
                let reason = format!("operators {} are not in its list", several.join(", "));
                return Err((Step::Capabilities, reason));
            }
        }
    }
    policy
        .check(capabilities)
        .map_err(|reason| (Step::Policy, reason))
}

fn listed(descriptor: &Descriptor, used: &OperatorUse) -> bool {
    // A Constant node is a parameter that happens to be spelled as a node.
    if used.op == "Constant" && used.domain.is_empty() {
        return true;
    }
    descriptor.capabilities.operators.iter().any(|o| {
        o.op == used.op
            && o.domain == used.domain
            && o.since_opset <= used.opset
            && o.until_opset.is_none_or(|until| used.opset <= until)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_plugin_api::{
        BindsPublicIo, Capabilities, OperatorSupport, ProofProperties, Setup,
    };

    fn prover(operators: &[(&str, i64, Option<i64>)]) -> Descriptor {
        let mut d = Descriptor::new("p", "1.0.0", "test prover");
        d.capabilities = Capabilities {
            stages: vec![Stage::Compile, Stage::Witness, Stage::Prove, Stage::Verify],
            operators: operators
                .iter()
                .map(|(op, since, until)| OperatorSupport {
                    op: (*op).to_owned(),
                    domain: String::new(),
                    since_opset: *since,
                    until_opset: *until,
                    dtypes: Vec::new(),
                    limits: String::new(),
                })
                .collect(),
            proof: Some(ProofProperties {
                binds_public_io: BindsPublicIo::Weak,
                setup: Setup::Universal,
                security_bits: Some(90),
                ..ProofProperties::default()
            }),
            ..Capabilities::default()
        };
        d
    }

    fn executor() -> Descriptor {
        let mut d = Descriptor::new("x", "1.0.0", "test executor");
        d.capabilities.stages = vec![Stage::Compile, Stage::Witness, Stage::Recompute];
        d
    }

    fn chain(names: &[&str]) -> Chain {
        Chain {
            backends: names.iter().map(|n| (*n).to_owned()).collect(),
            explicit: true,
        }
    }

    fn uses(op: &str, opset: i64) -> OperatorUse {
        OperatorUse {
            domain: String::new(),
            op: op.to_owned(),
            opset,
        }
    }

    fn run(operators: &[OperatorUse], policy: &Policy) -> Plan {
        let p = prover(&[("Gemm", 9, Some(13))]);
        let x = executor();
        plan(
            &chain(&["gone", "p", "x"]),
            |name| match name {
                "p" => Some(&p),
                "x" => Some(&x),
                _ => None,
            },
            operators,
            policy,
        )
    }

    #[test]
    fn a_missing_plugin_is_recorded_and_the_rest_kept_in_order() {
        let plan = run(
            &[uses("Gemm", 13), uses("Constant", 13)],
            &Policy::default(),
        );
        assert_eq!(plan.candidates, ["p", "x"]);
        assert_eq!(plan.rejected.len(), 1);
        assert_eq!(plan.rejected[0].step, Step::Load);
    }

    #[test]
    fn operators_and_opsets_are_compared() {
        let plan = run(&[uses("Gemm", 14)], &Policy::default());
        assert_eq!(plan.candidates, ["x"]);
        assert_eq!(plan.rejected[1].step, Step::Capabilities);
        assert_eq!(
            plan.rejected[1].reason,
            "operator \"Gemm\" (opset 14) is not in its list"
        );
    }

    #[test]
    fn every_policy_turns_down_what_lacks_it() {
        let base = Policy::default();
        for (policy, word) in [
            (
                Policy {
                    zero_knowledge: true,
                    ..base.clone()
                },
                "(require-zk)",
            ),
            (
                Policy {
                    strong_binding: true,
                    ..base.clone()
                },
                "(require-strong-binding)",
            ),
            (
                Policy {
                    succinct: true,
                    ..base.clone()
                },
                "(require-succinct)",
            ),
            (
                Policy {
                    hidden_weights: true,
                    ..base.clone()
                },
                "(require-hidden-weights)",
            ),
            (
                Policy {
                    post_quantum: true,
                    ..base.clone()
                },
                "(require-post-quantum)",
            ),
            (
                Policy {
                    transparent: true,
                    ..base.clone()
                },
                "(require-transparent)",
            ),
            (
                Policy {
                    security_bits: Some(100),
                    ..base.clone()
                },
                "(require-security)",
            ),
        ] {
            let plan = run(&[], &policy);
            assert!(plan.candidates.is_empty(), "{policy:?}");
            assert!(
                plan.rejected[1].reason.contains(word),
                "{:?}",
                plan.rejected
            );
            assert_eq!(
                plan.rejected[2].reason,
                "a proof is required, and this backend makes none"
            );
        }
        let met = Policy {
            proof: true,
            security_bits: Some(90),
            ..base
        };
        assert_eq!(run(&[], &met).candidates, ["p"]);
    }
}
