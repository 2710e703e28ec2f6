//! Fidelity of the whole chain: errors of slices add up, and a slice that is close by itself
//! may lose what a later one needs.
//!
//! After everything is compiled, the chain runs with the circuits on the calibration samples.
//! When its outputs miss the target, the slices with the largest errors of their own get a
//! smaller target and are compiled again, a few times; then circuits are turned down, the
//! one first that leads the chain furthest off when all others compute in floats.

use super::Stage;
use crate::chain;
use crate::error::Result;
use crate::fidelity::{compare, told, worst};
use crate::report::{Outcome, SliceLine};
use crate::schedule::lock;
use dsperse_documents::{Fidelity, SliceMetadata};
use std::collections::BTreeSet;

/// How often slices get a smaller target.
const ROUNDS: usize = 3;
/// By what the target of a slice is divided each time.
const CLOSER: f64 = 4.0;

impl Stage<'_> {
    /// Compares the chain with the float model and makes it meet the target; returns the
    /// last comparison. `None` when there is nothing to compare, or nothing new.
    pub(super) fn keep_to_target(&self, lines: &mut [SliceLine]) -> Result<Option<Fidelity>> {
        if lines.iter().all(|l| l.outcome != Outcome::Done)
            || lines
                .iter()
                .any(|l| matches!(l.outcome, Outcome::Failed | Outcome::Skipped))
            || self.samples.get()?.tensors.is_empty()
        {
            return Ok(None);
        }
        let mut fidelity = None;
        // Circuits by the harm that they do alone, and how many of them to turn down at once:
        // twice as many each time, so that a long chain does not take for ever.
        let mut harm: Option<Vec<usize>> = None;
        let mut most = 1;
        for round in 0.. {
            self.driver.session.check_cancelled()?;
            let Some(quantised) = self.quantised()? else {
                return Ok(None);
            };
            let all: BTreeSet<usize> = quantised.iter().map(|s| s.index).collect();
            let Some(measured) = self.measure(&all)? else {
                return Ok(None);
            };
            let missed = measured.misses();
            fidelity = Some(measured.clone());
            if !missed || quantised.is_empty() || harm.as_ref().is_some_and(Vec::is_empty) {
                break;
            }
            if round < ROUNDS && measured.error.is_some() {
                let closer = self.closer(&quantised);
                for index in &closer {
                    self.again(*index, lines)?;
                }
                if !closer.is_empty() {
                    continue;
                }
            }
            let worst_last = match &mut harm {
                Some(known) => known,
                None => harm.insert(self.by_harm(&quantised)?),
            };
            for _ in 0..most {
                if let Some(index) = worst_last.pop() {
                    self.turn_down(index, &measured, lines)?;
                }
            }
            most *= 2;
        }
        Ok(fidelity)
    }

    /// The slices whose circuits quantise; `None` when the model is not complete.
    fn quantised(&self) -> Result<Option<Vec<SliceMetadata>>> {
        if self.driver.store.model().is_none() {
            return Ok(None);
        }
        let mut out = Vec::new();
        for index in self.driver.store.indices() {
            let slice = self.driver.store.slice(index)?;
            let Some(name) = slice.backend.clone() else {
                return Ok(None);
            };
            let Some(backend) = self.driver.session.loaded(&name) else {
                return Ok(None);
            };
            if !backend.is_executor() {
                out.push(slice);
            }
        }
        Ok(Some(out))
    }

    /// The chain on the samples, with circuits where `circuits` says so and in floats
    /// elsewhere, against the float model. `None` when the float chain does not reach the
    /// model's outputs.
    fn measure(&self, circuits: &BTreeSet<usize>) -> Result<Option<Fidelity>> {
        let model = self.driver.store.require_model()?;
        let samples = self.samples.get()?;
        let mut all = Vec::new();
        for tensors in &samples.tensors {
            if chain::pick(tensors, &model.outputs).is_err() {
                return Ok(None);
            }
            let outputs = chain::outputs_with(
                self.driver.session,
                self.driver.store,
                tensors,
                circuits,
                self.driver.scratch(),
            )?;
            let expected = chain::read(&chain::pick(tensors, &model.outputs)?)?;
            all.push(compare(&expected, &outputs));
        }
        Ok(worst(all).map(|f| Fidelity {
            target: Some(self.driver.session.max_error()),
            ..f
        }))
    }

    /// Gives the slices with the largest errors of their own a smaller target. Empty when
    /// none of them takes a target.
    fn closer(&self, quantised: &[SliceMetadata]) -> Vec<usize> {
        let error = |s: &SliceMetadata| {
            let name = s.backend.as_deref()?;
            let backend = self.driver.session.loaded(name)?;
            crate::backend::takes_target(backend.descriptor).then_some(())?;
            Some(s.compilations.get(name)?.fidelity.as_ref()?.error)
        };
        let errors: Vec<(usize, f64)> = quantised
            .iter()
            .filter_map(|s| Some((s.index, error(s)?)))
            .collect();
        let most = errors.iter().map(|e| e.1).fold(0.0, f64::max);
        let worst = errors
            .into_iter()
            .filter(|e| e.1 > 0.0 && e.1 * 2.0 >= most);
        let mut targets = lock(&self.targets);
        worst
            .map(|(index, error)| {
                let target = targets.entry(index).or_insert(f64::INFINITY);
                *target = target.min(error) / CLOSER;
                index
            })
            .collect()
    }

    /// Compiles a slice again with its smaller target. When the backend can't meet that, what
    /// it made before stays.
    fn again(&self, index: usize, lines: &mut [SliceLine]) -> Result<()> {
        let slice = self.driver.store.slice(index)?;
        let Some(name) = slice.backend.clone() else {
            return Ok(());
        };
        let before = slice.compilations.get(&name);
        let memory = before.map_or(0, |c| c.usage.peak_bytes);
        if let Ok(slice) = self.compile_with(index, &name, &slice.fallbacks, memory)?
            && let Some(line) = lines.iter_mut().find(|l| l.index == index)
        {
            self.fill(line, &slice, &name, &slice.fallbacks.clone(), Outcome::Done);
        }
        Ok(())
    }

    /// The circuits, the one last that alone leads the chain furthest from the float model.
    fn by_harm(&self, quantised: &[SliceMetadata]) -> Result<Vec<usize>> {
        let mut errors = Vec::new();
        for slice in quantised {
            self.driver.session.check_cancelled()?;
            let alone = self.measure(&BTreeSet::from([slice.index]))?;
            let error = alone.map_or(0.0, |f| f.error.unwrap_or(f64::INFINITY));
            errors.push((error, slice.index));
        }
        // Of equals the first one goes first.
        errors.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        Ok(errors.into_iter().map(|e| e.1).collect())
    }

    /// Turns a circuit down because of what the chain computes with it.
    fn turn_down(&self, index: usize, measured: &Fidelity, lines: &mut [SliceLine]) -> Result<()> {
        let reason = format!(
            "with it the model's outputs miss the fidelity target on the calibration samples: {}",
            told(measured)
        );
        let mut other = SliceLine::default();
        let line = lines.iter_mut().find(|l| l.index == index);
        self.decline(index, reason, line.unwrap_or(&mut other))
    }
}
