//! Children that misbehave, run by a real engine through the real guard.

use dirigent_core::event::{CancelReason, Fact, Verdict};
use dirigent_core::ids::TaskIndex;
use dirigent_core::outcome::Outcome;
use dirigent_core::spec::{Action, Command, Limits, Policy, Task, Workflow};
use dirigent_core::state::{State, TaskStatus};
use dirigent_engine::{Config, Feed, News, Plan, Record, Run, Slots};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A run of shell lines in a folder of its own.
struct Bench {
    folder: tempfile::TempDir,
    jobs: u32,
    tasks: Vec<Task>,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), jobs: 4, tasks: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn argv(mut self, argv: &[&str]) -> Self {
        self.tasks.push(Task {
            name: format!("task {}", self.tasks.len()).into(),
            action: Action::Command(Box::new(Command {
                argv: argv.iter().map(Into::into).collect(),
                cwd: self.folder.path().into(),
                ..Command::default()
            })),
            needs: Box::default(),
            policy: Arc::new(Policy {
                limits: Limits { grace_ms: 300, ..Limits::default() },
                allowed_exit_codes: vec![0],
                lost_attempts_allowed: 2,
                ..Policy::default()
            }),
        });
        self
    }

    fn sh(self, line: &str) -> Self {
        self.argv(&["/bin/sh", "-c", line])
    }

    fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut Arc::make_mut(&mut self.tasks.last_mut().expect("a task").policy).limits);
        self
    }

    fn start(&self) -> Run {
        let plan = Plan {
            // An id of its own: what carries the id of a run is ended with it.
            max_concurrency: self.jobs,
            ..Plan::new(
                dirigent_cli::record::new_run_id(),
                Workflow::new("test", self.tasks.clone()).expect("a workflow"),
            )
        };
        let config = Config {
            secrets: Arc::default(),
            guard: env!("CARGO_BIN_EXE_dirigent").into(),
            version: dirigent_cli::VERSION,
            adopts_orphans: false,
            folder: self.path("run"),
            slots: Slots::default(),
            judge: None,
        };
        Run::start(plan, config, Record::InMemory).expect("a run")
    }

    fn run(&self) -> Arc<State> {
        self.start().wait().expect("a state")
    }
}

fn outcome(state: &State, task: u32) -> &Outcome {
    &state.task(TaskIndex(task)).expect("a task").ended.as_ref().expect("an end").outcome
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Waits for a fact; a run that ends without it is a failure.
#[track_caller]
fn await_fact(feed: &mut Feed, wanted: impl Fn(&Fact) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match feed.next(Some(deadline)) {
            News::Events(events) if events.iter().any(|event| wanted(&event.fact)) => return,
            News::Events(_) => {}
            News::Stalled(_) | News::Quiet | News::End => panic!("it never happened"),
        }
    }
}

/// Waits until a file that a child writes is there.
#[track_caller]
fn await_file(path: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if let Ok(text) = fs::read_to_string(path)
            && text.ends_with('\n')
        {
            return text;
        }
        std::thread::yield_now();
    }
    panic!("{} never came", path.display());
}

/// Whether a process still does anything: zombies wait for whoever reaps here.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

#[test]
fn output_is_exact_on_disk_and_usage_is_known() {
    let bench = Bench::new().sh(r"printf 'a\r\nb\0\377'; printf err >&2");
    let state = bench.run();
    assert_eq!(outcome(&state, 0), &Outcome::Succeeded { exit_code: 0 });
    assert_eq!(fs::read(bench.path("run/tasks/0/1/stdout.log")).expect("a log"), b"a\r\nb\0\xff");
    assert_eq!(read(&bench.path("run/tasks/0/1/stderr.log")), "err");
    let usage = state.tasks()[0].ended.as_ref().expect("an end").usage;
    assert!(usage.wall_us > 0 && usage.peak_memory_bytes > 100_000, "{usage:?}");
    assert_eq!(state.end().expect("an end").verdict, Verdict::Succeeded);
}

#[test]
fn a_child_that_ignores_the_request_to_end_is_killed_after_its_grace() {
    let bench = Bench::new()
        .sh(r#"trap "" TERM; echo up; sleep 600"#)
        .limits(|limits| limits.timeout_ms = Some(3000));
    let began = Instant::now();
    let state = bench.run();
    assert_eq!(outcome(&state, 0), &Outcome::TimedOut { limit_ms: 3000 });
    assert_eq!(state.tasks()[0].status, TaskStatus::TimedOut);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(state.tasks()[0].ended.as_ref().expect("an end").last_lines.as_ref(), "up");
}

#[test]
fn a_grandchild_that_keeps_the_pipe_holds_nothing_up_and_is_ended() {
    let bench = Bench::new().sh("sleep 600 & echo $! > pid; exit 0");
    let began = Instant::now();
    let state = bench.run();
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(outcome(&state, 0), &Outcome::Succeeded { exit_code: 0 });
    assert_eq!(state.tasks()[0].ended.as_ref().expect("an end").left_behind, 1);
    assert!(!lives(&read(&bench.path("pid"))));
}

#[test]
fn daemons_are_found_and_ended() {
    let bench = Bench::new()
        .sh("setsid sh -c '(setsid sh -c \"echo \\$\\$ > a; exec sleep 300\" &)' <&- >&- 2>&-; while ! [ -s a ]; do :; done")
        .sh("env -i setsid sh -c '(env -i setsid sh -c \"echo \\$\\$ > b; exec sleep 300\" &)' <&- >&- 2>&-; while ! [ -s b ]; do :; done");
    let state = bench.run();
    assert_eq!(state.tasks()[0].ended.as_ref().expect("an end").left_behind, 1, "attributed by its marks");
    assert_eq!(state.end().expect("an end").strays, 1, "without marks it ends with the run");
    for name in ["a", "b"] {
        assert!(!lives(&read(&bench.path(name))), "{name} lives");
    }
}

#[test]
fn a_service_may_stay_where_the_task_says_so() {
    let mut bench = Bench::new().sh("setsid sleep 300 <&- >&- 2>&- & echo $! > pid");
    Arc::make_mut(&mut bench.tasks[0].policy).leave_running = true;
    let state = bench.run();
    let pid = read(&bench.path("pid"));
    assert_eq!(state.end().expect("an end").strays, 0);
    assert!(lives(&pid));
    assert!(std::process::Command::new("kill").arg(pid.trim()).status().expect("kill").success());
}

#[test]
fn a_death_by_signal_is_told_as_one() {
    let bench = Bench::new().sh("kill -SEGV $$").sh("exit 3").sh("kill -KILL $$");
    let state = bench.run();
    let Outcome::Killed { signal: 11, .. } = outcome(&state, 0) else { panic!("{:?}", outcome(&state, 0)) };
    assert_eq!(outcome(&state, 1), &Outcome::Failed { exit_code: 3 });
    assert_eq!(outcome(&state, 2), &Outcome::Killed { signal: 9, core_dumped: false, out_of_memory: false });
}

#[test]
fn what_cannot_start_says_why_in_the_systems_words() {
    let bench = Bench::new().argv(&["no-such-program-here"]).argv(&["./missing"]).argv(&["/etc/passwd"]);
    let long = "x".repeat(200 * 1024);
    let mut bench = bench.argv(&["/bin/true", &long]).argv(&["/bin/true"]);
    let Action::Command(command) = &mut bench.tasks[4].action else { panic!("no command") };
    command.cwd = bench.folder.path().join("gone").into();
    let state = bench.run();
    let said: Vec<String> = (0..5).map(|i| outcome(&state, i).sentence()).collect();
    assert_eq!(
        said[0],
        "could not start: cannot find the program no-such-program-here in PATH: No such file or directory"
    );
    assert_eq!(said[1], "could not start: cannot execute ./missing: No such file or directory");
    assert_eq!(said[2], "could not start: cannot execute /etc/passwd: Permission denied");
    assert_eq!(said[3], "could not start: cannot execute /bin/true: Argument list too long");
    assert!(said[4].starts_with("could not start: cannot change to /"), "{}", said[4]);
}

#[test]
fn there_is_no_terminal_and_nothing_to_read() {
    let bench =
        Bench::new().sh("cat; if read x </dev/tty; then echo tty; else echo none; fi").sh("exec <&0; read x");
    let state = bench.run();
    assert_eq!(read(&bench.path("run/tasks/0/1/stdout.log")), "none\n");
    assert_eq!(outcome(&state, 1), &Outcome::Failed { exit_code: 1 });
}

#[test]
fn memory_has_a_limit_for_each_process_and_for_the_tree() {
    let eat =
        "import time,sys\nx = bytearray(int(sys.argv[1]) << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\n";
    let one = eat;
    let tree = format!(
        "import subprocess,sys\nc={eat:?}+'time.sleep(20)'\nps=[subprocess.Popen([sys.executable,'-c',c,'40']) for _ in range(4)]\n[p.wait() for p in ps]"
    );
    let bench = Bench::new()
        .argv(&["python3", "-c", one, "400"])
        .limits(|limits| limits.memory_bytes = Some(100 << 20))
        .argv(&["python3", "-c", &tree])
        .limits(|limits| limits.memory_bytes = Some(100 << 20));
    let state = bench.run();
    let first = state.tasks()[0].ended.as_ref().expect("an end");
    assert_eq!(first.outcome, Outcome::Failed { exit_code: 1 });
    assert!(first.last_lines.contains("MemoryError"), "{}", first.last_lines);
    assert_eq!(outcome(&state, 1), &Outcome::MemoryExceeded { limit_bytes: 100 << 20 });
}

#[test]
fn a_cancelled_run_gives_its_children_their_grace_and_starts_nothing_more() {
    let mut bench = Bench::new()
        .sh("trap 'echo asked; exit 0' INT; echo up > up; while :; do sleep 0.01; done")
        .sh("exit 0");
    bench.jobs = 1;
    let run = bench.start();
    await_file(&bench.path("up"));
    run.control().cancel(CancelReason::Interrupted);
    let state = run.wait().expect("a state");
    assert_eq!(outcome(&state, 0), &Outcome::Cancelled);
    assert_eq!(read(&bench.path("run/tasks/0/1/stdout.log")), "asked\n");
    assert_eq!(state.tasks()[1].status, TaskStatus::Cancelled);
    assert_eq!(state.tasks()[1].attempts, 0);
    assert_eq!(state.end().expect("an end").verdict, Verdict::Cancelled);
}

#[test]
fn stopped_time_counts_against_no_limit() {
    let bench = Bench::new()
        .sh("for i in 1 2 3 4 5; do echo $i; sleep 0.1; done")
        .limits(|limits| limits.timeout_ms = Some(8000));
    let run = bench.start();
    let mut feed = run.feed(0);
    await_fact(&mut feed, |fact| matches!(fact, Fact::AttemptStarted { .. }));
    run.control().suspend();
    await_fact(&mut feed, |fact| *fact == Fact::RunSuspended);
    let log = bench.path("run/tasks/0/1/stdout.log");
    let before = fs::read_to_string(&log).unwrap_or_default();
    // The wait is the fault itself: longer than the limit, in which nothing may go on.
    std::thread::sleep(Duration::from_millis(8100));
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), before, "it went on while stopped");
    run.control().go_on();
    let state = run.wait().expect("a state");
    assert_eq!(outcome(&state, 0), &Outcome::Succeeded { exit_code: 0 });
    assert!(state.tasks()[0].ended.as_ref().expect("an end").usage.wall_us < 8_000_000);
}

#[test]
fn a_killed_guard_loses_attempts_which_are_tried_again_under_a_new_one() {
    let mut bench = Bench::new();
    for i in 0..20 {
        bench = bench.sh(&format!(
            "echo $$ >> pids; (setsid sleep 300 & echo $! >> pids); echo up > up{i}.$DIRIGENT_ATTEMPT; [ $DIRIGENT_ATTEMPT = 1 ] && sleep 300; exit 0"
        ));
    }
    bench.jobs = 20;
    let run = bench.start();
    for i in 0..20 {
        await_file(&bench.path(&format!("up{i}.1")));
    }
    let guard = guard_of_this_process(&read(&bench.path("pids")));
    assert!(std::process::Command::new("kill").args(["-9", &guard]).status().expect("kill").success());
    let state = run.wait().expect("a state");
    for task in state.tasks() {
        assert_eq!((task.status, task.attempts, task.lost), (TaskStatus::Completed, 2, 1));
    }
    for pid in read(&bench.path("pids")).lines() {
        assert!(!lives(pid), "{pid} lives");
    }
}

/// The parent of the first of these processes.
fn guard_of_this_process(pids: &str) -> String {
    let first = pids.lines().next().expect("a pid");
    let stat = read(Path::new(&format!("/proc/{first}/stat")));
    stat.rsplit(')').next().expect("fields").split_whitespace().nth(1).expect("a parent").to_owned()
}

#[test]
fn a_hundred_megabytes_cost_the_cap_and_no_more() {
    let bench = Bench::new()
        .sh("head -c 100000000 /dev/zero | tr '\\0' x; echo end")
        .limits(|limits| limits.output_bytes = Some(1 << 20));
    let state = bench.run();
    let stream = state.tasks()[0].ended.as_ref().expect("an end").stdout.clone().expect("a stream");
    assert_eq!(stream.bytes, 100_000_004);
    assert!(stream.is_truncated());
    let log = fs::read(bench.path("run/tasks/0/1/stdout.log")).expect("a log");
    assert!(log.len() <= 1 << 20 && log.len() > 1_000_000, "{}", log.len());
    assert!(log.ends_with(b"xxend\n"));
}
