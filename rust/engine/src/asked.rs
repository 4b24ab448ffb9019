//! What somebody outside of the program may ask of a run.

use dirigent_core::decide::Input;
use dirigent_core::event::CancelReason;
use dirigent_core::ids::TaskIndex;

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
}

impl From<Asked> for Input {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Cancel => Self::Cancel(CancelReason::Requested),
            Asked::Kill => Self::Kill,
            Asked::CancelTask { task } => Self::CancelTask(task),
        }
    }
}
