//! One run, as a child of this program: with signals and an exit code of its own, and gone when this program is.

use crate::fault::CliError;
use crate::record::now_ms;
use crate::surroundings::program;
use dirigent_core::event::Fact;
use dirigent_core::ids::RunId;
use dirigent_journal::Reader;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the child may take to stop its own children, and then itself.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How many of the newest runs are looked at for the child's.
const NEWEST: usize = 16;

/// A run under way.
pub(super) struct Child {
    process: process::Child,
    started: Instant,
    since_ms: i64,
}

/// How it went.
pub(super) struct Ended {
    /// The run, where one was recorded.
    pub(super) run: Option<RunId>,
    /// Its verdict, or what the program says by its exit code.
    pub(super) verdict: String,
    pub(super) took: Duration,
}

impl Child {
    /// Starts this program with these arguments. `ended` is called on another thread when it has ended.
    pub(super) fn start(args: &[OsString], ended: impl FnOnce() + Send + 'static) -> Result<Self, CliError> {
        let this = Path::new("this program");
        let program = program()?;
        let parent = process::id();
        let mut command = Command::new(program);
        // A group of its own: what is typed at the terminal comes to this program, which passes it on once.
        command.args(args).stdin(Stdio::null()).process_group(0);
        let end_with_parent = move || {
            // SAFETY: two plain system calls in the child, between fork and exec. The signal comes when the thread that
            // started the child ends, which is the main one.
            let refused = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } != 0;
            if refused {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: asks for a number.
            let is_left = u32::try_from(unsafe { libc::getppid() }) != Ok(parent);
            if is_left { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        };
        // SAFETY: the closure allocates nothing and takes no lock.
        unsafe { command.pre_exec(end_with_parent) };
        let (started, since_ms) = (Instant::now(), now_ms());
        let process = command.spawn().map_err(CliError::io("start", this))?;
        let pid = process.id();
        let wait = move || {
            wait_for(pid, libc::WEXITED);
            ended();
        };
        let thread = std::thread::Builder::new().name("dirigent-child".to_owned()).spawn(wait);
        thread.map_err(CliError::io("wait for", this))?;
        Ok(Self { process, started, since_ms })
    }

    /// Sends it a signal. Until it is collected its id means nobody else.
    pub(super) fn signal(&self, signal: i32) {
        // SAFETY: a plain system call.
        unsafe { libc::kill(self.process.id().cast_signed(), signal) };
    }

    /// Stops it with all that it runs, and this program with it, until that is continued.
    pub(super) fn stop_together(&self) {
        self.signal(libc::SIGTSTP);
        let deadline = Instant::now() + STOP_PATIENCE;
        while Instant::now() < deadline
            && !wait_for(self.process.id(), libc::WSTOPPED | libc::WEXITED | libc::WNOHANG)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        // SAFETY: stops this process; the call returns when it is continued.
        unsafe { libc::raise(libc::SIGSTOP) };
        self.signal(libc::SIGCONT);
    }

    /// Collects it after its end.
    pub(super) fn collect(mut self, state_dir: &Path) -> Result<Ended, CliError> {
        let status = self.process.wait().map_err(CliError::io("wait for", Path::new("the run")))?;
        let took = self.started.elapsed();
        let run = self.recorded(state_dir);
        let verdict = match (&run, status.code(), status.signal()) {
            (Some((_, Some(verdict))), ..) => verdict.clone(),
            (_, Some(0), _) => "ended well".to_owned(),
            (None, Some(code), _) => format!("could not run (exit code {code})"),
            (Some(_), Some(code), _) => format!("was cut short (exit code {code})"),
            (_, None, signal) => format!("was killed by signal {}", signal.unwrap_or_default()),
        };
        Ok(Ended { run: run.map(|(run, _)| run), verdict, took })
    }

    /// The run that the child carried on, and how that went.
    fn recorded(&self, state_dir: &Path) -> Option<(RunId, Option<String>)> {
        let reader = Reader::open(state_dir).ok()?;
        let mut rows = reader.runs(NEWEST, None).ok()?;
        rows.retain(|row| row.created_at_ms >= self.since_ms);
        let is_ours = |run: &RunId| {
            let events = reader.events(run, 0).unwrap_or_default();
            let first = events.first().map(|event| &event.fact);
            matches!(first, Some(Fact::RunCreated(created)) if created.origin.pid == self.process.id())
        };
        rows.into_iter().find(|row| is_ours(&row.id)).map(|row| (row.id, row.verdict))
    }
}

/// Waits for what became of a child, and leaves it to be collected; whether there is something.
fn wait_for(pid: u32, what: i32) -> bool {
    loop {
        // SAFETY: fills a structure of this function.
        let (refused, seen) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let refused = libc::waitid(libc::P_PID, pid, &raw mut info, what | libc::WNOWAIT) != 0;
            (refused, info.si_pid() != 0)
        };
        if !refused || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return refused || seen;
        }
    }
}
