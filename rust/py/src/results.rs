//! Results of scripts that a program has in hand, as a run: the same reports, made by the same code.

use crate::fault::{misused, raised};
use crate::plain::to_python;
use dirigent_cli::fault::CliError;
use dirigent_cli::record;
use dirigent_core::event::{Created, Event, Fact, Origin, SkipReason, Verdict};
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::outcome::{Ended, Outcome, Stream, Usage};
use dirigent_core::spec::{Action, Command, Policy, Script, Task};
use dirigent_core::state::State;
use dirigent_core::text::plain_output;
use dirigent_report::{Format, Logs, RunView, ScriptResult, ScriptStatus, StreamName};
use jiff::Timestamp;
use pyo3::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Writes a file whole or not at all.
#[pyfunction]
pub(crate) fn write_whole(py: Python<'_>, path: PathBuf, bytes: &[u8]) -> PyResult<()> {
    record::write_whole(&path, bytes).map_err(|error| raised(py, error))
}

/// Writes `summary.json` and `summary.md` for results (JSON, a list) into a folder, and returns the summary.
#[pyfunction]
pub(crate) fn write_report<'py>(
    py: Python<'py>,
    results: &str,
    folder: PathBuf,
    run_id: String,
) -> PyResult<Bound<'py, PyAny>> {
    let results: Vec<ScriptResult> = serde_json::from_str(results)
        .map_err(|error| misused(py, format!("these are no results of scripts: {error}"), None))?;
    let run = RunId::try_from(run_id).map_err(|error| misused(py, error.to_string(), None))?;
    let write = || -> Result<serde_json::Value, CliError> {
        let state = as_run(&results, run);
        let texts = Texts(&results);
        let view = RunView { state: &state, events: &[], past: &[], logs: &texts, folder: None };
        for format in [Format::Json, Format::Md] {
            let text = view.render(format).unwrap_or_default();
            record::write_whole(&folder.join(format.file_name()), text.as_bytes())?;
        }
        let summary = view.summary().map(serde_json::to_value).and_then(Result::ok);
        Ok(summary.unwrap_or_default())
    };
    let summary = py.detach(write).map_err(|error| raised(py, error))?;
    to_python(py, &summary)
}

/// The output that results carry themselves.
struct Texts<'a>(&'a [ScriptResult]);

impl Logs for Texts<'_> {
    fn path(&self, task: TaskIndex, stream: StreamName) -> Option<String> {
        let result = self.0.get(task.usize())?;
        let log = if stream == StreamName::Stdout { &result.stdout_log } else { &result.stderr_log };
        log.as_ref()?.log.clone()
    }

    fn tail(&self, task: TaskIndex, stream: StreamName, max_bytes: usize) -> String {
        let text = self.0.get(task.usize()).map(|result| match stream {
            StreamName::Stdout => &result.stdout,
            StreamName::Stderr => &result.stderr,
        });
        let bytes = text.map(String::as_bytes).unwrap_or_default();
        plain_output(&bytes[bytes.len().saturating_sub(max_bytes)..])
    }
}

/// The state that a run with these results would have come to.
fn as_run(results: &[ScriptResult], run: RunId) -> State {
    let moment =
        |text: &Option<String>| text.as_ref()?.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
    let starts = results.iter().filter_map(|result| moment(&result.start_time));
    let began = starts.min().unwrap_or_default();
    let ended = results.iter().filter_map(|result| moment(&result.end_time)).max().unwrap_or(began);
    let mut events = Events { state: State::default() };
    let origin = Origin { version: dirigent_cli::VERSION.to_owned(), ..Origin::default() };
    events.tell(
        began,
        Fact::RunCreated(Box::new(Created {
            run,
            workflow: "scripts".to_owned(),
            max_concurrency: 1,
            fail_fast: false,
            origin: Box::new(origin),
            resources: Vec::new(),
            timeout_ms: None,
            seed: 0,
        })),
    );
    events.tell(
        began,
        Fact::TasksDeclared { tasks: results.iter().map(declared).map(Arc::new).collect(), parent: None },
    );
    for (task, result) in (0u32..).map(TaskIndex).zip(results) {
        let Some(outcome) = outcome(result) else {
            let text = result.error.clone().unwrap_or_else(|| "skipped".to_owned());
            events.tell(began, Fact::TaskSkipped { task, reason: SkipReason::Declared { text } });
            continue;
        };
        events.tell(moment(&result.start_time).unwrap_or(began), Fact::AttemptStarted { task, attempt: 1 });
        let stream = |text: &str| {
            let bytes = text.len() as u64;
            (bytes > 0).then(|| Box::new(Stream { bytes, kept_bytes: bytes, error: None }))
        };
        let last_lines = if outcome.is_success() { String::new() } else { last_lines(result) };
        let micros = |seconds: f64| (seconds * 1e6) as u64;
        events.tell(
            moment(&result.end_time).unwrap_or(ended),
            Fact::AttemptEnded {
                task,
                attempt: 1,
                retry_at_ms: None,
                ended: Arc::new(Ended {
                    usage: Usage {
                        wall_us: micros(result.execution_time),
                        user_us: micros(result.user_time),
                        system_us: micros(result.system_time),
                        peak_memory_bytes: result.peak_memory_bytes,
                    },
                    stdout: stream(&result.stdout),
                    stderr: stream(&result.stderr),
                    left_behind: result.left_behind,
                    last_lines: last_lines.into(),
                    ..Ended::new(outcome)
                }),
            },
        );
    }
    let good = |result: &ScriptResult| matches!(result.status, ScriptStatus::Passed | ScriptStatus::Skipped);
    let verdict = if results.iter().all(good) { Verdict::Succeeded } else { Verdict::Failed };
    events.tell(ended, Fact::RunEnded { verdict, strays: 0, survivors: Vec::new() });
    events.state
}

struct Events {
    state: State,
}

impl Events {
    fn tell(&mut self, at_ms: i64, fact: Fact) {
        let seq = self.state.next_seq();
        self.state.apply(&Event { seq, at_ms, fact });
    }
}

fn declared(result: &ScriptResult) -> Task {
    let path = Path::new(&result.script);
    Task {
        name: result.name.as_str().into(),
        action: Action::Script(Box::new(Script {
            path: path.into(),
            command: Command { argv: vec![path.into()], cwd: "".into(), ..Command::default() },
        })),
        needs: Box::default(),
        policy: Arc::new(Policy { allowed_exit_codes: vec![0], ..Policy::default() }),
    }
}

/// `None` for what never was to run.
fn outcome(result: &ScriptResult) -> Option<Outcome> {
    let said = || result.error.clone().unwrap_or_else(|| "it says nothing more".to_owned());
    Some(match (result.status, result.exit_code) {
        (ScriptStatus::Skipped, _) => return None,
        (ScriptStatus::Passed, code) => Outcome::Succeeded { exit_code: code.unwrap_or(0) },
        (ScriptStatus::Failed, Some(exit_code)) => Outcome::Failed { exit_code },
        (ScriptStatus::Timeout, _) => Outcome::TimedOut { limit_ms: (result.execution_time * 1000.0) as u64 },
        (ScriptStatus::Failed, None) | (ScriptStatus::Error, _) => {
            Outcome::CouldNotStart { doing: "complete it".into(), reason: said().into(), errno: None }
        }
    })
}

fn last_lines(result: &ScriptResult) -> String {
    let text = if result.stderr.trim().is_empty() { &result.stdout } else { &result.stderr };
    let text = plain_output(text.as_bytes());
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
