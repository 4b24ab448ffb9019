//! A hash of what stands in a row that no other hash covers, so that damage to it is noticed.

use crate::group::Hash;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, ToSql};

/// A table whose rows are sealed.
pub(crate) struct Sealed {
    /// The columns that are covered, separated by commas.
    pub(crate) columns: &'static str,
    table: &'static str,
    key: &'static str,
}

/// The heads of runs.
pub(crate) const RUNS: Sealed = Sealed {
    columns: "number, id, workflow, created_at_ms, ended_at_ms, verdict, events, hash, counts",
    table: "runs",
    key: "number",
};

/// What tasks did. Which run it is dropped with may change.
pub(crate) const KNOWN: Sealed =
    Sealed { columns: "key, origin, at_ms, wall_us, value, logs, outputs", table: "known", key: "key" };

/// What is known of schedules.
pub(crate) const SCHEDULES: Sealed =
    Sealed { columns: "name, timing, since_ms, paused_at_ms, paused_by", table: "schedules", key: "name" };

/// Ticks of schedules.
pub(crate) const TICKS: Sealed = Sealed {
    columns: "number, schedule, tick_ms, by_hand, claimed_at_ms, claimed_by, process, ended_at_ms, outcome, exit_code, \
              run, count",
    table: "ticks",
    key: "number",
};

impl Sealed {
    /// A question for the covered columns with the seal behind them; `rest` says of which rows.
    pub(crate) fn select(&self, rest: &str) -> String {
        format!("SELECT {}, seal FROM {} {rest}", self.columns, self.table)
    }

    /// Seals a row as it stands.
    pub(crate) fn close(&self, connection: &Connection, key: &dyn ToSql) -> rusqlite::Result<()> {
        let Self { table, key: column, .. } = self;
        let seal = connection
            .prepare_cached(&self.select(&format!("WHERE {column} = ?1")))?
            .query_row([key], |row| self.of(row))?;
        connection
            .prepare_cached(&format!("UPDATE {table} SET seal = ?2 WHERE {column} = ?1"))?
            .execute([key, &&seal[..]])?;
        Ok(())
    }

    /// Seals all rows as they stand.
    pub(crate) fn close_all(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(&format!("SELECT {} FROM {}", self.key, self.table))?;
        let keys = statement.query_map([], |row| row.get::<_, rusqlite::types::Value>(0))?;
        let keys = keys.collect::<rusqlite::Result<Vec<_>>>()?;
        keys.iter().try_for_each(|key| self.close(connection, key))
    }

    /// Sees that a row is what was sealed, before anything is made of it.
    pub(crate) fn see(&self, row: &Row<'_>) -> rusqlite::Result<()> {
        let seal = self.of(row)?;
        match row.get_ref("seal")? {
            ValueRef::Blob(stored) if stored == seal => Ok(()),
            _ => {
                let what = format!("a row of its table `{}` was altered", self.table);
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
                Err(rusqlite::Error::SqliteFailure(code, Some(what)))
            }
        }
    }

    fn of(&self, row: &Row<'_>) -> rusqlite::Result<Hash> {
        let mut hasher = blake3::Hasher::new();
        for column in 0..self.columns.split(',').count() {
            let (kind, bytes) = match row.get_ref(column)? {
                ValueRef::Null => (0, Vec::new()),
                ValueRef::Integer(number) => (1, number.to_le_bytes().to_vec()),
                ValueRef::Real(number) => (2, number.to_le_bytes().to_vec()),
                ValueRef::Text(text) => (3, text.to_vec()),
                ValueRef::Blob(bytes) => (4, bytes.to_vec()),
            };
            hasher.update(&[kind]).update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
        Ok(*hasher.finalize().as_bytes())
    }
}
