//! The claim of every slice: tensors by name, those of the run, with the verifier's own
//! input and output in place of the prover's.

use crate::evidence::{Defect, Evidence, Given, Held};
use dsperse_documents::{Extra, TensorOrigin, TensorRecord};
use dsperse_tensor::{Encoding, Tensor, TensorInfo};
use std::collections::BTreeMap;

/// A tensor of the claim, or why it can't be used.
type Entry<F> = Result<Held<F>, String>;

pub(crate) struct Claims<F> {
    tensors: BTreeMap<String, Entry<F>>,
}

impl<F: Clone> Claims<F> {
    /// Takes every tensor that crosses a boundary, its shape compared with the model's.
    pub(crate) fn build<E: Evidence<File = F>>(evidence: &E, given: Given<F>) -> Self {
        let model = evidence.model();
        let outputs = model.slices.iter().flat_map(|s| &s.outputs);
        let tensors = model
            .inputs
            .iter()
            .chain(outputs)
            .map(|declared| (declared.name.clone(), of_run(evidence, declared)))
            .collect();
        let mut claims = Self { tensors };
        for own in given.input.into_iter().flatten() {
            claims.tensors.insert(own.info.name.clone(), Ok(own));
        }
        for claimed in given.output.into_iter().flatten() {
            claims.claim_output(claimed, evidence);
        }
        claims
    }

    /// Puts the verifier's output in place. Where the run holds the output in fixed point
    /// and the verifier gives plain numbers, the two must agree by the one documented
    /// rounding; the exact value is then what a proof is compared with.
    ///
    /// An output that no slice computes, because it is an input of the model, must be that
    /// input.
    fn claim_output<E: Evidence<File = F>>(&mut self, claimed: Held<F>, evidence: &E) {
        let name = claimed.info.name.clone();
        let is_input = evidence.model().inputs.iter().any(|i| i.name == name);
        let entry = match self.tensors.get(&name) {
            Some(Ok(stored))
                if is_input || matches!(stored.info.encoding, Encoding::Fixed { .. }) =>
            {
                match agree(evidence, stored, &claimed) {
                    Ok(true) => return,
                    Ok(false) => Err(format!(
                        "the claimed output \"{name}\" is not what the run computed"
                    )),
                    Err(defect) => Err(defect.reason()),
                }
            }
            _ => Ok(claimed),
        };
        self.tensors.insert(name, entry);
    }

    /// Tensors in the order that a slice wants them; the error says which is wrong.
    pub(crate) fn pick(&self, wanted: &[TensorInfo]) -> Result<Vec<Held<F>>, String> {
        wanted
            .iter()
            .map(|w| match self.tensors.get(&w.name) {
                Some(Ok(held)) => Ok(held.clone()),
                Some(Err(reason)) => Err(reason.clone()),
                None => Err(format!("tensor \"{}\" is missing from the run", w.name)),
            })
            .collect()
    }

    /// Records for the digest of the model's inputs or outputs. What can't be used is
    /// left out: the slices that need it fail anyway.
    pub(crate) fn records(&self, wanted: &[TensorInfo]) -> Vec<TensorRecord> {
        wanted
            .iter()
            .filter_map(|w| self.tensors.get(&w.name)?.as_ref().ok())
            .map(|held| TensorRecord {
                name: held.info.name.clone(),
                encoding: held.info.encoding,
                shape: held.info.shape.clone(),
                path: String::new(),
                size: 0,
                sha256: held.sha256.clone(),
                origin: TensorOrigin::Input,
                extra: Extra::new(),
            })
            .collect()
    }
}

/// Whether the run's tensor is the claimed one, or becomes it by the one rounding.
fn agree<E: Evidence>(
    evidence: &E,
    stored: &Held<E::File>,
    claimed: &Held<E::File>,
) -> Result<bool, Defect> {
    let stored: Tensor = evidence.read(stored)?;
    let claimed = evidence.read(claimed)?;
    let converted = || stored.convert(claimed.info.encoding);
    Ok(stored == claimed || converted().is_ok_and(|plain| plain.data == claimed.data))
}

fn of_run<E: Evidence>(evidence: &E, declared: &TensorInfo) -> Entry<E::File> {
    let held = evidence.tensor(&declared.name).map_err(Defect::reason)?;
    let fits = held.info.encoding == declared.encoding
        || (declared.encoding.is_float() && matches!(held.info.encoding, Encoding::Fixed { .. }));
    if held.info.name != declared.name || held.info.shape != declared.shape || !fits {
        return Err(format!(
            "tensor \"{}\" of the run is {:?} {:?}, the model has {:?} {:?}",
            declared.name, held.info.encoding, held.info.shape, declared.encoding, declared.shape
        ));
    }
    Ok(held)
}
