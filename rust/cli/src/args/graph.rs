//! What can be typed behind `dirigent graph`.

use super::{GivenArgs, Records, Selection};
use clap::{Args, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    override_usage = "dirigent graph [OPTIONS] [TARGET]...\n       dirigent graph [OPTIONS] RUN",
    after_help = "\
Examples:
  dirigent graph scripts/                      what would run, and what waits for what
  dirigent graph etl.yaml --format mermaid     for a page of Markdown
  dirigent graph last --format svg -o run.svg  the last run, as a picture
  dirigent graph last --unfold 2               of a great many tasks, those of stage 2 one by one"
)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,

    #[command(flatten)]
    pub(crate) given: GivenArgs,

    #[command(flatten)]
    pub(crate) records: Records,

    /// How it is drawn
    #[arg(long, short, value_name = "FORMAT", default_value = "text", value_parser = ["text", "svg", "mermaid", "dot"])]
    pub(crate) format: String,

    /// The file to write it to [default: standard output]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,

    /// The colours of an SVG, always the same; `auto`, as the reader's system has it, is the default
    #[arg(long, value_name = "THEME", value_parser = ["auto", "light", "dark"])]
    pub(crate) theme: Option<String>,

    /// Of more than 300 tasks, draw these one by one: the number of a stage, or the name of a task that consists of
    /// tasks; may be given several times
    #[arg(long, value_name = "STAGE")]
    pub(crate) unfold: Vec<String>,

    /// Draw every task, however many there are
    #[arg(long, conflicts_with = "unfold")]
    pub(crate) all: bool,

    /// Print what would be drawn as JSON
    #[arg(long, conflicts_with_all = ["format", "theme"])]
    pub(crate) json: bool,
}
