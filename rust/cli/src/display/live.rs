//! A picture that changes: failures scroll by above, below them a bar with counts and what runs now.

use super::plain::{cancel_sentence, skip_sentence};
use super::{TICK, fold, shown_ms, sign, took_ms, word};
use crate::terminal::{self, Paint, fitted, fitted_end, painted, width};
use dirigent_core::event::{Event, Fact};
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_core::text::printable;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lines of output shown with a failure.
const FAILURE_LINES: usize = 8;
/// Columns of the bar.
const BAR_COLUMNS: usize = 28;

pub(super) struct Live {
    state: State,
    colours: bool,
    began: Instant,
    drawn_at: Option<Instant>,
    /// Lines on the screen that the next picture replaces.
    drawn_lines: usize,
    /// Lines waiting to scroll by.
    scroll: String,
    /// When each running task started, by this process's clock.
    running: BTreeMap<u32, Instant>,
    counts: [usize; TaskStatus::ALL.len()],
}

impl Live {
    pub(super) fn new() -> Self {
        Self {
            state: State::default(),
            colours: terminal::colours_on_stderr(),
            began: Instant::now(),
            drawn_at: None,
            drawn_lines: 0,
            scroll: String::new(),
            running: BTreeMap::new(),
            counts: [0; TaskStatus::ALL.len()],
        }
    }

    /// How long until the picture wants to change. The first one waits, so that short runs draw none.
    pub(super) fn patience(&self) -> Duration {
        TICK.saturating_sub(self.drawn_at.unwrap_or(self.began).elapsed())
    }

    pub(super) fn take(&mut self, events: &[Arc<Event>]) {
        let mut state = std::mem::take(&mut self.state);
        fold(&mut state, events.iter().map(|event| &**event), |state, event| self.note(state, event));
        self.state = state;
        if self.patience().is_zero() || !self.scroll.is_empty() {
            self.draw();
        }
    }

    fn note(&mut self, state: &State, event: &Event) {
        let status = |index: &dirigent_core::TaskIndex| state.task(*index).map(|task| task.status);
        match &event.fact {
            Fact::AttemptStarted { task, .. } => drop(self.running.insert(task.0, Instant::now())),
            Fact::AttemptEnded { task, .. } => {
                self.running.remove(&task.0);
                self.count(status(task));
                if let Some(task) = state.task(*task).filter(|task| task.status != TaskStatus::Completed) {
                    self.scroll_failure(task);
                }
            }
            Fact::TaskSkipped { task, reason } => {
                self.count(Some(TaskStatus::Skipped));
                if let Some(task) = state.task(*task) {
                    let line = format!("{}  {}", printable(&task.spec.name), skip_sentence(state, reason));
                    let (sign, paint) = sign(TaskStatus::Skipped);
                    let _ = writeln!(
                        self.scroll,
                        "{} {}",
                        painted(sign, paint, self.colours),
                        painted(&line, Paint::Dim, self.colours)
                    );
                }
            }
            Fact::RunResumed { .. } => {
                // What an earlier engine did was shown then.
                self.scroll.clear();
                self.running.clear();
                self.counts =
                    TaskStatus::ALL.map(|status| if status.is_final() { state.count(status) } else { 0 });
            }
            Fact::TaskReused { task, .. }
            | Fact::TaskCancelled { task }
            | Fact::TaskFailed { task, .. }
            | Fact::WaitAnswered { task, .. }
            | Fact::WaitTimedOut { task } => self.count(status(task)),
            Fact::WaitStarted { task } => {
                let name = state.task(*task).map(|task| printable(&task.spec.name)).unwrap_or_default();
                let _ = writeln!(self.scroll, "? {name} waits for an answer");
            }
            Fact::CancelRequested { reason } => {
                let _ = writeln!(
                    self.scroll,
                    "{}",
                    painted(cancel_sentence(*reason), Paint::Yellow, self.colours)
                );
            }
            Fact::RunSuspended => {
                // The shell writes over what stands here while the program is stopped.
                self.drawn_lines = 0;
                self.scroll.push_str("stopped; `fg` goes on\n");
            }
            Fact::RunCreated { .. }
            | Fact::ValueLost { .. }
            | Fact::ReuseAsked { .. }
            | Fact::ReuseDeclined { .. }
            | Fact::TasksDeclared { .. }
            | Fact::ConditionAsked { .. }
            | Fact::ConditionHeld { .. }
            | Fact::ActionSettled { .. }
            | Fact::TaskCancelRequested { .. }
            | Fact::KillRequested
            | Fact::RunContinued
            | Fact::RunEnded { .. } => {}
        }
    }

    /// Says something that is no event.
    pub(super) fn tell(&mut self, line: &str) {
        let _ = writeln!(self.scroll, "{}", painted(line, Paint::Yellow, self.colours));
        self.draw();
    }

    fn count(&mut self, status: Option<TaskStatus>) {
        let place = status.filter(|status| status.is_final()).and_then(place);
        if let Some(place) = place {
            self.counts[place] += 1;
        }
    }

    fn scroll_failure(&mut self, task: &TaskState) {
        let Some(ended) = &task.ended else { return };
        let (sign, paint) = sign(task.status);
        let name = printable(&task.spec.name);
        let took = shown_ms(took_ms(task));
        let _ = writeln!(
            self.scroll,
            "{} {}  {}",
            painted(sign, paint, self.colours),
            painted(&name, Paint::Bold, self.colours),
            painted(&format!("{} ({took})", ended.outcome.sentence()), paint, self.colours),
        );
        let lines: Vec<&str> = ended.last_lines.lines().collect();
        for line in &lines[lines.len().saturating_sub(FAILURE_LINES)..] {
            let _ = writeln!(self.scroll, "  {} {line}", painted("│", Paint::Dim, self.colours));
        }
    }

    /// Replaces the picture, after whatever has to scroll by.
    pub(super) fn draw(&mut self) {
        let (columns, rows) = terminal::size();
        let picture = self.picture(columns.saturating_sub(1), rows);
        let mut text = self.erase();
        text.push_str(&std::mem::take(&mut self.scroll));
        for line in &picture {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn_lines = picture.len();
        self.drawn_at = Some(Instant::now());
        terminal::say(&text);
    }

    /// Takes the picture away; what scrolled by stays.
    pub(super) fn clear(mut self) {
        let mut text = self.erase();
        text.push_str(&self.scroll);
        terminal::say(&text);
        self.drawn_lines = 0;
    }

    fn erase(&self) -> String {
        match self.drawn_lines {
            0 => String::new(),
            lines => format!("\r\u{1b}[{lines}A\u{1b}[J"),
        }
    }

    fn picture(&self, columns: usize, rows: usize) -> Vec<String> {
        let mut lines = vec![self.bar(columns)];
        let room = rows.saturating_sub(4).clamp(1, 12);
        for (index, since) in self.running.iter().take(room) {
            let Some(task) = self.state.tasks().get(*index as usize) else {
                continue;
            };
            let time = shown_ms(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX));
            let name = fitted_end(&printable(&task.spec.name), columns.saturating_sub(width(&time) + 6));
            let (sign, paint) = sign(TaskStatus::Running);
            let time = painted(&time, Paint::Dim, self.colours);
            lines.push(format!("  {} {name}  {time}", painted(sign, paint, self.colours)));
        }
        if self.running.len() > room {
            lines.push(format!("    … and {} more", self.running.len() - room));
        }
        lines
    }

    fn bar(&self, columns: usize) -> String {
        let total = self.state.tasks().len();
        let done = total - self.state.open() as usize;
        let filled = (BAR_COLUMNS * done).checked_div(total).unwrap_or(0);
        let counts = TaskStatus::ALL.iter().zip(self.counts).filter(|(_, count)| *count > 0);
        let counts: Vec<String> =
            counts.map(|(status, count)| format!("{count} {}", word(*status))).collect();
        let elapsed =
            shown_ms(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX) / 100 * 100);
        let rest = format!(" {done}/{total}  {}  {elapsed}", counts.join(" · "));
        if columns < BAR_COLUMNS + width(&rest) {
            return fitted(rest.trim_start(), columns);
        }
        let bar = painted(&"━".repeat(filled), Paint::Blue, self.colours);
        format!("{bar}{}{rest}", painted(&"╌".repeat(BAR_COLUMNS - filled), Paint::Dim, self.colours))
    }
}

fn place(status: TaskStatus) -> Option<usize> {
    TaskStatus::ALL.iter().position(|other| *other == status)
}
