//! Which interpreter runs Python scripts.

use crate::surroundings::Surroundings;
use dirigent_project::Config;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// An interpreter, and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// The program: an absolute path, or a name for `PATH` where nothing better was found.
    pub program: PathBuf,
    /// Where it comes from, for a person.
    pub reason: String,
}

/// Chooses the interpreter: what was said (option, variable, file), the active virtual environment, the project's
/// `.venv`, the environment this program is installed in, `PATH`, in that order.
pub fn find(config: &Config, surroundings: &Surroundings, root: &Path) -> Python {
    let said = &config.run.python;
    if let Some(program) = &said.value {
        return Python { program: program.clone(), reason: said.origin.to_string() };
    }
    let environments = [
        (surroundings.virtual_env.clone(), "the active virtual environment"),
        (Some(root.join(".venv")), "the project's .venv"),
        (installed_in(), "the environment dirigent is installed in"),
    ];
    for (environment, reason) in environments {
        let program = environment.map(|environment| environment.join("bin/python"));
        if let Some(program) = program.filter(|program| program.is_file()) {
            return Python { program, reason: reason.to_owned() };
        }
    }
    let in_path = |name: &str| {
        let path = surroundings.path.as_ref()?;
        let folders = path.as_bytes().split(|b| *b == b':').filter(|folder| !folder.is_empty());
        folders
            .map(|folder| Path::new(std::ffi::OsStr::from_bytes(folder)).join(name))
            .find(|file| file.is_file())
    };
    let program =
        in_path("python3").or_else(|| in_path("python")).unwrap_or_else(|| PathBuf::from("python3"));
    Python { program, reason: "PATH".to_owned() }
}

/// The virtual environment that the running program lies in. A system's own `/usr/bin` is none.
fn installed_in() -> Option<PathBuf> {
    let environment = std::env::current_exe().ok()?.parent()?.parent()?.to_owned();
    environment.join("pyvenv.cfg").is_file().then_some(environment)
}
