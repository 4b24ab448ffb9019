//! Draws made-up workflows and runs into a folder, to look at: `cargo run -p dirigent-report --example pictures -- FOLDER`.
//! With `--time`, says instead how long layout and picture take for graphs of 100, 1,000 and 10,000 tasks, as JSON.

#[path = "../tests/made/mod.rs"]
mod made;

use dirigent_report::layout::{Direction, Graph, Size, Spacing, layout};
use dirigent_report::{Detail, Drawing, Picture, Theme};
use std::io::Write;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("name a folder, or --time")?;
    if folder == "--time" {
        return time();
    }
    std::fs::create_dir_all(&folder)?;
    let run = |told: made::Told, detail: &Detail| Drawing::of_run(&told.state, detail);
    let auto = Detail::default();
    let drawings = [
        ("small", run(made::run(&made::SMALL), &auto)?),
        ("every_state", run(made::run(&made::ETL), &auto)?),
        ("declared", Drawing::of_workflow(&made::workflow(&made::ETL), &auto)?),
        ("fan_out", run(made::fan_out(), &auto)?),
        ("large", run(made::large(1200), &auto)?),
        ("unfolded", run(made::large(1200), &Detail { unfold: vec!["2".to_owned()], ..auto.clone() })?),
        ("sixty", run(made::large(60), &auto)?),
        ("hundred", run(made::large(100), &auto)?),
        ("diamond", run(made::joined(4, &[(0, 1), (0, 2), (1, 3), (2, 3)]), &auto)?),
        ("pipeline", run(made::pipeline(), &auto)?),
        ("grid", run(made::joined(100, &made::grid(10, 10)), &auto)?),
        ("three_hundred", run(made::large(300), &auto)?),
        ("stages", run(made::shards(200), &auto)?),
    ];
    for (name, drawing) in &drawings {
        for form in Picture::ALL {
            let path = format!("{folder}/{name}.{}", form.name());
            std::fs::write(path, form.draw(drawing, Theme::Auto))?;
        }
    }
    Ok(())
}

/// The edges of a graph with so many nodes.
type Shape = fn(usize) -> Vec<(u32, u32)>;

/// `[{"shape": "layered", "tasks": 100, "layout_s": …, "svg_s": …, "svg_bytes": …, "folded_svg_s": …, "crossings": …,
/// "edges": …}, …]`; others may draw the same edges.
fn time() -> Result<(), Box<dyn std::error::Error>> {
    let shapes: [(&str, Shape); 5] = [
        ("layered", |count| made::layered(count, 1)),
        ("nearby", |count| made::nearby(count, 1)),
        ("chain", |count| (1..count as u32).map(|node| (node - 1, node)).collect()),
        ("fan-out", |count| {
            let last = count as u32 - 1;
            (1..last).flat_map(|node| [(0, node), (node, last)]).collect()
        }),
        ("diamonds", |count| {
            let starts = (0..count as u32 - 3).step_by(3);
            starts.flat_map(|at| [(at, at + 1), (at, at + 2), (at + 1, at + 3), (at + 2, at + 3)]).collect()
        }),
    ];
    let spacing = Spacing { nodes: 14.0, layers: 44.0, padding: 14.0, heading: 42.0 };
    let mut rows = Vec::new();
    for (shape, edges) in shapes {
        for count in [30, 100, 1_000, 10_000] {
            let edges = edges(count);
            let graph = Graph {
                sizes: vec![Size { width: 140.0, height: 44.0 }; count],
                inside: vec![None; count],
                edges: edges.clone(),
            };
            let layout_s = (0..5)
                .map(|_| {
                    let began = Instant::now();
                    layout(&graph, Direction::Right, spacing);
                    began.elapsed().as_secs_f64()
                })
                .fold(f64::MAX, f64::min);
            let mut needs = vec![Vec::new(); count];
            edges.iter().for_each(|(from, to)| needs[*to as usize].push(*from));
            let tasks = needs.into_iter().enumerate();
            let told = made::Told::of(tasks.map(|(i, needs)| made::task(&i.to_string(), needs)).collect());
            let svg = |detail: &Detail| -> Result<(f64, usize), Box<dyn std::error::Error>> {
                let (mut best, mut bytes) = (f64::MAX, 0);
                for _ in 0..3 {
                    let began = Instant::now();
                    let drawing = Drawing::of_run(&told.state, detail)?;
                    bytes = Picture::Svg.draw(&drawing, Theme::Auto).len();
                    best = best.min(began.elapsed().as_secs_f64());
                }
                Ok((best, bytes))
            };
            let whole = Detail { most_nodes: usize::MAX, ..Detail::default() };
            let ((svg_s, bytes), (folded_svg_s, _)) = (svg(&whole)?, svg(&Detail::default())?);
            rows.push(serde_json::json!({
                "shape": shape, "tasks": count, "layout_s": layout_s, "svg_s": svg_s, "svg_bytes": bytes,
                "folded_svg_s": folded_svg_s, "crossings": layout(&graph, Direction::Right, spacing).crossings, "edges": edges,
            }));
        }
    }
    std::io::stdout().write_all(serde_json::to_string(&rows)?.as_bytes())?;
    Ok(())
}
