//! Reads a workflow file and says what is wrong with it, and how long that took.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use dirigent_project::WorkflowFile;
use std::path::PathBuf;
use std::time::Instant;

fn main() {
    let path: PathBuf = std::env::args_os().nth(1).expect("a file").into();
    let began = Instant::now();
    let read = WorkflowFile::load(&path);
    let took = began.elapsed();
    match read {
        Ok(file) => println!("{} tasks, well", file.tasks.len()),
        Err(error) => {
            let told: Vec<String> = error.diagnostics().iter().map(|it| it.render(false)).collect();
            println!("{error}\n{}", told.join("\n\n"));
        }
    }
    println!("{:.1} ms", took.as_secs_f64() * 1e3);
}
