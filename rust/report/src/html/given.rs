//! What a run was given, what it ran in, and how it compares with those before it.

use crate::escape::Name;
use crate::past::{PastRun, changes, difference, median};
use crate::quantity::{counted, grouped, shown_seconds};
use crate::summary::Summary;
use dirigent_core::State;
use dirigent_core::spec::Command;
use dirigent_core::text::OsText;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Result, Write};

/// How much of a parameter is shown.
const VALUE_CHARS: usize = 300;

/// Writes the workflow file and its parameters; nothing where the run is of none.
pub(super) fn parameters(out: &mut dyn Write, state: &State) -> Result {
    let Some(source) = state.header().and_then(|header| header.origin.source.as_ref()) else {
        return Ok(());
    };
    let path = source.path.as_os_str().to_string_lossy();
    writeln!(out, "<section id=parameters>\n<h2>Parameters</h2>\n<dl class=\"given closer\">")?;
    write!(out, "<div><dt>Workflow file<dd><code>{}</code>", Name(&path))?;
    if let Some(entry) = &source.entry {
        write!(out, ", {}", Name(entry))?;
    }
    writeln!(out, "</div>")?;
    let params: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&source.params).unwrap_or_default();
    for (name, value) in &params {
        let text = masked(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let short: String = text.chars().take(VALUE_CHARS).collect();
        let more = if short.len() < text.len() { " …" } else { "" };
        writeln!(out, "<div><dt>{}<dd><code>{}</code>{more}</div>", Name(name), Name(&short))?;
    }
    writeln!(out, "</dl>\n</section>")
}

/// How many variables are named.
const MOST_VARIABLES: usize = 60;

/// What stands in the place of what is nobody's business.
const MASKED: &str = "***";

/// What the commands of a run find in a variable.
#[derive(Default)]
struct Variable {
    /// What they find there; `None` where it is taken away.
    values: BTreeSet<Option<String>>,
    commands: usize,
}

/// Writes what the run was carried out by and in, and which variables its commands were given. What is inherited is not
/// recorded, and the values of secrets neither.
pub(super) fn environment(out: &mut dyn Write, state: &State) -> Result {
    let Some(header) = state.header() else { return Ok(()) };
    let origin = &header.origin;
    let commands: Vec<&Command> =
        state.tasks().iter().filter_map(|task| task.spec.action.command()).collect();
    writeln!(out, "<section id=environment>\n<h2>Environment</h2>\n<dl class=\"given closer\">")?;
    let mut line = |name: &str, value: &str, remark: &str| match value {
        "" => Ok(()),
        _ => {
            let remark = Name(remark);
            writeln!(
                out,
                "<div><dt>{}<dd><code>{}</code> <span class=muted>{remark}</span></div>",
                Name(name),
                Name(value)
            )
        }
    };
    line("dirigent", &origin.version, "")?;
    line("Platform", &origin.platform, "")?;
    line("Host", &origin.host, "")?;
    line("Project", &origin.root.as_ref().map(shown).unwrap_or_default(), "")?;
    let folders: BTreeSet<String> = commands.iter().map(|command| shown(&command.cwd)).collect();
    match folders.iter().collect::<Vec<_>>()[..] {
        [folder] if header.origin.root.as_ref().map(shown).as_ref() == Some(folder) => {}
        [folder] => line("Working directory", folder, "")?,
        [] => {}
        _ => line("Working directories", &counted(folders.len(), "folder"), "")?,
    }
    if !commands.is_empty() && commands.iter().all(|command| command.pass_env.is_some()) {
        let passed: BTreeSet<String> =
            commands.iter().flat_map(|command| command.pass_env.iter().flatten()).map(shown).collect();
        let passed: Vec<String> = passed.into_iter().collect();
        let named = if passed.is_empty() { "the base alone".to_owned() } else { passed.join(" ") };
        line("Inherited", &named, if passed.is_empty() { "" } else { "beside the base" })?;
    }
    let variables = variables(&commands);
    for (name, variable) in variables.iter().take(MOST_VARIABLES) {
        let value = match variable.values.first() {
            Some(Some(value)) if variable.values.len() == 1 => value.clone(),
            Some(None) if variable.values.len() == 1 => "(taken away)".to_owned(),
            _ => counted(variable.values.len(), "value"),
        };
        let short: String = value.chars().take(VALUE_CHARS).collect();
        let cut = if short.len() < value.len() { " …" } else { "" };
        let of = match variable.commands == commands.len() {
            true => String::new(),
            false => format!("{} of {} commands", grouped(variable.commands), grouped(commands.len())),
        };
        line(name, &short, &format!("{cut}{of}"))?;
    }
    writeln!(out, "</dl>")?;
    if variables.len() > MOST_VARIABLES {
        let more = grouped(variables.len() - MOST_VARIABLES);
        writeln!(out, "<p class=\"muted legend\">… and {more} variables more</p>")?;
    }
    writeln!(out, "</section>")
}

/// The variables that commands were given, by their names.
fn variables(commands: &[&Command]) -> BTreeMap<String, Variable> {
    let mut variables: BTreeMap<String, Variable> = BTreeMap::new();
    for command in commands {
        let given = command.env.iter().map(|(name, value)| {
            let name = shown(name);
            let value = value.as_ref().map(|value| masked(&name, shown(value)));
            (name, value)
        });
        let secret =
            |(name, secret): &(OsText, String)| (shown(name), Some(format!("{MASKED} (secret {secret})")));
        for (name, value) in given.chain(command.secrets.iter().map(secret)) {
            let variable = variables.entry(name).or_default();
            variable.values.insert(value);
            variable.commands += 1;
        }
    }
    variables
}

/// A value with `***` in its place where its name says that it is a secret nobody declared, and in the place of a password
/// in an address. What was declared as one never gets here.
fn masked(name: &str, value: String) -> String {
    const SAYING: [&str; 9] = [
        "secret",
        "token",
        "passw",
        "passphrase",
        "credential",
        "apikey",
        "api_key",
        "private_key",
        "access_key",
    ];
    let name = name.to_lowercase().replace(['-', '.', ' '], "_");
    let is_figure = value.parse::<f64>().is_ok() && !name.contains("passw");
    if SAYING.iter().any(|word| name.contains(word)) && !is_figure && !value.is_empty() {
        return MASKED.to_owned();
    }
    without_passwords(&value)
}

/// A text with `***` in the place of the password of each `scheme://user:password@host`.
fn without_passwords(text: &str) -> String {
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        kept.push_str(before);
        let end = after.find(['/', '?', '#', ' ', '"', '\'', '\n']).unwrap_or(after.len());
        rest = match (after[..end].find(':'), after[..end].rfind('@')) {
            (Some(colon), Some(sign)) if colon < sign => {
                kept.push_str(&after[..=colon]);
                kept.push_str(MASKED);
                &after[sign..]
            }
            _ => after,
        };
    }
    kept + rest
}

fn shown(text: &OsText) -> String {
    text.as_os_str().to_string_lossy().into_owned()
}

/// Writes how long the runs before took, the oldest first, and what changed; nothing where there are none.
pub(super) fn past(out: &mut dyn Write, summary: &Summary, past: &[PastRun]) -> Result {
    let Some(median_s) = median(past.iter().map(|run| run.elapsed_s)) else {
        return Ok(());
    };
    writeln!(out, "<section id=past>\n<h2>Runs before</h2>\n<div class=past>")?;
    sparkline(out, summary, past)?;
    let (now, before) = (shown_seconds(summary.elapsed_s), shown_seconds(median_s));
    let runs = counted(past.len(), "run");
    let median =
        if past.len() == 1 { "the run before".to_owned() } else { format!("the median of {runs} before") };
    let said = match difference(summary.elapsed_s, median_s) {
        Some(said) => format!("{now}, {said}: {median} is {before}"),
        None => format!("{now}, as {median}"),
    };
    let failed = past.iter().filter(|run| run.status != "succeeded").count();
    let also = if failed > 0 { format!("; {failed} of them did not succeed") } else { String::new() };
    writeln!(out, "<p>{said}{also}</p>\n</div>")?;
    let changes = changes(summary, past);
    if !changes.is_empty() {
        writeln!(out, "<h3>Changed most</h3>\n<ul class=also>")?;
        for change in changes {
            let task = change.task;
            let (now, before) = (shown_seconds(task.wall_s), shown_seconds(change.before_s));
            let difference = difference(task.wall_s, change.before_s).unwrap_or_default();
            let (index, class, name) = (task.index, task.status.name(), Name(&task.name));
            writeln!(
                out,
                "<li><i class=\"mark {class}\"></i><a href=#t{index}>{name}</a> {now}, before {before}: {difference}"
            )?;
        }
        writeln!(out, "</ul>")?;
    }
    writeln!(out, "</section>")
}

/// A bar for each run, this one last.
fn sparkline(out: &mut dyn Write, summary: &Summary, past: &[PastRun]) -> Result {
    const STEP: usize = 11;
    const HEIGHT: f64 = 36.0;
    let most_s = past.iter().map(|run| run.elapsed_s).fold(summary.elapsed_s, f64::max).max(0.001);
    write!(
        out,
        "<svg class=spark width={} height={HEIGHT} role=img aria-label=\"How long each took, this run last\">",
        (past.len() + 1) * STEP
    )?;
    let this = summary.verdict.map_or("running", |verdict| match verdict {
        dirigent_core::event::Verdict::Succeeded => "succeeded",
        dirigent_core::event::Verdict::Failed => "failed",
        dirigent_core::event::Verdict::Cancelled => "cancelled",
    });
    let before = past.iter().map(|run| (run.elapsed_s, run.status.as_str(), run.run.as_str()));
    for (place, (elapsed_s, status, run)) in before.chain([(summary.elapsed_s, this, "this run")]).enumerate()
    {
        let height = (elapsed_s / most_s * HEIGHT).max(2.0);
        let class = match status {
            "succeeded" => "completed",
            other => other,
        };
        let now = if run == "this run" { " now" } else { "" };
        write!(
            out,
            "<rect class=\"{}{now}\" x={} y={:.1} width=8 height={height:.1}><title>{}: {}, {}</title></rect>",
            Name(class),
            place * STEP,
            HEIGHT - height,
            Name(run),
            Name(status),
            shown_seconds(elapsed_s),
        )?;
    }
    writeln!(out, "</svg>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_a_secret_is_masked_and_a_password_in_an_address_as_well() {
        let shown = [
            ("GITHUB_TOKEN", "ghp_1"),
            ("db-password", "1234"),
            ("max_tokens", "512"),
            ("STAGE", "test"),
            ("DATABASE_URL", "postgres://etl:hunter22@db:5432/x and amqp://u:p@q"),
            ("SITE", "https://example.org/a:b@c"),
        ]
        .map(|(name, value)| masked(name, value.to_owned()));
        let expected = [
            "***",
            "***",
            "512",
            "test",
            "postgres://etl:***@db:5432/x and amqp://u:***@q",
            "https://example.org/a:b@c",
        ];
        assert_eq!(shown, expected);
    }
}
