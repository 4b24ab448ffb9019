//! A run in numbers and sentences, as `summary.json` has it. Every other report draws from this and from nothing else
//! but the ends of the logs.

use crate::counts::Counts;
use crate::logs::{Logs, StreamName};
use crate::quantity::{iso, rounded, seconds, shown_seconds};
use crate::sentence::{outcome_name, run_sentence, skip_reason, task_sentence};
use dirigent_core::event::{CancelReason, Verdict};
use dirigent_core::outcome::{Ended, Stream};
use dirigent_core::spec::Action;
use dirigent_core::state::{Header, TaskState, TaskStatus};
use dirigent_core::text::OsText;
use dirigent_core::{State, TaskIndex};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// How many of the slowest tasks are named.
const SLOWEST: usize = 5;

/// A run. Its JSON names are stable: fields are added, never renamed. Moments are ISO 8601 with the offset of the
/// zone the run was started in; what ends in `_s` is in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The run's id.
    pub run: String,
    /// The name of its workflow.
    pub workflow: String,
    /// How it went; `null` while it has not ended, or where its engine died.
    pub verdict: Option<Verdict>,
    /// Why it was asked to end, if it was.
    pub cancel_reason: Option<CancelReason>,
    /// How it went, as a sentence without its subject: "failed: 2 of 12 tasks did not complete".
    pub sentence: String,
    /// When it was accepted.
    pub created: String,
    /// When it ended.
    pub ended: Option<String>,
    /// From accepted to ended; to the last thing known where it has not ended.
    pub elapsed_s: f64,
    /// How many tasks there are of each status.
    pub counts: Counts,
    /// Wall time of all tasks together.
    pub work_s: f64,
    /// CPU time in user code, of the last attempts of all tasks together.
    pub user_s: f64,
    /// CPU time in the kernel, likewise.
    pub system_s: f64,
    /// `user_s` and `system_s` together.
    pub cpu_s: f64,
    /// How many tasks ran at once, on average: `work_s` over `elapsed_s`.
    pub parallelism: f64,
    /// How many tasks might run at once.
    pub max_concurrency: u32,
    /// Whether nothing new was to start after a failure.
    pub fail_fast: bool,
    /// The version of dirigent that ran it.
    pub version: String,
    /// The host it ran on.
    pub host: String,
    /// The folder that scripts are named relative to.
    pub root: Option<String>,
    /// Processes ended with the run that no task could be blamed for.
    pub strays: u32,
    /// Processes that could not be ended, each as `pid name`.
    pub survivors: Vec<String>,
    /// The tasks that failed or ran out of time, the first failure first.
    pub failed: Vec<Mention>,
    /// The five tasks that took longest, slowest first.
    pub slowest: Vec<Mention>,
    /// Every task, in the order of declaration.
    pub tasks: Vec<TaskSummary>,
}

/// A task named in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mention {
    /// Its place among the tasks.
    pub index: TaskIndex,
    /// Its name.
    pub name: String,
    /// What happened to it, as a sentence without its subject.
    pub sentence: String,
    /// Wall time of its last attempt.
    pub wall_s: f64,
}

/// A task, and its last attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSummary {
    /// Its place among the tasks, from 0.
    pub index: TaskIndex,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// How its last attempt ended, by name: `succeeded`, `failed`, `killed`, `timed_out`, `memory_exceeded`,
    /// `could_not_start`, `cancelled`, `lost`; `null` where no attempt ended.
    pub outcome: Option<String>,
    /// What happened to it, as a sentence without its subject: "failed with exit code 3".
    pub sentence: String,
    /// The exit code, where the program got as far as having one.
    pub exit_code: Option<i32>,
    /// Why it was skipped, in full; `null` where it was not.
    pub skip_reason: Option<String>,
    /// The run whose value it has; `null` where it was carried out in this one, or had not to be.
    #[serde(default)]
    pub reused_from: Option<String>,
    /// The script's file, relative to `root` where it lies below; `null` for other commands.
    pub script: Option<String>,
    /// The program that was run and its arguments; undecodable bytes replaced.
    pub command: Vec<String>,
    /// The tasks it needs, by their places.
    pub needs: Vec<TaskIndex>,
    /// How many attempts were started.
    pub attempts: u32,
    /// When the last attempt started.
    pub started: Option<String>,
    /// When the last attempt ended.
    pub ended: Option<String>,
    /// When it started, counted from the creation of the run.
    pub started_after_s: Option<f64>,
    /// When it ended, counted likewise.
    pub ended_after_s: Option<f64>,
    /// Wall time, without the time the run was stopped.
    pub wall_s: f64,
    /// CPU time in user code.
    pub user_s: f64,
    /// CPU time in the kernel.
    pub system_s: f64,
    /// The most memory resident at once in one process, in bytes.
    pub peak_memory_bytes: u64,
    /// Its standard output; `null` where it wrote nothing.
    pub stdout: Option<StreamSummary>,
    /// Its standard error; `null` where it wrote nothing.
    pub stderr: Option<StreamSummary>,
    /// How many processes it left behind.
    pub left_behind: u32,
    /// The last lines it wrote, as plain text, where it did not complete.
    pub last_lines: String,
}

/// One output stream of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSummary {
    /// Bytes the program wrote.
    pub bytes: u64,
    /// Bytes of them that the log holds.
    pub kept_bytes: u64,
    /// Whether the log lacks bytes out of the middle.
    pub truncated: bool,
    /// Why the log could not be written; `null` when it could.
    pub error: Option<String>,
    /// The log, relative to the run's folder.
    pub log: Option<String>,
}

impl Summary {
    /// Sums up a run as it stands; `None` before its first event.
    pub fn new(state: &State, logs: &dyn Logs) -> Option<Self> {
        let header = state.header()?;
        let tasks: Vec<TaskSummary> = (0u32..)
            .map(TaskIndex)
            .zip(state.tasks())
            .map(|(index, task)| TaskSummary::new(state, header, index, task, logs))
            .collect();
        // What consists of tasks took what those did.
        let own = || {
            let both = tasks.iter().zip(state.tasks());
            both.filter(|(_, task)| !task.consists_of_tasks()).map(|(summary, _)| summary)
        };
        let total = |part: fn(&TaskSummary) -> f64| rounded(own().map(part).sum::<f64>());
        let (work_s, user_s, system_s) = (total(|t| t.wall_s), total(|t| t.user_s), total(|t| t.system_s));
        let counts = Counts::new(state);
        let end = state.end();
        let elapsed_s = end.map_or_else(
            || tasks.iter().flat_map(|t| [t.started_after_s, t.ended_after_s]).flatten().fold(0.0, f64::max),
            |end| between(header.created_at_ms, end.at_ms),
        );
        let moment = |at_ms| iso(at_ms, header.origin.utc_offset_min);
        Some(Self {
            run: header.run.to_string(),
            workflow: header.workflow.clone(),
            verdict: end.map(|end| end.verdict),
            cancel_reason: state.cancel(),
            sentence: run_sentence(state, &counts),
            created: moment(header.created_at_ms),
            ended: end.map(|end| moment(end.at_ms)),
            elapsed_s,
            counts,
            work_s,
            user_s,
            system_s,
            cpu_s: rounded(user_s + system_s),
            parallelism: if elapsed_s > 0.0 { rounded(work_s / elapsed_s) } else { 0.0 },
            max_concurrency: header.max_concurrency,
            fail_fast: header.fail_fast,
            version: header.origin.version.clone(),
            host: header.origin.host.clone(),
            root: header.origin.root.as_ref().map(lossy),
            strays: end.map_or(0, |end| end.strays),
            survivors: end.map(|end| end.survivors.clone()).unwrap_or_default(),
            failed: failed(&tasks, state.first_failure()),
            slowest: slowest(own()),
            tasks,
        })
    }

    /// The task a mention is about.
    pub fn task(&self, index: TaskIndex) -> &TaskSummary {
        &self.tasks[index.usize()]
    }
}

impl TaskSummary {
    fn new(state: &State, header: &Header, index: TaskIndex, task: &TaskState, logs: &dyn Logs) -> Self {
        // While a later attempt runs, the state still holds how the earlier one ended.
        let ended = task.ended.as_ref().filter(|_| task.status != TaskStatus::Running);
        let usage = ended.map(|ended| ended.usage).unwrap_or_default();
        let stream = |pick: fn(&Ended) -> &Option<Box<Stream>>, name| {
            ended.and_then(|ended| pick(ended).as_ref()).map(|stream| StreamSummary {
                bytes: stream.bytes,
                kept_bytes: stream.kept_bytes,
                truncated: stream.is_truncated(),
                error: stream.error.clone(),
                log: logs.path(index, name),
            })
        };
        let moment = |at_ms| iso(at_ms, header.origin.utc_offset_min);
        let after = |at_ms| between(header.created_at_ms, at_ms);
        Self {
            index,
            name: task.spec.name.to_string(),
            status: task.status,
            outcome: ended.map(|ended| outcome_name(&ended.outcome).to_owned()),
            sentence: task_sentence(state, task),
            exit_code: ended.and_then(|ended| ended.outcome.exit_code()),
            skip_reason: task.skipped.as_ref().map(|reason| skip_reason(state, reason)),
            reused_from: task.reused.as_ref().map(|reused| reused.from.to_string()),
            script: script(&task.spec.action, header.origin.root.as_ref()),
            command: task
                .spec
                .action
                .command()
                .into_iter()
                .flat_map(|command| &command.argv)
                .map(lossy)
                .collect(),
            needs: task.spec.needs.to_vec(),
            attempts: task.attempts,
            started: task.started_at_ms.map(moment),
            ended: task.ended_at_ms.map(moment),
            started_after_s: task.started_at_ms.map(after),
            ended_after_s: task.ended_at_ms.map(after),
            wall_s: match (usage.wall_us, task.started_at_ms, task.ended_at_ms) {
                // An attempt whose worker was lost has no usage, but the journal knows its two ends.
                (0, Some(started), Some(ended)) => between(started, ended),
                (wall_us, ..) => seconds(wall_us),
            },
            user_s: seconds(usage.user_us),
            system_s: seconds(usage.system_us),
            peak_memory_bytes: usage.peak_memory_bytes,
            stdout: stream(|ended| &ended.stdout, StreamName::Stdout),
            stderr: stream(|ended| &ended.stderr, StreamName::Stderr),
            left_behind: ended.map_or(0, |ended| ended.left_behind),
            last_lines: ended.map(|ended| ended.last_lines.to_string()).unwrap_or_default(),
        }
    }

    /// Its two streams, where it wrote to them: errors first, as readers want them.
    pub fn streams(&self) -> impl Iterator<Item = (StreamName, &StreamSummary)> {
        [(StreamName::Stderr, &self.stderr), (StreamName::Stdout, &self.stdout)]
            .into_iter()
            .filter_map(|(name, stream)| Some((name, stream.as_ref()?)))
    }

    /// Whether an attempt really ran and ended, so that its figures mean something.
    pub fn ran(&self) -> bool {
        self.reused_from.is_none()
            && self.outcome.as_deref().is_some_and(|outcome| outcome != "could_not_start")
    }

    /// How long it ran, as the end of its sentence; empty where that is said already or means nothing.
    pub(crate) fn after(&self) -> String {
        let says_more = self.ran() && self.status != TaskStatus::TimedOut;
        if says_more { format!(", after {}", shown_seconds(self.wall_s)) } else { String::new() }
    }

    fn mention(&self) -> Mention {
        Mention {
            index: self.index,
            name: self.name.clone(),
            sentence: self.sentence.clone(),
            wall_s: self.wall_s,
        }
    }
}

/// The tasks that failed, the first failure first.
fn failed(tasks: &[TaskSummary], first: Option<TaskIndex>) -> Vec<Mention> {
    let mut failed: Vec<&TaskSummary> = tasks.iter().filter(|task| task.status.is_failure()).collect();
    failed.sort_by(|a, b| {
        let place = |task: &TaskSummary| (Some(task.index) != first, task.ended_after_s.unwrap_or(f64::MAX));
        place(a).partial_cmp(&place(b)).unwrap_or(Ordering::Equal)
    });
    failed.into_iter().map(TaskSummary::mention).collect()
}

/// The tasks that took longest, slowest first.
fn slowest<'a>(tasks: impl Iterator<Item = &'a TaskSummary>) -> Vec<Mention> {
    let mut ran: Vec<&TaskSummary> = tasks.filter(|task| task.ran() && task.wall_s > 0.0).collect();
    ran.sort_by(|a, b| b.wall_s.total_cmp(&a.wall_s));
    ran.into_iter().take(SLOWEST).map(TaskSummary::mention).collect()
}

/// The script's file, relative to the root where it lies below.
fn script(action: &Action, root: Option<&OsText>) -> Option<String> {
    match action {
        Action::Script(script) => {
            let path = script.path.as_path();
            let relative = root.and_then(|root| path.strip_prefix(root.as_path()).ok()).unwrap_or(path);
            Some(relative.to_string_lossy().into_owned())
        }
        Action::Command(_) | Action::Function(_) | Action::Approval(_) => None,
    }
}

fn lossy(text: &OsText) -> String {
    text.as_os_str().to_string_lossy().into_owned()
}

/// Seconds from one moment to a later one; none where a clock was set back.
fn between(from_ms: i64, to_ms: i64) -> f64 {
    to_ms.saturating_sub(from_ms).max(0) as f64 / 1e3
}
