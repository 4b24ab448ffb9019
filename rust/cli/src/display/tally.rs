//! What a picture needs to know of a run, kept up event by event, so that a frame costs what it shows and not what the
//! run has.

use super::picture::Share;
use dirigent_core::event::{Event, Fact};
use dirigent_core::ids::TaskIndex;
use dirigent_core::state::{State, TaskState, TaskStatus};
use std::collections::{BTreeMap, HashMap};

/// How many tasks stand how, and which of them go on.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: [usize; TaskStatus::ALL.len()],
    /// The tasks that run, wait to be tried again or for an answer, in the order in which that began.
    going: BTreeMap<u64, TaskIndex>,
    places: HashMap<TaskIndex, u64>,
    next_place: u64,
    wholes: HashMap<TaskIndex, Whole>,
    again_ms: HashMap<TaskIndex, i64>,
}

/// A task that goes on and consists of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) share: Share,
    /// How many of them run.
    pub(super) running: usize,
    /// Whether it does the same for each of many, so that their number says more than their names.
    pub(super) is_fan_out: bool,
    /// The first of them, in this attempt.
    first: TaskIndex,
}

/// A task that goes on, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) task: TaskIndex,
    /// Of how many others it is a part.
    pub(super) depth: usize,
}

impl Tally {
    /// Folds an event, and notes what it changes.
    pub(super) fn apply(&mut self, state: &mut State, event: &Event) {
        let before = about(&event.fact).and_then(|task| Some((task, state.task(task)?.status)));
        state.apply(event);
        match &event.fact {
            Fact::TasksDeclared { tasks, parent } => {
                self.counts[place(TaskStatus::Pending)] += tasks.len();
                if let Some(parent) = parent {
                    self.wholes.insert(*parent, Whole::new(state, *parent));
                }
            }
            Fact::AttemptStarted { task, .. } => {
                self.wholes.remove(task);
                self.again_ms.remove(task);
            }
            Fact::AttemptEnded { task, retry_at_ms: Some(at_ms), .. } => {
                self.again_ms.insert(*task, *at_ms);
            }
            Fact::RunResumed { .. } | Fact::ValueLost { .. } => self.count_anew(state),
            _ => {}
        }
        if let Some((task, was)) = before {
            self.changed(task, was, &state.tasks()[task.usize()]);
        }
    }

    /// A task may stand otherwise than it did.
    fn changed(&mut self, task: TaskIndex, was: TaskStatus, it: &TaskState) {
        let now = it.status;
        self.counts[place(was)] = self.counts[place(was)].saturating_sub(1);
        self.counts[place(now)] += 1;
        let family = it.parent.and_then(|parent| self.wholes.get_mut(&parent));
        if let Some(family) = family.filter(|family| family.first <= task) {
            let is_running = |status| usize::from(status == TaskStatus::Running);
            family.running = (family.running + is_running(now)).saturating_sub(is_running(was));
            family.share.done += usize::from(now.is_final() && !was.is_final());
            family.share.failed += usize::from(now.is_failure() && !was.is_failure());
        }
        if goes_on(now) {
            self.begin(task);
        } else if let Some(place) = self.places.remove(&task) {
            self.going.remove(&place);
            self.wholes.remove(&task);
            self.again_ms.remove(&task);
        }
    }

    fn begin(&mut self, task: TaskIndex) {
        let (place, going) = (self.next_place, &mut self.going);
        self.places.entry(task).or_insert_with(|| {
            going.insert(place, task);
            place
        });
        self.next_place += 1;
    }

    /// Looks at every task.
    fn count_anew(&mut self, state: &State) {
        let again_ms = std::mem::take(&mut self.again_ms);
        *self = Self { again_ms, ..Self::default() };
        for (task, it) in (0u32..).map(TaskIndex).zip(state.tasks()) {
            self.counts[place(it.status)] += 1;
            if goes_on(it.status) {
                self.begin(task);
                if it.consists_of_tasks() {
                    self.wholes.insert(task, Whole::new(state, task));
                }
            }
        }
    }

    /// How many tasks stand how, those of which there are any; those that consist of running tasks do not run themselves.
    pub(super) fn counts(&self) -> impl Iterator<Item = (TaskStatus, usize)> {
        let counts = TaskStatus::ALL.into_iter().zip(self.counts);
        let wholes = self.wholes.len();
        let own = move |(status, count): (TaskStatus, usize)| match status {
            TaskStatus::Running => (status, count.saturating_sub(wholes)),
            _ => (status, count),
        };
        counts.map(own).filter(|(status, count)| *count > 0 && *status != TaskStatus::Pending)
    }

    /// How a task that consists of tasks stands.
    pub(super) fn whole(&self, task: TaskIndex) -> Option<Whole> {
        self.wholes.get(&task).copied()
    }

    /// When a task is tried again.
    pub(super) fn again_ms(&self, task: TaskIndex) -> Option<i64> {
        self.again_ms.get(&task).copied()
    }

    /// Those that go on, in order, with the parts of each below it: at most so many, and how many more there are. The
    /// parts of a fan-out are not among them; where there is little room, parts go before what they are parts of.
    pub(super) fn shown(&self, state: &State, room: usize) -> (Vec<Shown>, usize) {
        let depth = |task: &TaskIndex| {
            let (mut depth, mut outer) = (0, state.tasks()[task.usize()].parent);
            while let Some(parent) = outer {
                if self.wholes.get(&parent).is_some_and(|whole| whole.is_fan_out) {
                    return None;
                }
                (depth, outer) = (depth + 1, state.tasks()[parent.usize()].parent);
            }
            Some(depth)
        };
        let going = self.going.values();
        let mut shown: Vec<Shown> =
            going.filter_map(|task| Some(Shown { task: *task, depth: depth(task)? })).collect();
        let count = shown.len();
        shown.sort_by_key(|shown| shown.depth);
        if count > room {
            shown.truncate(room.saturating_sub(1));
        }
        let more = count - shown.len();
        if shown.last().is_some_and(|last| last.depth > 0) {
            shown.sort_by_cached_key(|shown| self.way(state, shown.task));
        }
        (shown, more)
    }

    /// The places of what a task is a part of, from the outermost on, and its own.
    fn way(&self, state: &State, task: TaskIndex) -> Vec<u64> {
        let outer = std::iter::successors(Some(task), |task| state.tasks()[task.usize()].parent);
        let mut way: Vec<u64> = outer.filter_map(|task| self.places.get(&task).copied()).collect();
        way.reverse();
        way
    }
}

impl Whole {
    fn new(state: &State, task: TaskIndex) -> Self {
        let first = TaskIndex(u32::MAX);
        let mut whole = Self { share: Share::default(), running: 0, is_fan_out: true, first };
        let name = &*state.tasks()[task.usize()].spec.name;
        for part in state.parts(task) {
            let it = &state.tasks()[part.usize()];
            whole.first = whole.first.min(part);
            whole.share.total += 1;
            whole.share.done += usize::from(it.status.is_final());
            whole.share.failed += usize::from(it.status.is_failure());
            whole.running += usize::from(it.status == TaskStatus::Running);
            whole.is_fan_out &= it.spec.name.strip_prefix(name).is_some_and(is_item);
        }
        whole
    }
}

/// Whether a part of a task is named after its place among others, or after an item.
fn is_item(rest: &str) -> bool {
    let number = rest.strip_prefix('/').unwrap_or_default();
    rest.starts_with('[') || (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn goes_on(status: TaskStatus) -> bool {
    matches!(status, TaskStatus::Running | TaskStatus::Retrying | TaskStatus::Waiting)
}

/// The task that may stand otherwise after a fact.
fn about(fact: &Fact) -> Option<TaskIndex> {
    match fact {
        Fact::AttemptStarted { task, .. }
        | Fact::AttemptEnded { task, .. }
        | Fact::TaskReused { task, .. }
        | Fact::WaitStarted { task }
        | Fact::WaitAnswered { task, .. }
        | Fact::WaitTimedOut { task }
        | Fact::TaskFailed { task, .. }
        | Fact::TaskSkipped { task, .. }
        | Fact::TaskCancelled { task } => Some(*task),
        Fact::RunCreated { .. }
        | Fact::TasksDeclared { .. }
        | Fact::ConditionAsked { .. }
        | Fact::ConditionHeld { .. }
        | Fact::ActionSettled { .. }
        | Fact::ReuseAsked { .. }
        | Fact::ReuseDeclined { .. }
        | Fact::ValueLost { .. }
        | Fact::CancelRequested { .. }
        | Fact::TaskCancelRequested { .. }
        | Fact::KillRequested
        | Fact::RunResumed { .. }
        | Fact::RunSuspended
        | Fact::RunContinued
        | Fact::RunEnded { .. } => None,
    }
}

fn place(status: TaskStatus) -> usize {
    TaskStatus::ALL.iter().position(|other| *other == status).expect("every status is in the list")
}
