//! The critical path of a run as it went: back from its last end, each time to what was waited for.

use crate::course::{Cause, Course, Doing, Moment, Span};
use dirigent_core::TaskIndex;
use serde::Serialize;

/// What a part of the path was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spent {
    /// An attempt.
    Run,
    /// Somebody's answer.
    Answer,
    /// The delay before another attempt.
    Retry,
    /// A rate of which nothing was left.
    Rate,
}

/// What a part of the path began after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// The beginning of the run, or of what the run then came to.
    Start,
    /// A task that it needs.
    Need,
    /// The task that it is a part of.
    Parent,
    /// An attempt whose slot it got.
    Slot,
    /// An attempt that gave a resource back.
    Resource,
    /// An attempt of its own.
    Attempt,
}

/// A part of the path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) task: TaskIndex,
    pub(crate) attempt: Option<u32>,
    pub(crate) spent: Spent,
    pub(crate) after: After,
    /// The resource that was waited for.
    pub(crate) resource: Option<u32>,
    pub(crate) from_ms: i64,
    pub(crate) until_ms: i64,
}

/// The path, first to last.
pub(crate) fn critical_path(course: &Course) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    let last_regular = course.last_regular_end();
    let mut next = course.ends.last().copied();
    while let Some(at) = next {
        let span = &course.spans[at];
        let until_ms = span.until.unwrap_or(span.from).ms;
        let (ready, attempt) = match span.doing {
            Doing::Attempt(number) => (ready_again(course, at), Some(number)),
            Doing::Waiting => (None, None),
        };
        let spent = if attempt.is_some() { Spent::Run } else { Spent::Answer };
        let (ready, cause) = ready.map_or_else(
            || {
                let (ready, cause) = course.ready(span.task, last_regular);
                (ready, Some(cause))
            },
            |(ready, _)| (ready, None),
        );
        let mut link = Link {
            task: span.task,
            attempt,
            spent,
            after: After::Start,
            resource: None,
            from_ms: span.from.ms,
            until_ms,
        };
        let in_the_way = attempt.and_then(|_| in_the_way(course, span, ready));
        let earlier = match (in_the_way, cause) {
            (Some((other, after, resource)), _) => {
                (link.after, link.resource) = (after, resource);
                Some(other)
            }
            (None, None) => {
                link.after = After::Attempt;
                let before = ready_again(course, at).map(|(_, before)| before);
                before.and_then(|before| ender(course, before))
            }
            (None, Some(Cause::Need(need))) => {
                link.after = After::Need;
                end_of(course, need, last_regular)
            }
            (None, Some(Cause::Parent(parent))) => {
                link.after = After::Parent;
                let its = &course.lanes[parent.usize()].spans;
                let made = |at: &&usize| {
                    let span = &course.spans[**at];
                    span.handed_over && span.until.is_some_and(|until| until.seq <= ready.seq)
                };
                its.iter().rev().find(made).copied()
            }
            (None, Some(Cause::Start)) => None,
        };
        // Only what came before can have been waited for, so that the walk ends.
        let is_before =
            |other: &usize| course.spans[*other].until.is_some_and(|until| until.seq < span.from.seq);
        next = earlier.filter(is_before);
        links.push(link);
        let since_ms = next.and_then(|other| course.spans[other].until).map(|until| until.ms);
        // What is left between the two: nothing else was in the way, so a rate that is claimed was.
        let free_ms = since_ms.map_or(ready.ms, |since_ms| since_ms.max(ready.ms));
        if let Some(resource) = rate(course, span).filter(|_| free_ms < link.from_ms) {
            let waited = Link {
                spent: Spent::Rate,
                resource: Some(resource),
                from_ms: free_ms,
                until_ms: link.from_ms,
                ..link
            };
            let own = links.last_mut().expect("one was put there");
            (own.after, own.resource) = (After::Resource, Some(resource));
            links.push(waited);
        }
        if link.after == After::Attempt
            && let Some(since_ms) = since_ms.filter(|since_ms| *since_ms < free_ms.min(link.from_ms))
        {
            let until_ms = free_ms.min(link.from_ms);
            links.push(Link { spent: Spent::Retry, from_ms: since_ms, until_ms, ..link });
        }
    }
    links.reverse();
    links
}

/// Of a later attempt: when it was due, and the one before it.
fn ready_again(course: &Course, at: usize) -> Option<(Moment, usize)> {
    let its = &course.lanes[course.spans[at].task.usize()].spans;
    let place = its.binary_search(&at).ok()?.checked_sub(1)?;
    let before = its[place];
    let ended = course.spans[before].until?;
    let due_ms = course.spans[before].retry_ms.unwrap_or(ended.ms);
    let after_delay = course.ends.partition_point(|end| {
        course.spans[*end].until.is_some_and(|until| until.ms < due_ms || until.seq <= ended.seq)
    });
    let last = after_delay.checked_sub(1).and_then(|end| course.spans[course.ends[end]].until);
    let seq = last.map_or(ended.seq, |last| last.seq.max(ended.seq));
    Some((Moment { seq, ms: due_ms.max(ended.ms) }, before))
}

/// What took the slot, or what is claimed, until just before.
fn in_the_way(course: &Course, span: &Span, ready: Moment) -> Option<(usize, After, Option<u32>)> {
    let policy = course.policy(span.task);
    let until = |end: &usize| course.spans[*end].until.map_or(0, |until| until.seq);
    let from = course.ends.partition_point(|end| until(end) <= ready.seq);
    let to = course.ends.partition_point(|end| until(end) < span.from.seq);
    course.ends.get(from..to)?.iter().rev().take(MOST_LOOKED_AT).find_map(|end| {
        let other = &course.spans[*end];
        let claims = |resource: &&u32| policy.claims.iter().any(|claim| claim.resource == **resource);
        if let Some(resource) = other.freed.iter().find(claims) {
            return Some((*end, After::Resource, Some(*resource)));
        }
        (other.freed_slot && !policy.slotless).then_some((*end, After::Slot, None))
    })
}

/// How many ends before a start are looked at: nearly always the first one is it.
const MOST_LOOKED_AT: usize = 256;

/// The rate that a task claims, if it does.
fn rate(course: &Course, span: &Span) -> Option<u32> {
    let claims = course.policy(span.task).claims.iter().map(|claim| claim.resource);
    let mut claims = claims.filter(|_| span.doing != Doing::Waiting);
    claims.find(|resource| course.resources.get(*resource as usize).is_some_and(|it| it.per_ms.is_some()))
}

/// What ended a task: the last of its spans, of one that consists of tasks the last of theirs, of one that was not
/// carried out that of what it waited for.
fn end_of(course: &Course, task: TaskIndex, last_regular: Option<(Moment, TaskIndex)>) -> Option<usize> {
    let mut task = task;
    loop {
        if let Some(at) = course.lanes[task.usize()].spans.last() {
            return ender(course, *at);
        }
        match course.ready(task, last_regular).1 {
            Cause::Need(need) => task = need,
            Cause::Start | Cause::Parent(_) => return None,
        }
    }
}

/// What a span really ended with.
fn ender(course: &Course, at: usize) -> Option<usize> {
    let mut at = at;
    while course.spans[at].handed_over {
        let parts = course.state.parts(course.spans[at].task);
        let ended = parts.filter_map(|part| Some((course.lanes[part.usize()].ended?, part)));
        let (_, part) = ended.max_by_key(|(ended, _)| ended.seq)?;
        let Some(last) = course.lanes[part.usize()].spans.last() else { return Some(at) };
        at = *last;
    }
    Some(at)
}
