//! Waiting for the end of one task: woken by that and by the end of the run, and by nothing else.

use crate::waiting::hold;
use dirigent_core::ids::TaskIndex;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Those who wait for ends of tasks.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    awaited: Mutex<HashMap<TaskIndex, Arc<End>>>,
}

/// The end of one task.
#[derive(Debug, Default)]
struct End {
    came: Mutex<bool>,
    changed: Condvar,
}

impl End {
    fn tell(&self) {
        *hold(&self.came) = true;
        self.changed.notify_all();
    }
}

impl Ends {
    /// A task has ended. Costs next to nothing where nobody waits.
    pub(crate) fn tell(&self, task: TaskIndex) {
        let end = hold(&self.awaited).remove(&task);
        if let Some(end) = end {
            end.tell();
        }
    }

    /// No task will end any more.
    pub(crate) fn close(&self) {
        let awaited = std::mem::take(&mut *hold(&self.awaited));
        awaited.values().for_each(|end| end.tell());
    }

    /// Waits until `look` finds an end, and not longer than so. It is called without a lock.
    pub(crate) fn wait<T>(
        &self,
        task: TaskIndex,
        deadline: Instant,
        look: impl Fn() -> Option<T>,
    ) -> Option<T> {
        // Before looking: an end that comes after the look is then told.
        let end = Arc::clone(hold(&self.awaited).entry(task).or_default());
        let found = look();
        if found.is_some() {
            self.tell(task);
            return found;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = end.changed.wait_timeout_while(hold(&end.came), left, |came| !*came);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        look()
    }
}
