//! `dirigent list`: what could be run, and how: scripts, jobs, the tasks of a workflow file.

use super::selection::{Selected, select};
use super::target::{Target, has_jobs, target, workflow_document};
use crate::args::{GivenArgs, ListArgs};
use crate::fault::{CliError, exit};
use crate::record::state_dir;
use crate::surroundings::origin;
use crate::terminal::{self, Paint, painted, width};
use dirigent_core::outcome::shown_duration;
use dirigent_core::spec::Task;
use dirigent_core::text::printable;
use dirigent_journal::Reader;
use dirigent_project::param::Param;
use dirigent_project::workflow::{FileAction, FileTask, Files};
use dirigent_project::{Interpreter, Script, WorkflowFile};
use dirigent_report::quantity::iso;
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
    if let Some(document) = workflow_document(&args.selection)? {
        return Ok(list_tasks(Files::read(&document, None)?.root(), args.json));
    }
    match target(&args.selection, &args.selection.flags(), &GivenArgs::default())? {
        Target::Scripts => {}
        Target::File(file) => return Ok(list_tasks(file.opened.files.root(), args.json)),
        Target::Python { path, name } => {
            return Err(CliError::Usage {
                message: format!("{}:{name} is known to Python alone", crate::fault::shown(&path)),
                hint: Some(format!(
                    "`dirigent run {}:{name} --dry-run` tells its tasks",
                    crate::fault::shown(&path)
                )),
            });
        }
    }
    let selected = select(&args.selection, args.selection.flags())?;
    terminal::say(&selected.notices());
    let jobs = if args.selection.targets.is_empty() { jobs(&selected)? } else { Vec::new() };
    if selected.found.scripts.is_empty() && jobs.is_empty() {
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
        terminal::print(&match jobs.is_empty() {
            true => super::json(&rows),
            false => super::json(&Whole { scripts: rows, jobs }),
        });
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
    text.push_str(&told_jobs(&jobs, colours));
    terminal::print(&text);
    if names.is_empty() {
        return Ok(exit::OK);
    }
    let (count, root) = (names.len(), crate::fault::shown(&selected.found.root));
    let noun = if count == 1 { "script" } else { "scripts" };
    terminal::say(&format!("{count} {noun} in {root}; python is {python} ({})\n", selected.python.reason));
    Ok(exit::OK)
}

/// A project with jobs, as `--json` prints it.
#[derive(Serialize)]
struct Whole<'a> {
    scripts: Vec<Listed<'a>>,
    jobs: Vec<Job>,
}

/// A job with how it went last.
#[derive(Serialize)]
struct Job {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    needs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Last>,
}

/// How a job went last.
#[derive(Serialize)]
struct Last {
    run: String,
    status: String,
    at_ms: i64,
}

/// The jobs of the project.
fn jobs(selected: &Selected) -> Result<Vec<Job>, CliError> {
    let Some(document) = selected.config.project_document().filter(|document| has_jobs(document)) else {
        return Ok(Vec::new());
    };
    let file = WorkflowFile::read_jobs(document)?;
    let state_dir = state_dir(&selected.config, &selected.surroundings)?;
    let reader = Reader::open(&state_dir).ok();
    let last = |name: &str| {
        let row = reader.as_ref()?.runs(1, Some(name)).ok()?.pop()?;
        Some(Last { run: row.id.to_string(), status: row.status().to_owned(), at_ms: row.created_at_ms })
    };
    let name = |place: &u32| file.tasks[*place as usize].name.clone();
    let job = |task: &FileTask| Job {
        name: task.name.clone(),
        description: task.description.clone(),
        needs: task.needs.iter().map(name).collect(),
        last: last(&task.name),
    };
    Ok(file.tasks.iter().map(job).collect())
}

fn told_jobs(jobs: &[Job], colours: bool) -> String {
    let longest = jobs.iter().map(|job| width(&printable(&job.name))).max().unwrap_or(0).min(60);
    let mut text = String::new();
    for job in jobs {
        let name = printable(&job.name);
        let pad = " ".repeat(longest.saturating_sub(width(&name)));
        let last = match &job.last {
            None => "never ran".to_owned(),
            Some(last) => {
                let at = iso(last.at_ms, origin(None).utc_offset_min).replace('T', " ");
                format!("{} {}", last.status.replace('_', " "), at.get(..16).unwrap_or(&at))
            }
        };
        let about = job.description.as_deref().map(|about| format!("  {}", printable(about)));
        let last = painted(&last, Paint::Dim, colours);
        text.push_str(&format!("{name}{pad}  job, {last}{}\n", about.unwrap_or_default()));
    }
    text
}

/// The tasks of a workflow file, or of the jobs up to one, and its parameters.
fn list_tasks(root: &WorkflowFile, json: bool) -> i32 {
    if json {
        let name = |place: &u32| root.tasks[*place as usize].name.as_str();
        let task = |task: &FileTask| {
            serde_json::json!({
                "name": task.name,
                "action": action_name(&task.action),
                "needs": task.needs.iter().map(name).collect::<Vec<_>>(),
                "when": task.when.as_ref().map(|when| when.text().trim()),
                "each": task.each.is_some(),
                "description": task.description,
                "tags": task.tags,
            })
        };
        let param = |param: &Param| {
            serde_json::json!({
                "name": param.name,
                "type": param.kind.name(),
                "default": param.default,
                "allowed": param.allowed,
                "description": param.description,
            })
        };
        terminal::print(&super::json(&serde_json::json!({
            "workflow": root.name,
            "description": root.description,
            "params": root.params.iter().map(param).collect::<Vec<_>>(),
            "tasks": root.tasks.iter().map(task).collect::<Vec<_>>(),
        })));
        return exit::OK;
    }
    let colours = terminal::colours_on_stdout();
    let names: Vec<String> = root.tasks.iter().map(|task| printable(&task.name)).collect();
    let longest = names.iter().map(|name| width(name)).max().unwrap_or(0).min(60);
    let mut text = String::new();
    for (task, name) in root.tasks.iter().zip(&names) {
        let pad = " ".repeat(longest.saturating_sub(width(name)));
        let needs: Vec<&str> = task.needs.iter().map(|need| names[*need as usize].as_str()).collect();
        let mut about = vec![action_name(&task.action).to_owned()];
        if task.each.is_some() {
            about.push("once for each of several".to_owned());
        }
        if !needs.is_empty() {
            about.push(format!("needs {}", needs.join(", ")));
        }
        if let Some(when) = &task.when {
            about.push(format!("when {}", printable(when.text().trim())));
        }
        about.extend(task.description.as_deref().map(printable));
        text.push_str(&format!("{name}{pad}  {}\n", painted(&about.join("; "), Paint::Dim, colours)));
    }
    for param in &root.params {
        let default =
            param.default.as_ref().map_or("to be given".to_owned(), |default| format!("default {default}"));
        let about = param.description.as_deref().map(|about| format!("; {}", printable(about)));
        let about = format!("{}, {default}{}", param.kind.name(), about.unwrap_or_default());
        text.push_str(&format!("--param {}=…  {}\n", param.name, painted(&about, Paint::Dim, colours)));
    }
    terminal::print(&text);
    exit::OK
}

fn action_name(action: &FileAction) -> &'static str {
    match action {
        FileAction::Run(_) => "run",
        FileAction::Shell(_) => "shell",
        FileAction::Script { .. } => "script",
        FileAction::Python { .. } => "python",
        FileAction::Workflow { .. } => "workflow",
        FileAction::Approval(_) => "approval",
        FileAction::Signal(_) => "signal",
    }
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
