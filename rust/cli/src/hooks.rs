//! Tells hooks what happens to a run, as it happens, from a thread of its own that reads the run's events.
//!
//! The journal is the queue: a slow hook is told later, and holds up nothing but the hooks behind it. A hook that fails is
//! one line, and changes nothing.

use crate::fault::shown;
use crate::outside::Program;
use crate::terminal;
use dirigent_core::event::{Event, Fact};
use dirigent_core::ids::TaskIndex;
use dirigent_core::state::{State, TaskStatus};
use dirigent_core::text::printable;
use dirigent_engine::run::counts;
use dirigent_engine::{Feed, News};
use dirigent_project::Config;
use dirigent_project::automation::Moment;
use dirigent_report::quantity::{counted, iso};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// The moments of a run.
const MOMENTS: [Moment; 7] = [
    Moment::BeforeRun,
    Moment::BeforeTask,
    Moment::OnRetry,
    Moment::AfterTask,
    Moment::OnFailure,
    Moment::OnSuccess,
    Moment::AfterRun,
];
/// How many lines are told of hooks that fail.
const MOST_LINES: usize = 20;

/// A hook of a moment, ready to be told.
#[derive(Clone)]
struct Hook {
    moment: Moment,
    argv: Vec<String>,
    folder: PathBuf,
    timeout: Duration,
}

/// The hooks of one run.
pub(crate) struct Hooks {
    over: Option<Receiver<Vec<String>>>,
    is_cut: Arc<AtomicBool>,
    patience: Duration,
}

/// Something that hooks are told.
struct Call {
    moment: Moment,
    task: Option<String>,
    json: String,
}

impl Hooks {
    /// Begins to tell the hooks of a configuration what happens. Where there are none, nothing is begun.
    pub(crate) fn listen(config: &Config, feed: Feed, folder: &Path) -> Self {
        let hooks: Vec<Hook> = MOMENTS.into_iter().flat_map(|moment| of(config, moment)).collect();
        let is_cut = Arc::new(AtomicBool::new(false));
        let mut over = None;
        if !hooks.is_empty() {
            let log = folder.join("hooks.log");
            let log = File::options().append(true).create(true).mode(0o600).open(log).ok();
            let teller = Teller {
                hooks,
                log,
                folder: folder.to_owned(),
                is_cut: Arc::clone(&is_cut),
                lines: Vec::new(),
            };
            let (tell, told) = mpsc::channel();
            let listen = move || drop(tell.send(teller.listen(feed)));
            let thread = std::thread::Builder::new().name("dirigent-hooks".to_owned()).spawn(listen);
            over = Some(told);
            if let Err(error) = thread {
                terminal::say(&format!("hook       no hook is told anything: {error}\n"));
                over = None;
            }
        }
        Self { over, is_cut, patience: config.hook_patience() }
    }

    /// Waits until the hooks know everything, for a bounded time.
    pub(crate) fn finish(self) {
        let Some(over) = self.over else {
            return;
        };
        let lines = over.recv_timeout(self.patience).or_else(|_| {
            self.is_cut.store(true, Ordering::Relaxed);
            over.recv()
        });
        terminal::say(&lines.unwrap_or_default().concat());
    }
}

/// The hooks of a moment.
fn of(config: &Config, moment: Moment) -> impl Iterator<Item = Hook> {
    config.hooks(moment).map(move |(hook, folder)| Hook {
        moment,
        argv: hook.command.0.clone(),
        folder: folder.to_owned(),
        timeout: hook.timeout(),
    })
}

/// What the thread knows.
struct Teller {
    hooks: Vec<Hook>,
    /// Where hooks print to: the terminal belongs to the run.
    log: Option<File>,
    folder: PathBuf,
    is_cut: Arc<AtomicBool>,
    /// What could not be told yet, since a picture that changes is there.
    lines: Vec<String>,
}

impl Teller {
    /// Tells until the run is over; returns the lines that remain to be shown.
    fn listen(mut self, mut feed: Feed) -> Vec<String> {
        let (mut state, mut missed) = (State::default(), 0);
        loop {
            let events = match feed.next(None) {
                News::Events(events) => events,
                News::Stalled(_) | News::Quiet => continue,
                News::End => break,
            };
            let mut calls = Vec::new();
            for event in &events {
                state.apply(event);
                if matches!(event.fact, Fact::RunResumed { .. }) {
                    // What happened under an earlier engine was told then.
                    calls.clear();
                }
                self.take(&state, event, &mut calls);
            }
            let run = state.header().map(|header| header.run.to_string()).unwrap_or_default();
            for call in calls {
                missed += self.tell(&run, &call);
            }
        }
        if missed > 0 {
            let calls = counted(missed, "call");
            self.lines.push(format!("hook       {calls} not made: the run ended too long ago\n"));
        }
        self.lines
    }

    fn wants(&self, moment: Moment) -> bool {
        self.hooks.iter().any(|hook| hook.moment == moment)
    }

    /// What hooks are to be told of an event.
    fn take(&self, state: &State, event: &Event, calls: &mut Vec<Call>) {
        for (moment, task) in moments(state, &event.fact) {
            if self.wants(moment) {
                let name = task.and_then(|task| Some(state.task(task)?.spec.name.to_string()));
                let json = info(moment, state, event, task, &self.folder);
                calls.push(Call { moment, task: name, json: format!("{json}\n") });
            }
        }
    }

    /// Tells one thing to its hooks, one after another; how many were not told.
    fn tell(&mut self, run: &str, call: &Call) -> usize {
        let hooks: Vec<Hook> = self.hooks.iter().filter(|hook| hook.moment == call.moment).cloned().collect();
        let mut missed = 0;
        for hook in hooks {
            let is_cut = || self.is_cut.load(Ordering::Relaxed);
            if is_cut() {
                missed += 1;
                continue;
            }
            let mut environment = vec![("DIRIGENT_HOOK", hook.moment.name()), ("DIRIGENT_RUN_ID", run)];
            environment.extend(call.task.as_deref().map(|task| ("DIRIGENT_TASK", task)));
            let (environment, output) = (&environment[..], self.log.as_ref());
            let program = Program { argv: &hook.argv, folder: &hook.folder, environment, output };
            let told = program.tell(&call.json, Instant::now() + hook.timeout, is_cut);
            if let Err(why) = told {
                self.complain(&hook, call.task.as_deref(), &why);
            }
        }
        missed
    }

    fn complain(&mut self, hook: &Hook, task: Option<&str>, why: &str) {
        let task = task.map(|task| format!(" of {task}")).unwrap_or_default();
        let line = format!("{}{task}: {} {why}", hook.moment.name(), shown(Path::new(&hook.argv[0])));
        let line = format!("hook       {}\n", printable(&line));
        if !terminal::stderr_is_live() {
            terminal::say(&line);
        } else if self.lines.len() < MOST_LINES {
            self.lines.push(line);
        }
    }
}

/// The moments that a fact is, with the task that it is about. The state is the one after it.
fn moments(state: &State, fact: &Fact) -> Vec<(Moment, Option<TaskIndex>)> {
    let ended = |task: TaskIndex| match state.task(task).map(|task| task.status) {
        Some(TaskStatus::Completed) => vec![(Moment::AfterTask, Some(task)), (Moment::OnSuccess, Some(task))],
        Some(status) if status.is_failure() => {
            vec![(Moment::AfterTask, Some(task)), (Moment::OnFailure, Some(task))]
        }
        Some(status) if status.is_final() => vec![(Moment::AfterTask, Some(task))],
        _ => Vec::new(),
    };
    match fact {
        Fact::RunCreated(_) | Fact::RunResumed { .. } => vec![(Moment::BeforeRun, None)],
        Fact::RunEnded { .. } => vec![(Moment::AfterRun, None)],
        Fact::AttemptStarted { task, .. } => vec![(Moment::BeforeTask, Some(*task))],
        Fact::AttemptEnded { task, retry_at_ms: Some(_), .. } => vec![(Moment::OnRetry, Some(*task))],
        Fact::AttemptEnded { task, .. }
        | Fact::TaskFailed { task, .. }
        | Fact::WaitAnswered { task, .. }
        | Fact::WaitTimedOut { task } => ended(*task),
        _ => Vec::new(),
    }
}

/// What a hook is told.
fn info(moment: Moment, state: &State, event: &Event, task: Option<TaskIndex>, folder: &Path) -> Value {
    let Some(header) = state.header() else {
        return Value::Null;
    };
    let mut info = Map::new();
    let mut put = |key: &str, value: Value| info.insert(key.to_owned(), value);
    put("hook", json!(moment.name()));
    put("at", json!(iso(event.at_ms, header.origin.utc_offset_min)));
    put("run", json!(header.run));
    put("workflow", json!(header.workflow));
    put("folder", json!(folder.to_string_lossy()));
    if let Some(task) = task.and_then(|task| state.task(task)) {
        put("task", json!(task.spec.name));
        put("attempt", json!(task.attempts));
        put("status", json!(task.status.name()));
        if let Some(ended) = task.ended.as_ref().filter(|_| moment != Moment::BeforeTask) {
            put("outcome", json!(ended.outcome.sentence()));
            put("duration_s", json!(ended.usage.wall_us as f64 / 1e6));
            put("last_lines", json!(ended.last_lines));
        }
    }
    if let Fact::AttemptEnded { retry_at_ms: Some(at_ms), .. } = &event.fact {
        put("retry_in_s", json!((at_ms - event.at_ms).max(0) as f64 / 1e3));
    }
    if let Some(end) = state.end() {
        put("verdict", json!(end.verdict));
        put("counts", serde_json::from_str(&counts(state)).unwrap_or_default());
        put("duration_s", json!((end.at_ms - header.created_at_ms) as f64 / 1e3));
    }
    Value::Object(info)
}

/// Tells the hooks of a watch what changed, on a thread that nobody waits for.
pub(crate) fn changed(config: &Config, changes: Vec<Value>) {
    let hooks: Vec<Hook> = of(config, Moment::OnChange).collect();
    if hooks.is_empty() {
        return;
    }
    let json = format!("{}\n", json!({"hook": Moment::OnChange.name(), "changes": changes}));
    let tell = move || {
        for hook in hooks {
            let environment = &[("DIRIGENT_HOOK", hook.moment.name())];
            let program = Program { argv: &hook.argv, folder: &hook.folder, environment, output: None };
            if let Err(why) = program.tell(&json, Instant::now() + hook.timeout, || false) {
                let line = format!("on_change: {} {why}", shown(Path::new(&hook.argv[0])));
                terminal::say(&format!("hook       {}\n", printable(&line)));
            }
        }
    };
    let _ = std::thread::Builder::new().name("dirigent-hooks".to_owned()).spawn(tell);
}
