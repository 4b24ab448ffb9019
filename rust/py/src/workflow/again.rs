//! A flow that goes on: its body makes its calls again, and what is recorded of a call waits until it has been made.

use crate::waiting::wait;
use crate::workflow::plan::{Built, Plan};
use crate::workflow::session::Session;
use crate::workflow::shared::Shared;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::Action;
use dirigent_core::state::TaskStatus;
use dirigent_core::value::Kept;
use pyo3::prelude::*;
use std::sync::Arc;

/// The recorded calls of a flow.
#[pyclass(module = "dirigent._native", frozen)]
pub(crate) struct Again {
    shared: Arc<Shared>,
}

/// A recorded call: `(index, the map it is a part of, name, code, status)`.
type Recorded = (u32, Option<u32>, String, Option<String>, &'static str);

#[pymethods]
impl Again {
    #[new]
    fn new(session: &Session) -> Self {
        Self { shared: Arc::clone(&session.shared) }
    }

    /// All of them, in the order in which they were made.
    fn calls(&self) -> Vec<Recorded> {
        self.shared.look(|state| {
            let calls = (0u32..).zip(state.tasks()).skip(1);
            let recorded = calls.map(|(index, task)| {
                let code = match &task.spec.action {
                    Action::Function(function) => function.code.as_deref().map(str::to_owned),
                    Action::Command(_) | Action::Script(_) | Action::Approval(_) => None,
                };
                let whole = task.parent.map(|whole| whole.0);
                (index, whole, task.spec.name.to_string(), code, task.status.name())
            });
            recorded.collect()
        })
    }

    /// Says of recorded calls how they are carried out, which are the tasks of a plan, and lets those start that have not
    /// ended, or whose value cannot be had any more.
    fn place(&self, py: Python<'_>, plan: &Plan, places: Vec<u32>) -> PyResult<()> {
        let Built { calls, functions, .. } = plan.build(py, 0)?;
        let shared = &self.shared;
        shared.take_in_places(py, places.iter().map(|place| *place as usize), calls, &functions);
        let places: Vec<TaskIndex> = places.into_iter().map(TaskIndex).collect();
        wait(py, || {
            let lost = places.iter().filter_map(|place| Some((*place, why_lost(shared, *place)?.into())));
            shared.control().let_go(&places, lost.collect());
        });
        Ok(())
    }
}

/// Why the value of a task that completed cannot be had; `None` where it can.
fn why_lost(shared: &Shared, task: TaskIndex) -> Option<String> {
    let kept = shared.look(|state| {
        let it = state.task(task).filter(|it| it.status == TaskStatus::Completed)?;
        it.ended.as_ref()?.value.clone()
    })?;
    match &*kept {
        Kept::Inline { .. } => None,
        Kept::Artifact { hash, .. } => {
            shared.artifacts.as_ref()?.load(hash).err().map(|error| error.to_string())
        }
        Kept::NotKept { why } => Some(format!("its value was not kept: {why}")),
    }
}
