//! What a run is called outside of it: in folders, in the environment of its processes, by signals, in a list of runs.

use dirigent_core::event::CancelReason;
use dirigent_core::ids::RunId;
use dirigent_core::state::{State, TaskStatus};
use std::collections::BTreeMap;

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
