//! What is the case: the fold of the events. [`State::apply`] is the only way it changes.

use crate::event::{CancelReason, Event, Fact, Origin, SkipReason, Verdict};
use crate::graph::Graph;
use crate::ids::{RunId, TaskIndex};
use crate::outcome::{Outcome, Stream, Usage};
use crate::spec::Task;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// It has not started: a need is open, or no slot is free.
    Pending,
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
    /// The run was cancelled before it ended by itself.
    Cancelled,
    /// It was never to run.
    Skipped,
}

impl TaskStatus {
    /// Every status, in the order in which people want to read them.
    pub const ALL: [Self; 8] = [
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Running,
        Self::Retrying,
        Self::Pending,
        Self::Skipped,
        Self::Completed,
    ];

    /// Whether nothing can change it any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Running | Self::Retrying => false,
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
    pub stdout: Option<Stream>,
    /// Its standard error; `None` when it wrote nothing.
    pub stderr: Option<Stream>,
    /// How many processes it left behind.
    pub left_behind: u32,
    /// The last lines it wrote, where it did not succeed.
    pub last_lines: String,
}

/// One task of a run, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskState {
    /// As declared.
    pub spec: Task,
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
    pub ended: Option<Ended>,
    /// Why it was skipped.
    pub skipped: Option<SkipReason>,
    /// How many of its needs are still open.
    unmet: u32,
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

/// A run as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    header: Option<Header>,
    tasks: Vec<TaskState>,
    graph: Graph,
    /// Tasks whose needs are met, waiting for a slot.
    ready: BTreeSet<TaskIndex>,
    /// Tasks that will be skipped, found while applying, and not yet told.
    doomed: VecDeque<(TaskIndex, SkipReason)>,
    running: u32,
    open: u32,
    first_failure: Option<TaskIndex>,
    cancel: Option<CancelReason>,
    suspended: bool,
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

    /// How many attempts are being carried out.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// How many tasks have not ended.
    pub fn open(&self) -> u32 {
        self.open
    }

    /// The first task that failed.
    pub fn first_failure(&self) -> Option<TaskIndex> {
        self.first_failure
    }

    /// Why the run was asked to end, if it was.
    pub fn cancel(&self) -> Option<CancelReason> {
        self.cancel
    }

    /// Whether the run is stopped.
    pub fn is_suspended(&self) -> bool {
        self.suspended
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

    pub(crate) fn ready(&self) -> impl Iterator<Item = TaskIndex> + '_ {
        self.ready.iter().copied()
    }

    pub(crate) fn doomed(&self) -> impl Iterator<Item = &(TaskIndex, SkipReason)> + '_ {
        self.doomed.iter().filter(|(task, _)| !self.tasks[task.usize()].status.is_final())
    }

    /// Changes the state by one event: the only way it changes.
    pub fn apply(&mut self, event: &Event) {
        self.next_seq = event.seq + 1;
        match &event.fact {
            Fact::RunCreated { run, workflow, max_concurrency, fail_fast, origin } => {
                self.header = Some(Header {
                    run: run.clone(),
                    workflow: workflow.clone(),
                    max_concurrency: *max_concurrency,
                    fail_fast: *fail_fast,
                    origin: origin.clone(),
                    created_at_ms: event.at_ms,
                });
            }
            Fact::TasksDeclared { tasks } => self.declare(tasks),
            Fact::AttemptStarted { task, attempt } => self.start(*task, *attempt, event.at_ms),
            Fact::AttemptEnded { task, outcome, usage, stdout, stderr, left_behind, last_lines, .. } => {
                let ended = Ended {
                    outcome: outcome.clone(),
                    usage: *usage,
                    stdout: stdout.clone(),
                    stderr: stderr.clone(),
                    left_behind: *left_behind,
                    last_lines: last_lines.clone(),
                };
                self.end_attempt(*task, ended, event.at_ms);
            }
            Fact::TaskSkipped { task, reason } => {
                self.tasks[task.usize()].skipped = Some(reason.clone());
                self.close(*task, TaskStatus::Skipped);
            }
            Fact::TaskCancelled { task } => self.close(*task, TaskStatus::Cancelled),
            Fact::CancelRequested { reason } => self.cancel = Some(*reason),
            Fact::RunSuspended => self.suspended = true,
            Fact::RunContinued => self.suspended = false,
            Fact::RunEnded { verdict, strays, survivors } => {
                self.end = Some(RunEnd {
                    at_ms: event.at_ms,
                    verdict: *verdict,
                    strays: *strays,
                    survivors: survivors.clone(),
                });
            }
        }
        while self.doomed.front().is_some_and(|(task, _)| self.tasks[task.usize()].status.is_final()) {
            self.doomed.pop_front();
        }
    }

    fn declare(&mut self, tasks: &[Task]) {
        let first = self.tasks.len();
        self.tasks.extend(tasks.iter().map(|spec| TaskState {
            spec: spec.clone(),
            status: TaskStatus::Pending,
            attempts: 0,
            lost: 0,
            started_at_ms: None,
            ended_at_ms: None,
            ended: None,
            skipped: None,
            unmet: 0,
        }));
        self.graph = Graph::new(self.tasks.iter().map(|task| task.spec.needs.as_slice()));
        for (index, number) in (first..self.tasks.len()).zip(first as u32..) {
            let task = TaskIndex(number);
            let mut unmet = self.graph.need_count(task);
            for need in &self.tasks[index].spec.needs {
                match self.tasks[need.usize()].status {
                    TaskStatus::Completed => unmet -= 1,
                    status if status.is_final() => {
                        self.doomed.push_back((task, SkipReason::NeedNotMet { need: *need }));
                    }
                    _ => {}
                }
            }
            self.tasks[index].unmet = unmet;
            self.open += 1;
            if let Some(text) = &self.tasks[index].spec.skip {
                self.doomed.push_back((task, SkipReason::Declared { text: text.clone() }));
            } else if unmet == 0 {
                self.ready.insert(task);
            }
        }
    }

    fn start(&mut self, task: TaskIndex, attempt: u32, at_ms: i64) {
        self.ready.remove(&task);
        self.running += 1;
        let state = &mut self.tasks[task.usize()];
        state.status = TaskStatus::Running;
        state.attempts = attempt;
        state.started_at_ms = Some(at_ms);
        state.ended_at_ms = None;
    }

    fn end_attempt(&mut self, task: TaskIndex, ended: Ended, at_ms: i64) {
        self.running -= 1;
        let cancelled = self.cancel.is_some();
        let state = &mut self.tasks[task.usize()];
        state.ended_at_ms = Some(at_ms);
        let status = match ended.outcome {
            Outcome::Succeeded { .. } => TaskStatus::Completed,
            Outcome::TimedOut { .. } => TaskStatus::TimedOut,
            Outcome::Cancelled => TaskStatus::Cancelled,
            Outcome::Lost { .. } if !cancelled && state.lost < state.spec.lost_attempts_allowed => {
                state.lost += 1;
                TaskStatus::Retrying
            }
            Outcome::Lost { .. }
            | Outcome::Failed { .. }
            | Outcome::Killed { .. }
            | Outcome::MemoryExceeded { .. }
            | Outcome::CouldNotStart { .. } => TaskStatus::Failed,
        };
        state.ended = Some(ended);
        if status == TaskStatus::Retrying {
            state.status = status;
            self.ready.insert(task);
        } else {
            self.close(task, status);
        }
    }

    /// Gives a task its last status, and its dependents what follows from it.
    fn close(&mut self, task: TaskIndex, status: TaskStatus) {
        self.ready.remove(&task);
        self.tasks[task.usize()].status = status;
        self.open -= 1;
        if status.is_failure() && self.first_failure.is_none() {
            self.first_failure = Some(task);
        }
        for &dependent in self.graph.dependents(task) {
            let waiting = &mut self.tasks[dependent.usize()];
            if waiting.status != TaskStatus::Pending {
                continue;
            }
            if status == TaskStatus::Completed {
                waiting.unmet -= 1;
                if waiting.unmet == 0 && waiting.spec.skip.is_none() {
                    self.ready.insert(dependent);
                }
            } else {
                self.doomed.push_back((dependent, SkipReason::NeedNotMet { need: task }));
            }
        }
    }
}
