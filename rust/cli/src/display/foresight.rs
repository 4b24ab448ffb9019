//! How long a run will still take, by its history: looked up once, and computed again now and then.

use super::REST;
use crate::earlier::times_before;
use dirigent_core::state::State;
use dirigent_report::{TimesBefore, time_left_ms};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A run that may be over sooner needs no history.
const PATIENCE: Duration = Duration::from_secs(2);
/// With more tasks nobody computes, nor reads what so many took: the picture would stand still too long.
const MOST_TASKS: usize = 50_000;

/// What is known of the time that is left.
pub(super) struct Foresight {
    folder: PathBuf,
    began: Instant,
    /// How long tasks took before; `None` until that is looked up.
    before: Option<TimesBefore>,
    /// When it was computed last and how long that took, when that was on the clock of the run, and what came of it.
    last: Option<(Instant, Duration, i64, Option<u64>)>,
}

impl Foresight {
    /// Of a run with this folder, in its state folder.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), began: Instant::now(), before: None, last: None }
    }

    /// How long the run will still take; `None` where nobody knows.
    pub(super) fn left_ms(&mut self, state: &State, now_ms: i64) -> Option<u64> {
        if self.began.elapsed() < PATIENCE || state.tasks().len() > MOST_TASKS {
            return None;
        }
        let before = self.before.get_or_insert_with(|| look_up(&self.folder, state).unwrap_or_default());
        if before.is_empty() {
            return None;
        }
        let rests = |(at, took, ..): &(Instant, Duration, i64, _)| at.elapsed() < *took * (3 * REST);
        if !self.last.as_ref().is_some_and(rests) {
            let began = Instant::now();
            let left_ms = time_left_ms(state, now_ms, before);
            self.last = Some((began, began.elapsed(), now_ms, left_ms));
        }
        let (.., then_ms, left_ms) = self.last?;
        let since_ms = u64::try_from(now_ms - then_ms).unwrap_or(0);
        // What should have been over by now is no longer foreseen.
        left_ms?.checked_sub(since_ms).filter(|left_ms| *left_ms > 0)
    }
}

/// What is recorded of earlier runs; nothing where that cannot be read.
fn look_up(folder: &Path, state: &State) -> Option<TimesBefore> {
    let header = state.header()?;
    let state_dir = folder.parent().filter(|runs| runs.ends_with("runs"))?.parent()?;
    times_before(state_dir, &header.workflow, &header.run).ok()
}
