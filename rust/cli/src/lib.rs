//! Words in, words out: the command line as a function, so that the program and `python -m dirigent` are the same thing.
//!
//! Beside the bridge to Python this is the only crate that reads the environment and the home folder, and the only one
//! that prints.
//!
//! Modules stand bottom-up: each uses only those above it.

pub mod fault;
pub mod surroundings;
pub mod python;
pub mod plan;
pub mod record;
pub mod earlier;
pub mod secrets;
pub mod reuse;
pub mod workflow;
pub mod conduct;
mod terminal;
mod signals;
mod outside;
mod notify;
mod hooks;
mod display;
mod args;
mod command;

use dirigent_core::state::State;
use dirigent_engine::Feed;
use dirigent_report::Format;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The version every part of the project carries.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs one command line and gives the exit code.
///
/// `args` starts with the program's own name, as the system hands it over.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    command::main(args.into_iter().collect())
}

/// The same within another program, which says where ours is.
pub fn main_as_guest(args: impl IntoIterator<Item = OsString>, program: PathBuf) -> i32 {
    surroundings::be_guest(program);
    main(args)
}

/// Shows a run on standard error until it ends. `folder` is its own.
pub fn show(feed: Feed, folder: &Path) {
    display::follow(feed, folder);
}

/// Says something on standard error; above the picture of a run, where there is one.
pub fn say(text: &str) {
    terminal::say(text);
}

/// Writes the reports of a run that has ended into its folder, and prints its summary. Returns the exit code.
///
/// # Errors
///
/// A report cannot be written.
pub fn conclude(
    state: &State,
    folder: &Path,
    formats: &[Format],
    json: bool,
) -> Result<i32, fault::CliError> {
    command::conclude(state, folder, formats, json)
}

/// Tells hooks what happens to a run, and whoever wants to know that it has ended, as the configuration of a folder says:
/// its project's, or the file that is named. Returns when all know, or their time is up.
///
/// # Errors
///
/// The configuration says something wrong.
pub fn tell_others(
    feed: Feed,
    folder: &Path,
    home: &Path,
    config: Option<&Path>,
) -> Result<(), fault::CliError> {
    command::tell_others(feed, folder, home, config)
}
