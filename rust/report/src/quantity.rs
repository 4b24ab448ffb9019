//! Moments, durations and sizes as text. Knows no run.

use jiff::Timestamp;
use jiff::tz::Offset;

/// A moment in ISO 8601 with milliseconds and the offset of its zone: `2026-11-20T18:34:05.120+01:00`.
///
/// A moment or an offset that no calendar has is moved to the nearest one.
pub fn iso(at_ms: i64, utc_offset_min: i32) -> String {
    let limit = if at_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let moment = Timestamp::from_millisecond(at_ms).unwrap_or(limit);
    let offset = Offset::from_seconds(utc_offset_min.saturating_mul(60)).unwrap_or(Offset::UTC);
    format!("{:.3}", moment.display_with_offset(offset))
}

/// Microseconds as seconds.
pub fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// A sum or quotient without the digits that only arithmetic has added.
pub fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Seconds as a person says them: `0.42 s`, `12.3 s`, `2 min 5 s`.
pub fn shown_seconds(s: f64) -> String {
    match s {
        ..10.0 => format!("{s:.2} s"),
        10.0..60.0 => format!("{s:.1} s"),
        _ => dirigent_core::outcome::shown_duration((s * 1e3) as u64),
    }
}

/// How long ago something was, as a person says it: `12 s`, `5 min`, `3 h`, `12 days`.
pub fn shown_age(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    match s {
        ..60 => format!("{s} s"),
        60..3600 => format!("{} min", s / 60),
        3600..172_800 => format!("{} h", s / 3600),
        _ => format!("{} days", s / 86_400),
    }
}

/// A size as a person says it: `640 B`, `1.2 KiB`, `48.0 MiB`.
pub fn shown_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number with its noun: `1 task`, `10,000 tasks`.
pub fn counted(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// A number in groups of three digits: `10,000`.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_shows_the_clock_on_the_wall_and_its_distance_from_utc() {
        assert_eq!(iso(1_700_000_000_120, 60), "2023-11-14T23:13:20.120+01:00");
        assert_eq!(iso(0, -210), "1969-12-31T20:30:00.000-03:30");
        assert_eq!(iso(0, 0), "1970-01-01T00:00:00.000+00:00");
    }

    #[test]
    fn impossible_moments_do_not_panic() {
        for (at_ms, offset) in
            [(i64::MAX, i32::MAX), (i64::MIN, i32::MIN), (i64::MAX, 1500), (i64::MIN, -1500)]
        {
            assert!(iso(at_ms, offset).contains('T'));
        }
    }

    #[test]
    fn sizes_and_numbers_read_as_a_person_says_them() {
        assert_eq!(
            [0, 1023, 1024, 1_048_575, 1_048_576, u64::MAX].map(shown_bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.0 MiB", "16.0 EiB"]
        );
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 9.99, 12.34, 125.0].map(shown_seconds), ["0.00 s", "9.99 s", "12.3 s", "2 min 5 s"]);
        assert_eq!(counted(1, "task"), "1 task");
        assert_eq!(
            [-5, 59_999, 60_000, 7_199_999, 172_800_000].map(shown_age),
            ["0 s", "59 s", "1 min", "1 h", "2 days"]
        );
    }
}
