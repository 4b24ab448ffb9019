//! `dirigent config`: every setting, and where it comes from.

use super::selection::configuration;
use crate::args::ConfigArgs;
use crate::fault::{CliError, exit};
use crate::python;
use crate::surroundings::Surroundings;
use crate::terminal::{self, Paint, painted, width};
use dirigent_core::text::printable;
use dirigent_project::Flags;
use std::path::Path;

pub(super) fn config(args: &ConfigArgs) -> Result<i32, CliError> {
    let surroundings = Surroundings::look()?;
    let folder = surroundings.absolute(args.folder.as_deref().unwrap_or(Path::new(".")));
    let config = configuration(&surroundings, &folder, args.config.as_deref(), Flags::default())?;
    let explained = config.explain();
    if args.json {
        terminal::print(&super::json(&explained));
        return Ok(exit::OK);
    }
    let colours = terminal::colours_on_stdout();
    let rows: Vec<(String, String)> = explained
        .iter()
        .map(|line| {
            (
                format!("{} = {}", printable(&line.key), printable(&line.value.to_string())),
                line.origin.to_string(),
            )
        })
        .collect();
    let longest = rows.iter().map(|(row, _)| width(row)).max().unwrap_or(0).min(60);
    let mut text = String::new();
    for (row, origin) in rows {
        let pad = " ".repeat(longest.saturating_sub(width(&row)));
        text.push_str(&format!("{row}{pad}  {}\n", painted(&format!("# {origin}"), Paint::Dim, colours)));
    }
    terminal::print(&text);
    let root = config.root().unwrap_or(&folder);
    let found = python::find(&config, &surroundings, root);
    terminal::say(&format!("python is {} ({})\n", crate::fault::shown(&found.program), found.reason));
    Ok(exit::OK)
}
