//! One turn after another, each on the thread of whoever has something to say:
//!
//! 1. take an input, and let the core decide what facts it makes;
//! 2. append the facts to the journal and apply them;
//! 3. let the core say what follows, until nothing does;
//! 4. when the facts are recorded, pass on what they mean for those who carry tasks out: in memory that is at once, on disk
//!    after a commit, which many turns may share;
//! 5. when every task has ended, close the workers; when they have ended, the run has.
//!
//! A worker that reports an end starts what follows from it in the same breath. Nothing in a turn waits: to append, to apply
//! and to ask are short. A commit is no part of a turn: others take theirs meanwhile.

mod taking_up;

use crate::asked::Asked;
use crate::clock::Clock;
use crate::fault::EngineError;
use crate::functions::{Functions, Judge};
use crate::hide::{hidden, hide_in_file};
use crate::journal::{Journal, Wanted};
use crate::names::{OUTPUT_FILE, OUTPUT_VARIABLE, RUN_VARIABLE, SIGTERM, counts, make_output, signal};
use crate::plan::Plan;
use crate::slots::Slots;
use crate::timer::Timer;
use dirigent_core::decide::{Input, are_starts, decide, follow_within};
use dirigent_core::event::{Created, Event, Fact};
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::outcome::Outcome;
use dirigent_core::spec::Action;
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_journal::attempt_folder;
use dirigent_journal::known::Done;
use dirigent_journal::store::Request;
use dirigent_process::{Attempt, Report, Secrets, Worker};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::ThreadId;

/// A conductor and those who speak to it.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Podium>);

#[derive(Debug)]
struct Podium {
    conductor: Mutex<Conductor>,
    journal: Arc<Journal>,
    /// Held from a commit until what it recorded was passed on, so that everything is told in order.
    committing: Mutex<()>,
}

/// Those around the engine who have a part in a run.
pub(crate) struct Hosts {
    pub(crate) functions: Option<Box<dyn Functions>>,
    pub(crate) judge: Option<Arc<dyn Judge>>,
}

/// The one place where a run changes.
pub(crate) struct Conductor {
    own: Weak<Podium>,
    run: RunId,
    folder: PathBuf,
    journal: Arc<Journal>,
    /// How to start the worker for processes, at the first one.
    processes: dirigent_process::Config,
    worker: Option<Worker>,
    functions: Option<Box<dyn Functions>>,
    judge: Option<Arc<dyn Judge>>,
    secrets: Arc<Secrets>,
    /// What is shared with other runs, and how much of it this one has.
    slots: Slots,
    slots_taken: u32,
    timer: Timer,
    /// The moment it is set to.
    timer_ms: Option<i64>,
    clock: Clock,
    state: Arc<State>,
    /// Room for the events of a turn.
    events: Vec<Event>,
    /// Tasks that may not start yet, since nobody knows how to carry them out.
    held_back: HashSet<TaskIndex>,
    closing: bool,
    failure: Option<EngineError>,
}

impl std::fmt::Debug for Conductor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conductor").field("run", &self.run).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        run: RunId,
        folder: PathBuf,
        journal: Arc<Journal>,
        processes: dirigent_process::Config,
        hosts: Hosts,
        slots: Slots,
        secrets: Arc<Secrets>,
    ) -> Self {
        let state = journal.with_recorded(|events| State::fold(events));
        Self(Arc::new_cyclic(|own| Podium {
            journal: Arc::clone(&journal),
            committing: Mutex::default(),
            conductor: Mutex::new(Conductor {
                own: own.clone(),
                run,
                folder,
                journal,
                processes,
                worker: None,
                functions: hosts.functions,
                judge: hosts.judge,
                secrets,
                slots,
                slots_taken: 0,
                timer: Timer::default(),
                timer_ms: None,
                clock: Clock::start(),
                state: Arc::new(state),
                events: Vec::new(),
                held_back: HashSet::new(),
                closing: false,
                failure: None,
            }),
        }))
    }

    /// Waits for a turn of somebody else, which is short.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Conductor> {
        self.0.conductor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits what the journal has, and passes on what that means. Not to be called within a turn.
    pub(crate) fn commit(&self) {
        if !self.0.journal.is_on_disk() {
            return;
        }
        let _in_order = self.0.committing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.0.journal.commit(|| counts(self.lock().state())) {
            Ok(events) if events.is_empty() => {}
            Ok(events) => {
                let mut conductor = self.lock();
                events.iter().for_each(|event| conductor.pass_on(event));
                conductor.close_if_over();
            }
            Err(error) => {
                let mut conductor = self.lock();
                // Where there is no room the writer's thread tries again, and until then nothing goes on, unless somebody
                // does not want to wait.
                if !error.is_full() || conductor.state.cancel().is_some() {
                    conductor.fail(error.into());
                }
            }
        }
    }

    /// Has what the journal has be committed soon, by the writer's thread.
    pub(crate) fn hurry(&self) {
        self.0.journal.hurry();
    }

    /// Commits what nobody else does, and hears what others ask of the run, until it is over.
    pub(crate) fn write(&self) {
        let mut heard = 0;
        loop {
            match self.0.journal.wait_to_write() {
                Wanted::End => return self.0.journal.let_go(),
                Wanted::Commit => self.commit(),
                Wanted::Look => {
                    let requests = match self.0.journal.requests(heard) {
                        Ok(requests) => requests,
                        Err(error) => return self.lock().fail(error.into()),
                    };
                    for request in requests {
                        heard = request.number;
                        self.hear_request(&request);
                    }
                    // One that was heard is not to be heard again by an engine that takes the run up.
                    if let Err(error) = self.0.journal.forget_requests(heard) {
                        return self.lock().fail(error.into());
                    }
                }
            }
        }
    }

    fn hear_request(&self, request: &Request) {
        // One of a later version means nothing to this one.
        if let Ok(asked) = serde_json::from_str::<Asked>(&request.request) {
            self.lock().turn(asked.into_input(&request.actor));
            self.commit();
        }
    }
}

/// What a worker speaks into. Dropped with the worker's thread: a run that is not through by then never will be.
struct Ear {
    conductor: Shared,
    /// The thread whose turn it was made in. There, a worker could not be started, and the turn says so itself.
    made_on: ThreadId,
}

impl Drop for Ear {
    fn drop(&mut self) {
        if std::thread::current().id() != self.made_on {
            self.conductor.lock().fail(EngineError::Bug { part: "the worker" });
        }
    }
}

impl Conductor {
    /// Carries out the plan.
    pub(crate) fn begin(&mut self, plan: Plan) {
        let (workflow, tasks) = plan.workflow.into_parts();
        let has_tasks = !tasks.is_empty();
        let created = Fact::RunCreated(Box::new(Created {
            run: plan.run,
            workflow,
            max_concurrency: plan.max_concurrency,
            fail_fast: plan.fail_fast,
            origin: Box::new(plan.origin),
            resources: plan.resources,
            timeout_ms: plan.timeout_ms,
            seed: plan.seed,
        }));
        let declared = has_tasks.then_some(Fact::TasksDeclared { tasks: tasks.into(), parent: None });
        let now_ms = self.clock.now_ms();
        self.record([created].into_iter().chain(declared).collect(), now_ms);
        for known in plan.known {
            let facts = decide(&self.state, known, now_ms);
            self.record(facts, now_ms);
        }
        self.settle(now_ms);
    }

    /// Takes an input, with everything that follows from it.
    pub(crate) fn turn(&mut self, input: Input) {
        let now_ms = self.clock.now_ms();
        let facts = decide(&self.state, hidden(input, &self.secrets), now_ms);
        self.record(facts, now_ms);
        self.settle(now_ms);
    }

    fn hear(&mut self, report: Report) {
        let input = match report {
            Report::Ended(report) => Input::AttemptEnded(report),
            Report::Suspended => Input::Suspended,
            Report::Continued => Input::Continued,
            Report::Closed { strays, survivors } => Input::WorkersClosed { strays, survivors },
            Report::Failed(error) => return self.fail(error.into()),
        };
        self.turn(input);
    }

    /// The worker for processes, where one was needed so far.
    pub(crate) fn worker(&self) -> Option<&Worker> {
        self.worker.as_ref()
    }

    /// Gives the worker away, to be waited for by somebody who is not in a turn.
    pub(crate) fn take_worker(&mut self) -> Option<Worker> {
        self.worker.take()
    }

    /// The run as it stands.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The last state, and why the run could not be carried through if it could not.
    pub(crate) fn result(&mut self) -> Result<Arc<State>, EngineError> {
        match self.failure.take() {
            Some(error) => Err(error),
            None => Ok(Arc::clone(&self.state)),
        }
    }

    /// The run cannot go on. To one that has ended this means nothing, unless its end cannot be recorded.
    fn fail(&mut self, error: EngineError) {
        let is_recorded = !matches!(error, EngineError::Journal(_)) || self.journal.is_drained();
        if self.state.end().is_some() && is_recorded {
            self.close_if_over();
            return;
        }
        self.failure.get_or_insert(error);
        self.close();
    }

    /// Nothing more comes of the run, as far as this engine is concerned.
    pub(crate) fn close(&mut self) {
        self.slots.give_back(std::mem::take(&mut self.slots_taken));
        self.timer.close();
        self.judge = None;
        // Given away, so that they and this do not keep each other for ever.
        if let Some(functions) = self.functions.take() {
            functions.close();
        }
        self.journal.close();
    }

    fn settle(&mut self, now_ms: i64) {
        loop {
            let facts = self.follow(now_ms);
            // Where other runs have a part in the slots, one of them has to know that this one waits for more.
            let is_last = facts.is_empty() || (are_starts(&facts) && !self.slots.is_limited());
            self.record(facts, now_ms);
            if is_last {
                break;
            }
        }
        if self.state.open() == 0 && !std::mem::replace(&mut self.closing, true) {
            match &self.worker {
                Some(worker) => worker.asker().close(),
                None => {
                    let closed = Input::WorkersClosed { strays: 0, survivors: Vec::new() };
                    let facts = decide(&self.state, closed, now_ms);
                    self.record(facts, now_ms);
                }
            }
        }
        if !self.close_if_over() {
            self.set_timer(now_ms);
        }
    }

    /// What follows, as far as other runs leave room for it.
    fn follow(&mut self, now_ms: i64) -> Vec<Fact> {
        let ended = self.slots_taken.saturating_sub(self.state.running());
        self.slots_taken -= ended;
        self.slots.give_back(ended);
        let slots = self.slots.clone();
        let mut table = slots.lock();
        let facts = follow_within(&self.state, now_ms, table.free(), &self.held_back);
        let takes_slot = |fact: &&Fact| match fact {
            Fact::AttemptStarted { task, .. } => {
                self.state.task(*task).is_some_and(|task| !task.spec.policy.slotless)
            }
            _ => false,
        };
        let count = u32::try_from(facts.iter().filter(takes_slot).count()).unwrap_or(u32::MAX);
        table.take(count);
        self.slots_taken += count;
        if facts.is_empty()
            && table.free() == 0
            && !follow_within(&self.state, now_ms, u32::MAX, &self.held_back).is_empty()
        {
            // The thread first: to hurry where there is none would be lost.
            if let Err(error) = self.timer.stand_by(self.teller()) {
                drop(table);
                self.fail(EngineError::Thread(error));
                return facts;
            }
            let timer = self.timer.clone();
            table.wait(move || timer.hurry());
        }
        facts
    }

    /// Nothing more will come of a run that has ended, once everybody could know.
    fn close_if_over(&mut self) -> bool {
        let is_over = self.state.end().is_some();
        if is_over && self.journal.is_drained() {
            self.close();
        }
        is_over
    }

    fn set_timer(&mut self, now_ms: i64) {
        let due_ms = self.state.next_due_ms(now_ms);
        if due_ms == self.timer_ms {
            return;
        }
        self.timer_ms = due_ms;
        let due = due_ms.and_then(|due_ms| self.clock.instant(due_ms));
        if let Err(error) = self.timer.set(due, self.teller()) {
            self.fail(EngineError::Thread(error));
        }
    }

    /// What the timer says when a moment has come.
    fn teller(&self) -> impl Fn() + Send + 'static {
        let own = self.own.clone();
        move || {
            if let Some(podium) = own.upgrade() {
                let shared = Shared(podium);
                shared.lock().tick();
                shared.commit();
            }
        }
    }

    /// A moment has come.
    fn tick(&mut self) {
        self.timer_ms = None;
        self.settle(self.clock.now_ms());
    }

    fn record(&mut self, facts: Vec<Fact>, now_ms: i64) {
        if facts.is_empty() {
            return;
        }
        // With them: whoever commits may be quicker than this thread, and there may be no later commit.
        let done = facts.iter().filter_map(|fact| self.done_by(fact, now_ms)).collect();
        let mut events = std::mem::take(&mut self.events);
        self.journal.append(facts, done, now_ms, &mut events);
        for event in events.drain(..) {
            Arc::make_mut(&mut self.state).apply(&event);
            if !self.journal.is_on_disk() {
                self.pass_on(&event);
            }
        }
        self.events = events;
    }

    /// What a task has done by a fact that depends on nothing but what its key says.
    fn done_by(&self, fact: &Fact, at_ms: i64) -> Option<Done> {
        let Fact::AttemptEnded { task, attempt, ended, .. } = fact else { return None };
        let it = self.state.task(*task).filter(|_| ended.outcome.is_success())?;
        let (key, reuse) = (it.key.as_ref()?, it.spec.policy.reuse.as_ref()?);
        ended.value.as_ref().is_none_or(|value| value.is_kept()).then(|| Done {
            key: Arc::clone(key),
            run: self.run.clone(),
            at_ms,
            wall_us: ended.usage.wall_us,
            value: ended.value.clone(),
            logs: format!("runs/{}/{}", self.run, attempt_folder(*task, *attempt).display()),
            outputs: reuse.outputs.iter().map(|path| path.as_path().to_owned()).collect(),
        })
    }

    /// Tells those who may wait for it that a task has ended.
    fn tell_end(&self, fact: &Fact) {
        let (Fact::AttemptEnded { task, .. }
        | Fact::WaitAnswered { task, .. }
        | Fact::WaitTimedOut { task }
        | Fact::TaskFailed { task, .. }
        | Fact::TaskSkipped { task, .. }
        | Fact::TaskReused { task, .. }
        | Fact::TaskCancelled { task }) = fact
        else {
            return;
        };
        let has_ended = self.state.task(*task).is_some_and(|task| task.status.is_final());
        if let Some(functions) = self.functions.as_ref().filter(|_| has_ended) {
            functions.ended(*task);
        }
    }

    /// What a fact means for those who carry tasks out.
    fn pass_on(&mut self, event: &Event) {
        self.tell_end(&event.fact);
        match &event.fact {
            Fact::AttemptStarted { task, attempt } => {
                // It may have been cancelled before that could be told.
                let is_wanted =
                    |task: &TaskState| task.status == TaskStatus::Running && task.attempts == *attempt;
                if self.state.task(*task).is_some_and(is_wanted) {
                    self.carry_out(*task, *attempt);
                }
            }
            Fact::AttemptEnded { task, attempt, ended, .. } => {
                let is_given_up = matches!(ended.outcome, Outcome::Cancelled | Outcome::TimedOut { .. });
                if let Some(functions) = self.functions.as_ref().filter(|_| is_given_up) {
                    functions.give_up(*task, *attempt);
                }
            }
            Fact::ConditionAsked { task } => {
                if let (Some(functions), Some(it)) = (&self.functions, self.state.task(*task)) {
                    functions.ask(*task, &it.spec);
                }
            }
            Fact::ReuseAsked { task } => {
                if let Some(functions) = &self.functions {
                    functions.check(*task);
                }
            }
            Fact::CancelRequested { reason } => self.stop(signal(*reason)),
            Fact::TaskCancelRequested { task } => {
                let attempts = self.state.task(*task).map_or(0, |task| task.attempts);
                if let Some(worker) = &self.worker {
                    worker.asker().end(*task, attempts, SIGTERM);
                }
            }
            Fact::KillRequested => {
                if let Some(worker) = &self.worker {
                    worker.asker().kill();
                }
            }
            Fact::RunCreated(_)
            | Fact::TasksDeclared { .. }
            | Fact::ConditionHeld { .. }
            | Fact::ActionSettled { .. }
            | Fact::WaitStarted { .. }
            | Fact::WaitAnswered { .. }
            | Fact::WaitTimedOut { .. }
            | Fact::TaskFailed { .. }
            | Fact::TaskSkipped { .. }
            | Fact::TaskCancelled { .. }
            | Fact::TaskReused { .. }
            | Fact::ReuseDeclined { .. }
            | Fact::ValueLost { .. }
            | Fact::RunResumed { .. }
            | Fact::RunSuspended
            | Fact::RunContinued
            | Fact::RunEnded { .. } => {}
        }
    }

    /// Ends the processes of all tasks but those that are to clean up.
    fn stop(&self, signal: i32) {
        let Some(worker) = &self.worker else {
            return;
        };
        let asker = worker.asker();
        if self.state.is_suspended() {
            // The stopped cannot hear a signal, and their grace would never pass.
            asker.go_on();
        }
        let tasks = (0u32..).map(TaskIndex).zip(self.state.tasks());
        let (spared, ended): (Vec<_>, Vec<_>) = tasks
            .filter(|(_, task)| task.status == TaskStatus::Running && task.spec.action.command().is_some())
            .partition(|(_, task)| task.spec.policy.outlives_cancel());
        if spared.is_empty() {
            return asker.stop(signal);
        }
        for (index, task) in ended {
            asker.end(index, task.attempts, signal);
        }
    }

    fn carry_out(&mut self, task: TaskIndex, attempt: u32) {
        let Some(spec) = self.state.task(task).map(|task| Arc::clone(&task.spec)) else {
            return;
        };
        let command = match &spec.action {
            Action::Command(command) => command,
            Action::Script(script) => &script.command,
            Action::Function(_) | Action::Approval(_) => {
                if let Some(functions) = &self.functions {
                    functions.carry_out(task, attempt, &spec);
                }
                return;
            }
        };
        if self.worker.is_none() {
            match self.start_worker() {
                Ok(worker) => self.worker = Some(worker),
                Err(error) => return self.fail(error),
            }
        }
        let policy = &spec.policy;
        let folder = self.folder.join(attempt_folder(task, attempt));
        let output = self.judge.is_some().then(|| make_output(&folder));
        let attempt = Attempt {
            task,
            attempt,
            command: command.clone(),
            limits: policy.limits.clone(),
            allowed_exit_codes: policy.allowed_exit_codes.clone(),
            leave_running: policy.leave_running,
            marks: vec![
                (RUN_VARIABLE.to_owned(), self.run.to_string()),
                ("DIRIGENT_TASK".to_owned(), spec.name.to_string()),
                ("DIRIGENT_ATTEMPT".to_owned(), attempt.to_string()),
                ("DIRIGENT_IDEMPOTENCY_KEY".to_owned(), format!("{}-{task}", self.run)),
            ]
            .into_iter()
            .chain(output.map(|path| (OUTPUT_VARIABLE.to_owned(), path)))
            .collect(),
            folder,
            secrets: Arc::clone(&self.secrets),
        };
        if let Some(worker) = &self.worker {
            worker.asker().carry_out(attempt);
        }
    }

    fn start_worker(&self) -> Result<Worker, EngineError> {
        let conductor = self.own.upgrade().ok_or(EngineError::Bug { part: "the conductor" })?;
        let ear = Ear { conductor: Shared(conductor), made_on: std::thread::current().id() };
        let (judge, folder, secrets) = (self.judge.clone(), self.folder.clone(), Arc::clone(&self.secrets));
        Ok(Worker::start(self.processes.clone(), move |report| {
            let report = match (report, &judge) {
                (Report::Ended(ended), Some(judge)) => {
                    let folder = folder.join(attempt_folder(ended.task, ended.attempt));
                    let judged = judge.judge(ended, &folder);
                    hide_in_file(&folder.join(OUTPUT_FILE), &secrets);
                    Report::Ended(judged)
                }
                (report, _) => report,
            };
            ear.conductor.lock().hear(report);
            ear.conductor.commit();
        })?)
    }
}
