//! `dirigent show`: a recorded run, or one of its tasks, as it stands.

use super::recorded::{find, read, task_called};
use crate::args::ShowArgs;
use crate::display::summary::summary;
use crate::display::{shown_ms, sign, took_ms};
use crate::fault::{CliError, exit, shown};
use crate::record::{LogFolder, Recorded};
use crate::terminal::{self, Paint, painted};
use dirigent_core::text::printable;
use dirigent_report::quantity::iso;
use dirigent_report::{Format, Logs, RunView, StreamName, task_sentence};
use std::fmt::Write;

/// How many tasks are listed before the reader is sent to the report.
const MOST_LISTED: usize = 100;

pub(super) fn show(args: &ShowArgs) -> Result<i32, CliError> {
    let (recorded, _) = read(&args.run)?;
    let task = args.task.as_deref().map(|name| task_called(&recorded.state, name)).transpose()?;
    let logs = LogFolder { folder: &recorded.folder, state: &recorded.state };
    if args.json {
        let view = RunView { state: &recorded.state, logs: &logs, folder: recorded.folder.to_str() };
        terminal::print(&match task {
            None => view.render(Format::Json).unwrap_or_default(),
            Some(task) => super::json(&view.summary().and_then(|it| it.tasks.into_iter().nth(task.usize()))),
        });
        return Ok(exit::OK);
    }
    let colours = terminal::colours_on_stdout();
    match task {
        None => terminal::print(&whole(&recorded, &find(&args.run)?.0, colours)),
        Some(task) => {
            let view = RunView { state: &recorded.state, logs: &logs, folder: recorded.folder.to_str() };
            let told = view.summary().and_then(|it| it.tasks.into_iter().nth(task.usize()));
            let told = told.ok_or_else(|| CliError::Nothing {
                message: "the run has no such task".to_owned(),
                hint: None,
            })?;
            let mut text =
                format!("{}  {}\n", painted(&printable(&told.name), Paint::Bold, colours), told.sentence);
            let mut line = |what: &str, value: &str| {
                let _ = writeln!(text, "  {what:<9} {value}");
            };
            line("attempts", &told.attempts.to_string());
            told.started.iter().for_each(|at| line("started", at));
            told.ended.iter().for_each(|at| line("ended", at));
            if told.attempts > 0 {
                line("took", &shown_ms((told.wall_s * 1e3) as u64));
            }
            if !told.command.is_empty() {
                line("command", &printable(&told.command.join(" ")));
            }
            for need in &told.needs {
                let name = recorded.state.task(*need).map(|need| printable(&need.spec.name));
                line("needs", &name.unwrap_or_default());
            }
            for stream in [StreamName::Stdout, StreamName::Stderr] {
                if let Some(path) = logs.path(task, stream) {
                    line(stream.name(), &shown(&recorded.folder.join(path)));
                }
            }
            for last in told.last_lines.lines() {
                let _ = writeln!(text, "  | {last}");
            }
            terminal::print(&text);
        }
    }
    Ok(exit::OK)
}

fn whole(recorded: &Recorded, row: &dirigent_journal::RunRow, colours: bool) -> String {
    let state = &recorded.state;
    let offset_min = state.header().map_or(0, |header| header.origin.utc_offset_min);
    let mut text = format!(
        "{}  {}  {}, {}\n",
        painted(&printable(&row.workflow), Paint::Bold, colours),
        row.id,
        iso(row.created_at_ms, offset_min),
        row.status(),
    );
    for task in state.tasks().iter().take(MOST_LISTED) {
        let (sign, paint) = sign(task.status);
        let took = task.ended.as_ref().map(|_| shown_ms(took_ms(task))).unwrap_or_default();
        let _ = writeln!(
            text,
            "{} {took:>9}  {}  {}",
            painted(sign, paint, colours),
            printable(&task.spec.name),
            painted(&task_sentence(state, task), Paint::Dim, colours),
        );
    }
    if state.tasks().len() > MOST_LISTED {
        let _ = writeln!(
            text,
            "… and {} more: `dirigent show --json`, or the report",
            state.tasks().len() - MOST_LISTED
        );
    }
    text.push_str(&summary(state, &recorded.folder, &[], colours));
    if row.verdict.is_none() && row.holder.is_none() {
        let _ = writeln!(text, "its engine is gone: `dirigent resume {}` goes on with it", row.id);
    }
    text
}
