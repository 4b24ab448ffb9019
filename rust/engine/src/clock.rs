//! The time of events: told once by the system, and counted from there.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 that never jump while the program runs.
pub(crate) struct Clock {
    began: Instant,
    began_ms: i64,
}

impl Clock {
    /// A clock that goes from now on.
    pub(crate) fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), began_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX) }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.began_ms.saturating_add(i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    pub(crate) fn instant(&self, at_ms: i64) -> Option<Instant> {
        let since = u64::try_from(at_ms.saturating_sub(self.began_ms)).unwrap_or(0);
        self.began.checked_add(Duration::from_millis(since))
    }
}
