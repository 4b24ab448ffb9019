//! Time zones by name, as the system knows them.

use crate::wrong::Wrong;
use jiff::Timestamp;
use jiff::tz::{TimeZone, db};

/// The zone of this name.
///
/// # Errors
/// The system knows none so called.
pub fn named(name: &str) -> Result<TimeZone, Wrong> {
    // Files beside those of zones, such as `posix/…` and `leapseconds`, are no places.
    db().get(name).map_err(|_| {
        let all = 0..name.len();
        match db().is_definitively_empty() {
            true => Wrong::new(all, "the system has no time zones")
                .hint("install its time zone database (`tzdata`), or leave the zone out"),
            false => Wrong::new(all, format!("there is no time zone `{name}`")),
        }
    })
}

/// The names of all zones there are.
pub fn names() -> Vec<String> {
    db().available().map(|name| name.to_string()).collect()
}

/// The zone that this system is set to; UTC where it does not say.
pub fn of_system() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

/// A moment in ISO 8601 to the second, as the zone's clock shows it, with its offset.
pub fn shown(at_ms: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(at_ms) {
        Ok(moment) => moment.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        Err(_) => format!("{at_ms} ms"),
    }
}
