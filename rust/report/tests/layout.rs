//! Layouts of graphs nobody thought of, and of such as are known to be hard.

mod made;

use dirigent_report::layout::{
    Area, Direction, Effort, Graph, Layout, Ordered, Point, Size, Spacing, layout,
};
use proptest::prelude::*;

const SPACING: Spacing = Spacing { nodes: 10.0, layers: 30.0, padding: 8.0, heading: 20.0 };

fn flat(count: usize, edges: Vec<(u32, u32)>) -> Graph {
    Graph { sizes: vec![Size { width: 100.0, height: 30.0 }; count], inside: vec![None; count], edges }
}

/// Some nodes, some of them in others, and edges that mostly lead forward.
fn graphs() -> impl Strategy<Value = Graph> {
    (1usize..40).prop_flat_map(|count| {
        let sizes = prop::collection::vec((20.0f64..200.0, 20.0f64..60.0), count);
        let inside = prop::collection::vec(prop::option::weighted(0.3, any::<prop::sample::Index>()), count);
        let edges = prop::collection::vec((0..count as u32, 0..count as u32), 0..80);
        (sizes, inside, edges).prop_map(|(sizes, inside, edges)| Graph {
            sizes: sizes.into_iter().map(|(width, height)| Size { width, height }).collect(),
            inside: inside
                .into_iter()
                .enumerate()
                .map(|(node, outer)| outer.filter(|_| node > 0).map(|outer| outer.index(node) as u32))
                .collect(),
            edges: edges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect(),
        })
    })
}

fn ends(area: &Area) -> [f64; 4] {
    [area.at.x, area.at.y, area.at.x + area.size.width, area.at.y + area.size.height]
}

fn overlap(a: &Area, b: &Area) -> bool {
    let ([left, top, right, bottom], [other_left, other_top, other_right, other_bottom]) = (ends(a), ends(b));
    left < other_right - 0.01
        && other_left < right - 0.01
        && top < other_bottom - 0.01
        && other_top < bottom - 0.01
}

fn is_within(inner: &Area, outer: &Area) -> bool {
    let ([left, top, right, bottom], [out_left, out_top, out_right, out_bottom]) = (ends(inner), ends(outer));
    left >= out_left - 0.01
        && top >= out_top - 0.01
        && right <= out_right + 0.01
        && bottom <= out_bottom + 0.01
}

fn is_around(mut node: u32, outer: u32, graph: &Graph) -> bool {
    while let Some(next) = graph.inside[node as usize] {
        if next == outer {
            return true;
        }
        node = next;
    }
    false
}

/// How many pairs of routes are seen to cross: between two layers, one starts above the other and ends below it.
fn crossings_seen(graph: &Graph, picture: &Layout) -> u64 {
    let mut turns = Vec::new();
    for route in &picture.routes {
        for pair in route.points[1..route.points.len() - 1].chunks(2) {
            let [a, b] = if pair[0].x < pair[1].x { [pair[0], pair[1]] } else { [pair[1], pair[0]] };
            turns.push((graph.inside[route.from as usize], a, b));
        }
    }
    let crosses = |(frame, a, b): &(Option<u32>, Point, Point),
                   (other, c, d): &(Option<u32>, Point, Point)| {
        let side_by_side = frame == other && (a.x - c.x).abs() < 0.01 && (b.x - d.x).abs() < 0.01;
        side_by_side && a.y < c.y - 0.01 && b.y > d.y + 0.01
    };
    turns.iter().map(|one| turns.iter().filter(|other| crosses(one, other)).count() as u64).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_overlaps_and_what_stands_in_something_stays_there(graph in graphs(), down: bool) {
        let direction = if down { Direction::Down } else { Direction::Right };
        let picture = layout(&graph, direction, SPACING);
        let page = Area { at: Default::default(), size: picture.size };
        for (node, area) in (0u32..).zip(&picture.nodes) {
            prop_assert!(is_within(area, &page), "{node} at {area:?} is outside {page:?}");
            if let Some(outer) = graph.inside[node as usize] {
                prop_assert!(is_within(area, &picture.nodes[outer as usize]), "{node} left {outer}");
            }
            for (other, its_area) in (0u32..).zip(&picture.nodes).take(node as usize) {
                let is_apart = !is_around(node, other, &graph);
                prop_assert!(!(is_apart && overlap(area, its_area)), "{node} {area:?} and {other} {its_area:?}");
            }
        }
    }

    #[test]
    fn edges_lead_forward_from_node_to_node(graph in graphs()) {
        let is_nested = graph.inside.iter().any(Option::is_some);
        let picture = layout(&graph, Direction::Right, SPACING);
        for route in &picture.routes {
            let (from, to) = (&picture.nodes[route.from as usize], &picture.nodes[route.to as usize]);
            let (first, last) = (route.points[0], route.points[route.points.len() - 1]);
            prop_assert!(route.points.len() % 2 == 0);
            for (point, area) in [(first, from), (last, to)] {
                let [left, top, right, bottom] = ends(area);
                let is_at_side = (point.x - left).abs() < 0.01 || (point.x - right).abs() < 0.01;
                prop_assert!(is_at_side && point.y > top && point.y < bottom, "{route:?} misses {area:?}");
            }
            // Parts of different wholes may wait for each other both ways: then one edge has to lead back.
            let is_forward = ends(from)[2] <= ends(to)[0];
            prop_assert!(is_forward || is_nested, "{route:?}");
            if is_forward {
                prop_assert!((first.x - ends(from)[2]).abs() < 0.01 && (last.x - ends(to)[0]).abs() < 0.01);
                prop_assert!(route.points.windows(2).all(|pair| pair[0].x <= pair[1].x + 0.01), "{route:?}");
            }
        }
    }

    #[test]
    fn as_many_edges_cross_as_are_counted(graph in graphs()) {
        let picture = layout(&graph, Direction::Right, SPACING);
        prop_assert_eq!(crossings_seen(&graph, &picture), picture.crossings);
    }

    #[test]
    fn what_is_added_to_a_frame_changes_no_order_around_it(graph in graphs(), frame: prop::sample::Index) {
        let frame = frame.index(graph.sizes.len()) as u32;
        let mut grown = graph.clone();
        for _ in 0..3 {
            grown.sizes.push(Size { width: 100.0, height: 30.0 });
            grown.inside.push(Some(frame));
        }
        let (first, then) = (Ordered::new(&graph, Effort::Full), Ordered::new(&grown, Effort::Full));
        let (first, then) =
            (first.layout(Direction::Right, SPACING), then.layout(Direction::Right, SPACING));
        prop_assert_eq!(first.crossings, then.crossings);
        let is_above = |picture: &Layout, a: usize, b: usize| picture.nodes[a].at.y < picture.nodes[b].at.y;
        for route in &first.routes {
            for other in first.routes.iter().filter(|other| other.from == route.from) {
                let (a, b) = (route.to as usize, other.to as usize);
                let on_one_layer = |picture: &Layout| {
                    let middle = |node: usize| picture.nodes[node].at.x + picture.nodes[node].size.width / 2.0;
                    (middle(a) - middle(b)).abs() < 0.01
                };
                if on_one_layer(&first) {
                    prop_assert_eq!(is_above(&first, a, b), is_above(&then, a, b), "{} and {}", a, b);
                }
            }
        }
    }

    #[test]
    fn the_same_graph_always_looks_the_same(graph in graphs()) {
        let all = |picture: &Layout| format!("{picture:?}");
        prop_assert_eq!(
            all(&layout(&graph, Direction::Down, SPACING)),
            all(&layout(&graph, Direction::Down, SPACING))
        );
    }
}

#[test]
fn long_edges_run_around_nodes() {
    for seed in 0..8 {
        let graph = flat(60, made::layered(60, seed));
        let picture = layout(&graph, Direction::Right, SPACING);
        for route in &picture.routes {
            // Between layers there are no nodes: only where it is straight could it hit one.
            for pair in route.points.chunks(2) {
                let line = Area { at: pair[0], size: Size { width: pair[1].x - pair[0].x, height: 0.1 } };
                let nodes = (0u32..).zip(&picture.nodes);
                let hit = nodes
                    .filter(|(node, area)| ![route.from, route.to].contains(node) && overlap(&line, area));
                assert_eq!(hit.count(), 0, "seed {seed}: {route:?}");
            }
        }
    }
}

#[track_caller]
fn check(seed: u64, count: usize, most_crossings: u64) {
    let crossings = layout(&flat(count, made::layered(count, seed)), Direction::Right, SPACING).crossings;
    assert!(crossings <= most_crossings, "{crossings} of {most_crossings}");
}

/// Those of Graphviz `dot` 2.43.
#[test]
fn crossings_are_no_more_than_those_of_dot() {
    check(1, 30, 0);
    check(2, 30, 3);
    check(1, 100, 47);
    check(2, 100, 53);
    check(3, 300, 454);
    check(1, 1_000, 4_721);
    check(5, 1_000, 3_748);
}

#[test]
fn what_needs_no_crossing_has_none() {
    let diamonds = (0..297).step_by(3);
    let diamonds = diamonds.flat_map(|at| [(at, at + 1), (at, at + 2), (at + 1, at + 3), (at + 2, at + 3)]);
    let tree = (1..200u32).map(|node| ((node - 1) / 3, node));
    let fan = (1..99).flat_map(|node| [(0, node), (node, 99)]);
    for (count, edges) in [(300, diamonds.collect()), (200, tree.collect()), (100, fan.collect::<Vec<_>>())] {
        assert_eq!(layout(&flat(count, edges), Direction::Down, SPACING).crossings, 0);
    }
}

#[test]
fn a_chain_is_straight_whatever_passes_by_and_however_wide_it_is() {
    let chain = (1..12u32).map(|node| (node - 1, node));
    let mut graph = flat(12, chain.chain([(0, 2), (4, 6), (5, 7), (8, 10)]).collect());
    graph.sizes[1].width = 2_000.0;
    let picture = layout(&graph, Direction::Down, SPACING);
    let middle = |area: &Area| area.at.x + area.size.width / 2.0;
    let middles: Vec<f64> = picture.nodes.iter().map(middle).collect();
    assert!(middles.iter().all(|middle| (middle - middles[0]).abs() < 0.01), "{middles:?}");
}

#[test]
fn where_branches_end_one_stands_amid_them_however_long_they_are() {
    let graph = flat(6, vec![(0, 1), (0, 2), (1, 3), (2, 4), (3, 4), (4, 5)]);
    let at = layout(&graph, Direction::Right, SPACING).nodes;
    assert!(at[4].at.y == at[0].at.y && at[5].at.y == at[0].at.y && at[1].at.y == at[3].at.y, "{at:?}");
}

#[test]
fn a_chain_of_ten_thousand_and_as_many_frames_in_each_other_need_no_stack() {
    let count = 10_000;
    let chain = flat(count, (1..count as u32).map(|node| (node - 1, node)).collect());
    let nested = Graph {
        inside: (0..count as u32).map(|node| node.checked_sub(1)).collect(),
        ..flat(count, Vec::new())
    };
    std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(move || {
            let chain = layout(&chain, Direction::Right, SPACING);
            assert!(
                chain
                    .nodes
                    .windows(2)
                    .all(|pair| pair[0].at.x < pair[1].at.x && pair[0].at.y == pair[1].at.y)
            );
            let nested = layout(&nested, Direction::Right, SPACING);
            assert!(is_within(&nested.nodes[9_999], &nested.nodes[0]));
        })
        .expect("a thread")
        .join()
        .expect("no overflow");
}
