//! `dirigent run file.py:name`: hands over to Python, which has the functions.

use super::selection::configuration;
use super::through::formats;
use crate::args::RunArgs;
use crate::fault::CliError;
use crate::python;
use crate::surroundings::Surroundings;
use dirigent_project::Flags;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Becomes the Python program that runs a workflow or flow of a file.
pub(super) fn run_python(args: &RunArgs, flags: Flags, path: &Path, name: &str) -> Result<i32, CliError> {
    let surroundings = Surroundings::look()?;
    let folder = path.parent().unwrap_or(path);
    let config = configuration(&surroundings, folder, args.selection.config.as_deref(), flags)?;
    let python = python::find(&config, &surroundings, config.root().unwrap_or(folder));
    let state_dir = crate::record::state_dir(&config, &surroundings)?;
    let mut command = Command::new(&python.program);
    command.args(["-m", "dirigent._target"]).arg(path).arg(name).arg("--state-dir").arg(&state_dir);
    let kinds: Vec<&str> = formats(&config.run).iter().map(|format| format.name()).collect();
    command.arg("--report").arg(kinds.join(","));
    for (option, is_given) in [("--json", args.json), ("--dry-run", args.dry_run)] {
        if is_given {
            command.arg(option);
        }
    }
    if let Some(jobs) = config.run.jobs.value {
        command.arg("--jobs").arg(jobs.to_string());
    }
    if let Some(file) = &args.selection.config {
        command.arg("--config").arg(surroundings.absolute(file));
    }
    for param in &args.given.param {
        command.arg("--param").arg(param);
    }
    if let Some(file) = &args.given.params_file {
        command.arg("--params-file").arg(surroundings.absolute(file));
    }
    let error = command.exec();
    Err(CliError::Io { doing: "start", path: python.program, source: error })
}
