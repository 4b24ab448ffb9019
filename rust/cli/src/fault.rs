//! Errors of the top floor, and what every error looks like and exits with.

use dirigent_core::fault::{Fault, Kind, chain};
use dirigent_core::spec::InvalidWorkflow;
use dirigent_core::text::printable;
use dirigent_engine::EngineError;
use dirigent_journal::JournalError;
use dirigent_process::ProcessError;
use dirigent_project::ProjectError;
use std::io;
use std::path::{Path, PathBuf};

/// Exit codes, as documented. A run that was interrupted exits with 128 and the number of the signal.
pub mod exit {
    /// All well.
    pub const OK: i32 = 0;
    /// A task failed.
    pub const FAILED: i32 = 1;
    /// Wrong use, or wrong configuration.
    pub const USAGE: i32 = 2;
    /// Nothing matched.
    pub const NOTHING: i32 = 3;
    /// A mistake of dirigent itself.
    pub const INTERNAL: i32 = 4;
    /// The disk or another part of the system refused (`EX_IOERR`).
    pub const IO: i32 = 74;
    /// Another process holds what is needed (`EX_TEMPFAIL`).
    pub const BUSY: i32 = 75;
}

/// Anything that ends a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// What the user wrote.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The run as such.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What is recorded.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The processes as such.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The tasks do not make a workflow.
    #[error(transparent)]
    Workflow(#[from] InvalidWorkflow),
    /// Options that contradict each other, or a value that makes no sense.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A secret that is not where it should be, or is where it should not. Never holds its value.
    #[error("{message}")]
    Secret {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// There is nothing to do what was asked with.
    #[error("{message}")]
    Nothing {
        /// What is missing.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A script needs one that is not part of the run.
    #[error(
        "`{}` needs `{}`, which is not among the scripts of this run",
        printable(script),
        printable(need)
    )]
    UnknownNeed {
        /// The script.
        script: String,
        /// What it names.
        need: String,
        /// The one that was probably meant.
        meant: Option<String>,
    },
    /// The file system refused.
    #[error("cannot {doing} {}", shown(path))]
    Io {
        /// What was being done, as a bare verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A path for a person.
pub fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

impl CliError {
    /// For [`Result::map_err`]: the file system refused this.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

impl Fault for CliError {
    fn kind(&self) -> Kind {
        match self {
            Self::Project(error) => error.kind(),
            Self::Engine(error) => error.kind(),
            Self::Journal(error) => error.kind(),
            Self::Process(error) => error.kind(),
            Self::Workflow(_) | Self::UnknownNeed { .. } | Self::Secret { .. } => Kind::Config,
            Self::Usage { .. } => Kind::Usage,
            Self::Nothing { .. } => Kind::NotFound,
            Self::Io { .. } => Kind::Io,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Project(error) => error.code(),
            Self::Engine(error) => error.code(),
            Self::Journal(error) => error.code(),
            Self::Process(error) => error.code(),
            Self::Workflow(_) => "workflow.invalid",
            Self::UnknownNeed { .. } => "workflow.unknown_need",
            Self::Secret { .. } => "secret.unusable",
            Self::Usage { .. } => "usage.invalid",
            Self::Nothing { .. } => "usage.nothing",
            Self::Io { .. } => "io.refused",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Project(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Journal(error) => error.hint(),
            Self::Process(error) => error.hint(),
            Self::Workflow(InvalidWorkflow::Cycle { .. }) => Some("take one of these needs away".to_owned()),
            Self::Workflow(_) => None,
            Self::UnknownNeed { meant: Some(meant), .. } => {
                Some(format!("did you mean `{}`?", printable(meant)))
            }
            Self::UnknownNeed { meant: None, .. } => Some(
                "name the script by its path from the project's root, and run it together with this one"
                    .to_owned(),
            ),
            Self::Usage { hint, .. } | Self::Nothing { hint, .. } | Self::Secret { hint, .. } => hint.clone(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("check who owns it, or choose another state folder with --state-dir".to_owned())
            }
            Self::Io { source, doing: "make", .. } if source.kind() == io::ErrorKind::NotADirectory => {
                Some("a part of this path is a file; choose another state folder with --state-dir".to_owned())
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("make room on this disk, or choose another state folder with --state-dir".to_owned())
            }
            Self::Io { .. } => None,
        }
    }

    fn place(&self) -> Option<String> {
        match self {
            Self::Project(error) => error.place(),
            _ => None,
        }
    }
}

/// The exit code of an error.
pub fn exit_code(kind: Kind) -> i32 {
    match kind {
        Kind::Usage | Kind::Config => exit::USAGE,
        Kind::NotFound => exit::NOTHING,
        Kind::Busy => exit::BUSY,
        Kind::Io => exit::IO,
        Kind::Internal => exit::INTERNAL,
    }
}

/// An error as a person reads it: what happened and why, where, and what to do.
pub fn told(error: &dyn Fault) -> String {
    let mut text = format!("error: {}", chain_of(error));
    if let Some(place) = error.place() {
        text.push('\n');
        text.push_str(place.trim_end());
    }
    if let Some(hint) = error.hint() {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    text
}

/// `chain` wants the plain trait; an upcast gives it.
fn chain_of(error: &dyn Fault) -> String {
    let plain: &dyn std::error::Error = error;
    chain(plain)
}
