//! Appends events in groups of a thousand, as the engine would, beside rows of a bare table in groups of the same size.

#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use dirigent_core::event::{Created, Event, Fact, Origin};
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::outcome::{Ended, Outcome, Usage};
use dirigent_core::value::{Encoding, Kept};
use dirigent_journal::store::Durability;
use dirigent_journal::{Holder, Store};
use std::sync::Arc;
use std::time::Instant;

const EVENTS: u64 = 200_000;
const GROUP: usize = 1_000;

fn events() -> Vec<Event> {
    let created = Fact::RunCreated(Box::new(Created {
        run: RunId::try_from("measured".to_owned()).expect("an id"),
        workflow: "measured".to_owned(),
        max_concurrency: 1,
        fail_fast: true,
        origin: Box::new(Origin::default()),
        resources: Vec::new(),
        timeout_ms: None,
        seed: 0,
    }));
    let task = |seq: u64| TaskIndex((seq / 2) as u32);
    let fact = |seq: u64| match seq {
        0 => created.clone(),
        seq if seq % 2 == 1 => Fact::AttemptStarted { task: task(seq), attempt: 1 },
        seq => Fact::AttemptEnded {
            task: task(seq),
            attempt: 1,
            retry_at_ms: None,
            ended: Arc::new(Ended {
                usage: Usage { wall_us: seq % 1000, ..Usage::default() },
                value: Some(Arc::new(Kept::Inline {
                    encoding: Encoding::Json,
                    text: seq.to_string().into(),
                })),
                ..Ended::new(Outcome::Returned)
            }),
        },
    };
    (0..EVENTS).map(|seq| Event { seq, at_ms: 1_700_000_000_000, fact: fact(seq) }).collect()
}

fn ours(durability: Durability, events: &[Event]) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Store::open(folder.path()).expect("a store"));
    let run = RunId::try_from("measured".to_owned()).expect("an id");
    let mut writer = store.begin(&run, durability, &Holder::default()).expect("a run");
    let began = Instant::now();
    for group in events.chunks(GROUP) {
        writer.append(group, &[], None).expect("appended");
    }
    EVENTS as f64 / began.elapsed().as_secs_f64()
}

fn bare(synced: bool, events: &[Event]) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let mut database = rusqlite::Connection::open(folder.path().join("bare.db")).expect("a database");
    database.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).expect("set");
    database.pragma_update(None, "synchronous", if synced { "FULL" } else { "NORMAL" }).expect("set");
    database.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY, body TEXT)").expect("made");
    let body = "x".repeat(120);
    let began = Instant::now();
    for group in events.chunks(GROUP) {
        let transaction = database.transaction().expect("begun");
        for event in group {
            transaction
                .prepare_cached("INSERT INTO t VALUES (?1, ?2)")
                .and_then(|mut row| row.execute((event.seq.cast_signed(), &body)))
                .expect("inserted");
        }
        transaction.commit().expect("committed");
    }
    EVENTS as f64 / began.elapsed().as_secs_f64()
}

fn main() {
    let events = events();
    for (name, durability, synced) in
        [("process", Durability::Process, false), ("power", Durability::Power, true)]
    {
        let (ours, bare) = (ours(durability, &events), bare(synced, &events));
        println!(
            "{name:<8} {ours:>10.0} events a second; {bare:>10.0} rows of a bare table; {:.2}",
            ours / bare
        );
    }
}
