//! One task as it stands, and what the ends of its needs mean for it.

use crate::event::{Reused, SkipReason};
use crate::ids::TaskIndex;
use crate::outcome::Ended;
use crate::spec::{Action, Task, Trigger};
use serde::{Deserialize, Serialize};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// It has not started: a need is open, or no slot is free.
    Pending,
    /// It waits for somebody's answer.
    Waiting,
    /// An attempt is being carried out.
    Running,
    /// An attempt ended without completing the task, and another will follow.
    Retrying,
    /// It did what it was for.
    Completed,
    /// It ended without doing what it was for.
    Failed,
    /// It was ended because it ran too long.
    TimedOut,
    /// The run, or the task alone, was cancelled before it ended by itself.
    Cancelled,
    /// It was never to run.
    Skipped,
}

impl TaskStatus {
    /// Every status, in the order in which people want to read them.
    pub const ALL: [Self; 9] = [
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Running,
        Self::Retrying,
        Self::Waiting,
        Self::Pending,
        Self::Skipped,
        Self::Completed,
    ];

    /// Whether nothing can change it any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Waiting | Self::Running | Self::Retrying => false,
            Self::Completed | Self::Failed | Self::TimedOut | Self::Cancelled | Self::Skipped => true,
        }
    }

    /// Whether it makes the run a failed one.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }

    /// Its name, as on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

/// One task of a run, as it stands.
///
/// Most tasks of a big run have not begun: what is only known of one that has is kept apart, and read and written as if it
/// stood here.
#[derive(Clone, Debug)]
pub struct TaskState {
    /// As declared.
    pub spec: Arc<Task>,
    pub(super) history: Option<Box<History>>,
    pub(super) needs: Needs,
    /// The task that this one is a part of.
    pub parent: Option<TaskIndex>,
    /// How many attempts were started.
    pub attempts: u32,
    /// Where it stands.
    pub status: TaskStatus,
    /// Whether the last attempt made tasks that take its place.
    pub(super) consists_of_tasks: bool,
    /// Whether it holds its slot, if it takes one, and what it claims.
    pub(super) holds: bool,
    pub(super) is_released: bool,
    /// Whether its condition, if it has one, held.
    pub(super) is_let_go: bool,
    pub(super) is_asked_to_end: bool,
    pub(super) outlives_failure: bool,
    pub(super) outlives_cancel: bool,
}

/// What has become of a task: nothing, before anything has.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// How many of its attempts were lost.
    pub lost: u32,
    /// When the last attempt started.
    pub started_at_ms: Option<i64>,
    /// When the last attempt ended.
    pub ended_at_ms: Option<i64>,
    /// How the last attempt ended; `None` before that, and where none was started.
    pub ended: Option<Arc<Ended>>,
    /// Why it was skipped.
    pub skipped: Option<Box<SkipReason>>,
    /// Why it failed without an attempt, or what was answered.
    pub remark: Option<Box<str>>,
    /// Where it was carried out, if it need not run here.
    pub reused: Option<Arc<Reused>>,
    /// What it depends on, as one hash, where that is known.
    pub key: Option<Arc<str>>,
    /// Whether it was asked whether it need not run, and it has to.
    pub(super) has_to_run: bool,
    /// How many attempts in a row failed.
    pub(super) failures: u32,
    /// How often it said that it was not through.
    pub(super) repeats: u32,
    /// When it is due, on the run's own clock: the next attempt, the end of its time.
    pub(super) due_ms: Option<i64>,
    /// When the last attempt started, on the run's own clock.
    pub(super) began_ms: i64,
    pub(super) open_children: u32,
    pub(super) failed_child: Option<TaskIndex>,
}

impl History {
    const NONE: Self = Self {
        lost: 0,
        started_at_ms: None,
        ended_at_ms: None,
        ended: None,
        skipped: None,
        remark: None,
        reused: None,
        key: None,
        has_to_run: false,
        failures: 0,
        repeats: 0,
        due_ms: None,
        began_ms: 0,
        open_children: 0,
        failed_child: None,
    };
}

impl Deref for TaskState {
    type Target = History;

    fn deref(&self) -> &History {
        static NONE: History = History::NONE;
        self.history.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for TaskState {
    fn deref_mut(&mut self) -> &mut History {
        self.history.get_or_insert_with(|| Box::new(History::NONE))
    }
}

impl PartialEq for TaskState {
    fn eq(&self, other: &Self) -> bool {
        let head = |it: &Self| (it.parent, it.attempts, it.status, it.needs);
        let flags = |it: &Self| {
            let of_run = [it.holds, it.is_released, it.is_let_go, it.is_asked_to_end];
            (it.consists_of_tasks, of_run, it.outlives_failure, it.outlives_cancel)
        };
        self.spec == other.spec
            && head(self) == head(other)
            && flags(self) == flags(other)
            && **self == **other
    }
}

/// How the needs of a task stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) open: u32,
    completed: u32,
    failed: u32,
    /// One that ended without completing.
    unmet: Option<TaskIndex>,
}

/// What the needs of a task mean for it.
pub(super) enum Judgement {
    Wait,
    Release,
    Skip(SkipReason),
}

impl Needs {
    /// So many needs, none of which has ended.
    pub(super) fn all_open(open: u32) -> Self {
        Self { open, ..Self::default() }
    }

    /// What they mean under a trigger rule.
    pub(super) fn judge(self, trigger: Trigger) -> Judgement {
        let skip = || match self.unmet {
            Some(need) => Judgement::Skip(SkipReason::NeedNotMet { need }),
            None => Judgement::Skip(SkipReason::TriggerNotMet),
        };
        let are_done = self.open == 0;
        match trigger {
            Trigger::AllSuccess if self.unmet.is_some() => skip(),
            Trigger::NoneFailed if self.failed > 0 => skip(),
            Trigger::AnySuccess if self.completed > 0 => Judgement::Release,
            Trigger::AnyFailed if self.failed > 0 => Judgement::Release,
            _ if !are_done => Judgement::Wait,
            Trigger::AnySuccess if self.unmet.is_some() => skip(),
            Trigger::AnyFailed => Judgement::Skip(SkipReason::TriggerNotMet),
            Trigger::AllSuccess
            | Trigger::AnySuccess
            | Trigger::NoneFailed
            | Trigger::AllDone
            | Trigger::Always => Judgement::Release,
        }
    }
}

impl TaskState {
    /// Whether it waits for tasks of its own.
    pub fn has_open_children(&self) -> bool {
        self.open_children > 0
    }

    /// Whether tasks of its own take the place of its last attempt.
    pub fn consists_of_tasks(&self) -> bool {
        self.consists_of_tasks
    }

    /// Whether the task itself was asked to end.
    pub fn is_asked_to_end(&self) -> bool {
        self.is_asked_to_end
    }

    /// Whether it may still start after a failure ended what fails fast: by its policy, or as a part of one that may.
    pub fn outlives_failure(&self) -> bool {
        self.outlives_failure
    }

    /// Whether it goes on when the run was asked to end: by its policy, or as a part of one that does.
    pub fn outlives_cancel(&self) -> bool {
        self.outlives_cancel
    }

    pub(crate) fn is_released(&self) -> bool {
        self.is_released
    }

    pub(crate) fn has_to_run(&self) -> bool {
        self.has_to_run
    }

    pub(crate) fn is_let_go(&self) -> bool {
        self.is_let_go
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn repeats(&self) -> u32 {
        self.repeats
    }

    pub(crate) fn failed_child(&self) -> Option<TaskIndex> {
        self.failed_child
    }

    /// Whether a function carries it out right now: one that can be given up at once.
    pub(crate) fn is_running_function(&self) -> bool {
        self.status == TaskStatus::Running && matches!(self.spec.action, Action::Function(_))
    }
}

impl Needs {
    /// Notes how one of them ended.
    pub(super) fn note(&mut self, need: TaskIndex, status: TaskStatus) {
        self.open -= 1;
        if status == TaskStatus::Completed {
            self.completed += 1;
        } else {
            self.unmet.get_or_insert(need);
        }
        self.failed += u32::from(status.is_failure());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_has_not_begun_takes_little_room() {
        assert!(size_of::<TaskState>() <= 56, "{}", size_of::<TaskState>());
    }
}
