//! Below the bars of a timeline: how many ran at once, how many waited, and how many processors were busy.

use super::axis::Axis;
use std::fmt::{Result, Write};

/// Into how many parts the time is divided.
const PARTS: usize = 1000;

/// Of each part of the time the most that there were in it. `steps`: from each moment on, so many.
pub(super) fn most(steps: &[(i64, usize)], axis: &Axis) -> Vec<f64> {
    let mut most = vec![0.0; PARTS];
    let place = |at_ms: i64| ((axis.x(at_ms) * PARTS as f64) as usize).min(PARTS - 1);
    for (step, (at_ms, count)) in steps.iter().enumerate() {
        let until =
            steps.get(step + 1).map_or(place(*at_ms), |(next_ms, _)| place((*next_ms - 1).max(*at_ms)));
        most[place(*at_ms)..=until].iter_mut().for_each(|most| *most = f64::max(*most, *count as f64));
    }
    most
}

/// The average of each part of the time.
pub(super) fn average(steps: &[(i64, f64)], axis: &Axis) -> Vec<f64> {
    let mut average = vec![0.0; PARTS];
    for pair in steps.windows(2) {
        let [(from_ms, value), (to_ms, _)] = *pair else { continue };
        let (from, to) = (axis.x(from_ms) * PARTS as f64, axis.x(to_ms) * PARTS as f64);
        let last = (to as usize).min(PARTS - 1);
        for (part, average) in average.iter_mut().enumerate().take(last + 1).skip(from as usize) {
            let within = to.min(part as f64 + 1.0) - from.max(part as f64);
            *average += value * within.max(0.0);
        }
    }
    average
}

/// Draws values as an area, between its name and its greatest.
pub(super) fn area(
    out: &mut dyn Write,
    values: &[f64],
    class: &str,
    [name, said, greatest]: [&str; 3],
) -> Result {
    const HIGH: f64 = 100.0;
    let peak = values.iter().copied().fold(0.0, f64::max);
    write!(
        out,
        "<p class=load-name>{name}</p><svg class=\"load {class}\" viewBox=\"0 0 {PARTS} {HIGH}\" \
         preserveAspectRatio=none role=img aria-label=\"{said}\"><path d=\"M0 {HIGH}"
    )?;
    let mut now = HIGH;
    for (x, value) in values.iter().enumerate() {
        let y = (HIGH * (1.0 - value / peak)).round();
        if y != now {
            write!(out, "H{x}V{y}")?;
            now = y;
        }
    }
    writeln!(out, "H{PARTS}V{HIGH}z\"></path></svg><p class=load-most>{greatest}</p>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_time_hold_the_most_or_the_average_of_what_was_in_them() {
        let axis = Axis { span_ms: 2000.0, top_px: 0, lane_px: 1 };
        let most = most(&[(0, 1), (3, 4), (4, 0), (1999, 2), (2000, 0)], &axis);
        assert_eq!((most[0], most[1], most[2], most[999]), (1.0, 4.0, 0.0, 2.0));
        let average = average(&[(0, 1.0), (3, 4.0), (5, 0.0)], &axis);
        assert_eq!((average[0], average[1], average[2], average[3]), (1.0, 2.5, 2.0, 0.0));
    }
}
