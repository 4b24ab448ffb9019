//! Which databases a process has open, so that a child that was forked notices what it must not touch.
//!
//! SQLite keeps the locks of a file once for the whole process. A child takes those of its parent for its own, and the kernel
//! does not: once the parent is gone, whoever closes the database next takes the log away that the child writes to.
//! Source: "How To Corrupt An SQLite Database File", section 2.6, and `unixInodeInfo` in SQLite's `os_unix.c`.

use crate::fault::JournalError;
use rusqlite::Connection;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which file a database is: its device and its number there.
pub(crate) type Identity = (u64, u64);

/// The databases that are open, each with the process that opened it. A child has its parent's with its own.
static OPEN: Mutex<Vec<(u32, Identity)>> = Mutex::new(Vec::new());

/// A connection to a database, which is known to be open for as long.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
    /// After the connection, which is closed first.
    _known: Known,
    identity: Identity,
}

impl Database {
    /// Takes note of a database that this process has opened.
    pub(crate) fn opened(connection: Connection, path: &Path) -> Result<Self, JournalError> {
        let identity = identity(path)?;
        let entry = (process::id(), identity);
        open().push(entry);
        Ok(Self { connection, _known: Known(entry), identity })
    }

    /// Which file it is.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }
}

impl Deref for Database {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Database {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

#[derive(Debug)]
struct Known((u32, Identity));

impl Drop for Known {
    fn drop(&mut self) {
        let mut open = open();
        if let Some(place) = open.iter().position(|entry| *entry == self.0) {
            open.swap_remove(place);
        }
    }
}

/// Sees that a database was not open already when this process was forked.
pub(crate) fn see_unforked(path: &Path) -> Result<(), JournalError> {
    // One that is not there yet was not open either.
    let Ok(identity) = identity(path) else { return Ok(()) };
    let us = process::id();
    match open().iter().any(|(whose, which)| *which == identity && *whose != us) {
        true => Err(JournalError::Forked { path: path.to_owned() }),
        false => Ok(()),
    }
}

/// Which file lies there.
pub(crate) fn identity(path: &Path) -> Result<Identity, JournalError> {
    let metadata = fs::metadata(path).map_err(JournalError::io("look at", path))?;
    Ok((metadata.dev(), metadata.ino()))
}

fn open() -> MutexGuard<'static, Vec<(u32, Identity)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}
