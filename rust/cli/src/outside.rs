//! Tells something to a program of the user's: as JSON on its standard input, for a bounded time.

use crate::terminal;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a program is looked after.
const TICK: Duration = Duration::from_millis(5);

/// A program to tell things to.
pub(crate) struct Program<'a> {
    pub(crate) argv: &'a [String],
    pub(crate) folder: &'a Path,
    /// Variables beside those of this program.
    pub(crate) environment: &'a [(&'a str, &'a str)],
    /// Where what it prints goes; `None` for standard error.
    pub(crate) output: Option<&'a File>,
}

impl Program<'_> {
    /// Tells it, and waits for its end. What it prints is talk. At the deadline, or as soon as `is_cut` says so, it is
    /// ended with its group.
    ///
    /// # Errors
    ///
    /// It cannot be started, does not succeed, or was ended: a clause for a person.
    pub(crate) fn tell(
        &self,
        json: &str,
        deadline: Instant,
        is_cut: impl Fn() -> bool,
    ) -> Result<(), String> {
        let (program, arguments) = self.argv.split_first().ok_or("no program is named")?;
        let began = Instant::now();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.folder)
            .envs(self.environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(self.output())
            .stderr(self.output())
            .process_group(0);
        // SAFETY: one plain system call in the child, between fork and exec: it ends with the thread that waits for it.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot start `{}`: {error}", terminal::fitted(program, 60)))?;
        if let Some(mut input) = child.stdin.take() {
            let json = json.to_owned();
            // Who does not read must not be waited for; the thread ends with the program.
            let write = move || drop(input.write_all(json.as_bytes()));
            let _ = std::thread::Builder::new().name("dirigent-tell".to_owned()).spawn(write);
        }
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(ended(status)),
                Ok(None) if Instant::now() < deadline && !is_cut() => std::thread::sleep(TICK),
                Ok(None) => {
                    end(&mut child);
                    return Err(format!("was ended after {:.1} s", began.elapsed().as_secs_f64()));
                }
                Err(error) => return Err(format!("cannot be waited for: {error}")),
            }
        }
    }

    /// Never standard output: what is printed there is data.
    fn output(&self) -> Stdio {
        let there = match self.output {
            Some(file) => file.as_fd().try_clone_to_owned(),
            None => io::stderr().as_fd().try_clone_to_owned(),
        };
        there.map_or_else(|_| Stdio::null(), Stdio::from)
    }
}

fn end(child: &mut Child) {
    // SAFETY: a plain system call; the child is not collected yet, so its group is still its own.
    unsafe { libc::kill(-child.id().cast_signed(), libc::SIGKILL) };
    let _ = child.wait();
}

fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, signal) => format!("was killed by signal {}", signal.unwrap_or_default()),
    }
}
