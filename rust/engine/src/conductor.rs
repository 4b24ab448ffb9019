//! One turn after another, each on the thread of whoever has something to say:
//!
//! 1. take an input, and let the core decide what facts it makes;
//! 2. record the facts, apply them, and pass on what they mean for the worker;
//! 3. let the core say what follows, until nothing does;
//! 4. when every task has ended, close the worker; when that has ended, the run has.
//!
//! There is no thread of its own: a worker that reports an end starts what follows from it in the same breath.
//! Nothing in a turn waits: to record, to apply and to ask are short.

use crate::fault::EngineError;
use crate::journal::Journal;
use crate::plan::Plan;
use dirigent_core::decide::{Input, decide, follow};
use dirigent_core::event::{CancelReason, Event, Fact};
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::state::State;
use dirigent_process::{Asker, Attempt, Report};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A conductor and those who speak to it.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Conductor>>);

/// The one place where a run changes.
#[derive(Debug)]
pub(crate) struct Conductor {
    run: RunId,
    folder: PathBuf,
    journal: Arc<Journal>,
    worker: Option<Asker>,
    state: State,
    closing: bool,
    failure: Option<EngineError>,
}

impl Shared {
    pub(crate) fn new(run: RunId, folder: PathBuf, journal: Arc<Journal>) -> Self {
        Self(Arc::new(Mutex::new(Conductor {
            run,
            folder,
            journal,
            worker: None,
            state: State::default(),
            closing: false,
            failure: None,
        })))
    }

    /// Waits for a turn of somebody else, which is short.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Conductor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the worker: hears its reports, and that it has ended in whatever way.
    pub(crate) fn ear(&self) -> Ear {
        Ear(self.clone())
    }
}

/// What a worker speaks into. Dropped with the worker's thread: a run that is not through by then never will be.
pub(crate) struct Ear(Shared);

impl Ear {
    pub(crate) fn hear(&self, report: Report) {
        self.0.lock().take(report);
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.lock().fail(EngineError::Bug { part: "the worker" });
    }
}

impl Conductor {
    /// Carries out the plan.
    pub(crate) fn begin(&mut self, plan: Plan, worker: Asker) {
        self.worker = Some(worker);
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
        self.settle();
    }

    fn take(&mut self, report: Report) {
        let input = match report {
            Report::Ended(report) => Input::AttemptEnded(report),
            Report::Suspended => Input::Suspended,
            Report::Continued => Input::Continued,
            Report::Closed { strays, survivors } => Input::WorkersClosed { strays, survivors },
            Report::Failed(error) => return self.fail(error.into()),
        };
        self.turn(input);
    }

    /// Takes an input, with everything that follows from it.
    pub(crate) fn turn(&mut self, input: Input) {
        let facts = decide(&self.state, input);
        self.record(facts);
        self.settle();
    }

    /// What the worker can be asked without a fact; nothing before it is there.
    pub(crate) fn worker(&self) -> Option<&Asker> {
        self.worker.as_ref()
    }

    /// The last state, and why the run could not be carried through if it could not.
    pub(crate) fn result(&mut self) -> Result<State, EngineError> {
        match self.failure.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut self.state)),
        }
    }

    /// The run cannot go on. Nothing of one that has ended.
    fn fail(&mut self, error: EngineError) {
        if self.state.end().is_none() {
            self.failure.get_or_insert(error);
        }
        self.journal.close();
    }

    fn settle(&mut self) {
        loop {
            let facts = follow(&self.state);
            if facts.is_empty() {
                break;
            }
            self.record(facts);
        }
        if self.state.open() == 0
            && !std::mem::replace(&mut self.closing, true)
            && let Some(worker) = &self.worker
        {
            worker.close();
        }
        if self.state.end().is_some() {
            self.journal.close();
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
        let Some(worker) = &self.worker else {
            return;
        };
        match &event.fact {
            Fact::AttemptStarted { task, attempt } => {
                if let Some(attempt) = self.attempt(*task, *attempt) {
                    worker.carry_out(attempt);
                }
            }
            Fact::CancelRequested { reason } => {
                if self.state.is_suspended() {
                    // The stopped cannot hear a signal, and their grace would never pass.
                    worker.go_on();
                }
                worker.stop(signal(*reason));
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
