//! `dirigent diff`: in what two runs differ, task by task.

use super::recorded::read;
use crate::args::{DiffArgs, OneRun, Records};
use crate::display::{shown_ms, took_ms};
use crate::fault::{CliError, exit};
use crate::record::Recorded;
use crate::terminal::{self, Paint, painted};
use dirigent_core::spec::Action;
use dirigent_core::state::TaskState;
use dirigent_core::text::printable;
use dirigent_core::value::Kept;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::Write;

/// Times that differ by less than this are the same to a person, in milliseconds.
const SAME_MS: u64 = 100;

/// What is different.
#[derive(Serialize)]
struct Differences {
    before: Side,
    after: Side,
    tasks: Vec<Difference>,
    /// How many tasks are the same in both.
    same: usize,
}

#[derive(Serialize)]
struct Side {
    run: String,
    workflow: String,
    status: String,
    elapsed_ms: Option<u64>,
}

/// A task that is not the same.
#[derive(Serialize)]
struct Difference {
    task: String,
    /// In words.
    changes: Vec<String>,
}

pub(super) fn diff(args: &DiffArgs) -> Result<i32, CliError> {
    let records = Records { state_dir: args.run.records.state_dir.clone() };
    let (before, _) = read(&OneRun { run: args.before.clone(), records })?;
    let (after, _) = read(&args.run)?;
    let differences = compare(&before, &after);
    if args.json {
        terminal::print(&super::json(&differences));
        return Ok(exit::OK);
    }
    let colours = terminal::colours_on_stdout();
    let mut text = String::new();
    for (sign, side) in [("-", &differences.before), ("+", &differences.after)] {
        let took = side.elapsed_ms.map(shown_ms).unwrap_or_default();
        let _ = writeln!(text, "{sign} {}  {}  {}  {took}", side.run, printable(&side.workflow), side.status);
    }
    for difference in &differences.tasks {
        let name = painted(&printable(&difference.task), Paint::Bold, colours);
        let _ = writeln!(text, "  {name}  {}", difference.changes.join("; "));
    }
    let _ = writeln!(text, "{} the same", dirigent_report::quantity::counted(differences.same, "task"));
    terminal::print(&text);
    Ok(exit::OK)
}

fn compare(before: &Recorded, after: &Recorded) -> Differences {
    let old: HashMap<&str, &TaskState> = by_name(before).collect();
    let mut tasks = Vec::new();
    let mut same = 0;
    let mut seen = 0;
    for (name, task) in by_name(after) {
        let changes = match old.get(name) {
            None => vec!["only in the second".to_owned()],
            Some(old) => {
                seen += 1;
                changes(old, task)
            }
        };
        match changes.is_empty() {
            true => same += 1,
            false => tasks.push(Difference { task: name.to_owned(), changes }),
        }
    }
    if seen < old.len() {
        let new: HashMap<&str, &TaskState> = by_name(after).collect();
        for (name, _) in by_name(before).filter(|(name, _)| !new.contains_key(name)) {
            tasks.push(Difference { task: name.to_owned(), changes: vec!["only in the first".to_owned()] });
        }
    }
    Differences { before: side(before), after: side(after), tasks, same }
}

fn by_name(recorded: &Recorded) -> impl Iterator<Item = (&str, &TaskState)> {
    recorded.state.tasks().iter().map(|task| (&*task.spec.name, task))
}

fn side(recorded: &Recorded) -> Side {
    let elapsed_ms = recorded.row.ended_at_ms.map(|ended_ms| ended_ms - recorded.row.created_at_ms);
    Side {
        run: recorded.row.id.to_string(),
        workflow: recorded.row.workflow.clone(),
        status: recorded.row.status().to_owned(),
        elapsed_ms: elapsed_ms.and_then(|ms| u64::try_from(ms).ok()),
    }
}

fn changes(old: &TaskState, new: &TaskState) -> Vec<String> {
    let mut changes = Vec::new();
    if old.status != new.status {
        changes.push(format!("{} → {}", old.status.name(), new.status.name()));
    }
    match (&old.spec.action, &new.spec.action) {
        (Action::Function(old), Action::Function(new))
            if old.code.is_some() && new.code.is_some() && old.code != new.code =>
        {
            changes.push("its code changed".to_owned());
        }
        (Action::Function(_), Action::Function(_)) => {}
        (old, new) if old != new => changes.push("what it runs changed".to_owned()),
        _ => {}
    }
    if old.spec.policy != new.spec.policy {
        changes.push("its options changed".to_owned());
    }
    if old.status == new.status && value(old).is_some() && value(new).is_some() && value(old) != value(new) {
        changes.push("it gave another value".to_owned());
    }
    if old.attempts != new.attempts && new.reused.is_none() && old.reused.is_none() {
        changes.push(format!("{} → {} attempts", old.attempts, new.attempts));
    }
    let (old_ms, new_ms) = (took_ms(old), took_ms(new));
    let is_longer = old_ms.abs_diff(new_ms) > SAME_MS.max(old_ms / 5);
    if is_longer && new.reused.is_none() && old.reused.is_none() {
        changes.push(format!("{} → {}", shown_ms(old_ms), shown_ms(new_ms)));
    }
    changes
}

fn value(task: &TaskState) -> Option<&Kept> {
    task.ended.as_ref()?.value.as_deref()
}
