//! What is around the bars of a timeline: waits, delays before the next attempt, and tasks that had not to run.

use super::axis::{AXIS_PX, Axis, PIXEL};
use crate::escape::Name;
use crate::quantity::{counted, shown_seconds};
use crate::summary::Summary;
use crate::svg::places;
use crate::times::{Span, Times};
use dirigent_core::TaskIndex;
use std::collections::HashMap;
use std::fmt::{Result, Write};

/// How far marks are apart at least, as a part of the width.
const MARK: f64 = 0.016;
/// What is shorter than this part of the width is not drawn.
const SEEN: f64 = 3.0 * PIXEL;

/// Those of the waits that are long enough to be seen.
pub(super) fn seen(waits: &[(TaskIndex, i64, i64)], axis: &Axis) -> Vec<(TaskIndex, i64, i64)> {
    waits.iter().filter(|(_, from_ms, to_ms)| axis.x(to_ms - from_ms) >= SEEN).copied().collect()
}

/// Draws how long tasks waited although all that they need had ended, each on its row.
pub(super) fn waits(
    out: &mut dyn Write,
    axis: &Axis,
    waits: &[(TaskIndex, i64, i64)],
    row_of: &HashMap<u32, usize>,
) -> Result {
    for (task, from_ms, to_ms) in waits {
        let row = row_of.get(&task.0).copied().unwrap_or_default();
        let words = format!("it could have started; it waited {}", lasted(*from_ms, *to_ms));
        axis.line(out, "wait", row, (*from_ms, *to_ms), &words)?;
    }
    Ok(())
}

/// Draws the delays between attempts of a task, where both are on one lane; returns how many.
pub(super) fn delays(
    out: &mut dyn Write,
    axis: &Axis,
    spans: &[Span],
    lanes: &[usize],
) -> std::result::Result<usize, std::fmt::Error> {
    let mut last: HashMap<TaskIndex, (i64, usize)> = HashMap::new();
    let mut drawn = 0;
    for (span, lane) in spans.iter().zip(lanes) {
        if let Some((end_ms, before)) = last.remove(&span.task)
            && before == *lane
            && axis.x(span.start_ms - end_ms) >= SEEN
        {
            let words = format!("before the next attempt it waited {}", lasted(end_ms, span.start_ms));
            axis.line(out, "delay", *lane, (end_ms, span.start_ms), &words)?;
            drawn += 1;
        }
        if let Some(end_ms) = span.end_ms {
            last.insert(span.task, (end_ms, *lane));
        }
    }
    Ok(drawn)
}

fn lasted(from_ms: i64, to_ms: i64) -> String {
    shown_seconds((to_ms - from_ms) as f64 / 1e3)
}

/// Draws a mark for each task that had not to run, on its row.
pub(super) fn reused_on_rows(
    out: &mut dyn Write,
    axis: &Axis,
    times: &Times,
    row_of: &HashMap<u32, usize>,
    summary: &Summary,
) -> Result {
    for (task, at_ms) in &times.reused {
        let row = row_of.get(&task.0).copied().unwrap_or_default();
        let task = summary.task(*task);
        let words = format!("{} {}", Name(&task.name), Name(&task.sentence));
        mark(out, axis, *at_ms, axis.y(row) + 4, &[task.index.0], &words)?;
    }
    Ok(())
}

/// Draws marks for tasks that had not to run, above the lanes; what is too near to be told apart is one mark.
pub(super) fn reused_above(out: &mut dyn Write, axis: &Axis, times: &Times, summary: &Summary) -> Result {
    let mut marks: Vec<(i64, Vec<u32>)> = Vec::new();
    for (task, at_ms) in &times.reused {
        match marks.last_mut() {
            Some((first_ms, tasks)) if axis.x(at_ms - *first_ms) < MARK => tasks.push(task.0),
            _ => marks.push((*at_ms, vec![task.0])),
        }
    }
    for (at_ms, tasks) in marks {
        let words = match tasks[..] {
            [task] => {
                let task = summary.task(TaskIndex(task));
                format!("{} {}", Name(&task.name), Name(&task.sentence))
            }
            _ => format!("{} reused", counted(tasks.len(), "task")),
        };
        mark(out, axis, at_ms, AXIS_PX, &tasks, &words)?;
    }
    Ok(())
}

fn mark(out: &mut dyn Write, axis: &Axis, at_ms: i64, y: usize, tasks: &[u32], words: &str) -> Result {
    let x = axis.x(at_ms).min(1.0 - MARK) * 100.0;
    write!(out, "<a href=#t{} tabindex=-1", tasks[0])?;
    if tasks.len() > 1 {
        write!(out, " data-tasks=\"{}\"", places(tasks.iter().copied()))?;
    }
    writeln!(
        out,
        "><svg x={x:.2}% y={y} width=18 height=18 viewBox=\"0 0 14 14\">\
         <path class=reused d=\"M7 0l7 7-7 7-7-7z\"><title>{words}</title></path></svg></a>"
    )
}
