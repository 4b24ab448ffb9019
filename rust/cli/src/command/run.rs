//! `dirigent run`: scripts, from what was typed to the summary.

use super::python::run_python;
use super::selection::select;
use super::target::{FileTarget, Target, target};
use super::through::{look_up, look_up_for_files, order, see_through};
use crate::args::{PartArgs, RunArgs};
use crate::conduct::{self, Order, Work};
use crate::fault::{CliError, exit};
use crate::record::state_dir;
use crate::reuse::foreseen;
use crate::surroundings::Surroundings;
use crate::terminal;
use crate::workflow::{Part, part};
use dirigent_core::decide::Input;
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::spec::{Action, Task, Workflow};
use dirigent_core::text::{OsText, printable};
use dirigent_project::Flags;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

pub(super) fn run(args: &RunArgs) -> Result<i32, CliError> {
    let flags = flags(args)?;
    if args.selection.targets.is_empty() {
        return Err(CliError::Usage {
            message: "nothing to run was named".to_owned(),
            hint: Some("name a folder, a script or a glob, such as `dirigent run scripts/`".to_owned()),
        });
    }
    match target(&args.selection, &flags, &args.given)? {
        Target::Scripts => {}
        Target::File(file) => return run_file(args, *file),
        Target::Python { path, name } => return run_python(args, flags, &path, &name),
    }
    let selected = select(&args.selection, flags)?;
    terminal::say(&selected.notices());
    if selected.found.scripts.is_empty() {
        return Err(selected.nothing());
    }
    for warning in selected.unmatched() {
        terminal::say(&(warning.render(terminal::colours_on_stderr()) + "\n"));
    }
    let state_dir = state_dir(&selected.config, &selected.surroundings)?;
    let (workflow, known) = part(selected.workflow(&args.args)?, wanted(&args.part), &state_dir)?;
    if args.dry_run {
        terminal::print(&dry_run(&workflow, &known, &state_dir, args.json)?);
        return Ok(exit::OK);
    }
    let settings = &selected.config.run;
    let order = Order {
        jobs: settings.jobs.value,
        fail_fast: settings.fail_fast.value,
        root: Some(selected.config.root().unwrap_or(&selected.found.root)),
        secrets: look_up(workflow.tasks(), &selected.config, &selected.surroundings)?,
        ..order(&state_dir)?
    };
    see_through(&selected.config, args.json, || conduct::start(Work { known, ..workflow.into() }, &order))
}

/// The tasks that were asked for.
fn wanted(part: &PartArgs) -> Part<'_> {
    Part { only: &part.only, from: &part.from, until: &part.until }
}

/// A workflow file, or a job with what it needs.
fn run_file(args: &RunArgs, file: FileTarget) -> Result<i32, CliError> {
    refuse_for_files(args)?;
    let FileTarget { config, state_dir, opened } = file;
    let (workflow, known) = part(opened.workflow.clone(), wanted(&args.part), &state_dir)?;
    if args.dry_run {
        terminal::print(&dry_run(&workflow, &known, &state_dir, args.json)?);
        return Ok(exit::OK);
    }
    let said = config.run.fail_fast.origin != dirigent_project::Origin::Default;
    let root = Arc::clone(opened.files.root());
    let settings = &config.run;
    let order = Order {
        jobs: settings.jobs.value.or(root.jobs),
        fail_fast: if said { settings.fail_fast.value } else { root.fail_fast },
        root: Some(config.root().unwrap_or(root.folder())),
        secrets: look_up_for_files(&opened.files, &config, &Surroundings::look()?)?,
        ..order(&state_dir)?
    };
    see_through(&config, args.json, || conduct::start(Work { workflow, known, file: Some(opened) }, &order))
}

/// What is said of scripts means nothing to a workflow file.
fn refuse_for_files(args: &RunArgs) -> Result<(), CliError> {
    let selection = &args.selection;
    let options = [
        ("--filter", !selection.filter.is_empty()),
        ("--max-depth", selection.max_depth.is_some()),
        ("--subdir", !selection.subdir.is_empty()),
        ("--ext", !selection.ext.is_empty()),
        ("--timeout", args.timeout.is_some()),
        ("--memory-limit-mb", args.memory_limit_mb.is_some()),
        ("--grace", args.grace.is_some()),
        ("arguments behind `--`", !args.args.is_empty()),
    ];
    match options.into_iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((option, _)) => Err(CliError::Usage {
            message: format!("{option}: this is for scripts, and a workflow file says it of each task"),
            hint: Some("say it in the file, or give a parameter by `--param NAME=VALUE`".to_owned()),
        }),
    }
}

/// What was said about settings of runs.
pub(super) fn flags(args: &RunArgs) -> Result<Flags, CliError> {
    args.flags().map_err(|message| CliError::Usage {
        message: format!("--report: {message}"),
        hint: Some("name some of html, md, junit, json, or none".to_owned()),
    })
}

/// What would run, a line a task with the exact arguments; what would be taken over from where, and why what might have been
/// is not.
fn dry_run(workflow: &Workflow, known: &[Input], state_dir: &Path, json: bool) -> Result<String, CliError> {
    let (reused, reasons) = foreseen(workflow, known, state_dir)?;
    let from = |index: TaskIndex| {
        reused.iter().find_map(|input| match input {
            Input::Reused { task, reused } if *task == index => Some(&reused.from),
            _ => None,
        })
    };
    let why = |index: TaskIndex| reasons.iter().find(|(task, _)| *task == index).map(|(_, why)| why);
    let tasks = || (0u32..).map(TaskIndex).zip(workflow.tasks());
    if json {
        let rows =
            tasks().map(|(index, task)| Foreseen { task, reused_from: from(index), not_reused: why(index) });
        return Ok(super::json(&rows.collect::<Vec<_>>()));
    }
    let mut text = String::new();
    for (index, task) in tasks() {
        let name = printable(&task.name);
        text.push_str(&match (&task.policy.skip, from(index)) {
            (Some(reason), _) => format!("skip  {name}  {}\n", printable(reason)),
            (None, Some(from)) => format!("reuse {name}  from run {from}\n"),
            (None, None) => format!("run   {name}  {}\n", what(&task.action)),
        });
        if let Some(why) = why(index) {
            text.push_str(&format!("      not reused: {}\n", printable(why)));
        }
    }
    Ok(text)
}

/// A task of a run that is not made, as `--json` prints it.
#[derive(Serialize)]
struct Foreseen<'a> {
    #[serde(flatten)]
    task: &'a Task,
    #[serde(skip_serializing_if = "Option::is_none")]
    reused_from: Option<&'a RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_reused: Option<&'a String>,
}

/// What a task does, in a line.
fn what(action: &Action) -> String {
    match action {
        Action::Command(command) => argv(&command.argv),
        Action::Script(script) => argv(&script.command.argv),
        Action::Function(function) => printable(&function.name),
        Action::Approval(approval) => printable(&approval.prompt),
    }
}

fn argv(argv: &[OsText]) -> String {
    argv.iter().map(|arg| quoted(&arg.shown())).collect::<Vec<_>>().join(" ")
}

/// An argument as it could be typed into a shell. For the eye only: nothing is ever run from it.
pub(super) fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        arg.to_owned()
    } else {
        format!("'{}'", arg.replace('\'', r"'\''"))
    }
}
