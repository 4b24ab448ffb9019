//! What can be typed. Says nothing about what it means.

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
  dirigent run scripts/                  run a folder of scripts
  dirigent run scripts/ --jobs 4 --fail-fast
  dirigent run 'etl/*.py' --timeout 5m
  dirigent list scripts/                 what would run
  dirigent report last --format html     make the page of the last run again

Exit codes: 0 all well, 1 a script failed, 2 wrong use or configuration, 3 nothing matched, 4 internal error,
74 disk or system, 75 busy, 129/130/143 hung up, interrupted, terminated."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Runs scripts: folders of them, single files, or globs
    Run(RunArgs),
    /// Lists the scripts that would be found
    List(ListArgs),
    /// Checks configuration and scripts without running anything
    Check(ListArgs),
    /// Makes reports of a recorded run again
    Report(ReportArgs),
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
    /// Folders, scripts, or globs of scripts
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

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dirigent run scripts/ --jobs 4          four at a time; the default is one a core
  dirigent run load.py -- --day monday    arguments for the script
  dirigent run scripts/ --dry-run         say what would run")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Arguments for every script
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<OsString>,

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
  dirigent report                         all reports of the last run, into its folder
  dirigent report last --format md        one of them
  dirigent report .dirigent/runs/0199…    of a run by its folder")]
pub(crate) struct ReportArgs {
    /// The run: its folder, its id, or `last`
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub(crate) run: Option<PathBuf>,

    /// Reports to make: html, md, junit, json [default: all]
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
