//! Many schedules: when to look next, and what is due then. The clock may be set, forwards and back.

use crate::schedule::{CatchUp, Due, Schedule};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Schedules by number, each with how far it has come.
#[derive(Clone, Debug, Default)]
pub struct Timetable {
    entries: Vec<Entry>,
    /// When each starts next.
    next: BinaryHeap<Reverse<(i64, usize)>>,
    looked_ms: i64,
}

#[derive(Clone, Debug)]
struct Entry {
    schedule: Schedule,
    catch_up: CatchUp,
    /// The ticks up to here are dealt with.
    position_ms: i64,
}

impl Timetable {
    /// Takes in a schedule whose ticks up to `position_ms` are dealt with, and returns its number, counted from 0.
    pub fn add(&mut self, schedule: Schedule, catch_up: CatchUp, position_ms: i64) -> usize {
        let number = self.entries.len();
        self.entries.push(Entry { schedule, catch_up, position_ms });
        self.plan(number);
        number
    }

    /// When there is something to do next.
    pub fn next_ms(&self) -> Option<i64> {
        self.next.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    /// What is due now, by the number of the schedule, and is dealt with from here on.
    pub fn due(&mut self, now_ms: i64) -> Vec<(usize, Due)> {
        if now_ms < self.looked_ms {
            self.go_back(now_ms);
        }
        self.looked_ms = now_ms;
        let mut due = Vec::new();
        while let Some(Reverse((_, number))) = self.next.pop_if_due(now_ms) {
            let entry = &mut self.entries[number];
            let found = entry.schedule.due(entry.position_ms, now_ms, entry.catch_up);
            let last_ms = found.run_ms.last().copied().max(found.missed.map(|missed| missed.last_ms));
            match last_ms {
                Some(last_ms) => entry.position_ms = entry.position_ms.max(last_ms),
                // Nothing to be found where something should be: not again, lest we never come to rest.
                None => entry.position_ms = entry.position_ms.max(now_ms),
            }
            self.plan(number);
            due.push((number, found));
        }
        due.retain(|(_, found)| *found != Due::default());
        due
    }

    /// The clock was put back: what is to come by it comes, except for what is recorded already; whoever carries ticks
    /// out sees to that.
    fn go_back(&mut self, now_ms: i64) {
        for entry in &mut self.entries {
            entry.position_ms = entry.position_ms.min(now_ms);
        }
        self.next.clear();
        (0..self.entries.len()).for_each(|number| self.plan(number));
    }

    fn plan(&mut self, number: usize) {
        let entry = &self.entries[number];
        if let Some(tick_ms) = entry.schedule.next(entry.position_ms) {
            self.next.push(Reverse((entry.schedule.starts_ms(tick_ms), number)));
        }
    }
}

trait PopIfDue {
    fn pop_if_due(&mut self, now_ms: i64) -> Option<Reverse<(i64, usize)>>;
}

impl PopIfDue for BinaryHeap<Reverse<(i64, usize)>> {
    fn pop_if_due(&mut self, now_ms: i64) -> Option<Reverse<(i64, usize)>> {
        let is_due = self.peek().is_some_and(|Reverse((at_ms, _))| *at_ms <= now_ms);
        is_due.then(|| self.pop()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{MOST_COUNTED, Missed, Timing};
    use std::time::Duration;

    const HOUR_MS: i64 = 3_600_000;

    fn hourly(catch_up: CatchUp) -> Timetable {
        let timing = Timing::every(Duration::from_secs(3600)).expect("long enough");
        let mut timetable = Timetable::default();
        timetable.add(Schedule::new("hourly", timing, Duration::ZERO), catch_up, 10 * HOUR_MS);
        timetable
    }

    fn run(hours: &[i64]) -> Vec<(usize, Due)> {
        vec![(0, Due { run_ms: hours.iter().map(|hour| hour * HOUR_MS).collect(), missed: None })]
    }

    #[test]
    fn each_tick_comes_once_at_its_time() {
        let mut timetable = hourly(CatchUp::Last);
        for hour in 11..20 {
            assert_eq!(timetable.next_ms(), Some(hour * HOUR_MS));
            assert_eq!(timetable.due(hour * HOUR_MS - 1), []);
            assert_eq!(timetable.due(hour * HOUR_MS + 3), run(&[hour]));
            assert_eq!(timetable.due(hour * HOUR_MS + 3), []);
        }
    }

    #[test]
    fn a_clock_put_forward_by_days_is_as_if_the_machine_had_slept() {
        let missed = |count| Some(Missed { last_ms: 57 * HOUR_MS, count });
        let mut timetable = hourly(CatchUp::Last);
        let due = Due { run_ms: vec![58 * HOUR_MS], missed: missed(47) };
        assert_eq!(timetable.due(58 * HOUR_MS + 120_000), [(0, due)]);
        assert_eq!(hourly(CatchUp::All).due(13 * HOUR_MS), run(&[11, 12, 13]));
        let due =
            Due { run_ms: vec![], missed: Some(Missed { last_ms: 200 * HOUR_MS, count: MOST_COUNTED }) };
        assert_eq!(hourly(CatchUp::None).due(200 * HOUR_MS + 120_000), [(0, due)]);
        assert_eq!(timetable.next_ms(), Some(59 * HOUR_MS));
    }

    #[test]
    fn a_clock_put_back_by_days_does_not_stop_the_schedule() {
        let mut timetable = hourly(CatchUp::All);
        assert_eq!(timetable.due(1000 * HOUR_MS).len(), 1);
        // It was put forward by mistake, and is set right.
        assert_eq!(timetable.due(11 * HOUR_MS + 5), []);
        assert_eq!(timetable.next_ms(), Some(12 * HOUR_MS));
        assert_eq!(timetable.due(12 * HOUR_MS), run(&[12]));
    }

    #[test]
    fn many_schedules_come_in_the_order_of_their_times() {
        let mut timetable = Timetable::default();
        for minutes in 1..=1000 {
            let timing = Timing::every(Duration::from_secs(60 * minutes)).expect("long enough");
            timetable.add(
                Schedule::new(&minutes.to_string(), timing, Duration::from_secs(30)),
                CatchUp::Last,
                0,
            );
        }
        let mut count = 0;
        while let Some(next_ms) = timetable.next_ms().filter(|next_ms| *next_ms <= 24 * HOUR_MS) {
            let due = timetable.due(next_ms);
            assert!(due.iter().all(|(_, due)| due.run_ms.len() == 1 && due.missed.is_none()), "{due:?}");
            count += due.len();
        }
        let expected: i64 = (1..=1000).map(|minutes| 24 * 60 / minutes).sum();
        // With jitter some of the last start after the end of the day.
        assert!((expected - 40..=expected).contains(&(count as i64)), "{count} of {expected}");
    }
}
