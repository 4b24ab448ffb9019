//! What a run is asked to carry out.

use dirigent_core::decide::Input;
use dirigent_core::event::Origin;
use dirigent_core::ids::RunId;
use dirigent_core::spec::{Resource, Workflow};

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
    /// What there is only so much of.
    pub resources: Vec<Resource>,
    /// How long it may take in all, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// What chance is drawn from.
    pub seed: u64,
    /// Tasks that need not run, each as [`Input::Reused`].
    pub known: Vec<Input>,
}

impl Plan {
    /// A plan without limits.
    pub fn new(run: RunId, workflow: Workflow) -> Self {
        Self {
            run,
            workflow,
            max_concurrency: u32::MAX,
            fail_fast: false,
            origin: Origin::default(),
            resources: Vec::new(),
            timeout_ms: None,
            seed: 0,
            known: Vec::new(),
        }
    }
}
