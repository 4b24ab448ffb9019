//! Values of Python on their way into the journal and back: as JSON where the same value is read back from that, else by
//! `pickle`; small ones in full, large ones as files; and those that cannot be kept with the reason.

use crate::workflow::plan::bug;
use dirigent_core::value::{Encoding, Kept};
use dirigent_journal::Artifacts;
use dirigent_journal::artifact::MOST_BYTES;
use dirigent_journal::known::digest;
use dirigent_process::Secrets;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyIterator, PyList, PySet, PyString, PyTuple,
};
use std::fmt::Write;

/// What is nested deeper is left to `pickle`.
const MOST_LEVELS: usize = 32;

/// Encodes a value. Never fails: a value that cannot be kept is told to be so.
pub(crate) fn keep(value: &Bound<'_, PyAny>, artifacts: &Artifacts, secrets: &Secrets) -> Kept {
    let mut text = String::new();
    let holding = |names: Vec<&str>| {
        let name = names.first()?;
        Some(Kept::NotKept { why: format!("the secret `{name}` stands in it").into() })
    };
    if write_json(value, &mut text, MOST_LEVELS).is_some() {
        return holding(secrets.named_in(&text)).unwrap_or_else(|| artifacts.keep_json(text));
    }
    match pickled(value) {
        Ok(bytes) => holding(secrets.named_in(&bytes))
            .unwrap_or_else(|| artifacts.keep(Encoding::Pickle, bytes, |bytes| base64(&bytes))),
        Err(why) => Kept::NotKept { why: why.into() },
    }
}

/// A recorded value as an object again.
///
/// # Errors
///
/// It was not kept, its file is not there or was altered, or reading it back raises.
pub(crate) fn load<'py>(py: Python<'py>, kept: &Kept, artifacts: &Artifacts) -> PyResult<Bound<'py, PyAny>> {
    let keeping = py.import("dirigent._keeping")?;
    match kept {
        Kept::Inline { encoding: Encoding::Json, text } => keeping.call_method1("from_json", (&**text,)),
        Kept::Inline { encoding: Encoding::Pickle, text } => keeping.call_method1("from_base64", (&**text,)),
        Kept::Artifact { encoding, hash, .. } => {
            let bytes = artifacts
                .load(hash)
                .map_err(|error| crate::fault::raised(py, dirigent_cli::fault::CliError::from(error)))?;
            let bytes = PyBytes::new(py, &bytes);
            match encoding {
                Encoding::Json => keeping.call_method1("from_json", (bytes,)),
                Encoding::Pickle => keeping.call_method1("from_pickle", (bytes,)),
            }
        }
        Kept::NotKept { why } => {
            Err(keeping.call_method1("not_kept", (&**why,)).map_or_else(|error| error, PyErr::from_value))
        }
    }
}

/// The hash of a value as it would be recorded, or why there is none.
pub(crate) fn digest_of_value(value: &Bound<'_, PyAny>) -> Result<String, String> {
    let mut text = String::new();
    match write(value, &mut text, MOST_LEVELS, true) {
        Some(()) => Ok(digest(text.as_bytes())),
        None => pickled(value).map(|bytes| digest(&bytes)),
    }
}

/// The bytes of its pickle, or why there is none.
fn pickled(value: &Bound<'_, PyAny>) -> Result<Vec<u8>, String> {
    let py = value.py();
    let pickle = || -> PyResult<Result<Vec<u8>, String>> {
        let is_plain = is_plain(value, MOST_LEVELS);
        let answer =
            py.import("dirigent._keeping")?.call_method1("pickled", (value, MOST_BYTES, is_plain))?;
        match answer.cast::<PyBytes>() {
            Ok(bytes) => Ok(Ok(bytes.as_bytes().to_vec())),
            Err(_) => Ok(Err(answer.extract().map_err(|_| bug("a pickle that is no bytes"))?)),
        }
    };
    pickle().unwrap_or_else(|error| Err(error.to_string()))
}

/// Writes a value that is read back from JSON as it was, of the same types; `None` where it is not.
fn write_json(value: &Bound<'_, PyAny>, text: &mut String, levels: usize) -> Option<()> {
    write(value, text, levels, false)
}

/// The same; `with_tuples` writes tuples as well, which JSON has not, to tell values apart.
fn write(value: &Bound<'_, PyAny>, text: &mut String, levels: usize, with_tuples: bool) -> Option<()> {
    if text.len() > MOST_BYTES {
        return None;
    }
    if value.is_none() {
        text.push_str("null");
    } else if value.is_exact_instance_of::<PyBool>() {
        text.push_str(if value.is_truthy().ok()? { "true" } else { "false" });
    } else if value.is_exact_instance_of::<PyInt>() {
        write!(text, "{}", value.extract::<i64>().ok()?).ok()?;
    } else if value.is_exact_instance_of::<PyFloat>() {
        let number: f64 = value.extract().ok()?;
        if !number.is_finite() {
            return None;
        }
        // Python's own text of it reads back as the same number, and as one with a fraction.
        text.push_str(value.repr().ok()?.to_str().ok()?);
    } else if value.is_exact_instance_of::<PyString>() {
        text.push_str(&serde_json::to_string(value.cast::<PyString>().ok()?.to_str().ok()?).ok()?);
    } else if value.is_exact_instance_of::<PyList>() {
        let levels = levels.checked_sub(1)?;
        text.push('[');
        for (place, item) in value.cast::<PyList>().ok()?.iter().enumerate() {
            text.push_str(if place > 0 { "," } else { "" });
            write(&item, text, levels, with_tuples)?;
        }
        text.push(']');
    } else if with_tuples && value.is_exact_instance_of::<PyTuple>() {
        let levels = levels.checked_sub(1)?;
        text.push('(');
        for item in value.cast::<PyTuple>().ok()?.iter() {
            write(&item, text, levels, with_tuples)?;
            text.push(',');
        }
        text.push(')');
    } else if value.is_exact_instance_of::<PyDict>() {
        let levels = levels.checked_sub(1)?;
        text.push('{');
        for (place, (key, item)) in value.cast::<PyDict>().ok()?.iter().enumerate() {
            if !key.is_exact_instance_of::<PyString>() {
                return None;
            }
            text.push_str(if place > 0 { "," } else { "" });
            write(&key, text, levels, with_tuples)?;
            text.push(':');
            write(&item, text, levels, with_tuples)?;
        }
        text.push('}');
    } else {
        return None;
    }
    Some(())
}

/// Whether a pickle of it calls nothing that users wrote: types of Python alone, to the last.
fn is_plain(value: &Bound<'_, PyAny>, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else { return false };
    let all = |items: PyResult<Bound<'_, PyIterator>>| {
        items.is_ok_and(|mut items| items.all(|item| item.is_ok_and(|item| is_plain(&item, levels))))
    };
    if value.is_exact_instance_of::<PyTuple>()
        || value.is_exact_instance_of::<PyList>()
        || value.is_exact_instance_of::<PySet>()
        || value.is_exact_instance_of::<PyFrozenSet>()
    {
        return all(value.try_iter());
    }
    if let Ok(dict) = value.cast_exact::<PyDict>() {
        return dict.iter().all(|(key, item)| is_plain(&key, levels) && is_plain(&item, levels));
    }
    value.is_none()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyBytes>()
}

/// Bytes in base 64, with padding. Source: RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
