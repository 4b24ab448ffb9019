//! A picture as SVG that stands alone: no script, no font, no request, and no id that a second picture could have too.
//!
//! States differ by shape as well as by colour; text is text, and what does not fit is told on demand. As a part of a page
//! it has neither heading nor colours of its own, and its nodes lead to their tasks.

mod look;

use crate::drawing::{Drawing, Node, NodeKind};
use crate::escape::Xml;
use crate::layout::{Area, Direction, Effort, Graph, Layout, Ordered, Point, Route, Size, Spacing};
use crate::quantity::grouped;
use crate::sentence::status_words;
use dirigent_core::TaskIndex;
use dirigent_core::state::TaskStatus;
use dirigent_core::text::printable;
pub(crate) use look::style_on_page;
use look::{mark, style};
use std::fmt::{Result, Write};
use unicode_width::UnicodeWidthChar;

/// The colours of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Those that the reader, or the page around the picture, asks for.
    #[default]
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// Every theme.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// Its name, as typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.name() == name)
    }
}

const MARGIN: f64 = 20.0;
const TITLE_HEIGHT: f64 = 48.0;
const LEGEND_HEIGHT: f64 = 30.0;
const NODE_HEIGHT: f64 = 44.0;
/// Between the edge of a node and what is written in it.
const INSET: f64 = 12.0;
/// How much of a node its mark takes.
const MARK_ROOM: f64 = 22.0;
const NODE_WIDTHS: (f64, f64) = (156.0, 250.0);
const ARROW: f64 = 6.0;
/// Bold letters are wider.
const LABEL_PX: f64 = 13.0 * 1.1;
const NOTE_PX: f64 = 11.0;
/// The room that a picture has on a page: which way it leads is chosen by that.
const PAGE: Size = Size { width: 1000.0, height: 760.0 };
const SPACING: Spacing = Spacing { nodes: 14.0, layers: 44.0, padding: 14.0, heading: 42.0 };

/// Where everything stood in the last picture. Where the next one is of the same graph, as while a run goes on, nothing has to
/// be placed again. Little is done for it in the first place: somebody waits, or a run goes on.
#[derive(Debug, Default)]
pub struct Sketch {
    last: Option<(Graph, Layout, Direction)>,
}

impl Sketch {
    fn place(&mut self, graph: Graph) -> (Layout, Direction) {
        match &self.last {
            Some((last, layout, direction)) if *last == graph => (layout.clone(), *direction),
            _ => {
                let (layout, direction) = placed(&graph, Effort::Little);
                self.last = Some((graph, layout.clone(), direction));
                (layout, direction)
            }
        }
    }
}

/// Where everything stands, in that direction in which it fits a page better.
fn placed(graph: &Graph, effort: Effort) -> (Layout, Direction) {
    let ordered = Ordered::new(graph, effort);
    let both = [Direction::Right, Direction::Down].map(|way| (ordered.layout(way, SPACING), way));
    let too_large = |(layout, _): &(Layout, Direction)| {
        (layout.size.width / PAGE.width).max(layout.size.height / PAGE.height)
    };
    let [right, down] = both;
    // To the right names read best: somewhat too large does not matter.
    if too_large(&right) <= too_large(&down).max(1.3) { right } else { down }
}

/// Draws it.
pub(crate) fn draw(drawing: &Drawing, theme: Theme) -> String {
    let picture = Picture::new(drawing, false, |graph| placed(&graph, Effort::Full));
    let mut out = String::with_capacity(4096 + drawing.nodes.len() * 512);
    picture.write(&mut out, theme, "").expect("writing to memory cannot fail");
    out
}

/// Draws it after a picture that was perhaps of the same graph, for a place that scrolls: it gets smaller with that only as long
/// as it can be read.
pub(crate) fn draw_again(drawing: &Drawing, theme: Theme, sketch: &mut Sketch) -> String {
    let picture = Picture::new(drawing, false, |graph| sketch.place(graph));
    let mut out = String::with_capacity(4096 + drawing.nodes.len() * 512);
    let more = format!(" style=\"min-width:{}px\"", (picture.size.width * LEAST_SCALE).ceil());
    picture.write(&mut out, theme, &more).expect("writing to memory cannot fail");
    out
}

/// A picture on a page that is not wider is made smaller where the page is narrow; others are scrolled.
const FITTED: f64 = 1300.0;

/// By how much a picture may be made smaller where it could scroll instead.
const LEAST_SCALE: f64 = 0.75;

/// Draws it as a part of a page that has [`style_on_page`], and a place `#t3` for the task at 3. The edges along a path
/// are marked.
pub(crate) fn draw_on_page(drawing: &Drawing, path: &[TaskIndex], out: &mut dyn Write) -> Result {
    let mut picture = Picture::new(drawing, true, |graph| placed(&graph, Effort::Full));
    let node_of = |task: &TaskIndex| {
        let holds = |node: &Node| node.kind != NodeKind::Whole && node.tasks.contains(task);
        let is_whole = |node: &Node| !node.is_stage_drawn() && node.tasks.first() == Some(task);
        let place = drawing.nodes.iter().position(holds);
        place.or_else(|| drawing.nodes.iter().position(is_whole)).and_then(|node| u32::try_from(node).ok())
    };
    let nodes: Vec<Option<u32>> = path.iter().map(node_of).collect();
    // Where no edge joins two of them, one may join what they are parts of.
    let around =
        |node: u32| std::iter::successors(Some(node), |node| drawing.nodes.get(*node as usize)?.inside);
    let edge = |(from, to): (u32, u32)| {
        let mut pairs = around(from).flat_map(|from| around(to).map(move |to| (from, to)));
        pairs.find(|pair| drawing.edges.contains(pair))
    };
    picture.path = nodes.windows(2).filter_map(|pair| edge((pair[0]?, pair[1]?))).collect();
    let Size { width, height } = picture.size;
    let fits = if width <= FITTED { " dg-fits" } else { "" };
    writeln!(
        out,
        "<svg class=\"dirigent-graph dg-page{fits}\" role=\"group\" aria-label=\"Graph: who waits for whom\" \
         width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">"
    )?;
    picture.drawn(out, 1.0)?;
    out.write_str("</svg>\n")
}

struct Picture<'a> {
    drawing: &'a Drawing,
    layout: Layout,
    direction: Direction,
    size: Size,
    is_on_page: bool,
    path: Vec<(u32, u32)>,
}

impl<'a> Picture<'a> {
    fn new(drawing: &'a Drawing, is_on_page: bool, place: impl FnOnce(Graph) -> (Layout, Direction)) -> Self {
        let graph = Graph {
            sizes: sizes(drawing),
            inside: drawing.nodes.iter().map(|node| node.inside).collect(),
            edges: drawing.edges.clone(),
        };
        let (layout, direction) = place(graph);
        if is_on_page {
            // Outlines are drawn half outside; the edges of folded cards stand out by four.
            let size =
                Size { width: layout.size.width.ceil() + 7.0, height: layout.size.height.ceil() + 7.0 };
            return Self { drawing, layout, direction, size, is_on_page, path: Vec::new() };
        }
        let least = text_width(&drawing.name, 15.0).min(600.0).max(text_width(&drawing.sentence, 12.0));
        let legend = drawing.counts.iter().map(|count| legend_width(*count)).sum::<f64>()
            + text_width(&drawing.folded_words(), NOTE_PX);
        let width = layout.size.width.max(least).max(legend) + 2.0 * MARGIN;
        let foot = if drawing.counts.is_empty() && drawing.folded == 0 { 0.0 } else { LEGEND_HEIGHT };
        let height = layout.size.height + TITLE_HEIGHT + foot + 2.0 * MARGIN;
        let size = Size { width: width.ceil(), height: height.ceil() };
        Self { drawing, layout, direction, size, is_on_page, path: Vec::new() }
    }

    fn write(&self, out: &mut String, theme: Theme, more: &str) -> Result {
        let Self { drawing, size, .. } = self;
        let (width, height) = (size.width, size.height);
        let name = printable(&drawing.name);
        write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"dirigent-graph dg-{}\" role=\"img\" \
             aria-label=\"{}\"{more} width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif\">\n\
             <style>{}</style>\n\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>\n\
             <text class=\"title\" x=\"{MARGIN}\" y=\"34\">{}</text>\n\
             <text class=\"said\" x=\"{MARGIN}\" y=\"53\">{}</text>\n",
            theme.name(),
            Xml(&format!("Graph of {name}: {}", drawing.sentence)),
            style(theme),
            Xml(&elided(&name, width - 2.0 * MARGIN, 15.0)),
            Xml(&elided(&drawing.sentence, width - 2.0 * MARGIN, 12.0)),
        )?;
        writeln!(out, "<g transform=\"translate({MARGIN} {})\">", MARGIN + TITLE_HEIGHT)?;
        self.drawn(out, 0.0)?;
        writeln!(out, "</g>")?;
        self.legend(out)?;
        out.write_str("</svg>\n")
    }

    /// Nodes and edges, moved a little.
    fn drawn(&self, out: &mut dyn Write, by: f64) -> Result {
        if by > 0.0 {
            writeln!(out, "<g transform=\"translate({by} {by})\">")?;
        }
        let nodes = || self.drawing.nodes.iter().zip(&self.layout.nodes);
        for (node, area) in nodes().filter(|(node, _)| node.kind == NodeKind::Whole) {
            self.linked(out, node, |out| whole(out, node, area, self.lines_told()))?;
        }
        self.edges(out)?;
        for (node, area) in nodes().filter(|(node, _)| node.kind != NodeKind::Whole) {
            self.linked(out, node, |out| leaf(out, node, area, self.lines_told()))?;
        }
        if by > 0.0 { writeln!(out, "</g>") } else { Ok(()) }
    }

    /// How much is told of a node on demand: a page has the rest elsewhere.
    fn lines_told(&self) -> usize {
        if self.is_on_page { 2 } else { usize::MAX }
    }

    /// On a page a node leads to its task. One that stands for several names all of them.
    fn linked(
        &self,
        out: &mut dyn Write,
        node: &Node,
        draw: impl FnOnce(&mut dyn Write) -> Result,
    ) -> Result {
        let Some(first) = node.tasks.first().filter(|_| self.is_on_page && !node.is_stage_drawn()) else {
            return draw(out);
        };
        write!(out, "<a href=\"#t{first}\" tabindex=\"-1\"")?;
        if node.kind == NodeKind::Folded {
            write!(out, " data-tasks=\"{}\"", places(node.tasks.iter().map(|task| task.0)))?;
        }
        out.write_str(">")?;
        draw(out)?;
        out.write_str("</a>")
    }

    fn edges(&self, out: &mut dyn Write) -> Result {
        let routes = self.layout.routes.iter().filter(|route| route.points.len() >= 2);
        out.write_str("<path class=\"edges\" d=\"")?;
        for route in routes.clone() {
            self.curve(out, route)?;
        }
        if !self.path.is_empty() {
            out.write_str("\"/>\n<path class=\"edges critical\" d=\"")?;
            for route in routes.clone().filter(|route| self.path.contains(&(route.from, route.to))) {
                self.curve(out, route)?;
            }
        }
        out.write_str("\"/>\n<path class=\"heads\" d=\"")?;
        for route in routes {
            let (tip, ahead) = self.tip(route);
            let Point { x, y } = tip;
            let half = ARROW * 0.6;
            match self.direction {
                Direction::Right => {
                    write!(out, "M{} {}l{} {}v{}z", n(x), n(y), n(-ARROW * ahead), n(-half), n(2.0 * half))?;
                }
                Direction::Down => {
                    write!(out, "M{} {}l{} {}h{}z", n(x), n(y), n(-half), n(-ARROW * ahead), n(2.0 * half))?;
                }
            }
        }
        out.write_str("\"/>\n")
    }

    /// Where a route ends, and whether it comes there along the direction of the picture or against it.
    fn tip(&self, route: &Route) -> (Point, f64) {
        let (first, tip) = (route.points[0], route.points[route.points.len() - 1]);
        let ahead = match self.direction {
            Direction::Right => tip.x - first.x,
            Direction::Down => tip.y - first.y,
        };
        (tip, ahead.signum())
    }

    /// Straight across layers, bent between them, and ending where the head of the arrow begins.
    fn curve(&self, out: &mut dyn Write, route: &Route) -> Result {
        let (mut tip, ahead) = self.tip(route);
        match self.direction {
            Direction::Right => tip.x -= ARROW * ahead,
            Direction::Down => tip.y -= ARROW * ahead,
        }
        let mut points = route.points.clone();
        let last = points.len() - 1;
        let is_short = points[last] == points[last - 1];
        points[last] = tip;
        if is_short {
            points[last - 1] = tip;
        }
        let mut now = points[0];
        write!(out, "M{} {}", n(now.x), n(now.y))?;
        for (step, point) in points.iter().enumerate().skip(1) {
            if *point == now {
                continue;
            }
            let is_level = match self.direction {
                Direction::Right => point.y == now.y,
                Direction::Down => point.x == now.x,
            };
            if step % 2 == 1 || is_level {
                write!(out, "L{} {}", n(point.x), n(point.y))?;
            } else {
                let (a, b) = match self.direction {
                    Direction::Right => {
                        let middle = f64::midpoint(now.x, point.x);
                        (Point { x: middle, y: now.y }, Point { x: middle, y: point.y })
                    }
                    Direction::Down => {
                        let middle = f64::midpoint(now.y, point.y);
                        (Point { x: now.x, y: middle }, Point { x: point.x, y: middle })
                    }
                };
                write!(out, "C{} {} {} {} {} {}", n(a.x), n(a.y), n(b.x), n(b.y), n(point.x), n(point.y))?;
            }
            now = *point;
        }
        Ok(())
    }

    fn legend(&self, out: &mut String) -> Result {
        let (mut x, y) = (MARGIN, self.size.height - MARGIN + 4.0);
        for (status, count) in &self.drawing.counts {
            let words = format!("{} {}", grouped(*count), status_words(*status));
            writeln!(
                out,
                "<g class=\"{}\" transform=\"translate({} {})\"><path class=\"mark\" d=\"{}\" \
                 transform=\"translate(0 -11)\"/><text class=\"note\" x=\"20\">{words}</text></g>",
                status.name(),
                n(x),
                n(y),
                mark(*status),
            )?;
            x += legend_width((*status, *count));
        }
        let folded = self.drawing.folded_words();
        if !folded.is_empty() && x + text_width(&folded, NOTE_PX) < self.size.width - MARGIN {
            writeln!(out, "<text class=\"note\" x=\"{}\" y=\"{}\">{folded}</text>", n(x), n(y))?;
        }
        Ok(())
    }
}

/// A task that consists of others, or a stage: a frame with a heading.
fn whole(out: &mut dyn Write, node: &Node, area: &Area, lines: usize) -> Result {
    open(out, node, area, "whole", lines)?;
    let Size { width, height } = area.size;
    write!(out, "<rect class=\"frame\" width=\"{}\" height=\"{}\" rx=\"9\"/>", n(width), n(height))?;
    let mut x = INSET;
    if let Some(status) = node.status {
        write!(out, "<path class=\"mark\" d=\"{}\" transform=\"translate({x} 12)\"/>", mark(status))?;
        x += MARK_ROOM;
    }
    let label = elided(&printable(&node.label), width - x - INSET, LABEL_PX);
    write!(out, "<text class=\"label\" x=\"{}\" y=\"24\">{}</text>", n(x), Xml(&label))?;
    x += text_width(&label, LABEL_PX) + 10.0;
    let note = printable(&node.note);
    if x + text_width(&note, NOTE_PX) < width - INSET {
        write!(out, "<text class=\"note\" x=\"{}\" y=\"24\">{}</text>", n(x), Xml(&note))?;
    }
    out.write_str("</g>\n")
}

/// A task, or what is folded into one node: a card.
fn leaf(out: &mut dyn Write, node: &Node, area: &Area, lines: usize) -> Result {
    let (class, is_many) = match node.kind {
        NodeKind::Folded => ("folded", true),
        NodeKind::Coming => ("coming", true),
        NodeKind::Task | NodeKind::Whole => ("task", false),
    };
    open(out, node, area, class, lines)?;
    let Size { width, height } = area.size;
    if is_many {
        // The edges of more cards behind the first one.
        write!(out, "<path class=\"more\" d=\"M5 {}v4h{}v{}h-4\"/>", n(height), n(width), n(8.0 - height))?;
    }
    write!(out, "<rect class=\"card\" width=\"{}\" height=\"{}\" rx=\"7\"/>", n(width), n(height))?;
    let mut x = INSET;
    if let Some(status) = node.status {
        write!(out, "<path class=\"mark\" d=\"{}\" transform=\"translate({x} 15)\"/>", mark(status))?;
        x += MARK_ROOM;
    }
    let room = width - x - INSET + 6.0;
    let label = elided(&printable(&node.label), room, LABEL_PX);
    let note = elided(&printable(&node.note), room, NOTE_PX);
    write!(out, "<text class=\"label\" x=\"{}\" y=\"19\">{}</text>", n(x), Xml(&label))?;
    write!(out, "<text class=\"note\" x=\"{}\" y=\"34\">{}</text>", n(x), Xml(&note))?;
    let total: usize = node.counts.iter().map(|(_, n)| n).sum();
    let (mut from, bar) = (x, room - 6.0);
    // As on a bar of progress: first what is done, last what is still to come.
    let is_done = |(status, _): &&(TaskStatus, usize)| *status == TaskStatus::Completed;
    let (done, others): (Vec<&(TaskStatus, usize)>, Vec<_>) = node.counts.iter().partition(is_done);
    for (status, count) in done.into_iter().chain(others) {
        let part = bar * *count as f64 / total as f64;
        write!(
            out,
            "<rect class=\"part {}\" x=\"{}\" y=\"38.5\" width=\"{}\" height=\"3\"/>",
            status.name(),
            n(from),
            n(part.max(1.0)),
        )?;
        from += part;
    }
    out.write_str("</g>\n")
}

/// Opens the group of a node, with what is told of it on demand.
fn open(out: &mut dyn Write, node: &Node, area: &Area, kind: &str, lines: usize) -> Result {
    let status = node.status.map_or("declared", TaskStatus::name);
    let (x, y) = (n(area.at.x), n(area.at.y));
    write!(out, "<g class=\"{kind} {status}\" transform=\"translate({x} {y})\"><title>")?;
    for (i, line) in node.about.iter().take(lines).enumerate() {
        let line: String = printable(line).chars().take(MOST_TOLD).collect();
        write!(out, "{}{}", if i > 0 { "\n" } else { "" }, Xml(&line))?;
    }
    out.write_str("</title>")
}

/// Characters of a line that is told on demand.
const MOST_TOLD: usize = 300;

/// How large nodes are. Those that stand side by side in the same one have one width; states do not change it.
fn sizes(drawing: &Drawing) -> Vec<Size> {
    let has_marks = drawing.nodes.iter().any(|node| node.status.is_some());
    let extra = 2.0 * INSET + if has_marks { MARK_ROOM } else { 0.0 };
    let mut widest = std::collections::HashMap::new();
    for node in drawing.nodes.iter().filter(|node| node.kind != NodeKind::Whole) {
        let of_group = widest.entry(node.inside).or_insert(NODE_WIDTHS.0);
        let mut width = text_width(&printable(&node.label), LABEL_PX);
        if node.status.is_none() {
            width = width.max(text_width(&node.note, NOTE_PX));
        }
        *of_group = (width + extra).clamp(*of_group, NODE_WIDTHS.1);
    }
    let size = |node: &Node| match node.kind {
        NodeKind::Whole => {
            let heading = text_width(&printable(&node.label), LABEL_PX) + extra;
            Size { width: heading.clamp(NODE_WIDTHS.0, NODE_WIDTHS.1 * 1.5), height: NODE_HEIGHT }
        }
        NodeKind::Task | NodeKind::Folded | NodeKind::Coming => Size {
            width: widest.get(&node.inside).copied().unwrap_or(NODE_WIDTHS.0).ceil(),
            height: NODE_HEIGHT,
        },
    };
    drawing.nodes.iter().map(size).collect()
}

fn legend_width((status, count): (TaskStatus, usize)) -> f64 {
    text_width(&format!("{} {}", grouped(count), status_words(status)), NOTE_PX) + 42.0
}

/// About how wide a text is, in a font without serifs. A little too wide is better than cut off.
fn text_width(text: &str, px: f64) -> f64 {
    text.chars().map(char_width).sum::<f64>() * px
}

fn char_width(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '|' | '.' | ',' | ':' | ';' | '!' | '\'' => 0.29,
        'f' | 't' | 'r' | 'I' | '(' | ')' | '[' | ']' | '/' | '\\' | ' ' | '-' => 0.38,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.92,
        'A'..='Z' | '&' | '#' | '<' | '>' | '=' | '+' | '~' => 0.70,
        '…' => 1.0,
        c if c.is_ascii() => 0.59,
        c => c.width().unwrap_or(0) as f64 * if c.width() == Some(2) { 0.55 } else { 0.64 },
    }
}

/// The beginning of a text that fits, with an ellipsis where something is missing.
fn elided(text: &str, room: f64, px: f64) -> String {
    if text_width(text, px) <= room {
        return text.to_owned();
    }
    let mut left = room - px;
    let fits = text.chars().take_while(|c| {
        left -= char_width(*c) * px;
        left >= 0.0
    });
    fits.chain(['…']).collect()
}

/// Places of tasks as the script of a page reads them: `0-399 402`.
pub(crate) fn places(tasks: impl Iterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for task in tasks {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == task => *last = task,
            _ => ranges.push((task, task)),
        }
    }
    let words = ranges.into_iter().map(|(first, last)| match last == first {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A number with at most one digit behind the point.
fn n(value: f64) -> Tenths {
    Tenths((value * 10.0).round() as i64)
}

/// As many tenths. Most of a picture are numbers: these are written several times as fast as those with a floating point.
struct Tenths(i64);

impl std::fmt::Display for Tenths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> Result {
        let (whole, tenth) = (self.0.unsigned_abs() / 10, self.0.unsigned_abs() % 10);
        if self.0 < 0 {
            f.write_char('-')?;
        }
        std::fmt::Display::fmt(&whole, f)?;
        if tenth > 0 { write!(f, ".{tenth}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        assert_eq!(elided("load", 100.0, 13.0), "load");
        let cut = elided(&"long name ".repeat(30), 100.0, 13.0);
        assert!(cut.ends_with('…') && text_width(&cut, 13.0) <= 100.0, "{cut}");
        assert_eq!(elided("漢字漢字", 30.0, 13.0), "漢…");
    }

    #[test]
    fn places_in_a_row_are_a_range() {
        assert_eq!(places([0, 1, 2, 5, 7, 8, 3].into_iter()), "0-2 5 7-8 3");
        assert_eq!(places(std::iter::empty()), "");
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.04, -0.04, -0.3, 1.26, -12.5, 30.0].map(|value| n(value).to_string());
        assert_eq!(shown, ["0", "0", "-0.3", "1.3", "-12.5", "30"]);
    }
}
