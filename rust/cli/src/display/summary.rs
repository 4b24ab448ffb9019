//! A finished run in a few lines: how it went, what failed and where to look, what took longest.

use super::{shown_ms, sign, took_ms, word};
use crate::fault::shown;
use crate::record::LogFolder;
use crate::terminal::{Paint, painted};
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::Action;
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_core::text::printable;
use dirigent_report::quantity::counted;
use dirigent_report::{Logs, StreamName};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// How many of the failed are listed before the reader is sent to the report.
const MOST_FAILED: usize = 20;
/// How many of the slowest are listed.
const MOST_SLOW: usize = 5;

/// The summary as text.
pub(crate) fn summary(state: &State, folder: &Path, reports: &[PathBuf], colours: bool) -> String {
    let mut text = String::new();
    let tasks: Vec<(TaskIndex, &TaskState)> = (0u32..).map(TaskIndex).zip(state.tasks()).collect();
    let failed: Vec<_> = tasks
        .iter()
        .filter(|(_, task)| {
            task.status.is_failure() || (task.status == TaskStatus::Cancelled && task.attempts > 0)
        })
        .collect();
    list_failed(&mut text, state, folder, &failed, colours);
    list_slowest(&mut text, &tasks, colours);
    list_left_behind(&mut text, state);
    for report in reports {
        let _ = writeln!(text, "report: {}", shown(report));
    }
    if reports.is_empty() {
        let _ = writeln!(text, "run: {}", shown(folder));
    }
    text.push_str(&verdict(state, colours));
    text
}

/// What outlived its task.
pub(crate) fn list_left_behind(text: &mut String, state: &State) {
    if let Some(end) = state.end().filter(|end| end.strays > 0 || !end.survivors.is_empty()) {
        let _ = writeln!(text, "left behind: {} processes, ended with the run", end.strays);
        for survivor in &end.survivors {
            let _ = writeln!(text, "  could not be ended: {}", printable(survivor));
        }
    }
}

/// How many tasks ended how, and how long it took, where it has ended.
pub(crate) fn verdict(state: &State, colours: bool) -> String {
    let counts: Vec<String> = TaskStatus::ALL
        .iter()
        .map(|status| (*status, state.count(*status)))
        .filter(|(_, count)| *count > 0)
        .map(|(status, count)| {
            let (sign, paint) = sign(status);
            painted(&format!("{sign} {count} {}", word(status)), paint, colours)
        })
        .collect();
    let elapsed = state.header().zip(state.end()).map(|(header, end)| {
        format!(" in {}", shown_ms(u64::try_from(end.at_ms - header.created_at_ms).unwrap_or(0)))
    });
    let is_script = |task: &TaskState| matches!(task.spec.action, Action::Script(_));
    let noun =
        if !state.tasks().is_empty() && state.tasks().iter().all(is_script) { "script" } else { "task" };
    let total = counted(state.tasks().len(), noun);
    format!("{total}{}: {}\n", elapsed.unwrap_or_default(), counts.join(", "))
}

fn list_failed(
    text: &mut String,
    state: &State,
    folder: &Path,
    failed: &[&(TaskIndex, &TaskState)],
    colours: bool,
) {
    let logs = LogFolder { folder, state };
    for (index, task) in failed.iter().take(MOST_FAILED) {
        let (sign, paint) = sign(task.status);
        let outcome = task.ended.as_ref().map(|ended| ended.outcome.sentence()).unwrap_or_default();
        let name = painted(&printable(&task.spec.name), Paint::Bold, colours);
        let _ = writeln!(text, "{} {name}  {outcome}", painted(sign, paint, colours));
        for stream in [StreamName::Stderr, StreamName::Stdout] {
            if let Some(log) = logs.path(*index, stream) {
                let _ = writeln!(text, "  {}", painted(&shown(&folder.join(log)), Paint::Dim, colours));
            }
        }
    }
    if failed.len() > MOST_FAILED {
        let _ = writeln!(text, "… and {} more, in the report", failed.len() - MOST_FAILED);
    }
}

fn list_slowest(text: &mut String, tasks: &[(TaskIndex, &TaskState)], colours: bool) {
    let mut slowest: Vec<_> =
        tasks.iter().filter(|(_, task)| task.ended.is_some() && task.reused.is_none()).collect();
    if slowest.len() < 2 {
        return;
    }
    slowest.sort_by_key(|(index, task)| (std::cmp::Reverse(took_ms(task)), *index));
    let _ = writeln!(text, "{}", painted("slowest", Paint::Dim, colours));
    for (_, task) in slowest.iter().take(MOST_SLOW) {
        let _ = writeln!(text, "  {:>9}  {}", shown_ms(took_ms(task)), printable(&task.spec.name));
    }
}
