//! Carrying ticks out: each by this very program as a child, its output in a log file, all of it recorded. What becomes of
//! a tick while the one before it still runs is decided here; when ticks come is not.

use super::jobs::Job;
use crate::fault::{CliError, exit, shown};
use crate::terminal;
use dirigent_core::text::printable;
use dirigent_journal::{Claim, Reader, Store, Tick, TickOutcome, Wish};
use dirigent_process::Identity;
use dirigent_project::Overlap;
use dirigent_report::quantity::shown_seconds;
use dirigent_schedule::zone;
use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many ticks of a schedule wait at most.
const MOST_WAITING: usize = 1000;
/// How often the ticks of other schedulers are looked at, while one of ours waits for them.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Carries ticks out.
pub(super) struct Carrier {
    jobs: Vec<Job>,
    program: PathBuf,
    root: PathBuf,
    store: Arc<Store>,
    /// This process, as the journal knows it.
    me: Identity,
    /// The signals that children begin with held back.
    held: libc::sigset_t,
    running: Vec<Running>,
    waiting: VecDeque<Waiting>,
    /// Ticks that somebody else carries out, or carried out.
    others: Vec<Tick>,
    /// Those of them that were asked to end.
    asked: HashSet<i64>,
}

/// A child of ours.
struct Running {
    job: usize,
    number: i64,
    claimed_at_ms: i64,
    started: Instant,
    child: Child,
    is_replaced: bool,
    /// When it is ended by force, once it was asked to end.
    deadline: Option<Instant>,
}

/// A tick whose turn has not come.
struct Waiting {
    job: usize,
    tick_ms: i64,
    by_hand: bool,
    /// Whether it waits whatever the policy is: it is one of several that are made up.
    is_patient: bool,
}

/// How a tick that was asked for out of turn went.
pub(super) struct Went {
    pub(super) job: usize,
    pub(super) number: i64,
    pub(super) exit_code: i32,
}

impl Carrier {
    /// Takes over what a scheduler that is gone has left open.
    pub(super) fn new(
        jobs: Vec<Job>,
        root: PathBuf,
        program: PathBuf,
        store: Arc<Store>,
        held: libc::sigset_t,
    ) -> Result<Self, CliError> {
        let me = Identity::of(std::process::id()).ok_or_else(|| {
            CliError::io("look at", Path::new("/proc/self"))(io::ErrorKind::NotFound.into())
        })?;
        let others = store.open_ticks()?;
        let (running, waiting, asked) = (Vec::new(), VecDeque::new(), HashSet::new());
        Ok(Self { jobs, program, root, store, me, held, running, waiting, others, asked })
    }

    pub(super) fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// How long to sleep at most.
    pub(super) fn patience(&self) -> Option<Duration> {
        let deadlines = self.running.iter().filter_map(|running| running.deadline);
        let others = (!self.others.is_empty()).then_some(LOOK_EVERY);
        let left = deadlines.min().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.map(|left| left + Duration::from_millis(1)).into_iter().chain(others).min()
    }

    /// Takes ticks that are due, in their order.
    pub(super) fn take(&mut self, job: usize, ticks_ms: &[i64], now_ms: i64) -> Result<(), CliError> {
        let is_patient = ticks_ms.len() > 1;
        for tick_ms in ticks_ms {
            self.take_one(Waiting { job, tick_ms: *tick_ms, by_hand: false, is_patient }, now_ms)?;
        }
        Ok(())
    }

    /// Takes a tick that somebody asks for out of turn.
    pub(super) fn take_by_hand(&mut self, job: usize, now_ms: i64) -> Result<(), CliError> {
        // The schedule's own tick of this very millisecond is another one.
        let is_own = self.jobs[job].declared.schedule.previous(now_ms) == Some(now_ms);
        let tick_ms = now_ms + i64::from(is_own);
        self.take_one(Waiting { job, tick_ms, by_hand: true, is_patient: false }, now_ms)
    }

    fn take_one(&mut self, tick: Waiting, now_ms: i64) -> Result<(), CliError> {
        let job = tick.job;
        let count = self.waiting.iter().filter(|waiting| waiting.job == job).count();
        match self.jobs[job].declared.overlap {
            _ if tick.is_patient && count < MOST_WAITING => {}
            Overlap::Skip if count > 0 => return self.note(&tick, TickOutcome::Skipped, now_ms),
            Overlap::Queue | Overlap::Skip if count >= MOST_WAITING => {
                return self.note(&tick, TickOutcome::Skipped, now_ms);
            }
            Overlap::Queue | Overlap::Skip => {}
            Overlap::Replace => {
                let (replaced, kept) = std::mem::take(&mut self.waiting)
                    .into_iter()
                    .partition::<VecDeque<_>, _>(|waiting| waiting.job == job);
                self.waiting = kept;
                for waiting in replaced {
                    self.note(&waiting, TickOutcome::Replaced, now_ms)?;
                }
            }
        }
        self.waiting.push_back(tick);
        self.advance(job, now_ms)
    }

    /// Records ticks that nobody carries out.
    pub(super) fn missed(&self, job: usize, last_ms: i64, count: usize, now_ms: i64) -> Result<(), CliError> {
        let by = self.me.to_string();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if self.store.note_tick(&self.wish(job, last_ms, false, &by, now_ms), TickOutcome::Missed, count)? {
            self.say(job, &format!("{count} missed, which are not made up"));
        }
        Ok(())
    }

    /// Starts what waits for a schedule and may start.
    fn advance(&mut self, job: usize, now_ms: i64) -> Result<(), CliError> {
        while let Some(place) = self.waiting.iter().position(|waiting| waiting.job == job) {
            let waiting = &self.waiting[place];
            let (tick_ms, by_hand) = (waiting.tick_ms, waiting.by_hand);
            let by = self.me.to_string();
            match self.store.claim_tick(&self.wish(job, tick_ms, by_hand, &by, now_ms))? {
                Claim::Yours(number) => {
                    self.waiting.remove(place);
                    self.start(job, number, tick_ms, now_ms)?;
                }
                // Somebody else has it, or the schedule stands still.
                Claim::Taken | Claim::Paused => drop(self.waiting.remove(place)),
                Claim::Busy(open) => {
                    let mut is_settled = true;
                    for tick in &open {
                        is_settled &= self.settle(tick, now_ms)?;
                    }
                    if is_settled {
                        continue;
                    }
                    self.others.retain(|other| open.iter().all(|tick| tick.number != other.number));
                    let me = self.me.to_string();
                    self.others.extend(open.iter().filter(|tick| tick.claimed_by != me).cloned());
                    match self.jobs[job].declared.overlap {
                        Overlap::Skip if !self.waiting[place].is_patient => {
                            if let Some(waiting) = self.waiting.remove(place) {
                                self.note(&waiting, TickOutcome::Skipped, now_ms)?;
                            }
                        }
                        Overlap::Replace if !self.waiting[place].is_patient => {
                            self.replace(job, &open);
                            return Ok(());
                        }
                        _ => return Ok(()),
                    }
                }
            }
        }
        Ok(())
    }

    /// Has whoever carries out another tick of the schedule end.
    fn replace(&mut self, job: usize, open: &[Tick]) {
        let patience = self.jobs[job].patience;
        for running in self.running.iter_mut().filter(|running| running.job == job && !running.is_replaced) {
            running.is_replaced = true;
            running.ask_to_end(libc::SIGTERM, patience);
        }
        let me = self.me.to_string();
        for tick in open.iter().filter(|tick| tick.claimed_by != me) {
            // Once each: a run takes the second request for "at once".
            if let Some(process) = identity(tick.process.as_deref())
                && self.asked.insert(tick.number)
            {
                process.signal(libc::SIGTERM);
            }
        }
    }

    fn start(&mut self, job: usize, number: i64, tick_ms: i64, now_ms: i64) -> Result<(), CliError> {
        let log = self.store.tick_log(number)?;
        let child = match self.spawn(job, tick_ms, &log) {
            Ok(child) => child,
            Err(error) => {
                self.say(job, &format!("cannot be started: {error}"));
                return Ok(self.store.tick_ended(number, now_ms, TickOutcome::Lost, None, None)?);
            }
        };
        if let Some(process) = Identity::of(child.id()) {
            self.store.tick_started(number, &process.to_string())?;
        }
        self.say(job, &format!("started, and prints to {}", shown(&log)));
        self.running.push(Running {
            job,
            number,
            claimed_at_ms: now_ms,
            started: Instant::now(),
            child,
            is_replaced: false,
            deadline: None,
        });
        Ok(())
    }

    fn spawn(&self, job: usize, tick_ms: i64, log: &Path) -> io::Result<Child> {
        let declared = &self.jobs[job].declared;
        let output = File::options().write(true).create(true).truncate(true).mode(0o600).open(log)?;
        let mut command = Command::new(&self.program);
        command
            .arg("run")
            .args(&declared.run.value)
            .current_dir(&self.root)
            .env("DIRIGENT_STATE_DIR", self.store.folder())
            .env("DIRIGENT_SCHEDULE", &declared.name)
            .env("DIRIGENT_TICK", zone::shown(tick_ms, &declared.zone))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let held = self.held;
        // SAFETY: between fork and exec only calls that are allowed there, on memory of this closure.
        unsafe {
            command.pre_exec(move || {
                // A session of its own: what the terminal sends to this program reaches the run through us, and once.
                libc::setsid();
                libc::sigprocmask(libc::SIG_SETMASK, &raw const held, std::ptr::null_mut());
                Ok(())
            });
        }
        command.spawn()
    }

    /// Looks which children have ended, which have not in time, and what others do.
    pub(super) fn look(&mut self, now_ms: i64) -> Result<Vec<Went>, CliError> {
        let mut went = Vec::new();
        let mut place = 0;
        while let Some(running) = self.running.get_mut(place) {
            match running.child.try_wait() {
                Ok(Some(status)) => {
                    let running = self.running.swap_remove(place);
                    went.push(self.ended(&running, status, now_ms)?);
                }
                // A child of ours can be waited for; whatever else is said ends by force at its deadline.
                _ => {
                    if running.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        let _ = running.child.kill();
                        running.deadline = None;
                    }
                    place += 1;
                }
            }
        }
        self.look_at_others(now_ms)?;
        for went in &went {
            self.advance(went.job, now_ms)?;
        }
        Ok(went)
    }

    fn ended(&self, running: &Running, status: ExitStatus, now_ms: i64) -> Result<Went, CliError> {
        let exit_code =
            status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(exit::INTERNAL);
        let run = self.run_of(running.child.id(), running.claimed_at_ms);
        let outcome = if running.is_replaced { TickOutcome::Replaced } else { TickOutcome::Ran };
        self.store.tick_ended(running.number, now_ms, outcome, Some(exit_code), run.as_deref())?;
        let took = shown_seconds(running.started.elapsed().as_secs_f64());
        let run = run.map(|run| format!(", run {run}")).unwrap_or_default();
        self.say(running.job, &format!("ended with exit code {exit_code} after {took}{run}"));
        Ok(Went { job: running.job, number: running.number, exit_code })
    }

    fn run_of(&self, pid: u32, since_ms: i64) -> Option<String> {
        Reader::open(self.store.folder()).and_then(|reader| reader.run_of(pid, since_ms)).ok().flatten()
    }

    fn look_at_others(&mut self, now_ms: i64) -> Result<(), CliError> {
        let mut settled = Vec::new();
        let mut open = Vec::new();
        for tick in std::mem::take(&mut self.others) {
            match self.settle(&tick, now_ms)? {
                true => settled.push(tick.schedule),
                false => open.push(tick),
            }
        }
        self.others = open;
        for job in 0..self.jobs.len() {
            if settled.contains(&self.jobs[job].declared.name) {
                self.advance(job, now_ms)?;
            }
        }
        Ok(())
    }

    /// Whether a tick that had not ended when it was read has, or has now been recorded so: nobody else will where the
    /// process that claimed it is gone.
    fn settle(&self, tick: &Tick, now_ms: i64) -> Result<bool, CliError> {
        let is_claimed = identity(Some(&tick.claimed_by)).is_some_and(Identity::is_alive);
        // What was read may be old by now.
        let Some(tick) = self.store.open_tick(tick.number)? else { return Ok(true) };
        let process = identity(tick.process.as_deref());
        if is_claimed || process.is_some_and(Identity::is_alive) {
            return Ok(false);
        }
        let (outcome, run) = match process {
            Some(process) => (TickOutcome::Ran, self.run_of(process.pid, tick.claimed_at_ms)),
            None => (TickOutcome::Lost, None),
        };
        self.store.tick_ended(tick.number, now_ms, outcome, None, run.as_deref())?;
        Ok(true)
    }

    fn wish<'a>(&'a self, job: usize, tick_ms: i64, by_hand: bool, by: &'a str, now_ms: i64) -> Wish<'a> {
        Wish { schedule: &self.jobs[job].declared.name, tick_ms, by_hand, by, now_ms }
    }

    fn note(&self, tick: &Waiting, outcome: TickOutcome, now_ms: i64) -> Result<(), CliError> {
        let by = self.me.to_string();
        if self.store.note_tick(&self.wish(tick.job, tick.tick_ms, tick.by_hand, &by, now_ms), outcome, 1)? {
            let tick_at = zone::shown(tick.tick_ms, &self.jobs[tick.job].declared.zone);
            let why = match outcome {
                TickOutcome::Replaced => "the next one came",
                _ => "the one before it still runs",
            };
            self.say(tick.job, &format!("{tick_at} is {outcome}: {why}"));
        }
        Ok(())
    }

    /// Starts nothing more, and has what runs end: the first time politely.
    pub(super) fn end_all(&mut self, signal: i32) {
        self.waiting.clear();
        self.others.clear();
        for running in &mut self.running {
            running.ask_to_end(signal, self.jobs[running.job].patience);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    fn say(&self, job: usize, what: &str) {
        terminal::say(&format!("{}: {what}\n", printable(&self.jobs[job].declared.name)));
    }
}

impl Running {
    fn ask_to_end(&mut self, signal: i32, patience: Duration) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // SAFETY: `kill` touches no memory of ours; the child has not been waited for, so the id is its own.
            unsafe { libc::kill(pid, signal) };
        }
        self.deadline.get_or_insert_with(|| Instant::now() + patience);
    }
}

fn identity(text: Option<&str>) -> Option<Identity> {
    text?.parse().ok()
}
