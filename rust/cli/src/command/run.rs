//! `dirigent run`: scripts, from what was typed to the summary.

use super::selection::select;
use crate::args::RunArgs;
use crate::conduct::{self, Conducted, Order};
use crate::display::{self, summary::summary};
use crate::fault::{CliError, exit};
use crate::record::{LogFolder, state_dir, write_reports};
use crate::signals::{self, Signals};
use crate::terminal;
use dirigent_core::event::Verdict;
use dirigent_core::spec::Workflow;
use dirigent_core::state::State;
use dirigent_core::text::printable;
use dirigent_process::worker::adopt_orphans;
use dirigent_project::RunSettings;
use dirigent_project::value::ReportKind;
use dirigent_report::{Format, RunView};
use std::path::Path;

pub(super) fn run(args: &RunArgs) -> Result<i32, CliError> {
    let flags = args.flags().map_err(|message| CliError::Usage {
        message: format!("--report: {message}"),
        hint: Some("name some of html, md, junit, json, or none".to_owned()),
    })?;
    if args.selection.targets.is_empty() {
        return Err(CliError::Usage {
            message: "nothing to run was named".to_owned(),
            hint: Some("name a folder, a script or a glob, such as `dirigent run scripts/`".to_owned()),
        });
    }
    let selected = select(&args.selection, flags)?;
    terminal::say(&selected.notices());
    if selected.found.scripts.is_empty() {
        return Err(selected.nothing());
    }
    for warning in selected.unmatched() {
        terminal::say(&(warning.render(terminal::colours_on_stderr()) + "\n"));
    }
    let workflow = selected.workflow(&args.args)?;
    if args.dry_run {
        terminal::print(&dry_run(&workflow, args.json));
        return Ok(exit::OK);
    }
    let state_dir = state_dir(&selected.config, &selected.surroundings)?;
    let settings = &selected.config.run;
    let order = Order {
        jobs: settings.jobs.value,
        fail_fast: settings.fail_fast.value,
        root: Some(selected.config.root().unwrap_or(&selected.found.root)),
        ..order(&state_dir)?
    };
    see_through(settings, args.json, || conduct::start(workflow, Vec::new(), &order))
}

/// What this program needs to run anything.
pub(super) fn order(state_dir: &Path) -> Result<Order<'_>, CliError> {
    Ok(Order {
        jobs: None,
        fail_fast: false,
        state_dir,
        root: None,
        guard: std::env::current_exe().map_err(CliError::io("find", Path::new("this program")))?,
        adopts_orphans: true,
    })
}

/// Starts a run and shows it until it is over.
pub(super) fn see_through(
    settings: &RunSettings,
    json: bool,
    start: impl FnOnce() -> Result<Conducted, CliError>,
) -> Result<i32, CliError> {
    let signals = Signals::hold();
    adopt_orphans()?;
    let conducted = start()?;
    for process in &conducted.leftovers {
        terminal::say(&format!("ended what the last engine had left behind: {}\n", printable(process)));
    }
    signals.pass_on(conducted.run.control(), conducted.run.feed(0));
    display::follow(conducted.run.feed(0));
    let folder = conducted.folder.clone();
    let state = conducted.wait()?;
    tell(&state, &folder, &formats(settings), json)?;
    Ok(exit_code(&state))
}

/// The reports to write.
fn formats(settings: &RunSettings) -> Vec<Format> {
    let format = |kind: &ReportKind| match kind {
        ReportKind::Html => Format::Html,
        ReportKind::Md => Format::Md,
        ReportKind::Junit => Format::Junit,
        ReportKind::Json => Format::Json,
    };
    settings.report.value.iter().map(format).collect()
}

/// Reports that cannot be written take nothing from what is known: the summary comes first.
fn tell(state: &State, folder: &Path, formats: &[Format], json: bool) -> Result<(), CliError> {
    let reports = write_reports(folder, state, formats);
    if json {
        let logs = LogFolder { folder, state };
        let view = RunView { state, logs: &logs, folder: folder.to_str() };
        terminal::print(&view.render(Format::Json).unwrap_or_default());
    } else {
        let page = folder.join(Format::Html.file_name());
        let listed = reports.as_deref().unwrap_or_default().iter().filter(|path| **path == page);
        let listed: Vec<_> = listed.cloned().collect();
        terminal::print(&summary(state, folder, &listed, terminal::colours_on_stdout()));
    }
    reports.map(drop)
}

fn exit_code(state: &State) -> i32 {
    match state.end().map(|end| end.verdict) {
        Some(Verdict::Succeeded) => exit::OK,
        Some(Verdict::Failed) => exit::FAILED,
        Some(Verdict::Cancelled) => state.cancel().map_or(exit::FAILED, signals::exit_code),
        None => exit::INTERNAL,
    }
}

/// What would run: a line a script, with the exact arguments.
fn dry_run(workflow: &Workflow, json: bool) -> String {
    if json {
        return super::json(&workflow.tasks());
    }
    let mut text = String::new();
    for task in workflow.tasks() {
        let command = task.action.command().map(|command| command.argv.as_slice()).unwrap_or_default();
        let line = match &task.policy.skip {
            Some(reason) => format!("skip  {}  {}\n", printable(&task.name), printable(reason)),
            None => {
                let argv: Vec<String> = command.iter().map(|arg| quoted(&arg.shown())).collect();
                format!("run   {}  {}\n", printable(&task.name), argv.join(" "))
            }
        };
        text.push_str(&line);
    }
    text
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
