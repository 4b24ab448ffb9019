//! The spine: everything that can happen to a run. State is the fold of these; everything anybody sees is a view of them.

use crate::ids::{RunId, TaskIndex};
use crate::outcome::{Ended, is_zero};
use crate::spec::{Action, Resource, Task};
use crate::text::OsText;
use crate::value::Kept;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A fact with its place and its time. To copy one costs next to nothing, whatever it tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the run, from 0, without gaps.
    pub seq: u64,
    /// When it was recorded, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: i64,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// Everything that can happen to a run.
///
/// Past tense, one variant for each thing a person would tell. The JSON names are the wire format, the journal's format
/// and the Python names: variants and optional fields are added, never renamed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fact {
    /// A run was accepted.
    RunCreated(Box<Created>),
    /// The run got tasks; their indices follow those it had.
    TasksDeclared {
        /// The tasks, in order.
        tasks: Arc<[Arc<Task>]>,
        /// The task that is through when all of these are; `None` for tasks of the workflow itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<TaskIndex>,
    },
    /// Somebody has to say whether a task is to run.
    ConditionAsked {
        /// The task.
        task: TaskIndex,
    },
    /// The task is to run.
    ConditionHeld {
        /// The task.
        task: TaskIndex,
    },
    /// What a task does is known in full, since what it depends on is.
    ActionSettled {
        /// The task.
        task: TaskIndex,
        /// What it does.
        #[serde(flatten)]
        action: Box<Action>,
    },
    /// A worker is asked to carry out a task.
    AttemptStarted {
        /// The task.
        task: TaskIndex,
        /// 1 for the first try.
        attempt: u32,
    },
    /// An attempt ended.
    AttemptEnded {
        /// The task.
        task: TaskIndex,
        /// Which try.
        attempt: u32,
        /// When the next attempt is due, in milliseconds since 1970; `None` where this one was the last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at_ms: Option<i64>,
        /// How, and what is left of it.
        #[serde(flatten)]
        ended: Arc<Ended>,
    },
    /// A task need not run: what an earlier run recorded of it still holds.
    TaskReused {
        /// The task.
        task: TaskIndex,
        /// What that is.
        #[serde(flatten)]
        reused: Arc<Reused>,
    },
    /// Somebody has to say whether a task need not run.
    ReuseAsked {
        /// The task.
        task: TaskIndex,
    },
    /// The task has to run: nothing that was recorded holds.
    ReuseDeclined {
        /// The task.
        task: TaskIndex,
        /// What it depends on, as one hash; `None` where that cannot be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Arc<str>>,
        /// What it depends on, each with a hash; or why that cannot be told.
        parts: Vec<(Box<str>, Box<str>)>,
    },
    /// What a task gave cannot be had any more, and somebody needs it: it will be carried out again.
    ValueLost {
        /// The task.
        task: TaskIndex,
        /// Why, as a sentence without its end.
        why: Box<str>,
    },
    /// A task waits for an answer.
    WaitStarted {
        /// The task.
        task: TaskIndex,
    },
    /// Somebody answered.
    WaitAnswered {
        /// The task.
        task: TaskIndex,
        /// Whether it goes on.
        approved: bool,
        /// What they said.
        #[serde(default, skip_serializing_if = "str::is_empty")]
        comment: Box<str>,
        /// Who it was.
        #[serde(default, skip_serializing_if = "str::is_empty")]
        actor: Box<str>,
        /// What they gave.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<Arc<Kept>>,
    },
    /// Nobody answered in time.
    WaitTimedOut {
        /// The task.
        task: TaskIndex,
    },
    /// A task failed without an attempt.
    TaskFailed {
        /// The task.
        task: TaskIndex,
        /// Why, as a sentence without its end.
        why: Box<str>,
    },
    /// A task will not run.
    TaskSkipped {
        /// The task.
        task: TaskIndex,
        /// Why.
        #[serde(flatten)]
        reason: SkipReason,
    },
    /// A task had not started when the run was cancelled, and will not.
    TaskCancelled {
        /// The task.
        task: TaskIndex,
    },
    /// Somebody asked the run to end.
    CancelRequested {
        /// Why, and from whom.
        reason: CancelReason,
    },
    /// A task was asked to end, apart from the others.
    TaskCancelRequested {
        /// The task.
        task: TaskIndex,
    },
    /// Somebody wants everything to end at once, whatever it was meant to clean up.
    KillRequested,
    /// An engine took the run up again after another had left it, by its own end or at somebody's wish.
    RunResumed {
        /// Where and by what it runs from here on.
        origin: Box<Origin>,
    },
    /// The run and all its processes were stopped, as by Ctrl-Z. Stopped time counts against no limit.
    RunSuspended,
    /// The run and all its processes go on.
    RunContinued,
    /// Every task has ended.
    RunEnded {
        /// How it went.
        verdict: Verdict,
        /// What its tasks left behind that could be attributed to none of them, and was ended with the run.
        #[serde(default, skip_serializing_if = "is_zero")]
        strays: u32,
        /// Processes that could not be ended, each as `pid name`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        survivors: Vec<String>,
    },
}

impl Fact {
    /// The artifact that it names, where it does.
    pub fn artifact(&self) -> Option<&str> {
        match self {
            Self::AttemptEnded { ended, .. } => ended.value.as_ref(),
            Self::TaskReused { reused, .. } => reused.value.as_ref(),
            _ => None,
        }
        .and_then(|value| value.artifact())
    }
}

/// What a run begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// Its id.
    pub run: RunId,
    /// The name of the workflow it executes.
    pub workflow: String,
    /// How many tasks may run at once.
    pub max_concurrency: u32,
    /// Whether nothing new starts after a failure.
    pub fail_fast: bool,
    /// Where and by what it runs.
    pub origin: Box<Origin>,
    /// What there is only so much of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    /// How long it may take in all, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What chance is drawn from.
    #[serde(default)]
    pub seed: u64,
}

/// What an earlier run recorded of a task that need not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reused {
    /// The run that carried it out.
    pub from: RunId,
    /// How long it took there, in microseconds.
    pub saved_us: u64,
    /// What it depends on, as one hash, where that was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<str>>,
    /// The folder of its logs there, in the state folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<Box<str>>,
    /// What it gave there, where that was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Arc<Kept>>,
}

/// Where and by what a run was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The version of dirigent.
    pub version: String,
    /// The host's name.
    pub host: String,
    /// The process id of the engine.
    pub pid: u32,
    /// What it ran on: the system, and the interpreter where there was one. Empty where nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// The folder that paths are shown relative to.
    pub root: Option<OsText>,
    /// Minutes that local time was ahead of UTC at the start.
    pub utc_offset_min: i32,
    /// The file that its workflow was read from, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Arc<Source>>,
}

/// A workflow file as it was when a run of it began, and what it was given: enough to go on with the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file, absolute: what its paths are meant from.
    pub path: OsText,
    /// The place in the file, where it holds more than one workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Box<str>>,
    /// Its text.
    pub text: Arc<str>,
    /// Its parameters, as a JSON object.
    pub params: Box<str>,
    /// The files that it runs, and those that they run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SourceFile>,
}

/// A file that a workflow file runs, as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// The file, absolute.
    pub path: OsText,
    /// Its text.
    pub text: Arc<str>,
}

/// Why a task was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum SkipReason {
    /// Whoever declared it said so.
    Declared {
        /// In their words.
        text: String,
    },
    /// A task it needs did not complete.
    NeedNotMet {
        /// That task.
        need: TaskIndex,
    },
    /// Its needs ended in other ways than it waits for.
    TriggerNotMet,
    /// Its condition did not hold.
    Condition,
    /// Another task failed, and the run was to stop at the first failure.
    FailFast {
        /// That task.
        failed: TaskIndex,
    },
}

/// Why a run was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// Ctrl-C, or SIGINT from elsewhere.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// The terminal is gone: SIGHUP.
    HungUp,
    /// A program asked, through the library.
    Requested,
    /// The run took longer than it may.
    TimedOut,
    /// The state folder can no longer be written.
    Storage,
}

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every task completed or was skipped by declaration.
    Succeeded,
    /// At least one task did not complete.
    Failed,
    /// The run was asked to end before it was through.
    Cancelled,
}

impl Verdict {
    /// Its name, as on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_takes_little_room() {
        assert!(size_of::<Event>() <= 64, "{}", size_of::<Event>());
    }

    use crate::outcome::{Outcome, Stream};

    #[test]
    fn an_event_reads_as_one_flat_line() {
        let event = Event {
            seq: 3,
            at_ms: 1_700_000_000_000,
            fact: Fact::AttemptEnded {
                task: TaskIndex(1),
                attempt: 1,
                retry_at_ms: None,
                ended: Arc::new(Ended {
                    stderr: Some(Box::new(Stream { bytes: 5, kept_bytes: 5, error: None })),
                    last_lines: "boom".into(),
                    ..Ended::new(Outcome::Failed { exit_code: 2 })
                }),
            },
        };
        let line = serde_json::to_string(&event).expect("serialises");
        assert_eq!(
            line,
            r#"{"seq":3,"at_ms":1700000000000,"kind":"attempt_ended","task":1,"attempt":1,"outcome":"failed","exit_code":2,"usage":{"wall_us":0,"user_us":0,"system_us":0,"peak_memory_bytes":0},"stderr":{"bytes":5,"kept_bytes":5},"last_lines":"boom"}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&line).expect("parses"), event);
    }
}
