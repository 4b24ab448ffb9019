//! What can go wrong with a state folder.

use crate::holder::Holder;
use dirigent_core::fault::{Fault, Kind};
use std::io;
use std::path::{Path, PathBuf};

/// An error of the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done, as a bare verb: "open", "make".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room for more. What could not be written can be tried again.
    #[error("there is no space left to write to {}", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The database refused.
    #[error("cannot {doing} {}", path.display())]
    Database {
        /// What was being done, as a bare verb: "open", "append to".
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// The database, or what a run left in it, is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The database or file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The database belongs to another program.
    #[error("{} is a database of another program", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A later version wrote it.
    #[error("{} was written by a later version (format {found}, and this one knows up to {known})", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// The format it has.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// The folder lies on another machine.
    #[error("{} lies on a network file system, where locks cannot be trusted", path.display())]
    Network {
        /// The state folder.
        path: PathBuf,
    },
    /// The folder was removed or replaced while it was in use.
    #[error("{} was removed while it was in use", path.display())]
    Gone {
        /// The database.
        path: PathBuf,
    },
    /// The process that this one was forked from has the database open.
    #[error("{} is open in the process that this one was forked from", path.display())]
    Forked {
        /// The database.
        path: PathBuf,
    },
    /// Another engine carries the run on.
    #[error("run {run} is held by {holder}")]
    Held {
        /// The run.
        run: String,
        /// Who holds it.
        holder: Holder,
    },
    /// No such run is recorded.
    #[error("there is no run {run} in {}", path.display())]
    NoRun {
        /// What was asked for.
        run: String,
        /// The database.
        path: PathBuf,
    },
}

impl JournalError {
    pub(crate) fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::Io { doing, path: path.to_owned(), source },
        }
    }

    pub(crate) fn database<'a>(
        doing: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(rusqlite::Error) -> Self + 'a {
        move |source| {
            let path = path.to_owned();
            match source.sqlite_error_code() {
                Some(rusqlite::ErrorCode::DiskFull) => Self::Full { path },
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                    Self::Damaged { path, what: source.to_string() }
                }
                None if is_unreadable(&source) => Self::Damaged { path, what: source.to_string() },
                _ => Self::Database { doing, path, source },
            }
        }
    }

    /// Whether another connection was in the way.
    pub(crate) fn is_busy(&self) -> bool {
        let Self::Database { source, .. } = self else { return false };
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
    }

    /// Whether the same may go well when there is room again.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// Whether what lies there is nothing that we write.
fn is_unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(
        error,
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..)
    )
}

impl Fault for JournalError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. }
            | Self::Full { .. }
            | Self::Database { .. }
            | Self::Damaged { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Network { .. }
            | Self::Gone { .. }
            | Self::Forked { .. } => Kind::Io,
            Self::Held { .. } => Kind::Busy,
            Self::NoRun { .. } => Kind::NotFound,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "journal.io",
            Self::Full { .. } => "journal.full",
            Self::Database { .. } => "journal.database",
            Self::Damaged { .. } => "journal.damaged",
            Self::Foreign { .. } => "journal.foreign",
            Self::Newer { .. } => "journal.newer",
            Self::Network { .. } => "journal.network",
            Self::Gone { .. } => "journal.gone",
            Self::Forked { .. } => "journal.forked",
            Self::Held { .. } => "journal.held",
            Self::NoRun { .. } => "journal.no_run",
        }
    }

    fn hint(&self) -> Option<String> {
        use io::ErrorKind::{AlreadyExists, NotADirectory};
        let hint = match self {
            Self::Io { source, doing: "make", .. }
                if matches!(source.kind(), AlreadyExists | NotADirectory) =>
            {
                "a part of this path is a file; choose another state folder with --state-dir"
            }
            Self::Io { .. } | Self::Database { .. } | Self::Gone { .. } => {
                "see that the state folder is there and yours, or choose another with --state-dir"
            }
            Self::Full { .. } => {
                "make room (`dirigent gc` drops old runs), or choose another state folder with --state-dir"
            }
            Self::Damaged { .. } => "run `dirigent doctor`, which says what is left and how to go on",
            Self::Foreign { .. } => "choose another state folder with --state-dir",
            Self::Newer { .. } => {
                "install the version that wrote it, or choose another state folder with --state-dir"
            }
            Self::Network { .. } => "choose a state folder on a disk of this machine with --state-dir",
            Self::Forked { .. } => {
                "start such processes by `spawn` or `forkserver`, or fork while no run is under way and none is followed"
            }
            Self::Held { .. } => "wait for it, or end it with `dirigent cancel`",
            Self::NoRun { .. } => "`dirigent runs` lists those there are",
        };
        Some(hint.to_owned())
    }
}
