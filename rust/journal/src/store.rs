//! A state folder opened to write: runs begin, their events are appended, and old ones are dropped.

use crate::artifact::{Artifacts, remove};
use crate::fault::JournalError;
use crate::group::{self, Hash};
use crate::holder::Holder;
use crate::known::{self, Done, Known, Output};
use crate::lock::{RunLock, make_private};
use crate::open::{Database, identity};
use crate::place::{DATABASE, SEQ_BITS, attempt_folder, bytes_in, place, run_folder, sync};
use crate::read::Reader;
use crate::schema;
use crate::seal;
use dirigent_core::event::{Event, Fact};
use dirigent_core::ids::RunId;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often somebody looks whether the database is still where it was.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The state folders that this process has opened to write, by process.
static SHARED: LazyLock<Mutex<Stores>> = LazyLock::new(Mutex::default);

type Stores = HashMap<(u32, PathBuf), Arc<Store>>;

/// What a recorded fact survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Any end of the process. That a run was accepted, answered or ended survives a cut of power, with all before it.
    #[default]
    Process,
    /// A cut of power.
    Power,
}

/// A state folder, opened to write. Shared by all runs of a process.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    database: PathBuf,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    connection: Database,
    is_synced: bool,
    looked: Instant,
}

impl Writer {
    /// Has the commits to come wait for the disk, or not.
    fn sync(&mut self, wants_sync: bool) -> rusqlite::Result<()> {
        if self.is_synced != wants_sync {
            let level = if wants_sync { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.is_synced = wants_sync;
        }
        Ok(())
    }
}

/// Something asked of a run from outside of its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number, in the order of asking.
    pub number: i64,
    /// Who asked.
    pub actor: String,
    /// What, in words the engine knows.
    pub request: String,
}

impl Store {
    /// Opens a state folder, and makes it where there is none: private, and out of the sight of version control.
    ///
    /// # Errors
    ///
    /// It cannot be made or written, lies on another machine, is damaged, or belongs to somebody else.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        make_private(folder)?;
        refuse_network(folder)?;
        let ignore = folder.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n").map_err(JournalError::io("write", &ignore))?;
        }
        let database = folder.join(DATABASE);
        let connection = schema::open(&database)?;
        let writer = Writer { connection, is_synced: false, looked: Instant::now() };
        Ok(Self { folder: folder.to_owned(), database, writer: Mutex::new(writer) })
    }

    /// The same for all who ask in this process, opened once: one writer a process.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn shared(folder: &Path) -> Result<Arc<Self>, JournalError> {
        let mut stores = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        // A child that was forked has connections that are not its own.
        let key = (std::process::id(), folder.to_owned());
        if let Some(store) = stores.get(&key)
            && identity(&store.database).is_ok_and(|identity| identity == store.lock().connection.identity())
        {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(Self::open(folder)?);
        stores.insert(key, Arc::clone(&store));
        Ok(store)
    }

    /// Closes the folders that no run of this process needs. Whoever forks calls it before: what is open then, the child must
    /// not open.
    pub fn let_go() {
        let mut stores = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|_, store| Arc::strong_count(store) > 1);
    }

    /// The state folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where large values are.
    pub fn artifacts(&self) -> Artifacts {
        Artifacts::of(&self.folder)
    }

    /// The folder of a run, for its lock, its logs and its reports.
    pub fn run_folder(&self, run: &RunId) -> PathBuf {
        run_folder(&self.folder, run)
    }

    /// Begins a run: from here on this process holds it.
    ///
    /// # Errors
    ///
    /// Its folder cannot be made; somebody holds it.
    pub fn begin(
        self: &Arc<Self>,
        run: &RunId,
        durability: Durability,
        holder: &Holder,
    ) -> Result<RunWriter, JournalError> {
        let folder = self.run_folder(run);
        make_private(&folder)?;
        let lock = RunLock::take(&folder, run, holder)?;
        let head = group::seed(run);
        let (store, number, next_seq, imported) = (Arc::clone(self), None, 0, None);
        Ok(RunWriter { store, folder, _lock: lock, number, head, next_seq, durability, imported })
    }

    /// Takes over a recorded run that nobody holds, with its events so far.
    ///
    /// # Errors
    ///
    /// There is no such run; somebody holds it; its events are damaged.
    pub fn take_over(
        self: &Arc<Self>,
        run: &RunId,
        durability: Durability,
        holder: &Holder,
    ) -> Result<(RunWriter, Vec<Event>), JournalError> {
        let folder = self.run_folder(run);
        make_private(&folder)?;
        let lock = RunLock::take(&folder, run, holder)?;
        let reader = Reader::open(&self.folder)?;
        reader.check_events()?;
        let recorded = reader.recorded(run)?;
        let writer = RunWriter {
            store: Arc::clone(self),
            folder,
            _lock: lock,
            number: Some(recorded.number),
            head: recorded.head,
            next_seq: recorded.events.len() as u64,
            durability,
            imported: None,
        };
        Ok((writer, recorded.events))
    }

    /// Asks something of a run that another process carries on.
    ///
    /// # Errors
    ///
    /// There is no such run; the database refuses.
    pub fn ask(&self, run: &RunId, at_ms: i64, actor: &str, request: &str) -> Result<(), JournalError> {
        let writer = self.lock();
        let asked = writer.connection.execute(
            "INSERT INTO requests (run, at_ms, actor, request) SELECT number, ?2, ?3, ?4 FROM runs WHERE id = ?1",
            params![run.as_str(), at_ms, actor, request],
        );
        match asked.map_err(JournalError::database("write to", &self.database))? {
            0 => Err(JournalError::NoRun { run: run.to_string(), path: self.database.clone() }),
            _ => Ok(()),
        }
    }

    /// Drops a run that nobody holds, with its folder, and returns how many bytes its files took.
    ///
    /// # Errors
    ///
    /// Somebody holds it; the database refuses.
    pub fn drop_run(&self, run: &RunId) -> Result<u64, JournalError> {
        let folder = self.run_folder(run);
        if let Some(holder) = RunLock::holder(&folder) {
            return Err(JournalError::Held { run: run.to_string(), holder });
        }
        let mut writer = self.lock();
        let drop_rows = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let number: Option<i64> = transaction
                .query_row("SELECT number FROM runs WHERE id = ?1", [run.as_str()], |row| row.get(0))
                .optional()?;
            if let Some(number) = number {
                let (from, to) = (number << SEQ_BITS, (number + 1) << SEQ_BITS);
                transaction.execute("DELETE FROM events WHERE place >= ?1 AND place < ?2", [from, to])?;
                transaction.execute("DELETE FROM uses WHERE run = ?1", [number])?;
                transaction.execute("DELETE FROM requests WHERE run = ?1", [number])?;
                transaction.execute("DELETE FROM known WHERE run = ?1", [number])?;
                transaction.execute("DELETE FROM imported WHERE run = ?1", [number])?;
                transaction.execute("DELETE FROM runs WHERE number = ?1", [number])?;
            }
            transaction.commit()
        };
        drop_rows(&mut writer.connection).map_err(JournalError::database("drop a run of", &self.database))?;
        let bytes = bytes_in(&folder);
        let _ = fs::remove_dir_all(&folder);
        Ok(bytes)
    }

    /// What was done by a task that depends on the same; `None` where nothing is known.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn known(&self, key: &str) -> Result<Option<Known>, JournalError> {
        known::find(&self.lock().connection, key).map_err(JournalError::database("read", &self.database))
    }

    /// What was done with the files it wrote. Where one that was promised is missing, nothing is known of the rest either.
    fn with_outputs(&self, done: &[Done]) -> Result<Vec<(Done, Vec<Output>)>, JournalError> {
        let artifacts = self.artifacts();
        let mut with_outputs = Vec::with_capacity(done.len());
        for done in done {
            if let Some(outputs) = known::keep_outputs(&done.outputs, &artifacts)? {
                with_outputs.push((done.clone(), outputs));
            }
        }
        Ok(with_outputs)
    }

    /// Drops the values that no run uses any more, gives the room back, and returns how many bytes the files took.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn sweep(&self) -> Result<u64, JournalError> {
        let artifacts = self.artifacts();
        let writer = self.lock();
        let sweep = || -> rusqlite::Result<u64> {
            // Before the question: what a run stores after it is not in this list.
            let stored = artifacts.all();
            let mut is_used = writer.connection.prepare("SELECT 1 FROM uses WHERE artifact = ?1")?;
            let mut bytes = artifacts.parts().filter(|part| is_old(part)).map(|part| remove(&part)).sum();
            for hash in stored {
                if !is_used.exists([&hash])? && is_old(&artifacts.path(&hash)) {
                    bytes += artifacts.remove(&hash);
                }
            }
            drop(is_used);
            writer.connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
            Ok(bytes)
        };
        sweep().map_err(JournalError::database("sweep", &self.database))
    }

    /// Makes a change that is on the disk itself when this returns.
    pub(crate) fn synced<T>(
        &self,
        change: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let mut writer = self.lock();
        self.look(&mut writer)?;
        let synced = writer.sync(true).and_then(|()| change(&mut writer.connection));
        synced.map_err(|error| self.fault("write to", error))
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether the database is still the one that was opened.
    fn look(&self, writer: &mut Writer) -> Result<(), JournalError> {
        if writer.looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        writer.looked = Instant::now();
        match identity(&self.database) {
            Ok(identity) if identity == writer.connection.identity() => Ok(()),
            _ => Err(JournalError::Gone { path: self.database.clone() }),
        }
    }

    fn fault(&self, doing: &'static str, error: rusqlite::Error) -> JournalError {
        // Some of what a full disk refuses is told as something else.
        let is_full = rustix::fs::statvfs(&self.folder).is_ok_and(|room| room.f_bavail == 0);
        match is_full {
            true => JournalError::Full { path: self.database.clone() },
            false => JournalError::database(doing, &self.database)(error),
        }
    }
}

/// Appends the events of one run. While it is there, this process holds the run.
#[derive(Debug)]
pub struct RunWriter {
    store: Arc<Store>,
    folder: PathBuf,
    _lock: RunLock,
    number: Option<i64>,
    head: Hash,
    next_seq: u64,
    durability: Durability,
    /// Who brought it here from elsewhere, if somebody did.
    imported: Option<String>,
}

impl RunWriter {
    /// Has the run known, from its first event on, as one that somebody brought from elsewhere.
    #[must_use]
    pub fn imported_by(self, actor: &str) -> Self {
        Self { imported: Some(actor.to_owned()), ..self }
    }

    /// Records events, in one transaction: all of them or none, with what tasks have done by them that may be used again.
    /// `counts` says how many tasks ended how, with the last event.
    ///
    /// # Errors
    ///
    /// The database refuses; where [`JournalError::is_full`], the same can be tried again.
    pub fn append(
        &mut self,
        events: &[Event],
        done: &[Done],
        counts: Option<&str>,
    ) -> Result<(), JournalError> {
        let Some(first) = events.first() else {
            return Ok(());
        };
        debug_assert_eq!(first.seq, self.next_seq, "events are numbered without gaps");
        let group = group::pack(first.seq, group::lines(events), &self.head);
        let wants_sync = self.durability == Durability::Power || events.iter().any(is_promised);
        let artifacts = events.iter().filter_map(|event| event.fact.artifact());
        let done = self.store.with_outputs(done)?;
        // An event that survives a cut of power has its value.
        let kept = done.iter().flat_map(|(_, outputs)| outputs).filter_map(Output::artifact);
        self.store.artifacts().secure(artifacts.clone().chain(kept))?;
        if self.durability == Durability::Power {
            events.iter().try_for_each(|event| secure_logs(&self.folder, &event.fact))?;
        }
        let mut writer = self.store.lock();
        self.store.look(&mut writer)?;
        let next_seq = self.next_seq + events.len() as u64;
        let (number, imported) = (self.number, self.imported.as_deref());
        let mut write = || -> rusqlite::Result<i64> {
            writer.sync(wants_sync)?;
            let transaction = writer.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let number = match (number, &first.fact) {
                (Some(number), _) => number,
                (None, Fact::RunCreated(created)) => {
                    transaction.execute(
                        "INSERT INTO runs (id, workflow, created_at_ms) VALUES (?1, ?2, ?3)",
                        params![created.run.as_str(), created.workflow, first.at_ms],
                    )?;
                    let number = transaction.last_insert_rowid();
                    if let Some(actor) = imported {
                        transaction.execute(
                            "INSERT INTO imported (run, at_ms, actor) VALUES (?1, ?2, ?3)",
                            params![number, first.at_ms, actor],
                        )?;
                    }
                    number
                }
                (None, _) => return Err(rusqlite::Error::QueryReturnedNoRows),
            };
            transaction
                .prepare_cached("INSERT INTO events (place, codec, hash, body) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![
                    place(number, group.first_seq),
                    group.codec as i64,
                    &group.hash[..],
                    group.body
                ])?;
            for artifact in artifacts.clone() {
                transaction
                    .prepare_cached("INSERT OR IGNORE INTO uses (run, artifact) VALUES (?1, ?2)")?
                    .execute(params![number, artifact])?;
            }
            known::note(&transaction, number, &done)?;
            for event in events {
                known::renew(&transaction, number, &event.fact)?;
                if let Fact::RunResumed { .. } = &event.fact {
                    // A cancelled one had ended.
                    transaction.execute(
                        "UPDATE runs SET ended_at_ms = NULL, verdict = NULL, events = NULL, hash = NULL, counts = NULL \
                         WHERE number = ?1",
                        [number],
                    )?;
                }
                if let Fact::RunEnded { verdict, .. } = &event.fact {
                    transaction.execute(
                        "UPDATE runs SET ended_at_ms = ?2, verdict = ?3, events = ?4, hash = ?5, counts = ?6 \
                         WHERE number = ?1",
                        params![
                            number,
                            event.at_ms,
                            verdict.name(),
                            next_seq.cast_signed(),
                            &group.hash[..],
                            counts
                        ],
                    )?;
                }
            }
            let is_head = |event: &Event| {
                matches!(event.fact, Fact::RunCreated(_) | Fact::RunResumed { .. } | Fact::RunEnded { .. })
            };
            if events.iter().any(is_head) {
                seal::RUNS.close(&transaction, &number)?;
            }
            transaction.commit()?;
            Ok(number)
        };
        let number = write().map_err(|error| self.store.fault("append to", error))?;
        drop(writer);
        self.number = Some(number);
        self.head = group.hash;
        self.next_seq = next_seq;
        Ok(())
    }

    /// Drops what was asked of the run up to the request with this number.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn forget_requests(&self, to: i64) -> Result<(), JournalError> {
        let writer = self.store.lock();
        let dropped = writer
            .connection
            .execute("DELETE FROM requests WHERE run = ?1 AND number <= ?2", [self.number.unwrap_or(-1), to]);
        dropped.map(drop).map_err(JournalError::database("write to", &self.store.database))
    }

    /// What was asked of the run since the request with this number.
    ///
    /// # Errors
    ///
    /// The database refuses, or is no longer there.
    pub fn requests(&self, after: i64) -> Result<Vec<Request>, JournalError> {
        let mut writer = self.store.lock();
        self.store.look(&mut writer)?;
        let read = || -> rusqlite::Result<Vec<Request>> {
            let mut statement = writer.connection.prepare_cached(
                "SELECT number, actor, request FROM requests WHERE run = ?1 AND number > ?2 ORDER BY number",
            )?;
            let row = |row: &rusqlite::Row<'_>| {
                Ok(Request { number: row.get(0)?, actor: row.get(1)?, request: row.get(2)? })
            };
            statement.query_map([self.number.unwrap_or(-1), after], row)?.collect()
        };
        read().map_err(JournalError::database("read", &self.store.database))
    }

    /// The state folder.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

/// Whether an event is on the disk itself before anybody hears of it.
fn is_promised(event: &Event) -> bool {
    matches!(
        event.fact,
        Fact::RunCreated(_) | Fact::WaitAnswered { .. } | Fact::RunResumed { .. } | Fact::RunEnded { .. }
    )
}

/// Sees that what an attempt wrote is on the disk itself.
fn secure_logs(run_folder: &Path, fact: &Fact) -> Result<(), JournalError> {
    let Fact::AttemptEnded { task, attempt, ended, .. } = fact else {
        return Ok(());
    };
    let folder = run_folder.join(attempt_folder(*task, *attempt));
    let streams = [(&ended.stdout, "stdout.log"), (&ended.stderr, "stderr.log")];
    let mut logs = streams.iter().filter(|(stream, _)| stream.is_some()).peekable();
    if logs.peek().is_some() {
        logs.try_for_each(|(_, name)| sync(&folder.join(name)))?;
        sync(&folder)?;
    }
    Ok(())
}

/// NFS, SMB and their like, by the numbers `statfs` gives them in Linux.
const NETWORK: [u32; 5] = [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x0102_1997];

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers have 32 bits")]
fn refuse_network(folder: &Path) -> Result<(), JournalError> {
    let is_network = rustix::fs::statfs(folder).is_ok_and(|stat| NETWORK.contains(&(stat.f_type as u32)));
    match is_network {
        true => Err(JournalError::Network { path: folder.to_owned() }),
        false => Ok(()),
    }
}

/// Whether a file has been there for long enough that whoever stored it has recorded so.
fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > Duration::from_secs(3600)))
}
