//! A picture as Mermaid, as for a page of Markdown: <https://mermaid.js.org/syntax/flowchart.html>.

use crate::drawing::{Drawing, Node, NodeKind};
use dirigent_core::state::TaskStatus;
use dirigent_core::text::printable;
use std::fmt::{Result, Write};

/// Writes it.
pub(crate) fn draw(drawing: &Drawing) -> String {
    let mut out = String::with_capacity(256 + drawing.nodes.len() * 64);
    write(&mut out, drawing).expect("writing to memory cannot fail");
    out
}

fn write(out: &mut String, drawing: &Drawing) -> Result {
    writeln!(out, "flowchart LR")?;
    for (number, closed) in drawing.walk() {
        let node = &drawing.nodes[number];
        let indent = "  ".repeat(drawing.depth(number).min(20) + 1);
        match (node.kind, closed) {
            (NodeKind::Whole, true) => writeln!(out, "{indent}end")?,
            (NodeKind::Whole, false) => writeln!(out, "{indent}subgraph n{number}[\"{}\"]", words(node))?,
            (_, true) => {}
            (NodeKind::Task, false) => writeln!(out, "{indent}n{number}[\"{}\"]", words(node))?,
            (NodeKind::Coming, false) => writeln!(out, "{indent}n{number}{{{{\"{}\"}}}}", words(node))?,
            (NodeKind::Folded, false) => writeln!(out, "{indent}n{number}[[\"{}\"]]", words(node))?,
        }
    }
    for (from, to) in &drawing.edges {
        writeln!(out, "  n{from} --> n{to}")?;
    }
    for status in TaskStatus::ALL {
        let all = (0..).zip(&drawing.nodes).filter(|(_, node)| node.status == Some(status));
        let all: Vec<String> = all.map(|(number, _): (usize, _)| format!("n{number}")).collect();
        if !all.is_empty() {
            writeln!(out, "  classDef {} {}", status.name(), look(status))?;
            writeln!(out, "  class {} {}", all.join(","), status.name())?;
        }
    }
    Ok(())
}

/// The label and the note: escaped, and with a sign for the state, so that colour is not all there is.
fn words(node: &Node) -> String {
    let sign = node.status.map_or(String::new(), |status| format!("{} ", crate::text::sign(Some(status))));
    // A frame has room for one line above what is in it.
    let gap = if node.kind == NodeKind::Whole { " · " } else { "<br>" };
    let note = if node.note.is_empty() { String::new() } else { format!("{gap}{}", escaped(&node.note)) };
    format!("{sign}{}{note}", escaped(&node.label))
}

/// Whatever could mean something to Mermaid, to Markdown in it, or to the page around it, as a number.
fn escaped(text: &str) -> String {
    let text = printable(text);
    let mut out = String::with_capacity(text.len() + 16);
    for (at, c) in text.char_indices() {
        let is_plain = c.is_alphanumeric() || matches!(c, ' ' | '/' | ',' | '·' | '…');
        // At the beginning these would make a list.
        let is_inner = at > 0 && matches!(c, '-' | '.' | ':' | '_');
        let is_list = text[at..].starts_with(". ") && text[..at].chars().all(|c| c.is_ascii_digit());
        if c == '$' && text[..at].ends_with('$') {
            // Two of them begin mathematics, also as numbers: a joiner without width keeps them apart.
            out.push_str("#8288;#36;");
        } else if (is_plain || is_inner) && !is_list {
            out.push(c);
        } else {
            let _ = write!(out, "#{};", u32::from(c));
        }
    }
    out
}

fn look(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Completed => "fill:#e7f3ed,stroke:#2b7a57,color:#1f262c",
        TaskStatus::Failed => "fill:#fbeae8,stroke:#b42f24,color:#1f262c,stroke-width:3px",
        TaskStatus::TimedOut => "fill:#f8efdf,stroke:#985900,color:#1f262c,stroke-width:3px",
        TaskStatus::Cancelled => "fill:#f2ecf7,stroke:#75489a,color:#1f262c",
        TaskStatus::Running | TaskStatus::Retrying => "fill:#e6eff8,stroke:#1d62a6,color:#1f262c",
        TaskStatus::Waiting => "fill:#e3f2f4,stroke:#0b6b7a,color:#1f262c",
        TaskStatus::Pending | TaskStatus::Skipped => {
            "fill:#f4f4f4,stroke:#68727c,color:#1f262c,stroke-dasharray:4 3"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_means_anything() {
        assert_eq!(escaped("a\"]; click <b>`x`"), "a#34;#93;#59; click #60;b#62;#96;x#96;");
        assert_eq!(escaped("1. one - two_three.py"), "1#46; one - two_three.py");
        assert_eq!(escaped("- one"), "#45; one");
        assert_eq!(escaped("a\nb"), "a#92;nb");
        assert_eq!(escaped("$$x$$"), "#36;#8288;#36;x#36;#8288;#36;");
    }
}
