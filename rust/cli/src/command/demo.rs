//! `dirigent demo`: the tour, which the Python package has.

use super::selection::configuration;
use crate::fault::{CliError, exit, shown};
use crate::python;
use crate::surroundings::Surroundings;
use dirigent_project::Flags;
use std::process::Command;

pub(super) fn demo() -> Result<i32, CliError> {
    let surroundings = Surroundings::look()?;
    let config = configuration(&surroundings, &surroundings.cwd, None, Flags::default())?;
    let python = python::find(&config, &surroundings, &surroundings.cwd);
    let has_package = Command::new(&python.program)
        .args(["-c", "import dirigent"])
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_package {
        return Err(CliError::Nothing {
            message: format!(
                "the tour needs the Python package, and {} ({}) does not have it",
                shown(&python.program),
                python.reason
            ),
            hint: Some(
                "name an interpreter that has it in DIRIGENT_PYTHON, or install it: `pip install dirigent`"
                    .to_owned(),
            ),
        });
    }
    let status = Command::new(&python.program).args(["-m", "dirigent._demo"]).status();
    let status = status.map_err(CliError::io("run", &python.program))?;
    Ok(status.code().unwrap_or(exit::INTERNAL))
}
