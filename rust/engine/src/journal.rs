//! The events of a run in order: facts are appended at one end, and read from any place.
//!
//! Where they are kept on disk, they are read only after they were written there: appended ones wait for a commit, and one
//! commit takes all that wait. Whoever would have to wait for what comes of them commits; a thread of its own does it where
//! nobody else has.

use dirigent_core::event::{Event, Fact};
use dirigent_journal::known::Done;
use dirigent_journal::store::Request;
use dirigent_journal::{JournalError, RunWriter};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the writer leaves what was appended to somebody who has nothing else to do.
const LINGER: Duration = Duration::from_micros(200);
/// How often the writer looks for what others ask of the run, and whether the database is there.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The events of one run.
#[derive(Debug, Default)]
pub struct Journal {
    inner: Mutex<Inner>,
    changed: Condvar,
    closed: Condvar,
    /// There is something for the writer's thread.
    writes: Condvar,
    /// Where they are kept, until nothing more will come; in memory alone where there is none.
    writer: Option<Mutex<Option<RunWriter>>>,
}

#[derive(Debug, Default)]
struct Inner {
    events: Vec<Event>,
    /// What is not on disk yet, and therefore not told.
    pending: Vec<Event>,
    /// What tasks have done by those, to be known with them.
    done: Vec<Done>,
    /// The place of the next event.
    next_seq: u64,
    /// Why nothing can be written for now.
    stalled: Option<Arc<str>>,
    is_urgent: bool,
    writer_rests: bool,
    is_closed: bool,
    /// Readers that want to hear of the next event. Where there is none, appending wakes nobody.
    waiting: u32,
}

/// What a reader is told.
#[derive(Debug)]
pub enum News {
    /// These events, in order, without a gap.
    Events(Vec<Event>),
    /// Nothing can be recorded for now, and so nothing goes on, for this reason. Told once.
    Stalled(Arc<str>),
    /// Nothing until the deadline.
    Quiet,
    /// Nothing more will ever come.
    End,
}

/// What the writer's thread is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Something waits to be written.
    Commit,
    /// Nothing, for a while.
    Look,
    /// Nothing more will come.
    End,
}

impl Journal {
    /// A journal that is kept on disk, and begins with what is there already.
    pub(crate) fn on_disk(writer: RunWriter, recorded: Vec<Event>) -> Self {
        let inner = Inner { next_seq: recorded.len() as u64, events: recorded, ..Inner::default() };
        Self { inner: Mutex::new(inner), writer: Some(Mutex::new(Some(writer))), ..Self::default() }
    }

    /// Adds events that were recorded elsewhere.
    pub fn take_in(&self, events: Vec<Event>) {
        let mut inner = self.lock();
        inner.events.extend(events);
        self.tell(inner);
    }

    /// How many events there are to be read.
    pub fn count(&self) -> u64 {
        self.lock().events.len() as u64
    }

    /// Looks at what is recorded.
    pub(crate) fn with_recorded<T>(&self, look: impl FnOnce(&[Event]) -> T) -> T {
        look(&self.lock().events)
    }

    /// Whether appended facts wait for a commit.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.writer.is_some()
    }

    /// Appends facts, with what tasks have done by them, and puts the events that they are into `new`. In memory they are
    /// recorded at once; on disk with the next commit.
    pub fn append(&self, facts: Vec<Fact>, done: Vec<Done>, at_ms: i64, new: &mut Vec<Event>) {
        let mut inner = self.lock();
        let first = inner.next_seq;
        new.extend((first..).zip(facts).map(|(seq, fact)| Event { seq, at_ms, fact }));
        inner.next_seq += new.len() as u64;
        if self.is_on_disk() {
            inner.pending.extend(new.iter().cloned());
            inner.done.extend(done);
            let wakes = std::mem::take(&mut inner.writer_rests);
            drop(inner);
            if wakes {
                self.writes.notify_one();
            }
        } else {
            inner.events.extend(new.iter().cloned());
            self.tell(inner);
        }
    }

    /// Writes what waits, and returns it: now it can be told. `counts` goes with the end of the run.
    pub(crate) fn commit(&self, counts: impl FnOnce() -> String) -> Result<Vec<Event>, JournalError> {
        let Some(writer) = &self.writer else {
            return Ok(Vec::new());
        };
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = &mut *writer else {
            return Ok(Vec::new());
        };
        let (batch, done) = {
            let mut inner = self.lock();
            (std::mem::take(&mut inner.pending), std::mem::take(&mut inner.done))
        };
        let ends = batch.iter().any(|event| matches!(event.fact, Fact::RunEnded { .. }));
        let counts = ends.then(counts);
        let written = writer.append(&batch, &done, counts.as_deref());
        let mut inner = self.lock();
        inner.stalled = written.as_ref().err().map(|error| error.to_string().into());
        match written {
            Ok(()) => inner.events.extend(batch.iter().cloned()),
            Err(_) => {
                drop(inner.pending.splice(..0, batch.iter().cloned()));
                drop(inner.done.splice(..0, done));
            }
        }
        self.tell(inner);
        written.map(|()| batch)
    }

    /// Whether everything that was appended is recorded.
    pub(crate) fn is_drained(&self) -> bool {
        let inner = self.lock();
        inner.events.len() as u64 == inner.next_seq
    }

    /// Has what waits be written soon, by the writer's thread.
    pub(crate) fn hurry(&self) {
        let mut inner = self.lock();
        if !inner.pending.is_empty() {
            inner.is_urgent = true;
            drop(inner);
            self.writes.notify_one();
        }
    }

    /// What others asked of the run since the request with this number.
    pub(crate) fn requests(&self, after: i64) -> Result<Vec<Request>, JournalError> {
        let writer = self.writer.as_ref().map(|writer| writer.lock().unwrap_or_else(PoisonError::into_inner));
        match writer.as_deref() {
            Some(Some(writer)) => writer.requests(after),
            _ => Ok(Vec::new()),
        }
    }

    /// Drops the requests up to the one with this number: they were heard, and what follows from them is recorded.
    pub(crate) fn forget_requests(&self, to: i64) -> Result<(), JournalError> {
        let writer = self.writer.as_ref().map(|writer| writer.lock().unwrap_or_else(PoisonError::into_inner));
        match writer.as_deref() {
            Some(Some(writer)) => writer.forget_requests(to),
            _ => Ok(()),
        }
    }

    /// Lets others go on with the run, where everything is recorded that will ever be. Not to be called within a turn.
    pub(crate) fn let_go(&self) {
        let is_over = self.lock().is_closed;
        if let Some(writer) = self.writer.as_ref().filter(|_| is_over) {
            *writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Waits for something for the writer's thread to do.
    pub(crate) fn wait_to_write(&self) -> Wanted {
        let until = Instant::now() + LOOK_EVERY;
        let mut inner = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if inner.is_closed {
                return Wanted::End;
            }
            if left.is_zero() {
                return if inner.pending.is_empty() { Wanted::Look } else { Wanted::Commit };
            }
            if inner.pending.is_empty() {
                inner.writer_rests = true;
                inner = wait(&self.writes, inner, Some(left));
                inner.writer_rests = false;
            } else if inner.stalled.is_some() {
                inner = wait(&self.writes, inner, Some(left));
            } else if std::mem::take(&mut inner.is_urgent) {
                return Wanted::Commit;
            } else {
                let seen = inner.next_seq - inner.pending.len() as u64;
                inner = wait(&self.writes, inner, Some(LINGER));
                let is_left =
                    !inner.pending.is_empty() && inner.next_seq - inner.pending.len() as u64 == seen;
                inner.is_urgent |= is_left;
            }
        }
    }

    fn tell(&self, inner: MutexGuard<'_, Inner>) {
        let is_awaited = inner.waiting > 0;
        drop(inner);
        if is_awaited {
            self.changed.notify_all();
        }
    }

    /// Says that nothing more will come.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.writes.notify_all();
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
    has_told_stall: bool,
}

impl Feed {
    /// A reader that starts at this place.
    pub fn new(journal: Arc<Journal>, place: u64) -> Self {
        Self { journal, place, pace: Duration::ZERO, rested: None, has_told_stall: false }
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
            match &inner.stalled {
                None => self.has_told_stall = false,
                Some(why) if !self.has_told_stall => {
                    self.has_told_stall = true;
                    return News::Stalled(Arc::clone(why));
                }
                Some(_) => {}
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
        journal.append(vec![Fact::RunSuspended, Fact::RunContinued], Vec::new(), 5, &mut Vec::new());
        let mut feed = Feed::new(Arc::clone(&journal), 1);
        let News::Events(events) = feed.next(None) else { panic!("no events") };
        assert_eq!(events[0], Event { seq: 1, at_ms: 5, fact: Fact::RunContinued });
        assert!(matches!(feed.next(Some(Instant::now())), News::Quiet));
        journal.close();
        assert!(matches!(feed.next(None), News::End));
    }

    #[test]
    fn a_paced_reader_rests_between_events_but_hears_of_the_end_at_once() {
        let journal = Arc::new(Journal::default());
        let mut feed = Feed::new(Arc::clone(&journal), 0).paced(Duration::from_secs(3600));
        journal.append(vec![Fact::RunSuspended], Vec::new(), 5, &mut Vec::new());
        assert!(matches!(feed.next(None), News::Events(events) if events.len() == 1));
        let closer = std::thread::spawn({
            let journal = Arc::clone(&journal);
            move || {
                let facts = vec![Fact::RunContinued, Fact::RunSuspended];
                journal.append(facts, Vec::new(), 6, &mut Vec::new());
                journal.close();
            }
        });
        assert!(matches!(feed.next(None), News::Events(events) if events.len() == 2));
        assert!(matches!(feed.next(None), News::End));
        closer.join().expect("closed");
    }
}
