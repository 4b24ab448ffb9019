//! A workflow as declared: its tasks, what each needs, does, and may use. Checked when it is made.

use crate::graph::{Cycle, Graph};
use crate::ids::TaskIndex;
use crate::text::{OsText, printable};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A program to run with its arguments: never parsed by a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program, then its arguments. The program is an absolute path, or a name looked up in `PATH`.
    pub argv: Vec<OsText>,
    /// The working directory, absolute.
    pub cwd: OsText,
    /// Changes to the inherited environment, in order; `None` removes a variable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(OsText, Option<OsText>)>,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Runs a program.
    Command(Command),
    /// Runs a script file through its interpreter.
    Script {
        /// The script's file, absolute.
        path: OsText,
        /// What is really run.
        #[serde(flatten)]
        command: Command,
    },
}

impl Action {
    /// The program a worker has to start.
    pub fn command(&self) -> &Command {
        match self {
            Self::Command(command) | Self::Script { command, .. } => command,
        }
    }
}

/// What one attempt may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall time in milliseconds, without the time the run was stopped; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Memory of the whole process tree in bytes; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Bytes of each output stream kept on disk; `None` keeps all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Milliseconds between the polite request to end and the end.
    pub grace_ms: u64,
}

/// One node of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Unique in the workflow.
    pub name: String,
    /// What it does.
    #[serde(flatten)]
    pub action: Action,
    /// The tasks that must complete first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<TaskIndex>,
    /// What an attempt may use.
    pub limits: Limits,
    /// Exit codes that count as success.
    pub allowed_exit_codes: Vec<i32>,
    /// Why it is not to run at all; `None` when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
    /// Whether processes it leaves behind may stay: the way to start a service.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leave_running: bool,
    /// How many attempts may be lost (with the worker that carried them out) before the task fails.
    pub lost_attempts_allowed: u32,
}

/// A named directed acyclic graph of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workflow {
    name: String,
    tasks: Vec<Task>,
}

/// A workflow that cannot be one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWorkflow {
    /// Two tasks share a name.
    #[error("two tasks are named `{}`", printable(name))]
    DuplicateTask {
        /// The name.
        name: String,
    },
    /// A task needs something that is not there.
    #[error("task `{}` needs task number {need}, and there are only {count}", printable(task))]
    UnknownNeed {
        /// The task.
        task: String,
        /// What it names.
        need: TaskIndex,
        /// How many tasks there are.
        count: usize,
    },
    /// Tasks wait for each other.
    #[error("tasks wait for each other: {}", shown_cycle(names))]
    Cycle {
        /// The shortest cycle, each needing the next, the last needing the first.
        names: Vec<String>,
    },
    /// There is nothing to run in a command.
    #[error("task `{}` has an empty command", printable(task))]
    EmptyCommand {
        /// The task.
        task: String,
    },
    /// More than can be counted.
    #[error("a workflow has at most {} tasks", u32::MAX)]
    TooManyTasks,
}

fn shown_cycle(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().map(|name| printable(name)).collect();
    shown.extend(names.first().map(|name| printable(name)));
    shown.join(" → ")
}

impl Workflow {
    /// Checks the tasks and makes a workflow of them.
    ///
    /// # Errors
    ///
    /// A name twice, a need that is not there, tasks that wait for each other, an empty command.
    pub fn new(name: impl Into<String>, tasks: Vec<Task>) -> Result<Self, InvalidWorkflow> {
        u32::try_from(tasks.len()).map_err(|_| InvalidWorkflow::TooManyTasks)?;
        let mut seen = HashMap::with_capacity(tasks.len());
        for task in &tasks {
            if seen.insert(task.name.as_str(), ()).is_some() {
                return Err(InvalidWorkflow::DuplicateTask { name: task.name.clone() });
            }
            if task.action.command().argv.is_empty() {
                return Err(InvalidWorkflow::EmptyCommand { task: task.name.clone() });
            }
            if let Some(&need) = task.needs.iter().find(|need| need.usize() >= tasks.len()) {
                return Err(InvalidWorkflow::UnknownNeed {
                    task: task.name.clone(),
                    need,
                    count: tasks.len(),
                });
            }
        }
        Graph::new(tasks.iter().map(|task| task.needs.as_slice())).check().map_err(|Cycle(members)| {
            InvalidWorkflow::Cycle { names: members.iter().map(|i| tasks[i.usize()].name.clone()).collect() }
        })?;
        Ok(Self { name: name.into(), tasks })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its tasks; a [`TaskIndex`] counts in this order.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Gives the parts back.
    pub fn into_parts(self) -> (String, Vec<Task>) {
        (self.name, self.tasks)
    }
}
