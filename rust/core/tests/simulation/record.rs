//! A second account of a run, kept from its facts alone and in the plainest way, to hold the first one against.
//!
//! It knows nothing of what [`State`](dirigent_core::State) keeps: every question is answered by looking at all tasks.

use dirigent_core::event::{CancelReason, Event, Fact, SkipReason};
use dirigent_core::outcome::Outcome;
use dirigent_core::spec::{Action, Claim, Policy, Resource, Task, Trigger};
use dirigent_core::state::TaskStatus;
use std::sync::Arc;

/// What is known of a task.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) spec: Arc<Task>,
    /// The task it is a part of, and the attempt of that.
    pub(crate) parent: Option<(usize, u32)>,
    pub(crate) status: TaskStatus,
    pub(crate) attempts: u32,
    pub(crate) lost: u32,
    pub(crate) failures: u32,
    pub(crate) repeats: u32,
    pub(crate) outlives_failure: bool,
    pub(crate) outlives_cancel: bool,
    /// Whether it was to be carried out, and something elsewhere kept it from starting.
    pub(crate) is_given_up: bool,
    pub(crate) is_asked: bool,
    pub(crate) is_held: bool,
    pub(crate) is_asked_to_end: bool,
    /// Whether its running attempt consists of tasks of its own.
    pub(crate) is_expanded: bool,
    /// Of one that cleans up after all tasks: whether there was a moment at which those had ended.
    pub(crate) is_last_reached: bool,
    /// When it ends or is tried again, on the clock that stands still with the run.
    pub(crate) due_ms: Option<i64>,
    /// When its last attempt started, on that clock.
    pub(crate) started_ms: i64,
}

/// What is known of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) items: Vec<Item>,
    pub(crate) max_concurrency: u64,
    pub(crate) fail_fast: bool,
    pub(crate) resources: Vec<Resource>,
    /// Of each resource: when how much of it was claimed.
    pub(crate) claimed: Vec<Vec<(i64, u64)>>,
    /// When the run has to end, on the clock that stands still with it.
    pub(crate) deadline_ms: Option<i64>,
    pub(crate) first_failure: Option<usize>,
    pub(crate) cancel: Option<CancelReason>,
    pub(crate) is_killed: bool,
    pub(crate) suspended_at_ms: Option<i64>,
    pub(crate) stopped_ms: i64,
    /// When the last event was recorded.
    pub(crate) last_ms: i64,
    pub(crate) is_over: bool,
}

/// What is free of slots and of each resource; `None` where more is in use than there is.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) slots: Option<u64>,
    pub(crate) left: Vec<Option<u64>>,
}

impl Room {
    /// Whether there is a slot and all it claims for a task.
    pub(crate) fn fits(&self, policy: &Policy) -> bool {
        let has_slot = policy.slotless || self.slots > Some(0);
        has_slot && (0..self.left.len()).all(|i| Some(amount(&policy.claims, i)) <= self.left[i])
    }
}

/// What its needs mean for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Open,
    Met,
    Hopeless,
}

pub(crate) fn is_failure(status: TaskStatus) -> bool {
    status == TaskStatus::Failed || status == TaskStatus::TimedOut
}

impl Item {
    pub(crate) fn policy(&self) -> &Policy {
        &self.spec.policy
    }

    pub(crate) fn is(&self, status: TaskStatus) -> bool {
        self.status == status
    }

    pub(crate) fn is_final(&self) -> bool {
        self.status.is_final()
    }

    pub(crate) fn is_function(&self) -> bool {
        matches!(self.spec.action, Action::Function(_))
    }

    pub(crate) fn is_running_function(&self) -> bool {
        self.is(TaskStatus::Running) && self.is_function()
    }

    /// Whether it did what it was for, or was not to.
    pub(crate) fn is_well(&self) -> bool {
        self.is(TaskStatus::Completed) || (self.is(TaskStatus::Skipped) && !self.is_given_up)
    }

    /// Whether it cleans up after all tasks that clean nothing up, or all such parts of the same task.
    pub(crate) fn is_last(&self) -> bool {
        self.policy().teardown && self.spec.needs.is_empty()
    }

    pub(crate) fn is_approval(&self) -> bool {
        matches!(self.spec.action, Action::Approval(_))
    }
}

impl Record {
    /// The clock that stands still with the run.
    pub(crate) fn run_ms(&self, now_ms: i64) -> i64 {
        self.suspended_at_ms.unwrap_or(now_ms) - self.stopped_ms
    }

    /// The tasks that the running attempt of a task consists of.
    pub(crate) fn parts(&self, task: usize) -> impl Iterator<Item = usize> + '_ {
        let whole = Some((task, self.items[task].attempts));
        self.items.iter().enumerate().filter(move |(_, item)| item.parent == whole).map(|(i, _)| i)
    }

    /// What is free of slots and resources.
    pub(crate) fn room(&self, now_ms: i64) -> Room {
        let working = || self.items.iter().filter(|item| item.is(TaskStatus::Running) && !item.is_expanded);
        let slots = working().filter(|item| !item.policy().slotless).count() as u64;
        let in_use = self.resources.iter().enumerate().map(|(resource, it)| match it.per_ms {
            Some(per_ms) => {
                let claims = self.claimed[resource].iter();
                claims.filter(|(at_ms, _)| now_ms - at_ms < per_ms as i64).map(|(_, amount)| amount).sum()
            }
            None => working().map(|item| amount(&item.policy().claims, resource)).sum::<u64>(),
        });
        let left = self.resources.iter().zip(in_use).map(|(it, in_use)| it.capacity.checked_sub(in_use));
        Room { slots: self.max_concurrency.checked_sub(slots), left: left.collect() }
    }

    pub(crate) fn needs(&self, task: usize) -> Needs {
        let item = &self.items[task];
        let policy = item.policy();
        let needs = || item.spec.needs.iter().map(|need| &self.items[need.usize()]);
        let are_done = needs().all(Item::is_final);
        let any_failed = needs().any(|need| is_failure(need.status));
        let any_completed = needs().any(|need| need.is(TaskStatus::Completed));
        let any_unmet = needs().any(|need| need.is_final() && !need.is(TaskStatus::Completed));
        let when = |is_met, is_hopeless| match (is_met, is_hopeless) {
            (true, _) => Needs::Met,
            (false, true) => Needs::Hopeless,
            (false, false) => Needs::Open,
        };
        if item.is_last() {
            return when(item.is_last_reached, false);
        }
        match policy.trigger {
            _ if policy.teardown => when(are_done, false),
            Trigger::Always | Trigger::AllDone => when(are_done, false),
            Trigger::AllSuccess => when(are_done && !any_unmet, any_unmet),
            Trigger::NoneFailed => when(are_done && !any_failed, any_failed),
            Trigger::AnySuccess if item.spec.needs.is_empty() => Needs::Met,
            Trigger::AnySuccess => when(any_completed, are_done),
            Trigger::AnyFailed => when(any_failed, are_done),
        }
    }

    /// Whether the task it is a part of goes on without it.
    pub(crate) fn is_orphan(&self, task: usize) -> bool {
        self.items[task].parent.is_some_and(|(parent, attempt)| {
            let parent = &self.items[parent];
            !parent.is(TaskStatus::Running) || parent.attempts != attempt
        })
    }

    /// Whether somebody wants it to end before it is through.
    pub(crate) fn is_to_end(&self, task: usize) -> bool {
        let item = &self.items[task];
        let by_cancel = self.cancel.is_some() && !item.outlives_cancel;
        self.is_killed || by_cancel || item.is_asked_to_end
    }

    /// Whether it may not start any more because another failed.
    pub(crate) fn is_failed_fast(&self, task: usize) -> bool {
        self.fail_fast && self.first_failure.is_some() && !self.items[task].outlives_failure
    }

    /// Whether it could be looked at for starting: nothing but the time, a condition, a slot and its claims is missing.
    pub(crate) fn is_released(&self, task: usize) -> bool {
        let item = &self.items[task];
        let may_begin = !self.is_to_end(task) && !self.is_orphan(task);
        match item.status {
            TaskStatus::Pending => {
                let is_wanted = item.policy().skip.is_none() && !self.is_failed_fast(task);
                may_begin && is_wanted && self.needs(task) == Needs::Met
            }
            TaskStatus::Retrying => {
                let is_part_of_it = |it: &Item| it.parent.is_some_and(|(parent, _)| parent == task);
                may_begin && !self.items.iter().any(|it| is_part_of_it(it) && !it.is_final())
            }
            _ => false,
        }
    }

    /// Whether it lacks nothing any more but a slot and its claims.
    pub(crate) fn is_ready(&self, task: usize, now_ms: i64) -> bool {
        let item = &self.items[task];
        let is_due = match item.status {
            TaskStatus::Retrying => self.is_due(task, now_ms),
            _ => !item.is_approval() && (!item.policy().has_condition || item.is_held),
        };
        self.suspended_at_ms.is_none() && is_due && self.is_released(task)
    }

    pub(crate) fn is_due(&self, task: usize, now_ms: i64) -> bool {
        self.items[task].due_ms.is_some_and(|due_ms| due_ms <= self.run_ms(now_ms))
    }

    /// Whether a task waits, perhaps by way of others, for one of those wanted.
    pub(crate) fn waits_for(&self, task: usize, is_wanted: &dyn Fn(usize) -> bool) -> bool {
        let mut seen = vec![false; self.items.len()];
        let mut open = vec![task];
        while let Some(task) = open.pop() {
            let item = &self.items[task];
            if item.is_final() || std::mem::replace(&mut seen[task], true) {
                continue;
            }
            if is_wanted(task) {
                return true;
            }
            open.extend(item.spec.needs.iter().map(|need| need.usize()));
            open.extend(self.parts(task));
            if item.is_last() && !item.is_last_reached {
                open.extend(self.before_last(task));
            }
        }
        false
    }

    /// Takes note of an event.
    pub(crate) fn note(&mut self, event: &Event) {
        self.note_fact(event);
        self.last_ms = event.at_ms;
        for task in 0..self.items.len() {
            if self.items[task].is_last() && !self.items[task].is_last_reached {
                let is_reached = self.before_last(task).all(|other| self.items[other].is_final());
                self.items[task].is_last_reached = is_reached;
            }
        }
    }

    /// The tasks after which one without needs cleans up.
    fn before_last(&self, task: usize) -> impl Iterator<Item = usize> + '_ {
        let parent = self.items[task].parent;
        let items = self.items.iter().enumerate().filter(|(_, item)| !item.policy().teardown);
        items.filter(move |(_, item)| parent.is_none() || item.parent == parent).map(|(i, _)| i)
    }

    fn note_fact(&mut self, event: &Event) {
        let at_ms = self.run_ms(event.at_ms);
        match &event.fact {
            Fact::RunCreated(created) => {
                self.max_concurrency = u64::from(created.max_concurrency);
                self.fail_fast = created.fail_fast;
                self.resources = created.resources.clone();
                self.claimed = vec![Vec::new(); created.resources.len()];
                self.deadline_ms = created.timeout_ms.map(|ms| at_ms + ms as i64);
            }
            Fact::TasksDeclared { tasks, parent } => {
                let parent = parent.map(|parent| (parent.usize(), self.items[parent.usize()].attempts));
                if let Some((parent, _)) = parent {
                    self.items[parent].is_expanded = true;
                }
                let whole = parent.map(|(parent, _)| &self.items[parent]);
                let outlives_failure = whole.is_some_and(|whole| whole.outlives_failure);
                let outlives_cancel = whole.is_some_and(|whole| whole.outlives_cancel);
                for spec in tasks.iter() {
                    let mut item = Item::new(spec, parent);
                    item.outlives_failure |= outlives_failure;
                    item.outlives_cancel |= outlives_cancel;
                    self.items.push(item);
                }
            }
            Fact::ConditionAsked { task } => self.items[task.usize()].is_asked = true,
            Fact::ActionSettled { .. } => {}
            Fact::ConditionHeld { task } => self.items[task.usize()].is_held = true,
            Fact::AttemptStarted { task, attempt } => {
                let item = &mut self.items[task.usize()];
                item.status = TaskStatus::Running;
                item.attempts = *attempt;
                item.is_expanded = false;
                item.started_ms = at_ms;
                let timeout_ms = item.spec.policy.limits.timeout_ms.filter(|_| item.is_function());
                item.due_ms = timeout_ms.map(|ms| at_ms + ms as i64);
                for claim in &item.spec.policy.claims {
                    self.claimed[claim.resource as usize].push((event.at_ms, claim.amount));
                }
            }
            Fact::AttemptEnded { task, retry_at_ms, ended, .. } => {
                let outcome = &ended.outcome;
                let is_to_end = self.is_to_end(task.usize());
                let item = &mut self.items[task.usize()];
                match outcome {
                    Outcome::Lost { .. } => item.lost += 1,
                    Outcome::Unfinished => (item.failures, item.repeats) = (0, item.repeats + 1),
                    _ => item.failures += 1,
                }
                if let Some(retry_at_ms) = retry_at_ms {
                    item.status = TaskStatus::Retrying;
                    item.due_ms = Some(at_ms + (retry_at_ms - event.at_ms));
                    return;
                }
                let status = match outcome {
                    Outcome::Succeeded { .. } | Outcome::Returned => TaskStatus::Completed,
                    Outcome::TimedOut { .. } => TaskStatus::TimedOut,
                    Outcome::Cancelled => TaskStatus::Cancelled,
                    Outcome::Lost { .. } if is_to_end => TaskStatus::Cancelled,
                    _ => TaskStatus::Failed,
                };
                self.end(task.usize(), status);
            }
            Fact::WaitStarted { task } => {
                let item = &mut self.items[task.usize()];
                item.status = TaskStatus::Waiting;
                item.due_ms = item.spec.policy.limits.timeout_ms.map(|ms| at_ms + ms as i64);
            }
            Fact::WaitAnswered { task, approved: true, .. } => self.end(task.usize(), TaskStatus::Completed),
            Fact::WaitAnswered { task, approved: false, .. } => self.end(task.usize(), TaskStatus::Failed),
            Fact::WaitTimedOut { task } => self.end(task.usize(), TaskStatus::TimedOut),
            Fact::TaskFailed { task, .. } => self.end(task.usize(), TaskStatus::Failed),
            Fact::TaskSkipped { task, reason } => {
                self.items[task.usize()].is_given_up = match reason {
                    SkipReason::FailFast { .. } => true,
                    SkipReason::NeedNotMet { need } => {
                        let need = &self.items[need.usize()];
                        need.parent != self.items[task.usize()].parent || !need.is_well()
                    }
                    _ => false,
                };
                self.end(task.usize(), TaskStatus::Skipped);
            }
            Fact::TaskCancelled { task } => self.end(task.usize(), TaskStatus::Cancelled),
            Fact::CancelRequested { reason } => self.cancel = Some(*reason),
            Fact::TaskCancelRequested { task } => self.items[task.usize()].is_asked_to_end = true,
            Fact::KillRequested => self.is_killed = true,
            Fact::RunResumed { .. } => {
                let since_ms = self.suspended_at_ms.take().unwrap_or(self.last_ms);
                self.stopped_ms += event.at_ms - since_ms;
                for item in &mut self.items {
                    item.is_asked &= item.is_held;
                }
            }
            Fact::ValueLost { .. } => unreachable!("every value is kept"),
            Fact::ReuseAsked { .. } | Fact::ReuseDeclined { .. } => unreachable!("nothing is used again"),
            Fact::TaskReused { task, .. } => self.end(task.usize(), TaskStatus::Completed),
            Fact::RunSuspended => self.suspended_at_ms = Some(event.at_ms),
            Fact::RunContinued => {
                self.stopped_ms += event.at_ms - self.suspended_at_ms.take().unwrap_or(event.at_ms);
            }
            Fact::RunEnded { .. } => self.is_over = true,
        }
    }

    fn end(&mut self, task: usize, status: TaskStatus) {
        self.items[task].status = status;
        self.items[task].due_ms = None;
        if is_failure(status) {
            self.first_failure.get_or_insert(task);
        }
    }
}

impl Item {
    fn new(spec: &Arc<Task>, parent: Option<(usize, u32)>) -> Self {
        let (teardown, trigger) = (spec.policy.teardown, spec.policy.trigger);
        let outlives_cancel = teardown || trigger == Trigger::Always;
        Self {
            outlives_failure: outlives_cancel || matches!(trigger, Trigger::AnyFailed | Trigger::AllDone),
            outlives_cancel,
            is_given_up: false,
            spec: Arc::clone(spec),
            parent,
            status: TaskStatus::Pending,
            attempts: 0,
            lost: 0,
            failures: 0,
            repeats: 0,
            is_asked: false,
            is_held: false,
            is_asked_to_end: false,
            is_expanded: false,
            is_last_reached: false,
            due_ms: None,
            started_ms: 0,
        }
    }
}

fn amount(claims: &[Claim], resource: usize) -> u64 {
    claims.iter().filter(|claim| claim.resource as usize == resource).map(|claim| claim.amount).sum()
}
