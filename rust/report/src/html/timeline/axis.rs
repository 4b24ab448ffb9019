//! Where a moment and a lane are in a timeline, and the times above it.

use dirigent_core::outcome::shown_duration;
use std::fmt::{Result, Write};

/// The narrowest thing that is drawn by itself, as a part of the width: about a pixel.
pub(super) const PIXEL: f64 = 0.001;
/// Height of the line of times above the bars.
pub(super) const AXIS_PX: usize = 24;

/// The measures of a timeline.
pub(super) struct Axis {
    /// From the left edge to the right one.
    pub(super) span_ms: f64,
    /// What is above the first lane.
    pub(super) top_px: usize,
    pub(super) lane_px: usize,
}

impl Axis {
    /// A moment as a part of the width, from 0 to 1.
    pub(super) fn x(&self, at_ms: i64) -> f64 {
        at_ms as f64 / self.span_ms
    }

    /// The upper edge of a lane.
    pub(super) fn y(&self, lane: usize) -> usize {
        self.top_px + lane * self.lane_px
    }

    /// What is left free above and below the bars of a lane.
    pub(super) fn gap_px(&self) -> usize {
        if self.lane_px > 8 { 3 } else { 1 }
    }

    /// A line along the middle of a lane, with words that say how long it is.
    pub(super) fn line(
        &self,
        out: &mut dyn Write,
        class: &str,
        lane: usize,
        (from_ms, to_ms): (i64, i64),
        words: &str,
    ) -> Result {
        let (from, to) = (self.x(from_ms) * 100.0, self.x(to_ms) * 100.0);
        let y = self.y(lane) + self.lane_px / 2;
        writeln!(
            out,
            "<line class={class} x1={from:.2}% x2={to:.2}% y1={y} y2={y}><title>{words}</title></line>"
        )
    }

    /// Writes the times.
    pub(super) fn ticks(&self, out: &mut dyn Write) -> Result {
        let span_s = self.span_ms / 1e3;
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
