//! Whether a task need not run: what it depends on, each part with a hash, and whether the journal knows what came of that.

use crate::fault::CliError;
use crate::record::now_ms;
use dirigent_core::decide::{Input, decide};
use dirigent_core::event::{Event, Fact, Reused};
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::spec::{Action, Command, Task, Workflow};
use dirigent_core::state::{State, TaskStatus};
use dirigent_core::value::Kept;
use dirigent_engine::run::Control;
use dirigent_journal::known::{digest, digest_of, files, key_of};
use dirigent_journal::{Reader, RunRow, Store, attempt_folder, has_records};
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Parts = Vec<(Box<str>, Box<str>)>;
type PartList = [(Box<str>, Box<str>)];

/// What is needed to look.
#[derive(Clone, Copy, Debug)]
pub struct Looking<'a> {
    /// The run.
    pub run: Seen<'a>,
    /// The state folder; `None` where nothing is recorded.
    pub store: Option<&'a Store>,
    /// The folder of the run.
    pub folder: &'a Path,
}

/// A run that goes on, or one as it stands.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It goes on.
    Live(&'a Control),
    /// It is only thought of: nothing is done about it, files included.
    Thought(&'a State),
}

impl Seen<'_> {
    fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        match self {
            Self::Live(control) => control.look(look),
            Self::Thought(state) => look(state),
        }
    }
}

/// The code of a function without a hash of what it is called with, which counts by itself.
fn alone(code: &str) -> &str {
    code.match_indices(':').nth(1).map_or(code, |(end, _)| &code[..end])
}

/// How a function is called, as far as its task does not say so.
#[derive(Debug, Default)]
pub struct Called {
    /// A hash of what it is called with, beside the values of its needs.
    pub arguments: Option<Box<str>>,
    /// What its needs are called, where their names say where they stand in the run.
    pub needs: Option<Vec<String>>,
}

impl Looking<'_> {
    /// Looks whether a task need not run. `called` says how its function is called, or why that cannot be told.
    pub fn check(&self, task: TaskIndex, called: Result<Called, String>) -> Input {
        let parts = called.and_then(|called| self.parts(task, called));
        self.answer(task, parts)
    }

    /// Everything that a task depends on, or why that cannot be told.
    fn parts(&self, task: TaskIndex, called: Called) -> Result<Parts, String> {
        let mut parts: Parts =
            called.arguments.map(|hash| ("its arguments".into(), hash)).into_iter().collect();
        let spec = self
            .run
            .look(|state| state.task(task).map(|it| Arc::clone(&it.spec)))
            .ok_or("there is no such task")?;
        let what: Box<str> = match &spec.action {
            Action::Function(function) => {
                let code = function.code.as_deref().map(alone).unwrap_or_default();
                format!("{} {code}", function.name).into()
            }
            action => digest(serde_json::to_string(action).unwrap_or_default().as_bytes()).into(),
        };
        parts.push((
            if matches!(spec.action, Action::Function(_)) { "its code" } else { "what it runs" }.into(),
            what,
        ));
        for (name, path) in code_of(&spec.action) {
            let hash = digest_of(&path).map_err(|error| error.to_string())?;
            parts.push((name.into(), hash.into()));
        }
        for (place, need) in spec.needs.iter().enumerate() {
            let name = || self.run.look(|state| state.task(*need).map(|need| need.spec.name.to_string()));
            let called = called.needs.as_ref().and_then(|names| names.get(place).cloned());
            let name = called.or_else(name).unwrap_or_default();
            let hash =
                self.digest_of_need(*need).map_err(|why| format!("what `{name}` gave has no hash: {why}"))?;
            parts.push((format!("what `{name}` gave").into(), hash.into()));
        }
        let reuse = spec.policy.reuse.clone().unwrap_or_default();
        for path in reuse.inputs.iter().flat_map(|pattern| files(pattern.as_path())) {
            let hash = digest_of(&path).unwrap_or_else(|_| "it is not there".to_owned());
            parts.push((format!("file {}", path.display()).into(), hash.into()));
        }
        for name in &reuse.env {
            let value = std::env::var_os(name);
            let hash =
                value.map_or_else(|| "it is not set".to_owned(), |value| digest(value.as_encoded_bytes()));
            parts.push((format!("variable {name}").into(), hash.into()));
        }
        Ok(parts)
    }

    /// The hash of the value of a task.
    fn digest_of_need(&self, need: TaskIndex) -> Result<String, String> {
        enum Found {
            Hash(String),
            Parts(Vec<TaskIndex>),
            Command(i32, PathBuf),
        }
        let look = |state: &State| -> Result<Found, String> {
            let it = state.task(need).ok_or("there is no such task")?;
            if it.status != TaskStatus::Completed {
                return Ok(Found::Hash(it.status.name().to_owned()));
            }
            let ended = it.ended.as_deref();
            match ended.and_then(|ended| ended.value.as_deref()) {
                Some(Kept::Inline { text, .. }) => return Ok(Found::Hash(digest(text.as_bytes()))),
                Some(Kept::Artifact { hash, .. }) => return Ok(Found::Hash(hash.to_string())),
                Some(Kept::NotKept { why }) => return Err(why.to_string()),
                None => {}
            }
            if it.consists_of_tasks() {
                return Ok(Found::Parts(state.parts(need).collect()));
            }
            let reused = it.reused.as_ref().filter(|_| it.spec.action.command().is_some());
            if let Some(reused) = reused {
                let state_dir = self.folder.ancestors().nth(2).unwrap_or(self.folder);
                return Ok(Found::Command(0, state_dir.join(reused.logs.as_deref().unwrap_or_default())));
            }
            match ended.and_then(|ended| ended.outcome.exit_code()) {
                Some(code) => Ok(Found::Command(code, self.folder.join(attempt_folder(need, it.attempts)))),
                None => Ok(Found::Hash("completed".to_owned())),
            }
        };
        match self.run.look(look)? {
            Found::Hash(hash) => Ok(hash),
            Found::Parts(parts) => {
                let hashes = parts.into_iter().map(|part| self.digest_of_need(part));
                Ok(digest(hashes.collect::<Result<Vec<_>, _>>()?.join(" ").as_bytes()))
            }
            Found::Command(exit_code, folder) => {
                let written = digest_of(&folder.join("stdout.log")).unwrap_or_default();
                Ok(digest(format!("{exit_code} {written}").as_bytes()))
            }
        }
    }

    fn answer(&self, task: TaskIndex, parts: Result<Parts, String>) -> Input {
        let unknown = |why: Box<str>| Input::NotReusable {
            task,
            key: None,
            parts: vec![("why nobody can tell".into(), why)],
        };
        let mut parts = match parts {
            Ok(parts) => parts,
            Err(why) => return unknown(why.into()),
        };
        let Some(store) = self.store else { return unknown("the run is not recorded".into()) };
        let key = key_of(&mut parts);
        let ttl_ms = self.run.look(|state| state.task(task)?.spec.policy.reuse.as_ref()?.ttl_ms);
        let is_fresh =
            |at_ms: i64| ttl_ms.is_none_or(|ttl_ms| now_ms().saturating_sub_unsigned(ttl_ms) < at_ms);
        let known = store.known(&key).ok().flatten().filter(|known| is_fresh(known.at_ms));
        let artifacts = store.artifacts();
        let usable = known.filter(|known| {
            let has_value =
                known.value.as_ref().and_then(Kept::artifact).is_none_or(|hash| artifacts.load(hash).is_ok());
            let has_files = match self.run {
                Seen::Live(_) => known.restore(&artifacts).is_ok(),
                Seen::Thought(_) => known.can_be_restored(&artifacts),
            };
            has_value && has_files
        });
        match usable {
            Some(known) => {
                let reused = Reused {
                    from: known.from,
                    saved_us: known.saved_us,
                    key: Some(key.into()),
                    logs: known.logs.map(Into::into),
                    value: known.value.map(Arc::new),
                };
                Input::Reused { task, reused }
            }
            None => Input::NotReusable { task, key: Some(key.into()), parts },
        }
    }
}

/// The files whose bytes are what a task does, each with what it is called.
fn code_of(action: &Action) -> Vec<(&'static str, PathBuf)> {
    match action {
        Action::Script(script) => vec![("its script", script.path.as_path().to_owned())],
        Action::Command(command) => match module_of(command) {
            Some(module) => vec![("its module", module)],
            None => program_files(command),
        },
        Action::Function(_) | Action::Approval(_) => Vec::new(),
    }
}

/// The program itself, where it is named by a path of the user's own, and the script that an interpreter is given.
fn program_files(command: &Command) -> Vec<(&'static str, PathBuf)> {
    let cwd = command.cwd.as_path();
    let script = command.argv.get(1).map(|arg| cwd.join(arg.as_path()));
    let is_script = |path: &PathBuf| {
        path.extension().is_some_and(|extension| {
            ["py", "sh", "bash", "rb", "js", "pl", "R"].iter().any(|it| extension == *it)
        }) && path.is_file()
    };
    let program = command.argv.first().map(|program| program.as_path().to_owned());
    let is_own = |path: &PathBuf| path.starts_with(cwd) && path.is_file();
    let program = program.filter(is_own).map(|path| ("its program", path));
    let script = script.filter(is_script).map(|path| ("its script", path));
    program.into_iter().chain(script).collect()
}

/// The file of the module whose function a command calls, where it lies beside the workflow.
fn module_of(command: &Command) -> Option<PathBuf> {
    let argv: Vec<_> = command.argv.iter().map(|arg| arg.shown()).collect();
    let [_, _, function] = argv.as_slice() else { return None };
    if !command.env.iter().any(|(name, _)| name.shown().starts_with("DIRIGENT_ARGUMENTS")) {
        return None;
    }
    let module = function.split(':').next()?.replace('.', "/");
    let (_, paths) = command.env.iter().find(|(name, _)| name.shown() == "PYTHONPATH")?;
    std::env::split_paths(paths.as_ref()?.as_os_str())
        .flat_map(|folder| [folder.join(format!("{module}.py")), folder.join(&module).join("__init__.py")])
        .find(|path| path.is_file())
}

/// How many runs before it are looked at for what was different then.
const MOST_LOOKED_AT: usize = 30;

/// Why a task has to run that need not where nothing is different: what is, compared with the last time in one of these runs.
///
/// # Errors
///
/// A run cannot be read.
pub fn why_not_reused<'a>(
    reader: &Reader,
    before: impl Iterator<Item = &'a RunRow>,
    name: &str,
    key: Option<&str>,
    parts: &PartList,
) -> Result<Vec<String>, CliError> {
    let told = |lines: Vec<String>| lines.into_iter().map(|line| format!("it had to run: {line}")).collect();
    let Some(key) = key else { return Ok(told(parts.iter().map(|(_, why)| why.to_string()).collect())) };
    for row in before.take(MOST_LOOKED_AT) {
        let events = reader.recorded(&row.id)?.events;
        let state = State::fold(&events);
        let there = state.tasks().iter().position(|task| *task.spec.name == *name);
        let Some(there) = there.and_then(|there| u32::try_from(there).ok()) else { continue };
        let Some((Some(old_key), old)) = declined(&events, TaskIndex(there)) else { continue };
        if old_key == key {
            return Ok(told(vec!["what it did before is gone, or was done too long ago".to_owned()]));
        }
        return Ok(told(changes(old, parts)));
    }
    Ok(told(vec!["nothing like it was recorded".to_owned()]))
}

/// What a task was found to depend on, with its key, before it ran.
pub fn declined(events: &[Event], task: TaskIndex) -> Option<(Option<&str>, &PartList)> {
    events.iter().rev().find_map(|event| match &event.fact {
        Fact::ReuseDeclined { task: its, key, parts } if *its == task => Some((key.as_deref(), &parts[..])),
        _ => None,
    })
}

fn changes(old: &PartList, new: &PartList) -> Vec<String> {
    let hash = |parts: &PartList, name: &str| {
        parts.iter().find(|(its, _)| **its == *name).map(|(_, hash)| hash.clone())
    };
    let mut changes: Vec<String> = new
        .iter()
        .filter_map(|(name, new)| match hash(old, name) {
            None => Some(format!("{name} is new")),
            Some(old) if old != *new => Some(format!("{name} changed")),
            Some(_) => None,
        })
        .collect();
    changes.extend(
        old.iter().filter(|(name, _)| hash(new, name).is_none()).map(|(name, _)| format!("{name} is gone")),
    );
    changes
}

/// Why tasks have to run, by their places.
pub type Reasons = Vec<(TaskIndex, String)>;

/// What a run of a workflow would take over, as far as that can be told before it runs; and why the others that might have been
/// have to run, by their tasks.
///
/// # Errors
///
/// What is recorded cannot be read.
pub fn foreseen(
    workflow: &Workflow,
    known: &[Input],
    state_dir: &Path,
) -> Result<(Vec<Input>, Reasons), CliError> {
    let (mut reused, mut reasons) = (known.to_vec(), Vec::new());
    let may_be = |task: &Arc<Task>| task.policy.reuse.is_some() && task.policy.skip.is_none();
    if !has_records(state_dir)? || !workflow.tasks().iter().any(may_be) {
        return Ok((reused, reasons));
    }
    let (store, reader) = (Store::shared(state_dir)?, Reader::open(state_dir)?);
    let rows = reader.runs(MOST_LOOKED_AT, Some(workflow.name()))?;
    let mut state = State::thought_of(workflow);
    let apply = |state: &mut State, input: &Input| {
        for fact in decide(state, input.clone(), 0) {
            state.apply(&Event { seq: state.next_seq(), at_ms: 0, fact });
        }
    };
    known.iter().for_each(|input| apply(&mut state, input));
    let mut open: Vec<TaskIndex> = (0u32..)
        .map(TaskIndex)
        .zip(workflow.tasks())
        .filter(|(_, task)| may_be(task))
        .map(|(index, _)| index)
        .collect();
    loop {
        let is_known = |state: &State, task: TaskIndex| {
            state.task(task).is_some_and(|it| it.status == TaskStatus::Completed)
        };
        let next = open.iter().position(|task| {
            let it = &workflow.tasks()[task.usize()];
            !is_known(&state, *task) && it.needs.iter().all(|need| is_known(&state, *need))
        });
        let Some(task) = next.map(|place| open.remove(place)) else { break };
        let spec = &workflow.tasks()[task.usize()];
        // What it does is settled when its condition is asked for.
        if spec.policy.has_condition {
            reasons.push((task, "what it does depends on what others give".to_owned()));
            continue;
        }
        let looking = Looking {
            run: Seen::Thought(&state),
            store: Some(&store),
            folder: &store.run_folder(&thought()),
        };
        match looking.check(task, Ok(Called::default())) {
            input @ Input::Reused { .. } => {
                apply(&mut state, &input);
                reused.push(input);
            }
            Input::NotReusable { key, parts, .. } => {
                let why = why_not_reused(&reader, rows.iter(), &spec.name, key.as_deref(), &parts)?;
                reasons.push((task, why.join("; ").replace("it had to run: ", "")));
            }
            _ => {}
        }
    }
    reasons.extend(open.into_iter().map(|task| (task, "something that it needs runs again".to_owned())));
    Ok((reused, reasons))
}

/// The name of a run that is only thought of.
fn thought() -> RunId {
    RunId::try_from("thought".to_owned()).expect("it has letters alone")
}
