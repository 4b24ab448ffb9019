//! The events of a run in order: facts are appended at one end, and read from any place.
//!
//! Held in memory for now. The door is the one a durable journal takes: append facts, read from a place.

use dirigent_core::event::{Event, Fact};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The events of one run.
#[derive(Debug, Default)]
pub struct Journal {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    events: Vec<Arc<Event>>,
    closed: bool,
}

/// What a reader is told.
#[derive(Debug)]
pub enum News {
    /// These events, in order, without a gap.
    Events(Vec<Arc<Event>>),
    /// Nothing until the deadline.
    Quiet,
    /// Nothing more will ever come.
    End,
}

impl Journal {
    /// Records facts, and only then wakes the readers.
    pub fn append(&self, facts: Vec<Fact>, at_ms: i64) -> Vec<Arc<Event>> {
        let mut inner = self.lock();
        let first = inner.events.len() as u64;
        let new: Vec<Arc<Event>> =
            (first..).zip(facts).map(|(seq, fact)| Arc::new(Event { seq, at_ms, fact })).collect();
        inner.events.extend(new.iter().cloned());
        drop(inner);
        self.changed.notify_all();
        new
    }

    /// Says that nothing more will come.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader: a place in a journal. Old and new events come by the same call, and a slow reader hurts only itself.
#[derive(Debug)]
pub struct Feed {
    journal: Arc<Journal>,
    place: u64,
}

impl Feed {
    /// A reader that starts at this place.
    pub fn new(journal: Arc<Journal>, place: u64) -> Self {
        Self { journal, place }
    }

    /// The next events: those there are at once, else those that come until the deadline. `None` waits for ever.
    pub fn next(&mut self, deadline: Option<Instant>) -> News {
        let mut inner = self.journal.lock();
        loop {
            let from = usize::try_from(self.place).unwrap_or(usize::MAX);
            if let Some(new) = inner.events.get(from..).filter(|new| !new.is_empty()) {
                self.place += new.len() as u64;
                return News::Events(new.to_vec());
            }
            if inner.closed {
                return News::End;
            }
            let Some(deadline) = deadline else {
                inner = self.journal.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return News::Quiet;
            }
            let waited = self.journal.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_reader_gets_everything_and_then_the_end() {
        let journal = Arc::new(Journal::default());
        journal.append(vec![Fact::RunSuspended, Fact::RunContinued], 5);
        let mut feed = Feed::new(Arc::clone(&journal), 1);
        let News::Events(events) = feed.next(None) else { panic!("no events") };
        assert_eq!(*events[0], Event { seq: 1, at_ms: 5, fact: Fact::RunContinued });
        assert!(matches!(feed.next(Some(Instant::now())), News::Quiet));
        journal.close();
        assert!(matches!(feed.next(None), News::End));
    }
}
