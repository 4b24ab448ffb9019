//! Running one thing through the engine, from a thread that Python called in on.

use crate::fault::{misused, raised};
use crate::plain::to_python;
use crate::scripts::{given_settings, project_config, state_folder_of};
use dirigent_cli::conduct::{self, Conducted, Order};
use dirigent_cli::fault::CliError;
use dirigent_cli::plan::{self, Common};
use dirigent_cli::record::LogFolder;
use dirigent_cli::secrets;
use dirigent_cli::surroundings::Surroundings;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::{Action, Command, Limits, Policy, Task, Workflow};
use dirigent_core::state::State;
use dirigent_engine::News;
use dirigent_engine::run::attempt_folder;
use dirigent_project::{Config, Interpreter, Query, Script};
use dirigent_report::{ScriptResult, Summary};
use pyo3::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a wait looks for signals: Ctrl-C is answered within this and a little.
const SIGNAL_TICK: Duration = Duration::from_millis(20);

/// Variables to set, or to remove where the value is `None`.
type Environment = BTreeMap<OsString, Option<OsString>>;

/// Runs one script and returns its result as plain data.
#[pyfunction]
#[pyo3(signature = (script, guard, python, timeout, env, cwd, config, memory_limit_mb))]
#[allow(clippy::too_many_arguments, reason = "the arguments of the Python function, by name there")]
pub(crate) fn run_script<'py>(
    py: Python<'py>,
    script: PathBuf,
    guard: PathBuf,
    python: PathBuf,
    timeout: Option<f64>,
    env: Environment,
    cwd: Option<PathBuf>,
    config: Option<&Bound<'py, PyAny>>,
    memory_limit_mb: Option<u64>,
) -> PyResult<Bound<'py, PyAny>> {
    let surroundings = Surroundings::look().map_err(|error| raised(py, error))?;
    let path = surroundings.absolute(&script);
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let project = project_config(&folder, &surroundings).map_err(|error| raised(py, error))?;
    let mut workflow_task = {
        let common = Common {
            config: &Config::default(),
            scripts_root: project.root().unwrap_or(&folder),
            python: &python,
            python_path: std::env::var_os("PYTHONPATH"),
            args: &[],
        };
        let interpreter = found_interpreter(&path, &project);
        let script =
            Script { name: common.name(&path), relative: path.clone(), path: path.clone(), interpreter };
        let workflow = plan::workflow("run_script", &[script], &common).map_err(|error| raised(py, error))?;
        Task::clone(&workflow.into_parts().1[0])
    };
    let mut timeout = timeout;
    if let Some(config) = config.filter(|config| !config.is_none()) {
        let settings = given_settings(py, config, &path)?;
        apply(&mut workflow_task, &settings, &python).map_err(|error| raised(py, error))?;
        if config.contains("timeout")? {
            timeout = settings.timeout.map(|limit| limit.as_secs_f64());
        }
    }
    change(
        py,
        &mut workflow_task,
        timeout,
        env,
        cwd.map(|cwd| surroundings.absolute(&cwd)),
        memory_limit_mb,
    )?;
    run_task(py, workflow_task, &project, &surroundings, guard)
}

/// Runs one command and returns its result as plain data, in the shape of a script's.
#[pyfunction]
#[pyo3(signature = (name, argv, guard, timeout, env, cwd, memory_limit_mb))]
#[allow(clippy::too_many_arguments, reason = "called by the package alone")]
pub(crate) fn run_command<'py>(
    py: Python<'py>,
    name: String,
    argv: Vec<OsString>,
    guard: PathBuf,
    timeout: Option<f64>,
    env: Environment,
    cwd: Option<PathBuf>,
    memory_limit_mb: Option<u64>,
) -> PyResult<Bound<'py, PyAny>> {
    let surroundings = Surroundings::look().map_err(|error| raised(py, error))?;
    let project = project_config(&surroundings.cwd, &surroundings).map_err(|error| raised(py, error))?;
    let command = Command {
        argv: argv.into_iter().map(Into::into).collect(),
        cwd: surroundings.cwd.clone().into(),
        ..Command::default()
    };
    let mut task = Task {
        name: name.into(),
        action: Action::Command(Box::new(command)),
        needs: Box::default(),
        policy: Arc::new(Policy {
            limits: Limits { grace_ms: 1000, ..Limits::default() },
            allowed_exit_codes: vec![0],
            ..Policy::default()
        }),
    };
    change(py, &mut task, timeout, env, cwd.map(|cwd| surroundings.absolute(&cwd)), memory_limit_mb)?;
    run_task(py, task, &project, &surroundings, guard)
}

/// How a file is run; one that says nothing is tried by itself, and the system says what is wrong with it.
fn found_interpreter(path: &Path, project: &Config) -> Interpreter {
    let query =
        Query { targets: vec![path.to_owned()], interpreters: project.interpreters(), ..Query::default() };
    let found = dirigent_project::discover(&query).ok().and_then(|found| found.scripts.into_iter().next());
    let by_name = || {
        if path.extension().is_some_and(|ext| ext == "py") {
            Interpreter::Python
        } else {
            Interpreter::Itself
        }
    };
    found.map_or_else(by_name, |script| script.interpreter)
}

/// Puts the settings of a file over a task.
fn apply(
    task: &mut Task,
    settings: &dirigent_project::ScriptSettings,
    python: &Path,
) -> Result<(), CliError> {
    let Action::Script(script) = &mut task.action else {
        return Ok(());
    };
    let (path, command) = (&script.path, &mut script.command);
    if let Some(interpreter) = &settings.interpreter {
        command.argv = interpreter.iter().map(Into::into).chain([path.clone()]).collect();
    } else if command.argv.is_empty() {
        command.argv = vec![python.into(), path.clone()];
    }
    command.argv.extend(settings.args.iter().map(Into::into));
    command.env.extend(plan::variables(settings)?);
    command.secrets = plan::secrets(settings);
    command.pass_env = plan::pass_env(settings);
    if let Some(cwd) = &settings.cwd {
        command.cwd = cwd.into();
    }
    let policy = Arc::make_mut(&mut task.policy);
    policy.allowed_exit_codes = settings.allowed_exit_codes.iter().map(|code| i32::from(*code)).collect();
    policy.limits.memory_bytes = settings.memory_limit_mb.map(|mb| mb << 20);
    policy.leave_running = settings.leave_running;
    if settings.skip {
        policy.skip =
            Some(settings.skip_reason.clone().unwrap_or_else(|| "the configuration says so".to_owned()));
    }
    Ok(())
}

/// Puts the caller's arguments over a task.
fn change(
    py: Python<'_>,
    task: &mut Task,
    timeout: Option<f64>,
    env: Environment,
    cwd: Option<PathBuf>,
    memory_limit_mb: Option<u64>,
) -> PyResult<()> {
    let limits = &mut Arc::make_mut(&mut task.policy).limits;
    if let Some(seconds) = timeout {
        if !(seconds.is_finite() && seconds > 0.0) {
            let message = format!("a timeout is a number of seconds above 0, not {seconds}");
            return Err(misused(py, message, Some("pass None for no limit".to_owned())));
        }
        limits.timeout_ms = Some(((seconds * 1000.0).ceil() as u64).max(1));
    } else {
        limits.timeout_ms = None;
    }
    if let Some(mb) = memory_limit_mb {
        if mb == 0 {
            return Err(misused(py, "a memory limit is at least 1 MiB".to_owned(), None));
        }
        limits.memory_bytes = Some(mb << 20);
    }
    if let Some(command) = task.action.command_mut() {
        command.env.extend(env.into_iter().map(|(name, value)| (name.into(), value.map(Into::into))));
        if let Some(cwd) = cwd {
            command.cwd = cwd.into();
        }
    }
    Ok(())
}

fn run_task<'py>(
    py: Python<'py>,
    task: Task,
    project: &Config,
    surroundings: &Surroundings,
    guard: PathBuf,
) -> PyResult<Bound<'py, PyAny>> {
    let start = || -> Result<Conducted, CliError> {
        let workflow = Workflow::new(task.name.to_string(), vec![task])?;
        let order = Order {
            jobs: Some(1),
            fail_fast: false,
            state_dir: &state_folder_of(project, surroundings)?,
            root: project.root(),
            guard,
            adopts_orphans: false,
            secrets: secrets::look_up(workflow.tasks(), project, surroundings)?.secrets,
        };
        conduct::start(workflow.into(), &order)
    };
    let conducted = py.detach(start).map_err(|error| raised(py, error))?;
    let folder = conducted.folder.clone();
    let state = wait(py, conducted)?;
    let result = py.detach(|| result(&state, &folder));
    let result = result.ok_or_else(|| misused(py, "the run has no result".to_owned(), None))?;
    let [stdout, stderr] = [&result.1, &result.2];
    let mut value = serde_json::to_value(&result.0)
        .map_err(|error| misused(py, format!("the result cannot be told: {error}"), None))?;
    value["stdout"] = String::from_utf8_lossy(stdout).into();
    value["stderr"] = String::from_utf8_lossy(stderr).into();
    value["folder"] = folder.to_string_lossy().into();
    to_python(py, &value)
}

/// Waits for a run, and gives way to Ctrl-C: the exception comes at once, the processes end in their grace.
fn wait(py: Python<'_>, conducted: Conducted) -> PyResult<Arc<State>> {
    let mut feed = conducted.run.feed(0);
    loop {
        let news = crate::waiting::wait(py, || feed.next(Some(Instant::now() + SIGNAL_TICK)));
        // A line of Python is where an exception from elsewhere arrives: signals do in the main thread alone.
        if let Err(interrupt) = py.check_signals().and_then(|()| py.run(c"pass", None, None)) {
            py.detach(|| conducted.run.abandon());
            return Err(interrupt);
        }
        if matches!(news, News::End) {
            return py.detach(|| conducted.wait()).map_err(|error| raised(py, error));
        }
    }
}

/// The result of a run of one task, with the exact bytes of its logs.
fn result(state: &State, folder: &Path) -> Option<(ScriptResult, Vec<u8>, Vec<u8>)> {
    let logs = LogFolder { folder, state };
    let summary = Summary::new(state, &logs)?;
    let task = summary.tasks.first()?;
    let log = |name: &str| std::fs::read(folder.join(attempt_folder(TaskIndex(0), task.attempts)).join(name));
    let result = ScriptResult::new(task, &logs, 0);
    Some((result, log("stdout.log").unwrap_or_default(), log("stderr.log").unwrap_or_default()))
}
