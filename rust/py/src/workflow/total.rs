//! What all runs of this program may have under way at once.

use crate::waiting::wait;
use dirigent_engine::Slots;
use pyo3::prelude::*;
use std::sync::LazyLock;

/// The limit that they share.
pub(crate) static SLOTS: LazyLock<Slots> = LazyLock::new(Slots::default);

/// Sets it; `None` for no limit.
#[pyfunction]
#[pyo3(signature = (most))]
pub(crate) fn limit_total(py: Python<'_>, most: Option<u32>) {
    wait(py, || SLOTS.limit(most));
}
