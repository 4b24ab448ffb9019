//! When each attempt ran, drawn. Few tasks get a row each, with their names; many share lanes.

mod axis;
mod bars;
mod around;
mod below;

use crate::escape::Name;
use crate::quantity::{counted, grouped, shown_seconds};
use crate::sentence::status_words;
use crate::summary::{Summary, TaskSummary};
use crate::times::{self, Times};
use axis::{AXIS_PX, Axis};
use bars::Bar;
use dirigent_core::State;
use dirigent_core::state::TaskStatus;
use std::collections::HashMap;
use std::fmt::{Result, Write};

/// Up to so many tasks, each has a row.
const MOST_ROWS: usize = 50;
/// Beyond so many lanes no task keeps its own while it is to be tried again.
const MOST_KEPT_LANES: usize = 64;
/// Height of the marks above lanes.
const MARKS_PX: usize = 24;

/// A task with a row of its own, and when its row begins.
type Row<'a> = (&'a TaskSummary, i64);

/// What the legend explains, beside states.
#[derive(Default)]
struct Shown {
    rows: bool,
    waits: bool,
    delays: bool,
    start_up: bool,
    cpu: bool,
}

/// Writes the timeline; nothing where no task has run.
pub(super) fn write(out: &mut dyn Write, state: &State, times: &Times, summary: &Summary) -> Result {
    if times.spans.is_empty() {
        return Ok(());
    }
    let rows = rows(times, summary);
    let has_rows = rows.len() <= MOST_ROWS;
    writeln!(out, "<section class=timeline>\n<h2>Timeline</h2>")?;
    writeln!(out, "<div class={}>", if has_rows { "rows" } else { "lanes" })?;
    if has_rows {
        names(out, &rows)?;
    }
    let span_ms = (times.end_ms as f64).max(summary.elapsed_s * 1e3).max(1.0);
    let mut axis = Axis { span_ms, top_px: AXIS_PX, lane_px: 26 };
    let all_waits = times.waits(state);
    let waits = around::seen(&all_waits, &axis);
    let mut shown = Shown { rows: has_rows, ..Shown::default() };
    let of_rows = (0..).zip(&rows).map(|(row, (task, _))| (task.index.0, row));
    let row_of: HashMap<u32, usize> = of_rows.collect();
    let lanes: Vec<usize> = match has_rows {
        true => times.spans.iter().map(|span| row_of[&span.task.0]).collect(),
        false => lanes(times),
    };
    let count = if has_rows { rows.len() } else { lanes.iter().max().map_or(1, |most| most + 1) };
    if !has_rows {
        axis.top_px += if times.reused.is_empty() { 0 } else { MARKS_PX };
        axis.lane_px = match count {
            0..=16 => 24,
            17..=64 => 12,
            _ => 5,
        };
    }
    let bars =
        if has_rows { bars::on_rows(times, &axis, &row_of) } else { bars::on_lanes(times, &axis, &lanes) };
    shown.start_up = bars::show_start_up(&bars, &axis);
    let height = axis.y(count);
    writeln!(
        out,
        "<svg class=chart height={height} role=group aria-label=\"When each task ran; the table has the figures\">"
    )?;
    out.write_str(PATTERNS)?;
    axis.ticks(out)?;
    shown.delays = around::delays(out, &axis, &times.spans, &lanes)? > 0;
    shown.waits = has_rows && !waits.is_empty();
    if has_rows {
        around::waits(out, &axis, &waits, &row_of)?;
        around::reused_on_rows(out, &axis, times, &row_of, summary)?;
    } else {
        around::reused_above(out, &axis, times, summary)?;
    }
    chart(out, &bars, summary, &axis, if has_rows { &[] } else { &waits })?;
    writeln!(out, "</svg>")?;
    if has_rows {
        durations(out, &rows)?;
    }
    shown.cpu = below(out, state, times, summary, &axis, if has_rows { &[] } else { &all_waits })?;
    writeln!(out, "</div>")?;
    legend(out, summary, times, &shown)?;
    writeln!(out, "</section>")
}

fn chart(
    out: &mut dyn Write,
    bars: &[Bar<'_>],
    summary: &Summary,
    axis: &Axis,
    waits: &[(dirigent_core::TaskIndex, i64, i64)],
) -> Result {
    let since = waits.iter().map(|(task, from_ms, _)| (task.0, *from_ms)).collect();
    bars::draw(out, bars, summary, axis, &since)?;
    bars::critical(out, bars, axis)
}

/// The lane of each attempt. Where that takes not too many, a task keeps its own until its last attempt.
fn lanes(times: &Times) -> Vec<usize> {
    let kept = times.lanes(true);
    if kept.iter().all(|lane| *lane < MOST_KEPT_LANES) { kept } else { times.lanes(false) }
}

fn names(out: &mut dyn Write, rows: &[Row<'_>]) -> Result {
    writeln!(out, "<ol class=names>")?;
    for (task, _) in rows {
        let (index, class, name) = (task.index, task.status.name(), Name(&task.name));
        writeln!(out, "<li><i class=\"mark {class}\"></i><a href=#t{index} title=\"{name}\">{name}</a>")?;
    }
    writeln!(out, "</ol>")
}

fn durations(out: &mut dyn Write, rows: &[Row<'_>]) -> Result {
    writeln!(out, "<ol class=times>")?;
    for (task, _) in rows {
        let is_reused = task.reused_from.is_some();
        let took = if task.ran() { shown_seconds(task.wall_s) } else { "–".to_owned() };
        writeln!(out, "<li>{}", if is_reused { "reused" } else { &took })?;
    }
    writeln!(out, "</ol>")
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

/// Writes how many ran at once, how many were ready and waited, and how many processors were busy, where that is known.
/// Returns whether it was.
fn below(
    out: &mut dyn Write,
    state: &State,
    times: &Times,
    summary: &Summary,
    axis: &Axis,
    waits: &[(dirigent_core::TaskIndex, i64, i64)],
) -> std::result::Result<bool, std::fmt::Error> {
    let at_once = times.at_once(state);
    if let Some(peak) = at_once.iter().map(|(_, count)| *count).max().filter(|peak| *peak > 0) {
        let greatest = format!("{peak} of {}", summary.max_concurrency);
        let said = format!("At most {peak} at once, of {}", summary.max_concurrency);
        below::area(out, &below::most(&at_once, axis), "tasks", ["At once", &said, &greatest])?;
    }
    let changes = waits.iter().flat_map(|(_, from_ms, to_ms)| [(*from_ms, true), (*to_ms, false)]);
    let waiting = times::counted(changes.collect());
    if let Some(peak) = waiting.iter().map(|(_, count)| *count).max() {
        let peak = grouped(peak);
        let said = format!("At most {peak} tasks were ready and not started yet");
        below::area(out, &below::most(&waiting, axis), "waiting", ["Waiting", &said, &peak])?;
    }
    let cores = below::average(&times.cores(), axis);
    let peak = cores.iter().copied().fold(0.0, f64::max);
    let is_seen = peak >= 0.05;
    if is_seen {
        let greatest = format!("{peak:.1} cores");
        let said = format!(
            "At most {peak:.1} processors busy; what an attempt used counts as spread evenly over its time"
        );
        below::area(out, &cores, "cpu", ["CPU", &said, &greatest])?;
    }
    Ok(is_seen)
}

fn legend(out: &mut dyn Write, summary: &Summary, times: &Times, shown: &Shown) -> Result {
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
    if !times.critical.tasks.is_empty() {
        let words = format!(
            "critical path: {}, {} of {}",
            counted(times.critical.tasks.len(), "task"),
            shown_seconds(times.critical.took_ms as f64 / 1e3),
            shown_seconds(summary.elapsed_s)
        );
        sample("<rect class=critical y=4 width=100% height=2></rect>", &words)?;
    }
    if shown.start_up {
        let bar =
            "<rect class=completed width=100% height=100% /><rect class=start-up width=45% height=100% />";
        sample(bar, "start-up, then run")?;
    }
    if shown.waits {
        sample("<line class=wait x2=100% y1=5 y2=5></line>", "ready, but not started yet")?;
    }
    if shown.delays {
        sample("<line class=delay x2=100% y1=5 y2=5></line>", "before the next attempt")?;
    }
    if !times.reused.is_empty() {
        let words = format!("{} reused from earlier runs", grouped(times.reused.len()));
        sample("<path class=reused d=\"M11 0l5 5-5 5-5-5z\"></path>", &words)?;
    }
    if shown.cpu {
        writeln!(out, "<span class=muted>CPU: what each attempt used, spread evenly over its time</span>")?;
    }
    if !shown.rows {
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
