//! What a new run takes over from an old one: the tasks that completed there, do the same now, and need nothing else.

use crate::fault::raised;
use crate::waiting::wait;
use crate::workflow::kept::keep;
use crate::workflow::record::does_same;
use crate::workflow::shared::Shared;
use dirigent_cli::conduct::why_lost;
use dirigent_cli::fault::CliError;
use dirigent_core::decide::Input;
use dirigent_core::event::Reused;
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::spec::Task;
use dirigent_core::state::{State, TaskStatus};
use dirigent_core::value::Kept;
use dirigent_engine::run::{attempt_folder, mark};
use dirigent_journal::{Reader, Store, run_folder};
use dirigent_process::end_leftovers;
use pyo3::prelude::*;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, RwLock};

/// The tasks that need not run, each as [`Input::Reused`].
pub(crate) fn taken_over(
    py: Python<'_>,
    old: &RunId,
    state_dir: &Path,
    new: &Shared,
    tasks: &[Arc<Task>],
) -> PyResult<Vec<Input>> {
    let Some(store) = new.store.upgrade() else { return Ok(Vec::new()) };
    let read = || -> Result<State, CliError> {
        let events = Reader::open(state_dir)?.recorded(old)?.events;
        // What it left behind would work beside what is done again.
        end_leftovers(&mark(old));
        Ok(State::fold(&events))
    };
    let state = Arc::new(wait(py, read).map_err(|error| raised(py, error))?);
    let shared = Shared {
        folder: run_folder(state_dir, old),
        artifacts: Some(store.artifacts()),
        secrets: Arc::clone(&new.secrets),
        state: RwLock::new(Some(Arc::clone(&state))),
        ..Shared::default()
    };
    shared.find_groups();
    let mut known = Vec::new();
    for (here, there) in same(&state, tasks) {
        if let Some(input) = taken(py, &state, &shared, &store, here, there)? {
            known.push((here, input));
        }
    }
    // One whose value cannot be had runs again, and with it what needs it; needs may stand behind what needs them.
    let mut is_known = vec![false; tasks.len()];
    known.iter().for_each(|(task, _)| is_known[task.usize()] = true);
    loop {
        let before = known.len();
        known.retain(|(task, _)| {
            let stays = tasks[task.usize()].needs.iter().all(|need| is_known[need.usize()]);
            is_known[task.usize()] = stays;
            stays
        });
        if known.len() == before {
            break;
        }
    }
    Ok(known.into_iter().map(|(_, input)| input).collect())
}

/// The tasks that completed there and do the same here, with where they were.
fn same(state: &State, tasks: &[Arc<Task>]) -> Vec<(TaskIndex, TaskIndex)> {
    let roots = (0u32..).map(TaskIndex).zip(state.tasks()).filter(|(_, task)| task.parent.is_none());
    let places: HashMap<&str, TaskIndex> = roots.map(|(index, task)| (&*task.spec.name, index)).collect();
    let is_same = |task: &Task| {
        let there = *places.get(&*task.name)?;
        let old = state.task(there)?;
        let names = |needs: &[TaskIndex]| -> Vec<Arc<str>> {
            needs.iter().filter_map(|need| Some(Arc::clone(&state.task(*need)?.spec.name))).collect()
        };
        let needs = task.needs.iter().filter_map(|need| Some(Arc::clone(&tasks.get(need.usize())?.name)));
        // What cleans up does so after every run.
        let is_same = old.status == TaskStatus::Completed
            && !task.policy.teardown
            && does_same(&old.spec.action, &task.action)
            && names(&old.spec.needs).into_iter().eq(needs);
        is_same.then_some(there)
    };
    let places = (0u32..).map(TaskIndex).zip(tasks);
    places.filter_map(|(here, task)| Some((here, is_same(task)?))).collect()
}

/// A task that is taken over; `None` where what it gave cannot be had.
fn taken(
    py: Python<'_>,
    state: &State,
    shared: &Shared,
    store: &Store,
    here: TaskIndex,
    there: TaskIndex,
) -> PyResult<Option<Input>> {
    let (Some(it), Some(header)) = (state.task(there), state.header()) else { return Ok(None) };
    let Some(ended) = it.ended.as_deref() else { return Ok(None) };
    let value = match it.consists_of_tasks() {
        false => ended.value.clone(),
        // Its tasks are not taken over, so what they gave is put together once more.
        true => match shared.value(py, there) {
            Ok(Some(value)) => Some(Arc::new(keep(value.bind(py), &store.artifacts(), &shared.secrets))),
            Ok(None) | Err(_) => return Ok(None),
        },
    };
    let lost = |value: &Kept| why_lost(value, store).is_some();
    if value.as_deref().is_some_and(lost) {
        return Ok(None);
    }
    let reused = it.reused.as_deref();
    let from = reused.map_or_else(|| header.run.clone(), |reused| reused.from.clone());
    let saved_us = reused.map_or(ended.usage.wall_us, |reused| reused.saved_us);
    let logs = match reused {
        Some(reused) => reused.logs.clone(),
        None => Some(format!("runs/{from}/{}", attempt_folder(there, it.attempts).display()).into()),
    };
    let reused = Reused { from, saved_us, key: None, logs, value };
    Ok(Some(Input::Reused { task: here, reused }))
}
