//! Times discovery on a folder: `walk FOLDER [PATTERN [THREADS]]`. For measuring beside other walkers.

use dirigent_project::{Query, discover};
use std::io::Write;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = std::path::absolute(args.next().unwrap_or_else(|| ".".into()))?;
    let patterns: Vec<String> = args.next().into_iter().filter(|pattern| !pattern.is_empty()).collect();
    let threads = args.next().map_or(Ok(0), |threads| threads.parse())?;
    let start = Instant::now();
    let found = discover(&Query { targets: vec![folder], patterns, threads, ..Query::default() })?;
    let elapsed = start.elapsed();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} scripts, {} notices, {:.1} ms",
        found.scripts.len(),
        found.notices.len(),
        elapsed.as_secs_f64() * 1e3
    )?;
    Ok(())
}
