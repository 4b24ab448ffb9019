//! How a run compares with those of the same workflow before it.

use crate::summary::{Summary, TaskSummary};
use std::collections::HashMap;

/// Tasks whose time changed by less are not told.
const LEAST_CHANGE: f64 = 0.1;
/// Neither are those that changed by less than this many seconds.
const LEAST_CHANGE_S: f64 = 0.05;
/// How many of those that changed most are told.
const MOST_CHANGES: usize = 5;

/// An earlier run of the same workflow that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct PastRun {
    /// Its id.
    pub run: String,
    /// How it ended: `succeeded`, `failed`, `cancelled`.
    pub status: String,
    /// From accepted to ended.
    pub elapsed_s: f64,
    /// How long its tasks took that completed, by their names; empty where that was not looked up.
    pub tasks: HashMap<String, f64>,
}

/// How long a task takes, and how long it took before.
#[derive(Debug, PartialEq)]
pub(crate) struct Change<'a> {
    pub(crate) task: &'a TaskSummary,
    pub(crate) before_s: f64,
}

/// The value in the middle; `None` of nothing.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The tasks whose times differ most from the median of those before, most first.
pub(crate) fn changes<'a>(summary: &'a Summary, past: &[PastRun]) -> Vec<Change<'a>> {
    let change = |task: &'a TaskSummary| {
        let before_s = median(past.iter().filter_map(|run| run.tasks.get(&task.name).copied()))?;
        let by_s = (task.wall_s - before_s).abs();
        let is_told = by_s >= LEAST_CHANGE_S && by_s >= LEAST_CHANGE * before_s;
        (task.ran() && is_told).then_some(Change { task, before_s })
    };
    let mut changes: Vec<Change<'_>> = summary.tasks.iter().filter_map(change).collect();
    let by_s = |change: &Change<'_>| (change.task.wall_s - change.before_s).abs();
    changes.sort_by(|a, b| by_s(b).total_cmp(&by_s(a)));
    changes.truncate(MOST_CHANGES);
    changes
}

/// `12 % longer`, `3 times as long`; `None` where there is hardly a difference.
pub(crate) fn difference(now_s: f64, before_s: f64) -> Option<String> {
    let ratio = now_s / before_s;
    match ratio {
        _ if before_s <= 0.0 => None,
        ratio if ratio >= 2.0 => Some(format!("{ratio:.1} times as long")),
        ratio if ratio >= 1.005 => Some(format!("{:.0} % longer", (ratio - 1.0) * 100.0)),
        ratio if ratio <= 0.995 => Some(format!("{:.0} % shorter", (1.0 - ratio) * 100.0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_read_as_people_say_them() {
        let said = [(1.12, 1.0), (0.5, 1.0), (3.0, 1.0), (1.001, 1.0), (1.0, 0.0)]
            .map(|(now_s, before_s)| difference(now_s, before_s).unwrap_or_default());
        assert_eq!(said, ["12 % longer", "50 % shorter", "3.0 times as long", "", ""]);
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
