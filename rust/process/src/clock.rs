//! A clock that stands still while the run is stopped: limits are counted by it.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Time as the run lives it: it stands still while the run is stopped.
pub(crate) struct Clock {
    began: Instant,
    stopped: Duration,
    stopped_since: Option<Instant>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), stopped: Duration::ZERO, stopped_since: None }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped_since.is_some()
    }

    pub(crate) fn now(&self) -> Duration {
        self.stopped_since.unwrap_or_else(Instant::now) - self.began - self.stopped
    }

    pub(crate) fn stop(&mut self) {
        self.stopped_since.get_or_insert_with(Instant::now);
    }

    pub(crate) fn go_on(&mut self) {
        if let Some(since) = self.stopped_since.take() {
            self.stopped += since.elapsed();
        }
    }
}

/// Microseconds on the kernel's clock, which engine and guard share.
pub(crate) fn shared_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1_000
}
