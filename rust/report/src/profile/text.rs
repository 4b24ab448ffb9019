//! A profile as plain text for a terminal.

use super::{After, Profile, ResourceProfile, Spent, Step, TaskProfile};
use crate::quantity::{counted, shown_bytes, shown_seconds};
use crate::text::fitted;
use dirigent_core::text::printable;
use std::fmt::Write;

/// How many steps of the path are listed.
const MOST_STEPS: usize = 12;
/// How many tasks are listed.
const MOST_TASKS: usize = 10;
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
        let mut longest: Vec<usize> = (0..self.critical_path.len()).collect();
        longest.sort_by(|a, b| self.critical_path[*b].seconds.total_cmp(&self.critical_path[*a].seconds));
        longest.truncate(MOST_STEPS);
        longest.sort_unstable();
        for at in &longest {
            let it = &self.critical_path[*at];
            let line = format!(
                "  {} {:>5} {:>9}  {}",
                bar(it.share),
                percent(it.share),
                shown_seconds(it.seconds),
                step(it)
            );
            let _ = writeln!(text, "{}", fitted(&line, columns));
        }
        let rest = self.critical_path.len() - longest.len();
        if rest > 0 {
            let shown: f64 = longest.iter().map(|at| self.critical_path[*at].seconds).sum();
            let all: f64 = self.critical_path.iter().map(|step| step.seconds).sum();
            let rest = counted(rest, "shorter step");
            let _ = writeln!(text, "  {:BAR$} {:>5} {:>9}  {rest}", "", "", shown_seconds(all - shown));
        }
        if self.between_s >= self.wall_s * 0.01 && self.between_s > 0.0 {
            let share = self.between_s / self.wall_s;
            let (share, between) =
                (format!("{} {:>5}", bar(share), percent(share)), shown_seconds(self.between_s));
            let _ = writeln!(text, "  {share} {between:>9}  between the steps");
        }
    }

    fn limits(&self, text: &mut String, columns: usize) {
        text.push_str("\nwith other limits\n");
        if let Some(why) = &self.not_simulated {
            let _ = writeln!(text, "{}", fitted(&format!("  not simulated: {}", printable(why)), columns));
        }
        if let Some(simulated) = &self.simulated {
            let (mut heads, mut values) = ("  workers".to_owned(), "  take   ".to_owned());
            for it in &simulated.workers {
                let head = it.workers.map_or_else(|| "any".to_owned(), |workers| workers.to_string());
                let value = shown_seconds(it.wall_s);
                let wide = value.len().max(8) + 1;
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
        for it in &self.resources {
            let _ = writeln!(text, "{}", fitted(&format!("  {}", resource(it)), columns));
        }
    }

    fn most(&self, text: &mut String, columns: usize) {
        let by = |of: fn(&TaskProfile) -> f64| {
            let mut tasks: Vec<&TaskProfile> = self.tasks.iter().filter(|task| of(task) > 0.0).collect();
            tasks.sort_by(|a, b| of(b).total_cmp(&of(a)));
            tasks.truncate(MOST_TASKS);
            tasks
        };
        let by_time = by(|task| task.run_s);
        if by_time.is_empty() {
            return;
        }
        text.push_str("\n    time  queued     CPU      memory  task\n");
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
        "{:>8}{:>8}{:>8}{:>12}  {}",
        shown_seconds(task.run_s),
        shown_seconds(task.queued_s),
        or_none(task.cpu_s.map(shown_seconds)),
        or_none(task.peak_memory_bytes.map(shown_bytes)),
        printable(&task.name)
    );
    writeln!(text, "{}", fitted(&line, columns))
}

/// A step in words.
fn step(step: &Step) -> String {
    let name = printable(&step.task);
    let resource = step.resource.as_deref().map(printable).unwrap_or_default();
    let after = match (step.spent, step.after) {
        (Spent::Retry, _) => return format!("{name}  before attempt {}", step.attempt.unwrap_or(0)),
        (Spent::Rate, _) => return format!("{name}  waits for {resource}"),
        (_, After::Slot) => "  got a slot after that".to_owned(),
        (_, After::Resource) => format!("  got {resource} after that"),
        (_, After::Start | After::Need | After::Parent | After::Attempt) => String::new(),
    };
    let what = match (step.spent, step.attempt) {
        (Spent::Answer, _) => "  waits for an answer".to_owned(),
        (_, Some(attempt)) if attempt > 1 => format!("  attempt {attempt}"),
        _ => String::new(),
    };
    format!("{name}{what}{after}")
}

fn resource(it: &ResourceProfile) -> String {
    let full = it.full_share.map(|share| format!(", full {} of the time", percent(share)));
    let doubled = it.doubled_s.map(|s| format!(", takes {} with twice as much", shown_seconds(s)));
    format!(
        "{} of {}{}{}",
        it.capacity,
        printable(&it.name),
        full.unwrap_or_default(),
        doubled.unwrap_or_default()
    )
}

/// A sentence as an item of a list, over as many lines as it needs.
fn wrapped(text: &mut String, sentence: &str, columns: usize) {
    let mut line = "→".to_owned();
    for word in printable(sentence).split(' ') {
        let is_full = line.chars().count() + 1 + word.chars().count() > columns;
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
