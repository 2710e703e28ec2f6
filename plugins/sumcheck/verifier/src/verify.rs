//! The verifier: [`verify`] is the whole check of one proof.
//!
//! Order of the protocol: absorb label, key, context, public tensors and the
//! activations' root; lookups ([`crate::lookup`]); element-wise equations
//! ([`crate::zero`]); then the nodes backwards, each turning claims about its
//! output into claims about its operands, until only claims about public
//! tensors (computed here) and committed columns are left; last, one sumcheck
//! and one opening for each of the two commitments.

use std::panic::{AssertUnwindSafe, catch_unwind};

use p3_commit::MultilinearPcs;
use p3_field::{Field, PrimeCharacteristicRing};
use thiserror::Error;

use crate::claims::{Claim, Claims, MAX_CLAIMS};
use crate::commit::{EF, Opening, Pcs, pcs, verify_opening};
use crate::key::{KeyError, VerifyingKey, to_commitment};
use crate::layout::{Atom, Linear, is_committed};
use crate::linear::*;
use crate::lookup::verify_lookups;
use crate::mle::{bits, eq_eval, eq_index, evaluate, field, mask, num_vars, suffix};
use crate::program::*;
use crate::proof::Proof;
use crate::transcript::{Reader, Transcript, verify_sumcheck};
use crate::zero::{batch_shape, verify_equations};

/// Name and version of the protocol; absorbed first.
pub const PROTOCOL: &str = "dsperse-sumcheck/1";

/// Why a proof is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Reject {
    /// The key itself is not acceptable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The public tensors do not fit the key's program.
    #[error("The public values do not fit the verifying key: {0}")]
    Public(String),
    /// The proof is not one for this key, context and public values.
    #[error("The proof does not hold: {0}")]
    Proof(String),
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
    let public = PublicTensors::new(key, inputs, outputs).map_err(Reject::Public)?;
    let proof = Proof::from_bytes(proof, key.weights.is_some()).map_err(Reject::Proof)?;
    check(key, context, &public, &proof).map_err(Reject::Proof)
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
    ) -> Result<Self, String> {
        let mut by_node = vec![None; key.program.nodes.len()];
        for (what, ids, tensors) in [
            ("inputs", key.program.inputs(), inputs),
            ("outputs", key.program.outputs.clone(), outputs),
        ] {
            if ids.len() != tensors.len() {
                return Err(format!(
                    "{} {what} are needed, {} are given",
                    ids.len(),
                    tensors.len()
                ));
            }
            for (id, tensor) in ids.into_iter().zip(tensors) {
                let shape = &key.checked.shapes[id as usize];
                let bounds = key.checked.bounds[id as usize];
                if tensor.shape != *shape || tensor.data.len() != shape.iter().product::<usize>() {
                    return Err(format!(
                        "tensor {id} needs the shape {shape:?}, {:?} is given",
                        tensor.shape
                    ));
                }
                if let Some(v) = tensor
                    .data
                    .iter()
                    .find(|&&v| v < bounds.lo || v > bounds.hi)
                {
                    return Err(format!(
                        "tensor {id} has a value {v} outside {}..={}",
                        bounds.lo, bounds.hi
                    ));
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

    fn value(&self, node: TensorId, point: &[EF]) -> Result<EF, String> {
        let tensor = self.get(node).ok_or("a public tensor is missing")?;
        Ok(evaluate(&tensor.data, &tensor.shape, point))
    }
}

/// The transcript up to the first challenge.
pub fn start(
    key: &VerifyingKey,
    context: &[u8; 32],
    public: &PublicTensors<'_>,
    root: &[u8; 32],
) -> Transcript {
    let mut t = Transcript::new(PROTOCOL.as_bytes());
    t.absorb_bytes(b"key", &key.to_bytes());
    t.absorb_bytes(b"context", context);
    for tensor in public.by_node.iter().flatten() {
        let bytes: Vec<u8> = tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        t.absorb_bytes(b"public", &bytes);
    }
    if let Some(weights) = &key.weights {
        t.absorb_bytes(b"weights", weights);
    }
    t.absorb_bytes(b"activations", root);
    t
}

fn check(
    key: &VerifyingKey,
    context: &[u8; 32],
    public: &PublicTensors<'_>,
    proof: &Proof,
) -> Result<(), String> {
    let layout = &key.layout;
    let transcript = start(key, context, public, &proof.root);
    let mut reader = Reader::new(transcript, &proof.messages);

    let (lookup_point, lookup_values) = if layout.leaves == 0 {
        (vec![], vec![])
    } else {
        verify_lookups(&mut reader, &key.program, layout)?
    };
    let (point, values) = verify_equations(
        &mut reader,
        &key.checked,
        layout,
        &lookup_point,
        &lookup_values,
    )?;
    let mut claims = Claims::new(key.program.nodes.len(), layout.columns.len());
    for (&atom, value) in layout.atoms.iter().zip(values) {
        let at = suffix(&point, num_vars(layout.shape(&key.checked, atom)));
        match atom {
            Atom::Tensor(t) => claims.tensor(t, at, value)?,
            Atom::Column(c) => claims.column(c, at, value)?,
        }
    }
    backwards(key, public, &mut reader, &mut claims)?;

    let (weights, activations): (Vec<usize>, Vec<usize>) =
        (0..layout.columns.len()).partition(|&c| layout.columns[c].is_weight);
    let act_vars = layout.activation_vars;
    let act_claim = reduce_columns(key, &mut reader, &claims, &activations, act_vars)?;
    let weight_claim = match layout.weight_vars {
        Some(vars) => Some((
            vars,
            reduce_columns(key, &mut reader, &claims, &weights, vars)?,
        )),
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
        (Some((vars, claim)), Some(root), Some(opening)) => open(
            vars,
            rates.weight_rate,
            root,
            claim,
            opening,
            &mut transcript,
        ),
        _ => Err("the opening of the weights is missing or superfluous".into()),
    }
}

fn open(
    vars: usize,
    rate: u8,
    root: &[u8; 32],
    claim: Claim,
    opening: &Opening,
    transcript: &mut Transcript,
) -> Result<(), String> {
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

/// All claims about the columns of one stack become one claim about the stack:
/// a sumcheck over `sum_j alpha^j eq(point_j, x) stack(x)`.
fn reduce_columns(
    key: &VerifyingKey,
    reader: &mut Reader<'_>,
    claims: &Claims,
    columns: &[usize],
    vars: usize,
) -> Result<Claim, String> {
    let alpha = reader.transcript.challenge();
    let (mut claim, mut power) = (EF::ZERO, EF::ONE);
    for c in columns.iter().flat_map(|&c| &claims.columns[c]) {
        claim += power * c.value;
        power *= alpha;
    }
    let (point, end) = verify_sumcheck(reader, claim, vars, 2)?;
    let value = reader.receive()?;
    let (mut weight, mut power) = (EF::ZERO, EF::ONE);
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
    if weight * value != end {
        return Err("the claims about committed values do not add up".into());
    }
    Ok(Claim { point, value })
}

/// The walk from the last node to the first.
fn backwards(
    key: &VerifyingKey,
    public: &PublicTensors<'_>,
    reader: &mut Reader<'_>,
    claims: &mut Claims,
) -> Result<(), String> {
    let program = &key.program;
    let checked = &key.checked;
    let most = program
        .outputs
        .iter()
        .map(|&t| num_vars(&checked.shapes[t as usize]))
        .max();
    let fresh = reader.transcript.challenges(most.unwrap_or(0));
    for node in (0..program.nodes.len() as TensorId).rev() {
        let mut open = std::mem::take(&mut claims.tensors[node as usize]);
        let op = &program.nodes[node as usize];
        let shape = &checked.shapes[node as usize];
        if public.get(node).is_some() {
            for c in &open {
                if public.value(node, &c.point)? != c.value {
                    return Err(format!("a claim about the public tensor {node} is wrong"));
                }
            }
            open.clear();
            if is_committed(op) || matches!(op, Op::Input { .. }) {
                continue;
            }
            // A virtual output: what the verifier computes is the claim.
            let point = suffix(&fresh, num_vars(shape)).to_vec();
            let value = public.value(node, &point)?;
            open.push(Claim { point, value });
        }
        if open.is_empty() {
            continue;
        }
        match op {
            Op::Affine { terms, constant } => {
                for c in open {
                    affine(reader, claims, terms, *constant, shape, &c)?;
                }
            }
            Op::Wire { input, factors } => {
                let in_shape = &checked.shapes[*input as usize];
                wire(reader, claims, *input, factors, in_shape, &open)?;
            }
            Op::Einsum { .. } => einsum(reader, claims, key, node, &open)?,
            _ => {
                let form = key.layout.values[node as usize]
                    .as_ref()
                    .ok_or_else(|| format!("tensor {node} has no value"))?;
                for c in open {
                    columns(reader, claims, form, shape, &c)?;
                }
            }
        }
    }
    Ok(())
}

/// A committed tensor is an affine form in its columns.
fn columns(
    reader: &mut Reader<'_>,
    claims: &mut Claims,
    form: &Linear,
    shape: &[usize],
    claim: &Claim,
) -> Result<(), String> {
    let (constant, terms) = form.in_field();
    let rest = claim.value - mask(&claim.point, shape) * constant;
    let column = |atom| match atom {
        Atom::Column(c) => Ok(c),
        Atom::Tensor(t) => Err(format!("the value of a tensor refers to tensor {t}")),
    };
    if let [(atom, c)] = terms.as_slice() {
        return claims.column(column(*atom)?, &claim.point, rest * c.inverse());
    }
    let mut sum = EF::ZERO;
    for (atom, c) in terms {
        let value = reader.receive()?;
        sum += value * c;
        claims.column(column(atom)?, &claim.point, value)?;
    }
    if sum == rest {
        Ok(())
    } else {
        Err("the limbs of a tensor do not add up".into())
    }
}

fn affine(
    reader: &mut Reader<'_>,
    claims: &mut Claims,
    terms: &[(TensorId, i64)],
    constant: i64,
    shape: &[usize],
    claim: &Claim,
) -> Result<(), String> {
    let rest = claim.value - mask(&claim.point, shape) * field(constant.into());
    if let [(t, c)] = terms
        && *c != 0
    {
        return claims.tensor(*t, &claim.point, rest * field((*c).into()).inverse());
    }
    let mut sum = EF::ZERO;
    for (t, c) in terms {
        let value = reader.receive()?;
        sum += value * field((*c).into());
        claims.tensor(*t, &claim.point, value)?;
    }
    if sum == rest {
        Ok(())
    } else {
        Err("the terms of a sum do not add up".into())
    }
}

fn wire(
    reader: &mut Reader<'_>,
    claims: &mut Claims,
    input: TensorId,
    factors: &[Factor],
    in_shape: &[usize],
    open: &[Claim],
) -> Result<(), String> {
    let parts = wire_parts(factors, in_shape);
    let bound: Vec<&WirePart<'_>> = parts.iter().filter(|p| !p.free).collect();
    let rounds: usize = bound.iter().map(|p| num_vars(&p.sizes)).sum();
    let (mut claim, mut power, mut at) = (EF::ZERO, EF::ONE, vec![]);
    let mut rho = EF::ZERO;
    if rounds > 0 {
        rho = reader.transcript.challenge();
        for c in open {
            claim += power * c.value;
            power *= rho;
        }
        (at, claim) = verify_sumcheck(reader, claim, rounds, 2)?;
    }
    let (mut sum, mut power) = (EF::ZERO, EF::ONE);
    for c in open {
        let mut matrix = EF::ONE;
        let mut rest = at.as_slice();
        for part in &bound {
            let (here, after) = rest.split_at(num_vars(&part.sizes));
            rest = after;
            matrix *= part.eval(&c.point, here);
        }
        let point = wire_input_point(&parts, in_shape, &c.point, &at);
        let value = if rounds > 0 {
            let value = reader.receive()?;
            sum += power * matrix * value;
            power *= rho;
            value
        } else if let Some(inverse) = matrix.try_inverse() {
            c.value * inverse
        } else if c.value == EF::ZERO {
            continue; // 0 = 0 * input says nothing about the input.
        } else {
            return Err("a rewiring to zero has another value".into());
        };
        claims.tensor(input, &point, value)?;
    }
    if rounds == 0 || sum == claim {
        Ok(())
    } else {
        Err("the sumcheck of a rewiring ends in the wrong value".into())
    }
}

fn einsum(
    reader: &mut Reader<'_>,
    claims: &mut Claims,
    key: &VerifyingKey,
    node: TensorId,
    open: &[Claim],
) -> Result<(), String> {
    let Op::Einsum {
        a,
        b,
        a_labels,
        b_labels,
        out_labels,
    } = &key.program.nodes[node as usize]
    else {
        return Err("the node is not a product".into());
    };
    let shapes = &key.checked.shapes;
    let shared = shared_labels(a_labels, &shapes[*a as usize], b_labels, out_labels);
    let rounds = shared.iter().map(|s| bits(s.size)).sum();
    let rho = reader.transcript.challenge();
    let (mut claim, mut power) = (EF::ZERO, EF::ONE);
    for c in open {
        claim += power * c.value;
        power *= rho;
    }
    let (at, end) = verify_sumcheck(reader, claim, rounds, 3)?;
    let (mut sum, mut power) = (EF::ZERO, EF::ONE);
    for c in open {
        let points = label_points(out_labels, &shapes[node as usize], &c.point);
        let (va, vb) = (reader.receive()?, reader.receive()?);
        sum += power * einsum_weight_at(&shared, &points, &at) * va * vb;
        power *= rho;
        claims.tensor(*a, &operand_point(a_labels, &shared, &points, &at), va)?;
        claims.tensor(*b, &operand_point(b_labels, &shared, &points, &at), vb)?;
    }
    if sum == end {
        Ok(())
    } else {
        Err("the sumcheck of a product ends in the wrong value".into())
    }
}

/// What a report about the backend says of the protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Soundness {
    /// Bits of the whole argument: openings and everything else, by union bound.
    pub total_bits: f64,
    /// Bits of each commitment's opening, by the library's account.
    pub opening_bits: Vec<f64>,
    /// Bits of all our own rounds together.
    pub protocol_bits: f64,
}

/// Computes the soundness of a key's proofs: the library's figures for the
/// openings, and a union bound over all our challenges. Each challenge errs
/// with probability at most (degree of the polynomial identity it tests) over
/// the field's size, for each of the candidates that a commitment leaves open
/// in the list-decoding regime.
pub fn soundness(key: &VerifyingKey) -> Result<Soundness, String> {
    let layout = &key.layout;
    let mut opening_bits = vec![];
    let mut candidates = 0.0;
    let mut stacks = vec![(layout.activation_vars, key.parameters.activation_rate)];
    stacks.extend(layout.weight_vars.map(|v| (v, key.parameters.weight_rate)));
    for &(vars, rate) in &stacks {
        let s = crate::commit::security(vars, rate.into())?;
        candidates += s.log2_max_candidates;
        opening_bits.push(s.error().bits());
    }
    // Fingerprints: a rational function with `leaves` poles, tuples of degree 2.
    let mut degree = 3.0 * (layout.leaves as f64 + 1.0);
    // Layers: lambda and mu are of degree 1, each round of degree 2.
    let n = layout.leaf_vars as f64;
    degree += n * (n + 1.0) + 2.0 * n;
    // Equations: lambda, tau, and the rounds.
    let (rounds, d) = batch_shape(layout, &key.checked);
    let terms = layout.atoms.len()
        + layout
            .gadgets
            .iter()
            .map(|g| g.constraints.len())
            .sum::<usize>();
    degree += terms as f64 + rounds as f64 * (d as f64 + 1.0);
    // Nodes: at most this many claims in one combination, and at most 96 rounds
    // of degree 3 each; the outputs' fresh point.
    let claims = MAX_CLAIMS as f64;
    degree += key.program.nodes.len() as f64 * (claims + 3.0 * 96.0) + 64.0;
    // Columns: alpha and the rounds of both stacks.
    degree += layout.columns.len() as f64 * claims;
    degree += stacks.iter().map(|s| 2.0 * s.0 as f64).sum::<f64>();
    // log2 of the field's size, rounded down.
    let protocol_bits = 191.0 - degree.log2() - candidates;
    let sum: f64 = opening_bits
        .iter()
        .chain([&protocol_bits])
        .map(|b| (-b).exp2())
        .sum();
    Ok(Soundness {
        total_bits: -sum.log2(),
        opening_bits,
        protocol_bits,
    })
}
