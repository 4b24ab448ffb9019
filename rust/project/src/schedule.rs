//! What is to run at which times: the table `schedules` of a project file.
//!
//! Knows how one entry is written and checked; which moments a text means is answered by `dirigent-schedule`.

use crate::decode::Spanned;
use crate::diagnose::{Diagnostic, Severity, did_you_mean};
use crate::document::{Document, Span};
use crate::value::{Pause, Texts};
use dirigent_schedule::{CatchUp, Schedule, Timing, Wrong, zone};
use jiff::tz::TimeZone;
use serde::{Deserialize as DeriveDeserialize, Serialize};
use std::time::Duration;

/// The settings of a schedule, as a file has them.
#[derive(Clone, Debug, DeriveDeserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleFile {
    /// What is given to `dirigent run`: a target, or all of its arguments.
    pub run: Spanned<Texts>,
    /// A cron expression.
    #[serde(default)]
    pub cron: Option<Spanned<String>>,
    /// An interval.
    #[serde(default)]
    pub every: Option<Spanned<Pause>>,
    /// A single moment.
    #[serde(default)]
    pub at: Option<Spanned<String>>,
    /// The zone whose clock is meant; the system's where none is named.
    #[serde(default)]
    pub timezone: Option<Spanned<String>>,
    /// What becomes of ticks that were missed.
    #[serde(default)]
    pub catch_up: Option<CatchUp>,
    /// What becomes of a tick while the one before it still runs.
    #[serde(default)]
    pub overlap: Option<Overlap>,
    /// How much later a tick may start.
    #[serde(default)]
    pub jitter: Option<Pause>,
    /// Whether it stands still.
    #[serde(default)]
    pub paused: Option<bool>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
}

/// What becomes of a tick while the one before it still runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, DeriveDeserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It waits.
    Queue,
    /// The one before is ended first.
    Replace,
}

/// A schedule that was found to make sense.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// What is given to `dirigent run`, and where that is written.
    pub run: Spanned<Vec<String>>,
    /// Its ticks.
    pub schedule: Schedule,
    /// How its times are written: another text starts afresh.
    pub timing: String,
    /// The zone its times are shown in.
    pub zone: TimeZone,
    /// What becomes of ticks that were missed.
    pub catch_up: CatchUp,
    /// What becomes of a tick while the one before it still runs.
    pub overlap: Overlap,
    /// How much later a tick may start.
    pub jitter: Duration,
    /// Whether the file has it stand still.
    pub paused: bool,
    /// What it is for.
    pub description: Option<String>,
}

impl ScheduleFile {
    /// Makes sense of an entry. Without a zone of its own it is meant in `system_zone`.
    ///
    /// # Errors
    /// It says nothing that could be done, or not when: with the place.
    pub fn declared(
        &self,
        name: &Spanned<String>,
        document: &Document,
        system_zone: &TimeZone,
    ) -> Result<Declared, Box<Diagnostic>> {
        let wrong = |span: &Span, message: String| {
            document.diagnostic(Severity::Error, "config.invalid_value", span.clone(), message)
        };
        let path = format!("schedules.{}", name.value);
        if name.value.trim().is_empty() || name.value.chars().any(char::is_control) {
            return Err(Box::new(wrong(&name.span, "a schedule has a name that can be shown".to_owned())));
        }
        let run = &self.run.value.0;
        if run.first().is_none_or(|first| first.is_empty()) || run.iter().any(|arg| arg.contains('\0')) {
            let message = format!("`{path}.run`: this names nothing that could be run");
            return Err(Box::new(wrong(&self.run.span, message)));
        }
        let at = |key: &str, written: &Spanned<String>, error: Wrong| {
            let message = format!("`{path}.{key}`: {}", error.message);
            let span = within(document, written, &error);
            Box::new(Diagnostic { hint: error.hint, ..wrong(&span, message) })
        };
        let zone = match &self.timezone {
            None => system_zone.clone(),
            Some(written) => zone::named(&written.value).map_err(|error| {
                let diagnostic = at("timezone", written, error);
                let hint = diagnostic.hint.clone().or_else(|| zone_meant(&written.value));
                Box::new(Diagnostic { hint, ..*diagnostic })
            })?,
        };
        let (timing, text) = match (&self.cron, &self.every, &self.at) {
            (Some(cron), None, None) => (
                Timing::cron(&cron.value, &zone).map_err(|error| at("cron", cron, error))?,
                format!("cron {}", cron.value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")),
            ),
            (None, Some(every), None) => (
                Timing::every(every.value.0)
                    .map_err(|error| Box::new(wrong(&every.span, format!("`{path}.every`: {error}"))))?,
                format!("every {}", shown(every.value.0)),
            ),
            (None, None, Some(moment)) => (
                Timing::at(&moment.value, &zone).map_err(|error| at("at", moment, error))?,
                format!("at {}", moment.value),
            ),
            (None, None, None) => {
                let diagnostic = wrong(&name.span, format!("`{path}` does not say when"));
                let hint = Some("give it one of `cron`, `every` and `at`".to_owned());
                return Err(Box::new(Diagnostic { code: "config.missing_key", hint, ..diagnostic }));
            }
            _ => {
                let diagnostic = wrong(&name.span, format!("`{path}` says in two ways when"));
                let hint = Some("keep one of `cron`, `every` and `at`".to_owned());
                return Err(Box::new(Diagnostic { hint, ..diagnostic }));
            }
        };
        let jitter = self.jitter.map_or(Duration::ZERO, |jitter| jitter.0);
        let in_zone = self.timezone.as_ref().map(|zone| format!(" in {}", zone.value));
        Ok(Declared {
            name: name.value.clone(),
            run: Spanned { value: run.clone(), span: self.run.span.clone() },
            schedule: Schedule::new(&name.value, timing, jitter),
            timing: text + in_zone.as_deref().unwrap_or_default(),
            zone,
            catch_up: self.catch_up.unwrap_or_default(),
            overlap: self.overlap.unwrap_or_default(),
            jitter,
            paused: self.paused.unwrap_or(false),
            description: self.description.clone(),
        })
    }
}

/// The part of a text that is meant, where the text stands in the file as it is.
fn within(document: &Document, written: &Spanned<String>, error: &Wrong) -> Span {
    let span = written.span.clone();
    let found = document.source.get(span.clone()).and_then(|source| source.find(&written.value));
    match found {
        Some(offset) if !error.span.is_empty() => {
            span.start + offset + error.span.start..span.start + offset + error.span.end
        }
        _ => span,
    }
}

/// The zone that was probably meant, by its whole name or by its city.
fn zone_meant(name: &str) -> Option<String> {
    let names = zone::names();
    let city = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let meant = did_you_mean(name, names.iter().map(String::as_str)).map(str::to_owned).or_else(|| {
        let cities: Vec<String> = names.iter().map(|name| city(name)).collect();
        let meant = did_you_mean(&city(name), cities.iter().map(String::as_str))?;
        names.iter().find(|name| city(name) == meant).cloned()
    });
    Some(match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "write a name such as `Europe/Berlin` or `UTC`".to_owned(),
    })
}

/// A duration as it could be written.
fn shown(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    let (unit_ms, unit) =
        units.into_iter().find(|(unit_ms, _)| ms.is_multiple_of(*unit_ms)).unwrap_or((1, "ms"));
    format!("{}{unit}", ms / unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ConfigFile;
    use std::path::Path;

    fn read(file: &str, text: &str) -> Result<Vec<Declared>, Box<Diagnostic>> {
        let document = Document::parse(Path::new(file), text).expect("it can be parsed");
        let invalid = |error| match error {
            crate::ProjectError::Invalid(diagnostic) => diagnostic,
            other => panic!("{other:?}"),
        };
        let file = ConfigFile::read(&document).map_err(invalid)?;
        file.schedules(&document, &TimeZone::UTC).map_err(invalid)
    }

    #[track_caller]
    fn check_refused(file: &str, text: &str, expected: &str) {
        let diagnostic = read(file, text).expect_err("it is refused");
        assert_eq!(diagnostic.render(false), expected.trim_matches('\n'));
    }

    #[test]
    fn all_there_is_to_say_in_both_forms() {
        let toml = r#"
[schedules.nightly]
run = ["etl.yaml", "--param", "day=today"]
cron = "0 3 * * *"
timezone = "Europe/Berlin"
catch_up = "all"
overlap = "queue"
jitter = "5m"
paused = true
description = "the load of the night"

[schedules]
often = {run = "jobname", every = "90s"}
once = {run = "x.py", at = 2026-12-24T18:00:00}
"#;
        let yaml = "
schedules:
  nightly:
    {run: [etl.yaml, --param, day=today], cron: '0  3 * * *', timezone: Europe/Berlin, catch_up: all,
     overlap: queue, jitter: 5m, paused: true, description: the load of the night}
  often: {run: jobname, every: 1m30s}
  once: {run: x.py, at: '2026-12-24 18:00:00'}
";
        for (file, text) in [("dirigent.toml", toml), ("dirigent.yaml", yaml)] {
            let mut declared = read(file, text).expect("it makes sense");
            declared.sort_by(|one, other| one.name.cmp(&other.name));
            let [nightly, often, once] = declared.as_slice() else { panic!("{declared:?}") };
            assert_eq!(nightly.run.value, ["etl.yaml", "--param", "day=today"]);
            assert_eq!(nightly.timing, "cron 0 3 * * * in Europe/Berlin");
            assert_eq!((nightly.catch_up, nightly.overlap), (CatchUp::All, Overlap::Queue));
            assert_eq!((nightly.jitter, nightly.paused), (Duration::from_secs(300), true));
            assert_eq!(nightly.description.as_deref(), Some("the load of the night"));
            assert_eq!(nightly.schedule.next(0), Some(2 * 3_600_000));
            assert_eq!((often.timing.as_str(), often.schedule.next(0)), ("every 90s", Some(90_000)));
            assert_eq!((often.catch_up, often.overlap, often.paused), (CatchUp::Last, Overlap::Skip, false));
            assert_eq!(once.schedule.next(0), Some(1_798_135_200_000));
        }
    }

    #[test]
    fn a_mistake_in_an_expression_is_shown_where_it_stands() {
        check_refused(
            "dirigent.yaml",
            "schedules:\n  nightly: {run: a.py, cron: '0 25 * * *'}\n",
            "
error: `schedules.nightly.cron`: `25` is no hour from 0 to 23
 --> dirigent.yaml:2:33
  |
2 |   nightly: {run: a.py, cron: '0 25 * * *'}
  |                                 ^^",
        );
        check_refused(
            "dirigent.toml",
            "[schedules.x]\nrun = 'a.py'\ncron = '@daily'\ntimezone = 'Europe/Berln'\n",
            "
error: `schedules.x.timezone`: there is no time zone `Europe/Berln`
 --> dirigent.toml:4:13
  |
4 | timezone = 'Europe/Berln'
  |             ^^^^^^^^^^^^
hint: did you mean `Europe/Berlin`?",
        );
        check_refused(
            "dirigent.yaml",
            "schedules:\n  x: {run: a.py, corn: '@daily'}\n",
            "
error: unknown key `corn` in `schedules.x`
 --> dirigent.yaml:2:18
  |
2 |   x: {run: a.py, corn: '@daily'}
  |                  ^^^^
hint: did you mean `cron`?",
        );
        check_refused(
            "dirigent.yaml",
            "schedules:\n  x: {run: a.py}\n",
            "
error: `schedules.x` does not say when
 --> dirigent.yaml:2:3
  |
2 |   x: {run: a.py}
  |   ^
hint: give it one of `cron`, `every` and `at`",
        );
    }

    #[test]
    fn senseless_schedules_are_refused() {
        let told = |text: &str| {
            let diagnostic = read("dirigent.yaml", &format!("schedules: {{x: {text}}}")).expect_err(text);
            diagnostic.message + &diagnostic.hint.map(|hint| format!("; {hint}")).unwrap_or_default()
        };
        for (text, expected) in [
            ("{cron: '@daily'}", "missing key `run` in `schedules.x`"),
            ("{run: [], cron: '@daily'}", "`schedules.x.run`: this names nothing that could be run"),
            ("{run: '', every: 5m}", "`schedules.x.run`: this names nothing that could be run"),
            (
                "{run: a, every: 5m, at: '2026-12-24T18:00'}",
                "`schedules.x` says in two ways when; keep one of `cron`, `every` and `at`",
            ),
            ("{run: a, every: 500ms}", "`schedules.x.every`: an interval is at least a second"),
            (
                "{run: a, at: tomorrow}",
                "`schedules.x.at`: `tomorrow` is no date and time; write `2026-12-24T18:00`, or `2026-12-24T18:00+01:00`",
            ),
            (
                "{run: a, every: 5m, catch_up: one}",
                "`schedules.x.catch_up`: unknown value `one`; did you mean `none`?",
            ),
            (
                "{run: a, every: 5m, overlap: wait}",
                "`schedules.x.overlap`: unknown value `wait`; the values here are `skip`, `queue`, `replace`",
            ),
            (
                "{run: a, every: 5m, timezone: Berlin}",
                "`schedules.x.timezone`: there is no time zone `Berlin`; did you mean `Europe/Berlin`?",
            ),
            (
                "{run: a, every: 5m, timezone: ../../etc/passwd}",
                "`schedules.x.timezone`: there is no time zone `../../etc/passwd`; write a name such as `Europe/Berlin` or `UTC`",
            ),
            (
                "{run: a, every: 5m, paused: yes}",
                "`schedules.x.paused`: expected true or false, found the string \"yes\"; write `true`",
            ),
        ] {
            assert_eq!(told(text), expected);
        }
    }
}
