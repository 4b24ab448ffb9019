//! When each attempt ran, drawn. Few tasks get a row each, with their names; many share as many lanes as ran at once.

use crate::escape::Name;
use crate::quantity::{counted, grouped, shown_seconds};
use crate::sentence::status_words;
use crate::summary::{Summary, TaskSummary};
use crate::svg::places;
use crate::times::{Span, Times};
use dirigent_core::outcome::shown_duration;
use dirigent_core::state::TaskStatus;
use dirigent_core::{State, TaskIndex};
use std::collections::HashMap;
use std::fmt::{Result, Write};

/// Up to so many tasks, each has a row.
const MOST_ROWS: usize = 50;
/// The narrowest thing that is drawn by itself, as a part of the width: about a pixel.
const PIXEL: f64 = 0.001;
/// Height of the line of times above the bars.
const AXIS_PX: usize = 24;

/// One bar: an attempt, or several too short to tell apart.
struct Bar<'a> {
    lane: usize,
    /// Both as parts of the run's time, 0 to 1.
    start: f64,
    end: f64,
    first: &'a Span,
    tasks: Vec<u32>,
}

/// A task with a row of its own, and when its row begins.
type Row<'a> = (&'a TaskSummary, i64);

/// Writes the timeline; nothing where no task has run.
pub(super) fn write(out: &mut dyn Write, state: &State, times: &Times, summary: &Summary) -> Result {
    if times.spans.is_empty() {
        return Ok(());
    }
    let span_ms = (times.end_ms as f64).max(summary.elapsed_s * 1e3).max(1.0);
    let rows = rows(times, summary);
    let has_rows = rows.len() <= MOST_ROWS;
    let waits = if has_rows { waits(state, &rows, span_ms) } else { Vec::new() };
    let bars = bars(times, span_ms, if has_rows { &rows } else { &[] });
    let lanes = if has_rows { rows.len() } else { bars.iter().map(|bar| bar.lane + 1).max().unwrap_or(1) };
    let lane_px = match lanes {
        _ if has_rows => 26,
        0..=16 => 24,
        17..=64 => 12,
        _ => 5,
    };
    writeln!(out, "<section class=timeline>\n<h2>Timeline</h2>")?;
    writeln!(out, "<div class={}>", if has_rows { "rows" } else { "lanes" })?;
    if has_rows {
        writeln!(out, "<ol class=names>")?;
        for (task, _) in &rows {
            let (index, class, name) = (task.index, task.status.name(), Name(&task.name));
            writeln!(out, "<li><i class=\"mark {class}\"></i><a href=#t{index} title=\"{name}\">{name}</a>")?;
        }
        writeln!(out, "</ol>")?;
    }
    let height = AXIS_PX + lanes * lane_px;
    writeln!(
        out,
        "<svg class=chart height={height} role=group aria-label=\"When each task ran; the table has the figures\">"
    )?;
    out.write_str(PATTERNS)?;
    ticks(out, span_ms / 1e3)?;
    if has_rows {
        around(out, times, &waits, span_ms, &rows)?;
    }
    draw(out, &bars, summary, lane_px)?;
    critical(out, times, &bars, lane_px)?;
    writeln!(out, "</svg>")?;
    if has_rows {
        writeln!(out, "<ol class=times>")?;
        for (task, _) in &rows {
            let is_reused = task.reused_from.is_some();
            let took = if task.ran() { shown_seconds(task.wall_s) } else { "–".to_owned() };
            writeln!(out, "<li>{}", if is_reused { "reused" } else { &took })?;
        }
        writeln!(out, "</ol>")?;
    }
    at_once(out, &times.at_once(state), span_ms, summary.max_concurrency)?;
    writeln!(out, "</div>")?;
    legend(out, summary, times, has_rows, !waits.is_empty())?;
    writeln!(out, "</section>")
}

/// Tasks that ran or had not to, by the first that is known of them.
fn rows<'a>(times: &Times, summary: &'a Summary) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut has_row = vec![false; summary.tasks.len()];
    let begun = times.spans.iter().map(|span| (span.task, span.start_ms));
    for (task, start_ms) in begun.chain(times.reused.iter().copied()) {
        if !std::mem::replace(&mut has_row[task.usize()], true) {
            rows.push((summary.task(task), start_ms));
        }
    }
    rows.sort_by_key(|(task, start_ms)| (*start_ms, task.index));
    rows
}

/// Places attempts, sorted by their start, on the rows of their tasks, or where there are none on the lowest free lane.
fn bars<'a>(times: &'a Times, span_ms: f64, rows: &[Row<'_>]) -> Vec<Bar<'a>> {
    let mut bars: Vec<Bar<'a>> = Vec::with_capacity(times.spans.len());
    let row_of: HashMap<TaskIndex, usize> =
        rows.iter().zip(0..).map(|((task, _), row)| (task.index, row)).collect();
    let lanes = times.lanes(|_| rows.is_empty());
    let mut last_on_lane: HashMap<usize, usize> = HashMap::new();
    for (span, lane) in times.spans.iter().zip(lanes) {
        let end_ms = span.end_ms.map_or(span_ms, |end_ms| end_ms as f64);
        let lane = lane.unwrap_or_else(|| row_of.get(&span.task).copied().unwrap_or_default());
        let bar = Bar {
            lane,
            start: span.start_ms as f64 / span_ms,
            end: end_ms / span_ms,
            first: span,
            tasks: vec![span.task.0],
        };
        match last_on_lane.get(&lane) {
            Some(&last) if rows.is_empty() && joins(&bars[last], &bar) => {
                bars[last].end = bar.end;
                bars[last].tasks.push(span.task.0);
            }
            _ => {
                last_on_lane.insert(lane, bars.len());
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

/// The row of a task that could have started, when it could, and when it did.
type Wait = (usize, i64, i64);

/// How long tasks waited although all that they need had ended, where that is long enough to be seen.
fn waits(state: &State, rows: &[Row<'_>], span_ms: f64) -> Vec<Wait> {
    let wait = |(row, (task, start_ms)): (usize, &Row<'_>)| {
        let ready_ms = Times::ready_ms(state, task.index).filter(|_| task.reused_from.is_none())?.max(0);
        let is_seen = (start_ms - ready_ms) as f64 >= 3.0 * PIXEL * span_ms;
        is_seen.then_some((row, ready_ms, *start_ms))
    };
    rows.iter().enumerate().filter_map(wait).collect()
}

/// What is around the bars of a row: the wait for a slot, the delay before the next attempt, and that it had not to run.
fn around(out: &mut dyn Write, times: &Times, waits: &[Wait], span_ms: f64, rows: &[Row<'_>]) -> Result {
    let mut line = |class: &str, row: usize, from_ms: i64, to_ms: i64, words: &str| -> Result {
        let (from, to) = (from_ms as f64 / span_ms, to_ms as f64 / span_ms);
        let y = AXIS_PX + row * 26 + 13;
        let took = shown_seconds((to_ms - from_ms) as f64 / 1e3);
        writeln!(
            out,
            "<line class={class} x1={:.2}% x2={:.2}% y1={y} y2={y}><title>{words} {took}</title></line>",
            from * 100.0,
            to * 100.0
        )
    };
    for (row, (task, _)) in rows.iter().enumerate() {
        for (_, ready_ms, start_ms) in waits.iter().filter(|(waiting, ..)| *waiting == row) {
            line("wait", row, *ready_ms, *start_ms, "it could have started; it waited")?;
        }
        let of_task: Vec<&Span> = times.spans.iter().filter(|span| span.task == task.index).collect();
        for pair in of_task.windows(2) {
            if let Some(end_ms) = pair[0].end_ms {
                line("delay", row, end_ms, pair[1].start_ms, "before the next attempt it waited")?;
            }
        }
    }
    for (task, at_ms) in &times.reused {
        let row = rows.iter().position(|(of_row, _)| of_row.index == *task).unwrap_or_default();
        let (x, y) = ((*at_ms as f64 / span_ms).min(1.0 - 8.0 * PIXEL) * 100.0, AXIS_PX + row * 26 + 4);
        let (name, sentence) = (Name(&rows[row].0.name), Name(&rows[row].0.sentence));
        writeln!(
            out,
            "<a href=#t{task} tabindex=-1><svg x={x:.2}% y={y} width=18 height=18 viewBox=\"0 0 14 14\">\
             <path class=reused d=\"M7 0l7 7-7 7-7-7z\"><title>{name} {sentence}</title></path></svg></a>"
        )?;
    }
    Ok(())
}

fn draw(out: &mut dyn Write, bars: &[Bar<'_>], summary: &Summary, lane_px: usize) -> Result {
    let gap = gap(lane_px);
    // What went wrong is drawn last, over its neighbours.
    let (bad, good): (Vec<_>, Vec<_>) = bars.iter().partition(|bar| bar.first.status.is_failure());
    for bar in good.into_iter().chain(bad) {
        let least = if bar.first.status.is_failure() { 4.0 * PIXEL } else { PIXEL };
        let x = bar.start.min(1.0 - least);
        let (x, width) = (x * 100.0, (bar.end - x).max(least) * 100.0);
        let y = AXIS_PX + bar.lane * lane_px + gap;
        let (index, class) = (bar.first.task, bar.first.status.name());
        write!(
            out,
            "<a href=#t{index} tabindex=-1{}><rect class={class} x={x:.2}% y={y} width={width:.2}% height={}><title>",
            several(&bar.tasks),
            lane_px - 2 * gap
        )?;
        let task = summary.task(bar.first.task);
        if bar.tasks.len() > 1 {
            write!(out, "{} {}", counted(bar.tasks.len(), "task"), status_words(bar.first.status))?;
        } else if task.attempts > 1 {
            let (attempt, words) = (bar.first.attempt, status_words(bar.first.status));
            write!(out, "{} attempt {attempt} of {} {words}", Name(&task.name), task.attempts)?;
        } else {
            write!(out, "{} {}{}", Name(&task.name), Name(&task.sentence), task.after())?;
        }
        writeln!(out, "</title></rect></a>")?;
    }
    Ok(())
}

fn gap(lane_px: usize) -> usize {
    if lane_px > 8 { 3 } else { 1 }
}

/// A line below the bars of those tasks that decided when the run ended.
fn critical(out: &mut dyn Write, times: &Times, bars: &[Bar<'_>], lane_px: usize) -> Result {
    for bar in bars.iter().filter(|bar| times.path.contains(&bar.first.task)) {
        let y = AXIS_PX + (bar.lane + 1) * lane_px - 2;
        let (x, width) = (bar.start.min(1.0 - PIXEL) * 100.0, (bar.end - bar.start).max(PIXEL) * 100.0);
        writeln!(out, "<rect class=critical x={x:.2}% y={y} width={width:.2}% height=2></rect>")?;
    }
    Ok(())
}

/// How many were under way at once, as an area under the bars.
fn at_once(out: &mut dyn Write, steps: &[(i64, usize)], span_ms: f64, at_most: u32) -> Result {
    const PARTS: usize = 1000;
    let Some(peak) = steps.iter().map(|(_, count)| *count).max().filter(|peak| *peak > 0) else {
        return Ok(());
    };
    // Of each thousandth of the time the most that there were in it.
    let mut most = vec![0; PARTS];
    for (step, (at_ms, count)) in steps.iter().enumerate() {
        let place = |at_ms: i64| ((at_ms as f64 / span_ms * PARTS as f64) as usize).min(PARTS - 1);
        let until =
            steps.get(step + 1).map_or(place(*at_ms), |(next_ms, _)| place((*next_ms - 1).max(*at_ms)));
        most[place(*at_ms)..=until].iter_mut().for_each(|most| *most = (*count).max(*most));
    }
    write!(
        out,
        "<p class=load-name>At once</p><svg class=load viewBox=\"0 0 {PARTS} {peak}\" preserveAspectRatio=none role=img \
         aria-label=\"At most {peak} at once, of {at_most}\"><path d=\"M0 {peak}"
    )?;
    let mut now = 0;
    for (x, count) in most.into_iter().enumerate() {
        if count != now {
            write!(out, "H{x}V{}", peak - count)?;
            now = count;
        }
    }
    writeln!(out, "H{PARTS}V{peak}z\"></path></svg><p class=load-most>{peak} of {at_most}</p>")
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

fn legend(out: &mut dyn Write, summary: &Summary, times: &Times, has_rows: bool, has_waits: bool) -> Result {
    write!(out, "<p class=legend>")?;
    let mut sample = |shape: &str, words: &str| {
        writeln!(out, "<span><svg class=swatch aria-hidden=true>{shape}</svg>{words}</span>")
    };
    for status in TaskStatus::ALL {
        if times.spans.iter().any(|span| span.status == status) {
            let rect = format!("<rect class={} width=100% height=100%></rect>", status.name());
            sample(&rect, status_words(status))?;
        }
    }
    if !times.path.is_empty() {
        let works_s: f64 = times.path.iter().map(|task| summary.task(*task).wall_s).sum();
        let words = format!(
            "critical path: {}, {} of {}",
            counted(times.path.len(), "task"),
            shown_seconds(works_s),
            shown_seconds(summary.elapsed_s)
        );
        sample("<rect class=critical y=4 width=100% height=2></rect>", &words)?;
    }
    if has_waits {
        sample("<line class=wait x2=100% y1=5 y2=5></line>", "ready, but not started yet")?;
    }
    if has_rows && times.spans.iter().any(|span| span.retry_ms.is_some()) {
        sample("<line class=delay x2=100% y1=5 y2=5></line>", "before the next attempt")?;
    }
    if !times.reused.is_empty() {
        let words = format!("{} reused from earlier runs", grouped(times.reused.len()));
        sample("<path class=reused d=\"M11 0l5 5-5 5-5-5z\"></path>", &words)?;
    }
    if !has_rows {
        writeln!(out, "<span class=muted>each bar leads to its tasks</span>")?;
    }
    let mut has_run = vec![false; summary.tasks.len()];
    times.spans.iter().map(|span| span.task).for_each(|task| has_run[task.usize()] = true);
    times.reused.iter().for_each(|(task, _)| has_run[task.usize()] = true);
    let never = has_run.iter().filter(|has_run| !**has_run).count();
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
