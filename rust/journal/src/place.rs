//! Where what is recorded lies, in the state folder and in the database.

use dirigent_core::ids::RunId;
use std::fs;
use std::path::{Path, PathBuf};

/// The name of the database in a state folder.
pub const DATABASE: &str = "journal.db";
/// The name of the folder that has one for each run.
const RUNS: &str = "runs";
/// `events.place` is the number of the run, shifted by this, and the place of the group's first event.
pub(crate) const SEQ_BITS: u32 = 40;

/// The folder of a run in a state folder.
pub fn run_folder(state_dir: &Path, run: &RunId) -> PathBuf {
    state_dir.join(RUNS).join(run.as_str())
}

/// Where a group lies.
pub(crate) fn place(number: i64, seq: u64) -> i64 {
    (number << SEQ_BITS) | i64::try_from(seq).unwrap_or(i64::MAX)
}

/// The bytes of all files in a folder.
pub fn bytes_in(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}
