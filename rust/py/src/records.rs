//! Recorded runs, from Python: which there are, and which one is meant.

use crate::fault::raised;
use crate::waiting::wait;
use dirigent_cli::fault::CliError;
use dirigent_journal::store::DATABASE;
use dirigent_journal::{JournalError, Reader, RunRow};
use pyo3::prelude::*;
use std::path::PathBuf;

/// `(id, workflow, status, created, ended, counts)`: moments in milliseconds since 1970, counts as JSON.
type Head = (String, String, String, i64, Option<i64>, Option<String>);

/// The newest runs, the newest first.
#[pyfunction]
pub(crate) fn recorded_runs(
    py: Python<'_>,
    state_dir: PathBuf,
    limit: usize,
    workflow: Option<String>,
) -> PyResult<Vec<Head>> {
    let read = || -> Result<Vec<Head>, JournalError> {
        if !state_dir.join(DATABASE).exists() {
            return Ok(Vec::new());
        }
        let rows = Reader::open(&state_dir)?.runs(limit, workflow.as_deref())?;
        Ok(rows.into_iter().map(head).collect())
    };
    wait(py, read).map_err(|error| raised(py, CliError::from(error)))
}

/// One run by its id, the beginning of one, or `last`.
#[pyfunction]
pub(crate) fn find_recorded(py: Python<'_>, state_dir: PathBuf, name: &str) -> PyResult<Head> {
    let find = || Reader::open(&state_dir)?.find(name).map(head);
    wait(py, find).map_err(|error| raised(py, CliError::from(error)))
}

fn head(row: RunRow) -> Head {
    let status = row.status().to_owned();
    (row.id.into(), row.workflow, status, row.created_at_ms, row.ended_at_ms, row.counts)
}
