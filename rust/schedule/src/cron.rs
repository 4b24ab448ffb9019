//! Cron expressions on the wall clock, which knows no zone: five fields, names, and words such as `@daily`.
//!
//! `croner` reads the fields and searches; what it would read as something else than it says is refused here, with its
//! place.

use crate::wrong::Wrong;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::ops::Range;

/// An expression that means some moments.
#[derive(Clone, Debug)]
pub(crate) struct Cron(croner::Cron);

/// What one of the five fields takes.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, names: &MONTHS },
    Field { name: "day of the week", least: 0, most: 7, names: &DAYS },
];

/// What a word stands for.
const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Cron {
    /// Reads an expression.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let fields = match text.trim() {
            word if word.starts_with('@') => word_for(text, word)?,
            _ => {
                check(text)?;
                text
            }
        };
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = Self(parser.parse(fields).map_err(|error| Wrong::new(0..text.len(), error.to_string()))?);
        match cron.next(DateTime::constant(2000, 1, 1, 0, 0, 0, 0)) {
            Some(_) => Ok(cron),
            None => Err(Wrong::new(0..text.len(), "there is no such day: this would never happen")),
        }
    }

    /// The first moment that is later.
    pub(crate) fn next(&self, after: DateTime) -> Option<DateTime> {
        let after = after.to_zoned(TimeZone::UTC).ok()?;
        Some(self.0.find_next_occurrence(&after, false).ok()?.datetime())
    }

    /// The last moment that is not later.
    pub(crate) fn previous(&self, at: DateTime) -> Option<DateTime> {
        let at = at.to_zoned(TimeZone::UTC).ok()?;
        Some(self.0.find_previous_occurrence(&at, true).ok()?.datetime())
    }
}

fn word_for(text: &str, word: &str) -> Result<&'static str, Wrong> {
    let start = text.find('@').unwrap_or(0);
    let known = WORDS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
    known.map(|(_, fields)| *fields).ok_or_else(|| {
        let words: Vec<String> = WORDS.iter().map(|(name, _)| format!("`{name}`")).collect();
        Wrong::new(start..start + word.len(), format!("unknown word `{word}`"))
            .hint(format!("the words are {}", words.join(", ")))
    })
}

/// Sees that each field says what it seems to say.
fn check(text: &str) -> Result<(), Wrong> {
    let parts: Vec<Range<usize>> = split(text, 0..text.len(), |c| c.is_ascii_whitespace())
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    if parts.len() != FIELDS.len() {
        let message = format!(
            "five fields are wanted (minute, hour, day of the month, month, day of the week), and there are {}",
            parts.len()
        );
        let wrong = Wrong::new(0..text.len(), message);
        return Err(match parts.len() {
            6 | 7 => wrong.hint("a cron expression has no seconds and no year here; `every` takes seconds"),
            _ => wrong,
        });
    }
    FIELDS.iter().zip(parts).try_for_each(|(field, part)| {
        split(text, part, |c| c == ',').into_iter().try_for_each(|item| field.check(text, item))
    })
}

fn split(text: &str, range: Range<usize>, at: impl Fn(char) -> bool) -> Vec<Range<usize>> {
    let start = range.start;
    let inside = &text[range.clone()];
    let mut cuts: Vec<usize> = inside.match_indices(at).map(|(place, _)| start + place).collect();
    cuts.push(range.end);
    let mut from = start;
    cuts.into_iter().map(|cut| std::mem::replace(&mut from, cut + 1)..cut).collect()
}

impl Field {
    /// One item between commas: `*`, a value, a range, each of the last two with a step or not, or a special day.
    fn check(&self, text: &str, span: Range<usize>) -> Result<(), Wrong> {
        let item = &text[span.clone()];
        let wrong = |message: String| Err(Wrong::new(span.clone(), message));
        if item.is_empty() {
            return wrong(format!("the {} has an empty place between commas", self.name));
        }
        if self.is_special(item) {
            return Ok(());
        }
        let (base, step) = match item.split_once('/') {
            Some((base, step)) => (base, Some(step)),
            None => (item, None),
        };
        if let Some(step) = step {
            match number(step) {
                Some(step) if (1..=u32::from(self.most)).contains(&step) => {}
                _ => return wrong(format!("`{step}` is no step from 1 to {}", self.most)),
            }
        }
        if base == "*" {
            return Ok(());
        }
        match base.split_once('-') {
            None => {
                self.value(base, &span)?;
                match step {
                    Some(step) => Err(Wrong::new(span, format!("`{item}` has a step and no range"))
                        .hint(format!("write `{base}-{}/{step}`", self.most))),
                    None => Ok(()),
                }
            }
            Some((from, to)) => {
                let (first, last) = (self.value(from, &span)?, self.value(to, &span)?);
                // A week may end with its Sunday.
                let last = if self.names == DAYS && last == 0 { 7 } else { last };
                if first <= last {
                    return Ok(());
                }
                let wrong = Wrong::new(span, format!("`{base}` ends before it begins"));
                Err(wrong.hint(format!("write `{from}-{},{}-{to}`", self.most, self.least)))
            }
        }
    }

    fn value(&self, word: &str, span: &Range<usize>) -> Result<u32, Wrong> {
        let (least, most) = (u32::from(self.least), u32::from(self.most));
        let name = self.names.iter().position(|name| word.eq_ignore_ascii_case(name));
        if let Some(name) = name.and_then(|place| u32::try_from(place).ok()) {
            // Days count from 0, months from 1, and so do the names.
            return Ok(name + least);
        }
        match number(word) {
            Some(value) if (least..=most).contains(&value) => Ok(value),
            _ => {
                let message = format!("`{word}` is no {} from {least} to {most}", self.name);
                let wrong = Wrong::new(span.clone(), message);
                Err(match self.names {
                    [first, .., last] => wrong.hint(format!("the names are `{first}` to `{last}`")),
                    _ => wrong,
                })
            }
        }
    }

    /// `L` and `LW` are the last day and the last working day of the month, `15W` the working day next to the 15th; `5L`
    /// is the last Friday of the month, `5#2` its second.
    fn is_special(&self, item: &str) -> bool {
        let item = item.to_ascii_uppercase();
        let is_value = |word: &str| self.value(word, &(0..0)).is_ok();
        match self.name {
            "day of the month" => item == "L" || item == "LW" || item.strip_suffix('W').is_some_and(is_value),
            "day of the week" => match item.split_once('#') {
                Some((day, nth)) => is_value(day) && number(nth).is_some_and(|nth| (1..=5).contains(&nth)),
                None => item.strip_suffix('L').is_some_and(is_value),
            },
            _ => false,
        }
    }
}

fn number(text: &str) -> Option<u32> {
    let is_plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(text: &str, part: &str, message: &str) {
        let wrong = Cron::parse(text).expect_err(text);
        assert_eq!((&text[wrong.span.clone()], wrong.message.as_str()), (part, message), "{text}");
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        let five =
            "five fields are wanted (minute, hour, day of the month, month, day of the week), and there are";
        check_refused("", "", &format!("{five} 0"));
        check_refused("0 3 * *", "0 3 * *", &format!("{five} 4"));
        check_refused("0 0 3 * * *", "0 0 3 * * *", &format!("{five} 6"));
        check_refused("0  61,24 * * *", "61", "`61` is no hour from 0 to 23");
        check_refused("0 5,24 * * *", "24", "`24` is no hour from 0 to 23");
        check_refused("60 * * * *", "60", "`60` is no minute from 0 to 59");
        check_refused("0 0 0 * *", "0", "`0` is no day of the month from 1 to 31");
        check_refused("0 0 * JANFEB *", "JANFEB", "`JANFEB` is no month from 1 to 12");
        check_refused("JAN 0 * * *", "JAN", "`JAN` is no minute from 0 to 59");
        check_refused("0 0 * * MONDAY", "MONDAY", "`MONDAY` is no day of the week from 0 to 7");
        check_refused("0 0 * * FRI-MON", "FRI-MON", "`FRI-MON` ends before it begins");
        check_refused("0 22-2 * * *", "22-2", "`22-2` ends before it begins");
        check_refused("*/0 * * * *", "*/0", "`0` is no step from 1 to 59");
        check_refused("*/99 * * * *", "*/99", "`99` is no step from 1 to 59");
        check_refused("5/10 * * * *", "5/10", "`5/10` has a step and no range");
        check_refused("1,,2 * * * *", "", "the minute has an empty place between commas");
        check_refused("* * * * +5", "+5", "`+5` is no day of the week from 0 to 7");
        check_refused("* * ? * *", "?", "`?` is no day of the month from 1 to 31");
        check_refused("0 0 * * L", "L", "`L` is no day of the week from 0 to 7");
        check_refused("0 0 W * *", "W", "`W` is no day of the month from 1 to 31");
        check_refused("é * * * *", "é", "`é` is no minute from 0 to 59");
        check_refused("0 0 31 2 *", "0 0 31 2 *", "there is no such day: this would never happen");
        check_refused(" @dayly", "@dayly", "unknown word `@dayly`");
        check_refused("@reboot", "@reboot", "unknown word `@reboot`");
        check_refused("@daily 5", "@daily 5", "unknown word `@daily 5`");
    }

    #[track_caller]
    fn check_next(text: &str, after: &str, expected: [&str; 3]) {
        let cron = Cron::parse(text).expect("is an expression");
        let mut at: DateTime = after.parse().expect("a time");
        for expected in expected {
            let next = cron.next(at).expect("there is a next");
            assert_eq!(next.to_string(), format!("{expected}:00"), "{text}");
            assert_eq!(cron.previous(next), Some(next));
            at = next;
        }
    }

    #[test]
    fn fields_mean_what_cron_users_expect() {
        let noon = "2026-03-28T12:00";
        check_next("0 3 * * *", noon, ["2026-03-29T03:00", "2026-03-30T03:00", "2026-03-31T03:00"]);
        check_next("*/20 22 * * *", noon, ["2026-03-28T22:00", "2026-03-28T22:20", "2026-03-28T22:40"]);
        check_next("0 0 31 * *", noon, ["2026-03-31T00:00", "2026-05-31T00:00", "2026-07-31T00:00"]);
        check_next("0 0 29 2 *", noon, ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]);
        check_next(
            "0 0 29 feb *",
            "2096-02-29T00:00",
            ["2104-02-29T00:00", "2108-02-29T00:00", "2112-02-29T00:00"],
        );
        check_next("30 6 * * Mon-fri", noon, ["2026-03-30T06:30", "2026-03-31T06:30", "2026-04-01T06:30"]);
        check_next("0 0 * * 0", noon, ["2026-03-29T00:00", "2026-04-05T00:00", "2026-04-12T00:00"]);
        check_next("0 0 * * 7", noon, ["2026-03-29T00:00", "2026-04-05T00:00", "2026-04-12T00:00"]);
        check_next("0 0 * * FRI-SUN", noon, ["2026-03-29T00:00", "2026-04-03T00:00", "2026-04-04T00:00"]);
        // Where both days are given, either will do.
        check_next("0 0 1 * MON", noon, ["2026-03-30T00:00", "2026-04-01T00:00", "2026-04-06T00:00"]);
        check_next("0 0 L * *", noon, ["2026-03-31T00:00", "2026-04-30T00:00", "2026-05-31T00:00"]);
        check_next("0 0 * * FRI#2", noon, ["2026-04-10T00:00", "2026-05-08T00:00", "2026-06-12T00:00"]);
        check_next("0 0 * * 5L", noon, ["2026-04-24T00:00", "2026-05-29T00:00", "2026-06-26T00:00"]);
        check_next("@Daily", noon, ["2026-03-29T00:00", "2026-03-30T00:00", "2026-03-31T00:00"]);
        check_next("@midnight", noon, ["2026-03-29T00:00", "2026-03-30T00:00", "2026-03-31T00:00"]);
        check_next("@weekly", noon, ["2026-03-29T00:00", "2026-04-05T00:00", "2026-04-12T00:00"]);
        check_next("@monthly", noon, ["2026-04-01T00:00", "2026-05-01T00:00", "2026-06-01T00:00"]);
        check_next("@yearly", noon, ["2027-01-01T00:00", "2028-01-01T00:00", "2029-01-01T00:00"]);
        check_next("@hourly", noon, ["2026-03-28T13:00", "2026-03-28T14:00", "2026-03-28T15:00"]);
    }
}
