//! What scrolls by above the picture: what failed and what it wrote last, what was skipped, what somebody asked for.

use super::plain::{cancel_sentence, skip_sentence};
use super::{shown_ms, sign, took_ms};
use crate::terminal::{Paint, painted};
use dirigent_core::event::{Event, Fact};
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_core::text::printable;
use std::fmt::Write;

/// Lines of output shown with a failure.
const FAILURE_LINES: usize = 8;

/// Lines that wait to scroll by.
pub(super) struct Scrolling {
    text: String,
    pub(super) colours: bool,
}

impl Scrolling {
    pub(super) fn new(colours: bool) -> Self {
        Self { text: String::new(), colours }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Those that have waited.
    pub(super) fn take(&mut self) -> String {
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
                    self.failure(task);
                }
            }
            Fact::TaskSkipped { task, reason } => {
                let line = format!("{}  {}", name(*task), skip_sentence(state, reason));
                let (sign, paint) = sign(TaskStatus::Skipped);
                let (sign, line) = (self.painted(sign, paint), self.painted(&line, Paint::Dim));
                let _ = writeln!(self.text, "{sign} {line}");
            }
            // What an earlier engine did was shown then.
            Fact::RunResumed { .. } => self.text.clear(),
            Fact::WaitStarted { task } => {
                let _ = writeln!(self.text, "? {} waits for an answer", name(*task));
            }
            Fact::CancelRequested { reason } => self.tell(cancel_sentence(*reason)),
            Fact::RunCreated { .. }
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
