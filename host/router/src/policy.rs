//! Policies: what the user demands of a proof, decided by capabilities.

use dsperse_documents::setting::{
    REQUIRE_HIDDEN_WEIGHTS, REQUIRE_POST_QUANTUM, REQUIRE_SECURITY, REQUIRE_STRONG_BINDING,
    REQUIRE_SUCCINCT, REQUIRE_TRANSPARENT, REQUIRE_ZK, Setting,
};
use dsperse_plugin_api::{BindsPublicIo, Capabilities, ProofProperties, Setup, Stage};
use serde::{Deserialize, Serialize};

/// What every chosen backend must offer. The default demands nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Some proof; executors are turned down.
    #[serde(default)]
    pub proof: bool,
    /// Proofs reveal nothing beyond the statement.
    #[serde(default)]
    pub zero_knowledge: bool,
    /// Proofs are cryptographically bound to their public values.
    #[serde(default)]
    pub strong_binding: bool,
    /// Proof size and verification are sub-linear.
    #[serde(default)]
    pub succinct: bool,
    /// The verifier learns nothing of the weights.
    #[serde(default)]
    pub hidden_weights: bool,
    /// No known quantum attack.
    #[serde(default)]
    pub post_quantum: bool,
    /// No trusted setup.
    #[serde(default)]
    pub transparent: bool,
    /// At least so many bits of soundness.
    #[serde(default)]
    pub security_bits: Option<u32>,
}

impl Policy {
    /// Whether nothing is demanded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The first demand that the capabilities don't meet, as a sentence without a full stop.
    ///
    /// # Errors
    /// The sentence.
    pub fn check(&self, capabilities: &Capabilities) -> Result<(), String> {
        if self.is_empty() {
            return Ok(());
        }
        let Some(proof) = provable(capabilities) else {
            return Err("a proof is required, and this backend makes none".to_owned());
        };
        let demands: [(bool, bool, Setting, &str, &str); 6] = [
            (
                self.zero_knowledge,
                proof.zero_knowledge,
                REQUIRE_ZK,
                "zero knowledge is required",
                "and its proofs are not zero-knowledge",
            ),
            (
                self.strong_binding,
                proof.binds_public_io == BindsPublicIo::Strong,
                REQUIRE_STRONG_BINDING,
                "strong binding is required",
                "and its proofs do not bind inputs and outputs strongly",
            ),
            (
                self.succinct,
                proof.succinct,
                REQUIRE_SUCCINCT,
                "succinct proofs are required",
                "and its proofs are not",
            ),
            (
                self.hidden_weights,
                proof.hides_weights,
                REQUIRE_HIDDEN_WEIGHTS,
                "hidden weights are required",
                "and its verifier learns them",
            ),
            (
                self.post_quantum,
                proof.post_quantum,
                REQUIRE_POST_QUANTUM,
                "post-quantum security is required",
                "and it does not offer it",
            ),
            (
                self.transparent,
                proof.setup == Setup::None,
                REQUIRE_TRANSPARENT,
                "a setup without trust is required",
                "and it needs a trusted setup",
            ),
        ];
        for (wanted, offered, setting, demand, lack) in demands {
            if wanted && !offered {
                return Err(format!("{demand} ({setting}), {lack}"));
            }
        }
        match (self.security_bits, proof.security_bits) {
            (Some(wanted), Some(offered)) if offered < wanted => Err(format!(
                "{wanted} bits of soundness are required ({REQUIRE_SECURITY}), and it offers {offered}"
            )),
            (Some(wanted), None) => Err(format!(
                "{wanted} bits of soundness are required ({REQUIRE_SECURITY}), and it states none"
            )),
            _ => Ok(()),
        }
    }
}

/// The proof properties of a backend that can both prove and verify.
#[must_use]
pub fn provable(capabilities: &Capabilities) -> Option<&ProofProperties> {
    let can = |s| capabilities.stages.contains(&s);
    capabilities
        .proof
        .as_ref()
        .filter(|_| can(Stage::Prove) && can(Stage::Verify))
}

/// Whether a `valid` verdict of this backend makes a slice `proven` (trust.md, binding
/// rule 6): it verifies proofs, and they are bound to the claim at least weakly.
#[must_use]
pub fn verdict_counts_as_proof(capabilities: &Capabilities) -> bool {
    capabilities.stages.contains(&Stage::Verify)
        && capabilities
            .proof
            .as_ref()
            .is_some_and(|p| p.binds_public_io >= BindsPublicIo::Weak)
}
