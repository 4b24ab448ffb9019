//! How runs and tasks are told apart. Ids are made on a higher floor and come in as values.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a run: safe as a file name, unique in time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// A run id that could not be one.
#[derive(Debug, thiserror::Error)]
#[error("a run id has 1 to 64 letters, digits and dashes, not {0:?}")]
pub struct InvalidRunId(String);

impl RunId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;

    fn try_from(id: String) -> Result<Self, InvalidRunId> {
        let fits = (1..=64).contains(&id.len())
            && !id.starts_with('-')
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits { Ok(Self(id)) } else { Err(InvalidRunId(id)) }
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The place of a task in its run, counted from 0 in the order of declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskIndex(pub u32);

impl TaskIndex {
    /// The index for a slice.
    pub fn usize(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for TaskIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_leave_its_folder_is_refused() {
        for id in ["", "..", "a/b", "-x", "a b", &"x".repeat(65)] {
            assert!(RunId::try_from(id.to_owned()).is_err(), "{id:?} was accepted");
        }
        assert!(RunId::try_from("0192f0c4-7b1e-7000-8000-000000000001".to_owned()).is_ok());
    }
}
