//! `dirigent gc`: drops old runs, with their logs and the values that no other run uses.

use super::recorded::Place;
use crate::args::GcArgs;
use crate::fault::{CliError, exit};
use crate::record::now_ms;
use crate::terminal;
use dirigent_journal::{Reader, RunRow, Store, bytes_in};
use dirigent_report::quantity::{counted, shown_bytes};

pub(super) fn gc(args: &GcArgs) -> Result<i32, CliError> {
    let place = Place::of(&args.records)?;
    if args.keep.is_none() && args.older_than.is_none() && args.max_mb.is_none() {
        return Err(CliError::Usage {
            message: "what may be dropped was not said".to_owned(),
            hint: Some("say --keep, --older-than or --max-mb".to_owned()),
        });
    }
    let reader = Reader::open(&place.state_dir)?;
    let rows = reader.runs(usize::MAX, None)?;
    let dropped = dropped(args, &rows, &reader);
    if args.dry_run {
        for row in &dropped {
            terminal::print(&format!("{}  {}\n", row.id, row.workflow));
        }
        terminal::say(&format!("{} would be dropped\n", counted(dropped.len(), "run")));
        return Ok(exit::OK);
    }
    let store = Store::shared(&place.state_dir)?;
    let mut bytes = 0;
    for row in &dropped {
        bytes += store.drop_run(&row.id)?;
    }
    bytes += store.sweep()?;
    terminal::print(&format!("dropped {}, {}\n", counted(dropped.len(), "run"), shown_bytes(bytes)));
    Ok(exit::OK)
}

/// The runs to drop: never one that is running, nor one that could be resumed, unless it is too old.
fn dropped<'a>(args: &GcArgs, rows: &'a [RunRow], reader: &Reader) -> Vec<&'a RunRow> {
    let now_ms = now_ms();
    let limit_ms =
        args.older_than.and_then(|limit| limit.0).and_then(|age| i64::try_from(age.as_millis()).ok());
    let most_bytes = args.max_mb.map(|mb| mb << 20);
    let mut bytes = 0;
    let mut dropped = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        if row.holder.is_some() {
            continue;
        }
        if most_bytes.is_some() {
            bytes += bytes_in(&reader.run_folder(&row.id));
        }
        let is_old = limit_ms.is_some_and(|limit_ms| now_ms - row.created_at_ms > limit_ms);
        let is_beyond =
            args.keep.is_some_and(|keep| number >= keep) || most_bytes.is_some_and(|most| bytes > most);
        if is_old || (is_beyond && row.verdict.is_some()) {
            dropped.push(row);
        }
    }
    dropped
}
