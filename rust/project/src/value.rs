//! The kinds of values that settings take, and how each is written: counts, durations, lists, argument vectors.
//!
//! Knows nothing of which setting takes which.

use crate::decode::{Scalar, from_text};
use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The longest time limit: a hundred years. Longer ones overflow clocks.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A whole number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u32);

/// How long something may take; `none` for as long as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

/// A time to wait, which may be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause(pub Duration);

/// An amount of memory or disk in MiB, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Megabytes(pub u64);

/// What a process may end with and still have done its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode(pub u8);

/// One text, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts(pub Vec<String>);

/// Arguments, each a string or a number or boolean taken as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args(pub Vec<String>);

/// A program, or a program and its arguments: never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argv(pub Vec<String>);

/// A file or folder. Not resolved: what it is relative to depends on where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(pub PathBuf);

/// Whether a script is left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It runs.
    No,
    /// It does not; no reason is given.
    Yes,
    /// It does not, because.
    Because(String),
}

/// A form a finished run can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeriveDeserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportKind {
    /// One self-contained page.
    Html,
    /// Markdown.
    Md,
    /// JUnit XML.
    Junit,
    /// JSON.
    Json,
}

impl ReportKind {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::Html, Self::Md, Self::Junit, Self::Json];
}

/// The forms a finished run is written in: one, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reports(pub Vec<ReportKind>);

/// A scalar as the formats give it.
#[derive(Clone, Copy)]
enum Raw<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(&'a str),
}

/// Why a scalar is refused.
enum Refusal {
    /// It is of a kind that makes no sense here.
    Kind,
    /// It is of the right kind, and yet.
    Because(String),
}

/// Reads one scalar; `expecting` names what would be right.
fn scalar<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expecting: &'static str,
    take: impl Fn(Raw<'_>) -> Result<T, Refusal>,
) -> Result<T, D::Error> {
    struct Take<F>(F, &'static str);
    impl<F: Fn(Raw<'_>) -> Result<T, Refusal>, T> Take<F> {
        fn take<E: Error>(self, raw: Raw<'_>) -> Result<T, E> {
            let unexpected = match raw {
                Raw::Bool(value) => Unexpected::Bool(value),
                Raw::Int(value) => Unexpected::Signed(value),
                Raw::Float(value) => Unexpected::Float(value),
                Raw::Str(value) => Unexpected::Str(value),
            };
            (self.0)(raw).map_err(|refusal| match refusal {
                Refusal::Kind => E::invalid_type(unexpected, &self.1),
                Refusal::Because(message) => E::custom(message),
            })
        }
    }
    impl<F: Fn(Raw<'_>) -> Result<T, Refusal>, T> Visitor<'_> for Take<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }

        fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
            self.take(Raw::Bool(value))
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
            self.take(Raw::Int(value))
        }

        fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
            self.take(Raw::Float(value))
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
            self.take(Raw::Str(value))
        }
    }
    deserializer.deserialize_any(Take(take, expecting))
}

fn whole(raw: Raw<'_>, least: i64, most: i64) -> Result<i64, Refusal> {
    match raw {
        Raw::Int(value) if (least..=most).contains(&value) => Ok(value),
        Raw::Int(value) if value < least => {
            Err(Refusal::Because(format!("{value} is too small, the least is {least}")))
        }
        Raw::Int(value) => Err(Refusal::Because(format!("{value} is too large, the most is {most}"))),
        _ => Err(Refusal::Kind),
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, "a whole number from 1", |raw| Ok(Self(whole(raw, 1, 1_000_000)? as u32)))
    }
}

impl<'de> Deserialize<'de> for Megabytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, "a whole number of MiB from 1", |raw| Ok(Self(whole(raw, 1, 1 << 40)? as u64)))
    }
}

impl<'de> Deserialize<'de> for ExitCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, "an exit code from 0 to 255", |raw| Ok(Self(whole(raw, 0, 255)? as u8)))
    }
}

impl<'de> Deserialize<'de> for Pause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, "a duration such as `5s`", |raw| duration(raw).map(Self))
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, "a duration such as `90s`, or `none`", |raw| match raw {
            Raw::Str("none") => Ok(Self(None)),
            _ => match duration(raw)? {
                Duration::ZERO => Err(Refusal::Because("a limit is more than 0".into())),
                duration => Ok(Self(Some(duration))),
            },
        })
    }
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)? {
            path if path.is_empty() => Err(D::Error::custom("an empty path")),
            path if path.contains('\0') => Err(D::Error::custom("a path cannot contain a null character")),
            path => Ok(Self(path.into())),
        }
    }
}

impl<'de> Deserialize<'de> for Skip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, "true, false or a reason", |raw| match raw {
            Raw::Bool(true) => Ok(Self::Yes),
            Raw::Bool(false) => Ok(Self::No),
            // A quoted or YAML 1.1 boolean is no reason anybody would give.
            Raw::Str("true" | "false" | "yes" | "no" | "on" | "off") => Err(Refusal::Kind),
            Raw::Str(reason) if !reason.trim().is_empty() => Ok(Self::Because(reason.to_owned())),
            _ => Err(Refusal::Kind),
        })
    }
}

/// Reads a list, or one item in its place.
pub(crate) fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    expecting: &'static str,
) -> Result<Vec<T>, D::Error> {
    struct OneOrMany<T>(&'static str, std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<Vec<T>, E> {
            T::deserialize(StrDeserializer::new(value)).map(|item| vec![item])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(items))
        }
    }
    deserializer.deserialize_seq(OneOrMany(expecting, std::marker::PhantomData))
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_or_many(deserializer, "a string or a list of strings").map(Self)
    }
}

impl<'de> Deserialize<'de> for Reports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_or_many(deserializer, "a list of `html`, `md`, `junit`, `json`").map(Self)
    }
}

impl<'de> Deserialize<'de> for Args {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let args = Vec::<Scalar>::deserialize(deserializer)?;
        let args =
            args.into_iter().map(|arg| arg.0.ok_or_else(|| D::Error::custom("an argument without a value")));
        let args: Vec<String> = args.collect::<Result<_, _>>()?;
        if args.iter().any(|arg| arg.contains('\0')) {
            return Err(D::Error::custom("an argument cannot contain a null character"));
        }
        Ok(Self(args))
    }
}

impl<'de> Deserialize<'de> for Argv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let argv: Vec<String> =
            one_or_many(deserializer, "a program or a list of a program and its arguments")?;
        match argv.first() {
            Some(program) if !program.is_empty() && !argv.iter().any(|arg| arg.contains('\0')) => {
                Ok(Self(argv))
            }
            _ => Err(D::Error::custom("this names no program")),
        }
    }
}

macro_rules! from_text {
    ($($type:ty),*) => {
        $(impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                from_text(text)
            }
        })*
    };
}

// So that options of the command line are read by the same rules as files and variables.
from_text!(Count, Limit, Pause, Megabytes, Texts, Location, Reports, ReportKind);

fn duration(raw: Raw<'_>) -> Result<Duration, Refusal> {
    let result = match raw {
        Raw::Int(seconds) => from_seconds(seconds as f64),
        Raw::Float(seconds) => from_seconds(seconds),
        Raw::Str(text) => parse_duration(text),
        Raw::Bool(_) => return Err(Refusal::Kind),
    };
    result.map_err(Refusal::Because)
}

fn from_seconds(seconds: f64) -> Result<Duration, String> {
    if !seconds.is_finite() || seconds < 0.0 {
        return Err("a duration is not negative".into());
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(Duration::ZERO) if seconds == 0.0 => Ok(Duration::ZERO),
        Ok(duration) if duration < Duration::from_millis(1) => {
            Err("a duration is at least a millisecond".into())
        }
        Ok(duration) if duration <= LONGEST => Ok(duration),
        _ => Err("a duration is at most a hundred years".into()),
    }
}

/// The units of a duration and their seconds, largest first.
const UNITS: [(&str, f64); 5] = [("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001)];

/// Reads `90s`, `1.5 s`, `500ms`, `5m`, `1h30m`: numbers with units, the larger unit first.
///
/// # Errors
/// The text is no such thing, or neither 0 nor within a millisecond and a hundred years.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is no duration; write a number of seconds, or `90s`, `500ms`, `5m`, `1h30m`");
    let mut rest = text.trim();
    let mut units = &UNITS[..];
    let mut seconds = 0.0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..number_end].parse().map_err(|_| wrong())?;
        rest = rest[number_end..].trim_start();
        let unit_end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let at = units.iter().position(|(unit, _)| *unit == &rest[..unit_end]).ok_or_else(wrong)?;
        seconds += number * units[at].1;
        units = &units[at + 1..];
        rest = rest[unit_end..].trim_start();
    }
    from_seconds(seconds)
}

/// Writes a duration as [`parse_duration`] reads it.
pub fn shown_duration(duration: Duration) -> String {
    let mut out = String::new();
    let mut seconds = duration.as_secs();
    for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds >= size {
            out.push_str(&format!("{}{unit}", seconds / size));
            seconds %= size;
        }
    }
    match (seconds, duration.subsec_nanos()) {
        (0, 0) if !out.is_empty() => {}
        (seconds, 0) => out.push_str(&format!("{seconds}s")),
        (0, nanos) if nanos % 1_000_000 == 0 => out.push_str(&format!("{}ms", nanos / 1_000_000)),
        (seconds, nanos) => {
            let fraction = format!("{nanos:09}");
            out.push_str(&format!("{seconds}.{}s", fraction.trim_end_matches('0')));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected_ms: Option<u64>) {
        let duration = parse_duration(text);
        assert_eq!(duration.clone().ok(), expected_ms.map(Duration::from_millis), "{text:?}: {duration:?}");
        if let Ok(duration) = duration {
            assert_eq!(
                parse_duration(&shown_duration(duration)),
                Ok(duration),
                "{}",
                shown_duration(duration)
            );
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them_and_shown_so_that_they_read_back() {
        check("90s", Some(90_000));
        check("1.5 s", Some(1_500));
        check("500ms", Some(500));
        check("5m", Some(300_000));
        check("1h30m", Some(5_400_000));
        check("1h 30m 2s 5ms", Some(5_402_005));
        check("1d", Some(86_400_000));
        check("0.25h", Some(900_000));
        check("0s", Some(0));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            " ",
            "90",
            "s",
            "90 seconds",
            "-5s",
            "1m1h",
            "5s5s",
            "0.0001s",
            "1.2.3s",
            "inf s",
            "NaN",
            "1e400s",
            "9999999999d",
            "5 s x",
            "٣s",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn options_are_read_by_the_same_rules_as_files() {
        assert_eq!("none".parse(), Ok(Limit(None)));
        assert_eq!("2.5".parse(), Ok(Limit(Some(Duration::from_millis(2_500)))));
        assert_eq!("4".parse(), Ok(Count(4)));
        assert_eq!("0".parse::<Count>(), Err("0 is too small, the least is 1".into()));
        assert_eq!(
            "many".parse::<Count>(),
            Err("expected a whole number from 1, found the string \"many\"".into())
        );
        assert_eq!("html, junit".parse(), Ok(Reports(vec![ReportKind::Html, ReportKind::Junit])));
        assert_eq!("{a,b}.py,c.py".parse(), Ok(Texts(vec!["{a,b}.py".into(), "c.py".into()])));
        assert_eq!("3".parse(), Ok(Location("3".into())));
        assert!("pdf".parse::<Reports>().is_err_and(|message| message.contains("unknown value `pdf`")));
    }
}
