//! The formats a run can be reported in, and the one door to all of them.

use crate::html::Page;
use crate::logs::Logs;
use crate::past::PastRun;
use crate::script_result::ScriptResult;
use crate::summary::Summary;
use crate::times::Times;
use crate::{html, json, junit, markdown, trace};
use dirigent_core::event::Event;
use dirigent_core::{State, TaskIndex};

/// A form of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// One self-contained page.
    Html,
    /// Markdown, as for a comment on a pull request.
    Md,
    /// JUnit XML.
    Junit,
    /// The summary as JSON.
    Json,
    /// A trace, as Perfetto and Chrome show it. It is made only where it is asked for.
    Trace,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Html, Self::Md, Self::Junit, Self::Json, Self::Trace];

    /// Those that are made where none is named.
    pub const USUAL: [Self; 4] = [Self::Html, Self::Md, Self::Junit, Self::Json];

    /// Its name, as typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Md => "md",
            Self::Junit => "junit",
            Self::Json => "json",
            Self::Trace => "trace",
        }
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The file it is kept in, in the run's folder.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Html => "report.html",
            Self::Md => "summary.md",
            Self::Junit => "junit.xml",
            Self::Json => "summary.json",
            Self::Trace => "trace.json",
        }
    }
}

/// A run, and what a report needs to know beside it.
#[derive(Clone, Copy)]
pub struct RunView<'a> {
    /// The run as it stands.
    pub state: &'a State,
    /// Its events, for what became of earlier attempts; with none, only the last attempt of each task is known.
    pub events: &'a [Event],
    /// The runs of its workflow before it, the oldest first.
    pub past: &'a [PastRun],
    /// The output of its tasks.
    pub logs: &'a dyn Logs,
    /// The run's folder as a person would type it, for the commands the report suggests; `None` where there is none.
    pub folder: Option<&'a str>,
}

impl RunView<'_> {
    /// The run in numbers and sentences; `None` before its first event.
    pub fn summary(&self) -> Option<Summary> {
        Summary::new(self.state, self.logs)
    }

    /// The result of one script, with about `output_bytes` of each stream; `None` where there is no such task.
    ///
    /// For one task. Whoever wants all of them takes a [`summary`](Self::summary) and [`ScriptResult::new`].
    pub fn script_result(&self, task: TaskIndex, output_bytes: usize) -> Option<ScriptResult> {
        let summary = self.summary()?;
        summary.tasks.get(task.usize()).map(|task| ScriptResult::new(task, self.logs, output_bytes))
    }

    /// The run as a text of that format; `None` before its first event.
    pub fn render(&self, format: Format) -> Option<String> {
        let summary = self.summary()?;
        Some(match format {
            Format::Html => html::render(&Page {
                state: self.state,
                times: &Times::new(self.state, self.events),
                summary: &summary,
                past: self.past,
                logs: self.logs,
                folder: self.folder,
            }),
            Format::Md => markdown::render(&summary, self.folder),
            Format::Junit => junit::render(&summary, self.logs),
            Format::Json => json::summary(&summary),
            Format::Trace => trace::render(self.state, &Times::new(self.state, self.events), &summary),
        })
    }
}
