//! A single moment as people write it: a date and a time, with an offset or without.

use crate::wall::moment_of;
use crate::wrong::Wrong;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Reads `2026-12-24T18:00`, which the zone gives its meaning, or `2026-12-24T18:00+01:00`, which has one.
pub(crate) fn parse(text: &str, zone: &TimeZone) -> Result<Timestamp, Wrong> {
    let wrong = || {
        Wrong::new(0..text.len(), format!("`{text}` is no date and time"))
            .hint("write `2026-12-24T18:00`, or `2026-12-24T18:00+01:00`")
    };
    let has_time = text.contains(':');
    if let Some(moment) = text.parse::<Timestamp>().ok().filter(|_| has_time) {
        return Ok(moment);
    }
    let wall: DateTime = text.parse().ok().filter(|_| has_time).ok_or_else(wrong)?;
    moment_of(wall, zone).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone;

    #[test]
    fn a_moment_has_an_offset_or_takes_the_zones() {
        let berlin = zone::named("Europe/Berlin").expect("a zone");
        let read =
            |text: &str| parse(text, &berlin).map(|moment| moment.to_string()).map_err(|wrong| wrong.message);
        let utc = |text: &str| Ok(text.to_owned());
        assert_eq!(read("2026-12-24T18:00"), utc("2026-12-24T17:00:00Z"));
        assert_eq!(read("2026-12-24 18:00:30"), utc("2026-12-24T17:00:30Z"));
        assert_eq!(read("2026-12-24T18:00Z"), utc("2026-12-24T18:00:00Z"));
        assert_eq!(read("2026-12-24T18:00-05:00"), utc("2026-12-24T23:00:00Z"));
        assert_eq!(read("2026-03-29T02:30"), utc("2026-03-29T01:00:00Z"));
        assert_eq!(read("2026-10-25T02:30"), utc("2026-10-25T00:30:00Z"));
        for text in ["", "18:00", "2026-12-24", "2026-02-30T18:00", "2026-12-24T25:00", "tomorrow"] {
            assert_eq!(read(text), Err(format!("`{text}` is no date and time")));
        }
    }
}
