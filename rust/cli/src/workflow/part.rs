//! Which tasks of a workflow are to run: those named, from some on, up to some. What they need and is left out comes from
//! the last run in which it completed.

use super::around::EACH;
use crate::fault::CliError;
use dirigent_core::decide::Input;
use dirigent_core::event::Reused;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::{Action, Policy, Task, Workflow};
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_core::text::printable;
use dirigent_core::value::{Encoding, Kept};
use dirigent_engine::run::attempt_folder;
use dirigent_journal::{Artifacts, Reader};
use dirigent_project::diagnose::did_you_mean;
use dirigent_project::pattern::Patterns;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Which tasks are to run, by names or globs; none for all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part<'a> {
    /// These alone.
    pub only: &'a [String],
    /// These, and all that depend on them.
    pub from: &'a [String],
    /// These, and all that they depend on.
    pub until: &'a [String],
}

/// How many runs are looked at for what a task gave.
const RUNS_LOOKED_AT: usize = 100;

/// A part of a workflow: the whole, in which the others are skipped or known.
///
/// # Errors
///
/// A name means no task; a task that is left out is needed, and never completed.
pub fn part(
    workflow: Workflow,
    part: Part<'_>,
    state_dir: &Path,
) -> Result<(Workflow, Vec<Input>), CliError> {
    let Part { only, from, until } = part;
    if only.is_empty() && from.is_empty() && until.is_empty() {
        return Ok((workflow, Vec::new()));
    }
    let tasks = workflow.tasks();
    let mut is_taken = vec![true; tasks.len()];
    for (names, spread) in [(only, Spread::None), (from, Spread::Dependents), (until, Spread::Needs)] {
        if !names.is_empty() {
            let meant = spread.over(tasks, named(tasks, names)?);
            is_taken.iter_mut().zip(meant).for_each(|(taken, meant)| *taken &= meant);
        }
    }
    // What cleans up does so whatever ran.
    is_taken.iter_mut().zip(tasks).for_each(|(taken, task)| *taken |= task.cleans_up_last());
    let is_needed = |index: usize| {
        let needs = |task: &Task| task.needs.iter().any(|need| need.usize() == index);
        tasks.iter().zip(&is_taken).any(|(task, taken)| *taken && !task.cleans_up_last() && needs(task))
    };
    let wanted: Vec<usize> =
        (0..tasks.len()).filter(|index| !is_taken[*index] && is_needed(*index)).collect();
    let known = known(&workflow, &wanted, state_dir)?;
    let (name, tasks) = workflow.into_parts();
    let left_out = |(index, task): (usize, Arc<Task>)| {
        let mut task = Arc::unwrap_or_clone(task);
        if !is_taken[index] && !wanted.contains(&index) {
            let skip = Some("it is left out of this run".to_owned());
            task.policy = Arc::new(Policy { skip, ..(*task.policy).clone() });
        }
        task
    };
    Ok((Workflow::new(name, tasks.into_iter().enumerate().map(left_out).collect())?, known))
}

/// Where else a name leads.
#[derive(Clone, Copy)]
enum Spread {
    None,
    Needs,
    Dependents,
}

impl Spread {
    fn over(self, tasks: &[Arc<Task>], mut is_meant: Vec<bool>) -> Vec<bool> {
        let needs = |task: &Arc<Task>| task.needs.iter().map(|need| need.usize()).collect::<Vec<_>>();
        let rows: Vec<Vec<usize>> = match self {
            Self::None => return is_meant,
            Self::Needs => tasks.iter().map(needs).collect(),
            Self::Dependents => {
                let mut rows = vec![Vec::new(); tasks.len()];
                for (index, task) in tasks.iter().enumerate() {
                    task.needs.iter().for_each(|need| rows[need.usize()].push(index));
                }
                rows
            }
        };
        let mut open: Vec<usize> = (0..tasks.len()).filter(|index| is_meant[*index]).collect();
        while let Some(index) = open.pop() {
            for next in &rows[index] {
                if !std::mem::replace(&mut is_meant[*next], true) {
                    open.push(*next);
                }
            }
        }
        is_meant
    }
}

/// The tasks that names or globs mean.
fn named(tasks: &[Arc<Task>], names: &[String]) -> Result<Vec<bool>, CliError> {
    let mut is_meant = vec![false; tasks.len()];
    for name in names {
        let pattern = Patterns::new([name.as_str()]).ok();
        let is = |task: &Task| {
            *task.name == **name
                || pattern.as_ref().is_some_and(|it| !it.matching(Path::new(&*task.name)).is_empty())
        };
        let mut found = false;
        for (meant, task) in is_meant.iter_mut().zip(tasks) {
            if is(task) {
                (*meant, found) = (true, true);
            }
        }
        if !found {
            let known = tasks.iter().map(|task| &*task.name);
            return Err(CliError::Usage {
                message: format!("there is no task `{}`", printable(name)),
                hint: Some(match did_you_mean(name, known) {
                    Some(meant) => format!("did you mean `{}`?", printable(meant)),
                    None => "`dirigent list` tells the tasks".to_owned(),
                }),
            });
        }
    }
    Ok(is_meant)
}

/// What tasks gave in the last run of the workflow in which each completed.
fn known(workflow: &Workflow, wanted: &[usize], state_dir: &Path) -> Result<Vec<Input>, CliError> {
    let mut open: Vec<usize> = wanted.to_vec();
    let mut known = Vec::with_capacity(wanted.len());
    if !open.is_empty() && state_dir.exists() {
        let (reader, artifacts) = (Reader::open(state_dir)?, Artifacts::of(state_dir));
        for row in reader.runs(RUNS_LOOKED_AT, Some(workflow.name()))? {
            if open.is_empty() {
                break;
            }
            let state = State::fold(&reader.recorded(&row.id)?.events);
            open.retain(|index| {
                let name = &workflow.tasks()[*index].name;
                let there =
                    state.tasks().iter().position(|task| task.spec.name == *name && task.parent.is_none());
                let there = there.and_then(|there| u32::try_from(there).ok()).map(TaskIndex);
                let here = TaskIndex(u32::try_from(*index).unwrap_or(u32::MAX));
                match there.and_then(|there| reused(&state, there, here, &artifacts)) {
                    Some(input) => {
                        known.push(input);
                        false
                    }
                    None => true,
                }
            });
        }
    }
    match open.first() {
        None => Ok(known),
        Some(index) => {
            let name = printable(&workflow.tasks()[*index].name);
            Err(CliError::Usage {
                message: format!(
                    "task `{name}` is left out, is needed, and never completed in a recorded run"
                ),
                hint: Some(format!("take it in as well: `--from {name}`; or run the whole once")),
            })
        }
    }
}

/// What a task did in a run, as something that another run need not do again; `None` where it did not complete, or what it
/// gave cannot be had.
pub fn reused(state: &State, there: TaskIndex, here: TaskIndex, artifacts: &Artifacts) -> Option<Input> {
    let it = state.task(there).filter(|it| it.status == TaskStatus::Completed)?;
    let ended = it.ended.as_ref()?;
    let from = match &it.reused {
        Some(reused) => reused.from.clone(),
        None => state.header()?.run.clone(),
    };
    let saved_us = it.reused.as_ref().map_or(ended.usage.wall_us, |reused| reused.saved_us);
    let logs = it.reused.as_ref().map_or_else(
        || Some(format!("runs/{from}/{}", attempt_folder(there, it.attempts).display()).into()),
        |reused| reused.logs.clone(),
    );
    let value = match consists_of_parts(it) {
        false => ended.value.clone(),
        true => Some(Arc::new(artifacts.keep_json(whole(state, there, artifacts)?.to_string()))),
    };
    let reused = Reused { from, saved_us, key: None, logs, value };
    Some(Input::Reused { task: here, reused })
}

/// Whether what it gave is what its parts gave. It may have had none to run for; and what was taken from another run stands.
fn consists_of_parts(task: &TaskState) -> bool {
    let has_own = task.ended.as_ref().is_some_and(|ended| ended.value.is_some());
    task.consists_of_tasks() || (is_each(task) && !has_own)
}

/// Whether it ran once for each of several things.
fn is_each(task: &TaskState) -> bool {
    matches!(&task.spec.action, Action::Function(function) if *function.name == *EACH)
}

/// What a task of tasks gave: of a fan-out a list, of a workflow a table.
fn whole(state: &State, task: TaskIndex, artifacts: &Artifacts) -> Option<Value> {
    let it = state.task(task)?;
    if consists_of_parts(it) {
        let parts = state.parts(task).map(|part| Some((state.task(part)?, whole(state, part, artifacts)?)));
        let parts: Vec<_> = parts.collect::<Option<_>>()?;
        return Some(match is_each(it) {
            true => parts.into_iter().map(|(_, value)| value).collect(),
            false => {
                let prefix = format!("{}/", it.spec.name);
                let own = |name: &str| name.strip_prefix(&prefix).unwrap_or(name).to_owned();
                parts.into_iter().map(|(part, value)| (own(&part.spec.name), value)).collect()
            }
        });
    }
    match it.ended.as_ref().and_then(|ended| ended.value.as_deref()) {
        None => Some(Value::Null),
        Some(Kept::Inline { encoding: Encoding::Json, text }) => serde_json::from_str(text).ok(),
        Some(Kept::Artifact { encoding: Encoding::Json, hash, .. }) => {
            serde_json::from_slice(&artifacts.load(hash).ok()?).ok()
        }
        Some(_) => None,
    }
}
