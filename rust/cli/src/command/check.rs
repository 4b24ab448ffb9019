//! `dirigent check`: whether everything is as it should be, without running anything.

use super::selection::select;
use crate::args::ListArgs;
use crate::fault::{CliError, exit, exit_code, shown, told};
use crate::terminal;
use dirigent_core::fault::Fault;
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

pub(super) fn check(args: &ListArgs) -> Result<i32, CliError> {
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
            terminal::print(&super::json(&[finding(&error)]));
            Ok(exit_code(error.kind()))
        }
        Err(error) => Err(error),
    }
}

type Looked = (String, String, Vec<Finding>);

fn look(args: &ListArgs) -> Result<Looked, CliError> {
    let selected = select(&args.selection, args.selection.flags())?;
    if selected.found.scripts.is_empty() {
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
    let findings: Vec<Finding> = unmatched
        .iter()
        .map(|warning| Finding {
            severity: "warning",
            code: warning.code.to_owned(),
            message: warning.message.clone(),
            hint: warning.hint.clone(),
            file: Some(warning.file.to_string_lossy().into_owned()),
            line: Some(warning.line()),
            column: Some(warning.column()),
        })
        .collect();
    let files: Vec<String> = selected.config.files().map(shown).collect();
    let files = if files.is_empty() { "no configuration file".to_owned() } else { files.join(", ") };
    let verdict = match findings.len() {
        0 => "all well".to_owned(),
        1 => "1 thing to look at".to_owned(),
        n => format!("{n} things to look at"),
    };
    Ok((warnings, format!("{} scripts, {files}: {verdict}\n", workflow.tasks().len()), findings))
}

fn finding(error: &CliError) -> Finding {
    let place = match error {
        CliError::Project(dirigent_project::ProjectError::Invalid(diagnostic)) => Some(diagnostic),
        _ => None,
    };
    Finding {
        severity: "error",
        code: error.code().to_owned(),
        message: place.map_or_else(|| told(error), |place| place.message.clone()),
        hint: error.hint(),
        file: place.map(|place| place.file.to_string_lossy().into_owned()),
        line: place.map(|place| place.line()),
        column: place.map(|place| place.column()),
    }
}
