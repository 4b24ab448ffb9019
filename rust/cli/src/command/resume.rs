//! `dirigent resume` and `dirigent retry`: go on with a run, and run again what failed in one.

use super::recorded::{find, read};
use super::run::{order, see_through};
use crate::args::ResumeArgs;
use crate::conduct::{self, Order};
use crate::fault::CliError;
use crate::record::Recorded;
use dirigent_core::decide::Input;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::{Action, Task, Workflow};
use dirigent_core::state::{State, TaskStatus};
use dirigent_core::text::printable;
use dirigent_engine::run::attempt_folder;

pub(super) fn resume(args: &ResumeArgs) -> Result<i32, CliError> {
    let (row, place) = find(&args.run)?;
    let (recorded, _) = read(&args.run)?;
    refuse_functions(&recorded.state, "Workflow.resume")?;
    see_through(&place.config.run, args.json, || {
        let root = root(&recorded.state);
        conduct::resume(&row.id, &Order { root: root.as_deref(), ..order(&place.state_dir)? })
    })
}

pub(super) fn retry(args: &ResumeArgs) -> Result<i32, CliError> {
    let (recorded, place) = read(&args.run)?;
    let Recorded { state, row, .. } = &recorded;
    refuse_functions(state, "Workflow.run_sync")?;
    let Some(header) = state.header().filter(|_| state.end().is_some()) else {
        return Err(CliError::Usage {
            message: format!("run {} has not ended", row.id),
            hint: Some("go on with it: `dirigent resume`".to_owned()),
        });
    };
    let known = known(state);
    if known.len() == state.tasks().len() {
        return Err(CliError::Nothing {
            message: format!("nothing of run {} is to be run again: every task completed", row.id),
            hint: None,
        });
    }
    let tasks: Vec<Task> = state.tasks().iter().map(|task| (*task.spec).clone()).collect();
    let workflow = Workflow::new(header.workflow.clone(), tasks)?;
    let root = root(state);
    see_through(&place.config.run, args.json, || {
        let order = Order {
            jobs: Some(header.max_concurrency),
            fail_fast: header.fail_fast,
            root: root.as_deref(),
            ..order(&place.state_dir)?
        };
        conduct::start(workflow, known, &order)
    })
}

fn root(state: &State) -> Option<std::path::PathBuf> {
    let root = state.header()?.origin.root.as_ref()?;
    Some(root.as_os_str().into())
}

/// The tasks that completed, and need nothing that did not.
fn known(state: &State) -> Vec<Input> {
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
    tasks
        .filter_map(|(task, it)| {
            let ended = it.ended.as_ref()?;
            let from = match &it.reused {
                Some(reused) => reused.from.clone(),
                None => state.header()?.run.clone(),
            };
            let saved_us = it.reused.as_ref().map_or(ended.usage.wall_us, |reused| reused.saved_us);
            let logs = it.reused.as_ref().map_or_else(
                || Some(format!("runs/{from}/{}", attempt_folder(task, it.attempts).display()).into()),
                |reused| reused.logs.clone(),
            );
            Some(Input::Reused { task, from, saved_us, key: None, logs, value: ended.value.clone() })
        })
        .collect()
}

/// Functions live in the program that declared them.
fn refuse_functions(state: &State, way: &str) -> Result<(), CliError> {
    let function = state.tasks().iter().find(|task| matches!(task.spec.action, Action::Function { .. }));
    match function {
        None => Ok(()),
        Some(task) => Err(CliError::Usage {
            message: format!(
                "task `{}` is a Python function, and only the program that declared it has it",
                printable(&task.spec.name)
            ),
            hint: Some(format!("go on from there: `{way}`")),
        }),
    }
}
