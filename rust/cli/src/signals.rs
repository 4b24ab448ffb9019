//! What the terminal and other processes tell this program, passed on to the run.
//!
//! One asks politely, the second ends at once. Ctrl-Z stops the children first: in sessions of their own they would
//! not hear it. For the program only: a library leaves its host's signals alone.

use crate::terminal;
use dirigent_core::event::{CancelReason, Fact};
use dirigent_engine::run::Control;
use dirigent_engine::{Feed, News};
use std::time::{Duration, Instant};

/// Signals held back until somebody takes them.
pub(crate) struct Signals {
    set: libc::sigset_t,
}

impl Signals {
    /// Holds the signals back, in this thread and all that it starts. What is ignored from outside (`nohup`) stays so.
    pub(crate) fn hold() -> Self {
        // SAFETY: plain system calls on memory of this function.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGTSTP] {
                let mut current: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, std::ptr::null(), &raw mut current);
                if current.sa_sigaction != libc::SIG_IGN {
                    libc::sigaddset(&raw mut set, signal);
                }
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            Self { set }
        }
    }

    /// Waits for the next.
    pub(crate) fn next(&self) -> i32 {
        loop {
            let mut signal = 0;
            // SAFETY: waits for signals that are blocked in every thread; writes one integer.
            if unsafe { libc::sigwait(&raw const self.set, &raw mut signal) } == 0 {
                return signal;
            }
        }
    }

    /// Passes signals on to a run, on a thread that ends with the program.
    pub(crate) fn pass_on(self, control: Control, feed: Feed) {
        let listen = move || {
            let mut feed = feed;
            let mut asked = false;
            loop {
                let reason = match self.next() {
                    libc::SIGTSTP => {
                        stop_with_children(&control, &mut feed);
                        continue;
                    }
                    libc::SIGINT => CancelReason::Interrupted,
                    libc::SIGHUP => CancelReason::HungUp,
                    _ => CancelReason::Terminated,
                };
                if std::mem::replace(&mut asked, true) {
                    control.kill();
                } else {
                    control.cancel(reason);
                }
            }
        };
        // Without the thread the signals stay held back; SIGKILL and the guard still end everything.
        let _ = std::thread::Builder::new().name("dirigent-signals".to_owned()).spawn(listen);
    }
}

/// Lets signals end this program, in this thread: there is no run any more that they could be passed on to.
pub(crate) fn let_through() {
    // SAFETY: plain system calls on memory of this function.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Stops the children, then this program; goes on with them when it is continued.
fn stop_with_children(control: &Control, feed: &mut Feed) {
    control.suspend();
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        match feed.next(Some(deadline)) {
            News::Events(events) if events.iter().any(|event| event.fact == Fact::RunSuspended) => break,
            News::Events(_) => {}
            News::Stalled(_) => {}
            News::Quiet | News::End => break,
        }
    }
    // The shell writes where the picture stands.
    terminal::hide_picture(true);
    if terminal::stderr_is_live() {
        terminal::say("stopped; `fg` goes on\n");
    }
    // SAFETY: stops this process; the call returns when it is continued.
    unsafe { libc::raise(libc::SIGSTOP) };
    terminal::hide_picture(false);
    control.go_on();
}

/// The exit code of a run that was asked to end.
pub(crate) fn exit_code(reason: CancelReason) -> i32 {
    match reason {
        CancelReason::Interrupted => 128 + libc::SIGINT,
        CancelReason::HungUp => 128 + libc::SIGHUP,
        CancelReason::Terminated | CancelReason::Requested => 128 + libc::SIGTERM,
        CancelReason::TimedOut => crate::fault::exit::FAILED,
        CancelReason::Storage => crate::fault::exit::IO,
    }
}
