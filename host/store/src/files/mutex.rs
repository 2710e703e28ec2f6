//! What stands behind a mutex.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex holds. A poisoned one only means that another thread panicked between two whole
/// steps.
pub fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}
