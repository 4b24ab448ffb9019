//! Going on with a run that is recorded: what is lost of it, and what has to wait until somebody knows again how to carry it out.

use super::Conductor;
use crate::fault::EngineError;
use dirigent_core::decide::{Input, decide};
use dirigent_core::event::Origin;
use dirigent_core::ids::TaskIndex;
use dirigent_core::value::Kept;
use std::collections::HashSet;
use std::sync::Arc;

impl Conductor {
    /// Takes up what is recorded. `why_lost` says of a value why it cannot be had, if that is so.
    ///
    /// # Errors
    ///
    /// The run is over.
    pub(crate) fn take_up(
        &mut self,
        origin: Origin,
        why_lost: &dyn Fn(&Kept) -> Option<String>,
    ) -> Result<(), EngineError> {
        let now_ms = self.clock.now_ms();
        let facts = decide(&self.state, Input::Resumed(Box::new(origin)), now_ms);
        if facts.is_empty() {
            let verdict = self.state.end().map_or("has not begun", |end| end.verdict.name());
            self.close();
            return Err(EngineError::Over { run: self.run.to_string(), verdict });
        }
        self.record(facts, now_ms);
        let mut is_known: HashSet<TaskIndex> = HashSet::new();
        loop {
            // What is carried out again needs values itself.
            let needed: Vec<(TaskIndex, Arc<Kept>)> = self
                .state
                .needed_values()
                .filter(|(task, _)| !is_known.contains(task))
                .map(|(task, value)| (task, Arc::clone(value)))
                .collect();
            if needed.is_empty() {
                break;
            }
            for (task, value) in needed {
                is_known.insert(task);
                if let Some(why) = why_lost(&value) {
                    let facts = decide(&self.state, Input::ValueLost { task, why: why.into() }, now_ms);
                    self.record(facts, now_ms);
                }
            }
        }
        self.settle(now_ms);
        Ok(())
    }

    /// Tasks that are not to start until they are let go.
    pub(crate) fn hold_back(&mut self, tasks: impl Iterator<Item = TaskIndex>) {
        self.held_back.extend(tasks);
    }

    /// Lets tasks start that were held back; those of which `lost` says why their values cannot be had are carried out again.
    pub(crate) fn let_go(&mut self, tasks: &[TaskIndex], lost: Vec<(TaskIndex, Box<str>)>) {
        for task in tasks {
            self.held_back.remove(task);
        }
        let now_ms = self.clock.now_ms();
        for (task, why) in lost {
            let facts = decide(&self.state, Input::ValueLost { task, why }, now_ms);
            self.record(facts, now_ms);
        }
        self.settle(now_ms);
    }
}
