//! The table of all tasks, each with the end of its output folded away.

use crate::escape::{Content, Link, Name, shell_quoted};
use crate::logs::{Logs, last_lines};
use crate::quantity::{grouped, shown_bytes, shown_seconds};
use crate::sentence::status_words;
use crate::summary::{StreamSummary, Summary, TaskSummary};
use dirigent_core::TaskIndex;
use dirigent_core::state::TaskStatus;
use std::collections::HashSet;
use std::fmt::{Result, Write};

/// How much of a command is shown.
const COMMAND_CHARS: usize = 400;

/// So many tasks are in the document; the script reads the others when they are wanted. Without it they stand there as well.
const FIRST_TASKS: usize = 400;
/// Where there is no room for the end of the output of all tasks that failed: what the first of them get, and the others.
const FEW_BYTES: usize = 640;
const LINE_BYTES: usize = 64;

/// How many bytes of each stream the page carries, so that its size stays in proportion to the number of tasks.
struct Shares {
    /// The first failures, where there is room for those alone.
    few: HashSet<TaskIndex>,
    /// For tasks that did not complete, which readers came for.
    of_incomplete: usize,
    of_others: usize,
}

impl Shares {
    fn new(summary: &Summary) -> Self {
        let budget = (40 << 10) + 64 * summary.tasks.len();
        let streams = |completed: bool| -> usize {
            let tasks =
                summary.tasks.iter().filter(|task| (task.status == TaskStatus::Completed) == completed);
            let texts =
                |task: &TaskSummary| task.streams().count().max(usize::from(!task.last_lines.is_empty()));
            tasks.map(texts).sum()
        };
        let share = |bytes: usize, streams: usize, most: usize| match bytes / streams.max(1) {
            // Less than a few lines tells nothing: the link to the log is there in any case.
            ..160 => 0,
            share => share.min(most),
        };
        let incomplete = streams(false);
        let of_incomplete = share(budget * 2 / 3, incomplete, 8 << 10);
        let room_for = if of_incomplete == 0 { budget / 5 / FEW_BYTES } else { 0 };
        let few: HashSet<TaskIndex> =
            summary.failed.iter().take(room_for).map(|failed| failed.index).collect();
        let of_others = match few.len() {
            0 => share(budget - of_incomplete * incomplete, streams(true), 2 << 10),
            _ => 0,
        };
        Self { few, of_incomplete, of_others }
    }

    fn of(&self, task: &TaskSummary) -> usize {
        if task.status == TaskStatus::Completed { self.of_others } else { self.of_incomplete }
    }

    /// How much of its last lines a task shows that shows nothing of its logs.
    fn of_last_lines(&self, task: &TaskSummary) -> usize {
        match self.of(task) {
            0 if self.is_short(task) => LINE_BYTES,
            0 => FEW_BYTES,
            share => share,
        }
    }

    /// Whether it shows only a line of what it wrote, and where the rest is.
    fn is_short(&self, task: &TaskSummary) -> bool {
        let is_incomplete = task.status != TaskStatus::Completed;
        is_incomplete && self.of_incomplete == 0 && !self.few.contains(&task.index)
    }

    /// Whether tasks that failed show only a line.
    fn are_short(&self, summary: &Summary) -> bool {
        self.of_incomplete == 0 && summary.failed.len() > self.few.len()
    }
}

/// Writes the table.
pub(super) fn write(out: &mut dyn Write, summary: &Summary, logs: &dyn Logs) -> Result {
    let shares = Shares::new(summary);
    write!(
        out,
        "<section class=tasks id=tasks>\n<h2>Tasks</h2>\n\
         <div class=tools hidden><input type=search id=search placeholder=\"Search names, messages, output\" \
         aria-label=\"Search names, messages, output\"><p class=muted id=shown role=status></p></div>\n"
    )?;
    if shares.are_short(summary) {
        let run = Name(&summary.run);
        writeln!(
            out,
            "<p class=muted>Of most that failed only the end of their last lines stands here: \
             <code>dirigent logs {run} TASK</code> shows the rest.</p>"
        )?;
    }
    write!(
        out,
        "<table>\n<thead><tr><th>Task<th>State<th>What happened<th class=n>Started<th class=n>Time\
         <th class=n>CPU<th class=n>Memory<th class=n>Output</tr></thead>\n<tbody>\n"
    )?;
    let (first, rest) = summary.tasks.split_at(summary.tasks.len().min(FIRST_TASKS));
    for task in first {
        row(out, task, logs, &shares)?;
    }
    writeln!(out, "</tbody>\n</table>")?;
    if !rest.is_empty() {
        writeln!(out, "<noscript id=rest><table>\n<tbody>")?;
        for task in rest {
            row(out, task, logs, &shares)?;
        }
        writeln!(out, "</tbody>\n</table></noscript>")?;
    }
    writeln!(out, "<p class=muted id=none hidden>No task matches.</p>\n</section>")
}

fn row(out: &mut dyn Write, task: &TaskSummary, logs: &dyn Logs, shares: &Shares) -> Result {
    let class = task.status.name();
    write!(out, "<tr id=t{} class={class}><td><details><summary>{}</summary>", task.index, Name(&task.name))?;
    more(out, task, logs, shares)?;
    let what = if task.exit_code == Some(0) { "" } else { &task.sentence };
    write!(out, "</details><td>{}<td>{}", status_words(task.status), Name(what))?;
    number(out, task.started_after_s, shown_seconds)?;
    let measured = task.ran();
    number(out, measured.then_some(task.wall_s), shown_seconds)?;
    number(out, measured.then_some(task.user_s + task.system_s), shown_seconds)?;
    size(out, task.peak_memory_bytes)?;
    size(out, task.streams().map(|(_, stream)| stream.bytes).sum())?;
    writeln!(out)
}

/// A cell with a number; its value is named where the text alone would not sort.
fn number(out: &mut dyn Write, value: Option<f64>, shown: fn(f64) -> String) -> Result {
    match value {
        None => write!(out, "<td>–"),
        Some(value) if value < 60.0 => write!(out, "<td>{}", shown(value)),
        Some(value) => write!(out, "<td data-v={value:.0}>{}", shown(value)),
    }
}

fn size(out: &mut dyn Write, bytes: u64) -> Result {
    if bytes == 0 { write!(out, "<td>–") } else { write!(out, "<td data-v={bytes}>{}", shown_bytes(bytes)) }
}

/// What unfolds: the command, what is remarkable, and the ends of the logs.
fn more(out: &mut dyn Write, task: &TaskSummary, logs: &dyn Logs, shares: &Shares) -> Result {
    let share = shares.of(task);
    write!(out, "<div><code>{}</code>", Name(&command(task)))?;
    if task.attempts > 1 {
        write!(out, "<p>This was attempt {}.", task.attempts)?;
    }
    if task.left_behind > 0 {
        write!(out, "<p>Processes left behind: {}.", task.left_behind)?;
    }
    let mut told = false;
    let is_short = shares.is_short(task);
    let is_said = |stream: &StreamSummary| stream.truncated || stream.error.is_some();
    let streams = task.streams().enumerate();
    for (_, (name, stream)) in streams.filter(|(n, (_, stream))| *n == 0 || !is_short || is_said(stream)) {
        write!(out, "<p>{}", name.name())?;
        match &stream.log {
            Some(log) => write!(out, ": <a href={}>{}</a>", Link(log), shown_bytes(stream.bytes))?,
            None => write!(out, ": {}", shown_bytes(stream.bytes))?,
        }
        let tail = if share > 0 { logs.tail(task.index, name, share) } else { String::new() };
        let (lines, _) = last_lines(&tail, share);
        remarks(out, stream, lines)?;
        if !lines.trim().is_empty() {
            told = true;
            write!(out, "<pre tabindex=0>{}</pre>", Content(lines.trim_end()))?;
        }
    }
    if !told && !task.last_lines.is_empty() {
        let (lines, left_out) = last_lines(task.last_lines.trim_end(), shares.of_last_lines(task));
        let cut = if left_out > 0 { "… " } else { "" };
        let focus = if is_short { "" } else { " tabindex=0" };
        write!(out, "<pre{focus}>{cut}{}</pre>", Content(lines))?;
    }
    write!(out, "</div>")
}

fn remarks(out: &mut dyn Write, stream: &StreamSummary, lines: &str) -> Result {
    if stream.truncated {
        let lost = stream.bytes.saturating_sub(stream.kept_bytes);
        write!(out, ", <b>truncated</b>: the log lacks {} out of the middle", shown_bytes(lost))?;
    }
    if let Some(error) = &stream.error {
        write!(out, ", <b>not all was logged</b>: {}", Name(error))?;
    }
    if !lines.is_empty() && (lines.len() as u64) * 10 < stream.bytes * 9 {
        write!(out, ", its end:")?;
    }
    Ok(())
}

fn command(task: &TaskSummary) -> String {
    let full = task.command.iter().map(|part| shell_quoted(part)).collect::<Vec<_>>().join(" ");
    match full.char_indices().nth(COMMAND_CHARS) {
        Some((end, _)) => format!("{} … ({} characters)", &full[..end], grouped(full.chars().count())),
        None => full,
    }
}
