//! Where on its layer each node and waypoint stands, so that edges are straight and nodes stand amid their neighbours.
//!
//! After U. Brandes and B. Köpf, "Fast and simple horizontal coordinate assignment", 2001: four times, from each corner,
//! what is in line with its middle neighbour is put into a block; blocks are packed; of the four places of each, the mean
//! of the two in the middle counts.

use super::layers::Layered;
use super::lines::{room, straighten, strength};
use super::rows::Rows;
use std::collections::HashSet;

/// The place of each node and waypoint across the layers: of its middle. `extent` is how much of that each takes.
pub(super) fn places(graph: &Layered, extent: &[f64], gap: f64) -> Vec<f64> {
    let crossing = minor_crossings(graph);
    let mut of_corners = Vec::with_capacity(4);
    for from_start in [true, false] {
        for from_left in [true, false] {
            let view = View::new(graph, from_start, from_left);
            let root = view.blocks(&crossing);
            let mut at = view.packed(graph, &root, extent, gap);
            if !from_left {
                at.iter_mut().for_each(|at| *at = -*at);
            }
            of_corners.push(at);
        }
    }
    let ends = |at: &Vec<f64>| {
        let ends = at.iter().zip(extent);
        ends.fold((f64::MAX, f64::MIN), |(low, high), (at, size)| {
            (low.min(at - size / 2.0), high.max(at + size / 2.0))
        })
    };
    let all_ends: Vec<(f64, f64)> = of_corners.iter().map(ends).collect();
    let narrowest = all_ends.iter().copied().min_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0)));
    let (low, high) = narrowest.unwrap_or((0.0, 0.0));
    for (corner, (at, ends)) in of_corners.iter_mut().zip(&all_ends).enumerate() {
        let shift = if corner % 2 == 0 { low - ends.0 } else { high - ends.1 };
        at.iter_mut().for_each(|at| *at += shift);
    }
    let middle = |place: usize| {
        let mut four = [0, 1, 2, 3].map(|corner| of_corners[corner][place]);
        four.sort_by(f64::total_cmp);
        f64::midpoint(four[1], four[2])
    };
    let mut at: Vec<f64> = (0..graph.layer_of.len()).map(middle).collect();
    for _ in 0..SETTLINGS {
        (0..graph.layers.len()).for_each(|layer| settle(graph, layer, extent, gap, &mut at));
        (0..graph.layers.len()).rev().for_each(|layer| settle(graph, layer, extent, gap, &mut at));
    }
    straighten(graph, extent, gap, &mut at);
    let first = ends(&at).0;
    at.iter_mut().for_each(|at| *at -= first);
    at
}

/// How often everything is drawn nearer to its neighbours, forth and back.
const SETTLINGS: usize = 6;

/// Draws each of a layer as near to the mean of its neighbours as the others let it, in all by least squares: those that
/// push each other move as one.
fn settle(graph: &Layered, layer: usize, extent: &[f64], gap: f64, at: &mut [f64]) {
    struct Block {
        /// Where it wants to be, times how much it wants that.
        pull: f64,
        weight: f64,
        count: usize,
    }
    let members = &graph.layers[layer];
    let mut offsets = Vec::with_capacity(members.len());
    let mut blocks: Vec<Block> = Vec::with_capacity(members.len());
    let mut offset = 0.0;
    for (slot, place) in members.iter().enumerate() {
        if slot > 0 {
            offset += room(graph, &members[slot - 1..=slot], extent, gap);
        }
        offsets.push(offset);
        let (mut pull, mut weight) = (0.0, 0.0);
        for other in graph.before.row(*place).iter().chain(graph.after.row(*place)) {
            let strength = strength(graph, *place, *other);
            pull += strength * (at[*other as usize] - offset);
            weight += strength;
        }
        if weight == 0.0 {
            (pull, weight) = (0.01 * (at[*place as usize] - offset), 0.01);
        }
        let mut block = Block { pull, weight, count: 1 };
        while let Some(before) =
            blocks.pop_if(|before| before.pull / before.weight >= block.pull / block.weight)
        {
            block.pull += before.pull;
            block.weight += before.weight;
            block.count += before.count;
        }
        blocks.push(block);
    }
    let mut slot = 0;
    for block in blocks {
        let start = block.pull / block.weight;
        for _ in 0..block.count {
            at[members[slot] as usize] = start + offsets[slot];
            slot += 1;
        }
    }
}

/// Edges that cross a stretch between two waypoints: they give way, so that long edges stay straight.
fn minor_crossings(graph: &Layered) -> HashSet<(u32, u32)> {
    let mut found = HashSet::new();
    let mut at = vec![0u32; graph.layer_of.len()];
    for layer in &graph.layers {
        (0u32..).zip(layer).for_each(|(slot, place)| at[*place as usize] = slot);
    }
    for (above, layer) in graph.layers.iter().zip(graph.layers.iter().skip(1)) {
        let (mut low, mut checked) = (0, 0);
        for (slot, place) in layer.iter().enumerate() {
            let waypoint_above = |place: u32| {
                let above = graph.before.row(place).first().copied();
                above.filter(|above| graph.is_waypoint(place) && graph.is_waypoint(*above))
            };
            let inner = waypoint_above(*place);
            if inner.is_none() && slot + 1 < layer.len() {
                continue;
            }
            let high = inner.map_or(above.len() as u32, |above| at[above as usize]);
            for place in &layer[checked..=slot] {
                for other in graph.before.row(*place) {
                    let other_at = at[*other as usize];
                    let is_inner = graph.is_waypoint(*place) && graph.is_waypoint(*other);
                    if !is_inner && (other_at < low || other_at > high) {
                        found.insert((*other, *place));
                    }
                }
            }
            (checked, low) = (slot + 1, high);
        }
    }
    found
}

/// The layers as they look from one corner.
struct View<'a> {
    layers: Vec<Vec<u32>>,
    before: &'a Rows,
    at: Vec<u32>,
    from_start: bool,
}

impl<'a> View<'a> {
    fn new(graph: &'a Layered, from_start: bool, from_left: bool) -> Self {
        let mut layers = graph.layers.clone();
        if !from_start {
            layers.reverse();
        }
        if !from_left {
            layers.iter_mut().for_each(|layer| layer.reverse());
        }
        let mut at = vec![0; graph.layer_of.len()];
        for layer in &layers {
            (0u32..).zip(layer).for_each(|(slot, place)| at[*place as usize] = slot);
        }
        let before = if from_start { &graph.before } else { &graph.after };
        Self { layers, before, at, from_start }
    }

    /// What each stands in line with: the first of its block.
    fn blocks(&self, crossing: &HashSet<(u32, u32)>) -> Vec<u32> {
        let mut root: Vec<u32> = (0..self.at.len() as u32).collect();
        let mut is_taken = vec![false; self.at.len()];
        let mut row = Vec::new();
        for layer in &self.layers {
            let mut next = 0;
            for place in layer {
                row.clear();
                row.extend_from_slice(self.before.row(*place));
                row.sort_unstable_by_key(|other| self.at[*other as usize]);
                let Some(last) = row.len().checked_sub(1) else { continue };
                for middle in [last / 2, last.div_ceil(2)] {
                    let other = row[middle];
                    let pair = if self.from_start { (other, *place) } else { (*place, other) };
                    let is_free = !is_taken[other as usize] && self.at[other as usize] >= next;
                    if is_free && root[*place as usize] == *place && !crossing.contains(&pair) {
                        is_taken[other as usize] = true;
                        root[*place as usize] = root[other as usize];
                        next = self.at[other as usize] + 1;
                    }
                }
            }
        }
        root
    }

    /// The blocks side by side, each as far left as it can be, then as near to its right neighbours as they allow.
    fn packed(&self, graph: &Layered, root: &[u32], extent: &[f64], gap: f64) -> Vec<f64> {
        let total = root.len();
        let beside = |pair: &[u32]| (root[pair[0] as usize], root[pair[1] as usize]);
        let pairs = || self.layers.iter().flat_map(|layer| layer.windows(2));
        let right = Rows::new(total, (0u32..).zip(pairs()).map(|(i, pair)| (beside(pair).0, i)));
        let all: Vec<(u32, f64)> =
            pairs().map(|pair| (beside(pair).1, room(graph, pair, extent, gap))).collect();
        let mut open = vec![0u32; total];
        all.iter().for_each(|(block, _)| open[*block as usize] += 1);
        let is_root = |place: &u32| root[*place as usize] == *place;
        let mut order: Vec<u32> =
            (0..total as u32).filter(|place| is_root(place) && open[*place as usize] == 0).collect();
        let mut at = vec![0.0f64; total];
        let mut done = 0;
        while let Some(&block) = order.get(done) {
            done += 1;
            for i in right.row(block) {
                let (other, room) = all[*i as usize];
                let other = other as usize;
                at[other] = at[other].max(at[block as usize] + room);
                open[other] -= 1;
                if open[other] == 0 {
                    order.push(other as u32);
                }
            }
        }
        for block in order.iter().rev() {
            let near = |i: &u32| at[all[*i as usize].0 as usize] - all[*i as usize].1;
            let limit = right.row(*block).iter().map(near).min_by(f64::total_cmp);
            if let Some(limit) = limit {
                at[*block as usize] = at[*block as usize].max(limit);
            }
        }
        root.iter().map(|root| at[*root as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Effort;
    use crate::layout::order::order;

    fn places_of(nodes: usize, edges: &[(u32, u32)]) -> Vec<f64> {
        let mut graph = Layered::new(nodes, edges);
        order(&mut graph, Effort::Full);
        places(&graph, &vec![10.0; graph.layer_of.len()], 2.0)
    }

    #[test]
    fn a_chain_is_straight() {
        assert_eq!(places_of(3, &[(0, 1), (1, 2)]), [5.0; 3]);
    }

    #[test]
    fn a_node_stands_amid_those_that_it_leads_to() {
        assert_eq!(places_of(4, &[(0, 1), (0, 2), (0, 3)]), [17.0, 5.0, 17.0, 29.0]);
        assert_eq!(places_of(4, &[(0, 1), (0, 2), (1, 3), (2, 3)]), [11.0, 5.0, 17.0, 11.0]);
    }

    #[test]
    fn a_long_edge_is_straight_between_its_waypoints() {
        let places = places_of(5, &[(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)]);
        assert_eq!(places[5..], [places[5]; 3]);
    }
}
