//! Who waits for whom, drawn. Of a great many tasks, stages are drawn in place of their tasks.

use crate::drawing::{Detail, Drawing};
use crate::svg::draw_on_page;
use crate::times::Times;
use dirigent_core::State;
use std::fmt::{Result, Write};

/// What is drawn; nothing where no task needs another.
pub(super) fn drawing(state: &State) -> Option<Drawing> {
    let drawing = Drawing::of_run(state, &Detail::default()).expect("nothing is asked to be unfolded");
    (!drawing.edges.is_empty()).then_some(drawing)
}

/// Writes the graph.
pub(super) fn write(out: &mut dyn Write, drawing: &Drawing, times: &Times) -> Result {
    writeln!(out, "<section id=graph>\n<h2>Graph</h2>\n<div class=graph>")?;
    draw_on_page(drawing, &times.critical.tasks, out)?;
    writeln!(out, "</div>")?;
    let folded = drawing.folded_words();
    if !folded.is_empty() {
        writeln!(out, "<p class=\"muted legend\">{folded}: each shows its tasks in the table</p>")?;
    }
    writeln!(out, "</section>")
}
