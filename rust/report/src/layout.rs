//! Where the nodes of a graph stand in a picture, and how its edges run: on layers, with few crossings.
//!
//! Sizes come in, places come out. It knows nothing of tasks and how they stand: as long as a run's graph stays the same, so
//! does its picture. The same graph always gives the same layout, and nothing here recurses.

mod rows;
mod rank;
mod layers;
mod crossings;
mod order;
mod lines;
mod place;
mod pack;

use layers::Layered;
use std::collections::HashMap;

/// A place in the picture, from its upper left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Down.
    pub y: f64,
}

/// How large something is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Size {
    /// From left to right.
    pub width: f64,
    /// From top to bottom.
    pub height: f64,
}

/// Where something is and how large.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Area {
    /// Its upper left corner.
    pub at: Point,
    /// Its size.
    pub size: Size,
}

/// Where edges lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the right: layers are columns.
    Right,
    /// Down: layers are rows.
    Down,
}

/// What is to be drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// How large each node is; of one that holds others, how large it is at least.
    pub sizes: Vec<Size>,
    /// The node that each one stands in. It comes before what stands in it.
    pub inside: Vec<Option<u32>>,
    /// Pairs of nodes. An edge between nodes that stand in different ones joins those.
    pub edges: Vec<(u32, u32)>,
}

/// How much room is left.
#[derive(Clone, Copy, Debug)]
pub struct Spacing {
    /// Between nodes of a layer.
    pub nodes: f64,
    /// Between layers.
    pub layers: f64,
    /// Around what stands in a node.
    pub padding: f64,
    /// Above what stands in a node, for its heading.
    pub heading: f64,
}

/// How much is done for a picture with few crossings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// What one is worth that is kept: milliseconds for a hundred nodes, and for a great many no more than most of 50.
    Full,
    /// What one is worth that is soon replaced, while something else wants the processor: a millisecond for 300 nodes.
    Little,
}

/// The picture.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// How large it is in all.
    pub size: Size,
    /// Where each node is.
    pub nodes: Vec<Area>,
    /// How edges run: each joins the two nodes once, whatever other edges say the same.
    pub routes: Vec<Route>,
    /// How many pairs of routes cross.
    pub crossings: u64,
}

/// How an edge runs. From each even point to the next one it is straight, along the direction of the picture; from each
/// odd point to the next one it turns.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The node that it leaves.
    pub from: u32,
    /// The node that it comes to.
    pub to: u32,
    /// Points on it: an even number.
    pub points: Vec<Point>,
}

/// Finds a place for everything.
pub fn layout(graph: &Graph, direction: Direction, spacing: Spacing) -> Layout {
    Ordered::new(graph, Effort::Full).layout(direction, spacing)
}

/// A graph whose nodes have their layers and their order on them, which is most of the work. Neither depends on sizes and
/// direction.
pub struct Ordered<'a> {
    graph: &'a Graph,
    /// What stands in each node; last, what stands in none.
    groups: Vec<Group>,
}

/// Nodes that stand side by side.
#[derive(Default)]
struct Group {
    members: Vec<u32>,
    /// Those that edges join.
    parts: Vec<Part>,
    /// Those without edges.
    alone: Vec<u32>,
}

/// Nodes that edges join, directly or by others.
struct Part {
    nodes: Vec<u32>,
    edges: Vec<(u32, u32)>,
    layered: Layered,
    crossings: u64,
}

impl<'a> Ordered<'a> {
    /// Finds layers, and an order with few crossings on each of them.
    pub fn new(graph: &'a Graph, effort: Effort) -> Self {
        let nodes = graph.sizes.len();
        let mut groups: Vec<Group> = std::iter::repeat_with(Group::default).take(nodes + 1).collect();
        let mut depth = vec![0u32; nodes];
        for (node, inside) in (0u32..).zip(&graph.inside) {
            groups[inside.map_or(nodes, |outer| outer as usize)].members.push(node);
            depth[node as usize] = inside.map_or(0, |outer| depth[outer as usize] + 1);
        }
        let mut edges_in: Vec<Vec<(u32, u32)>> = vec![Vec::new(); nodes + 1];
        let mut seen = std::collections::HashSet::new();
        for edge in &graph.edges {
            let lifted = side_by_side(*edge, &graph.inside, &depth);
            if let Some(edge) = lifted.filter(|edge| seen.insert(*edge)) {
                let outer = graph.inside[edge.0 as usize].map_or(nodes, |outer| outer as usize);
                edges_in[outer].push(edge);
            }
        }
        for (group, edges) in groups.iter_mut().zip(edges_in) {
            for (nodes, edges) in connected(&group.members, &edges) {
                if nodes.len() == 1 {
                    group.alone.extend(nodes);
                } else {
                    group.parts.push(Part::new(nodes, edges, effort));
                }
            }
        }
        Self { graph, groups }
    }

    /// Finds a place for everything.
    pub fn layout(&self, direction: Direction, spacing: Spacing) -> Layout {
        let nodes = self.graph.sizes.len();
        let mut sizes = self.graph.sizes.clone();
        let mut at = vec![Point::default(); nodes];
        let mut routes = Vec::new();
        // What stands in a node comes after it: from the last to the first, sizes are known when they are needed.
        for node in (0..nodes).rev().filter(|node| !self.groups[*node].members.is_empty()) {
            let group = &self.groups[node];
            let inner = group.place(&sizes, direction, spacing, &mut at);
            let least = sizes[node];
            let width = inner.size.width + 2.0 * spacing.padding;
            sizes[node].width = width.max(least.width);
            sizes[node].height = (inner.size.height + spacing.padding + spacing.heading.max(spacing.padding))
                .max(least.height);
            let shift = Point {
                x: (sizes[node].width - inner.size.width) / 2.0,
                y: spacing.heading.max(spacing.padding),
            };
            group.members.iter().for_each(|member| at[*member as usize].move_by(shift));
            routes.push((Some(node), inner.routes, shift));
        }
        let outer = self.groups[nodes].place(&sizes, direction, spacing, &mut at);
        let parts = self.groups.iter().flat_map(|group| &group.parts);
        let crossings = parts.map(|part| part.crossings).sum();
        let mut out = Layout { size: outer.size, crossings, ..Layout::default() };
        routes.push((None, outer.routes, Point::default()));
        // Places so far are those in the node around: from the first to the last, that one's is known.
        for node in 0..nodes {
            if let Some(outer) = self.graph.inside[node] {
                let shift = at[outer as usize];
                at[node].move_by(shift);
            }
        }
        for (node, mut inner, shift) in routes.into_iter().rev() {
            let mut all = shift;
            all.move_by(node.map_or(Point::default(), |node| at[node]));
            inner.iter_mut().flat_map(|route| &mut route.points).for_each(|point| point.move_by(all));
            out.routes.extend(inner);
        }
        out.nodes = at.into_iter().zip(sizes).map(|(at, size)| Area { at, size }).collect();
        out
    }
}

impl Point {
    fn move_by(&mut self, by: Self) {
        self.x += by.x;
        self.y += by.y;
    }
}

/// The nodes around the two ends of an edge that stand in the same one; `None` where that is one node.
fn side_by_side(edge: (u32, u32), inside: &[Option<u32>], depth: &[u32]) -> Option<(u32, u32)> {
    let (mut a, mut b) = edge;
    loop {
        if a == b {
            return None;
        }
        let (outer_a, outer_b) = (inside[a as usize], inside[b as usize]);
        if outer_a == outer_b {
            return Some((a, b));
        }
        let (deep_a, deep_b) = (depth[a as usize], depth[b as usize]);
        if deep_a >= deep_b {
            a = outer_a?;
        }
        if deep_b >= deep_a {
            b = outer_b?;
        }
    }
}

/// What stands in one node, from its own upper left corner.
#[derive(Default)]
struct Inner {
    size: Size,
    routes: Vec<Route>,
}

impl Group {
    /// Places nodes that stand side by side.
    fn place(&self, sizes: &[Size], direction: Direction, spacing: Spacing, at: &mut [Point]) -> Inner {
        let mut inners: Vec<(&[u32], Inner)> = Vec::with_capacity(self.parts.len() + 1);
        for part in &self.parts {
            inners.push((&part.nodes, part.place(sizes, direction, spacing, at)));
        }
        if !self.alone.is_empty() {
            let of_alone: Vec<Size> = self.alone.iter().map(|node| sizes[*node as usize]).collect();
            let has_large = of_alone.iter().any(|size| *size != of_alone[0]);
            let (places, size) = if has_large {
                pack::rows(&of_alone, spacing.nodes)
            } else {
                pack::grid(&of_alone, spacing.nodes)
            };
            self.alone.iter().zip(places).for_each(|(node, place)| at[*node as usize] = place);
            inners.push((&self.alone, Inner { size, routes: Vec::new() }));
        }
        let inner_sizes: Vec<Size> = inners.iter().map(|(_, inner)| inner.size).collect();
        let (places, size) = pack::rows(&inner_sizes, spacing.nodes * 2.0);
        let mut whole = Inner { size, routes: Vec::new() };
        for ((nodes, mut inner), place) in inners.into_iter().zip(places) {
            nodes.iter().for_each(|node| at[*node as usize].move_by(place));
            inner
                .routes
                .iter_mut()
                .flat_map(|route| &mut route.points)
                .for_each(|point| point.move_by(place));
            whole.routes.append(&mut inner.routes);
        }
        whole
    }
}

/// Nodes, and the edges that join them.
type Connected = (Vec<u32>, Vec<(u32, u32)>);

/// Nodes with their edges, as parts that no edge joins, by their first nodes.
fn connected(members: &[u32], edges: &[(u32, u32)]) -> Vec<Connected> {
    let places: HashMap<u32, usize> = members.iter().zip(0..).map(|(node, place)| (*node, place)).collect();
    let mut leader: Vec<usize> = (0..members.len()).collect();
    fn find(leader: &mut [usize], mut place: usize) -> usize {
        while leader[place] != place {
            leader[place] = leader[leader[place]];
            place = leader[place];
        }
        place
    }
    for (from, to) in edges {
        let (a, b) = (find(&mut leader, places[from]), find(&mut leader, places[to]));
        leader[a.max(b)] = a.min(b);
    }
    let mut number: HashMap<usize, usize> = HashMap::new();
    let mut parts: Vec<Connected> = Vec::new();
    for (place, node) in members.iter().enumerate() {
        let part = *number.entry(find(&mut leader, place)).or_insert_with(|| {
            parts.push(Default::default());
            parts.len() - 1
        });
        parts[part].0.push(*node);
    }
    for edge in edges {
        let part = number[&find(&mut leader, places[&edge.0])];
        parts[part].1.push(*edge);
    }
    parts
}

impl Part {
    fn new(nodes: Vec<u32>, edges: Vec<(u32, u32)>, effort: Effort) -> Self {
        let places: HashMap<u32, u32> = nodes.iter().zip(0..).map(|(node, place)| (*node, place)).collect();
        let local: Vec<(u32, u32)> = edges.iter().map(|(from, to)| (places[from], places[to])).collect();
        let mut layered = Layered::new(nodes.len(), &local);
        let crossings = order::order(&mut layered, effort);
        Self { nodes, edges, layered, crossings }
    }

    /// Places nodes on their layers, and edges between.
    fn place(&self, sizes: &[Size], direction: Direction, spacing: Spacing, at: &mut [Point]) -> Inner {
        // Here layers follow each other along one axis, and nodes of a layer across it, whatever the direction.
        let turned = |point: Point| match direction {
            Direction::Right => point,
            Direction::Down => Point { x: point.y, y: point.x },
        };
        let graph = &self.layered;
        let size_of = |place: u32| match self.nodes.get(place as usize).map(|node| sizes[*node as usize]) {
            Some(size) => turned(Point { x: size.width, y: size.height }),
            None => Point::default(),
        };
        let extents: Vec<Point> = (0..graph.layer_of.len() as u32).map(size_of).collect();
        let across: Vec<f64> = extents.iter().map(|extent| extent.y).collect();
        let middles = place::places(graph, &across, spacing.nodes);

        let layers = columns(graph, &extents, &middles, spacing);
        let mut inner = Inner::default();
        let (mut along, mut high) = (0.0f64, 0.0f64);
        for (place, node) in self.nodes.iter().enumerate() {
            let (start, end) = layers[graph.layer_of[place] as usize];
            let point = Point {
                x: f64::midpoint(start, end) - extents[place].x / 2.0,
                y: middles[place] - across[place] / 2.0,
            };
            (along, high) = (along.max(end), high.max(point.y + across[place]));
            at[*node as usize] = turned(point);
        }
        high = middles.iter().fold(high, |high, middle| high.max(*middle));
        let whole = turned(Point { x: along, y: high });
        inner.size = Size { width: whole.x, height: whole.y };
        for ((from, to), way) in self.edges.iter().zip(&graph.ways) {
            let last = way.through.len() - 1;
            let mut points = Vec::with_capacity(way.through.len() * 2);
            for (step, place) in way.through.iter().enumerate() {
                let (start, end) = layers[graph.layer_of[*place as usize] as usize];
                let (y, half) = (middles[*place as usize], extents[*place as usize].x / 2.0);
                let middle = f64::midpoint(start, end);
                if step > 0 {
                    points.push(Point { x: start, y });
                }
                match step {
                    0 => points.extend([Point { x: middle + half, y }, Point { x: end, y }]),
                    step if step == last => points.push(Point { x: middle - half, y }),
                    _ => points.push(Point { x: end, y }),
                }
            }
            let mut points: Vec<Point> = points.into_iter().map(turned).collect();
            if way.is_reversed {
                points.reverse();
            }
            inner.routes.push(Route { from: *from, to: *to, points });
        }
        inner
    }
}

/// Where each layer begins and ends. The farther edges have to go across, the more room is left for that.
fn columns(graph: &Layered, extents: &[Point], middles: &[f64], spacing: Spacing) -> Vec<(f64, f64)> {
    let mut columns = Vec::with_capacity(graph.layers.len());
    let mut start = 0.0;
    for layer in &graph.layers {
        let width = layer.iter().fold(0.0f64, |width, place| width.max(extents[*place as usize].x));
        columns.push((start, start + width));
        let mut steepest = 0.0f64;
        for place in layer {
            for next in graph.after.row(*place) {
                steepest = steepest.max((middles[*next as usize] - middles[*place as usize]).abs());
            }
        }
        start += width + (spacing.layers).max((steepest / 6.0).min(spacing.layers * 2.5));
    }
    columns
}

/// The layer that each node could stand on, without any that hold others. Some edges may be longer than in a picture.
pub fn layers(nodes: usize, edges: &[(u32, u32)]) -> Vec<u32> {
    layers::roughly(nodes, edges).0
}
