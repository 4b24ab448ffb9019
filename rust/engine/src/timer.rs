//! A thread that waits for the next moment at which something follows by itself, and then says so.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// When to say something next. The thread is started with the first moment, and ends when it is closed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    next: Mutex<Next>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Next {
    due: Option<Instant>,
    is_hurried: bool,
    has_thread: bool,
    is_closed: bool,
}

impl Timer {
    /// Sets the next moment, or none. `tell` is called at each, on the timer's thread; only the first one given counts.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub(crate) fn set(&self, due: Option<Instant>, tell: impl Fn() + Send + 'static) -> std::io::Result<()> {
        let mut next = self.lock();
        let is_changed = next.due != due;
        next.due = due;
        if due.is_some() && !next.has_thread {
            return self.start(next, tell);
        }
        if is_changed {
            self.0.changed.notify_one();
        }
        Ok(())
    }

    /// Has the thread there for [`hurry`](Self::hurry), whether or not there is a moment.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub(crate) fn stand_by(&self, tell: impl Fn() + Send + 'static) -> std::io::Result<()> {
        self.start(self.lock(), tell)
    }

    fn start(&self, mut next: MutexGuard<'_, Next>, tell: impl Fn() + Send + 'static) -> std::io::Result<()> {
        if next.has_thread || next.is_closed {
            return Ok(());
        }
        next.has_thread = true;
        drop(next);
        let timer = self.clone();
        let run = move || timer.run(tell);
        std::thread::Builder::new().name("dirigent-timer".to_owned()).spawn(run).map(drop)
    }

    /// Says it as soon as possible, where there is a thread. The next moment stays what it is.
    pub(crate) fn hurry(&self) {
        self.lock().is_hurried = true;
        self.0.changed.notify_one();
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.0.changed.notify_one();
    }

    fn run(&self, tell: impl Fn()) {
        let mut next = self.lock();
        while !next.is_closed {
            if std::mem::take(&mut next.is_hurried) {
                drop(next);
                tell();
                next = self.lock();
                continue;
            }
            let now = Instant::now();
            match next.due {
                Some(due) if due <= now => {
                    next.due = None;
                    drop(next);
                    tell();
                    next = self.lock();
                }
                Some(due) => {
                    let waited = self.0.changed.wait_timeout(next, due - now);
                    next = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => next = self.0.changed.wait(next).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Next> {
        self.0.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
