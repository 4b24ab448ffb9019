//! What can be typed about recorded runs.

use super::setting;
use clap::{Args, ValueHint};
use dirigent_project::value::Limit;
use std::path::PathBuf;

/// Where runs are recorded.
#[derive(Debug, Args)]
pub(crate) struct Records {
    /// Folder in which runs are recorded
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,
}

/// One recorded run.
#[derive(Debug, Args)]
pub(crate) struct OneRun {
    /// The run: `last`, its id or the beginning of one, or its folder
    #[arg(value_name = "RUN", default_value = "last")]
    pub(crate) run: PathBuf,

    #[command(flatten)]
    pub(crate) records: Records,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent runs                       the last twenty
  dirigent runs -n 500 --workflow etl --json")]
pub(crate) struct RunsArgs {
    /// How many at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,

    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    pub(crate) workflow: Option<String>,

    #[command(flatten)]
    pub(crate) records: Records,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent show                       the last run
  dirigent show 0199a3b2 load.py      one task of a run")]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) run: OneRun,

    /// One task of it, by name or number
    #[arg(value_name = "TASK")]
    pub(crate) task: Option<String>,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent logs last load.py              what its last attempt wrote
  dirigent logs last load.py --tail 20 --stream stderr
  dirigent logs last --grep Error         lines of all tasks
  dirigent logs last load.py --follow     until it ends")]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) run: OneRun,

    /// The task, by name or number [default: all of them]
    #[arg(value_name = "TASK")]
    pub(crate) task: Option<String>,

    /// Which attempt, counted from 1 [default: the last]
    #[arg(long, value_name = "N")]
    pub(crate) attempt: Option<u32>,

    /// Which output
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) stream: Stream,

    /// Only the last lines of each
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<usize>,

    /// Only lines with this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,

    /// Print what comes, until the run is over
    #[arg(long, short)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent why load.py                in the last run
  dirigent why load.py 0199a3b2       in another one")]
pub(crate) struct WhyArgs {
    /// The task, by name or number
    #[arg(value_name = "TASK")]
    pub(crate) task: String,

    #[command(flatten)]
    pub(crate) run: OneRun,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent diff 0199a3b2              that run and the last one
  dirigent diff 0199a3b2 0199c4d5 --json")]
pub(crate) struct DiffArgs {
    /// The run to compare with: its id or the beginning of one, or its folder
    #[arg(value_name = "BEFORE")]
    pub(crate) before: PathBuf,

    #[command(flatten)]
    pub(crate) run: OneRun,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent profile                    the last run
  dirigent profile 0199a3b2 --json")]
pub(crate) struct ProfileArgs {
    #[command(flatten)]
    pub(crate) run: OneRun,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a task wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
    Both,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent resume                     the last run
  dirigent resume 0199a3b2            another one
  dirigent retry                      what failed in the last run, as a new one")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) run: OneRun,

    /// Print the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent cancel                     the last run: nothing new starts, what runs gets a signal
  dirigent cancel last load.py        one task of it
  dirigent cancel last --now          everything at once")]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    pub(crate) run: OneRun,

    /// One task of it, by name or number
    #[arg(value_name = "TASK")]
    pub(crate) task: Option<String>,

    /// End everything at once
    #[arg(long, conflicts_with = "task")]
    pub(crate) now: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent approve                    the task of the last run that waits, where only one does
  dirigent approve last publish --comment 'looked at it'
  dirigent reject last publish --comment 'figures are off'")]
pub(crate) struct AnswerArgs {
    #[command(flatten)]
    pub(crate) run: OneRun,

    /// The task, by name or number [default: the one that waits]
    #[arg(value_name = "TASK")]
    pub(crate) task: Option<String>,

    /// What to say with it
    #[arg(long, short = 'm', value_name = "TEXT", default_value = "")]
    pub(crate) comment: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent signal last shard eu-west          a text
  dirigent signal last limits '{\"cpu\": 4}'    JSON, where it is some")]
pub(crate) struct SignalArgs {
    /// The run: `last`, its id or the beginning of one, or its folder
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,

    /// The task, by name or number
    #[arg(value_name = "TASK")]
    pub(crate) task: String,

    /// The value: JSON, or else a text
    #[arg(value_name = "VALUE")]
    pub(crate) value: String,

    #[command(flatten)]
    pub(crate) records: Records,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) run: OneRun,

    /// Every run there is
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent export last > run.jsonl
  dirigent export last --output run.jsonl && dirigent import run.jsonl --state-dir elsewhere")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) run: OneRun,

    /// The file [default: standard output]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Files that `export` wrote
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) records: Records,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent gc --keep 100              all but the newest hundred
  dirigent gc --older-than 30d        those that ended longer ago
  dirigent gc --max-mb 500 --dry-run  the oldest, until the others take less")]
pub(crate) struct GcArgs {
    /// Keep this many of the newest runs
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<usize>,

    /// Drop runs that were started longer ago: 12h, 30d
    #[arg(long, value_name = "TIME", value_parser = setting::<Limit>)]
    pub(crate) older_than: Option<Limit>,

    /// Drop the oldest until the folders of the others take at most this much, in MiB
    #[arg(long, value_name = "MIB")]
    pub(crate) max_mb: Option<u64>,

    /// Say what would be dropped, and drop nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) records: Records,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) records: Records,
}
