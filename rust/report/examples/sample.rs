//! Writes the reports of a made-up run into a folder, to look at: `cargo run -p dirigent-report --example sample --
//! FOLDER [TASKS [failing]]`. With twelve tasks, which is the default, every way to end occurs; with more, they repeat, and few
//! fail; with `failing` all do that can, each with lines of its own.

use dirigent_core::event::{Created, Event, Fact, Origin, Reused, SkipReason, Source, Verdict};
use dirigent_core::outcome::{Ended, Outcome, Stream, Usage};
use dirigent_core::spec::{Action, Command, Policy, Script, Task};
use dirigent_core::text::OsText;
use dirigent_core::{RunId, State, TaskIndex};
use dirigent_report::{Format, Logs, PastRun, RunView, StreamName};
use std::sync::Arc;
use std::time::Instant;

const CREATED_AT_MS: i64 = 1_795_196_045_120;
const LANES: usize = 4;

struct Made {
    name: &'static str,
    wall_ms: u64,
    outcome: Result<Outcome, SkipReason>,
    last_lines: &'static str,
}

fn made() -> Vec<Made> {
    let succeeded = Outcome::Succeeded { exit_code: 0 };
    let ran = |name, wall_ms, outcome, last_lines| Made { name, wall_ms, outcome: Ok(outcome), last_lines };
    let skipped = |name, reason| Made { name, wall_ms: 0, outcome: Err(reason), last_lines: "" };
    vec![
        ran("extract/fetch_orders.py", 2_340, succeeded.clone(), ""),
        ran("extract/fetch_customers.py", 1_120, succeeded.clone(), ""),
        ran("extract/fetch_rates.sh", 410, Outcome::Succeeded { exit_code: 3 }, ""),
        ran(
            "transform/clean.py",
            1_870,
            Outcome::Failed { exit_code: 1 },
            "Traceback (most recent call last):\n  File \"transform/clean.py\", line 41, in <module>\n    main()\n  \
             File \"transform/clean.py\", line 23, in main\n    rate = rates[row[\"currency\"]]\n\
             KeyError: 'XAU' </script><script>alert(1)</script>",
        ),
        ran("transform/join.py", 3_010, succeeded.clone(), ""),
        ran(
            "<img src=x onerror=alert(1)>",
            640,
            Outcome::Killed { signal: 11, core_dumped: true, out_of_memory: false },
            "Segmentation fault",
        ),
        ran(
            "checks/wait_for_warehouse.sh",
            5_000,
            Outcome::TimedOut { limit_ms: 5_000 },
            "waiting for warehouse ... 3\nwaiting for warehouse ... 4",
        ),
        skipped("load/publish.py", SkipReason::NeedNotMet { need: TaskIndex(3) }),
        skipped(
            "load/archive | `old`.py",
            SkipReason::Declared { text: "moved to the weekly run".to_owned() },
        ),
        ran(
            "checks/missing.sh",
            0,
            Outcome::CouldNotStart {
                doing: "run /usr/bin/zsh".into(),
                reason: "no such file".into(),
                errno: Some(2),
            },
            "",
        ),
        ran(
            "a name that\nhas two lines and is very long so that it has to be shortened somewhere.py",
            95,
            succeeded.clone(),
            "",
        ),
        ran("report/render.py", 4_260, succeeded, ""),
    ]
}

fn command(name: &str, needs: Vec<TaskIndex>) -> Task {
    let argv = ["/usr/bin/python3", name, "--day", "2026-11-20"].map(OsText::from).into();
    let command = Command { argv, cwd: OsText::from("/srv/etl"), ..Command::default() };
    Task {
        name: name.into(),
        action: Action::Script(Box::new(Script { path: OsText::from(format!("/srv/etl/{name}")), command })),
        needs: needs.into(),
        policy: Arc::new(Policy { allowed_exit_codes: vec![0, 3], ..Policy::default() }),
    }
}

/// The events of a run of so many tasks, each started on the first lane that is free.
fn events(count: usize, all_fail: bool) -> Vec<Event> {
    let kinds = made();
    let mut facts = vec![(
        0,
        Fact::RunCreated(Box::new(Created {
            run: RunId::try_from("0199c2f4-7b1e-7000-8000-000000000001".to_owned()).expect("a valid id"),
            workflow: "nightly".to_owned(),
            max_concurrency: LANES as u32,
            fail_fast: false,
            resources: Vec::new(),
            timeout_ms: None,
            seed: 0,
            origin: Box::new(Origin {
                version: "0.1.0".to_owned(),
                host: "workshop".to_owned(),
                pid: 4711,
                platform: "Linux 6.12.9 on x86_64, Python 3.13.1".to_owned(),
                root: Some(OsText::from("/srv/etl")),
                utc_offset_min: 60,
                source: Some(Arc::new(Source {
                    path: OsText::from("/srv/etl/nightly.yaml"),
                    entry: None,
                    text: "".into(),
                    params: r#"{"day": "2026-11-20", "regions": ["north", "south"]}"#.into(),
                    files: Vec::new(),
                })),
            }),
        })),
    )];
    // In a large run only the first of a thousand fails.
    let kind = |i: usize| match i % kinds.len() {
        4 | 5 | 7 | 8 | 9 | 11 if all_fail => 3,
        bad @ (3 | 5 | 6 | 7 | 9) if !all_fail && count > 100 && i > 12 && i % 997 != bad => 4,
        kind => kind,
    };
    let name = |i: usize| match i / kinds.len() {
        0 => kinds[kind(i)].name.to_owned(),
        round => format!("shard-{round:04}/{}", kinds[kind(i)].name),
    };
    // Each waits for one or two of a few before it, as stages do.
    let needs = |i: usize| match i % kinds.len() {
        3 | 4 => vec![TaskIndex(i as u32 - 3), TaskIndex(i as u32 - 2)],
        7 | 8 => vec![TaskIndex(i as u32 - 4)],
        11 => vec![TaskIndex(i as u32 - 7), TaskIndex(i as u32 - 1)],
        _ => Vec::new(),
    };
    let tasks = (0..count).map(|i| command(&name(i), needs(i)));
    facts.push((0, Fact::TasksDeclared { tasks: tasks.map(Arc::new).collect(), parent: None }));
    let mut lanes = [30u64; LANES];
    for i in 0..count {
        let (task, made) = (TaskIndex(i as u32), &kinds[kind(i)]);
        let lane = (0..LANES).min_by_key(|lane| lanes[*lane]).unwrap_or(0);
        match &made.outcome {
            Err(reason) => {
                facts.push((lanes[lane] as i64, Fact::TaskSkipped { task, reason: reason.clone() }))
            }
            Ok(outcome) => {
                let wall_ms = made.wall_ms * (80 + (i as u64 * 37) % 50) / 100;
                if i % 12 == 10 {
                    let from = RunId::try_from("0199c2f4-7b1e-7000-8000-000000000000".to_owned());
                    let from = from.expect("a valid id");
                    let reused = Reused { from, saved_us: 95_000, key: None, logs: None, value: None };
                    let reused = Fact::TaskReused { task, reused: Arc::new(reused) };
                    facts.push((lanes[lane] as i64, reused));
                    continue;
                }
                let mut attempt = 1;
                if i % 12 == 4 {
                    // The first time it fails, and goes on half a second later.
                    facts.push((lanes[lane] as i64, Fact::AttemptStarted { task, attempt }));
                    lanes[lane] += wall_ms / 3;
                    let retry_at_ms = lanes[lane] as i64 + 500;
                    let failed =
                        ended(task, attempt, &Outcome::Failed { exit_code: 1 }, wall_ms / 3, "no answer");
                    facts.push((lanes[lane] as i64, retried(failed, CREATED_AT_MS + retry_at_ms)));
                    lanes[lane] += 500;
                    attempt = 2;
                }
                facts.push((lanes[lane] as i64, Fact::AttemptStarted { task, attempt }));
                lanes[lane] += wall_ms;
                let lines = match all_fail && !outcome.is_success() {
                    true => format!("{}\nin batch {i}", made.last_lines.repeat(3)),
                    false => made.last_lines.to_owned(),
                };
                facts.push((lanes[lane] as i64, ended(task, attempt, outcome, wall_ms, &lines)));
                lanes[lane] += 4;
            }
        }
    }
    facts.sort_by_key(|(at_ms, _)| *at_ms);
    let end = lanes.iter().max().copied().unwrap_or(0) as i64 + 20;
    facts.push((end, Fact::RunEnded { verdict: Verdict::Failed, strays: 0, survivors: Vec::new() }));
    let event = |(seq, (at_ms, fact))| Event { seq, at_ms: CREATED_AT_MS + at_ms, fact };
    (0u64..).zip(facts).map(event).collect()
}

fn retried(mut ended: Fact, at_ms: i64) -> Fact {
    if let Fact::AttemptEnded { retry_at_ms, .. } = &mut ended {
        *retry_at_ms = Some(at_ms);
    }
    ended
}

fn ended(task: TaskIndex, attempt: u32, outcome: &Outcome, wall_ms: u64, last_lines: &str) -> Fact {
    let started = !matches!(outcome, Outcome::CouldNotStart { .. });
    let bytes = if task.0 == 4 { 300 << 20 } else { 800 + u64::from(task.0 % 7) * 311 };
    let stream = |bytes: u64| Box::new(Stream { bytes, kept_bytes: bytes.min(64 << 20), error: None });
    Fact::AttemptEnded {
        task,
        attempt,
        retry_at_ms: None,
        ended: Arc::new(Ended {
            usage: Usage {
                wall_us: wall_ms * 1_000,
                user_us: wall_ms * 700,
                system_us: wall_ms * 45,
                peak_memory_bytes: if started { (21 << 20) + (wall_ms << 14) } else { 0 },
            },
            stdout: started.then(|| stream(bytes)),
            stderr: (!last_lines.is_empty()).then(|| stream(last_lines.len() as u64)),
            start_us: if started { 4_000 + wall_ms * 20 } else { 0 },
            left_behind: u32::from(task.0 == 6),
            last_lines: last_lines.into(),
            ..Ended::new(outcome.clone())
        }),
    }
}

struct MadeLogs(Vec<Made>);

impl Logs for MadeLogs {
    fn path(&self, task: TaskIndex, stream: StreamName) -> Option<String> {
        Some(format!("tasks/{task}/1/{}.log", stream.name()))
    }

    fn tail(&self, task: TaskIndex, stream: StreamName, max_bytes: usize) -> String {
        if stream == StreamName::Stderr {
            return self.0[task.usize() % self.0.len()].last_lines.to_owned();
        }
        let line =
            |i| format!("2026-11-20 18:34:{:02} INFO batch {i} of 60: 1,024 rows & no surprises", i % 60);
        let text = (0..60).map(line).collect::<Vec<_>>().join("\n");
        text[text.len().saturating_sub(max_bytes)..].to_owned()
    }
}

#[allow(clippy::print_stdout, reason = "an example may say what it did")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("name a folder")?;
    let count = args.next().map_or(Ok(12), |count| count.parse())?;
    let events = events(count, args.next().is_some_and(|word| word == "failing"));
    let state = State::fold(&events);
    let past: Vec<PastRun> = [6.1, 6.4, 5.9, 12.7, 6.2, 6.0, 6.3]
        .into_iter()
        .map(|elapsed_s| PastRun {
            run: format!("before-{elapsed_s}"),
            status: if elapsed_s > 10.0 { "failed" } else { "succeeded" }.to_owned(),
            elapsed_s,
            tasks: [("transform/join.py".to_owned(), 2.1), ("report/render.py".to_owned(), 5.5)].into(),
        })
        .collect();
    let view = RunView {
        state: &state,
        events: &events,
        past: &past,
        logs: &MadeLogs(made()),
        folder: Some(".dirigent/runs/0199c2f4"),
    };
    std::fs::create_dir_all(&folder)?;
    for format in Format::ALL {
        let begun = Instant::now();
        let text = view.render(format).ok_or("the run has no events")?;
        println!("{:>12}: {:>9} bytes in {:?}", format.file_name(), text.len(), begun.elapsed());
        std::fs::write(format!("{folder}/{}", format.file_name()), text)?;
    }
    Ok(())
}
