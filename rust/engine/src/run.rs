//! A run and the handle to it.

use crate::fault::EngineError;
use crate::journal::{Feed, Journal};
use crate::plan::Plan;
use crate::run_loop::{Message, RUN_VARIABLE, RunLoop};
use crossbeam_channel::{Sender, unbounded};
use dirigent_core::event::CancelReason;
use dirigent_core::ids::RunId;
use dirigent_core::state::State;
use dirigent_process::{ProcessError, Worker};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

pub use crate::run_loop::attempt_folder;

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
    messages: Sender<Message>,
    thread: Option<JoinHandle<(State, Option<ProcessError>)>>,
}

impl Run {
    /// Starts a run.
    ///
    /// # Errors
    ///
    /// The guard cannot be started, or the system refuses threads or descriptors. Then nothing was started.
    pub fn start(plan: Plan, config: Config) -> Result<Self, EngineError> {
        let journal = Arc::new(Journal::default());
        let (messages, received) = unbounded();
        let reports = messages.clone();
        let worker_config = dirigent_process::Config {
            guard: config.guard,
            version: config.version,
            run_mark: format!("{RUN_VARIABLE}={}", plan.run).into_bytes(),
            adopts_orphans: config.adopts_orphans,
        };
        // A loop that has ended wants to hear no more.
        let worker = Worker::start(worker_config, move |report| drop(reports.send(Message::Worker(report))))?;
        let id = plan.run.clone();
        let run_loop = RunLoop {
            run: plan.run.clone(),
            folder: config.folder,
            journal: Arc::clone(&journal),
            messages: received,
            worker,
            state: State::default(),
            closing: false,
        };
        let thread = std::thread::Builder::new()
            .name("dirigent-engine".to_owned())
            .spawn(move || run_loop.conduct(plan))
            .map_err(EngineError::Thread)?;
        Ok(Self { id, journal, messages, thread: Some(thread) })
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
        Control { messages: self.messages.clone() }
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// The worker could not go on, or the loop panicked.
    pub fn wait(mut self) -> Result<State, EngineError> {
        let Some(thread) = self.thread.take() else {
            return Err(EngineError::Bug { part: "the loop" });
        };
        match thread.join() {
            Ok((state, None)) => Ok(state),
            Ok((_, Some(error))) => Err(error.into()),
            Err(_) => Err(EngineError::Bug { part: "the loop" }),
        }
    }

    /// Asks the run to end and leaves it to do so by itself, in its grace.
    pub fn abandon(mut self) {
        self.control().cancel(CancelReason::Requested);
        self.thread = None;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.control().cancel(CancelReason::Requested);
            self.control().kill();
            let _ = thread.join();
        }
    }
}

/// Asks things of a run. To one that has ended it says nothing.
#[derive(Clone, Debug)]
pub struct Control {
    messages: Sender<Message>,
}

impl Control {
    /// Asks the run to end: nothing new starts, what runs gets a signal, and after its grace is killed.
    pub fn cancel(&self, reason: CancelReason) {
        let _ = self.messages.send(Message::Cancel(reason));
    }

    /// Kills every process of the run.
    pub fn kill(&self) {
        let _ = self.messages.send(Message::Kill);
    }

    /// Stops every process of the run, and its clocks.
    pub fn suspend(&self) {
        let _ = self.messages.send(Message::Suspend);
    }

    /// Lets a stopped run go on.
    pub fn go_on(&self) {
        let _ = self.messages.send(Message::Continue);
    }
}
