//! Sleeping until a moment of the wall clock, a signal, or the clock being set; nothing is done in between.

use crate::fault::CliError;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// A moment of the wall clock no sleep is longer than, in seconds: longer ones overflow.
const LATEST_S: i64 = 1 << 40;

/// The signals that wake, held back in this thread from now on, and a timer of the wall clock.
pub(super) struct Wake {
    signals: OwnedFd,
    timer: OwnedFd,
    /// The signals of this thread before; children get them back.
    before: libc::sigset_t,
}

impl Wake {
    /// Holds the signals back: those that ask to end, and that a child has ended. What is ignored from outside (`nohup`)
    /// stays so.
    pub(super) fn new() -> Result<Self, CliError> {
        let refused = CliError::io("wait on", Path::new("signals and the clock"));
        // SAFETY: plain system calls on memory of this function; the descriptors are new and nobody else's.
        let made = unsafe {
            let (mut held, mut before): (libc::sigset_t, libc::sigset_t) = (zeroed(), zeroed());
            libc::sigemptyset(&raw mut held);
            libc::sigaddset(&raw mut held, libc::SIGCHLD);
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                let mut current: libc::sigaction = zeroed();
                libc::sigaction(signal, std::ptr::null(), &raw mut current);
                if current.sa_sigaction != libc::SIG_IGN {
                    libc::sigaddset(&raw mut held, signal);
                }
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const held, &raw mut before);
            let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
            let signals = owned(libc::signalfd(-1, &raw const held, flags));
            let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
            let timer = owned(libc::timerfd_create(libc::CLOCK_REALTIME, flags));
            signals.and_then(|signals| Ok(Self { signals, timer: timer?, before }))
        };
        made.map_err(refused)
    }

    /// The signals that a child is to begin with held back.
    pub(super) fn before(&self) -> libc::sigset_t {
        self.before
    }

    /// Sleeps until that moment, in milliseconds since 1970, or for so long at most, or until something happens; returns
    /// the signals that came. The moment is the wall clock's: it comes when the clock is set past it, or the machine slept
    /// past it.
    pub(super) fn sleep(&self, until_ms: Option<i64>, at_most: Option<Duration>) -> Vec<i32> {
        // 0 would never come; a millisecond that has begun is not over.
        let until = until_ms.map_or((LATEST_S, 0), |ms| {
            let ms = ms.clamp(1, LATEST_S * 1000);
            (ms / 1000, ms % 1000 * 1_000_000)
        });
        let mut ready = [&self.signals, &self.timer].map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
        let at_most_ms = at_most.map_or(-1, |at_most| i32::try_from(at_most.as_millis()).unwrap_or(i32::MAX));
        // SAFETY: plain system calls on memory of this function. That the clock was set makes the timer ready.
        unsafe {
            let mut timer: libc::itimerspec = zeroed();
            timer.it_value.tv_sec = until.0;
            timer.it_value.tv_nsec = until.1;
            let flags = libc::TFD_TIMER_ABSTIME | libc::TFD_TIMER_CANCEL_ON_SET;
            libc::timerfd_settime(self.timer.as_raw_fd(), flags, &raw const timer, std::ptr::null_mut());
            libc::poll(ready.as_mut_ptr(), 2, at_most_ms);
        }
        self.signals()
    }

    fn signals(&self) -> Vec<i32> {
        let mut signals = Vec::new();
        loop {
            let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
            let size = size_of::<libc::signalfd_siginfo>();
            // SAFETY: reads at most as many bytes as there are.
            let read = unsafe { libc::read(self.signals.as_raw_fd(), info.as_mut_ptr().cast(), size) };
            if !usize::try_from(read).is_ok_and(|read| read == size) {
                return signals;
            }
            // SAFETY: the kernel has filled it.
            let signal = unsafe { info.assume_init() }.ssi_signo;
            signals.extend(i32::try_from(signal));
        }
    }
}

/// # Safety
///
/// The descriptor, if it is one, is new and nobody else's.
unsafe fn owned(fd: i32) -> io::Result<OwnedFd> {
    match fd {
        // SAFETY: as promised.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
