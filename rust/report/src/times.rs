//! When the attempts of a run were under way, what they waited for, and which tasks decided when it ended.

use dirigent_core::event::{Event, Fact};
use dirigent_core::outcome::Outcome;
use dirigent_core::state::TaskStatus;
use dirigent_core::{State, TaskIndex};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

/// One attempt, or a wait for somebody's answer. Moments are in milliseconds since the run was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) task: TaskIndex,
    /// Which try; 0 for a wait.
    pub(crate) attempt: u32,
    pub(crate) start_ms: i64,
    /// `None` while it goes on.
    pub(crate) end_ms: Option<i64>,
    /// How it ended.
    pub(crate) status: TaskStatus,
    /// When the next one was due.
    pub(crate) retry_ms: Option<i64>,
}

/// The times of a run.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// By their start.
    pub(crate) spans: Vec<Span>,
    /// Tasks that had not to run, and when that was known.
    pub(crate) reused: Vec<(TaskIndex, i64)>,
    /// The critical path: of each task that need of it which ended last, back from the task that ended last of all. Empty
    /// where that one waited for none.
    pub(crate) path: Vec<TaskIndex>,
    /// The last moment known.
    pub(crate) end_ms: i64,
}

impl Times {
    /// Without `events`, only the last attempt of each task is known.
    pub(crate) fn new(state: &State, events: &[Event]) -> Self {
        let created_ms = state.header().map_or(0, |header| header.created_at_ms);
        let after = |at_ms: i64| at_ms.saturating_sub(created_ms).max(0);
        let mut times = Self { path: path(state), ..Self::default() };
        if events.is_empty() {
            times.take_last_attempts(state, after);
        } else {
            times.take_events(state, events, after);
        }
        times.spans.sort_by_key(|span| (span.start_ms, span.task));
        let moments = times.spans.iter().map(|span| span.end_ms.unwrap_or(span.start_ms));
        let last = moments.chain(times.reused.iter().map(|(_, at_ms)| *at_ms)).max();
        times.end_ms = state.end().map(|end| after(end.at_ms)).max(last).unwrap_or(0);
        times
    }

    fn take_last_attempts(&mut self, state: &State, after: impl Fn(i64) -> i64) {
        for (task, stands) in (0u32..).map(TaskIndex).zip(state.tasks()) {
            let Some(started_ms) = stands.started_at_ms else { continue };
            self.spans.push(Span {
                task,
                attempt: stands.attempts,
                start_ms: after(started_ms),
                end_ms: stands.ended_at_ms.map(|ended_ms| after(ended_ms).max(after(started_ms))),
                status: stands.status,
                retry_ms: None,
            });
        }
    }

    fn take_events(&mut self, state: &State, events: &[Event], after: impl Fn(i64) -> i64) {
        let mut open: HashMap<TaskIndex, usize> = HashMap::new();
        for event in events {
            let at_ms = after(event.at_ms);
            let (task, end) = match &event.fact {
                Fact::AttemptStarted { task, attempt } => {
                    open.insert(*task, self.spans.len());
                    self.spans.push(Span::begun(*task, *attempt, at_ms, TaskStatus::Running));
                    continue;
                }
                Fact::WaitStarted { task } => {
                    open.insert(*task, self.spans.len());
                    self.spans.push(Span::begun(*task, 0, at_ms, TaskStatus::Waiting));
                    continue;
                }
                Fact::TaskReused { task, .. } => {
                    self.reused.push((*task, at_ms));
                    continue;
                }
                Fact::AttemptEnded { task, outcome, retry_at_ms, .. } => {
                    (*task, Some((outcome, retry_at_ms.map(&after))))
                }
                Fact::WaitAnswered { task, .. }
                | Fact::WaitTimedOut { task }
                | Fact::TaskFailed { task, .. }
                | Fact::TaskCancelled { task } => (*task, None),
                _ => continue,
            };
            let Some(span) = open.remove(&task).and_then(|place| self.spans.get_mut(place)) else { continue };
            span.end_ms = Some(at_ms.max(span.start_ms));
            let is_last = state.task(task).is_some_and(|stands| stands.attempts == span.attempt);
            match end {
                Some((outcome, retry_ms)) => {
                    span.retry_ms = retry_ms;
                    span.status = status_after(outcome);
                }
                None => span.status = TaskStatus::Completed,
            }
            // The task knows better how its last one is to be taken.
            if let Some(stands) = state.task(task).filter(|stands| stands.status.is_final())
                && (is_last || span.attempt == 0)
            {
                span.status = stands.status;
            }
        }
    }

    /// The lane of each span: the lowest that is free, so that no two on one overlap. Those that do not count get none.
    pub(crate) fn lanes(&self, counts: impl Fn(&Span) -> bool) -> Vec<Option<usize>> {
        let mut free = BTreeSet::new();
        let mut busy: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
        let lane = |span: &Span| {
            while let Some(Reverse((_, lane))) =
                busy.peek().filter(|Reverse((end_ms, _))| *end_ms <= span.start_ms).copied()
            {
                busy.pop();
                free.insert(lane);
            }
            let lane = free.pop_first().unwrap_or(busy.len());
            busy.push(Reverse((span.end_ms.unwrap_or(i64::MAX), lane)));
            lane
        };
        let mut lane = lane;
        self.spans.iter().map(|span| counts(span).then(|| lane(span))).collect()
    }

    /// How many attempts were under way at once: from each moment on, so many. What consists of tasks is not counted.
    pub(crate) fn at_once(&self, state: &State) -> Vec<(i64, usize)> {
        let works = |span: &&Span| {
            span.attempt > 0 && !state.task(span.task).is_some_and(|task| task.consists_of_tasks())
        };
        let mut changes: Vec<(i64, bool)> = Vec::with_capacity(self.spans.len() * 2);
        for span in self.spans.iter().filter(works) {
            let end_ms = span.end_ms.unwrap_or(self.end_ms);
            if end_ms > span.start_ms {
                changes.extend([(span.start_ms, true), (end_ms, false)]);
            }
        }
        // At one moment ends come first: whoever takes a place that became free is not one more.
        changes.sort_unstable();
        let mut steps: Vec<(i64, usize)> = Vec::new();
        let mut now = 0usize;
        for (at_ms, is_start) in changes {
            now = if is_start { now + 1 } else { now - 1 };
            match steps.last_mut() {
                Some((last_ms, count)) if *last_ms == at_ms => *count = now,
                _ => steps.push((at_ms, now)),
            }
        }
        steps
    }

    /// When all that a task needs had ended; `None` where that was not recorded.
    pub(crate) fn ready_ms(state: &State, task: TaskIndex) -> Option<i64> {
        let created_ms = state.header()?.created_at_ms;
        let stands = state.task(task)?;
        let ended = |need: &TaskIndex| state.task(*need)?.ended_at_ms;
        let begun = match stands.parent {
            Some(whole) => state.task(whole)?.started_at_ms?,
            None => created_ms,
        };
        let needs = stands.spec.needs.iter().filter_map(ended).max();
        Some(needs.unwrap_or(begun).max(begun) - created_ms)
    }
}

impl Span {
    fn begun(task: TaskIndex, attempt: u32, start_ms: i64, status: TaskStatus) -> Self {
        Self { task, attempt, start_ms, end_ms: None, status, retry_ms: None }
    }
}

/// What an outcome says by itself.
fn status_after(outcome: &Outcome) -> TaskStatus {
    match outcome {
        outcome if outcome.is_success() => TaskStatus::Completed,
        Outcome::TimedOut { .. } => TaskStatus::TimedOut,
        Outcome::Cancelled => TaskStatus::Cancelled,
        // It was to be carried out again, as declared.
        Outcome::Unfinished => TaskStatus::Retrying,
        _ => TaskStatus::Failed,
    }
}

fn path(state: &State) -> Vec<TaskIndex> {
    let ended = |task: TaskIndex| state.task(task).filter(|task| task.started_at_ms.is_some())?.ended_at_ms;
    let latest = |tasks: &mut dyn Iterator<Item = TaskIndex>| {
        tasks.filter_map(|task| Some((ended(task)?, Reverse(task)))).max().map(|(_, Reverse(task))| task)
    };
    let is_last = |task: TaskIndex| state.task(task).is_some_and(|task| task.spec.cleans_up_last());
    let all = || (0u32..state.tasks().len() as u32).map(TaskIndex);
    let is_part = |task: TaskIndex| state.task(task).is_some_and(|task| task.parent.is_some());
    let mut now = latest(&mut all().filter(|task| !is_part(*task)));
    let mut path = Vec::new();
    while let Some(task) = now {
        path.push(task);
        let needs = state.task(task).map(|task| &*task.spec.needs).unwrap_or_default();
        now = match needs.is_empty() && is_last(task) {
            true => latest(&mut all().filter(|task| !is_last(*task) && !is_part(*task))),
            false => latest(&mut needs.iter().copied()),
        };
    }
    path.reverse();
    if path.len() < 2 { Vec::new() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(spans: &[(u32, u32, i64, Option<i64>)]) -> Times {
        let span = |(task, attempt, start_ms, end_ms): &(u32, u32, i64, Option<i64>)| Span {
            end_ms: *end_ms,
            ..Span::begun(TaskIndex(*task), *attempt, *start_ms, TaskStatus::Completed)
        };
        Times { spans: spans.iter().map(span).collect(), end_ms: 100, ..Times::default() }
    }

    #[test]
    fn no_two_spans_on_a_lane_overlap_and_a_free_lane_is_taken_again() {
        let times = times(&[(0, 1, 0, Some(10)), (1, 1, 0, Some(5)), (2, 1, 5, None), (3, 1, 10, Some(12))]);
        assert_eq!(times.lanes(|_| true), [Some(0), Some(1), Some(1), Some(0)]);
        assert_eq!(times.lanes(|span| span.task.0 != 1), [Some(0), None, Some(1), Some(0)]);
    }

    #[test]
    fn what_takes_a_place_that_became_free_is_not_one_more() {
        let spans = [(0, 1, 0, Some(10)), (1, 1, 10, Some(20)), (2, 0, 0, Some(90)), (3, 1, 15, None)];
        let at_once = times(&spans).at_once(&State::default());
        assert_eq!(at_once, [(0, 1), (10, 1), (15, 2), (20, 1), (100, 0)], "a wait for an answer is no work");
        assert_eq!(times(&[(0, 1, 7, Some(7))]).at_once(&State::default()), []);
    }
}
