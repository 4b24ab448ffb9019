//! What every error that reaches a person has in common.

use std::fmt::Write;

/// Who can act on an error: decides the exit code, later the HTTP status, and the Python class.
///
/// Matched exhaustively at each of those places, so that a new kind does not compile until all are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request makes no sense as typed: an option, an argument, a target.
    Usage,
    /// A file the user wrote is wrong.
    Config,
    /// There is nothing to do what was asked with.
    NotFound,
    /// Something else holds what is needed.
    Busy,
    /// The operating system refused: disk, files, processes.
    Io,
    /// A mistake of dirigent itself.
    Internal,
}

/// An error a person will read.
///
/// `Display` says what happened and why, without a capital and without a full stop: the top floor puts it in a sentence.
pub trait Fault: std::error::Error {
    /// Who can act.
    fn kind(&self) -> Kind;

    /// Stable name for programs, `area.reason`. Never reworded; messages may be.
    fn code(&self) -> &'static str;

    /// One thing to try, as an imperative sentence.
    fn hint(&self) -> Option<String> {
        None
    }

    /// The place in the user's text, drawn with its line, for errors that have one.
    fn place(&self) -> Option<String> {
        None
    }
}

/// An error and its causes in one line, outermost first, without saying anything twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}
