//! What a run is recorded with, and whether a recorded one is of the same tasks.

use crate::workflow::plan::made;
use dirigent_cli::fault::CliError;
use dirigent_cli::record::holder;
use dirigent_core::event::Event;
use dirigent_core::ids::RunId;
use dirigent_core::spec::{Action, Resource, Task};
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_core::text::printable;
use dirigent_journal::store::Durability;
use dirigent_journal::{RunWriter, Store};
use pyo3::prelude::*;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// What a run has that is not in its tasks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    pub(crate) max_concurrency: u32,
    pub(crate) fail_fast: bool,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) resources: Vec<Resource>,
    pub(crate) seed: u64,
    /// Whether tasks that completed may do something else now.
    pub(crate) keeps_changed: bool,
    /// The run from which a new one takes over what did not change.
    pub(crate) takes_over: Option<RunId>,
}

/// What a run is recorded with, and what is recorded of it; `None` where it is not.
pub(crate) type Opened = Option<(Arc<Store>, RunWriter, Vec<Event>)>;

/// Opens what a run is recorded with: a new one, or one that is there and nobody holds.
pub(crate) fn open(
    state_dir: &Path,
    id: &RunId,
    durability: Option<Durability>,
    is_new: bool,
) -> Result<Opened, CliError> {
    let Some(durability) = durability else { return Ok(None) };
    let store = Store::shared(state_dir)?;
    let (writer, recorded) = match is_new {
        true => (store.begin(id, durability, &holder())?, Vec::new()),
        false => store.take_over(id, durability, &holder())?,
    };
    Ok(Some((store, writer, recorded)))
}

/// Whether tasks are those of a recorded run, or in what they differ. A flow declares its body alone: the rest follows.
pub(crate) fn fit(
    state: &State,
    tasks: &[Arc<Task>],
    resources: &[Resource],
    keeps_changed: bool,
) -> Result<(), String> {
    let roots: Vec<&TaskState> = state.tasks().iter().filter(|task| task.parent.is_none()).collect();
    let name = |spec: &Task| printable(&spec.name);
    for (root, task) in roots.iter().zip(tasks) {
        let spec = &root.spec;
        if spec.name != task.name {
            return Err(format!("where it had task `{}`, there is `{}` now", name(spec), name(task)));
        }
        if spec.needs != task.needs {
            return Err(format!("task `{}` depends on other tasks now", name(task)));
        }
        let is_through = root.status == TaskStatus::Completed;
        let is_same = match (&spec.action, &task.action) {
            // What has not completed is carried out by the code there is now.
            (Action::Function(_), Action::Function(_)) if !is_through => true,
            (old, new) => does_same(old, new),
        };
        if !is_same && !keeps_changed {
            return Err(format!("task `{}` does something else now", name(task)));
        }
    }
    let is_flow = tasks.first().is_some_and(|task| task.policy.decides);
    // The tasks that it is still to declare name resources by their places.
    if is_flow && !state.resources().iter().map(|it| &it.name).eq(resources.iter().map(|it| &it.name)) {
        return Err("its resources have other names now".to_owned());
    }
    match roots.len() == tasks.len() || (is_flow && roots.len() > tasks.len()) {
        true => Ok(()),
        false => Err(format!("it had {} tasks, and there are {} now", roots.len(), tasks.len())),
    }
}

/// Whether a task does what it did, as far as that can be told.
pub(crate) fn does_same(old: &Action, new: &Action) -> bool {
    match (old, new) {
        (Action::Function(old), Action::Function(new)) => {
            is_same_code(old.code.as_deref(), new.code.as_deref())
        }
        (old, new) => old == new,
    }
}

/// Compares the version of Python, the hash of the code, and that of the arguments. Bytecode of another version says nothing
/// about the code, and the arguments may not be told.
fn is_same_code(old: Option<&str>, new: Option<&str>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return true };
    let (mut old, mut new) = (old.splitn(3, ':'), new.splitn(3, ':'));
    let is_same_version = old.next() == new.next();
    let is_same_code = old.next() == new.next();
    let are_same_arguments = match (old.next(), new.next()) {
        (Some(old), Some(new)) => old == new,
        _ => true,
    };
    (is_same_code || !is_same_version) && are_same_arguments
}

/// The exception that says that a run is of other tasks.
pub(crate) fn changed(py: Python<'_>, id: &RunId, what: &str) -> PyErr {
    let message = format!(
        "run {id} is of another workflow: {what}\nhint: pass changed=\"continue\" to keep what completed, or start a new run"
    );
    made(py, "WorkflowChangedError", (message, "workflow.changed"))
}

/// The same for the tasks of which one consists.
pub(crate) fn changed_parts(py: Python<'_>, name: &str, old: usize, new: usize) -> PyErr {
    let message =
        format!("task `{name}` consisted of {old} tasks when the run was cut short, and of {new} others now");
    made(py, "WorkflowChangedError", (message, "workflow.changed"))
}
