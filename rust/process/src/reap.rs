//! Collecting the dead: how each ended, what it used, and whether the kernel ended it for want of memory.

use crate::wire::Exit;
use dirigent_core::outcome::Usage;
use rustix::io::Errno;
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

/// A child that ended, an adopted one perhaps.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) pid: i32,
    pub(crate) exit: Exit,
    /// CPU time and memory; wall time is for whoever knows when it started.
    pub(crate) usage: Usage,
}

/// Collects the dead of the calling process.
#[derive(Debug)]
pub(crate) struct Reaper {
    own_group: Option<String>,
    out_of_memory_before: u64,
}

impl Reaper {
    pub(crate) fn new() -> Self {
        let own_group = memory_group("self");
        let out_of_memory_before = own_group.as_deref().map_or(0, kills_for_memory);
        Self { own_group, out_of_memory_before }
    }

    /// Takes one of the dead; `None` when there is none just now.
    pub(crate) fn next(&mut self) -> Option<Dead> {
        // SAFETY: the structure is plain data, filled in by the call; WNOWAIT leaves the zombie where it is, so that
        // its control group can still be asked.
        let (pid, killed) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            if libc::waitid(libc::P_ALL, 0, &raw mut info, options) != 0 || info.si_pid() == 0 {
                return None;
            }
            (info.si_pid(), info.si_code == libc::CLD_KILLED && info.si_status() == libc::SIGKILL)
        };
        let out_of_memory = killed && self.was_out_of_memory(pid);
        let mut status = 0;
        // SAFETY: both structures are plain data, filled in by the call.
        let used = unsafe {
            let mut used: libc::rusage = std::mem::zeroed();
            if libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut used) != pid {
                return None;
            }
            used
        };
        let exit = if libc::WIFSIGNALED(status) {
            Exit::Signal {
                signal: libc::WTERMSIG(status),
                core_dumped: libc::WCOREDUMP(status),
                out_of_memory,
            }
        } else {
            Exit::Code(libc::WEXITSTATUS(status))
        };
        Some(Dead { pid, exit, usage: usage(&used) })
    }

    /// Asks whether the kernel has killed for want of memory: in our own control group since we last looked, or in the
    /// one of the dead. Version 1 no longer tells the group of a zombie; a group of its own is then not asked.
    fn was_out_of_memory(&mut self, pid: i32) -> bool {
        let own = self.own_group.as_deref().map_or(0, kills_for_memory);
        if own > std::mem::replace(&mut self.out_of_memory_before, own) {
            return true;
        }
        let group = memory_group(&pid.to_string());
        group.is_some_and(|group| {
            Some(&group) != self.own_group.as_ref() && !is_root(&group) && kills_for_memory(&group) > 0
        })
    }
}

/// Whether these are the figures of the whole machine, which say nothing of one process.
fn is_root(group: &str) -> bool {
    matches!(group, "/sys/fs/cgroup/memory/memory.oom_control" | "/sys/fs/cgroup/memory.events")
}

fn usage(used: &libc::rusage) -> Usage {
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    Usage {
        wall_us: 0,
        user_us: micros(used.ru_utime),
        system_us: micros(used.ru_stime),
        peak_memory_bytes: used.ru_maxrss as u64 * 1024,
    }
}

/// Where the kernel keeps the memory figures of a process's control group. Source: `cgroups(7)`.
fn memory_group(pid: &str) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?.trim_end_matches('/'));
        if controllers.split(',').any(|controller| controller == "memory") {
            return Some(format!("/sys/fs/cgroup/memory{path}/memory.oom_control"));
        }
        let unified = format!("/sys/fs/cgroup{path}/memory.events");
        (controllers.is_empty() && fs::exists(&unified).is_ok_and(|there| there)).then_some(unified)
    })
}

fn kills_for_memory(file: &str) -> u64 {
    let figures = fs::read_to_string(file).unwrap_or_default();
    figures.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

/// How long something took, for a [`Usage`].
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A descriptor that is readable when a child has ended. Everything else that could interrupt the loop is blocked.
pub(crate) fn death_notices() -> Result<OwnedFd, Errno> {
    // SAFETY: plain system calls on memory of this function; the descriptor is new and owned by nobody else. Signals
    // that are ignored stay ignored, so that `nohup` reaches the children.
    unsafe {
        let mut every = std::mem::zeroed();
        libc::sigfillset(&raw mut every);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const every, std::ptr::null_mut());
        let mut deaths = std::mem::zeroed();
        libc::sigemptyset(&raw mut deaths);
        libc::sigaddset(&raw mut deaths, libc::SIGCHLD);
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        match libc::signalfd(-1, &raw const deaths, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(Errno::from_raw_os_error(*libc::__errno_location())),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
