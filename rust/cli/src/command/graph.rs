//! `dirigent graph`: what would run, or what a run came to, as a picture.
//!
//! Whatever gives a workflow or a state can be drawn; how is the report's business.

use super::recorded::Place;
use super::selection::{configuration, select};
use super::target::{Target, target};
use crate::args::GraphArgs;
use crate::display::paint;
use crate::fault::{CliError, exit};
use crate::python;
use crate::record::{self, write_whole};
use crate::surroundings::Surroundings;
use crate::terminal;
use dirigent_core::text::printable;
use dirigent_report::{Detail, Drawing, NotFolded, Picture, Theme, text};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub(super) fn graph(args: &GraphArgs) -> Result<i32, CliError> {
    let theme = args.theme.as_deref().and_then(Theme::from_name);
    if theme.is_some() && args.format != Picture::Svg.name() {
        return Err(CliError::Usage {
            message: format!("--theme: a picture as {} has no colours of its own", args.format),
            hint: Some("add `--format svg`, or leave it out".to_owned()),
        });
    }
    let theme = theme.unwrap_or_default();
    let drawing = drawing(args)?;
    let form = Picture::from_name(&args.format).expect("no other name can be typed");
    let text = match form {
        _ if args.json => super::json(&drawing),
        Picture::Text if args.output.is_none() => {
            let colours = terminal::colours_on_stdout();
            text::draw(&drawing, terminal::columns_on_stdout(), &|status, sign| {
                status
                    .map_or_else(|| sign.to_owned(), |status| terminal::painted(sign, paint(status), colours))
            })
        }
        form => form.draw(&drawing, theme),
    };
    match &args.output {
        Some(path) => write_whole(path, text.as_bytes())?,
        None => terminal::print(&text),
    }
    if drawing.folded > 0 {
        terminal::say(
            "`--unfold 1` draws the tasks of the first stage one by one, `--all` draws every task\n",
        );
    }
    Ok(exit::OK)
}

/// What is to be drawn: a run, or the workflow that would run.
fn drawing(args: &GraphArgs) -> Result<Drawing, CliError> {
    let most_nodes = if args.all { usize::MAX } else { Detail::default().most_nodes };
    let detail = Detail { most_nodes, unfold: args.unfold.clone() };
    if let [only] = args.selection.targets.as_slice()
        && let Some(recorded) = recorded(args, only)?
    {
        return Drawing::of_run(&recorded.state, &detail).map_err(not_folded);
    }
    let flags = args.selection.flags();
    let workflow = match target(&args.selection, &flags, &args.given)? {
        Target::File(file) => file.opened.workflow.clone(),
        Target::Scripts => {
            let selected = select(&args.selection, flags)?;
            terminal::say(&selected.notices());
            if selected.found.scripts.is_empty() {
                return Err(selected.nothing());
            }
            selected.workflow(&[])?
        }
        Target::Python { path, name } => return Err(draw_by_python(args, &path, &name)?),
    };
    Drawing::of_workflow(&workflow, &detail).map_err(not_folded)
}

/// Becomes the Python program that draws a workflow or flow of a file; what went wrong, where it cannot.
fn draw_by_python(args: &GraphArgs, path: &Path, name: &str) -> Result<CliError, CliError> {
    let surroundings = Surroundings::look()?;
    let folder = path.parent().unwrap_or(path);
    let config =
        configuration(&surroundings, folder, args.selection.config.as_deref(), args.selection.flags())?;
    let python = python::find(&config, &surroundings, config.root().unwrap_or(folder));
    let mut command = Command::new(&python.program);
    command.args(["-m", "dirigent._target_graph"]).arg(path).arg(name);
    command.args(["--format", if args.json { "json" } else { &args.format }]);
    command.args(args.theme.iter().flat_map(|theme| ["--theme", theme]));
    command.args(args.unfold.iter().flat_map(|stage| ["--unfold", stage]));
    command.args(args.all.then_some("--all"));
    if let Some(output) = &args.output {
        command.arg("--output").arg(surroundings.absolute(output));
    }
    command.args(args.given.param.iter().flat_map(|param| ["--param", param]));
    if let Some(file) = &args.given.params_file {
        command.arg("--params-file").arg(surroundings.absolute(file));
    }
    let source = command.exec();
    Ok(CliError::Io { doing: "start", path: python.program, source })
}

/// The run of this name. What is a file is none, unless it is the folder of a run.
fn recorded(args: &GraphArgs, name: &Path) -> Result<Option<record::Recorded>, CliError> {
    let path = Surroundings::look()?.absolute(name);
    let is_folder_of_run = path.is_dir() && path.parent().is_some_and(|runs| runs.ends_with("runs"));
    if path.exists() && !is_folder_of_run {
        return Ok(None);
    }
    let place = Place::of(&args.records)?;
    match record::read_run(Some(name), &place.state_dir, &place.surroundings) {
        Ok(recorded) => Ok(Some(recorded)),
        // Nobody calls a script so: what is wrong is that there is no run.
        Err(CliError::Nothing { .. }) if name != Path::new("last") => Ok(None),
        Err(error) => Err(error),
    }
}

fn not_folded(error: NotFolded) -> CliError {
    let folded: Vec<String> =
        error.folded.iter().take(12).map(|name| format!("`{}`", printable(name))).collect();
    CliError::Usage {
        message: format!("--unfold: {error}"),
        hint: Some(match folded.as_slice() {
            [] => "leave it out: every task is drawn already".to_owned(),
            folded => format!("name some of {}", folded.join(", ")),
        }),
    }
}
