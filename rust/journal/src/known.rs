//! What tasks did, by a hash of all that it depends on: where nothing of that has changed, it need not be done again.

use crate::artifact::Artifacts;
use crate::fault::JournalError;
use crate::group::hex;
use crate::seal;
use dirigent_core::event::Fact;
use dirigent_core::ids::RunId;
use dirigent_core::value::Kept;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that are larger are compared, and not put back.
const MOST_KEPT_BYTES: u64 = 64 << 20;

/// How many runs later it is renewed.
const RENEWED_AFTER: i64 = 8;

/// A file that a task wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    path: PathBuf,
    hash: String,
    /// Whether it can be put back.
    is_kept: bool,
}

impl Output {
    /// The hash by which it can be put back, if it can.
    pub(crate) fn artifact(&self) -> Option<&str> {
        self.is_kept.then_some(self.hash.as_str())
    }
}

/// What a task did.
#[derive(Clone, Debug)]
pub struct Known {
    /// The run in which it did.
    pub from: RunId,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// How long it took, in microseconds.
    pub saved_us: u64,
    /// What it gave.
    pub value: Option<Kept>,
    /// The folder of its logs, in the state folder.
    pub logs: Option<String>,
    /// The files that it wrote.
    pub outputs: Vec<Output>,
}

/// What a task of a run has done, to be known from here on.
#[derive(Clone, Debug)]
pub struct Done {
    /// The hash of what it depends on.
    pub key: Arc<str>,
    /// The run.
    pub run: RunId,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// How long it took, in microseconds.
    pub wall_us: u64,
    /// What it gave.
    pub value: Option<Arc<Kept>>,
    /// The folder of its logs, in the state folder.
    pub logs: String,
    /// The files that it was to write, as paths or globs.
    pub outputs: Vec<PathBuf>,
}

/// The hash of a key's parts, in any order.
pub fn key_of(parts: &mut [(Box<str>, Box<str>)]) -> String {
    parts.sort();
    let mut hasher = blake3::Hasher::new();
    for (name, hash) in &*parts {
        for text in [name, hash] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
    }
    hex(hasher.finalize().as_bytes())
}

/// The hash of bytes, as it stands in a key.
pub fn digest(bytes: &[u8]) -> String {
    hex(blake3::hash(bytes).as_bytes())
}

/// The hash of what is in a file.
///
/// # Errors
///
/// It cannot be read.
pub fn digest_of(path: &Path) -> Result<String, JournalError> {
    let mut hasher = blake3::Hasher::new();
    File::open(path)
        .and_then(|file| hasher.update_reader(file).map(drop))
        .map_err(JournalError::io("read", path))?;
    Ok(hex(hasher.finalize().as_bytes()))
}

/// The files that a path or glob means, sorted; a path that is not there means itself.
pub fn files(pattern: &Path) -> Vec<PathBuf> {
    let text = pattern.to_string_lossy();
    if !text.contains(['*', '?', '[']) {
        return vec![pattern.to_owned()];
    }
    let found = glob::glob(&text).into_iter().flatten().flatten();
    found.filter(|path| path.is_file()).collect()
}

/// Stores the files that a task wrote; `None` where one is missing, so that nothing can be said of it.
pub(crate) fn keep_outputs(
    patterns: &[PathBuf],
    artifacts: &Artifacts,
) -> Result<Option<Vec<Output>>, JournalError> {
    let mut outputs = Vec::new();
    for path in patterns.iter().flat_map(|pattern| files(pattern)) {
        let Ok(metadata) = fs::metadata(&path) else { return Ok(None) };
        let is_kept = metadata.len() <= MOST_KEPT_BYTES;
        let hash = match is_kept {
            true => artifacts.store(&fs::read(&path).map_err(JournalError::io("read", &path))?)?,
            false => digest_of(&path)?,
        };
        outputs.push(Output { path, hash, is_kept });
    }
    Ok(Some(outputs))
}

impl Known {
    /// Sees that the files are as they were written, and puts back what is not.
    ///
    /// # Errors
    ///
    /// One cannot be put back.
    pub fn restore(&self, artifacts: &Artifacts) -> Result<(), JournalError> {
        for output in &self.outputs {
            if digest_of(&output.path).is_ok_and(|hash| hash == output.hash) {
                continue;
            }
            if !output.is_kept {
                let what = "it is not what was written, and too large to be kept".to_owned();
                return Err(JournalError::Damaged { path: output.path.clone(), what });
            }
            let bytes = artifacts.load(&output.hash)?;
            put(&output.path, &bytes).map_err(JournalError::io("put back", &output.path))?;
        }
        Ok(())
    }
}

impl Known {
    /// Whether the files are as they were written, or can be put back; nothing is.
    pub fn can_be_restored(&self, artifacts: &Artifacts) -> bool {
        let is_there = |output: &Output| digest_of(&output.path).is_ok_and(|hash| hash == output.hash);
        let can_be = |output: &Output| output.is_kept && artifacts.load(&output.hash).is_ok();
        self.outputs.iter().all(|output| is_there(output) || can_be(output))
    }
}

/// Writes a file whole or not at all.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    written.inspect_err(|_| drop(fs::remove_file(&part)))
}

/// Looks up what was done.
pub(crate) fn find(connection: &Connection, key: &str) -> rusqlite::Result<Option<Known>> {
    let row = |row: &rusqlite::Row<'_>| {
        seal::KNOWN.see(row)?;
        let (run, value, outputs): (String, Option<String>, String) =
            (row.get("origin")?, row.get("value")?, row.get("outputs")?);
        let wrong = |error: Box<dyn std::error::Error + Send + Sync>| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error)
        };
        Ok(Known {
            from: RunId::try_from(run).map_err(|error| wrong(Box::new(error)))?,
            at_ms: row.get("at_ms")?,
            saved_us: row.get::<_, i64>("wall_us")?.cast_unsigned(),
            value: value
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|error| wrong(Box::new(error)))?,
            logs: row.get("logs")?,
            outputs: serde_json::from_str(&outputs).map_err(|error| wrong(Box::new(error)))?,
        })
    };
    connection.prepare_cached(&seal::KNOWN.select("WHERE key = ?1"))?.query_row([key], row).optional()
}

/// Notes what was done, with the files it wrote.
pub(crate) fn note(
    transaction: &Transaction<'_>,
    number: i64,
    done: &[(Done, Vec<Output>)],
) -> rusqlite::Result<()> {
    for (done, outputs) in done {
        let json = |value: &Kept| serde_json::to_string(value).expect("a value has keys of text");
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO known (key, run, origin, at_ms, wall_us, value, logs, outputs) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                &*done.key,
                number,
                done.run.as_str(),
                done.at_ms,
                done.wall_us.cast_signed(),
                done.value.as_deref().map(json),
                done.logs,
                serde_json::to_string(outputs).expect("paths that came from text, and text"),
            ])?;
        seal::KNOWN.close(transaction, &&*done.key)?;
        for output in outputs.iter().filter(|output| output.is_kept) {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO uses (run, artifact) VALUES (?1, ?2)")?
                .execute(params![number, output.hash])?;
        }
    }
    Ok(())
}

/// Has what a run used again stay for as long as that run does; not every time, since to write costs more than to look.
pub(crate) fn renew(transaction: &Transaction<'_>, number: i64, fact: &Fact) -> rusqlite::Result<()> {
    let Fact::TaskReused { reused, .. } = fact else { return Ok(()) };
    let Some(key) = &reused.key else { return Ok(()) };
    let renewed = transaction
        .prepare_cached("UPDATE known SET run = ?2 WHERE key = ?1 AND run <= ?2 - ?3")?
        .execute(params![&**key, number, RENEWED_AFTER])?;
    if renewed == 0 {
        return Ok(());
    }
    let Some(known) = find(transaction, key)? else { return Ok(()) };
    for output in known.outputs.iter().filter(|output| output.is_kept) {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO uses (run, artifact) VALUES (?1, ?2)")?
            .execute(params![number, output.hash])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_that_of_its_parts_in_any_order_and_of_no_others() {
        let part = |name: &str, hash: &str| (Box::from(name), Box::from(hash));
        let key = key_of(&mut [part("a", "1"), part("b", "2")]);
        assert_eq!(key, key_of(&mut [part("b", "2"), part("a", "1")]));
        assert_ne!(key, key_of(&mut [part("a", "1b"), part("", "2")]));
        assert_ne!(key, key_of(&mut [part("a", "1")]));
    }

    #[test]
    fn files_are_put_back_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let artifacts = Artifacts::of(&folder.path().join("state"));
        let (one, two) = (folder.path().join("out/one.txt"), folder.path().join("out/two.txt"));
        fs::create_dir(folder.path().join("out")).expect("made");
        fs::write(&one, "1").and_then(|()| fs::write(&two, "2")).expect("written");
        let outputs =
            keep_outputs(&[folder.path().join("out/*.txt")], &artifacts).expect("kept").expect("there");
        assert_eq!(outputs.len(), 2);
        assert_eq!(keep_outputs(&[folder.path().join("missing")], &artifacts).expect("looked"), None);
        fs::write(&one, "altered").and_then(|()| fs::remove_file(&two)).expect("changed");
        let known = Known {
            from: RunId::try_from("r1".to_owned()).expect("an id"),
            at_ms: 0,
            saved_us: 0,
            value: None,
            logs: None,
            outputs,
        };
        known.restore(&artifacts).expect("put back");
        assert_eq!(
            fs::read_to_string(&one).expect("there") + &fs::read_to_string(&two).expect("there"),
            "12"
        );
        fs::remove_dir_all(folder.path().join("state")).expect("removed");
        known.restore(&artifacts).expect("nothing to do");
        fs::remove_file(&two).expect("removed");
        assert!(known.restore(&artifacts).is_err());
    }
}
