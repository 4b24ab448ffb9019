//! Waiting without the interpreter, in threads that it may outlive.
//!
//! A thread that wants the interpreter back while that is going down would be ended in the middle of our frames. So
//! once the program leaves, a thread other than its own that comes out of a wait goes to sleep for good.

use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

static LEAVING: AtomicBool = AtomicBool::new(false);

/// Says that the interpreter goes down. Called when the program leaves, in its main thread.
#[pyfunction]
pub(crate) fn leave() {
    LEAVING.store(true, Ordering::SeqCst);
}

/// Lets go of the interpreter while something is waited for.
pub(crate) fn wait<T: Send>(py: Python<'_>, wait: impl FnOnce() -> T + Send) -> T {
    py.detach(|| {
        let result = wait();
        while LEAVING.load(Ordering::SeqCst) && !is_main() {
            std::thread::park();
        }
        result
    })
}

/// Locks what nobody leaves broken.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_main() -> bool {
    // SAFETY: asks for two numbers.
    unsafe { libc::gettid() == libc::getpid() }
}

/// The number of this thread, as Python tells it.
pub(crate) fn this_thread() -> u64 {
    // SAFETY: asks for a number.
    unsafe { libc::pthread_self() }
}
