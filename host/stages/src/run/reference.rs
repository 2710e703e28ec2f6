//! Fidelity: the run against the float model.
//!
//! Two comparisons: the model's output against that of the chain run wholly in floats;
//! and, for each quantised slice, its outputs against the float slice on the same inputs.

use super::Stage;
use crate::chain::{self, Held, Tensors, pick, read};
use crate::error::Result;
use crate::fidelity::compare;
use dsperse_documents::Fidelity;
use dsperse_store::Tensor;

#[derive(Debug, Default)]
pub(super) struct Measured {
    pub model: Option<Fidelity>,
    pub slices: Vec<(usize, Fidelity)>,
}

impl Stage<'_> {
    pub(super) fn measure_fidelity(&self, outputs: &[Tensor]) -> Result<Measured> {
        let executor = self.session.float_executor()?;
        let results = self.run.results();
        let input_names: Vec<String> = self.model.inputs.iter().map(|t| t.name.clone()).collect();
        let mut float: Tensors = self
            .held(&input_names)?
            .into_iter()
            .map(|h| (h.tensor.info.name.clone(), h))
            .collect();
        let mut measured = Measured::default();
        for s in &self.model.slices {
            self.session.check_cancelled()?;
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
                    self.session,
                    self.store,
                    &executor,
                    s.index,
                    inputs,
                    self.scratch,
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
