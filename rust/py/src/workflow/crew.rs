//! Processes that serve functions: children of a guard, like all others, so that none outlives this program.

use crate::fault::raised;
use crate::waiting::wait;
use crate::workflow::session::Session;
use dirigent_cli::VERSION;
use dirigent_cli::fault::CliError;
use dirigent_cli::record::new_run_id;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::{Command, Limits};
use dirigent_engine::run::attempt_folder;
use dirigent_process::{Attempt, Report, Worker};
use pyo3::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How each process ended, by its number.
#[derive(Default)]
struct Ends {
    told: Mutex<HashMap<u32, String>>,
    changed: Condvar,
}

/// The processes of one program.
#[pyclass(module = "dirigent._native", frozen)]
pub(crate) struct Crew {
    worker: Mutex<Option<Worker>>,
    ends: Arc<Ends>,
    next: Mutex<u32>,
    folder: PathBuf,
    id: String,
}

#[pymethods]
impl Crew {
    #[new]
    fn new(py: Python<'_>, guard: PathBuf, folder: PathBuf) -> PyResult<Self> {
        let ends = Arc::new(Ends::default());
        let told = Arc::clone(&ends);
        let id = new_run_id().to_string();
        let config = dirigent_process::Config {
            guard,
            version: VERSION,
            run_mark: format!("{MARK}={id}").into_bytes(),
            adopts_orphans: false,
        };
        let tell = move |report| {
            if let Report::Ended(report) = report {
                let mut ends = told.told.lock().unwrap_or_else(PoisonError::into_inner);
                ends.insert(report.task.0, report.ended.outcome.sentence());
                told.changed.notify_all();
            }
        };
        let worker =
            wait(py, || Worker::start(config, tell)).map_err(|error| raised(py, CliError::from(error)))?;
        Ok(Self { worker: Mutex::new(Some(worker)), ends, next: Mutex::new(0), folder, id })
    }

    /// Starts a process and returns its number.
    fn start(&self, argv: Vec<OsString>, env: Vec<(OsString, OsString)>) -> u32 {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let number = *next;
        *next += 1;
        let attempt = Attempt {
            task: TaskIndex(number),
            attempt: 1,
            command: Command {
                argv: argv.into_iter().map(Into::into).collect(),
                cwd: std::env::current_dir().unwrap_or_else(|_| "/".into()).into(),
                env: env.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect(),
                ..Command::default()
            },
            limits: Limits { output_bytes: Some(1 << 20), ..Limits::default() },
            allowed_exit_codes: vec![0],
            leave_running: false,
            marks: vec![(MARK.to_owned(), self.id.clone())],
            folder: self.folder.join(number.to_string()),
            secrets: Arc::default(),
        };
        if let Some(worker) = &*self.worker.lock().unwrap_or_else(PoisonError::into_inner) {
            worker.asker().carry_out(attempt);
        }
        number
    }

    /// Ends a process with all it started, at once.
    fn end(&self, number: u32) {
        if let Some(worker) = &*self.worker.lock().unwrap_or_else(PoisonError::into_inner) {
            worker.asker().end(TaskIndex(number), 1, SIGKILL);
        }
    }

    /// How a process ended, as the end of a sentence; `None` while it lives.
    fn ended(&self, number: u32) -> Option<String> {
        self.ends.told.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    /// Waits until a process has ended, and says how.
    fn wait(&self, py: Python<'_>, number: u32, at_most_s: f64) -> String {
        let at_most = Duration::try_from_secs_f64(at_most_s).unwrap_or_default();
        wait(py, || {
            let ends = self.ends.told.lock().unwrap_or_else(PoisonError::into_inner);
            let lives = |ends: &mut HashMap<u32, String>| !ends.contains_key(&number);
            let waited = self.ends.changed.wait_timeout_while(ends, at_most, lives);
            let ends = waited.unwrap_or_else(PoisonError::into_inner).0;
            ends.get(&number).cloned().unwrap_or_else(|| "closed its line".to_owned())
        })
    }

    /// Ends all of them.
    fn close(&self, py: Python<'_>) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        wait(py, || drop(worker));
    }
}

/// What a process has to know of an attempt that it carries out: the name of the task, the folder, the secrets.
#[pyfunction]
pub(crate) fn surroundings(
    session: &Session,
    task: u32,
    attempt: u32,
) -> (String, OsString, BTreeMap<String, String>) {
    let (shared, task) = (&session.shared, TaskIndex(task));
    let name = shared.look(|state| state.task(task).map(|task| task.spec.name.to_string()));
    let folder = shared.folder.join(attempt_folder(task, attempt));
    (name.unwrap_or_default(), folder.into(), shared.secrets.reveal().clone())
}

/// The variable that names the crew in the environment of all its processes.
const MARK: &str = "DIRIGENT_CREW_ID";
const SIGKILL: i32 = 9;
