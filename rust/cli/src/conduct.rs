//! One run from its plan to its record: the same for the command line and for Python.

use crate::VERSION;
use crate::fault::CliError;
use crate::record::{make_run_folder, new_run_id};
use crate::surroundings::origin;
use dirigent_core::spec::Workflow;
use dirigent_core::state::State;
use dirigent_engine::events_file::EventsFile;
use dirigent_engine::{Config, Plan, Run};
use dirigent_process::worker::most_at_once;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a run needs beside its tasks.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// How many tasks may run at once; `None` for as many as there are cores.
    pub jobs: Option<u32>,
    /// Whether nothing new starts after a failure.
    pub fail_fast: bool,
    /// The state folder.
    pub state_dir: &'a Path,
    /// The folder that paths are shown relative to.
    pub root: Option<&'a Path>,
    /// The program that is the guard.
    pub guard: PathBuf,
    /// Whether this process is one that orphans come to.
    pub adopts_orphans: bool,
}

/// A run under way, with its folder and the record that is being written there.
#[derive(Debug)]
pub struct Conducted {
    /// The run.
    pub run: Run,
    /// Its folder.
    pub folder: PathBuf,
    events: EventsFile,
}

/// Starts a run.
///
/// # Errors
///
/// The state folder cannot be written, or the guard cannot be started. Then nothing has run.
pub fn start(workflow: Workflow, order: Order<'_>) -> Result<Conducted, CliError> {
    let id = new_run_id();
    let folder = make_run_folder(order.state_dir, &id)?;
    let cores = || std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    let plan = Plan {
        max_concurrency: order.jobs.unwrap_or_else(cores).min(most_at_once()).max(1),
        fail_fast: order.fail_fast,
        origin: origin(order.root),
        ..Plan::new(id, workflow)
    };
    let config = Config {
        guard: order.guard,
        version: VERSION,
        adopts_orphans: order.adopts_orphans,
        folder: folder.clone(),
    };
    let run = Run::start(plan, config);
    let events = EventsFile::start(&folder, run.feed(0))?;
    Ok(Conducted { run, folder, events })
}

impl Conducted {
    /// Waits for the end of the run and of its record.
    ///
    /// # Errors
    ///
    /// The run could not be carried through, or its record could not be written.
    pub fn wait(self) -> Result<Arc<State>, CliError> {
        let state = self.run.wait()?;
        self.events.finish()?;
        Ok(state)
    }
}
