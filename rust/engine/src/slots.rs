//! How many tasks all runs of a program may have under way at once. Each run has a limit of its own beside this one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A limit that runs share.
#[derive(Clone, Default)]
pub struct Slots(Arc<Mutex<Table>>);

/// What is taken of it, and who waits for more.
#[derive(Default)]
pub(crate) struct Table {
    /// `None` for no limit.
    most: Option<u32>,
    taken: u32,
    waiting: Vec<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.lock();
        f.debug_struct("Slots")
            .field("most", &table.most)
            .field("taken", &table.taken)
            .finish_non_exhaustive()
    }
}

impl Slots {
    /// Sets the limit; `None` for none. What is under way beyond a lower one may end.
    pub fn limit(&self, most: Option<u32>) {
        let mut table = self.lock();
        table.most = most;
        let waiting = std::mem::take(&mut table.waiting);
        drop(table);
        waiting.into_iter().for_each(|wake| wake());
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.lock().most.is_some()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives slots back, and wakes those who wait for some.
    pub(crate) fn give_back(&self, count: u32) {
        if count == 0 {
            return;
        }
        let mut table = self.lock();
        table.taken = table.taken.saturating_sub(count);
        let waiting = std::mem::take(&mut table.waiting);
        drop(table);
        waiting.into_iter().for_each(|wake| wake());
    }
}

impl Table {
    pub(crate) fn free(&self) -> u32 {
        self.most.map_or(u32::MAX, |most| most.saturating_sub(self.taken))
    }

    pub(crate) fn take(&mut self, count: u32) {
        self.taken += count;
    }

    /// Has somebody woken when there are more.
    pub(crate) fn wait(&mut self, wake: impl FnOnce() + Send + 'static) {
        self.waiting.push(Box::new(wake));
    }
}
