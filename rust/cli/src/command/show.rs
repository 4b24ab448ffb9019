//! `dirigent show`: a recorded run, or one of its tasks, as it stands.

use super::recorded::{read, task_called};
use crate::args::ShowArgs;
use crate::display::summary::{list_left_behind, verdict};
use crate::display::{paint_of, shown_moment, shown_ms, sign, took_ms};
use crate::fault::{CliError, exit, shown};
use crate::record::{LogFolder, Recorded, goes_on, now_ms, runs_again};
use crate::terminal::{self, Paint, fitted, painted, width};
use dirigent_core::ids::TaskIndex;
use dirigent_core::state::{TaskState, TaskStatus};
use dirigent_core::text::printable;
use dirigent_core::value::{Encoding, Kept};
use dirigent_report::quantity::{shown_age, shown_bytes};
use dirigent_report::{Format, Logs, RunView, StreamName, task_sentence};
use std::fmt::Write;

/// How many tasks are listed before the reader is sent to the report.
const MOST_LISTED: usize = 100;
/// How many columns names may take before what comes after them is moved.
const NAME_COLUMNS: usize = 40;
/// How much of a value is shown.
const VALUE_COLUMNS: usize = 200;

pub(super) fn show(args: &ShowArgs) -> Result<i32, CliError> {
    let (recorded, _) = read(&args.run)?;
    let task = args.task.as_deref().map(|name| task_called(&recorded.state, name)).transpose()?;
    if args.json {
        let logs = LogFolder { folder: &recorded.folder, state: &recorded.state };
        let view = RunView {
            state: &recorded.state,
            events: &[],
            past: &[],
            logs: &logs,
            folder: recorded.folder.to_str(),
        };
        terminal::print(&match task {
            None => view.render(Format::Json).unwrap_or_default(),
            Some(task) => super::json(&view.summary().and_then(|it| it.tasks.into_iter().nth(task.usize()))),
        });
        return Ok(exit::OK);
    }
    let colours = terminal::colours_on_stdout();
    terminal::print(&match task {
        None => whole(&recorded, colours),
        Some(task) => one(&recorded, task, colours),
    });
    Ok(exit::OK)
}

/// A run: how it stands, its tasks, and what can be done next.
fn whole(recorded: &Recorded, colours: bool) -> String {
    let Recorded { row, state, .. } = recorded;
    let offset_min = state.header().map_or(0, |header| header.origin.utc_offset_min);
    let now_ms = now_ms();
    let mut text = format!(
        "{}  {}\n{}  started {}, {} ago",
        painted(&printable(&row.workflow), Paint::Bold, colours),
        row.id,
        painted(row.status(), paint_of(row.status()), colours),
        shown_moment(row.created_at_ms, offset_min),
        shown_age(now_ms - row.created_at_ms),
    );
    if let Some(holder) = &row.holder {
        let _ = write!(text, ", by process {} on {}", holder.pid, printable(&holder.host));
    }
    text.push('\n');
    let listed = listed(state.tasks());
    let names = listed.iter().map(|task| width(&printable(&task.spec.name))).max().unwrap_or(0);
    for task in &listed {
        let (sign, paint) = sign(task.status);
        let name = printable(&task.spec.name);
        let _ = writeln!(
            text,
            "{} {:>9}  {name}{:pad$}  {}",
            painted(sign, paint, colours),
            took(task, row.holder.is_some(), now_ms),
            "",
            painted(&sentence(recorded, task), Paint::Dim, colours),
            pad = names.min(NAME_COLUMNS).saturating_sub(width(&name)),
        );
    }
    if state.tasks().len() > listed.len() {
        let more = state.tasks().len() - listed.len();
        let _ = writeln!(text, "… and {more} more: `dirigent show --json`, or the report");
    }
    list_left_behind(&mut text, state);
    let verdict = verdict(state, colours);
    text.push_str(&if row.status() == "interrupted" {
        verdict.replace(" running", " cut short")
    } else {
        verdict
    });
    let _ = writeln!(text, "{}", painted(&shown(&recorded.folder), Paint::Dim, colours));
    for line in next_steps(recorded) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// What happened to a task. Without a living engine, nothing is under way.
fn sentence(recorded: &Recorded, task: &TaskState) -> String {
    match (task.status, recorded.row.status()) {
        (TaskStatus::Running, "interrupted") => "was under way when its engine went".to_owned(),
        _ => task_sentence(&recorded.state, task),
    }
}

/// The tasks that fit, in their order: those that did not go well before the others.
fn listed(tasks: &[TaskState]) -> Vec<&TaskState> {
    let place = |task: &TaskState| TaskStatus::ALL.iter().position(|status| *status == task.status);
    let mut listed: Vec<(usize, &TaskState)> = tasks.iter().enumerate().collect();
    if listed.len() > MOST_LISTED {
        listed.sort_by_key(|(_, task)| place(task));
        listed.truncate(MOST_LISTED);
        listed.sort_by_key(|(index, _)| *index);
    }
    listed.into_iter().map(|(_, task)| task).collect()
}

/// How long a task took, or runs already; nothing where it was not carried out.
fn took(task: &TaskState, is_held: bool, now_ms: i64) -> String {
    match (task.status, task.started_at_ms) {
        (TaskStatus::Running, Some(started_ms)) if is_held => {
            shown_ms(u64::try_from(now_ms - started_ms).unwrap_or(0))
        }
        (TaskStatus::Running, _) => String::new(),
        _ if task.reused.is_some() || task.ended.is_none() => String::new(),
        _ => shown_ms(took_ms(task)),
    }
}

/// What somebody who looks at this run probably wants to type.
fn next_steps(recorded: &Recorded) -> Vec<String> {
    let Recorded { row, state, .. } = recorded;
    let id = &row.id;
    let mut steps = Vec::new();
    let logs = LogFolder { folder: &recorded.folder, state };
    let wrote = |index: &TaskIndex| {
        [StreamName::Stdout, StreamName::Stderr].iter().any(|stream| logs.path(*index, *stream).is_some())
    };
    let failed = (0u32..).map(TaskIndex).zip(state.tasks()).find(|(_, task)| task.status.is_failure());
    if let Some((_, task)) = failed.filter(|(index, _)| wrote(index)) {
        let name = super::run::quoted(&printable(&task.spec.name));
        steps.push(format!("`dirigent logs {id} {name}` prints what it wrote"));
    }
    match row.status() {
        "running" => steps.push(format!("`dirigent cancel {id}` asks it to end")),
        "interrupted" => steps.push(format!("its engine is gone: {}", goes_on(id, state))),
        "cancelled" => steps.push(goes_on(id, state)),
        "failed" => steps.extend(runs_again(id, state)),
        _ => {}
    }
    steps
}

/// One task: how it stands, what it ran, what it gave, and where its logs are.
fn one(recorded: &Recorded, index: TaskIndex, colours: bool) -> String {
    let Recorded { state, .. } = recorded;
    let Some(task) = state.task(index) else { return String::new() };
    let offset_min = state.header().map_or(0, |header| header.origin.utc_offset_min);
    let name = painted(&printable(&task.spec.name), Paint::Bold, colours);
    let mut text = format!("{name}  {}\n", sentence(recorded, task));
    let mut line = |what: &str, value: &str| {
        let _ = writeln!(text, "  {what:<9} {value}");
    };
    if task.attempts > 0 {
        line("attempts", &task.attempts.to_string());
    }
    task.started_at_ms.iter().for_each(|at_ms| line("started", &shown_moment(*at_ms, offset_min)));
    if task.status.is_final() {
        task.ended_at_ms.iter().for_each(|at_ms| line("ended", &shown_moment(*at_ms, offset_min)));
    }
    let took = took(task, recorded.row.holder.is_some(), now_ms());
    if !took.is_empty() {
        line("took", &took);
    }
    if let Some(command) = task.spec.action.command() {
        let argv: Vec<String> = command.argv.iter().map(|arg| super::run::quoted(&arg.shown())).collect();
        line("command", &argv.join(" "));
    }
    for need in task.spec.needs.iter().filter_map(|need| state.task(*need)) {
        line("needs", &format!("{}  {}", printable(&need.spec.name), sentence(recorded, need)));
    }
    if let Some(value) = task.ended.as_ref().and_then(|ended| ended.value.as_deref()) {
        line("value", &shown_value(value));
    }
    let logs = LogFolder { folder: &recorded.folder, state };
    for stream in [StreamName::Stdout, StreamName::Stderr] {
        if let Some(path) = logs.path(index, stream) {
            line(stream.name(), &shown(&recorded.folder.join(path)));
        }
    }
    for last in task.ended.iter().flat_map(|ended| ended.last_lines.lines()) {
        let _ = writeln!(text, "  | {last}");
    }
    text
}

/// A value as it is recorded: pickles are not opened here.
fn shown_value(value: &Kept) -> String {
    match value {
        Kept::Inline { encoding: Encoding::Json, text } => fitted(&printable(text), VALUE_COLUMNS),
        Kept::Inline { encoding: Encoding::Pickle, text } => {
            format!("a pickle of {}", shown_bytes(text.len() as u64 / 4 * 3))
        }
        Kept::Artifact { encoding: Encoding::Json, bytes, .. } => {
            format!("{} of JSON", shown_bytes(*bytes))
        }
        Kept::Artifact { encoding: Encoding::Pickle, bytes, .. } => {
            format!("a pickle of {}", shown_bytes(*bytes))
        }
        Kept::NotKept { why } => format!("not kept: {}", printable(why)),
    }
}
