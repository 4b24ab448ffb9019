//! Lines of nodes and waypoints that are to be straight, and how hard each is drawn where. Knows no layer's order but the
//! one that is given.

use super::layers::Layered;

/// How much room there is between the middles of two that stand side by side.
pub(super) fn room(graph: &Layered, pair: &[u32], extent: &[f64], gap: f64) -> f64 {
    // Long edges that run side by side need less room than nodes.
    let narrow = pair.iter().filter(|place| graph.is_waypoint(**place)).count();
    (extent[pair[0] as usize] + extent[pair[1] as usize]) / 2.0 + gap * [1.0, 0.8, 0.5][narrow]
}

/// How hard one is drawn to a neighbour. Long edges are drawn hardest along themselves, so that they stay straight, and go
/// around nodes rather than that nodes go to them.
pub(super) fn strength(graph: &Layered, place: u32, other: u32) -> f64 {
    match (graph.is_waypoint(place), graph.is_waypoint(other)) {
        (true, true) => 12.0,
        _ if graph.is_pair(place, other) => 12.0,
        (true, false) => 2.0,
        (false, false) => 1.0,
        (false, true) if graph.is_branch(other, place) => 1.0,
        (false, true) => 0.5,
    }
}

/// How often lines are made straight, at most: one that gives way leaves room to others.
const ROUNDS: usize = 16;
/// In so many of these, long edges give way to lines of nodes.
const ROUNDS_OF_PUSHING: usize = 10;

/// In no line.
const NONE: u32 = u32::MAX;

/// Puts what follows each other like a chain into one line, or into as few as there can be with what is in the way: bends
/// read badly, and small ones look like mistakes.
pub(super) fn straighten(graph: &Layered, extent: &[f64], gap: f64, at: &mut [f64]) {
    let mut slot_of = vec![0; at.len()];
    for layer in &graph.layers {
        layer.iter().enumerate().for_each(|(slot, place)| slot_of[*place as usize] = slot);
    }
    let mut picture = Picture { graph, extent, gap, slot_of, at };
    for round in 0..ROUNDS {
        if picture.straighten(round < ROUNDS_OF_PUSHING) < 0.5 && round >= ROUNDS_OF_PUSHING {
            break;
        }
    }
}

/// Where everything stands.
struct Picture<'a> {
    graph: &'a Layered,
    extent: &'a [f64],
    gap: f64,
    slot_of: Vec<usize>,
    at: &'a mut [f64],
}

impl Picture<'_> {
    /// Makes each line straight once; returns how far the farthest was moved.
    fn straighten(&mut self, pushes: bool) -> f64 {
        let graph = self.graph;
        let mut farthest = 0.0f64;
        let mut line_of = vec![NONE; self.at.len()];
        let mut line = Vec::new();
        for (number, first) in (0u32..).zip(graph.layers.iter().flatten()) {
            if line_of[*first as usize] != NONE {
                continue;
            }
            line.clear();
            let mut next = Some(*first);
            while let Some(place) = next {
                line_of[place as usize] = number;
                line.push(place);
                next = next_in_line(graph, place, self.gap, self.at, &line_of);
            }
            let pushes = pushes && line.iter().any(|place| !graph.is_waypoint(*place));
            let mut straight: Vec<(f64, f64, usize)> = Vec::new();
            for place in &line {
                let (low, high) = (self.end(*place, -1, pushes), self.end(*place, 1, pushes));
                match straight.last_mut() {
                    Some(now) if now.0.max(low) <= now.1.min(high) => {
                        *now = (now.0.max(low), now.1.min(high), now.2 + 1);
                    }
                    _ => straight.push((low, high, 1)),
                }
            }
            let mut rest = &line[..];
            for (low, high, count) in straight {
                let (now, others) = rest.split_at(count);
                rest = others;
                if (count == 1 && !graph.is_waypoint(now[0])) || low > high {
                    continue;
                }
                let to = self.wanted(now).clamp(low, high);
                for place in now {
                    farthest = farthest.max((self.at[*place as usize] - to).abs());
                    self.at[*place as usize] = to;
                    if pushes {
                        self.push(*place, -1);
                        self.push(*place, 1);
                    }
                }
            }
        }
        farthest
    }

    /// What stands beside one on its layer, one step after the other, and how much room there has to be in between.
    fn beside(&self, place: u32, step: isize) -> impl Iterator<Item = (u32, f64)> {
        let layer = &self.graph.layers[self.graph.layer_of[place as usize] as usize];
        let mut slot = self.slot_of[place as usize];
        let mut away = 0.0;
        std::iter::from_fn(move || {
            let next = slot.checked_add_signed(step).filter(|next| *next < layer.len())?;
            let pair = &layer[slot.min(next)..=slot.max(next)];
            away += room(self.graph, pair, self.extent, self.gap);
            slot = next;
            Some((layer[next], away))
        })
    }

    /// How far one may go to one side: to what stands there, or, where it pushes them, to what is behind long edges.
    fn end(&self, place: u32, step: isize, pushes: bool) -> f64 {
        let side = step as f64;
        let stops = |other: &(u32, f64)| !(pushes && self.graph.is_waypoint(other.0));
        let stop = self.beside(place, step).find(stops);
        stop.map_or(f64::MAX * side, |(other, away)| self.at[other as usize] - side * away)
    }

    /// Moves long edges out of the way.
    fn push(&mut self, place: u32, step: isize) {
        let (side, from) = (step as f64, self.at[place as usize]);
        let is_near = |(other, away): &(u32, f64)| {
            self.graph.is_waypoint(*other) && (self.at[*other as usize] - from) * side < *away
        };
        let near: Vec<(u32, f64)> = self.beside(place, step).take_while(is_near).collect();
        near.into_iter().for_each(|(other, away)| self.at[other as usize] = from + side * away);
    }

    /// Where a line is drawn to by all that it is joined with.
    fn wanted(&self, line: &[u32]) -> f64 {
        let graph = self.graph;
        let (mut pull, mut weight) = (0.0, 0.0);
        for (step, place) in line.iter().enumerate() {
            // Of a line, each is joined with the one before it and the one behind it.
            let inner = [step.checked_sub(1).map(|before| line[before]), line.get(step + 1).copied()];
            for other in graph.before.row(*place).iter().chain(graph.after.row(*place)) {
                if !inner.contains(&Some(*other)) {
                    let strength = strength(graph, *place, *other);
                    pull += strength * self.at[*other as usize];
                    weight += strength;
                }
            }
        }
        let mean = || line.iter().map(|place| self.at[*place as usize]).sum::<f64>() / line.len() as f64;
        if weight > 0.0 { pull / weight } else { mean() }
    }
}

/// A bend that is smaller than this is one that nobody wants; in the room between two nodes.
const SMALL_BEND: f64 = 0.8;

/// What is to stand in line with a place on the layer before.
fn next_in_line(graph: &Layered, place: u32, gap: f64, at: &[f64], line_of: &[u32]) -> Option<u32> {
    let free = || graph.after.row(place).iter().copied().filter(|next| line_of[*next as usize] == NONE);
    let joins =
        |next: &u32| graph.is_pair(place, *next) || (graph.is_waypoint(place) && graph.is_waypoint(*next));
    let bend = |next: &u32| (at[*next as usize] - at[place as usize]).abs();
    let nearest =
        || free().min_by(|a, b| bend(a).total_cmp(&bend(b))).filter(|next| bend(next) < gap * SMALL_BEND);
    free().find(joins).or_else(nearest)
}
