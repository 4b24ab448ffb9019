//! Answers what the engine asks of a workflow file while a run goes on: whether a task is to run and what it does, what takes
//! its place, and what a program gave.
//!
//! One thread answers, in the order of asking: an answer takes microseconds. What is known of a task is found from its place
//! in the run, so that a run that is taken up again needs nothing else.

use super::around::Around;
use super::given::{given, missing, stdout};
use super::lower::{Standing, child, consists_of_others, files, holds, lowered, names, settles_late};
use crate::reuse::{Called, Looking, Seen};
use dirigent_core::decide::Report;
use dirigent_core::ids::TaskIndex;
use dirigent_core::outcome::Outcome;
use dirigent_core::spec::Task;
use dirigent_core::state::TaskStatus;
use dirigent_core::value::{Encoding, Kept};
use dirigent_engine::run::{Control, attempt_folder};
use dirigent_engine::{Functions, Judge};
use dirigent_journal::Store;
use dirigent_project::WorkflowFile;
use dirigent_project::expression::Expression;
use dirigent_project::param::{Days, Given, take};
use dirigent_project::workflow::{FileAction, FileTask, Files};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Knows a workflow file, and answers for it.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    files: Files,
    root: Arc<Scope>,
    around: Around,
    days: Days,
    store: Arc<Store>,
    /// The folder of the run.
    folder: PathBuf,
    control: OnceLock<Control>,
    places: Mutex<HashMap<TaskIndex, Place>>,
    scopes: Mutex<HashMap<TaskIndex, Arc<Scope>>>,
    items: Mutex<HashMap<TaskIndex, Arc<[Value]>>>,
}

/// A file with the parameters that its tasks have.
#[derive(Debug)]
struct Scope {
    file: Arc<WorkflowFile>,
    params: Value,
    first_resource: u32,
    /// The index of its first task.
    first: TaskIndex,
}

/// What a task of the run is in its file.
#[derive(Clone)]
struct Place {
    scope: Arc<Scope>,
    number: usize,
    /// What it runs for, where it runs once for each of several things.
    item: Option<Value>,
}

impl Place {
    fn task(&self) -> &FileTask {
        &self.scope.file.tasks[self.number]
    }

    /// Whether it runs for several things, and is not one of those that do.
    fn is_each(&self) -> bool {
        self.task().each.is_some() && self.item.is_none()
    }
}

/// What the engine asks.
enum Question {
    Condition(TaskIndex),
    Expansion(TaskIndex, u32),
    Reuse(TaskIndex),
}

struct Questions(Sender<Question>);

impl Host {
    /// One for a run with this folder, of files with these values (`{"params": …}`).
    pub fn new(
        files: Files,
        values: Value,
        around: Around,
        days: Days,
        store: Arc<Store>,
        folder: PathBuf,
    ) -> Self {
        let root =
            Scope { file: Arc::clone(files.root()), params: values, first_resource: 0, first: TaskIndex(0) };
        Self(Arc::new(Inner {
            files,
            root: Arc::new(root),
            around,
            days,
            store,
            folder,
            control: OnceLock::new(),
            places: Mutex::default(),
            scopes: Mutex::default(),
            items: Mutex::default(),
        }))
    }

    /// What the engine asks, and what answers when the run can be spoken to.
    pub fn functions(&self) -> (Box<dyn Functions>, impl FnOnce(Control) -> std::io::Result<()> + use<>) {
        let (ask, questions) = channel();
        let inner = Arc::clone(&self.0);
        let start = move |control: Control| {
            let _ = inner.control.set(control);
            let answer = move || inner.answer(&questions);
            std::thread::Builder::new().name("dirigent-file".to_owned()).spawn(answer).map(drop)
        };
        (Box::new(Questions(ask)), start)
    }
}

impl Functions for Questions {
    fn carry_out(&self, task: TaskIndex, attempt: u32, _: &Arc<Task>) {
        let _ = self.0.send(Question::Expansion(task, attempt));
    }

    fn ask(&self, task: TaskIndex, _: &Arc<Task>) {
        let _ = self.0.send(Question::Condition(task));
    }

    fn check(&self, task: TaskIndex) {
        let _ = self.0.send(Question::Reuse(task));
    }

    fn give_up(&self, _: TaskIndex, _: u32) {}

    fn ended(&self, _: TaskIndex) {}

    fn close(&self) {}
}

impl Inner {
    /// Until the engine asks nothing more.
    fn answer(&self, questions: &Receiver<Question>) {
        while let (Ok(question), Some(control)) = (questions.recv(), self.control.get()) {
            match question {
                Question::Condition(task) => self.answer_condition(control, task),
                Question::Expansion(task, attempt) => self.expand(control, task, attempt),
                Question::Reuse(task) => {
                    let looking =
                        Looking { run: Seen::Live(control), store: Some(&self.store), folder: &self.folder };
                    control.answer_known(looking.check(task, Ok(Called::default())));
                }
            }
            control.commit();
        }
    }

    fn answer_condition(&self, control: &Control, task: TaskIndex) {
        let answer = || -> Result<(), String> {
            let place = self.place(control, task)?;
            if let Some(when) = &place.task().when
                && !holds(&when.evaluate(&self.values(control, &place, std::iter::once(when))?)?, "when")?
            {
                control.answer_condition(task, Ok(false));
                return Ok(());
            }
            if consists_of_others(place.task()) || !settles_late(place.task()) {
                control.answer_condition(task, Ok(true));
                return Ok(());
            }
            let values = self.values(control, &place, place.task().expressions())?;
            let needs = self.needs(control, &place);
            control
                .settle(task, self.around.action(place.task(), place.scope.file.folder(), &values, &needs)?);
            Ok(())
        };
        if let Err(why) = answer() {
            control.answer_condition(task, Err(why.into()));
        }
    }

    fn expand(&self, control: &Control, task: TaskIndex, attempt: u32) {
        match self.children(control, task) {
            Ok(make) => {
                control.expand(task, attempt, |first| make(first).into_iter().map(Arc::new).collect())
            }
            Err(why) => {
                let outcome = Outcome::Unmet { why: why.into() };
                control.report(Report::new(task, attempt, outcome));
            }
        }
    }

    /// The tasks that take the place of one; they name each other by their indices.
    fn children(
        &self,
        control: &Control,
        task: TaskIndex,
    ) -> Result<impl FnOnce(TaskIndex) -> Vec<Task>, String> {
        let place = self.place(control, task)?;
        let own =
            control.look(|state| state.task(task).map(|it| it.spec.name.to_string())).unwrap_or_default();
        let scope = &place.scope;
        let mut tasks = if place.is_each() {
            let items = self.items(control, task, &place)?;
            let needs = self.needs(control, &place);
            let mut values = self.values(control, &place, place.task().expressions())?;
            let standing = Standing { first: TaskIndex(0), prefix: "", first_resource: scope.first_resource };
            let mut tasks = Vec::with_capacity(items.len());
            for (item, name) in items.iter().zip(names(&own, &items)) {
                values["item"] = item.clone();
                let made =
                    child(&scope.file, place.task(), name.clone(), &values, &needs, &self.around, standing);
                tasks.push(made.map_err(|why| format!("{name}: {why}"))?);
            }
            tasks
        } else {
            let scope = self.scope_within(control, task, &place)?;
            let prefix = format!("{own}/");
            let standing =
                Standing { first: TaskIndex(0), prefix: &prefix, first_resource: scope.first_resource };
            lowered(&scope.file, &scope.params, &self.around, standing)?
        };
        Ok(move |first: TaskIndex| {
            for task in &mut tasks {
                task.needs.iter_mut().for_each(|need| need.0 += first.0);
            }
            tasks
        })
    }

    /// What a task runs once for each of.
    fn items(&self, control: &Control, task: TaskIndex, place: &Place) -> Result<Arc<[Value]>, String> {
        let held = || self.items.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(items) = held().get(&task) {
            return Ok(Arc::clone(items));
        }
        let Some(each) = &place.task().each else { return Ok(Arc::default()) };
        let values = self.values(control, place, each.expressions())?;
        let items: Arc<[Value]> = each.items(&values).map_err(|why| format!("`each`: {why}"))?.into();
        held().insert(task, Arc::clone(&items));
        Ok(items)
    }

    /// The file that takes the place of a task, with its parameters. The index of its first task is not known before it stands.
    fn scope_within(&self, control: &Control, task: TaskIndex, place: &Place) -> Result<Arc<Scope>, String> {
        let FileAction::Workflow { path, with } = &place.task().action else {
            return Err("it consists of no other tasks".to_owned());
        };
        let first = control.look(|state| state.parts(task).next());
        let known = self.scopes.lock().unwrap_or_else(PoisonError::into_inner).get(&task).cloned();
        if let Some(scope) = known.filter(|scope| first.is_none_or(|first| scope.first == first)) {
            return Ok(scope);
        }
        let Some((file, first_resource)) = self.files.inner(&place.scope.file, path) else {
            return Err(format!("{path} was not read"));
        };
        let values = self.values(control, place, place.task().expressions())?;
        let given = with.iter().map(|(name, shape)| Ok((name.clone(), Given::Value(shape.value(&values)?))));
        let given: Vec<(String, Given)> = given.collect::<Result<_, String>>()?;
        let params = take(&file.params, given, &self.days).map_err(|wrong| wrong.join("; "))?;
        let scope = Arc::new(Scope {
            file: Arc::clone(file),
            params: super::lower::with_params(params),
            first_resource: *first_resource,
            first: first.unwrap_or(TaskIndex(0)),
        });
        if first.is_some() {
            self.scopes.lock().unwrap_or_else(PoisonError::into_inner).insert(task, Arc::clone(&scope));
        }
        Ok(scope)
    }

    /// What a task is in its file.
    fn place(&self, control: &Control, task: TaskIndex) -> Result<Place, String> {
        if let Some(place) = self.places.lock().unwrap_or_else(PoisonError::into_inner).get(&task) {
            return Ok(place.clone());
        }
        let (parent, position) = control.look(|state| {
            let parent = state.task(task).and_then(|it| it.parent);
            // The tasks of which one consists stand in a row.
            let first = parent.and_then(|parent| state.parts(parent).next());
            (parent, first.and_then(|first| task.usize().checked_sub(first.usize())))
        });
        let place = match (parent, position) {
            (None, _) => Place { scope: Arc::clone(&self.root), number: task.usize(), item: None },
            (Some(parent), Some(position)) => {
                let whole = self.place(control, parent)?;
                if whole.is_each() {
                    let item = self.items(control, parent, &whole)?.get(position).cloned();
                    Place { item, ..whole }
                } else {
                    let scope = self.scope_within(control, parent, &whole)?;
                    Place { scope, number: position, item: None }
                }
            }
            (Some(_), None) => return Err("it is no part of what it was a part of".to_owned()),
        };
        if place.number >= place.scope.file.tasks.len() {
            return Err("it is no task of its file".to_owned());
        }
        self.places.lock().unwrap_or_else(PoisonError::into_inner).insert(task, place.clone());
        Ok(place)
    }

    /// What expressions of a task may speak of.
    fn values<'a>(
        &self,
        control: &Control,
        place: &Place,
        expressions: impl Iterator<Item = &'a Expression> + Clone,
    ) -> Result<Value, String> {
        let mut values = place.scope.params.clone();
        if FileTask::speaks_of_tasks(expressions.clone()) {
            let scope = &place.scope;
            let wants_stdout = { expressions }.any(|it| it.text().contains("stdout"));
            let mut tasks = Map::new();
            for need in &place.task().needs {
                let name = &scope.file.tasks[*need as usize].name;
                let told = self.told(control, TaskIndex(scope.first.0 + need), wants_stdout);
                tasks.insert(name.clone(), told.map_err(|why| format!("`tasks.{name}.value`: {why}"))?);
            }
            values["tasks"] = Value::Object(tasks);
        }
        if let Some(item) = &place.item {
            values["item"] = item.clone();
        }
        Ok(values)
    }

    /// What expressions may say of another task.
    fn told(&self, control: &Control, need: TaskIndex, wants_stdout: bool) -> Result<Value, String> {
        let (status, exit_code, folder) = control.look(|state| {
            let it = state.task(need);
            let logs = it.and_then(|it| it.reused.as_ref()).and_then(|reused| reused.logs.clone());
            (
                it.map_or(TaskStatus::Pending, |it| it.status),
                it.and_then(|it| it.ended.as_ref()?.outcome.exit_code()),
                logs.map_or_else(|| Err(it.map_or(0, |it| it.attempts)), Ok),
            )
        });
        let mut told = Map::new();
        told.insert("status".to_owned(), status.name().into());
        if let Some(exit_code) = exit_code {
            told.insert("exit_code".to_owned(), exit_code.into());
        }
        if status == TaskStatus::Completed {
            told.insert("value".to_owned(), self.value(control, need)?);
        }
        if wants_stdout {
            let folder = match folder {
                Ok(logs) => self.folder.join("../..").join(&*logs),
                Err(attempts) => self.folder.join(attempt_folder(need, attempts)),
            };
            told.insert("stdout".to_owned(), stdout(&folder).into());
        }
        Ok(Value::Object(told))
    }

    /// What a task that completed gave: of a fan-out a list, of a workflow a table.
    fn value(&self, control: &Control, task: TaskIndex) -> Result<Value, String> {
        let (kept, parts) = control.look(|state| {
            let kept = state.task(task).and_then(|it| it.ended.as_ref()?.value.clone());
            (kept, state.parts(task).collect::<Vec<_>>())
        });
        if let Some(kept) = kept {
            return self.load(&kept);
        }
        let place = self.place(control, task)?;
        if parts.is_empty() && !place.is_each() {
            return Ok(Value::Null);
        }
        if place.is_each() {
            return parts.into_iter().map(|part| self.value(control, part)).collect();
        }
        let mut table = Map::new();
        for part in parts {
            let name = self.place(control, part)?.task().name.clone();
            table.insert(name, self.value(control, part)?);
        }
        Ok(Value::Object(table))
    }

    fn load(&self, kept: &Kept) -> Result<Value, String> {
        let told = |error: serde_json::Error| error.to_string();
        match kept {
            Kept::Inline { encoding: Encoding::Json, text } => serde_json::from_str(text).map_err(told),
            Kept::Artifact { encoding: Encoding::Json, hash, .. } => {
                let bytes = self.around.artifacts.load(hash).map_err(|error| error.to_string())?;
                serde_json::from_slice(&bytes).map_err(told)
            }
            Kept::Inline { .. } | Kept::Artifact { .. } => Err("only Python can read it".to_owned()),
            Kept::NotKept { why } => Err(format!("it was not kept: {why}")),
        }
    }

    /// What its needs gave, for a function that takes them by name; those that cannot be handed over are left out.
    fn needs(&self, control: &Control, place: &Place) -> Map<String, Value> {
        if !matches!(place.task().action, FileAction::Python { .. }) {
            return Map::new();
        }
        let scope = &place.scope;
        let value = |need: &u32| {
            let index = TaskIndex(scope.first.0 + need);
            let has_value =
                control.look(|state| state.task(index).is_some_and(|it| it.status == TaskStatus::Completed));
            let value = has_value.then(|| self.value(control, index).ok())??;
            Some((scope.file.tasks[*need as usize].name.clone(), value))
        };
        place.task().needs.iter().filter_map(value).collect()
    }
}

impl Judge for Host {
    fn judge(&self, mut report: Report, folder: &Path) -> Report {
        let inner = &self.0;
        let Some(control) = inner.control.get().filter(|_| report.ended.outcome.is_success()) else {
            return report;
        };
        match inner.look_at(control, &report, folder) {
            Ok((Some(outcome), value)) => (report.ended.outcome, report.ended.value) = (outcome, value),
            Ok((None, value)) => report.ended.value = value,
            Err(why) => report.ended.outcome = Outcome::Unmet { why: why.into() },
        }
        report
    }
}

/// Another outcome than the one reported, where there is one, and what the attempt gave.
type Judged = (Option<Outcome>, Option<Arc<Kept>>);

impl Inner {
    fn look_at(&self, control: &Control, report: &Report, folder: &Path) -> Result<Judged, String> {
        let place = self.place(control, report.task)?;
        let task = place.task();
        let value = given(report, folder, task.output)?;
        if !task.outputs.is_empty() || !task.documents.is_empty() {
            let values = self.values(control, &place, task.expressions())?;
            let own = place.scope.file.folder();
            let outputs = files(&task.outputs, own, &values)?;
            let documents = files(&task.documents, own, &values)?;
            let all =
                outputs.iter().map(|path| (path, false)).chain(documents.iter().map(|path| (path, true)));
            if let Some(why) =
                all.filter_map(|(path, is_document)| missing(path.as_path(), is_document)).next()
            {
                return Err(why);
            }
        }
        let mut outcome = None;
        if let Some(until) = &task.until {
            let mut values = self.values(control, &place, std::iter::once(until))?;
            values["value"] = value.clone().unwrap_or_default();
            values["exit_code"] = report.ended.outcome.exit_code().into();
            values["attempt"] = report.attempt.into();
            values["stdout"] = stdout(folder).into();
            if !holds(&until.evaluate(&values)?, "until")? {
                outcome = Some(Outcome::Unfinished);
            }
        }
        let kept = value.map(|value| Arc::new(self.around.artifacts.keep_json(value.to_string())));
        Ok((outcome, kept))
    }
}
