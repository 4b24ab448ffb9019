//! What Python carries a task out with: a function, and what it is called with.

use dirigent_core::ids::TaskIndex;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use std::sync::{Arc, OnceLock};

/// A function that tasks call, and what it wants.
pub(crate) struct Function {
    pub(crate) callable: Py<PyAny>,
    pub(crate) shown: Arc<str>,
    /// The parameters that can be given by name; `None` takes any.
    pub(crate) parameters: Option<Vec<Box<str>>>,
    pub(crate) is_async: bool,
    /// What tells its code from other code, where somebody asked.
    pub(crate) code: OnceLock<Arc<str>>,
}

impl Function {
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            code: self.code.clone(),
            callable: self.callable.clone_ref(py),
            shown: Arc::clone(&self.shown),
            parameters: self.parameters.clone(),
            is_async: self.is_async,
        }
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        self.parameters.as_ref().is_none_or(|names| names.iter().any(|known| **known == *name))
    }
}

/// How Python carries out a task.
pub(crate) struct Call {
    /// Where the function is among those of the run.
    pub(crate) function: u32,
    /// Whether it makes coroutines, which the event loop carries out. Known once it is in a run.
    pub(crate) is_async: bool,
    pub(crate) args: Option<Py<PyTuple>>,
    pub(crate) kwargs: Option<Py<PyDict>>,
    /// The needs whose values are passed on, and under which names.
    pub(crate) wants: Vec<(TaskIndex, Py<PyString>)>,
    /// What else Python wants to know when it carries the task out.
    pub(crate) extras: Option<Py<PyAny>>,
}

impl Call {
    /// Shows the garbage collector what it holds.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.args)?;
        visit.call(&self.kwargs)?;
        visit.call(&self.extras)
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            function: self.function,
            is_async: self.is_async,
            args: self.args.as_ref().map(|args| args.clone_ref(py)),
            kwargs: self.kwargs.as_ref().map(|kwargs| kwargs.clone_ref(py)),
            wants: self.wants.iter().map(|(need, name)| (*need, name.clone_ref(py))).collect(),
            extras: self.extras.as_ref().map(|extras| extras.clone_ref(py)),
        }
    }
}
