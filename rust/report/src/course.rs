//! How a run went, by its events: what was carried out from when until when, and what stood in the way before.
//!
//! Moments are milliseconds since the run was accepted, on a clock that stands still while the run is stopped or has no
//! engine. Order is that of the events, since much may happen in one millisecond.

use dirigent_core::TaskIndex;
use dirigent_core::event::{Event, Fact, Verdict};
use dirigent_core::outcome::Usage;
use dirigent_core::spec::{Resource, Trigger};
use dirigent_core::state::{State, TaskStatus};
use std::collections::HashMap;

/// A place among the events, and its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) seq: u64,
    pub(crate) ms: i64,
}

/// What was going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// An attempt, by its number.
    Attempt(u32),
    /// A wait for somebody's answer.
    Waiting,
}

/// A time in which something of a task went on.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) task: TaskIndex,
    pub(crate) doing: Doing,
    pub(crate) from: Moment,
    /// When it ended, or its own tasks took its place; `None` where it still goes on.
    pub(crate) until: Option<Moment>,
    pub(crate) usage: Usage,
    /// When the next attempt was due.
    pub(crate) retry_ms: Option<i64>,
    /// Whether its own tasks took its place.
    pub(crate) handed_over: bool,
    /// Whether no slot was free until it ended.
    pub(crate) freed_slot: bool,
    /// The resources of which nothing was free until it ended.
    pub(crate) freed: Vec<u32>,
}

/// What is known of one task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    pub(crate) declared: Moment,
    /// When somebody said that it is to run, where that was asked.
    pub(crate) let_go: Option<Moment>,
    pub(crate) ended: Option<Moment>,
    /// Places among the spans.
    pub(crate) spans: Vec<usize>,
}

/// What a task waited for before it was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Nothing: it was there from the beginning.
    Start,
    /// The end of a task.
    Need(TaskIndex),
    /// The task that it is a part of.
    Parent(TaskIndex),
}

/// How a run went.
#[derive(Debug, Default)]
pub(crate) struct Course {
    pub(crate) state: State,
    pub(crate) spans: Vec<Span>,
    pub(crate) lanes: Vec<Lane>,
    /// The spans that ended, in the order in which they did.
    pub(crate) ends: Vec<usize>,
    pub(crate) resources: Vec<Resource>,
    /// For how long nothing was free of each resource.
    pub(crate) full_ms: Vec<i64>,
    /// From accepted to the end, or to the last thing known.
    pub(crate) wall_ms: i64,
    /// The time of each event.
    pub(crate) at_ms: Vec<i64>,
}

/// How much is taken at the moment of what there is only so much of.
#[derive(Default)]
struct Taken {
    held: Vec<u64>,
    /// The least that a task claims.
    least: Vec<u64>,
    /// Since when nothing is free.
    full_since_ms: Vec<Option<i64>>,
}

impl Taken {
    fn is_full(&self, resources: &[Resource], at: usize) -> bool {
        self.least[at] > 0 && self.held[at] + self.least[at] > resources[at].capacity
    }
}

impl Course {
    /// Folds the events of a run; `None` before its first.
    pub(crate) fn new<'a>(events: impl IntoIterator<Item = &'a Event>) -> Option<Self> {
        let mut course = Self::default();
        let mut taken = Taken::default();
        let mut open: HashMap<TaskIndex, usize> = HashMap::new();
        let (mut stood_ms, mut last_ms, mut stopped_since) = (0, None, None);
        for event in events {
            let before_ms = last_ms.unwrap_or(event.at_ms);
            match &event.fact {
                Fact::RunCreated(_) => stood_ms = event.at_ms,
                Fact::RunSuspended => stopped_since = Some(event.at_ms),
                Fact::RunContinued => {
                    stood_ms += stopped_since.take().map_or(0, |since_ms| event.at_ms - since_ms);
                }
                Fact::RunResumed { .. } => {
                    stood_ms += event.at_ms - stopped_since.take().unwrap_or(before_ms);
                }
                _ => {}
            }
            last_ms = Some(event.at_ms);
            let ms = (stopped_since.unwrap_or(event.at_ms) - stood_ms).max(course.wall_ms);
            let moment = Moment { seq: event.seq, ms };
            let slots = course.state.running();
            course.state.apply(event);
            course.take(event, moment, slots, &mut open, &mut taken);
            course.wall_ms = ms;
            course.at_ms.push(ms);
        }
        course.state.header()?;
        for (at, since_ms) in taken.full_since_ms.iter().enumerate() {
            course.full_ms[at] += since_ms.map_or(0, |since_ms| course.wall_ms - since_ms);
        }
        Some(course)
    }

    /// Takes in an event that the state knows already. `slots`: how many were taken before.
    fn take(
        &mut self,
        event: &Event,
        moment: Moment,
        slots: u32,
        open: &mut HashMap<TaskIndex, usize>,
        taken: &mut Taken,
    ) {
        let about = match &event.fact {
            Fact::RunCreated(created) => {
                let count = created.resources.len();
                self.resources.clone_from(&created.resources);
                self.full_ms = vec![0; count];
                (taken.held, taken.least) = (vec![0; count], vec![0; count]);
                taken.full_since_ms = vec![None; count];
                return;
            }
            Fact::TasksDeclared { tasks, parent } => {
                for claim in tasks.iter().flat_map(|task| &task.policy.claims) {
                    if let Some(least) = taken.least.get_mut(claim.resource as usize) {
                        *least = if *least == 0 { claim.amount } else { claim.amount.min(*least) };
                    }
                }
                let lane = Lane { declared: moment, ..Lane::default() };
                self.lanes.resize(self.lanes.len() + tasks.len(), lane);
                if let Some(at) = parent.and_then(|parent| open.remove(&parent)) {
                    self.spans[at].handed_over = true;
                    self.end(at, moment, slots, taken);
                }
                return;
            }
            Fact::ConditionHeld { task } | Fact::ReuseDeclined { task, .. } => {
                self.lanes[task.usize()].let_go = Some(moment);
                return;
            }
            Fact::AttemptStarted { task, attempt } => {
                open.insert(*task, self.begin(*task, Doing::Attempt(*attempt), moment));
                self.claim(*task, moment, true, taken);
                return;
            }
            Fact::WaitStarted { task } => {
                open.insert(*task, self.begin(*task, Doing::Waiting, moment));
                return;
            }
            Fact::AttemptEnded { task, retry_at_ms, ended, .. } => {
                let retry_ms = retry_at_ms.map(|at_ms| moment.ms + at_ms - event.at_ms);
                if let Some(at) = self.lanes[task.usize()].spans.last() {
                    (self.spans[*at].usage, self.spans[*at].retry_ms) = (ended.usage, retry_ms);
                }
                task
            }
            Fact::TaskReused { task, .. }
            | Fact::WaitAnswered { task, .. }
            | Fact::WaitTimedOut { task }
            | Fact::TaskFailed { task, .. }
            | Fact::TaskSkipped { task, .. }
            | Fact::TaskCancelled { task } => task,
            Fact::ConditionAsked { .. }
            | Fact::ActionSettled { .. }
            | Fact::ReuseAsked { .. }
            | Fact::ValueLost { .. }
            | Fact::CancelRequested { .. }
            | Fact::TaskCancelRequested { .. }
            | Fact::KillRequested
            | Fact::RunResumed { .. }
            | Fact::RunSuspended
            | Fact::RunContinued
            | Fact::RunEnded { .. } => return,
        };
        if let Some(at) = open.remove(about) {
            self.end(at, moment, slots, taken);
        }
        if self.state.task(*about).is_some_and(|task| task.status.is_final()) {
            self.lanes[about.usize()].ended = Some(moment);
        }
    }

    /// Puts a span there, and says where.
    fn begin(&mut self, task: TaskIndex, doing: Doing, from: Moment) -> usize {
        let at = self.spans.len();
        self.lanes[task.usize()].spans.push(at);
        self.spans.push(Span {
            task,
            doing,
            from,
            until: None,
            usage: Usage::default(),
            retry_ms: None,
            handed_over: false,
            freed_slot: false,
            freed: Vec::new(),
        });
        at
    }

    fn end(&mut self, at: usize, moment: Moment, slots: u32, taken: &mut Taken) {
        let span = &self.spans[at];
        let (task, is_attempt) = (span.task, span.doing != Doing::Waiting);
        let policy = self.policy(task);
        let limit = self.state.header().map_or(u32::MAX, |header| header.max_concurrency);
        let freed_slot = is_attempt && !policy.slotless && slots >= limit;
        let claimed = policy.claims.iter().map(|claim| claim.resource);
        let is_full = |resource: &u32| {
            self.resources.get(*resource as usize).is_some_and(|it| it.per_ms.is_none())
                && taken.is_full(&self.resources, *resource as usize)
        };
        let freed = if is_attempt { claimed.filter(is_full).collect() } else { Vec::new() };
        if is_attempt {
            self.claim(task, moment, false, taken);
        }
        self.ends.push(at);
        let span = &mut self.spans[at];
        (span.until, span.freed_slot, span.freed) = (Some(moment), freed_slot, freed);
    }

    /// Takes what a task claims, or gives it back.
    fn claim(&mut self, task: TaskIndex, moment: Moment, takes: bool, taken: &mut Taken) {
        let claims = self.state.tasks()[task.usize()].spec.policy.claims.clone();
        for claim in claims {
            let at = claim.resource as usize;
            // A rate is never given back, and when it is free again is nothing that happens.
            if self.resources.get(at).is_none_or(|resource| resource.per_ms.is_some()) {
                continue;
            }
            let held = &mut taken.held[at];
            *held = if takes { *held + claim.amount } else { held.saturating_sub(claim.amount) };
            match (taken.is_full(&self.resources, at), taken.full_since_ms[at]) {
                (true, None) => taken.full_since_ms[at] = Some(moment.ms),
                (false, Some(since_ms)) => {
                    self.full_ms[at] += moment.ms - since_ms;
                    taken.full_since_ms[at] = None;
                }
                _ => {}
            }
        }
    }

    pub(crate) fn policy(&self, task: TaskIndex) -> &dirigent_core::spec::Policy {
        &self.state.tasks()[task.usize()].spec.policy
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.state.end().map(|end| end.verdict)
    }

    /// The end of a task that cleans nothing up, after which those that clean up last may start.
    pub(crate) fn last_regular_end(&self) -> Option<(Moment, TaskIndex)> {
        let tasks = (0u32..).map(TaskIndex).zip(&self.lanes);
        let regular = tasks.filter(|(task, _)| !self.policy(*task).teardown);
        regular.filter_map(|(task, lane)| Some((lane.ended?, task))).max_by_key(|(ended, _)| ended.seq)
    }

    /// When a task had all that it needs, and what it waited for until then.
    pub(crate) fn ready(
        &self,
        task: TaskIndex,
        last_regular: Option<(Moment, TaskIndex)>,
    ) -> (Moment, Cause) {
        let it = &self.state.tasks()[task.usize()];
        let lane = &self.lanes[task.usize()];
        let ended = |need: &TaskIndex| Some((self.lanes.get(need.usize())?.ended?, *need));
        let with = |is_it: fn(TaskStatus) -> bool| {
            let needs =
                it.spec.needs.iter().filter(move |need| is_it(self.state.tasks()[need.usize()].status));
            needs.filter_map(ended).min_by_key(|(ended, _)| ended.seq)
        };
        let last = match it.spec.policy.trigger {
            _ if it.spec.cleans_up_last() => last_regular,
            Trigger::AnySuccess => with(|status| status == TaskStatus::Completed),
            Trigger::AnyFailed => with(TaskStatus::is_failure),
            Trigger::AllSuccess | Trigger::AllDone | Trigger::NoneFailed | Trigger::Always => {
                it.spec.needs.iter().filter_map(ended).max_by_key(|(ended, _)| ended.seq)
            }
        };
        let at_first = (lane.declared, it.parent.map_or(Cause::Start, Cause::Parent));
        let (ready, cause) = match last {
            Some((ended, need)) if ended.seq > lane.declared.seq => (ended, Cause::Need(need)),
            _ => at_first,
        };
        (lane.let_go.map_or(ready, |let_go| let_go.max(ready)), cause)
    }
}
