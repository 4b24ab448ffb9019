//! A workflow file that is to be run: read with those it runs, given its parameters, and made into tasks.

use super::around::Around;
use super::host::Host;
use super::lower::{Standing, lowered, with_params};
use crate::fault::CliError;
use crate::python;
use crate::record::now_ms;
use crate::surroundings::{Surroundings, origin};
use dirigent_core::event::{Source, SourceFile};
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::{Resource, Workflow};
use dirigent_journal::{Artifacts, Store};
use dirigent_project::param::{Days, Given, take};
use dirigent_project::recognise::Recogniser;
use dirigent_project::workflow::{FileAction, FileTask, Files};
use dirigent_project::{Config, Document};
use dirigent_report::quantity::iso;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A workflow file with what a run of it is given.
#[derive(Clone, Debug)]
pub struct Opened {
    /// It and those it runs.
    pub files: Files,
    /// Its tasks.
    pub workflow: Workflow,
    /// What there is only so much of.
    pub resources: Vec<Resource>,
    /// What is recorded of the file.
    pub source: Arc<Source>,
    values: Value,
    around: Around,
    days: Days,
}

/// Opens a workflow file.
///
/// # Errors
///
/// It is wrong; a parameter is missing or makes no sense; something that depends on parameters alone cannot be worked out.
pub fn open(
    document: &Document,
    given: Vec<(String, Given)>,
    config: &Config,
    surroundings: &Surroundings,
    state_dir: &Path,
) -> Result<Opened, CliError> {
    let files = Files::read(document, None)?;
    let days = days(now_ms());
    let params = take(&files.root().params, given, &days).map_err(|wrong| CliError::Usage {
        message: wrong.join("\n       "),
        hint: Some("give a parameter by `--param NAME=VALUE`; `dirigent list FILE` tells them".to_owned()),
    })?;
    opened(files, document, None, params, days, config, surroundings, state_dir)
}

/// Opens a job of a project file, with what it needs.
///
/// # Errors
///
/// They are wrong.
pub fn open_job(
    document: &Document,
    job: &str,
    config: &Config,
    surroundings: &Surroundings,
    state_dir: &Path,
) -> Result<Opened, CliError> {
    let files = Files::read_jobs(document, Some(job), None)?;
    opened(files, document, Some(job), Map::new(), days(now_ms()), config, surroundings, state_dir)
}

/// Opens a workflow file as it was when a run of it began, on the day that was then.
///
/// # Errors
///
/// A script that it runs is no longer there.
pub fn reopen(
    source: &Source,
    began_at_ms: i64,
    config: &Config,
    surroundings: &Surroundings,
    state_dir: &Path,
) -> Result<Opened, CliError> {
    let document = Document::parse(source.path.as_path(), &source.text)?;
    let texts = source.files.iter().map(|file| (file.path.as_path().to_owned(), Arc::clone(&file.text)));
    let texts = Some(texts.collect());
    let files = match source.entry.as_deref() {
        Some(job) => Files::read_jobs(&document, Some(job), texts)?,
        None => Files::read(&document, texts)?,
    };
    let params: Map<String, Value> = serde_json::from_str(&source.params).unwrap_or_default();
    opened(
        files,
        &document,
        source.entry.as_deref(),
        params,
        days(began_at_ms),
        config,
        surroundings,
        state_dir,
    )
}

#[expect(clippy::too_many_arguments, reason = "what there is to know, from four places")]
fn opened(
    files: Files,
    document: &Document,
    entry: Option<&str>,
    params: Map<String, Value>,
    days: Days,
    config: &Config,
    surroundings: &Surroundings,
    state_dir: &Path,
) -> Result<Opened, CliError> {
    let root = Arc::clone(files.root());
    let artifacts = Artifacts::of(state_dir);
    let around = Around {
        python: python::find(config, surroundings, config.root().unwrap_or(root.folder())).program,
        python_path: std::env::var_os("PYTHONPATH"),
        recogniser: Recogniser::new(&config.interpreters()),
        output_bytes: config.run.output_limit_mb.value << 20,
        caller: artifacts.path(&dirigent_journal::known::digest(CALLER.as_bytes())),
        artifacts,
    };
    let texts = files.texts().iter();
    let source = Arc::new(Source {
        path: document.path.clone().into(),
        entry: entry.map(Into::into),
        text: Arc::clone(&document.source),
        params: Value::Object(params.clone()).to_string().into(),
        files: texts
            .map(|(path, text)| SourceFile { path: path.clone().into(), text: Arc::clone(text) })
            .collect(),
    });
    let values = with_params(params);
    let standing = Standing { first: TaskIndex(0), prefix: "", first_resource: 0 };
    let tasks = lowered(&root, &values, &around, standing)
        .map_err(|message| CliError::Usage { message, hint: None })?;
    let workflow = Workflow::new(root.name.clone(), tasks)?;
    let resources = files.all().iter().flat_map(|file| file.resources.iter().cloned()).collect();
    Ok(Opened { files, workflow, resources, source, values, around, days })
}

/// The program that calls a function for a task: it goes with us, so that the interpreter needs nothing of ours.
const CALLER: &str = include_str!("../../../../python/dirigent/_call.py");

impl Opened {
    /// Puts in place what its tasks need of us.
    ///
    /// # Errors
    ///
    /// The state folder cannot be written.
    pub fn prepare(&self) -> Result<(), CliError> {
        let calls = |task: &FileTask| matches!(task.action, FileAction::Python { .. });
        if self.files.all().iter().any(|file| file.tasks.iter().any(calls)) {
            self.around.artifacts.store(CALLER.as_bytes())?;
        }
        Ok(())
    }

    /// What answers for it in a run with this folder.
    pub fn host(&self, store: Arc<Store>, folder: PathBuf) -> Host {
        let (files, values) = (self.files.clone(), self.values.clone());
        Host::new(files, values, self.around.clone(), self.days.clone(), store, folder)
    }
}

/// The day it is at a time, where we are.
fn days(at_ms: i64) -> Days {
    let offset = origin(None).utc_offset_min;
    let day = |days: i64| iso(at_ms + days * 86_400_000, offset).chars().take(10).collect();
    Days { today: day(0), yesterday: day(-1), tomorrow: day(1) }
}
