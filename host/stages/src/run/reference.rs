//! Fidelity: the run against the float model.
//!
//! Three comparisons: the model's output against that of the chain run wholly in floats;
//! for each quantised slice, its outputs against the float slice on the same inputs; and
//! every tensor between slices against the same in that chain, with some elements of both
//! for the plots of `report`.

use super::Stage;
use crate::chain::{self, Held, Tensors, pick, read};
use crate::error::Result;
use crate::fidelity::compare;
use dsperse_documents::{ComparedElement, ComparedTensor, Fidelity};
use dsperse_store::Tensor;

/// Elements of all tensors together that are kept for plots, and bounds for one tensor.
const KEPT: usize = 4000;
const KEPT_OF_ONE: (usize, usize) = (24, 200);

#[derive(Debug, Default)]
pub(super) struct Measured {
    pub model: Option<Fidelity>,
    pub slices: Vec<(usize, Fidelity)>,
    pub tensors: Vec<ComparedTensor>,
}

impl Stage<'_> {
    pub(super) fn measure_fidelity(&self, outputs: &[Tensor]) -> Result<Measured> {
        let executor = self.driver.session.float_executor()?;
        let results = self.run.results();
        let input_names: Vec<String> = self.model.inputs.iter().map(|t| t.name.clone()).collect();
        let mut float: Tensors = self
            .held(&input_names)?
            .into_iter()
            .map(|h| (h.tensor.info.name.clone(), h))
            .collect();
        let mut measured = Measured::default();
        let outputs_of_all: usize = self.model.slices.iter().map(|s| s.outputs.len()).sum();
        let kept = (KEPT / outputs_of_all.max(1)).clamp(KEPT_OF_ONE.0, KEPT_OF_ONE.1);
        for s in &self.model.slices {
            self.driver.session.check_cancelled()?;
            let names = |list: &[dsperse_documents::TensorInfo]| -> Vec<String> {
                list.iter().map(|t| t.name.clone()).collect()
            };
            let actual_in = self.held(&names(&s.inputs))?;
            let actual_out = self.held(&names(&s.outputs))?;
            let float_in = pick(&float, &s.inputs)?;
            let same_inputs = same(&float_in, &actual_in);
            let by_executor = results
                .slices
                .iter()
                .find(|r| r.index == s.index)
                .is_some_and(|r| r.backend.as_deref() == Some(executor.name()));
            let run = |inputs: &[Held]| {
                chain::run_slice(
                    self.driver.session,
                    self.driver.store,
                    &executor,
                    s.index,
                    inputs,
                    self.driver.scratch(),
                )
            };
            let float_out = if by_executor && same_inputs {
                actual_out.clone()
            } else {
                run(&float_in)?
            };
            if !by_executor {
                let reference = if same_inputs {
                    float_out.clone()
                } else {
                    run(&actual_in)?
                };
                let fidelity = compare(&read(&reference)?, &read(&actual_out)?);
                measured.slices.push((s.index, fidelity));
            }
            for (reference, found) in float_out.iter().zip(&actual_out) {
                measured
                    .tensors
                    .push(compared(s.index, reference, found, kept)?);
            }
            float.extend(
                float_out
                    .into_iter()
                    .map(|h| (h.tensor.info.name.clone(), h)),
            );
        }
        let reference = read(&pick(&float, &self.model.outputs)?)?;
        measured.model = Some(compare(&reference, outputs));
        Ok(measured)
    }
}

fn same(a: &[Held], b: &[Held]) -> bool {
    a.iter().map(|h| &h.tensor).eq(b.iter().map(|h| &h.tensor))
}

/// One tensor of the run beside that of the float chain.
fn compared(slice: usize, reference: &Held, found: &Held, kept: usize) -> Result<ComparedTensor> {
    let tensor = found.tensor.info.name.clone();
    if reference.tensor == found.tensor {
        return Ok(ComparedTensor {
            tensor,
            slice,
            elements: found.tensor.info.len().unwrap_or_default(),
            error: Some(0.0),
            max_abs: Some(0.0),
            ..ComparedTensor::default()
        });
    }
    let (reference, found) = (reference.read()?, found.read()?);
    let fidelity = compare(
        std::slice::from_ref(&reference),
        std::slice::from_ref(&found),
    );
    let (a, b) = (reference.to_f64(), found.to_f64());
    // Seven digits are what a float has, and what a plot needs.
    let finite = |v: f64| {
        v.is_finite()
            .then(|| format!("{v:.6e}").parse().unwrap_or(v))
    };
    // An odd distance does not fall into step with rows of an even length.
    let step = a.len().div_ceil(kept) | 1;
    let pairs = a.iter().zip(&b).enumerate().step_by(step);
    Ok(ComparedTensor {
        tensor,
        slice,
        elements: b.len() as u64,
        error: fidelity.error,
        max_abs: fidelity.max_abs,
        worst: fidelity.worst,
        sample: pairs
            .map(|(at, (x, y))| ComparedElement {
                element: at as u64,
                expected: finite(*x),
                found: finite(*y),
            })
            .collect(),
        ..ComparedTensor::default()
    })
}
