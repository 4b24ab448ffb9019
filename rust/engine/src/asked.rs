//! What somebody outside of the program may ask of a run.

use dirigent_core::decide::Input;
use dirigent_core::event::CancelReason;
use dirigent_core::ids::TaskIndex;
use dirigent_core::value::Kept;
use std::sync::Arc;

/// What another process may ask of a run.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Asked {
    /// To end it.
    Cancel,
    /// To end it at once.
    Kill,
    /// To end one task.
    CancelTask {
        /// The task.
        task: TaskIndex,
    },
    /// To answer a task that waits.
    Answer {
        /// The task.
        task: TaskIndex,
        /// Whether it goes on.
        approved: bool,
        /// What they say.
        comment: Box<str>,
        /// What they give.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<Arc<Kept>>,
    },
}

impl Asked {
    /// What it is to a run, asked by somebody.
    pub(crate) fn into_input(self, actor: &str) -> Input {
        match self {
            Self::Cancel => Input::Cancel(CancelReason::Requested),
            Self::Kill => Input::Kill,
            Self::CancelTask { task } => Input::CancelTask(task),
            Self::Answer { task, approved, comment, value } => {
                Input::Answered { task, approved, comment, actor: actor.into(), value }
            }
        }
    }
}
