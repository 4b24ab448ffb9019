//! A workflow as declared: its tasks, what each needs, does, and may use. Checked when it is made.

use crate::graph::{Cycle, Graph};
use crate::ids::TaskIndex;
use crate::text::{OsText, printable};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// A program to run with its arguments: never parsed by a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program, then its arguments. The program is an absolute path, or a name looked up in `PATH`.
    pub argv: Vec<OsText>,
    /// The working directory, absolute.
    pub cwd: OsText,
    /// Changes to the inherited environment, in order; `None` removes a variable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(OsText, Option<OsText>)>,
    /// Variables that are secrets, each with the name of its secret: the values are never part of a workflow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<(OsText, String)>,
    /// The only variables that are inherited, beside those that every program needs; a `*` at the end of a name stands for
    /// any rest. `None` inherits all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass_env: Option<Vec<OsText>>,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Runs a program.
    Command(Box<Command>),
    /// Runs a script file through its interpreter.
    Script(Box<Script>),
    /// Calls a function of the program that declared the task.
    Function(Arc<Function>),
    /// Waits for somebody's answer.
    Approval(Box<Approval>),
}

/// A function of the program that declared the task. Tasks that call the same one share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its name, for people: `module.name`.
    #[serde(rename = "function")]
    pub name: Arc<str>,
    /// What tells its code from other code; `None` where nobody has to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Arc<str>>,
}

/// What somebody is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The question.
    pub prompt: Arc<str>,
    /// Whether a value is asked for, and not only whether to go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wants_value: bool,
}

/// A script file and what is really run for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// The script's file, absolute.
    pub path: OsText,
    /// What is really run.
    #[serde(flatten)]
    pub command: Command,
}

impl Action {
    /// The program that has to be started, where it is one.
    pub fn command(&self) -> Option<&Command> {
        match self {
            Self::Command(command) => Some(command),
            Self::Script(script) => Some(&script.command),
            Self::Function(_) | Self::Approval(_) => None,
        }
    }
}

impl Action {
    /// A call of a function.
    pub fn function(name: impl Into<Arc<str>>, code: Option<Arc<str>>) -> Self {
        Self::Function(Arc::new(Function { name: name.into(), code }))
    }

    /// A wait for an answer.
    pub fn approval(prompt: impl Into<Arc<str>>, wants_value: bool) -> Self {
        Self::Approval(Box::new(Approval { prompt: prompt.into(), wants_value }))
    }

    /// The same, to be changed before the task is part of a workflow.
    pub fn command_mut(&mut self) -> Option<&mut Command> {
        match self {
            Self::Command(command) => Some(command),
            Self::Script(script) => Some(&mut script.command),
            Self::Function(_) | Self::Approval(_) => None,
        }
    }
}

/// What one attempt may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// When a task starts, as its needs end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// All of them completed.
    #[default]
    AllSuccess,
    /// All of them ended, however.
    AllDone,
    /// One of them completed; the others may still run.
    AnySuccess,
    /// One of them failed; the others may still run.
    AnyFailed,
    /// All of them ended and none failed: they may have been skipped.
    NoneFailed,
    /// All of them ended, however, even if the run was cancelled meanwhile.
    Always,
}

/// How often and how far apart a failed task is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, the first one included.
    pub max_attempts: u32,
    /// Milliseconds before the second attempt.
    pub initial_delay_ms: u64,
    /// The most milliseconds before any attempt.
    pub max_delay_ms: u64,
    /// By what each delay is longer than the one before.
    pub base: f64,
    /// The part of a delay, from 0 to 1, by which chance shortens or lengthens it.
    pub jitter: f64,
}

/// How often a task that says it is not through is carried out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    /// How often in all before it has failed.
    pub max_times: u32,
    /// Milliseconds between.
    pub delay_ms: u64,
}

/// How what a task did is used again where nothing that it depends on has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reuse {
    /// How long what it did holds, in milliseconds; `None` for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Files that it reads, as absolute paths or globs: what is in them counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<OsText>,
    /// Files that it writes, as absolute paths or globs: they are put back where they are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OsText>,
    /// Variables of the environment whose values count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
}

/// A part of one of the run's resources, held while the task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// The resource, by its place in the run.
    pub resource: u32,
    /// How much of it, in the resource's own units.
    pub amount: u64,
}

/// Something there is only so much of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Unique in the run.
    pub name: String,
    /// How much of it there is.
    pub capacity: u64,
    /// For a rate: so much may be claimed in any such time, in milliseconds, and nothing is given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_ms: Option<u64>,
}

/// What a task will consist of: its parts are declared when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Whole {
    /// Tasks for items, one for each.
    Items {
        /// How many there are, where that is known before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    },
    /// The tasks of a workflow.
    Workflow,
}

/// Under which conditions a task runs, and what becomes of it otherwise. Many tasks share one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// What an attempt may use.
    pub limits: Limits,
    /// Exit codes that count as success.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_exit_codes: Vec<i32>,
    /// Why it is not to run at all; `None` when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
    /// Whether processes it leaves behind may stay: the way to start a service.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leave_running: bool,
    /// How many attempts may be lost (with the worker that carried them out) before the task fails.
    pub lost_attempts_allowed: u32,
    /// When it starts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trigger: Trigger,
    /// Whether it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Whether it may say that it is not through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
    /// Of the tasks that could start, those with more go first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Whether it need not run where nothing has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    /// What it holds while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// Whether somebody has to be asked before it starts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_condition: bool,
    /// Whether it cleans up: it starts when its needs have ended, whatever happened. Without needs it starts when all tasks
    /// have ended that clean nothing up; as a part of a task, when all such parts of that have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub teardown: bool,
    /// Whether it takes no slot, because it only waits for tasks of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub slotless: bool,
    /// What it will consist of, where that is tasks of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Whole>,
    /// Whether the run went as this task did, whatever became of the others: it knows what they mean.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decides: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Policy {
    /// Whether it may still start after a failure ended what fails fast.
    pub fn outlives_failure(&self) -> bool {
        self.outlives_cancel() || matches!(self.trigger, Trigger::AnyFailed | Trigger::AllDone)
    }

    /// Whether it may still start when the run was asked to end.
    pub fn outlives_cancel(&self) -> bool {
        self.teardown || self.trigger == Trigger::Always
    }
}

/// One node of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Unique in the workflow.
    pub name: Arc<str>,
    /// What it does.
    #[serde(flatten)]
    pub action: Action,
    /// The tasks that must end first.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub needs: Box<[TaskIndex]>,
    /// Under which conditions.
    #[serde(flatten)]
    pub policy: Arc<Policy>,
}

impl Task {
    /// Whether it cleans up after all tasks that clean nothing up.
    pub fn cleans_up_last(&self) -> bool {
        self.policy.teardown && self.needs.is_empty()
    }
}

/// A named directed acyclic graph of tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow {
    name: String,
    tasks: Vec<Arc<Task>>,
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

/// Checks that there is an order in which every task can start.
///
/// What cleans up last waits for all that clean nothing up. A place behind all tasks stands for those.
fn check_order(tasks: &[Task]) -> Result<(), Cycle> {
    if !tasks.iter().any(Task::cleans_up_last) {
        // Where each needs only those before it, the order of declaration is such an order.
        let mut indices = (0u32..).map(TaskIndex).zip(tasks);
        if indices.all(|(index, task)| task.needs.iter().all(|need| *need < index)) {
            return Ok(());
        }
        return Graph::new(tasks.iter().map(|task| &*task.needs)).check();
    }
    let indices = || (0u32..).map(TaskIndex).zip(tasks);
    let regular: Vec<TaskIndex> =
        indices().filter(|(_, task)| !task.policy.teardown).map(|(index, _)| index).collect();
    let all_regular = [TaskIndex(tasks.len() as u32)];
    let needs = |task| if Task::cleans_up_last(task) { &all_regular[..] } else { &task.needs };
    let rows: Vec<&[TaskIndex]> = tasks.iter().map(needs).chain([&regular[..]]).collect();
    Graph::new(rows.iter().copied()).check()
}

/// Whether no two of the names have the same hash; equal hashes mean that somebody has to look.
///
/// A million hashes are sorted in less time than a million names take to find their places in a table.
fn do_surely_differ<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let hasher = RandomState::new();
    let mut hashes: Vec<u64> = names.map(|name| hasher.hash_one(name)).collect();
    hashes.sort_unstable();
    hashes.windows(2).all(|pair| pair[0] != pair[1])
}

impl Workflow {
    /// Checks the tasks and makes a workflow of them.
    ///
    /// # Errors
    ///
    /// A name twice, a need that is not there, tasks that wait for each other, an empty command.
    pub fn new(name: impl Into<String>, tasks: Vec<Task>) -> Result<Self, InvalidWorkflow> {
        u32::try_from(tasks.len()).map_err(|_| InvalidWorkflow::TooManyTasks)?;
        let names_differ = do_surely_differ(tasks.iter().map(|task| &*task.name));
        let mut seen = HashSet::new();
        for task in &tasks {
            let name = || task.name.to_string();
            if !names_differ && !seen.insert(&*task.name) {
                return Err(InvalidWorkflow::DuplicateTask { name: name() });
            }
            if task.action.command().is_some_and(|command| command.argv.is_empty()) {
                return Err(InvalidWorkflow::EmptyCommand { task: name() });
            }
            if let Some(&need) = task.needs.iter().find(|need| need.usize() >= tasks.len()) {
                return Err(InvalidWorkflow::UnknownNeed { task: name(), need, count: tasks.len() });
            }
        }
        check_order(&tasks).map_err(|Cycle(members)| {
            let tasks = members.iter().filter_map(|i| tasks.get(i.usize()));
            InvalidWorkflow::Cycle { names: tasks.map(|task| task.name.to_string()).collect() }
        })?;
        // Collected, it would keep the memory of the tasks, which is many times what it needs.
        let mut shared = Vec::with_capacity(tasks.len());
        shared.extend(tasks.into_iter().map(Arc::new));
        Ok(Self { name: name.into(), tasks: shared })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its tasks; a [`TaskIndex`] counts in this order.
    pub fn tasks(&self) -> &[Arc<Task>] {
        &self.tasks
    }

    /// Gives the parts back.
    pub fn into_parts(self) -> (String, Vec<Arc<Task>>) {
        (self.name, self.tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str, needs: &[u32], teardown: bool) -> Task {
        let action = Action::function(name, None);
        let needs = needs.iter().copied().map(TaskIndex).collect();
        Task { name: name.into(), action, needs, policy: Arc::new(Policy { teardown, ..Policy::default() }) }
    }

    #[test]
    fn a_task_that_waits_for_what_cleans_up_last_waits_for_itself() {
        let tidy = || task("tidy", &[], true);
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        assert_eq!(
            Workflow::new("w", vec![task("a", &[], false), tidy(), task("b", &[1], false)]),
            Err(InvalidWorkflow::Cycle { names: names(["b", "tidy"]) })
        );
        let error = Workflow::new("w", vec![tidy(), task("b", &[0], false)]).map(drop);
        assert_eq!(
            error.map_err(|error| error.to_string()),
            Err("tasks wait for each other: b → tidy → b".to_owned())
        );
        let fine = vec![task("a", &[], false), tidy(), task("after", &[1], true), task("b", &[0], false)];
        assert!(Workflow::new("w", fine).is_ok());
    }

    #[test]
    fn the_first_task_that_cannot_be_one_is_named() {
        let refused = |tasks: &[Task]| Workflow::new("w", tasks.to_vec()).map(drop);
        let twice = InvalidWorkflow::DuplicateTask { name: "a".to_owned() };
        let unknown = InvalidWorkflow::UnknownNeed { task: "c".to_owned(), need: TaskIndex(9), count: 4 };
        let (a, b, c) = (task("a", &[], false), task("b", &[0], false), task("c", &[9], false));
        assert_eq!(refused(&[a.clone(), b.clone(), a.clone(), c.clone()]), Err(twice));
        assert_eq!(refused(&[a.clone(), c, a, b]), Err(unknown));
    }

    #[test]
    fn names_are_known_to_differ_only_where_they_do() {
        let names: Vec<String> = (0..10_000).map(|i| format!("task{i}")).collect();
        assert!(do_surely_differ(names.iter().map(String::as_str)));
        assert!(!do_surely_differ(names.iter().chain([&names[4321]]).map(String::as_str)));
        assert!(do_surely_differ(["", "a"].into_iter()));
        assert!(!do_surely_differ(["", ""].into_iter()));
    }

    #[test]
    fn tasks_may_be_declared_in_any_order() {
        let first_needs =
            |need| vec![task("a", &[need], false), task("b", &[], false), task("c", &[0], false)];
        assert!(Workflow::new("w", first_needs(1)).is_ok());
        let names = ["c", "a"].map(str::to_owned).to_vec();
        assert_eq!(Workflow::new("w", first_needs(2)).map(drop), Err(InvalidWorkflow::Cycle { names }));
    }

    #[test]
    fn a_task_is_written_with_what_is_out_of_the_ordinary_alone() {
        let line = serde_json::to_string(&task("a", &[], true)).expect("serialises");
        assert_eq!(
            line,
            r#"{"name":"a","action":"function","function":"a","limits":{"grace_ms":0},"lost_attempts_allowed":0,"teardown":true}"#
        );
        assert_eq!(serde_json::from_str::<Task>(&line).expect("parses"), task("a", &[], true));
    }
}
