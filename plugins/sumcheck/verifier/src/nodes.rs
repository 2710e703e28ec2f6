//! The nodes backwards, verifier's side: claims about a node's output become
//! claims about its operands, until only public tensors and committed columns
//! are left.
//!
//! * (N1) A public tensor is evaluated here.
//! * (N3) `Affine`: the operands' claims must add up, at the same point.
//! * (N4) `Wire`: `out(p) = sum_y prod_f M_f(p_f, y_f) in(y)`, a sumcheck of degree 2
//!   over the dimensions that do not pass through; the matrices are evaluated
//!   here.
//! * (N5) `Select`: a `Wire` whose matrix `[y = ids[z]]` is written down from the public ids.
//! * (N6) `Einsum`: `out(p) = sum_x w(x) a(p, x) b(p, x)` over the labels that both
//!   operands have, a sumcheck of degree 3 (Thaler, CRYPTO 2013, section 5),
//!   with `w` the equality to `p` on batch labels and "not padding" on summed ones.
//! * (N2) A committed tensor is an affine form in its columns.
//!
//! (N0) Several claims about one tensor are added with powers of a challenge.

use p3_field::{Field, PrimeCharacteristicRing};

use crate::claims::{Claim, Claims};
use crate::commit::EF;
use crate::fault::ProofFault;
use crate::key::VerifyingKey;
use crate::layout::{Atom, Linear, is_committed};
use crate::linear::*;
use crate::mle::{bits, field, mask, num_vars, suffix};
use crate::program::*;
use crate::transcript::{Reader, verify_sumcheck};
use crate::verify::PublicTensors;
use crate::wire::select_factors;

/// The walk from the last node to the first.
pub fn backwards(
    key: &VerifyingKey,
    public: &PublicTensors<'_>,
    reader: &mut Reader<'_>,
    claims: &mut Claims,
) -> Result<(), ProofFault> {
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
                // (N1)
                if public.value(node, &c.point)? != c.value {
                    return Err(ProofFault::Public(node));
                }
            }
            open.clear();
            if is_committed(op) || matches!(op, Op::Input { .. }) {
                continue;
            }
            // (N1) A virtual output: what the verifier computes is the claim.
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
            Op::Select { input, dim, ids } => {
                let in_shape = &checked.shapes[*input as usize];
                let ids = public
                    .get(*ids)
                    .ok_or(ProofFault::Layout("the ids of a selection are not public"))?;
                let factors = select_factors(in_shape.len(), *dim, &ids.data);
                wire(reader, claims, *input, &factors, in_shape, &open)?;
            }
            Op::Einsum { .. } => einsum(reader, claims, key, node, &open)?,
            _ => {
                let form = key.layout.values[node as usize]
                    .as_ref()
                    .ok_or(ProofFault::Layout("a committed tensor has no value"))?;
                for c in open {
                    columns(reader, claims, form, shape, &c)?;
                }
            }
        }
    }
    Ok(())
}

/// (N2) A committed tensor is an affine form in its columns.
fn columns(
    reader: &mut Reader<'_>,
    claims: &mut Claims,
    form: &Linear,
    shape: &[usize],
    claim: &Claim,
) -> Result<(), ProofFault> {
    let (constant, terms) = form.in_field();
    let rest = claim.value - mask(&claim.point, shape) * constant;
    let column = |atom| match atom {
        Atom::Column(c) => Ok(c),
        Atom::Tensor(_) => Err(ProofFault::Layout(
            "the value of a tensor refers to a tensor",
        )),
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
        Err(ProofFault::Limbs)
    }
}

/// (N3)
fn affine(
    reader: &mut Reader<'_>,
    claims: &mut Claims,
    terms: &[(TensorId, i64)],
    constant: i64,
    shape: &[usize],
    claim: &Claim,
) -> Result<(), ProofFault> {
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
        Err(ProofFault::Terms)
    }
}

/// (N4), and (N5) with the factors that the ids make.
fn wire(
    reader: &mut Reader<'_>,
    claims: &mut Claims,
    input: TensorId,
    factors: &[Factor],
    in_shape: &[usize],
    open: &[Claim],
) -> Result<(), ProofFault> {
    let parts = wire_parts(factors, in_shape);
    let bound: Vec<&WirePart<'_>> = parts.iter().filter(|p| !p.free).collect();
    let rounds: usize = bound.iter().map(|p| num_vars(&p.sizes)).sum();
    claims.evaluate_entries(evaluation_cost(&bound, open.len()))?;
    let (mut claim, mut power, mut at) = (EF::ZERO, EF::ONE, vec![]);
    let mut rho = EF::ZERO;
    if rounds > 0 {
        // (N0)
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
            return Err(ProofFault::WireToZero);
        };
        claims.tensor(input, &point, value)?;
    }
    if rounds == 0 || sum == claim {
        Ok(())
    } else {
        Err(ProofFault::Wire)
    }
}

/// (N6)
fn einsum(
    reader: &mut Reader<'_>,
    claims: &mut Claims,
    key: &VerifyingKey,
    node: TensorId,
    open: &[Claim],
) -> Result<(), ProofFault> {
    let Op::Einsum {
        a,
        b,
        a_labels,
        b_labels,
        out_labels,
    } = &key.program.nodes[node as usize]
    else {
        return Err(ProofFault::Layout("the node is not a product"));
    };
    let shapes = &key.checked.shapes;
    let shared = shared_labels(a_labels, &shapes[*a as usize], b_labels, out_labels);
    let rounds = shared.iter().map(|s| bits(s.size)).sum();
    // (N0)
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
        Err(ProofFault::Product)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Transcript;

    /// What is read nowhere is zero, and says nothing about the operand.
    #[test]
    fn a_rewiring_to_nowhere_is_zero() {
        let nowhere = Factor::Gather {
            dim: 0,
            indices: vec![-1],
        };
        let claimed = |value| {
            let mut claims = Claims::new(1, 0);
            let mut reader = Reader::new(Transcript::new(b"test"), &[]);
            let open = [Claim {
                point: vec![],
                value,
            }];
            let factors = std::slice::from_ref(&nowhere);
            let got = wire(&mut reader, &mut claims, 0, factors, &[1], &open);
            assert_eq!(claims.tensors, [vec![]]);
            got
        };
        assert_eq!(claimed(EF::ZERO), Ok(()));
        assert_eq!(claimed(EF::ONE), Err(ProofFault::WireToZero));
    }

    /// What is repeated three times is zero in the fourth place, so a claim about all is one
    /// about the element times what is not padding.
    #[test]
    fn a_claim_about_repetitions_is_one_about_the_element() {
        let (element, point) = (EF::from_u64(5), vec![EF::from_u64(7), EF::from_u64(11)]);
        let mut claims = Claims::new(1, 0);
        let mut reader = Reader::new(Transcript::new(b"test"), &[]);
        let value = element * mask(&point, &[3]);
        let open = [Claim { point, value }];
        let factors = [Factor::Repeat { size: 3 }];
        let got = wire(&mut reader, &mut claims, 0, &factors, &[], &open);
        assert_eq!(got, Ok(()));
        let (point, value) = (vec![], element);
        assert_eq!(claims.tensors, [vec![Claim { point, value }]]);
    }
}
