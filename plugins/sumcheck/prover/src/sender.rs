//! The prover's end of the transcript, and the hooks of the malicious prover
//! that the tests are made of.

use dsperse_sumcheck_verifier::commit::EF;
use dsperse_sumcheck_verifier::layout::Layout;
use dsperse_sumcheck_verifier::program::TensorId;
use dsperse_sumcheck_verifier::transcript::Transcript;

/// Places at which a dishonest prover may depart from the protocol. The real
/// prover uses [`Honest`].
pub trait Adversary {
    /// May change what is about to be committed (columns without padding).
    fn columns(&mut self, _layout: &Layout, _columns: &mut [Vec<i64>]) {}
    /// May change the padded stack of activations that is about to be committed.
    fn stack(&mut self, _layout: &Layout, _stack: &mut [dsperse_sumcheck_verifier::commit::F]) {}
    /// May change the message with this index.
    fn message(&mut self, _index: usize, value: EF) -> EF {
        value
    }
    /// May change the weights and operands of a node's sumcheck, padding included.
    fn contraction(
        &mut self,
        _node: TensorId,
        _weights: &mut [Vec<EF>],
        _operands: &mut [Vec<EF>],
    ) {
    }
    /// Whether to go on where an honest prover would give up.
    fn persists(&self) -> bool {
        false
    }
}

/// Changes nothing.
pub struct Honest;

impl Adversary for Honest {}

/// A transcript and the messages sent so far.
pub struct Sender<'a> {
    /// The sponge.
    pub transcript: Transcript,
    /// What has been sent.
    pub messages: Vec<EF>,
    adversary: &'a mut dyn Adversary,
}

impl<'a> Sender<'a> {
    /// Starts after the transcript's opening.
    pub fn new(transcript: Transcript, adversary: &'a mut dyn Adversary) -> Self {
        Self {
            transcript,
            messages: vec![],
            adversary,
        }
    }

    /// Shows the adversary what a node's sumcheck is about to run over.
    pub fn contraction(
        &mut self,
        node: TensorId,
        weights: &mut [Vec<EF>],
        operands: &mut [Vec<EF>],
    ) {
        self.adversary.contraction(node, weights, operands);
    }

    /// Sends one element; returns what was really sent.
    pub fn send(&mut self, value: EF) -> EF {
        let value = self.adversary.message(self.messages.len(), value);
        self.transcript.absorb(value);
        self.messages.push(value);
        value
    }
}
