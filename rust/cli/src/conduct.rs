//! One run from its plan to its record: the same for the command line and for Python.

use crate::VERSION;
use crate::fault::CliError;
use crate::record::{holder, new_run_id};
use crate::secrets::{keep_out, refuse_in_source};
use crate::surroundings::origin;
use crate::workflow::Opened;
use dirigent_core::decide::Input;
use dirigent_core::event::Origin;
use dirigent_core::ids::RunId;
use dirigent_core::spec::Workflow;
use dirigent_core::state::State;
use dirigent_core::value::Kept;
use dirigent_engine::{Config, EngineError, Plan, Record, Run, Slots};
use dirigent_journal::store::{Durability, Store};
use dirigent_process::worker::most_at_once;
use dirigent_process::{Secrets, end_leftovers};
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
    /// The values of secrets that its tasks name; see [`crate::secrets`].
    pub secrets: Arc<Secrets>,
}

impl Order<'_> {
    fn config(&self, folder: PathBuf) -> Config {
        Config {
            guard: self.guard.clone(),
            version: VERSION,
            adopts_orphans: self.adopts_orphans,
            folder,
            slots: Slots::default(),
            judge: None,
            secrets: Arc::clone(&self.secrets),
        }
    }
}

/// A run under way, with its folder.
#[derive(Debug)]
pub struct Conducted {
    /// The run.
    pub run: Run,
    /// Its folder.
    pub folder: PathBuf,
    /// Processes that an engine before this one had left behind, and that were ended, each as `pid name`.
    pub leftovers: Vec<String>,
}

/// What a run carries out.
#[derive(Clone, Debug)]
pub struct Work {
    /// The tasks.
    pub workflow: Workflow,
    /// Those that need not run, each as [`Input::Reused`].
    pub known: Vec<Input>,
    /// The file they come from, where they do.
    pub file: Option<Opened>,
}

impl From<Workflow> for Work {
    fn from(workflow: Workflow) -> Self {
        Self { workflow, known: Vec::new(), file: None }
    }
}

/// Starts a run.
///
/// # Errors
///
/// The state folder cannot be written, or the guard cannot be started. Then nothing has run.
pub fn start(work: Work, order: &Order<'_>) -> Result<Conducted, CliError> {
    let source = work.file.as_ref().map(|file| file.source.as_ref());
    source.map_or(Ok(()), |source| refuse_in_source(source, &order.secrets))?;
    let work = Work { workflow: keep_out(work.workflow, &order.secrets)?, ..work };
    let id = new_run_id();
    let store = Store::shared(order.state_dir)?;
    let writer = store.begin(&id, Durability::default(), &holder())?;
    let folder = store.run_folder(&id);
    let Work { workflow, known, file } = work;
    let root = file.as_ref().map(|file| file.files.root());
    let cores = || std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    let source = file.as_ref().map(|file| Arc::clone(&file.source));
    let plan = Plan {
        max_concurrency: order.jobs.unwrap_or_else(cores).min(most_at_once()).max(1),
        fail_fast: order.fail_fast,
        origin: Origin { source, ..origin(order.root) },
        resources: file.as_ref().map(|file| file.resources.clone()).unwrap_or_default(),
        timeout_ms: root.and_then(|root| root.timeout_ms),
        known,
        ..Plan::new(id.clone(), workflow)
    };
    let record = Record::OnDisk { writer, recorded: Vec::new() };
    let run = prepare(&id, file.as_ref(), &store, &folder, order, record)?;
    run.begin(plan);
    Ok(Conducted { run, folder, leftovers: Vec::new() })
}

/// A run that has not begun, and those who answer for it.
fn prepare(
    id: &RunId,
    file: Option<&Opened>,
    store: &Arc<Store>,
    folder: &Path,
    order: &Order<'_>,
    record: Record,
) -> Result<Run, CliError> {
    let config = order.config(folder.to_owned());
    let Some(file) = file else { return Ok(Run::prepare(id.clone(), config, None, record)?) };
    file.prepare()?;
    let host = file.host(Arc::clone(store), folder.to_owned());
    let (functions, answer) = host.functions();
    let config = Config { judge: Some(Arc::new(host)), ..config };
    let run = Run::prepare(id.clone(), config, Some(functions), record)?;
    answer(run.control()).map_err(EngineError::Thread)?;
    Ok(run)
}

/// Goes on with a run whose engine is gone, or that was cancelled.
///
/// # Errors
///
/// It is over, or held by somebody; the state folder cannot be written.
pub fn resume(id: &RunId, file: Option<&Opened>, order: &Order<'_>) -> Result<Conducted, CliError> {
    let store = Store::shared(order.state_dir)?;
    let (writer, recorded) = store.take_over(id, Durability::default(), &holder())?;
    let folder = store.run_folder(id);
    // The lock is ours, so nobody carries the run on: what still carries its mark was left behind.
    let (leftovers, _) = end_leftovers(&dirigent_engine::run::mark(id));
    let run = prepare(id, file, &store, &folder, order, Record::OnDisk { writer, recorded })?;
    run.take_up(origin(order.root), &|value| why_lost(value, &store))?;
    Ok(Conducted { run, folder, leftovers })
}

/// Why a recorded value cannot be had; `None` where it can.
pub fn why_lost(value: &Kept, store: &Store) -> Option<String> {
    match value {
        Kept::Inline { .. } => None,
        Kept::Artifact { hash, .. } => store.artifacts().load(hash).err().map(|error| error.to_string()),
        Kept::NotKept { why } => Some(format!("its value was not kept: {why}")),
    }
}

impl Conducted {
    /// Waits for the end of the run and of its record.
    ///
    /// # Errors
    ///
    /// The run could not be carried through, or its record could not be written.
    pub fn wait(self) -> Result<Arc<State>, CliError> {
        Ok(self.run.wait()?)
    }
}
