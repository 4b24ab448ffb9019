//! One try of one task, as a worker sees it: what to ask the guard for, and what its answer means.

use crate::clock::shared_us;
use crate::output::Capture;
use crate::reap::micros;
use crate::secret::Secrets;
use crate::wire::{Cause, Exit, Spawn};
use dirigent_core::ids::TaskIndex;
use dirigent_core::outcome::Outcome;
use dirigent_core::spec::{Command, Limits};
use dirigent_core::text::{OsText, plain_output};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// One try of one task.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The task.
    pub task: TaskIndex,
    /// Which try, from 1.
    pub attempt: u32,
    /// What to run.
    pub command: Command,
    /// What it may use.
    pub limits: Limits,
    /// Exit codes that count as success.
    pub allowed_exit_codes: Vec<i32>,
    /// Whether processes it leaves behind may stay.
    pub leave_running: bool,
    /// Variables that name this attempt, set after all others. They tell its processes from all others.
    pub marks: Vec<(String, String)>,
    /// Where its `stdout.log` and `stderr.log` go; made when there is something to log.
    pub folder: PathBuf,
    /// The values of its secrets, and of all that it must not print.
    pub secrets: Arc<Secrets>,
}

/// What to ask the guard for, of an attempt that is to be started since then; the outcome where it cannot be asked.
pub(crate) fn spawn_order(token: u64, attempt: &Attempt, since: Instant) -> Result<Spawn, Outcome> {
    let bytes = |text: &OsText| text.as_os_str().as_bytes().to_vec();
    let marks = attempt.marks.iter();
    let secrets = attempt.secrets.variables(&attempt.command)?;
    Ok(Spawn {
        token,
        asked_us: shared_us().saturating_sub(micros(since.elapsed())),
        argv: attempt.command.argv.iter().map(bytes).collect(),
        cwd: bytes(&attempt.command.cwd),
        env: attempt
            .secrets
            .withheld()
            .map(|name| (bytes(name), None))
            .chain(attempt.command.env.iter().map(|(name, value)| (bytes(name), value.as_ref().map(bytes))))
            .chain(secrets.into_iter().map(|(name, value)| (bytes(name), Some(value.as_bytes().to_vec()))))
            .chain(
                marks
                    .clone()
                    .map(|(name, value)| (name.clone().into_bytes(), Some(value.clone().into_bytes()))),
            )
            .collect(),
        pass_env: attempt.command.pass_env.as_ref().map(|names| names.iter().map(bytes).collect()),
        timeout_ms: attempt.limits.timeout_ms,
        memory_bytes: attempt.limits.memory_bytes,
        grace_ms: attempt.limits.grace_ms,
        leave_running: attempt.leave_running,
        marks: marks.map(|(name, value)| format!("{name}={value}").into_bytes()).collect(),
    })
}

/// What the guard's answer means for the attempt.
pub(crate) fn outcome(attempt: &Attempt, exit: Exit, cause: Cause) -> Outcome {
    match (cause, exit) {
        (Cause::Time, _) => Outcome::TimedOut { limit_ms: attempt.limits.timeout_ms.unwrap_or_default() },
        (Cause::Memory, _) => {
            Outcome::MemoryExceeded { limit_bytes: attempt.limits.memory_bytes.unwrap_or_default() }
        }
        (Cause::Asked, _) => Outcome::Cancelled,
        (Cause::Own, Exit::Code(exit_code)) if attempt.allowed_exit_codes.contains(&exit_code) => {
            Outcome::Succeeded { exit_code }
        }
        (Cause::Own, Exit::Code(exit_code)) => Outcome::Failed { exit_code },
        (Cause::Own, Exit::Signal { signal, core_dumped, out_of_memory }) => {
            Outcome::Killed { signal, core_dumped, out_of_memory }
        }
    }
}

/// The last lines of what was written to standard error, or where that is empty, to standard output.
pub(crate) fn last_lines(stdout: &mut Capture, stderr: &mut Capture) -> String {
    const MOST_LINES: usize = 20;
    const MOST_BYTES: usize = 4096;
    let stream = if stderr.bytes() > 0 { stderr } else { stdout };
    let text = plain_output(stream.tail());
    let text = text.trim_end();
    let from =
        text.char_indices().map(|(i, _)| i).find(|i| text.len() - i <= MOST_BYTES).unwrap_or(text.len());
    let lines: Vec<&str> = text[from..].lines().collect();
    lines[lines.len().saturating_sub(MOST_LINES)..].join("\n")
}
