//! A picture in the language of Graphviz: <https://graphviz.org/doc/info/lang.html>.

use crate::drawing::{Drawing, Node, NodeKind};
use dirigent_core::state::TaskStatus;
use dirigent_core::text::printable;
use std::fmt::{Result, Write};

/// Writes it.
pub(crate) fn draw(drawing: &Drawing) -> String {
    let mut out = String::with_capacity(256 + drawing.nodes.len() * 96);
    write(&mut out, drawing).expect("writing to memory cannot fail");
    out
}

fn write(out: &mut String, drawing: &Drawing) -> Result {
    writeln!(out, "digraph {} {{", quoted(&drawing.name))?;
    writeln!(out, "  rankdir=LR; compound=true;")?;
    writeln!(out, "  node [shape=box, style=\"rounded\", fontname=\"sans-serif\", fontsize=11];")?;
    // An edge of a frame is drawn from or to something in it, and cut at the frame.
    let mut within: Vec<usize> = (0..drawing.nodes.len()).collect();
    for (number, node) in drawing.nodes.iter().enumerate().rev() {
        if let Some(outer) = node.inside {
            within[outer as usize] = within[number];
        }
    }
    for (number, closed) in drawing.walk() {
        let node = &drawing.nodes[number];
        let indent = "  ".repeat(drawing.depth(number).min(20) + 1);
        match (node.kind, closed) {
            (NodeKind::Whole, true) => writeln!(out, "{indent}}}")?,
            (NodeKind::Whole, false) => {
                writeln!(out, "{indent}subgraph cluster_{number} {{")?;
                writeln!(out, "{indent}  label={}; fontname=\"sans-serif\"; fontsize=11;", words(node))?;
                if within[number] == number {
                    writeln!(out, "{indent}  n{number} [style=invis];")?;
                }
            }
            (_, true) => {}
            (_, false) => {
                let look = node.status.map_or("", look);
                let shape = match node.kind {
                    NodeKind::Folded => ", peripheries=2",
                    NodeKind::Coming => ", shape=hexagon",
                    NodeKind::Task | NodeKind::Whole => "",
                };
                let about = quoted(&node.about.join("\n"));
                writeln!(out, "{indent}n{number} [label={}, tooltip={about}{look}{shape}];", words(node))?;
            }
        }
    }
    for (from, to) in &drawing.edges {
        let end = |node: &u32| within[*node as usize];
        let frame = |node: &u32, side: &str| match drawing.nodes[*node as usize].kind {
            NodeKind::Whole => format!(" {side}=cluster_{node}"),
            NodeKind::Task | NodeKind::Folded | NodeKind::Coming => String::new(),
        };
        let frames = frame(from, "ltail") + &frame(to, "lhead");
        let frames = if frames.is_empty() { frames } else { format!(" [{}]", frames.trim_start()) };
        writeln!(out, "  n{} -> n{}{frames};", end(from), end(to))?;
    }
    writeln!(out, "}}")
}

fn words(node: &Node) -> String {
    let sign = node.status.map_or(String::new(), |status| format!("{} ", crate::text::sign(Some(status))));
    let note = if node.note.is_empty() { String::new() } else { format!("\n{}", node.note) };
    quoted(&format!("{sign}{}{note}", node.label))
}

/// A text in quotation marks, in which nothing means anything to Graphviz; its lines are lines.
fn quoted(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    format!("\"{}\"", lines.join("\n").replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn look(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Completed => ", color=\"#2b7a57\"",
        TaskStatus::Failed => ", color=\"#b42f24\", penwidth=2.5",
        TaskStatus::TimedOut => ", color=\"#985900\", penwidth=2.5",
        TaskStatus::Cancelled => ", color=\"#75489a\"",
        TaskStatus::Running | TaskStatus::Retrying => ", color=\"#1d62a6\"",
        TaskStatus::Waiting => ", color=\"#0b6b7a\"",
        TaskStatus::Pending | TaskStatus::Skipped => ", color=\"#68727c\", style=\"rounded,dashed\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_means_anything() {
        assert_eq!(quoted("a\"b\\N\tc"), r#""a\"b\\N\\tc""#);
        assert_eq!(quoted("one\ntwo"), r#""one\ntwo""#);
    }
}
