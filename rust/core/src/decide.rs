//! What follows from what: plain functions from a state and an input to facts.
//!
//! [`decide`] says what an input means; [`follow`] says what the state by itself calls for, at some time. A loop that
//! records and applies the facts of both until `follow` has nothing more to say is a whole engine, and one that starts by
//! folding an old journal needs nothing else to go on.

use crate::event::{CancelReason, Fact, Origin, Reused, SkipReason, Verdict};
use crate::ids::TaskIndex;
use crate::outcome::{Ended, Outcome};
use crate::retry::delay_ms;
use crate::spec::{Action, Task};
use crate::state::{State, TaskState, TaskStatus};
use crate::value::Kept;
use std::collections::HashSet;
use std::sync::Arc;

/// Everything that can be said to a run from outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A worker reports how an attempt ended.
    AttemptEnded(Report),
    /// A worker reports that a task consists of tasks of its own, which now take its place.
    Expanded {
        /// The task.
        task: TaskIndex,
        /// Which try.
        attempt: u32,
        /// Its tasks. What they need are tasks of the run, or of these.
        children: Vec<Arc<Task>>,
    },
    /// The run gets tasks while it goes on.
    Declared(Vec<Arc<Task>>),
    /// Somebody says whether a task is to run, or why that cannot be said.
    ConditionAnswered {
        /// The task.
        task: TaskIndex,
        /// Whether.
        holds: Result<bool, Box<str>>,
    },
    /// Somebody says that a task is to run, and what it then does.
    Settled {
        /// The task.
        task: TaskIndex,
        /// What it does.
        action: Box<Action>,
    },
    /// Somebody answers a task that waits.
    Answered {
        /// The task.
        task: TaskIndex,
        /// Whether it goes on.
        approved: bool,
        /// What they say.
        comment: Box<str>,
        /// Who it is.
        actor: Box<str>,
        /// What they give.
        value: Option<Arc<Kept>>,
    },
    /// Somebody wants the run to end.
    Cancel(CancelReason),
    /// Somebody wants one task to end, with all that are part of it.
    CancelTask(TaskIndex),
    /// Somebody wants everything to end at once.
    Kill,
    /// An engine has taken over the run from one that is gone, or that ended it at somebody's wish.
    Resumed(Box<Origin>),
    /// A task need not run.
    Reused {
        /// The task.
        task: TaskIndex,
        /// What an earlier run recorded of it.
        reused: Reused,
    },
    /// A task has to run: nothing that was recorded of it holds.
    NotReusable {
        /// The task.
        task: TaskIndex,
        /// What it depends on, as one hash; `None` where that cannot be told.
        key: Option<Arc<str>>,
        /// What it depends on, each with a hash; or why that cannot be told.
        parts: Vec<(Box<str>, Box<str>)>,
    },
    /// What a task gave cannot be had any more, and somebody needs it.
    ValueLost {
        /// The task.
        task: TaskIndex,
        /// Why.
        why: Box<str>,
    },
    /// The run's processes have been stopped.
    Suspended,
    /// The run's processes go on.
    Continued,
    /// Every worker is done, and nothing is left of what they started.
    WorkersClosed {
        /// Processes that were ended with the run, and that no task could be blamed for.
        strays: u32,
        /// Processes that could not be ended.
        survivors: Vec<String>,
    },
}

/// A worker's report on one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The task.
    pub task: TaskIndex,
    /// Which try.
    pub attempt: u32,
    /// How it ended. A wall time of 0 is for the core to fill in.
    pub ended: Ended,
}

impl Report {
    /// A report of nothing but the outcome.
    pub fn new(task: TaskIndex, attempt: u32, outcome: Outcome) -> Self {
        Self { task, attempt, ended: Ended::new(outcome) }
    }
}

/// Says what an input means for a run, at a time in milliseconds. An answer that comes late or twice means nothing.
pub fn decide(state: &State, input: Input, now_ms: i64) -> Vec<Fact> {
    // What has not begun, or is over, is not to be changed.
    let is_over = state.end().is_some_and(|_| !is_to_be_resumed(&input, state));
    if state.header().is_none() || is_over {
        return Vec::new();
    }
    match input {
        Input::Resumed(origin) => resumed(state, origin, now_ms),
        Input::NotReusable { task, key, parts } => {
            match state.task(task).is_some_and(|it| it.is_waiting_to_be_known(state, task)) {
                true => vec![Fact::ReuseDeclined { task, key, parts }],
                false => Vec::new(),
            }
        }
        Input::Reused { task, reused } => {
            let is_new = |task: &TaskState| task.status == TaskStatus::Pending && task.attempts == 0;
            let is_awaited = |it: &TaskState| is_new(it) || it.is_waiting_to_be_known(state, task);
            match state.task(task).is_some_and(is_awaited) {
                true => vec![Fact::TaskReused { task, reused: Arc::new(reused) }],
                false => Vec::new(),
            }
        }
        Input::AttemptEnded(report) => match running(state, report.task, report.attempt) {
            // Those of its own decide how it ends.
            Some(task) if task.has_open_children() && report.ended.outcome == Outcome::Returned => Vec::new(),
            Some(_) => vec![ended(state, report, now_ms)],
            None => Vec::new(),
        },
        Input::Expanded { task, attempt, children } => match running(state, task, attempt) {
            Some(task) if task.has_open_children() => Vec::new(),
            Some(_) if children.is_empty() => {
                vec![ended(state, Report::new(task, attempt, Outcome::Returned), now_ms)]
            }
            Some(_) => vec![Fact::TasksDeclared { tasks: children.into(), parent: Some(task) }],
            None => Vec::new(),
        },
        Input::Declared(tasks) if tasks.is_empty() || state.open() == 0 => Vec::new(),
        Input::Declared(tasks) => vec![Fact::TasksDeclared { tasks: tasks.into(), parent: None }],
        Input::ValueLost { task, why } => {
            match state.task(task).is_some_and(|task| task.status == TaskStatus::Completed) {
                true => vec![Fact::ValueLost { task, why }],
                false => Vec::new(),
            }
        }
        Input::ConditionAnswered { task, holds } => match state.task(task) {
            Some(it) if it.is_waiting_for_condition(state, task) => vec![match holds {
                Ok(true) => Fact::ConditionHeld { task },
                Ok(false) => Fact::TaskSkipped { task, reason: SkipReason::Condition },
                Err(why) => Fact::TaskFailed { task, why },
            }],
            _ => Vec::new(),
        },
        Input::Settled { task, action } => match state.task(task) {
            Some(it) if it.is_waiting_for_condition(state, task) => {
                vec![Fact::ActionSettled { task, action }, Fact::ConditionHeld { task }]
            }
            _ => Vec::new(),
        },
        Input::Answered { task, approved, comment, actor, value } => {
            match state.task(task).is_some_and(|task| task.status == TaskStatus::Waiting) {
                true => vec![Fact::WaitAnswered { task, approved, comment, actor, value }],
                false => Vec::new(),
            }
        }
        Input::Cancel(reason) if state.cancel().is_none() => vec![Fact::CancelRequested { reason }],
        Input::CancelTask(task) => cancel_task(state, task, now_ms),
        Input::Kill if !state.is_killed() => {
            let cancel = Fact::CancelRequested { reason: CancelReason::Requested };
            let cancel = state.cancel().is_none().then_some(cancel);
            cancel.into_iter().chain([Fact::KillRequested]).collect()
        }
        Input::Suspended if !state.is_suspended() => vec![Fact::RunSuspended],
        Input::Continued if state.is_suspended() => vec![Fact::RunContinued],
        Input::Cancel(_) | Input::Kill | Input::Suspended | Input::Continued => Vec::new(),
        Input::WorkersClosed { strays, survivors } if state.open() == 0 => {
            vec![Fact::RunEnded { verdict: verdict(state), strays, survivors }]
        }
        Input::WorkersClosed { .. } => Vec::new(),
    }
}

/// A run that was ended at somebody's wish can be taken up again; one that ended by itself is over.
fn is_to_be_resumed(input: &Input, state: &State) -> bool {
    matches!(input, Input::Resumed(_)) && state.end().is_some_and(|end| end.verdict == Verdict::Cancelled)
}

/// What was under way is lost, and tried again whatever the policy, unless somebody asked that very task to end: nobody
/// but the engine is to blame. A task that consists of others goes on with them.
fn resumed(state: &State, origin: Box<Origin>, now_ms: i64) -> Vec<Fact> {
    let is_lost = |task: &TaskState| task.status == TaskStatus::Running && !task.consists_of_tasks();
    let lost = those(state, is_lost).map(|task| {
        let why = "the engine ended while it was being carried out".into();
        let it = &state.tasks()[task.usize()];
        let report = Report::new(task, it.attempts, Outcome::Lost { why });
        ending(state, report, (!it.is_asked_to_end()).then_some(now_ms), state.last_ms())
    });
    std::iter::once(Fact::RunResumed { origin }).chain(lost).collect()
}

/// Says what the state by itself calls for at a time in milliseconds: skips that travel, ends of what ran out of time or
/// will not start, attempts to start.
///
/// Nothing when the run waits for its workers, or for a time to come, or is through.
pub fn follow(state: &State, now_ms: i64) -> Vec<Fact> {
    follow_within(state, now_ms, u32::MAX, &HashSet::new())
}

/// The same where at most so many more tasks may take a slot, since other runs have the others, and some may not start yet,
/// since nobody knows how to carry them out.
pub fn follow_within(state: &State, now_ms: i64, free: u32, held_back: &HashSet<TaskIndex>) -> Vec<Fact> {
    let Some(header) = state.header() else {
        return Vec::new();
    };
    if state.end().is_some() || state.open() == 0 {
        return Vec::new();
    }
    let skips = state.doomed().iter();
    let mut facts: Vec<Fact> =
        skips.map(|(task, reason)| Fact::TaskSkipped { task: *task, reason: reason.clone() }).collect();
    if !facts.is_empty() {
        return facts;
    }
    facts.extend(state.orphans().iter().flat_map(|task| cancel_task(state, *task, now_ms)));
    if !facts.is_empty() {
        return facts;
    }
    facts.extend(state.finished_parents().iter().map(|task| {
        let parent = &state.tasks()[task.usize()];
        let outcome = parent.failed_child().map_or(Outcome::Returned, |child| Outcome::ChildFailed { child });
        ended(state, Report::new(*task, parent.attempts, outcome), now_ms)
    }));
    if !facts.is_empty() {
        return facts;
    }
    facts = endings(state, now_ms);
    if !facts.is_empty() {
        return facts;
    }
    if let Some(failed) = state.first_failure().filter(|_| header.fail_fast)
        && state.counts().mortal_by_failure > 0
    {
        let is_mortal = |task: &TaskState| {
            matches!(task.status, TaskStatus::Pending | TaskStatus::Waiting) && !task.outlives_failure()
        };
        return those(state, is_mortal)
            .map(|task| Fact::TaskSkipped { task, reason: SkipReason::FailFast { failed } })
            .collect();
    }
    if state.is_suspended() {
        return Vec::new();
    }
    facts.extend(state.due(now_ms).filter_map(|task| run_out(state, task, now_ms)));
    if !facts.is_empty() {
        return facts;
    }
    facts.extend(state.to_ask().iter().map(|task| Fact::ConditionAsked { task: *task }));
    facts.extend(state.to_know().iter().map(|task| Fact::ReuseAsked { task: *task }));
    facts.extend(state.to_wait().iter().map(|task| Fact::WaitStarted { task: *task }));
    if !facts.is_empty() {
        return facts;
    }
    let attempt = |task: TaskIndex| state.tasks()[task.usize()].attempts + 1;
    let to_start = state.to_start(now_ms, free, held_back);
    to_start.into_iter().map(|task| Fact::AttemptStarted { task, attempt: attempt(task) }).collect()
}

/// Whether these facts are attempts that start, and nothing else: from what [`follow`] says last nothing follows.
pub fn are_starts(facts: &[Fact]) -> bool {
    facts.iter().all(|fact| matches!(fact, Fact::AttemptStarted { .. }))
}

/// What ends because the run is to end.
fn endings(state: &State, now_ms: i64) -> Vec<Fact> {
    if state.cancel().is_none() {
        return match state.is_late(now_ms) {
            true => vec![Fact::CancelRequested { reason: CancelReason::TimedOut }],
            false => Vec::new(),
        };
    }
    let is_killed = state.is_killed();
    let counts = state.counts();
    let (idle, functions) = match is_killed {
        true => (counts.idle, counts.running_functions),
        false => (counts.mortal_by_cancel, counts.running_mortal),
    };
    let is_mortal = |task: &TaskState| is_killed || !task.outlives_cancel();
    let mut facts = Vec::new();
    if idle > 0 {
        let is_idle =
            |status| matches!(status, TaskStatus::Pending | TaskStatus::Waiting | TaskStatus::Retrying);
        let those = those(state, |task| is_idle(task.status) && is_mortal(task));
        facts.extend(those.map(|task| Fact::TaskCancelled { task }));
    }
    if functions > 0 {
        let those = those(state, |task| task.is_running_function() && is_mortal(task));
        let report =
            |task: TaskIndex| Report::new(task, state.tasks()[task.usize()].attempts, Outcome::Cancelled);
        facts.extend(those.map(|task| ended(state, report(task), now_ms)));
    }
    facts
}

fn those<'a>(
    state: &'a State,
    which: impl Fn(&TaskState) -> bool + 'a,
) -> impl Iterator<Item = TaskIndex> + 'a {
    let tasks = (0u32..).map(TaskIndex).zip(state.tasks());
    tasks.filter(move |(_, task)| which(task)).map(|(index, _)| index)
}

/// What becomes of a task whose time has come, where it is not another attempt.
fn run_out(state: &State, task: TaskIndex, now_ms: i64) -> Option<Fact> {
    let it = state.task(task)?;
    match it.status {
        TaskStatus::Waiting => Some(Fact::WaitTimedOut { task }),
        TaskStatus::Running => {
            let limit_ms = it.spec.policy.limits.timeout_ms.unwrap_or_default();
            Some(ended(state, Report::new(task, it.attempts, Outcome::TimedOut { limit_ms }), now_ms))
        }
        TaskStatus::Pending
        | TaskStatus::Retrying
        | TaskStatus::Completed
        | TaskStatus::Failed
        | TaskStatus::TimedOut
        | TaskStatus::Cancelled
        | TaskStatus::Skipped => None,
    }
}

fn cancel_task(state: &State, task: TaskIndex, now_ms: i64) -> Vec<Fact> {
    let Some(it) = state.task(task).filter(|task| !task.status.is_final() && !task.is_asked_to_end()) else {
        return Vec::new();
    };
    let mut facts = vec![Fact::TaskCancelRequested { task }];
    if it.is_running_function() {
        facts.push(ended(state, Report::new(task, it.attempts, Outcome::Cancelled), now_ms));
    } else if it.status != TaskStatus::Running {
        facts.push(Fact::TaskCancelled { task });
    }
    facts
}

/// The task, if this attempt of it is being carried out.
fn running(state: &State, task: TaskIndex, attempt: u32) -> Option<&TaskState> {
    state.task(task).filter(|task| task.status == TaskStatus::Running && task.attempts == attempt)
}

/// The end of an attempt, with what becomes of the task.
fn ended(state: &State, report: Report, now_ms: i64) -> Fact {
    let retry_at_ms = retry_at_ms(state, report.task, &report.ended.outcome, now_ms);
    ending(state, report, retry_at_ms, now_ms)
}

fn ending(state: &State, report: Report, retry_at_ms: Option<i64>, now_ms: i64) -> Fact {
    let Report { task, attempt, mut ended } = report;
    if ended.usage.wall_us == 0 {
        ended.usage.wall_us = state.ran_ms(task, now_ms).saturating_mul(1000);
    }
    Fact::AttemptEnded { task, attempt, retry_at_ms, ended: Arc::new(ended) }
}

/// When a task is to be tried again after an attempt that ended so.
fn retry_at_ms(state: &State, task: TaskIndex, outcome: &Outcome, now_ms: i64) -> Option<i64> {
    let it = state.task(task)?;
    let policy = &it.spec.policy;
    if state.is_to_end(task) {
        return None;
    }
    match outcome {
        Outcome::Lost { .. } => (it.lost < policy.lost_attempts_allowed).then_some(now_ms),
        Outcome::Unfinished => {
            let repeat = policy.repeat.filter(|repeat| it.repeats() + 1 < repeat.max_times)?;
            Some(now_ms.saturating_add_unsigned(repeat.delay_ms))
        }
        outcome if outcome.is_retryable() => {
            let failures = it.failures() + 1;
            let retry = policy.retry.filter(|retry| failures < retry.max_attempts)?;
            let seed = state.header()?.seed;
            Some(now_ms.saturating_add_unsigned(delay_ms(&retry, failures, seed, task)))
        }
        _ => None,
    }
}

impl TaskState {
    /// Whether somebody was asked whether it need not run, and has not answered.
    fn is_waiting_to_be_known(&self, state: &State, task: TaskIndex) -> bool {
        self.status == TaskStatus::Pending
            && self.spec.policy.reuse.is_some()
            && self.is_let_go()
            && !self.has_to_run()
            && !state.to_know().contains(&task)
    }

    fn is_waiting_for_condition(&self, state: &State, task: TaskIndex) -> bool {
        self.status == TaskStatus::Pending
            && self.spec.policy.has_condition
            && self.is_released()
            && !state.to_ask().contains(&task)
            && !self.is_let_go()
    }
}

fn verdict(state: &State) -> Verdict {
    let any = |wanted| state.tasks().iter().any(|task| task.status == wanted);
    let decisive = state.tasks().iter().find(|task| task.spec.policy.decides).map(|task| task.status);
    match state.cancel() {
        Some(CancelReason::TimedOut) => Verdict::Failed,
        _ if decisive == Some(TaskStatus::Completed) => Verdict::Succeeded,
        _ if decisive.is_some_and(TaskStatus::is_failure) => Verdict::Failed,
        Some(_) if any(TaskStatus::Cancelled) => Verdict::Cancelled,
        _ if state.first_failure().is_some() || any(TaskStatus::Cancelled) => Verdict::Failed,
        _ => Verdict::Succeeded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Created, Event, Origin};
    use crate::ids::RunId;
    use crate::spec::{Action, Policy};

    /// The verdict of a run of a decisive task and two others, after reports on the three and a cancel where that is `None`.
    fn verdict_after(reports: [Option<Outcome>; 3]) -> Verdict {
        let task = |decides| {
            let policy = Arc::new(Policy { decides, ..Policy::default() });
            let action = Action::function("f", None);
            Arc::new(Task { name: "t".into(), action, needs: Box::default(), policy })
        };
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
        let mut state = State::default();
        let record = |state: &mut State, mut facts: Vec<Fact>| {
            for _ in 0..100 {
                for fact in facts {
                    state.apply(&Event { seq: state.next_seq(), at_ms: 0, fact });
                }
                facts = follow(state, 0);
            }
            assert_eq!(facts, [], "what follows never ends");
        };
        let tasks = vec![task(true), task(false), task(false)];
        record(&mut state, vec![created, Fact::TasksDeclared { tasks: tasks.into(), parent: None }]);
        for (task, report) in (0..).map(TaskIndex).zip(reports) {
            let input = report.map_or(Input::Cancel(CancelReason::Requested), |outcome| {
                Input::AttemptEnded(Report::new(task, 1, outcome))
            });
            let facts = decide(&state, input, 0);
            record(&mut state, facts);
        }
        verdict(&state)
    }

    #[test]
    fn a_run_goes_as_the_task_does_that_decides() {
        let raised =
            || Some(Outcome::Raised { error: "KeyError".into(), message: Box::default(), retryable: false });
        let returned = || Some(Outcome::Returned);
        assert_eq!(verdict_after([returned(), raised(), returned()]), Verdict::Succeeded);
        assert_eq!(verdict_after([raised(), returned(), returned()]), Verdict::Failed);
        assert_eq!(verdict_after([raised(), returned(), None]), Verdict::Failed);
        assert_eq!(verdict_after([None, returned(), returned()]), Verdict::Cancelled);
    }
}
