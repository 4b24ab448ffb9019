//! One turn after another, on one thread:
//!
//! 1. take an input, and let the core decide what facts it makes;
//! 2. record the facts, apply them, and pass on what they mean for the worker;
//! 3. let the core say what follows, until nothing does;
//! 4. when every task has ended, close the worker; when that has ended, the run has.

use crate::journal::Journal;
use crate::plan::Plan;
use crossbeam_channel::Receiver;
use dirigent_core::decide::{Input, decide, follow};
use dirigent_core::event::{CancelReason, Event, Fact};
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::state::State;
use dirigent_process::{Attempt, ProcessError, Report, Worker};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What reaches the loop.
#[allow(clippy::large_enum_variant, reason = "nearly every message is a report")]
pub(crate) enum Message {
    Worker(Report),
    Cancel(CancelReason),
    Kill,
    Suspend,
    Continue,
}

pub(crate) struct RunLoop {
    pub(crate) run: RunId,
    pub(crate) folder: PathBuf,
    pub(crate) journal: Arc<Journal>,
    pub(crate) messages: Receiver<Message>,
    pub(crate) worker: Worker,
    pub(crate) state: State,
    pub(crate) closing: bool,
}

impl RunLoop {
    /// Carries out the plan. Returns the last state, and why the worker failed if it did.
    pub(crate) fn conduct(mut self, plan: Plan) -> (State, Option<ProcessError>) {
        let (workflow, tasks) = plan.workflow.into_parts();
        self.record(vec![
            Fact::RunCreated {
                run: plan.run,
                workflow,
                max_concurrency: plan.max_concurrency,
                fail_fast: plan.fail_fast,
                origin: plan.origin,
            },
            Fact::TasksDeclared { tasks },
        ]);
        let failure = loop {
            self.settle();
            if self.state.end().is_some() {
                break None;
            }
            // The handle keeps a sender and the worker another: both gone means that nobody is left to hear.
            let Ok(message) = self.messages.recv() else {
                break None;
            };
            if let Err(error) = self.take(message) {
                break Some(error);
            }
        };
        self.journal.close();
        (self.state, failure)
    }

    fn take(&mut self, message: Message) -> Result<(), ProcessError> {
        let input = match message {
            Message::Worker(Report::Ended(report)) => Input::AttemptEnded(report),
            Message::Worker(Report::Suspended) => Input::Suspended,
            Message::Worker(Report::Continued) => Input::Continued,
            Message::Worker(Report::Closed { strays, survivors }) => {
                Input::WorkersClosed { strays, survivors }
            }
            Message::Worker(Report::Failed(error)) => return Err(error),
            Message::Cancel(reason) => Input::Cancel(reason),
            Message::Kill => {
                self.worker.kill();
                return Ok(());
            }
            Message::Suspend => {
                self.worker.suspend();
                return Ok(());
            }
            Message::Continue => {
                self.worker.go_on();
                return Ok(());
            }
        };
        let facts = decide(&self.state, input);
        self.record(facts);
        Ok(())
    }

    fn settle(&mut self) {
        loop {
            let facts = follow(&self.state);
            if facts.is_empty() {
                break;
            }
            self.record(facts);
        }
        if self.state.open() == 0 && !std::mem::replace(&mut self.closing, true) {
            self.worker.close();
        }
    }

    fn record(&mut self, facts: Vec<Fact>) {
        if facts.is_empty() {
            return;
        }
        for event in self.journal.append(facts, now_ms()) {
            self.state.apply(&event);
            self.pass_on(&event);
        }
    }

    /// What a fact means for the worker.
    fn pass_on(&self, event: &Event) {
        match &event.fact {
            Fact::AttemptStarted { task, attempt } => {
                if let Some(attempt) = self.attempt(*task, *attempt) {
                    self.worker.carry_out(attempt);
                }
            }
            Fact::CancelRequested { reason } => {
                if self.state.is_suspended() {
                    // The stopped cannot hear a signal, and their grace would never pass.
                    self.worker.go_on();
                }
                self.worker.stop(signal(*reason));
            }
            Fact::RunCreated { .. }
            | Fact::TasksDeclared { .. }
            | Fact::AttemptEnded { .. }
            | Fact::TaskSkipped { .. }
            | Fact::TaskCancelled { .. }
            | Fact::RunSuspended
            | Fact::RunContinued
            | Fact::RunEnded { .. } => {}
        }
    }

    fn attempt(&self, task: TaskIndex, attempt: u32) -> Option<Attempt> {
        let spec = &self.state.task(task)?.spec;
        Some(Attempt {
            task,
            attempt,
            command: spec.action.command().clone(),
            limits: spec.limits.clone(),
            allowed_exit_codes: spec.allowed_exit_codes.clone(),
            leave_running: spec.leave_running,
            marks: vec![
                (RUN_VARIABLE.to_owned(), self.run.to_string()),
                ("DIRIGENT_TASK".to_owned(), spec.name.clone()),
                ("DIRIGENT_ATTEMPT".to_owned(), attempt.to_string()),
                ("DIRIGENT_IDEMPOTENCY_KEY".to_owned(), format!("{}-{task}", self.run)),
            ],
            folder: self.folder.join(attempt_folder(task, attempt)),
        })
    }
}

/// The variable that names the run in the environment of all its processes.
pub(crate) const RUN_VARIABLE: &str = "DIRIGENT_RUN_ID";

/// Where the logs of an attempt are, from the folder of its run. Paths come from numbers, never from names.
pub fn attempt_folder(task: TaskIndex, attempt: u32) -> PathBuf {
    PathBuf::from(format!("tasks/{task}/{attempt}"))
}

/// The signal by which a reason reaches the processes of a run.
fn signal(reason: CancelReason) -> i32 {
    match reason {
        CancelReason::Interrupted => SIGINT,
        CancelReason::HungUp => SIGHUP,
        CancelReason::Terminated | CancelReason::Requested | CancelReason::Storage => SIGTERM,
    }
}

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
