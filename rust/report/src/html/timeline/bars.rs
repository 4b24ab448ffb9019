//! The bars of a timeline: each an attempt, or several that are too short to be told apart.

use super::axis::{Axis, PIXEL};
use crate::escape::Name;
use crate::quantity::counted;
use crate::sentence::status_words;
use crate::summary::Summary;
use crate::svg::places;
use crate::times::{Span, Times};
use dirigent_core::outcome::shown_duration;
use dirigent_core::state::TaskStatus;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{Result, Write};

/// Where there would be more, neighbours become one.
const MOST_BARS: usize = 2_500;

/// So many failures are drawn wider than they were, so as to be seen.
const MOST_MARKED: usize = 100;

/// One bar.
pub(super) struct Bar<'a> {
    pub(super) lane: usize,
    /// Both as parts of the run's time, 0 to 1.
    start: f64,
    end: f64,
    pub(super) first: &'a Span,
    /// How its attempts ended, the worst of them.
    status: TaskStatus,
    is_critical: bool,
    /// How many attempts there are of each status.
    counts: BTreeMap<&'static str, (TaskStatus, usize)>,
    tasks: Vec<u32>,
}

impl<'a> Bar<'a> {
    fn of(span: &'a Span, lane: usize, axis: &Axis, times: &Times) -> Self {
        Self {
            lane,
            start: axis.x(span.start_ms),
            end: span.end_ms.map_or(1.0, |end_ms| axis.x(end_ms)),
            first: span,
            status: span.status,
            is_critical: times.critical.has(span),
            counts: [(span.status.name(), (span.status, 1))].into(),
            tasks: vec![span.task.0],
        }
    }

    /// Takes in the next one on its lane.
    fn join(&mut self, next: Self) {
        self.end = self.end.max(next.end);
        self.is_critical |= next.is_critical;
        for (name, (status, n)) in next.counts {
            self.counts.entry(name).or_insert((status, 0)).1 += n;
        }
        let place = |status: TaskStatus| TaskStatus::ALL.iter().position(|it| *it == status);
        if place(next.status) < place(self.status) {
            self.status = next.status;
        }
        self.tasks.extend(next.tasks);
    }

    /// How most of its attempts ended.
    fn usual(&self) -> TaskStatus {
        self.counts.values().max_by_key(|(_, n)| *n).map_or(self.status, |(status, _)| *status)
    }

    /// Whether the next one is too short to be told from it: touching, and both within a few pixels.
    fn joins(&self, next: &Self, pixel: f64, are_alike: bool) -> bool {
        let is_short = next.end - next.start < pixel && self.end - self.start < 4.0 * pixel;
        is_short && next.start - self.end < pixel && (!are_alike || self.status == next.status)
    }

    /// Its left edge and its width, in percent.
    fn extent(&self, least: f64) -> (f64, f64) {
        let x = self.start.min(1.0 - least);
        (x * 100.0, (self.end - x).max(least) * 100.0)
    }
}

/// A bar for each attempt on the row of its task.
pub(super) fn on_rows<'a>(times: &'a Times, axis: &Axis, row_of: &HashMap<u32, usize>) -> Vec<Bar<'a>> {
    let lane = |span: &Span| row_of.get(&span.task.0).copied().unwrap_or_default();
    times.spans.iter().map(|span| Bar::of(span, lane(span), axis, times)).collect()
}

/// Bars on lanes, not too many: those that touch are one, at first where they are alike, then where they are short.
pub(super) fn on_lanes<'a>(times: &'a Times, axis: &Axis, lanes: &[usize]) -> Vec<Bar<'a>> {
    let mut pixel = PIXEL;
    let mut bars = joined(times, axis, lanes, pixel, true);
    while bars.len() > MOST_BARS && pixel < 0.1 {
        bars = joined(times, axis, lanes, pixel, false);
        pixel *= 2.0;
    }
    bars
}

fn joined<'a>(times: &'a Times, axis: &Axis, lanes: &[usize], pixel: f64, are_alike: bool) -> Vec<Bar<'a>> {
    let mut bars: Vec<Bar<'a>> = Vec::with_capacity(times.spans.len());
    let mut last_on_lane: HashMap<usize, usize> = HashMap::new();
    for (span, lane) in times.spans.iter().zip(lanes) {
        let bar = Bar::of(span, *lane, axis, times);
        match last_on_lane.get(lane) {
            Some(&last) if bars[last].joins(&bar, pixel, are_alike) => bars[last].join(bar),
            _ => {
                last_on_lane.insert(*lane, bars.len());
                bars.push(bar);
            }
        }
    }
    bars
}

/// Draws bars. `waits`: of tasks that could have started, since when; the script shows it of the one that is selected.
pub(super) fn draw(
    out: &mut dyn Write,
    bars: &[Bar<'_>],
    summary: &Summary,
    axis: &Axis,
    waits: &HashMap<u32, i64>,
) -> Result {
    let gap_px = axis.gap_px();
    // What went wrong is drawn last, over its neighbours.
    let (bad, good): (Vec<_>, Vec<_>) = bars.iter().partition(|bar| bar.status.is_failure());
    // A few are to be found; many would hide what completed.
    let are_few = bad.len() <= MOST_MARKED;
    for bar in good.into_iter().chain(bad) {
        let is_mixed = bar.counts.len() > 1;
        let is_marked = are_few && bar.status.is_failure() && !is_mixed;
        let (x, width) = bar.extent(if is_marked { 4.0 * PIXEL } else { PIXEL });
        let (y, height) = (axis.y(bar.lane) + gap_px, axis.lane_px - 2 * gap_px);
        let (index, class) = (bar.first.task, bar.usual().name());
        write!(out, "<a href=#t{index} tabindex=-1")?;
        if bar.tasks.len() > 1 {
            write!(out, " data-tasks=\"{}\"", places(bar.tasks.iter().copied()))?;
        } else if let Some(ready_ms) = waits.get(&index.0).filter(|_| bar.first.attempt < 2) {
            write!(out, " data-ready={:.2}", axis.x(*ready_ms) * 100.0)?;
        }
        write!(out, "><rect class={class} x={x:.2}% y={y} width={width:.2}% height={height}><title>")?;
        title(out, bar, summary)?;
        let start_up = start_up(bar).filter(|ms| ms / axis.span_ms >= PIXEL);
        if let Some(ms) = start_up {
            write!(out, "; start-up {}", shown_duration(ms.round() as u64))?;
        }
        write!(out, "</title></rect>")?;
        if class != bar.status.name() {
            // Of several, the part that the worst of them has is as high as there are many.
            let part =
                bar.counts.get(bar.status.name()).map_or(0, |(_, n)| n * height / bar.tasks.len()).max(2);
            let (class, y) = (bar.status.name(), y + height - part);
            write!(out, "<rect class={class} x={x:.2}% y={y} width={width:.2}% height={part} />")?;
        }
        if let Some(start_up) = start_up {
            let width = axis.x(1) * start_up * 100.0;
            write!(out, "<rect class=start-up x={x:.2}% y={y} width={width:.2}% height={height} />")?;
        }
        writeln!(out, "</a>")?;
    }
    Ok(())
}

/// How long it took to start what a bar stands for, in milliseconds.
fn start_up(bar: &Bar<'_>) -> Option<f64> {
    let span = bar.first;
    let most_ms = (span.end_ms? - span.start_ms) as f64;
    let took_ms = (span.start_us as f64 / 1e3).min(most_ms);
    (bar.tasks.len() == 1 && took_ms > 0.0).then_some(took_ms)
}

/// Whether it is seen of any of them how long it took to start it.
pub(super) fn show_start_up(bars: &[Bar<'_>], axis: &Axis) -> bool {
    bars.iter().any(|bar| start_up(bar).is_some_and(|ms| ms / axis.span_ms >= 2.0 * PIXEL))
}

fn title(out: &mut dyn Write, bar: &Bar<'_>, summary: &Summary) -> Result {
    if bar.tasks.len() > 1 {
        let mut counts: Vec<_> = bar.counts.values().collect();
        counts.sort_by_key(|(status, _)| TaskStatus::ALL.iter().position(|it| it == status));
        if let [(status, n)] = counts[..] {
            return write!(out, "{} {}", counted(*n, "task"), status_words(*status));
        }
        let words: Vec<String> =
            counts.iter().map(|(status, n)| format!("{n} {}", status_words(*status))).collect();
        return write!(out, "{}: {}", counted(bar.tasks.len(), "attempt"), words.join(", "));
    }
    let task = summary.task(bar.first.task);
    if task.attempts > 1 {
        let (attempt, words) = (bar.first.attempt, status_words(bar.first.status));
        write!(out, "{} attempt {attempt} of {} {words}", Name(&task.name), task.attempts)?;
    } else {
        write!(out, "{} {}{}", Name(&task.name), Name(&task.sentence), task.after())?;
    }
    Ok(())
}

/// Draws a line below the bars of those attempts that decided when the run ended.
pub(super) fn critical(out: &mut dyn Write, bars: &[Bar<'_>], axis: &Axis) -> Result {
    for bar in bars.iter().filter(|bar| bar.is_critical) {
        let y = axis.y(bar.lane + 1) - 2;
        let (x, width) = bar.extent(PIXEL);
        writeln!(out, "<rect class=critical x={x:.2}% y={y} width={width:.2}% height=2></rect>")?;
    }
    Ok(())
}
