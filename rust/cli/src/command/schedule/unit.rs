//! `dirigent schedule unit`: a unit by which systemd keeps the schedules of a project for its user.

use super::jobs::jobs;
use crate::args::Records;
use crate::command::recorded::Place;
use crate::fault::{CliError, exit};
use crate::surroundings::program;
use crate::terminal;
use std::path::Path;

pub(super) fn unit(records: &Records) -> Result<i32, CliError> {
    let place = Place::of(records)?;
    let (jobs, root) = jobs(&place.config)?;
    let patience_s = jobs.iter().map(|job| job.patience.as_secs() + 1).max().unwrap_or(0);
    let project = root.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let name: String = project.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    let program = program()?;
    let (program, root, state_dir) =
        (text(&program, "program")?, text(&root, "root")?, text(&place.state_dir, "state folder")?);
    terminal::print(&format!(
        "\
# To install it:
#   mkdir -p ~/.config/systemd/user
#   dirigent schedule unit > ~/.config/systemd/user/dirigent-{name}.service
#   systemctl --user daemon-reload && systemctl --user enable --now dirigent-{name}
# `loginctl enable-linger` has it run while nobody is logged in.
[Unit]
Description=Schedules of {}

[Service]
WorkingDirectory={}
ExecStart={} schedule run --state-dir {}
Restart=on-failure
RestartSec=10
# dirigent itself asks its runs to end, and waits for them.
KillMode=mixed
SuccessExitStatus=129 130 143
TimeoutStopSec={patience_s}

[Install]
WantedBy=default.target
",
        plain(root),
        plain(root),
        quoted(program),
        quoted(state_dir),
    ));
    Ok(exit::OK)
}

fn text<'a>(path: &'a Path, what: &str) -> Result<&'a str, CliError> {
    path.to_str().filter(|text| !text.chars().any(char::is_control)).ok_or_else(|| CliError::Usage {
        message: format!("the path of the {what} cannot be written into a unit"),
        hint: Some("move it to one of plain text".to_owned()),
    })
}

/// A value that is a path to its end: only specifiers have a meaning in it. Source: `systemd.unit(5)`.
fn plain(text: &str) -> String {
    text.replace('%', "%%")
}

/// A word of a command line. Source: `systemd.service(5)`, "Command lines".
fn quoted(text: &str) -> String {
    let text = plain(text).replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$");
    format!("\"{text}\"")
}
