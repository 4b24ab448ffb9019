//! A run as it goes, on standard error: a picture that changes on a terminal, one plain line an event elsewhere.
//!
//! Each is a view of the same events, and neither can hold the run up: they read the journal at their own pace.

mod plain;
pub(crate) use plain::cancel_sentence;
mod picture;
mod tally;
mod foresight;
mod lines;
mod live;
pub(crate) mod summary;

use crate::terminal;
use dirigent_core::event::Event;
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_core::text::printable;
use dirigent_engine::{Feed, News};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long lines may wait for others, so that a thousand short tasks do not wake the display two thousand times.
const PACE: Duration = Duration::from_millis(20);

/// How many times as long as something took it waits until it is done again, so that it takes a hundredth of a core.
const REST: u32 = 100;

/// Shows a run until it ends. `folder` is its own, in the state folder.
pub(crate) fn follow(feed: Feed, folder: &Path) {
    if terminal::stderr_is_live() {
        let mut feed = feed.paced(live::TICK);
        let mut live = live::Live::new(folder);
        loop {
            match feed.next(Some(Instant::now() + live::TICK)) {
                News::Events(events) => live.take(&events),
                News::Quiet => live.look(),
                News::Stalled(why) => live.tell(&stalled(&why)),
                News::End => return live.clear(),
            }
        }
    }
    let mut plain = plain::Plain::default();
    let mut feed = feed.paced(PACE);
    loop {
        match feed.next(None) {
            News::Events(events) => terminal::say(&plain.lines(&events)),
            News::Stalled(why) => terminal::say(&format!("stalled    {}\n", stalled(&why))),
            News::Quiet => {}
            News::End => return,
        }
    }
}

fn stalled(why: &str) -> String {
    format!("{}: nothing new starts until there is room again", printable(why))
}

/// Folds events, and says of each what it was about.
fn fold<'a>(
    state: &mut State,
    events: impl IntoIterator<Item = &'a Event>,
    mut seen: impl FnMut(&State, &Event),
) {
    for event in events {
        state.apply(event);
        seen(state, event);
    }
}

/// The sign of a status, and its colour: states differ by shape as well as by colour.
pub(crate) fn sign(status: TaskStatus) -> (&'static str, terminal::Paint) {
    (dirigent_report::text::sign(Some(status)), paint(status))
}

/// The colour of a status.
pub(crate) fn paint(status: TaskStatus) -> terminal::Paint {
    use terminal::Paint;
    match status {
        TaskStatus::Pending | TaskStatus::Skipped => Paint::Dim,
        TaskStatus::Waiting | TaskStatus::Retrying | TaskStatus::Cancelled => Paint::Yellow,
        TaskStatus::Running => Paint::Blue,
        TaskStatus::Completed => Paint::Green,
        TaskStatus::Failed | TaskStatus::TimedOut => Paint::Red,
    }
}

/// A status for a person.
fn word(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::TimedOut => "timed out",
        other => other.name(),
    }
}

/// How many tasks stand how, by the names on the wire.
pub(crate) fn shown_counts<'a>(counts: impl Iterator<Item = (&'a str, u64)>, colours: bool) -> String {
    let counts: Vec<(&str, u64)> = counts.collect();
    let count = |status: &TaskStatus| counts.iter().find(|(name, _)| *name == status.name());
    let shown = TaskStatus::ALL.iter().filter_map(|status| {
        let (sign, paint) = sign(*status);
        count(status).map(|(_, count)| terminal::painted(&format!("{sign} {count}"), paint, colours))
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// How long the last attempt of a task took, in milliseconds.
pub(crate) fn took_ms(task: &TaskState) -> u64 {
    task.ended.as_ref().map_or(0, |ended| ended.usage.wall_us.div_ceil(1000))
}

/// A moment for a person, on the clock of where the run was: `2026-11-20 18:34:05`.
pub(crate) fn shown_moment(at_ms: i64, utc_offset_min: i32) -> String {
    let iso = dirigent_report::quantity::iso(at_ms, utc_offset_min);
    iso.get(..19).unwrap_or(&iso).replace('T', " ")
}

/// The colour of how a run stands.
pub(crate) fn paint_of(run_status: &str) -> terminal::Paint {
    use terminal::Paint;
    match run_status {
        "succeeded" => Paint::Green,
        "running" => Paint::Blue,
        "failed" => Paint::Red,
        _ => Paint::Yellow,
    }
}

/// A time for a display: exact where it is short.
pub(crate) fn shown_ms(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{:.2} s", ms as f64 / 1e3),
        10_000..60_000 => format!("{:.1} s", ms as f64 / 1e3),
        _ => dirigent_core::outcome::shown_duration(ms),
    }
}
