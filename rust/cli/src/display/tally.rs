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
        // Those of an attempt that was given up have ended before there are others.
        let family = it.parent.and_then(|parent| self.wholes.get_mut(&parent));
        if let Some(family) = family {
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
        let mut whole = Self { share: Share::default(), running: 0, is_fan_out: true };
        let name = &*state.tasks()[task.usize()].spec.name;
        for part in state.parts(task) {
            let it = &state.tasks()[part.usize()];
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
        Fact::RunCreated(_)
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

#[cfg(test)]
mod tests {
    use super::*;
    use dirigent_core::RunId;
    use dirigent_core::decide::{Input, Report, decide, follow};
    use dirigent_core::event::{CancelReason, Created};
    use dirigent_core::outcome::Outcome;
    use dirigent_core::spec::{Action, Policy, Retry, Task, Trigger};
    use std::sync::Arc;

    fn task(name: &str, needs: &[u32], policy: Policy) -> Arc<Task> {
        let action = Action::function("f", None);
        let needs = needs.iter().copied().map(TaskIndex).collect();
        Arc::new(Task { name: name.into(), action, needs, policy: Arc::new(policy) })
    }

    /// A run that is told what happens to it, and tallied with every event.
    struct Told {
        state: State,
        tally: Tally,
        at_ms: i64,
    }

    impl Told {
        fn new(tasks: Vec<Arc<Task>>) -> Self {
            let created = Fact::RunCreated(Box::new(Created {
                run: RunId::try_from("r1".to_owned()).expect("letters and digits only"),
                workflow: "w".to_owned(),
                max_concurrency: 9,
                fail_fast: false,
                origin: Box::default(),
                resources: Vec::new(),
                timeout_ms: None,
                seed: 0,
            }));
            let mut told = Self { state: State::default(), tally: Tally::default(), at_ms: 0 };
            told.apply(vec![created, Fact::TasksDeclared { tasks: tasks.into(), parent: None }]);
            told
        }

        fn apply(&mut self, mut facts: Vec<Fact>) {
            while !facts.is_empty() {
                for fact in facts {
                    let event = Event { seq: self.state.next_seq(), at_ms: self.at_ms, fact };
                    self.tally.apply(&mut self.state, &event);
                    self.holds();
                }
                facts = follow(&self.state, self.at_ms);
            }
        }

        fn say(&mut self, input: Input) {
            let facts = decide(&self.state, input, self.at_ms);
            assert!(!facts.is_empty(), "it means something");
            self.apply(facts);
        }

        fn ends(&mut self, task: u32, outcome: Outcome) {
            let attempt = self.state.tasks()[task as usize].attempts;
            self.say(Input::AttemptEnded(Report::new(TaskIndex(task), attempt, outcome)));
        }

        fn becomes(&mut self, task: u32, parts: &[&str]) {
            let children = parts.iter().map(task_of).collect();
            let attempt = self.state.tasks()[task as usize].attempts;
            self.say(Input::Expanded { task: TaskIndex(task), attempt, children });
        }

        /// What is kept up is what looking at every task gives.
        #[track_caller]
        fn holds(&self) {
            let mut anew = Tally { again_ms: self.tally.again_ms.clone(), ..Tally::default() };
            anew.count_anew(&self.state);
            let whole = |tally: &Tally| {
                let mut wholes: Vec<_> = tally.wholes.iter().map(|(task, whole)| (*task, *whole)).collect();
                wholes.sort_by_key(|(task, _)| *task);
                wholes
            };
            let going = |tally: &Tally| {
                let mut going: Vec<TaskIndex> = tally.going.values().copied().collect();
                going.sort_unstable();
                going
            };
            assert_eq!(self.tally.counts, anew.counts);
            assert_eq!(going(&self.tally), going(&anew));
            assert_eq!(whole(&self.tally), whole(&anew));
        }

        #[track_caller]
        fn shows(&self, room: usize, expected: &[&str], more: usize) {
            let (shown, rest) = self.tally.shown(&self.state, room);
            let name = |shown: &Shown| {
                let name = &self.state.tasks()[shown.task.usize()].spec.name;
                format!("{}{name}", "-".repeat(shown.depth))
            };
            assert_eq!((shown.iter().map(name).collect::<Vec<_>>(), rest), (to_owned(expected), more));
        }
    }

    fn to_owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn task_of(name: &&str) -> Arc<Task> {
        task(name, &[], Policy::default())
    }

    fn failed() -> Outcome {
        Outcome::Failed { exit_code: 1 }
    }

    #[test]
    fn parts_stand_below_their_whole_and_those_of_a_fan_out_are_only_counted() {
        let slotless = || Policy { slotless: true, ..Policy::default() };
        let mut told =
            Told::new(vec![task("each", &[], slotless()), task("sub", &[], slotless()), task_of(&"last")]);
        told.shows(9, &["each", "sub", "last"], 0);
        told.becomes(1, &["sub/a", "sub/b", "sub/c"]);
        told.becomes(0, &["each[x]", "each[y]", "each[z]"]);
        told.shows(9, &["each", "sub", "-sub/a", "-sub/b", "-sub/c", "last"], 0);
        told.shows(4, &["each", "sub", "last"], 3);
        told.shows(5, &["each", "sub", "-sub/a", "last"], 2);
        told.shows(1, &[], 6);
        told.ends(3, Outcome::Returned);
        told.ends(6, failed());
        let whole = told.tally.whole(TaskIndex(0)).expect("it has parts");
        assert_eq!((whole.share, whole.running), (Share { total: 3, done: 1, failed: 1 }, 2));
        told.shows(9, &["each", "sub", "-sub/b", "-sub/c", "last"], 0);
        let counts: Vec<_> = told.tally.counts().map(|(status, count)| (status.name(), count)).collect();
        assert_eq!(counts, [("failed", 1), ("running", 5), ("completed", 1)]);
        told.ends(7, Outcome::Returned);
        told.ends(8, Outcome::Returned);
        assert_eq!(told.tally.whole(TaskIndex(0)), None);
        told.say(Input::Cancel(CancelReason::Interrupted));
        told.shows(9, &[], 0);
    }

    #[test]
    fn a_task_keeps_its_row_while_it_is_tried_again_and_a_new_attempt_counts_its_own_parts() {
        let retry = Retry { max_attempts: 3, initial_delay_ms: 50, max_delay_ms: 50, base: 1.0, jitter: 0.0 };
        let tried_again = Policy { retry: Some(retry), ..Policy::default() };
        let may_be_lost = Policy { lost_attempts_allowed: 1, ..Policy::default() };
        let after = Policy { trigger: Trigger::AllDone, ..Policy::default() };
        let tasks = vec![task("a", &[], may_be_lost), task("b", &[], tried_again), task("c", &[0, 1], after)];
        let mut told = Told::new(tasks);
        told.becomes(0, &["a[1]", "a[2]"]);
        told.ends(1, failed());
        told.ends(4, Outcome::Returned);
        told.shows(9, &["a", "b"], 0);
        assert_eq!(told.tally.again_ms(TaskIndex(1)), Some(50));
        told.at_ms = 50;
        told.apply(follow(&told.state, 50));
        assert_eq!(told.tally.again_ms(TaskIndex(1)), None);
        told.ends(0, Outcome::Lost { why: "the worker is gone".into() });
        assert_eq!(told.tally.whole(TaskIndex(0)), None);
        told.becomes(0, &["a[1]", "a[2]", "a[3]"]);
        assert_eq!(told.tally.whole(TaskIndex(0)).map(|whole| whole.share.total), Some(3));
        told.shows(9, &["a", "b"], 0);
        for task in [5, 6, 7, 1, 2] {
            told.ends(task, Outcome::Returned);
        }
        told.shows(9, &[], 0);
    }

    #[test]
    fn items_are_told_from_names() {
        let rests = ["[x]", "/0", "/17", "/load", "/1a", "", "x[1]", "/"];
        let items: Vec<&str> = rests.into_iter().filter(|rest| is_item(rest)).collect();
        assert_eq!(items, ["[x]", "/0", "/17"]);
    }
}
