//! From what was typed to scripts: the configuration that counts, what was found, and what stands in the way.

use crate::args::Selection;
use crate::fault::CliError;
use crate::plan::{self, Common};
use crate::python::{self, Python};
use crate::surroundings::Surroundings;
use dirigent_core::spec::Workflow;
use dirigent_core::text::printable;
use dirigent_project::{Config, Diagnostic, Flags, Found, Query, Sources, discover};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Scripts with everything that is known about them.
pub(super) struct Selected {
    pub(super) surroundings: Surroundings,
    pub(super) config: Config,
    pub(super) found: Found,
    pub(super) python: Python,
    /// Whether the scripts are all that the project has.
    is_whole: bool,
}

/// Reads the configuration and finds the scripts.
pub(super) fn select(selection: &Selection, flags: Flags) -> Result<Selected, CliError> {
    let surroundings = Surroundings::look()?;
    let targets: Vec<PathBuf> = match selection.targets.as_slice() {
        [] => vec![surroundings.cwd.clone()],
        targets => targets.iter().map(|target| surroundings.absolute(target)).collect(),
    };
    let start = targets.first().map_or(surroundings.cwd.as_path(), |target| nearest_folder(target));
    let config = configuration(&surroundings, start, selection.config.as_deref(), flags)?;
    let is_whole = selection.subdir.is_empty()
        && selection.ext.is_empty()
        && config.run.pattern.value.is_empty()
        && config.root().is_some_and(|root| targets.iter().any(|target| root.starts_with(target)));
    let found = discover(&Query {
        targets,
        subdirs: selection.subdir.clone(),
        patterns: config.run.pattern.value.clone(),
        extensions: selection.ext.iter().map(|ext| ext.trim_start_matches('.').to_owned()).collect(),
        max_depth: config.run.max_depth.value,
        skip: config.skip_patterns(),
        skip_root: config.root().map(Path::to_owned),
        interpreters: config.interpreters(),
        threads: 0,
        no_ignore_files: false,
    })?;
    let root = config.root().unwrap_or(&found.root);
    let python = python::find(&config, &surroundings, root);
    Ok(Selected { surroundings, config, found, python, is_whole })
}

/// The configuration that counts for a folder.
pub(super) fn configuration(
    surroundings: &Surroundings,
    start: &Path,
    file: Option<&Path>,
    flags: Flags,
) -> Result<Config, CliError> {
    Ok(Config::load(Sources {
        start: start.to_owned(),
        project_file: file.map(|file| surroundings.absolute(file)),
        user_dir: surroundings.user_config_dir.clone(),
        environment: surroundings.environment.clone(),
        flags,
    })?)
}

/// The folder that a target is or lies in; of a glob, the part before the pattern.
pub(super) fn nearest_folder(target: &Path) -> &Path {
    target.ancestors().find(|folder| folder.is_dir()).unwrap_or(target)
}

impl Selected {
    /// What the scripts have in common.
    pub(super) fn common<'a>(&'a self, args: &'a [OsString]) -> Common<'a> {
        Common {
            config: &self.config,
            scripts_root: &self.found.root,
            python: &self.python.program,
            python_path: std::env::var_os("PYTHONPATH"),
            args,
        }
    }

    /// The workflow that the scripts make.
    pub(super) fn workflow(&self, args: &[OsString]) -> Result<Workflow, CliError> {
        let root = self.found.root.file_name().map(|name| printable(&name.to_string_lossy()));
        plan::workflow(&root.unwrap_or_else(|| "scripts".to_owned()), &self.found.scripts, &self.common(args))
    }

    /// Settings that mean no script. Of a part of a project nothing follows: the others may be meant.
    pub(super) fn unmatched(&self) -> Vec<Diagnostic> {
        if !self.is_whole {
            return Vec::new();
        }
        self.config.unmatched(self.found.scripts.iter().map(|script| script.path.as_path()), &self.found.root)
    }

    /// What was not looked at, a line each.
    pub(super) fn notices(&self) -> String {
        let notices = self.found.notices.iter();
        notices
            .map(|notice| format!("note: {}: {}\n", crate::fault::shown(&notice.path), notice.reason))
            .collect()
    }

    /// The error of having found nothing.
    pub(super) fn nothing(&self) -> CliError {
        CliError::Nothing {
            message: format!("no script found in {}", crate::fault::shown(&self.found.root)),
            hint: Some(
                "scripts are .py, .sh and .bash files, and executables that begin with `#!`; see what is skipped with \
                 `dirigent config`"
                    .to_owned(),
            ),
        }
    }
}
