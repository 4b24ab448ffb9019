//! One file for each verb, and what they share: finding scripts, and telling errors.

mod selection;
mod target;
mod through;
mod python;
mod run;
mod watch;
mod list;
mod recorded;
mod schedule;
mod check;
mod graph;
mod runs;
mod show;
mod logs;
mod why;
mod diff;
mod profile;
mod resume;
mod cancel;
mod answer;
mod report;
mod verify;
mod export;
mod gc;
mod doctor;
mod demo;
mod config;
mod hash;
mod init;

use crate::args::{Cli, Verb};
use crate::fault::{CliError, exit, exit_code, told};
use crate::terminal;
use clap::{CommandFactory, Parser};
use dirigent_core::fault::Fault;
use std::ffi::OsString;

pub(crate) use through::{conclude, tell_others};

/// Runs one command line.
pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data; everything else is talk.
            let _ = error.print();
            return error.exit_code();
        }
    };
    match obey(cli.verb, &args) {
        Ok(code) => code,
        Err(error) => {
            terminal::say(&format!("{}\n", told(&error)));
            exit_code(error.kind())
        }
    }
}

/// `typed` is the whole command line, the program's name in front.
fn obey(verb: Verb, typed: &[OsString]) -> Result<i32, CliError> {
    match verb {
        Verb::Run(args) => run::run(&args),
        Verb::Watch(args) => watch::watch(&args, typed),
        Verb::List(args) => list::list(&args),
        Verb::Check(args) => check::check(&args),
        Verb::Graph(args) => graph::graph(&args),
        Verb::Runs(args) => runs::runs(&args),
        Verb::Show(args) => show::show(&args),
        Verb::Logs(args) => logs::logs(&args),
        Verb::Why(args) => why::why(&args),
        Verb::Diff(args) => diff::diff(&args),
        Verb::Profile(args) => profile::profile(&args),
        Verb::Resume(args) => resume::resume(&args),
        Verb::Retry(args) => resume::retry(&args),
        Verb::Cancel(args) => cancel::cancel(&args),
        Verb::Approve(args) => answer::answer(&args, true),
        Verb::Reject(args) => answer::answer(&args, false),
        Verb::Signal(args) => answer::signal(&args),
        Verb::Verify(args) => verify::verify(&args),
        Verb::Export(args) => export::export(&args),
        Verb::Import(args) => export::import(&args),
        Verb::Gc(args) => gc::gc(&args),
        Verb::Doctor(args) => doctor::doctor(&args),
        Verb::Schedule(args) => schedule::schedule(&args),
        Verb::Demo => demo::demo(),
        Verb::Report(args) => report::report(&args),
        Verb::Config(args) => config::config(&args),
        Verb::Hash(args) => hash::hash(&args),
        Verb::Init(args) => init::init(&args),
        Verb::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "dirigent", &mut script);
            terminal::print(&String::from_utf8_lossy(&script));
            Ok(exit::OK)
        }
    }
}

/// Any value as indented JSON with a line end.
fn json(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("what is printed has text keys");
    text.push('\n');
    text
}
