//! How an attempt ended, and what it used. The full space: there is no "other".

use crate::ids::TaskIndex;
use crate::value::Kept;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It exited with a code that counts as success.
    Succeeded {
        /// The code.
        exit_code: i32,
    },
    /// The function returned.
    Returned,
    /// The function raised an exception.
    Raised {
        /// The exception's class.
        error: Box<str>,
        /// What it says.
        message: Box<str>,
        /// Whether the task's policy tries again after one like it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        retryable: bool,
    },
    /// It ended well, and yet did not do what it was to: a file that it should have made is not there, or what it gave cannot
    /// be read.
    Unmet {
        /// Why, as a sentence without its end.
        why: Box<str>,
    },
    /// It ended well, and says that it is not through: it wants to be carried out again.
    Unfinished,
    /// A task of its own did not complete.
    ChildFailed {
        /// That task.
        child: TaskIndex,
    },
    /// It exited with any other code.
    Failed {
        /// The code.
        exit_code: i32,
    },
    /// A signal that dirigent did not send ended it.
    Killed {
        /// The signal's number.
        signal: i32,
        /// Whether a core dump was written.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        core_dumped: bool,
        /// Whether the kernel says that memory had run out.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        out_of_memory: bool,
    },
    /// It ran longer than it may, and was ended.
    TimedOut {
        /// How long it may run.
        limit_ms: u64,
    },
    /// Its processes used more memory than they may, and were ended.
    MemoryExceeded {
        /// How much they may use together.
        limit_bytes: u64,
    },
    /// It was never started.
    CouldNotStart {
        /// What was being done, as a bare verb with its object: "change to /srv/data".
        doing: Box<str>,
        /// What the system said.
        reason: Box<str>,
        /// The system's error number, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        errno: Option<i32>,
    },
    /// It was asked to end because the run was.
    Cancelled,
    /// The worker that carried it out is gone; nobody knows how far it came.
    Lost {
        /// What became of the worker.
        why: Box<str>,
    },
}

impl Outcome {
    /// Whether the task did what it was for.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Returned)
    }

    /// Whether a policy of trying again applies to it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Raised { retryable, .. } => *retryable,
            Self::Failed { .. }
            | Self::Unmet { .. }
            | Self::Killed { .. }
            | Self::TimedOut { .. }
            | Self::MemoryExceeded { .. }
            | Self::CouldNotStart { .. } => true,
            Self::Succeeded { .. }
            | Self::Returned
            | Self::Unfinished
            | Self::ChildFailed { .. }
            | Self::Cancelled
            | Self::Lost { .. } => false,
        }
    }

    /// The exit code, where the program got as far as having one.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Succeeded { exit_code } | Self::Failed { exit_code } => Some(*exit_code),
            Self::Returned
            | Self::Raised { .. }
            | Self::Unmet { .. }
            | Self::Unfinished
            | Self::ChildFailed { .. }
            | Self::Killed { .. }
            | Self::TimedOut { .. }
            | Self::MemoryExceeded { .. }
            | Self::CouldNotStart { .. }
            | Self::Cancelled
            | Self::Lost { .. } => None,
        }
    }

    /// What happened, as the end of a sentence that starts with the task's name.
    pub fn sentence(&self) -> String {
        match self {
            Self::Succeeded { exit_code: 0 } => "succeeded".to_owned(),
            Self::Succeeded { exit_code } => {
                format!("succeeded with exit code {exit_code}, which is allowed")
            }
            Self::Returned => "succeeded".to_owned(),
            Self::Raised { error, message, .. } if message.is_empty() => format!("raised {error}"),
            Self::Raised { error, message, .. } => format!("raised {error}: {message}"),
            Self::Unmet { why } => format!("ended well, and yet: {why}"),
            Self::Unfinished => "is to be carried out again".to_owned(),
            Self::ChildFailed { .. } => "failed in a task of its own".to_owned(),
            Self::Failed { exit_code } => format!("failed with exit code {exit_code}"),
            Self::Killed { signal, core_dumped, out_of_memory } => format!(
                "was killed by {}{}{}",
                signal_name(*signal),
                if *out_of_memory { ": out of memory" } else { "" },
                if *core_dumped { " (core dumped)" } else { "" },
            ),
            Self::TimedOut { limit_ms } => format!("ran out of time after {}", shown_duration(*limit_ms)),
            Self::MemoryExceeded { limit_bytes } => {
                format!("used more than the {} MiB of memory it may", limit_bytes >> 20)
            }
            Self::CouldNotStart { doing, reason, .. } => format!("could not start: cannot {doing}: {reason}"),
            Self::Cancelled => "was cancelled".to_owned(),
            Self::Lost { why } => format!("was lost: {why}"),
        }
    }
}

/// The end of an attempt: how, what it used, what it left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What became of its standard output; `None` when it wrote nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<Box<Stream>>,
    /// What became of its standard error; `None` when it wrote nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<Box<Stream>>,
    /// How long it took to start it, in microseconds: from when a worker was asked for it until its program was executed, or
    /// the process that calls its function was there; 0 where nobody measured that.
    #[serde(default, skip_serializing_if = "is_none_us")]
    pub start_us: u64,
    /// How many processes it left behind, which were then ended (or let be, where the task may leave some).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_behind: u32,
    /// The last lines it wrote, as plain text, where it did not succeed.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub last_lines: Box<str>,
    /// What it gave, where that is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Arc<Kept>>,
}

impl Ended {
    /// How, and nothing else.
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            usage: Usage::default(),
            stdout: None,
            stderr: None,
            start_us: 0,
            left_behind: 0,
            last_lines: Box::default(),
            value: None,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none_us(us: &u64) -> bool {
    *us == 0
}

/// What an attempt used, as counted by the kernel for its first process and those it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Wall time from start to end, in microseconds, without the time the run was stopped.
    pub wall_us: u64,
    /// CPU time in user code, in microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, in microseconds.
    pub system_us: u64,
    /// The most memory resident at once in one process, in bytes.
    pub peak_memory_bytes: u64,
}

/// What became of one output stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Bytes that the program wrote, with `***` in the place of every secret.
    pub bytes: u64,
    /// Bytes of them that the log holds: the first and the last ones, when it is fewer.
    pub kept_bytes: u64,
    /// Why the log could not be written; `None` when it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Stream {
    /// Whether the log lacks bytes out of the middle.
    pub fn is_truncated(&self) -> bool {
        self.kept_bytes < self.bytes
    }
}

/// The name of a signal, such as `SIGSEGV`, or its number where it has none. Source: POSIX and Linux `signal(7)`.
pub fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    match usize::try_from(signal).ok().and_then(|n| NAMES.get(n.wrapping_sub(1))) {
        Some(name) => format!("SIG{name}"),
        None => format!("signal {signal}"),
    }
}

/// A duration for a person: `850 ms`, `1.5 s`, `2 min 5 s`, `3 h 20 min`.
pub fn shown_duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 if !ms.is_multiple_of(1_000) => format!("{:.1} s", ms as f64 / 1e3),
        1_000..60_000 => format!("{} s", ms / 1_000),
        60_000..3_600_000 => match (ms / 60_000, ms / 1_000 % 60) {
            (minutes, 0) => format!("{minutes} min"),
            (minutes, seconds) => format!("{minutes} min {seconds} s"),
        },
        _ => match (ms / 3_600_000, ms / 60_000 % 60) {
            (hours, 0) => format!("{hours} h"),
            (hours, minutes) => format!("{hours} h {minutes} min"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_by_signal_names_the_signal_and_the_reason() {
        let outcome = Outcome::Killed { signal: 9, core_dumped: false, out_of_memory: true };
        assert_eq!(outcome.sentence(), "was killed by SIGKILL: out of memory");
        assert_eq!(signal_name(11), "SIGSEGV");
        assert_eq!(signal_name(64), "signal 64");
        assert_eq!(signal_name(0), "signal 0");
    }

    #[test]
    fn durations_read_as_a_person_says_them() {
        let shown: Vec<String> =
            [0, 999, 1_000, 1_500, 59_999, 60_000, 125_000, 3_600_000, 12_000_000].map(shown_duration).into();
        assert_eq!(
            shown,
            ["0 ms", "999 ms", "1 s", "1.5 s", "59 s", "1 min", "2 min 5 s", "1 h", "3 h 20 min"]
        );
    }
}
