//! A process that cannot be taken for another one with the same id: its id and when it was started.

use std::fmt;
use std::fs;
use std::str::FromStr;

/// Which process is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub pid: u32,
    /// When it was started, in ticks of the kernel since it was. Source: field 22 of `proc_pid_stat(5)`.
    started: u64,
}

impl Identity {
    /// The process that has this id right now.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold anything: the last one closes it.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X" | "x")).then_some(Self { pid, started })
    }

    /// Whether it still does anything.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal, if it is still there.
    pub fn signal(self, signal: i32) {
        if let Ok(pid) = i32::try_from(self.pid)
            && self.is_alive()
        {
            // SAFETY: `kill` touches no memory of ours.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

impl FromStr for Identity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (pid, started) = text.split_once(' ').ok_or(())?;
        Ok(Self { pid: pid.parse().map_err(drop)?, started: started.parse().map_err(drop)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_known_again_until_it_is_gone() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("started");
        let identity = Identity::of(child.id()).expect("it runs");
        assert_eq!(identity.to_string().parse(), Ok(identity));
        assert!(identity.is_alive());
        assert!(!Identity { started: identity.started + 1, ..identity }.is_alive());
        identity.signal(libc::SIGKILL);
        child.wait().expect("ended");
        assert!(!identity.is_alive());
        assert_eq!("x".parse::<Identity>(), Err(()));
    }
}
