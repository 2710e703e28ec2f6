//! Plans kept between the calls of one worker.
//!
//! A worker of this backend serves many calls, and `supports`, `compile` and `witness` of
//! one slice follow each other. Keyed by the slice's digest, which [`Plan::load`] has
//! checked against the file: what is found here needs no second look at the file.

use crate::engine::Plan;
use dsperse_plugin_api::{Result, SliceInfo};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Most plans that are kept.
const MAX_PLANS: usize = 64;

/// Most bytes of weights that are kept.
const MAX_BYTES: u64 = 1 << 30;

/// The plans, least recently used first.
#[derive(Debug, Default)]
pub struct Cache {
    plans: Mutex<VecDeque<(String, Arc<Plan>)>>,
}

impl Cache {
    /// The slice's plan: a kept one, or a new one that is kept when it fits.
    ///
    /// # Errors
    /// Those of [`Plan::load`].
    pub fn plan(&self, slice: &SliceInfo, limit: Option<u64>) -> Result<Arc<Plan>> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = plans
            .iter()
            .position(|(k, p)| *k == slice.sha256 && p.fits(slice));
        if let Some(at) = kept
            && let Some(entry) = plans.remove(at)
        {
            let plan = Arc::clone(&entry.1);
            plans.push_back(entry);
            return Ok(plan);
        }
        let plan = Arc::new(Plan::load(slice)?);
        plans.push_back((slice.sha256.clone(), Arc::clone(&plan)));
        let most = limit.map_or(MAX_BYTES, |l| MAX_BYTES.min(l / 4));
        while plans.len() > MAX_PLANS
            || plans.iter().map(|(_, p)| p.weight_bytes).sum::<u64>() > most
        {
            plans.pop_front();
        }
        Ok(plan)
    }

    /// How many plans are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.len()
    }

    /// Whether no plan is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
