//! The events of a run in order: facts are appended at one end, and read from any place.
//!
//! Held in memory for now. The door is the one a durable journal takes: append facts, read from a place.

use dirigent_core::event::{Event, Fact};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The events of one run.
#[derive(Debug, Default)]
pub struct Journal {
    inner: Mutex<Inner>,
    changed: Condvar,
    closed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    events: Vec<Arc<Event>>,
    is_closed: bool,
    /// Readers that want to hear of the next event. Where there is none, appending wakes nobody.
    waiting: u32,
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
        let is_awaited = inner.waiting > 0;
        drop(inner);
        if is_awaited {
            self.changed.notify_all();
        }
        new
    }

    /// Says that nothing more will come.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
        self.closed.notify_all();
    }

    /// Waits until nothing more will come.
    pub fn wait_until_closed(&self) {
        let inner = self.lock();
        drop(self.closed.wait_while(inner, |inner| !inner.is_closed).unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader: a place in a journal. Old and new events come by the same call, and a slow reader hurts only itself.
#[derive(Clone, Debug)]
pub struct Feed {
    journal: Arc<Journal>,
    place: u64,
    pace: Duration,
    rested: Option<Instant>,
}

impl Feed {
    /// A reader that starts at this place.
    pub fn new(journal: Arc<Journal>, place: u64) -> Self {
        Self { journal, place, pace: Duration::ZERO, rested: None }
    }

    /// A reader of the same from another place on.
    #[must_use]
    pub fn at(&self, place: u64) -> Self {
        Self { place, ..self.clone() }
    }

    /// Rests this long after events were given, so that many small events cost few wakings. The end is told at once.
    #[must_use]
    pub fn paced(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    /// The next events: those there are at once, else those that come until the deadline. `None` waits for ever.
    pub fn next(&mut self, deadline: Option<Instant>) -> News {
        let journal = Arc::clone(&self.journal);
        let mut inner = self.rest(&journal);
        loop {
            let from = usize::try_from(self.place).unwrap_or(usize::MAX);
            if let Some(new) = inner.events.get(from..).filter(|new| !new.is_empty()) {
                self.place += new.len() as u64;
                self.rested = Instant::now().checked_add(self.pace);
                return News::Events(new.to_vec());
            }
            if inner.is_closed {
                return News::End;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return News::Quiet;
            }
            inner.waiting += 1;
            inner = wait(&journal.changed, inner, left);
            inner.waiting -= 1;
        }
    }

    fn rest<'a>(&self, journal: &'a Journal) -> MutexGuard<'a, Inner> {
        let mut inner = journal.lock();
        while let Some(left) = self.rested.map(|until| until.saturating_duration_since(Instant::now())) {
            if inner.is_closed || left.is_zero() {
                break;
            }
            inner = wait(&journal.closed, inner, Some(left));
        }
        inner
    }
}

fn wait<'a>(
    what: &Condvar,
    inner: MutexGuard<'a, Inner>,
    at_most: Option<Duration>,
) -> MutexGuard<'a, Inner> {
    match at_most {
        Some(left) => what.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0,
        None => what.wait(inner).unwrap_or_else(PoisonError::into_inner),
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

    #[test]
    fn a_paced_reader_rests_between_events_but_hears_of_the_end_at_once() {
        let journal = Arc::new(Journal::default());
        let mut feed = Feed::new(Arc::clone(&journal), 0).paced(Duration::from_secs(3600));
        journal.append(vec![Fact::RunSuspended], 5);
        assert!(matches!(feed.next(None), News::Events(events) if events.len() == 1));
        let closer = std::thread::spawn({
            let journal = Arc::clone(&journal);
            move || {
                journal.append(vec![Fact::RunContinued, Fact::RunSuspended], 6);
                journal.close();
            }
        });
        assert!(matches!(feed.next(None), News::Events(events) if events.len() == 2));
        assert!(matches!(feed.next(None), News::End));
        closer.join().expect("closed");
    }
}
