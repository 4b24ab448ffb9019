//! Whether a task need not run: the hash of what its function is called with; the rest is the same as for the command line.

use crate::waiting::wait;
use crate::workflow::kept::digest_of_value;
use crate::workflow::shared::Shared;
use dirigent_cli::reuse::Looking;
use dirigent_core::ids::TaskIndex;
use pyo3::prelude::*;

/// Looks whether a task need not run, and says so to its run.
pub(crate) fn check(py: Python<'_>, shared: &Shared, task: TaskIndex) {
    let arguments = arguments(py, shared, task);
    wait(py, || {
        let control = shared.control();
        let looking = Looking { control, store: shared.store.as_deref(), folder: &shared.folder };
        control.answer_known(looking.check(task, arguments));
    });
}

/// A hash of what the function is called with, beside the values of its needs; or why there is none.
fn arguments(py: Python<'_>, shared: &Shared, task: TaskIndex) -> Result<Option<Box<str>>, String> {
    match shared.arguments(py, task) {
        None => Ok(None),
        Some(arguments) => match digest_of_value(arguments.bind(py)) {
            Ok(hash) => Ok(Some(hash.into())),
            Err(why) => Err(format!("its arguments have no hash: {why}")),
        },
    }
}
