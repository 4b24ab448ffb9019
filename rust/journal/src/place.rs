//! Where what is recorded lies, in the state folder and in the database.

use crate::fault::JournalError;
use dirigent_core::ids::{RunId, TaskIndex};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The name of the database in a state folder.
pub const DATABASE: &str = "journal.db";
/// The name of the folder that has one for each run.
const RUNS: &str = "runs";
/// `events.place` is the number of the run, shifted by this, and the place of the group's first event.
pub(crate) const SEQ_BITS: u32 = 40;

/// Whether anything is recorded in a state folder.
///
/// # Errors
///
/// We may not look.
pub fn has_records(state_dir: &Path) -> Result<bool, JournalError> {
    let database = state_dir.join(DATABASE);
    match fs::exists(&database) {
        // A part of the path is a file: whoever writes there is told so.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        there => there.map_err(JournalError::io("open", &database)),
    }
}

/// The folder of a run in a state folder.
pub fn run_folder(state_dir: &Path, run: &RunId) -> PathBuf {
    state_dir.join(RUNS).join(run.as_str())
}

/// Where the logs of an attempt are, from the folder of its run. Paths come from numbers, never from names.
pub fn attempt_folder(task: TaskIndex, attempt: u32) -> PathBuf {
    PathBuf::from(format!("tasks/{task}/{attempt}"))
}

/// Sees that a file, or what a folder has, is on the disk itself. What somebody has removed is not missed here.
pub(crate) fn sync(path: &Path) -> Result<(), JournalError> {
    match File::open(path).and_then(|file| file.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced.map_err(JournalError::io("sync", path)),
    }
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
