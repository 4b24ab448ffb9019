//! What a process finds around it: the environment, the usual folders, the program itself.

use crate::fault::CliError;
use dirigent_core::event::Origin;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Read once, at the start; everything below takes it as a value.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The working directory.
    pub cwd: PathBuf,
    /// The environment, as far as it is text.
    pub environment: Vec<(String, String)>,
    /// Where users keep settings: `config.toml` here is the user file.
    pub user_config_dir: Option<PathBuf>,
    /// Where the system wants state kept that belongs to no project.
    pub user_state_dir: Option<PathBuf>,
    /// The active virtual environment.
    pub virtual_env: Option<PathBuf>,
    /// Where programs are looked for.
    pub path: Option<OsString>,
}

impl Surroundings {
    /// Looks around.
    ///
    /// # Errors
    ///
    /// The working directory is gone.
    pub fn look() -> Result<Self, CliError> {
        let home = set("HOME").map(PathBuf::from);
        let folder = |variable: &str, below_home: &str| {
            let set = set(variable).map(PathBuf::from).filter(|path| path.is_absolute());
            set.or_else(|| Some(home.as_ref()?.join(below_home))).map(|path| path.join("dirigent"))
        };
        Ok(Self {
            cwd: env::current_dir().map_err(CliError::io("find", Path::new("the working directory")))?,
            environment: env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            user_config_dir: folder("XDG_CONFIG_HOME", ".config"),
            user_state_dir: folder("XDG_STATE_HOME", ".local/state"),
            virtual_env: set("VIRTUAL_ENV").map(PathBuf::from),
            path: env::var_os("PATH"),
        })
    }

    /// A path as typed, made absolute.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        clean(&self.cwd.join(path))
    }
}

fn set(variable: &str) -> Option<OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}

/// Takes `.` and doubled slashes out of a path, and `..` where nothing but a folder's own name stands before it.
///
/// Links are left alone: `a/link/..` is not `a`, so a `..` behind a link stays.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir if clean.file_name().is_some() && !clean.is_symlink() => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

/// The program itself, where another one runs the command line as a part of its own.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Says that this process is another program's, and where ours is.
pub fn be_guest(program: PathBuf) {
    let _ = PROGRAM.set(program);
}

/// Whether this process is another program's.
pub fn is_guest() -> bool {
    PROGRAM.get().is_some()
}

/// Where the program is: the guard is it, and so is what runs things in a process of their own.
///
/// # Errors
///
/// The system does not know.
pub fn program() -> Result<PathBuf, CliError> {
    match PROGRAM.get() {
        Some(program) => Ok(program.clone()),
        None => env::current_exe().map_err(CliError::io("find", Path::new("this program"))),
    }
}

/// Who asks something of a run, for its record.
pub fn user(surroundings: &Surroundings) -> String {
    let set = |name: &str| {
        let mut variables = surroundings.environment.iter();
        variables
            .find(|(variable, value)| variable == name && !value.is_empty())
            .map(|(_, value)| value.clone())
    };
    let user = set("USER").or_else(|| set("LOGNAME")).unwrap_or_else(|| "somebody".to_owned());
    format!("{user}@{}", origin(None).host)
}

/// Where and by what a run is started, for its first event.
pub fn origin(root: Option<&Path>) -> Origin {
    Origin {
        version: crate::VERSION.to_owned(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        platform: platform(),
        root: root.map(Into::into),
        utc_offset_min: utc_offset_min(),
        source: None,
    }
}

/// What runs this program, where it is no program of its own: an interpreter with its version.
static RUNTIME: OnceLock<String> = OnceLock::new();

/// Says what runs this program; the first word counts.
pub fn runs_in(runtime: String) {
    let _ = RUNTIME.set(runtime);
}

fn platform() -> String {
    let system = rustix::system::uname();
    let [name, release, machine] =
        [system.sysname(), system.release(), system.machine()].map(|word| word.to_string_lossy());
    let runtime = RUNTIME.get().map(|runtime| format!(", {runtime}")).unwrap_or_default();
    format!("{name} {release} on {machine}{runtime}")
}

/// Minutes that local time is ahead of UTC. The C library reads the one file that `TZ` or the system names; a library of
/// time zones looks at all of them first, which takes longer than a short run.
fn utc_offset_min() -> i32 {
    // SAFETY: both calls write to memory of this function; the environment is not changed by this program.
    let offset_s = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut local: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&raw const now, &raw mut local).is_null() { 0 } else { local.tm_gmtoff }
    };
    i32::try_from(offset_s / 60).unwrap_or(0)
}
