//! How long a run will still take, where each task takes as long as it did before: the core decides what starts when, on
//! paper, and what is known from earlier runs says when it ends.

use super::course::{Course, Doing};
use super::ran_us;
use super::simulation::over;
use dirigent_core::decide::follow;
use dirigent_core::event::{Event, Fact, SkipReason};
use dirigent_core::outcome::Outcome;
use dirigent_core::state::TaskStatus;
use dirigent_core::{State, TaskIndex};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

/// What has taken twice as long as ever and this much more, in microseconds, is not as it was: nobody knows when it ends.
const FAR_TOO_LONG_US: u64 = 10_000_000;

/// How long the tasks of a workflow took in earlier runs of it: the median of each.
#[derive(Clone, Debug, Default)]
pub struct TimesBefore {
    /// By name, in microseconds. What need not run takes no time.
    tasks: HashMap<Arc<str>, u64>,
    /// Of the parts of a task, by its name.
    parts: HashMap<Arc<str>, u64>,
}

impl TimesBefore {
    /// Of earlier runs, each by its events. Of a task counts how long it took where it completed.
    pub fn new(runs: impl IntoIterator<Item = Vec<Event>>) -> Self {
        let (mut tasks, mut parts) = (HashMap::new(), HashMap::new());
        for course in runs.into_iter().filter_map(|events| Course::new(&events)) {
            for (index, task) in (0u32..).map(TaskIndex).zip(course.state.tasks()) {
                let Some(took_us) = took_us(&course, index) else { continue };
                tasks.entry(Arc::clone(&task.spec.name)).or_insert_with(Vec::new).push(took_us);
                if let Some(whole) = task.parent {
                    let name = &course.state.tasks()[whole.usize()].spec.name;
                    parts.entry(Arc::clone(name)).or_insert_with(Vec::new).push(took_us);
                }
            }
        }
        let medians = |times: HashMap<Arc<str>, Vec<u64>>| {
            times.into_iter().map(|(name, times)| (name, median_us(times))).collect()
        };
        Self { tasks: medians(tasks), parts: medians(parts) }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// How long a task takes; one that is new among the parts of another, as long as those did.
    fn of(&self, state: &State, task: TaskIndex) -> Option<u64> {
        let it = state.task(task)?;
        let as_part = || self.parts.get(&state.task(it.parent?)?.spec.name);
        self.tasks.get(&it.spec.name).or_else(as_part).copied()
    }
}

/// How long a task took in all its attempts; `None` where that says nothing of how long it takes when it completes.
fn took_us(course: &Course, index: TaskIndex) -> Option<u64> {
    let task = &course.state.tasks()[index.usize()];
    let lane = &course.lanes[index.usize()];
    let spans = || lane.spans.iter().map(|at| &course.spans[*at]).filter(|span| span.doing != Doing::Waiting);
    match (task.status, task.skipped.as_deref()) {
        (TaskStatus::Skipped, Some(SkipReason::Condition | SkipReason::Declared { .. })) => Some(0),
        // Nothing that it depends on had changed; what another run had done already is told by that one.
        (TaskStatus::Completed, _) if task.reused.is_some() => task.key.as_ref().map(|_| 0),
        (TaskStatus::Completed, _) if task.consists_of_tasks() => {
            let took_ms = lane.ended?.ms - spans().next()?.from.ms;
            Some(u64::try_from(took_ms).unwrap_or(0) * 1000)
        }
        (TaskStatus::Completed, _) => {
            spans().next()?;
            Some(spans().map(|span| ran_us(course, span)).sum())
        }
        _ => None,
    }
}

fn median_us(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    let middle = times.len() / 2;
    if times.len() % 2 == 1 { times[middle] } else { u64::midpoint(times[middle - 1], times[middle]) }
}

/// How long a run will still take, in milliseconds, with the slots and resources that it has. `None` where that cannot be
/// told: of a task that is still to come nothing is known, or somebody has to answer, or the run is to end before it is
/// through.
pub fn time_left_ms(state: &State, now_ms: i64, before: &TimesBefore) -> Option<u64> {
    if before.is_empty() || state.end().is_some() || state.cancel().is_some() || state.is_suspended() {
        return None;
    }
    let mut paper = Paper { state: state.clone(), now_us: now_ms * 1000, to_come: BinaryHeap::new(), before };
    for (task, it) in (0u32..).map(TaskIndex).zip(state.tasks()) {
        match it.status {
            TaskStatus::Waiting => return None,
            // Where it consists of tasks, the core says by itself when it is through.
            TaskStatus::Running if !it.has_open_children() => {
                let ran_us = state.ran_ms(task, now_ms) * 1000;
                let took_us = before.of(state, task)?;
                if ran_us > 2 * took_us + FAR_TOO_LONG_US {
                    return None;
                }
                paper.ends_in(task, took_us.saturating_sub(ran_us));
            }
            _ => {}
        }
    }
    paper.run()?;
    u64::try_from(paper.now_us / 1000 - now_ms).ok()
}

/// A run that goes on on paper.
struct Paper<'a> {
    state: State,
    /// Finer than the clock of the core, so that what takes less than a millisecond counts.
    now_us: i64,
    to_come: BinaryHeap<Reverse<(i64, TaskIndex)>>,
    before: &'a TimesBefore,
}

impl Paper<'_> {
    fn now_ms(&self) -> i64 {
        self.now_us / 1000
    }

    fn ends_in(&mut self, task: TaskIndex, us: u64) {
        self.to_come.push(Reverse((self.now_us.saturating_add_unsigned(us), task)));
    }

    fn apply(&mut self, fact: Fact) {
        let event = Event { seq: self.state.next_seq(), at_ms: self.now_ms(), fact };
        self.state.apply(&event);
    }

    fn run(&mut self) -> Option<()> {
        loop {
            loop {
                let facts = follow(&self.state, self.now_ms());
                if facts.is_empty() {
                    break;
                }
                for fact in facts {
                    self.apply(fact.clone());
                    self.answer(&fact)?;
                }
            }
            if self.state.open() == 0 {
                return Some(());
            }
            let ended = self.to_come.peek().map(|Reverse((us, _))| *us);
            let due = self.state.next_due_ms(self.now_ms()).map(|ms| ms * 1000);
            self.now_us = ended.into_iter().chain(due).min()?.max(self.now_us);
            while let Some(Reverse((us, task))) = self.to_come.peek().copied() {
                if us > self.now_us {
                    break;
                }
                self.to_come.pop();
                let it = &self.state.tasks()[task.usize()];
                if it.status == TaskStatus::Running {
                    let fact = over(task, it.attempts, Outcome::Returned, None);
                    self.apply(fact);
                }
            }
        }
    }

    /// What comes from outside once the core has said something.
    fn answer(&mut self, fact: &Fact) -> Option<()> {
        match fact {
            Fact::AttemptStarted { task, .. } => self.ends_in(*task, self.before.of(&self.state, *task)?),
            Fact::ConditionAsked { task } => self.apply(Fact::ConditionHeld { task: *task }),
            Fact::ReuseAsked { task } => {
                self.apply(Fact::ReuseDeclined { task: *task, key: None, parts: Vec::new() });
            }
            // Nobody knows how long that takes.
            Fact::WaitStarted { .. } => return None,
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dirigent_core::RunId;
    use dirigent_core::event::Created;
    use dirigent_core::spec::{Action, Claim, Policy, Resource, Task};

    const START_MS: i64 = 1_000_000;

    fn action() -> Action {
        Action::function("f", None)
    }

    fn task(name: &str, needs: &[u32], policy: Policy) -> Arc<Task> {
        let needs = needs.iter().copied().map(TaskIndex).collect();
        Arc::new(Task { name: name.into(), action: action(), needs, policy: Arc::new(policy) })
    }

    /// A run that has begun, with so many slots, and two of the only resource.
    fn begun(slots: u32, tasks: Vec<Arc<Task>>) -> Vec<Fact> {
        let created = Fact::RunCreated(Box::new(Created {
            run: RunId::try_from("r1".to_owned()).expect("letters and digits only"),
            workflow: "w".to_owned(),
            max_concurrency: slots,
            fail_fast: false,
            origin: Box::default(),
            resources: vec![Resource { name: "gpu".into(), capacity: 2, per_ms: None }],
            timeout_ms: None,
            seed: 0,
        }));
        vec![created, Fact::TasksDeclared { tasks: tasks.into(), parent: None }]
    }

    fn events(facts: Vec<(i64, Fact)>) -> Vec<Event> {
        let numbered = (0u64..).zip(facts);
        numbered.map(|(seq, (ms, fact))| Event { seq, at_ms: START_MS + ms, fact }).collect()
    }

    fn at_once(facts: Vec<Fact>) -> Vec<(i64, Fact)> {
        facts.into_iter().map(|fact| (0, fact)).collect()
    }

    fn over(task: u32) -> Fact {
        super::over(TaskIndex(task), 1, Outcome::Returned, None)
    }

    fn started(task: u32) -> Fact {
        Fact::AttemptStarted { task: TaskIndex(task), attempt: 1 }
    }

    /// What is known of tasks, each as a name and seconds.
    fn before(times: &[(&str, u64)]) -> TimesBefore {
        let tasks = times.iter().map(|(name, s)| ((*name).into(), s * 1_000_000)).collect();
        TimesBefore { tasks, parts: HashMap::new() }
    }

    /// Nothing has started of these tasks.
    #[track_caller]
    fn check(slots: u32, tasks: Vec<Arc<Task>>, times: &[(&str, u64)], expected_s: Option<u64>) {
        let state = State::fold(&events(at_once(begun(slots, tasks))));
        let left_ms = time_left_ms(&state, START_MS, &before(times));
        assert_eq!(left_ms, expected_s.map(|s| s * 1000));
    }

    fn plain(name: &str, needs: &[u32]) -> Arc<Task> {
        task(name, needs, Policy::default())
    }

    #[test]
    fn tasks_share_the_slots_and_wait_for_what_they_need() {
        let times = [("a", 4), ("b", 2), ("c", 3)];
        let apart = || vec![plain("a", &[]), plain("b", &[]), plain("c", &[])];
        check(1, apart(), &times, Some(9));
        check(2, apart(), &times, Some(5));
        check(9, apart(), &times, Some(4));
        check(9, vec![plain("a", &[]), plain("b", &[0]), plain("c", &[0])], &times, Some(7));
    }

    #[test]
    fn a_resource_holds_up_what_claims_it() {
        let claims = || Policy { claims: vec![Claim { resource: 0, amount: 2 }], ..Policy::default() };
        let tasks = vec![task("a", &[], claims()), task("b", &[], claims()), plain("c", &[])];
        check(9, tasks, &[("a", 4), ("b", 2), ("c", 3)], Some(6));
    }

    #[test]
    fn nothing_is_said_where_something_is_not_known() {
        check(2, vec![plain("a", &[]), plain("new", &[0])], &[("a", 4)], None);
        check(2, vec![plain("a", &[])], &[], None);
        let asks =
            Arc::new(Task { action: Action::approval("well?", false), ..(*plain("ok", &[0])).clone() });
        check(2, vec![plain("a", &[]), asks], &[("a", 4), ("ok", 0)], None);
    }

    #[test]
    fn what_runs_already_takes_what_is_left_of_its_time() {
        let tasks = vec![plain("a", &[]), plain("b", &[0])];
        let mut facts = at_once(begun(1, tasks));
        facts.push((0, started(0)));
        let state = State::fold(&events(facts));
        let times = before(&[("a", 4), ("b", 2)]);
        let left_ms = |after_ms| time_left_ms(&state, START_MS + after_ms, &times);
        assert_eq!([left_ms(0), left_ms(1500), left_ms(9000)], [Some(6000), Some(4500), Some(2000)]);
        assert_eq!([left_ms(18_000), left_ms(18_001)], [Some(2000), None]);
    }

    #[test]
    fn a_new_part_takes_as_long_as_the_parts_did() {
        let whole = || task("each", &[], Policy { slotless: true, ..Policy::default() });
        let part = |n: u32| plain(&format!("each[{n}]"), &[]);
        let expanded =
            |count| Fact::TasksDeclared { tasks: (0..count).map(part).collect(), parent: Some(TaskIndex(0)) };
        let mut facts = at_once(begun(1, vec![whole()]));
        facts.extend([(0, started(0)), (0, expanded(2))]);
        let now = || State::fold(&events([facts.clone(), vec![]].concat()));
        let mut earlier = facts.clone();
        earlier.extend([
            (0, started(1)),
            (3000, over(1)),
            (3000, started(2)),
            (6000, over(2)),
            (6000, over(0)),
        ]);
        let times = TimesBefore::new([events(earlier)]);
        assert_eq!(time_left_ms(&now(), START_MS, &times), Some(6000));
        // One that is not there yet takes as long as all of it did.
        let unexpanded = State::fold(&events(facts[..3].to_vec()));
        assert_eq!(time_left_ms(&unexpanded, START_MS, &times), Some(6000));
        facts[3] = (0, expanded(5));
        let state = State::fold(&events(facts));
        assert_eq!(time_left_ms(&state, START_MS, &times), Some(15_000));
    }

    #[test]
    fn of_several_runs_the_median_counts() {
        let run = |took_ms| {
            let mut facts = at_once(begun(1, vec![plain("a", &[])]));
            facts.extend([(0, started(0)), (took_ms, over(0))]);
            events(facts)
        };
        let left_ms = |runs: &[i64]| {
            let times = TimesBefore::new(runs.iter().map(|ms| run(*ms)));
            let state = State::fold(&events(at_once(begun(1, vec![plain("a", &[])]))));
            time_left_ms(&state, START_MS, &times)
        };
        assert_eq!(left_ms(&[1000, 90_000, 3000]), Some(3000));
        assert_eq!(left_ms(&[1000, 3000]), Some(2000));
        assert_eq!(left_ms(&[]), None);
    }
}
