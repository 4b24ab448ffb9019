//! What can go wrong with a run as such.

use dirigent_core::fault::{Fault, Kind};
use dirigent_journal::JournalError;
use dirigent_process::ProcessError;
use std::io;

/// An error of a run. How its tasks end is in its state, never here.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Children cannot be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The run cannot be recorded, or what is recorded cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A run that is over cannot go on.
    #[error("run {run} is over: it {verdict}")]
    Over {
        /// The run.
        run: String,
        /// How it went.
        verdict: &'static str,
    },
    /// The system refused a thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A part of the engine panicked.
    #[error("{part} has ended unexpectedly")]
    Bug {
        /// The part.
        part: &'static str,
    },
}

impl Fault for EngineError {
    fn kind(&self) -> Kind {
        match self {
            Self::Process(error) => error.kind(),
            Self::Journal(error) => error.kind(),
            Self::Over { .. } => Kind::Usage,
            Self::Thread(_) => Kind::Io,
            Self::Bug { .. } => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Process(error) => error.code(),
            Self::Journal(error) => error.code(),
            Self::Over { .. } => "engine.over",
            Self::Thread(_) => "engine.thread",
            Self::Bug { .. } => "engine.bug",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Process(error) => error.hint(),
            Self::Journal(error) => error.hint(),
            Self::Over { .. } => Some("run what failed again with `dirigent retry`".to_owned()),
            Self::Thread(_) => {
                Some("end other programs, or raise the limit of processes (ulimit -u)".to_owned())
            }
            Self::Bug { .. } => None,
        }
    }
}
