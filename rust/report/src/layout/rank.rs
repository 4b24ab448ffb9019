//! Which layer each node stands on, so that edges are as short as they can be in all. Knows nothing of what is drawn.
//!
//! After E. Gansner, E. Koutsofios, S. North and K.-P. Vo, "A technique for drawing directed graphs", IEEE Transactions
//! on Software Engineering 19(3), 1993: a tree of edges that are as short as they may be fixes all layers. As long as
//! there is a branch with more edges on one side than on the other, that branch is moved there and hung up anew where it
//! meets its first neighbour; and what could stand on several layers goes to the emptiest. As edges count alike here, how
//! much there is to win by moving a branch is a sum over its nodes.

use super::rows::Rows;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How much work it may be to move branches, in steps of about one edge, and how much more of that for each edge.
const WORK: usize = 200_000;
const WORK_OF_EDGE: usize = 150;

/// Makes edges that lead to later layers shorter. `layer_of` is such a layering, and stays one.
pub(super) fn shorten(edges: &[(u32, u32)], layer_of: &mut [u32]) {
    let length = |layer_of: &[u32]| -> u64 {
        edges.iter().map(|(a, b)| u64::from(layer_of[*b as usize] - layer_of[*a as usize])).sum()
    };
    let mut tree = Tree::new(edges, layer_of);
    tree.hang();
    tree.improve(WORK + WORK_OF_EDGE * edges.len());
    tree.spread();
    let first = tree.layer_of.iter().min().copied().unwrap_or(0);
    let found: Vec<u32> =
        tree.layer_of.iter().map(|layer| u32::try_from(layer - first).unwrap_or(0)).collect();
    // Of very many, hanging them up may cost more than there is work to win.
    if length(&found) <= length(layer_of) {
        layer_of.copy_from_slice(&found);
    }
}

/// No node.
const NONE: u32 = u32::MAX;

/// Edges without slack that join all nodes of each connected part.
struct Tree {
    after: Rows,
    before: Rows,
    layer_of: Vec<i64>,
    /// What each node hangs on; [`NONE`] for a root.
    parent: Vec<u32>,
    /// Whether the edge to the parent leads there.
    is_upward: Vec<bool>,
    /// The neighbours in the tree.
    joined: Vec<Vec<u32>>,
    /// How many more edges leave the branch of a node than come to it.
    surplus: Vec<i64>,
}

impl Tree {
    fn new(edges: &[(u32, u32)], layer_of: &[u32]) -> Self {
        let nodes = layer_of.len();
        Self {
            after: Rows::new(nodes, edges.iter().copied()),
            before: Rows::new(nodes, edges.iter().map(|(a, b)| (*b, *a))),
            layer_of: layer_of.iter().map(|layer| i64::from(*layer)).collect(),
            parent: vec![NONE; nodes],
            is_upward: vec![false; nodes],
            joined: vec![Vec::new(); nodes],
            surplus: vec![0; nodes],
        }
    }

    /// Grows the tree from the first node of each part: what is in it is moved until it meets the nearest that is not.
    fn hang(&mut self) {
        let nodes = self.layer_of.len();
        let mut is_in = vec![false; nodes];
        let mut order = Vec::with_capacity(nodes);
        // Edges that leave the tree and such that come to it, the shortest first. Layers in the tree count from where the
        // tree is: moving all of it changes one number.
        let mut leaving: BinaryHeap<Reverse<(i64, u32, u32)>> = BinaryHeap::new();
        let mut coming: BinaryHeap<Reverse<(i64, u32, u32)>> = BinaryHeap::new();
        for root in 0..nodes as u32 {
            if is_in[root as usize] {
                continue;
            }
            let start = order.len();
            let mut moved = 0;
            let mut next = root;
            loop {
                is_in[next as usize] = true;
                order.push(next);
                self.layer_of[next as usize] -= moved;
                let here = self.layer_of[next as usize];
                for other in self.after.row(next).iter().filter(|other| !is_in[**other as usize]) {
                    leaving.push(Reverse((self.layer_of[*other as usize] - here - 1, next, *other)));
                }
                for other in self.before.row(next).iter().filter(|other| !is_in[**other as usize]) {
                    coming.push(Reverse((here - self.layer_of[*other as usize] - 1, next, *other)));
                }
                while leaving.peek().is_some_and(|Reverse((.., other))| is_in[*other as usize]) {
                    leaving.pop();
                }
                while coming.peek().is_some_and(|Reverse((.., other))| is_in[*other as usize]) {
                    coming.pop();
                }
                let out = leaving.peek().map(|Reverse((slack, ..))| slack - moved);
                let into = coming.peek().map(|Reverse((slack, ..))| slack + moved);
                let (from, is_upward) = match (out, into) {
                    (None, None) => break,
                    (Some(out), into) if into.is_none_or(|into| out <= into) => {
                        moved += out;
                        (leaving.pop(), false)
                    }
                    (_, into) => {
                        moved -= into.unwrap_or(0);
                        (coming.pop(), true)
                    }
                };
                let Some(Reverse((_, parent, other))) = from else { break };
                self.parent[other as usize] = parent;
                self.is_upward[other as usize] = is_upward;
                self.joined[parent as usize].push(other);
                self.joined[other as usize].push(parent);
                next = other;
            }
            order[start..].iter().for_each(|node| self.layer_of[*node as usize] += moved);
        }
        for node in order.into_iter().rev() {
            let (leaves, comes) = (self.after.row(node).len(), self.before.row(node).len());
            self.surplus[node as usize] += leaves as i64 - comes as i64;
            let parent = self.parent[node as usize];
            if parent != NONE {
                self.surplus[parent as usize] += self.surplus[node as usize];
            }
        }
    }

    /// Moves branches as long as that makes edges shorter in all and there is work left.
    fn improve(&mut self, mut work: usize) {
        let nodes = self.layer_of.len();
        let mut is_in = vec![false; nodes];
        let mut branch = Vec::new();
        let (mut node, mut idle) = (0, 0);
        while idle < nodes {
            let top = node as u32;
            node = (node + 1) % nodes;
            idle += 1;
            let surplus = self.surplus[top as usize];
            let is_late = self.is_upward[top as usize];
            if self.parent[top as usize] == NONE || if is_late { surplus >= 0 } else { surplus <= 0 } {
                continue;
            }
            idle = 0;
            branch.clear();
            branch.push(top);
            is_in[top as usize] = true;
            let mut done = 0;
            let mut nearest: Option<(i64, u32, u32)> = None;
            while let Some(&member) = branch.get(done) {
                done += 1;
                let above = if member == top { self.parent[top as usize] } else { NONE };
                for other in self.joined[member as usize].iter().filter(|other| **other != above) {
                    if !std::mem::replace(&mut is_in[*other as usize], true) {
                        branch.push(*other);
                    }
                }
            }
            for member in &branch {
                let row = if is_late { self.before.row(*member) } else { self.after.row(*member) };
                work = work.saturating_sub(1 + row.len());
                for other in row.iter().filter(|other| !is_in[**other as usize]) {
                    let span = self.layer_of[*member as usize] - self.layer_of[*other as usize];
                    let slack = span.abs() - 1;
                    if nearest.is_none_or(|(least, ..)| slack < least) {
                        nearest = Some((slack, *member, *other));
                    }
                }
            }
            if let Some((slack, member, other)) = nearest {
                let by = if is_late { -slack } else { slack };
                branch.iter().for_each(|member| self.layer_of[*member as usize] += by);
                self.hang_anew(top, member, other, !is_late);
            }
            branch.iter().for_each(|member| is_in[*member as usize] = false);
            if work == 0 {
                break;
            }
        }
    }

    /// Hangs the branch at `top` on another node by its own node `by`.
    fn hang_anew(&mut self, top: u32, by: u32, on: u32, is_upward: bool) {
        let old = self.parent[top as usize];
        let all = self.surplus[top as usize];
        for (start, change) in [(old, -all), (on, all)] {
            let mut above = start;
            while above != NONE {
                self.surplus[above as usize] += change;
                above = self.parent[above as usize];
            }
        }
        self.joined[top as usize].retain(|other| *other != old);
        self.joined[old as usize].retain(|other| *other != top);
        self.joined[by as usize].push(on);
        self.joined[on as usize].push(by);
        // From `by` up to `top`, each hangs on the one below it from now on.
        let (mut node, mut parent, mut upward, mut below) = (by, on, is_upward, 0);
        loop {
            let (next, next_upward) = (self.parent[node as usize], self.is_upward[node as usize]);
            let own = self.surplus[node as usize];
            self.parent[node as usize] = parent;
            self.is_upward[node as usize] = upward;
            self.surplus[node as usize] = all - below;
            if node == top {
                break;
            }
            (parent, node, upward, below) = (node, next, !next_upward, own);
        }
    }

    /// What could stand on several layers goes to the emptiest of them.
    fn spread(&mut self) {
        let first = self.layer_of.iter().min().copied().unwrap_or(0);
        let last = self.layer_of.iter().max().copied().unwrap_or(0);
        let mut count = vec![0usize; (last - first + 1) as usize];
        self.layer_of.iter().for_each(|layer| count[(layer - first) as usize] += 1);
        for node in 0..self.layer_of.len() {
            let (before, after) = (self.before.row(node as u32), self.after.row(node as u32));
            if before.len() != after.len() {
                continue;
            }
            let low = before.iter().map(|other| self.layer_of[*other as usize] + 1).max();
            let high = after.iter().map(|other| self.layer_of[*other as usize] - 1).min();
            let now = self.layer_of[node];
            let range = low.unwrap_or(now)..=high.unwrap_or(now);
            let emptiest = range.min_by_key(|layer| (count[(layer - first) as usize], *layer));
            if let Some(layer) =
                emptiest.filter(|layer| count[(layer - first) as usize] + 1 < count[(now - first) as usize])
            {
                count[(now - first) as usize] -= 1;
                count[(layer - first) as usize] += 1;
                self.layer_of[node] = layer;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How long edges are in all, where none leads back or stays on a layer.
    fn length(edges: &[(u32, u32)], layer_of: &[u32]) -> Option<u32> {
        let spans = edges.iter().map(|(a, b)| layer_of[*b as usize].checked_sub(layer_of[*a as usize] + 1));
        spans.sum()
    }

    /// The least that trying everything finds.
    fn least(nodes: usize, edges: &[(u32, u32)]) -> Option<u32> {
        let every = (0..(nodes as u32).pow(nodes as u32)).map(|number| {
            let layers = (0..nodes as u32).map(|node| number / (nodes as u32).pow(node) % nodes as u32);
            length(edges, &layers.collect::<Vec<u32>>())
        });
        every.flatten().min()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn edges_are_as_short_as_they_can_be(
            nodes in 2usize..6,
            pairs in prop::collection::vec((0u32..6, 0u32..6), 1..12),
        ) {
            let mut edges: Vec<(u32, u32)> = pairs.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            edges.retain(|(a, b)| a < b && (*b as usize) < nodes);
            edges.sort_unstable();
            edges.dedup();
            let mut layer_of: Vec<u32> = (0..nodes as u32).collect();
            shorten(&edges, &mut layer_of);
            prop_assert_eq!(length(&edges, &layer_of), least(nodes, &edges), "{:?} {:?}", edges, layer_of);
            prop_assert_eq!(layer_of.iter().min(), Some(&0));
        }
    }

    #[test]
    fn a_branch_moves_to_where_more_of_its_edges_lead() {
        // A chain of five; two nodes that lead to the last but one by a third have the first in front of them.
        let mut layer_of = [0, 1, 2, 3, 4, 2, 2, 3];
        let edges = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (0, 6), (5, 7), (6, 7), (7, 4)];
        shorten(&edges, &mut layer_of);
        assert_eq!(layer_of, [0, 1, 2, 3, 4, 1, 1, 2]);
    }

    #[test]
    fn what_may_stand_on_several_layers_goes_to_the_emptiest() {
        // A chain of four with two branches on its second layer; the last node may stand on the second or the third.
        let mut layer_of = [0, 1, 2, 3, 1, 1, 1];
        let edges = [(0, 1), (1, 2), (2, 3), (0, 4), (4, 2), (0, 5), (5, 2), (0, 6), (6, 3)];
        shorten(&edges, &mut layer_of);
        assert_eq!(layer_of, [0, 1, 2, 3, 1, 1, 2]);
    }
}
