//! `dirigent schedule`: what runs at which times, and the process that sees to it.

mod jobs;
mod wake;
mod carry;
mod keep;
mod list;
mod unit;

pub(super) use jobs::check;

use super::recorded::Place;
use crate::args::Records;
use crate::args::schedule::{OneSchedule, ScheduleArgs, ScheduleVerb};
use crate::fault::{CliError, exit, shown};
use crate::record::now_ms;
use crate::surroundings::program;
use crate::terminal;
use carry::Carrier;
use dirigent_core::text::printable;
use dirigent_journal::{Store, tick_log};
use jobs::Job;
use keep::Keeper;
use wake::Wake;

pub(super) fn schedule(args: &ScheduleArgs) -> Result<i32, CliError> {
    match &args.verb {
        None => list::list(&args.list),
        Some(ScheduleVerb::List(list)) => list::list(list),
        Some(ScheduleVerb::Run(records)) => run(records),
        Some(ScheduleVerb::Pause(one)) => pause(one),
        Some(ScheduleVerb::Resume(one)) => resume(one),
        Some(ScheduleVerb::Trigger(one)) => trigger(one),
        Some(ScheduleVerb::Unit(records)) => unit::unit(records),
    }
}

fn run(records: &Records) -> Result<i32, CliError> {
    let place = Place::of(records)?;
    let (jobs, root) = jobs::jobs(&place.config)?;
    let store = Store::shared(&place.state_dir)?;
    let timings: Vec<String> = jobs.iter().map(Job::timing).collect();
    let known: Vec<(&str, &str)> = jobs
        .iter()
        .zip(&timings)
        .map(|(job, timing)| (job.declared.name.as_str(), timing.as_str()))
        .collect();
    let positions_ms = store.know_schedules(&known, now_ms())?;
    let wake = Wake::new()?;
    let carrier = Carrier::new(jobs, root, program()?, store, wake.before())?;
    let signal = Keeper::new(carrier, &positions_ms, &now_ms).keep(&wake)?;
    Ok(128 + signal)
}

fn trigger(one: &OneSchedule) -> Result<i32, CliError> {
    let place = Place::of(&one.records)?;
    let (jobs, root) = jobs::jobs(&place.config)?;
    let job = jobs::called(jobs, &one.name)?;
    let store = Store::shared(&place.state_dir)?;
    let wake = Wake::new()?;
    let mut carrier = Carrier::new(vec![job], root, program()?, store, wake.before())?;
    carrier.take_by_hand(0, now_ms())?;
    let mut exit_code = exit::BUSY;
    loop {
        for went in carrier.look(now_ms())? {
            exit_code = went.exit_code;
            terminal::say(&format!("its output is in {}\n", shown(&tick_log(&place.state_dir, went.number))));
        }
        if carrier.is_idle() {
            return Ok(exit_code);
        }
        let signals = wake.sleep(None, carrier.patience());
        for signal in signals.into_iter().filter(|signal| *signal != libc::SIGCHLD) {
            exit_code = 128 + signal;
            carrier.end_all(signal);
        }
    }
}

fn pause(one: &OneSchedule) -> Result<i32, CliError> {
    let place = Place::of(&one.records)?;
    let job = jobs::called(jobs::jobs(&place.config)?.0, &one.name)?;
    let by = crate::record::holder();
    let by = format!("process {} on {}", by.pid, by.host);
    let store = Store::shared(&place.state_dir)?;
    let is_new = store.pause_schedule(&job.declared.name, &job.timing(), now_ms(), &by)?;
    let name = printable(&job.declared.name);
    terminal::say(&match is_new {
        true => format!("{name} stands still until `dirigent schedule resume {name}`\n"),
        false => format!("{name} stood still already\n"),
    });
    Ok(exit::OK)
}

fn resume(one: &OneSchedule) -> Result<i32, CliError> {
    let place = Place::of(&one.records)?;
    let job = jobs::called(jobs::jobs(&place.config)?.0, &one.name)?;
    let was_paused = Store::shared(&place.state_dir)?.resume_schedule(&job.declared.name, now_ms())?;
    let name = printable(&job.declared.name);
    if job.declared.paused {
        return Err(CliError::Usage {
            message: format!("the project's file has `{name}` stand still"),
            hint: Some(format!(
                "take `paused` out of `schedules.{name}` and start `dirigent schedule run` again"
            )),
        });
    }
    terminal::say(&match was_paused {
        true => format!("{name} goes on; what passed meanwhile is not made up\n"),
        false => format!("{name} did not stand still\n"),
    });
    Ok(exit::OK)
}
