//! `dirigent approve`, `reject` and `signal`: answers for tasks that wait, also of runs whose engine is gone for now.

use super::recorded::{Place, read, task_called};
use crate::args::{AnswerArgs, OneRun, SignalArgs};
use crate::fault::{CliError, exit};
use crate::record::{self, Recorded, goes_on};
use crate::surroundings::user;
use crate::terminal;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::Action;
use dirigent_core::state::{State, TaskStatus};
use dirigent_core::text::printable;
use serde_json::Value;

pub(super) fn answer(args: &AnswerArgs, approved: bool) -> Result<i32, CliError> {
    let (recorded, place) = read(&args.run)?;
    let task = match &args.task {
        Some(name) => task_called(&recorded.state, name)?,
        None => only_waiting(&recorded.state)?,
    };
    let wants_value = is_waiting(&recorded.state, task)?;
    if wants_value && approved {
        let name = name(&recorded.state, task);
        return Err(CliError::Usage {
            message: format!("task `{name}` waits for a value"),
            hint: Some(format!("give it one: `dirigent signal {} {name} VALUE`", recorded.row.id)),
        });
    }
    tell(&recorded, &place, task, approved, &args.comment, None)
}

pub(super) fn signal(args: &SignalArgs) -> Result<i32, CliError> {
    let records = crate::args::Records { state_dir: args.records.state_dir.clone() };
    let (recorded, place) = read(&OneRun { run: args.run.clone(), records })?;
    let task = task_called(&recorded.state, &args.task)?;
    if !is_waiting(&recorded.state, task)? {
        return Err(CliError::Usage {
            message: format!("task `{}` waits for an approval, not for a value", name(&recorded.state, task)),
            hint: Some("`dirigent approve` lets it go on".to_owned()),
        });
    }
    let value = serde_json::from_str(&args.value).unwrap_or_else(|_| Value::from(args.value.as_str()));
    tell(&recorded, &place, task, true, "", Some(&value))
}

fn name(state: &State, task: TaskIndex) -> String {
    state.task(task).map(|it| printable(&it.spec.name)).unwrap_or_default()
}

/// The one task that waits.
fn only_waiting(state: &State) -> Result<TaskIndex, CliError> {
    let waiting: Vec<TaskIndex> = (0u32..)
        .map(TaskIndex)
        .zip(state.tasks())
        .filter(|(_, it)| it.status == TaskStatus::Waiting)
        .map(|(index, _)| index)
        .collect();
    match waiting.as_slice() {
        [task] => Ok(*task),
        [] => Err(CliError::Nothing {
            message: "no task of this run waits for an answer".to_owned(),
            hint: Some("`dirigent show` tells how its tasks stand".to_owned()),
        }),
        several => {
            let names: Vec<String> = several.iter().map(|task| name(state, *task)).collect();
            Err(CliError::Usage {
                message: format!("several tasks wait: {}", names.join(", ")),
                hint: Some("name the one that is meant".to_owned()),
            })
        }
    }
}

/// Sees that a task waits, and whether it is for a value.
fn is_waiting(state: &State, task: TaskIndex) -> Result<bool, CliError> {
    let it = state.task(task).filter(|it| it.status == TaskStatus::Waiting);
    match it.map(|it| &it.spec.action) {
        Some(Action::Approval(approval)) => Ok(approval.wants_value),
        _ => {
            let status = state.task(task).map_or("unknown", |it| it.status.name());
            Err(CliError::Usage {
                message: format!("task `{}` waits for no answer: it is {status}", name(state, task)),
                hint: None,
            })
        }
    }
}

fn tell(
    recorded: &Recorded,
    place: &Place,
    task: TaskIndex,
    approved: bool,
    comment: &str,
    value: Option<&Value>,
) -> Result<i32, CliError> {
    let id = &recorded.row.id;
    let actor = user(&place.surroundings);
    record::answer(id, &recorded.state_dir, task, approved, comment, value, &actor)?;
    let name = name(&recorded.state, task);
    terminal::say(&match &recorded.row.holder {
        Some(_) => format!("told task {name} of run {id}\n"),
        None => format!(
            "noted for task {name}; it counts when the run goes on: {}\n",
            goes_on(id, &recorded.state)
        ),
    });
    Ok(exit::OK)
}
