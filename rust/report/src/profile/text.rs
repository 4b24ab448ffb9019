//! A profile as plain text for a terminal.

use super::{After, Profile, ResourceProfile, Spent, Step, TaskProfile};
use crate::quantity::{counted, shown_bytes, shown_seconds};
use crate::text::fitted;
use dirigent_core::text::printable;
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

/// How many steps of the path are listed.
const MOST_STEPS: usize = 12;
/// How many tasks are listed.
const MOST_TASKS: usize = 10;
/// What takes less is shown as nothing, and is not listed.
const LEAST_S: f64 = 0.005;
/// How wide a bar is.
const BAR: usize = 12;

/// A part of a whole as a bar.
fn bar(share: f64) -> String {
    let full = ((share * BAR as f64).round() as usize).min(BAR);
    "█".repeat(full) + &"·".repeat(BAR - full)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

impl Profile {
    /// The profile as lines of so many columns, as far as they can be kept.
    pub fn text(&self, columns: usize) -> String {
        let mut text = String::new();
        self.head(&mut text, columns);
        for advice in &self.advice {
            wrapped(&mut text, &advice.sentence, columns);
        }
        self.path(&mut text, columns);
        self.limits(&mut text, columns);
        self.most(&mut text, columns);
        text
    }

    fn head(&self, text: &mut String, columns: usize) {
        let title = format!("{}  {}", printable(&self.workflow), printable(&self.run));
        let _ = writeln!(text, "{}", fitted(&title, columns));
        let mut facts = vec![format!(
            "took {}: on average {:.1} of {} at once",
            shown_seconds(self.wall_s),
            self.parallelism,
            counted(self.max_concurrency as usize, "worker")
        )];
        if self.queued_s > 0.0 {
            facts.push(format!("tasks that were ready waited {} in all", shown_seconds(self.queued_s)));
        }
        if let (Some(cpu_s), Some(processors)) = (self.cpu_s, self.processors) {
            let memory =
                self.peak_memory_bytes.map(|bytes| format!(", at most {} in a process", shown_bytes(bytes)));
            facts.push(format!(
                "{} of CPU time, {processors:.1} processors on average{}",
                shown_seconds(cpu_s),
                memory.unwrap_or_default()
            ));
        }
        if self.reused > 0 {
            let tasks = counted(self.reused, "task");
            facts
                .push(format!("{tasks} reused, which took {} when carried out", shown_seconds(self.saved_s)));
        }
        for fact in facts {
            let _ = writeln!(text, "{}", fitted(&fact, columns));
        }
        if !self.advice.is_empty() {
            text.push('\n');
        }
    }

    fn path(&self, text: &mut String, columns: usize) {
        if self.critical_path.is_empty() {
            return;
        }
        text.push_str("\ncritical path\n");
        let is_seen = |at: &usize| self.critical_path[*at].seconds >= LEAST_S;
        let mut longest: Vec<usize> = (0..self.critical_path.len()).filter(is_seen).collect();
        longest.sort_by(|a, b| self.critical_path[*b].seconds.total_cmp(&self.critical_path[*a].seconds));
        longest.truncate(MOST_STEPS);
        longest.sort_unstable();
        for at in &longest {
            let it = &self.critical_path[*at];
            let line =
                format!("  {} {:>5} {:>11}  ", bar(it.share), percent(it.share), shown_seconds(it.seconds));
            let step = step(it, columns.saturating_sub(line.width()));
            let line = line + &step;
            let _ = writeln!(text, "{}", fitted(&line, columns));
        }
        let rest = self.critical_path.len() - longest.len();
        if rest > 0 {
            let shown: f64 = longest.iter().map(|at| self.critical_path[*at].seconds).sum();
            let all: f64 = self.critical_path.iter().map(|step| step.seconds).sum();
            let rest = counted(rest, "shorter step");
            let _ = writeln!(text, "  {:BAR$} {:>5} {:>11}  {rest}", "", "", shown_seconds(all - shown));
        }
        if self.between_s >= self.wall_s * 0.01 && self.between_s > 0.0 {
            let share = self.between_s / self.wall_s;
            let (share, between) =
                (format!("{} {:>5}", bar(share), percent(share)), shown_seconds(self.between_s));
            let _ = writeln!(text, "  {share} {between:>11}  between the steps");
        }
    }

    fn limits(&self, text: &mut String, columns: usize) {
        text.push_str("\nwith other limits\n");
        if let Some(why) = &self.not_simulated {
            let _ = writeln!(text, "{}", fitted(&format!("  not simulated: {}", printable(why)), columns));
        }
        if let Some(simulated) = &self.simulated {
            let (mut heads, mut values) = (" workers".to_owned(), " take   ".to_owned());
            for it in &simulated.workers {
                let head = it.workers.map_or_else(|| "any".to_owned(), |workers| workers.to_string());
                let value = shown_seconds(it.wall_s);
                let wide = value.len().max(8);
                let _ = write!(heads, " {head:>wide$}");
                let _ = write!(values, " {value:>wide$}");
            }
            let _ = writeln!(text, "{}\n{}", fitted(&heads, columns), fitted(&values, columns));
            let _ = writeln!(
                text,
                "  as it was {}, with no limits {}, at most {} at once",
                shown_seconds(simulated.as_it_was_s),
                shown_seconds(simulated.bound_s),
                simulated.most_at_once
            );
        }
        // One that was never full, and of which more would bring nothing, stood in nobody's way.
        let as_it_was = self.simulated.as_ref().map_or(f64::MAX, |simulated| simulated.as_it_was_s);
        let matters = |it: &&ResourceProfile| {
            it.full_share.is_some_and(|share| share > 0.0)
                || it.doubled_s.is_some_and(|doubled_s| doubled_s < as_it_was)
        };
        for it in self.resources.iter().filter(matters) {
            let _ = writeln!(text, "{}", fitted(&format!("  {}", resource(it)), columns));
        }
    }

    fn most(&self, text: &mut String, columns: usize) {
        let by = |of: fn(&TaskProfile) -> f64| {
            let mut tasks: Vec<&TaskProfile> = self.tasks.iter().filter(|task| of(task) >= LEAST_S).collect();
            tasks.sort_by(|a, b| of(b).total_cmp(&of(a)));
            tasks.truncate(MOST_TASKS);
            tasks
        };
        let by_time = by(|task| task.run_s);
        if by_time.is_empty() {
            return;
        }
        text.push_str("\n       time     queued        CPU      memory  task\n");
        let _ = by_time.iter().try_for_each(|task| line(text, task, columns));
        let is_listed = |task: &TaskProfile| by_time.iter().any(|it| std::ptr::eq(*it, task));
        let others: [(&str, Vec<&TaskProfile>); 2] = [
            ("most CPU time", by(|task| task.cpu_s.unwrap_or(0.0))),
            ("most memory", by(|task| task.peak_memory_bytes.unwrap_or(0) as f64)),
        ];
        // Only where it is not those that were listed.
        for (what, tasks) in others {
            if tasks.iter().take(3).any(|task| !is_listed(task)) {
                let _ = writeln!(text, "  {what}");
                let _ = tasks.iter().try_for_each(|task| line(text, task, columns));
            }
        }
    }
}

fn line(text: &mut String, task: &TaskProfile, columns: usize) -> std::fmt::Result {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    let line = format!(
        "{:>11}{:>11}{:>11}{:>12}  {}",
        shown_seconds(task.run_s),
        shown_seconds(task.queued_s),
        or_none(task.cpu_s.map(shown_seconds)),
        or_none(task.peak_memory_bytes.map(shown_bytes)),
        printable(&task.name)
    );
    writeln!(text, "{}", fitted(&line, columns))
}

/// A step in words, in so many columns.
fn step(step: &Step, columns: usize) -> String {
    let resource = step.resource.as_deref().map(printable).unwrap_or_default();
    let what = match (step.spent, step.attempt) {
        (Spent::Answer, _) => "  waits for an answer".to_owned(),
        (Spent::Retry, attempt) => format!("  before attempt {}", attempt.unwrap_or(0)),
        (Spent::Rate, _) => format!("  waits for {resource}"),
        (Spent::Run, Some(attempt)) if attempt > 1 => format!("  attempt {attempt}"),
        (Spent::Run, _) => String::new(),
    };
    let after = match (step.spent, step.after) {
        (Spent::Run, After::Slot) => "  got a slot after that".to_owned(),
        (Spent::Run, After::Resource) => format!("  got {resource} after that"),
        _ => String::new(),
    };
    let words = what + &after;
    fitted(&printable(&step.task), columns.saturating_sub(words.width()).max(8)) + &words
}

fn resource(it: &ResourceProfile) -> String {
    let full = it.full_share.map(|share| format!(": full {} of the time", percent(share)));
    let doubled = it.doubled_s.map(|s| {
        format!(
            "{} takes {} with twice as much",
            if it.full_share.is_some() { "," } else { ":" },
            shown_seconds(s)
        )
    });
    format!("{}{}{}", printable(&it.name), full.unwrap_or_default(), doubled.unwrap_or_default())
}

/// A sentence as an item of a list, over as many lines as it needs.
fn wrapped(text: &mut String, sentence: &str, columns: usize) {
    let mut line = "→".to_owned();
    for word in printable(sentence).split(' ') {
        let is_full = line.width() + 1 + word.width() > columns;
        if is_full && line.chars().count() > 1 {
            text.push_str(&line);
            text.push('\n');
            " ".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
