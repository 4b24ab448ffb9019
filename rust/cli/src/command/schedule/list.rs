//! `dirigent schedule list`: each schedule, how it went last, and its next times.

use super::jobs::{Job, jobs};
use crate::args::schedule::ScheduleListArgs;
use crate::command::recorded::Place;
use crate::fault::{CliError, exit};
use crate::record::now_ms;
use crate::terminal::{self, Paint, painted};
use dirigent_core::text::printable;
use dirigent_journal::{DATABASE, Paused, Reader, Tick, TickOutcome, tick_log};
use dirigent_process::Identity;
use dirigent_project::Overlap;
use dirigent_schedule::{CatchUp, zone};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// How many times are shown.
const SHOWN: usize = 5;

/// A schedule as others read it.
#[derive(Serialize)]
struct Told {
    name: String,
    run: Vec<String>,
    when: String,
    timezone: Option<String>,
    catch_up: CatchUp,
    overlap: Overlap,
    jitter_s: f64,
    description: Option<String>,
    paused: bool,
    paused_since: Option<String>,
    paused_by: Option<String>,
    last: Option<Last>,
    next: Vec<String>,
}

/// A tick that came, as others read it.
#[derive(Serialize)]
struct Last {
    tick: String,
    by_hand: bool,
    outcome: String,
    exit_code: Option<i32>,
    ended: Option<String>,
    run: Option<String>,
    log: Option<String>,
    /// How many ticks were missed, where they were.
    missed: Option<i64>,
}

pub(super) fn list(args: &ScheduleListArgs) -> Result<i32, CliError> {
    let place = Place::of(&args.records)?;
    let (jobs, _) = jobs(&place.config)?;
    let reader = match place.state_dir.join(DATABASE).exists() {
        true => Some(Reader::open(&place.state_dir)?),
        false => None,
    };
    let now_ms = now_ms();
    let told = jobs.iter().map(|job| tell(job, reader.as_ref(), now_ms)).collect::<Result<Vec<_>, _>>()?;
    if args.json {
        terminal::print(&crate::command::json(&told));
    } else {
        terminal::print(&told.iter().map(text).collect::<String>());
    }
    Ok(exit::OK)
}

fn tell(job: &Job, reader: Option<&Reader>, now_ms: i64) -> Result<Told, CliError> {
    let declared = &job.declared;
    let zone = &declared.zone;
    let next =
        std::iter::successors(declared.schedule.next(now_ms), |tick_ms| declared.schedule.next(*tick_ms));
    let (last, paused) = match reader {
        Some(reader) => (reader.ticks(&declared.name, 1)?.pop(), reader.paused(&declared.name)?),
        None => (None, None),
    };
    let is_paused = declared.paused || paused.is_some();
    let (since, by) = paused.map(|Paused { at_ms, by }| (zone::shown(at_ms, zone), by)).unzip();
    Ok(Told {
        name: declared.name.clone(),
        run: declared.run.value.clone(),
        when: declared.timing.clone(),
        timezone: zone.iana_name().map(str::to_owned),
        catch_up: declared.catch_up,
        overlap: declared.overlap,
        jitter_s: declared.jitter.as_secs_f64(),
        description: declared.description.clone(),
        paused: is_paused,
        paused_since: since,
        paused_by: by,
        last: last.zip(reader).map(|(tick, reader)| {
            let log = tick_log(reader.folder(), tick.number);
            Last {
                tick: zone::shown(tick.tick_ms, zone),
                by_hand: tick.by_hand,
                outcome: outcome(&tick).to_owned(),
                exit_code: tick.exit_code,
                ended: tick.ended_at_ms.map(|ms| zone::shown(ms, zone)),
                log: log.exists().then(|| log.to_string_lossy().into_owned()),
                missed: (tick.outcome == Some(TickOutcome::Missed)).then_some(tick.count),
                run: tick.run,
            }
        }),
        next: if is_paused { Vec::new() } else { next.take(SHOWN).map(|ms| zone::shown(ms, zone)).collect() },
    })
}

/// How a tick stands: nothing is running without a living process.
fn outcome(tick: &Tick) -> &'static str {
    let lives = |text: &str| text.parse().is_ok_and(Identity::is_alive);
    match (tick.outcome, &tick.process) {
        (Some(outcome), _) => outcome.name(),
        (None, Some(process)) if lives(process) => "running",
        (None, None) if lives(&tick.claimed_by) => "running",
        (None, Some(_)) => TickOutcome::Ran.name(),
        (None, None) => TickOutcome::Lost.name(),
    }
}

fn text(told: &Told) -> String {
    let colours = terminal::colours_on_stdout();
    let mut text = String::new();
    let name = painted(&printable(&told.name), Paint::Bold, colours);
    let run: Vec<String> = told.run.iter().map(|arg| quoted(arg)).collect();
    let _ = writeln!(text, "{name}  {}  runs {}", printable(&told.when), run.join(" "));
    if let Some(description) = &told.description {
        let _ = writeln!(text, "  {}", printable(description));
    }
    if let Some(last) = &told.last {
        let _ = writeln!(text, "  last  {}", last.text(colours));
    }
    match (told.paused, &told.paused_since) {
        (true, Some(since)) => {
            let by = told.paused_by.as_deref().unwrap_or_default();
            let _ = writeln!(text, "  paused since {since} by {}", printable(by));
        }
        (true, None) => text.push_str("  paused in the project's file\n"),
        (false, _) if told.next.is_empty() => text.push_str("  nothing is to come\n"),
        (false, _) => {
            let _ = writeln!(text, "  next  {}", told.next.join("\n        "));
        }
    }
    text
}

impl Last {
    fn text(&self, colours: bool) -> String {
        let how = match (self.outcome.as_str(), self.exit_code, self.missed) {
            (_, Some(0), _) => painted("succeeded", Paint::Green, colours),
            (outcome, Some(code), _) => {
                let word = if outcome == "ran" { "failed" } else { outcome };
                painted(&format!("{word} (exit code {code})"), Paint::Red, colours)
            }
            ("missed", _, Some(count)) if count > 1 => {
                painted(&format!("missed, with {} before", count - 1), Paint::Yellow, colours)
            }
            ("running", ..) => painted("running", Paint::Blue, colours),
            (outcome, ..) => painted(outcome, Paint::Yellow, colours),
        };
        let by_hand = if self.by_hand { ", by hand" } else { "" };
        let more = match (&self.run, &self.log) {
            (Some(run), _) => format!("  run {run}"),
            (None, Some(log)) => format!("  {}", crate::fault::shown(Path::new(log))),
            (None, None) => String::new(),
        };
        format!("{}{by_hand}  {how}{more}", self.tick)
    }
}

/// An argument as one would type it.
fn quoted(arg: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    match !arg.is_empty() && arg.chars().all(is_plain) {
        true => arg.to_owned(),
        false => format!("'{}'", printable(&arg.replace('\'', "'\\''"))),
    }
}
