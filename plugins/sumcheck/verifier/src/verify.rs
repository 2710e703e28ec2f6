//! The verifier: [`verify`] is the whole check of one proof.
//!
//! Order of the protocol: absorb label, key, context, public tensors and the
//! activations' root; lookups ([`crate::lookup`]); element-wise equations
//! ([`crate::zero`]); then the nodes backwards, each turning claims about its
//! output into claims about its operands, until only claims about public
//! tensors (computed here) and committed columns are left; last, one sumcheck
//! and one opening for each of the two commitments.
//!
//! Comments here and in the other modules of prover and verifier name the equations
//! of `docs/sumcheck-protocol.md`, such as (T1).

use std::panic::{AssertUnwindSafe, catch_unwind};

use p3_commit::MultilinearPcs;
use p3_field::PrimeCharacteristicRing;
use thiserror::Error;

use crate::claims::{Claim, Claims};
use crate::commit::{EF, Opening, Pcs, pcs, verify_opening};
use crate::fault::{ProofFault, PublicError};
use crate::hash::Root;
use crate::key::{KeyError, VerifyingKey, to_commitment};
use crate::layout::{Atom, WeightRanges};
use crate::lookup::{LeafClaims, verify_lookups};
use crate::mle::{eq_eval, eq_index, evaluate, num_vars, suffix};
use crate::nodes;
use crate::program::*;
use crate::proof::Proof;
use crate::transcript::{Reader, Transcript, verify_sumcheck};
use crate::zero::verify_equations;

/// Name and version of the protocol; absorbed first.
pub const PROTOCOL: &str = "dsperse-sumcheck/2";
/// Context of the proofs that keys have of their weights' ranges, (K2).
pub const RANGES: &[u8; 32] = b"dsperse-sumcheck/3 weight ranges";

/// Why a proof is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Reject {
    /// The key itself is not acceptable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key does not show that its weights are within their bounds.
    #[error("The verifying key does not show that its weights are within their bounds: {0}")]
    Ranges(ProofFault),
    /// The public tensors do not fit the key's program.
    #[error("The public values do not fit the verifying key: {0}")]
    Public(#[from] PublicError),
    /// The proof is not one for this key, context and public values.
    #[error("The proof does not hold: {0}")]
    Proof(#[from] ProofFault),
    /// A library panicked; treated as a rejection.
    #[error("The proof is malformed: checking it broke off")]
    Panicked,
}

/// Checks that the weights committed in `key` map `inputs` to `outputs` as the
/// key's program says. `context` binds the proof to what the caller speaks
/// about (model and slice); `inputs` and `outputs` are in the program's order.
pub fn verify(
    key: &[u8],
    context: &[u8; 32],
    inputs: &[Tensor],
    outputs: &[Tensor],
    proof: &[u8],
) -> Result<(), Reject> {
    // Nothing here should panic; the libraries below might on hostile proofs.
    catch_unwind(AssertUnwindSafe(|| {
        let key = VerifyingKey::from_bytes(key)?;
        verify_with(&key, context, inputs, outputs, proof)
    }))
    .unwrap_or(Err(Reject::Panicked))
}

/// The same with a key that has been read already.
pub fn verify_with(
    key: &VerifyingKey,
    context: &[u8; 32],
    inputs: &[Tensor],
    outputs: &[Tensor],
    proof: &[u8],
) -> Result<(), Reject> {
    catch_unwind(AssertUnwindSafe(|| {
        run(key, context, inputs, outputs, proof)
    }))
    .unwrap_or(Err(Reject::Panicked))
}

fn run(
    key: &VerifyingKey,
    context: &[u8; 32],
    inputs: &[Tensor],
    outputs: &[Tensor],
    proof: &[u8],
) -> Result<(), Reject> {
    let public = PublicTensors::new(key, inputs, outputs)?;
    let proof = Proof::from_bytes(proof, key)?;
    if key.parameters.ranges == WeightRanges::Key {
        check_ranges(key)?;
    }
    Ok(check(key, context, &public, &proof)?)
}

/// (K2) The key's own proof: a proof of the program that has the weights alone.
fn check_ranges(key: &VerifyingKey) -> Result<(), Reject> {
    let key_of_weights = key.of_weights()?;
    let public = PublicTensors::new(&key_of_weights, &[], &[])?;
    Proof::from_bytes(&key.range_proof, &key_of_weights)
        .and_then(|proof| check(&key_of_weights, RANGES, &public, &proof))
        .map_err(Reject::Ranges)
}

/// The public tensors by node, checked against shapes and bounds.
pub struct PublicTensors<'a> {
    by_node: Vec<Option<&'a Tensor>>,
}

impl<'a> PublicTensors<'a> {
    /// Assigns inputs and outputs to nodes and checks every element's bounds:
    /// for these tensors there is no range check in the proof.
    pub fn new(
        key: &VerifyingKey,
        inputs: &'a [Tensor],
        outputs: &'a [Tensor],
    ) -> Result<Self, PublicError> {
        let mut by_node = vec![None; key.program.nodes.len()];
        for (what, ids, tensors) in [
            ("inputs", key.program.inputs(), inputs),
            ("outputs", key.program.outputs.clone(), outputs),
        ] {
            if ids.len() != tensors.len() {
                return Err(PublicError::Count {
                    what,
                    needed: ids.len(),
                    given: tensors.len(),
                });
            }
            for (id, tensor) in ids.into_iter().zip(tensors) {
                let shape = &key.checked.shapes[id as usize];
                let bounds = key.checked.bounds[id as usize];
                if tensor.shape != *shape || tensor.data.len() != shape.iter().product::<usize>() {
                    return Err(PublicError::Shape {
                        tensor: id,
                        needed: shape.clone(),
                        given: tensor.shape.clone(),
                    });
                }
                if let Some(&value) = tensor
                    .data
                    .iter()
                    .find(|&&v| v < bounds.lo || v > bounds.hi)
                {
                    return Err(PublicError::Value {
                        tensor: id,
                        value,
                        lo: bounds.lo,
                        hi: bounds.hi,
                    });
                }
                by_node[id as usize] = Some(tensor);
            }
        }
        Ok(Self { by_node })
    }

    /// The tensor of a node, if it is public.
    pub fn get(&self, node: TensorId) -> Option<&'a Tensor> {
        self.by_node[node as usize]
    }

    /// The extension of a public tensor at a point, for (N1).
    pub fn value(&self, node: TensorId, point: &[EF]) -> Result<EF, ProofFault> {
        let tensor = self
            .get(node)
            .ok_or(ProofFault::Layout("a public tensor is missing"))?;
        Ok(evaluate(&tensor.data, &tensor.shape, point))
    }
}

/// The transcript up to the first challenge: (T1).
pub fn start(
    key: &VerifyingKey,
    context: &[u8; 32],
    public: &PublicTensors<'_>,
    root: &Root,
) -> Transcript {
    let mut t = Transcript::new(PROTOCOL.as_bytes());
    t.absorb_bytes(b"key", &key.to_bytes());
    t.absorb_bytes(b"context", context);
    for tensor in public.by_node.iter().flatten() {
        let bytes: Vec<u8> = tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        t.absorb_bytes(b"public", &bytes);
    }
    if let Some(weights) = &key.weights {
        t.absorb_bytes(b"weights", &weights.root);
    }
    t.absorb_bytes(b"activations", root);
    t
}

fn check(
    key: &VerifyingKey,
    context: &[u8; 32],
    public: &PublicTensors<'_>,
    proof: &Proof,
) -> Result<(), ProofFault> {
    let layout = &key.layout;
    let transcript = start(key, context, public, &proof.root);
    let mut reader = Reader::new(transcript, &proof.messages);

    let leaves = if layout.leaves == 0 {
        LeafClaims::default()
    } else {
        verify_lookups(&mut reader, &key.program, layout)?
    };
    let (point, values) = verify_equations(&mut reader, &key.checked, layout, &leaves)?;
    let mut claims = Claims::new(key.program.nodes.len(), layout.columns.len());
    for (&atom, value) in layout.atoms.iter().zip(values) {
        let at = suffix(&point, num_vars(layout.shape(&key.checked, atom)));
        match atom {
            Atom::Tensor(t) => claims.tensor(t, at, value)?,
            Atom::Column(c) => claims.column(c, at, value)?,
        }
    }
    nodes::backwards(key, public, &mut reader, &mut claims)?;

    let (weights, activations): (Vec<usize>, Vec<usize>) =
        (0..layout.columns.len()).partition(|&c| layout.columns[c].is_weight);
    let act_vars = layout.activation_vars;
    let act_claim = reduce_columns(key, &mut reader, &claims, &activations, act_vars, None)?;
    let weight_claim = match layout.weight_vars {
        Some(vars) => {
            let anchor = anchor(key)?;
            let claim = reduce_columns(key, &mut reader, &claims, &weights, vars, Some(&anchor))?;
            Some((vars, claim))
        }
        None => None,
    };
    let mut transcript = reader.finish()?;
    let rates = key.parameters;
    open(
        act_vars,
        rates.activation_rate,
        &proof.root,
        act_claim,
        &proof.activations,
        &mut transcript,
    )?;
    match (weight_claim, &key.weights, &proof.weights) {
        (None, None, None) => Ok(()),
        (Some((vars, claim)), Some(weights), Some(opening)) => open(
            vars,
            rates.weight_rate,
            &weights.root,
            claim,
            opening,
            &mut transcript,
        ),
        _ => Err(ProofFault::WeightsOpening),
    }
}

fn open(
    vars: usize,
    rate: u8,
    root: &Root,
    claim: Claim,
    opening: &Opening,
    transcript: &mut Transcript,
) -> Result<(), ProofFault> {
    let scheme: Pcs = pcs(vars, rate.into())?;
    let commitment = to_commitment(root);
    // Our own transcript has absorbed the root; the library's convention is
    // followed as well, so that its sub-protocol starts where it expects.
    MultilinearPcs::observe_commitment(&scheme, &commitment, transcript.challenger());
    verify_opening(
        &scheme,
        &commitment,
        &claim.point,
        claim.value,
        opening,
        transcript.challenger(),
    )
}

/// The claim (A1) about the whole stack of weights that the key makes, see
/// [`crate::key::WeightsCommitment`].
///
/// # Errors
/// When the key has no commitment to weights.
pub fn anchor(key: &VerifyingKey) -> Result<Claim, ProofFault> {
    let weights = key.weights.as_ref().ok_or(ProofFault::Layout(
        "the key has no commitment to its weights",
    ))?;
    Ok(Claim {
        point: key.anchor_point(&weights.root),
        value: weights.anchor,
    })
}

/// All claims about the columns of one stack become one claim about the stack:
/// a sumcheck over `sum_j alpha^j eq(point_j, x) stack(x)`, (C1). A claim about the
/// `whole` stack comes first.
fn reduce_columns(
    key: &VerifyingKey,
    reader: &mut Reader<'_>,
    claims: &Claims,
    columns: &[usize],
    vars: usize,
    whole: Option<&Claim>,
) -> Result<Claim, ProofFault> {
    let alpha = reader.transcript.challenge();
    let (mut claim, mut power) = (EF::ZERO, EF::ONE);
    if let Some(c) = whole {
        claim += c.value;
        power *= alpha;
    }
    for c in columns.iter().flat_map(|&c| &claims.columns[c]) {
        claim += power * c.value;
        power *= alpha;
    }
    let (point, end) = verify_sumcheck(reader, claim, vars, 2)?;
    let value = reader.receive()?;
    let (mut weight, mut power) = (EF::ZERO, EF::ONE);
    if let Some(c) = whole {
        weight += eq_eval(&c.point, &point);
        power *= alpha;
    }
    for &column in columns {
        let column_vars = num_vars(&key.layout.columns[column].shape);
        let offset = key.layout.columns[column].offset;
        let (high, low) = point.split_at(vars - column_vars);
        let selector = eq_index(offset >> column_vars, high);
        for c in &claims.columns[column] {
            weight += power * selector * eq_eval(&c.point, low);
            power *= alpha;
        }
    }
    // (C1): W(s) S(s), with W computed here.
    if weight * value != end {
        return Err(ProofFault::Columns);
    }
    Ok(Claim { point, value })
}
