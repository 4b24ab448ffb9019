//! The top of the page: how the run went in figures, and the first failure with where to look.

use crate::escape::{Content, Escaped, Link, Name, shell_quoted};
use crate::quantity::{grouped, shown_bytes, shown_seconds};
use crate::sentence::status_words;
use crate::summary::{Summary, TaskSummary};
use dirigent_core::event::Verdict;
use std::fmt::{Result, Write};

/// How many failures after the first are named.
const MORE_FAILURES: usize = 8;

/// Writes verdict, figures and counts.
pub(super) fn write(out: &mut dyn Write, summary: &Summary) -> Result {
    let (class, word) = match summary.verdict {
        Some(Verdict::Succeeded) => ("completed", "Succeeded"),
        Some(Verdict::Failed) => ("failed", "Failed"),
        Some(Verdict::Cancelled) => ("cancelled", "Cancelled"),
        None => ("running", "Not ended"),
    };
    let detail = summary.sentence.split_once(": ").map_or(summary.sentence.as_str(), |(_, detail)| detail);
    let host = if summary.host.is_empty() { "" } else { " on " };
    write!(
        out,
        "<header>\n<p class=verdict><span class=\"pill {class}\"><i class=\"mark {class}\"></i>{word}</span>\n\
         <h1>{}</h1>\n<p class=lead>{}\n<p class=muted>Started {}{host}{}\n</header>\n",
        Name(&summary.workflow),
        Name(detail),
        Escaped(&wall_clock(&summary.created)),
        Name(&summary.host),
    )?;
    figures(out, summary)?;
    counts(out, summary)
}

/// A moment in ISO 8601 as a person reads it: without the milliseconds, with room between its parts.
fn wall_clock(iso: &str) -> String {
    match (iso.get(..10), iso.get(11..19), iso.get(23..)) {
        (Some(date), Some(time), Some(zone)) => format!("{date} at {time} {zone}"),
        _ => iso.to_owned(),
    }
}

fn figures(out: &mut dyn Write, summary: &Summary) -> Result {
    let peak = summary.tasks.iter().max_by_key(|task| task.peak_memory_bytes);
    let peak_bytes = peak.map_or(0, |task| task.peak_memory_bytes);
    let longest = summary.slowest.first();
    let figures = [
        ("Elapsed", shown_seconds(summary.elapsed_s), String::new()),
        ("Work", shown_seconds(summary.work_s), "all tasks together".to_owned()),
        (
            "At once",
            format!("{:.1}", summary.parallelism),
            format!("on average, of {}", summary.max_concurrency),
        ),
        ("CPU", shown_seconds(summary.cpu_s), format!("kernel {}", shown_seconds(summary.system_s))),
        (
            "Slowest",
            longest.map_or("–".to_owned(), |task| shown_seconds(task.wall_s)),
            longest.map(|task| task.name.clone()).unwrap_or_default(),
        ),
        (
            "Most memory",
            if peak_bytes > 0 { shown_bytes(peak_bytes) } else { "–".to_owned() },
            peak.filter(|_| peak_bytes > 0).map(|task| task.name.clone()).unwrap_or_default(),
        ),
    ];
    writeln!(out, "<dl class=figures>")?;
    for (name, value, note) in figures {
        writeln!(out, "<div><dt>{name}<dd>{value}<dd class=note>{}</div>", Name(&note))?;
    }
    writeln!(out, "</dl>")
}

/// The counts, as a bar in proportion and as words; the script makes filters of the words.
fn counts(out: &mut dyn Write, summary: &Summary) -> Result {
    let total = summary.counts.total.max(1) as f64;
    writeln!(out, "<svg class=share role=img aria-label=\"Tasks by state\">")?;
    let mut x = 0.0;
    for (status, n) in summary.counts.present() {
        // Four of ten thousand are still to be seen; the last part gives way.
        let width = (n as f64 / total * 100.0).max(0.5);
        writeln!(out, "<rect class={} x={x:.2}% width={width:.2}% height=100%></rect>", status.name())?;
        x += width;
    }
    writeln!(out, "</svg>\n<ul class=counts id=counts>")?;
    for (status, n) in summary.counts.present() {
        let (class, words) = (status.name(), status_words(status));
        let n = grouped(n);
        writeln!(out, "<li data-status={class}><i class=\"mark {class}\"></i><b>{n}</b> {words}")?;
    }
    writeln!(out, "</ul>")
}

/// Writes what went wrong, where something did.
pub(super) fn trouble(out: &mut dyn Write, summary: &Summary, folder: Option<&str>) -> Result {
    for survivor in &summary.survivors {
        writeln!(out, "<p class=notice>A process could not be ended: <code>{}</code>", Name(survivor))?;
    }
    if summary.strays > 0 {
        writeln!(out, "<p class=notice>Processes of no known task, ended with the run: {}", summary.strays)?;
    }
    let Some((first, more)) = summary.failed.split_first() else {
        return Ok(());
    };
    first_failure(out, summary.task(first.index), folder)?;
    if !more.is_empty() {
        writeln!(out, "<h3>Also failed</h3>\n<ul class=also>")?;
        for failed in more.iter().take(MORE_FAILURES) {
            let (index, name, sentence) = (failed.index, Name(&failed.name), Name(&failed.sentence));
            let class = summary.task(index).status.name();
            writeln!(out, "<li><i class=\"mark {class}\"></i><a href=#t{index}>{name}</a> {sentence}")?;
        }
        if more.len() > MORE_FAILURES {
            writeln!(out, "<li>… and {} more, in the table below", grouped(more.len() - MORE_FAILURES))?;
        }
        writeln!(out, "</ul>")?;
    }
    writeln!(out, "</section>")
}

fn first_failure(out: &mut dyn Write, task: &TaskSummary, folder: Option<&str>) -> Result {
    write!(
        out,
        "<section class=failure>\n<h2>First failure</h2>\n\
         <p class=what><a href=#t{}>{}</a> {}{}\n",
        task.index,
        Name(&task.name),
        Name(&task.sentence),
        task.after(),
    )?;
    if !task.last_lines.is_empty() {
        writeln!(out, "<pre tabindex=0>{}</pre>", Content(task.last_lines.trim_end()))?;
    }
    let log = task.streams().find_map(|(_, stream)| stream.log.as_ref());
    if log.is_none() && task.script.is_none() {
        return Ok(());
    }
    writeln!(out, "<dl class=closer>")?;
    if let Some(log) = log {
        let path =
            folder.map_or_else(|| log.clone(), |folder| format!("{}/{log}", folder.trim_end_matches('/')));
        let command = format!("less {}", shell_quoted(&path));
        writeln!(
            out,
            "<div><dt>Look closer<dd><code>{}</code> <a href=\"{}\">open the log</a></div>",
            Name(&command),
            Link(log),
        )?;
    }
    if let Some(script) = &task.script {
        let command = format!("dirigent run {}", shell_quoted(script));
        writeln!(out, "<div><dt>Run it again<dd><code>{}</code></div>", Name(&command))?;
    }
    writeln!(out, "</dl>")
}
