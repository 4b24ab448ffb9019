//! A workflow file that was read and checked: every problem of it at once, each with its place.
//!
//! What depends on nothing but the file is settled here. Expressions are understood, not worked out: their values come with
//! a run.

mod action;
mod shell;
mod reading;
mod check;
mod read;
mod files;

use crate::decode::MOST_PROBLEMS;
use crate::diagnose::Diagnostic;
use crate::document::{Document, Span};
use crate::expression::Expression;
use crate::fault::ProjectError;
use crate::param::Param;
use crate::secret::SecretSource;
use crate::template::Template;
use crate::workflow_schema::{OutputKind, WholeFile};
use dirigent_core::spec::{Policy, Resource};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub use action::{Each, FileAction, MOST_ITEMS, Piece, Shape, arguments};
pub use files::{Files, Texts};

/// A workflow file, checked.
#[derive(Clone, Debug)]
pub struct WorkflowFile {
    /// What it is called.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// What it is for.
    pub description: Option<String>,
    /// Its parameters.
    pub params: Vec<Param>,
    /// What there is only so much of, pools and limits of fan-outs included.
    pub resources: Vec<Resource>,
    /// How long the whole may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Whether nothing new starts after a failure.
    pub fail_fast: bool,
    /// How many tasks may run at once.
    pub jobs: Option<u32>,
    /// Secrets by name, and where their values come from.
    pub secrets: Vec<(String, SecretSource)>,
    /// The tasks, in the file's order, those that clean up last.
    pub tasks: Vec<FileTask>,
}

/// A task of it.
#[derive(Clone, Debug)]
pub struct FileTask {
    /// What it is called.
    pub name: String,
    /// Where that is written.
    pub span: Span,
    /// What it is for.
    pub description: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// The tasks that must end first, by their places.
    pub needs: Vec<u32>,
    /// Under which conditions, as far as the file says.
    pub policy: Policy,
    /// It runs only where this holds.
    pub when: Option<Expression>,
    /// What it does.
    pub action: FileAction,
    /// It runs once for each of these.
    pub each: Option<Each>,
    /// Whether the file says so: what it runs for may not have been understood.
    has_each: bool,
    /// The resource that bounds how many of them run at once.
    pub limit: Option<u32>,
    /// It runs again until this holds.
    pub until: Option<Expression>,
    /// Variables of its environment; `None` removes one.
    pub env: Vec<(String, Option<Template>)>,
    /// Files of variables, meant from the file's folder.
    pub env_file: Vec<PathBuf>,
    /// The only variables it inherits; `None` for all.
    pub pass_env: Option<Vec<String>>,
    /// The variables that are secrets, each with the name of its secret.
    pub secrets: Vec<(String, String)>,
    /// The folder it runs in, meant from the file's.
    pub cwd: Option<Template>,
    /// What its standard output is.
    pub output: Option<OutputKind>,
    /// Files or globs that must be there afterwards.
    pub outputs: Vec<Template>,
    /// The same, and not empty.
    pub documents: Vec<Template>,
    /// Files or globs that it reads, where it need not run when nothing has changed.
    pub inputs: Vec<Template>,
}

impl WorkflowFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// It cannot be read; or everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ProjectError> {
        Self::read(&Document::load(path)?)
    }

    /// Checks a document.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn read(document: &Document) -> Result<Self, ProjectError> {
        Self::read_as(document, Kind::Workflow)
    }

    /// Checks the jobs of a project file: named tasks of one workflow.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub fn read_jobs(document: &Document) -> Result<Self, ProjectError> {
        Self::read_as(document, Kind::Jobs)
    }

    fn read_as(document: &Document, kind: Kind) -> Result<Self, ProjectError> {
        let mut problems = Vec::new();
        let file = read::read(document, kind, &mut problems);
        match file {
            Some(file) if problems.is_empty() => Ok(file),
            _ => Err(ProjectError::from_all(told(problems))),
        }
    }

    /// What remains of it where only this task and what it needs are to run. It is called after the task.
    #[must_use]
    pub fn up_to(mut self, name: &str) -> Self {
        let Some((last, _)) = self.task(name) else { return self };
        let mut is_wanted = vec![false; self.tasks.len()];
        let mut open = vec![last];
        while let Some(place) = open.pop() {
            if !std::mem::replace(&mut is_wanted[place as usize], true) {
                open.extend(&self.tasks[place as usize].needs);
            }
        }
        let place = |place: u32| is_wanted[..place as usize].iter().filter(|wanted| **wanted).count() as u32;
        for task in &mut self.tasks {
            task.needs.iter_mut().for_each(|need| *need = place(*need));
        }
        let mut wanted = is_wanted.iter();
        self.tasks.retain(|_| wanted.next() == Some(&true));
        name.clone_into(&mut self.name);
        self
    }

    /// A task by its name.
    pub fn task(&self, name: &str) -> Option<(u32, &FileTask)> {
        (0u32..).zip(&self.tasks).find(|(_, task)| task.name == name)
    }

    /// The folder that its paths are meant from.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// What a document is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The whole of it is a workflow.
    Workflow,
    /// It is a project file with jobs.
    Jobs,
}

/// In the file's order, each once.
fn told(mut problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    problems.sort_by_key(|problem| problem.span.start);
    problems.dedup_by(|a, b| a.span == b.span && a.message == b.message);
    problems.truncate(MOST_PROBLEMS);
    problems
}

/// The JSON Schema of workflow files, for editors.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(WholeFile).to_value();
    without_nothing(&mut schema);
    schema
}

/// Takes out that a key may stand without a value: it may be left out, and then it is.
fn without_nothing(schema: &mut Value) {
    if let Value::Object(entries) = schema {
        entries.retain(|key, value| key != "default" || !value.is_null());
        if let Some(Value::Array(types)) =
            entries.get_mut("type").filter(|types| types.as_array().is_some_and(|types| types.len() == 2))
        {
            types.retain(|kind| kind != "null");
        }
        if let Some(Value::Array(choices)) = entries.get_mut("anyOf") {
            choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        }
        entries.values_mut().for_each(without_nothing);
    } else if let Value::Array(items) = schema {
        items.iter_mut().for_each(without_nothing);
    }
}

/// The expressions of a task that are worked out when its turn comes, or before.
impl FileTask {
    /// All of them but those of `each`, `when` and `until`.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> + Clone {
        let env = self.env.iter().filter_map(|(_, value)| value.as_ref());
        let files = self.outputs.iter().chain(&self.documents).chain(&self.inputs);
        let templates = env.chain(self.cwd.as_ref()).chain(files);
        templates
            .flat_map(Template::expressions)
            .chain(self.action.expressions())
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Whether one of these speaks of what other tasks gave.
    pub fn speaks_of_tasks<'a>(mut expressions: impl Iterator<Item = &'a Expression>) -> bool {
        expressions.any(|it| it.references().iter().any(|path| path[0] == "tasks"))
    }
}
