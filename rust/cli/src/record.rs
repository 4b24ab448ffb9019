//! Where runs are kept: the state folder, a folder for each run, and the reports in it.

use crate::fault::{CliError, shown};
use crate::surroundings::Surroundings;
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::state::State;
use dirigent_core::text::plain_output;
use dirigent_engine::{events_file, run::attempt_folder};
use dirigent_project::Config;
use dirigent_report::{Format, Logs, RunView, ScriptResult, StreamName};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of each stream that a script's own JSON file holds.
const RESULT_OUTPUT_BYTES: usize = 1 << 20;

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

/// Makes the folder of a run, private, and the state folder with its `.gitignore` where it is new.
///
/// # Errors
///
/// The file system refuses.
pub fn make_run_folder(state_dir: &Path, run: &RunId) -> Result<PathBuf, CliError> {
    let folder = state_dir.join("runs").join(run.as_str());
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(CliError::io("make", &folder))?;
    let ignore = state_dir.join(".gitignore");
    if !ignore.exists() {
        write_whole(&ignore, b"*\n")?;
    }
    Ok(folder)
}

/// The folder of the newest run in a state folder.
///
/// # Errors
///
/// There is none.
pub fn last_run(state_dir: &Path) -> Result<PathBuf, CliError> {
    let runs = state_dir.join("runs");
    let folders = fs::read_dir(&runs).into_iter().flatten().flatten().map(|entry| entry.path());
    folders.filter(|folder| folder.join(events_file::NAME).is_file()).max().ok_or_else(|| CliError::Nothing {
        message: format!("no run is recorded in {}", shown(state_dir)),
        hint: Some("start one with `dirigent run`, or name the folder of a run".to_owned()),
    })
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
    let view = RunView { state, logs: &logs, folder: Some(&shown_folder) };
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

/// The folder of a run as somebody names it: nothing or `last` for the newest, a folder, or an id in the state folder.
///
/// # Errors
///
/// There is no such run.
pub fn find_run(
    name: Option<&Path>,
    state_dir: &Path,
    surroundings: &Surroundings,
) -> Result<PathBuf, CliError> {
    let Some(name) = name.filter(|name| name.as_os_str() != "last") else {
        return last_run(state_dir);
    };
    let candidates = [surroundings.absolute(name), state_dir.join("runs").join(name)];
    candidates.into_iter().find(|folder| folder.join(events_file::NAME).is_file()).ok_or_else(|| {
        CliError::Nothing {
            message: format!("{} is neither the folder of a run nor the id of one", shown(name)),
            hint: Some(format!("look into {}", shown(&state_dir.join("runs")))),
        }
    })
}

/// Reads a recorded run back.
///
/// # Errors
///
/// Its events cannot be read.
pub fn read_run(folder: &Path) -> Result<State, CliError> {
    Ok(State::fold(&events_file::read(folder)?))
}
