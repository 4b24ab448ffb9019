//! A workflow file with all the files whose workflows are tasks of it.

use super::{FileAction, FileTask, WorkflowFile};
use crate::diagnose::{Diagnostic, Severity, did_you_mean};
use crate::document::Document;
use crate::fault::ProjectError;
use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// How many files may stand in each other.
const MOST_LEVELS: usize = 16;

/// A workflow file and those it runs.
#[derive(Clone, Debug)]
pub struct Files {
    root: Arc<WorkflowFile>,
    /// Each file with the place of its first resource among those of the run, by its path.
    all: HashMap<PathBuf, (Arc<WorkflowFile>, u32)>,
    texts: Texts,
}

/// The texts of files, by their paths.
pub type Texts = BTreeMap<PathBuf, Arc<str>>;

impl Files {
    /// Reads the files that a document names, and those that they name; with `texts`, what these say instead of what lies there.
    ///
    /// # Errors
    ///
    /// One of them cannot be read or is wrong; one runs itself; a parameter is given that there is not.
    pub fn read(document: &Document, texts: Option<Texts>) -> Result<Self, ProjectError> {
        Self::within(document, WorkflowFile::read(document)?, texts)
    }

    /// The same for the jobs of a project file: for one with what it needs, or for all of them.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn read_jobs(
        document: &Document,
        job: Option<&str>,
        texts: Option<Texts>,
    ) -> Result<Self, ProjectError> {
        let jobs = WorkflowFile::read_jobs(document)?;
        let jobs = match job {
            Some(job) => jobs.up_to(job),
            None => jobs,
        };
        Self::within(document, jobs, texts)
    }

    fn within(document: &Document, root: WorkflowFile, texts: Option<Texts>) -> Result<Self, ProjectError> {
        let root = Arc::new(root);
        let texts = texts.unwrap_or_default();
        let mut files = Self { root: Arc::clone(&root), all: HashMap::new(), texts };
        let mut next = 0;
        files.add(&root, &document.source, &mut vec![clean(&document.path)], &mut next)?;
        Ok(files)
    }

    fn add(
        &mut self,
        file: &Arc<WorkflowFile>,
        source: &Arc<str>,
        within: &mut Vec<PathBuf>,
        next: &mut u32,
    ) -> Result<(), ProjectError> {
        self.all.insert(clean(&file.path), (Arc::clone(file), *next));
        *next += file.resources.len() as u32;
        for task in &file.tasks {
            let FileAction::Workflow { path, with } = &task.action else { continue };
            let path = clean(&file.folder().join(path));
            if within.contains(&path) || within.len() >= MOST_LEVELS {
                let message = format!("task `{}` runs a workflow that it is a part of", task.name);
                return Err(wrong(file, source, task, "workflow.cycle", message, None).into());
            }
            if !self.texts.contains_key(&path) && !path.is_file() {
                let message = format!("task `{}`: there is no file {}", task.name, path.display());
                let hint = Some("it is meant from the folder of this file".to_owned());
                return Err(wrong(file, source, task, "workflow.no_file", message, hint).into());
            }
            let inner = match self.all.get(&path) {
                Some((inner, _)) => Arc::clone(inner),
                None => {
                    let document = match self.texts.get(&path) {
                        Some(text) => Document::parse(&path, text)?,
                        None => Document::load(&path)?,
                    };
                    self.texts.insert(path.clone(), Arc::clone(&document.source));
                    let inner = Arc::new(WorkflowFile::read(&document)?);
                    within.push(path);
                    self.add(&inner, &document.source, within, next)?;
                    within.pop();
                    inner
                }
            };
            let names = || inner.params.iter().map(|param| param.name.as_str());
            if let Some((name, _)) = with.iter().find(|(name, _)| names().all(|known| known != name)) {
                let message =
                    format!("task `{}`: {} has no parameter `{name}`", task.name, inner.path.display());
                let hint = did_you_mean(name, names()).map(|meant| format!("did you mean `{meant}`?"));
                return Err(wrong(file, source, task, "workflow.unknown_value", message, hint).into());
            }
            let is_missing = |name: &str| with.iter().all(|(given, _)| given != name);
            if let Some(param) =
                inner.params.iter().find(|param| param.default.is_none() && is_missing(&param.name))
            {
                let message = format!(
                    "task `{}`: parameter `{}` of {} has no default",
                    task.name,
                    param.name,
                    inner.path.display()
                );
                let hint = Some(format!("give it under `with`: `{}: …`", param.name));
                return Err(wrong(file, source, task, "workflow.missing_param", message, hint).into());
            }
        }
        Ok(())
    }

    /// The file that was asked for.
    pub fn root(&self) -> &Arc<WorkflowFile> {
        &self.root
    }

    /// The file that a task of another runs, and the place of its first resource.
    pub fn inner(&self, outer: &WorkflowFile, path: &str) -> Option<&(Arc<WorkflowFile>, u32)> {
        self.all.get(&clean(&outer.folder().join(path)))
    }

    /// What the files that others run say.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Every file, in the order of their resources.
    pub fn all(&self) -> Vec<&Arc<WorkflowFile>> {
        let mut all: Vec<_> = self.all.values().collect();
        all.sort_by_key(|(file, first)| (*first, file.resources.is_empty()));
        all.into_iter().map(|(file, _)| file).collect()
    }
}

fn wrong(
    file: &WorkflowFile,
    source: &Arc<str>,
    task: &FileTask,
    code: &'static str,
    message: String,
    hint: Option<String>,
) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code,
        file: file.path.clone(),
        source: Arc::clone(source),
        span: task.span.clone(),
        message,
        label: None,
        hint,
    }
}

/// A path without `.` and, as far as names alone say, without `..`: to see that two are the same.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some() => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}
