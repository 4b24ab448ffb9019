//! Keeps the values of secrets out of what is recorded, whoever reports them.

use dirigent_core::decide::{Input, Report};
use dirigent_core::outcome::{Ended, Outcome};
use dirigent_core::spec::{Action, Task};
use dirigent_core::text::OsText;
use dirigent_core::value::Kept;
use dirigent_process::Secrets;
use dirigent_process::output::Capture;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// The input with `***` in the place of every secret in its texts, and without a value in which one stands: with `***` in
/// it, it would be another value.
pub(crate) fn hidden(input: Input, secrets: &Secrets) -> Input {
    if secrets.is_empty() {
        return input;
    }
    let text = |text: Box<str>| -> Box<str> { secrets.mask_text(&text).into() };
    match input {
        Input::AttemptEnded(Report { task, attempt, ended }) => {
            let outcome = match ended.outcome {
                Outcome::Raised { error, message, retryable } => {
                    Outcome::Raised { error: text(error), message: text(message), retryable }
                }
                Outcome::CouldNotStart { doing, reason, errno } => {
                    Outcome::CouldNotStart { doing: text(doing), reason: text(reason), errno }
                }
                Outcome::Lost { why } => Outcome::Lost { why: text(why) },
                Outcome::Unmet { why } => Outcome::Unmet { why: text(why) },
                outcome @ (Outcome::Succeeded { .. }
                | Outcome::Returned
                | Outcome::Unfinished
                | Outcome::ChildFailed { .. }
                | Outcome::Failed { .. }
                | Outcome::Killed { .. }
                | Outcome::TimedOut { .. }
                | Outcome::MemoryExceeded { .. }
                | Outcome::Cancelled) => outcome,
            };
            let last_lines = text(ended.last_lines);
            let value = ended.value.map(|value| without_secrets(value, secrets));
            let ended = Ended { outcome, last_lines, value, ..ended };
            Input::AttemptEnded(Report { task, attempt, ended })
        }
        Input::ConditionAnswered { task, holds } => {
            Input::ConditionAnswered { task, holds: holds.map_err(text) }
        }
        Input::Answered { task, approved, comment, actor, value } => {
            let value = value.map(|value| without_secrets(value, secrets));
            Input::Answered { task, approved, comment: text(comment), actor, value }
        }
        // What a task does becomes known late where it depends on values; and then it is recorded.
        Input::Settled { task, mut action } => {
            if let Some(command) = action.command_mut() {
                secrets.claim(command);
            }
            match holds(&action, secrets) {
                Some(name) => {
                    let why =
                        format!("the secret `{name}` would stand in its arguments, and those are public");
                    Input::ConditionAnswered { task, holds: Err(why.into()) }
                }
                None => Input::Settled { task, action },
            }
        }
        Input::ValueLost { task, why } => Input::ValueLost { task, why: text(why) },
        Input::Expanded { task, attempt, children } => {
            Input::Expanded { task, attempt, children: unable(children, secrets) }
        }
        Input::Declared(tasks) => Input::Declared(unable(tasks, secrets)),
        input @ (Input::Cancel(_)
        | Input::CancelTask(_)
        | Input::Kill
        | Input::Resumed(_)
        | Input::Reused { .. }
        | Input::NotReusable { .. }
        | Input::Suspended
        | Input::Continued
        | Input::WorkersClosed { .. }) => input,
    }
}

/// The first secret that stands in what a task does.
fn holds(action: &Action, secrets: &Secrets) -> Option<String> {
    let text = serde_json::to_string(action).unwrap_or_default();
    secrets.named_in(text).first().map(|name| (*name).to_owned())
}

/// Tasks that became known while the run goes on: where the arguments of one hold a secret, it cannot start, and says so.
fn unable(mut tasks: Vec<Arc<Task>>, secrets: &Secrets) -> Vec<Arc<Task>> {
    for task in tasks.iter_mut().filter(|task| holds(&task.action, secrets).is_some()) {
        let task = Arc::make_mut(task);
        if let Some(command) = task.action.command_mut() {
            secrets.claim(command);
        }
        if let (Some(name), Some(command)) = (holds(&task.action, secrets), task.action.command_mut()) {
            let hide = |text: &mut OsText| {
                *text = secrets.mask_text(&text.as_os_str().to_string_lossy()).into_owned().into();
            };
            command.argv.iter_mut().for_each(hide);
            command.env.iter_mut().filter_map(|(_, value)| value.as_mut()).for_each(hide);
            command.secrets.push((OsText::default(), name));
        }
    }
    tasks
}

/// Puts `***` in the place of every secret in a file that a task has written. One that cannot be written again is removed.
pub(crate) fn hide_in_file(path: &Path, secrets: &Secrets) {
    if secrets.is_empty() || !path.exists() {
        return;
    }
    let part = path.with_extension("part");
    let hide = || -> io::Result<()> {
        let mut masked = Capture::new(part.clone(), None).masking(secrets);
        let (mut file, mut buffer) = (File::open(path)?, vec![0; 64 * 1024]);
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                length => masked.write(&buffer[..length]),
            }
        }
        match masked.finish().map(|stream| stream.error) {
            None => Ok(()),
            Some(None) => fs::rename(&part, path),
            Some(Some(error)) => Err(io::Error::other(error)),
        }
    };
    if hide().is_err() {
        let _ = fs::remove_file(path);
        let _ = fs::remove_file(&part);
    }
}

fn without_secrets(value: Arc<Kept>, secrets: &Secrets) -> Arc<Kept> {
    let found = match &*value {
        Kept::Inline { text, .. } => secrets.named_in(&**text),
        Kept::Artifact { .. } | Kept::NotKept { .. } => Vec::new(),
    };
    match found.first() {
        Some(name) => Arc::new(Kept::NotKept { why: format!("the secret `{name}` stands in it").into() }),
        None => value,
    }
}
