//! The schedules of the project with all that carrying them out takes: what is run, where, and what may go wrong with it.

use crate::args::RunArgs;
use crate::fault::CliError;
use clap::{Args, Command, FromArgMatches};
use dirigent_project::diagnose::did_you_mean;
use dirigent_project::{Config, Declared, Diagnostic, Document, Severity};
use dirigent_schedule::zone;
use std::path::PathBuf;
use std::time::Duration;

/// The time a run has after it was asked to end and after its own grace.
const AFTER_GRACE: Duration = Duration::from_secs(10);

/// A schedule, and how patient one is with a run of it.
pub(super) struct Job {
    pub(super) declared: Declared,
    /// How long a run that was asked to end may take.
    pub(super) patience: Duration,
}

impl Job {
    /// How its times are written, for the journal: where that changes, it begins afresh, and so it does after a pause in the
    /// file.
    pub(super) fn timing(&self) -> String {
        let paused = if self.declared.paused { ", paused" } else { "" };
        format!("{}{paused}", self.declared.timing)
    }
}

/// The schedules of the project whose file was found, and its root.
pub(super) fn jobs(config: &Config) -> Result<(Vec<Job>, PathBuf), CliError> {
    let nothing = |message: &str, hint: &str| CliError::Nothing {
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
    };
    let hint = "write one into the project's file: \
                `schedules: {nightly: {run: etl/, cron: \"0 3 * * *\"}}`, or the same in TOML";
    let (Some((declared, document)), Some(root)) = (config.schedules(&zone::of_system())?, config.root())
    else {
        return Err(nothing("there is no project file here, and so no schedule", hint));
    };
    if declared.is_empty() {
        return Err(nothing("the project's file has no schedules", hint));
    }
    let mut line = Line::new();
    let jobs = declared.into_iter().map(|declared| job(declared, document, config, &mut line));
    Ok((jobs.collect::<Result<_, _>>()?, root.to_owned()))
}

/// Sees that what the schedules of a project run could be typed after `dirigent run`.
pub(in crate::command) fn check(config: &Config) -> Result<(), CliError> {
    if let Some((declared, document)) = config.schedules(&zone::of_system())? {
        let mut line = Line::new();
        declared.into_iter().try_for_each(|declared| job(declared, document, config, &mut line).map(drop))?;
    }
    Ok(())
}

/// The one that somebody calls so.
pub(super) fn called(jobs: Vec<Job>, name: &str) -> Result<Job, CliError> {
    let names: Vec<String> = jobs.iter().map(|job| job.declared.name.clone()).collect();
    jobs.into_iter().find(|job| job.declared.name == name).ok_or_else(|| CliError::Nothing {
        message: format!("there is no schedule `{}`", dirigent_core::text::printable(name)),
        hint: Some(match did_you_mean(name, names.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "`dirigent schedule` lists those there are".to_owned(),
        }),
    })
}

fn job(declared: Declared, document: &Document, config: &Config, line: &mut Line) -> Result<Job, CliError> {
    let run = &declared.run;
    let grace = line.grace(&run.value).map_err(|message| {
        let message = format!("`schedules.{}.run`: {message}", declared.name);
        let wrong = document.diagnostic(Severity::Error, "config.invalid_value", run.span.clone(), message);
        let hint = "give it what is typed after `dirigent run`: a target, or a list of a target and options";
        CliError::Project(Diagnostic { hint: Some(hint.to_owned()), ..wrong }.into())
    })?;
    Ok(Job { declared, patience: grace.unwrap_or(config.run.grace.value) + AFTER_GRACE })
}

/// What `dirigent run` takes, made once: that takes longer than to understand a line by it.
struct Line(Command);

impl Line {
    fn new() -> Self {
        Self(RunArgs::augment_args(Command::new("dirigent run").no_binary_name(true)))
    }

    /// Sees that these are arguments of `dirigent run`, and returns the grace they give.
    fn grace(&mut self, args: &[String]) -> Result<Option<Duration>, String> {
        let matches = self.0.try_get_matches_from_mut(args);
        match matches.and_then(|matches| RunArgs::from_arg_matches(&matches)) {
            Ok(args) if args.selection.targets.is_empty() => Err("it names no target".to_owned()),
            Ok(args) => Ok(args.grace.map(|grace| grace.0)),
            Err(error) if !error.use_stderr() => Err("it asks for help, and runs nothing".to_owned()),
            Err(error) => {
                let told = error.to_string();
                Err(told.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
            }
        }
    }
}
