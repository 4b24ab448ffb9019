//! A run from its start to its end, whichever verb asked for it: shown while it goes, told when it is over.

use super::selection::configuration;
use crate::conduct::{Conducted, Order};
use crate::display::{self, summary::summary};
use crate::fault::{CliError, exit};
use crate::hooks::Hooks;
use crate::notify;
use crate::record::{LogFolder, write_reports};
use crate::secrets;
use crate::signals::{self, Signals};
use crate::surroundings::{Surroundings, is_guest, program};
use crate::terminal;
use dirigent_core::event::Verdict;
use dirigent_core::spec::Task;
use dirigent_core::state::State;
use dirigent_core::text::printable;
use dirigent_engine::{Feed, News};
use dirigent_process::Secrets;
use dirigent_process::worker::adopt_orphans;
use dirigent_project::value::ReportKind;
use dirigent_project::workflow::Files;
use dirigent_project::{Config, Flags, RunSettings};
use dirigent_report::{Format, RunView};
use std::path::Path;
use std::sync::Arc;

/// What this program needs to run anything.
pub(super) fn order(state_dir: &Path) -> Result<Order<'_>, CliError> {
    Ok(Order {
        jobs: None,
        fail_fast: false,
        state_dir,
        root: None,
        guard: program()?,
        adopts_orphans: !is_guest(),
        secrets: Arc::default(),
    })
}

/// Looks up what the tasks are to have of secrets, and says what is not as it should be with them.
pub(super) fn look_up<'a>(
    tasks: impl IntoIterator<Item = &'a Arc<Task>>,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Arc<Secrets>, CliError> {
    Ok(with_warnings(secrets::look_up(tasks, config, surroundings)?))
}

/// The same for workflow files.
pub(super) fn look_up_for_files(
    files: &Files,
    config: &Config,
    surroundings: &Surroundings,
) -> Result<Arc<Secrets>, CliError> {
    Ok(with_warnings(secrets::look_up_for_files(files, config, surroundings)?))
}

fn with_warnings(found: secrets::Found) -> Arc<Secrets> {
    for warning in found.warnings {
        terminal::say(&format!("warning: {warning}\n"));
    }
    found.secrets
}

/// Starts a run and shows it until it is over.
pub(super) fn see_through(
    config: &Config,
    json: bool,
    start: impl FnOnce() -> Result<Conducted, CliError>,
) -> Result<i32, CliError> {
    let signals = Signals::hold();
    if !is_guest() {
        adopt_orphans()?;
    }
    let conducted = start()?;
    for process in &conducted.leftovers {
        terminal::say(&format!("ended what the last engine had left behind: {}\n", printable(process)));
    }
    signals.pass_on(conducted.run.control(), conducted.run.feed(0));
    let folder = conducted.folder.clone();
    let hooks = Hooks::listen(config, conducted.run.feed(0), &folder);
    display::follow(conducted.run.feed(0), &folder);
    let state = conducted.wait()?;
    let code = conclude(&state, &folder, &formats(&config.run), json);
    signals::let_through();
    notify::run_ended(&state, &folder, config);
    hooks.finish();
    code
}

/// Tells others of a run that another program carries on.
pub(crate) fn tell_others(
    mut feed: Feed,
    folder: &Path,
    home: &Path,
    config: Option<&Path>,
) -> Result<(), CliError> {
    let config = configuration(&Surroundings::look()?, home, config, Flags::default())?;
    let hooks = Hooks::listen(&config, feed.clone(), folder);
    if config.notifications().next().is_some() {
        let mut state = State::default();
        loop {
            match feed.next(None) {
                News::Events(events) => events.iter().for_each(|event| state.apply(event)),
                News::Stalled(_) | News::Quiet => {}
                News::End => break,
            }
        }
        notify::run_ended(&state, folder, &config);
    }
    hooks.finish();
    Ok(())
}

/// Tells how a run went, and says with what to exit.
pub(crate) fn conclude(
    state: &State,
    folder: &Path,
    formats: &[Format],
    json: bool,
) -> Result<i32, CliError> {
    tell(state, folder, formats, json)?;
    Ok(exit_code(state))
}

/// The reports to write.
pub(super) fn formats(settings: &RunSettings) -> Vec<Format> {
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
        let view = RunView { state, events: &[], past: &[], logs: &logs, folder: folder.to_str() };
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
