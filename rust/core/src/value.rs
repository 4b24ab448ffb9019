//! The value a task gave, as it is recorded: small ones in full, large ones by the hash of where they lie.

use serde::{Deserialize, Serialize};

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As JSON, from which the same value is read back.
    Json,
    /// By Python's `pickle`: to be read only where its origin is trusted.
    Pickle,
}

/// A value as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kept", rename_all = "snake_case")]
pub enum Kept {
    /// In full.
    Inline {
        /// How it is written.
        encoding: Encoding,
        /// The text of the JSON; of others, their bytes in base 64.
        text: Box<str>,
    },
    /// As a file of its own.
    Artifact {
        /// How it is written.
        encoding: Encoding,
        /// The BLAKE3 hash of its bytes, in hex digits.
        hash: Box<str>,
        /// How long it is.
        bytes: u64,
    },
    /// Not at all: a resumed run that needs it carries its task out again.
    NotKept {
        /// Why, as a sentence without its end.
        why: Box<str>,
    },
}

impl Kept {
    /// The artifact it lies in, where it does.
    pub fn artifact(&self) -> Option<&str> {
        match self {
            Self::Artifact { hash, .. } => Some(hash),
            Self::Inline { .. } | Self::NotKept { .. } => None,
        }
    }

    /// Whether reading it back runs code of whoever made it.
    pub fn is_pickle(&self) -> bool {
        match self {
            Self::Inline { encoding, .. } | Self::Artifact { encoding, .. } => *encoding == Encoding::Pickle,
            Self::NotKept { .. } => false,
        }
    }

    /// Whether it can be read back.
    pub fn is_kept(&self) -> bool {
        !matches!(self, Self::NotKept { .. })
    }
}
