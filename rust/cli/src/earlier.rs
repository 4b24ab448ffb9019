//! The earlier runs of a workflow, as a profile compares with them, and as they tell how long a run will still take.

use dirigent_core::ids::RunId;
use dirigent_journal::{JournalError, Reader, RunRow};
use dirigent_report::{Earlier, TimesBefore};
use std::collections::HashMap;
use std::path::Path;

/// How many runs are read.
const MOST_RUNS: usize = 20;
/// How many heads are looked at for them.
const MOST_HEADS: usize = 500;
/// How many tasks those runs may have together, so that nobody waits for long.
const MOST_TASKS: u64 = 50_000;

/// The last runs of the same workflow that succeeded before a run was accepted.
///
/// # Errors
///
/// What is recorded cannot be read.
pub fn earlier_runs(
    state_dir: &Path,
    workflow: &str,
    before_ms: i64,
    run: &str,
) -> Result<Vec<Earlier>, JournalError> {
    let reader = Reader::open(state_dir)?;
    let is_earlier = |row: &RunRow| {
        row.created_at_ms <= before_ms
            && row.id.as_str() != run
            && row.verdict.as_deref() == Some("succeeded")
    };
    let mut tasks = 0;
    let mut earlier = Vec::new();
    for row in reader.runs(MOST_HEADS, Some(workflow))?.into_iter().filter(is_earlier).take(MOST_RUNS) {
        tasks += task_count(&row);
        if tasks > MOST_TASKS {
            break;
        }
        match reader.events(&row.id, 0) {
            Ok(events) => earlier.extend(Earlier::new(&events)),
            // Dropped meanwhile.
            Err(JournalError::NoRun { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(earlier)
}

/// Of how many runs it is told how long their tasks took.
const MOST_TIMED: usize = 5;
/// How many tasks those may have together, but for the newest, which counts anyway: a picture waits for this.
const MOST_TIMED_TASKS: u64 = 5_000;

/// How long the tasks of a workflow took in the last runs of it that ended before this one.
///
/// # Errors
///
/// What is recorded cannot be read.
pub fn times_before(state_dir: &Path, workflow: &str, run: &RunId) -> Result<TimesBefore, JournalError> {
    let reader = Reader::open(state_dir)?;
    let rows = reader.runs(MOST_HEADS, Some(workflow))?;
    let mut tasks = 0;
    let mut runs = Vec::new();
    for row in rows.into_iter().filter(|row| row.verdict.is_some() && row.id != *run).take(MOST_TIMED) {
        tasks += task_count(&row);
        if tasks > MOST_TIMED_TASKS && !runs.is_empty() {
            break;
        }
        match reader.events(&row.id, 0) {
            Ok(events) => runs.push(events),
            // Dropped meanwhile.
            Err(JournalError::NoRun { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(TimesBefore::new(runs))
}

fn task_count(row: &RunRow) -> u64 {
    let counts: HashMap<String, u64> =
        row.counts.as_deref().and_then(|counts| serde_json::from_str(counts).ok()).unwrap_or_default();
    counts.values().sum()
}
