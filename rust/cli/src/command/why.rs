//! `dirigent why`: what brought a task where it stands, as far as its run tells.

use super::recorded::{read, task_called};
use crate::args::WhyArgs;
use crate::display::shown_ms;
use crate::fault::{CliError, exit};
use crate::record::{Recorded, goes_on};
use crate::reuse::{declined, why_not_reused};
use crate::terminal::{self, Paint, painted};
use dirigent_core::event::{Event, Fact, SkipReason};
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::Trigger;
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_core::text::printable;
use dirigent_journal::Reader;
use dirigent_report::task_sentence;
use serde::Serialize;

/// The answer.
#[derive(Serialize)]
struct Answer {
    task: String,
    status: &'static str,
    sentence: String,
    /// What led to it, the last step last.
    because: Vec<String>,
}

pub(super) fn why(args: &WhyArgs) -> Result<i32, CliError> {
    let (recorded, _) = read(&args.run)?;
    let state = &recorded.state;
    let task = task_called(state, &args.task)?;
    let Some(it) = state.task(task) else {
        return Ok(exit::NOTHING);
    };
    let mut because = had_to_run(&recorded, task, &it.spec.name)?;
    because.extend(self::because(state, &recorded.events, task, it, recorded.row.holder.is_some()));
    let answer = Answer {
        task: it.spec.name.to_string(),
        status: it.status.name(),
        sentence: task_sentence(state, it),
        because,
    };
    if args.json {
        terminal::print(&super::json(&answer));
        return Ok(exit::OK);
    }
    let colours = terminal::colours_on_stdout();
    let name = painted(&printable(&answer.task), Paint::Bold, colours);
    let mut text = format!("{name} {}\n", answer.sentence);
    for line in &answer.because {
        text.push_str(&format!("  {}\n", printable(line)));
    }
    terminal::print(&text);
    Ok(exit::OK)
}

/// What was different from the last time, of a task that need not run where nothing is.
fn had_to_run(recorded: &Recorded, task: TaskIndex, name: &str) -> Result<Vec<String>, CliError> {
    let Some((key, parts)) = declined(&recorded.events, task) else { return Ok(Vec::new()) };
    let reader = Reader::open(&recorded.state_dir)?;
    let rows = reader.runs(usize::MAX, Some(&recorded.row.workflow))?;
    let before = rows.iter().skip_while(|row| row.id != recorded.row.id).skip(1);
    why_not_reused(&reader, before, name, key, parts)
}

fn because(
    state: &State,
    events: &[Event],
    task: TaskIndex,
    it: &TaskState,
    is_running: bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(reused) = &it.reused {
        lines.push(format!(
            "run {} had carried it out in {}, and it was taken over from there",
            reused.from,
            shown_ms(reused.saved_us / 1000)
        ));
    }
    lines.extend(waits(state, events, task, it));
    lines.extend(attempts(events, task));
    match it.status {
        TaskStatus::Skipped => lines.extend(skips(state, it)),
        TaskStatus::Pending if !is_running && state.end().is_none() => {
            let goes_on = state.header().map(|header| goes_on(&header.run, state)).unwrap_or_default();
            lines.push(format!("its engine is gone: {goes_on}"));
        }
        TaskStatus::Pending => lines.extend(holds_up(state, it)),
        TaskStatus::Cancelled => lines.extend(cancels(state, events, task)),
        TaskStatus::Waiting => lines.push("somebody has to approve or reject it".to_owned()),
        TaskStatus::Running
        | TaskStatus::Retrying
        | TaskStatus::Completed
        | TaskStatus::Failed
        | TaskStatus::TimedOut => {}
    }
    lines
}

fn name(state: &State, task: TaskIndex) -> String {
    state.task(task).map(|task| task.spec.name.to_string()).unwrap_or_default()
}

/// How long it waited before its first attempt, and for what.
fn waits(state: &State, events: &[Event], task: TaskIndex, it: &TaskState) -> Option<String> {
    let is_start = |event: &&Event| matches!(event.fact, Fact::AttemptStarted { task: started, attempt: 1 } if started == task);
    let started_ms = events.iter().find(is_start)?.at_ms;
    let end_of = |need: &TaskIndex| {
        let ended_ms = state.task(*need)?.ended_at_ms?;
        Some((ended_ms, *need))
    };
    let last = it.spec.needs.iter().filter_map(end_of).max();
    let ms = |ms: i64| shown_ms(u64::try_from(ms).unwrap_or(0));
    Some(match last {
        None if it.spec.needs.is_empty() => {
            let begun_ms = state.header()?.created_at_ms;
            format!("it needs nothing, and started {} after the run", ms(started_ms - begun_ms))
        }
        None => "it started before what it needs had ended".to_owned(),
        Some((ended_ms, need)) => {
            format!(
                "it started {} after `{}`, the last that it waited for, had ended",
                ms(started_ms - ended_ms),
                name(state, need)
            )
        }
    })
}

/// Its attempts, where there was more than one.
fn attempts(events: &[Event], task: TaskIndex) -> Vec<String> {
    let ended = |event: &Event| match &event.fact {
        Fact::AttemptEnded { task: its, attempt, retry_at_ms, ended } if *its == task => {
            let next = match retry_at_ms {
                Some(at_ms) => format!(
                    "; the next one was due {} later",
                    shown_ms(u64::try_from(at_ms - event.at_ms).unwrap_or(0))
                ),
                None => String::new(),
            };
            Some(format!("attempt {attempt} {}{next}", ended.outcome.sentence()))
        }
        Fact::ValueLost { task: its, why } if *its == task => {
            Some(format!("it was carried out again: {why}"))
        }
        _ => None,
    };
    let lines: Vec<String> = events.iter().filter_map(ended).collect();
    if lines.len() > 1 { lines } else { Vec::new() }
}

/// From what it needs to where that began.
fn skips(state: &State, it: &TaskState) -> Vec<String> {
    let mut lines = Vec::new();
    let mut reason = it.skipped.as_deref();
    while let Some(because) = reason {
        reason = None;
        match because {
            SkipReason::NeedNotMet { need } => {
                if let Some(needed) = state.task(*need) {
                    lines.push(format!(
                        "it needs `{}`, which {}",
                        needed.spec.name,
                        task_sentence(state, needed)
                    ));
                    reason = needed.skipped.as_deref();
                }
            }
            SkipReason::FailFast { failed } => {
                if let Some(failed) = state.task(*failed) {
                    lines.push(format!(
                        "the run starts nothing new after a failure, and `{}` {}",
                        failed.spec.name,
                        task_sentence(state, failed)
                    ));
                }
            }
            SkipReason::TriggerNotMet => lines.push(format!(
                "it waits for {}, and that cannot be any more",
                trigger(it.spec.policy.trigger)
            )),
            SkipReason::Condition => lines.push("its condition said no".to_owned()),
            SkipReason::Declared { text } => lines.push(text.clone()),
        }
    }
    lines
}

/// What a task waits for that has not started.
fn holds_up(state: &State, it: &TaskState) -> Vec<String> {
    let is_open = |need: &&TaskIndex| state.task(**need).is_some_and(|need| !need.status.is_final());
    let open: Vec<String> = it
        .spec
        .needs
        .iter()
        .filter(is_open)
        .filter_map(|need| state.task(*need))
        .map(|need| format!("it waits for `{}`, which {}", need.spec.name, task_sentence(state, need)))
        .collect();
    if !open.is_empty() {
        return open;
    }
    let most = state.header().map_or(0, |header| header.max_concurrency);
    match state.running() >= most {
        true => vec![format!("it waits for a slot: {} of {most} are taken", state.running())],
        false => vec!["it waits for its turn, or for what it claims of the run's resources".to_owned()],
    }
}

fn cancels(state: &State, events: &[Event], task: TaskIndex) -> Option<String> {
    let was_asked =
        |event: &Event| matches!(event.fact, Fact::TaskCancelRequested { task: asked } if asked == task);
    if events.iter().any(was_asked) {
        return Some("somebody asked for its end".to_owned());
    }
    state.cancel().map(|reason| format!("the run was to end: {}", crate::display::cancel_sentence(reason)))
}

fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::AllSuccess => "all it needs to complete",
        Trigger::AllDone => "all it needs to end",
        Trigger::AnySuccess => "one that it needs to complete",
        Trigger::AnyFailed => "one that it needs to fail",
        Trigger::NoneFailed => "all it needs to end without a failure",
        Trigger::Always => "all it needs to end",
    }
}
