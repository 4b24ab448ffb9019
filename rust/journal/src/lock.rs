//! A run has one engine: a lock of the kernel on a file of the run, which goes with the process that holds it.
//!
//! The locks are those of `fcntl`: a child that the program forks has no part in them. They do not keep two engines of
//! one process apart, so the process keeps a list as well.

use crate::fault::JournalError;
use crate::holder::Holder;
use dirigent_core::ids::RunId;
use rustix::fs::FlockOperation;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

/// The name of the file in the folder of a run.
const NAME: &str = "lock";

/// The locks of this process.
static HELD: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// The right to carry a run on, until it is dropped or the process is gone.
#[derive(Debug)]
pub struct RunLock {
    path: PathBuf,
    /// Closing it gives the lock up.
    file: Option<File>,
}

impl RunLock {
    /// Takes the lock in the folder of a run.
    ///
    /// # Errors
    ///
    /// Somebody holds it; the file system refuses.
    pub fn take(folder: &Path, run: &RunId, holder: &Holder) -> Result<Self, JournalError> {
        let path = folder.join(NAME);
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        // The list first: to open the file a second time and close it would give up the lock on it.
        if held.contains(&path) {
            return Err(JournalError::Held { run: run.to_string(), holder: holder_in(&path) });
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(JournalError::io("open", &path))?;
        if rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(JournalError::Held { run: run.to_string(), holder: read_holder(&mut file) });
        }
        let text = format!("{}\n{}\n{}\n", holder.pid, holder.host, holder.since);
        file.set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(JournalError::io("write", &path))?;
        held.insert(path.clone());
        Ok(Self { path, file: Some(file) })
    }

    /// Who holds the lock in the folder of a run, if anybody does.
    pub fn holder(folder: &Path) -> Option<Holder> {
        let path = folder.join(NAME);
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains(&path) {
            return Some(holder_in(&path));
        }
        let mut file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => None,
            Err(_) => Some(read_holder(&mut file)),
        }
    }

    /// The process that holds the lock in the folder of a run, or held it last.
    pub(crate) fn last_pid(folder: &Path) -> Option<u32> {
        let path = folder.join(NAME);
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains(&path) {
            return Some(std::process::id());
        }
        fs::read_to_string(&path).ok()?.lines().next()?.parse().ok()
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.take();
        held.remove(&self.path);
    }
}

/// Our own: the file must not be opened here, since closing it would give the lock up.
fn holder_in(_: &Path) -> Holder {
    Holder { pid: std::process::id(), ..Holder::default() }
}

fn read_holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let mut lines = text.lines();
    Holder {
        pid: lines.next().and_then(|pid| pid.parse().ok()).unwrap_or_default(),
        host: lines.next().unwrap_or_default().to_owned(),
        since: lines.next().unwrap_or_default().to_owned(),
    }
}

/// Makes a folder that only its owner may look into, with those above it.
pub(crate) fn make_private(folder: &Path) -> Result<(), JournalError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(JournalError::io("make", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_holder_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = RunId::try_from("r1".to_owned()).expect("an id");
        let me = Holder { pid: std::process::id(), host: "here".to_owned(), since: "now".to_owned() };
        assert_eq!(RunLock::holder(folder.path()), None);
        let lock = RunLock::take(folder.path(), &run, &me).expect("free");
        assert!(RunLock::holder(folder.path()).is_some());
        let second = RunLock::take(folder.path(), &run, &me);
        assert!(matches!(second, Err(JournalError::Held { .. })), "{second:?}");
        drop(lock);
        assert_eq!(RunLock::holder(folder.path()), None);
        RunLock::take(folder.path(), &run, &me).expect("free again");
    }
}
