//! The database: how it is opened, and what it looks like in each version. Migrations go forward only, each in one
//! transaction, after a copy of what there was.

use crate::fault::JournalError;
use crate::open::{Database, see_unforked};
use crate::place::sync;
use crate::seal;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// `DIRG`: tells our databases from those of others.
const APPLICATION_ID: i32 = 0x4449_5247;
/// How long to wait for another writer before giving up. Transactions take milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Databases up to this size are checked whole whenever they are opened.
const CHECKED_BYTES: u64 = 1 << 20;

/// Each version's step from the one before.
const MIGRATIONS: [fn(&Transaction<'_>) -> rusqlite::Result<()>; 5] = [first, second, third, fourth, fifth];

/// The format this build writes.
pub(crate) const FORMAT: u32 = MIGRATIONS.len() as u32;

fn first(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE runs (
             number INTEGER PRIMARY KEY,
             id TEXT NOT NULL UNIQUE,
             workflow TEXT NOT NULL,
             created_at_ms INTEGER NOT NULL,
             -- What follows is filled in when the run ends.
             ended_at_ms INTEGER,
             verdict TEXT,
             events INTEGER,
             hash BLOB,
             counts TEXT
         );
         CREATE TABLE events (
             place INTEGER PRIMARY KEY,
             codec INTEGER NOT NULL,
             hash BLOB NOT NULL,
             body BLOB NOT NULL
         );
         CREATE TABLE uses (
             run INTEGER NOT NULL REFERENCES runs (number),
             artifact TEXT NOT NULL,
             PRIMARY KEY (run, artifact)
         ) WITHOUT ROWID;
         CREATE TABLE requests (
             number INTEGER PRIMARY KEY AUTOINCREMENT,
             run INTEGER NOT NULL REFERENCES runs (number),
             at_ms INTEGER NOT NULL,
             actor TEXT NOT NULL,
             request TEXT NOT NULL
         );
         CREATE INDEX requests_of_run ON requests (run);",
    )
}

/// What tasks did, by a hash of what it depends on.
fn second(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE known (
             key TEXT PRIMARY KEY,
             -- With this run it is dropped: the last one that used it.
             run INTEGER NOT NULL REFERENCES runs (number),
             -- The run that did it.
             origin TEXT NOT NULL,
             at_ms INTEGER NOT NULL,
             wall_us INTEGER NOT NULL,
             value TEXT,
             logs TEXT,
             outputs TEXT NOT NULL
         ) WITHOUT ROWID;
         CREATE INDEX known_of_run ON known (run);",
    )
}

/// What no hash covered gets one.
fn third(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction
        .execute_batch("ALTER TABLE runs ADD COLUMN seal BLOB; ALTER TABLE known ADD COLUMN seal BLOB;")?;
    seal::RUNS.close_all(transaction)?;
    seal::KNOWN.close_all(transaction)
}

/// Which runs came from elsewhere.
fn fourth(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE imported (
             run INTEGER PRIMARY KEY REFERENCES runs (number),
             at_ms INTEGER NOT NULL,
             actor TEXT NOT NULL
         );",
    )
}

/// When what was carried out by schedules.
fn fifth(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE schedules (
             name TEXT PRIMARY KEY,
             -- How its times are written: another text starts afresh.
             timing TEXT NOT NULL,
             -- Ticks up to here are dealt with, whether they are recorded or not.
             since_ms INTEGER NOT NULL,
             paused_at_ms INTEGER,
             paused_by TEXT,
             seal BLOB
         ) WITHOUT ROWID;
         CREATE TABLE ticks (
             number INTEGER PRIMARY KEY AUTOINCREMENT,
             schedule TEXT NOT NULL,
             tick_ms INTEGER NOT NULL,
             by_hand INTEGER NOT NULL,
             claimed_at_ms INTEGER NOT NULL,
             claimed_by TEXT NOT NULL,
             process TEXT,
             -- What follows is filled in when the tick ends.
             ended_at_ms INTEGER,
             outcome TEXT,
             exit_code INTEGER,
             run TEXT,
             count INTEGER NOT NULL,
             seal BLOB,
             UNIQUE (schedule, tick_ms)
         );
         CREATE INDEX open_ticks ON ticks (schedule) WHERE outcome IS NULL;",
    )
}

/// Opens the database to write, makes it where there is none, and brings it to the present format.
pub(crate) fn open(path: &Path) -> Result<Database, JournalError> {
    patiently(path, open_at_once)
}

/// Opens a database that is there, to read.
pub(crate) fn open_to_read(path: &Path) -> Result<Database, JournalError> {
    patiently(path, open_to_read_at_once)
}

/// Tries again while somebody else makes the database or takes it over: SQLite does not wait for that by itself.
fn patiently(
    path: &Path,
    open: impl Fn(&Path) -> Result<Connection, JournalError>,
) -> Result<Database, JournalError> {
    see_unforked(path)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open(path) {
            Err(error) if error.is_busy() && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            opened => return opened.and_then(|connection| Database::opened(connection, path)),
        }
    }
}

fn open_at_once(path: &Path) -> Result<Connection, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(JournalError::database("open", path))?;
    prepare(&connection).map_err(JournalError::database("open", path))?;
    check(&connection, path)?;
    let (application, format) = identity(&connection, path)?;
    write_ahead(&connection).map_err(JournalError::database("open", path))?;
    if format < FORMAT {
        migrate(&mut connection, path, application)?;
    }
    see_tables(&connection, path)?;
    Ok(connection)
}

fn open_to_read_at_once(path: &Path) -> Result<Connection, JournalError> {
    // A reader of a database in WAL mode takes part in its locks, so it opens it as a writer would.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(JournalError::database("open", path))?;
    prepare(&connection)
        .and_then(|()| connection.pragma_update(None, "query_only", true))
        .map_err(JournalError::database("open", path))?;
    check(&connection, path)?;
    let (_, format) = identity(&connection, path)?;
    if format == FORMAT {
        write_ahead(&connection).map_err(JournalError::database("open", path))?;
        see_tables(&connection, path)?;
        return Ok(connection);
    }
    // A writer brings it up to date; there is nothing to ask of it before.
    drop(connection);
    drop(open_at_once(path)?);
    open_to_read_at_once(path)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Has the database written through a log beside it. This changes a database that was not, so it has to be one of ours.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
}

/// Notices damage before anything is built on it, where that takes no time. `doctor` looks at large ones.
fn check(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > CHECKED_BYTES) {
        return Ok(());
    }
    check_whole(connection, path)
}

/// Looks at every page.
pub(crate) fn check_whole(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    check_by(connection, path, "PRAGMA integrity_check(1)")
}

/// Looks at every page of one table and its indices.
pub(crate) fn check_table(connection: &Connection, path: &Path, table: &str) -> Result<(), JournalError> {
    check_by(connection, path, &format!("PRAGMA integrity_check({table})"))
}

fn check_by(connection: &Connection, path: &Path, pragma: &str) -> Result<(), JournalError> {
    let found: String =
        connection.query_row(pragma, [], |row| row.get(0)).map_err(JournalError::database("check", path))?;
    match found.as_str() {
        "ok" => Ok(()),
        what => Err(JournalError::Damaged { path: path.to_owned(), what: what.to_owned() }),
    }
}

fn identity(connection: &Connection, path: &Path) -> Result<(i32, u32), JournalError> {
    let read = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let facts = || -> rusqlite::Result<(i32, i32, i64)> {
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((read("application_id")?, read("user_version")?, tables))
    };
    let (application, format, tables) = facts().map_err(JournalError::database("read", path))?;
    let format = u32::try_from(format).unwrap_or(u32::MAX);
    if application != APPLICATION_ID && tables > 0 {
        return Err(JournalError::Foreign { path: path.to_owned() });
    }
    if format > FORMAT {
        return Err(JournalError::Newer { path: path.to_owned(), found: format, known: FORMAT });
    }
    Ok((application, format))
}

/// What SQLite keeps of a table or an index: its name, and how it was made.
type Made = (String, Option<String>);

/// The tables and indices that the present format has.
static MADE: LazyLock<rusqlite::Result<Vec<Made>>> = LazyLock::new(|| {
    let mut connection = Connection::open_in_memory()?;
    let transaction = connection.transaction()?;
    MIGRATIONS.iter().try_for_each(|step| step(&transaction))?;
    made(&transaction)
});

fn made(connection: &Connection) -> rusqlite::Result<Vec<Made>> {
    let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Sees that the tables are those that were made: SQLite believes whatever stands there, and reads the rows by it.
fn see_tables(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    let there = made(connection).map_err(JournalError::database("read", path))?;
    match &*MADE {
        Ok(made) if *made != there => Err(JournalError::Damaged {
            path: path.to_owned(),
            what: "its tables are not those that were made".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn migrate(connection: &mut Connection, path: &Path, application: i32) -> Result<(), JournalError> {
    if application == APPLICATION_ID {
        back_up(connection, path)?;
    }
    let mut steps = || -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have been quicker.
        let format: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        for step in MIGRATIONS.iter().skip(usize::try_from(format).unwrap_or(0)) {
            step(&transaction)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
        transaction.commit()
    };
    steps().map_err(JournalError::database("migrate", path))
}

/// Copies what there is beside itself, once for each format. The copy is whole or not there.
fn back_up(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    let (_, format) = identity(connection, path)?;
    let copy = backup_path(path, format);
    if copy.exists() {
        return Ok(());
    }
    let part = copy.with_extension(format!("{}.{PART}", std::process::id()));
    remove_parts(&copy, |name| name == part);
    connection
        .execute("VACUUM INTO ?1", [part.to_string_lossy()])
        .map_err(JournalError::database("copy", path))?;
    sync(&part)?;
    match fs::rename(&part, &copy) {
        // Somebody else was quicker, and has cleared up.
        Err(error) if error.kind() == io::ErrorKind::NotFound && copy.exists() => {}
        renamed => renamed.map_err(JournalError::io("write", &copy))?,
    }
    sync(path.parent().unwrap_or(path))?;
    remove_parts(&copy, |_| true);
    Ok(())
}

/// What a copy is called until it is whole.
const PART: &str = "part";

/// Removes what is left of copies that never became whole.
fn remove_parts(copy: &Path, is_meant: impl Fn(&Path) -> bool) {
    let stem = copy.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let entries = copy.parent().and_then(|folder| fs::read_dir(folder).ok());
    for path in entries.into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_part = name.starts_with(&format!("{stem}.")) && name.contains(&format!(".{PART}"));
        if is_part && is_meant(&path) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn backup_path(path: &Path, format: u32) -> PathBuf {
    path.with_extension(format!("format-{format}.db"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_program_or_a_later_version_wrote_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let foreign = folder.path().join("foreign.db");
        Connection::open(&foreign).and_then(|db| db.execute_batch("CREATE TABLE t (x)")).expect("made");
        assert!(matches!(open(&foreign), Err(JournalError::Foreign { .. })));
        let later = folder.path().join("later.db");
        let db = open(&later).expect("made");
        db.pragma_update(None, "user_version", FORMAT + 1).expect("set");
        drop(db);
        assert!(matches!(open(&later), Err(JournalError::Newer { found, .. }) if found == FORMAT + 1));
    }

    #[test]
    fn sqlite_is_recent_enough_to_be_trusted_with_a_log_that_starts_over() {
        assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    }

    #[test]
    fn a_file_of_something_else_is_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.db");
        fs::write(&path, [b'x'; 5000]).expect("written");
        assert!(matches!(open(&path), Err(JournalError::Damaged { .. })));
    }
}
