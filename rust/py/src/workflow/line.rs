//! The line between a program and a process that serves its functions: frames of two parts, each one write and mostly one read.
//!
//! Whoever says something and waits for the answer does both without the interpreter. One at a time speaks on either side.

use crate::waiting::{hold, wait};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Mutex;

/// The lengths of both parts, before them.
const HEADER_BYTES: usize = 16;
/// What is read at once, and up to which a frame is written in one piece.
const BUFFER_BYTES: usize = 64 << 10;

/// A head and a body.
type Frame<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// One end of a line.
#[pyclass(module = "dirigent._native", frozen)]
pub(crate) struct Line {
    stream: UnixStream,
    /// What was read and not asked for yet.
    read: Mutex<Vec<u8>>,
}

#[pymethods]
impl Line {
    /// Takes over the descriptor of a socket.
    #[new]
    fn new(descriptor: RawFd) -> PyResult<Self> {
        // SAFETY: the caller gives it away.
        let stream = unsafe { UnixStream::from_raw_fd(descriptor) };
        stream.set_nonblocking(false)?;
        Ok(Self { stream, read: Mutex::default() })
    }

    /// Opens a line to whoever listens there.
    #[staticmethod]
    fn to(address: PathBuf) -> PyResult<Self> {
        Ok(Self { stream: UnixStream::connect(address)?, read: Mutex::default() })
    }

    /// Sends a frame.
    fn send(&self, py: Python<'_>, head: &[u8], body: &[u8]) -> PyResult<()> {
        Ok(wait(py, || self.write(head, body))?)
    }

    /// Waits for a frame.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Frame<'py>> {
        self.talk(py, None)
    }

    /// Sends a frame and waits for the one that answers it.
    fn exchange<'py>(&self, py: Python<'py>, head: &[u8], body: &[u8]) -> PyResult<Frame<'py>> {
        self.talk(py, Some((head, body)))
    }

    /// Ends the line, whoever waits at either end.
    fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Line {
    fn write(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let mut to = &self.stream;
        let mut first = Vec::with_capacity(HEADER_BYTES + head.len() + body.len().min(BUFFER_BYTES));
        first.extend((head.len() as u64).to_le_bytes());
        first.extend((body.len() as u64).to_le_bytes());
        first.extend(head);
        if body.len() <= BUFFER_BYTES {
            first.extend(body);
            return to.write_all(&first);
        }
        to.write_all(&first)?;
        to.write_all(body)
    }

    fn talk<'py>(&self, py: Python<'py>, mut said: Option<(&[u8], &[u8])>) -> PyResult<Frame<'py>> {
        let mut read = std::mem::take(&mut *hold(&self.read));
        let mut have = read.len();
        while said.is_some() || have < HEADER_BYTES {
            read.resize(have.max(BUFFER_BYTES), 0);
            let got = wait(py, || {
                if let Some((head, body)) = said.take() {
                    self.write(head, body)?;
                }
                (&self.stream).read(&mut read[have..])
            });
            match got {
                Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(count) => have += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => py.check_signals()?,
                Err(error) => return Err(error.into()),
            }
        }
        let (header, mut rest) = read[..have].split_at(HEADER_BYTES);
        let length = |at: usize| -> PyResult<usize> {
            let bytes: [u8; 8] = header[at..at + 8].try_into()?;
            Ok(usize::try_from(u64::from_le_bytes(bytes))?)
        };
        let head = self.part(py, length(0)?, &mut rest)?;
        let body = self.part(py, length(8)?, &mut rest)?;
        let left = have - rest.len()..have;
        read.copy_within(left.clone(), 0);
        read.truncate(left.len());
        *hold(&self.read) = read;
        Ok((head, body))
    }

    /// A part of a frame, of which `rest` has been read.
    fn part<'py>(&self, py: Python<'py>, length: usize, rest: &mut &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        PyBytes::new_with(py, length, |to| {
            let (there, after) = rest.split_at(length.min(rest.len()));
            *rest = after;
            let (known, missing) = to.split_at_mut(there.len());
            known.copy_from_slice(there);
            if !missing.is_empty() {
                wait(py, || (&self.stream).read_exact(missing))?;
            }
            Ok(())
        })
    }
}
