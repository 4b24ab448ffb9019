//! Carries out attempts that are commands: a thread that owns the pipes and log files, and talks to the guard.
//!
//! It takes [`Attempt`]s and gives [`Report`]s, each attempt exactly one, whatever happens: also when the guard is
//! killed, when the system has no process or descriptor to spare, and when the disk refuses the log.

use crate::attempt::{Attempt, last_lines, outcome, spawn_order};
use crate::connection::{Connection, Heard};
use crate::fault::ProcessError;
use crate::output::{BIG_PIPE_BYTES, Capture, Pipe, READ_BYTES};
use crate::table::{Table, carries, signal};
use crate::wire::{Order, Word};
use crossbeam_channel::{Receiver, Sender, unbounded};
use dirigent_core::decide::Report as AttemptReport;
use dirigent_core::ids::TaskIndex;
use dirigent_core::outcome::{Ended, Outcome, Usage};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

/// How long to wait before the system is asked again for what it had none of.
const EXHAUSTED_TICK: Duration = Duration::from_millis(50);
/// How long an attempt waits for the system to have something to spare, with nothing of ours left to end.
const EXHAUSTED_LIMIT: Duration = Duration::from_secs(10);
/// How many guards may be lost before it is no accident.
const MOST_GUARDS_LOST: u32 = 5;
/// Descriptors that are not for attempts: journal, reports, terminal, whatever a host program opens meanwhile.
const RESERVED_DESCRIPTORS: u64 = 16;
/// Descriptors that one attempt may hold at once: two pipes, two logs.
const DESCRIPTORS_PER_ATTEMPT: u64 = 4;

/// What a worker needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The executable that is the guard when it is called with [`crate::guard::VERB`].
    pub guard: PathBuf,
    /// The version that guard must have.
    pub version: &'static str,
    /// The `NAME=value` string that all attempts carry in their environment, and nothing else does.
    pub run_mark: Vec<u8>,
    /// Whether orphans come to this process when the guard is gone; see [`adopt_orphans`].
    pub adopts_orphans: bool,
}

/// What a worker says.
#[derive(Debug)]
pub enum Report {
    /// An attempt ended.
    Ended(AttemptReport),
    /// Every process is stopped.
    Suspended,
    /// Every process goes on.
    Continued,
    /// Nothing is left, and the worker has ended.
    Closed {
        /// Processes ended last that no attempt could be blamed for.
        strays: u32,
        /// Processes that could not be ended, each as `pid name`.
        survivors: Vec<String>,
    },
    /// The worker cannot go on. Reports of all attempts were given before, and it has ended.
    Failed(ProcessError),
}

enum Ask {
    Start(Box<Attempt>),
    Stop { signal: i32 },
    End { task: TaskIndex, attempt: u32, signal: i32 },
    Kill,
    Suspend,
    Continue,
    Close,
}

/// A worker. Dropping it ends everything the worker runs.
#[derive(Debug)]
pub struct Worker {
    asker: Asker,
    thread: Option<JoinHandle<()>>,
}

/// What can be asked of a worker, from any thread; it never waits. One that has ended has reported everything.
#[derive(Clone, Debug)]
pub struct Asker {
    asks: Sender<Ask>,
    wake: Arc<OwnedFd>,
    /// The worker's own thread, which looks at what it is asked without being woken.
    own: ThreadId,
}

impl Worker {
    /// Starts the guard and the worker's thread. Reports go to `tell`, on that thread.
    ///
    /// # Errors
    ///
    /// The guard cannot be started, or the system has no descriptors to spare.
    pub fn start(config: Config, tell: impl FnMut(Report) + Send + 'static) -> Result<Self, ProcessError> {
        let io = |doing| move |errno: Errno| ProcessError::Io { doing, source: errno.into() };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(io("make an event descriptor"))?;
        let wake = Arc::new(wake);
        let connection = Connection::open(&config.guard)?;
        let (asks, asked) = unbounded();
        let woken = Arc::clone(&wake);
        let run = move || Loop::new(config, connection, asked, woken, Box::new(tell)).run();
        let thread = std::thread::Builder::new()
            .name("dirigent-worker".to_owned())
            .spawn(run)
            .map_err(|source| ProcessError::Io { doing: "start a thread", source })?;
        let own = thread.thread().id();
        Ok(Self { asker: Asker { asks, wake, own }, thread: Some(thread) })
    }

    /// Lets it end by itself.
    pub fn leave(mut self) {
        self.thread = None;
    }

    /// A handle for asking.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }
}

impl Asker {
    /// Carries out an attempt; its report follows.
    pub fn carry_out(&self, attempt: Attempt) {
        self.ask(Ask::Start(Box::new(attempt)));
    }

    /// Sends a signal to every process of every attempt, and SIGKILL when their grace is over.
    pub fn stop(&self, signal: i32) {
        self.ask(Ask::Stop { signal });
    }

    /// Sends a signal to every process of one attempt, and SIGKILL when its grace is over.
    pub fn end(&self, task: TaskIndex, attempt: u32, signal: i32) {
        self.ask(Ask::End { task, attempt, signal });
    }

    /// Kills every process of every attempt.
    pub fn kill(&self) {
        self.ask(Ask::Kill);
    }

    /// Stops every process, and the clock of their limits. [`Report::Suspended`] follows.
    pub fn suspend(&self) {
        self.ask(Ask::Suspend);
    }

    /// Lets every process go on. [`Report::Continued`] follows.
    pub fn go_on(&self) {
        self.ask(Ask::Continue);
    }

    /// Ends what is left of attempts that have ended, and the worker. [`Report::Closed`] follows.
    pub fn close(&self) {
        self.ask(Ask::Close);
    }

    fn ask(&self, ask: Ask) {
        if self.asks.send(ask).is_ok() && self.own != std::thread::current().id() {
            let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.asker.kill();
            self.asker.close();
            let _ = thread.join();
        }
    }
}

/// Makes the calling process the one that orphans below it come to. For programs of our own only: a host program
/// would get children that it knows nothing of.
///
/// # Errors
///
/// The kernel is too old.
pub fn adopt_orphans() -> Result<(), ProcessError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| ProcessError::Io { doing: "adopt orphaned processes", source: errno.into() })
}

/// How many attempts this process has descriptors for, beside what it has open and what it needs otherwise.
pub fn most_at_once() -> u32 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let open = std::fs::read_dir("/proc/self/fd").map_or(32, |list| list.count() as u64);
    let room = limit.saturating_sub(open + RESERVED_DESCRIPTORS) / DESCRIPTORS_PER_ATTEMPT;
    u32::try_from(room).unwrap_or(u32::MAX).max(1)
}

struct Running {
    attempt: Box<Attempt>,
    /// Since when it has been tried to start it.
    since: Instant,
    /// Its first process, and how long it took to start that, in microseconds.
    started: Option<(i32, u64)>,
    is_asked_to_end: bool,
    pipes: [Pipe; 2],
}

struct Loop {
    config: Config,
    connection: Option<Connection>,
    asked: Receiver<Ask>,
    wake: Arc<OwnedFd>,
    tell: Box<dyn FnMut(Report) + Send>,
    running: BTreeMap<u64, Running>,
    /// Attempts that the system had nothing to spare for.
    waiting: VecDeque<(Box<Attempt>, Instant)>,
    next_token: u64,
    guards_lost: u32,
    /// What was asked for before was asked to end.
    stopped_at: Option<Instant>,
    closing: bool,
    done: bool,
    buffer: Box<[u8]>,
}

impl Loop {
    fn new(
        config: Config,
        connection: Connection,
        asked: Receiver<Ask>,
        wake: Arc<OwnedFd>,
        tell: Box<dyn FnMut(Report) + Send>,
    ) -> Self {
        Self {
            config,
            connection: Some(connection),
            asked,
            wake,
            tell,
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
            next_token: 0,
            guards_lost: 0,
            stopped_at: None,
            closing: false,
            done: false,
            buffer: vec![0; READ_BYTES].into(),
        }
    }

    fn run(mut self) {
        while !self.done {
            self.wait_and_drain();
            self.hear();
            while let Ok(ask) = self.asked.try_recv() {
                self.obey(ask);
            }
            self.retry_waiting();
        }
    }

    /// Sleeps until there is something to do, and moves output that is there.
    fn wait_and_drain(&mut self) {
        let (is_woken, ready): (bool, Vec<(u64, usize)>) = {
            let mut fds = vec![PollFd::new(&*self.wake, PollFlags::IN)];
            if let Some(connection) = &self.connection {
                fds.push(PollFd::new(connection, PollFlags::IN));
            }
            let first = fds.len();
            let mut whose = Vec::new();
            for (token, running) in &self.running {
                for (i, pipe) in running.pipes.iter().enumerate() {
                    if let Some(reader) = &pipe.reader {
                        fds.push(PollFd::new(reader, PollFlags::IN));
                        whose.push((*token, i));
                    }
                }
            }
            let tick = rustix::event::Timespec { tv_sec: 0, tv_nsec: EXHAUSTED_TICK.subsec_nanos().into() };
            let _ = poll(&mut fds, (!self.waiting.is_empty()).then_some(&tick));
            let ready = fds[first..].iter().zip(whose);
            let ready = ready.filter(|(fd, _)| !fd.revents().is_empty()).map(|(_, whose)| whose).collect();
            (!fds[0].revents().is_empty(), ready)
        };
        if is_woken {
            let _ = rustix::io::read(&*self.wake, &mut [0u8; 8]);
        }
        for (token, i) in ready {
            if let Some(running) = self.running.get_mut(&token) {
                running.pipes[i].drain(&mut self.buffer, 4 * READ_BYTES);
                if running.pipes[i].reader.is_none() {
                    // Both usually end with the child: this saves the other one a turn of its own.
                    running.pipes[1 - i].drain(&mut self.buffer, 4 * READ_BYTES);
                }
            }
        }
    }

    fn obey(&mut self, ask: Ask) {
        match ask {
            Ask::Start(attempt) => self.start(attempt, Instant::now()),
            Ask::Stop { signal } => {
                self.cancel_waiting();
                self.order(&Order::EndAll { signal });
            }
            Ask::End { task, attempt, signal } => self.end(task, attempt, signal),
            Ask::Kill => {
                self.cancel_waiting();
                self.order(&Order::KillAll);
            }
            Ask::Suspend => self.order(&Order::Suspend),
            Ask::Continue => self.order(&Order::Continue),
            Ask::Close => {
                self.closing = true;
                if self.connection.is_some() {
                    self.order(&Order::Close);
                } else {
                    self.close(0, Vec::new());
                }
            }
        }
    }

    fn end(&mut self, task: TaskIndex, attempt: u32, signal: i32) {
        let is_it = |one: &Attempt| (one.task, one.attempt) == (task, attempt);
        if let Some(at) = self.waiting.iter().position(|(one, _)| is_it(one)) {
            if let Some((one, _)) = self.waiting.remove(at) {
                self.report_unstarted(&one, Outcome::Cancelled);
            }
        } else if let Some((&token, running)) =
            self.running.iter_mut().find(|(_, running)| is_it(&running.attempt))
        {
            running.is_asked_to_end = true;
            self.order(&Order::End { token, signal });
        }
    }

    fn cancel_waiting(&mut self) {
        self.stopped_at = Some(Instant::now());
        for (attempt, _) in std::mem::take(&mut self.waiting) {
            self.report_unstarted(&attempt, Outcome::Cancelled);
        }
    }

    fn close(&mut self, strays: u32, survivors: Vec<String>) {
        self.done = true;
        (self.tell)(Report::Closed { strays, survivors });
    }

    fn order(&mut self, order: &Order) {
        if let Some(connection) = &self.connection
            && connection.send(order, &[]).is_err()
        {
            self.lose_guard();
        }
    }

    // --- starting ---

    fn start(&mut self, attempt: Box<Attempt>, since: Instant) {
        if self.connection.is_none()
            && let Err(error) = self.reconnect()
        {
            let doing = "start the guard process".to_owned();
            let reason = dirigent_core::fault::chain(&error);
            return self.report_unstarted(
                &attempt,
                Outcome::CouldNotStart { doing: doing.into(), reason: reason.into(), errno: None },
            );
        }
        let Some(connection) = &self.connection else { return };
        let (outs, errs) = match (pipe(), pipe()) {
            (Ok(outs), Ok(errs)) => (outs, errs),
            (Err(errno), _) | (_, Err(errno)) => {
                return self.wait_or_give_up(attempt, since, "make a pipe", errno);
            }
        };
        let token = self.next_token;
        self.next_token += 1;
        let order = match spawn_order(token, &attempt, since) {
            Ok(order) => Order::Spawn(order),
            Err(outcome) => return self.report_unstarted(&attempt, outcome),
        };
        let sent = connection.send(&order, &[outs.1.as_fd(), errs.1.as_fd()]);
        let cap = attempt.limits.output_bytes;
        let stream = |reader, name: &str| {
            Pipe::new(reader, Capture::new(attempt.folder.join(name), cap).masking(&attempt.secrets))
        };
        let pipes = [stream(outs.0, "stdout.log"), stream(errs.0, "stderr.log")];
        self.running.insert(token, Running { attempt, since, started: None, is_asked_to_end: false, pipes });
        if sent.is_err() {
            self.lose_guard();
        }
    }

    fn reconnect(&mut self) -> Result<(), ProcessError> {
        if self.guards_lost >= MOST_GUARDS_LOST {
            return Err(ProcessError::GuardUnstable { times: self.guards_lost });
        }
        self.connection = Some(Connection::open(&self.config.guard)?);
        Ok(())
    }

    /// The system has nothing to spare: later may do, unless nothing of ours will end and it has been long.
    fn wait_or_give_up(&mut self, attempt: Box<Attempt>, since: Instant, doing: &str, errno: Errno) {
        if self.stopped_at.is_some_and(|stopped| since < stopped) {
            return self.report_unstarted(&attempt, Outcome::Cancelled);
        }
        if self.running.is_empty() && since.elapsed() > EXHAUSTED_LIMIT {
            let outcome = Outcome::CouldNotStart {
                doing: doing.into(),
                reason: std::io::Error::from(errno).to_string().into(),
                errno: Some(errno.raw_os_error()),
            };
            return self.report_unstarted(&attempt, outcome);
        }
        self.waiting.push_back((attempt, since));
    }

    fn retry_waiting(&mut self) {
        for _ in 0..self.waiting.len() {
            let before = self.waiting.len();
            if let Some((attempt, since)) = self.waiting.pop_front() {
                self.start(attempt, since);
            }
            if self.waiting.len() >= before {
                return;
            }
        }
    }

    // --- hearing ---

    fn hear(&mut self) {
        while let Some(connection) = &mut self.connection {
            match connection.hear() {
                Heard::Word(word) => self.take(word),
                Heard::Silence => return,
                Heard::Gone => self.lose_guard(),
            }
        }
    }

    fn take(&mut self, word: Word) {
        match word {
            Word::Hello { version } if version == self.config.version => {}
            Word::Hello { version } => {
                let program = self.config.guard.clone();
                let error =
                    ProcessError::GuardVersion { program, found: version, wanted: self.config.version };
                self.fail(error);
            }
            Word::Started { token, pid, start_us } => {
                if let Some(running) = self.running.get_mut(&token) {
                    running.started = Some((pid, start_us));
                }
            }
            Word::NotStarted { token, doing, errno, exhausted } => {
                let Some(running) = self.running.remove(&token) else {
                    return;
                };
                let errno = Errno::from_raw_os_error(errno);
                if exhausted {
                    return self.wait_or_give_up(running.attempt, running.since, &doing, errno);
                }
                let reason = std::io::Error::from(errno).to_string();
                let reason = reason.split(" (os error").next().unwrap_or_default().to_owned();
                let outcome = Outcome::CouldNotStart {
                    doing: doing.into(),
                    reason: reason.into(),
                    errno: Some(errno.raw_os_error()),
                };
                self.report_unstarted(&running.attempt, outcome);
            }
            Word::Ended { token, exit, cause, usage, left_behind } => {
                if let Some(running) = self.running.remove(&token) {
                    let outcome = outcome(&running.attempt, exit, cause);
                    self.report(running, outcome, usage, left_behind);
                }
            }
            Word::Suspended => (self.tell)(Report::Suspended),
            Word::Continued => (self.tell)(Report::Continued),
            Word::Closed { strays, survivors } => {
                if let Some(connection) = self.connection.take() {
                    connection.part();
                }
                self.close(strays, survivors);
            }
        }
    }

    /// The guard is gone without a word: what it ran is ended from here, and told as lost.
    fn lose_guard(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let why = connection.bury();
        self.guards_lost += 1;
        let survivors = self.end_marked();
        for (_, running) in std::mem::take(&mut self.running) {
            let is_asked_to_end =
                running.is_asked_to_end || self.stopped_at.is_some_and(|stopped| running.since < stopped);
            let outcome = match is_asked_to_end {
                true => Outcome::Cancelled,
                false => Outcome::Lost { why: why.as_str().into() },
            };
            self.report(running, outcome, Usage::default(), 0);
        }
        if self.closing {
            self.close(0, survivors);
        }
    }

    /// Ends every process of this run that can be found, without a guard. Returns those that could not be.
    fn end_marked(&self) -> Vec<String> {
        let marks = std::slice::from_ref(&self.config.run_mark);
        let sessions: HashSet<i32> =
            self.running.values().filter_map(|running| Some(running.started?.0)).collect();
        let own_pid = std::process::id().cast_signed();
        let began = Instant::now();
        loop {
            let table = Table::read();
            let mut roots: Vec<i32> = table
                .all()
                .filter(|process| process.pid != own_pid)
                .filter(|process| sessions.contains(&process.session) || carries(process.pid, marks))
                .map(|process| process.pid)
                .collect();
            if self.config.adopts_orphans {
                roots.extend(table.descendants(own_pid));
            }
            let mut left = table.with_descendants(roots);
            left.remove(&own_pid);
            if left.is_empty() || began.elapsed() > Duration::from_secs(2) {
                let name = |pid: &i32| table.get(*pid).map(|process| format!("{pid} {}", process.name));
                return left.iter().filter_map(name).collect();
            }
            for pid in left {
                let _ = signal(pid, libc::SIGKILL);
                if let Some(pid) = rustix::process::Pid::from_raw(pid).filter(|_| self.config.adopts_orphans)
                {
                    let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
                }
            }
            let tick = rustix::event::Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
            let _ = poll(&mut [], Some(&tick));
        }
    }

    /// The worker cannot go on: everything is told, and it ends.
    fn fail(&mut self, error: ProcessError) {
        if let Some(connection) = self.connection.take() {
            connection.bury();
        }
        let why = error.to_string();
        for (_, running) in std::mem::take(&mut self.running) {
            self.report(running, Outcome::Lost { why: why.as_str().into() }, Usage::default(), 0);
        }
        self.done = true;
        (self.tell)(Report::Failed(error));
    }

    // --- reporting ---

    fn report(&mut self, mut running: Running, outcome: Outcome, usage: Usage, left_behind: u32) {
        for pipe in &mut running.pipes {
            pipe.drain(&mut self.buffer, 2 * BIG_PIPE_BYTES);
            pipe.capture.end();
        }
        let [mut stdout, mut stderr] = running.pipes.map(|pipe| pipe.capture);
        let last_lines =
            if outcome.is_success() { String::new() } else { last_lines(&mut stdout, &mut stderr) };
        let ended = Ended {
            usage,
            start_us: running.started.map_or(0, |(_, us)| us),
            stdout: stdout.finish().map(Box::new),
            stderr: stderr.finish().map(Box::new),
            left_behind,
            last_lines: last_lines.into(),
            ..Ended::new(outcome)
        };
        let Attempt { task, attempt, .. } = *running.attempt;
        (self.tell)(Report::Ended(AttemptReport { task, attempt, ended }));
    }

    fn report_unstarted(&mut self, attempt: &Attempt, outcome: Outcome) {
        (self.tell)(Report::Ended(AttemptReport::new(attempt.task, attempt.attempt, outcome)));
    }
}

/// A pipe whose reading end never waits.
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((reader, writer))
}
