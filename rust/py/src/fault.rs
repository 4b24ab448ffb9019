//! Errors of the core as exceptions of `dirigent._errors`: the class follows from the kind, and from nothing else.

use dirigent_cli::fault::{CliError, told};
use dirigent_core::fault::{Fault, Kind};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// For [`Result::map_err`]: the exception that a caller gets.
pub(crate) fn raised(py: Python<'_>, error: impl Into<CliError>) -> PyErr {
    let error: CliError = error.into();
    let class = match error.kind() {
        Kind::Usage => "UsageError",
        Kind::Config => "ConfigError",
        Kind::NotFound => "NotFoundError",
        Kind::Busy => "BusyError",
        Kind::Io => "StorageError",
        Kind::Internal => "InternalError",
    };
    let text = told(&error);
    let message = text.strip_prefix("error: ").unwrap_or(&text);
    let made = py
        .import("dirigent._errors")
        .and_then(|module| module.getattr(class))
        .and_then(|class| class.call1((message, error.code())));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(other) => other,
    }
}

/// A mistake in what was passed in, noticed before the core was asked.
pub(crate) fn misused(py: Python<'_>, message: String, hint: Option<String>) -> PyErr {
    raised(py, CliError::Usage { message, hint })
}

/// An exception of `dirigent._errors` by its name.
pub(crate) fn made<'py>(py: Python<'py>, class: &str, arguments: impl pyo3::call::PyCallArgs<'py>) -> PyErr {
    let make = || py.import("dirigent._errors")?.getattr(class)?.call1(arguments);
    make().map_or_else(|error| error, PyErr::from_value)
}

/// For what cannot happen unless the package itself is wrong.
pub(crate) fn bug(what: &str) -> PyErr {
    PyRuntimeError::new_err(format!("a mistake in dirigent: {what}"))
}
