//! What can be typed after `dirigent schedule`.

use super::Records;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  dirigent schedule                   what runs when, and how it went last
  dirigent schedule run               run what is due, until this is interrupted
  dirigent schedule pause nightly     it stands still until `dirigent schedule resume nightly`
  dirigent schedule trigger nightly   once, now
  dirigent schedule unit              a unit by which systemd keeps `schedule run` going"
)]
pub(crate) struct ScheduleArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<ScheduleVerb>,

    #[command(flatten)]
    pub(crate) list: ScheduleListArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleVerb {
    /// Lists the schedules, how each went last, and its next times
    List(ScheduleListArgs),
    /// Runs what is due, until it is interrupted
    Run(Records),
    /// Has a schedule stand still
    Pause(OneSchedule),
    /// Lets a schedule go on
    Resume(OneSchedule),
    /// Runs a schedule's work once, now
    Trigger(OneSchedule),
    /// Prints a systemd user unit that keeps `schedule run` going
    Unit(Records),
}

#[derive(Debug, Args)]
pub(crate) struct ScheduleListArgs {
    #[command(flatten)]
    pub(crate) records: Records,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneSchedule {
    /// The schedule's name in the project file
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) records: Records,
}
