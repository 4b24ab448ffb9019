//! A recorded run that is looked at, whichever process carries it on: what is recorded meanwhile is taken in when somebody asks.
//!
//! Whoever carries the run on notices nothing of it: reading takes no lock that a writer waits for.

use crate::fault::{misused, raised};
use crate::waiting::{hold, wait};
use crate::workflow::session::Session;
use crate::workflow::shared::Shared;
use dirigent_cli::fault::CliError;
use dirigent_cli::record::{answer, ask};
use dirigent_cli::surroundings::{Surroundings, user};
use dirigent_core::event::{Event, Fact};
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::spec::Action;
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_engine::run::Asked;
use dirigent_engine::{Feed, Journal};
use dirigent_journal::lock::RunLock;
use dirigent_journal::{ReadTo, Reader, run_folder};
use pyo3::prelude::*;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long somebody who waits rests before looking again, at first and at most.
const REST: Duration = Duration::from_millis(10);
const LONGEST_REST: Duration = Duration::from_millis(100);

/// Looks at a recorded run.
#[pyclass(module = "dirigent._native", frozen)]
pub(crate) struct Follower {
    session: Py<Session>,
    shared: Arc<Shared>,
    journal: Arc<Journal>,
    state_dir: PathBuf,
    id: RunId,
    reading: Mutex<Reading>,
}

/// How far the run was read.
struct Reading {
    reader: Reader,
    read_to: ReadTo,
    /// The version of the database then.
    version: Option<i64>,
}

#[pymethods]
impl Follower {
    /// Opens a run. Where it came from elsewhere, pickles are opened only if it is trusted.
    #[new]
    fn new(py: Python<'_>, state_dir: PathBuf, id: &str, trust: bool) -> PyResult<Self> {
        let id = RunId::try_from(id.to_owned()).map_err(|error| misused(py, error.to_string(), None))?;
        let open = || -> Result<_, CliError> {
            let reader = Reader::open(&state_dir)?;
            let read_to = reader.begin(&id)?;
            let is_foreign = !trust && reader.is_imported(&id)?;
            let artifacts = reader.artifacts();
            Ok((Reading { reader, read_to, version: None }, is_foreign, artifacts))
        };
        let (reading, is_foreign, artifacts) = wait(py, open).map_err(|error| raised(py, error))?;
        let shared = Arc::new(Shared {
            folder: run_folder(&state_dir, &id),
            artifacts: Some(artifacts),
            state: RwLock::new(Some(Arc::new(State::default()))),
            is_foreign,
            ..Shared::default()
        });
        let journal = Arc::new(Journal::default());
        let feed = Feed::new(Arc::clone(&journal), 0);
        let session = Py::new(py, Session::recorded(Arc::clone(&shared), feed, id.to_string()))?;
        let follower = Self { session, shared, journal, state_dir, id, reading: Mutex::new(reading) };
        follower.refresh(py)?;
        Ok(follower)
    }

    /// The run as far as it was read.
    #[getter]
    fn session(&self, py: Python<'_>) -> Py<Session> {
        self.session.clone_ref(py)
    }

    /// Takes in what was recorded meanwhile, and returns how the run stands: its verdict, `running` or `interrupted`.
    fn refresh(&self, py: Python<'_>) -> PyResult<&'static str> {
        let (status, lost) = wait(py, || self.take_in()).map_err(|error| raised(py, error))?;
        for task in lost {
            self.shared.forget(py, task);
        }
        Ok(status)
    }

    /// Waits until there are more events than so many, and not longer than so. Returns whether there are, or may still be.
    fn wait(&self, py: Python<'_>, count: u64, at_most_s: f64) -> PyResult<bool> {
        let at_most = Duration::try_from_secs_f64(at_most_s).unwrap_or(Duration::MAX);
        let until = Instant::now().checked_add(at_most);
        let mut rest = REST;
        loop {
            let status = self.refresh(py)?;
            if self.journal.count() > count {
                return Ok(true);
            }
            if status != "running" {
                return Ok(false);
            }
            let left = until.map_or(rest, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(true);
            }
            wait(py, || std::thread::sleep(rest.min(left)));
            py.check_signals()?;
            rest = (rest * 2).min(LONGEST_REST);
        }
    }

    /// Asks whoever carries the run on to end it, at once or not, or to end one of its tasks.
    #[pyo3(signature = (task, now))]
    fn cancel(&self, py: Python<'_>, task: Option<u32>, now: bool) -> PyResult<()> {
        let asked = match task {
            Some(task) => Asked::CancelTask { task: TaskIndex(task) },
            None if now => Asked::Kill,
            None => Asked::Cancel,
        };
        let cancel = || -> Result<(), CliError> {
            let row = Reader::open(&self.state_dir)?.find(self.id.as_str())?;
            ask(&row, &self.state_dir, &asked).map(drop)
        };
        wait(py, cancel).map_err(|error| raised(py, error))
    }

    /// Whether a task waits for a value, or only for whether to go on; `None` where it waits for neither.
    fn wants_value(&self, py: Python<'_>, task: u32) -> PyResult<Option<bool>> {
        self.refresh(py)?;
        let wants = |state: &State| match state.task(TaskIndex(task))? {
            TaskState { status: TaskStatus::Waiting, spec, .. } => match &spec.action {
                Action::Approval(asked) => Some(asked.wants_value),
                _ => None,
            },
            _ => None,
        };
        Ok(self.shared.look(wants))
    }

    /// Answers a task that waits, with a value as JSON or without. Where nobody carries the run on, it counts when that
    /// goes on.
    fn answer(
        &self,
        py: Python<'_>,
        task: u32,
        approved: bool,
        comment: &str,
        value: Option<&str>,
    ) -> PyResult<()> {
        let value: Option<Value> = value
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| misused(py, format!("the value is no JSON: {error}"), None))?;
        let answer = || -> Result<(), CliError> {
            let actor = user(&Surroundings::look()?);
            answer(&self.id, &self.state_dir, TaskIndex(task), approved, comment, value.as_ref(), &actor)
        };
        wait(py, answer).map_err(|error| raised(py, error))
    }
}

impl Follower {
    /// How the run stands, and the tasks whose values cannot be had any more.
    fn take_in(&self) -> Result<(&'static str, Vec<TaskIndex>), CliError> {
        let mut reading = hold(&self.reading);
        let Reading { reader, read_to, version } = &mut *reading;
        // First: an engine that goes after this may record more, one that has gone will not.
        let is_held = RunLock::holder(&self.shared.folder).is_some();
        let found = reader.version()?;
        let mut lost = Vec::new();
        if *version != Some(found) {
            let events = reader.go_on(read_to)?;
            *version = Some(found);
            let is_lost = |event: &Event| match event.fact {
                Fact::ValueLost { task, .. } => Some(task),
                _ => None,
            };
            lost = events.iter().filter_map(is_lost).collect();
            self.apply(events);
        }
        let verdict = self.shared.look(|state| state.end().map(|end| end.verdict.name()));
        Ok((verdict.unwrap_or(if is_held { "running" } else { "interrupted" }), lost))
    }

    fn apply(&self, events: Vec<Event>) {
        let has_parts = |event: &Event| matches!(event.fact, Fact::TasksDeclared { parent: Some(_), .. });
        let finds_groups = events.iter().any(has_parts);
        {
            let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
            let state = Arc::make_mut(state.get_or_insert_default());
            events.iter().for_each(|event| state.apply(event));
        }
        if finds_groups {
            self.shared.find_groups();
        }
        // Last: what is told of has happened.
        self.journal.take_in(events);
    }
}
