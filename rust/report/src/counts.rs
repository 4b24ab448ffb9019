//! How many tasks of a run are where.

use dirigent_core::State;
use dirigent_core::state::TaskStatus;
use serde::{Deserialize, Serialize};

/// How many tasks there are of each status; each task is counted once.
#[allow(missing_docs, reason = "the names are those of the statuses")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All of them.
    pub total: usize,
    pub completed: usize,
    pub failed: usize,
    pub timed_out: usize,
    pub cancelled: usize,
    pub skipped: usize,
    pub running: usize,
    pub retrying: usize,
    #[serde(default)]
    pub waiting: usize,
    pub pending: usize,
}

impl Counts {
    /// How many tasks have this status.
    pub fn of(&self, status: TaskStatus) -> usize {
        match status {
            TaskStatus::Pending => self.pending,
            TaskStatus::Running => self.running,
            TaskStatus::Retrying => self.retrying,
            TaskStatus::Waiting => self.waiting,
            TaskStatus::Completed => self.completed,
            TaskStatus::Failed => self.failed,
            TaskStatus::TimedOut => self.timed_out,
            TaskStatus::Cancelled => self.cancelled,
            TaskStatus::Skipped => self.skipped,
        }
    }

    /// The statuses that occur, with how often, in the order in which people want to read them.
    pub fn present(&self) -> impl Iterator<Item = (TaskStatus, usize)> + '_ {
        TaskStatus::ALL.into_iter().map(|status| (status, self.of(status))).filter(|(_, n)| *n > 0)
    }

    pub(crate) fn new(state: &State) -> Self {
        Self {
            total: state.tasks().len(),
            completed: state.count(TaskStatus::Completed),
            failed: state.count(TaskStatus::Failed),
            timed_out: state.count(TaskStatus::TimedOut),
            cancelled: state.count(TaskStatus::Cancelled),
            skipped: state.count(TaskStatus::Skipped),
            running: state.count(TaskStatus::Running),
            retrying: state.count(TaskStatus::Retrying),
            waiting: state.count(TaskStatus::Waiting),
            pending: state.count(TaskStatus::Pending),
        }
    }
}
