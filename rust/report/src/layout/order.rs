//! The order of nodes on their layers, so that few edges cross. Knows no sizes and no places.
//!
//! Layers are sorted again and again by where their neighbours on the layer before, then after, stand on average; then
//! those side by side change places where that helps. Of the best order found, each is moved to where it crosses least; a
//! small one is disturbed, to see whether it settles better.
//! How often depends on the size alone: the same graph always gives the same picture.

use super::layers::Layered;

/// How many rounds without progress are enough.
const PATIENCE: usize = 6;
/// Rounds from each beginning, and how much work they may be, in steps of about one edge.
const MOST_ROUNDS: usize = 24;
const WORK: usize = 300_000;
/// How much work it may be to look for a better place for each, in steps of about one pair.
const SIFTING_WORK: usize = 1_500_000;

/// How often a small graph is disturbed, to see whether it settles better, and how much work that may be.
const MOST_KICKS: usize = 200;
const IDLE_KICKS: usize = 60;
const KICKING_WORK: usize = 400_000;

/// Orders the layers; returns how many pairs of edges cross.
pub(super) fn order(graph: &mut Layered) -> u64 {
    let segments: usize = (0..graph.layer_of.len() as u32).map(|place| graph.after.row(place).len()).sum();
    let rounds = (WORK / (segments + 1)).clamp(4, MOST_ROUNDS);
    let mut best = (u64::MAX, Vec::new());
    for forward in [true, false] {
        let mut order = Order::found_by_walking(graph, forward);
        let mut idle = 0;
        for round in 0..=rounds {
            let now = order.crossings(graph);
            idle += 1;
            if now < best.0 {
                best = (now, graph.layers.clone());
                idle = 0;
            }
            if best.0 == 0 || idle > PATIENCE || round == rounds {
                break;
            }
            order.sort(graph, (round % 2 == 0) == forward, round % 4 < 2);
            order.swap_neighbours(graph);
        }
    }
    graph.layers = best.1;
    let mut order = Order { at: vec![0; graph.layer_of.len()] };
    graph.layers.iter().for_each(|layer| order.note(layer));
    let work: usize = graph.layers.iter().map(|layer| layer.len() * layer.len()).sum();
    let mut crossings = best.0;
    for _ in 0..SIFTING_WORK / (work + 1) {
        if crossings == 0 || !order.sift(graph) {
            break;
        }
        crossings = order.crossings(graph);
    }
    // Small graphs are looked at closely, so there is time to look for something better.
    let mut dice = Dice(0x5eed);
    let kicks = (KICKING_WORK / (work + 1)).min(MOST_KICKS);
    let mut idle = 0;
    for _ in 0..kicks {
        if crossings == 0 || idle == IDLE_KICKS || kicks < IDLE_KICKS {
            break;
        }
        idle += 1;
        let before = graph.layers.clone();
        order.kick(graph, &mut dice);
        let _ = order.sift(graph) && order.sift(graph);
        let now = order.crossings(graph);
        if now <= crossings {
            idle = if now < crossings { 0 } else { idle };
            crossings = now;
        } else {
            graph.layers = before;
            graph.layers.iter().for_each(|layer| order.note(layer));
        }
    }
    crossings
}

/// Numbers as if by chance, the same each time: the linear congruential generator of D. Knuth's MMIX.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// Where each place stands on its layer.
struct Order {
    at: Vec<u32>,
}

impl Order {
    /// The order in which a walk along the edges, or against them, comes by. Of a tree it has no crossings.
    fn found_by_walking(graph: &mut Layered, forward: bool) -> Self {
        let total = graph.layer_of.len();
        let mut seen = vec![false; total];
        let mut layers: Vec<Vec<u32>> = vec![Vec::new(); graph.layers.len()];
        let mut stack = Vec::new();
        let mut starts: Vec<u32> = (0..total as u32).collect();
        starts.sort_by_key(|place| {
            let layer = graph.layer_of[*place as usize];
            if forward { layer } else { u32::MAX - layer }
        });
        let next = if forward { &graph.after } else { &graph.before };
        for start in starts {
            stack.push(start);
            while let Some(place) = stack.pop() {
                if std::mem::replace(&mut seen[place as usize], true) {
                    continue;
                }
                layers[graph.layer_of[place as usize] as usize].push(place);
                stack.extend(next.row(place).iter().rev().filter(|next| !seen[**next as usize]));
            }
        }
        graph.layers = layers;
        let mut order = Self { at: vec![0; total] };
        graph.layers.iter().for_each(|layer| order.note(layer));
        order
    }

    fn note(&mut self, layer: &[u32]) {
        for (at, place) in (0u32..).zip(layer) {
            self.at[*place as usize] = at;
        }
    }

    /// Sorts each layer by its neighbours on the one that was sorted last. What has none keeps its place.
    fn sort(&mut self, graph: &mut Layered, forward: bool, ties_swap: bool) {
        let count = graph.layers.len();
        let mut keys: Vec<(f64, u32, u32)> = Vec::new();
        let mut slots = Vec::new();
        for step in 1..count {
            let layer = if forward { step } else { count - 1 - step };
            let neighbours = if forward { &graph.before } else { &graph.after };
            keys.clear();
            slots.clear();
            for (slot, place) in graph.layers[layer].iter().enumerate() {
                if let Some(key) = self.middle(neighbours.row(*place)) {
                    let at = slot as u32;
                    keys.push((key, if ties_swap { u32::MAX - at } else { at }, *place));
                    slots.push(slot);
                }
            }
            keys.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (slot, (_, _, place)) in slots.iter().zip(&keys) {
                graph.layers[layer][*slot] = *place;
            }
            self.note(&graph.layers[layer]);
        }
    }

    /// Where these stand on average.
    fn middle(&self, places: &[u32]) -> Option<f64> {
        let sum: f64 = places.iter().map(|place| f64::from(self.at[*place as usize])).sum();
        (!places.is_empty()).then(|| sum / places.len() as f64)
    }

    /// Has neighbours change places as long as that takes crossings away.
    fn swap_neighbours(&mut self, graph: &mut Layered) {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let mut has_changed = false;
            for layer in 0..graph.layers.len() {
                for slot in 1..graph.layers[layer].len() {
                    let (a, b) = (graph.layers[layer][slot - 1], graph.layers[layer][slot]);
                    let mut gain = 0;
                    for rows in [&graph.before, &graph.after] {
                        self.positions(rows.row(a), &mut left);
                        self.positions(rows.row(b), &mut right);
                        gain += inversions(&left, &right) - inversions(&right, &left);
                    }
                    if gain > 0 {
                        graph.layers[layer].swap(slot - 1, slot);
                        self.at.swap(a as usize, b as usize);
                        has_changed = true;
                    }
                }
            }
            if !has_changed {
                break;
            }
        }
    }

    /// Mixes up some that stand side by side, on neighbouring layers.
    fn kick(&mut self, graph: &mut Layered, dice: &mut Dice) {
        let first = dice.below(graph.layers.len());
        for layer in graph.layers.iter_mut().skip(first).take(2) {
            let width = (2 + dice.below(5)).min(layer.len());
            let start = dice.below(layer.len() + 1 - width);
            for slot in (start + 1..start + width).rev() {
                layer.swap(slot, start + dice.below(slot - start + 1));
            }
            self.note(layer);
        }
    }

    /// Moves each to where on its layer it crosses least; says whether anything has moved.
    fn sift(&mut self, graph: &mut Layered) -> bool {
        let mut has_changed = false;
        let mut rows: [Vec<Vec<u32>>; 2] = Default::default();
        for layer in 0..graph.layers.len() {
            // Neighbours stand still while a layer is looked at: their places are read once.
            for (rows, of) in rows.iter_mut().zip([&graph.before, &graph.after]) {
                rows.resize(rows.len().max(graph.layers[layer].len()), Vec::new());
                for (row, place) in rows.iter_mut().zip(&graph.layers[layer]) {
                    self.positions(of.row(*place), row);
                }
            }
            // Members of the layer by where they stood at first, which is where their rows are.
            let mut now: Vec<usize> = (0..graph.layers[layer].len()).collect();
            let gain = |left: usize, right: usize| -> i64 {
                let of = |rows: &Vec<Vec<u32>>| {
                    inversions(&rows[left], &rows[right]) - inversions(&rows[right], &rows[left])
                };
                rows.iter().map(of).sum()
            };
            for member in 0..now.len() {
                let from = now.iter().position(|other| *other == member).unwrap_or(0);
                let (mut best, mut to) = (0, from);
                let mut sum = 0;
                for (slot, other) in now.iter().enumerate().skip(from + 1) {
                    sum += gain(member, *other);
                    if sum > best {
                        (best, to) = (sum, slot);
                    }
                }
                sum = 0;
                for slot in (0..from).rev() {
                    sum += gain(now[slot], member);
                    if sum > best {
                        (best, to) = (sum, slot);
                    }
                }
                if to != from {
                    let moved = now.remove(from);
                    now.insert(to, moved);
                    has_changed = true;
                }
            }
            graph.layers[layer] = now.iter().map(|slot| graph.layers[layer][*slot]).collect();
            self.note(&graph.layers[layer]);
        }
        has_changed
    }

    fn positions(&self, places: &[u32], into: &mut Vec<u32>) {
        into.clear();
        into.extend(places.iter().map(|place| self.at[*place as usize]));
        into.sort_unstable();
    }

    /// How many pairs of edges between neighbouring layers cross.
    fn crossings(&self, graph: &Layered) -> u64 {
        let mut total = 0;
        let mut sums = Vec::new();
        let mut row = Vec::new();
        for (layer, below) in graph.layers.iter().zip(graph.layers.iter().skip(1)) {
            // A tree of sums over the later layer: how many ends so far are right of a place.
            sums.clear();
            sums.resize(below.len() + 1, 0u64);
            let mut ends = 0u64;
            for place in layer {
                self.positions(graph.after.row(*place), &mut row);
                for at in &row {
                    let mut up_to = *at as usize + 1;
                    let mut not_right = 0;
                    while up_to > 0 {
                        not_right += sums[up_to];
                        up_to &= up_to - 1;
                    }
                    total += ends - not_right;
                }
                for at in &row {
                    let mut up_to = *at as usize + 1;
                    while up_to < sums.len() {
                        sums[up_to] += 1;
                        up_to += up_to & up_to.wrapping_neg();
                    }
                    ends += 1;
                }
            }
        }
        total
    }
}

/// How many pairs there are of one of the first and a smaller one of the second; both are sorted.
fn inversions(first: &[u32], second: &[u32]) -> i64 {
    let (mut smaller, mut pairs) = (0, 0);
    for one in first {
        while second.get(smaller).is_some_and(|other| other < one) {
            smaller += 1;
        }
        pairs += smaller as i64;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(nodes: usize, edges: &[(u32, u32)], expected: u64) {
        assert_eq!(order(&mut Layered::new(nodes, edges)), expected);
    }

    #[test]
    fn what_can_be_drawn_without_a_crossing_is() {
        check(4, &[(0, 3), (1, 2)], 0);
        check(6, &[(0, 3), (0, 5), (1, 4), (2, 3)], 0);
        check(7, &[(0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6)], 0);
    }

    #[test]
    fn what_has_to_cross_is_counted() {
        check(4, &[(0, 2), (0, 3), (1, 2), (1, 3)], 1);
        check(6, &[(0, 3), (0, 4), (0, 5), (1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5)], 9);
    }
}
