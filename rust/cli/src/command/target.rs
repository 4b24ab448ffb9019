//! What a target means: scripts, a workflow file, a job of the project file, or a workflow of a Python file.

use super::selection::configuration;
use crate::args::{GivenArgs, Selection};
use crate::fault::{CliError, shown};
use crate::record::state_dir;
use crate::surroundings::Surroundings;
use crate::workflow::{Opened, open, open_job};
use dirigent_core::text::printable;
use dirigent_project::diagnose::did_you_mean;
use dirigent_project::document::{EXTENSIONS, MAX_FILE_MB};
use dirigent_project::param::Given;
use dirigent_project::{Config, Document, Flags, ProjectError, WorkflowFile};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What is to be run.
pub(super) enum Target {
    /// Scripts, as [`super::selection`] finds them.
    Scripts,
    /// A workflow that a file says.
    File(Box<FileTarget>),
    /// A workflow that a Python file makes.
    Python {
        /// The file.
        path: PathBuf,
        /// What it is called there.
        name: String,
    },
}

/// A workflow that a file says, with what it finds around it.
pub(super) struct FileTarget {
    pub(super) config: Config,
    pub(super) state_dir: PathBuf,
    pub(super) opened: Opened,
}

/// Finds out what is meant.
pub(super) fn target(selection: &Selection, flags: &Flags, given: &GivenArgs) -> Result<Target, CliError> {
    let [only] = selection.targets.as_slice() else {
        return refuse_params(given).map(|()| Target::Scripts);
    };
    let surroundings = Surroundings::look()?;
    if only == Path::new("-") {
        let config = config(&surroundings, &surroundings.cwd.clone(), selection, flags)?;
        let document = Document::parse(&surroundings.cwd.join("stdin.yaml"), &stdin()?)?;
        return file(surroundings, config, &document, given);
    }
    let path = surroundings.absolute(only);
    if is_workflow(&path) {
        let folder = path.parent().unwrap_or(&path).to_owned();
        let config = config(&surroundings, &folder, selection, flags)?;
        let document = Document::load(&path)?;
        return file(surroundings, config, &document, given);
    }
    let text = only.to_string_lossy();
    if let Some((file, name)) = text.rsplit_once(':')
        && file.ends_with(".py")
        && !path.exists()
    {
        let path = surroundings.absolute(Path::new(file));
        if !path.is_file() {
            return Err(ProjectError::NoSuchTarget { path }.into());
        }
        return Ok(Target::Python { path, name: name.to_owned() });
    }
    if !path.exists() && !text.contains(['/', '*', '?', '[']) {
        let config = config(&surroundings, &surroundings.cwd.clone(), selection, flags)?;
        if let Some(target) = job(surroundings, config, &text, given)? {
            return Ok(target);
        }
    }
    refuse_params(given).map(|()| Target::Scripts)
}

fn config(
    surroundings: &Surroundings,
    start: &Path,
    selection: &Selection,
    flags: &Flags,
) -> Result<Config, CliError> {
    configuration(surroundings, start, selection.config.as_deref(), flags.clone())
}

fn file(
    surroundings: Surroundings,
    config: Config,
    document: &Document,
    given: &GivenArgs,
) -> Result<Target, CliError> {
    let state_dir = state_dir(&config, &surroundings)?;
    let opened = open(document, params(given, &surroundings)?, &config, &surroundings, &state_dir)?;
    Ok(Target::File(Box::new(FileTarget { config, state_dir, opened })))
}

/// The job of this name; `None` where the project has no jobs.
fn job(
    surroundings: Surroundings,
    config: Config,
    name: &str,
    given: &GivenArgs,
) -> Result<Option<Target>, CliError> {
    let Some(document) = config.project_document().filter(|document| has_jobs(document)) else {
        return Ok(None);
    };
    refuse_params(given)?;
    let jobs = WorkflowFile::read_jobs(document)?;
    if jobs.task(name).is_none() {
        let names = jobs.tasks.iter().map(|task| task.name.as_str());
        return Err(CliError::Usage {
            message: format!("there is neither a file nor a job `{}`", printable(name)),
            hint: Some(match did_you_mean(name, names) {
                Some(meant) => format!("did you mean `{}`?", printable(meant)),
                None => format!("`dirigent list` tells the jobs of {}", shown(&document.path)),
            }),
        });
    }
    let state_dir = state_dir(&config, &surroundings)?;
    let opened = open_job(document, name, &config, &surroundings, &state_dir)?;
    Ok(Some(Target::File(Box::new(FileTarget { config, state_dir, opened }))))
}

/// The workflow file that is meant, read but not made sense of; `None` where something else is meant.
pub(super) fn workflow_document(selection: &Selection) -> Result<Option<Document>, CliError> {
    let [only] = selection.targets.as_slice() else { return Ok(None) };
    let surroundings = Surroundings::look()?;
    if only == Path::new("-") {
        return Ok(Some(Document::parse(&surroundings.cwd.join("stdin.yaml"), &stdin()?)?));
    }
    let path = surroundings.absolute(only);
    if is_workflow(&path) { Ok(Some(Document::load(&path)?)) } else { Ok(None) }
}

fn is_workflow(path: &Path) -> bool {
    path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
        && path.is_file()
}

/// Whether a project file names jobs.
pub(super) fn has_jobs(document: &Document) -> bool {
    match &document.root.kind {
        dirigent_project::document::NodeKind::Map(entries) => {
            entries.iter().any(|(key, _)| key.name == "jobs")
        }
        _ => false,
    }
}

fn refuse_params(given: &GivenArgs) -> Result<(), CliError> {
    let is_given = !given.param.is_empty() || given.params_file.is_some();
    match is_given {
        false => Ok(()),
        true => Err(CliError::Usage {
            message: "parameters are for workflow files, and this is none".to_owned(),
            hint: Some("give arguments to scripts behind `--`".to_owned()),
        }),
    }
}

/// What was given, the file first.
fn params(given: &GivenArgs, surroundings: &Surroundings) -> Result<Vec<(String, Given)>, CliError> {
    let mut params = Vec::new();
    if let Some(path) = &given.params_file {
        let document = Document::load(&surroundings.absolute(path))?;
        let serde_json::Value::Object(entries) = document.to_json() else {
            return Err(CliError::Usage {
                message: format!("{} is no table of parameters", shown(path)),
                hint: Some("write `name: value` lines".to_owned()),
            });
        };
        params.extend(entries.into_iter().map(|(name, value)| (name, Given::Value(value))));
    }
    for param in &given.param {
        let Some((name, value)) = param.split_once('=') else {
            return Err(CliError::Usage {
                message: format!("--param: `{}` has no `=`", printable(param)),
                hint: Some("write `--param NAME=VALUE`".to_owned()),
            });
        };
        params.push((name.to_owned(), Given::Text(value.to_owned())));
    }
    Ok(params)
}

fn stdin() -> Result<String, CliError> {
    let mut text = String::new();
    let from = Path::new("standard input");
    std::io::stdin()
        .lock()
        .take((MAX_FILE_MB << 20) + 1)
        .read_to_string(&mut text)
        .map_err(CliError::io("read", from))?;
    if text.len() as u64 > MAX_FILE_MB << 20 {
        return Err(ProjectError::TooLarge { path: from.to_owned(), limit_mb: MAX_FILE_MB }.into());
    }
    Ok(text)
}
