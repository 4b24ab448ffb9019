//! A run as Markdown a person likes to find under a pull request. Names and outputs stay what they are: nothing in them
//! becomes markup, a link, or a mention of somebody.

use crate::logs::last_lines;
use crate::quantity::{counted, grouped, shown_bytes, shown_seconds};
use crate::sentence::status_words;
use crate::summary::{Mention, Summary, TaskSummary};
use dirigent_core::event::Verdict;
use dirigent_core::state::TaskStatus;
use dirigent_core::text::printable;
use std::fmt::Write;

/// Bytes after which lists are broken off: services refuse comments of more than 65,536 characters.
const MOST_BYTES: usize = 56_000;
/// How many failures are shown with their last lines.
const MOST_FAILURES: usize = 20;
/// How much of each failure's last lines is shown.
const LAST_LINES_BYTES: usize = 1_500;

/// Writes the report.
pub(crate) fn render(summary: &Summary, folder: Option<&str>) -> String {
    let mut out = String::with_capacity(4096);
    write(&mut out, summary, folder).expect("writing to memory cannot fail");
    out
}

fn write(out: &mut String, summary: &Summary, folder: Option<&str>) -> std::fmt::Result {
    let mark = match summary.verdict {
        Some(Verdict::Succeeded) => "✅",
        Some(Verdict::Failed) => "❌",
        Some(Verdict::Cancelled) => "⏹️",
        None => "⏳",
    };
    writeln!(out, "## {mark} {} {}\n", code(&summary.workflow), prose(&summary.sentence))?;
    writeln!(
        out,
        "{} elapsed · {} CPU · {:.1} tasks at once of {} · started {} · run `{}`\n",
        shown_seconds(summary.elapsed_s),
        shown_seconds(summary.cpu_s),
        summary.parallelism,
        summary.max_concurrency,
        summary.created,
        summary.run,
    )?;
    counts(out, summary)?;
    for survivor in &summary.survivors {
        writeln!(out, "> **A process could not be ended:** {}\n", code(survivor))?;
    }
    failures(out, summary, folder)?;
    if summary.slowest.len() > 1 {
        writeln!(out, "### Slowest\n\n| task | time |\n| --- | ---: |")?;
        for Mention { name, wall_s, .. } in &summary.slowest {
            writeln!(out, "| {} | {} |", code(name), shown_seconds(*wall_s))?;
        }
        writeln!(out)?;
    }
    tasks(out, summary)
}

fn counts(out: &mut String, summary: &Summary) -> std::fmt::Result {
    let present: Vec<(TaskStatus, usize)> = summary.counts.present().collect();
    let (mut heads, mut rules, mut cells) = (String::new(), String::new(), String::new());
    for (status, n) in present {
        write!(heads, " {} |", status_words(status))?;
        rules.push_str(" ---: |");
        write!(cells, " {} |", grouped(n))?;
    }
    writeln!(out, "| tasks |{heads}\n| ---: |{rules}\n| {} |{cells}\n", grouped(summary.counts.total))
}

fn failures(out: &mut String, summary: &Summary, folder: Option<&str>) -> std::fmt::Result {
    if summary.failed.is_empty() {
        return Ok(());
    }
    writeln!(out, "### Failures\n")?;
    for (shown, failed) in summary.failed.iter().enumerate() {
        if shown == MOST_FAILURES || out.len() > MOST_BYTES / 2 {
            let more = counted(summary.failed.len() - shown, "more failure");
            return writeln!(out, "… and {more}.\n");
        }
        let task = summary.task(failed.index);
        writeln!(out, "**{}** {}{}\n", code(&task.name), prose(&task.sentence), task.after())?;
        let (lines, _) = last_lines(task.last_lines.trim_end(), LAST_LINES_BYTES);
        if !lines.is_empty() {
            let fence = "`".repeat(longest_run(lines, '`').max(2) + 1);
            writeln!(out, "{fence}text\n{lines}\n{fence}\n")?;
        }
        let logs: Vec<String> = task
            .streams()
            .filter_map(|(_, stream)| stream.log.as_ref())
            .map(|log| code(&folder.map_or_else(|| log.clone(), |folder| format!("{folder}/{log}"))))
            .collect();
        if !logs.is_empty() {
            writeln!(out, "Log: {}\n", logs.join(", "))?;
        }
    }
    Ok(())
}

fn tasks(out: &mut String, summary: &Summary) -> std::fmt::Result {
    writeln!(out, "<details><summary>All {}</summary>\n", counted(summary.tasks.len(), "task"))?;
    writeln!(out, "| task | state | what happened | time | CPU | peak memory |")?;
    writeln!(out, "| --- | --- | --- | ---: | ---: | ---: |")?;
    for (shown, task) in summary.tasks.iter().enumerate() {
        if out.len() > MOST_BYTES {
            writeln!(out, "\n… and {} more: see `summary.json`.", grouped(summary.tasks.len() - shown))?;
            break;
        }
        row(out, task)?;
    }
    writeln!(out, "\n</details>")
}

fn row(out: &mut String, task: &TaskSummary) -> std::fmt::Result {
    let [time, cpu, memory] = if task.ran() {
        [
            shown_seconds(task.wall_s),
            shown_seconds(task.user_s + task.system_s),
            shown_bytes(task.peak_memory_bytes),
        ]
    } else {
        ["–"; 3].map(str::to_owned)
    };
    let (name, state, what) = (code(&task.name), status_words(task.status), prose(&task.sentence));
    writeln!(out, "| {name} | {state} | {what} | {time} | {cpu} | {memory} |")
}

/// A name that stays what it is, also inside a table: a code span where that is enough, else `<code>` with everything
/// that could mean something written as a number.
fn code(name: &str) -> String {
    let name = printable(name);
    let plain = !name.is_empty() && !name.contains(['`', '|', '\\', '\u{a0}']) && name.trim() == name;
    if plain { format!("`{name}`") } else { format!("<code>{}</code>", numbered(&name)) }
}

/// A sentence: as it is where nothing in it could be markup, else like a name.
fn prose(sentence: &str) -> String {
    let harmless = |c: char| c.is_alphanumeric() || " ,.:;()'\"“”/-%+=?…·".contains(c);
    let quiet = sentence.chars().all(harmless) && !sentence.contains("://") && !sentence.contains("www.");
    if quiet { sentence.to_owned() } else { code(sentence) }
}

fn numbered(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len() * 2), |mut out, c| {
        if c.is_ascii_punctuation() || c == '\u{a0}' {
            let _ = write!(out, "&#{};", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_becomes_markup() {
        assert_eq!(code("etl/load_data.py"), "`etl/load_data.py`");
        assert_eq!(code("a`b|c"), "<code>a&#96;b&#124;c</code>");
        assert_eq!(code("<b>@user</b>"), "`<b>@user</b>`");
        assert_eq!(code("two\nlines"), "<code>two&#92;nlines</code>");
        assert_eq!(code(" "), "<code> </code>");
    }

    #[test]
    fn a_sentence_is_plain_until_something_in_it_could_mean_more() {
        assert_eq!(
            prose("was skipped: it needs “load”, which failed"),
            "was skipped: it needs “load”, which failed"
        );
        assert_eq!(prose("was skipped: ask @somebody"), "`was skipped: ask @somebody`");
    }

    #[test]
    fn a_fence_is_longer_than_any_run_in_what_it_holds() {
        assert_eq!(longest_run("a``b````c`", '`'), 4);
        assert_eq!(longest_run("", '`'), 0);
    }
}
