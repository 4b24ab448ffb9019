//! From scripts and their settings to a workflow: what exactly is run, where, and with what environment.

use crate::fault::CliError;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::{self, Action, Command, Limits, Policy, Task, Workflow};
use dirigent_core::text::OsText;
use dirigent_project::diagnose::did_you_mean;
use dirigent_project::env_file;
use dirigent_project::{Config, Interpreter, Script, ScriptSettings};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How many attempts of a script may be lost with the guard before it counts as failed.
const LOST_ATTEMPTS_ALLOWED: u32 = 2;

/// What scripts have in common.
#[derive(Debug)]
pub struct Common<'a> {
    /// The configuration that counts.
    pub config: &'a Config,
    /// The folder the scripts were found in: patterns may be meant from here.
    pub scripts_root: &'a Path,
    /// The interpreter of Python scripts.
    pub python: &'a Path,
    /// The `PATH`-like list of the environment that `src/` goes in front of.
    pub python_path: Option<OsString>,
    /// Arguments that every script gets after its own.
    pub args: &'a [OsString],
}

impl Common<'_> {
    /// The folder that scripts run in and that names are relative to: the project's root, else the scripts' folder.
    pub fn root(&self) -> &Path {
        self.config.root().unwrap_or(self.scripts_root)
    }

    /// What a script is called: its path from the root, or its whole path where it lies elsewhere.
    pub fn name(&self, script: &Path) -> String {
        named(script.strip_prefix(self.root()).unwrap_or(script))
    }
}

/// A path as a name: text as it is, other bytes as `\xHH`.
fn named(path: &Path) -> String {
    path.as_os_str().as_encoded_bytes().utf8_chunks().fold(String::new(), |mut name, chunk| {
        name.push_str(chunk.valid());
        name.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
        name
    })
}

/// Makes a workflow of scripts, one task each, in their order.
///
/// # Errors
///
/// A script needs one that is not there, or scripts need each other.
pub fn workflow(name: &str, scripts: &[Script], common: &Common<'_>) -> Result<Workflow, CliError> {
    let settings: Vec<ScriptSettings> =
        scripts.iter().map(|script| common.config.for_script(&script.path, common.scripts_root)).collect();
    let places: HashMap<PathBuf, TaskIndex> =
        scripts.iter().zip(0u32..).map(|(script, i)| (script.path.clone(), TaskIndex(i))).collect();
    let tasks = scripts.iter().zip(&settings).map(|(script, settings)| {
        let needs = needs(script, settings, common, &places)?;
        task(script, settings, needs, common)
    });
    Ok(Workflow::new(name, tasks.collect::<Result<Vec<Task>, CliError>>()?)?)
}

/// The places of what a script needs: named from the root, from the scripts' folder, or from beside it.
fn needs(
    script: &Script,
    settings: &ScriptSettings,
    common: &Common<'_>,
    places: &HashMap<PathBuf, TaskIndex>,
) -> Result<Vec<TaskIndex>, CliError> {
    let beside = script.path.parent().unwrap_or(common.scripts_root);
    let mut needs = Vec::with_capacity(settings.needs.len());
    for need in &settings.needs {
        let place =
            [common.root(), common.scripts_root, beside].iter().find_map(|from| places.get(&from.join(need)));
        let Some(&place) = place else {
            let names: Vec<String> = places.keys().map(|path| common.name(path)).collect();
            return Err(CliError::UnknownNeed {
                script: common.name(&script.path),
                need: need.clone(),
                meant: did_you_mean(need, names.iter().map(String::as_str)).map(str::to_owned),
            });
        };
        if !needs.contains(&place) {
            needs.push(place);
        }
    }
    Ok(needs)
}

fn task(
    script: &Script,
    settings: &ScriptSettings,
    needs: Vec<TaskIndex>,
    common: &Common<'_>,
) -> Result<Task, CliError> {
    let argv = settings
        .interpreter
        .as_ref()
        .map(|argv| argv.iter().map(OsString::from).collect::<Vec<_>>())
        .unwrap_or_else(|| match &script.interpreter {
            Interpreter::Python => vec![common.python.into()],
            Interpreter::Program(argv) => argv.clone(),
            Interpreter::Itself => Vec::new(),
        })
        .into_iter()
        .chain([script.path.clone().into_os_string()])
        .chain(settings.args.iter().map(OsString::from))
        .chain(common.args.iter().cloned())
        .map(OsText::from)
        .collect();
    let cwd = settings.cwd.clone().unwrap_or_else(|| common.root().to_owned());
    Ok(Task {
        name: common.name(&script.path).into(),
        action: Action::Script(Box::new(spec::Script {
            path: script.path.clone().into(),
            command: Command {
                argv,
                cwd: cwd.into(),
                env: environment(settings, common)?,
                secrets: secrets(settings),
                pass_env: pass_env(settings),
            },
        })),
        needs: needs.into(),
        policy: Arc::new(Policy {
            limits: limits(settings, &common.config.run),
            allowed_exit_codes: settings.allowed_exit_codes.iter().map(|code| i32::from(*code)).collect(),
            skip: settings.skip.then(|| {
                settings.skip_reason.clone().unwrap_or_else(|| "the configuration says so".to_owned())
            }),
            leave_running: settings.leave_running,
            lost_attempts_allowed: LOST_ATTEMPTS_ALLOWED,
            ..Policy::default()
        }),
    })
}

/// The variables that settings set: those of its files, and over them its own.
///
/// # Errors
///
/// A file cannot be read, or is not a file of variables.
pub fn variables(settings: &ScriptSettings) -> Result<Vec<(OsText, Option<OsText>)>, CliError> {
    let mut variables = Vec::new();
    for path in &settings.env_file {
        let of_file = env_file::load(path)?.into_iter();
        variables.extend(of_file.map(|(name, value)| (name.into(), Some(value.into()))));
    }
    let own = settings.env.iter();
    variables.extend(own.map(|(name, value)| (name.into(), value.as_ref().map(Into::into))));
    Ok(variables)
}

/// The variables that are secrets, each with the name of its secret.
pub fn secrets(settings: &ScriptSettings) -> Vec<(OsText, String)> {
    settings.secrets.iter().map(|(variable, secret)| (variable.into(), secret.clone())).collect()
}

/// The variables that may be inherited; `None` for all.
pub fn pass_env(settings: &ScriptSettings) -> Option<Vec<OsText>> {
    settings.pass_env.as_ref().map(|names| names.iter().map(Into::into).collect())
}

/// `PYTHONPATH` with the project's `src/` in front, output unbuffered, then what the configuration says.
fn environment(
    settings: &ScriptSettings,
    common: &Common<'_>,
) -> Result<Vec<(OsText, Option<OsText>)>, CliError> {
    let src = common.root().join("src");
    let python_path = src.is_dir().then(|| {
        let inherited = common.python_path.as_ref().filter(|path| !path.is_empty());
        let folders = std::iter::once(src).chain(inherited.iter().flat_map(std::env::split_paths));
        std::env::join_paths(folders).ok()
    });
    let own = python_path.flatten().map(|path| ("PYTHONPATH".into(), Some(path.into())));
    let unbuffered = [("PYTHONUNBUFFERED".into(), Some("1".into()))];
    Ok(own.into_iter().chain(unbuffered).chain(variables(settings)?).collect())
}

fn limits(settings: &ScriptSettings, run: &dirigent_project::RunSettings) -> Limits {
    Limits {
        timeout_ms: settings.timeout.map(milliseconds),
        memory_bytes: settings.memory_limit_mb.map(|mb| mb << 20),
        output_bytes: Some(run.output_limit_mb.value << 20),
        grace_ms: milliseconds(run.grace.value),
    }
}

/// Whole milliseconds, at least one: a limit is never rounded to none.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}
