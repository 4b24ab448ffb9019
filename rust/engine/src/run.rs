//! A run and the handle to it.

use crate::conductor::{RUN_VARIABLE, Shared};
use crate::fault::EngineError;
use crate::journal::{Feed, Journal};
use crate::plan::Plan;
use dirigent_core::decide::Input;
use dirigent_core::event::CancelReason;
use dirigent_core::ids::RunId;
use dirigent_core::state::State;
use dirigent_process::Worker;
use std::path::PathBuf;
use std::sync::Arc;

pub use crate::conductor::attempt_folder;

/// What an engine needs to know of its surroundings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The executable that can be the guard.
    pub guard: PathBuf,
    /// The version it must have.
    pub version: &'static str,
    /// Whether this process is one that orphans come to; see [`dirigent_process::worker::adopt_orphans`].
    pub adopts_orphans: bool,
    /// The folder of the run, which exists.
    pub folder: PathBuf,
}

/// A run under way. Dropping it ends its processes.
#[derive(Debug)]
pub struct Run {
    id: RunId,
    journal: Arc<Journal>,
    control: Control,
    worker: Option<Worker>,
}

impl Run {
    /// Starts a run.
    ///
    /// # Errors
    ///
    /// The guard cannot be started, or the system refuses threads or descriptors. Then nothing was started.
    pub fn start(plan: Plan, config: Config) -> Result<Self, EngineError> {
        let journal = Arc::new(Journal::default());
        let id = plan.run.clone();
        let conductor = Shared::new(id.clone(), config.folder, Arc::clone(&journal));
        let worker_config = dirigent_process::Config {
            guard: config.guard,
            version: config.version,
            run_mark: format!("{RUN_VARIABLE}={id}").into_bytes(),
            adopts_orphans: config.adopts_orphans,
        };
        let ear = conductor.ear();
        let worker = Worker::start(worker_config, move |report| ear.hear(report))?;
        conductor.lock().begin(plan, worker.asker().clone());
        Ok(Self { id, journal, control: Control { conductor }, worker: Some(worker) })
    }

    /// Its id.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// A reader of its events from this place on.
    pub fn feed(&self, place: u64) -> Feed {
        Feed::new(Arc::clone(&self.journal), place)
    }

    /// A handle that asks things of the run and can be kept elsewhere.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// The worker could not go on, or has ended unexpectedly.
    pub fn wait(mut self) -> Result<State, EngineError> {
        self.journal.wait_until_closed();
        drop(self.worker.take());
        self.control.conductor.lock().result()
    }

    /// Asks the run to end and leaves it to do so by itself, in its grace.
    pub fn abandon(mut self) {
        self.control.cancel(CancelReason::Requested);
        if let Some(worker) = self.worker.take() {
            worker.leave();
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.worker.is_some() {
            self.control.cancel(CancelReason::Requested);
        }
    }
}

/// Asks things of a run. To one that has ended it says nothing.
#[derive(Clone, Debug)]
pub struct Control {
    conductor: Shared,
}

impl Control {
    /// Asks the run to end: nothing new starts, what runs gets a signal, and after its grace is killed.
    pub fn cancel(&self, reason: CancelReason) {
        self.conductor.lock().turn(Input::Cancel(reason));
    }

    /// Kills every process of the run.
    pub fn kill(&self) {
        if let Some(worker) = self.conductor.lock().worker() {
            worker.kill();
        }
    }

    /// Stops every process of the run, and its clocks.
    pub fn suspend(&self) {
        if let Some(worker) = self.conductor.lock().worker() {
            worker.suspend();
        }
    }

    /// Lets a stopped run go on.
    pub fn go_on(&self) {
        if let Some(worker) = self.conductor.lock().worker() {
            worker.go_on();
        }
    }
}
