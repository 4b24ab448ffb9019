//! What follows from what: plain functions from a state and an input to facts.
//!
//! [`decide`] says what an input means; [`follow`] says what the state by itself calls for. A loop that records and
//! applies the facts of both until `follow` has nothing more to say is a whole engine, and one that starts by folding
//! an old journal needs nothing else to go on.

use crate::event::{CancelReason, Fact, SkipReason, Verdict};
use crate::ids::TaskIndex;
use crate::outcome::{Outcome, Stream, Usage};
use crate::state::{State, TaskStatus};
use std::collections::BTreeSet;

/// Everything that can be said to a run from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A worker reports how an attempt ended.
    AttemptEnded(Report),
    /// Somebody wants the run to end.
    Cancel(CancelReason),
    /// The run's processes have been stopped.
    Suspended,
    /// The run's processes go on.
    Continued,
    /// Every worker is done, and nothing is left of what they started.
    WorkersClosed {
        /// Processes that were ended with the run, and that no task could be blamed for.
        strays: u32,
        /// Processes that could not be ended.
        survivors: Vec<String>,
    },
}

/// A worker's report on one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The task.
    pub task: TaskIndex,
    /// Which try.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// Its standard output; `None` when it wrote nothing.
    pub stdout: Option<Stream>,
    /// Its standard error; `None` when it wrote nothing.
    pub stderr: Option<Stream>,
    /// How many processes it left behind.
    pub left_behind: u32,
    /// The last lines it wrote, where it did not succeed.
    pub last_lines: String,
}

/// Says what an input means for a run. An answer that comes late or twice means nothing.
pub fn decide(state: &State, input: Input) -> Vec<Fact> {
    if state.end().is_some() {
        return Vec::new();
    }
    match input {
        Input::AttemptEnded(report) => {
            let current = state
                .task(report.task)
                .is_some_and(|task| task.status == TaskStatus::Running && task.attempts == report.attempt);
            if !current {
                return Vec::new();
            }
            vec![Fact::AttemptEnded {
                task: report.task,
                attempt: report.attempt,
                outcome: report.outcome,
                usage: report.usage,
                stdout: report.stdout,
                stderr: report.stderr,
                left_behind: report.left_behind,
                last_lines: report.last_lines,
            }]
        }
        Input::Cancel(reason) if state.cancel().is_none() => vec![Fact::CancelRequested { reason }],
        Input::Suspended if !state.is_suspended() => vec![Fact::RunSuspended],
        Input::Continued if state.is_suspended() => vec![Fact::RunContinued],
        Input::Cancel(_) | Input::Suspended | Input::Continued => Vec::new(),
        Input::WorkersClosed { strays, survivors } if state.open() == 0 => {
            vec![Fact::RunEnded { verdict: verdict(state), strays, survivors }]
        }
        Input::WorkersClosed { .. } => Vec::new(),
    }
}

/// Says what the state by itself calls for: skips that travel, ends of what will not start, attempts to start.
///
/// Nothing when the run waits for its workers or is through.
pub fn follow(state: &State) -> Vec<Fact> {
    let Some(header) = state.header() else {
        return Vec::new();
    };
    if state.end().is_some() || state.open() == 0 {
        return Vec::new();
    }
    let mut told = BTreeSet::new();
    let skipped: Vec<Fact> = state
        .doomed()
        .filter(|(task, _)| told.insert(*task))
        .map(|(task, reason)| Fact::TaskSkipped { task: *task, reason: reason.clone() })
        .collect();
    if !skipped.is_empty() {
        return skipped;
    }
    if state.cancel().is_some() {
        return unstarted(state).map(|task| Fact::TaskCancelled { task }).collect();
    }
    if let Some(failed) = state.first_failure().filter(|_| header.fail_fast) {
        return unstarted(state)
            .map(|task| Fact::TaskSkipped { task, reason: SkipReason::FailFast { failed } })
            .collect();
    }
    if state.is_suspended() {
        return Vec::new();
    }
    let free = header.max_concurrency.saturating_sub(state.running()) as usize;
    state
        .ready()
        .take(free)
        .map(|task| Fact::AttemptStarted { task, attempt: state.tasks()[task.usize()].attempts + 1 })
        .collect()
}

fn unstarted(state: &State) -> impl Iterator<Item = TaskIndex> + '_ {
    (0u32..)
        .map(TaskIndex)
        .zip(state.tasks())
        .filter(|(_, task)| matches!(task.status, TaskStatus::Pending | TaskStatus::Retrying))
        .map(|(index, _)| index)
}

fn verdict(state: &State) -> Verdict {
    if state.tasks().iter().any(|task| task.status == TaskStatus::Cancelled) {
        Verdict::Cancelled
    } else if state.first_failure().is_some() {
        Verdict::Failed
    } else {
        Verdict::Succeeded
    }
}
