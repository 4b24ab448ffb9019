//! How long it takes to look into a run of so many tasks: `profile [TASKS]`, ten thousand by default.

#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use dirigent_core::event::{Created, Event, Fact, Origin, Verdict};
use dirigent_core::outcome::{Ended, Outcome, Usage};
use dirigent_core::spec::{Action, Policy, Task};
use dirigent_core::{RunId, TaskIndex};
use dirigent_report::Profile;
use std::sync::Arc;
use std::time::Instant;

/// How many tasks run at once.
const WORKERS: u32 = 8;

fn main() {
    let count: u32 =
        std::env::args().nth(1).map_or(10_000, |count| count.parse().expect("a number of tasks"));
    let policy = Arc::new(Policy::default());
    let task = |i: u32| {
        Arc::new(Task {
            name: format!("task{i}").into(),
            action: Action::function("f", None),
            needs: if i < 100 {
                Box::default()
            } else {
                Box::new([TaskIndex(i - 100), TaskIndex(i - i % 7 - WORKERS)])
            },
            policy: Arc::clone(&policy),
        })
    };
    let created = Fact::RunCreated(Box::new(Created {
        run: RunId::try_from("r1".to_owned()).expect("letters and digits only"),
        workflow: "big".to_owned(),
        max_concurrency: WORKERS,
        fail_fast: false,
        origin: Box::new(Origin::default()),
        resources: Vec::new(),
        timeout_ms: None,
        seed: 0,
    }));
    let mut facts =
        vec![(0, created), (0, Fact::TasksDeclared { tasks: (0..count).map(task).collect(), parent: None })];
    for i in 0..count {
        let at_ms = i64::from(i / WORKERS) * 10;
        facts.push((at_ms, Fact::AttemptStarted { task: TaskIndex(i), attempt: 1 }));
        facts.push((
            at_ms + 10,
            Fact::AttemptEnded {
                task: TaskIndex(i),
                attempt: 1,
                retry_at_ms: None,
                ended: Arc::new(Ended {
                    usage: Usage { wall_us: 10_000, ..Usage::default() },
                    ..Ended::new(Outcome::Returned)
                }),
            },
        ));
    }
    facts.sort_by_key(|(at_ms, fact)| (*at_ms, matches!(fact, Fact::AttemptStarted { .. })));
    let end_ms = facts.last().map_or(0, |(at_ms, _)| *at_ms);
    facts.push((end_ms, Fact::RunEnded { verdict: Verdict::Succeeded, strays: 0, survivors: Vec::new() }));
    let events: Vec<Event> =
        (0..).zip(facts).map(|(seq, (at_ms, fact))| Event { seq, at_ms, fact }).collect();
    let begun = Instant::now();
    let profile = Profile::new(&events, &[]).expect("a run");
    println!("{:.3} s for {count} tasks", begun.elapsed().as_secs_f64());
    print!("{}", profile.text(80));
}
