//! Fidelity of one slice: a circuit that computes something else than the float slice is no
//! candidate, however well it can be proven.

use super::Stage;
use crate::backend::Loaded;
use crate::chain::{self, Tensors, pick};
use crate::error::Result;
use crate::fidelity::{compare, told, worst};
use crate::job::Files;
use dsperse_documents::setting::MAX_ERROR;
use dsperse_documents::{
    CompiledFidelity, ErrorKind, Fallback, Fidelity, InputRange, SliceMetadata,
};
use dsperse_plugin_api::{Stage as BackendStage, job::Done};
use serde_json::Value;
use std::path::Path;

impl Stage<'_> {
    /// How close a compilation is to the float slice on the calibration samples, as its
    /// backend measured it, or as its witnesses show; `None` without samples. The inner
    /// error is a fall-through: it is too far, or fails on a sample.
    pub(super) fn judge(
        &self,
        slice: &SliceMetadata,
        backend: &Loaded<'_>,
        done: &Done,
        dir: &Path,
    ) -> Result<Result<Option<CompiledFidelity>, Fallback>> {
        let samples = self.samples.get()?;
        if backend.is_executor() || samples.digest(slice.index).is_none() {
            return Ok(Ok(None));
        }
        let max_error = self.driver.session.max_error();
        let measured = |error, target| CompiledFidelity {
            samples: samples.tensors.len() as u64,
            error,
            target,
            max_error,
            ..CompiledFidelity::default()
        };
        let own = done.facts.get("fidelity");
        let own = |key: &str| own.and_then(|f| f.get(key)).and_then(Value::as_f64);
        if let (Some(error), Some(target)) = (own("relative_error"), own("target")) {
            // It has declined what misses its target by now.
            return Ok(Ok(Some(measured(error, target))));
        }
        let mut all = Vec::new();
        for tensors in &samples.tensors {
            match self.witnessed(slice, backend, done, dir, tensors)? {
                Ok(fidelity) => all.push(fidelity),
                Err(fallback) => return Ok(Err(fallback)),
            }
        }
        let Some(mut fidelity) = worst(all) else {
            return Ok(Ok(None));
        };
        fidelity.target = Some(max_error);
        match fidelity.error.filter(|_| !fidelity.misses()) {
            Some(error) => Ok(Ok(Some(measured(error, max_error)))),
            None => {
                let reason = format!(
                    "the circuit misses the fidelity target on the calibration samples: {}",
                    told(&fidelity)
                );
                let mut fallback = Fallback::new(backend.name(), BackendStage::Compile, reason);
                fallback.kind = Some(ErrorKind::Unsupported);
                fallback.hint = Some(format!("allow more with {MAX_ERROR}"));
                Ok(Err(fallback))
            }
        }
    }

    /// A fresh circuit's outputs on a sample, against those of the float slice.
    fn witnessed(
        &self,
        slice: &SliceMetadata,
        backend: &Loaded<'_>,
        done: &Done,
        dir: &Path,
        tensors: &Tensors,
    ) -> Result<Result<Fidelity, Fallback>> {
        let mut files = Files::default();
        let made = done.artefacts.iter();
        let circuit = made.map(|a| files.attach_made(a, dir)).collect();
        let inputs = pick(tensors, &slice.inputs)?;
        let run = chain::run_circuit(
            self.driver.session,
            self.driver.store,
            backend,
            slice,
            &inputs,
            self.driver.scratch(),
            (circuit, files),
        )?;
        match run {
            Ok(outputs) => {
                let expected = chain::read(&pick(tensors, &slice.outputs)?)?;
                Ok(Ok(compare(&expected, &chain::read(&outputs)?)))
            }
            Err(e) => {
                let mut fallback = Fallback::from_error(backend.name(), BackendStage::Compile, &e);
                fallback.reason =
                    format!("its circuit fails on a calibration sample: {}", e.message);
                Ok(Err(fallback))
            }
        }
    }

    /// What a slice's inputs are on the samples.
    pub(super) fn input_ranges(&self, slice: &SliceMetadata) -> Result<Vec<InputRange>> {
        let samples = self.samples.get()?;
        if samples.digest(slice.index).is_none() {
            return Ok(Vec::new());
        }
        let mut out: Vec<InputRange> = Vec::new();
        for tensors in &samples.tensors {
            for tensor in chain::read(&pick(tensors, &slice.inputs)?)? {
                let values = tensor.to_f64();
                let finite = || values.iter().copied().filter(|v| v.is_finite());
                let Some(least) = finite().reduce(f64::min) else {
                    continue;
                };
                let greatest = finite().fold(least, f64::max);
                match out.iter_mut().find(|r| r.name == tensor.info.name) {
                    Some(r) => {
                        r.least = r.least.min(least);
                        r.greatest = r.greatest.max(greatest);
                    }
                    None => out.push(InputRange {
                        name: tensor.info.name,
                        least,
                        greatest,
                    }),
                }
            }
        }
        Ok(out)
    }
}
