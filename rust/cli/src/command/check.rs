//! `dirigent check`: whether everything is as it should be, without running anything.

use super::selection::{configuration, select};
use super::target::{Target, has_jobs, target, workflow_document};
use crate::args::{CheckArgs, GivenArgs};
use crate::fault::{CliError, exit, exit_code, shown, told};
use crate::surroundings::Surroundings;
use crate::terminal;
use dirigent_core::fault::Fault;
use dirigent_project::diagnose::did_you_mean;
use dirigent_project::workflow::Files;
use dirigent_project::{Diagnostic, Document, ProjectError, Severity};
use serde::Serialize;

/// A finding as `--json` prints it.
#[derive(Serialize)]
struct Finding {
    severity: &'static str,
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

pub(super) fn check(args: &CheckArgs) -> Result<i32, CliError> {
    if args.schema {
        terminal::print(&super::json(&dirigent_project::workflow::schema()));
        return Ok(exit::OK);
    }
    match look(args) {
        Ok((warnings, text, findings)) => {
            if args.json {
                terminal::print(&super::json(&findings));
            } else {
                terminal::say(&warnings);
                terminal::print(&text);
            }
            Ok(if findings.is_empty() { exit::OK } else { exit::USAGE })
        }
        Err(error) if args.json => {
            terminal::print(&super::json(&findings(&error)));
            Ok(exit_code(error.kind()))
        }
        Err(error) => Err(error),
    }
}

/// Sees that the secrets that tasks name are known to the files or to the project.
fn see_secrets(args: &CheckArgs, document: &Document, files: &Files) -> Result<(), CliError> {
    let all = files.all();
    let mut used = all.iter().flat_map(|file| &file.tasks).flat_map(|task| &task.secrets);
    if used.next().is_none() {
        return Ok(());
    }
    let surroundings = Surroundings::look()?;
    let folder = files.root().folder();
    let flags = args.selection.flags();
    let config = configuration(&surroundings, folder, args.selection.config.as_deref(), flags)?;
    let of_project = config.secrets();
    let of_files = all.iter().flat_map(|file| file.secrets.iter().map(|(name, _)| name.as_str()));
    let known: Vec<&str> = of_project.keys().copied().chain(of_files).collect();
    let mut unknown = Vec::new();
    for file in &all {
        let is_unknown = |(_, name): &&(String, String)| !known.contains(&name.as_str());
        let tasks = file.tasks.iter().filter_map(|task| Some((task, task.secrets.iter().find(is_unknown)?)));
        for (task, (_, name)) in tasks {
            let own = if file.path == document.path { None } else { Some(Document::load(&file.path)?) };
            let message = format!("task `{}`: nothing says where the secret `{name}` comes from", task.name);
            let hint = match did_you_mean(name, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "name it under `secrets`, in this file or in the project file".to_owned(),
            };
            let told = own.as_ref().unwrap_or(document).diagnostic(
                Severity::Error,
                "workflow.unknown_secret",
                task.span.clone(),
                message,
            );
            unknown.push(Diagnostic { hint: Some(hint), ..told });
        }
    }
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(ProjectError::from_all(unknown).into()),
    }
}

type Looked = (String, String, Vec<Finding>);

fn look(args: &CheckArgs) -> Result<Looked, CliError> {
    if let Some(document) = workflow_document(&args.selection)? {
        let files = Files::read(&document, None)?;
        see_secrets(args, &document, &files)?;
        let tasks: usize = files.all().iter().map(|file| file.tasks.len()).sum();
        let others = match files.all().len() {
            1 => String::new(),
            n => format!(" in {n} files"),
        };
        return Ok((
            String::new(),
            format!("{}: {tasks} tasks{others}: all well\n", shown(&document.path)),
            Vec::new(),
        ));
    }
    if let Target::Python { path, name } =
        target(&args.selection, &args.selection.flags(), &GivenArgs::default())?
    {
        return Err(CliError::Usage {
            message: format!("{}:{name} is known to Python alone", shown(&path)),
            hint: Some(format!("`dirigent run {}:{name} --dry-run` checks it", shown(&path))),
        });
    }
    let selected = select(&args.selection, args.selection.flags())?;
    let jobs = match selected.config.project_document().filter(|document| has_jobs(document)) {
        Some(document) => Files::read_jobs(document, None, None)?.root().tasks.len(),
        None => 0,
    };
    if selected.found.scripts.is_empty() && jobs == 0 {
        return Err(selected.nothing());
    }
    let workflow = selected.workflow(&[])?;
    super::schedule::check(&selected.config)?;
    let unmatched = selected.unmatched();
    let mut warnings = selected.notices();
    for warning in &unmatched {
        warnings.push_str(&warning.render(terminal::colours_on_stderr()));
        warnings.push('\n');
    }
    let findings: Vec<Finding> = unmatched.iter().map(|warning| found("warning", warning)).collect();
    let files: Vec<String> = selected.config.files().map(shown).collect();
    let files = if files.is_empty() { "no configuration file".to_owned() } else { files.join(", ") };
    let verdict = match findings.len() {
        0 => "all well".to_owned(),
        1 => "1 thing to look at".to_owned(),
        n => format!("{n} things to look at"),
    };
    let jobs = if jobs == 0 { String::new() } else { format!("{jobs} jobs, ") };
    Ok((warnings, format!("{} scripts, {jobs}{files}: {verdict}\n", workflow.tasks().len()), findings))
}

/// Everything that an error tells.
fn findings(error: &CliError) -> Vec<Finding> {
    let diagnostics = match error {
        CliError::Project(error) => error.diagnostics(),
        _ => &[],
    };
    if diagnostics.is_empty() {
        return vec![Finding {
            severity: "error",
            code: error.code().to_owned(),
            message: told(error),
            hint: error.hint(),
            file: None,
            line: None,
            column: None,
        }];
    }
    diagnostics.iter().map(|place| found("error", place)).collect()
}

fn found(severity: &'static str, place: &Diagnostic) -> Finding {
    Finding {
        severity,
        code: place.code.to_owned(),
        message: place.message.clone(),
        hint: place.hint.clone(),
        file: Some(place.file.to_string_lossy().into_owned()),
        line: Some(place.line()),
        column: Some(place.column()),
    }
}
