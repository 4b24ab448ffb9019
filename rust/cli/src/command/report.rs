//! `dirigent report`: any report of a recorded run, made again from its events.

use super::selection::configuration;
use crate::args::ReportArgs;
use crate::fault::{CliError, exit, shown};
use crate::record::{LogFolder, Recorded, read_run, state_dir, write_reports};
use crate::surroundings::Surroundings;
use crate::terminal;
use dirigent_project::Flags;
use dirigent_project::value::Location;
use dirigent_report::{Format, RunView};

pub(super) fn report(args: &ReportArgs) -> Result<i32, CliError> {
    let formats: Vec<Format> = match args.format.as_slice() {
        [] => Format::USUAL.to_vec(),
        names => names.iter().map(|name| format(name)).collect::<Result<_, _>>()?,
    };
    let surroundings = Surroundings::look()?;
    let flags = Flags { state_dir: args.state_dir.clone().map(Location), ..Flags::default() };
    let config = configuration(&surroundings, &surroundings.cwd, None, flags)?;
    let state_dir = state_dir(&config, &surroundings)?;
    let Recorded { folder, state, .. } = read_run(args.run.as_deref(), &state_dir, &surroundings)?;
    if args.json {
        let logs = LogFolder { folder: &folder, state: &state };
        let view = RunView { state: &state, events: &[], past: &[], logs: &logs, folder: folder.to_str() };
        terminal::print(&view.render(Format::Json).unwrap_or_default());
        return Ok(exit::OK);
    }
    for path in write_reports(&folder, &state, &formats)? {
        terminal::print(&format!("{}\n", shown(&path)));
    }
    Ok(exit::OK)
}

fn format(name: &str) -> Result<Format, CliError> {
    Format::from_name(name).ok_or_else(|| CliError::Usage {
        message: format!("there is no report of the kind `{}`", dirigent_core::text::printable(name)),
        hint: Some("name some of html, md, junit, json, trace".to_owned()),
    })
}
