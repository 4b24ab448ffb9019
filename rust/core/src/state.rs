//! What is the case: the fold of the events. [`State::apply`] is the only way it changes.

use crate::event::{CancelReason, Event, Fact, Origin, SkipReason, Verdict};
use crate::graph::Graph;
use crate::ids::{RunId, TaskIndex};
use crate::outcome::{Outcome, Stream, Usage};
use crate::ready::{Ready, Use, claims_of};
use crate::spec::{Action, Task, Trigger};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// It has not started: a need is open, or no slot is free.
    Pending,
    /// It waits for somebody's answer.
    Waiting,
    /// An attempt is being carried out.
    Running,
    /// An attempt ended without completing the task, and another will follow.
    Retrying,
    /// It did what it was for.
    Completed,
    /// It ended without doing what it was for.
    Failed,
    /// It was ended because it ran too long.
    TimedOut,
    /// The run, or the task alone, was cancelled before it ended by itself.
    Cancelled,
    /// It was never to run.
    Skipped,
}

impl TaskStatus {
    /// Every status, in the order in which people want to read them.
    pub const ALL: [Self; 9] = [
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Running,
        Self::Retrying,
        Self::Waiting,
        Self::Pending,
        Self::Skipped,
        Self::Completed,
    ];

    /// Whether nothing can change it any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Waiting | Self::Running | Self::Retrying => false,
            Self::Completed | Self::Failed | Self::TimedOut | Self::Cancelled | Self::Skipped => true,
        }
    }

    /// Whether it makes the run a failed one.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }

    /// Its name, as on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

/// How the last attempt of a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// Its standard output; `None` when it wrote nothing.
    pub stdout: Option<Box<Stream>>,
    /// Its standard error; `None` when it wrote nothing.
    pub stderr: Option<Box<Stream>>,
    /// How many processes it left behind.
    pub left_behind: u32,
    /// The last lines it wrote, where it did not succeed.
    pub last_lines: Box<str>,
}

/// One task of a run, as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskState {
    /// As declared.
    pub spec: Arc<Task>,
    /// Where it stands.
    pub status: TaskStatus,
    /// How many attempts were started.
    pub attempts: u32,
    /// How many of them were lost.
    pub lost: u32,
    /// When the last attempt started.
    pub started_at_ms: Option<i64>,
    /// When the last attempt ended.
    pub ended_at_ms: Option<i64>,
    /// How the last attempt ended; `None` before that, and where none was started.
    pub ended: Option<Box<Ended>>,
    /// Why it was skipped.
    pub skipped: Option<Box<SkipReason>>,
    /// Why it failed without an attempt, or what was answered.
    pub remark: Option<Box<str>>,
    /// The task that this one is a part of.
    pub parent: Option<TaskIndex>,
    needs: Needs,
    /// How many attempts in a row failed.
    failures: u32,
    /// How often it said that it was not through.
    repeats: u32,
    /// When it is due, on the run's own clock: the next attempt, the end of its time.
    due_ms: Option<i64>,
    /// When the last attempt started, on the run's own clock.
    began_ms: i64,
    open_children: u32,
    failed_child: Option<TaskIndex>,
    /// Whether it holds its slot, if it takes one, and what it claims.
    holds: bool,
    is_released: bool,
    /// Whether its condition, if it has one, held.
    is_let_go: bool,
    is_asked_to_end: bool,
    outlives_failure: bool,
    outlives_cancel: bool,
}

/// How the needs of a task stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Needs {
    open: u32,
    completed: u32,
    failed: u32,
    /// One that ended without completing.
    unmet: Option<TaskIndex>,
}

/// What the needs of a task mean for it.
enum Judgement {
    Wait,
    Release,
    Skip(SkipReason),
}

impl Needs {
    fn judge(self, trigger: Trigger) -> Judgement {
        let skip = || match self.unmet {
            Some(need) => Judgement::Skip(SkipReason::NeedNotMet { need }),
            None => Judgement::Skip(SkipReason::TriggerNotMet),
        };
        let are_done = self.open == 0;
        match trigger {
            Trigger::AllSuccess if self.unmet.is_some() => skip(),
            Trigger::NoneFailed if self.failed > 0 => skip(),
            Trigger::AnySuccess if self.completed > 0 => Judgement::Release,
            Trigger::AnyFailed if self.failed > 0 => Judgement::Release,
            _ if !are_done => Judgement::Wait,
            Trigger::AnySuccess if self.unmet.is_some() => skip(),
            Trigger::AnyFailed => Judgement::Skip(SkipReason::TriggerNotMet),
            Trigger::AllSuccess
            | Trigger::AnySuccess
            | Trigger::NoneFailed
            | Trigger::AllDone
            | Trigger::Always => Judgement::Release,
        }
    }
}

impl TaskState {
    /// Whether it waits for tasks of its own.
    pub fn has_open_children(&self) -> bool {
        self.open_children > 0
    }

    /// Whether the task itself was asked to end.
    pub fn is_asked_to_end(&self) -> bool {
        self.is_asked_to_end
    }

    /// Whether it may still start after a failure ended what fails fast: by its policy, or as a part of one that may.
    pub fn outlives_failure(&self) -> bool {
        self.outlives_failure
    }

    /// Whether it goes on when the run was asked to end: by its policy, or as a part of one that does.
    pub fn outlives_cancel(&self) -> bool {
        self.outlives_cancel
    }

    pub(crate) fn is_released(&self) -> bool {
        self.is_released
    }

    pub(crate) fn is_let_go(&self) -> bool {
        self.is_let_go
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn repeats(&self) -> u32 {
        self.repeats
    }

    pub(crate) fn failed_child(&self) -> Option<TaskIndex> {
        self.failed_child
    }

    /// Whether a function carries it out right now: one that can be given up at once.
    pub(crate) fn is_running_function(&self) -> bool {
        self.status == TaskStatus::Running && matches!(self.spec.action, Action::Function { .. })
    }
}

/// The head of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its id.
    pub run: RunId,
    /// The name of its workflow.
    pub workflow: String,
    /// How many tasks may run at once.
    pub max_concurrency: u32,
    /// Whether nothing new starts after a failure.
    pub fail_fast: bool,
    /// Where and by what it runs.
    pub origin: Origin,
    /// When it was accepted.
    pub created_at_ms: i64,
    /// What chance is drawn from.
    pub seed: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// When.
    pub at_ms: i64,
    /// How it went.
    pub verdict: Verdict,
    /// Processes ended with the run that no task could be blamed for.
    pub strays: u32,
    /// Processes that could not be ended.
    pub survivors: Vec<String>,
}

/// How many tasks there are of the kinds that some rule has to find: none means that nobody has to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tasks that have not ended.
    pub(crate) open: u32,
    /// Those of them that clean nothing up.
    pub(crate) open_regular: u32,
    /// Tasks that were not started, and no longer will be after a failure that ends a run.
    pub(crate) mortal_by_failure: u32,
    /// Tasks that were not started or wait for another attempt, and no longer will be started after a cancel.
    pub(crate) mortal_by_cancel: u32,
    /// Tasks that were not started or wait for another attempt.
    pub(crate) idle: u32,
    /// Functions being carried out that a cancel ends.
    pub(crate) running_mortal: u32,
    /// Functions being carried out.
    pub(crate) running_functions: u32,
    /// Tasks that were not started or wait for another attempt, and take no slot.
    idle_slotless: u32,
}

/// A run as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    header: Option<Header>,
    tasks: Vec<TaskState>,
    graph: Graph,
    ready: Ready,
    use_of: Use,
    /// Tasks that will be skipped, found while applying, and not yet told.
    doomed: BTreeMap<TaskIndex, SkipReason>,
    /// Released tasks for which somebody has to be asked first.
    to_ask: BTreeSet<TaskIndex>,
    /// Released tasks that wait for an answer, not yet told.
    to_wait: BTreeSet<TaskIndex>,
    /// Tasks all of whose own tasks have ended, not yet told.
    finished_parents: BTreeSet<TaskIndex>,
    /// Tasks whose parent has ended before them, not yet told.
    orphans: BTreeSet<TaskIndex>,
    families: HashMap<TaskIndex, Vec<Range<u32>>>,
    /// Tasks that clean up after all others.
    last: Vec<TaskIndex>,
    /// When which task is due, on the run's own clock.
    timers: BTreeSet<(i64, TaskIndex)>,
    /// When the run has to end, on its own clock.
    deadline_ms: Option<i64>,
    running: u32,
    counts: Counts,
    first_failure: Option<TaskIndex>,
    cancel: Option<CancelReason>,
    killed: bool,
    suspended_at_ms: Option<i64>,
    /// How long the run stood still in all, before now.
    stopped_ms: i64,
    end: Option<RunEnd>,
    next_seq: u64,
}

impl State {
    /// Folds events from the beginning of a run.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut state = Self::default();
        for event in events {
            state.apply(event);
        }
        state
    }

    /// The head of the run; `None` before its first event.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Its tasks, in the order of declaration.
    pub fn tasks(&self) -> &[TaskState] {
        &self.tasks
    }

    /// One task.
    pub fn task(&self, task: TaskIndex) -> Option<&TaskState> {
        self.tasks.get(task.usize())
    }

    /// How many slots are taken.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// How many tasks have not ended.
    pub fn open(&self) -> u32 {
        self.counts.open
    }

    /// The first task that failed.
    pub fn first_failure(&self) -> Option<TaskIndex> {
        self.first_failure
    }

    /// Why the run was asked to end, if it was.
    pub fn cancel(&self) -> Option<CancelReason> {
        self.cancel
    }

    /// Whether everything is to end at once.
    pub fn is_killed(&self) -> bool {
        self.killed
    }

    /// Whether the run is stopped.
    pub fn is_suspended(&self) -> bool {
        self.suspended_at_ms.is_some()
    }

    /// How the run ended, once it has.
    pub fn end(&self) -> Option<&RunEnd> {
        self.end.as_ref()
    }

    /// The place the next event takes.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// How many tasks have this status.
    pub fn count(&self, status: TaskStatus) -> usize {
        self.tasks.iter().filter(|task| task.status == status).count()
    }

    /// Whether some resource is claimed beyond what there is. Never: for tests of the rules.
    pub fn is_overclaimed(&self) -> bool {
        self.use_of.is_exceeded()
    }

    /// The next moment after this one at which something follows by itself; `None` while there is no such moment.
    pub fn next_due_ms(&self, now_ms: i64) -> Option<i64> {
        if self.is_suspended() || self.end.is_some() {
            return None;
        }
        let later = (self.run_ms(now_ms) + 1, TaskIndex(0));
        let timer = self.timers.range(later..).next().map(|(due_ms, _)| *due_ms);
        let deadline = self.deadline_ms.filter(|_| self.cancel.is_none());
        let own = timer.into_iter().chain(deadline).map(|due_ms| due_ms.saturating_add(self.stopped_ms));
        let rate = self.use_of.next_due_ms(now_ms, |resource| self.awaits(resource, now_ms));
        own.chain(rate).filter(|due_ms| *due_ms > now_ms).min()
    }

    /// Whether a task waits for nothing but its turn and claims this resource.
    fn awaits(&self, resource: u32, now_ms: i64) -> bool {
        let claims_it =
            |task: TaskIndex| claims_of(&self.tasks[task.usize()].spec.policy.claims, resource) > 0;
        self.ready.awaits(resource) || self.to_try_again(now_ms).any(claims_it)
    }

    /// The run's own clock, which stands still while the run does.
    fn run_ms(&self, now_ms: i64) -> i64 {
        self.suspended_at_ms.unwrap_or(now_ms) - self.stopped_ms
    }

    /// How long the last attempt of a task has been going on, without the time the run stood still.
    pub(crate) fn ran_ms(&self, task: TaskIndex, now_ms: i64) -> u64 {
        let began_ms = self.tasks[task.usize()].began_ms;
        u64::try_from(self.run_ms(now_ms) - began_ms).unwrap_or(0)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the run has taken longer than it may.
    pub(crate) fn is_late(&self, now_ms: i64) -> bool {
        !self.is_suspended() && self.deadline_ms.is_some_and(|ms| ms <= self.run_ms(now_ms))
    }

    /// Whether somebody wants a task to end before it is through.
    pub(crate) fn is_to_end(&self, task: TaskIndex) -> bool {
        let task = &self.tasks[task.usize()];
        self.killed || task.is_asked_to_end || (self.cancel.is_some() && !task.outlives_cancel)
    }

    pub(crate) fn doomed(&self) -> &BTreeMap<TaskIndex, SkipReason> {
        &self.doomed
    }

    pub(crate) fn finished_parents(&self) -> &BTreeSet<TaskIndex> {
        &self.finished_parents
    }

    pub(crate) fn orphans(&self) -> &BTreeSet<TaskIndex> {
        &self.orphans
    }

    pub(crate) fn to_ask(&self) -> &BTreeSet<TaskIndex> {
        &self.to_ask
    }

    pub(crate) fn to_wait(&self) -> &BTreeSet<TaskIndex> {
        &self.to_wait
    }

    /// Tasks whose time has come, the longest waiting first.
    pub(crate) fn due(&self, now_ms: i64) -> impl Iterator<Item = TaskIndex> + '_ {
        self.timers.range(..=(self.run_ms(now_ms), TaskIndex(u32::MAX))).map(|(_, task)| *task)
    }

    /// Tasks for whose next attempt it is time. One that consisted of others first waits until those have ended.
    fn to_try_again(&self, now_ms: i64) -> impl Iterator<Item = TaskIndex> + '_ {
        self.due(now_ms).filter(|task| {
            let task = &self.tasks[task.usize()];
            task.status == TaskStatus::Retrying && task.open_children == 0
        })
    }

    /// The tasks to start now: those tried again first, then by priority and order.
    pub(crate) fn to_start(&self, now_ms: i64) -> Vec<TaskIndex> {
        let Some(header) = &self.header else {
            return Vec::new();
        };
        let mut free = header.max_concurrency.saturating_sub(self.running) as usize;
        if free == 0 && self.counts.idle_slotless == 0 {
            return Vec::new();
        }
        let mut use_of = self.use_of.clone();
        let mut again = Ready::default();
        for task in self.to_try_again(now_ms) {
            again.insert(task, &self.tasks[task.usize()].spec.policy);
        }
        let mut picked = again.pick(&mut free, &mut use_of, now_ms);
        picked.extend(self.ready.pick(&mut free, &mut use_of, now_ms));
        picked
    }

    /// Changes the state by one event: the only way it changes.
    pub fn apply(&mut self, event: &Event) {
        self.next_seq = event.seq + 1;
        let at_ms = event.at_ms;
        match &event.fact {
            Fact::RunCreated {
                run,
                workflow,
                max_concurrency,
                fail_fast,
                origin,
                resources,
                timeout_ms,
                seed,
            } => {
                self.header = Some(Header {
                    run: run.clone(),
                    workflow: workflow.clone(),
                    max_concurrency: *max_concurrency,
                    fail_fast: *fail_fast,
                    origin: (**origin).clone(),
                    created_at_ms: at_ms,
                    seed: *seed,
                });
                self.use_of = Use::new(resources);
                self.deadline_ms = timeout_ms.map(|ms| at_ms.saturating_add_unsigned(ms));
            }
            Fact::TasksDeclared { tasks, parent } => self.declare(tasks, *parent),
            Fact::ConditionAsked { task } => {
                self.to_ask.remove(task);
            }
            Fact::ConditionHeld { task } => self.make_ready(*task),
            Fact::AttemptStarted { task, attempt } => self.start(*task, *attempt, at_ms),
            Fact::AttemptEnded {
                task,
                outcome,
                usage,
                stdout,
                stderr,
                retry_at_ms,
                left_behind,
                last_lines,
                ..
            } => {
                let ended = Ended {
                    outcome: outcome.clone(),
                    usage: *usage,
                    stdout: stdout.clone(),
                    stderr: stderr.clone(),
                    left_behind: *left_behind,
                    last_lines: last_lines.clone(),
                };
                self.end_attempt(*task, ended, *retry_at_ms, at_ms);
            }
            Fact::WaitStarted { task } => {
                self.to_wait.remove(task);
                self.set_status(*task, TaskStatus::Waiting);
                self.tasks[task.usize()].started_at_ms = Some(at_ms);
                let timeout_ms = self.tasks[task.usize()].spec.policy.limits.timeout_ms;
                self.set_due(*task, timeout_ms.map(|ms| self.run_ms(at_ms).saturating_add_unsigned(ms)));
            }
            Fact::WaitAnswered { task, approved, comment } => {
                self.tasks[task.usize()].remark = Some(comment.clone());
                self.tasks[task.usize()].ended_at_ms = Some(at_ms);
                self.close(*task, if *approved { TaskStatus::Completed } else { TaskStatus::Failed });
            }
            Fact::WaitTimedOut { task } => {
                self.tasks[task.usize()].ended_at_ms = Some(at_ms);
                self.close(*task, TaskStatus::TimedOut);
            }
            Fact::TaskFailed { task, why } => {
                self.tasks[task.usize()].remark = Some(why.clone());
                self.close(*task, TaskStatus::Failed);
            }
            Fact::TaskSkipped { task, reason } => {
                self.tasks[task.usize()].skipped = Some(Box::new(reason.clone()));
                self.close(*task, TaskStatus::Skipped);
            }
            Fact::TaskCancelled { task } => self.close(*task, TaskStatus::Cancelled),
            Fact::CancelRequested { reason } => self.cancel = Some(*reason),
            Fact::TaskCancelRequested { task } => {
                self.tasks[task.usize()].is_asked_to_end = true;
                self.orphans.remove(task);
            }
            Fact::KillRequested => self.killed = true,
            Fact::RunSuspended => self.suspended_at_ms = Some(at_ms),
            Fact::RunContinued => {
                self.stopped_ms += self.suspended_at_ms.take().map_or(0, |since_ms| at_ms - since_ms);
            }
            Fact::RunEnded { verdict, strays, survivors } => {
                self.end =
                    Some(RunEnd { at_ms, verdict: *verdict, strays: *strays, survivors: survivors.clone() });
            }
        }
    }

    fn declare(&mut self, tasks: &[Arc<Task>], parent: Option<TaskIndex>) {
        let first = self.tasks.len();
        if self.graph.is_empty() {
            self.graph = Graph::new(tasks.iter().map(|task| &*task.needs));
        } else {
            // What cleans up after all others, as a part of a task cleans up after its other parts.
            let parts = (first as u32..).map(TaskIndex).zip(tasks);
            let regular: Vec<TaskIndex> =
                parts.filter(|(_, task)| !task.policy.teardown).map(|(index, _)| index).collect();
            for task in tasks {
                let is_last = parent.is_some() && task.cleans_up_last();
                self.graph.push(if is_last { &regular } else { &task.needs });
            }
        }
        self.tasks.reserve(tasks.len());
        let family = parent.map(|parent| &self.tasks[parent.usize()]);
        let outlives_failure = family.is_some_and(TaskState::outlives_failure);
        let outlives_cancel = family.is_some_and(TaskState::outlives_cancel);
        for spec in tasks {
            self.tasks.push(TaskState {
                spec: Arc::clone(spec),
                status: TaskStatus::Pending,
                attempts: 0,
                lost: 0,
                started_at_ms: None,
                ended_at_ms: None,
                ended: None,
                skipped: None,
                remark: None,
                parent,
                needs: Needs::default(),
                failures: 0,
                repeats: 0,
                due_ms: None,
                began_ms: 0,
                open_children: 0,
                failed_child: None,
                holds: false,
                is_released: false,
                is_let_go: false,
                is_asked_to_end: false,
                outlives_failure: outlives_failure || spec.policy.outlives_failure(),
                outlives_cancel: outlives_cancel || spec.policy.outlives_cancel(),
            });
        }
        let numbers = first as u32..self.tasks.len() as u32;
        if let Some(parent) = parent {
            self.give_back(parent);
            self.tasks[parent.usize()].open_children += numbers.len() as u32;
            self.families.entry(parent).or_default().push(numbers.clone());
        }
        for task in numbers.map(TaskIndex) {
            self.tally(task, 1);
            let spec = Arc::clone(&self.tasks[task.usize()].spec);
            let mut needs = Needs { open: self.graph.need_count(task), ..Needs::default() };
            for need in &spec.needs {
                // Of those declared with it none has ended.
                let status = self.tasks[need.usize()].status;
                if status.is_final() {
                    needs.note(*need, status);
                }
            }
            self.tasks[task.usize()].needs = needs;
            if let Some(text) = &spec.policy.skip {
                self.doomed.insert(task, SkipReason::Declared { text: text.clone() });
            } else if spec.cleans_up_last() && parent.is_none() {
                self.last.push(task);
            } else {
                self.judge(task);
            }
        }
        self.release_last();
    }

    /// Adds a task to the counts, or with -1 takes it out of them.
    fn tally(&mut self, task: TaskIndex, by: i32) {
        let task = &self.tasks[task.usize()];
        let policy = &task.spec.policy;
        let counts = &mut self.counts;
        let add = |count: &mut u32, is_one: bool| {
            if is_one {
                *count = count.wrapping_add_signed(by);
            }
        };
        let status = task.status;
        let is_unstarted = matches!(status, TaskStatus::Pending | TaskStatus::Waiting);
        let is_idle = is_unstarted || status == TaskStatus::Retrying;
        let is_function = task.is_running_function();
        add(&mut counts.open, !status.is_final());
        add(&mut counts.open_regular, !status.is_final() && !policy.teardown);
        add(&mut counts.mortal_by_failure, is_unstarted && !task.outlives_failure);
        add(&mut counts.mortal_by_cancel, is_idle && !task.outlives_cancel);
        add(&mut counts.idle, is_idle);
        add(&mut counts.running_mortal, is_function && !task.outlives_cancel);
        add(&mut counts.running_functions, is_function);
        add(&mut counts.idle_slotless, is_idle && policy.slotless);
    }

    fn set_status(&mut self, task: TaskIndex, status: TaskStatus) {
        self.tally(task, -1);
        self.tasks[task.usize()].status = status;
        self.tally(task, 1);
    }

    fn set_due(&mut self, task: TaskIndex, due_ms: Option<i64>) {
        let state = &mut self.tasks[task.usize()];
        if let Some(old_ms) = std::mem::replace(&mut state.due_ms, due_ms) {
            self.timers.remove(&(old_ms, task));
        }
        if let Some(due_ms) = due_ms {
            self.timers.insert((due_ms, task));
        }
    }

    /// Looks at what the needs of a task mean for it.
    fn judge(&mut self, task: TaskIndex) {
        let state = &self.tasks[task.usize()];
        if state.status != TaskStatus::Pending || state.is_released {
            return;
        }
        let policy = &state.spec.policy;
        let trigger = if policy.teardown { Trigger::Always } else { policy.trigger };
        match state.needs.judge(trigger) {
            Judgement::Wait => {}
            Judgement::Skip(reason) => {
                self.doomed.entry(task).or_insert(reason);
            }
            Judgement::Release if policy.skip.is_some() => {}
            Judgement::Release => {
                let has_condition = policy.has_condition;
                self.tasks[task.usize()].is_released = true;
                if has_condition {
                    self.to_ask.insert(task);
                } else {
                    self.make_ready(task);
                }
            }
        }
    }

    fn make_ready(&mut self, task: TaskIndex) {
        self.tasks[task.usize()].is_let_go = true;
        let spec = &self.tasks[task.usize()].spec;
        if matches!(spec.action, Action::Approval { .. }) {
            self.to_wait.insert(task);
        } else {
            self.ready.insert(task, &spec.policy);
        }
    }

    /// Lets the tasks that clean up after all others start.
    fn release_last(&mut self) {
        if self.counts.open_regular > 0 || self.last.is_empty() {
            return;
        }
        for task in std::mem::take(&mut self.last) {
            self.judge(task);
        }
    }

    fn start(&mut self, task: TaskIndex, attempt: u32, at_ms: i64) {
        let spec = Arc::clone(&self.tasks[task.usize()].spec);
        let policy = &spec.policy;
        self.ready.remove(task, policy);
        self.set_status(task, TaskStatus::Running);
        let began_ms = self.run_ms(at_ms);
        let is_function = matches!(spec.action, Action::Function { .. });
        let timeout_ms = policy.limits.timeout_ms.filter(|_| is_function);
        self.set_due(task, timeout_ms.map(|ms| began_ms.saturating_add_unsigned(ms)));
        let state = &mut self.tasks[task.usize()];
        state.attempts = attempt;
        state.started_at_ms = Some(at_ms);
        state.ended_at_ms = None;
        state.began_ms = began_ms;
        state.failed_child = None;
        state.holds = true;
        self.running += u32::from(!policy.slotless);
        self.use_of.take(&policy.claims, at_ms);
    }

    /// Frees the slot of a task and what it claims.
    fn give_back(&mut self, task: TaskIndex) {
        let state = &mut self.tasks[task.usize()];
        if std::mem::take(&mut state.holds) {
            self.running -= u32::from(!state.spec.policy.slotless);
            self.use_of.give_back(&state.spec.policy.claims);
        }
    }

    fn end_attempt(&mut self, task: TaskIndex, ended: Ended, retry_at_ms: Option<i64>, at_ms: i64) {
        self.give_back(task);
        self.finished_parents.remove(&task);
        let is_to_end = self.is_to_end(task);
        let retry_ms = retry_at_ms.map(|ms| ms - at_ms + self.run_ms(at_ms));
        let state = &mut self.tasks[task.usize()];
        state.ended_at_ms = Some(at_ms);
        let status = match ended.outcome {
            Outcome::Succeeded { .. } | Outcome::Returned => TaskStatus::Completed,
            Outcome::TimedOut { .. } => TaskStatus::TimedOut,
            Outcome::Cancelled => TaskStatus::Cancelled,
            Outcome::Lost { .. } if is_to_end => TaskStatus::Cancelled,
            Outcome::Lost { .. }
            | Outcome::Raised { .. }
            | Outcome::Unfinished
            | Outcome::ChildFailed { .. }
            | Outcome::Failed { .. }
            | Outcome::Killed { .. }
            | Outcome::MemoryExceeded { .. }
            | Outcome::CouldNotStart { .. } => TaskStatus::Failed,
        };
        match ended.outcome {
            Outcome::Lost { .. } => state.lost += 1,
            Outcome::Unfinished => {
                state.failures = 0;
                state.repeats += 1;
            }
            _ => state.failures += 1,
        }
        state.ended = Some(Box::new(ended));
        if retry_ms.is_some() {
            self.set_status(task, TaskStatus::Retrying);
            self.set_due(task, retry_ms);
            self.leave_children(task);
        } else {
            self.close(task, status);
        }
    }

    /// Gives a task its last status, and its dependents what follows from it.
    fn close(&mut self, task: TaskIndex, status: TaskStatus) {
        self.set_due(task, None);
        self.doomed.remove(&task);
        self.orphans.remove(&task);
        let spec = Arc::clone(&self.tasks[task.usize()].spec);
        if self.tasks[task.usize()].is_released && self.tasks[task.usize()].attempts == 0 {
            self.ready.remove(task, &spec.policy);
            self.to_ask.remove(&task);
            self.to_wait.remove(&task);
        }
        self.set_status(task, status);
        if status.is_failure() && self.first_failure.is_none() {
            self.first_failure = Some(task);
        }
        let dependents = std::mem::take(&mut self.graph);
        for dependent in dependents.dependents(task) {
            self.tasks[dependent.usize()].needs.note(task, status);
            self.judge(dependent);
        }
        self.graph = dependents;
        if let Some(parent) = self.tasks[task.usize()].parent {
            self.close_child(parent, task, status);
        }
        self.leave_children(task);
        self.release_last();
    }

    /// Notes that the tasks which a task consists of are to end, since it has.
    fn leave_children(&mut self, task: TaskIndex) {
        if self.tasks[task.usize()].open_children == 0 {
            return;
        }
        let family = self.families.get(&task).into_iter().flatten().cloned();
        let goes_on = |child: &TaskIndex| {
            let child = &self.tasks[child.usize()];
            !child.status.is_final() && !child.is_asked_to_end
        };
        self.orphans.extend(family.flatten().map(TaskIndex).filter(goes_on));
    }

    fn close_child(&mut self, parent: TaskIndex, child: TaskIndex, status: TaskStatus) {
        // One that another failure kept from starting was to be carried out, unlike others that were skipped.
        let skipped = self.tasks[child.usize()].skipped.as_deref();
        let is_well = match status {
            TaskStatus::Skipped => !matches!(skipped, Some(SkipReason::FailFast { .. })),
            status => status == TaskStatus::Completed,
        };
        let family = &mut self.tasks[parent.usize()];
        family.open_children -= 1;
        if !is_well {
            family.failed_child.get_or_insert(child);
        }
        if family.open_children == 0 && family.status == TaskStatus::Running {
            self.finished_parents.insert(parent);
        }
    }
}

impl Needs {
    /// Notes how one of them ended.
    fn note(&mut self, need: TaskIndex, status: TaskStatus) {
        self.open -= 1;
        if status == TaskStatus::Completed {
            self.completed += 1;
        } else {
            self.unmet.get_or_insert(need);
        }
        self.failed += u32::from(status.is_failure());
    }
}
