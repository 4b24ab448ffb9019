//! A schedule: its ticks, when each starts, and which are due after a time without anybody who looked.

use crate::cron::Cron;
use crate::wrong::Wrong;
use crate::{moment, wall};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A tick that is looked at so late, in milliseconds, was missed.
pub const ON_TIME_MS: i64 = 60_000;
/// How many ticks that were missed are made up at most: the newest.
pub const MOST_MADE_UP: usize = 1000;
/// How many ticks that were missed are counted at most.
pub const MOST_COUNTED: usize = 100;
/// The shortest interval.
const SHORTEST: Duration = Duration::from_secs(1);

/// What becomes of ticks that were missed, because nobody looked or the machine slept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// Nothing.
    None,
    /// The last of them happens, late.
    #[default]
    Last,
    /// All of them happen, one after the other.
    All,
}

/// What makes the ticks.
#[derive(Clone, Debug)]
pub enum Timing {
    /// A cron expression on the wall clock of a zone.
    Cron(Box<CronIn>),
    /// Multiples of an interval in milliseconds, counted from 1970 in UTC.
    Every(i64),
    /// One moment, in milliseconds since 1970.
    At(i64),
}

/// A cron expression and the zone whose clock it means.
#[derive(Clone, Debug)]
pub struct CronIn {
    cron: Cron,
    zone: TimeZone,
}

impl Timing {
    /// Reads a cron expression: five fields, or a word such as `@daily`.
    ///
    /// # Errors
    /// It is none, or means no moment.
    pub fn cron(text: &str, zone: &TimeZone) -> Result<Self, Wrong> {
        Ok(Self::Cron(Box::new(CronIn { cron: Cron::parse(text)?, zone: zone.clone() })))
    }

    /// An interval of at least a second.
    ///
    /// # Errors
    /// It is shorter.
    pub fn every(interval: Duration) -> Result<Self, Wrong> {
        match i64::try_from(interval.as_millis()) {
            Ok(interval_ms) if interval >= SHORTEST => Ok(Self::Every(interval_ms)),
            _ => Err(Wrong::new(0..0, "an interval is at least a second")),
        }
    }

    /// Reads a date and a time, in the zone where they have no offset of their own.
    ///
    /// # Errors
    /// It is none.
    pub fn at(text: &str, zone: &TimeZone) -> Result<Self, Wrong> {
        moment::parse(text, zone).map(|moment| Self::At(moment.as_millisecond()))
    }
}

/// When something happens.
#[derive(Clone, Debug)]
pub struct Schedule {
    timing: Timing,
    /// A tick starts up to this later.
    jitter_ms: i64,
    /// Has schedules of different names start at different times.
    seed: u64,
}

/// What is to be done about the ticks since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The ticks to carry out, in their order.
    pub run_ms: Vec<i64>,
    /// The ticks that stay missed.
    pub missed: Option<Missed>,
}

/// Ticks that nobody carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The last of them.
    pub last_ms: i64,
    /// How many there are; [`MOST_COUNTED`] where there are as many or more.
    pub count: usize,
}

impl Schedule {
    /// A schedule whose ticks each start up to `jitter` late; how late follows from its name and the tick.
    pub fn new(name: &str, timing: Timing, jitter: Duration) -> Self {
        let jitter_ms = i64::try_from(jitter.as_millis()).unwrap_or(i64::MAX);
        Self { timing, jitter_ms, seed: hash(0xcbf2_9ce4_8422_2325, name.as_bytes()) }
    }

    /// The first tick that is later.
    pub fn next(&self, after_ms: i64) -> Option<i64> {
        match &self.timing {
            Timing::Cron(it) => wall::next(&it.cron, &it.zone, Timestamp::from_millisecond(after_ms).ok()?)
                .map(|it| it.as_millisecond()),
            Timing::Every(interval_ms) => {
                after_ms.div_euclid(*interval_ms).checked_add(1)?.checked_mul(*interval_ms)
            }
            Timing::At(at_ms) => Some(*at_ms).filter(|at_ms| *at_ms > after_ms),
        }
    }

    /// The last tick that is not later.
    pub fn previous(&self, at_ms: i64) -> Option<i64> {
        match &self.timing {
            Timing::Cron(it) => wall::previous(&it.cron, &it.zone, Timestamp::from_millisecond(at_ms).ok()?)
                .map(|it| it.as_millisecond()),
            Timing::Every(interval_ms) => at_ms.div_euclid(*interval_ms).checked_mul(*interval_ms),
            Timing::At(moment_ms) => Some(*moment_ms).filter(|moment_ms| *moment_ms <= at_ms),
        }
    }

    /// When a tick starts: at once, or with jitter some time later, but always before the next one.
    pub fn starts_ms(&self, tick_ms: i64) -> i64 {
        if self.jitter_ms == 0 {
            return tick_ms;
        }
        let room_ms = self.next(tick_ms).map_or(i64::MAX, |next_ms| next_ms.saturating_sub(tick_ms));
        let jitter_ms = self.jitter_ms.min(room_ms).max(1).cast_unsigned();
        tick_ms.saturating_add((hash(self.seed, &tick_ms.to_le_bytes()) % jitter_ms).cast_signed())
    }

    /// What is to be done now about the ticks after `after_ms`.
    pub fn due(&self, after_ms: i64, now_ms: i64, catch_up: CatchUp) -> Due {
        let mut ticks =
            std::iter::successors(self.previous(now_ms), |tick_ms| self.previous(tick_ms.checked_sub(1)?))
                .skip_while(|tick_ms| self.starts_ms(*tick_ms) > now_ms)
                .take_while(|tick_ms| *tick_ms > after_ms)
                .peekable();
        let is_on_time = |tick_ms: i64| now_ms.saturating_sub(self.starts_ms(tick_ms)) <= ON_TIME_MS;
        let at_most = match catch_up {
            CatchUp::None => usize::from(ticks.peek().is_some_and(|newest_ms| is_on_time(*newest_ms))),
            CatchUp::Last => 1,
            CatchUp::All => MOST_MADE_UP,
        };
        let mut run_ms: Vec<i64> = ticks.by_ref().take(at_most).collect();
        run_ms.reverse();
        let missed =
            ticks.next().map(|last_ms| Missed { last_ms, count: 1 + ticks.take(MOST_COUNTED - 1).count() });
        Due { run_ms, missed }
    }
}

/// FNV-1a with a mix at the end: the same on every machine and in every version, which the standard library's is not.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash =
        bytes.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone;

    const MINUTE_MS: i64 = 60_000;

    fn every(minutes: u64) -> Schedule {
        let timing = Timing::every(Duration::from_secs(60 * minutes)).expect("long enough");
        Schedule::new("s", timing, Duration::ZERO)
    }

    /// Minutes in, minutes out.
    #[track_caller]
    fn check(
        schedule: &Schedule,
        after: i64,
        now: i64,
        catch_up: CatchUp,
        run: &[i64],
        missed: Option<(i64, usize)>,
    ) {
        let due = schedule.due(after * MINUTE_MS, now * MINUTE_MS, catch_up);
        let run_ms: Vec<i64> = run.iter().map(|minutes| minutes * MINUTE_MS).collect();
        let missed = missed.map(|(last, count)| Missed { last_ms: last * MINUTE_MS, count });
        assert_eq!(due, Due { run_ms, missed });
    }

    #[test]
    fn what_was_missed_is_made_up_by_policy() {
        let ten = every(10);
        for catch_up in [CatchUp::None, CatchUp::Last, CatchUp::All] {
            check(&ten, 100, 109, catch_up, &[], None);
            check(&ten, 100, 110, catch_up, &[110], None);
            check(&ten, 100, 111, catch_up, &[110], None);
            check(&ten, 110, 50, catch_up, &[], None);
        }
        check(&ten, 100, 112, CatchUp::None, &[], Some((110, 1)));
        check(&ten, 100, 112, CatchUp::Last, &[110], None);
        check(&ten, 100, 145, CatchUp::None, &[], Some((140, 4)));
        check(&ten, 100, 145, CatchUp::Last, &[140], Some((130, 3)));
        check(&ten, 100, 145, CatchUp::All, &[110, 120, 130, 140], None);
        check(&ten, 100, 150, CatchUp::None, &[150], Some((140, 4)));
        check(&ten, 0, 100_000_000, CatchUp::Last, &[100_000_000], Some((99_999_990, MOST_COUNTED)));
        let all = ten.due(0, 100_000_000 * MINUTE_MS, CatchUp::All);
        assert_eq!(
            (all.run_ms.len(), all.missed.map(|missed| missed.count)),
            (MOST_MADE_UP, Some(MOST_COUNTED))
        );
    }

    #[test]
    fn a_single_moment_happens_once() {
        let timing = Timing::at("1970-01-01T01:00Z", &TimeZone::UTC).expect("a moment");
        let once = Schedule::new("once", timing, Duration::ZERO);
        assert_eq!(once.next(0), Some(60 * MINUTE_MS));
        assert_eq!(once.next(60 * MINUTE_MS), None);
        check(&once, 0, 59, CatchUp::Last, &[], None);
        check(&once, 0, 60, CatchUp::None, &[60], None);
        check(&once, 60, 61, CatchUp::All, &[], None);
        check(&once, 0, 600, CatchUp::None, &[], Some((60, 1)));
    }

    #[test]
    fn jitter_follows_from_name_and_tick_and_keeps_the_order() {
        let jittered = |name: &str| {
            let timing = Timing::every(Duration::from_secs(600)).expect("long enough");
            Schedule::new(name, timing, Duration::from_secs(3600))
        };
        let (one, other) = (jittered("one"), jittered("other"));
        let delays = |schedule: &Schedule| -> Vec<i64> {
            (0..200).map(|tick| schedule.starts_ms(tick * 600_000) - tick * 600_000).collect()
        };
        assert_eq!(delays(&one), delays(&jittered("one")));
        assert_ne!(delays(&one), delays(&other));
        assert!(delays(&one).iter().all(|delay| (0..600_000).contains(delay)));
        let spread = delays(&one).iter().filter(|delay| **delay > 300_000).count();
        assert!((60..140).contains(&spread), "{spread}");
        // Before it starts, it is not due; from then on it is, and is not late.
        let starts_ms = one.starts_ms(600_000);
        assert_eq!(one.due(0, starts_ms - 1, CatchUp::All).run_ms, []);
        assert_eq!(one.due(0, starts_ms, CatchUp::None).run_ms, [600_000]);
    }

    #[test]
    fn jitter_of_another_version_or_machine_is_the_same() {
        let timing = Timing::every(Duration::from_secs(86_400)).expect("long enough");
        let schedule = Schedule::new("nightly", timing, Duration::from_secs(300));
        let delays = [0, 1, 2].map(|day| schedule.starts_ms(day * 86_400_000) - day * 86_400_000);
        assert_eq!(delays, [195_039, 102_608, 106_048]);
    }

    #[test]
    fn a_tick_missed_in_the_night_of_the_change_is_made_up_once() {
        let berlin = zone::named("Europe/Berlin").expect("a zone");
        let timing = Timing::cron("30 2 * * *", &berlin).expect("an expression");
        let nightly = Schedule::new("nightly", timing, Duration::ZERO);
        let ms = |text: &str| text.parse::<Timestamp>().expect("a moment").as_millisecond();
        let due = nightly.due(ms("2026-03-28T12:00:00Z"), ms("2026-03-29T12:00:00Z"), CatchUp::All);
        assert_eq!(due.run_ms, [ms("2026-03-29T01:00:00Z")]);
        let due = nightly.due(ms("2026-10-24T12:00:00Z"), ms("2026-10-25T12:00:00Z"), CatchUp::All);
        assert_eq!(due.run_ms, [ms("2026-10-25T00:30:00Z")]);
    }

    #[test]
    fn an_interval_is_no_shorter_than_a_second() {
        assert!(Timing::every(Duration::from_millis(999)).is_err());
        assert!(Timing::every(Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn the_end_of_time_is_no_disaster() {
        for at_ms in [i64::MIN, -1, 0, i64::MAX] {
            for schedule in [
                every(1),
                Schedule::new(
                    "c",
                    Timing::cron("0 0 29 2 *", &TimeZone::UTC).expect("cron"),
                    Duration::from_secs(5),
                ),
            ] {
                let _ = schedule.next(at_ms).map(|tick_ms| schedule.starts_ms(tick_ms));
                let _ = schedule.due(0, at_ms, CatchUp::Last);
            }
        }
    }
}
