//! The guard: a small process that spawns an engine's children and outlives the engine just long enough to end them.
//!
//! How it works:
//! 1. It is the subreaper of everything it starts: whatever a child leaves behind becomes a child of the guard, never of
//!    process 1, and so can always be found again.
//! 2. It lives in a session of its own, so that no signal of a terminal reaches it, and it watches the engine by a
//!    pidfd as well as by the control socket: a copy of the socket in some fork of the engine keeps nothing alive.
//! 3. One thread, one loop: orders, deaths, timers. Nothing in it waits for anything else.
//! 4. A process belongs to an attempt by descent, by session, or by the marks in its environment. What shows none of
//!    them belongs to the run, and ends with it.

use crate::clock::{Clock, shared_us};
use crate::reap::{Dead, Reaper, death_notices, micros};
use crate::spawn::Spawner;
use crate::table::{Process, Table, carries, own_children, proportional_bytes, signal, signal_all};
use crate::wire::{Cause, Exit, Frames, Order, Spawn, Word, frame};
use dirigent_core::outcome::Usage;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The hidden verb by which the program becomes a guard.
pub const VERB: &str = "__guard";

/// How long processes that a finished child left behind have between SIGTERM and SIGKILL.
const LEFTOVER_GRACE: Duration = Duration::from_millis(100);
/// How long trees that were already asked to end may still take when the engine is gone.
const ORPHANED_GRACE: Duration = Duration::from_secs(1);
/// How often a tree that is being ended, or that outlives its first process, is looked at again.
const LINGER_TICK: Duration = Duration::from_millis(5);
/// How long a word that nobody waits for may be held back, so that a short child costs the engine one waking less.
const LATE: Duration = Duration::from_millis(5);
/// How often the memory of a limited tree is looked at.
const MEMORY_TICK: Duration = Duration::from_millis(100);
/// How long the last sweep tries before it names what it could not end.
const SWEEP_LIMIT: Duration = Duration::from_secs(2);

/// Runs as the guard of the engine with this process id, over the control socket on standard input; children inherit the
/// environment. Returns the exit code of the process.
pub fn run(engine_pid: i32, version: &str, environment: impl Iterator<Item = (OsString, OsString)>) -> i32 {
    match Guard::start(engine_pid, environment) {
        Ok(mut guard) => {
            guard.say(&Word::Hello { version: version.to_owned() });
            guard.serve();
            0
        }
        Err(_) => 4,
    }
}

/// One attempt's first process, and what is known of its tree.
struct Child {
    token: u64,
    pid: i32,
    marks: Vec<Vec<u8>>,
    started: Duration,
    ends_at: Option<Duration>,
    grace: Duration,
    memory_bytes: Option<u64>,
    leave_running: bool,
    cause: Cause,
    /// When the tree is killed; set once it was asked to end.
    kill_at: Option<Duration>,
    /// How the first process ended, while others of the tree still live.
    dead: Option<(Exit, Usage)>,
    left_behind: u32,
}

/// What a child with `leave_running` left: spared for ever.
struct Kept {
    session: i32,
    marks: Vec<Vec<u8>>,
}

struct Guard {
    pid: i32,
    control: OwnedFd,
    engine: OwnedFd,
    deaths: OwnedFd,
    null: OwnedFd,
    frames: Frames,
    received: VecDeque<OwnedFd>,
    outgoing: Vec<u8>,
    /// Since when all of it may wait.
    late_since: Option<Instant>,
    spawner: Spawner,
    reaper: Reaper,
    clock: Clock,
    children: HashMap<i32, Child>,
    kept: Vec<Kept>,
    memory_looked_at: Duration,
    engine_is_gone: bool,
    closing: bool,
}

impl Guard {
    fn start(
        engine_pid: i32,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Errno> {
        let engine = rustix::process::Pid::from_raw(engine_pid).ok_or(Errno::INVAL)?;
        let _ = rustix::process::setsid();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let engine_fd = rustix::process::pidfd_open(engine, rustix::process::PidfdFlags::empty())?;
        if rustix::process::getppid() != Some(engine) {
            return Err(Errno::SRCH);
        }
        // The control socket moves away from standard input, so that no child ever holds it.
        let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        rustix::io::ioctl_fionbio(&control, true)?;
        let null =
            rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC, 0.into())?;
        rustix::stdio::dup2_stdin(&null)?;
        let _ = rustix::process::chdir("/");
        Ok(Self {
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            control,
            engine: engine_fd,
            deaths: death_notices()?,
            null,
            frames: Frames::default(),
            received: VecDeque::new(),
            outgoing: Vec::new(),
            late_since: None,
            spawner: Spawner::new(environment),
            reaper: Reaper::new(),
            clock: Clock::new(),
            children: HashMap::new(),
            kept: Vec::new(),
            memory_looked_at: Duration::ZERO,
            engine_is_gone: false,
            closing: false,
        })
    }

    fn serve(&mut self) {
        loop {
            self.reap();
            self.look_at_timers();
            // Before the question whether it is over: to speak may be how it hears that the engine is gone.
            if !self.may_be_late() {
                self.flush();
            }
            if (self.closing || self.engine_is_gone) && self.children.is_empty() {
                let (strays, survivors) = self.sweep();
                self.say(&Word::Closed { strays, survivors });
                self.flush_before_exit();
                return;
            }
            self.wait();
            self.read_orders();
        }
    }

    /// Sleeps until an order, a death, the engine's end, or the next timer.
    fn wait(&mut self) {
        let late = self.late_since.map(|_| LATE);
        let timeout = self.next_timer().into_iter().chain(late).min().map(|left| rustix::event::Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let is_held_back = self.outgoing.is_empty() || self.may_be_late();
        let writable = if is_held_back { PollFlags::empty() } else { PollFlags::OUT };
        let readable = if self.engine_is_gone { PollFlags::empty() } else { PollFlags::IN };
        let (is_notified, engine_is_gone) = {
            let mut fds = vec![PollFd::new(&self.deaths, PollFlags::IN)];
            if !self.engine_is_gone {
                fds.push(PollFd::new(&self.engine, PollFlags::IN));
                fds.push(PollFd::new(&self.control, readable | writable));
            }
            let _ = poll(&mut fds, timeout.as_ref());
            let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
            (is_ready(&fds[0]), fds.get(1).is_some_and(is_ready))
        };
        if is_notified {
            let mut notice = [0u8; 1024];
            while rustix::io::read(&self.deaths, &mut notice).is_ok() {}
        }
        if engine_is_gone {
            self.lose_engine();
        }
    }

    fn next_timer(&self) -> Option<Duration> {
        let now = self.clock.now();
        let of_child = |child: &Child| {
            let linger = (child.dead.is_some() || child.kill_at.is_some_and(|at| at <= now))
                .then(|| now + LINGER_TICK);
            let memory = child.memory_bytes.map(|_| self.memory_looked_at + MEMORY_TICK);
            let kill = child.kill_at.filter(|at| *at > now);
            let end = child.ends_at.filter(|_| child.kill_at.is_none());
            [linger, memory, kill, end].into_iter().flatten().min()
        };
        if self.clock.is_stopped() {
            return None;
        }
        self.children.values().filter_map(of_child).min().map(|at| at.saturating_sub(now))
    }

    // --- orders ---

    fn read_orders(&mut self) {
        let mut bytes = [0u8; 64 * 1024];
        while !self.engine_is_gone {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let received =
                rustix::net::recvmsg(&self.control, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC);
            let length = match received {
                Ok(message) if message.bytes > 0 => message.bytes,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => continue,
                Ok(_) | Err(_) => return self.lose_engine(),
            };
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    self.received.extend(descriptors);
                }
            }
            self.frames.push(&bytes[..length]);
            loop {
                match self.frames.next() {
                    Ok(Some(order)) => self.obey(order),
                    Ok(None) => break,
                    Err(_) => return self.lose_engine(),
                }
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Spawn(spawn) => self.spawn(spawn),
            Order::End { token, signal } => {
                let pids: Vec<i32> = self
                    .children
                    .values()
                    .filter(|child| child.token == token)
                    .map(|child| child.pid)
                    .collect();
                self.end(&pids, signal, Cause::Asked);
            }
            Order::EndAll { signal } => {
                let pids: Vec<i32> = self.children.keys().copied().collect();
                self.end(&pids, signal, Cause::Asked);
            }
            Order::KillAll => self.kill_all(),
            Order::Suspend => self.suspend(),
            Order::Continue => self.go_on(),
            Order::Close => self.closing = true,
        }
    }

    fn spawn(&mut self, order: Spawn) {
        let token = order.token;
        // The kernel drops descriptors that this process has no room for: then one of the two is missing.
        let (Some(stdout), Some(stderr)) = (self.received.pop_front(), self.received.pop_front()) else {
            let doing = "receive the output pipes".to_owned();
            let errno = Errno::MFILE.raw_os_error();
            return self.say(&Word::NotStarted { token, doing, errno, exhausted: true });
        };
        match self.spawner.spawn(&order, self.null.as_fd(), stdout.as_fd(), stderr.as_fd()) {
            Ok(pid) => {
                let now = self.clock.now();
                let child = Child {
                    token,
                    pid,
                    marks: order.marks,
                    started: now,
                    ends_at: order.timeout_ms.map(|ms| now + Duration::from_millis(ms)),
                    grace: Duration::from_millis(order.grace_ms),
                    memory_bytes: order.memory_bytes,
                    leave_running: order.leave_running,
                    cause: Cause::Own,
                    kill_at: None,
                    dead: None,
                    left_behind: 0,
                };
                self.children.insert(pid, child);
                let start_us = shared_us().saturating_sub(order.asked_us);
                self.say_later(&Word::Started { token, pid, start_us });
            }
            Err(refused) => self.say(&Word::NotStarted {
                token,
                exhausted: refused.is_exhaustion(),
                doing: refused.doing,
                errno: refused.errno.raw_os_error(),
            }),
        }
    }

    /// Asks trees to end: the signal to every process now, SIGKILL to what is left after the grace.
    fn end(&mut self, pids: &[i32], how: i32, cause: Cause) {
        let table = Table::read();
        let now = self.clock.now();
        for pid in pids {
            let tree = self.tree(*pid, &table);
            let Some(child) = self.children.get_mut(pid) else {
                continue;
            };
            if child.kill_at.is_none() {
                child.kill_at = Some(now + child.grace);
                if child.dead.is_none() {
                    child.cause = cause;
                }
            }
            signal_all(&tree, &table, how);
        }
    }

    fn kill_all(&mut self) {
        self.clock.go_on();
        let now = self.clock.now();
        for child in self.children.values_mut() {
            if child.dead.is_none() && child.cause == Cause::Own {
                child.cause = Cause::Asked;
            }
            child.kill_at = Some(now);
        }
    }

    /// Stops every process, again until none is left running, since a parent may fork while it is being stopped.
    fn suspend(&mut self) {
        self.clock.stop();
        for _ in 0..20 {
            let table = Table::read();
            let mine = self.all_but_kept(&table);
            let running: Vec<i32> =
                mine.into_iter().filter(|pid| !table.get(*pid).is_some_and(Process::is_stopped)).collect();
            if running.is_empty() {
                break;
            }
            for pid in running {
                let _ = signal(pid, libc::SIGSTOP);
            }
        }
        self.say(&Word::Suspended);
    }

    fn go_on(&mut self) {
        self.clock.go_on();
        let table = Table::read();
        for pid in self.all_but_kept(&table) {
            let _ = signal(pid, libc::SIGCONT);
        }
        self.say(&Word::Continued);
    }

    /// The engine is gone: what it had asked to end keeps a little of its grace, everything else is killed.
    fn lose_engine(&mut self) {
        if std::mem::replace(&mut self.engine_is_gone, true) {
            return;
        }
        self.clock.go_on();
        let now = self.clock.now();
        for child in self.children.values_mut() {
            child.kill_at = Some(child.kill_at.map_or(now, |at| at.min(now + ORPHANED_GRACE)));
        }
    }

    // --- deaths and timers ---

    fn reap(&mut self) {
        while let Some(Dead { pid, exit, mut usage }) = self.reaper.next() {
            let Some(child) = self.children.get_mut(&pid) else {
                continue;
            };
            usage.wall_us = micros(self.clock.now() - child.started);
            child.dead = Some((exit, usage));
            let leaders = &self.children;
            let orphans = own_children(self.pid).into_iter().any(|pid| !leaders.contains_key(&pid));
            let tree = if orphans { self.tree(pid, &Table::read()) } else { HashSet::new() };
            self.after_leader(pid, &tree);
        }
    }

    /// The first process of a tree is dead: the attempt ends when the rest is.
    fn after_leader(&mut self, pid: i32, tree: &HashSet<i32>) {
        let now = self.clock.now();
        let Some(child) = self.children.get_mut(&pid) else {
            return;
        };
        if tree.is_empty() {
            return self.finish(pid);
        }
        if child.kill_at.is_none() {
            child.left_behind = u32::try_from(tree.len()).unwrap_or(u32::MAX);
            if child.leave_running {
                self.kept.push(Kept { session: pid, marks: child.marks.clone() });
                return self.finish(pid);
            }
            child.kill_at = Some(now + LEFTOVER_GRACE);
            for process in tree {
                let _ = signal(*process, libc::SIGTERM);
            }
        }
    }

    fn finish(&mut self, pid: i32) {
        let Some(child) = self.children.remove(&pid) else {
            return;
        };
        let Some((exit, usage)) = child.dead else { return };
        let Child { token, cause, left_behind, .. } = child;
        self.say(&Word::Ended { token, exit, cause, usage, left_behind });
    }

    fn look_at_timers(&mut self) {
        if self.clock.is_stopped() {
            return;
        }
        let now = self.clock.now();
        let late = |child: &Child| child.kill_at.is_none() && child.ends_at.is_some_and(|at| at <= now);
        let late: Vec<i32> =
            self.children.values().filter(|child| late(child)).map(|child| child.pid).collect();
        if !late.is_empty() {
            self.end(&late, libc::SIGTERM, Cause::Time);
        }
        let lingers = |child: &Child| child.dead.is_some() || child.kill_at.is_some_and(|at| at <= now);
        let lingering: Vec<i32> =
            self.children.values().filter(|child| lingers(child)).map(|child| child.pid).collect();
        if !lingering.is_empty() {
            let table = Table::read();
            for pid in lingering {
                self.look_at_lingering(pid, &table, now);
            }
        }
        if now >= self.memory_looked_at + MEMORY_TICK
            && self.children.values().any(|c| c.memory_bytes.is_some())
        {
            self.memory_looked_at = now;
            self.look_at_memory();
        }
    }

    fn look_at_lingering(&mut self, pid: i32, table: &Table, now: Duration) {
        let tree = self.tree(pid, table);
        let Some(child) = self.children.get(&pid) else {
            return;
        };
        if tree.is_empty() && child.dead.is_some() {
            self.finish(pid);
        } else if child.kill_at.is_some_and(|at| at <= now) {
            signal_all(&tree, table, libc::SIGKILL);
        }
    }

    fn look_at_memory(&mut self) {
        let table = Table::read();
        let over = |child: &Child| {
            let Some(limit) = child.memory_bytes.filter(|_| child.kill_at.is_none()) else {
                return false;
            };
            let tree = self.tree(child.pid, &table);
            let resident: u64 = tree.iter().filter_map(|pid| table.get(*pid)).map(|p| p.resident_bytes).sum();
            // Shared pages count once for each process in the cheap sum: only a proportional count convicts.
            resident > limit && tree.iter().map(|pid| proportional_bytes(*pid)).sum::<u64>() > limit
        };
        let over: Vec<i32> =
            self.children.values().filter(|child| over(child)).map(|child| child.pid).collect();
        if !over.is_empty() {
            self.end(&over, libc::SIGTERM, Cause::Memory);
        }
    }

    // --- whose is what ---

    /// The living processes of one attempt: its first process with all descendants, and of what lost its parents, what
    /// is in its session or carries its marks.
    fn tree(&self, pid: i32, table: &Table) -> HashSet<i32> {
        let Some(child) = self.children.get(&pid) else {
            return HashSet::new();
        };
        let under_others =
            table.with_descendants(self.children.keys().copied().filter(|other| *other != pid));
        let belongs = |process: &Process| {
            process.session == pid
                || (!self.children.contains_key(&process.session) && carries(process.pid, &child.marks))
        };
        // Once the first process is reaped, its number may be somebody else's.
        let first = child.dead.is_none().then_some(pid);
        let own = table.with_descendants(first);
        let orphans = table
            .descendants(self.pid)
            .into_iter()
            .filter(|other| !own.contains(other) && !under_others.contains(other))
            .filter(|other| table.get(*other).is_some_and(belongs));
        table.with_descendants(orphans.chain(first))
    }

    /// Every living process below the guard, without those that may stay.
    fn all_but_kept(&self, table: &Table) -> HashSet<i32> {
        let mut all = table.descendants(self.pid);
        if !self.kept.is_empty() {
            let is_kept = |pid: &i32| {
                let session = table.get(*pid).map(|process| process.session);
                self.kept.iter().any(|kept| session == Some(kept.session) || carries(*pid, &kept.marks))
            };
            let kept = table.with_descendants(all.iter().copied().filter(is_kept).collect::<Vec<_>>());
            all.retain(|pid| !kept.contains(pid));
        }
        all
    }

    /// Ends everything that is left, politely while the engine lives. Returns how many processes there were, and those
    /// that could not be ended.
    fn sweep(&mut self) -> (u32, Vec<String>) {
        let began = Instant::now();
        let polite = if self.engine_is_gone { Duration::ZERO } else { LEFTOVER_GRACE };
        let mut strays = HashSet::new();
        loop {
            while self.reaper.next().is_some() {}
            if own_children(self.pid).is_empty() {
                // Whatever descends from here hangs on a child of ours, adopted or not.
                return (u32::try_from(strays.len()).unwrap_or(u32::MAX), Vec::new());
            }
            let table = Table::read();
            let left = self.all_but_kept(&table);
            if left.is_empty() || began.elapsed() > SWEEP_LIMIT {
                let name = |pid: &i32| table.get(*pid).map(|process| format!("{pid} {}", process.name));
                return (
                    u32::try_from(strays.len()).unwrap_or(u32::MAX),
                    left.iter().filter_map(name).collect(),
                );
            }
            for pid in &left {
                let new = strays.insert(*pid);
                if began.elapsed() >= polite {
                    let _ = signal(*pid, libc::SIGKILL);
                } else if new {
                    let _ = signal(*pid, libc::SIGTERM);
                }
            }
            let tick = rustix::event::Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
            let _ = poll(&mut [PollFd::new(&self.deaths, PollFlags::IN)], Some(&tick));
            let mut notice = [0u8; 1024];
            while rustix::io::read(&self.deaths, &mut notice).is_ok() {}
        }
    }

    // --- words ---

    fn say(&mut self, word: &Word) {
        if !self.engine_is_gone {
            self.outgoing.extend(frame(word));
            self.late_since = None;
        }
    }

    /// Says what nobody waits for: with the next word, or when there has been none for a moment.
    fn say_later(&mut self, word: &Word) {
        let others_wait = !self.outgoing.is_empty() && self.late_since.is_none();
        self.say(word);
        if !others_wait {
            self.late_since = Some(Instant::now());
        }
    }

    fn may_be_late(&self) -> bool {
        self.late_since.is_some_and(|since| since.elapsed() < LATE)
    }

    fn flush(&mut self) {
        self.late_since = None;
        while !self.outgoing.is_empty() && !self.engine_is_gone {
            match rustix::net::send(&self.control, &self.outgoing, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
            {
                Ok(sent) => drop(self.outgoing.drain(..sent)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.lose_engine(),
            }
        }
    }

    fn flush_before_exit(&mut self) {
        let _ = rustix::io::ioctl_fionbio(&self.control, false);
        while !self.outgoing.is_empty() && !self.engine_is_gone {
            match rustix::net::send(&self.control, &self.outgoing, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.outgoing.drain(..sent)),
                Err(_) => return,
            }
        }
    }
}
