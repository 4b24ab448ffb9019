//! Made-up workflows and runs to draw: what each task is to come to is said in a word.

#![allow(dead_code, reason = "not everybody who includes this needs all of it")]

use dirigent_core::event::{Created, Event, Fact, Origin, SkipReason, Verdict};
use dirigent_core::outcome::{Ended, Outcome, Usage};
use dirigent_core::spec::{Action, Command, Policy, Task, Workflow};
use dirigent_core::{RunId, State, TaskIndex};
use std::sync::Arc;

/// A task: its name, what it needs, and its fate: `done`, `failed`, `late`, `retried`, `running`, `again`, `waiting`,
/// `skipped`, `cancelled`, anything else for nothing yet.
pub(crate) type Made<'a> = (&'a str, &'a [&'a str], &'a str);

pub(crate) const ETL: [Made<'static>; 13] = [
    ("fetch orders", &[], "done"),
    ("fetch customers", &[], "done"),
    ("fetch rates", &[], "retried"),
    ("clean orders", &["fetch orders"], "done"),
    ("clean customers", &["fetch customers"], "done"),
    ("join", &["clean orders", "clean customers"], "done"),
    ("convert", &["join", "fetch rates"], "failed"),
    ("check totals", &["join"], "late"),
    ("train", &["join", "fetch customers"], "running"),
    ("publish", &["convert", "check totals"], "skipped"),
    ("report", &["train", "join"], "pending"),
    ("approve", &["train"], "waiting"),
    ("archive", &["fetch orders"], "again"),
];

/// Seven tasks that all come to a good end.
pub(crate) const SMALL: [Made<'static>; 7] = [
    ("extract", &[], "done"),
    ("clean", &["extract"], "done"),
    ("features", &["clean"], "done"),
    ("train", &["features"], "done"),
    ("baseline", &["clean"], "done"),
    ("compare", &["train", "baseline"], "done"),
    ("publish", &["compare"], "done"),
];

pub(crate) fn task(name: &str, needs: Vec<u32>) -> Task {
    let command = Command {
        argv: vec!["/usr/bin/python3".into(), "x".into()],
        cwd: "/".into(),
        env: Vec::new(),
        secrets: Vec::new(),
        pass_env: None,
    };
    Task {
        name: name.into(),
        action: Action::Command(Box::new(command)),
        needs: needs.into_iter().map(TaskIndex).collect(),
        policy: Arc::new(Policy { allowed_exit_codes: vec![0], ..Policy::default() }),
    }
}

pub(crate) fn tasks(made: &[Made<'_>]) -> Vec<Task> {
    let place =
        |need: &&str| made.iter().position(|(name, ..)| name == need).expect("a task of that name") as u32;
    made.iter().map(|(name, needs, _)| task(name, needs.iter().map(place).collect())).collect()
}

pub(crate) fn workflow(made: &[Made<'_>]) -> Workflow {
    Workflow::new("nightly", tasks(made)).expect("a valid workflow")
}

/// A run that is being told.
pub(crate) struct Told {
    pub(crate) state: State,
    at_ms: i64,
}

impl Told {
    pub(crate) fn of(tasks: Vec<Task>) -> Self {
        let mut told = Self { state: State::default(), at_ms: 1_795_196_045_120 };
        told.tell(Fact::RunCreated(Box::new(Created {
            run: RunId::try_from("r1".to_owned()).expect("a valid id"),
            workflow: "nightly".to_owned(),
            max_concurrency: 4,
            fail_fast: false,
            origin: Box::new(Origin::default()),
            resources: Vec::new(),
            timeout_ms: None,
            seed: 0,
        })));
        told.tell(Fact::TasksDeclared { tasks: tasks.into_iter().map(Arc::new).collect(), parent: None });
        told
    }

    pub(crate) fn tell(&mut self, fact: Fact) {
        self.at_ms += 100;
        self.state.apply(&Event { seq: self.state.next_seq(), at_ms: self.at_ms, fact });
    }

    pub(crate) fn started(&mut self, task: u32, attempt: u32) {
        self.tell(Fact::AttemptStarted { task: TaskIndex(task), attempt });
    }

    pub(crate) fn ended(&mut self, task: u32, attempt: u32, outcome: Outcome, retry_at_ms: Option<i64>) {
        let is_good = outcome.is_success();
        self.tell(Fact::AttemptEnded {
            task: TaskIndex(task),
            attempt,
            retry_at_ms,
            ended: Arc::new(Ended {
                usage: Usage { wall_us: 420_000 + 130_000 * u64::from(task), ..Usage::default() },
                last_lines: if is_good { Box::default() } else { "loading rates\nKeyError: 'XAU'".into() },
                ..Ended::new(outcome)
            }),
        });
    }

    /// A task becomes others, which are declared as its parts.
    pub(crate) fn becomes(&mut self, task: u32, parts: Vec<Task>) {
        self.tell(Fact::TasksDeclared {
            tasks: parts.into_iter().map(Arc::new).collect(),
            parent: Some(TaskIndex(task)),
        });
    }

    pub(crate) fn fate(&mut self, task: u32, fate: &str) {
        let good = Outcome::Succeeded { exit_code: 0 };
        let bad = Outcome::Failed { exit_code: 3 };
        match fate {
            "done" => {
                self.started(task, 1);
                self.ended(task, 1, good, None);
            }
            "failed" => {
                self.started(task, 1);
                self.ended(task, 1, bad, None);
            }
            "late" => {
                self.started(task, 1);
                self.ended(task, 1, Outcome::TimedOut { limit_ms: 5_000 }, None);
            }
            "retried" => {
                self.started(task, 1);
                self.ended(task, 1, bad, Some(self.at_ms));
                self.started(task, 2);
                self.ended(task, 2, good, None);
            }
            "again" => {
                self.started(task, 1);
                self.ended(task, 1, bad, Some(self.at_ms + 60_000));
            }
            "running" => self.started(task, 1),
            "cancelled" => {
                self.started(task, 1);
                self.ended(task, 1, Outcome::Cancelled, None);
            }
            "waiting" => self.tell(Fact::WaitStarted { task: TaskIndex(task) }),
            "skipped" => {
                self.tell(Fact::TaskSkipped { task: TaskIndex(task), reason: SkipReason::Condition })
            }
            _ => {}
        }
    }

    pub(crate) fn end(&mut self, verdict: Verdict) {
        self.tell(Fact::RunEnded { verdict, strays: 0, survivors: Vec::new() });
    }
}

pub(crate) fn run(made: &[Made<'_>]) -> Told {
    let mut told = Told::of(tasks(made));
    for (task, (_, _, fate)) in (0..).zip(made) {
        told.fate(task, fate);
    }
    told
}

/// A run with a fan-out and a sub-workflow.
pub(crate) fn fan_out() -> Told {
    let mut told = Told::of(vec![
        task("list shards", Vec::new()),
        task("load", vec![0]),
        task("model", vec![1]),
        task("publish", vec![2]),
    ]);
    told.fate(0, "done");
    told.started(1, 1);
    told.becomes(1, (0..8).map(|shard| task(&format!("load/{shard}"), Vec::new())).collect());
    for shard in 4..12 {
        told.fate(shard, if shard == 9 { "retried" } else { "done" });
    }
    told.tell(Fact::AttemptEnded {
        task: TaskIndex(1),
        attempt: 1,
        retry_at_ms: None,
        ended: Arc::new(Ended {
            usage: Usage { wall_us: 2_140_000, ..Usage::default() },
            ..Ended::new(Outcome::Returned)
        }),
    });
    told.started(2, 1);
    told.becomes(
        2,
        vec![
            task("model/split", Vec::new()),
            task("model/fit", vec![12]),
            task("model/baseline", vec![12]),
            task("model/score", vec![13, 14]),
        ],
    );
    for (task, fate) in [(12, "done"), (13, "running"), (14, "done")] {
        told.fate(task, fate);
    }
    told
}

/// A run of thirty tasks: some of them have parts, some wait for what was long ago.
pub(crate) fn pipeline() -> Told {
    let names: [(&str, &[&str]); 16] = [
        ("configure", &[]),
        ("fetch orders", &["configure"]),
        ("fetch customers", &["configure"]),
        ("fetch rates", &["configure"]),
        ("clean orders", &["fetch orders"]),
        ("clean customers", &["fetch customers"]),
        ("convert currencies", &["clean orders", "fetch rates"]),
        ("join", &["convert currencies", "clean customers"]),
        ("features", &["join", "configure"]),
        ("train", &["features"]),
        ("evaluate", &["train", "clean customers"]),
        ("check totals", &["convert currencies"]),
        ("approve", &["evaluate", "check totals"]),
        ("publish model", &["approve", "configure"]),
        ("publish tables", &["approve", "join"]),
        ("send a report to those who asked for one", &["publish model", "publish tables", "fetch rates"]),
    ];
    let made: Vec<Made<'_>> = names.iter().map(|(name, needs)| (*name, *needs, "")).collect();
    let mut told = Told::of(tasks(&made));
    (0..8).for_each(|i| told.fate(i, "done"));
    told.started(8, 1);
    told.becomes(8, (0..8).map(|part| task(&format!("features/shard {part}"), Vec::new())).collect());
    (16..24).for_each(|i| told.fate(i, if i == 20 { "retried" } else { "done" }));
    told.ended(8, 1, Outcome::Returned, None);
    told.started(9, 1);
    told.becomes(
        9,
        vec![
            task("train/split", Vec::new()),
            task("train/fit", vec![24]),
            task("train/baseline", vec![24]),
            task("train/tune", vec![25]),
            task("train/score", vec![27, 26, 24]),
            task("train/keep", vec![28]),
        ],
    );
    [(24, "done"), (25, "running"), (26, "failed")].into_iter().for_each(|(i, fate)| told.fate(i, fate));
    told
}

/// So many layers of so many tasks; each needs two of the layer before.
pub(crate) fn grid(width: u32, layers: u32) -> Vec<(u32, u32)> {
    let need = |node: u32, step: u32| (node / width - 1) * width + (node * step + node / width) % width;
    let nodes = width..width * layers;
    let mut edges: Vec<(u32, u32)> =
        nodes.flat_map(|node| [(need(node, 1), node), (need(node, 3), node)]).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// A run of tasks that wait for each other like this, the first three quarters of which are done.
pub(crate) fn joined(count: usize, edges: &[(u32, u32)]) -> Told {
    let mut needs = vec![Vec::new(); count];
    edges.iter().for_each(|(from, to)| needs[*to as usize].push(*from));
    let tasks = needs.into_iter().enumerate();
    let mut told = Told::of(tasks.map(|(i, needs)| task(&format!("task {i}"), needs)).collect());
    (0..count as u32 * 3 / 4).for_each(|i| told.fate(i, "done"));
    told
}

/// A layered graph at random, as what each needs; the same for the same seed.
pub(crate) fn layered(count: usize, seed: u64) -> Vec<(u32, u32)> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut chance = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    let widest = (count as f64).sqrt().round().max(3.0) as usize;
    let mut layers: Vec<(usize, usize)> = Vec::new();
    let mut edges: Vec<(u32, u32)> = Vec::new();
    let mut next = 0;
    while next < count {
        let width = (1 + chance(widest)).min(count - next);
        for node in next..next + width {
            for _ in 0..[1, 1, 2, 2, 3][chance(5)] {
                let back = if chance(20) < 17 { 1 } else { 1 + chance(4) };
                let Some((first, width)) = layers.len().checked_sub(back).map(|layer| layers[layer]) else {
                    continue;
                };
                edges.push(((first + chance(width)) as u32, node as u32));
            }
        }
        layers.push((next, width));
        next += width;
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// A graph at random in which each needs one or two of the thirty before it; the same for the same seed.
pub(crate) fn nearby(count: usize, seed: u64) -> Vec<(u32, u32)> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut chance = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    let mut edges: Vec<(u32, u32)> = Vec::new();
    for node in 1..count {
        for _ in 0..=chance(2) {
            edges.push(((node - 1 - chance(node.min(30))) as u32, node as u32));
        }
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// A run of very many tasks, most of them done.
pub(crate) fn large(count: usize) -> Told {
    let mut needs = vec![Vec::new(); count];
    for (from, to) in layered(count, 3) {
        needs[to as usize].push(from);
    }
    let words = ["fetch", "clean", "check", "load"];
    let tasks = needs.into_iter().enumerate();
    let mut told = Told::of(tasks.map(|(i, needs)| task(&format!("{} {i}", words[i % 4]), needs)).collect());
    for i in 0..count as u32 * 3 / 4 {
        told.fate(i, if i % 97 == 13 { "failed" } else { "done" });
    }
    told
}

/// A run of many shards: each is fetched and cleaned, ten together are merged, all are reported.
pub(crate) fn shards(count: u32) -> Told {
    let mut tasks = vec![task("list shards", Vec::new())];
    tasks.extend((0..count).map(|i| task(&format!("fetch {i}"), vec![0])));
    tasks.extend((0..count).map(|i| task(&format!("clean {i}"), vec![1 + i])));
    let cleaned = |i: u32| 1 + count + i;
    let merges = count / 10;
    tasks.extend(
        (0..merges).map(|i| task(&format!("merge {i}"), (i * 10..i * 10 + 10).map(cleaned).collect())),
    );
    tasks.push(task("report", (0..merges).map(|i| 1 + 2 * count + i).collect()));
    let mut told = Told::of(tasks);
    for i in 0..=2 * count * 4 / 5 {
        told.fate(i, if i == count + 7 { "failed" } else { "done" });
    }
    (0..4).for_each(|i| told.fate(2 * count * 4 / 5 + 1 + i, "running"));
    told
}
