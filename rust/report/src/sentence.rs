//! What happened, in words. Every sentence goes without its subject and its full stop: "failed with exit code 3".

use crate::counts::Counts;
use crate::quantity::{counted, grouped};
use dirigent_core::event::{CancelReason, SkipReason, Verdict};
use dirigent_core::spec::Action;
use dirigent_core::state::{TaskState, TaskStatus};
use dirigent_core::text::printable;
use dirigent_core::{Outcome, State, TaskIndex};

/// How a run went, or how far it is.
pub(crate) fn run_sentence(state: &State, counts: &Counts) -> String {
    let failures = counts.failed + counts.timed_out;
    match state.end().map(|end| end.verdict) {
        Some(Verdict::Succeeded) if counts.skipped > 0 => {
            format!("succeeded: {} completed, {} skipped", grouped(counts.completed), grouped(counts.skipped))
        }
        Some(Verdict::Succeeded) => format!("succeeded: {} completed", counted(counts.completed, "task")),
        Some(Verdict::Failed) => {
            format!("failed: {} of {} did not complete", grouped(failures), counted(counts.total, "task"))
        }
        Some(Verdict::Cancelled) => format!(
            "was cancelled{}: {} of {} completed",
            state.cancel().map_or(String::new(), |reason| format!(" ({})", cancel_reason(reason))),
            grouped(counts.completed),
            counted(counts.total, "task"),
        ),
        None => format!(
            "has not ended: {} of {} completed",
            grouped(counts.completed),
            counted(counts.total, "task")
        ),
    }
}

/// What happened to a task.
pub fn task_sentence(state: &State, task: &TaskState) -> String {
    let ended = task.ended.as_ref().map(|ended| &ended.outcome);
    match (task.status, ended) {
        (TaskStatus::Pending, _) => "has not started".to_owned(),
        (TaskStatus::Waiting, _) => "waits for an answer".to_owned(),
        (TaskStatus::Running, _) => "has not ended".to_owned(),
        (TaskStatus::Completed, _) if task.reused.is_some() => {
            let from = task.reused.as_ref().map(|reused| reused.from.as_str());
            format!("was reused from run {}", from.unwrap_or_default())
        }
        (TaskStatus::Skipped, _) => {
            let reason = task.skipped.as_ref().map(|reason| skip_reason(state, reason));
            format!("was skipped: {}", reason.unwrap_or_default())
        }
        (TaskStatus::Cancelled, Some(Outcome::Cancelled)) => Outcome::Cancelled.sentence(),
        (TaskStatus::Cancelled, Some(_)) => "was cancelled before its next attempt".to_owned(),
        (TaskStatus::Cancelled, None) => "was cancelled before it started".to_owned(),
        (TaskStatus::Retrying, Some(outcome)) => format!("{}; another attempt follows", outcome.sentence()),
        (TaskStatus::Failed, Some(Outcome::Unfinished)) => {
            format!("was not through after {} times", task.attempts)
        }
        (TaskStatus::Completed | TaskStatus::Failed | TaskStatus::TimedOut, Some(outcome)) => {
            outcome.sentence()
        }
        (TaskStatus::TimedOut, None) => "was not answered in time".to_owned(),
        (TaskStatus::Failed, None) => {
            let is_answered = matches!(task.spec.action, Action::Approval(_)) && task.started_at_ms.is_some();
            let what = if is_answered { "was rejected" } else { "failed" };
            match &task.remark {
                Some(why) if !why.is_empty() => format!("{what}: {}", printable(why)),
                _ => what.to_owned(),
            }
        }
        (TaskStatus::Retrying | TaskStatus::Completed, None) => task.status.name().to_owned(),
    }
}

/// Why a task was skipped.
pub(crate) fn skip_reason(state: &State, reason: &SkipReason) -> String {
    let name = |task: TaskIndex| {
        let name = state.task(task).map_or_else(|| task.to_string(), |task| printable(&task.spec.name));
        format!("“{name}”")
    };
    match reason {
        SkipReason::Declared { text } => printable(text),
        SkipReason::NeedNotMet { need } => {
            let status = state.task(*need).map_or(TaskStatus::Failed, |task| task.status);
            format!("it needs {}, which {}", name(*need), past_tense(status))
        }
        SkipReason::TriggerNotMet => "its needs ended in other ways than it waits for".to_owned(),
        SkipReason::Condition => "its condition did not hold".to_owned(),
        SkipReason::FailFast { failed } => format!("{} failed first", name(*failed)),
    }
}

fn past_tense(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Failed => "failed",
        TaskStatus::TimedOut => "ran out of time",
        TaskStatus::Cancelled => "was cancelled",
        TaskStatus::Skipped => "was skipped",
        TaskStatus::Completed => "completed",
        TaskStatus::Pending | TaskStatus::Waiting | TaskStatus::Running | TaskStatus::Retrying => {
            "has not completed"
        }
    }
}

/// The name of an outcome, as on the wire.
pub(crate) fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded { .. } => "succeeded",
        Outcome::Returned => "returned",
        Outcome::Raised { .. } => "raised",
        Outcome::Unmet { .. } => "unmet",
        Outcome::Unfinished => "unfinished",
        Outcome::ChildFailed { .. } => "child_failed",
        Outcome::Failed { .. } => "failed",
        Outcome::Killed { .. } => "killed",
        Outcome::TimedOut { .. } => "timed_out",
        Outcome::MemoryExceeded { .. } => "memory_exceeded",
        Outcome::CouldNotStart { .. } => "could_not_start",
        Outcome::Cancelled => "cancelled",
        Outcome::Lost { .. } => "lost",
    }
}

/// A status as a person reads it: "timed out".
pub(crate) fn status_words(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::TimedOut => "timed out",
        other => other.name(),
    }
}

fn cancel_reason(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::Interrupted => "interrupted",
        CancelReason::Terminated => "terminated",
        CancelReason::HungUp => "the terminal closed",
        CancelReason::Requested => "on request",
        CancelReason::TimedOut => "it ran out of time",
        CancelReason::Storage => "the state folder could not be written",
    }
}
