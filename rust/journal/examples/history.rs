//! Records many short runs, and asks for them: the newest twenty, and one of them whole.

#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use dirigent_core::event::{Created, Event, Fact, Origin, Verdict};
use dirigent_core::ids::RunId;
use dirigent_journal::store::Durability;
use dirigent_journal::{Holder, Reader, Store};
use std::sync::Arc;
use std::time::Instant;

const RUNS: usize = 100_000;

fn events(run: &RunId) -> Vec<Event> {
    let created = Fact::RunCreated(Box::new(Created {
        run: run.clone(),
        workflow: "measured".to_owned(),
        max_concurrency: 1,
        fail_fast: true,
        origin: Box::new(Origin::default()),
        resources: Vec::new(),
        timeout_ms: None,
        seed: 0,
    }));
    let ended = Fact::RunEnded { verdict: Verdict::Succeeded, strays: 0, survivors: Vec::new() };
    let numbered = (0..).zip([created, ended]);
    numbered.map(|(seq, fact)| Event { seq, at_ms: 1_700_000_000_000, fact }).collect()
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Store::open(folder.path()).expect("a store"));
    let id = |n: usize| RunId::try_from(format!("{n:08}-measured")).expect("an id");
    for n in 0..RUNS {
        let mut writer = store.begin(&id(n), Durability::Process, &Holder::default()).expect("a run");
        writer.append(&events(&id(n)), &[], Some("{}")).expect("appended");
    }
    let began = Instant::now();
    let rows = Reader::open(folder.path()).and_then(|reader| reader.runs(20, None)).expect("read");
    let listed = began.elapsed();
    let began = Instant::now();
    let reader = Reader::open(folder.path()).expect("opened");
    let found = reader.find(id(RUNS / 2).as_str()).and_then(|row| reader.recorded(&row.id)).expect("read");
    assert_eq!((rows.len(), found.events.len()), (20, 2));
    println!(
        "{RUNS} runs recorded: the newest twenty in {listed:.1?}, one of them in {:.1?}",
        began.elapsed()
    );
}
