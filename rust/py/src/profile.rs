//! Where the time of a run went, from Python.

use crate::fault::raised;
use crate::workflow::session::Session;
use dirigent_cli::earlier::earlier_runs;
use dirigent_cli::fault::CliError;
use dirigent_report::Profile;
use pyo3::prelude::*;
use std::path::Path;

/// How wide the text is: that of a terminal, which a notebook has room for too.
const COLUMNS: usize = 80;

/// The profile of a run so far, as JSON and as text.
#[pyfunction]
pub(crate) fn run_profile(py: Python<'_>, session: &Session) -> PyResult<(String, String)> {
    let events = session.so_far();
    let shared = &session.shared;
    let look = || -> Result<(String, String), CliError> {
        let head = shared.look(|state| {
            let header = state.header()?;
            Some((header.run.clone(), header.workflow.clone(), header.created_at_ms))
        });
        let earlier = match head.zip(shared.folder.ancestors().nth(2)) {
            Some(((run, workflow, created_at_ms), state_dir)) => {
                earlier_of(state_dir, &workflow, created_at_ms, run.as_str())?
            }
            None => Vec::new(),
        };
        let profile = Profile::new(&events, &earlier)
            .ok_or_else(|| CliError::Nothing { message: "the run has not begun".to_owned(), hint: None })?;
        let json = serde_json::to_string(&profile).expect("what is told has text keys");
        Ok((json, profile.text(COLUMNS)))
    };
    py.detach(look).map_err(|error| raised(py, error))
}

/// None where nothing was recorded on disk.
fn earlier_of(
    state_dir: &Path,
    workflow: &str,
    created_at_ms: i64,
    run: &str,
) -> Result<Vec<dirigent_report::Earlier>, CliError> {
    match dirigent_journal::has_records(state_dir)? {
        true => Ok(earlier_runs(state_dir, workflow, created_at_ms, run)?),
        false => Ok(Vec::new()),
    }
}
