//! `dirigent list`: the scripts that would be found, and how they would run.

use super::selection::select;
use crate::args::ListArgs;
use crate::fault::{CliError, exit};
use crate::terminal::{self, Paint, painted, width};
use dirigent_core::outcome::shown_duration;
use dirigent_core::spec::Task;
use dirigent_core::text::printable;
use dirigent_project::{Interpreter, Script};
use serde::Serialize;

/// One script as `--json` prints it.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    path: String,
    interpreter: Vec<String>,
    #[serde(flatten)]
    task: &'a Task,
}

pub(super) fn list(args: &ListArgs) -> Result<i32, CliError> {
    let selected = select(&args.selection, args.selection.flags())?;
    terminal::say(&selected.notices());
    if selected.found.scripts.is_empty() {
        return Err(selected.nothing());
    }
    let workflow = selected.workflow(&[])?;
    let python = selected.python.program.to_string_lossy();
    let rows = selected.found.scripts.iter().zip(workflow.tasks());
    if args.json {
        let rows: Vec<Listed<'_>> = rows
            .map(|(script, task)| Listed {
                name: &task.name,
                path: script.path.to_string_lossy().into_owned(),
                interpreter: interpreter(script, &python),
                task,
            })
            .collect();
        terminal::print(&super::json(&rows));
        return Ok(exit::OK);
    }
    let colours = terminal::colours_on_stdout();
    let names: Vec<String> = workflow.tasks().iter().map(|task| printable(&task.name)).collect();
    let longest = names.iter().map(|name| width(name)).max().unwrap_or(0).min(60);
    let mut text = String::new();
    for ((script, task), name) in rows.zip(&names) {
        let pad = " ".repeat(longest.saturating_sub(width(name)));
        let about = about(script, task);
        text.push_str(&format!("{name}{pad}  {}\n", painted(&about, Paint::Dim, colours)));
    }
    terminal::print(&text);
    let (count, root) = (names.len(), crate::fault::shown(&selected.found.root));
    let noun = if count == 1 { "script" } else { "scripts" };
    terminal::say(&format!("{count} {noun} in {root}; python is {python} ({})\n", selected.python.reason));
    Ok(exit::OK)
}

fn interpreter(script: &Script, python: &str) -> Vec<String> {
    match &script.interpreter {
        Interpreter::Python => vec![python.to_owned()],
        Interpreter::Program(argv) => argv.iter().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        Interpreter::Itself => Vec::new(),
    }
}

/// What is special about a script, in a few words.
fn about(script: &Script, task: &Task) -> String {
    let mut about = vec![match &script.interpreter {
        Interpreter::Python => "python".to_owned(),
        Interpreter::Program(argv) => {
            let argv: Vec<String> = argv.iter().map(|arg| printable(&arg.to_string_lossy())).collect();
            argv.join(" ")
        }
        Interpreter::Itself => "itself".to_owned(),
    }];
    if let Some(reason) = &task.policy.skip {
        about.push(format!("skipped: {}", printable(reason)));
    }
    if let Some(timeout) = task.policy.limits.timeout_ms {
        about.push(format!("at most {}", shown_duration(timeout)));
    }
    if !task.needs.is_empty() {
        about.push(format!("needs {}", task.needs.len()));
    }
    about.join(", ")
}
