//! Recorded runs, from Python: where they are, which there are, and which one is meant.

use crate::fault::raised;
use crate::scripts::{project_config, state_folder_of};
use crate::waiting::{hold, wait};
use dirigent_cli::fault::CliError;
use dirigent_cli::surroundings::Surroundings;
use dirigent_core::state::{State, TaskState};
use dirigent_journal::{JournalError, Reader, RunRow, Store, has_records};
use pyo3::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// `(id, workflow, status, created, ended, counts)`: moments in milliseconds since 1970, counts as JSON.
type Head = (String, String, String, i64, Option<i64>, Option<String>);

/// The reader that was asked last. Who asks again and again opens the database once.
static LAST: Mutex<Option<Reader>> = Mutex::new(None);

/// Asks of a state folder, by the last reader where it is of that folder and would say what a new one does.
fn ask<T>(
    state_dir: &Path,
    question: impl FnOnce(&Reader) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    let last = hold(&LAST).take().filter(|last| last.folder() == state_dir && last.is_current());
    let reader = last.map_or_else(|| Reader::open(state_dir), Ok)?;
    let answer = question(&reader)?;
    *hold(&LAST) = Some(reader);
    Ok(answer)
}

/// Closes what is open for the next run or question: called before a fork, since a connection must not be in two processes.
#[pyfunction]
pub(crate) fn let_go(py: Python<'_>) {
    wait(py, || {
        drop(hold(&LAST).take());
        Store::let_go();
    });
}

/// The folder in which runs that start in a folder are recorded.
#[pyfunction]
pub(crate) fn state_folder(py: Python<'_>, cwd: PathBuf) -> PyResult<PathBuf> {
    let look = || -> Result<PathBuf, CliError> {
        let surroundings = Surroundings::look()?;
        state_folder_of(&project_config(&cwd, &surroundings)?, &surroundings)
    };
    look().map_err(|error| raised(py, error))
}

/// The newest runs, the newest first.
#[pyfunction]
pub(crate) fn recorded_runs(
    py: Python<'_>,
    state_dir: PathBuf,
    limit: usize,
    workflow: Option<String>,
) -> PyResult<Vec<Head>> {
    let read = || -> Result<Vec<Head>, JournalError> {
        if !has_records(&state_dir)? {
            return Ok(Vec::new());
        }
        let rows = ask(&state_dir, |reader| reader.runs(limit, workflow.as_deref()))?;
        Ok(rows.into_iter().map(head).collect())
    };
    wait(py, read).map_err(|error| raised(py, CliError::from(error)))
}

/// One run by its id, the beginning of one, or `last`.
#[pyfunction]
pub(crate) fn find_recorded(py: Python<'_>, state_dir: PathBuf, name: &str) -> PyResult<Head> {
    let find = || ask(&state_dir, |reader| reader.find(name)).map(head);
    wait(py, find).map_err(|error| raised(py, CliError::from(error)))
}

/// A task of a run that came from elsewhere, whose value is a pickle; `None` where there is none.
#[pyfunction]
pub(crate) fn untrusted_task(py: Python<'_>, state_dir: PathBuf, id: &str) -> PyResult<Option<String>> {
    let find = || -> Result<Option<String>, JournalError> {
        let reader = Reader::open(&state_dir)?;
        let run = reader.find(id)?.id;
        if !reader.is_imported(&run)? {
            return Ok(None);
        }
        let state = State::fold(&reader.recorded(&run)?.events);
        let is_pickle = |task: &&TaskState| {
            task.ended.as_ref().and_then(|ended| ended.value.as_ref()).is_some_and(|value| value.is_pickle())
        };
        Ok(state.tasks().iter().find(is_pickle).map(|task| task.spec.name.to_string()))
    };
    wait(py, find).map_err(|error| raised(py, CliError::from(error)))
}

fn head(row: RunRow) -> Head {
    let status = row.status().to_owned();
    (row.id.into(), row.workflow, status, row.created_at_ms, row.ended_at_ms, row.counts)
}
