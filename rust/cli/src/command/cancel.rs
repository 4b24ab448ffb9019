//! `dirigent cancel`: asks a run that another process carries on to end.

use super::recorded::{find, read, task_called};
use crate::args::CancelArgs;
use crate::fault::{CliError, exit};
use crate::record::ask;
use crate::terminal;
use dirigent_engine::run::Asked;

pub(super) fn cancel(args: &CancelArgs) -> Result<i32, CliError> {
    let (row, place) = find(&args.run)?;
    let asked = match &args.task {
        Some(name) => Asked::CancelTask { task: task_called(&read(&args.run)?.0.state, name)? },
        None if args.now => Asked::Kill,
        None => Asked::Cancel,
    };
    let engine = ask(&row, &place.state_dir, &asked)?;
    terminal::say(&format!("asked {engine} to end run {}\n", row.id));
    Ok(exit::OK)
}
