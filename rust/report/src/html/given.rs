//! What a run was given, and how it compares with those before it.

use crate::escape::Name;
use crate::past::{PastRun, changes, difference, median};
use crate::quantity::{counted, shown_seconds};
use crate::summary::Summary;
use dirigent_core::State;
use std::fmt::{Result, Write};

/// How much of a parameter is shown.
const VALUE_CHARS: usize = 300;

/// Writes the workflow file and its parameters; nothing where the run is of none.
pub(super) fn parameters(out: &mut dyn Write, state: &State) -> Result {
    let Some(source) = state.header().and_then(|header| header.origin.source.as_ref()) else {
        return Ok(());
    };
    let path = source.path.as_os_str().to_string_lossy();
    writeln!(out, "<section>\n<h2>Parameters</h2>\n<dl class=\"given closer\">")?;
    write!(out, "<div><dt>Workflow file<dd><code>{}</code>", Name(&path))?;
    if let Some(entry) = &source.entry {
        write!(out, ", {}", Name(entry))?;
    }
    writeln!(out, "</div>")?;
    let params: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&source.params).unwrap_or_default();
    for (name, value) in &params {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let short: String = text.chars().take(VALUE_CHARS).collect();
        let more = if short.len() < text.len() { " …" } else { "" };
        writeln!(out, "<div><dt>{}<dd><code>{}</code>{more}</div>", Name(name), Name(&short))?;
    }
    writeln!(out, "</dl>\n</section>")
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
