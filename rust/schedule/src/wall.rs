//! From the wall clock of a zone to moments and back, where the clock is put forward and back.
//!
//! A wall time that the clock skips is the moment at which it skips; one that it shows twice is the first of the two. So a
//! later wall time is never an earlier moment, and each wall time is one moment.

use crate::cron::Cron;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// The moment at which the clock shows this.
pub(crate) fn moment_of(wall: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    match ambiguous.offset() {
        AmbiguousOffset::Gap { before, .. } => {
            // With the offset before it, a skipped time is at or after the moment of skipping, and before the next one.
            let inside = before.to_timestamp(wall).ok()?;
            zone.preceding(inside.checked_add(SignedDuration::from_nanos(1)).ok()?)
                .next()
                .map(|it| it.timestamp())
        }
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok(),
    }
}

/// The first moment of an expression that is later.
pub(crate) fn next(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let mut wall = zone.to_datetime(after);
    loop {
        wall = cron.next(wall)?;
        let moment = moment_of(wall, zone)?;
        // In the second hour of a clock put back, what it shows again was before.
        if moment > after {
            return Some(moment);
        }
    }
}

/// The last moment of an expression that is not later.
pub(crate) fn previous(cron: &Cron, zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let mut wall = zone.to_datetime(at);
    if let AmbiguousOffset::Fold { before, after } = zone.to_ambiguous_timestamp(wall).offset() {
        // In the second hour, all of the first one is past.
        let again = SignedDuration::from_secs(i64::from(before.seconds()) - i64::from(after.seconds()));
        wall = wall.checked_add(again).ok()?;
    }
    loop {
        wall = cron.previous(wall)?;
        let moment = moment_of(wall, zone)?;
        if moment <= at {
            return Some(moment);
        }
        wall = wall.checked_sub(SignedDuration::from_secs(1)).ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone;

    /// The moments of an expression in a stretch of time, as the clock of the zone shows them.
    #[track_caller]
    fn check(cron: &str, zone: &str, from: &str, to: &str, expected: &[&str]) {
        let (cron, zone) = (Cron::parse(cron).expect("an expression"), zone::named(zone).expect("a zone"));
        let moment = |text: &str| text.parse::<Timestamp>().expect("a moment");
        let (from, to) = (moment(from), moment(to));
        let mut there = Vec::new();
        let mut at = from;
        while let Some(next) = next(&cron, &zone, at).filter(|next| *next <= to) {
            there.push(next);
            at = next;
        }
        let mut back = Vec::new();
        let mut at = to;
        while let Some(previous) = previous(&cron, &zone, at).filter(|previous| *previous > from) {
            back.push(previous);
            at = previous.checked_sub(SignedDuration::from_millis(1)).expect("in range");
        }
        back.reverse();
        assert_eq!(there, back, "forwards and backwards");
        let shown: Vec<String> = there
            .iter()
            .map(|at| zone.to_datetime(*at).strftime("%H:%M").to_string() + &offset(*at, &zone))
            .collect();
        assert_eq!(shown, expected);
    }

    fn offset(at: Timestamp, zone: &TimeZone) -> String {
        format!(" {}", zone.to_offset(at))
    }

    #[test]
    fn a_skipped_wall_time_happens_once_when_the_gap_is_over() {
        let (from, to) = ("2026-03-29T00:30:00Z", "2026-03-29T02:30:00Z");
        check("30 2 * * *", "Europe/Berlin", from, to, &["03:00 +02"]);
        check("0,30 2 * * *", "Europe/Berlin", from, to, &["03:00 +02"]);
        check("0 3 * * *", "Europe/Berlin", from, to, &["03:00 +02"]);
        check(
            "*/30 * * * *",
            "Europe/Berlin",
            from,
            to,
            &["03:00 +02", "03:30 +02", "04:00 +02", "04:30 +02"],
        );
        check(
            "30 2 * * *",
            "America/New_York",
            "2026-03-08T06:00:00Z",
            "2026-03-08T08:00:00Z",
            &["03:00 -04"],
        );
        check(
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T15:00:00Z",
            "2026-10-03T17:00:00Z",
            &["02:30 +11"],
        );
        check("0 0 * * *", "America/Havana", "2026-03-08T04:00:00Z", "2026-03-08T07:00:00Z", &["01:00 -04"]);
        check(
            "0 0 * * *",
            "America/Asuncion",
            "2023-10-01T03:00:00Z",
            "2023-10-01T06:00:00Z",
            &["01:00 -03"],
        );
    }

    #[test]
    fn a_whole_day_may_be_skipped() {
        // Samoa had no 30 December 2011.
        let (from, to) = ("2011-12-29T20:00:00Z", "2011-12-31T20:00:00Z");
        check("0 12 * * *", "Pacific/Apia", from, to, &["12:00 -10", "00:00 +14", "12:00 +14"]);
    }

    #[test]
    fn a_repeated_wall_time_happens_once_the_first_time() {
        let (from, to) = ("2026-10-24T23:30:00Z", "2026-10-25T02:30:00Z");
        check("30 2 * * *", "Europe/Berlin", from, to, &["02:30 +02"]);
        check("0 * * * *", "Europe/Berlin", from, to, &["02:00 +02", "03:00 +01"]);
        check("0 3 * * *", "Europe/Berlin", from, to, &["03:00 +01"]);
        check(
            "30 1 * * *",
            "America/New_York",
            "2026-11-01T05:00:00Z",
            "2026-11-01T08:00:00Z",
            &["01:30 -04"],
        );
        check(
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T14:00:00Z",
            "2026-04-04T17:00:00Z",
            &["01:45 +11"],
        );
        check("0 0 * * *", "America/Havana", "2026-11-01T03:00:00Z", "2026-11-01T08:00:00Z", &["00:00 -04"]);
        // Up to, and from, inside of the second hour.
        check("45 2 * * *", "Europe/Berlin", from, "2026-10-25T01:10:00Z", &["02:45 +02"]);
        check("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-25T03:00:00Z", &[]);
    }

    #[test]
    fn every_zone_has_every_daily_moment_once_in_the_order_of_the_wall() {
        let names = zone::names();
        assert!(names.len() > 300, "{}", names.len());
        let cron = Cron::parse("30 2 * * *").expect("an expression");
        for name in names {
            let zone = zone::named(&name).expect("it was listed");
            let mut at: Timestamp = "2025-12-31T12:00:00Z".parse().expect("a moment");
            let mut days = 0;
            loop {
                let next = next(&cron, &zone, at).expect("there is a next");
                assert_eq!(previous(&cron, &zone, next), Some(next), "{name}");
                assert_eq!(
                    previous(
                        &cron,
                        &zone,
                        next.checked_sub(SignedDuration::from_millis(1)).expect("in range")
                    ),
                    previous(&cron, &zone, at),
                    "{name}"
                );
                // Troll, in Antarctica, puts its clock forward by two hours.
                let hours = next.duration_since(at).as_secs() / 3600;
                assert!(days == 0 || (22..=26).contains(&hours), "{name}: {at} {next}");
                if zone.to_datetime(next).year() > 2026 {
                    break;
                }
                (at, days) = (next, days + 1);
            }
            assert!((365..=366).contains(&days), "{name}: {days}");
        }
    }
}
