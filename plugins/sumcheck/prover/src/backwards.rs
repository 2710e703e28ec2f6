//! The walk from the last node to the first, prover's side (see the
//! verifier's `verify` module, which this follows step by step).

use dsperse_sumcheck_verifier::claims::{Claim, Claims};
use dsperse_sumcheck_verifier::commit::EF;
use dsperse_sumcheck_verifier::fault::ProofFault;
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::layout::{Atom, is_committed};
use dsperse_sumcheck_verifier::linear::*;
use dsperse_sumcheck_verifier::mle::{
    bits, eq_table, evaluate, field, mask, num_vars, split, suffix,
};
use dsperse_sumcheck_verifier::program::*;
use dsperse_sumcheck_verifier::verify::PublicTensors;
use dsperse_sumcheck_verifier::wire::select_factors;
use p3_field::{Field, PrimeCharacteristicRing};

use crate::contract::{arrange, contract};
use crate::sender::Sender;
use crate::sumcheck::{Arrays, Form, Instance, prove_batch};
use crate::weight::Weight;
use crate::witness::Witness;

/// What the steps need.
pub struct Walk<'a, 'b> {
    /// The key.
    pub key: &'a VerifyingKey,
    /// The public tensors.
    pub public: &'a PublicTensors<'a>,
    /// Tensors and columns.
    pub witness: &'a Witness,
    /// Where messages go.
    pub sender: &'a mut Sender<'b>,
    /// Open claims.
    pub claims: &'a mut Claims,
}

impl Walk<'_, '_> {
    /// Reduces all claims about tensors to claims about columns.
    pub fn run(&mut self) -> Result<(), ProofFault> {
        let program = &self.key.program;
        let shapes = &self.key.checked.shapes;
        let most = program
            .outputs
            .iter()
            .map(|&t| num_vars(&shapes[t as usize]))
            .max();
        let fresh = self.sender.transcript.challenges(most.unwrap_or(0));
        for node in (0..program.nodes.len() as TensorId).rev() {
            let mut open = std::mem::take(&mut self.claims.tensors[node as usize]);
            let op = &program.nodes[node as usize];
            let shape = &shapes[node as usize];
            if let Some(tensor) = self.public.get(node) {
                if is_committed(op) || matches!(op, Op::Input { .. }) {
                    continue;
                }
                // (N1)
                let point = suffix(&fresh, num_vars(shape)).to_vec();
                let value = evaluate(&tensor.data, shape, &point);
                open = vec![Claim { point, value }];
            }
            if open.is_empty() {
                continue;
            }
            match op {
                Op::Affine { terms, constant } => {
                    for c in open {
                        self.affine(terms, *constant, shape, &c)?;
                    }
                }
                Op::Wire { input, factors } => self.wire(node, *input, factors, &open)?,
                Op::Select { input, dim, ids } => {
                    let ids = self.public.get(*ids);
                    let ids =
                        ids.ok_or(ProofFault::Layout("the ids of a selection are not public"))?;
                    let rank = shapes[*input as usize].len();
                    let factors = select_factors(rank, *dim, &ids.data);
                    self.wire(node, *input, &factors, &open)?;
                }
                Op::Einsum { .. } => self.einsum(node, &open)?,
                _ => {
                    for c in open {
                        self.columns(node, &c)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// (N2)
    fn columns(&mut self, node: TensorId, claim: &Claim) -> Result<(), ProofFault> {
        let layout = &self.key.layout;
        let form = layout.values[node as usize]
            .as_ref()
            .ok_or(ProofFault::Layout("a committed tensor has no value"))?;
        let shape = &self.key.checked.shapes[node as usize];
        let (constant, terms) = form.in_field();
        if let [(Atom::Column(c), k)] = terms.as_slice() {
            let rest = claim.value - mask(&claim.point, shape) * constant;
            return self.claims.column(*c, &claim.point, rest * k.inverse());
        }
        for (atom, _) in terms {
            if let Atom::Column(c) = atom {
                let value = evaluate(&self.witness.columns[c], shape, &claim.point);
                let value = self.sender.send(value);
                self.claims.column(c, &claim.point, value)?;
            }
        }
        Ok(())
    }

    /// (N3)
    fn affine(
        &mut self,
        terms: &[(TensorId, i64)],
        constant: i64,
        shape: &[usize],
        claim: &Claim,
    ) -> Result<(), ProofFault> {
        if let [(t, c)] = terms
            && *c != 0
        {
            let rest = claim.value - mask(&claim.point, shape) * field(constant.into());
            return self
                .claims
                .tensor(*t, &claim.point, rest * field((*c).into()).inverse());
        }
        for (t, _) in terms {
            let tensor = &self.witness.tensors[*t as usize];
            let value = self
                .sender
                .send(evaluate(&tensor.data, shape, &claim.point));
            self.claims.tensor(*t, &claim.point, value)?;
        }
        Ok(())
    }

    /// (N4), and (N5) with the factors that the ids make.
    fn wire(
        &mut self,
        node: TensorId,
        input: TensorId,
        factors: &[Factor],
        open: &[Claim],
    ) -> Result<(), ProofFault> {
        let in_shape = &self.key.checked.shapes[input as usize];
        let parts = wire_parts(factors, in_shape);
        let bound: Vec<&WirePart<'_>> = parts.iter().filter(|p| !p.free).collect();
        let rounds: usize = bound.iter().map(|p| num_vars(&p.sizes)).sum();
        self.claims
            .evaluate_entries(evaluation_cost(&bound, open.len()))?;
        if rounds == 0 {
            for c in open {
                let matrix: EF = bound.iter().map(|p| p.eval(&c.point, &[])).product();
                let point = wire_input_point(&parts, in_shape, &c.point, &[]);
                if let Some(inverse) = matrix.try_inverse() {
                    self.claims.tensor(input, &point, c.value * inverse)?;
                }
            }
            return Ok(());
        }
        // (N0)
        let rho = self.sender.transcript.challenge();
        // The bound dimensions in the order of the factors, as positions among
        // the dimensions that remain after the free ones are contracted.
        let order: Vec<usize> = bound.iter().flat_map(|p| p.dims.clone()).collect();
        let mut remaining = order.clone();
        remaining.sort_unstable();
        let sizes: Vec<usize> = remaining.iter().map(|&d| in_shape[d]).collect();
        let order: Vec<usize> = order
            .iter()
            .map(|d| remaining.iter().position(|r| r == d).unwrap_or_default())
            .collect();
        let mut power = EF::ONE;
        let mut instances = vec![];
        for c in open {
            let point = wire_input_point(&parts, in_shape, &c.point, &vec![EF::ZERO; rounds]);
            let vectors: Vec<Option<Vec<EF>>> = split(&point, in_shape)
                .into_iter()
                .enumerate()
                .map(|(d, part)| (!remaining.contains(&d)).then(|| eq_table(part)))
                .collect();
            let rest = contract(&self.witness.tensors[input as usize], &vectors);
            let mut rows: Vec<Vec<EF>> = bound.iter().map(|p| p.row(&c.point)).collect();
            let mut arrays = vec![arrange(&rest, &sizes, &order)];
            self.sender.contraction(node, &mut rows, &mut arrays);
            instances.push(Instance {
                weight: Weight::new(rows).times(power),
                arrays: Arrays::Ext(arrays),
                products: vec![(EF::ONE, vec![Form::array(0)])],
                claim: power * c.value,
            });
            power *= rho;
        }
        let at = prove_batch(&mut instances, rounds, 2, self.sender);
        for (c, instance) in open.iter().zip(&instances) {
            let value = self.sender.send(instance.ends()[0]);
            let point = wire_input_point(&parts, in_shape, &c.point, &at);
            self.claims.tensor(input, &point, value)?;
        }
        Ok(())
    }

    /// (N6)
    fn einsum(&mut self, node: TensorId, open: &[Claim]) -> Result<(), ProofFault> {
        let key = self.key;
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
        let rounds: usize = shared.iter().map(|s| bits(s.size)).sum();
        // (N0)
        let rho = self.sender.transcript.challenge();
        let operand = |t: TensorId, labels: &[u8], points: &[(u8, &[EF])]| {
            let shape = &shapes[t as usize];
            let is_shared = |l: &u8| shared.iter().any(|s| s.label == *l);
            let vectors: Vec<Option<Vec<EF>>> = labels
                .iter()
                .map(|l| (!is_shared(l)).then(|| eq_table(find(points, *l).unwrap_or(&[]))))
                .collect();
            let rest = contract(&self.witness.tensors[t as usize], &vectors);
            let kept: Vec<u8> = labels.iter().copied().filter(is_shared).collect();
            let sizes: Vec<usize> = labels
                .iter()
                .zip(shape)
                .filter(|(l, _)| is_shared(l))
                .map(|(_, &d)| d)
                .collect();
            let order: Vec<usize> = shared
                .iter()
                .map(|s| kept.iter().position(|&l| l == s.label).unwrap_or_default())
                .collect();
            arrange(&rest, &sizes, &order)
        };
        let mut power = EF::ONE;
        let mut instances = vec![];
        for c in open {
            let points = label_points(out_labels, &shapes[node as usize], &c.point);
            let mut weights = einsum_weights(&shared, &points);
            let mut arrays = vec![
                operand(*a, a_labels, &points),
                operand(*b, b_labels, &points),
            ];
            self.sender.contraction(node, &mut weights, &mut arrays);
            instances.push(Instance {
                weight: Weight::new(weights).times(power),
                arrays: Arrays::Ext(arrays),
                products: vec![(EF::ONE, vec![Form::array(0), Form::array(1)])],
                claim: power * c.value,
            });
            power *= rho;
        }
        let at = prove_batch(&mut instances, rounds, 3, self.sender);
        for (c, instance) in open.iter().zip(&instances) {
            let points = label_points(out_labels, &shapes[node as usize], &c.point);
            let ends = instance.ends();
            let va = self.sender.send(ends[0]);
            let vb = self.sender.send(ends[1]);
            self.claims
                .tensor(*a, &operand_point(a_labels, &shared, &points, &at), va)?;
            self.claims
                .tensor(*b, &operand_point(b_labels, &shared, &points, &at), vb)?;
        }
        Ok(())
    }
}
