//! Whether a file is a script, and what runs it.
//!
//! By its extension where that says enough; else by its first line, read only if the file is executable. Knows nothing of
//! folders.

use crate::shebang;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

/// What runs a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interpreter {
    /// The project's Python.
    Python,
    /// A program and its first arguments; the script's path follows them.
    Program(Vec<OsString>),
    /// The file itself: it is executable and names its interpreter.
    Itself,
}

/// Tells scripts from other files.
#[derive(Clone, Debug, Default)]
pub struct Recogniser {
    table: BTreeMap<OsString, Vec<OsString>>,
}

/// What a name alone says.
enum ByName {
    Known(Interpreter),
    /// A shell script, whose first line may name another shell.
    Shell(&'static str),
    Unknown,
}

impl Recogniser {
    /// A recogniser that runs files of these extensions (without their dots) by these programs.
    pub fn new(interpreters: &BTreeMap<String, Vec<String>>) -> Self {
        let own = |argv: &Vec<String>| argv.iter().map(OsString::from).collect();
        Self { table: interpreters.iter().map(|(extension, argv)| (extension.into(), own(argv))).collect() }
    }

    fn by_name(&self, path: &Path) -> ByName {
        let Some(extension) = path.extension() else {
            return ByName::Unknown;
        };
        if let Some(argv) = self.table.get(extension) {
            return ByName::Known(Interpreter::Program(argv.clone()));
        }
        match extension.as_encoded_bytes() {
            b"py" => ByName::Known(Interpreter::Python),
            b"sh" => ByName::Shell("sh"),
            b"bash" => ByName::Shell("bash"),
            _ => ByName::Unknown,
        }
    }

    /// Whether the name alone says that this is a script.
    pub fn knows_name(&self, path: &Path) -> bool {
        !matches!(self.by_name(path), ByName::Unknown)
    }

    /// What runs a regular file; `None` when it is no script. A name that says enough costs no system call.
    ///
    /// # Errors
    /// The file had to be looked at and cannot be.
    pub fn recognise(&self, path: &Path) -> io::Result<Option<Interpreter>> {
        match self.by_name(path) {
            ByName::Known(interpreter) => Ok(Some(interpreter)),
            ByName::Shell(shell) => {
                let argv = shebang::read(path)?.unwrap_or_else(|| vec![OsStr::new(shell).to_owned()]);
                Ok(Some(Interpreter::Program(argv)))
            }
            ByName::Unknown if is_executable(path)? => Ok(shebang::read(path)?.map(|_| Interpreter::Itself)),
            ByName::Unknown => Ok(None),
        }
    }
}

#[cfg(unix)]
fn is_executable(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = path.metadata()?;
    Ok(metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> io::Result<bool> {
    Ok(false)
}
