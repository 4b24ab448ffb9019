//! Where runs are kept: the state folder, a folder for each run, and the reports in it.

use crate::fault::{CliError, shown};
use crate::surroundings::{Surroundings, origin};
use dirigent_core::event::Event;
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::spec::Action;
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_core::text::{plain_output, printable};
use dirigent_engine::run::{Asked, attempt_folder};
use dirigent_journal::{Holder, JournalError, Reader, RunRow, Store};
use dirigent_project::Config;
use dirigent_report::quantity::{iso, seconds};
use dirigent_report::{Format, Logs, PastRun, RunView, ScriptResult, StreamName};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of each stream that a script's own JSON file holds.
const RESULT_OUTPUT_BYTES: usize = 1 << 20;

/// With how many runs before it the page of a run compares it.
const PAST_RUNS: usize = 20;
/// Of so many of them also each task.
const PAST_RUNS_WITH_TASKS: usize = 3;

/// The folder in which runs are recorded: the one that was named, else the project's `.dirigent`, else the user's.
///
/// # Errors
///
/// Nothing was named, there is no project, and no home folder either.
pub fn state_dir(config: &Config, surroundings: &Surroundings) -> Result<PathBuf, CliError> {
    if let Some(named) = &config.run.state_dir.value {
        return Ok(surroundings.absolute(named));
    }
    if let Some(root) = config.root() {
        return Ok(root.join(".dirigent"));
    }
    surroundings.user_state_dir.clone().ok_or_else(|| CliError::Usage {
        message: "there is no place to record the run: no project file, and no home folder".to_owned(),
        hint: Some("name one with --state-dir".to_owned()),
    })
}

/// Makes an id that sorts by time. The one place where ids come from.
pub fn new_run_id() -> RunId {
    RunId::try_from(uuid::Uuid::now_v7().to_string()).expect("a UUID has 36 hex digits and dashes")
}

/// Writes a file whole or not at all.
///
/// # Errors
///
/// The file system refuses; then the file is as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let part = part_of(path);
    write_new(&part, bytes).and_then(|()| fs::rename(&part, path)).map_err(|error| {
        let _ = fs::remove_file(&part);
        CliError::io("write", path)(error)
    })
}

/// Where something is written before it takes its place: a name of our own beside it.
fn part_of(path: &Path) -> PathBuf {
    // Threads of one process write too, and to the same file.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}-{}.part", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    PathBuf::from(part)
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}

/// The logs in the folder of a run.
#[derive(Debug)]
pub struct LogFolder<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// The run.
    pub state: &'a State,
}

impl LogFolder<'_> {
    fn relative(&self, task: TaskIndex, stream: StreamName) -> Option<PathBuf> {
        let attempts = self.state.task(task)?.attempts;
        Some(attempt_folder(task, attempts).join(format!("{}.log", stream.name())))
    }
}

impl Logs for LogFolder<'_> {
    fn path(&self, task: TaskIndex, stream: StreamName) -> Option<String> {
        let relative = self.relative(task, stream)?;
        self.folder.join(&relative).is_file().then(|| relative.to_string_lossy().into_owned())
    }

    fn tail(&self, task: TaskIndex, stream: StreamName, max_bytes: usize) -> String {
        let relative = self.relative(task, stream);
        relative
            .map(|relative| plain_output(&tail_bytes(&self.folder.join(relative), max_bytes)))
            .unwrap_or_default()
    }
}

/// The last bytes of a file; none when it cannot be read.
pub fn tail_bytes(path: &Path, max_bytes: usize) -> Vec<u8> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(max_bytes as u64)))?;
        let mut bytes = Vec::new();
        file.take(max_bytes as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().unwrap_or_default()
}

/// Writes reports into the folder of a run, and returns their paths. `Json` is `summary.json` and one file a task.
///
/// # Errors
///
/// The file system refuses, or the run has no beginning.
pub fn write_reports(folder: &Path, state: &State, formats: &[Format]) -> Result<Vec<PathBuf>, CliError> {
    let logs = LogFolder { folder, state };
    let shown_folder = folder.to_string_lossy();
    let has = |format: Format| formats.contains(&format);
    let reader = (has(Format::Html) || has(Format::Trace)).then(|| reader_around(folder)).flatten();
    let events = reader.as_ref().and_then(|reader| events_of(reader, state)).unwrap_or_default();
    let past = reader.filter(|_| has(Format::Html)).and_then(|reader| runs_before(&reader, state));
    let past = past.unwrap_or_default();
    let view = RunView { state, events: &events, past: &past, logs: &logs, folder: Some(&shown_folder) };
    let mut written = Vec::with_capacity(formats.len());
    for format in formats {
        let text = view.render(*format).ok_or_else(|| CliError::Nothing {
            message: format!("{} holds no run", shown(folder)),
            hint: None,
        })?;
        let path = folder.join(format.file_name());
        write_whole(&path, text.as_bytes())?;
        written.push(path);
        if *format == Format::Json {
            write_results(folder, &view)?;
        }
    }
    Ok(written)
}

/// What is recorded in the state folder that a run's folder lies in. Reports tell less where it cannot be read.
fn reader_around(folder: &Path) -> Option<Reader> {
    Reader::open(folder.parent()?.parent()?).ok()
}

fn events_of(reader: &Reader, state: &State) -> Option<Vec<Event>> {
    Some(reader.recorded(&state.header()?.run).ok()?.events)
}

/// The runs of the same workflow that ended before this one began, the oldest first. Only of the newest few it is looked up
/// how long their tasks took.
fn runs_before(reader: &Reader, state: &State) -> Option<Vec<PastRun>> {
    let header = state.header()?;
    let rows = reader.runs(PAST_RUNS + 1, Some(&header.workflow)).ok()?;
    let is_before = |row: &&RunRow| row.id != header.run && row.created_at_ms <= header.created_at_ms;
    let mut past: Vec<PastRun> = Vec::new();
    for row in rows.iter().filter(is_before).take(PAST_RUNS) {
        let (Some(ended_at_ms), Some(verdict)) = (row.ended_at_ms, &row.verdict) else { continue };
        let is_new = past.len() < PAST_RUNS_WITH_TASKS;
        past.push(PastRun {
            run: row.id.to_string(),
            status: verdict.clone(),
            elapsed_s: (ended_at_ms - row.created_at_ms).max(0) as f64 / 1e3,
            tasks: if is_new { times_of_tasks(reader, &row.id) } else { HashMap::new() },
        });
    }
    past.reverse();
    Some(past)
}

/// How long the tasks of a run took that were carried out in it and completed.
fn times_of_tasks(reader: &Reader, run: &RunId) -> HashMap<String, f64> {
    let events = reader.recorded(run).map(|recorded| recorded.events).unwrap_or_default();
    let state = State::fold(&events);
    let completed = |task: &&TaskState| task.status == TaskStatus::Completed && task.reused.is_none();
    let took = |task: &TaskState| {
        let wall_us = task.ended.as_ref().map(|ended| ended.usage.wall_us).filter(|us| *us > 0)?;
        Some((task.spec.name.to_string(), seconds(wall_us)))
    };
    state.tasks().iter().filter(completed).filter_map(took).collect()
}

/// One file a script, in a folder that takes its place whole: a rename for each of thousands costs more than the rest.
fn write_results(folder: &Path, view: &RunView<'_>) -> Result<(), CliError> {
    let results = folder.join("results");
    let part = part_of(&results);
    let write = || {
        fs::DirBuilder::new().mode(0o700).create(&part).map_err(CliError::io("make", &part))?;
        for task in view.summary().iter().flat_map(|summary| &summary.tasks) {
            let result = ScriptResult::new(task, view.logs, RESULT_OUTPUT_BYTES);
            let path = part.join(format!("{}.json", task.index));
            write_new(&path, dirigent_report::json::script(&result).as_bytes())
                .map_err(CliError::io("write", &path))?;
        }
        replace_folder(&part, &results).map_err(CliError::io("write", &results))
    };
    write().inspect_err(|_| drop(fs::remove_dir_all(&part)))
}

/// Puts a folder into the place of one that may be there.
fn replace_folder(new: &Path, place: &Path) -> std::io::Result<()> {
    let old = part_of(place);
    let had_one = fs::rename(place, &old).is_ok();
    fs::rename(new, place)?;
    if had_one { fs::remove_dir_all(old) } else { Ok(()) }
}

/// A run as it is recorded.
#[derive(Debug)]
pub struct Recorded {
    /// Its head.
    pub row: RunRow,
    /// The state folder it lies in.
    pub state_dir: PathBuf,
    /// Its own folder.
    pub folder: PathBuf,
    /// Its events.
    pub events: Vec<Event>,
    /// The hash of its history.
    pub hash: String,
    /// What they come to.
    pub state: State,
}

/// Finds the head of a run by what somebody calls it: nothing or `last` for the newest, its id or the beginning of one, its
/// folder. Also returns the state folder in which it lies.
///
/// # Errors
///
/// There is no such run; the state folder cannot be read.
pub fn find_run(
    name: Option<&Path>,
    state_dir: &Path,
    surroundings: &Surroundings,
) -> Result<(RunRow, PathBuf), CliError> {
    let name = name.unwrap_or_else(|| Path::new("last"));
    let named = surroundings.absolute(name);
    let state_dir = match named.parent().filter(|runs| runs.ends_with("runs") && named.is_dir()) {
        Some(runs) => runs.parent().unwrap_or(runs).to_owned(),
        None => state_dir.to_owned(),
    };
    let id = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy();
    let nothing = |error| match error {
        JournalError::NoRun { .. } => CliError::Nothing {
            message: match &*id {
                "last" => format!("no run is recorded in {}", shown(&state_dir)),
                id => format!("there is no run `{}` in {}", printable(id), shown(&state_dir)),
            },
            hint: Some("`dirigent runs` lists those there are; `dirigent run` starts one".to_owned()),
        },
        error => error.into(),
    };
    let row = Reader::open(&state_dir).and_then(|reader| reader.find(&id)).map_err(nothing)?;
    Ok((row, state_dir))
}

/// Reads a run back, and sees that its history was not altered.
///
/// # Errors
///
/// There is no such run; what is recorded is damaged.
pub fn read_run(
    name: Option<&Path>,
    state_dir: &Path,
    surroundings: &Surroundings,
) -> Result<Recorded, CliError> {
    let (row, state_dir) = find_run(name, state_dir, surroundings)?;
    let reader = Reader::open(&state_dir)?;
    let recorded = reader.recorded(&row.id)?;
    let folder = reader.run_folder(&row.id);
    let (hash, events) = (recorded.hash(), recorded.events);
    let state = State::fold(&events);
    Ok(Recorded { row, state_dir, folder, hash, events, state })
}

/// What somebody types to go on with a run. Functions live in the program that declared them; a workflow file has none.
pub fn goes_on(id: &RunId, state: &State) -> String {
    if !needs_program(state) {
        return format!("`dirigent resume {id}` goes on with it");
    }
    let is_flow = state.tasks().first().is_some_and(|body| body.spec.policy.decides);
    let call = match is_flow {
        true => format!("with_options(resume=\"{id}\")"),
        false => format!("Workflow.resume(\"{id}\")"),
    };
    format!("`{call}` goes on with it, in the program that declared it")
}

/// What somebody types to run again what failed, where there is something.
pub fn runs_again(id: &RunId, state: &State) -> Option<String> {
    let is_flow = state.tasks().first().is_some_and(|body| body.spec.policy.decides);
    match needs_program(state) {
        false => Some(format!("`dirigent retry {id}` runs again what failed")),
        true if is_flow => None,
        true => Some(format!(
            "`Workflow.run_sync(resume=\"{id}\", changed=\"rerun\")` runs again what failed, in the program that declared it"
        )),
    }
}

/// Whether only the program that declared it can carry a run on.
fn needs_program(state: &State) -> bool {
    let is_function = |task: &TaskState| matches!(task.spec.action, Action::Function(_));
    let is_of_file = state.header().is_some_and(|header| header.origin.source.is_some());
    !is_of_file && state.tasks().iter().any(is_function)
}

/// Asks something of a run that another process carries on, and returns who that is.
///
/// # Errors
///
/// Nobody carries it on; the request cannot be written.
pub fn ask(row: &RunRow, state_dir: &Path, asked: &Asked) -> Result<Holder, CliError> {
    let Some(engine) = &row.holder else {
        let (how, hint) = match row.status() {
            "interrupted" => {
                let events = Reader::open(state_dir)?.recorded(&row.id)?.events;
                ("its engine is gone", Some(goes_on(&row.id, &State::fold(&events))))
            }
            "cancelled" => ("it was cancelled", None),
            "failed" => ("it has failed", None),
            _ => ("it has succeeded", None),
        };
        return Err(CliError::Nothing { message: format!("run {} is not running: {how}", row.id), hint });
    };
    let request = serde_json::to_string(asked).expect("it is plain data");
    let actor = holder();
    let actor = format!("process {} on {}", actor.pid, actor.host);
    Store::shared(state_dir)?.ask(&row.id, now_ms(), &actor, &request)?;
    Ok(engine.clone())
}

/// Answers a task of a run, with a value or without. Where nobody carries the run on, it counts when that goes on.
///
/// # Errors
///
/// The answer cannot be written.
pub fn answer(
    run: &RunId,
    state_dir: &Path,
    task: TaskIndex,
    approved: bool,
    comment: &str,
    value: Option<&Value>,
    actor: &str,
) -> Result<(), CliError> {
    let store = Store::shared(state_dir)?;
    let value = value.map(|value| Arc::new(store.artifacts().keep_json(value.to_string())));
    let asked = Asked::Answer { task, approved, comment: comment.into(), value };
    let request = serde_json::to_string(&asked).expect("it is plain data");
    Ok(store.ask(run, now_ms(), actor, &request)?)
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Who holds the runs of this process.
pub fn holder() -> Holder {
    let origin = origin(None);
    let since = iso(now_ms(), origin.utc_offset_min);
    Holder { pid: origin.pid, host: origin.host, since }
}
