//! The queue between the engine and the threads of Python: attempts in, hands that take them out.
//!
//! It knows when too few threads are awake for what waits, and nothing of the interpreter.

use dirigent_core::ids::TaskIndex;
use std::collections::{HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An attempt of a task; attempt 0 asks for the task's condition.
pub(crate) type Job = (TaskIndex, u32);

/// Instead of an attempt: whether the task need not run.
pub(crate) const CHECK: u32 = u32::MAX;

/// How long nobody may take a job before another thread is wanted: longer than a short function, shorter than anybody
/// would notice. It doubles as long as jobs are taken, since to look every time costs those who take them.
const PATIENCE: Duration = Duration::from_micros(200);
const MOST_PATIENCE: Duration = Duration::from_millis(2);

/// Jobs, and those who take them.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    /// There is a job, or none will come.
    jobs_changed: Condvar,
    /// There is something for the attendant.
    attend: Condvar,
    /// A thread has gone.
    left: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: VecDeque<Job>,
    /// Tasks of which somebody wants to know whether they need not run. One thread at a time looks: all of them would only
    /// wait for each other.
    checks: VecDeque<TaskIndex>,
    is_checking: bool,
    on_loop: VecDeque<Job>,
    /// What each thread has, by the number of its place.
    hands: Vec<Option<Hand>>,
    /// What the loop has.
    hands_on_loop: HashSet<Job>,
    /// Attempts on threads that nobody waits for any more.
    given_up: Vec<(Job, u64)>,
    /// The same on the loop.
    given_up_on_loop: Vec<Job>,
    /// Threads that wait for a job.
    idle: usize,
    /// Threads that take jobs, the waiting ones included, those that were given up or stepped aside not.
    threads: usize,
    /// How many jobs were taken so far.
    taken: u64,
    attendant_waits: bool,
    loop_waits: bool,
    closed: bool,
}

/// A thread with a job.
#[derive(Clone, Copy, Debug)]
struct Hand {
    job: Job,
    thread: u64,
    /// Whether its function waits for another task.
    is_aside: bool,
}

/// What the attendant of a run is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nothing: the time is over.
    Nothing,
    /// Start so many threads.
    Threads(usize),
    /// Interrupt what was given up.
    Interrupts,
    /// Nothing more will come.
    End,
}

impl Inner {
    fn pop(&mut self, place: usize, thread: u64) -> Option<Job> {
        if !self.is_checking
            && let Some(task) = self.checks.pop_front()
        {
            self.is_checking = true;
            self.taken += 1;
            return Some((task, CHECK));
        }
        let job = self.jobs.pop_front()?;
        self.taken += 1;
        self.hands[place] = Some(Hand { job, thread, is_aside: false });
        Some(job)
    }

    /// For how many threads there is something to do.
    fn waiting(&self) -> usize {
        self.jobs.len() + usize::from(!self.is_checking && !self.checks.is_empty())
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job in. Returns whether the loop has to be woken for it.
    pub(crate) fn push(&self, job: Job, is_on_loop: bool) -> bool {
        let mut inner = self.lock();
        if is_on_loop {
            inner.on_loop.push_back(job);
            return std::mem::take(&mut inner.loop_waits);
        }
        match job {
            (task, CHECK) => inner.checks.push_back(task),
            job => inner.jobs.push_back(job),
        }
        // A thread that is awake will come for it, or the attendant sees that none does.
        if inner.idle > 0 && inner.idle == inner.threads {
            self.jobs_changed.notify_one();
        }
        if std::mem::take(&mut inner.attendant_waits) {
            self.attend.notify_one();
        }
        false
    }

    /// Somebody else may look now whether tasks need not run.
    pub(crate) fn end_check(&self) {
        let mut inner = self.lock();
        inner.is_checking = false;
        if !inner.checks.is_empty() && inner.idle > 0 && inner.idle == inner.threads {
            self.jobs_changed.notify_one();
        }
    }

    /// A place for a thread.
    pub(crate) fn place(&self) -> usize {
        let mut inner = self.lock();
        inner.hands.push(None);
        inner.hands.len() - 1
    }

    /// Takes a job at once, if there is one. `Err` when none will ever come.
    pub(crate) fn try_take(&self, place: usize, thread: u64) -> Result<Option<Job>, ()> {
        let mut inner = self.lock();
        match inner.pop(place, thread) {
            None if inner.closed => Err(()),
            job => Ok(job),
        }
    }

    /// Waits for a job. `None` when none will ever come.
    pub(crate) fn take(&self, place: usize, thread: u64) -> Option<Job> {
        let mut inner = self.lock();
        loop {
            if let Some(job) = inner.pop(place, thread) {
                return Some(job);
            }
            if inner.closed {
                return None;
            }
            inner.idle += 1;
            inner = self.jobs_changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
            inner.idle -= 1;
        }
    }

    /// Takes everything that is for the loop; says that it waits, where there is nothing.
    pub(crate) fn take_for_loop(&self) -> Vec<Job> {
        let mut inner = self.lock();
        let jobs: Vec<Job> = inner.on_loop.drain(..).collect();
        inner.loop_waits = jobs.is_empty();
        for job in &jobs {
            inner.hands_on_loop.insert(*job);
        }
        jobs
    }

    /// Takes a job back from whoever has it. Returns whether anybody still waits for it; where not, nobody will be
    /// interrupted for it any more.
    pub(crate) fn hand_in(&self, place: usize, job: Job) -> bool {
        let mut inner = self.lock();
        let is_awaited = inner.hands[place].take().is_some();
        if !is_awaited {
            inner.given_up.retain(|(other, _)| *other != job);
        }
        is_awaited
    }

    /// Takes a job back from the loop, which is awake then and asks by itself for what follows. Returns whether anybody
    /// still waits for it.
    pub(crate) fn hand_in_from_loop(&self, job: Job) -> bool {
        let mut inner = self.lock();
        inner.loop_waits = false;
        inner.hands_on_loop.remove(&job)
    }

    /// Nobody waits for a job any more. Returns whether the loop has to be woken.
    pub(crate) fn give_up(&self, job: Job) -> bool {
        let mut inner = self.lock();
        inner.jobs.retain(|other| *other != job);
        inner.on_loop.retain(|other| *other != job);
        if inner.hands_on_loop.remove(&job) {
            inner.given_up_on_loop.push(job);
            return true;
        }
        let hand = inner.hands.iter_mut().find(|hand| hand.is_some_and(|hand| hand.job == job));
        if let Some(given_up) = hand.and_then(Option::take) {
            inner.given_up.push((job, given_up.thread));
            // Another one takes its place.
            inner.threads = inner.threads.saturating_sub(usize::from(!given_up.is_aside));
            inner.attendant_waits = false;
            self.attend.notify_one();
        }
        false
    }

    /// What was given up on threads.
    pub(crate) fn given_up(&self) -> Vec<(Job, u64)> {
        std::mem::take(&mut self.lock().given_up)
    }

    /// What was given up on the loop.
    pub(crate) fn given_up_on_loop(&self) -> Vec<Job> {
        std::mem::take(&mut self.lock().given_up_on_loop)
    }

    /// A thread waits for another task within its job, and takes no other one. Returns whether it has a job.
    pub(crate) fn step_aside(&self, thread: u64) -> bool {
        let mut inner = self.lock();
        let Some(hand) = inner.hands.iter_mut().flatten().find(|hand| hand.thread == thread) else {
            return false;
        };
        hand.is_aside = true;
        inner.threads = inner.threads.saturating_sub(1);
        if !inner.jobs.is_empty() {
            self.jobs_changed.notify_one();
            self.attend.notify_one();
        }
        true
    }

    /// It goes on with its job, unless that was given up meanwhile.
    pub(crate) fn step_back(&self, thread: u64) {
        let mut inner = self.lock();
        let hands = &mut inner.hands;
        if let Some(hand) = hands.iter_mut().flatten().find(|hand| hand.thread == thread && hand.is_aside) {
            hand.is_aside = false;
            inner.threads += 1;
        }
    }

    /// A thread comes, or comes back after it was given up.
    pub(crate) fn enter(&self) {
        self.lock().threads += 1;
    }

    /// A thread goes.
    pub(crate) fn leave(&self) {
        let mut inner = self.lock();
        inner.threads = inner.threads.saturating_sub(1);
        self.left.notify_all();
    }

    /// Waits until all threads have gone but those that were given up, and not longer than so.
    pub(crate) fn wait_until_left(&self, at_most: Duration) {
        let inner = self.lock();
        let waited = self.left.wait_timeout_while(inner, at_most, |inner| inner.threads > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Nothing more will come.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.jobs_changed.notify_all();
        self.attend.notify_all();
    }

    /// Waits until something is wanted of whoever starts and interrupts threads, and not longer than so.
    pub(crate) fn attend(&self, at_most: Duration) -> Wanted {
        let deadline = Instant::now() + at_most;
        let mut inner = self.lock();
        let (mut seen, mut patience) = (None, PATIENCE);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !inner.given_up.is_empty() {
                return Wanted::Interrupts;
            }
            if inner.closed {
                return Wanted::End;
            }
            if left.is_zero() {
                return Wanted::Nothing;
            }
            let waiting = inner.waiting();
            let wait = if waiting == 0 {
                (seen, patience) = (None, PATIENCE);
                inner.attendant_waits = true;
                left
            } else if inner.threads == 0 {
                // One at first: if it is quick, it does everything.
                inner.threads += 1;
                return Wanted::Threads(1);
            } else if seen.replace(inner.taken) == Some(inner.taken) {
                let awake = waiting.min(inner.idle);
                for _ in 0..awake {
                    self.jobs_changed.notify_one();
                }
                if waiting > awake {
                    inner.threads += waiting - awake;
                    return Wanted::Threads(waiting - awake);
                }
                PATIENCE
            } else {
                let wait = patience;
                patience = MOST_PATIENCE.min(2 * patience);
                wait
            };
            let waited = self.attend.wait_timeout(inner, wait.min(left));
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            inner.attendant_waits = false;
        }
    }
}
