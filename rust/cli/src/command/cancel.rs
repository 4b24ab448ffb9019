//! `dirigent cancel`: asks a run that another process carries on to end.

use super::recorded::{find, read, task_called};
use crate::args::CancelArgs;
use crate::fault::{CliError, exit};
use crate::record::{holder, now_ms};
use crate::terminal;
use dirigent_engine::run::Asked;
use dirigent_journal::Store;

pub(super) fn cancel(args: &CancelArgs) -> Result<i32, CliError> {
    let (row, place) = find(&args.run)?;
    let Some(engine) = &row.holder else {
        let (how, hint) = match row.status() {
            "interrupted" => {
                ("its engine is gone", Some(format!("`dirigent resume {}` goes on with it", row.id)))
            }
            "cancelled" => ("it was cancelled", None),
            "failed" => ("it has failed", None),
            _ => ("it has succeeded", None),
        };
        return Err(CliError::Nothing { message: format!("run {} is not running: {how}", row.id), hint });
    };
    let asked = match &args.task {
        Some(name) => Asked::CancelTask { task: task_called(&read(&args.run)?.0.state, name)? },
        None if args.now => Asked::Kill,
        None => Asked::Cancel,
    };
    let request = serde_json::to_string(&asked).expect("it is plain data");
    let actor = holder();
    let actor = format!("process {} on {}", actor.pid, actor.host);
    Store::shared(&place.state_dir)?.ask(&row.id, now_ms(), &actor, &request)?;
    terminal::say(&format!("asked {engine} to end run {}\n", row.id));
    Ok(exit::OK)
}
