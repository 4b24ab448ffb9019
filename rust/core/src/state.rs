//! What is the case: the fold of the events. [`State::apply`] is the only way it changes.

mod task;
mod resume;
mod fold;

pub use task::{TaskState, TaskStatus};

use crate::event::{CancelReason, Created, Event, Fact, Origin, SkipReason, Verdict};
use crate::graph::Graph;
use crate::ids::{RunId, TaskIndex};
use crate::ready::{Ready, Use, claims_of};
use crate::spec::{Resource, Workflow};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

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
    /// Released tasks that may not have to run, and for which somebody has to be asked first.
    to_know: BTreeSet<TaskIndex>,
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
    /// When the last event was recorded.
    last_ms: i64,
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

    /// A run of a workflow that is only thought of: it has begun, and nothing has happened.
    pub fn thought_of(workflow: &Workflow) -> Self {
        let run = RunId::try_from("thought".to_owned()).expect("it has letters alone");
        let created = Fact::RunCreated(Box::new(Created {
            run,
            workflow: workflow.name().to_owned(),
            max_concurrency: 1,
            fail_fast: false,
            origin: Box::default(),
            resources: Vec::new(),
            timeout_ms: None,
            seed: 0,
        }));
        let declared = Fact::TasksDeclared { tasks: workflow.tasks().into(), parent: None };
        let events = (0u64..).zip([created, declared]).map(|(seq, fact)| Event { seq, at_ms: 0, fact });
        Self::fold(&events.collect::<Vec<_>>())
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

    /// The tasks of which the last attempt of a task consists, in order.
    pub fn parts(&self, task: TaskIndex) -> impl Iterator<Item = TaskIndex> {
        let last = self.families.get(&task).and_then(|families| families.last());
        let is_whole = self.task(task).is_some_and(TaskState::consists_of_tasks);
        last.filter(|_| is_whole).cloned().into_iter().flatten().map(TaskIndex)
    }

    /// How many slots are taken.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// How many tasks have not ended.
    pub fn open(&self) -> u32 {
        self.counts.open
    }

    /// Whether nothing more is to start as far as can be told now: what runs may still fail and be tried again, or make tasks.
    pub fn is_running_out(&self) -> bool {
        // The body of a flow makes tasks all the time.
        self.counts.idle == 0 && !self.tasks.first().is_some_and(|task| task.spec.policy.decides)
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

    /// When the last event was recorded.
    pub(crate) fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// The place the next event takes.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// How many tasks have this status.
    pub fn count(&self, status: TaskStatus) -> usize {
        self.tasks.iter().filter(|task| task.status == status).count()
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

    /// What there is only so much of.
    pub fn resources(&self) -> &[Resource] {
        self.use_of.resources()
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
    pub fn ran_ms(&self, task: TaskIndex, now_ms: i64) -> u64 {
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

    pub(crate) fn to_know(&self) -> &BTreeSet<TaskIndex> {
        &self.to_know
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

    /// The tasks to start now, without those held back: those tried again first, then by priority and order.
    pub(crate) fn to_start(
        &self,
        now_ms: i64,
        at_most: u32,
        held_back: &HashSet<TaskIndex>,
    ) -> Vec<TaskIndex> {
        let Some(header) = &self.header else {
            return Vec::new();
        };
        let mut free = header.max_concurrency.saturating_sub(self.running).min(at_most) as usize;
        if free == 0 && self.counts.idle_slotless == 0 {
            return Vec::new();
        }
        let mut use_of = Cow::Borrowed(&self.use_of);
        let mut again = Ready::default();
        for task in self.to_try_again(now_ms) {
            again.insert(task, &self.tasks[task.usize()].spec.policy);
        }
        let mut picked = Vec::new();
        again.pick(&mut picked, &mut free, &mut use_of, held_back, now_ms);
        self.ready.pick(&mut picked, &mut free, &mut use_of, held_back, now_ms);
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Input, Report, decide, follow};
    use crate::event::{Fact, Reused};
    use crate::outcome::{Ended, Outcome};
    use crate::spec::{Action, Command, Policy, Retry, Task, Trigger};
    use crate::value::{Encoding, Kept};
    use std::sync::Arc;

    /// A run of these tasks that has not begun.
    fn created(tasks: Vec<Arc<Task>>) -> Vec<Fact> {
        let created = Fact::RunCreated(Box::new(Created {
            run: RunId::try_from("r1".to_owned()).expect("letters and digits only"),
            workflow: "w".to_owned(),
            max_concurrency: 9,
            fail_fast: false,
            origin: Box::new(Origin::default()),
            resources: Vec::new(),
            timeout_ms: None,
            seed: 0,
        }));
        vec![created, Fact::TasksDeclared { tasks: tasks.into(), parent: None }]
    }

    fn task(action: &Action, policy: Policy) -> Arc<Task> {
        Arc::new(Task {
            name: "t".into(),
            action: action.clone(),
            needs: Box::default(),
            policy: Arc::new(policy),
        })
    }

    /// The same with needs.
    fn needing(task: &Task, needs: &[u32]) -> Arc<Task> {
        Arc::new(Task { needs: needs.iter().copied().map(TaskIndex).collect(), ..task.clone() })
    }

    fn function() -> Action {
        Action::function("f", None)
    }

    fn command() -> Action {
        Action::Command(Box::new(Command {
            argv: vec!["true".into()],
            cwd: "/".into(),
            ..Command::default()
        }))
    }

    /// Applies facts and all that follows from them, holding what the state keeps against what there is.
    fn apply(state: &mut State, mut facts: Vec<Fact>, at_ms: i64) {
        for _ in 0..100 {
            for fact in facts {
                state.apply(&Event { seq: state.next_seq(), at_ms, fact });
                assert_eq!(state.counts(), counted(state));
            }
            facts = follow(state, at_ms);
        }
        assert_eq!(facts, [], "what follows never ends");
        let is_told =
            state.doomed.is_empty() && state.finished_parents.is_empty() && state.orphans.is_empty();
        assert!(is_told, "nothing is left to tell: {:?}", state.orphans);
    }

    fn say(state: &mut State, input: Input, at_ms: i64) {
        let facts = decide(state, input, at_ms);
        apply(state, facts, at_ms);
    }

    /// The counts, by looking at every task.
    fn counted(state: &State) -> Counts {
        let count =
            |which: fn(&TaskState) -> bool| state.tasks.iter().filter(|task| which(task)).count() as u32;
        Counts {
            open: count(|task| !task.status.is_final()),
            open_regular: count(|task| !task.status.is_final() && !task.spec.policy.teardown),
            mortal_by_failure: count(|task| is_unstarted(task) && !task.outlives_failure),
            mortal_by_cancel: count(|task| is_idle(task) && !task.outlives_cancel),
            idle: count(is_idle),
            running_mortal: count(|task| task.is_running_function() && !task.outlives_cancel),
            running_functions: count(TaskState::is_running_function),
            idle_slotless: count(|task| is_idle(task) && task.spec.policy.slotless),
        }
    }

    fn is_unstarted(task: &TaskState) -> bool {
        task.status == TaskStatus::Pending || task.status == TaskStatus::Waiting
    }

    fn is_idle(task: &TaskState) -> bool {
        is_unstarted(task) || task.status == TaskStatus::Retrying
    }

    #[test]
    fn the_counts_are_what_counting_gives_after_every_event() {
        let actions = [function(), command(), Action::approval("well?", false)];
        let retry = Retry { max_attempts: 2, initial_delay_ms: 50, max_delay_ms: 50, base: 1.0, jitter: 0.0 };
        let policy = Policy { retry: Some(retry), ..Policy::default() };
        let policies = [
            Policy { teardown: true, ..policy.clone() },
            Policy { slotless: true, ..policy.clone() },
            Policy { trigger: Trigger::Always, ..policy.clone() },
            Policy { trigger: Trigger::AllDone, ..policy.clone() },
            policy,
        ];
        let mixed =
            actions.iter().flat_map(|action| policies.iter().map(|policy| task(action, policy.clone())));
        let mut state = State::default();
        apply(&mut state, created(mixed.collect()), 0);
        for at_ms in [10, 100] {
            for i in (0..state.tasks.len() as u32).step_by(2) {
                let attempt = state.tasks[i as usize].attempts;
                let failed = Report::new(TaskIndex(i), attempt, Outcome::Failed { exit_code: 1 });
                say(&mut state, Input::AttemptEnded(failed), at_ms);
            }
        }
        say(&mut state, Input::Cancel(CancelReason::Requested), 100);
        say(&mut state, Input::Kill, 100);
    }

    #[test]
    fn of_the_parts_of_a_task_only_those_that_go_on_are_asked_to_end_with_it() {
        let [part, other] = [function(), command()].map(|action| task(&action, Policy::default()));
        let mut state = State::default();
        apply(&mut state, created(vec![part.clone()]), 0);
        let whole = TaskIndex(0);
        let children = vec![part.clone(), other, part];
        say(&mut state, Input::Expanded { task: whole, attempt: 1, children }, 0);
        say(&mut state, Input::AttemptEnded(Report::new(TaskIndex(1), 1, Outcome::Returned)), 0);
        say(&mut state, Input::CancelTask(TaskIndex(2)), 0);
        let ended = decide(&state, Input::CancelTask(whole), 0);
        for fact in ended {
            state.apply(&Event { seq: state.next_seq(), at_ms: 0, fact });
        }
        assert_eq!(state.orphans, BTreeSet::from([TaskIndex(3)]));
    }

    #[test]
    fn what_is_to_be_skipped_is_not_to_start_while_that_is_still_to_be_told() {
        let policy =
            Policy { skip: Some("not today".to_owned()), trigger: Trigger::Always, ..Policy::default() };
        let first = task(&function(), policy);
        let second = needing(&first, &[0]);
        let mut state = State::default();
        let declared = created(vec![first, second]);
        let skipped = Fact::TaskSkipped {
            task: TaskIndex(0),
            reason: SkipReason::Declared { text: "not today".to_owned() },
        };
        for fact in declared.into_iter().chain([skipped]) {
            state.apply(&Event { seq: state.next_seq(), at_ms: 0, fact });
        }
        assert_eq!(state.to_start(0, u32::MAX, &HashSet::new()), []);
    }

    #[test]
    fn what_is_held_back_keeps_nobody_else_waiting() {
        let tasks = vec![task(&function(), Policy::default()), task(&function(), Policy::default())];
        let mut state = State::default();
        for fact in created(tasks) {
            state.apply(&Event { seq: state.next_seq(), at_ms: 0, fact });
        }
        let held_back = HashSet::from([TaskIndex(0)]);
        assert_eq!(state.to_start(0, 1, &held_back), [TaskIndex(1)]);
        assert_eq!(state.to_start(0, 1, &HashSet::new()), [TaskIndex(0)]);
    }

    #[test]
    fn a_task_that_need_not_run_has_the_value_that_it_gave_elsewhere() {
        let from = RunId::try_from("r0".to_owned()).expect("letters and digits only");
        let value = Some(Arc::new(Kept::Inline { encoding: Encoding::Json, text: "7".into() }));
        let first = task(&function(), Policy::default());
        let second = needing(&first, &[0]);
        let mut state = State::default();
        apply(&mut state, created(vec![first, second]), 0);
        let reused = Reused { from, saved_us: 5, key: None, logs: None, value: value.clone() };
        say(&mut state, Input::Reused { task: TaskIndex(1), reused: reused.clone() }, 0);
        let task = &state.tasks[1];
        assert_eq!(task.reused.as_deref(), Some(&reused));
        assert_eq!(task.ended.as_ref().map(|ended| &ended.value), Some(&value));
    }

    #[test]
    fn a_run_runs_out_once_nothing_waits_to_be_started() {
        let retry = Retry { max_attempts: 2, initial_delay_ms: 50, max_delay_ms: 50, base: 1.0, jitter: 0.0 };
        let first = task(&function(), Policy { retry: Some(retry), ..Policy::default() });
        let mut state = State::default();
        apply(&mut state, created(vec![first.clone(), needing(&first, &[0])]), 0);
        assert!(!state.is_running_out(), "the second waits for the first");
        say(&mut state, Input::AttemptEnded(Report::new(TaskIndex(0), 1, Outcome::Returned)), 0);
        assert!(state.is_running_out(), "the second runs");
        let failed = Outcome::Failed { exit_code: 1 };
        say(&mut state, Input::AttemptEnded(Report::new(TaskIndex(1), 1, failed)), 0);
        assert!(!state.is_running_out(), "it is to be tried again");
        apply(&mut state, Vec::new(), 50);
        assert!(state.is_running_out(), "it is");
        let mut flow = State::default();
        let body = Policy { decides: true, ..Policy::default() };
        apply(&mut flow, created(vec![task(&function(), body)]), 0);
        assert!(!flow.is_running_out(), "its body may declare tasks");
    }

    #[test]
    fn a_value_is_needed_while_something_that_has_not_ended_needs_it() {
        let plain = task(&function(), Policy::default());
        let mut state = State::default();
        // The first consists of two more; the second needs it, and the third; nobody needs the fourth.
        let tasks = vec![plain.clone(), needing(&plain, &[0, 2]), plain.clone(), plain.clone()];
        apply(&mut state, created(tasks), 0);
        let mut needed_after = |ended: u32| {
            let value = Some(Arc::new(Kept::Inline { encoding: Encoding::Json, text: "7".into() }));
            let task = TaskIndex(ended);
            let report = Report { task, attempt: 1, ended: Ended { value, ..Ended::new(Outcome::Returned) } };
            say(&mut state, Input::AttemptEnded(report), 0);
            if ended == 3 {
                let children = vec![plain.clone(), needing(&plain, &[4])];
                say(&mut state, Input::Expanded { task: TaskIndex(0), attempt: 1, children }, 0);
            }
            state.needed_values().map(|(task, _)| task.0).collect::<Vec<u32>>()
        };
        assert_eq!(needed_after(2), [2]);
        assert_eq!(needed_after(3), [2]);
        assert_eq!(needed_after(4), [2, 4]);
        assert_eq!(needed_after(5), [2, 4, 5]);
        assert_eq!(needed_after(1), [0; 0]);
    }

    #[test]
    fn the_parts_of_a_task_are_those_of_its_last_attempt() {
        let plain = task(&function(), Policy { lost_attempts_allowed: 1, ..Policy::default() });
        let mut state = State::default();
        apply(&mut state, created(vec![plain.clone(), plain.clone()]), 0);
        let whole = TaskIndex(0);
        let parts = |state: &State| state.parts(whole).map(|part| part.0).collect::<Vec<u32>>();
        let becomes = |attempt| Input::Expanded { task: whole, attempt, children: vec![plain.clone(); 2] };
        assert_eq!(parts(&state), [0; 0]);
        say(&mut state, becomes(1), 0);
        assert_eq!(parts(&state), [2, 3]);
        let lost = Outcome::Lost { why: "the worker is gone".into() };
        say(&mut state, Input::AttemptEnded(Report::new(whole, 1, lost)), 0);
        assert_eq!(parts(&state), [0; 0]);
        say(&mut state, becomes(2), 0);
        assert_eq!(parts(&state), [4, 5]);
    }

    #[test]
    fn accounts_of_a_task_are_equal_where_nothing_differs() {
        let mut state = State::default();
        apply(&mut state, created(vec![task(&function(), Policy::default())]), 0);
        let it = &state.tasks[0];
        let changed = |change: fn(&mut TaskState)| {
            let mut other = it.clone();
            change(&mut other);
            other
        };
        assert_eq!(changed(|other| other.lost = 0), *it);
        assert_ne!(changed(|other| other.spec = task(&command(), Policy::default())), *it);
        assert_ne!(changed(|other| other.attempts += 1), *it);
        assert_ne!(changed(|other| other.is_asked_to_end = true), *it);
        assert_ne!(changed(|other| other.lost = 1), *it);
    }
}
