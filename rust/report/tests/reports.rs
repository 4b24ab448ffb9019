//! Reports of made-up runs, as whoever asks for one sees them.

use dirigent_core::event::{CancelReason, Created, Event, Fact, Origin, SkipReason, Verdict};
use dirigent_core::outcome::{Ended, Outcome, Stream, Usage};
use dirigent_core::spec::{Action, Command, Policy, Script, Task};
use dirigent_core::text::OsText;
use dirigent_core::{RunId, State, TaskIndex};
use dirigent_report::{Format, Logs, NoLogs, RunView, ScriptResult, ScriptStatus, StreamName, Summary};
use std::sync::Arc;

const EVIL: &str = "</script><img src=x onerror=alert(1)> | `a` @b \u{202e}\u{1}";

struct EvilLogs;

impl Logs for EvilLogs {
    fn path(&self, task: TaskIndex, stream: StreamName) -> Option<String> {
        Some(format!("tasks/{task}/1/{}.log", stream.name()))
    }

    fn tail(&self, _: TaskIndex, _: StreamName, max_bytes: usize) -> String {
        format!("{EVIL}\n```\n]]>\n").repeat(1 + max_bytes / 80)
    }
}

fn task(name: String) -> Task {
    let command =
        Command { argv: vec![OsText::from("python3")], cwd: OsText::from("/srv"), ..Command::default() };
    Task {
        action: Action::Script(Box::new(Script { path: OsText::from(format!("/srv/etl/{name}")), command })),
        name: name.into(),
        needs: Box::default(),
        policy: Arc::new(Policy { allowed_exit_codes: vec![0], ..Policy::default() }),
    }
}

/// What befalls each task, and nothing else: one second each, one after the other.
fn run(
    fates: &[Result<Outcome, SkipReason>],
    name: impl Fn(usize) -> String,
    verdict: Option<Verdict>,
) -> State {
    let origin = Origin { root: Some(OsText::from("/srv")), utc_offset_min: 60, ..Origin::default() };
    let run = RunId::try_from("r1".to_owned()).expect("a valid id");
    let workflow = "etl".to_owned();
    let tasks: Vec<_> = (0..fates.len()).map(|i| Arc::new(task(name(i)))).collect();
    let mut facts = vec![
        Fact::RunCreated(Box::new(Created {
            run,
            workflow,
            max_concurrency: 2,
            fail_fast: false,
            origin: Box::new(origin),
            resources: Vec::new(),
            timeout_ms: None,
            seed: 0,
        })),
        Fact::TasksDeclared { tasks: tasks.into(), parent: None },
    ];
    for (task, fate) in (0u32..).map(TaskIndex).zip(fates) {
        match fate.clone() {
            Err(reason) => facts.push(Fact::TaskSkipped { task, reason }),
            Ok(outcome) => {
                facts.push(Fact::AttemptStarted { task, attempt: 1 });
                facts.push(Fact::AttemptEnded {
                    task,
                    attempt: 1,
                    retry_at_ms: None,
                    ended: Arc::new(Ended {
                        last_lines: if outcome.is_success() {
                            Box::default()
                        } else {
                            format!("```\n{EVIL}").into()
                        },
                        usage: Usage {
                            wall_us: 1_000_000,
                            user_us: 250_000,
                            system_us: 0,
                            peak_memory_bytes: 1 << 20,
                        },
                        stdout: Some(Box::new(Stream { bytes: 1 << 30, kept_bytes: 1 << 26, error: None })),
                        ..Ended::new(outcome)
                    }),
                });
            }
        }
    }
    facts.extend(verdict.map(|verdict| Fact::RunEnded { verdict, strays: 0, survivors: Vec::new() }));
    let event = |(seq, fact)| Event { seq, at_ms: 1_700_000_000_000 + seq as i64 * 1_000, fact };
    State::fold(&(0u64..).zip(facts).map(event).collect::<Vec<_>>())
}

fn every_fate() -> Vec<Result<Outcome, SkipReason>> {
    vec![
        Ok(Outcome::Succeeded { exit_code: 0 }),
        Ok(Outcome::Failed { exit_code: 3 }),
        Ok(Outcome::Killed { signal: 11, core_dumped: false, out_of_memory: false }),
        Ok(Outcome::MemoryExceeded { limit_bytes: 1 << 20 }),
        Ok(Outcome::TimedOut { limit_ms: 1_000 }),
        Ok(Outcome::CouldNotStart { doing: "run it".into(), reason: "no".into(), errno: None }),
        Ok(Outcome::Lost { why: "the worker died".into() }),
        Ok(Outcome::Cancelled),
        Err(SkipReason::NeedNotMet { need: TaskIndex(1) }),
    ]
}

fn render(state: &State, format: Format) -> String {
    RunView { state, events: &[], past: &[], logs: &EvilLogs, folder: Some("runs/r 1") }
        .render(format)
        .expect("the run has events")
}

#[test]
fn each_task_is_counted_once_and_a_skip_is_no_failure() {
    let summary = Summary::new(&run(&every_fate(), |i| format!("{i}.py"), Some(Verdict::Failed)), &NoLogs)
        .expect("one");
    assert_eq!(summary.counts.present().map(|(_, n)| n).sum::<usize>(), summary.counts.total);
    assert_eq!((summary.counts.failed, summary.counts.timed_out, summary.counts.skipped), (5, 1, 1));
    assert_eq!(summary.failed.len(), 6);
    assert_eq!(summary.failed[0].name, "1.py");
    assert_eq!(summary.sentence, "failed: 6 of 9 tasks did not complete");
    assert_eq!(summary.tasks[8].sentence, "was skipped: it needs “1.py”, which failed");
    assert_eq!((summary.created.as_str(), summary.cpu_s), ("2023-11-14T23:13:20.000+01:00", 2.0));
}

#[test]
fn a_summary_survives_its_own_json() {
    let state = run(&every_fate(), |i| format!("{i}.py"), Some(Verdict::Failed));
    let summary = Summary::new(&state, &EvilLogs).expect("one");
    let read: Summary = serde_json::from_str(&render(&state, Format::Json)).expect("parses");
    assert_eq!(read, summary);
}

#[test]
fn every_way_to_end_has_its_place_among_the_five_of_a_script() {
    let summary = Summary::new(&run(&every_fate(), |i| format!("{i}.py"), None), &NoLogs).expect("one");
    let results: Vec<ScriptResult> =
        summary.tasks.iter().map(|task| ScriptResult::new(task, &NoLogs, 100)).collect();
    use ScriptStatus::{Error, Failed, Passed, Skipped, Timeout};
    assert_eq!(
        results.iter().map(|result| result.status).collect::<Vec<_>>(),
        [Passed, Failed, Failed, Failed, Timeout, Error, Error, Error, Skipped]
    );
    assert_eq!(results[0].error, None);
    assert_eq!(results[1].error.as_deref(), Some("failed with exit code 3"));
    assert_eq!((results[1].script.as_str(), results[1].subdirectory.as_str()), ("etl/1.py", "etl"));
}

#[test]
fn a_run_that_was_broken_off_has_no_success_in_it() {
    let mut state = run(&[Ok(Outcome::Succeeded { exit_code: 0 })], |_| "a.py".to_owned(), None);
    let next = |seq, fact| Event { seq, at_ms: 1_700_000_010_000, fact };
    state.apply(&next(
        4,
        Fact::TasksDeclared { tasks: [task("b.py".to_owned()).into()].into(), parent: None },
    ));
    state.apply(&next(5, Fact::AttemptStarted { task: TaskIndex(1), attempt: 1 }));
    assert!(render(&state, Format::Md).contains("has not ended: 1 of 2 tasks completed"));
    assert!(render(&state, Format::Html).contains("Not ended"));
    assert!(render(&state, Format::Junit).contains(r#"errors="1""#));
    state.apply(&Event {
        seq: 3,
        at_ms: 6,
        fact: Fact::CancelRequested { reason: CancelReason::Interrupted },
    });
    assert_eq!(Summary::new(&state, &NoLogs).expect("one").verdict, None);
}

#[test]
fn a_run_without_events_has_no_report() {
    let state = State::default();
    assert_eq!(
        RunView { state: &state, events: &[], past: &[], logs: &NoLogs, folder: None }.render(Format::Html),
        None
    );
}

#[test]
fn names_and_logs_stay_text_in_the_page() {
    let page = render(&run(&every_fate(), |i| format!("{EVIL}{i}"), Some(Verdict::Failed)), Format::Html);
    assert!(!page.contains("<img"), "a name became an element");
    assert_eq!(page.matches("</script>").count(), 1, "a log closed the script");
    assert!(page.contains(r"`a` @b \u{202e}\u{1}0</summary>"), "a name hides characters");
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
}

#[test]
fn the_page_asks_nothing_of_anybody() {
    let page = render(&run(&every_fate(), |i| format!("{i}.py"), Some(Verdict::Failed)), Format::Html);
    for reference in
        ["http:", "https:", "<img", "<link", "<iframe", "<script src", "@import", "url(h", "fetch("]
    {
        assert!(!page.contains(reference), "the page has {reference:?}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn markdown_keeps_names_in_their_cells_and_logs_in_their_fences() {
    let text = render(&run(&every_fate(), |i| format!("{EVIL}{i}"), Some(Verdict::Failed)), Format::Md);
    assert!(text.contains("````text\n```\n"), "the fence is not longer than what it holds");
    for row in text.lines().filter(|line| line.starts_with("| ") && line.contains("alert(1)")) {
        assert!(row.matches('|').count() <= 7, "a name broke the table: {row}");
    }
    let many = run(
        &vec![Ok(Outcome::Failed { exit_code: 1 }); 5_000],
        |i| format!("task {i}"),
        Some(Verdict::Failed),
    );
    let text = render(&many, Format::Md);
    assert!(text.len() < 65_000 && text.contains("more: see `summary.json`"), "{} bytes", text.len());
}

#[test]
fn junit_tells_failures_from_errors_and_holds_no_character_that_xml_forbids() {
    let xml = render(&run(&every_fate(), |i| format!("{EVIL}{i}"), Some(Verdict::Failed)), Format::Junit);
    assert!(xml.contains(r#"tests="9" skipped="1" failures="4" errors="3""#), "{}", &xml[..300]);
    assert!(!xml.chars().any(|c| c.is_control() && !"\n\t\r".contains(c)));
    assert!(xml.contains("&lt;img"));
}

#[test]
fn the_page_grows_in_proportion() {
    let size = |count: usize| {
        let fates = vec![Ok(Outcome::Succeeded { exit_code: 0 }); count];
        render(&run(&fates, |i| format!("folder/script_{i}.py"), Some(Verdict::Succeeded)), Format::Html)
            .len()
    };
    assert!(size(100) < 200_000, "{} bytes for 100 tasks", size(100));
    assert!(size(10_000) < 5_000_000, "{} bytes for 10,000 tasks", size(10_000));
}

#[test]
fn a_format_is_found_by_its_name() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(format));
    }
    assert_eq!(Format::from_name("pdf"), None);
}

#[test]
fn a_page_stays_small_where_one_of_ten_tasks_did_not_complete() {
    for (tasks, most_bytes) in [(100, 200_000), (10_000, 5_000_000)] {
        let completed = std::iter::repeat_n(Ok(Outcome::Succeeded { exit_code: 0 }), 81);
        let fates: Vec<_> = every_fate().into_iter().chain(completed).cycle().take(tasks).collect();
        let state = run(&fates, |i| format!("shard-{i:05}/transform/clean.py"), Some(Verdict::Failed));
        let bytes = render(&state, Format::Html).len();
        assert!(bytes <= most_bytes, "{tasks} tasks: {bytes} bytes");
    }
}

#[test]
fn a_page_stays_small_where_nearly_all_tasks_failed_with_lines_of_their_own() {
    for (tasks, most_bytes, is_short) in [(100, 200_000, false), (10_000, 5_000_000, true)] {
        let fates = (0..tasks).map(|i| match i % 10 {
            0 => Ok(Outcome::Succeeded { exit_code: 0 }),
            _ => Ok(Outcome::Failed { exit_code: 1 }),
        });
        let fates: Vec<_> = fates.collect();
        let name = |i| format!("shard-{i:05}/transform/clean.py");
        let mut run = run(&fates, name, Some(Verdict::Failed));
        let lines = (0..80).map(|line| format!("File \"{line}.py\", line {line}, in <module>\n"));
        let lines: String = lines.collect();
        for task in (0..tasks as u32).map(TaskIndex).filter(|task| task.0 % 10 > 0) {
            let ended = Fact::AttemptEnded {
                task,
                attempt: 2,
                retry_at_ms: None,
                ended: Arc::new(Ended {
                    stderr: Some(Box::new(Stream { bytes: 4000, kept_bytes: 4000, error: None })),
                    last_lines: format!("{lines}task {task} gave up").into(),
                    ..Ended::new(Outcome::Failed { exit_code: 1 })
                }),
            };
            for fact in [Fact::AttemptStarted { task, attempt: 2 }, ended] {
                run.apply(&Event { seq: 0, at_ms: 1_700_000_000_000 + i64::from(task.0) * 900, fact });
            }
        }
        let page = render(&run, Format::Html);
        assert!(page.len() <= most_bytes, "{tasks} tasks: {} bytes", page.len());
        if is_short {
            assert!(
                page.contains(&format!("task {} gave up</pre>", tasks - 1)),
                "what each said last is there"
            );
            assert!(page.contains("<code>dirigent logs r1 TASK</code> shows the rest"));
        }
        assert_eq!(page.contains("shows the rest"), is_short);
    }
}
