//! The settings of one script: what the patterns that mean it say, merged key by key.
//!
//! Knows one file's patterns at a time; the layers are put on each other by [`crate::settings`].

use crate::pattern::{Patterns, is_exact};
use crate::schema::{ConfigFile, ScriptFile, TimeoutOverride};
use crate::value::{Limit, Skip};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a script runs with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScriptSettings {
    /// How long it may run; `None` for as long as it likes. In JSON, seconds.
    #[serde(serialize_with = "seconds")]
    pub timeout: Option<Duration>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to set; `None` removes one.
    pub env: BTreeMap<String, Option<String>>,
    /// Files of variables to set under those, absolute, later ones over earlier ones.
    pub env_file: Vec<PathBuf>,
    /// The only variables it inherits beside those that every program needs; `None` for all.
    pub pass_env: Option<Vec<String>>,
    /// The variables that are secrets, each with the name of the secret.
    pub secrets: BTreeMap<String, String>,
    /// The folder it runs in, absolute; `None` for the usual one.
    pub cwd: Option<PathBuf>,
    /// The exit codes that mean success; never empty.
    pub allowed_exit_codes: Vec<u8>,
    /// Whether it is left out.
    pub skip: bool,
    /// Why it is left out, where a reason is given.
    pub skip_reason: Option<String>,
    /// How much memory it may use, in MiB.
    pub memory_limit_mb: Option<u64>,
    /// The scripts that must succeed first, as written.
    pub needs: Vec<String>,
    /// Whether processes it leaves behind are let be.
    pub leave_running: bool,
    /// What runs it, where not the usual.
    pub interpreter: Option<Vec<String>>,
}

fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

impl ScriptSettings {
    /// The settings of a script that no file mentions.
    pub fn new(timeout: Option<Duration>, memory_limit_mb: Option<u64>) -> Self {
        Self {
            timeout,
            args: Vec::new(),
            env: BTreeMap::new(),
            env_file: Vec::new(),
            pass_env: None,
            secrets: BTreeMap::new(),
            cwd: None,
            allowed_exit_codes: vec![0],
            skip: false,
            skip_reason: None,
            memory_limit_mb,
            needs: Vec::new(),
            leave_running: false,
            interpreter: None,
        }
    }

    /// Puts what a file says on top, key by key; `env` variable by variable. Relative paths are meant from `folder`.
    pub fn apply(&mut self, file: &ScriptFile, folder: &Path) {
        if let Some(Limit(timeout)) = file.timeout {
            self.timeout = timeout;
        }
        if let Some(args) = &file.args {
            self.args.clone_from(&args.0);
        }
        for (name, value) in &file.env.0 {
            self.secrets.remove(&name.value);
            self.env.insert(name.value.clone(), value.0.clone());
        }
        if let Some(files) = &file.env_file {
            self.env_file = files.0.iter().map(|path| folder.join(path)).collect();
        }
        if let Some(names) = &file.pass_env {
            self.pass_env = Some(names.value.0.clone());
        }
        if let Some(uses) = &file.secrets {
            let uses = uses.0.iter();
            self.secrets = uses.map(|(name, secret)| (name.value.clone(), secret.value.clone())).collect();
            self.env.retain(|name, _| !self.secrets.contains_key(name));
        }
        if let Some(cwd) = &file.cwd {
            self.cwd = Some(folder.join(&cwd.0));
        }
        if let Some(codes) = &file.allowed_exit_codes {
            self.allowed_exit_codes = codes.value.iter().map(|code| code.0).collect();
        }
        match &file.skip {
            None => {}
            Some(Skip::No) => (self.skip, self.skip_reason) = (false, None),
            Some(Skip::Yes) => self.skip = true,
            Some(Skip::Because(reason)) => (self.skip, self.skip_reason) = (true, Some(reason.clone())),
        }
        if let Some(reason) = &file.skip_reason {
            self.skip_reason = Some(reason.clone());
        }
        if let Some(limit) = file.memory_limit_mb {
            self.memory_limit_mb = Some(limit.0);
        }
        if let Some(needs) = &file.needs {
            self.needs.clone_from(needs);
        }
        if let Some(leave_running) = file.leave_running {
            self.leave_running = leave_running;
        }
        if let Some(interpreter) = &file.interpreter {
            self.interpreter = Some(interpreter.0.clone());
        }
    }
}

/// The patterns of one file, ready to be asked about many scripts.
#[derive(Clone, Debug)]
pub struct ScriptTable {
    scripts: Ranked,
    overrides: Ranked,
}

/// Patterns, and for each how closely it describes what it means.
#[derive(Clone, Debug)]
struct Ranked {
    patterns: Patterns,
    closeness: Vec<u8>,
}

impl Ranked {
    fn new<'a>(patterns: impl Iterator<Item = &'a str> + Clone) -> Self {
        // The file was checked when it was read: a pattern that fails here does not exist.
        let closeness = patterns.clone().map(|pattern| match (is_exact(pattern), pattern.contains('/')) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        });
        Self { closeness: closeness.collect(), patterns: Patterns::new(patterns).unwrap_or_default() }
    }

    /// The patterns that mean a script, given its paths from the roots: globs in the file's order, then names, then paths.
    fn matching(&self, paths: &[&Path]) -> Vec<usize> {
        if self.patterns.is_empty() {
            return Vec::new();
        }
        let mut places: Vec<usize> = paths.iter().flat_map(|path| self.patterns.matching(path)).collect();
        places.sort_unstable_by_key(|place| (self.closeness[*place], *place));
        places.dedup();
        places
    }
}

impl ScriptTable {
    /// Prepares the patterns of a checked file.
    pub fn new(file: &ConfigFile) -> Self {
        let overrides = match &file.timeout_override {
            Some(TimeoutOverride::ByPattern(entries)) => entries.0.as_slice(),
            _ => &[],
        };
        Self {
            scripts: Ranked::new(file.scripts.0.iter().map(|(pattern, _)| pattern.value.as_str())),
            overrides: Ranked::new(overrides.iter().map(|(pattern, _)| pattern.value.as_str())),
        }
    }

    /// Puts what the file says about a script on top of its settings.
    pub fn apply(&self, file: &ConfigFile, paths: &[&Path], folder: &Path, settings: &mut ScriptSettings) {
        settings.apply(&file.default, folder);
        for place in self.scripts.matching(paths) {
            settings.apply(&file.scripts.0[place].1, folder);
        }
    }

    /// The limit that wins over every other, where the file has one for the script.
    pub fn timeout_override(&self, file: &ConfigFile, paths: &[&Path]) -> Option<Limit> {
        match file.timeout_override.as_ref()? {
            TimeoutOverride::All(limit) => Some(*limit),
            TimeoutOverride::ByPattern(entries) => {
                self.overrides.matching(paths).last().map(|place| entries.0[*place].1)
            }
        }
    }
}
