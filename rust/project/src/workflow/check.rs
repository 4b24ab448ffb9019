//! How the parts of a workflow file fit: needs, cycles, and what expressions speak of.

use super::reading::Reading;
use super::{FileAction, FileTask, WorkflowFile};
use crate::decode::Spanned;
use crate::diagnose::did_you_mean;
use crate::document::Span;
use crate::expression::Expression;
use dirigent_core::graph::Graph;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::Trigger;
use std::collections::HashMap;

/// Checks a file whose parts were read, and finds the places of what its tasks need.
pub(super) fn check(reading: &mut Reading<'_>, file: &mut WorkflowFile, needs: &[Vec<Spanned<String>>]) {
    let places = places(reading, &file.tasks);
    find_needs(reading, file, needs, &places);
    check_cycle(reading, file, needs);
    for task in &file.tasks {
        if reading.is_enough() {
            return;
        }
        check_task(reading, file, task, &places);
    }
    if file.tasks.is_empty() && reading.problems.is_empty() {
        let hint = Some("name some under `tasks`".to_owned());
        reading.wrong("workflow.empty", &(0..0), "a workflow without tasks".to_owned(), hint);
    }
}

fn places(reading: &mut Reading<'_>, tasks: &[FileTask]) -> HashMap<String, u32> {
    let mut places: HashMap<String, u32> = HashMap::with_capacity(tasks.len());
    for (place, task) in (0u32..).zip(tasks) {
        // In one table a name stands once; the other may have it as well.
        if places.insert(task.name.clone(), place).is_some() {
            let message = format!("two tasks are named `{}`", task.name);
            reading.wrong(
                "workflow.duplicate_task",
                &task.span,
                message,
                Some("choose another name".to_owned()),
            );
        }
    }
    places
}

fn find_needs(
    reading: &mut Reading<'_>,
    file: &mut WorkflowFile,
    needs: &[Vec<Spanned<String>>],
    places: &HashMap<String, u32>,
) {
    let cleans: Vec<bool> = file.tasks.iter().map(|task| task.policy.teardown).collect();
    for (task, needs) in file.tasks.iter_mut().zip(needs) {
        for need in needs {
            if reading.is_enough() {
                return;
            }
            match places.get(&need.value) {
                Some(place) if cleans[*place as usize] && !task.policy.teardown => {
                    let message = format!(
                        "task `{}` needs `{}`, which cleans up when all others have ended",
                        task.name, need.value
                    );
                    let hint = Some("move one of them between `tasks` and `finally`".to_owned());
                    reading.wrong("workflow.cycle", &need.span, message, hint);
                }
                Some(place) if task.needs.contains(place) => {}
                Some(place) => task.needs.push(*place),
                None => {
                    let message =
                        format!("task `{}` needs `{}`, which is no task of this file", task.name, need.value);
                    let hint = did_you_mean(&need.value, places.keys().map(String::as_str));
                    let hint = hint.map(|meant| format!("did you mean `{meant}`?"));
                    reading.wrong("workflow.unknown_task", &need.span, message, hint);
                }
            }
        }
        if task.policy.trigger == Trigger::AnyFailed && needs.is_empty() && !task.policy.teardown {
            let message =
                format!("task `{}` waits for the failure of a task it needs, and needs none", task.name);
            let hint = Some("name those tasks under `needs`, or leave `trigger` out".to_owned());
            reading.wrong("workflow.never_starts", &task.span, message, hint);
        }
    }
}

fn check_cycle(reading: &mut Reading<'_>, file: &WorkflowFile, needs: &[Vec<Spanned<String>>]) {
    let rows: Vec<Vec<TaskIndex>> =
        file.tasks.iter().map(|task| task.needs.iter().copied().map(TaskIndex).collect()).collect();
    let Err(cycle) = Graph::new(rows.iter().map(Vec::as_slice)).check() else { return };
    let names: Vec<&str> = cycle.0.iter().map(|task| file.tasks[task.usize()].name.as_str()).collect();
    let shown: Vec<&str> = names.iter().chain(names.first()).copied().collect();
    let next = names.get(1).or(names.first());
    let first = cycle.0.first().and_then(|task| needs.get(task.usize()));
    let place = first.and_then(|needs| needs.iter().find(|need| Some(&need.value.as_str()) == next));
    let span = place.map_or(0..0, |need| need.span.clone());
    let message = format!("tasks wait for each other: {}", shown.join(" → "));
    reading.wrong("workflow.cycle", &span, message, Some("take one of these needs away".to_owned()));
}

fn check_task(
    reading: &mut Reading<'_>,
    file: &WorkflowFile,
    task: &FileTask,
    places: &HashMap<String, u32>,
) {
    let mut speaker = Speaker { reading, file, task, places };
    speaker.check(task.when.iter(), "when", &[]);
    if let Some(each) = &task.each {
        speaker.check(each.expressions(), "each", &[]);
    }
    let item: &[&str] = if task.has_each { &["item"] } else { &[] };
    let of_attempt = ["value", "exit_code", "stdout", "attempt"];
    let until: Vec<&str> = of_attempt.iter().chain(item).copied().collect();
    speaker.check(task.until.iter(), "until", &until);
    speaker.check(task.expressions(), "", item);
    if let FileAction::Script { path, .. } = &task.action
        && let Some(path) = path.as_text()
        && task.cwd.is_none()
        && !file.path.as_os_str().is_empty()
        && !file.folder().join(path).exists()
    {
        let message = format!("task `{}`: there is no script `{path}`", task.name);
        let hint = Some("it is meant from the folder of this file".to_owned());
        reading.wrong("workflow.no_script", &task.span, message, hint);
    }
}

/// Sees that what the expressions of a task speak of is there.
struct Speaker<'a, 'b> {
    reading: &'a mut Reading<'b>,
    file: &'a WorkflowFile,
    task: &'a FileTask,
    places: &'a HashMap<String, u32>,
}

/// What can be said of a task.
const TASK_VALUES: [&str; 4] = ["value", "status", "exit_code", "stdout"];

impl Speaker<'_, '_> {
    fn check<'e>(&mut self, expressions: impl Iterator<Item = &'e Expression>, key: &str, also: &[&str]) {
        for expression in expressions {
            for path in expression.references() {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                if let Some((message, hint)) = self.complain(&path, key, also) {
                    let of = format!("task `{}`", self.task.name);
                    let span = self.span(expression, &path.join("."));
                    self.reading.wrong("workflow.unknown_value", &span, format!("{of}: {message}"), hint);
                }
            }
        }
    }

    /// Where in the file a task speaks of something: as near as the text says.
    fn span(&self, expression: &Expression, path: &str) -> Span {
        let source = &self.reading.document.source;
        let from = self.task.span.start;
        let within = |text: &str, from: usize| source.get(from..)?.find(text).map(|at| from + at);
        let start = within(expression.text().trim(), from).unwrap_or(from);
        match within(path, start) {
            Some(at) => at..at + path.len(),
            None => self.task.span.clone(),
        }
    }

    fn complain(&self, path: &[&str], key: &str, also: &[&str]) -> Option<(String, Option<String>)> {
        let meant = |meant: Option<&str>| meant.map(|meant| format!("did you mean `{meant}`?"));
        match path {
            ["params"] | ["tasks"] => None,
            ["params", name, ..] => {
                let names = || self.file.params.iter().map(|param| param.name.as_str());
                if names().any(|known| known == *name) {
                    return None;
                }
                let hint = meant(did_you_mean(name, names()));
                let hint = hint.or_else(|| Some("declare it under `params`".to_owned()));
                Some((format!("there is no parameter `{name}`"), hint))
            }
            ["tasks", name, rest @ ..] => self.complain_of_task(name, rest),
            [root, ..] if also.contains(root) => None,
            ["item", ..] if self.task.has_each => {
                let hint = Some("leave items out of the list itself, where it is made".to_owned());
                Some((format!("`{key}` is asked once for all, before there is an `item`"), hint))
            }
            ["item", ..] => Some(("`item` means something only in a task with `each`".to_owned(), None)),
            [root, ..] => {
                let known = ["params", "tasks"].into_iter().chain(also.iter().copied());
                let of_params = || self.file.params.iter().any(|param| param.name == *root);
                let in_full = match () {
                    () if of_params() => Some(format!("did you mean `params.{root}`?")),
                    () if self.places.contains_key(*root) => {
                        Some(format!("did you mean `tasks.{root}.value`?"))
                    }
                    () => None,
                };
                let hint = in_full.or_else(|| meant(did_you_mean(root, known.clone()))).or_else(|| {
                    let known: Vec<String> = known.map(|name| format!("`{name}`")).collect();
                    Some(format!("there are {}", known.join(", ")))
                });
                let place = if key.is_empty() { String::new() } else { format!(" in `{key}`") };
                Some((format!("there is no value `{root}`{place}"), hint))
            }
            [] => None,
        }
    }

    fn complain_of_task(&self, name: &str, rest: &[&str]) -> Option<(String, Option<String>)> {
        let Some(place) = self.places.get(name) else {
            let hint = did_you_mean(name, self.places.keys().map(String::as_str));
            let hint = hint.map(|meant| format!("did you mean `{meant}`?"));
            return Some((format!("there is no task `{name}`"), hint));
        };
        if !self.task.needs.contains(place) {
            let hint = Some(format!("add `{name}` to its `needs`, so that it has ended by then"));
            return Some((format!("it speaks of `{name}`, and does not need it"), hint));
        }
        match rest.first() {
            Some(value) if !TASK_VALUES.contains(value) => {
                let hint = match did_you_mean(value, TASK_VALUES) {
                    Some(meant) => format!("did you mean `tasks.{name}.{meant}`?"),
                    None => format!("what it gave is `tasks.{name}.value`"),
                };
                Some((format!("there is no `tasks.{name}.{value}`"), Some(hint)))
            }
            _ => None,
        }
    }
}
