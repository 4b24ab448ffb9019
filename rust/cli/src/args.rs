//! What can be typed. Says nothing about what it means.

mod records;
mod graph;
pub(crate) mod schedule;

pub(crate) use graph::GraphArgs;
pub(crate) use records::{
    AnswerArgs, CancelArgs, DiffArgs, DoctorArgs, ExportArgs, GcArgs, ImportArgs, LogsArgs, OneRun,
    ProfileArgs, Records, ResumeArgs, RunsArgs, ShowArgs, SignalArgs, Stream, VerifyArgs, WhyArgs,
};

use clap::{Args, Parser, Subcommand, ValueHint};
use dirigent_project::Flags;
use dirigent_project::decode::from_text;
use dirigent_project::value::{Count, Limit, Location, Megabytes, Pause, Reports, Texts};
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::path::PathBuf;

/// Conducts scripts on your own machine: finds them, runs them in parallel, shows and records what happens, and leaves
/// no process behind.
#[derive(Debug, Parser)]
#[command(
    name = "dirigent",
    version,
    about,
    max_term_width = 100,
    after_help = "\
Examples:
  dirigent demo                          see how a killed run goes on
  dirigent run scripts/                  run a folder of scripts
  dirigent run scripts/ --jobs 4 --fail-fast
  dirigent run etl.yaml --param day=today  run a workflow file
  dirigent run 'etl/*.py' --timeout 5m
  dirigent list scripts/                 what would run
  dirigent runs                          what ran; `show`, `logs` and `report` look closer
  dirigent resume                        go on with the last run that was cut short
  dirigent report last --format html     make the page of the last run again

Exit codes: 0 all well, 1 a task failed, 2 wrong use or configuration, 3 nothing matched, 4 internal error,
74 disk or system, 75 busy, 129/130/143 hung up, interrupted, terminated."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Runs scripts, workflow files, jobs of the project, or workflows of Python files
    Run(Box<RunArgs>),
    /// Runs, and runs again whenever something changes
    Watch(Box<WatchArgs>),
    /// Lists what could be run: scripts, the tasks of a workflow file, the jobs of the project
    List(ListArgs),
    /// Checks configuration, scripts and workflow files without running anything
    Check(CheckArgs),
    /// Draws what would run, or a recorded run, and what waits for what
    Graph(GraphArgs),
    /// Lists the recorded runs, the newest first
    Runs(RunsArgs),
    /// Shows a recorded run, or one of its tasks
    Show(ShowArgs),
    /// Prints the output of a task
    Logs(LogsArgs),
    /// Says why a task ran, was skipped, or waits
    Why(WhyArgs),
    /// Says in what two runs differ
    Diff(DiffArgs),
    /// Says where the time of a run went, and what would make it shorter
    Profile(ProfileArgs),
    /// Goes on with a run that was cut short or cancelled
    Resume(ResumeArgs),
    /// Runs what failed again, and what depends on it, as a new run
    Retry(ResumeArgs),
    /// Asks a run of another process to end
    Cancel(CancelArgs),
    /// Lets a task that waits go on
    Approve(AnswerArgs),
    /// Lets a task that waits fail
    Reject(AnswerArgs),
    /// Gives a task that waits the value it wants
    Signal(SignalArgs),
    /// Makes reports of a recorded run again
    Report(ReportArgs),
    /// Checks that the history of runs is what was recorded
    Verify(VerifyArgs),
    /// Writes a run as one file, from which `import` makes it again elsewhere
    Export(ExportArgs),
    /// Takes in runs that `export` wrote
    Import(ImportArgs),
    /// Drops old runs
    Gc(GcArgs),
    /// Looks for trouble in the state folder, and says the cure
    Doctor(DoctorArgs),
    /// Runs what is due at its times, and shows what is when
    Schedule(schedule::ScheduleArgs),
    /// Shows in some seconds how a killed run goes on
    Demo,
    /// Shows every setting and where it comes from
    Config(ConfigArgs),
    /// Prints digests of files
    Hash(HashArgs),
    /// Starts a project: a configuration file and a first script
    Init(InitArgs),
    /// Prints the completions of a shell
    Completions(CompletionsArgs),
}

/// Reads an option as the configuration files would.
fn setting<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    from_text(text)
}

/// Where to look, and for what.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Folders, scripts, globs of scripts; or a workflow file, a job of the project file, `file.py:name`, `-`
    #[arg(value_name = "TARGET", value_hint = ValueHint::AnyPath)]
    pub(crate) targets: Vec<PathBuf>,

    /// Take only files that this glob matches; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub(crate) filter: Vec<String>,

    /// Look at most this many folders below a target
    #[arg(long, value_name = "N")]
    pub(crate) max_depth: Option<u32>,

    /// Look only into this folder of each target; may be given several times
    #[arg(long, value_name = "FOLDER")]
    pub(crate) subdir: Vec<PathBuf>,

    /// Take only files with this extension; may be given several times
    #[arg(long, value_name = "EXT")]
    pub(crate) ext: Vec<String>,

    /// Use this configuration file instead of the project's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

/// What a workflow file is given.
#[derive(Debug, Default, Args)]
pub(crate) struct GivenArgs {
    /// Give a parameter of a workflow file; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) param: Vec<String>,

    /// Give the parameters that a file holds, as YAML, TOML or JSON; `--param` wins over it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) params_file: Option<PathBuf>,
}

/// Which tasks are to run. What they need and is left out comes from the last run in which it completed.
#[derive(Debug, Default, Args)]
pub(crate) struct PartArgs {
    /// Run only tasks that this name or glob means; may be given several times
    #[arg(long, value_name = "TASK")]
    pub(crate) only: Vec<String>,

    /// Run these tasks and all that depend on them; may be given several times
    #[arg(long, value_name = "TASK")]
    pub(crate) from: Vec<String>,

    /// Run these tasks and all that they depend on; may be given several times
    #[arg(long, value_name = "TASK")]
    pub(crate) until: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent run scripts/ --jobs 4          four at a time; the default is one a core
  dirigent run load.py -- --day monday    arguments for the script
  dirigent run scripts/ --dry-run         say what would run
  dirigent run etl.yaml --param day=today a workflow file, with a parameter
  dirigent run etl.yaml --from clean      from a task on; what it needs comes from the last run
  dirigent run backup                     a job of the project file
  generate | dirigent run -               a workflow file from standard input")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Arguments for every script
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<OsString>,

    #[command(flatten)]
    pub(crate) given: GivenArgs,

    #[command(flatten)]
    pub(crate) part: PartArgs,

    /// Say what would run, and run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Run at most this many at a time [default: one a core]
    #[arg(long, short, value_name = "N", value_parser = setting::<Count>)]
    pub(crate) jobs: Option<Count>,

    /// Time limit of a script that has none of its own: 90, 90s, 5m, none
    #[arg(long, value_name = "TIME", value_parser = setting::<Limit>)]
    pub(crate) timeout: Option<Limit>,

    /// Time between the request to end and the end by force [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = setting::<Pause>)]
    pub(crate) grace: Option<Pause>,

    /// Memory limit of a script that has none of its own, in MiB
    #[arg(long, value_name = "MIB", value_parser = setting::<Megabytes>)]
    pub(crate) memory_limit_mb: Option<Megabytes>,

    /// Start nothing new after a failure
    #[arg(long, overrides_with = "keep_going")]
    pub(crate) fail_fast: bool,

    /// Go on after failures (the default)
    #[arg(long, overrides_with = "fail_fast")]
    pub(crate) keep_going: bool,

    /// Reports to write: html, md, junit, json, separated by commas; `none` for none [default: all]
    #[arg(long, value_name = "KINDS")]
    pub(crate) report: Option<String>,

    /// Keep at most this much of each output, in MiB [default: 64]
    #[arg(long, value_name = "MIB", value_parser = setting::<Megabytes>)]
    pub(crate) output_limit_mb: Option<Megabytes>,

    /// Interpreter of Python scripts
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::ExecutablePath)]
    pub(crate) python: Option<PathBuf>,

    /// Folder in which runs are recorded
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,

    /// Print the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent watch scripts/                 the folder, again whenever a file in it changes
  dirigent watch load.py --path 'in/*.csv' --on-change restart
  dirigent watch load.py --clear -- --day monday")]
pub(crate) struct WatchArgs {
    /// Watch this too: a file, a folder, or a glob; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub(crate) path: Vec<PathBuf>,

    /// How long everything has to be quiet before it counts as one change
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = setting::<Pause>)]
    pub(crate) debounce: Pause,

    /// What a change does to a run that is under way: end it and start anew, or let it end and run once more
    #[arg(long, value_enum, default_value = "queue")]
    pub(crate) on_change: OnChange,

    /// Clear the screen before each run
    #[arg(long)]
    pub(crate) clear: bool,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What a change does to a run that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnChange {
    Restart,
    Queue,
}

impl RunArgs {
    /// What was said about settings of runs.
    pub(crate) fn flags(&self) -> Result<Flags, String> {
        let report = match self.report.as_deref() {
            None => None,
            Some("none") => Some(Reports(Vec::new())),
            Some(kinds) => Some(from_text::<Reports>(kinds)?),
        };
        Ok(Flags {
            jobs: self.jobs,
            timeout: self.timeout,
            grace: self.grace,
            fail_fast: (self.fail_fast || self.keep_going).then_some(self.fail_fast),
            report,
            output_limit_mb: self.output_limit_mb,
            python: self.python.clone().map(Location),
            state_dir: self.state_dir.clone().map(Location),
            memory_limit_mb: self.memory_limit_mb,
            ..self.selection.flags()
        })
    }
}

impl Selection {
    /// What was said about settings of runs.
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            max_depth: self.max_depth,
            pattern: (!self.filter.is_empty()).then(|| Texts(self.filter.clone())),
            ..Flags::default()
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent check                          the project: its file, its scripts, its jobs
  dirigent check etl.yaml                 a workflow file: every problem of it at once
  dirigent check --schema > schema.json   the JSON Schema of workflow files, for editors")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Print the JSON Schema of workflow files
    #[arg(long, conflicts_with_all = ["targets", "json"])]
    pub(crate) schema: bool,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent report                         all reports of the last run, into its folder
  dirigent report last --format md        one of them
  dirigent report last --format trace     for https://ui.perfetto.dev
  dirigent report .dirigent/runs/0199…    of a run by its folder")]
pub(crate) struct ReportArgs {
    /// The run: its folder, its id, or `last`
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub(crate) run: Option<PathBuf>,

    /// Reports to make: html, md, junit, json, trace [default: all but trace]
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub(crate) format: Vec<String>,

    /// Folder in which runs are recorded
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,

    /// Print the summary as JSON, and write nothing
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The folder whose configuration is meant [default: this one]
    #[arg(value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,

    /// Use this configuration file instead of the project's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a digest is computed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Algorithm {
    Sha256,
    Sha1,
    Sha512,
    Blake3,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent hash data.csv
  dirigent hash --algorithm blake3 *.parquet
  cat data.csv | dirigent hash -")]
pub(crate) struct HashArgs {
    /// Files; `-` for standard input
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,

    /// The digest
    #[arg(long, short, value_enum, default_value = "sha256")]
    pub(crate) algorithm: Algorithm,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The project's folder; made if it is not there
    #[arg(value_name = "FOLDER", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}
