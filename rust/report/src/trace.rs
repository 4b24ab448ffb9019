//! A run as a trace, for viewers of the Trace Event Format: attempts on lanes, who waited for whom, how many at once.
//!
//! Source: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

use crate::quantity::rounded;
use crate::sentence::status_words;
use crate::summary::Summary;
use crate::times::{Span, Times};
use dirigent_core::{State, TaskIndex};
use serde_json::{Value, json};
use std::collections::HashMap;

/// The run, among processes.
const PID: u32 = 1;

/// The text of the trace. Moments in it are in microseconds since the run was accepted.
pub(crate) fn render(state: &State, times: &Times, summary: &Summary) -> String {
    let lanes = times.lanes(false);
    let mut events = vec![meta("process_name", 0, &summary.workflow)];
    let most = lanes.iter().map(|lane| lane + 1).max().unwrap_or(0);
    events.extend((1..=most).map(|lane| meta("thread_name", lane, &format!("lane {lane}"))));
    for (span, lane) in times.spans.iter().zip(&lanes) {
        events.push(complete(span, lane + 1, times, summary));
        events.extend(start_up(span, lane + 1));
    }
    for (task, at_ms) in &times.reused {
        events.push(json!({
            "ph": "i", "s": "p", "pid": PID, "tid": 0, "ts": at_ms * 1000, "cat": "reused",
            "name": format!("{} reused", summary.task(*task).name),
        }));
    }
    for (at_ms, count) in times.at_once(state) {
        events.push(json!({
            "ph": "C", "pid": PID, "tid": 0, "ts": at_ms * 1000, "name": "at once", "args": {"tasks": count},
        }));
    }
    for (at_ms, cores) in times.cores() {
        events.push(json!({
            "ph": "C", "pid": PID, "tid": 0, "ts": at_ms * 1000, "name": "cores, on average over each attempt",
            "args": {"cores": rounded(cores)},
        }));
    }
    flows(&mut events, times, &lanes, summary);
    let trace = json!({
        "displayTimeUnit": "ms",
        "otherData": {
            "run": summary.run, "workflow": summary.workflow, "created": summary.created,
            "version": summary.version, "sentence": summary.sentence,
        },
        "traceEvents": events,
    });
    trace.to_string() + "\n"
}

fn meta(name: &str, lane: usize, value: &str) -> Value {
    json!({"ph": "M", "pid": PID, "tid": lane, "name": name, "args": {"name": value}})
}

fn complete(span: &Span, lane: usize, times: &Times, summary: &Summary) -> Value {
    let task = summary.task(span.task);
    let end_ms = span.end_ms.unwrap_or(times.end_ms).max(span.start_ms);
    let mut args = json!({
        "task": span.task, "state": status_words(span.status), "critical": times.critical.has(span),
    });
    let mut name = task.name.clone();
    if span.attempt > 0 {
        args["attempt"] = json!(span.attempt);
    }
    if task.attempts > 1 && span.attempt > 0 {
        name = format!("{name} #{}", span.attempt);
    }
    if span.attempt == task.attempts {
        args["sentence"] = json!(task.sentence);
        args["cpu_s"] = json!(task.user_s + task.system_s);
        args["peak_memory_bytes"] = json!(task.peak_memory_bytes);
    }
    if let Some(retry_ms) = span.retry_ms {
        args["next_attempt_after_ms"] = json!((retry_ms - end_ms).max(0));
    }
    json!({
        "ph": "X", "pid": PID, "tid": lane, "ts": span.start_ms * 1000, "dur": (end_ms - span.start_ms) * 1000,
        "name": name, "cat": span.status.name(), "args": args,
    })
}

/// The beginning of an attempt, within it: what went by until its program was executed.
fn start_up(span: &Span, lane: usize) -> Option<Value> {
    let most_us = (span.end_ms? - span.start_ms) * 1000;
    let took_us = i64::try_from(span.start_us).ok()?.min(most_us);
    (took_us > 0).then(|| {
        json!({
            "ph": "X", "pid": PID, "tid": lane, "ts": span.start_ms * 1000, "dur": took_us,
            "name": "start-up", "cat": "start-up", "args": {"task": span.task, "attempt": span.attempt},
        })
    })
}

/// An arrow from the last attempt of each need to the first one of the task.
fn flows(events: &mut Vec<Value>, times: &Times, lanes: &[usize], summary: &Summary) {
    let mut first: HashMap<TaskIndex, usize> = HashMap::new();
    let mut last: HashMap<TaskIndex, usize> = HashMap::new();
    for (place, span) in times.spans.iter().enumerate() {
        first.entry(span.task).or_insert(place);
        last.insert(span.task, place);
    }
    let mut id = 0;
    for task in &summary.tasks {
        for need in &task.needs {
            let (Some(from), Some(to)) = (last.get(need), first.get(&task.index)) else { continue };
            let (source, target) = (&times.spans[*from], &times.spans[*to]);
            let Some(end_ms) = source.end_ms.filter(|end_ms| *end_ms <= target.start_ms) else { continue };
            id += 1;
            // Within the attempt it leaves: at its very end viewers take the next one on the lane.
            let leaves_us = (end_ms * 1000 - 1).max(source.start_ms * 1000);
            let flow = |ph: &str, lane: usize, at_us: i64| json!({"ph": ph, "id": id, "pid": PID, "tid": lane + 1, "ts": at_us, "name": "needs", "cat": "needs"});
            events.push(flow("s", lanes[*from], leaves_us));
            let mut end = flow("f", lanes[*to], target.start_ms * 1000);
            end["bp"] = json!("e");
            events.push(end);
        }
    }
}
