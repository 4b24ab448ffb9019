//! The place of one Python thread at a run: it takes an attempt, carries it out, and hands in what came of it.
//!
//! Handing in and taking are one call. Only an empty queue lets go of the interpreter and waits.

use crate::waiting::wait;
use crate::workflow::queue::{CHECK, Job};
use crate::workflow::reuse::check;
use crate::workflow::shared::{Raised, Shared};
use dirigent_core::State;
use pyo3::ffi;
use pyo3::prelude::*;
use std::os::raw::c_long;
use std::sync::Arc;
use std::time::Instant;

/// One thread's place.
#[pyclass(module = "dirigent._native")]
pub(crate) struct Seat {
    shared: Arc<Shared>,
    thread: u64,
    place: usize,
    current: Option<(Job, Instant)>,
}

impl Seat {
    pub(crate) fn new(shared: Arc<Shared>, thread: u64) -> Self {
        let place = shared.queue.place();
        Self { shared, thread, place, current: None }
    }

    /// Takes back what this thread has, if anybody still waits for it.
    fn hand_in(&mut self) -> Option<(Job, u64)> {
        let (job, since) = self.current.take()?;
        if self.shared.queue.hand_in(self.place, job) {
            return Some((job, u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)));
        }
        // It was given up, and somebody else took this place; an interrupt that is still under way is meant for it.
        self.shared.queue.enter();
        // SAFETY: the interpreter is held; a null exception takes back one that was set and not raised.
        unsafe { ffi::PyThreadState_SetAsyncExc(self.thread as c_long, std::ptr::null_mut()) };
        None
    }

    fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (place, thread) = (self.place, self.thread);
        loop {
            let queue = &self.shared.queue;
            let job = match queue.try_take(place, thread) {
                Ok(Some(job)) => job,
                Err(()) => return Ok(None),
                // Whoever would have to wait sees first that what happened is recorded: something may follow from it. Where
                // nothing more is to come it goes at once, so that at the end not all threads have to go one after the other.
                Ok(None) => match wait(py, || {
                    self.shared.commit();
                    if self.shared.look(State::is_running_out) { None } else { queue.take(place, thread) }
                }) {
                    Some(job) => job,
                    None => return Ok(None),
                },
            };
            if job.1 == CHECK {
                check(py, &self.shared, job.0);
                self.shared.queue.end_check();
                continue;
            }
            let call = self.shared.call(py, job)?;
            self.current = Some((job, Instant::now()));
            return Ok(Some(call));
        }
    }
}

#[pymethods]
impl Seat {
    /// Takes the next attempt; `None` when the thread is to end.
    fn take_first<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        // An interrupt may have hit between two attempts: then this one was not begun.
        self.hand_in_lost();
        self.take(py)
    }

    /// Hands in a value and takes the next attempt; `None` when the thread is to end.
    fn step<'py>(&mut self, py: Python<'py>, value: Py<PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some((job, wall_us)) = self.hand_in() {
            self.shared.returned(py, job, value, wall_us);
        }
        self.take(py)
    }

    /// Hands in an exception: its class and text, where it was raised, and whether the task's policy tries again after it.
    fn fail(
        &mut self,
        py: Python<'_>,
        error: Py<PyAny>,
        class_: &str,
        message: &str,
        trace: &str,
        retryable: bool,
    ) {
        if let Some((job, wall_us)) = self.hand_in() {
            self.shared.raised(py, job, error, Raised { class: class_, message, trace, retryable }, wall_us);
        }
    }

    /// Hands in that the attempt was lost, by no fault of the function.
    fn lose(&mut self, why: &str) {
        if let Some((job, _)) = self.hand_in() {
            self.shared.lost(job, why);
        }
    }

    /// Takes the place of what others carry on.
    fn hand_on(&mut self) {
        self.hand_in();
    }

    /// Hands in that the task is not through, with the value it has so far.
    fn repeat(&mut self, py: Python<'_>, value: Py<PyAny>) {
        if let Some((job, wall_us)) = self.hand_in() {
            self.shared.unfinished(py, job, value, wall_us);
        }
    }

    /// Answers a condition: whether the task is to run, or why that cannot be said.
    #[pyo3(signature = (holds, why=None))]
    fn answer(&mut self, py: Python<'_>, holds: bool, why: Option<&str>) {
        if let Some(((task, _), _)) = self.hand_in() {
            let shared = Arc::clone(&self.shared);
            let answer = why.map_or(Ok(holds), |why| Err(why.into()));
            wait(py, || shared.control().answer_condition(task, answer));
        }
    }

    /// Leaves the run.
    fn leave(&mut self) {
        self.shared.queue.leave();
    }
}

impl Seat {
    fn hand_in_lost(&mut self) {
        if let Some((job, _)) = self.current
            && self.hand_in().is_some()
        {
            self.shared.lost(job, "its thread was interrupted");
        }
    }
}
