//! Python in front of all of it: the module `dirigent._native`. It knows the interpreter and no rules of its own.
//!
//! What crosses is plain data, in the shapes that files and `--json` have. Engine threads never enter the interpreter.

mod fault;
mod plain;
mod arrow;
mod waiting;
mod secrets;
mod scripts;
mod run;
mod results;
mod records;
mod workflow;
mod showing;
mod pictures;
mod profile;

use dirigent_cli::surroundings::runs_in;
use pyo3::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

/// The version of the native part, which is the package's version.
#[pyfunction]
fn version() -> &'static str {
    dirigent_cli::VERSION
}

/// Run one command line (its first word is the program's name) and return the exit code. `program` is where the program is.
#[pyfunction]
fn main(py: Python<'_>, args: Vec<OsString>, program: PathBuf) -> i32 {
    py.detach(|| dirigent_cli::main_as_guest(args, program))
}

/// The Rust core of dirigent.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let python = module.py().version_info();
    runs_in(format!("Python {}.{}.{}", python.major, python.minor, python.patch));
    module.add_function(wrap_pyfunction!(version, module)?)?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(waiting::leave, module)?)?;
    module.add_function(wrap_pyfunction!(scripts::discover, module)?)?;
    module.add_function(wrap_pyfunction!(scripts::skip_dirs, module)?)?;
    module.add_function(wrap_pyfunction!(scripts::skip_patterns, module)?)?;
    module.add_function(wrap_pyfunction!(scripts::load_config, module)?)?;
    module.add_function(wrap_pyfunction!(scripts::script_config, module)?)?;
    module.add_function(wrap_pyfunction!(run::run_script, module)?)?;
    module.add_function(wrap_pyfunction!(run::run_command, module)?)?;
    module.add_function(wrap_pyfunction!(results::write_report, module)?)?;
    module.add_function(wrap_pyfunction!(results::write_whole, module)?)?;
    module.add_function(wrap_pyfunction!(workflow::total::limit_total, module)?)?;
    module.add_function(wrap_pyfunction!(records::let_go, module)?)?;
    module.add_function(wrap_pyfunction!(records::recorded_runs, module)?)?;
    module.add_function(wrap_pyfunction!(records::find_recorded, module)?)?;
    module.add_function(wrap_pyfunction!(records::state_folder, module)?)?;
    module.add_function(wrap_pyfunction!(showing::show, module)?)?;
    module.add_function(wrap_pyfunction!(showing::say, module)?)?;
    module.add_function(wrap_pyfunction!(showing::conclude, module)?)?;
    module.add_function(wrap_pyfunction!(showing::tell_others, module)?)?;
    module.add_function(wrap_pyfunction!(records::untrusted_task, module)?)?;
    module.add_function(wrap_pyfunction!(arrow::arrow_stream, module)?)?;
    module.add_function(wrap_pyfunction!(workflow::columns::run_columns, module)?)?;
    module.add_class::<secrets::Secrets>()?;
    module.add_class::<secrets::Masker>()?;
    module.add_function(wrap_pyfunction!(pictures::draw_plan, module)?)?;
    module.add_function(wrap_pyfunction!(pictures::draw_tasks, module)?)?;
    module.add_function(wrap_pyfunction!(pictures::draw_run, module)?)?;
    module.add_function(wrap_pyfunction!(pictures::draw_cell, module)?)?;
    module.add_function(wrap_pyfunction!(profile::run_profile, module)?)?;
    module.add_function(wrap_pyfunction!(pictures::glance, module)?)?;
    module.add_function(wrap_pyfunction!(pictures::askable, module)?)?;
    module.add_class::<workflow::plan::Plan>()?;
    module.add_class::<workflow::session::Session>()?;
    module.add_class::<workflow::again::Again>()?;
    module.add_class::<workflow::follow::Follower>()?;
    module.add_class::<workflow::seat::Seat>()?;
    module.add_class::<workflow::crew::Crew>()?;
    module.add_class::<workflow::line::Line>()?;
    module.add_function(wrap_pyfunction!(workflow::crew::surroundings, module)?)?;
    Ok(())
}
