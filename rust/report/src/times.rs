//! When the attempts of a run were under way, what they waited for, and which tasks decided when it ended.

use crate::course::Course;
use crate::path::critical_path;
use dirigent_core::event::{Event, Fact};
use dirigent_core::outcome::Outcome;
use dirigent_core::state::TaskStatus;
use dirigent_core::{State, TaskIndex};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

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
    /// How much of it went by until its program was executed, in microseconds; 0 where that is not known.
    pub(crate) start_us: u64,
    /// CPU time, where the kernel counted it.
    pub(crate) cpu_us: Option<u64>,
}

/// The times of a run.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// By their start.
    pub(crate) spans: Vec<Span>,
    /// Tasks that had not to run, and when that was known.
    pub(crate) reused: Vec<(TaskIndex, i64)>,
    /// What the run was waiting for.
    pub(crate) critical: Critical,
    /// The last moment known.
    pub(crate) end_ms: i64,
}

/// The critical path of a run, as its profile has it: back from its last end, each time to what was waited for. Empty where
/// that is one task alone.
#[derive(Debug, Default)]
pub(crate) struct Critical {
    /// First to last; a task whose attempts follow each other stands there once.
    pub(crate) tasks: Vec<TaskIndex>,
    /// The attempts of it, and 0 for an answer.
    attempts: HashSet<(TaskIndex, u32)>,
    /// What they took, with delays between them.
    pub(crate) took_ms: i64,
}

impl Critical {
    fn new(events: &[Event]) -> Self {
        let mut critical = Self::default();
        for link in Course::new(events).iter().flat_map(critical_path) {
            if critical.tasks.last() != Some(&link.task) {
                critical.tasks.push(link.task);
            }
            critical.attempts.insert((link.task, link.attempt.unwrap_or(0)));
            critical.took_ms += link.until_ms - link.from_ms;
        }
        if critical.tasks.len() < 2 { Self::default() } else { critical }
    }

    /// Whether the run waited for this.
    pub(crate) fn has(&self, span: &Span) -> bool {
        self.attempts.contains(&(span.task, span.attempt))
    }
}

impl Times {
    /// Without `events`, only the last attempt of each task is known.
    pub(crate) fn new(state: &State, events: &[Event]) -> Self {
        let created_ms = state.header().map_or(0, |header| header.created_at_ms);
        let after = |at_ms: i64| at_ms.saturating_sub(created_ms).max(0);
        let mut times = Self { critical: Critical::new(events), ..Self::default() };
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
                end_ms: stands.ended_at_ms.map(|ended_ms| after(ended_ms).max(after(started_ms))),
                ..Span::begun(task, stands.attempts, after(started_ms), stands.status)
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
                Fact::AttemptEnded { task, retry_at_ms, ended, .. } => {
                    if let Some(span) = open.get(task).and_then(|place| self.spans.get_mut(*place)) {
                        span.start_us = ended.start_us;
                        // A function in a thread has no figures of its own.
                        let usage = &ended.usage;
                        let is_counted = usage.peak_memory_bytes > 0;
                        span.cpu_us = is_counted.then_some(usage.user_us + usage.system_us);
                    }
                    (*task, Some((&ended.outcome, retry_at_ms.map(&after))))
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

    /// The lane of each span: the lowest that is free, so that no two on one overlap. With `are_kept`, a task keeps its lane
    /// until its last attempt has ended.
    pub(crate) fn lanes(&self, are_kept: bool) -> Vec<usize> {
        let mut last: HashMap<TaskIndex, u32> = HashMap::new();
        for span in self.spans.iter().filter(|_| are_kept) {
            last.entry(span.task).and_modify(|last| *last = span.attempt.max(*last)).or_insert(span.attempt);
        }
        let (mut free, mut count) = (BTreeSet::new(), 0);
        let mut kept: HashMap<TaskIndex, usize> = HashMap::new();
        let mut busy: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
        let lane = |span: &Span| {
            while let Some(Reverse((_, lane))) =
                busy.peek().filter(|Reverse((end_ms, _))| *end_ms <= span.start_ms).copied()
            {
                busy.pop();
                free.insert(lane);
            }
            let lane = kept.remove(&span.task).or_else(|| free.pop_first()).unwrap_or_else(|| {
                count += 1;
                count - 1
            });
            if last.get(&span.task).is_some_and(|last| *last > span.attempt) {
                kept.insert(span.task, lane);
            } else {
                busy.push(Reverse((span.end_ms.unwrap_or(i64::MAX), lane)));
            }
            lane
        };
        self.spans.iter().map(lane).collect()
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
        counted(changes)
    }

    /// For how long each task was ready and had not started, where that was so: the task, from when, until when.
    pub(crate) fn waits(&self, state: &State) -> Vec<(TaskIndex, i64, i64)> {
        let mut has_started = vec![false; state.tasks().len()];
        let mut waits = Vec::new();
        for span in &self.spans {
            if std::mem::replace(&mut has_started[span.task.usize()], true) {
                continue;
            }
            let ready_ms = Self::ready_ms(state, span.task).map_or(span.start_ms, |ready_ms| ready_ms.max(0));
            if ready_ms < span.start_ms {
                waits.push((span.task, ready_ms, span.start_ms));
            }
        }
        waits
    }

    /// How many processors were busy: from each moment on, so many. Known is what each attempt used, not when: it counts as
    /// spread evenly from its start to its end.
    pub(crate) fn cores(&self) -> Vec<(i64, f64)> {
        let mut changes: Vec<(i64, f64)> = Vec::new();
        for span in &self.spans {
            let (Some(cpu_us), Some(end_ms)) = (span.cpu_us, span.end_ms) else { continue };
            // What is shorter than the clock of the run can tell gets a moment of it.
            let end_ms = end_ms.max(span.start_ms + 1);
            let cores = cpu_us as f64 / ((end_ms - span.start_ms) * 1000) as f64;
            changes.extend([(span.start_ms, cores), (end_ms, -cores)]);
        }
        changes.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut steps: Vec<(i64, f64)> = Vec::new();
        let mut now = 0.0f64;
        for (at_ms, by) in changes {
            now = (now + by).max(0.0);
            match steps.last_mut() {
                Some((last_ms, cores)) if *last_ms == at_ms => *cores = now,
                _ => steps.push((at_ms, now)),
            }
        }
        // Sums of fractions do not come back to nothing by themselves.
        steps.last_mut().into_iter().for_each(|(_, cores)| *cores = 0.0);
        steps
    }

    /// When all that a task needs had ended; `None` where that was not recorded.
    fn ready_ms(state: &State, task: TaskIndex) -> Option<i64> {
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
        Self { task, attempt, start_ms, end_ms: None, status, retry_ms: None, start_us: 0, cpu_us: None }
    }
}

/// How many there are after each change, by the moment of it and whether one comes.
pub(crate) fn counted(mut changes: Vec<(i64, bool)>) -> Vec<(i64, usize)> {
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
        assert_eq!(times.lanes(false), [0, 1, 1, 0]);
    }

    #[test]
    fn a_task_may_keep_its_lane_until_its_last_attempt() {
        let times =
            times(&[(0, 1, 0, Some(10)), (1, 1, 12, Some(15)), (0, 2, 20, Some(30)), (2, 1, 30, None)]);
        assert_eq!(times.lanes(true), [0, 1, 0, 0]);
        assert_eq!(times.lanes(false), [0, 0, 0, 0]);
    }

    #[test]
    fn the_time_of_processors_is_spread_over_the_attempts_that_used_it() {
        let mut times =
            times(&[(0, 1, 0, Some(10)), (1, 1, 5, Some(15)), (2, 1, 7, Some(7)), (3, 1, 0, Some(99))]);
        let cpu_us = [Some(5_000), Some(20_000), Some(500), None];
        times.spans.iter_mut().zip(cpu_us).for_each(|(span, cpu_us)| span.cpu_us = cpu_us);
        assert_eq!(times.cores(), [(0, 0.5), (5, 2.5), (7, 3.0), (8, 2.5), (10, 2.0), (15, 0.0)]);
    }

    #[test]
    fn what_takes_a_place_that_became_free_is_not_one_more() {
        let spans = [(0, 1, 0, Some(10)), (1, 1, 10, Some(20)), (2, 0, 0, Some(90)), (3, 1, 15, None)];
        let at_once = times(&spans).at_once(&State::default());
        assert_eq!(at_once, [(0, 1), (10, 1), (15, 2), (20, 1), (100, 0)], "a wait for an answer is no work");
        assert_eq!(times(&[(0, 1, 7, Some(7))]).at_once(&State::default()), []);
    }
}
