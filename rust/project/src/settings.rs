//! The configuration that counts: defaults, user file, project file, environment, options, each over the one before.
//!
//! Finds and reads the two files. The environment, the options and the user's configuration folder come in as values.

use crate::automation::{Hook, Moment, Notification};
use crate::diagnose::{Diagnostic, Severity, did_you_mean};
use crate::document::{Document, EXTENSIONS, Node, NodeKind, shown_path};
use crate::fault::ProjectError;
use crate::pattern::is_exact;
use crate::run::{Explained, Flags, Origin, RUN_SETTINGS, RunSettings};
use crate::schedule::Declared;
use crate::schema::{ConfigFile, TimeoutOverride, bare_extension};
use crate::script::{ScriptSettings, ScriptTable};
use crate::secret::SecretSource;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the configuration is made from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The folder from which the project file is looked for upwards; absolute.
    pub start: PathBuf,
    /// The file to take instead, where one was named.
    pub project_file: Option<PathBuf>,
    /// The folder of the user's configuration, in which `config.toml` or its like may be.
    pub user_dir: Option<PathBuf>,
    /// The environment; only names beginning with `DIRIGENT_` matter.
    pub environment: Vec<(String, String)>,
    /// What was typed.
    pub flags: Flags,
}

/// Variables that begin as settings do and are none: what every attempt is given, and what notebooks, tests
/// and tools use.
const OTHER_VARIABLES: [&str; 10] =
    ["HOOK", "RUN_ID", "TASK", "ATTEMPT", "IDEMPOTENCY_KEY", "OUTPUT", "LOG", "SCHEDULE", "TICK", "DISPLAY"];

/// The configuration that counts.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The settings of runs.
    pub run: RunSettings,
    /// The user file below, the project file above.
    layers: Vec<Layer>,
    root: Option<PathBuf>,
}

/// One file of the configuration.
#[derive(Clone, Debug)]
struct Layer {
    document: Document,
    file: ConfigFile,
    table: ScriptTable,
    is_project: bool,
}

/// The project file of a folder or of the nearest folder above it that has one.
///
/// # Errors
/// A folder has two.
pub fn find_project_file(start: &Path) -> Result<Option<PathBuf>, ProjectError> {
    for folder in start.ancestors() {
        if let Some(file) = only_file(folder, "dirigent")? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

fn only_file(folder: &Path, stem: &str) -> Result<Option<PathBuf>, ProjectError> {
    let mut found = EXTENSIONS
        .iter()
        .map(|extension| folder.join(format!("{stem}.{extension}")))
        // A link to nowhere counts: opening it then says what is wrong.
        .filter(|path| path.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()));
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => Err(ProjectError::TwoFiles { first, second }),
        (first, _) => Ok(first),
    }
}

/// Reads a configuration file and checks all of it.
///
/// # Errors
/// It cannot be read, or says something wrong.
pub fn load_checked(path: &Path) -> Result<(Document, ConfigFile), ProjectError> {
    let document = Document::load(path)?;
    let file = ConfigFile::read(&document)?;
    Ok((document, file))
}

impl Config {
    /// Reads the files and puts everything together.
    ///
    /// # Errors
    /// A file cannot be read or says something wrong, or a `DIRIGENT_` variable does.
    pub fn load(sources: Sources) -> Result<Self, ProjectError> {
        let mut config = Self::default();
        if let Some(path) =
            sources.user_dir.as_deref().map(|dir| only_file(dir, "config")).transpose()?.flatten()
        {
            let (document, file) = load_checked(&path)?;
            if let Some((name, _)) = file.schedules.0.first() {
                let message = "a schedule belongs to a project, and this is the file of a user".to_owned();
                let span = name.span.clone();
                let wrong = document.diagnostic(Severity::Error, "config.invalid_value", span, message);
                let hint = Some("move it into the project's file".to_owned());
                return Err(Diagnostic { hint, ..wrong }.into());
            }
            config.add(document, file, false);
        }
        let project_file = match sources.project_file {
            Some(path) => Some(path),
            None => find_project_file(&sources.start)?,
        };
        if let Some(path) = project_file {
            let (document, file) = load_checked(&path)?;
            config.add(document, file, true);
        }
        config.check_secrets()?;
        config.apply_environment(sources.environment)?;
        config.run.apply_flags(sources.flags);
        Ok(config)
    }

    /// The configuration that a single document makes, as if it were the project file.
    ///
    /// # Errors
    /// It says something wrong.
    pub fn from_document(document: Document) -> Result<Self, ProjectError> {
        let file = ConfigFile::read(&document)?;
        let mut config = Self::default();
        config.add(document, file, true);
        config.check_secrets()?;
        Ok(config)
    }

    /// The folder of the project file.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// The project file, where there is one.
    pub fn project_document(&self) -> Option<&Document> {
        self.layers.iter().rev().find(|layer| layer.is_project).map(|layer| &layer.document)
    }

    /// The schedules of the project file with that file, each found to make sense. Those without a zone of their own are
    /// meant in `system_zone`.
    ///
    /// # Errors
    /// One does not make sense.
    pub fn schedules(
        &self,
        system_zone: &TimeZone,
    ) -> Result<Option<(Vec<Declared>, &Document)>, ProjectError> {
        let project = self.layers.iter().find(|layer| layer.is_project);
        let declared = |layer: &Layer| layer.file.schedules(&layer.document, system_zone);
        project.map(|layer| Ok((declared(layer)?, &layer.document))).transpose()
    }

    /// The files that were read, lowest layer first.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.layers.iter().map(|layer| layer.document.path.as_path())
    }

    fn add(&mut self, document: Document, mut file: ConfigFile, is_project: bool) {
        let folder = document.path.parent().unwrap_or(Path::new("")).to_owned();
        let mut run = std::mem::take(&mut file.run);
        if let Some(state_dir) = &mut run.state_dir {
            state_dir.value.0 = folder.join(&state_dir.value.0);
        }
        // `python3.12` is looked up; `venv/bin/python` is a place.
        if let Some(python) = run.python.as_mut().filter(|python| python.value.0.components().count() > 1) {
            python.value.0 = folder.join(&python.value.0);
        }
        self.run
            .apply_file(run, |span| Origin::File { path: document.path.clone(), line: document.line(span) });
        file.secrets.resolve(&folder);
        if is_project {
            self.root = Some(folder);
        }
        let table = ScriptTable::new(&file);
        self.layers.push(Layer { document, file, table, is_project });
    }

    /// Whether the secrets that scripts get are some that a file names.
    fn check_secrets(&self) -> Result<(), ProjectError> {
        let secrets = self.secrets();
        let known: Vec<&str> = secrets.keys().copied().collect();
        for Layer { document, file, .. } in &self.layers {
            let scripts = file.scripts.0.iter().map(|(_, script)| script).chain([&file.default]);
            for uses in scripts.filter_map(|script| script.secrets.as_ref()) {
                uses.check(&known).map_err(|(span, message, hint)| Diagnostic {
                    hint: Some(hint),
                    ..document.diagnostic(Severity::Error, "config.unknown_secret", span, message)
                })?;
            }
        }
        Ok(())
    }

    /// The secrets by name, and where the values come from.
    pub fn secrets(&self) -> BTreeMap<&str, &SecretSource> {
        let entries = self.layers.iter().flat_map(|layer| &layer.file.secrets.0.0);
        entries.map(|(name, source)| (name.value.as_str(), source)).collect()
    }

    /// The files of variables that every script gets, absolute: those of the highest layer that names some.
    pub fn default_env_files(&self) -> Vec<PathBuf> {
        let mut settings = ScriptSettings::new(None, None);
        for layer in &self.layers {
            settings.apply(&layer.file.default, self.root().unwrap_or(Path::new("")));
        }
        settings.env_file
    }

    fn apply_environment(&mut self, variables: Vec<(String, String)>) -> Result<(), ProjectError> {
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix("DIRIGENT_") else {
                continue;
            };
            if OTHER_VARIABLES.contains(&name) || name.starts_with("BENCH") {
                continue;
            }
            let name = name.to_ascii_lowercase();
            if !RUN_SETTINGS.contains(&name.as_str()) || variable.chars().any(|c| c.is_ascii_lowercase()) {
                let meant = did_you_mean(&name, RUN_SETTINGS.iter().copied());
                let meant = meant.map(|name| format!("DIRIGENT_{}", name.to_ascii_uppercase()));
                return Err(ProjectError::UnknownVariable { variable, meant });
            }
            let origin = Origin::Environment { variable: variable.clone() };
            self.run
                .apply_variable(&name, text.trim(), origin)
                .map_err(|message| ProjectError::BadVariable { variable, message })?;
        }
        Ok(())
    }

    /// What a script runs with. Both paths are absolute; patterns are meant from the project's root or the scripts' folder.
    pub fn for_script(&self, script: &Path, scripts_root: &Path) -> ScriptSettings {
        let paths = self.relative(script, scripts_root);
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let folder = self.root().unwrap_or(scripts_root);
        let mut settings = ScriptSettings::new(self.run.timeout.value, self.run.memory_limit_mb.value);
        for layer in &self.layers {
            layer.table.apply(&layer.file, &paths, folder, &mut settings);
        }
        let overriding =
            self.layers.iter().rev().find_map(|layer| layer.table.timeout_override(&layer.file, &paths));
        if let Some(limit) = overriding {
            settings.timeout = limit.0;
        }
        settings
    }

    /// A script's paths from the roots that patterns are meant from.
    fn relative(&self, script: &Path, scripts_root: &Path) -> Vec<PathBuf> {
        let roots = self.root.as_deref().into_iter().chain([scripts_root]);
        let mut paths: Vec<PathBuf> =
            roots.filter_map(|root| script.strip_prefix(root).ok()).map(Path::to_owned).collect();
        paths.dedup();
        if paths.is_empty() {
            paths.extend(script.file_name().map(PathBuf::from));
        }
        paths
    }

    /// Which program runs files of an extension (without its dot).
    pub fn interpreters(&self) -> BTreeMap<String, Vec<String>> {
        let entries = self.layers.iter().flat_map(|layer| &layer.file.interpreters.0);
        entries
            .map(|(extension, argv)| (bare_extension(&extension.value).to_owned(), argv.0.clone()))
            .collect()
    }

    /// Who is told when a run ends, in the order of the files, each with the folder of its file.
    pub fn notifications(&self) -> impl Iterator<Item = (&Notification, &Path)> {
        self.layers.iter().flat_map(|layer| {
            let folder = layer.document.path.parent().unwrap_or(Path::new(""));
            layer.file.notify.iter().flatten().map(move |notification| (&notification.value, folder))
        })
    }

    /// The hooks of a moment, in the order of the files, each with the folder of its file.
    pub fn hooks(&self, moment: Moment) -> impl Iterator<Item = (&Hook, &Path)> {
        self.layers.iter().flat_map(move |layer| {
            let folder = layer.document.path.parent().unwrap_or(Path::new(""));
            layer.file.hooks.of(moment).iter().map(move |hook| (hook, folder))
        })
    }

    /// How long hooks may go on after the end of a run.
    pub fn hook_patience(&self) -> Duration {
        let said = self.layers.iter().rev().find_map(|layer| layer.file.hooks.patience.as_ref());
        said.map_or(Duration::from_secs(30), |patience| patience.value.0)
    }

    /// Globs of what is never found, in the syntax of a `.gitignore` at the root.
    pub fn skip_patterns(&self) -> Vec<String> {
        let patterns = self.layers.iter().flat_map(|layer| layer.file.skip.iter().flatten());
        patterns.map(|pattern| pattern.value.clone()).collect()
    }

    /// Every value that counts and where it comes from: the settings of runs, then what else the files say.
    pub fn explain(&self) -> Vec<Explained> {
        let mut out = self.run.explain();
        let mut places = BTreeMap::new();
        for layer in &self.layers {
            let NodeKind::Map(entries) = &layer.document.root.kind else {
                continue;
            };
            for (key, node) in entries.iter().filter(|(key, _)| key.name != "run") {
                explain_node(&layer.document, &mut vec![key.name.clone()], node, &mut |explained| {
                    let place = *places.entry(explained.key.clone()).or_insert(out.len());
                    if place < out.len() {
                        out[place] = explained;
                    } else {
                        out.push(explained);
                    }
                });
            }
        }
        out
    }

    /// The project's patterns that name one script and mean none of those found (absolute paths), as warnings.
    pub fn unmatched<'a>(
        &self,
        scripts: impl IntoIterator<Item = &'a Path>,
        scripts_root: &Path,
    ) -> Vec<Diagnostic> {
        let mut known = HashSet::new();
        for path in scripts.into_iter().flat_map(|script| self.relative(script, scripts_root)) {
            known.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
            known.insert(path.to_string_lossy().into_owned());
        }
        let mut warnings = Vec::new();
        for layer in self.layers.iter().filter(|layer| layer.is_project) {
            let mut patterns: Vec<_> = layer.file.scripts.0.iter().map(|(pattern, _)| pattern).collect();
            if let Some(TimeoutOverride::ByPattern(entries)) = &layer.file.timeout_override {
                patterns.extend(entries.0.iter().map(|(pattern, _)| pattern));
            }
            for pattern in patterns.into_iter().filter(|pattern| is_exact(&pattern.value)) {
                let path = pattern
                    .value
                    .strip_prefix("./")
                    .or(pattern.value.strip_prefix('/'))
                    .unwrap_or(&pattern.value);
                if known.contains(path) {
                    continue;
                }
                let message = format!("`{}` means none of the scripts found", pattern.value);
                let span = pattern.span.clone();
                let warning =
                    layer.document.diagnostic(Severity::Warning, "config.unmatched_pattern", span, message);
                let mut candidates: Vec<&str> = known.iter().map(String::as_str).collect();
                candidates.sort_unstable();
                let hint = did_you_mean(path, candidates).map(|meant| format!("did you mean `{meant}`?"));
                warnings.push(Diagnostic { hint, ..warning });
            }
        }
        warnings
    }
}

fn explain_node(document: &Document, path: &mut Vec<String>, node: &Node, tell: &mut impl FnMut(Explained)) {
    if let NodeKind::Map(entries) = &node.kind {
        for (key, child) in entries {
            path.push(key.name.clone());
            explain_node(document, path, child, tell);
            path.pop();
        }
        return;
    }
    let origin = Origin::File { path: document.path.clone(), line: document.line(&node.span) };
    tell(Explained { key: shown_path(path.iter()), value: node.to_json(), origin });
}

#[cfg(test)]
mod tests;
