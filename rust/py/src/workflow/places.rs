//! Which task a name means.

use dirigent_core::ids::TaskIndex;
use dirigent_core::state::State;
use std::collections::HashMap;
use std::sync::Arc;

/// Where the tasks are, by name, as far as somebody asked.
#[derive(Default)]
pub(crate) struct Places {
    known: HashMap<Arc<str>, u32>,
    /// How many tasks have been looked at.
    seen: usize,
}

impl Places {
    /// The place of the task of a name.
    pub(crate) fn find(&mut self, state: &State, name: &str) -> Option<u32> {
        for (place, task) in (0u32..).zip(state.tasks()).skip(self.seen) {
            let first = self.known.get(&task.spec.name).and_then(|first| state.task(TaskIndex(*first)));
            // A part of another attempt of the same task takes the name over, and nothing else does.
            if first.is_none_or(|first| first.parent.is_some() && first.parent == task.parent) {
                self.known.insert(Arc::clone(&task.spec.name), place);
            }
        }
        self.seen = state.tasks().len();
        self.known.get(name).copied()
    }
}
