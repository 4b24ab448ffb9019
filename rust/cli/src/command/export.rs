//! `dirigent export` and `dirigent import`: a run as one file that can be carried elsewhere.
//!
//! JSON, a line each: a head with the hash of the history, the events, then the values that lie in files of their own.

use super::recorded::{Place, read};
use crate::args::{ExportArgs, ImportArgs};
use crate::fault::{CliError, exit, shown};
use crate::record::{holder, write_whole};
use crate::terminal;
use dirigent_core::event::Event;
use dirigent_core::ids::RunId;
use dirigent_core::state::State;
use dirigent_engine::run::counts;
use dirigent_journal::store::Durability;
use dirigent_journal::{Artifacts, Reader, Store};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    /// The format of the file.
    dirigent_run: u32,
    id: RunId,
    events: usize,
    /// The hash of the lines of the events. Without one, what was edited is taken in as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// A value that lies in a file of its own.
#[derive(Serialize, Deserialize)]
struct Artifact {
    artifact: String,
    hex: String,
}

pub(super) fn export(args: &ExportArgs) -> Result<i32, CliError> {
    let (recorded, _) = read(&args.run)?;
    let artifacts = Artifacts::of(&recorded.state_dir);
    let head = Head {
        dirigent_run: 1,
        id: recorded.row.id.clone(),
        events: recorded.events.len(),
        digest: Some(digest(&recorded.events)),
    };
    let mut text = line(&head);
    recorded.events.iter().for_each(|event| text.push_str(&line(event)));
    let hashes: BTreeSet<&str> = recorded.events.iter().filter_map(|event| event.fact.artifact()).collect();
    for hash in hashes {
        let hex = artifacts.load(hash)?.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&line(&Artifact { artifact: hash.to_owned(), hex }));
    }
    match &args.output {
        Some(path) => write_whole(path, text.as_bytes())?,
        None => terminal::print(&text),
    }
    Ok(exit::OK)
}

pub(super) fn import(args: &ImportArgs) -> Result<i32, CliError> {
    let place = Place::of(&args.records)?;
    for path in &args.files {
        let text = std::fs::read_to_string(path).map_err(CliError::io("read", path))?;
        let id = take_in(&text, path, &place.state_dir)?;
        terminal::print(&format!("{id}\n"));
    }
    Ok(exit::OK)
}

fn take_in(text: &str, path: &Path, state_dir: &Path) -> Result<RunId, CliError> {
    let wrong = |number: usize, what: &dyn std::fmt::Display| CliError::Usage {
        message: format!("line {number} of {} is not what `dirigent export` writes: {what}", shown(path)),
        hint: Some("export the run again".to_owned()),
    };
    let mut lines = (1..).zip(text.lines());
    let (_, first) = lines.next().ok_or_else(|| wrong(1, &"the file is empty"))?;
    let head: Head = serde_json::from_str(first).map_err(|error| wrong(1, &error))?;
    if head.dirigent_run != 1 {
        return Err(wrong(1, &format!("format {} is of a later version", head.dirigent_run)));
    }
    let mut events = Vec::with_capacity(head.events);
    for (number, line) in lines.by_ref().take(head.events) {
        let event: Event = serde_json::from_str(line).map_err(|error| wrong(number, &error))?;
        if event.seq != events.len() as u64 {
            return Err(wrong(number, &format!("event {} stands where {} should", event.seq, events.len())));
        }
        events.push(event);
    }
    let is_whole =
        events.len() == head.events && head.digest.is_none_or(|digest| digest == self::digest(&events));
    if !is_whole {
        return Err(wrong(1, &"its events are not those that were written"));
    }
    let store = Store::shared(state_dir)?;
    if Reader::open(state_dir)?.find(head.id.as_str()).is_ok_and(|row| row.id == head.id) {
        return Err(CliError::Usage {
            message: format!("run {} is there already", head.id),
            hint: Some("choose another state folder with --state-dir".to_owned()),
        });
    }
    for (number, line) in lines {
        let artifact: Artifact = serde_json::from_str(line).map_err(|error| wrong(number, &error))?;
        let bytes = unhex(&artifact.hex).ok_or_else(|| wrong(number, &"its bytes are not hex digits"))?;
        if store.artifacts().store(&bytes)? != artifact.artifact {
            return Err(wrong(number, &"its bytes are not those that were written"));
        }
    }
    let counts = counts(&State::fold(&events));
    let me = holder();
    let actor = format!("process {} on {}", me.pid, me.host);
    let mut writer = store.begin(&head.id, Durability::Power, &me)?.imported_by(&actor);
    writer.append(&events, &[], Some(&counts))?;
    Ok(head.id)
}

fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("what is exported has text keys");
    text.push('\n');
    text
}

fn digest(events: &[Event]) -> String {
    let mut hasher = blake3::Hasher::new();
    for event in events {
        hasher.update(line(event).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(byte).collect())?
}
