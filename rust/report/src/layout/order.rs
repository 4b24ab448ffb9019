//! The order of nodes on their layers, so that few edges cross. Knows no sizes and no places.
//!
//! Layers are swept over, forth and back, and sorted by where their neighbours stand on average (K. Sugiyama, S. Tagawa and
//! M. Toda, "Methods for visual understanding of hierarchical system structures", IEEE Transactions on Systems, Man and
//! Cybernetics 11(2), 1981). Then each node is sifted: it goes to the place on its layer where its edges cross least, both
//! neighbouring layers counted (C. Matuszewski, R. Schönfeld and P. Molitor, "Using sifting for k-layer straightline
//! crossing minimization", Graph Drawing 1999). Last, a few nodes at a time are mixed up where most edges cross; what is
//! around them settles anew, and stays if no more edges cross than before. All that is compared are numbers of crossings,
//! of which one layer or two have changed.
//!
//! Work is measured in steps, not in time: the same graph always gives the same picture.

use super::Effort;
use super::crossings::Counter;
use super::layers::Layered;
use super::rows::Rows;

/// How many sweeps without progress are enough.
const PATIENCE: usize = 6;
/// Sweeps from each beginning, and how many edges they may pass in all.
const MOST_SWEEPS: usize = 16;
const SWEPT_EDGES: usize = 300_000;

/// How much work there is, in steps of about a nanosecond: so much, and more for each node, but no more than leaves most
/// of 50 ms for all the rest.
const WORK: usize = 800_000;
const WORK_OF_NODE: usize = 20_000;
const MOST_WORK: usize = 12_000_000;
/// And for each node and waypoint even of a great many.
const LEAST_WORK: usize = 4_000;
/// The same where little is to be done: of 300 nodes it takes a millisecond, and leaves some 5 % more crossings.
const LITTLE_WORK: usize = 20_000;
const LITTLE_WORK_OF_NODE: usize = 600;
/// So many are mixed up in vain, and more for each node, until there is nothing more to find.
const PATIENCE_MIXING: usize = 500;
const PATIENCE_MIXING_OF_NODE: usize = 8;

/// So many are looked at together when one looks for its place.
const WINDOW: usize = 256;
/// At most so many that stand side by side are mixed up, on each of two layers.
const MOST_MIXED: usize = 13;
/// So many layers settle after that.
const MOST_SETTLED: usize = 40;

/// Orders the layers; returns how many pairs of edges cross.
pub(super) fn order(graph: &mut Layered, effort: Effort) -> u64 {
    let mut work = Work(match effort {
        Effort::Full => {
            let least = graph.layer_of.len() * LEAST_WORK;
            (WORK + graph.nodes * WORK_OF_NODE).min(MOST_WORK) + least
        }
        Effort::Little => LITTLE_WORK + graph.nodes * LITTLE_WORK_OF_NODE,
    });
    let patience = PATIENCE_MIXING + graph.nodes * PATIENCE_MIXING_OF_NODE;
    let mut search = Search::new(graph);
    let mut best = (u64::MAX, Vec::new());
    for forward in [true, false] {
        let walked = search.walked(forward);
        search.stand(walked);
        let settling = &mut Work(work.0 / 3);
        search.sweep(forward);
        search.settle(settling);
        let crossings = search.crossings();
        if crossings < best.0 {
            best = (crossings, search.layers.clone());
        }
        if crossings == 0 {
            break;
        }
    }
    search.stand(best.1);
    let crossings = search.shake(patience, &mut work);
    graph.layers = search.layers;
    crossings
}

/// Steps that are left.
struct Work(usize);

impl Work {
    fn take(&mut self, steps: usize) {
        self.0 = self.0.saturating_sub(steps);
    }

    fn is_done(&self) -> bool {
        self.0 == 0
    }
}

/// Numbers as if by chance, the same each time: the linear congruential generator of D. Knuth's MMIX.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    fn up_to(&mut self, most: usize) -> usize {
        self.below(most as u64 + 1) as usize
    }
}

/// An order, and what is needed to find a better one.
struct Search<'a> {
    before: &'a Rows,
    after: &'a Rows,
    layer_of: &'a [u32],
    layers: Vec<Vec<u32>>,
    /// Where each stands on its layer.
    at: Vec<u32>,
    gains: Gains,
    counter: Counter,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Layered) -> Self {
        Self {
            before: &graph.before,
            after: &graph.after,
            layer_of: &graph.layer_of,
            layers: vec![Vec::new(); graph.layers.len()],
            at: vec![0; graph.layer_of.len()],
            gains: Gains::default(),
            counter: Counter::default(),
        }
    }

    /// The order in which a walk along the edges, or against them, comes by. Of a tree it has no crossings.
    fn walked(&self, forward: bool) -> Vec<Vec<u32>> {
        let total = self.layer_of.len();
        let mut seen = vec![false; total];
        let mut layers: Vec<Vec<u32>> = vec![Vec::new(); self.layers.len()];
        let mut stack = Vec::new();
        let mut starts: Vec<u32> = (0..total as u32).collect();
        starts.sort_by_key(|place| {
            let layer = self.layer_of[*place as usize];
            if forward { layer } else { u32::MAX - layer }
        });
        let next = if forward { self.after } else { self.before };
        for start in starts {
            stack.push(start);
            while let Some(place) = stack.pop() {
                if std::mem::replace(&mut seen[place as usize], true) {
                    continue;
                }
                layers[self.layer_of[place as usize] as usize].push(place);
                stack.extend(next.row(place).iter().rev().filter(|next| !seen[**next as usize]));
            }
        }
        layers
    }

    fn stand(&mut self, layers: Vec<Vec<u32>>) {
        self.layers = layers;
        (0..self.layers.len()).for_each(|layer| self.note(layer));
    }

    /// Keeps in mind where those of a layer stand.
    fn note(&mut self, layer: usize) {
        for (at, place) in (0u32..).zip(&self.layers[layer]) {
            self.at[*place as usize] = at;
        }
    }

    /// Sorts all layers forth and back as long as that helps, and goes back to the best order.
    fn sweep(&mut self, forward: bool) {
        let edges: usize = (0..self.at.len() as u32).map(|place| self.after.row(place).len()).sum();
        let sweeps = (SWEPT_EDGES / (edges + 1)).clamp(4, MOST_SWEEPS);
        let mut best = (u64::MAX, Vec::new());
        let mut idle = 0;
        for sweep in 0..=sweeps {
            let crossings = self.crossings();
            idle += 1;
            if crossings < best.0 {
                best = (crossings, self.layers.clone());
                idle = 0;
            }
            if best.0 == 0 || idle > PATIENCE {
                break;
            }
            if sweep < sweeps {
                self.sort((sweep % 2 == 0) == forward, sweep % 4 < 2);
            }
        }
        self.stand(best.1);
    }

    /// Sorts each layer by its neighbours on the one that was sorted last. What has none keeps its place.
    fn sort(&mut self, forward: bool, ties_swap: bool) {
        let count = self.layers.len();
        let neighbours = if forward { self.before } else { self.after };
        let mut keys: Vec<(f64, u32, u32)> = Vec::new();
        let mut slots = Vec::new();
        for step in 1..count {
            let layer = if forward { step } else { count - 1 - step };
            keys.clear();
            slots.clear();
            for (slot, place) in self.layers[layer].iter().enumerate() {
                let row = neighbours.row(*place);
                if !row.is_empty() {
                    let sum: f64 = row.iter().map(|place| f64::from(self.at[*place as usize])).sum();
                    let at = slot as u32;
                    keys.push((sum / row.len() as f64, if ties_swap { u32::MAX - at } else { at }, *place));
                    slots.push(slot);
                }
            }
            keys.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (slot, (_, _, place)) in slots.iter().zip(&keys) {
                self.layers[layer][*slot] = *place;
            }
            self.note(layer);
        }
    }

    /// Sifts all layers, forth and back, as long as that helps.
    fn settle(&mut self, work: &mut Work) {
        let count = self.layers.len();
        loop {
            let mut gained = 0;
            for layer in (0..count).chain((0..count).rev()) {
                gained += self.sift(layer, work);
                if work.is_done() {
                    return;
                }
            }
            if gained == 0 {
                return;
            }
        }
    }

    /// Moves each of a layer to where it crosses least; returns how many crossings that took away.
    fn sift(&mut self, layer: usize, work: &mut Work) -> u64 {
        let width = self.layers[layer].len();
        let mut gained = 0;
        let mut start = 0;
        while width - start > 1 {
            let end = width.min(start + WINDOW);
            gained += self.sift_window(layer, start, end, work);
            if end == width {
                break;
            }
            start += WINDOW / 2;
        }
        gained
    }

    /// The same among those from one place on the layer to another.
    fn sift_window(&mut self, layer: usize, start: usize, end: usize, work: &mut Work) -> u64 {
        let members = &self.layers[layer][start..end];
        self.gains.of(members, [self.before, self.after], &self.at, work);
        // Members by where they stood at first.
        let mut now: Vec<usize> = (0..members.len()).collect();
        let mut total = 0;
        loop {
            let mut gained = 0;
            work.take(now.len() * now.len());
            for member in 0..now.len() {
                let gains = self.gains.row(member);
                let from = now.iter().position(|other| *other == member).unwrap_or(0);
                let (mut best, mut to, mut sum) = (0, from, 0);
                for (slot, other) in now.iter().enumerate().skip(from + 1) {
                    sum += gains[*other];
                    if sum > best {
                        (best, to) = (sum, slot);
                    }
                }
                sum = 0;
                for slot in (0..from).rev() {
                    sum -= gains[now[slot]];
                    if sum > best {
                        (best, to) = (sum, slot);
                    }
                }
                if to != from {
                    let moved = now.remove(from);
                    now.insert(to, moved);
                    gained += best;
                }
            }
            total += gained;
            if gained == 0 || work.is_done() {
                break;
            }
        }
        if total > 0 {
            let sifted: Vec<u32> = now.iter().map(|slot| members[*slot]).collect();
            self.layers[layer][start..end].copy_from_slice(&sifted);
            self.note(layer);
        }
        total.unsigned_abs()
    }

    /// Mixes up a few at a time, to see whether all settle better; returns how many pairs of edges cross at last.
    fn shake(&mut self, patience: usize, work: &mut Work) -> u64 {
        let gaps = self.layers.len().saturating_sub(1);
        let mut crossings: Vec<u64> = (0..gaps).map(|gap| self.crossings_in(gap)).collect();
        let mut total: u64 = crossings.iter().sum();
        let mut dice = Dice(0x5eed);
        let mut saved = Vec::new();
        let mut idle = 0;
        while total > 0 && idle < patience && !work.is_done() {
            idle += 1;
            // The more edges cross between two layers, the more often these are chosen.
            let mut chosen = dice.below(total);
            let mut gap = 0;
            while chosen >= crossings[gap] {
                chosen -= crossings[gap];
                gap += 1;
            }
            work.take(gap + 100);
            saved.clear();
            for layer in [gap, gap + 1] {
                saved.push((layer, self.layers[layer].clone()));
                self.mix(layer, &mut dice);
            }
            let (first, last) = (gap.saturating_sub(1), (gap + 2).min(gaps));
            let was: u64 = crossings[first..last].iter().sum();
            let is: u64 = (first..last).map(|gap| self.crossings_in(gap)).sum();
            let (gained, first, last) = self.settle_around(first, last, &mut saved, work);
            if was + gained >= is {
                idle = if was + gained > is { 0 } else { idle };
                for (gap, crossings) in crossings.iter_mut().enumerate().take(last).skip(first) {
                    *crossings = self.crossings_in(gap);
                }
                total = total + is - was - gained;
            } else {
                for (layer, members) in saved.drain(..) {
                    self.layers[layer] = members;
                    self.note(layer);
                }
            }
        }
        total
    }

    /// Mixes up some of a layer that stand side by side.
    fn mix(&mut self, layer: usize, dice: &mut Dice) {
        let members = &mut self.layers[layer];
        let width = (2 + dice.up_to(MOST_MIXED - 2)).min(members.len());
        let start = dice.up_to(members.len() - width);
        for slot in (start + 1..start + width).rev() {
            members.swap(slot, start + dice.up_to(slot - start));
        }
        self.note(layer);
    }

    /// Sifts layers from a first to a last, and what is next to one that has changed. Returns how many crossings that took
    /// away, and which layers it came to; how these stood is saved.
    fn settle_around(
        &mut self,
        mut first: usize,
        mut last: usize,
        saved: &mut Vec<(usize, Vec<u32>)>,
        work: &mut Work,
    ) -> (u64, usize, usize) {
        // Whether a layer is to be looked at, those after the first one kept in order.
        let mut is_open = std::collections::BTreeSet::from_iter(first..=last);
        let (mut gained, mut sifted, mut is_back) = (0, 0, false);
        let mut layer = first;
        while sifted < MOST_SETTLED {
            let next =
                if is_back { is_open.range(..=layer).next_back() } else { is_open.range(layer..).next() };
            let Some(next) = next.copied() else {
                if is_open.is_empty() {
                    break;
                }
                is_back = !is_back;
                layer = if is_back { last } else { first };
                continue;
            };
            layer = next;
            is_open.remove(&layer);
            sifted += 1;
            let before = self.layers[layer].clone();
            let by = self.sift(layer, work);
            if by > 0 {
                gained += by;
                if !saved.iter().any(|(known, _)| *known == layer) {
                    saved.push((layer, before));
                }
                let around = layer.saturating_sub(1)..=(layer + 1).min(self.layers.len() - 1);
                (first, last) = (first.min(*around.start()), last.max(*around.end()));
                is_open.extend(around.filter(|other| *other != layer));
            }
        }
        (gained, first, last)
    }

    /// How many pairs of edges cross between a layer and the next one.
    fn crossings_in(&mut self, gap: usize) -> u64 {
        self.counter.crossings(&self.layers[gap], self.layers[gap + 1].len(), self.after, &self.at)
    }

    fn crossings(&mut self) -> u64 {
        (1..self.layers.len()).map(|layer| self.crossings_in(layer - 1)).sum()
    }
}

/// For each two of some that stand side by side: how many crossings it takes away that the first stands behind the second.
#[derive(Default)]
struct Gains {
    width: usize,
    gains: Vec<i64>,
    /// The ends of edges on a neighbouring layer: which member they come from, and where they are.
    ends: Vec<(u32, u32)>,
    /// For one member, by where an edge of another ends: how many ends of its own are right of that, less those left of it.
    beyond: Vec<i64>,
}

impl Gains {
    fn row(&self, member: usize) -> &[i64] {
        &self.gains[member * self.width..(member + 1) * self.width]
    }

    fn of(&mut self, members: &[u32], neighbours: [&Rows; 2], at: &[u32], work: &mut Work) {
        self.width = members.len();
        self.gains.clear();
        self.gains.resize(self.width * self.width, 0);
        for rows in neighbours {
            self.ends.clear();
            let mut range = (u32::MAX, 0);
            for (member, place) in (0u32..).zip(members) {
                for end in rows.row(*place) {
                    let at = at[*end as usize];
                    range = (range.0.min(at), range.1.max(at));
                    self.ends.push((member, at));
                }
            }
            if self.ends.is_empty() {
                continue;
            }
            let span = (range.1 - range.0) as usize + 1;
            work.take(self.width * (self.ends.len() + span));
            self.ends.iter_mut().for_each(|(_, at)| *at -= range.0);
            self.beyond.clear();
            self.beyond.resize(span, 0);
            let mut first = 0;
            while let Some(&(member, at)) = self.ends.get(first) {
                let own = self.ends[first..].iter().take_while(|(other, _)| *other == member).count();
                let gains = &mut self.gains[member as usize * self.width..][..self.width];
                if own == 1 {
                    for (other, end) in &self.ends {
                        gains[*other as usize] += i64::from(at > *end) - i64::from(at < *end);
                    }
                } else {
                    let ends = &mut self.ends[first..first + own];
                    ends.sort_unstable_by_key(|(_, at)| *at);
                    let (mut from, mut beyond) = (0, own as i64);
                    for (_, at) in ends {
                        let at = *at as usize;
                        if at < from {
                            // Two that wait for each other are joined twice.
                            self.beyond[at] -= 1;
                        } else {
                            self.beyond[from..at].fill(beyond);
                            self.beyond[at] = beyond - 1;
                        }
                        (from, beyond) = (at + 1, beyond - 2);
                    }
                    self.beyond[from..].fill(beyond);
                    for (other, end) in &self.ends {
                        gains[*other as usize] += self.beyond[*end as usize];
                    }
                }
                first += own;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(nodes: usize, edges: &[(u32, u32)], expected: u64) {
        assert_eq!(order(&mut Layered::new(nodes, edges), Effort::Full), expected);
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

    #[test]
    fn a_layer_that_is_wider_than_a_window_is_sifted_as_well() {
        let half = WINDOW as u32;
        let edges: Vec<(u32, u32)> = (0..2 * half).map(|node| (node, 2 * half + (node ^ 1))).collect();
        let graph = Layered::new(4 * WINDOW, &edges);
        let mut search = Search::new(&graph);
        search.stand(graph.layers.clone());
        assert_eq!(search.crossings(), u64::from(half));
        assert_eq!(search.sift(1, &mut Work(usize::MAX)), u64::from(half));
        assert_eq!(search.crossings(), 0);
    }

    /// Edges between two layers, and in which order both stand.
    fn two_layers() -> impl Strategy<Value = (Layered, Vec<Vec<u32>>)> {
        let order = |range: std::ops::Range<u32>| Just(range.collect::<Vec<u32>>()).prop_shuffle();
        (prop::collection::btree_set((0u32..8, 8u32..16), 1..40), order(0..8), order(8..16)).prop_map(
            |(edges, first, second)| {
                // All of them are joined, so that they stand on two layers.
                let joined = (0..8).flat_map(|node| [(node, 8), (0, node + 8)]);
                let edges: std::collections::BTreeSet<(u32, u32)> = edges.into_iter().chain(joined).collect();
                let edges: Vec<(u32, u32)> = edges.into_iter().collect();
                (Layered::new(16, &edges), vec![first, second])
            },
        )
    }

    /// As many as there are when all pairs of edges between two layers are looked at, for each two that follow.
    fn by_pairs(graph: &Layered, layers: &[Vec<u32>]) -> u64 {
        let between = |pair: &[Vec<u32>]| -> u64 {
            let slot = |end: &u32| pair[1].iter().position(|place| place == end);
            let places = pair[0].iter().enumerate();
            let edges: Vec<_> =
                places.flat_map(|(at, a)| graph.after.row(*a).iter().map(move |b| (at, slot(b)))).collect();
            let crosses = |one: &(_, _), other: &(_, _)| one.0 < other.0 && one.1 > other.1;
            edges.iter().map(|one| edges.iter().filter(|other| crosses(one, other)).count() as u64).sum()
        };
        layers.windows(2).map(between).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn as_many_crossings_are_counted_as_there_are((graph, layers) in two_layers()) {
            let mut search = Search::new(&graph);
            search.stand(layers.clone());
            prop_assert_eq!(search.crossings(), by_pairs(&graph, &layers));
        }

        #[test]
        fn sifting_takes_away_as_many_crossings_as_it_says((graph, layers) in two_layers()) {
            let mut search = Search::new(&graph);
            search.stand(layers);
            let before = search.crossings();
            let gained = search.sift(1, &mut Work(usize::MAX)) + search.sift(0, &mut Work(usize::MAX));
            prop_assert_eq!(by_pairs(&graph, &search.layers), before - gained);
        }

        #[test]
        fn as_many_cross_in_the_end_as_is_said(seed in any::<u64>()) {
            let mut dice = Dice(seed);
            let mut edge = |node: u32| {
                let from = dice.below(u64::from(node)) as u32;
                (from.max(node.saturating_sub(9)), node)
            };
            let edges: std::collections::BTreeSet<(u32, u32)> =
                (1..40).flat_map(|node| [edge(node), edge(node)]).collect();
            let edges: Vec<_> = edges.into_iter().collect();
            let mut graph = Layered::new(40, &edges);
            let little = order(&mut graph, Effort::Little);
            prop_assert_eq!(by_pairs(&graph, &graph.layers), little);
            let mut graph = Layered::new(40, &edges);
            let crossings = order(&mut graph, Effort::Full);
            prop_assert_eq!(by_pairs(&graph, &graph.layers), crossings);
        }
    }
}
