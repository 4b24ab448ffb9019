//! Who carries out the tasks that are functions of the program around the engine. The engine has never heard of their language.

use dirigent_core::decide::Report;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::Task;
use std::path::Path;
use std::sync::Arc;

/// Carries out functions. Every call is made within a turn of the run: it must be short, wait for nothing, and not call back.
pub trait Functions: Send {
    /// Takes an attempt; its report follows by [`crate::run::Control::report`].
    fn carry_out(&self, task: TaskIndex, attempt: u32, spec: &Arc<Task>);
    /// Asks whether a task is to run; the answer follows by [`crate::run::Control::answer_condition`].
    fn ask(&self, task: TaskIndex, spec: &Arc<Task>);
    /// Asks whether a task need not run; the answer follows by [`crate::run::Control::answer_known`].
    fn check(&self, task: TaskIndex);
    /// Says that nobody waits for an attempt any more: its end is recorded.
    fn give_up(&self, task: TaskIndex, attempt: u32);
    /// Says that a task has its last status.
    fn ended(&self, task: TaskIndex);
    /// Says that nothing more will come.
    fn close(&self);
}

/// Looks at what a command did before that is recorded: reads what it gave, and sees that what it was to make is there.
pub trait Judge: Send + Sync {
    /// The report as it is to be recorded. `folder` is that of the attempt; a command finds the path of the file `output` in
    /// it in `DIRIGENT_OUTPUT`. Called on a thread that may read files, outside of any turn.
    fn judge(&self, report: Report, folder: &Path) -> Report;
}
