//! `dirigent runs`: what ran, a line each.

use super::recorded::Place;
use crate::args::RunsArgs;
use crate::display::{paint_of, shown_counts, shown_moment, shown_ms};
use crate::fault::{CliError, exit};
use crate::record::now_ms;
use crate::surroundings::origin;
use crate::terminal::{self, Paint, painted, width};
use dirigent_core::text::printable;
use dirigent_journal::{Reader, RunRow};
use dirigent_report::quantity::iso;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many columns names may take before what comes after them is moved.
const NAME_COLUMNS: usize = 30;

/// A run as others read it.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a str,
    workflow: &'a str,
    status: &'a str,
    created: String,
    ended: Option<String>,
    elapsed_s: Option<f64>,
    tasks: BTreeMap<String, u64>,
    holder_pid: Option<u32>,
}

pub(super) fn runs(args: &RunsArgs) -> Result<i32, CliError> {
    let place = Place::of(&args.records)?;
    let rows = match dirigent_journal::has_records(&place.state_dir)? {
        true => Reader::open(&place.state_dir)?.runs(args.limit, args.workflow.as_deref())?,
        false => Vec::new(),
    };
    let offset_min = origin(None).utc_offset_min;
    let told: Vec<Told<'_>> = rows.iter().map(|row| tell(row, offset_min)).collect();
    if args.json {
        terminal::print(&super::json(&told));
        return Ok(exit::OK);
    }
    if told.is_empty() {
        terminal::say(&format!("no run is recorded in {}\n", crate::fault::shown(&place.state_dir)));
    }
    let colours = terminal::colours_on_stdout();
    let mut text = String::new();
    let names = told.iter().map(|told| width(&printable(told.workflow))).max().unwrap_or(0).min(NAME_COLUMNS);
    for (row, told) in rows.iter().zip(&told) {
        let when = shown_moment(row.created_at_ms, offset_min);
        let name = printable(told.workflow);
        let status = painted(&format!("{:<11}", told.status), paint_of(told.status), colours);
        let took = match (told.elapsed_s, told.status) {
            (Some(s), _) => shown_ms((s * 1e3) as u64),
            (None, "running") => shown_ms(u64::try_from(now_ms() - row.created_at_ms).unwrap_or(0)),
            (None, _) => String::new(),
        };
        let counts = shown_counts(told.tasks.iter().map(|(name, count)| (name.as_str(), *count)), colours);
        let line = format!(
            "{}  {when}  {status}  {took:>9}  {}{:pad$}  {counts}",
            painted(short(told.id, &rows), Paint::Dim, colours),
            painted(&name, Paint::Bold, colours),
            "",
            pad = names.saturating_sub(width(&name)),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    terminal::print(&text);
    Ok(exit::OK)
}

fn tell(row: &RunRow, offset_min: i32) -> Told<'_> {
    let elapsed_ms = row.ended_at_ms.map(|ended_ms| ended_ms - row.created_at_ms);
    Told {
        id: row.id.as_str(),
        workflow: &row.workflow,
        status: row.status(),
        created: iso(row.created_at_ms, offset_min),
        ended: row.ended_at_ms.map(|ms| iso(ms, offset_min)),
        elapsed_s: elapsed_ms.map(|ms| ms as f64 / 1e3),
        tasks: row.counts.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
        holder_pid: row.holder.as_ref().map(|holder| holder.pid),
    }
}

/// As much of an id as tells it from the others.
fn short<'a>(id: &'a str, rows: &[RunRow]) -> &'a str {
    let lengths = [13, 18, 23];
    let is_alone = |length: &usize| {
        let begins_so = |row: &&RunRow| row.id.as_str().get(..*length) == id.get(..*length);
        rows.iter().filter(begins_so).count() == 1
    };
    lengths.into_iter().find(is_alone).and_then(|length| id.get(..length)).unwrap_or(id)
}
