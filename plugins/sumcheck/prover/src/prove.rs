//! Compiling and proving.

use std::borrow::Cow;

use dsperse_sumcheck_evaluator::{EvalError, evaluate};
use dsperse_sumcheck_packed as packed;
use dsperse_sumcheck_verifier::claims::Claims;
use dsperse_sumcheck_verifier::commit::{
    Challenger, Commitment, EF, F, Opening, Pcs, ProverData, default_rate, first_fold, pcs,
    protocol,
};
use dsperse_sumcheck_verifier::fault::{CommitError, Malformed, ProofFault, PublicError};
use dsperse_sumcheck_verifier::hash::{Root, hash_many_with};
use dsperse_sumcheck_verifier::key::{
    KeyError, Parameters, VerifyingKey, WeightsCommitment, to_root,
};
use dsperse_sumcheck_verifier::layout::{Atom, WeightRanges};
use dsperse_sumcheck_verifier::lookup::LeafClaims;
use dsperse_sumcheck_verifier::mle::{num_vars, suffix};
use dsperse_sumcheck_verifier::program::{Program, Tensor};
use dsperse_sumcheck_verifier::proof::Proof;
use dsperse_sumcheck_verifier::sponge::Sponge;
use dsperse_sumcheck_verifier::verify::{PublicTensors, RANGES, anchor, start};
use p3_commit::MultilinearPcs;
use p3_matrix::dense::RowMajorMatrix;
use p3_multilinear_util::point::Point;
use p3_sumcheck::PrescribedPointPcs;
use p3_sumcheck::layout::{Layout as _, PrefixProver, Table};
use thiserror::Error;

use crate::backwards::Walk;
use crate::leaves::AtomValues;
use crate::lookup::prove_lookups;
use crate::sender::{Adversary, Honest, Sender};
use crate::stack::reduce_columns;
use crate::weight::Weight;
use crate::witness::{Witness, fill_columns, fill_multiplicities, is_read, padded, stack};
use crate::zero::prove_equations;

/// Why compiling or proving fails.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProveError {
    /// The program or its parameters are not acceptable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The program cannot be evaluated on these values.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The key does not belong to these weights.
    #[error("The weights are not those of the verifying key; compile the slice again")]
    OtherWeights,
    /// A value is in no row of its table: the witness is not one of this program.
    #[error("No proof could be made: the value {value} is not in the table {tag}")]
    NotInTable {
        /// The value.
        value: i128,
        /// The table's tag.
        tag: u64,
    },
    /// The public values do not fit the program.
    #[error("No proof could be made: {0}")]
    Public(#[from] PublicError),
    /// A step of the protocol failed, as it would for the verifier.
    #[error("No proof could be made: {0}")]
    Step(#[from] ProofFault),
    /// A commitment has no parameters, or the library failed on it.
    #[error("No proof could be made: {0}")]
    Commit(#[from] CommitError),
    /// The proof can't be written.
    #[error("No proof could be made: {0}")]
    Encode(#[from] Malformed),
}

/// An error of the library.
fn library(e: impl std::fmt::Display) -> ProveError {
    CommitError::Library(e.to_string()).into()
}

/// A commitment; what opens it is kept apart, because opening consumes it.
pub(crate) struct Committed {
    scheme: Pcs<packed::Dft>,
    commitment: Commitment,
    vars: usize,
}

impl Committed {
    fn new(values: Vec<F>, vars: usize, rate: u8) -> Result<(Self, ProverData), ProveError> {
        hash_many_with(packed::hash_short);
        let scheme = pcs(vars, rate.into())?;
        let table = Table::new(RowMajorMatrix::new(values, 1 << vars));
        let witness = PrefixProver::<F, EF>::new_witness(vec![table], first_fold(vars));
        // The library's commitment absorbs the root; ours is absorbed with the
        // rest of the statement, so this sponge is thrown away.
        let mut unused = Challenger::new(Sponge::new(vec![]));
        let (commitment, data) = scheme.commit(witness, &mut unused).map_err(library)?;
        let committed = Self {
            scheme,
            commitment,
            vars,
        };
        Ok((committed, data))
    }

    fn open(
        &self,
        data: ProverData,
        point: &[EF],
        sponge: &mut Challenger,
    ) -> Result<Opening, ProveError> {
        MultilinearPcs::<EF, Challenger>::observe_commitment(
            &self.scheme,
            &self.commitment,
            sponge,
        );
        self.scheme
            .open_at(
                data,
                &protocol(self.vars),
                &[Point::new(point.to_vec())],
                sponge,
            )
            .map_err(library)
    }

    fn root(&self) -> Result<Root, ProveError> {
        to_root(&self.commitment).ok_or_else(|| library("a commitment has no single root"))
    }
}

/// The values of a commitment.
fn values(data: &ProverData) -> &[F] {
    data.layout.table(0).poly(0).into_slice()
}

/// What the prover keeps between proofs: the key, the weights, and their
/// commitment.
pub struct ProvingKey {
    key: VerifyingKey,
    weights: Vec<Tensor>,
    committed: Option<(Committed, ProverData)>,
}

impl ProvingKey {
    /// The verifying key.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The weights, in the program's order.
    pub fn weights(&self) -> &[Tensor] {
        &self.weights
    }

    /// Claims another commitment to the weights than the real one.
    #[cfg(test)]
    pub(crate) fn pretend(&mut self, weights: Option<WeightsCommitment>) {
        self.key.weights = weights;
    }

    /// Speaks of its own weights, and opens another key's commitment.
    #[cfg(test)]
    pub(crate) fn open_instead(&mut self, other: Self) -> Option<Used> {
        self.key.weights = other.key.weights;
        let own = values(&self.committed.as_ref()?.1).to_vec();
        Some(Used::Unlike(own, Box::new(other.committed?)))
    }

    /// Rebuilds the proving key from a verifying key's bytes and the weights;
    /// an error when the weights are others.
    pub fn from_key(verifying_key: &[u8], weights: Vec<Tensor>) -> Result<Self, ProveError> {
        let key = VerifyingKey::from_bytes(verifying_key)?;
        let expected = key.weights;
        let pk = commit(key, weights)?;
        if pk.key.weights == expected {
            Ok(pk)
        } else {
            Err(ProveError::OtherWeights)
        }
    }
}

/// Looked-up limbs of weights from which on their ranges are shown once, in the key, instead of
/// in every proof. That costs a verifier another opening, some milliseconds, and the key some
/// hundred kilobytes; a proof is spared half a second or more.
const MANY_WEIGHTS: usize = 1 << 20;

/// The proof system that suits a program, without a commitment to weights yet. Where the
/// weights' ranges are shown is given, or follows from their number.
///
/// # Errors
/// What the proof system refuses.
pub fn lay_out(program: &Program, ranges: Option<WeightRanges>) -> Result<VerifyingKey, KeyError> {
    let key = |parameters| VerifyingKey::new(program.clone(), parameters);
    let trial = |limb_bits| Parameters {
        limb_bits,
        weight_rate: 1,
        activation_rate: 1,
        ranges: WeightRanges::Proof,
    };
    let mut best: Option<(usize, Parameters)> = None;
    for limb_bits in (6..=16).rev() {
        let Ok(key) = key(trial(limb_bits)) else {
            continue;
        };
        let l = &key.layout;
        // Leaves cost most; columns are committed as well.
        let cost = 2 * l.leaves + (1 << l.activation_vars);
        if best.is_none_or(|(c, _)| cost < c) {
            let parameters = Parameters {
                weight_rate: default_rate(l.weight_vars.unwrap_or(0), true),
                activation_rate: default_rate(l.activation_vars, false),
                ..key.parameters
            };
            best = Some((cost, parameters));
        }
    }
    let Some((_, parameters)) = best else {
        // No width works: let the widest say why.
        return key(trial(16));
    };
    let in_proofs = key(parameters)?;
    let in_key = || {
        key(Parameters {
            ranges: WeightRanges::Key,
            ..parameters
        })
    };
    let least = match ranges {
        Some(WeightRanges::Proof) => return Ok(in_proofs),
        Some(WeightRanges::Key) => 1,
        None => MANY_WEIGHTS,
    };
    match in_key() {
        Ok(key) if in_proofs.layout.leaves - key.layout.leaves >= least => Ok(key),
        Err(e) if ranges.is_some() => Err(e),
        // A key whose two proofs together are not sound enough is none.
        _ => Ok(in_proofs),
    }
}

/// Sets up the proof system for a program, commits to its weights, and shows that they are in
/// range if that is shown once.
pub fn compile(program: Program, weights: Vec<Tensor>) -> Result<ProvingKey, ProveError> {
    compile_as(lay_out(&program, None)?, weights)
}

/// The same with given parameters.
pub fn compile_with(
    program: Program,
    parameters: Parameters,
    weights: Vec<Tensor>,
) -> Result<ProvingKey, ProveError> {
    compile_as(VerifyingKey::new(program, parameters)?, weights)
}

fn compile_as(key: VerifyingKey, weights: Vec<Tensor>) -> Result<ProvingKey, ProveError> {
    let mut pk = commit(key, weights)?;
    prove_ranges(&mut pk, None, &mut Honest)?;
    Ok(pk)
}

/// Completes a key as [`compile`] does, where no proof follows: less memory is needed. Returns
/// the weights as well.
pub fn compile_key(
    key: VerifyingKey,
    weights: Vec<Tensor>,
) -> Result<(VerifyingKey, Vec<Tensor>), ProveError> {
    let mut pk = commit(key, weights)?;
    let used = pk.committed.take().map(|c| Used::Commitment(Box::new(c)));
    prove_ranges(&mut pk, used, &mut Honest)?;
    Ok((pk.key, pk.weights))
}

/// (K2) The proof that the weights are in their ranges, made with the key's own commitment,
/// if the key is to have one. `used` as in [`prove_with`].
fn prove_ranges(
    pk: &mut ProvingKey,
    used: Option<Used>,
    adversary: &mut dyn Adversary,
) -> Result<(), ProveError> {
    if pk.key.parameters.ranges == WeightRanges::Proof {
        return Ok(());
    }
    let alone = ProvingKey {
        key: pk.key.of_weights()?,
        weights: std::mem::take(&mut pk.weights),
        committed: pk.committed.take(),
    };
    let statement = Statement {
        context: RANGES,
        inputs: &[],
        outputs: &[],
    };
    let tensors = alone.weights.clone();
    let proof = prove_with(&alone, used, &statement, tensors, adversary);
    pk.weights = alone.weights;
    pk.committed = alone.committed;
    pk.key.range_proof = proof?;
    Ok(())
}

/// Commits to the weights of a key.
fn commit(mut key: VerifyingKey, mut weights: Vec<Tensor>) -> Result<ProvingKey, ProveError> {
    let stack = stack_weights(&key, &mut weights)?;
    let committed = match key.layout.weight_vars {
        None => None,
        Some(vars) => {
            let (made, data) = Committed::new(stack, vars, key.parameters.weight_rate)?;
            let root = made.root()?;
            let point = key.anchor_point(&root);
            key.weights = Some(WeightsCommitment {
                root,
                // (A1)
                anchor: Weight::eq(&point).inner(values(&data)),
            });
            Some((made, data))
        }
    };
    Ok(ProvingKey {
        key,
        weights,
        committed,
    })
}

/// What is committed of the weights: their stack, empty if there are none. They are as they
/// were afterwards.
fn stack_weights(key: &VerifyingKey, weights: &mut [Tensor]) -> Result<Vec<F>, ProveError> {
    check_weights(key, weights)?;
    let Some(vars) = key.layout.weight_vars else {
        return Ok(vec![]);
    };
    // Only weight nodes are read for weight columns.
    let none = Tensor {
        shape: vec![],
        data: vec![],
    };
    let mut tensors = vec![none; key.program.nodes.len()];
    let ids = key.program.weights();
    for (&id, w) in ids.iter().zip(&mut *weights) {
        std::mem::swap(&mut tensors[id as usize], w);
    }
    let columns = fill_columns(key, &tensors, |c| c.is_weight);
    for (&id, w) in ids.iter().zip(weights) {
        std::mem::swap(&mut tensors[id as usize], w);
    }
    Ok(stack(key, &columns, true, vars))
}

fn check_weights(key: &VerifyingKey, weights: &[Tensor]) -> Result<(), ProveError> {
    use dsperse_sumcheck_verifier::program::Op;
    let ids = key.program.weights();
    if ids.len() != weights.len() {
        return Err(EvalError::Count {
            what: "weights",
            expected: ids.len(),
            found: weights.len(),
        }
        .into());
    }
    for (id, w) in ids.into_iter().zip(weights) {
        let node = id as usize;
        let expected = &key.checked.shapes[node];
        if w.shape != *expected || w.data.len() != expected.iter().product::<usize>() {
            return Err(EvalError::Shape {
                node,
                expected: expected.clone(),
                found: w.shape.clone(),
            }
            .into());
        }
        if let Op::Weight { lo, hi, .. } = key.program.nodes[node]
            && let Some(&v) = w.data.iter().find(|&&v| v < lo || v > hi)
        {
            return Err(EvalError::Range {
                node,
                op: "Weight",
                value: v.into(),
                lo,
                hi,
            }
            .into());
        }
    }
    Ok(())
}

/// Proves one evaluation; returns the outputs and the proof's bytes.
pub fn prove(
    pk: &ProvingKey,
    context: &[u8; 32],
    inputs: &[Tensor],
) -> Result<(Vec<Tensor>, Vec<u8>), ProveError> {
    prove_honestly(pk, None, context, inputs)
}

/// The same for a key that is not needed again. Only the opening at the end needs what the
/// commitment to the weights is opened with, so it is made then, when all else is gone.
pub fn prove_once(
    verifying_key: &[u8],
    mut weights: Vec<Tensor>,
    context: &[u8; 32],
    inputs: &[Tensor],
) -> Result<(Vec<Tensor>, Vec<u8>), ProveError> {
    let key = VerifyingKey::from_bytes(verifying_key)?;
    let stack = stack_weights(&key, &mut weights)?;
    let pk = ProvingKey {
        key,
        weights,
        committed: None,
    };
    prove_honestly(&pk, Some(Used::Stack(stack)), context, inputs)
}

fn prove_honestly(
    pk: &ProvingKey,
    used: Option<Used>,
    context: &[u8; 32],
    inputs: &[Tensor],
) -> Result<(Vec<Tensor>, Vec<u8>), ProveError> {
    let program = &pk.key.program;
    let tensors = evaluate(program, &pk.key.checked, &pk.weights, inputs)?;
    let ids = program.outputs.iter();
    let outputs: Vec<Tensor> = ids.map(|&t| tensors[t as usize].clone()).collect();
    let statement = Statement {
        context,
        inputs,
        outputs: &outputs,
    };
    let proof = prove_with(pk, used, &statement, tensors, &mut Honest)?;
    Ok((outputs, proof))
}

/// What a proof is about, besides the key.
pub(crate) struct Statement<'a> {
    pub(crate) context: &'a [u8; 32],
    pub(crate) inputs: &'a [Tensor],
    pub(crate) outputs: &'a [Tensor],
}

/// What of a key is used up by a proof.
pub(crate) enum Used {
    /// The commitment to the weights.
    Commitment(Box<(Committed, ProverData)>),
    /// The weights' stack, to which no commitment is at hand.
    Stack(Vec<F>),
    /// A stack, and the commitment that is opened as if it were to that.
    #[cfg(test)]
    Unlike(Vec<F>, Box<(Committed, ProverData)>),
}

/// Proves given tensors, with an adversary looking on. What the key is not to keep is `used`.
pub(crate) fn prove_with(
    pk: &ProvingKey,
    used: Option<Used>,
    statement: &Statement<'_>,
    tensors: Vec<Tensor>,
    adversary: &mut dyn Adversary,
) -> Result<Vec<u8>, ProveError> {
    let key = &pk.key;
    let layout = &key.layout;
    let weight_stack = match (&used, &pk.committed) {
        (Some(Used::Stack(stack)), _) => stack,
        #[cfg(test)]
        (Some(Used::Unlike(stack, _)), _) => stack,
        (Some(Used::Commitment(made)), _) => values(&made.1),
        (None, Some((_, data))) => values(data),
        (None, None) => &[],
    };
    let mut columns = fill_columns(key, &tensors, |c| is_read(key, c));
    adversary.columns(layout, &mut columns);
    let mut witness = Witness { tensors, columns };
    fill_multiplicities(key, &mut witness, adversary.persists())?;
    let mut activation_stack = stack(key, &witness.columns, false, layout.activation_vars);
    adversary.stack(layout, &mut activation_stack);
    let (committed, data) = Committed::new(
        activation_stack,
        layout.activation_vars,
        key.parameters.activation_rate,
    )?;
    let activation_stack = values(&data);
    let root = committed.root()?;
    let public = PublicTensors::new(key, statement.inputs, statement.outputs)?;
    // (T1)
    let transcript = start(key, statement.context, &public, &root);
    let mut sender = Sender::new(transcript, adversary);

    let atoms: AtomValues<'_> = layout
        .atoms
        .iter()
        .map(|&atom| {
            let values = match atom {
                Atom::Tensor(t) => {
                    let t = &witness.tensors[t as usize];
                    Cow::Owned(padded(&t.data, &t.shape))
                }
                Atom::Column(c) => {
                    let c = &layout.columns[c];
                    let source = match c.is_weight {
                        true => weight_stack,
                        false => activation_stack,
                    };
                    Cow::Borrowed(&source[c.offset..c.offset + (1 << num_vars(&c.shape))])
                }
            };
            (atom, values)
        })
        .collect();
    let leaves = if layout.leaves == 0 {
        LeafClaims::default()
    } else {
        prove_lookups(&mut sender, key, &atoms)?
    };
    let (point, values) = prove_equations(&mut sender, key, &atoms, &leaves);
    drop(atoms);
    let mut claims = Claims::new(key.program.nodes.len(), layout.columns.len());
    for (&atom, value) in layout.atoms.iter().zip(values) {
        let at = suffix(&point, num_vars(layout.shape(&key.checked, atom)));
        match atom {
            Atom::Tensor(t) => claims.tensor(t, at, value),
            Atom::Column(c) => claims.column(c, at, value),
        }?;
    }
    Walk {
        key,
        public: &public,
        witness: &witness,
        sender: &mut sender,
        claims: &mut claims,
    }
    .run()?;
    drop(witness);

    let activation_point = reduce_columns(key, &mut sender, &claims, false, activation_stack, None);
    let weight_point = match layout.weight_vars {
        Some(_) => {
            let whole = anchor(key)?;
            Some(reduce_columns(
                key,
                &mut sender,
                &claims,
                true,
                weight_stack,
                Some(&whole),
            ))
        }
        None => None,
    };
    let Sender {
        mut transcript,
        messages,
        ..
    } = sender;
    let sponge = transcript.challenger();
    // (C2)
    let activations = committed.open(data, &activation_point, sponge)?;
    let weights = match weight_point {
        None => None,
        Some(point) => Some(match (used, &pk.committed) {
            (Some(Used::Commitment(made)), _) => {
                let (made, data) = *made;
                made.open(data, &point, sponge)?
            }
            (Some(Used::Stack(stack)), _) => {
                let rate = key.parameters.weight_rate;
                let (made, data) = Committed::new(stack, point.len(), rate)?;
                let root = made.root()?;
                if key.weights.is_none_or(|w| w.root != root) {
                    return Err(ProveError::OtherWeights);
                }
                made.open(data, &point, sponge)?
            }
            #[cfg(test)]
            (Some(Used::Unlike(_, made)), _) => {
                let (made, data) = *made;
                made.open(data, &point, sponge)?
            }
            (None, Some((made, data))) => made.open(data.clone(), &point, sponge)?,
            (None, None) => return Err(ProofFault::WeightsOpening.into()),
        }),
    };
    let proof = Proof {
        root,
        messages,
        activations,
        weights,
    };
    Ok(proof.to_bytes()?)
}

#[cfg(test)]
mod equivocation;
