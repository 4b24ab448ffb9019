//! What a picture of a workflow or a run shows: nodes with words on them, and who waits for whom. It knows no format.
//!
//! A task that consists of tasks holds them. Of a great many tasks, those of one stage are folded into one node.

mod fold;

use crate::counts::Counts;
use crate::quantity::{counted, grouped, shown_seconds};
use crate::sentence::{run_sentence, status_words, task_sentence};
use dirigent_core::spec::{Action, Task, Trigger, Whole, Workflow};
use dirigent_core::state::{TaskState, TaskStatus};
use dirigent_core::text::printable;
use dirigent_core::{State, TaskIndex};
use serde::Serialize;

/// How many nodes are drawn before tasks are folded.
pub const MOST_NODES: usize = 300;
/// The same in a cell of a notebook, where a picture is drawn again and again while the run goes on.
const MOST_NODES_OF_CELL: usize = 200;

/// How much of a graph is drawn task by task.
#[derive(Clone, Debug)]
pub struct Detail {
    /// With more nodes than this, stages are drawn in place of their tasks.
    pub most_nodes: usize,
    /// What is drawn task by task all the same: the number of a stage, or the name of a task that consists of tasks.
    pub unfold: Vec<String>,
}

impl Default for Detail {
    fn default() -> Self {
        Self { most_nodes: MOST_NODES, unfold: Vec::new() }
    }
}

impl Detail {
    /// What a cell of a notebook shows.
    pub fn of_cell() -> Self {
        Self { most_nodes: MOST_NODES_OF_CELL, ..Self::default() }
    }
}

/// Something was to be unfolded that is not there, or is not folded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing that is called `{}` is folded", printable(name))]
pub struct NotFolded {
    /// How it was called.
    pub name: String,
    /// What is folded.
    pub folded: Vec<String>,
}

/// What a picture shows.
#[derive(Clone, Debug, Serialize)]
pub struct Drawing {
    /// The name of the workflow.
    pub name: String,
    /// What is to be said of the whole: how the run stands, or how many tasks there are.
    pub sentence: String,
    /// How many tasks stand how, in the order in which people want to read them; empty for what never ran.
    pub counts: Vec<(TaskStatus, usize)>,
    /// What is drawn. A node that holds others comes before them.
    pub nodes: Vec<Node>,
    /// Pairs of nodes: the second waits for the first.
    pub edges: Vec<(u32, u32)>,
    /// How many tasks are folded into nodes.
    pub folded: usize,
}

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// One task.
    Task,
    /// A task that consists of tasks, or a stage, which are drawn in it.
    Whole,
    /// A task with all that it consists of, or the tasks of a stage.
    Folded,
    /// A task that will consist of tasks, which are not there yet.
    Coming,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// What it stands for.
    pub kind: NodeKind,
    /// The node that it is drawn in.
    pub inside: Option<u32>,
    /// The task's name, without the name of the task that it is a part of; for a stage, its number and what is in it.
    pub label: String,
    /// The same in a word, where others refer to it.
    pub short: String,
    /// A few words more.
    pub note: String,
    /// How it stands; of several tasks, what matters most. `None` for what never ran.
    pub status: Option<TaskStatus>,
    /// What is told on demand, line by line.
    pub about: Vec<String>,
    /// Of what is folded into it, how many tasks stand how.
    pub counts: Vec<(TaskStatus, usize)>,
    /// The tasks that it stands for.
    pub tasks: Vec<TaskIndex>,
    #[serde(skip)]
    is_stage: bool,
}

/// A task as it is looked at here.
#[derive(Clone, Copy)]
struct Seen<'a> {
    spec: &'a Task,
    parent: Option<u32>,
    /// A part of an attempt that was given up is not drawn.
    is_drawn: bool,
    ran: Option<(&'a State, &'a TaskState)>,
}

impl Node {
    /// Whether it is only the frame around the tasks of a stage, each of which is drawn.
    pub(crate) fn is_stage_drawn(&self) -> bool {
        self.kind == NodeKind::Whole && self.is_stage
    }
}

impl Drawing {
    /// A workflow, before it runs.
    ///
    /// # Errors
    ///
    /// What is to be unfolded is not folded.
    pub fn of_workflow(workflow: &Workflow, detail: &Detail) -> Result<Self, NotFolded> {
        let tasks = workflow.tasks().iter();
        let seen: Vec<Seen<'_>> =
            tasks.map(|task| Seen { spec: task, parent: None, is_drawn: true, ran: None }).collect();
        let sentence = counted(seen.len(), "task");
        Self::of(workflow.name(), sentence, Vec::new(), &seen, detail)
    }

    /// A run as it stands.
    ///
    /// # Errors
    ///
    /// What is to be unfolded is not folded.
    pub fn of_run(state: &State, detail: &Detail) -> Result<Self, NotFolded> {
        let mut is_drawn: Vec<bool> = state.tasks().iter().map(|task| task.parent.is_none()).collect();
        for whole in (0u32..state.tasks().len() as u32).map(TaskIndex) {
            if is_drawn[whole.usize()] {
                state.parts(whole).for_each(|part| is_drawn[part.usize()] = true);
            }
        }
        let tasks = state.tasks().iter().zip(is_drawn);
        let seen: Vec<Seen<'_>> = tasks
            .map(|(task, is_drawn)| Seen {
                spec: &task.spec,
                parent: task.parent.map(|parent| parent.0),
                is_drawn,
                ran: Some((state, task)),
            })
            .collect();
        let counts = Counts::new(state);
        let name = state.header().map(|header| header.workflow.as_str()).unwrap_or_default();
        Self::of(name, run_sentence(state, &counts), counts.present().collect(), &seen, detail)
    }

    fn of(
        name: &str,
        sentence: String,
        counts: Vec<(TaskStatus, usize)>,
        seen: &[Seen<'_>],
        detail: &Detail,
    ) -> Result<Self, NotFolded> {
        let edges = edges(seen);
        let folding = fold::folding(seen, &edges, detail)?;
        let mut nodes: Vec<Node> = Vec::with_capacity(folding.groups.len());
        for group in &folding.groups {
            let node = match group.stage {
                Some(number) => stage(seen, group, number),
                None => of_task(seen, group),
            };
            nodes.push(node);
        }
        let mut drawn: Vec<(u32, u32)> = edges
            .iter()
            .map(|(from, to)| (folding.node_of[*from as usize], folding.node_of[*to as usize]))
            .filter(|(from, to)| from != to)
            .collect();
        drawn.sort_unstable();
        drawn.dedup();
        let folded =
            nodes.iter().filter(|node| node.kind == NodeKind::Folded).map(|node| node.tasks.len()).sum();
        Ok(Self { name: name.to_owned(), sentence, counts, nodes, edges: drawn, folded })
    }

    /// The nodes as they stand in each other: each as it opens, and with `true` as it closes.
    pub(crate) fn walk(&self) -> Vec<(usize, bool)> {
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len() + 1];
        for (number, node) in self.nodes.iter().enumerate() {
            members[node.inside.map_or(self.nodes.len(), |outer| outer as usize)].push(number);
        }
        let mut steps = Vec::with_capacity(self.nodes.len() * 2);
        let mut open: Vec<(usize, bool)> =
            members[self.nodes.len()].iter().rev().map(|n| (*n, false)).collect();
        while let Some((number, is_closing)) = open.pop() {
            steps.push((number, is_closing));
            if !is_closing {
                open.push((number, true));
                open.extend(members[number].iter().rev().map(|n| (*n, false)));
            }
        }
        steps
    }

    /// How many nodes are around one.
    pub(crate) fn depth(&self, mut number: usize) -> usize {
        let mut depth = 0;
        while let Some(outer) = self.nodes[number].inside {
            number = outer as usize;
            depth += 1;
        }
        depth
    }

    /// What is to be said of what is not drawn; empty where all is.
    pub fn folded_words(&self) -> String {
        if self.folded == 0 {
            return String::new();
        }
        let nodes = self.nodes.iter().filter(|node| node.kind == NodeKind::Folded).count();
        format!("{} folded into {}", counted(self.folded, "task"), counted(nodes, "node"))
    }
}

/// Who waits for whom, by their places. What cleans up last waits for all that nothing else waits for.
fn edges(seen: &[Seen<'_>]) -> Vec<(u32, u32)> {
    let mut edges = Vec::new();
    let mut is_needed = vec![false; seen.len()];
    for (place, task) in (0u32..).zip(seen).filter(|(_, task)| task.is_drawn) {
        for need in &task.spec.needs {
            if seen.get(need.usize()).is_some_and(|need| need.is_drawn) {
                is_needed[need.usize()] = true;
                edges.push((need.0, place));
            }
        }
    }
    let lasts = || (0u32..).zip(seen).filter(|(_, task)| task.is_drawn && task.spec.cleans_up_last());
    for (place, last) in lasts().take(MOST_LASTS) {
        let ends = (0u32..).zip(seen).filter(|(end, task)| {
            task.is_drawn
                && task.parent == last.parent
                && !task.spec.policy.teardown
                && !is_needed[*end as usize]
        });
        edges.extend(ends.map(|(end, _)| (end, place)));
    }
    edges
}

/// So many tasks that clean up after all others are drawn behind them.
const MOST_LASTS: usize = 8;

fn of_task(seen: &[Seen<'_>], group: &fold::Group) -> Node {
    let task = seen[group.tasks[0] as usize];
    let name = &*task.spec.name;
    let outer = task.parent.map(|parent| &*seen[parent as usize].spec.name);
    let label = outer.and_then(|outer| name.strip_prefix(outer)?.strip_prefix('/')).unwrap_or(name);
    let parts = group.tasks.len() - 1;
    let counts = if group.kind == NodeKind::Folded { counts(seen, &group.tasks[1..]) } else { Vec::new() };
    let mut about = vec![name.to_owned()];
    about.extend(task.about());
    if group.kind == NodeKind::Folded {
        about.push(with_counts(&counted(parts, "part"), &counts));
    }
    Node {
        kind: group.kind,
        inside: group.inside,
        label: label.to_owned(),
        short: label.to_owned(),
        note: match group.kind {
            NodeKind::Folded => with_trouble(counted(parts, "part"), &counts),
            NodeKind::Task | NodeKind::Whole | NodeKind::Coming => task.note(),
        },
        status: task.ran.map(|(_, task)| task.status),
        about,
        counts,
        tasks: group.tasks.iter().copied().map(TaskIndex).collect(),
        is_stage: group.stage.is_some(),
    }
}

fn stage(seen: &[Seen<'_>], group: &fold::Group, number: usize) -> Node {
    let counts = counts(seen, &group.tasks);
    let count = counted(group.tasks.len(), "task");
    let first = &seen[group.tasks[0] as usize].spec.name;
    let last = &seen[group.tasks[group.tasks.len() - 1] as usize].spec.name;
    Node {
        kind: group.kind,
        inside: group.inside,
        label: format!("{number}. {}", group.words),
        short: format!("stage {number}"),
        status: matters_most(&counts),
        about: vec![with_counts(&count, &counts), format!("from {first} to {last}")],
        note: with_trouble(count, &counts),
        counts,
        tasks: group.tasks.iter().copied().map(TaskIndex).collect(),
        is_stage: group.stage.is_some(),
    }
}

fn counts(seen: &[Seen<'_>], tasks: &[u32]) -> Vec<(TaskStatus, usize)> {
    let status = |task: &u32| seen[*task as usize].ran.map(|(_, task)| task.status);
    let of = |wanted| tasks.iter().filter(|task| status(task) == Some(wanted)).count();
    TaskStatus::ALL.into_iter().map(|status| (status, of(status))).filter(|(_, n)| *n > 0).collect()
}

/// `400 tasks: 380 completed, 20 failed`.
fn with_counts(words: &str, counts: &[(TaskStatus, usize)]) -> String {
    let counts: Vec<String> =
        counts.iter().map(|(status, n)| format!("{} {}", grouped(*n), status_words(*status))).collect();
    if counts.is_empty() { words.to_owned() } else { format!("{words}: {}", counts.join(", ")) }
}

/// `400 tasks · 20 failed`.
fn with_trouble(words: String, counts: &[(TaskStatus, usize)]) -> String {
    match counts.first() {
        Some((status, n)) if status.is_failure() => {
            format!("{words} · {} {}", grouped(*n), status_words(*status))
        }
        _ => words,
    }
}

/// How many tasks stand, as one: what went wrong, else what goes on, else what is still to come.
fn matters_most(counts: &[(TaskStatus, usize)]) -> Option<TaskStatus> {
    let (first, _) = counts.first()?;
    // Those that were skipped say less of the others than those that completed.
    let completed = counts.iter().any(|(status, _)| *status == TaskStatus::Completed);
    Some(if *first == TaskStatus::Skipped && completed { TaskStatus::Completed } else { *first })
}

impl Seen<'_> {
    /// What it does, in a word or two. Arguments stay out of it: they may be long, and nobody's business.
    fn action(&self) -> String {
        match &self.spec.action {
            Action::Command(command) => {
                let program = command.argv.first().map(|program| program.as_path());
                let name = program.and_then(|program| program.file_name()).unwrap_or_default();
                format!("command {}", name.to_string_lossy())
            }
            Action::Script(_) => "script".to_owned(),
            Action::Function(_) => match self.spec.policy.whole {
                None => "function".to_owned(),
                Some(Whole::Items { count: None }) => "fan-out".to_owned(),
                Some(Whole::Items { count: Some(count) }) => {
                    format!("fan-out of {}", grouped(usize::try_from(count).unwrap_or(usize::MAX)))
                }
                Some(Whole::Workflow) => "workflow".to_owned(),
            },
            Action::Approval(_) => "approval".to_owned(),
        }
    }

    /// Whether it will consist of tasks that are not there yet.
    fn is_coming(&self) -> bool {
        self.spec.policy.whole.is_some() && self.ran.is_none_or(|(_, task)| !task.status.is_final())
    }

    /// When it starts, where that is not when all that it needs completed.
    fn trigger(&self) -> Option<&'static str> {
        match self.spec.policy.trigger {
            _ if self.spec.policy.teardown => Some("cleans up"),
            Trigger::AllSuccess => None,
            Trigger::AllDone => Some("when all ended"),
            Trigger::AnySuccess => Some("when one completed"),
            Trigger::AnyFailed => Some("when one failed"),
            Trigger::NoneFailed => Some("when none failed"),
            Trigger::Always => Some("always"),
        }
    }

    /// How it stands, in a few words; before it runs, what it does.
    fn note(&self) -> String {
        let Some((_, task)) = self.ran else {
            let trigger = self.trigger().map(|words| format!(" · {words}"));
            return self.action() + &trigger.unwrap_or_default();
        };
        if task.reused.is_some() {
            return "reused".to_owned();
        }
        let took = self.took_s().map(shown_seconds);
        // A mark says already that it completed; then how long it took says enough.
        let status = status_words(task.status).to_owned();
        let says_more = task.status != TaskStatus::Completed || took.is_none();
        let attempts = (task.attempts > 1).then(|| format!("{} attempts", task.attempts));
        let words: Vec<String> =
            says_more.then_some(status).into_iter().chain(took).chain(attempts).collect();
        words.join(" · ")
    }

    /// How long its last attempt took, where it has ended.
    fn took_s(&self) -> Option<f64> {
        let (_, task) = self.ran?;
        let has_run = task.status.is_final() && task.status != TaskStatus::Skipped && task.reused.is_none();
        let (started_ms, ended_ms) = (task.started_at_ms?, task.ended_at_ms?);
        let wall_us = task.ended.as_ref().map_or(0, |ended| ended.usage.wall_us);
        let s = if wall_us > 0 { wall_us as f64 / 1e6 } else { (ended_ms - started_ms).max(0) as f64 / 1e3 };
        has_run.then_some(s)
    }

    /// All that is told of it on demand, a line each.
    fn about(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((state, task)) = self.ran {
            lines.push(task_sentence(state, task));
            lines.extend(self.took_s().map(|s| format!("took {}", shown_seconds(s))));
            if task.attempts > 0 {
                lines.push(counted(task.attempts as usize, "attempt"));
            }
            let output = task.ended.as_ref().map(|ended| &*ended.last_lines).unwrap_or_default();
            lines.extend(output.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned));
        } else {
            lines.push(self.action());
            lines.extend(self.trigger().map(str::to_owned));
            lines.extend(self.spec.policy.skip.as_ref().map(|reason| format!("skipped: {reason}")));
        }
        lines
    }
}
