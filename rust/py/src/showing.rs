//! A run of Python as the command line shows runs: while it goes, and when it has ended.

use crate::fault::raised;
use crate::workflow::session::Session;
use dirigent_cli::fault::CliError;
use dirigent_report::Format;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::PoisonError;

/// Show a run on standard error until it ends.
#[pyfunction]
pub(crate) fn show(py: Python<'_>, session: &Session) {
    let (feed, folder) = (session.feed.at(0), &session.shared.folder);
    py.detach(|| dirigent_cli::show(feed, folder));
}

/// Say something on standard error; above the picture of a run, where there is one.
#[pyfunction]
pub(crate) fn say(py: Python<'_>, text: &str) {
    py.detach(|| dirigent_cli::say(text));
}

/// Tell hooks what happens to a run, and whoever wants to know that it has ended.
#[pyfunction]
pub(crate) fn tell_others(
    py: Python<'_>,
    session: &Session,
    home: PathBuf,
    config: Option<PathBuf>,
) -> PyResult<()> {
    let (feed, folder) = (session.feed.at(0), &session.shared.folder);
    py.detach(|| dirigent_cli::tell_others(feed, folder, &home, config.as_deref()))
        .map_err(|error| raised(py, error))
}

/// Write the reports of a run that has ended, print its summary, and return the exit code of the command line.
#[pyfunction]
pub(crate) fn conclude(py: Python<'_>, session: &Session, reports: Vec<String>, json: bool) -> PyResult<i32> {
    let formats: Option<Vec<Format>> = reports.iter().map(|name| Format::from_name(name)).collect();
    let formats =
        formats.ok_or_else(|| PyValueError::new_err(format!("unknown report among {reports:?}")))?;
    let shared = &session.shared;
    let ended = shared.state.read().unwrap_or_else(PoisonError::into_inner).clone();
    let conclude = || match &ended {
        Some(state) => dirigent_cli::conclude(state, &shared.folder, &formats, json),
        None => Err(CliError::Usage { message: "the run has not ended".to_owned(), hint: None }),
    };
    py.detach(conclude).map_err(|error| raised(py, error))
}
