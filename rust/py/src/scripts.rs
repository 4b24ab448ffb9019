//! Finding scripts, and what the configuration says of them.

use crate::fault::{misused, raised};
use crate::plain::{to_json, to_python};
use dirigent_cli::fault::CliError;
use dirigent_cli::record::state_dir;
use dirigent_cli::surroundings::Surroundings;
use dirigent_project::settings::{find_project_file, load_checked};
use dirigent_project::{Config, Document, Query, Sources};
use pyo3::prelude::*;
use std::path::{Path, PathBuf};

/// Finds scripts below a folder and returns their paths, sorted. Skips what the project file and ignore files say.
#[pyfunction]
#[pyo3(signature = (folder, subdirs, patterns, max_depth))]
pub(crate) fn discover(
    py: Python<'_>,
    folder: PathBuf,
    subdirs: Vec<PathBuf>,
    patterns: Vec<String>,
    max_depth: Option<u32>,
) -> PyResult<Vec<PathBuf>> {
    let find = || -> Result<Vec<PathBuf>, CliError> {
        let surroundings = Surroundings::look()?;
        let folder = surroundings.absolute(&folder);
        let config = project_config(&folder, &surroundings)?;
        let found = dirigent_project::discover(&Query {
            targets: vec![folder],
            subdirs,
            patterns,
            max_depth,
            skip: config.skip_patterns(),
            skip_root: config.root().map(Path::to_owned),
            interpreters: config.interpreters(),
            ..Query::default()
        })?;
        Ok(found.scripts.into_iter().map(|script| script.path).collect())
    };
    py.detach(find).map_err(|error| raised(py, error))
}

/// Folders that are never looked into.
#[pyfunction]
pub(crate) fn skip_dirs() -> Vec<&'static str> {
    dirigent_project::discover::SKIP_DIRS.to_vec()
}

/// Files that are never scripts.
#[pyfunction]
pub(crate) fn skip_patterns() -> Vec<&'static str> {
    dirigent_project::discover::SKIP_PATTERNS.to_vec()
}

/// The project file that counts for a folder, checked, as plain data; empty where there is none.
#[pyfunction]
pub(crate) fn load_config<'py>(py: Python<'py>, folder: PathBuf) -> PyResult<Bound<'py, PyAny>> {
    let load = || -> Result<serde_json::Value, CliError> {
        let folder = Surroundings::look()?.absolute(&folder);
        let file = find_project_file(&folder)?;
        let empty = serde_json::Value::Object(serde_json::Map::new());
        Ok(file
            .map(|file| load_checked(&file))
            .transpose()?
            .map_or(empty, |(document, _)| document.to_json()))
    };
    let value = py.detach(load).map_err(|error| raised(py, error))?;
    to_python(py, &value)
}

/// What a configuration says of one script, every setting resolved.
#[pyfunction]
pub(crate) fn script_config<'py>(
    py: Python<'py>,
    script: PathBuf,
    folder: PathBuf,
    config: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let text = to_json(config)?;
    let resolve = || -> Result<serde_json::Value, CliError> {
        let surroundings = Surroundings::look()?;
        let folder = surroundings.absolute(&folder);
        let config = given_config(&folder, &text)?;
        // A script is named from the scripts' folder; one that is only here is meant too.
        let inside = folder.join(&script);
        let here = surroundings.absolute(&script);
        let script = if !inside.exists() && here.exists() { here } else { inside };
        let settings = config.for_script(&script, &folder);
        serde_json::to_value(settings)
            .map_err(|error| CliError::Usage { message: error.to_string(), hint: None })
    };
    let value = py.detach(resolve).map_err(|error| raised(py, error))?;
    to_python(py, &value)
}

/// The project's configuration, without the environment and without options.
pub(crate) fn project_config(start: &Path, surroundings: &Surroundings) -> Result<Config, CliError> {
    Ok(Config::load(Sources {
        start: start.to_owned(),
        user_dir: surroundings.user_config_dir.clone(),
        ..Sources::default()
    })?)
}

/// The folder in which runs are recorded: that of the environment, else the project's, else the user's.
pub(crate) fn state_folder_of(project: &Config, surroundings: &Surroundings) -> Result<PathBuf, CliError> {
    let named = surroundings.environment.iter().find(|(name, _)| name == "DIRIGENT_STATE_DIR");
    match named.filter(|(_, folder)| !folder.is_empty()) {
        Some((_, folder)) => Ok(surroundings.absolute(Path::new(folder))),
        None => state_dir(project, surroundings),
    }
}

/// A configuration passed in as data, as if it were the project file of the folder.
fn given_config(folder: &Path, json: &str) -> Result<Config, CliError> {
    let root = find_project_file(folder)?.and_then(|file| Some(file.parent()?.to_owned()));
    let path = root.unwrap_or_else(|| folder.to_owned()).join("config.json");
    Ok(Config::from_document(Document::parse(&path, json)?)?)
}

/// The settings that a per-script dictionary changes, by the same rules as in a file.
pub(crate) fn given_settings(
    py: Python<'_>,
    config: &Bound<'_, PyAny>,
    script: &Path,
) -> PyResult<dirigent_project::ScriptSettings> {
    let text = to_json(config)?;
    let folder = script.parent().unwrap_or(Path::new("/"));
    let document = format!("{{\"default\": {text}}}");
    let config = given_config(folder, &document).map_err(|error| raised(py, error))?;
    if text.trim_start().starts_with('{') {
        Ok(config.for_script(script, folder))
    } else {
        Err(misused(py, "`config` is a dictionary of settings of one script".to_owned(), None))
    }
}
