//! Secrets of a workflow that Python declares, and what masks the output of its functions.

use crate::fault::raised;
use crate::waiting::hold;
use dirigent_cli::secrets::unshared;
use dirigent_cli::surroundings::Surroundings;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Secrets by name. What is shown of them is their names.
#[pyclass(module = "dirigent._native", frozen)]
#[derive(Clone, Default)]
pub(crate) struct Secrets(pub(crate) Arc<dirigent_process::Secrets>);

/// Puts `***` in the place of every secret in one stream.
#[pyclass(module = "dirigent._native", frozen)]
pub(crate) struct Masker(Mutex<dirigent_process::mask::Masker>);

#[pymethods]
impl Secrets {
    /// Takes the values by their names.
    #[new]
    fn new(py: Python<'_>, values: BTreeMap<String, String>) -> PyResult<Self> {
        let make = || unshared(values, Vec::new(), &Surroundings::look()?);
        Ok(Self(Arc::new(make().map_err(|error| raised(py, error))?)))
    }

    /// The values by their names, for a process that has to mask them as well.
    fn reveal(&self) -> BTreeMap<String, String> {
        self.0.reveal().clone()
    }

    /// What masks a stream; `None` where there is nothing to mask.
    fn masker(&self) -> Option<Masker> {
        self.0.masker().map(|masker| Masker(Mutex::new(masker)))
    }

    fn __contains__(&self, key: &str) -> bool {
        self.0.reveal().contains_key(key)
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let names: Vec<&String> = self.0.reveal().keys().collect();
        Ok(names.into_pyobject(py)?.try_iter()?.into_any().unbind())
    }

    fn __repr__(&self) -> String {
        format!("Secrets({:?})", self.0)
    }
}

#[pymethods]
impl Masker {
    /// Takes the next bytes, and gives what can be told so far.
    fn push<'py>(&self, py: Python<'py>, chunk: &[u8]) -> Bound<'py, PyBytes> {
        let mut out = Vec::with_capacity(chunk.len());
        hold(&self.0).push(chunk, &mut out);
        PyBytes::new(py, &out)
    }

    /// Nothing more comes: gives what was held back.
    fn finish<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let mut out = Vec::new();
        hold(&self.0).finish(&mut out);
        PyBytes::new(py, &out)
    }
}
