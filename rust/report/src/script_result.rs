//! The result of one script in the terms of the script-running interface: what `run_script` gives and what each
//! script's own JSON file holds.

use crate::logs::{Logs, StreamName};
use crate::summary::{StreamSummary, TaskSummary};
use dirigent_core::state::TaskStatus;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How a script went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptStatus {
    /// It exited with a code that counts as success.
    Passed,
    /// It exited with another code, was killed, or used more memory than it may.
    Failed,
    /// It ran longer than it may.
    Timeout,
    /// It could not start, was lost or cancelled, or has not ended: nothing is known of what it would have done.
    Error,
    /// It was never to run.
    Skipped,
}

/// The result of one script. Its JSON names are stable: fields are added, never renamed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScriptResult {
    /// The script's file, relative to the project where it lies below; for other commands the task's name.
    pub script: String,
    /// The task's name.
    pub name: String,
    /// The folder of `script`; empty at the top.
    pub subdirectory: String,
    /// When its last attempt started, in ISO 8601 with zone; `null` where none did.
    pub start_time: Option<String>,
    /// When its last attempt ended, likewise.
    pub end_time: Option<String>,
    /// How it went.
    pub status: ScriptStatus,
    /// The exit code, where the program got as far as having one.
    pub exit_code: Option<i32>,
    /// Wall time in seconds.
    pub execution_time: f64,
    /// Its standard output as text, the end of it where it is long; the log has all.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
    /// What went wrong or why it did not run, as a sentence; `null` where it passed.
    pub error: Option<String>,
    /// How many attempts were started.
    pub attempts: u32,
    /// CPU time in user code, in seconds.
    pub user_time: f64,
    /// CPU time in the kernel, in seconds.
    pub system_time: f64,
    /// The most memory resident at once in one process, in bytes.
    pub peak_memory_bytes: u64,
    /// Its standard output in full: size, log; `null` where it wrote nothing.
    pub stdout_log: Option<StreamSummary>,
    /// Its standard error in full.
    pub stderr_log: Option<StreamSummary>,
    /// How many processes it left behind.
    pub left_behind: u32,
}

impl ScriptResult {
    /// The result of a task, with about `output_bytes` of each stream.
    pub fn new(task: &TaskSummary, logs: &dyn Logs, output_bytes: usize) -> Self {
        let text = |stream: &Option<StreamSummary>, name: StreamName| {
            stream.as_ref().map(|_| logs.tail(task.index, name, output_bytes)).unwrap_or_default()
        };
        let status = script_status(task);
        let script = task.script.clone().unwrap_or_else(|| task.name.clone());
        let folder = task.script.as_deref().and_then(|script| Path::new(script).parent());
        Self {
            name: task.name.clone(),
            subdirectory: folder.map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default(),
            script,
            start_time: task.started.clone(),
            end_time: task.ended.clone(),
            status,
            exit_code: task.exit_code,
            execution_time: task.wall_s,
            stdout: text(&task.stdout, StreamName::Stdout),
            stderr: text(&task.stderr, StreamName::Stderr),
            error: (status != ScriptStatus::Passed).then(|| task.sentence.clone()),
            attempts: task.attempts,
            user_time: task.user_s,
            system_time: task.system_s,
            peak_memory_bytes: task.peak_memory_bytes,
            stdout_log: task.stdout.clone(),
            stderr_log: task.stderr.clone(),
            left_behind: task.left_behind,
        }
    }
}

/// Whether a script passed, failed by itself, or never had a fair chance.
pub(crate) fn script_status(task: &TaskSummary) -> ScriptStatus {
    match task.status {
        TaskStatus::Completed => ScriptStatus::Passed,
        TaskStatus::TimedOut => ScriptStatus::Timeout,
        TaskStatus::Skipped => ScriptStatus::Skipped,
        TaskStatus::Failed => match task.outcome.as_deref() {
            Some("could_not_start" | "lost") | None => ScriptStatus::Error,
            Some(_) => ScriptStatus::Failed,
        },
        TaskStatus::Cancelled
        | TaskStatus::Pending
        | TaskStatus::Waiting
        | TaskStatus::Running
        | TaskStatus::Retrying => ScriptStatus::Error,
    }
}
