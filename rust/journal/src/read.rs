//! What is recorded, for those who ask. Every question is a short transaction of its own: a reader never keeps the
//! writers' log from starting over, and is never told "busy".

use crate::artifact::Artifacts;
use crate::fault::JournalError;
use crate::group::{self, Hash, hex};
use crate::holder::Holder;
use crate::lock::RunLock;
use crate::open::{Database, identity};
use crate::place::{DATABASE, has_records, place, run_folder};
use crate::schema;
use crate::seal;
use dirigent_core::event::Event;
use dirigent_core::ids::RunId;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::{Path, PathBuf};

/// How many groups one question reads.
const GROUPS_AT_ONCE: i64 = 256;

/// A state folder, opened to read.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    database: PathBuf,
    connection: Database,
    /// The versions of its tables and of its format.
    versions: Option<(i64, i64)>,
}

/// The head of a recorded run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// Its workflow.
    pub workflow: String,
    /// When it was accepted, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it ended; `None` where it has not.
    pub ended_at_ms: Option<i64>,
    /// How it went, as on the wire; `None` where it has not ended.
    pub verdict: Option<String>,
    /// How many tasks ended how, as JSON; `None` where it has not ended.
    pub counts: Option<String>,
    /// Who carries it on right now.
    pub holder: Option<Holder>,
}

impl RunRow {
    /// How the run stands: its verdict, or `running`, or `interrupted`. Nothing is running without a living process.
    pub fn status(&self) -> &str {
        match (&self.verdict, &self.holder) {
            (Some(verdict), _) => verdict,
            (None, Some(_)) => "running",
            (None, None) => "interrupted",
        }
    }
}

/// A run read back whole, and found to be what was written.
#[derive(Debug)]
pub struct Recorded {
    pub(crate) number: i64,
    pub(crate) head: Hash,
    /// How many groups its events lie in.
    pub groups: usize,
    /// Its events.
    pub events: Vec<Event>,
}

/// How far a run was read.
#[derive(Debug)]
pub struct ReadTo {
    run: RunId,
    number: i64,
    head: Hash,
    seq: u64,
    /// Where the next group may lie.
    next: i64,
    groups: usize,
}

impl Recorded {
    /// The hash of its last group: the same for the same history alone.
    pub fn hash(&self) -> String {
        hex(&self.head)
    }
}

impl Reader {
    /// Opens a state folder in which something is recorded.
    ///
    /// # Errors
    ///
    /// Nothing is; it cannot be read; it is damaged or belongs to somebody else.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let database = folder.join(DATABASE);
        if !has_records(folder)? {
            return Err(JournalError::NoRun { run: "at all".to_owned(), path: database });
        }
        let connection = schema::open_to_read(&database)?;
        let versions = versions(&connection);
        Ok(Self { folder: folder.to_owned(), database, connection, versions })
    }

    /// Whether a question would be answered as by a reader opened anew: the file is still the one that was opened, and its
    /// tables are those that were looked at then.
    pub fn is_current(&self) -> bool {
        let is_there = identity(&self.database).is_ok_and(|it| it == self.connection.identity());
        is_there && self.versions.is_some() && self.versions == versions(&self.connection)
    }

    /// The state folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where large values are.
    pub fn artifacts(&self) -> Artifacts {
        Artifacts::of(&self.folder)
    }

    /// The folder of a run.
    pub fn run_folder(&self, run: &RunId) -> PathBuf {
        run_folder(&self.folder, run)
    }

    /// The newest runs, the newest first; only those of a workflow, where one is named.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn runs(&self, at_most: usize, workflow: Option<&str>) -> Result<Vec<RunRow>, JournalError> {
        let read = || -> rusqlite::Result<Vec<RunRow>> {
            let which = "WHERE ?2 IS NULL OR workflow = ?2 ORDER BY number DESC LIMIT ?1";
            let mut statement = self.connection.prepare_cached(&seal::RUNS.select(which))?;
            let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
            statement.query_map(params![at_most, workflow], |row| self.row(row))?.collect()
        };
        read().map_err(JournalError::database("read", &self.database))
    }

    /// The runs that have not ended.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn open_runs(&self) -> Result<Vec<RunRow>, JournalError> {
        let read = || -> rusqlite::Result<Vec<RunRow>> {
            let which = "WHERE ended_at_ms IS NULL ORDER BY number DESC";
            let mut statement = self.connection.prepare(&seal::RUNS.select(which))?;
            statement.query_map([], |row| self.row(row))?.collect()
        };
        read().map_err(JournalError::database("read", &self.database))
    }

    /// One run by its id, or by the beginning of it where no other begins so; `last` is the newest.
    ///
    /// # Errors
    ///
    /// There is no such run, or more than one.
    pub fn find(&self, name: &str) -> Result<RunRow, JournalError> {
        let no_run = || JournalError::NoRun { run: name.to_owned(), path: self.database.clone() };
        if name == "last" {
            return self.runs(1, None)?.pop().ok_or_else(no_run);
        }
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let read = || -> rusqlite::Result<Vec<RunRow>> {
            let which = "WHERE id >= ?1 AND id < ?1 || 'zzzz' LIMIT 2";
            let mut statement = self.connection.prepare(&seal::RUNS.select(which))?;
            statement.query_map([name], |row| self.row(row))?.collect()
        };
        if name.is_empty() || !is_plain {
            return Err(no_run());
        }
        let mut found = read().map_err(JournalError::database("read", &self.database))?;
        found.retain(|row| row.id.as_str().starts_with(name));
        match found.iter().position(|row| row.id.as_str() == name) {
            Some(exact) => Ok(found.swap_remove(exact)),
            None if found.len() == 1 => Ok(found.remove(0)),
            None => {
                self.see_heads()?;
                Err(no_run())
            }
        }
    }

    fn row(&self, row: &rusqlite::Row<'_>) -> rusqlite::Result<RunRow> {
        seal::RUNS.see(row)?;
        let id: String = row.get("id")?;
        let id = RunId::try_from(id).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
        })?;
        let ended_at_ms: Option<i64> = row.get("ended_at_ms")?;
        let holder = match ended_at_ms {
            Some(_) => None,
            None => RunLock::holder(&self.run_folder(&id)),
        };
        Ok(RunRow {
            workflow: row.get("workflow")?,
            created_at_ms: row.get("created_at_ms")?,
            ended_at_ms,
            verdict: row.get("verdict")?,
            counts: row.get("counts")?,
            holder,
            id,
        })
    }

    /// A run with all its events, every hash of which fits.
    ///
    /// # Errors
    ///
    /// There is no such run; what is there is not what was written.
    pub fn recorded(&self, run: &RunId) -> Result<Recorded, JournalError> {
        let mut read = self.begin(run)?;
        let events = self.go_on(&mut read)?;
        Ok(Recorded { number: read.number, head: read.head, groups: read.groups, events })
    }

    /// A run of which nothing was read yet.
    ///
    /// # Errors
    ///
    /// There is no such run.
    pub fn begin(&self, run: &RunId) -> Result<ReadTo, JournalError> {
        let (number, _) = self.number(run)?;
        Ok(ReadTo {
            run: run.clone(),
            number,
            head: group::seed(run),
            seq: 0,
            next: place(number, 0),
            groups: 0,
        })
    }

    /// The events that were recorded since a run was last read so, every hash of which fits.
    ///
    /// # Errors
    ///
    /// The run is not there any more; what is there is not what was written.
    pub fn go_on(&self, read: &mut ReadTo) -> Result<Vec<Event>, JournalError> {
        let ReadTo { run, number, .. } = &*read;
        let (run, number) = (run.clone(), *number);
        // First: whoever ends the run meanwhile adds to it.
        let (_, end) = self.number(&run)?;
        let mut events = Vec::new();
        loop {
            let some = self.groups(read.next, place(number + 1, 0))?;
            if some.is_empty() {
                break;
            }
            for group in some {
                let seq = read.seq;
                if group.place != place(number, seq) {
                    return Err(self.damaged(&run, &format!("its events from {seq} on are missing")));
                }
                let plain = group::unpack(group.codec, group.body);
                let plain =
                    plain.ok_or_else(|| self.damaged(&run, &format!("event {seq} cannot be unpacked")))?;
                let head = group::follow(&read.head, &plain);
                if head[..] != group.hash[..] {
                    return Err(
                        self.damaged(&run, &format!("its history was altered at event {seq} or before"))
                    );
                }
                let mut parsed = group::parse(&plain, seq, &self.database)?;
                read.head = head;
                read.next = group.place + 1;
                read.seq += parsed.len() as u64;
                read.groups += 1;
                events.append(&mut parsed);
            }
        }
        if read.seq == 0 {
            // The first are recorded with its head.
            return Err(self.damaged(&run, "its events are missing"));
        }
        match end {
            // One that was taken up again since has more.
            Some((count, hash)) if count == read.seq && hash[..] != read.head[..] => {
                Err(self.damaged(&run, "its history was altered"))
            }
            Some((count, _))
                if count != read.seq && self.number(&run)?.1.is_some_and(|end| end.0 == count) =>
            {
                Err(self.damaged(&run, "its last events are missing, or its history was altered"))
            }
            _ => Ok(events),
        }
    }

    /// A number that changes whenever another connection writes to the database.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn version(&self) -> Result<i64, JournalError> {
        self.connection
            .pragma_query_value(None, "data_version", |row| row.get(0))
            .map_err(JournalError::database("read", &self.database))
    }

    /// Whether a run was brought here from elsewhere.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn is_imported(&self, run: &RunId) -> Result<bool, JournalError> {
        let read = || {
            let which = "SELECT 1 FROM imported JOIN runs ON runs.number = imported.run WHERE runs.id = ?1";
            self.connection.prepare_cached(which)?.exists([run.as_str()])
        };
        read().map_err(JournalError::database("read", &self.database))
    }

    /// The events of a run from one place on, as many as there are so far.
    ///
    /// # Errors
    ///
    /// There is no such run; what is there is not what was written.
    pub fn events(&self, run: &RunId, from: u64) -> Result<Vec<Event>, JournalError> {
        let (number, _) = self.number(run)?;
        let first: Option<i64> = self
            .connection
            .query_row(
                "SELECT max(place) FROM events WHERE place >= ?1 AND place <= ?2",
                [place(number, 0), place(number, from)],
                |row| row.get(0),
            )
            .map_err(JournalError::database("read", &self.database))?;
        let mut next = first.unwrap_or_else(|| place(number, 0));
        let mut events = Vec::new();
        loop {
            let some = self.groups(next, place(number + 1, 0))?;
            let Some(last) = some.last() else { break };
            next = last.place + 1;
            for group in some {
                let seq = u64::try_from(group.place - place(number, 0)).unwrap_or_default();
                let plain = group::unpack(group.codec, group.body);
                let plain =
                    plain.ok_or_else(|| self.damaged(run, &format!("event {seq} cannot be unpacked")))?;
                let parsed = group::parse(&plain, seq, &self.database)?;
                events.extend(parsed.into_iter().filter(|event| event.seq >= from));
            }
        }
        Ok(events)
    }

    /// Asks a question of another module.
    pub(crate) fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        question(&self.connection).map_err(JournalError::database("read", &self.database))
    }

    /// Looks at every page of the database.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn check(&self) -> Result<(), JournalError> {
        schema::check_whole(&self.connection, &self.database)
    }

    /// Looks at every page that events lie on: of a run that has not ended, nothing else says which are the last.
    pub(crate) fn check_events(&self) -> Result<(), JournalError> {
        schema::check_table(&self.connection, &self.database, "events")
    }

    fn damaged(&self, run: &RunId, what: &str) -> JournalError {
        JournalError::Damaged { path: self.database.clone(), what: format!("run {run}: {what}") }
    }

    fn number(&self, run: &RunId) -> Result<(i64, Option<End>), JournalError> {
        let row = |row: &rusqlite::Row<'_>| {
            seal::RUNS.see(row)?;
            let events: Option<i64> = row.get("events")?;
            let hash: Option<Vec<u8>> = row.get("hash")?;
            Ok((row.get("number")?, events.map(i64::cast_unsigned).zip(hash)))
        };
        let found = self
            .connection
            .query_row(&seal::RUNS.select("WHERE id = ?1"), [run.as_str()], row)
            .optional()
            .map_err(JournalError::database("read", &self.database))?;
        match found {
            Some(found) => Ok(found),
            None => {
                self.see_heads()?;
                Err(JournalError::NoRun { run: run.to_string(), path: self.database.clone() })
            }
        }
    }

    /// Sees that a run that is not found is not there: a damaged index hides what there is.
    fn see_heads(&self) -> Result<(), JournalError> {
        schema::check_table(&self.connection, &self.database, "runs")
    }

    fn groups(&self, from: i64, to: i64) -> Result<Vec<Stored>, JournalError> {
        let read = || -> rusqlite::Result<Vec<Stored>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT place, codec, hash, body FROM events WHERE place >= ?1 AND place < ?2 \
                 ORDER BY place LIMIT ?3",
            )?;
            let row = |row: &rusqlite::Row<'_>| {
                Ok(Stored { place: row.get(0)?, codec: row.get(1)?, hash: row.get(2)?, body: row.get(3)? })
            };
            statement.query_map([from, to, GROUPS_AT_ONCE], row)?.collect()
        };
        read().map_err(JournalError::database("read", &self.database))
    }
}

/// Of a run that ended: how many events it has, and the hash of its last group.
type End = (u64, Vec<u8>);

/// A group as it lies there.
struct Stored {
    place: i64,
    codec: i64,
    hash: Vec<u8>,
    body: Vec<u8>,
}

fn versions(connection: &Connection) -> Option<(i64, i64)> {
    let asked = |pragma: &str| connection.prepare_cached(pragma)?.query_row([], |row| row.get(0));
    Some((asked("PRAGMA schema_version").ok()?, asked("PRAGMA user_version").ok()?))
}
