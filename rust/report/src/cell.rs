//! A run or a workflow as a cell of a notebook shows it: the picture, what failed, and the same as text. Plain markup.
//!
//! What the picture folds is unfolded by the browser alone: lists that open, without a script.

use crate::drawing::{Drawing, Node, NodeKind};
use crate::escape::{Name, Xml};
use crate::quantity::grouped;
use crate::svg::{self, Sketch, Theme};
use crate::text;
use dirigent_core::state::TaskStatus;
use dirigent_core::{State, TaskIndex};
use std::fmt::{Result, Write};

/// How many tasks of a node are listed, those first that did not complete.
const MOST_LISTED: usize = 100;
/// So many failures are told.
const MOST_FAILURES: usize = 3;
const PRE: &str = "margin:.3em 0 .6em;overflow:auto;max-height:24em;white-space:pre;font-family:monospace";

/// Writes it. `text` is the same as text, and `told` what [`told`] says of the run that is drawn; nothing for a workflow
/// that never ran.
pub fn cell(drawing: &Drawing, text: &str, told: &str, sketch: &mut Sketch) -> String {
    let mut out = String::with_capacity(8192 + drawing.nodes.len() * 700);
    write(&mut out, drawing, text, told, sketch).expect("writing to memory cannot fail");
    out
}

/// What is to be said of a run beside its picture: what failed, and what the picture folds.
pub fn told(drawing: &Drawing, state: &State) -> String {
    let mut out = String::new();
    write_told(&mut out, drawing, state).expect("writing to memory cannot fail");
    out
}

fn write_told(out: &mut String, drawing: &Drawing, state: &State) -> Result {
    failures(out, state)?;
    for node in drawing.nodes.iter().filter(|node| node.kind == NodeKind::Folded) {
        folded(out, node, state)?;
    }
    Ok(())
}

fn write(out: &mut String, drawing: &Drawing, text: &str, told: &str, sketch: &mut Sketch) -> Result {
    write!(
        out,
        "<div class=\"dirigent-cell\">\n<div style=\"overflow:auto\">\n{}</div>\n{told}",
        svg::draw_again(drawing, Theme::Auto, sketch)
    )?;
    write!(
        out,
        "<details><summary>As text</summary><pre style=\"{PRE}\">{}</pre></details>\n</div>",
        Xml(text)
    )
}

/// The first failures, with the last lines of what each wrote.
fn failures(out: &mut String, state: &State) -> Result {
    let is_failure = |task: &TaskIndex| state.task(*task).is_some_and(|task| task.status.is_failure());
    let first = state.first_failure().filter(is_failure);
    let others = (0u32..state.tasks().len() as u32)
        .map(TaskIndex)
        .filter(is_failure)
        .filter(|task| Some(*task) != first);
    for task in first.into_iter().chain(others).take(MOST_FAILURES).filter_map(|task| state.task(task)) {
        let sentence = crate::task_sentence(state, task);
        writeln!(out, "<p style=\"margin:.4em 0\"><b>{}</b> {}</p>", Name(&task.spec.name), Name(&sentence))?;
        let lines = task.ended.as_ref().map(|ended| ended.last_lines.trim_end()).unwrap_or_default();
        if !lines.is_empty() {
            writeln!(out, "<pre style=\"{PRE}\">{}</pre>", Xml(lines))?;
        }
    }
    Ok(())
}

fn folded(out: &mut String, node: &Node, state: &State) -> Result {
    let words = node.about.iter().find(|line| line.contains(": ")).unwrap_or(&node.note);
    writeln!(out, "<details><summary>{} ({})</summary><ul>", Name(&node.label), Name(words))?;
    let mut tasks: Vec<_> = node.tasks.iter().filter_map(|task| state.task(*task)).collect();
    let place = |status: TaskStatus| TaskStatus::ALL.iter().position(|known| *known == status);
    tasks.sort_by_key(|task| place(task.status));
    for task in tasks.iter().take(MOST_LISTED) {
        let (sign, name) = (text::sign(Some(task.status)), Name(&task.spec.name));
        writeln!(out, "<li>{sign} {name} {}</li>", Name(&crate::task_sentence(state, task)))?;
    }
    if tasks.len() > MOST_LISTED {
        writeln!(out, "<li>… and {} more</li>", grouped(tasks.len() - MOST_LISTED))?;
    }
    writeln!(out, "</ul></details>")
}
