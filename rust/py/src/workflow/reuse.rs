//! Whether a task need not run: the hash of what its function is called with; the rest is the same as for the command line.

use crate::waiting::wait;
use crate::workflow::kept::digest_of_value;
use crate::workflow::shared::Shared;
use dirigent_cli::reuse::{Called, Looking, Seen};
use dirigent_core::ids::TaskIndex;
use pyo3::prelude::*;

/// Looks whether a task need not run, and says so to its run.
pub(crate) fn check(py: Python<'_>, shared: &Shared, task: TaskIndex) {
    let called = called(py, shared, task);
    wait(py, || {
        let control = shared.control();
        let store = shared.store.upgrade();
        let looking = Looking { run: Seen::Live(control), store: store.as_deref(), folder: &shared.folder };
        control.answer_known(looking.check(task, called));
    });
}

/// How the function is called, or why that cannot be told.
fn called(py: Python<'_>, shared: &Shared, task: TaskIndex) -> Result<Called, String> {
    let Some(told) = shared.arguments(py, task) else { return Ok(Called::default()) };
    let (arguments, needs) = told.map_err(|why| format!("its arguments have no hash: {why}"))?;
    match digest_of_value(arguments.bind(py)) {
        Ok(hash) => Ok(Called { arguments: Some(hash.into()), needs }),
        Err(why) => Err(format!("its arguments have no hash: {why}")),
    }
}
