//! The rules of a run, held against every fact before it counts, and against every state in which nothing more follows.

use crate::record::{Item, Needs, Record, is_failure};
use dirigent_core::State;
use dirigent_core::decide::Input;
use dirigent_core::event::{CancelReason, Event, Fact, SkipReason, Verdict};
use dirigent_core::ids::TaskIndex;
use dirigent_core::outcome::{Ended, Outcome};
use dirigent_core::state::TaskStatus;
use std::cmp::Reverse;

/// Holds the rules against an event that is about to count. `input` is what it came from; `None` where it followed by itself.
pub(crate) fn check_event(record: &Record, event: &Event, input: Option<&Input>) {
    assert!(!record.is_over, "nothing happens after the end");
    match &event.fact {
        Fact::AttemptStarted { task, attempt } => check_start(record, task.usize(), *attempt, event.at_ms),
        Fact::AttemptEnded { task, attempt, .. } => {
            let item = &record.items[task.usize()];
            let is_running = item.is(TaskStatus::Running) && item.attempts == *attempt;
            assert!(is_running, "an attempt ends once: {task}#{attempt}");
            check_end(record, task.usize(), event, input);
        }
        Fact::TaskSkipped { task, reason } => check_skip(record, task.usize(), reason),
        Fact::TaskCancelled { task } => {
            let item = &record.items[task.usize()];
            let is_idle = !item.is_final() && !item.is(TaskStatus::Running);
            assert!(
                is_idle && record.is_to_end(task.usize()),
                "only what is to end and does not run is cancelled: {task}"
            );
        }
        Fact::TaskCancelRequested { task } => {
            let item = &record.items[task.usize()];
            assert!(!item.is_final() && !item.is_asked_to_end, "a task is asked to end once: {task}");
            let is_wanted = matches!(input, Some(Input::CancelTask(wanted)) if wanted == task);
            assert!(is_wanted || record.is_orphan(task.usize()), "nobody asked task {task} to end");
        }
        Fact::ConditionAsked { task } => {
            let item = &record.items[task.usize()];
            assert!(item.policy().has_condition && !item.is_asked, "a condition is asked once: {task}");
            check_begin(record, task.usize());
        }
        Fact::ActionSettled { task, .. } | Fact::ConditionHeld { task } => {
            check_answered(record, task.usize())
        }
        Fact::TaskFailed { task, .. } => check_answered(record, task.usize()),
        Fact::WaitStarted { task } => {
            let item = &record.items[task.usize()];
            assert!(item.is_approval(), "only approvals wait: {task}");
            assert!(!item.policy().has_condition || item.is_held, "the condition comes first: {task}");
            check_begin(record, task.usize());
        }
        Fact::WaitAnswered { task, .. } => {
            assert!(record.items[task.usize()].is(TaskStatus::Waiting), "task {task} does not wait");
        }
        Fact::WaitTimedOut { task } => {
            assert!(record.items[task.usize()].is(TaskStatus::Waiting), "task {task} does not wait");
            let is_due = record.is_due(task.usize(), event.at_ms) && record.suspended_at_ms.is_none();
            assert!(is_due, "task {task} has time left");
        }
        Fact::CancelRequested { reason } => {
            assert!(record.cancel.is_none(), "a run is cancelled once");
            let is_late = record.suspended_at_ms.is_none()
                && record.deadline_ms.is_some_and(|ms| ms <= record.run_ms(event.at_ms));
            let is_asked = matches!(input, Some(Input::Cancel(_) | Input::Kill));
            assert!(is_asked || (is_late && *reason == CancelReason::TimedOut), "nobody cancelled the run");
        }
        Fact::KillRequested => assert!(!record.is_killed, "a run is killed once"),
        Fact::TasksDeclared { parent: Some(parent), .. } => {
            let item = &record.items[parent.usize()];
            assert!(
                item.is_running_function() && !item.is_expanded,
                "an attempt becomes tasks of its own once: {parent}"
            );
        }
        Fact::RunResumed { .. } => {
            assert!(matches!(input, Some(Input::Resumed(_))), "nobody took the run up")
        }
        Fact::TaskReused { task, .. } => {
            let item = &record.items[task.usize()];
            assert!(
                item.is(TaskStatus::Pending) && item.attempts == 0,
                "task {task} was carried out already"
            );
        }
        Fact::ValueLost { .. } => unreachable!("every value is kept"),
        Fact::ReuseAsked { .. } | Fact::ReuseDeclined { .. } => unreachable!("nothing is used again"),
        Fact::RunSuspended => assert!(record.suspended_at_ms.is_none(), "it stands still already"),
        Fact::RunContinued => assert!(record.suspended_at_ms.is_some(), "it goes on already"),
        Fact::RunEnded { verdict, .. } => {
            assert!(record.items.iter().all(Item::is_final), "a run ends after its tasks");
            assert_eq!(*verdict, expected_verdict(record), "the verdict");
        }
        Fact::RunCreated(_) | Fact::TasksDeclared { parent: None, .. } => {}
    }
}

fn check_begin(record: &Record, task: usize) {
    assert!(record.suspended_at_ms.is_none(), "nothing begins while the run stands still: {task}");
    assert!(
        record.is_released(task),
        "task {task} may not begin: {:?}, needs {:?}",
        record.items[task],
        record.needs(task)
    );
}

fn check_answered(record: &Record, task: usize) {
    let item = &record.items[task];
    assert!(item.is_asked && !item.is_held, "nobody asked about task {task}");
    assert!(item.is(TaskStatus::Pending), "it is too late to answer about task {task}");
}

fn check_start(record: &Record, task: usize, attempt: u32, now_ms: i64) {
    check_begin(record, task);
    let item = &record.items[task];
    assert_eq!(attempt, item.attempts + 1, "attempts are counted from 1: {task}");
    let room = record.room(now_ms);
    assert!(room.fits(item.policy()), "limits are never exceeded: {task}, {room:?}");
    // Those tried again go first, then those with more priority, then those declared before.
    let place = |i: usize| {
        let item = &record.items[i];
        (item.is(TaskStatus::Pending), Reverse(item.policy().priority), i)
    };
    let could = |i: usize| record.is_ready(i, now_ms) && room.fits(record.items[i].policy());
    let first = (0..record.items.len()).filter(|i| could(*i)).min_by_key(|i| place(*i));
    assert_eq!(first, Some(task), "the first that can start does");
}

fn check_end(record: &Record, task: usize, event: &Event, input: Option<&Input>) {
    let Fact::AttemptEnded { retry_at_ms, ended, .. } = &event.fact else {
        return;
    };
    let Ended { outcome, usage, .. } = &**ended;
    let item = &record.items[task];
    let ran_ms = (record.run_ms(event.at_ms) - item.started_ms) as u64;
    assert_eq!(usage.wall_us, ran_ms * 1000, "the time it ran, without the time it stood still: {task}");
    match (input, outcome) {
        (Some(Input::AttemptEnded(report)), outcome) if report.task.usize() == task => {
            assert_eq!(report.ended.outcome, *outcome, "a report is recorded as it came");
            let is_premature = item.is_expanded && *outcome == Outcome::Returned;
            assert!(!is_premature, "a task that consists of others ends with them: {task}");
        }
        (Some(Input::Resumed(_)), Outcome::Lost { .. }) => {
            assert!(!item.is_expanded, "a task that consists of others goes on with them: {task}");
            let again = (!item.is_asked_to_end).then_some(event.at_ms);
            assert_eq!(*retry_at_ms, again, "what an engine lost is tried again at once: {task}");
            return;
        }
        (Some(Input::Expanded { children, .. }), Outcome::Returned) => assert!(children.is_empty()),
        (Some(Input::CancelTask(_)) | None, Outcome::Cancelled) => {
            assert!(item.is_function() && record.is_to_end(task), "nobody cancelled {task}");
        }
        (None, Outcome::TimedOut { limit_ms }) => {
            assert_eq!(Some(*limit_ms), item.policy().limits.timeout_ms);
            let is_due = record.is_due(task, event.at_ms) && record.suspended_at_ms.is_none();
            assert!(item.is_function() && is_due, "task {task} has time left");
        }
        (None, Outcome::Returned) => {
            check_parts_ended(record, task);
            assert!(
                record.parts(task).all(|part| record.items[part].is_well()),
                "a task with a part that failed fails: {task}"
            );
        }
        (None, Outcome::ChildFailed { child }) => {
            check_parts_ended(record, task);
            assert!(record.parts(task).any(|part| part == child.usize()), "{child} is no part of {task}");
            assert!(!record.items[child.usize()].is_well(), "{child} is well");
        }
        (input, outcome) => panic!("task {task} ended as {outcome:?} because of {input:?}"),
    }
    check_retry(record, task, outcome, retry_at_ms.map(|ms| ms - event.at_ms));
}

fn check_parts_ended(record: &Record, task: usize) {
    let are_ended = record.parts(task).all(|part| record.items[part].is_final());
    assert!(record.items[task].is_expanded && are_ended, "a task ends after its parts: {task}");
}

/// Whether there is another attempt exactly when there should be one, and when it should be.
fn check_retry(record: &Record, task: usize, outcome: &Outcome, delay_ms: Option<i64>) {
    let item = &record.items[task];
    let policy = item.policy();
    let expected = match outcome {
        _ if record.is_to_end(task) => None,
        Outcome::Lost { .. } => (item.lost < policy.lost_attempts_allowed).then_some((0.0, 0.0)),
        Outcome::Unfinished => {
            let repeat = policy.repeat.filter(|repeat| item.repeats + 1 < repeat.max_times);
            repeat.map(|repeat| (repeat.delay_ms as f64, repeat.delay_ms as f64))
        }
        Outcome::Raised { retryable: true, .. }
        | Outcome::Failed { .. }
        | Outcome::Killed { .. }
        | Outcome::MemoryExceeded { .. }
        | Outcome::CouldNotStart { .. }
        | Outcome::TimedOut { .. } => {
            let retry = policy.retry.filter(|retry| item.failures + 1 < retry.max_attempts);
            retry.map(|retry| {
                let most = retry.max_delay_ms as f64;
                let doubled = retry.initial_delay_ms as f64 * retry.base.powi(item.failures as i32);
                let delay = doubled.min(most);
                (delay * (1.0 - retry.jitter), (delay * (1.0 + retry.jitter)).min(most))
            })
        }
        _ => None,
    };
    match (expected, delay_ms) {
        (None, None) => {}
        (Some((least, most)), Some(delay)) => {
            let fits = least - 0.5 <= delay as f64 && delay as f64 <= most + 0.5;
            assert!(fits, "task {task} is tried again after {delay}, not {least} to {most} ms");
        }
        (expected, delay) => panic!("task {task} after {outcome:?}: expected {expected:?}, found {delay:?}"),
    }
}

fn check_skip(record: &Record, task: usize, reason: &SkipReason) {
    let item = &record.items[task];
    let is_unstarted = item.is(TaskStatus::Pending)
        || (item.is(TaskStatus::Waiting) && matches!(reason, SkipReason::FailFast { .. }));
    assert!(is_unstarted, "only what has not started is skipped: {task}");
    let is_fair = match reason {
        SkipReason::Declared { text } => item.policy().skip.as_ref() == Some(text),
        SkipReason::NeedNotMet { need } => {
            let need_item = &record.items[need.usize()];
            let is_unmet = need_item.is_final() && !need_item.is(TaskStatus::Completed);
            item.spec.needs.contains(need) && is_unmet && record.needs(task) == Needs::Hopeless
        }
        SkipReason::TriggerNotMet => record.needs(task) == Needs::Hopeless,
        SkipReason::Condition => item.is_asked && !item.is_held,
        SkipReason::FailFast { failed } => {
            record.is_failed_fast(task) && record.first_failure == Some(failed.usize())
        }
    };
    assert!(is_fair, "task {task} is skipped because of {reason:?}");
}

fn expected_verdict(record: &Record) -> Verdict {
    let any = |is: fn(TaskStatus) -> bool| record.items.iter().any(|item| is(item.status));
    let any_cancelled = any(|status| status == TaskStatus::Cancelled);
    match record.cancel {
        Some(CancelReason::TimedOut) => Verdict::Failed,
        Some(_) if any_cancelled => Verdict::Cancelled,
        _ if any_cancelled || any(is_failure) => Verdict::Failed,
        _ => Verdict::Succeeded,
    }
}

/// Holds the rules against a state in which nothing more follows: nothing that should have happened is left.
pub(crate) fn check_rest(record: &Record, state: &State, now_ms: i64) {
    check_agreement(record, state, now_ms);
    let room = record.room(now_ms);
    assert!(room.slots.is_some() && room.left.iter().all(Option::is_some), "a limit is exceeded: {room:?}");
    let is_still = record.suspended_at_ms.is_some();
    for (task, item) in record.items.iter().enumerate().filter(|(_, item)| !item.is_final()) {
        let ends_at_once = !item.is(TaskStatus::Running) || item.is_function();
        assert!(!(ends_at_once && record.is_to_end(task)), "task {task} was asked to end and goes on");
        assert!(!record.is_orphan(task) || item.is_asked_to_end, "task {task} outlives what it is a part of");
        let is_unstarted = item.is(TaskStatus::Pending) || item.is(TaskStatus::Waiting);
        assert!(!(is_unstarted && record.is_failed_fast(task)), "task {task} was to fail fast");
        let is_out_of_time = !is_still && !item.is(TaskStatus::Retrying) && record.is_due(task, now_ms);
        assert!(!is_out_of_time, "task {task} is out of time and goes on");
        if item.is(TaskStatus::Pending) {
            assert!(item.policy().skip.is_none(), "task {task} was to be skipped");
            assert!(record.needs(task) != Needs::Hopeless, "task {task} waits in vain");
        }
        if item.is(TaskStatus::Pending) && record.is_released(task) && !is_still {
            assert!(!item.policy().has_condition || item.is_asked, "nobody asked about task {task}");
            let is_let_go = !item.policy().has_condition || item.is_held;
            assert!(!(item.is_approval() && is_let_go), "nobody was told that task {task} waits");
        }
        let idles = record.is_ready(task, now_ms) && room.fits(item.policy());
        assert!(!idles, "task {task} could start and idles: {room:?}");
        if item.is_expanded && item.is(TaskStatus::Running) {
            assert!(
                !record.parts(task).all(|part| record.items[part].is_final()),
                "all parts of {task} have ended"
            );
        }
    }
    let is_late = record.deadline_ms.is_some_and(|ms| ms <= record.run_ms(now_ms));
    assert!(
        !is_late || is_still || record.cancel.is_some() || state.open() == 0,
        "the run is late and goes on"
    );
    check_next_due(record, state, now_ms);
}

/// Whether the state is what the facts say.
fn check_agreement(record: &Record, state: &State, now_ms: i64) {
    assert_eq!(state.tasks().len(), record.items.len());
    for (task, (item, known)) in record.items.iter().zip(state.tasks()).enumerate() {
        let expected = (item.status, item.attempts, item.lost, item.parent.map(|(parent, _)| parent));
        let parent = known.parent.map(TaskIndex::usize);
        assert_eq!((known.status, known.attempts, known.lost, parent), expected, "task {task}");
        assert_eq!(known.is_asked_to_end(), item.is_asked_to_end, "task {task}");
    }
    let open = record.items.iter().filter(|item| !item.is_final()).count();
    assert_eq!(state.open() as usize, open, "how many are open");
    let taken = record.room(now_ms).slots.map(|free| record.max_concurrency - free);
    assert_eq!(Some(u64::from(state.running())), taken, "how many slots are taken");
    assert_eq!(state.first_failure().map(TaskIndex::usize), record.first_failure);
    assert_eq!(state.cancel(), record.cancel);
    assert_eq!(state.is_killed(), record.is_killed);
    assert_eq!(state.is_suspended(), record.suspended_at_ms.is_some());
    assert_eq!(state.end().is_some(), record.is_over);
}

/// Whether the run wakes up in time, and not in vain again and again.
fn check_next_due(record: &Record, state: &State, now_ms: i64) {
    let found = state.next_due_ms(now_ms);
    if record.suspended_at_ms.is_some() || record.is_over {
        assert_eq!(found, None, "nothing follows by itself while the run stands still, or after its end");
        return;
    }
    let deadline_ms = record.deadline_ms.filter(|_| record.cancel.is_none());
    let timers = record.items.iter().filter_map(|item| item.due_ms).chain(deadline_ms);
    let timer = timers.map(|due_ms| due_ms + record.stopped_ms).filter(|due_ms| *due_ms > now_ms).min();
    let waiting = || (0..record.items.len()).filter(|i| record.is_ready(*i, now_ms));
    let expiry = |resource: usize| {
        let per_ms = record.resources[resource].per_ms? as i64;
        let is_claimed = |task: usize| {
            record.items[task].policy().claims.iter().any(|claim| claim.resource as usize == resource)
        };
        let expiries = record.claimed[resource].iter().map(|(at_ms, _)| at_ms + per_ms);
        waiting().any(is_claimed).then(|| expiries.filter(|at_ms| *at_ms > now_ms).min())?
    };
    let expected = (0..record.resources.len()).filter_map(expiry).chain(timer).min();
    assert_eq!(found, expected, "when something follows by itself");
}
