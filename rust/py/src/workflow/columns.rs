//! The tasks, the attempts and the events of a run as columns, for tables.

use crate::workflow::session::Session;
use dirigent_core::event::Fact;
use dirigent_core::ids::TaskIndex;
use dirigent_core::outcome::Outcome;
use dirigent_core::state::TaskState;
use dirigent_report::task_sentence;
use pyo3::prelude::*;
use serde::Serialize;
use std::collections::HashMap;

/// What stands in a column.
enum Values {
    Text(Vec<Option<String>>),
    Whole(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    /// In milliseconds since 1970.
    Moment(Vec<Option<i64>>),
}

use Values::{Moment, Real, Text, Whole};

/// The columns of what `of` says, `tasks`, `attempts` or `events`, each as `(name, kind, values)`.
#[pyfunction]
pub(crate) fn run_columns(
    py: Python<'_>,
    session: &Session,
    of: &str,
) -> PyResult<Vec<(&'static str, &'static str, Py<PyAny>)>> {
    let columns = match of {
        "tasks" => of_tasks(session),
        "attempts" => of_attempts(session),
        _ => of_events(session),
    };
    let made = columns.into_iter().map(|(name, values)| {
        let (kind, values) = match values {
            Text(values) => ("text", values.into_pyobject(py)?),
            Whole(values) => ("int", values.into_pyobject(py)?),
            Real(values) => ("float", values.into_pyobject(py)?),
            Moment(values) => ("moment", values.into_pyobject(py)?),
        };
        Ok((name, kind, values.unbind()))
    });
    made.collect()
}

fn of_tasks(session: &Session) -> Vec<(&'static str, Values)> {
    session.shared.look(|state| {
        fn each<T>(tasks: &[TaskState], of: impl Fn(&TaskState) -> Option<T>) -> Vec<Option<T>> {
            tasks.iter().map(of).collect()
        }
        let tasks = state.tasks();
        let name = |task: &TaskState| task.spec.name.to_string();
        let took = |task: &TaskState| task.ended.as_ref().map(|ended| seconds(ended.usage.wall_us));
        let code = |task: &TaskState| task.ended.as_ref()?.outcome.exit_code().map(i64::from);
        vec![
            ("task", Text(each(tasks, |task| Some(name(task))))),
            ("status", Text(each(tasks, |task| Some(task.status.name().to_owned())))),
            ("attempts", Whole(each(tasks, |task| Some(i64::from(task.attempts))))),
            ("seconds", Real(each(tasks, |task| took(task).filter(|_| task.attempts > 0)))),
            ("started", Moment(each(tasks, |task| task.started_at_ms))),
            ("ended", Moment(each(tasks, |task| task.ended_at_ms))),
            ("sentence", Text(each(tasks, |task| Some(task_sentence(state, task))))),
            ("exit_code", Whole(each(tasks, code))),
            ("part_of", Text(each(tasks, |task| state.task(task.parent?).map(name)))),
            ("reused_from", Text(each(tasks, |task| Some(task.reused.as_ref()?.from.to_string())))),
        ]
    })
}

/// What is known of one attempt.
#[derive(Default)]
struct Attempt {
    task: Option<String>,
    number: u32,
    started: i64,
    ended: Option<i64>,
    outcome: Option<String>,
    exit_code: Option<i64>,
    error: Option<String>,
    message: Option<String>,
    took: Option<f64>,
    user: Option<f64>,
    system: Option<f64>,
    peak: Option<i64>,
}

fn of_attempts(session: &Session) -> Vec<(&'static str, Values)> {
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut begun: HashMap<(TaskIndex, u32), usize> = HashMap::new();
    let names = names(session);
    for event in &session.so_far() {
        match &event.fact {
            Fact::AttemptStarted { task, attempt } => {
                begun.insert((*task, *attempt), attempts.len());
                let (task, number, started) = (names.get(task.usize()).cloned(), *attempt, event.at_ms);
                attempts.push(Attempt { task, number, started, ..Attempt::default() });
            }
            Fact::AttemptEnded { task, attempt, ended, .. } => {
                let Some(row) = begun.get(&(*task, *attempt)) else { continue };
                let it = &mut attempts[*row];
                let (outcome, usage) = (&ended.outcome, &ended.usage);
                it.ended = Some(event.at_ms);
                it.outcome = text(&plain(outcome), "outcome");
                it.exit_code = outcome.exit_code().map(i64::from);
                it.took = Some(seconds(usage.wall_us));
                if let Outcome::Raised { error, message, .. } = outcome {
                    (it.error, it.message) = (Some(error.to_string()), Some(message.to_string()));
                }
                // A function in a thread has no figures of its own.
                if usage.peak_memory_bytes > 0 {
                    (it.user, it.system) = (Some(seconds(usage.user_us)), Some(seconds(usage.system_us)));
                    it.peak = i64::try_from(usage.peak_memory_bytes).ok();
                }
            }
            _ => {}
        }
    }
    fn each<T>(attempts: &[Attempt], of: impl Fn(&Attempt) -> Option<T>) -> Vec<Option<T>> {
        attempts.iter().map(of).collect()
    }
    let attempts = &*attempts;
    vec![
        ("task", Text(each(attempts, |it| it.task.clone()))),
        ("attempt", Whole(each(attempts, |it| Some(i64::from(it.number))))),
        ("outcome", Text(each(attempts, |it| it.outcome.clone()))),
        ("seconds", Real(each(attempts, |it| it.took))),
        ("started", Moment(each(attempts, |it| Some(it.started)))),
        ("ended", Moment(each(attempts, |it| it.ended))),
        ("exit_code", Whole(each(attempts, |it| it.exit_code))),
        ("error", Text(each(attempts, |it| it.error.clone()))),
        ("message", Text(each(attempts, |it| it.message.clone()))),
        ("user_seconds", Real(each(attempts, |it| it.user))),
        ("system_seconds", Real(each(attempts, |it| it.system))),
        ("peak_memory_bytes", Whole(each(attempts, |it| it.peak))),
    ]
}

fn of_events(session: &Session) -> Vec<(&'static str, Values)> {
    let events: Vec<serde_json::Value> = session.so_far().iter().map(plain).collect();
    let names = names(session);
    let name = |event| names.get(usize::try_from(whole(event, "task")?).ok()?).cloned();
    vec![
        ("seq", Whole(events.iter().map(|event| whole(event, "seq")).collect())),
        ("at", Moment(events.iter().map(|event| whole(event, "at_ms")).collect())),
        ("kind", Text(events.iter().map(|event| text(event, "kind")).collect())),
        ("task", Text(events.iter().map(name).collect())),
        ("attempt", Whole(events.iter().map(|event| whole(event, "attempt")).collect())),
        ("event", Text(events.iter().map(|event| Some(event.to_string())).collect())),
    ]
}

fn names(session: &Session) -> Vec<String> {
    session.shared.look(|state| state.tasks().iter().map(|task| task.spec.name.to_string()).collect())
}

#[allow(clippy::cast_precision_loss, reason = "a time of a task, in seconds")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn plain(what: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(what).unwrap_or_default()
}

fn text(object: &serde_json::Value, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

fn whole(object: &serde_json::Value, key: &str) -> Option<i64> {
    object.get(key)?.as_i64()
}
