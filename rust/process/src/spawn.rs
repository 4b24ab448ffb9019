//! Starting a child in a session of its own, without ever copying the memory of the caller.
//!
//! The standard library makes no sessions without falling back to `fork`, whose cost grows with the caller's memory.
//! Here `clone` shares the memory and suspends the caller until the child has become its program (as `vfork` does), on
//! a stack of the child's own. The child writes what failed where the caller can read it.

use crate::wire::Spawn;
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// Bytes of stack for the few calls between `clone` and `execve`.
const STACK_BYTES: usize = 64 * 1024;

/// Starts children.
pub(crate) struct Spawner {
    environment: Vec<(Vec<u8>, CString)>,
    stack: Vec<u128>,
}

/// Why a child was not started.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What was being done, as a bare verb with its object.
    pub(crate) doing: String,
    pub(crate) errno: Errno,
}

impl Refused {
    /// Whether the same may work when something else has ended.
    pub(crate) fn is_exhaustion(&self) -> bool {
        self.doing == FORK && matches!(self.errno, Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE)
    }
}

/// What every program may inherit: without these, few work.
const BASE: &[&[u8]] = &[
    b"HOME",
    b"LANG",
    b"LANGUAGE",
    b"LC_*",
    b"LOGNAME",
    b"PATH",
    b"SHELL",
    b"TERM",
    b"TMPDIR",
    b"TZ",
    b"USER",
];

const FORK: &str = "make a process";

/// What the child needs between `clone` and `execve`. No allocation there: everything is ready before.
struct Plan {
    program: CString,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    cwd: CString,
    stdin: i32,
    stdout: i32,
    stderr: i32,
    data_limit: Option<u64>,
    dies_with: Option<i32>,
    /// Which step failed, and with what; zero steps is success.
    failed_step: i32,
    errno: i32,
}

const STEP_DESCRIPTORS: i32 = 1;
const STEP_CHDIR: i32 = 2;
const STEP_EXEC: i32 = 3;

impl Spawner {
    /// Takes the environment that children inherit.
    pub(crate) fn new(environment: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let environment = environment
            .filter_map(|(name, value)| {
                let name = name.as_bytes().to_vec();
                Some((name.clone(), variable(&name, value.as_bytes())?))
            })
            .collect();
        Self { environment, stack: vec![0; STACK_BYTES / size_of::<u128>()] }
    }

    /// Starts a child: session leader, no controlling terminal, the given three descriptors, nothing else open.
    pub(crate) fn spawn(
        &mut self,
        order: &Spawn,
        stdin: BorrowedFd<'_>,
        stdout: BorrowedFd<'_>,
        stderr: BorrowedFd<'_>,
    ) -> Result<i32, Refused> {
        let nul = |what: &str| Refused { doing: format!("use a NUL byte in {what}"), errno: Errno::INVAL };
        let c_string = |bytes: &[u8], what: &str| CString::new(bytes).map_err(|_| nul(what));
        let changes = changes(&order.env)?;
        let path = match changes.get(b"PATH".as_slice()) {
            Some(change) => change.as_deref().map(|variable| &variable.to_bytes()[b"PATH=".len()..]),
            None => self.inherited(b"PATH"),
        };
        let argv0 = order.argv.first().map_or(&b""[..], Vec::as_slice);
        let program = c_string(&find_program(argv0, path)?, "the program's name")?;
        let argv: Vec<CString> =
            order.argv.iter().map(|arg| c_string(arg, "an argument")).collect::<Result<_, _>>()?;
        let environment: Vec<&CStr> = self
            .environment
            .iter()
            .filter(|(name, _)| !changes.contains_key(name.as_slice()) && is_passed(name, order))
            .map(|(_, variable)| variable.as_c_str())
            .chain(changes.values().flatten().map(CString::as_c_str))
            .collect();
        let mut plan = Plan {
            program,
            argv: argv.iter().map(|arg| arg.as_ptr()).chain([std::ptr::null()]).collect(),
            envp: environment.iter().map(|variable| variable.as_ptr()).chain([std::ptr::null()]).collect(),
            cwd: c_string(&order.cwd, "the working directory")?,
            stdin: stdin.as_raw_fd(),
            stdout: stdout.as_raw_fd(),
            stderr: stderr.as_raw_fd(),
            data_limit: order.memory_bytes,
            dies_with: (!order.leave_running).then(|| std::process::id() as i32),
            failed_step: 0,
            errno: 0,
        };
        let top = self.stack.as_mut_ptr_range().end.cast::<libc::c_void>();
        // SAFETY: the child runs `become_program` on a stack of its own, 16-byte aligned, that nothing else uses while
        // CLONE_VFORK keeps this thread waiting; the plan and what it points to outlive the call. All signals that have
        // a handler are blocked, and the guard has one thread.
        let pid = unsafe {
            libc::clone(
                become_program,
                top,
                libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
                (&raw mut plan).cast::<libc::c_void>(),
            )
        };
        if pid < 0 {
            return Err(Refused { doing: FORK.to_owned(), errno: last_errno() });
        }
        if plan.failed_step == 0 {
            return Ok(pid);
        }
        // SAFETY: the child has exited, and is reaped here so that nobody takes it for one that ran.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let doing = match plan.failed_step {
            STEP_CHDIR => format!("change to {}", shown(&order.cwd)),
            STEP_EXEC => format!("execute {}", shown(plan.program.as_bytes())),
            _ => "hand over its output".to_owned(),
        };
        Err(Refused { doing, errno: Errno::from_raw_os_error(plan.errno) })
    }

    fn inherited(&self, name: &[u8]) -> Option<&[u8]> {
        let (_, variable) = self.environment.iter().find(|(known, _)| known == name)?;
        variable.to_bytes().get(name.len() + 1..)
    }
}

/// Whether a child may inherit a variable.
fn is_passed(name: &[u8], order: &Spawn) -> bool {
    let means = |pattern: &[u8]| match pattern.strip_suffix(b"*") {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    };
    let Some(passed) = &order.pass_env else { return true };
    BASE.iter().any(|pattern| means(pattern)) || passed.iter().any(|pattern| means(pattern))
}

/// The last change to each variable, as `NAME=value`; `None` removes it.
fn changes(env: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<HashMap<&[u8], Option<CString>>, Refused> {
    env.iter()
        .map(|(name, value)| {
            let refused = || Refused {
                doing: format!("set the environment variable {:?}", String::from_utf8_lossy(name)),
                errno: Errno::INVAL,
            };
            if name.is_empty() || name.contains(&b'=') {
                return Err(refused());
            }
            let change = value.as_ref().map(|value| variable(name, value).ok_or_else(refused)).transpose()?;
            Ok((name.as_slice(), change))
        })
        .collect()
}

fn variable(name: &[u8], value: &[u8]) -> Option<CString> {
    CString::new([name, b"=", value].concat()).ok()
}

/// Finds a program by the child's `PATH`, as a shell would; a name with a slash is taken as it is.
fn find_program(name: &[u8], path: Option<&[u8]>) -> Result<Vec<u8>, Refused> {
    if name.contains(&b'/') {
        return Ok(name.to_vec());
    }
    let shown = String::from_utf8_lossy(name);
    let mut errno = Errno::NOENT;
    for folder in path.unwrap_or(b"/usr/bin:/bin").split(|b| *b == b':').filter(|folder| !folder.is_empty()) {
        let candidate = [folder, b"/", name].concat();
        match rustix::fs::access(candidate.as_slice(), rustix::fs::Access::EXEC_OK) {
            Ok(()) if std::path::Path::new(std::ffi::OsStr::from_bytes(&candidate)).is_file() => {
                return Ok(candidate);
            }
            Err(Errno::ACCESS) => errno = Errno::ACCESS,
            Ok(()) | Err(_) => {}
        }
    }
    Err(Refused { doing: format!("find the program {shown} in PATH"), errno })
}

fn last_errno() -> Errno {
    Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// The child, between `clone` and its program. Only calls that are safe there: nothing allocates, nothing locks.
extern "C" fn become_program(plan: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the caller waits and hands over a plan that outlives this function.
    let plan = unsafe { &mut *plan.cast::<Plan>() };
    // SAFETY: plain system calls on memory prepared by the caller. Signal dispositions belong to the child alone, since
    // CLONE_SIGHAND is not set; the Rust runtime ignores SIGPIPE, and a child must not inherit that.
    unsafe {
        libc::setsid();
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        if let Some(guard) = plan.dies_with {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if libc::getppid() != guard {
                libc::_exit(127);
            }
        }
        if let Some(bytes) = plan.data_limit {
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
            libc::setrlimit(libc::RLIMIT_DATA, &raw const limit);
        }
        let fail = |plan: &mut Plan, step| {
            plan.failed_step = step;
            plan.errno = *libc::__errno_location();
            libc::_exit(127)
        };
        for (from, to) in [(plan.stdin, 0), (plan.stdout, 1), (plan.stderr, 2)] {
            if libc::dup2(from, to) < 0 {
                fail(plan, STEP_DESCRIPTORS);
            }
        }
        if libc::chdir(plan.cwd.as_ptr()) < 0 {
            fail(plan, STEP_CHDIR);
        }
        libc::execve(plan.program.as_ptr(), plan.argv.as_ptr(), plan.envp.as_ptr());
        fail(plan, STEP_EXEC)
    }
}
