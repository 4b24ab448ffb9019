//! Which layer each node stands on, so that every edge leads to a later one; and the way of long edges through the
//! layers between. Knows neither order in a layer nor places.

use super::rank;
use super::rows::Rows;

/// So many points may stand for long edges. Edges for which none are left run straight, over whatever is in their way.
const MOST_WAYPOINTS: usize = 200_000;

/// How often nodes are moved nearer to their neighbours.
const TIGHTENINGS: usize = 8;

/// Nodes on layers. Behind the nodes come waypoints: a long edge has one on each layer that it passes.
#[derive(Debug)]
pub(super) struct Layered {
    /// How many of the places are nodes.
    pub(super) nodes: usize,
    /// The layer of each node and waypoint.
    pub(super) layer_of: Vec<u32>,
    /// Those on each layer.
    pub(super) layers: Vec<Vec<u32>>,
    /// The neighbours on the layer before, and on the layer after.
    pub(super) before: Rows,
    pub(super) after: Rows,
    /// What each edge runs through, from its first node to its last.
    pub(super) ways: Vec<Way>,
    /// The first and the last node of the edge of each waypoint.
    ends: Vec<(u32, u32)>,
    /// Of each that leads to one alone, which has nothing else that leads there: that one.
    pairs: Vec<Option<u32>>,
}

/// The way of an edge.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) through: Vec<u32>,
    /// Whether it leads from the edge's second node to its first, because the edge would close a circle.
    pub(super) is_reversed: bool,
}

impl Layered {
    /// Puts nodes onto layers. Edges join different nodes, each two at most once.
    pub(super) fn new(nodes: usize, edges: &[(u32, u32)]) -> Self {
        let (mut layer_of, downward, reversed) = roughly(nodes, edges);
        rank::shorten(&downward, &mut layer_of);
        let count = layer_of.iter().max().map_or(0, |last| *last as usize + 1);

        let span = |edge: &(u32, u32)| (layer_of[edge.1 as usize] - layer_of[edge.0 as usize]) as usize;
        let mut by_span: Vec<usize> = (0..downward.len()).collect();
        by_span.sort_by_key(|edge| span(&downward[*edge]));
        let mut left = MOST_WAYPOINTS;
        let mut is_led = vec![false; downward.len()];
        for edge in by_span {
            let wanted = span(&downward[edge]) - 1;
            if wanted > left {
                break;
            }
            left -= wanted;
            is_led[edge] = true;
        }

        let mut ways = Vec::with_capacity(downward.len());
        let mut ends = Vec::new();
        let mut segments = Vec::with_capacity(downward.len());
        for ((&(from, to), is_led), is_reversed) in downward.iter().zip(is_led).zip(reversed) {
            let mut through = vec![from];
            if is_led {
                for layer in layer_of[from as usize] + 1..layer_of[to as usize] {
                    through.push(layer_of.len() as u32);
                    layer_of.push(layer);
                    ends.push((from, to));
                }
                through.push(to);
                segments.extend(through.windows(2).map(|pair| (pair[0], pair[1])));
            } else {
                through.push(to);
            }
            ways.push(Way { through, is_reversed });
        }
        let total = layer_of.len();
        let mut layers = vec![Vec::new(); count];
        for (place, layer) in (0u32..).zip(&layer_of) {
            layers[*layer as usize].push(place);
        }
        let mut layered = Self {
            nodes,
            before: Rows::new(total, segments.iter().map(|(a, b)| (*b, *a))),
            after: Rows::new(total, segments.iter().copied()),
            layer_of,
            layers,
            ways,
            ends,
            pairs: Vec::new(),
        };
        layered.pairs = layered.pairs();
        layered
    }

    /// What only passes by does not count where two nodes stand side by side.
    fn pairs(&self) -> Vec<Option<u32>> {
        let only = |row: &[u32], of: u32, counts_all: bool| {
            let counts = |other: &u32| counts_all || !self.is_waypoint(*other) || self.is_branch(*other, of);
            let mut counting = row.iter().copied().filter(counts);
            counting.next().filter(|_| counting.next().is_none())
        };
        let total = self.layer_of.len() as u32;
        // Who leads to each alone, by all edges and by those that count.
        let alone = |counts_all: bool| -> Vec<Option<u32>> {
            (0..total).map(|place| only(self.before.row(place), place, counts_all)).collect()
        };
        let (by_all, by_counting) = (alone(true), alone(false));
        let pair = |place: u32| {
            let row = self.after.row(place);
            let strict = only(row, place, true).filter(|next| by_all[*next as usize] == Some(place));
            let nodes = || {
                let next = only(row, place, false).filter(|next| by_counting[*next as usize] == Some(place));
                next.filter(|next| !self.is_waypoint(place) && !self.is_waypoint(*next))
            };
            strict.or_else(nodes)
        };
        (0..total).map(pair).collect()
    }

    /// Whether one of two leads to the other alone, and nothing else leads there.
    pub(super) fn is_pair(&self, a: u32, b: u32) -> bool {
        self.pairs[a as usize] == Some(b) || self.pairs[b as usize] == Some(a)
    }

    pub(super) fn is_waypoint(&self, place: u32) -> bool {
        place as usize >= self.nodes
    }

    /// Whether a long edge from a place on the layer before, or to one on the layer after, is all that its other node has
    /// on that side: then it is a branch, and does not just pass some layers by.
    pub(super) fn is_branch(&self, waypoint: u32, place: u32) -> bool {
        let (first, last) = self.ends[waypoint as usize - self.nodes];
        if self.layer_of[waypoint as usize] > self.layer_of[place as usize] {
            self.before.row(last).len() == 1
        } else {
            self.after.row(first).len() == 1
        }
    }
}

/// The layer that each node may stand on, with edges that are short but for some; the edges as they lead to later layers;
/// and which of them lead backward for that.
pub(super) fn roughly(nodes: usize, edges: &[(u32, u32)]) -> (Vec<u32>, Vec<(u32, u32)>, Vec<bool>) {
    let (order, reversed) = sorted(nodes, edges);
    let downward: Vec<(u32, u32)> =
        edges.iter().zip(&reversed).map(|(&(a, b), back)| if *back { (b, a) } else { (a, b) }).collect();
    (layers_of(nodes, &downward, &order), downward, reversed)
}

/// The nodes in an order in which edges lead forward, and which edges do not: those that would close a circle.
fn sorted(nodes: usize, edges: &[(u32, u32)]) -> (Vec<u32>, Vec<bool>) {
    let leaving = Rows::new(nodes, (0u32..).zip(edges).map(|(edge, (from, _))| (*from, edge)));
    let mut unmet = vec![0u32; nodes];
    edges.iter().for_each(|(_, to)| unmet[*to as usize] += 1);
    let mut order: Vec<u32> = (0u32..).zip(&unmet).filter(|(_, n)| **n == 0).map(|(node, _)| node).collect();
    let mut place = vec![u32::MAX; nodes];
    order.iter().for_each(|node| place[*node as usize] = 0);
    let (mut done, mut stuck) = (0, 0);
    loop {
        while let Some(&node) = order.get(done) {
            place[node as usize] = done as u32;
            done += 1;
            for edge in leaving.row(node) {
                let to = edges[*edge as usize].1;
                unmet[to as usize] = unmet[to as usize].saturating_sub(1);
                if unmet[to as usize] == 0 && place[to as usize] == u32::MAX {
                    place[to as usize] = 0;
                    order.push(to);
                }
            }
        }
        // What is left waits for itself: the first of them goes ahead.
        while place.get(stuck).is_some_and(|place| *place != u32::MAX) {
            stuck += 1;
        }
        if stuck == nodes {
            break;
        }
        place[stuck] = 0;
        order.push(stuck as u32);
    }
    let reversed = edges.iter().map(|(from, to)| place[*from as usize] > place[*to as usize]).collect();
    (order, reversed)
}

/// The layer of each node: as early as it can be, then as late as makes edges shorter in all.
fn layers_of(nodes: usize, edges: &[(u32, u32)], order: &[u32]) -> Vec<u32> {
    let after = Rows::new(nodes, edges.iter().copied());
    let before = Rows::new(nodes, edges.iter().map(|(a, b)| (*b, *a)));
    let mut layer_of = vec![0u32; nodes];
    for node in order {
        let layer = before.row(*node).iter().map(|need| layer_of[*need as usize] + 1).max();
        layer_of[*node as usize] = layer.unwrap_or(0);
    }
    for _ in 0..TIGHTENINGS {
        let mut has_moved = false;
        for node in order.iter().rev() {
            let (needs, users) = (before.row(*node).len(), after.row(*node).len());
            let next = after.row(*node).iter().map(|user| layer_of[*user as usize] - 1).min();
            if let Some(next) = next.filter(|next| users > needs && *next != layer_of[*node as usize]) {
                layer_of[*node as usize] = next;
                has_moved = true;
            }
        }
        for node in order {
            let (needs, users) = (before.row(*node).len(), after.row(*node).len());
            let last = before.row(*node).iter().map(|need| layer_of[*need as usize] + 1).max();
            if let Some(last) = last.filter(|last| needs > users && *last != layer_of[*node as usize]) {
                layer_of[*node as usize] = last;
                has_moved = true;
            }
        }
        if !has_moved {
            break;
        }
    }
    let first = layer_of.iter().min().copied().unwrap_or(0);
    layer_of.iter_mut().for_each(|layer| *layer -= first);
    layer_of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(nodes: usize, edges: &[(u32, u32)], expected: &[u32]) {
        assert_eq!(Layered::new(nodes, edges).layer_of[..nodes], *expected);
    }

    #[test]
    fn a_node_stands_behind_all_that_it_needs() {
        check(4, &[(0, 1), (0, 2), (1, 3), (2, 3)], &[0, 1, 1, 2]);
        check(4, &[(0, 1), (1, 2), (0, 2), (2, 3)], &[0, 1, 2, 3]);
    }

    #[test]
    fn a_node_that_needs_nothing_stands_right_before_its_first_user() {
        check(4, &[(0, 1), (1, 2), (3, 2)], &[0, 1, 2, 1]);
    }

    #[test]
    fn nodes_move_together_where_one_alone_wins_nothing() {
        let chain = [(0, 1), (1, 2), (2, 3), (3, 4), (3, 8)];
        let branch = [(5, 7), (6, 7), (7, 4), (7, 8)];
        check(9, &[chain.as_slice(), branch.as_slice()].concat(), &[0, 1, 2, 3, 4, 2, 2, 3, 4]);
    }

    #[test]
    fn a_long_edge_has_a_waypoint_on_each_layer_that_it_passes() {
        let layered = Layered::new(4, &[(0, 1), (1, 2), (2, 3), (0, 3)]);
        assert_eq!(layered.ways[3].through, [0, 4, 5, 3]);
        assert_eq!(layered.layer_of, [0, 1, 2, 3, 1, 2]);
        assert_eq!((layered.before.row(3), layered.after.row(0)), (&[2, 5][..], &[1, 4][..]));
    }

    #[test]
    fn a_circle_is_broken_where_it_is_met_first() {
        let layered = Layered::new(3, &[(0, 1), (1, 2), (2, 0)]);
        let back: Vec<bool> = layered.ways.iter().map(|way| way.is_reversed).collect();
        assert_eq!((&layered.layer_of[..3], back), (&[0, 1, 2][..], vec![false, false, true]));
    }
}
