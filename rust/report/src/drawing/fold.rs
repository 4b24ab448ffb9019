//! Which tasks of a great many are drawn as one: those of a stage, or of a task that consists of tasks.

use super::{Detail, NodeKind, NotFolded, Seen};
use crate::layout::layers;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Into how many stages the tasks that stand side by side are put, at most.
const MOST_STAGES: usize = 40;
/// Where the layers alone are more than that, into how many.
const BANDS: usize = 20;

/// What will be a node.
pub(super) struct Group {
    pub(super) kind: NodeKind,
    /// The group in which it is drawn.
    pub(super) inside: Option<u32>,
    /// Its number, if it is a stage.
    pub(super) stage: Option<usize>,
    /// What the names of the tasks of a stage have in common.
    pub(super) words: String,
    /// Its tasks: of one that is no stage the task itself first, then what is folded into it.
    pub(super) tasks: Vec<u32>,
}

/// Tasks in groups.
pub(super) struct Folding {
    pub(super) groups: Vec<Group>,
    /// The group that each task is in.
    pub(super) node_of: Vec<u32>,
}

/// Puts tasks into groups: each into its own as long as they are few.
pub(super) fn folding(
    seen: &[Seen<'_>],
    edges: &[(u32, u32)],
    detail: &Detail,
) -> Result<Folding, NotFolded> {
    let drawn = seen.iter().filter(|task| task.is_drawn).count();
    let mut depth = vec![0usize; seen.len()];
    let mut members: BTreeMap<Option<u32>, Vec<u32>> = BTreeMap::new();
    for (place, task) in (0u32..).zip(seen).filter(|(_, task)| task.is_drawn) {
        depth[place as usize] = task.parent.map_or(0, |parent| depth[parent as usize] + 1);
        members.entry(task.parent).or_default().push(place);
    }
    let mut plan = Plan {
        seen,
        members,
        stages: BTreeMap::new(),
        deepest: usize::MAX,
        depth,
        unfold: &detail.unfold,
        is_known: vec![false; detail.unfold.len()],
    };
    if drawn > detail.most_nodes {
        plan.find_stages(edges);
        let mut deepest = plan.depth.iter().max().copied().unwrap_or(0);
        while plan.count() > detail.most_nodes && deepest > 0 {
            deepest -= 1;
            plan.deepest = deepest;
        }
    }
    let folding = plan.groups();
    match detail.unfold.iter().zip(&plan.is_known).find(|(_, is_known)| !**is_known) {
        Some((name, _)) => Err(NotFolded { name: name.clone(), folded: plan.names(&folding) }),
        None => Ok(folding),
    }
}

struct Plan<'a> {
    seen: &'a [Seen<'a>],
    /// The parts of each task that consists of tasks, and those that are no parts.
    members: BTreeMap<Option<u32>, Vec<u32>>,
    /// Where there are many side by side, their stages.
    stages: BTreeMap<Option<u32>, Vec<Vec<u32>>>,
    /// What consists of tasks is folded below so many others.
    deepest: usize,
    depth: Vec<usize>,
    unfold: &'a [String],
    is_known: Vec<bool>,
}

impl Plan<'_> {
    fn find_stages(&mut self, edges: &[(u32, u32)]) {
        let parent = |task: u32| self.seen[task as usize].parent;
        let mut local: BTreeMap<Option<u32>, Vec<(u32, u32)>> = BTreeMap::new();
        for edge in edges.iter().filter(|(from, to)| parent(*from) == parent(*to)) {
            local.entry(parent(edge.0)).or_default().push(*edge);
        }
        for (outer, members) in &self.members {
            if members.len() > MOST_STAGES {
                let edges = local.remove(outer).unwrap_or_default();
                self.stages.insert(*outer, stages(self.seen, members, &edges));
            }
        }
    }

    /// How many nodes there would be.
    fn count(&self) -> usize {
        let is_shown = |outer: &Option<u32>| {
            let mut outer = *outer;
            while let Some(task) = outer {
                outer = self.seen[task as usize].parent;
                if self.depth[task as usize] >= self.deepest || self.stages.contains_key(&outer) {
                    return false;
                }
            }
            true
        };
        let shown = self.members.iter().filter(|(outer, _)| is_shown(outer));
        shown.map(|(outer, members)| self.stages.get(outer).map_or(members.len(), Vec::len)).sum()
    }

    fn is_wanted(&mut self, name: &str) -> bool {
        let mut is_wanted = false;
        for (known, wanted) in self.is_known.iter_mut().zip(self.unfold) {
            if wanted == name {
                *known = true;
                is_wanted = true;
            }
        }
        is_wanted
    }

    fn groups(&mut self) -> Folding {
        let mut out = Folding { groups: Vec::new(), node_of: vec![u32::MAX; self.seen.len()] };
        let mut number = 0;
        // Tasks yet to be put somewhere, with the group to put them in.
        let mut open: VecDeque<(u32, Option<u32>)> = VecDeque::new();
        let mut outers: Vec<(Option<u32>, Option<u32>)> = vec![(None, None)];
        while let Some((outer, inside)) = outers.pop() {
            match self.stages.remove(&outer) {
                None => {
                    let members = self.members.get(&outer).into_iter().flatten();
                    open.extend(members.map(|task| (*task, inside)));
                }
                Some(stages) => {
                    for stage in stages {
                        if let [task] = *stage {
                            open.push_back((task, inside));
                            continue;
                        }
                        number += 1;
                        let group = out.groups.len() as u32;
                        let is_open = self.is_wanted(&number.to_string());
                        let mut tasks = stage.clone();
                        if is_open {
                            open.extend(stage.iter().map(|task| (*task, Some(group))));
                        } else {
                            tasks = self.with_parts(&stage);
                            tasks.iter().for_each(|task| out.node_of[*task as usize] = group);
                        }
                        let kind = if is_open { NodeKind::Whole } else { NodeKind::Folded };
                        let words = stage_words(&stage, self.seen);
                        out.groups.push(Group { kind, inside, stage: Some(number), words, tasks });
                    }
                }
            }
            while let Some((task, inside)) = open.pop_front() {
                let group = out.groups.len() as u32;
                out.node_of[task as usize] = group;
                let is_whole = self.members.contains_key(&Some(task));
                let name = &*self.seen[task as usize].spec.name;
                let is_folded =
                    is_whole && self.depth[task as usize] >= self.deepest && !self.is_wanted(name);
                let (kind, mut tasks) = match (is_whole, is_folded) {
                    (false, _) if self.seen[task as usize].is_coming() => (NodeKind::Coming, vec![task]),
                    (false, _) => (NodeKind::Task, vec![task]),
                    (true, false) => (NodeKind::Whole, vec![task]),
                    (true, true) => (NodeKind::Folded, self.with_parts(&[task])),
                };
                if is_folded {
                    tasks.iter().for_each(|task| out.node_of[*task as usize] = group);
                } else if is_whole {
                    outers.push((Some(task), Some(group)));
                }
                tasks.shrink_to_fit();
                out.groups.push(Group { kind, inside, stage: None, words: String::new(), tasks });
            }
        }
        out
    }

    /// Tasks, each followed by all that it consists of.
    fn with_parts(&self, tasks: &[u32]) -> Vec<u32> {
        let mut all = Vec::with_capacity(tasks.len());
        let mut open: Vec<u32> = tasks.iter().rev().copied().collect();
        while let Some(task) = open.pop() {
            all.push(task);
            open.extend(self.members.get(&Some(task)).into_iter().flatten().rev());
        }
        all
    }

    /// How what is folded is called.
    fn names(&self, folding: &Folding) -> Vec<String> {
        let folded = folding.groups.iter().filter(|group| group.kind == NodeKind::Folded);
        folded
            .map(|group| match group.stage {
                Some(number) => number.to_string(),
                None => self.seen[group.tasks[0] as usize].spec.name.to_string(),
            })
            .collect()
    }
}

/// The stems of the names of tasks: the first two, and how many others there are.
fn stage_words(tasks: &[u32], seen: &[Seen<'_>]) -> String {
    let mut stems: Vec<String> = Vec::new();
    for task in tasks {
        let stem = stem(&seen[*task as usize].spec.name);
        if !stems.contains(&stem) {
            stems.push(stem);
            if stems.len() > 9 {
                return format!("{}, {} and others", stems[0], stems[1]);
            }
        }
    }
    match stems.as_slice() {
        [first, second, _, ..] => format!("{first}, {second}, +{}", stems.len() - 2),
        _ => stems.join(", "),
    }
}

/// A name without its numbers: `load 17 of 40` is one of `load … of …`.
fn stem(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut was_digit = false;
    for c in name.chars() {
        let is_digit = c.is_ascii_digit();
        if !is_digit {
            out.push(c);
        } else if !was_digit {
            out.push('…');
        }
        was_digit = is_digit;
    }
    out
}

/// Tasks by layer and by what their names have in common; where these are too many, by layer alone.
fn stages(seen: &[Seen<'_>], members: &[u32], edges: &[(u32, u32)]) -> Vec<Vec<u32>> {
    let places: HashMap<u32, u32> = members.iter().zip(0..).map(|(task, place)| (*task, place)).collect();
    let local: Vec<(u32, u32)> = edges.iter().map(|(from, to)| (places[from], places[to])).collect();
    let layer_of = layers(members.len(), &local);
    let stems: Vec<String> = members.iter().map(|task| stem(&seen[*task as usize].spec.name)).collect();
    let mut first_of: HashMap<(u32, &str), u32> = HashMap::new();
    for (place, stem) in (0u32..).zip(&stems) {
        first_of.entry((layer_of[place as usize], stem)).or_insert(place);
    }
    let last = layer_of.iter().max().copied().unwrap_or(0) as usize;
    let band = (last + 1).div_ceil(if last < MOST_STAGES { MOST_STAGES } else { BANDS }) as u32;
    let is_by_stem = first_of.len() <= MOST_STAGES;
    let mut groups: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
    for (place, task) in members.iter().enumerate() {
        let layer = layer_of[place];
        let key = if is_by_stem { (layer, first_of[&(layer, &*stems[place])]) } else { (layer / band, 0) };
        groups.entry(key).or_default().push(*task);
    }
    groups.into_values().collect()
}
