//! `dirigent resume` and `dirigent retry`: go on with a run, and run again what failed in one.

use super::recorded::{Place, find, read};
use super::selection::configuration;
use super::through::{look_up, look_up_for_files, order, see_through};
use crate::args::ResumeArgs;
use crate::conduct::{self, Order, Work};
use crate::fault::CliError;
use crate::record::{Recorded, goes_on, runs_again};
use crate::workflow::{Opened, reopen, reused};
use dirigent_core::decide::Input;
use dirigent_core::event::{SkipReason, Source};
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::{Action, Policy, Task, Workflow};
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_core::text::printable;
use dirigent_journal::{Artifacts, Reader};
use dirigent_process::Secrets;
use dirigent_project::Flags;
use std::sync::Arc;

pub(super) fn resume(args: &ResumeArgs) -> Result<i32, CliError> {
    let (row, place) = find(&args.run)?;
    let (recorded, _) = read(&args.run)?;
    let file = file_of(&recorded.state, &place)?;
    if file.is_none() {
        refuse_functions(&recorded.state, Some(goes_on(&row.id, &recorded.state)))?;
    }
    let secrets = secrets(&recorded.state, file.as_ref(), &place)?;
    see_through(&place.config, args.json, || {
        let root = root(&recorded.state);
        let order = Order { root: root.as_deref(), secrets, ..order(&place.state_dir)? };
        conduct::resume(&row.id, file.as_ref(), &order)
    })
}

/// The workflow file that a run was made from, as it was then.
fn file_of(state: &State, place: &Place) -> Result<Option<Opened>, CliError> {
    let Some(header) = state.header() else { return Ok(None) };
    let began = header.created_at_ms;
    let open = |source: &Source| reopen(source, began, &place.config, &place.surroundings, &place.state_dir);
    header.origin.source.as_deref().map(open).transpose()
}

pub(super) fn retry(args: &ResumeArgs) -> Result<i32, CliError> {
    let (recorded, place) = read(&args.run)?;
    let Recorded { state, row, .. } = &recorded;
    let file = file_of(state, &place)?;
    if file.is_none() {
        refuse_functions(state, runs_again(&row.id, state))?;
    }
    let Some(header) = state.header().filter(|_| state.end().is_some()) else {
        return Err(CliError::Usage {
            message: format!("run {} has not ended", row.id),
            hint: Some("go on with it: `dirigent resume`".to_owned()),
        });
    };
    let mut known = known(state, &Artifacts::of(&place.state_dir));
    if Reader::open(&place.state_dir)?.is_imported(&row.id)? {
        known.iter_mut().for_each(leave_pickle);
    }
    let failed = |task: &TaskState| task.status != TaskStatus::Completed && !is_left_out(task);
    if !state.tasks().iter().any(failed) {
        return Err(CliError::Nothing {
            message: format!("nothing of run {} is to be run again: every task completed", row.id),
            hint: None,
        });
    }
    let workflow = match &file {
        // Its tasks as they were declared: what they do is settled anew.
        Some(file) => left_out(file.workflow.clone(), state)?,
        None => {
            let tasks: Vec<Task> = state.tasks().iter().map(|task| (*task.spec).clone()).collect();
            Workflow::new(header.workflow.clone(), tasks)?
        }
    };
    let root = root(state);
    let secrets = secrets(state, file.as_ref(), &place)?;
    see_through(&place.config, args.json, || {
        let order = Order {
            jobs: Some(header.max_concurrency),
            fail_fast: header.fail_fast,
            root: root.as_deref(),
            secrets,
            ..order(&place.state_dir)?
        };
        conduct::start(Work { workflow, known, file }, &order)
    })
}

/// The values of the secrets that its tasks name: nothing has them, so they are looked up again where the run was started.
fn secrets(state: &State, file: Option<&Opened>, place: &Place) -> Result<Arc<Secrets>, CliError> {
    let config = match root(state) {
        Some(root) => configuration(&place.surroundings, &root, None, Flags::default())?,
        None => place.config.clone(),
    };
    if let Some(file) = file {
        return look_up_for_files(&file.files, &config, &place.surroundings);
    }
    look_up(state.tasks().iter().map(|task| &task.spec), &config, &place.surroundings)
}

fn root(state: &State) -> Option<std::path::PathBuf> {
    let root = state.header()?.origin.root.as_ref()?;
    Some(root.as_os_str().into())
}

/// Leaves the value of a task where it is, if it is a pickle: the run that takes it over is our own, and its values are
/// opened unasked.
fn leave_pickle(known: &mut Input) {
    if let Input::Reused { reused, .. } = known
        && reused.value.as_ref().is_some_and(|value| value.is_pickle())
    {
        reused.value = None;
    }
}

/// The tasks that completed, and need nothing that did not.
fn known(state: &State, artifacts: &Artifacts) -> Vec<Input> {
    let mut is_known: Vec<bool> =
        state.tasks().iter().map(|task| task.status == TaskStatus::Completed).collect();
    // Needs may stand behind what needs them.
    loop {
        let is_again = |task: &usize| {
            let needs = &state.tasks()[*task].spec.needs;
            is_known[*task] && needs.iter().any(|need| !is_known[need.usize()])
        };
        let again: Vec<usize> = (0..is_known.len()).filter(is_again).collect();
        if again.is_empty() {
            break;
        }
        again.into_iter().for_each(|task| is_known[task] = false);
    }
    let tasks = (0u32..).map(TaskIndex).zip(state.tasks()).filter(|(index, _)| is_known[index.usize()]);
    // Parts come again with what they are a part of.
    tasks
        .filter(|(_, it)| it.parent.is_none())
        .filter_map(|(task, _)| reused(state, task, task, artifacts))
        .collect()
}

/// Whether it was skipped because the run was of a part of the workflow, or whoever declared it said so.
fn is_left_out(task: &TaskState) -> bool {
    task.status == TaskStatus::Skipped
        && matches!(task.skipped.as_deref(), Some(SkipReason::Declared { .. } | SkipReason::Condition))
}

/// A workflow of which those tasks are left out that the run had left out.
fn left_out(workflow: Workflow, state: &State) -> Result<Workflow, CliError> {
    let (name, tasks) = workflow.into_parts();
    let tasks = tasks.into_iter().zip(state.tasks()).map(|(task, it)| {
        let mut task = Arc::unwrap_or_clone(task);
        if let Some(SkipReason::Declared { text }) = it.skipped.as_deref() {
            task.policy = Arc::new(Policy { skip: Some(text.clone()), ..(*task.policy).clone() });
        }
        task
    });
    Ok(Workflow::new(name, tasks.collect())?)
}

/// Functions live in the program that declared them.
fn refuse_functions(state: &State, hint: Option<String>) -> Result<(), CliError> {
    let function = state.tasks().iter().find(|task| matches!(task.spec.action, Action::Function(_)));
    match function {
        None => Ok(()),
        Some(task) => Err(CliError::Usage {
            message: format!(
                "task `{}` is a Python function, and only the program that declared it has it",
                printable(&task.spec.name)
            ),
            hint,
        }),
    }
}
