//! A picture for a terminal: a line for each task, forks as branches of a tree, and whom it waits for beside it.
//!
//! What waits for one task alone is a branch of that. Where ways meet again, what waits for several stands below the fork,
//! so that a chain of any length needs no room to the right.

use crate::drawing::{Drawing, Node, NodeKind};
use crate::quantity::grouped;
use dirigent_core::state::TaskStatus;
use dirigent_core::text::printable;
use std::collections::BTreeMap;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The most columns for names: what is longer is cut.
const NAME_COLUMNS: usize = 40;

/// The sign of a state: states differ by shape. `None` for what never ran.
pub fn sign(status: Option<TaskStatus>) -> &'static str {
    match status {
        None => "○",
        Some(TaskStatus::Pending) => "·",
        Some(TaskStatus::Waiting) => "?",
        Some(TaskStatus::Running) => "▸",
        Some(TaskStatus::Retrying) => "↻",
        Some(TaskStatus::Completed) => "✓",
        Some(TaskStatus::Failed) => "✗",
        Some(TaskStatus::TimedOut) => "⧖",
        Some(TaskStatus::Cancelled) => "⊘",
        Some(TaskStatus::Skipped) => "→",
    }
}

/// Draws it in so many columns. `paint` may colour the sign of a state.
pub fn draw(drawing: &Drawing, columns: usize, paint: &dyn Fn(Option<TaskStatus>, &str) -> String) -> String {
    let rows = Rows::new(drawing);
    let names: Vec<String> = drawing.nodes.iter().map(|node| printable(&node.label)).collect();
    let shorts: Vec<String> = drawing.nodes.iter().map(|node| printable(&node.short)).collect();
    let most = NAME_COLUMNS.min(columns / 2);
    let left = |row: &Row| row.rails.width() + 2 + names[row.node].width();
    let name_columns = rows.rows.iter().map(left).filter(|width| *width <= most).max().unwrap_or(most);
    let notes: Vec<String> = drawing.nodes.iter().map(note).collect();
    let note_columns = notes.iter().map(|note| note.width()).filter(|width| *width <= 28).max().unwrap_or(0);
    let sentence = printable(&drawing.sentence);
    let name = fitted(&printable(&drawing.name), columns.saturating_sub(sentence.width() + 2).max(20));
    let mut text = fitted(&format!("{name}  {sentence}"), columns) + "\n";
    for row in &rows.rows {
        let node = &drawing.nodes[row.node];
        // Deep in a tree of wholes, rails give way to the name.
        let rails = fitted_end(&row.rails, columns / 2);
        let room = columns.saturating_sub(rails.width() + 2).min(name_columns.max(12));
        let name = fitted(&names[row.node], name_columns.saturating_sub(rails.width() + 2).max(12).min(room));
        let mut line = format!("{rails}{} {name}", paint(node.status, sign(node.status)));
        let mut used = rails.width() + 2 + name.width();
        let mut column = |line: &mut String, at: usize, words: &str| {
            let gap = at.saturating_sub(used).max(2);
            let words = fitted(words, columns.saturating_sub(used + gap));
            if !words.is_empty() && used + gap + 3 < columns {
                line.push_str(&" ".repeat(gap));
                line.push_str(&words);
                used += gap + words.width();
            }
        };
        if !notes[row.node].is_empty() {
            column(&mut line, name_columns + 2, &notes[row.node]);
        }
        if !row.needs.is_empty() {
            let at = name_columns + 2 + if note_columns > 0 { note_columns + 2 } else { 0 };
            let names: Vec<&str> = row.needs.iter().map(|need| shorts[*need].as_str()).collect();
            column(&mut line, at, &needs(&names, columns.saturating_sub(at)));
        }
        text.push_str(&line);
        text.push('\n');
    }
    let folded = drawing.folded_words();
    if !folded.is_empty() {
        text.push_str(&format!("{folded}\n"));
    }
    text
}

/// `← one, two, +3`: as many names as fit.
fn needs(names: &[&str], columns: usize) -> String {
    let mut out = format!("← {}", names[0]);
    for (place, name) in names.iter().enumerate().skip(1) {
        let rest = names.len() - place;
        let more = format!(", {name}");
        let room = if rest > 1 { 5 } else { 0 };
        if out.width() + more.width() + room > columns {
            out.push_str(&format!(", +{rest}"));
            break;
        }
        out.push_str(&more);
    }
    out
}

/// The words behind a name. Of folded tasks, how many stand how.
fn note(node: &Node) -> String {
    let signs = node.counts.iter().map(|(status, n)| format!("{} {}", sign(Some(*status)), grouped(*n)));
    let signs: Vec<String> = signs.collect();
    let note = printable(&node.note);
    // What the signs tell is not told in words as well.
    let count = note.split(" · ").next().unwrap_or_default();
    if signs.is_empty() { note } else { format!("{count}: {}", signs.join(" ")) }
}

/// A line of the picture.
struct Row {
    rails: String,
    node: usize,
    /// Those whom it waits for, where the rails do not say so.
    needs: Vec<usize>,
}

#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
}

/// What is still to be drawn: a node with what follows it, and the rails before it.
struct Open {
    node: usize,
    /// The rails before its own line, and before all that stands below it.
    own: String,
    below: String,
    /// The node of which it is a branch.
    branch_of: Option<usize>,
}

impl Rows {
    fn new(drawing: &Drawing) -> Self {
        let nodes = drawing.nodes.len();
        let mut needs: Vec<Vec<usize>> = vec![Vec::new(); nodes];
        for (from, to) in &drawing.edges {
            needs[*to as usize].push(*from as usize);
        }
        let mut members: BTreeMap<Option<u32>, Vec<usize>> = BTreeMap::new();
        for (number, node) in drawing.nodes.iter().enumerate() {
            members.entry(node.inside).or_default().push(number);
        }
        let mut follows: Vec<Vec<usize>> = vec![Vec::new(); nodes];
        let mut firsts: BTreeMap<Option<u32>, Vec<usize>> = BTreeMap::new();
        for (outer, members) in &members {
            let forks = forks(drawing, members, &needs);
            for (member, fork) in forks {
                match fork {
                    Some(fork) => follows[fork].push(member),
                    None => firsts.entry(*outer).or_default().push(member),
                }
            }
        }
        let mut out = Self::default();
        let at_edge =
            |node: &usize| Open { node: *node, own: String::new(), below: String::new(), branch_of: None };
        let mut open: Vec<Open> = firsts.get(&None).into_iter().flatten().rev().map(at_edge).collect();
        while let Some(Open { node, own, below, branch_of }) = open.pop() {
            let told = needs[node].iter().copied().filter(|need| Some(*need) != branch_of);
            out.rows.push(Row { rails: own, node, needs: told.collect() });
            // What waits for this one alone are its branches; what waits for more stands below, where it stands.
            let (branches, joins): (Vec<usize>, Vec<usize>) =
                follows[node].iter().partition(|other| needs[**other] == [node]);
            let is_chain = branches.len() == 1;
            for join in joins.iter().rev() {
                open.push(Open { node: *join, own: below.clone(), below: below.clone(), branch_of: None });
            }
            for (place, branch) in branches.iter().enumerate().rev() {
                let is_last = place + 1 == branches.len();
                open.push(if is_chain {
                    Open { node: *branch, own: below.clone(), below: below.clone(), branch_of: None }
                } else {
                    let (corner, rail) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
                    let (own, below) = (format!("{below}{corner}"), format!("{below}{rail}"));
                    Open { node: *branch, own, below, branch_of: Some(node) }
                });
            }
            if drawing.nodes[node].kind == NodeKind::Whole {
                // Parts come right below the whole, before what follows it.
                let has_more = !is_chain && !branches.is_empty();
                let rails = format!("{below}{}", if has_more { "│ ┆ " } else { "┆ " });
                for first in firsts.get(&Some(node as u32)).into_iter().flatten().rev() {
                    open.push(Open {
                        node: *first,
                        own: rails.clone(),
                        below: rails.clone(),
                        branch_of: None,
                    });
                }
            }
        }
        out
    }
}

/// The nodes of one group, each after those it waits for, with the last one that all ways to it lead through.
fn forks(drawing: &Drawing, members: &[usize], needs: &[Vec<usize>]) -> Vec<(usize, Option<usize>)> {
    let outer = drawing.nodes[members[0]].inside;
    // Someone else's part stands for the node around it that is of this group.
    let lifted = |mut node: usize| loop {
        if drawing.nodes[node].inside == outer {
            return Some(node);
        }
        node = drawing.nodes[node].inside? as usize;
    };
    let place_of: BTreeMap<usize, usize> =
        members.iter().zip(0..).map(|(node, place)| (*node, place)).collect();
    let local: Vec<Vec<usize>> = members
        .iter()
        .map(|node| needs[*node].iter().filter_map(|need| place_of.get(&lifted(*need)?).copied()).collect())
        .collect();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); members.len()];
    let mut unmet: Vec<usize> = vec![0; members.len()];
    for (place, needs) in local.iter().enumerate() {
        unmet[place] = needs.len();
        needs.iter().for_each(|need| users[*need].push(place));
    }
    // Of those that could come next, the first by declaration: a picture keeps to the order in which things were said.
    let mut ready: std::collections::BTreeSet<usize> =
        (0..members.len()).filter(|place| unmet[*place] == 0).collect();
    let mut fork: Vec<Option<usize>> = vec![None; members.len()];
    let mut depth = vec![0usize; members.len()];
    let mut is_done = vec![false; members.len()];
    let mut out = Vec::with_capacity(members.len());
    let mut stuck = 0;
    while out.len() < members.len() {
        let place = ready.pop_first().unwrap_or_else(|| {
            // Wholes whose parts wait for each other's parts: the first goes ahead.
            while is_done[stuck] {
                stuck += 1;
            }
            stuck
        });
        if std::mem::replace(&mut is_done[place], true) {
            continue;
        }
        let mut common: Option<Option<usize>> = None;
        for need in local[place].iter().copied().filter(|need| is_done[*need] && *need != place) {
            common = Some(match common {
                None => Some(need),
                Some(so_far) => meeting(so_far, Some(need), &fork, &depth),
            });
        }
        fork[place] = common.flatten();
        depth[place] = fork[place].map_or(0, |fork| depth[fork] + 1);
        out.push((members[place], fork[place].map(|fork| members[fork])));
        for user in &users[place] {
            unmet[*user] = unmet[*user].saturating_sub(1);
            if unmet[*user] == 0 && !is_done[*user] {
                ready.insert(*user);
            }
        }
    }
    out
}

/// Where the ways to two nodes part.
fn meeting(
    mut a: Option<usize>,
    mut b: Option<usize>,
    fork: &[Option<usize>],
    depth: &[usize],
) -> Option<usize> {
    loop {
        match (a, b) {
            (Some(one), Some(other)) if one == other => return a,
            (Some(one), Some(other)) if depth[one] >= depth[other] => a = fork[one],
            (Some(_), Some(other)) => b = fork[other],
            _ => return None,
        }
    }
}

/// The beginning of a text that fits into so many columns.
pub(crate) fn fitted(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let fits = text.chars().take_while(|c| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    });
    if columns == 0 { String::new() } else { fits.chain(['…']).collect() }
}

/// The end of rails that fits: the innermost ones.
fn fitted_end(rails: &str, columns: usize) -> String {
    let count = rails.chars().count();
    if count <= columns {
        return rails.to_owned();
    }
    std::iter::once('…').chain(rails.chars().skip(count - columns + 1)).collect()
}
