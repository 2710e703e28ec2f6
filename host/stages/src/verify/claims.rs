//! The claim of every slice: tensors by name, from the tensor store of the run, with the
//! verifier's own input and output in place of the prover's.

use super::VerifyOptions;
use crate::chain::{self, Held};
use crate::error::Result;
use crate::job::TensorRef;
use dsperse_documents::{Extra, ModelMetadata, TensorOrigin, TensorRecord};
use dsperse_plugin_api::{Encoding, TensorInfo};
use dsperse_store::{RunDir, Tensor, read_inputs, read_outputs};
use std::collections::BTreeMap;
use std::path::Path;

/// A tensor of the claim, or why it can't be used.
type Entry = std::result::Result<Held, String>;

pub(super) struct Claims {
    tensors: BTreeMap<String, Entry>,
}

impl Claims {
    /// Reads every tensor that crosses a boundary, compares its bytes with its digest and
    /// its shape with the model's.
    pub(super) fn build(
        model: &ModelMetadata,
        run: &RunDir,
        options: &VerifyOptions,
        scratch: &Path,
        compare_output: bool,
    ) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        let outputs = model.slices.iter().flat_map(|s| &s.outputs);
        for declared in model.inputs.iter().chain(outputs) {
            tensors.insert(declared.name.clone(), from_store(run, declared));
        }
        let mut claims = Self { tensors };
        if let Some(path) = &options.input {
            let own = read_inputs(path, &model.inputs)?;
            for (name, held) in chain::hold(scratch, &own)? {
                claims.tensors.insert(name, Ok(held));
            }
        }
        if let Some(path) = &options.output {
            let dir = scratch.join("claimed-output");
            std::fs::create_dir_all(&dir).map_err(|e| crate::Error::io("create", &dir, &e))?;
            for tensor in read_outputs(path, &model.outputs)? {
                if compare_output {
                    claims.claim_output(&tensor, model, &dir)?;
                }
            }
        }
        Ok(claims)
    }

    /// Puts the verifier's output in place. Where the run holds the output in fixed point
    /// and the verifier gives plain numbers, the two must agree by the one documented
    /// rounding; the exact value is then what a proof is compared with.
    ///
    /// An output that no slice computes, because it is an input of the model, must be that
    /// input.
    fn claim_output(&mut self, claimed: &Tensor, model: &ModelMetadata, dir: &Path) -> Result<()> {
        let name = claimed.info.name.clone();
        let is_input = model.inputs.iter().any(|i| i.name == name);
        if let Some(Ok(stored)) = self.tensors.get(&name)
            && (is_input || matches!(stored.tensor.info.encoding, Encoding::Fixed { .. }))
        {
            let stored = stored.read()?;
            let agrees = stored == *claimed
                || stored
                    .convert(claimed.info.encoding)
                    .is_ok_and(|plain| plain.data == claimed.data);
            if !agrees {
                self.tensors.insert(
                    name.clone(),
                    Err(format!(
                        "the claimed output \"{name}\" is not what the run computed"
                    )),
                );
            }
            return Ok(());
        }
        let held = chain::hold(dir, std::slice::from_ref(claimed))?;
        self.tensors
            .extend(held.into_iter().map(|(name, held)| (name, Ok(held))));
        Ok(())
    }

    /// Tensors in the order that a slice wants them; the error says which is wrong.
    pub(super) fn pick(&self, wanted: &[TensorInfo]) -> std::result::Result<Vec<Held>, String> {
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
    pub(super) fn records(&self, wanted: &[TensorInfo]) -> Vec<TensorRecord> {
        wanted
            .iter()
            .filter_map(|w| self.tensors.get(&w.name)?.as_ref().ok())
            .map(|held| TensorRecord {
                name: held.tensor.info.name.clone(),
                encoding: held.tensor.info.encoding,
                shape: held.tensor.info.shape.clone(),
                path: String::new(),
                size: 0,
                sha256: held.tensor.sha256.clone(),
                origin: TensorOrigin::Input,
                extra: Extra::new(),
            })
            .collect()
    }
}

fn from_store(run: &RunDir, declared: &TensorInfo) -> Entry {
    let file = run
        .tensors()
        .file(&declared.name)
        .map_err(|e| e.to_string())?;
    let float = declared.encoding.is_float();
    let fixed = matches!(file.info.encoding, Encoding::Fixed { .. });
    if file.info.shape != declared.shape
        || !(file.info.encoding == declared.encoding || (float && fixed))
    {
        return Err(format!(
            "tensor \"{}\" of the run is {:?} {:?}, the model has {:?} {:?}",
            declared.name, file.info.encoding, file.info.shape, declared.encoding, declared.shape
        ));
    }
    Ok(Held {
        tensor: TensorRef {
            info: file.info,
            sha256: file.sha256,
        },
        path: file.path.into(),
    })
}
