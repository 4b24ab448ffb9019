//! Everything that can be wrong with what the user wrote or asked for, as errors a person will read.

use crate::diagnose::Diagnostic;
use dirigent_core::fault::{Fault, Kind};
use dirigent_core::text::printable;
use std::io;
use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// A file says something wrong at a place.
    #[error("{0}")]
    Invalid(Box<Diagnostic>),
    /// A file says several things that are wrong.
    #[error("{} things are wrong with {}", .0.len(), .0.first().map(|it| shown(&it.file)).unwrap_or_default())]
    Several(Vec<Diagnostic>),
    /// The file system refused.
    #[error("cannot {doing} {}", shown(path))]
    Io {
        /// What we were doing, as a bare verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One folder has two configuration files, and nothing says which counts.
    #[error("{} and {} both configure the same thing", shown(first), shown(second))]
    TwoFiles {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A configuration file is larger than any that a person wrote.
    #[error("{} is larger than {limit_mb} MiB", shown(path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit_mb: u64,
    },
    /// The name of a file says no format.
    #[error("{} is neither .toml nor .yaml, .yml or .json", shown(path))]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A variable of the environment that means nothing to us.
    #[error("unknown environment variable `{}`", printable(variable))]
    UnknownVariable {
        /// Its name.
        variable: String,
        /// The one that was probably meant.
        meant: Option<String>,
    },
    /// A variable of the environment has a value that makes no sense.
    #[error("environment variable `{variable}`: {}", printable(message))]
    BadVariable {
        /// Its name.
        variable: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file of variables is not written as such a file is. The line itself may hold a secret, and is not shown.
    #[error("{}:{line}: {}", shown(path), printable(message))]
    EnvFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A target does not exist.
    #[error("{} does not exist", shown(path))]
    NoSuchTarget {
        /// The target.
        path: PathBuf,
    },
    /// A file was named that nothing says how to run.
    #[error("cannot tell how to run {}", shown(path))]
    NotRunnable {
        /// The file.
        path: PathBuf,
    },
    /// A glob cannot be understood.
    #[error("bad pattern `{}`: {}", printable(pattern), printable(message))]
    BadPattern {
        /// The glob.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

impl ProjectError {
    /// Everything that is wrong with a file.
    pub fn from_all(mut diagnostics: Vec<Diagnostic>) -> Self {
        match diagnostics.len() {
            1 => diagnostics.remove(0).into(),
            _ => Self::Several(diagnostics),
        }
    }

    /// What is wrong in files, each with its place; empty for errors of other kinds.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Invalid(diagnostic) => std::slice::from_ref(diagnostic),
            Self::Several(diagnostics) => diagnostics,
            _ => &[],
        }
    }
}

impl From<Diagnostic> for ProjectError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Invalid(Box::new(diagnostic))
    }
}

impl Fault for ProjectError {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_)
            | Self::Several(_)
            | Self::TwoFiles { .. }
            | Self::TooLarge { .. }
            | Self::UnknownFormat { .. }
            | Self::EnvFile { .. } => Kind::Config,
            Self::Io { .. } => Kind::Io,
            Self::NoSuchTarget { .. } => Kind::NotFound,
            Self::UnknownVariable { .. }
            | Self::BadVariable { .. }
            | Self::NotRunnable { .. }
            | Self::BadPattern { .. } => Kind::Usage,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(diagnostic) => diagnostic.code,
            Self::Several(_) => "config.several",
            Self::Io { .. } => "project.io",
            Self::TwoFiles { .. } => "config.two_files",
            Self::TooLarge { .. } => "config.too_large",
            Self::UnknownFormat { .. } => "config.unknown_format",
            Self::UnknownVariable { .. } => "config.unknown_variable",
            Self::BadVariable { .. } => "config.bad_variable",
            Self::EnvFile { .. } => "config.env_file",
            Self::NoSuchTarget { .. } => "discover.no_such_target",
            Self::NotRunnable { .. } => "discover.not_runnable",
            Self::BadPattern { .. } => "discover.bad_pattern",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid(diagnostic) => Fault::hint(&**diagnostic),
            Self::TwoFiles { .. } => Some("keep one of them".into()),
            Self::UnknownVariable { meant: Some(meant), .. } => Some(format!("did you mean `{meant}`?")),
            Self::UnknownVariable { meant: None, .. } => {
                Some("remove it; names that begin with `DIRIGENT_` are settings".into())
            }
            Self::NotRunnable { .. } => Some(
                "begin it with a `#!` line and make it executable, or give its extension an interpreter \
                 under `interpreters` in the project file"
                    .into(),
            ),
            Self::Several(_)
            | Self::Io { .. }
            | Self::TooLarge { .. }
            | Self::UnknownFormat { .. }
            | Self::BadVariable { .. }
            | Self::EnvFile { .. }
            | Self::NoSuchTarget { .. }
            | Self::BadPattern { .. } => None,
        }
    }

    fn place(&self) -> Option<String> {
        match self {
            Self::Invalid(diagnostic) => Some(diagnostic.place()),
            Self::Several(diagnostics) => {
                Some(diagnostics.iter().map(|it| it.render(false)).collect::<Vec<_>>().join("\n\n"))
            }
            _ => None,
        }
    }
}
