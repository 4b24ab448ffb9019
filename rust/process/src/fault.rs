//! What can go wrong between an engine and its children, apart from what the children do.

use dirigent_core::fault::{Fault, Kind};
use std::io;
use std::path::PathBuf;

/// An error of running processes as such. How a single attempt ends is an outcome, never one of these.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The guard could not be started.
    #[error("cannot start the guard process {}", program.display())]
    Guard {
        /// The executable that was tried.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The executable is there, but is not the guard of this version.
    #[error("{} is of version {found}, and {wanted} is needed", program.display())]
    GuardVersion {
        /// The executable.
        program: PathBuf,
        /// What it said.
        found: String,
        /// The version of this engine.
        wanted: &'static str,
    },
    /// The guard ended again and again.
    #[error("the guard process ended {times} times in a row")]
    GuardUnstable {
        /// How often.
        times: u32,
    },
    /// A secret has a value that cannot be one.
    #[error("secret `{name}` cannot be kept: {why}")]
    Secret {
        /// Its name.
        name: String,
        /// What is wrong with the value, without the value.
        why: &'static str,
    },
    /// The system refused something that every run needs.
    #[error("cannot {doing}")]
    Io {
        /// What was being done, as a bare verb with its object.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Fault for ProcessError {
    fn kind(&self) -> Kind {
        match self {
            Self::Guard { .. } | Self::GuardVersion { .. } | Self::Secret { .. } => Kind::Config,
            Self::GuardUnstable { .. } | Self::Io { .. } => Kind::Io,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Guard { .. } => "process.guard",
            Self::GuardVersion { .. } => "process.guard_version",
            Self::GuardUnstable { .. } => "process.guard_unstable",
            Self::Secret { .. } => "process.secret",
            Self::Io { .. } => "process.io",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Guard { .. } | Self::GuardVersion { .. } => Some(
                "install the package again, so that the library and its program are of one version"
                    .to_owned(),
            ),
            Self::GuardUnstable { .. } => {
                Some("look for something on this machine that ends processes".to_owned())
            }
            Self::Secret { .. } => Some("give it a longer value, or do not name it as a secret".to_owned()),
            Self::Io { .. } => None,
        }
    }
}
