//! What a run is asked to carry out.

use dirigent_core::event::Origin;
use dirigent_core::ids::RunId;
use dirigent_core::spec::Workflow;

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its id.
    pub run: RunId,
    /// The tasks.
    pub workflow: Workflow,
    /// How many tasks may run at once, 1 or more.
    pub max_concurrency: u32,
    /// Whether nothing new starts after a failure.
    pub fail_fast: bool,
    /// Where and by what it runs.
    pub origin: Origin,
}
