//! When each task ran, drawn. Few tasks get a row each, with their names; many share as many lanes as ran at once.

use crate::escape::Name;
use crate::quantity::{counted, grouped, shown_seconds};
use crate::sentence::status_words;
use crate::summary::{Summary, TaskSummary};
use crate::svg::places;
use dirigent_core::outcome::shown_duration;
use dirigent_core::state::TaskStatus;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt::{Result, Write};

/// Up to so many tasks, each has a row.
const MOST_ROWS: usize = 50;
/// The narrowest thing that is drawn by itself, as a part of the width: about a pixel.
const PIXEL: f64 = 0.001;
/// Height of the line of times above the bars.
const AXIS_PX: usize = 24;

/// One bar: a task, or several too short to tell apart.
struct Bar<'a> {
    lane: usize,
    /// Both as parts of the run's time, 0 to 1.
    start: f64,
    end: f64,
    first: &'a TaskSummary,
    tasks: Vec<u32>,
}

/// Writes the timeline; nothing where no task has run.
pub(super) fn write(out: &mut dyn Write, summary: &Summary) -> Result {
    let mut ran: Vec<&TaskSummary> =
        summary.tasks.iter().filter(|task| task.started_after_s.is_some()).collect();
    if ran.is_empty() {
        return Ok(());
    }
    ran.sort_by(|a, b| {
        a.started_after_s.partial_cmp(&b.started_after_s).unwrap_or(std::cmp::Ordering::Equal)
    });
    let last = ran.iter().filter_map(|task| task.ended_after_s).fold(summary.elapsed_s, f64::max);
    let span_s = last.max(0.001);
    let rows = ran.len() <= MOST_ROWS;
    let bars = bars(&ran, span_s, rows);
    let lanes = bars.iter().map(|bar| bar.lane + 1).max().unwrap_or(1);
    let lane_px = match lanes {
        _ if rows => 26,
        0..=16 => 24,
        17..=64 => 12,
        _ => 5,
    };
    writeln!(out, "<section class=timeline>\n<h2>Timeline</h2>")?;
    writeln!(out, "<div class={}>", if rows { "rows" } else { "lanes" })?;
    if rows {
        writeln!(out, "<ol class=names>")?;
        for task in &ran {
            let (index, class, name) = (task.index, task.status.name(), Name(&task.name));
            writeln!(out, "<li><i class=\"mark {class}\"></i><a href=#t{index} title=\"{name}\">{name}</a>")?;
        }
        writeln!(out, "</ol>")?;
    }
    draw(out, &bars, span_s, lanes, lane_px)?;
    if rows {
        writeln!(out, "<ol class=times>")?;
        for task in &ran {
            writeln!(out, "<li>{}", if task.ran() { shown_seconds(task.wall_s) } else { "–".to_owned() })?;
        }
        writeln!(out, "</ol>")?;
    }
    writeln!(out, "</div>")?;
    legend(out, summary, &ran, lanes, rows)?;
    writeln!(out, "</section>")
}

/// Places tasks, sorted by their start, on lanes; each on its own, or on the lowest that is free.
fn bars<'a>(ran: &[&'a TaskSummary], span_s: f64, rows: bool) -> Vec<Bar<'a>> {
    let mut bars: Vec<Bar<'a>> = Vec::with_capacity(ran.len());
    let mut free = BTreeSet::new();
    // Ends in microseconds, since floats have no order of their own.
    let mut busy = BinaryHeap::new();
    let mut last_on_lane: Vec<usize> = Vec::new();
    for (row, &task) in ran.iter().enumerate() {
        let start_s = task.started_after_s.unwrap_or(0.0);
        let end_s = task.ended_after_s.unwrap_or(span_s).max(start_s);
        let (start, end) = (start_s / span_s, end_s / span_s);
        if rows {
            bars.push(Bar { lane: row, start, end, first: task, tasks: vec![task.index.0] });
            continue;
        }
        while let Some(Reverse((_, lane))) =
            busy.peek().filter(|Reverse((end, _))| *end <= micros(start_s)).copied()
        {
            busy.pop();
            free.insert(lane);
        }
        let lane = free.pop_first().unwrap_or(busy.len());
        busy.push(Reverse((micros(end_s), lane)));
        let bar = Bar { lane, start, end, first: task, tasks: vec![task.index.0] };
        match last_on_lane.get(lane) {
            Some(&last) if joins(&bars[last], &bar) => {
                bars[last].end = end;
                bars[last].tasks.push(task.index.0);
            }
            Some(_) => {
                last_on_lane[lane] = bars.len();
                bars.push(bar);
            }
            None => {
                last_on_lane.push(bars.len());
                bars.push(bar);
            }
        }
    }
    bars
}

/// Whether a bar is too short to be told from the one before it: alike, touching, and both within a few pixels.
fn joins(last: &Bar<'_>, next: &Bar<'_>) -> bool {
    let short = next.end - next.start < PIXEL && last.end - last.start < 4.0 * PIXEL;
    short && next.start - last.end < PIXEL && last.first.status == next.first.status
}

fn micros(s: f64) -> u64 {
    (s * 1e6) as u64
}

fn draw(out: &mut dyn Write, bars: &[Bar<'_>], span_s: f64, lanes: usize, lane_px: usize) -> Result {
    let height = AXIS_PX + lanes * lane_px;
    writeln!(
        out,
        "<svg class=chart height={height} role=img aria-label=\"When each task ran; the table has the figures\">"
    )?;
    out.write_str(PATTERNS)?;
    ticks(out, span_s)?;
    let gap = if lane_px > 8 { 3 } else { 1 };
    // What went wrong is drawn last, over its neighbours.
    let (bad, good): (Vec<_>, Vec<_>) = bars.iter().partition(|bar| bar.first.status.is_failure());
    for bar in good.into_iter().chain(bad) {
        let least = if bar.first.status.is_failure() { 4.0 * PIXEL } else { PIXEL };
        let x = bar.start.min(1.0 - least);
        let (x, width) = (x * 100.0, (bar.end - x).max(least) * 100.0);
        let y = AXIS_PX + bar.lane * lane_px + gap;
        let (index, class) = (bar.first.index, bar.first.status.name());
        write!(
            out,
            "<a href=#t{index} tabindex=-1{}><rect class={class} x={x:.2}% y={y} width={width:.2}% height={}><title>",
            several(&bar.tasks),
            lane_px - 2 * gap
        )?;
        if bar.tasks.len() == 1 {
            let (name, sentence) = (Name(&bar.first.name), Name(&bar.first.sentence));
            write!(out, "{name} {sentence}{}", bar.first.after())?;
        } else {
            write!(out, "{} {}", counted(bar.tasks.len(), "task"), status_words(bar.first.status))?;
        }
        writeln!(out, "</title></rect></a>")?;
    }
    writeln!(out, "</svg>")
}

/// The tasks of a bar that stands for several, for the script.
fn several(tasks: &[u32]) -> String {
    if tasks.len() == 1 {
        String::new()
    } else {
        format!(" data-tasks=\"{}\"", places(tasks.iter().copied()))
    }
}

fn ticks(out: &mut dyn Write, span_s: f64) -> Result {
    let step = tick_step(span_s);
    for i in 0.. {
        let at_s = step * f64::from(i);
        let x = at_s / span_s * 100.0;
        if x > 100.0 {
            break;
        }
        writeln!(out, "<line x1={x:.2}% x2={x:.2}% y1=0 y2=100%></line>")?;
        if x < 93.0 {
            writeln!(out, "<text x={x:.2}% dx=5 y=14>{}</text>", tick_label(at_s))?;
        }
    }
    Ok(())
}

fn tick_label(at_s: f64) -> String {
    match (at_s * 1e3).round() as u64 {
        0 => "0 s".to_owned(),
        at_ms => shown_duration(at_ms),
    }
}

/// The distance between ticks in seconds: a round number, at most eight of them.
fn tick_step(span_s: f64) -> f64 {
    const ROUND: [f64; 25] = [
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0,
        300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0,
    ];
    let least = span_s / 8.0;
    ROUND.into_iter().find(|step| *step >= least).unwrap_or_else(|| (least / 86_400.0).ceil() * 86_400.0)
}

fn legend(out: &mut dyn Write, summary: &Summary, ran: &[&TaskSummary], lanes: usize, rows: bool) -> Result {
    write!(out, "<p class=legend>")?;
    for status in TaskStatus::ALL {
        if ran.iter().any(|task| task.status == status) {
            let (class, words) = (status.name(), status_words(status));
            writeln!(
                out,
                "<span><svg class=swatch aria-hidden=true><rect class={class} width=100% height=100%></rect></svg>{words}</span>"
            )?;
        }
    }
    if !rows {
        writeln!(
            out,
            "<span class=muted>{} at the busiest; each bar leads to its task</span>",
            counted(lanes, "task")
        )?;
    }
    let never = summary.tasks.len() - ran.len();
    if never > 0 {
        writeln!(out, "<span class=muted>{} never started</span>", grouped(never))?;
    }
    Ok(())
}

/// States differ by pattern as well as by colour. The names are those the style sheet fills with.
const PATTERNS: &str = r#"<defs>
<pattern id=p-failed width=12 height=12 patternUnits=userSpaceOnUse><rect class=base width=12 height=12></rect><path d="M0 0L12 12M12 0L0 12"></path></pattern>
<pattern id=p-timed_out width=10 height=10 patternUnits=userSpaceOnUse><rect class=base width=10 height=10></rect><path d="M0 10L10 0M-2 2L2 -2M8 12L12 8"></path></pattern>
<pattern id=p-cancelled width=6 height=6 patternUnits=userSpaceOnUse><rect class=base width=6 height=6></rect><path d="M3 0V6"></path></pattern>
<pattern id=p-running width=8 height=8 patternUnits=userSpaceOnUse><rect class=base width=8 height=8></rect><path d="M0 4H8"></path></pattern>
</defs>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (span_s, step) in
            [(0.004, 0.001), (1.0, 0.2), (12.4, 2.0), (100.0, 20.0), (7_200.0, 1_200.0), (9e6, 1_209_600.0)]
        {
            assert_eq!(tick_step(span_s), step, "for {span_s} s");
        }
    }
}
