//! Which ticks of schedules were carried out, by whom, and how they ended; and which schedules stand still.
//!
//! A tick is claimed in one transaction: whoever records it first carries it out, and nobody else.

use crate::fault::JournalError;
use crate::lock::{RunLock, make_private};
use crate::read::Reader;
use crate::seal;
use crate::store::Store;
use dirigent_core::ids::RunId;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// How many ticks of a schedule are kept.
const KEPT: i64 = 1000;
/// The name of the folder with what ticks printed.
const LOGS: &str = "ticks";

/// How a tick ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickOutcome {
    /// It was carried out; the exit code says how that went.
    Ran,
    /// The one before it still ran.
    Skipped,
    /// Its time passed without anybody who looked, and it was not made up.
    Missed,
    /// It was ended, or did not begin, because the next one came.
    Replaced,
    /// Whoever claimed it was gone before it began, or it could not be started.
    Lost,
}

impl TickOutcome {
    const ALL: [Self; 5] = [Self::Ran, Self::Skipped, Self::Missed, Self::Replaced, Self::Lost];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::Replaced => "replaced",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for TickOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A tick as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Its number.
    pub number: i64,
    /// The schedule.
    pub schedule: String,
    /// When it was due, in milliseconds since 1970.
    pub tick_ms: i64,
    /// Whether somebody asked for it out of turn.
    pub by_hand: bool,
    /// When it was claimed.
    pub claimed_at_ms: i64,
    /// The process that claimed it.
    pub claimed_by: String,
    /// The process that carries it out, once there is one.
    pub process: Option<String>,
    /// When it ended; `None` where it has not.
    pub ended_at_ms: Option<i64>,
    /// How it ended; `None` where it has not.
    pub outcome: Option<TickOutcome>,
    /// The exit code of what was carried out, where it is known.
    pub exit_code: Option<i32>,
    /// The run it made, where it is known.
    pub run: Option<String>,
    /// How many ticks it stands for, where they were missed: itself and those before it.
    pub count: i64,
}

/// What came of the wish to carry a tick out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is yours, under this number.
    Yours(i64),
    /// Somebody has it, or had it.
    Taken,
    /// The schedule stands still.
    Paused,
    /// Others of the schedule have not ended.
    Busy(Vec<Tick>),
}

/// A tick that is wished for.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The schedule.
    pub schedule: &'a str,
    /// When it was due.
    pub tick_ms: i64,
    /// Whether somebody asked for it out of turn: it is carried out even where the schedule stands still.
    pub by_hand: bool,
    /// Who wishes.
    pub by: &'a str,
    /// When.
    pub now_ms: i64,
}

/// A schedule that stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Since when.
    pub at_ms: i64,
    /// Who asked.
    pub by: String,
}

/// Where what a tick printed lies in a state folder.
pub fn tick_log(state_dir: &Path, number: i64) -> PathBuf {
    state_dir.join(LOGS).join(format!("{number}.log"))
}

impl Store {
    /// Learns of schedules, each with its name and how its times are written, and returns how far each has come: up to
    /// where its ticks are dealt with. A new one, and one whose times are written differently, starts now.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn know_schedules(&self, schedules: &[(&str, &str)], now_ms: i64) -> Result<Vec<i64>, JournalError> {
        self.in_transaction(|transaction| {
            schedules.iter().map(|(name, timing)| know(transaction, name, timing, now_ms)).collect()
        })
    }

    /// Has a schedule stand still. Says whether it did not before.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn pause_schedule(
        &self,
        name: &str,
        timing: &str,
        now_ms: i64,
        by: &str,
    ) -> Result<bool, JournalError> {
        self.in_transaction(|transaction| {
            know(transaction, name, timing, now_ms)?;
            let changed = transaction.execute(
                "UPDATE schedules SET paused_at_ms = ?2, paused_by = ?3 WHERE name = ?1 AND paused_at_ms IS NULL",
                params![name, now_ms, by],
            )?;
            seal::SCHEDULES.close(transaction, &name)?;
            Ok(changed > 0)
        })
    }

    /// Lets a schedule go on, from now. Says whether it stood still.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn resume_schedule(&self, name: &str, now_ms: i64) -> Result<bool, JournalError> {
        self.in_transaction(|transaction| {
            let changed = transaction.execute(
                "UPDATE schedules SET paused_at_ms = NULL, paused_by = NULL, since_ms = ?2 \
                 WHERE name = ?1 AND paused_at_ms IS NOT NULL",
                params![name, now_ms],
            )?;
            if changed > 0 {
                seal::SCHEDULES.close(transaction, &name)?;
            }
            Ok(changed > 0)
        })
    }

    /// Claims a tick, unless somebody had it, the schedule stands still, or another tick of it has not ended.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn claim_tick(&self, wish: &Wish<'_>) -> Result<Claim, JournalError> {
        let (claim, dropped) = self.in_transaction(|transaction| {
            // What was only missed can still be made up, by a clock that was put back.
            let is_taken = transaction
                .prepare_cached(
                    "SELECT 1 FROM ticks WHERE schedule = ?1 AND tick_ms = ?2 AND outcome IS NOT 'missed'",
                )?
                .exists(params![wish.schedule, wish.tick_ms])?;
            if is_taken {
                return Ok((Claim::Taken, Vec::new()));
            }
            if !wish.by_hand && paused(transaction, wish.schedule)?.is_some() {
                return Ok((Claim::Paused, Vec::new()));
            }
            let open = select(transaction, "WHERE schedule = ?1 AND outcome IS NULL", [wish.schedule])?;
            if !open.is_empty() {
                return Ok((Claim::Busy(open), Vec::new()));
            }
            let number = insert(transaction, wish, None, 1)?;
            Ok((Claim::Yours(number), drop_old(transaction, wish.schedule)?))
        })?;
        for number in dropped {
            let _ = fs::remove_file(tick_log(self.folder(), number));
        }
        Ok(claim)
    }

    /// Records a tick that nobody carries out. `count` says how many ticks it stands for. Nothing happens where somebody
    /// had it.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn note_tick(&self, wish: &Wish<'_>, outcome: TickOutcome, count: i64) -> Result<bool, JournalError> {
        self.in_transaction(|transaction| {
            let is_there = transaction
                .prepare_cached("SELECT 1 FROM ticks WHERE schedule = ?1 AND tick_ms = ?2")?
                .exists(params![wish.schedule, wish.tick_ms])?;
            if !is_there {
                insert(transaction, wish, Some(outcome), count)?;
            }
            Ok(!is_there)
        })
    }

    /// Records who carries a tick out.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn tick_started(&self, number: i64, process: &str) -> Result<(), JournalError> {
        self.in_transaction(|transaction| {
            transaction
                .execute("UPDATE ticks SET process = ?2 WHERE number = ?1", params![number, process])?;
            seal::TICKS.close(transaction, &number)
        })
    }

    /// Records how a tick ended, unless that is recorded already.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn tick_ended(
        &self,
        number: i64,
        at_ms: i64,
        outcome: TickOutcome,
        exit_code: Option<i32>,
        run: Option<&str>,
    ) -> Result<(), JournalError> {
        self.in_transaction(|transaction| {
            let changed = transaction.execute(
                "UPDATE ticks SET ended_at_ms = ?2, outcome = ?3, exit_code = ?4, run = ?5 \
                 WHERE number = ?1 AND outcome IS NULL",
                params![number, at_ms, outcome.name(), exit_code, run],
            )?;
            if changed > 0 {
                seal::TICKS.close(transaction, &number)?;
            }
            Ok(())
        })
    }

    /// The ticks that have not ended.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn open_ticks(&self) -> Result<Vec<Tick>, JournalError> {
        self.in_transaction(|transaction| select(transaction, "WHERE outcome IS NULL ORDER BY number", []))
    }

    /// A tick, as long as it has not ended.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn open_tick(&self, number: i64) -> Result<Option<Tick>, JournalError> {
        let open = self.in_transaction(|transaction| {
            select(transaction, "WHERE number = ?1 AND outcome IS NULL", [number])
        });
        Ok(open?.pop())
    }

    /// Where what a tick prints goes: its folder is there afterwards, and private.
    ///
    /// # Errors
    ///
    /// The folder cannot be made.
    pub fn tick_log(&self, number: i64) -> Result<PathBuf, JournalError> {
        make_private(&self.folder().join(LOGS))?;
        Ok(tick_log(self.folder(), number))
    }

    /// Each change is on the disk itself before anybody acts by it: ticks are few, and each happens once.
    fn in_transaction<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        self.synced(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
    }
}

impl Reader {
    /// The newest ticks of a schedule, the newest first.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn ticks(&self, schedule: &str, at_most: usize) -> Result<Vec<Tick>, JournalError> {
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        let rest = "WHERE schedule = ?1 ORDER BY number DESC LIMIT ?2";
        self.ask(|connection| select(connection, rest, params![schedule, at_most]))
    }

    /// The newest run since a moment that a process began, which need not hold it any more.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn run_of(&self, pid: u32, since_ms: i64) -> Result<Option<String>, JournalError> {
        let runs = self.ask(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT id FROM runs WHERE created_at_ms >= ?1 ORDER BY number DESC")?;
            statement.query_map([since_ms], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
        })?;
        let is_of = |id: &String| {
            let run = RunId::try_from(id.clone()).ok();
            run.is_some_and(|run| RunLock::last_pid(&self.run_folder(&run)) == Some(pid))
        };
        Ok(runs.into_iter().find(is_of))
    }

    /// Whether a schedule was asked to stand still, and by whom.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub fn paused(&self, schedule: &str) -> Result<Option<Paused>, JournalError> {
        self.ask(|connection| paused(connection, schedule))
    }
}

fn know(transaction: &Transaction<'_>, name: &str, timing: &str, now_ms: i64) -> rusqlite::Result<i64> {
    let row = |row: &Row<'_>| {
        seal::SCHEDULES.see(row)?;
        Ok((row.get::<_, String>("timing")?, row.get::<_, i64>("since_ms")?))
    };
    let known = transaction
        .prepare_cached(&seal::SCHEDULES.select("WHERE name = ?1"))?
        .query_row([name], row)
        .optional()?;
    if let Some((_, since_ms)) = known.filter(|(known, _)| known == timing) {
        // What is recorded of a time to come was recorded by a clock that was wrong.
        let last_ms: Option<i64> = transaction
            .prepare_cached(
                "SELECT max(tick_ms) FROM ticks WHERE schedule = ?1 AND by_hand = 0 AND tick_ms <= ?2",
            )?
            .query_row(params![name, now_ms], |row| row.get(0))?;
        return Ok(since_ms.max(last_ms.unwrap_or(i64::MIN)).min(now_ms));
    }
    transaction
        .prepare_cached(
            "INSERT INTO schedules (name, timing, since_ms) VALUES (?1, ?2, ?3) \
             ON CONFLICT (name) DO UPDATE SET timing = ?2, since_ms = ?3",
        )?
        .execute(params![name, timing, now_ms])?;
    seal::SCHEDULES.close(transaction, &name)?;
    Ok(now_ms)
}

fn paused(connection: &Connection, schedule: &str) -> rusqlite::Result<Option<Paused>> {
    let row = |row: &Row<'_>| {
        seal::SCHEDULES.see(row)?;
        let at_ms: Option<i64> = row.get("paused_at_ms")?;
        let by: Option<String> = row.get("paused_by")?;
        Ok(at_ms.map(|at_ms| Paused { at_ms, by: by.unwrap_or_default() }))
    };
    let found = connection
        .prepare_cached(&seal::SCHEDULES.select("WHERE name = ?1"))?
        .query_row([schedule], row)
        .optional()?;
    Ok(found.flatten())
}

fn insert(
    transaction: &Transaction<'_>,
    wish: &Wish<'_>,
    outcome: Option<TickOutcome>,
    count: i64,
) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO ticks (schedule, tick_ms, by_hand, claimed_at_ms, claimed_by, ended_at_ms, outcome, count) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            wish.schedule,
            wish.tick_ms,
            wish.by_hand,
            wish.now_ms,
            wish.by,
            outcome.map(|_| wish.now_ms),
            outcome.map(TickOutcome::name),
            count
        ])?;
    let number = transaction.last_insert_rowid();
    seal::TICKS.close(transaction, &number)?;
    Ok(number)
}

/// Drops what is older than the newest so many, and returns the numbers.
fn drop_old(transaction: &Transaction<'_>, schedule: &str) -> rusqlite::Result<Vec<i64>> {
    transaction
        .prepare_cached(
            "DELETE FROM ticks WHERE schedule = ?1 AND outcome IS NOT NULL AND tick_ms < \
             (SELECT tick_ms FROM ticks WHERE schedule = ?1 ORDER BY tick_ms DESC LIMIT 1 OFFSET ?2) RETURNING number",
        )?
        .query_map(params![schedule, KEPT - 1], |row| row.get(0))?
        .collect()
}

fn select(
    connection: &Connection,
    rest: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Tick>> {
    let mut statement = connection.prepare_cached(&seal::TICKS.select(rest))?;
    statement.query_map(parameters, tick)?.collect()
}

fn tick(row: &Row<'_>) -> rusqlite::Result<Tick> {
    seal::TICKS.see(row)?;
    let outcome: Option<String> = row.get("outcome")?;
    Ok(Tick {
        number: row.get("number")?,
        schedule: row.get("schedule")?,
        tick_ms: row.get("tick_ms")?,
        by_hand: row.get("by_hand")?,
        claimed_at_ms: row.get("claimed_at_ms")?,
        claimed_by: row.get("claimed_by")?,
        process: row.get("process")?,
        ended_at_ms: row.get("ended_at_ms")?,
        outcome: outcome.and_then(|word| TickOutcome::ALL.into_iter().find(|outcome| outcome.name() == word)),
        exit_code: row.get("exit_code")?,
        run: row.get("run")?,
        count: row.get("count")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opened");
        (folder, store)
    }

    fn wish(tick_ms: i64) -> Wish<'static> {
        Wish { schedule: "nightly", tick_ms, by_hand: false, by: "1 2", now_ms: tick_ms + 5 }
    }

    fn claim(store: &Store, tick_ms: i64) -> Claim {
        store.claim_tick(&wish(tick_ms)).expect("asked")
    }

    #[test]
    fn a_tick_is_claimed_once() {
        let (folder, store) = store();
        let Claim::Yours(number) = claim(&store, 100) else { panic!("it was free") };
        assert_eq!(claim(&store, 100), Claim::Taken);
        assert!(matches!(claim(&store, 200), Claim::Busy(open) if open[0].number == number));
        store.tick_started(number, "7 8").expect("recorded");
        store.tick_ended(number, 150, TickOutcome::Ran, Some(3), Some("r1")).expect("recorded");
        store.tick_ended(number, 160, TickOutcome::Lost, None, None).expect("nothing happens");
        assert_eq!(claim(&store, 100), Claim::Taken);
        assert!(!store.note_tick(&wish(100), TickOutcome::Skipped, 1).expect("asked"));
        assert!(store.note_tick(&wish(300), TickOutcome::Missed, 4).expect("asked"));
        let ticks = Reader::open(folder.path()).expect("opened").ticks("nightly", 9).expect("read");
        let told: Vec<_> = ticks
            .iter()
            .map(|tick| (tick.tick_ms, tick.outcome.expect("ended"), tick.exit_code, tick.count))
            .collect();
        assert_eq!(told, [(300, TickOutcome::Missed, None, 4), (100, TickOutcome::Ran, Some(3), 1)]);
        assert_eq!((ticks[1].process.as_deref(), ticks[1].run.as_deref()), (Some("7 8"), Some("r1")));
    }

    #[test]
    fn many_who_want_the_same_tick_get_it_once() {
        let (folder, store) = store();
        let path = folder.path();
        let wins = std::thread::scope(|scope| {
            let one = || {
                (0..50)
                    .filter(|n| {
                        let store = Store::open(path).expect("opened");
                        let Claim::Yours(number) = claim(&store, *n) else { return false };
                        store.tick_ended(number, 0, TickOutcome::Ran, None, None).expect("recorded");
                        true
                    })
                    .count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().expect("ended")).sum::<usize>()
        });
        let recorded = Reader::open(path).expect("opened").ticks("nightly", 99).expect("read").len();
        assert_eq!(wins, recorded);
        assert!(store.open_ticks().expect("read").is_empty());
    }

    #[test]
    fn a_schedule_starts_when_it_is_first_seen_and_goes_on_from_its_last_tick() {
        let (_folder, store) = store();
        let know = |timing, now_ms| store.know_schedules(&[("nightly", timing)], now_ms).expect("asked")[0];
        assert_eq!(know("every 5m", 1000), 1000);
        assert_eq!(know("every 5m", 2000), 1000);
        assert!(store.note_tick(&wish(1500), TickOutcome::Missed, 1).expect("asked"));
        let by_hand = Wish { by_hand: true, ..wish(1800) };
        assert!(matches!(store.claim_tick(&by_hand), Ok(Claim::Yours(_))));
        assert_eq!(know("every 5m", 2000), 1500);
        // A tick of a clock that was wrong does not hold the schedule up.
        assert!(store.note_tick(&wish(9_000_000), TickOutcome::Missed, 1).expect("asked"));
        assert_eq!(know("every 5m", 2000), 1500);
        assert_eq!(know("every 6m", 3000), 3000);
    }

    #[test]
    fn a_pause_lasts_until_it_is_taken_back_and_what_passed_in_it_is_gone() {
        let (folder, store) = store();
        let paused = || Reader::open(folder.path()).expect("opened").paused("nightly").expect("read");
        assert!(store.pause_schedule("nightly", "t", 1000, "me").expect("asked"));
        assert!(!store.pause_schedule("nightly", "t", 1001, "you").expect("asked"));
        assert_eq!(paused(), Some(Paused { at_ms: 1000, by: "me".to_owned() }));
        assert_eq!(claim(&store, 1100), Claim::Paused);
        assert!(matches!(store.claim_tick(&Wish { by_hand: true, ..wish(1101) }), Ok(Claim::Yours(_))));
        assert!(store.resume_schedule("nightly", 2000).expect("asked"));
        assert!(!store.resume_schedule("nightly", 2001).expect("asked"));
        assert_eq!(paused(), None);
        assert_eq!(store.know_schedules(&[("nightly", "t")], 3000).expect("asked"), [2000]);
    }

    #[test]
    fn old_ticks_go_and_their_logs_with_them() {
        let (folder, store) = store();
        let log = store.tick_log(1).expect("made");
        fs::write(&log, "x").expect("written");
        for tick_ms in 0..KEPT + 5 {
            let Claim::Yours(number) = claim(&store, tick_ms) else { panic!("it was free") };
            store.tick_ended(number, 0, TickOutcome::Ran, None, None).expect("recorded");
        }
        let ticks = Reader::open(folder.path()).expect("opened").ticks("nightly", usize::MAX).expect("read");
        assert_eq!(ticks.len() as i64, KEPT);
        assert_eq!(ticks.last().map(|tick| tick.tick_ms), Some(5));
        assert!(!log.exists());
    }
}
