//! One line an event, for logs and pipes.

use super::{fold, shown_ms, took_ms};
use dirigent_core::event::{CancelReason, Event, Fact, SkipReason};
use dirigent_core::ids::TaskIndex;
use dirigent_core::outcome::Ended;
use dirigent_core::state::State;
use dirigent_core::text::printable;
use std::fmt::Write;

/// The events so far.
#[derive(Default)]
pub(super) struct Plain {
    state: State,
}

impl Plain {
    /// The lines that events make.
    pub(super) fn lines(&mut self, events: &[Event]) -> String {
        let mut text = String::new();
        fold(&mut self.state, events, |state, event| {
            if matches!(event.fact, Fact::RunResumed { .. }) {
                // What an earlier engine did was shown then.
                text.clear();
            }
            if let Some(line) = line(state, event) {
                text.push_str(&line);
                text.push('\n');
            }
        });
        text
    }
}

fn line(state: &State, event: &Event) -> Option<String> {
    let name = |task: TaskIndex| state.task(task).map(|task| printable(&task.spec.name)).unwrap_or_default();
    Some(match &event.fact {
        Fact::RunCreated(created) => {
            format!("run        {}, {} at a time", created.run, created.max_concurrency)
        }
        Fact::RunResumed { .. } => {
            let ended = state.tasks().iter().filter(|task| task.status.is_final()).count();
            let run = state.header().map(|header| header.run.to_string()).unwrap_or_default();
            format!("resumed    {run}, {ended} of {} tasks have ended", state.tasks().len())
        }
        Fact::TaskReused { task, reused } => format!("reused     {}  from run {}", name(*task), reused.from),
        Fact::ValueLost { task, why } => format!("again      {}  {}", name(*task), printable(why)),
        Fact::TasksDeclared { .. } => return None,
        Fact::AttemptStarted { task, attempt: 1 } => format!("started    {}", name(*task)),
        Fact::AttemptStarted { task, attempt } => format!("started    {} (attempt {attempt})", name(*task)),
        Fact::AttemptEnded { task, ended, .. } => {
            let Ended { outcome, left_behind, last_lines, .. } = &**ended;
            let task_state = state.task(*task)?;
            let status = task_state.status.name().replace('_', " ");
            let mut line = format!("{status:<10} {}  {}", name(*task), shown_ms(took_ms(task_state)));
            if !outcome.is_success() {
                let _ = write!(line, "  {}", outcome.sentence());
            }
            if *left_behind > 0 {
                let _ = write!(line, "  (left {left_behind} processes behind)");
            }
            for last in last_lines.lines() {
                let _ = write!(line, "\n           | {last}");
            }
            line
        }
        Fact::TaskSkipped { task, reason } => {
            format!("skipped    {}  {}", name(*task), skip_sentence(state, reason))
        }
        Fact::TaskCancelled { task } => format!("cancelled  {}  it had not started", name(*task)),
        Fact::CancelRequested { reason } => format!("cancelling {}", cancel_sentence(*reason)),
        Fact::WaitStarted { task } => format!("waiting    {}  for an answer", name(*task)),
        Fact::WaitAnswered { task, approved: true, .. } => format!("approved   {}", name(*task)),
        Fact::WaitAnswered { task, approved: false, comment, .. } => {
            format!("rejected   {}  {}", name(*task), printable(comment))
        }
        Fact::WaitTimedOut { task } => format!("timed out  {}  nobody answered", name(*task)),
        Fact::TaskFailed { task, why } => format!("failed     {}  {}", name(*task), printable(why)),
        Fact::ConditionAsked { .. }
        | Fact::ConditionHeld { .. }
        | Fact::ActionSettled { .. }
        | Fact::ReuseAsked { .. }
        | Fact::ReuseDeclined { .. } => return None,
        Fact::TaskCancelRequested { task } => format!("cancelling {}", name(*task)),
        Fact::KillRequested => "killing    everything that is left".to_owned(),
        Fact::RunSuspended => "stopped    the run and all its processes".to_owned(),
        Fact::RunContinued => "continued  the run and all its processes".to_owned(),
        Fact::RunEnded { strays, survivors, .. } if *strays > 0 || !survivors.is_empty() => {
            format!("ended      {strays} processes that no task could be blamed for{}", alive(survivors))
        }
        Fact::RunEnded { .. } => return None,
    })
}

fn alive(survivors: &[String]) -> String {
    if survivors.is_empty() {
        String::new()
    } else {
        format!("; still alive: {}", printable(&survivors.join(", ")))
    }
}

/// Why a task was skipped.
pub(super) fn skip_sentence(state: &State, reason: &SkipReason) -> String {
    let name = |task: TaskIndex| state.task(task).map(|task| printable(&task.spec.name)).unwrap_or_default();
    match reason {
        SkipReason::Declared { text } => printable(text),
        SkipReason::NeedNotMet { need } => format!("it needs {}, which did not complete", name(*need)),
        SkipReason::TriggerNotMet => "its needs ended in other ways than it waits for".to_owned(),
        SkipReason::Condition => "its condition did not hold".to_owned(),
        SkipReason::FailFast { failed } => format!("{} failed", name(*failed)),
    }
}

/// Why a run is asked to end.
pub(crate) fn cancel_sentence(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::Interrupted => "interrupted: waiting for what runs to end; once more kills it",
        CancelReason::Terminated => "asked to end: waiting for what runs",
        CancelReason::HungUp => "the terminal is gone: waiting for what runs to end",
        CancelReason::Requested => "asked to end by the program",
        CancelReason::TimedOut => "the run took longer than it may",
        CancelReason::Storage => "the state folder cannot be written",
    }
}
