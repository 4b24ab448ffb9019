//! Where the values of secrets are fetched, just before a run, and how they are kept out of what is recorded of it.

use crate::fault::{CliError, shown};
use crate::record::new_run_id;
use crate::surroundings::Surroundings;
use dirigent_core::event::Source;
use dirigent_core::spec::{Task, Workflow};
use dirigent_core::text::{OsText, printable};
use dirigent_process::{Secrets, end_leftovers};
use dirigent_project::diagnose::did_you_mean;
use dirigent_project::workflow::Files;
use dirigent_project::{Config, SecretSource, env_file};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// How long a program may take to print a secret: somebody may have to type a passphrase.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// How often a program that has closed its output is looked at whether it has ended.
const COMMAND_TICK: Duration = Duration::from_millis(2);
/// The longest secret: what a variable of the environment may hold, more or less.
const MOST_BYTES: u64 = 64 * 1024;

/// Secrets with their values, and what is to be said about where those were.
#[derive(Debug, Default)]
pub struct Found {
    /// The values.
    pub secrets: Arc<Secrets>,
    /// What is not as it should be, a sentence each.
    pub warnings: Vec<String>,
}

/// Looks up the secrets that tasks name, and those from the environment anyway: they are then masked everywhere, and the
/// variables are inherited by nobody.
///
/// # Errors
///
/// A secret that no file names; one that is not where it should be; a value that cannot be one.
pub fn look_up<'a>(
    tasks: impl IntoIterator<Item = &'a Arc<Task>>,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Found, CliError> {
    let commands = tasks.into_iter().filter_map(|task| task.action.command());
    let named: BTreeSet<&str> =
        commands.flat_map(|command| &command.secrets).map(|(_, name)| name.as_str()).collect();
    look_up_named(&named, &config.secrets(), config, surroundings)
}

/// The same for workflow files: each may name secrets of its own, which go before those of the project.
///
/// # Errors
///
/// As above.
pub fn look_up_for_files(
    files: &Files,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Found, CliError> {
    let mut sources = config.secrets();
    let all = files.all();
    for (name, source) in all.iter().flat_map(|file| &file.secrets) {
        sources.insert(name, source);
    }
    let tasks = all.iter().flat_map(|file| &file.tasks);
    let named = tasks.flat_map(|task| &task.secrets).map(|(_, name)| name.as_str()).collect();
    look_up_named(&named, &sources, config, surroundings)
}

/// The same for secrets from any table.
///
/// # Errors
///
/// As above.
pub fn look_up_named(
    named: &BTreeSet<&str>,
    sources: &BTreeMap<&str, &SecretSource>,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Found, CliError> {
    if let Some(name) = named.iter().find(|name| !sources.contains_key(*name)) {
        return Err(CliError::Secret {
            message: format!("nothing says where the secret `{}` comes from", printable(name)),
            hint: Some(match did_you_mean(name, sources.keys().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "name it under `secrets` in the project file".to_owned(),
            }),
        });
    }
    let (mut values, mut warnings, mut withheld) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (&name, &source) in sources {
        let is_named = named.contains(name);
        if let SecretSource::Env(variable) = source {
            withheld.push(OsText::from(variable));
        } else if !is_named {
            continue;
        }
        let value = match source {
            SecretSource::Env(variable) => from_environment(variable, config, surroundings),
            SecretSource::File(path) => from_file(name, path, &mut warnings),
            SecretSource::Command(argv) => {
                let folder = config.root().unwrap_or(&surroundings.cwd);
                from_command(argv, folder, COMMAND_LIMIT)
            }
        };
        let value = value.and_then(|value| {
            let one = BTreeMap::from([(name.to_owned(), value.clone())]);
            Secrets::new(one, Vec::new()).map(|_| value).map_err(Trouble::Unfit)
        });
        match value {
            Ok(value) => drop(values.insert(name.to_owned(), value)),
            // Nobody asked for it.
            Err(_) if !is_named => {}
            Err(Trouble::Unfit(error)) => return Err(error.into()),
            Err(Trouble::Missing { why, hint }) => {
                return Err(CliError::Secret {
                    message: format!("there is no secret `{name}`: {why}"),
                    hint,
                });
            }
        }
    }
    let secrets = unshared(values, withheld, surroundings)?;
    Ok(Found { secrets: Arc::new(secrets), warnings })
}

/// The secrets, which children do not inherit by variables that happen to have their values either.
///
/// # Errors
///
/// A value that cannot be one.
pub fn unshared(
    values: BTreeMap<String, String>,
    mut withheld: Vec<OsText>,
    surroundings: &Surroundings,
) -> Result<Secrets, CliError> {
    let variables = surroundings.environment.iter();
    let holding = variables.filter(|(_, value)| values.values().any(|secret| secret == value));
    withheld.extend(holding.map(|(variable, _)| OsText::from(variable)));
    Ok(Secrets::new(values, withheld)?)
}

/// Why there is no value. Never holds one.
enum Trouble {
    Missing { why: String, hint: Option<String> },
    Unfit(dirigent_process::ProcessError),
}

fn missing(why: String, hint: &str) -> Trouble {
    Trouble::Missing { why, hint: Some(hint.to_owned()) }
}

fn from_environment(variable: &str, config: &Config, surroundings: &Surroundings) -> Result<String, Trouble> {
    if let Some((_, value)) = surroundings.environment.iter().find(|(name, _)| name == variable) {
        return Ok(value.clone());
    }
    let mut found = None;
    for path in config.default_env_files() {
        let variables = env_file::load(&path)
            .map_err(|error| missing(dirigent_core::fault::chain(&error), "put the file right"))?;
        found = variables.into_iter().find(|(name, _)| name == variable).map(|(_, value)| value).or(found);
    }
    found.ok_or_else(|| {
        let why = match std::env::var_os(variable) {
            Some(_) => format!("what is in the variable `{variable}` is not UTF-8"),
            None => format!("the variable `{variable}` is not set"),
        };
        missing(why, "set it where dirigent is started, or change `secrets` in the project file")
    })
}

fn from_file(name: &str, path: &Path, warnings: &mut Vec<String>) -> Result<String, Trouble> {
    let refused = |error: std::io::Error| {
        missing(format!("cannot read {}: {error}", shown(path)), "change `secrets` in the project file")
    };
    let file = File::open(path).map_err(refused)?;
    let metadata = file.metadata().map_err(refused)?;
    if metadata.permissions().mode() & 0o077 != 0 && metadata.is_file() {
        let path = shown(path);
        warnings.push(format!("others may read {path}, where the secret `{name}` is: `chmod 600 {path}`"));
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(refused)?;
    text(bytes, &shown(path))
}

/// What was read, without the line break at its end.
fn text(bytes: Vec<u8>, place: &str) -> Result<String, Trouble> {
    if bytes.len() as u64 > MOST_BYTES {
        let why = format!("what is in {place} is longer than {} KiB", MOST_BYTES >> 10);
        return Err(missing(why, "a secret is one value, such as a token"));
    }
    let mut text = String::from_utf8(bytes)
        .map_err(|_| missing(format!("what is in {place} is not UTF-8"), "encode it, as base 64 or so"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn from_command(argv: &[String], folder: &Path, limit: Duration) -> Result<String, Trouble> {
    let (program, args) =
        argv.split_first().ok_or_else(|| missing("no program is named".into(), "name one"))?;
    let shown_program = printable(program);
    let failed = |why: String| {
        missing(format!("`{shown_program}` {why}"), "run it by hand; what it printed is not shown here")
    };
    // By this it is found with all that it started, should it not end.
    let mark = format!("secret-{}", new_run_id());
    let mut child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("DIRIGENT_RUN_ID", &mark)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(format!("could not start: {error}")))?;
    let deadline = Instant::now() + limit;
    let (send, receive) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.take(MOST_BYTES + 1).read_to_end(&mut bytes);
            send.send(read.map(|_| bytes))
        });
    }
    let read = receive.recv_timeout(limit);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if read.is_ok() && Instant::now() < deadline => std::thread::sleep(COMMAND_TICK),
            _ => break None,
        }
    };
    let (Ok(read), Some(status)) = (read, status) else {
        let _ = child.kill();
        let _ = child.wait();
        end_leftovers(format!("DIRIGENT_RUN_ID={mark}").as_bytes());
        return Err(failed(format!("did not end within {} s", limit.as_secs())));
    };
    // One that prints too much is cut off, and may take that badly.
    let is_too_long = matches!(&read, Ok(bytes) if bytes.len() as u64 > MOST_BYTES);
    if !status.success() && !is_too_long {
        return Err(failed(match status.code() {
            Some(code) => format!("failed with exit code {code}"),
            None => "was killed".to_owned(),
        }));
    }
    let bytes = read.map_err(|error| failed(format!("could not be read: {error}")))?;
    text(bytes, "its output")
}

/// Takes care that a workflow, which is recorded, holds no secret: a variable that has just the value of one becomes a
/// variable that is that secret.
///
/// # Errors
///
/// One stands anywhere else: in an argument, which every user of the machine can read, or within something longer.
pub fn keep_out(workflow: Workflow, secrets: &Secrets) -> Result<Workflow, CliError> {
    if secrets.is_empty() {
        return Ok(workflow);
    }
    let (name, tasks) = workflow.into_parts();
    let tasks: Result<Vec<Task>, CliError> = tasks
        .into_iter()
        .map(|task| {
            let mut task = Arc::unwrap_or_clone(task);
            if let Some(command) = task.action.command_mut() {
                secrets.claim(command);
            }
            refuse(&task, secrets)?;
            Ok(task)
        })
        .collect();
    Ok(Workflow::new(name, tasks?)?)
}

/// Refuses a secret in what is recorded of a workflow file: its parameters and its text.
///
/// # Errors
///
/// One stands there.
pub fn refuse_in_source(source: &Source, secrets: &Secrets) -> Result<(), CliError> {
    for (place, text) in [("a parameter", &*source.params), ("the file", &*source.text)] {
        if let Some(secret) = secrets.named_in(text).first() {
            return Err(CliError::Secret {
                message: format!("the secret `{secret}` stands in {place}, and that is recorded"),
                hint: Some("let the task that needs it name it: `secrets: [NAME]`".to_owned()),
            });
        }
    }
    Ok(())
}

fn refuse(task: &Task, secrets: &Secrets) -> Result<(), CliError> {
    let whole = serde_json::to_string(task).unwrap_or_default();
    let Some(secret) = secrets.named_in(&whole).first().copied() else { return Ok(()) };
    let is_in = |text: &OsText| secrets.named_in(text.as_os_str().as_encoded_bytes()).contains(&secret);
    let command = task.action.command();
    let message = |place: &str| {
        format!(
            "the secret `{secret}` stands in {place} of task `{}`",
            secrets.mask_text(&printable(&task.name))
        )
    };
    let (message, hint) = match command {
        Some(command) if command.argv.iter().any(is_in) => (
            format!("{}, and argument lists are public", message("the arguments")),
            "have the program read it from a variable: `secrets: [NAME]`",
        ),
        Some(command) if command.env.iter().filter_map(|(_, value)| value.as_ref()).any(is_in) => (
            format!("{}, and those are recorded", message("the variables")),
            "name what the variable holds, all of it, as a secret",
        ),
        _ => (format!("{}, and that is recorded", message("the settings")), "take it out of there"),
    };
    Err(CliError::Secret { message, hint: Some(hint.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_ended_with_all_it_started() {
        for line in ["sleep 600 & echo $! > child; wait", "sleep 600 & echo $! > child"] {
            let folder = tempfile::tempdir().expect("a folder");
            let argv = ["sh", "-c", line].map(str::to_owned);
            let Err(Trouble::Missing { why, .. }) =
                from_command(&argv, folder.path(), Duration::from_secs(2))
            else {
                panic!("{line}: it has no value")
            };
            assert_eq!(why, "`sh` did not end within 2 s");
            let child = std::fs::read_to_string(folder.path().join("child")).expect("it was started");
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
            assert!(stat.is_empty() || stat.contains(") Z "), "{line}: {stat}");
        }
    }
}
