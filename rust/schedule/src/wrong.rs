//! What is wrong with a text that should say when, and where in it.

use std::fmt;
use std::ops::Range;

/// A text that does not say when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The bytes of the text that are meant.
    pub span: Range<usize>,
    /// What is wrong, without a capital and without a full stop.
    pub message: String,
    /// One thing to try.
    pub hint: Option<String>,
}

impl Wrong {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}
