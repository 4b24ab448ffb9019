//! What a run is called outside of it: in folders, in the environment of its processes, by signals, in a list of runs.

use dirigent_core::event::CancelReason;
use dirigent_core::ids::RunId;
use dirigent_core::state::{State, TaskStatus};
use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// What all processes of a run carry in their environment, as `NAME=value`.
pub fn mark(run: &RunId) -> Vec<u8> {
    format!("{RUN_VARIABLE}={run}").into_bytes()
}

/// How many tasks stand how, as JSON.
pub fn counts(state: &State) -> String {
    let count = |status: &TaskStatus| Some((status.name(), state.count(*status))).filter(|it| it.1 > 0);
    let counts: BTreeMap<_, _> = TaskStatus::ALL.iter().filter_map(count).collect();
    serde_json::to_string(&counts).expect("names and numbers are JSON")
}

/// The variable that names the run in the environment of all its processes.
pub(crate) const RUN_VARIABLE: &str = "DIRIGENT_RUN_ID";

/// The signal by which a reason reaches the processes of a run.
pub(crate) fn signal(reason: CancelReason) -> i32 {
    match reason {
        CancelReason::Interrupted => SIGINT,
        CancelReason::HungUp => SIGHUP,
        CancelReason::Terminated
        | CancelReason::Requested
        | CancelReason::TimedOut
        | CancelReason::Storage => SIGTERM,
    }
}

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
pub(crate) const SIGTERM: i32 = 15;

/// The variable that says where a task may write what it gives.
pub(crate) const OUTPUT_VARIABLE: &str = "DIRIGENT_OUTPUT";
/// The file it says, in the folder of the attempt.
pub(crate) const OUTPUT_FILE: &str = "output";

/// Makes the folder of an attempt, so that there is a place for the file in which a task says what it gives.
pub(crate) fn make_output(folder: &Path) -> String {
    // Where it cannot be made, the log that belongs there says why.
    let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    folder.join(OUTPUT_FILE).to_string_lossy().into_owned()
}
