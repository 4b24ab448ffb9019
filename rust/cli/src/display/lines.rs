//! What scrolls by above the picture: what failed and what it wrote last, what was skipped, what somebody asked for.

use super::plain::{cancel_sentence, skip_sentence};
use super::{shown_ms, sign, took_ms, word};
use crate::terminal::{Paint, painted};
use dirigent_core::event::{Event, Fact};
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_core::text::printable;
use dirigent_report::quantity::grouped;
use std::fmt::Write;

/// Lines of output shown with a failure.
const FAILURE_LINES: usize = 8;

/// How many failures, and how many skipped tasks, are told one by one between two pictures. A run of thousands has them by the
/// thousand.
const MOST_AT_ONCE: usize = 20;

/// Lines that wait to scroll by.
pub(super) struct Scrolling {
    text: String,
    failed: usize,
    skipped: usize,
    pub(super) colours: bool,
}

impl Scrolling {
    pub(super) fn new(colours: bool) -> Self {
        Self { text: String::new(), failed: 0, skipped: 0, colours }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Those that have waited.
    pub(super) fn take(&mut self) -> String {
        for (count, status) in [(self.failed, TaskStatus::Failed), (self.skipped, TaskStatus::Skipped)] {
            if count > MOST_AT_ONCE {
                let more = grouped(count - MOST_AT_ONCE);
                let (sign, paint) = sign(status);
                let sign = self.painted(sign, paint);
                let _ = writeln!(self.text, "{sign} … and {more} more {}", word(status));
            }
        }
        (self.failed, self.skipped) = (0, 0);
        std::mem::take(&mut self.text)
    }

    /// Says something that is no event.
    pub(super) fn tell(&mut self, line: &str) {
        let _ = writeln!(self.text, "{}", painted(line, Paint::Yellow, self.colours));
    }

    /// What is to be said of an event; the state is the one after it.
    pub(super) fn note(&mut self, state: &State, event: &Event) {
        let name = |task| state.task(task).map(|task| printable(&task.spec.name)).unwrap_or_default();
        match &event.fact {
            Fact::AttemptEnded { task, .. } => {
                if let Some(task) = state.task(*task).filter(|task| task.status != TaskStatus::Completed) {
                    self.failed += 1;
                    if self.failed <= MOST_AT_ONCE {
                        self.failure(task);
                    }
                }
            }
            Fact::TaskSkipped { task, reason } => {
                self.skipped += 1;
                if self.skipped > MOST_AT_ONCE {
                    return;
                }
                let line = format!("{}  {}", name(*task), skip_sentence(state, reason));
                let (sign, paint) = sign(TaskStatus::Skipped);
                let (sign, line) = (self.painted(sign, paint), self.painted(&line, Paint::Dim));
                let _ = writeln!(self.text, "{sign} {line}");
            }
            // What an earlier engine did was shown then.
            Fact::RunResumed { .. } => *self = Self::new(self.colours),
            Fact::WaitStarted { task } => {
                let _ = writeln!(self.text, "? {} waits for an answer", name(*task));
            }
            Fact::CancelRequested { reason } => self.tell(cancel_sentence(*reason)),
            Fact::RunCreated(_)
            | Fact::AttemptStarted { .. }
            | Fact::TaskReused { .. }
            | Fact::TaskCancelled { .. }
            | Fact::TaskFailed { .. }
            | Fact::WaitAnswered { .. }
            | Fact::WaitTimedOut { .. }
            | Fact::ValueLost { .. }
            | Fact::ReuseAsked { .. }
            | Fact::ReuseDeclined { .. }
            | Fact::TasksDeclared { .. }
            | Fact::ConditionAsked { .. }
            | Fact::ConditionHeld { .. }
            | Fact::ActionSettled { .. }
            | Fact::TaskCancelRequested { .. }
            | Fact::KillRequested
            | Fact::RunSuspended
            | Fact::RunContinued
            | Fact::RunEnded { .. } => {}
        }
    }

    fn painted(&self, text: &str, paint: Paint) -> String {
        painted(text, paint, self.colours)
    }

    fn failure(&mut self, task: &TaskState) {
        let Some(ended) = &task.ended else { return };
        let (sign, paint) = sign(task.status);
        let name = printable(&task.spec.name);
        let took = shown_ms(took_ms(task));
        let _ = writeln!(
            self.text,
            "{} {}  {}",
            self.painted(sign, paint),
            self.painted(&name, Paint::Bold),
            self.painted(&format!("{} ({took})", ended.outcome.sentence()), paint),
        );
        let lines: Vec<&str> = ended.last_lines.lines().collect();
        for line in &lines[lines.len().saturating_sub(FAILURE_LINES)..] {
            let _ = writeln!(self.text, "  {} {line}", self.painted("│", Paint::Dim));
        }
    }
}
