//! What there is to say about a profile, each with its numbers; nothing where there is nothing to say.

use super::{Profile, TaskProfile};
use crate::quantity::{counted, rounded, shown_seconds};
use dirigent_core::text::printable;
use serde::Serialize;
use std::collections::BTreeMap;

/// A run that is over sooner needs no advice.
const SHORTEST_S: f64 = 0.1;
/// From what part of the run a task alone is worth a word.
const LARGE_SHARE: f64 = 0.3;
/// What part of the time other limits have to save before they are named.
const SAVES: f64 = 0.1;
/// From what part of the time a resource that is full is one that holds up.
const OFTEN_FULL: f64 = 0.25;
/// From what part of the run trying again is worth a word.
const RETRY_SHARE: f64 = 0.05;
/// By what part a run has to be slower than the median, and by how many seconds.
const SLOWER: (f64, f64) = (0.15, 0.1);
/// How many earlier runs a median takes.
const FEWEST_EARLIER: usize = 3;

/// What an advice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// One task takes much of the critical path.
    LongTask,
    /// More workers would help.
    Workers,
    /// Tasks that wait for each other take nearly all the time.
    Chain,
    /// More of a resource would help.
    Resource,
    /// Trying again takes much of the time.
    Retries,
    /// The run took longer than earlier ones.
    Slower,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// What it is about.
    pub about: About,
    /// A sentence without its end.
    pub sentence: String,
    /// The task, where it is about one.
    pub task: Option<String>,
    /// The numbers that it goes by: what ends in `_s` is in seconds, shares are from 0 to 1.
    pub figures: BTreeMap<&'static str, f64>,
}

fn advice<const N: usize>(
    about: About,
    task: Option<&str>,
    figures: [(&'static str, f64); N],
    sentence: String,
) -> Advice {
    let figures = figures.into_iter().map(|(name, value)| (name, rounded(value))).collect();
    Advice { about, sentence, task: task.map(str::to_owned), figures }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn quoted(name: &str) -> String {
    format!("`{}`", printable(name))
}

/// All there is to say, what weighs most first.
pub(super) fn all(profile: &Profile) -> Vec<Advice> {
    if profile.wall_s < SHORTEST_S {
        return Vec::new();
    }
    let mut all: Vec<Advice> = slower(profile).into_iter().collect();
    all.extend(long_task(profile));
    all.extend(workers(profile));
    all.extend(resources(profile));
    all.extend(retries(profile));
    all.extend(chain(profile));
    all
}

fn slower(profile: &Profile) -> Option<Advice> {
    let earlier = profile.earlier.as_ref().filter(|earlier| earlier.runs >= FEWEST_EARLIER)?;
    let by_s = profile.wall_s - earlier.wall_s;
    if earlier.wall_s <= 0.0 || by_s < SLOWER.1 || by_s / earlier.wall_s < SLOWER.0 {
        return None;
    }
    let slower_by = |task: &&TaskProfile| task.median_s.map_or(0.0, |median_s| task.run_s - median_s);
    let worst = profile.tasks.iter().max_by(|a, b| slower_by(a).total_cmp(&slower_by(b)));
    let worst = worst.filter(|task| slower_by(task) >= SLOWER.1.max(by_s * LARGE_SHARE));
    let mut sentence = format!(
        "slower than the median of {} by {}: {} instead of {}",
        counted(earlier.runs, "earlier run"),
        percent(by_s / earlier.wall_s),
        shown_seconds(profile.wall_s),
        shown_seconds(earlier.wall_s),
    );
    let mut figures =
        vec![("runs", earlier.runs as f64), ("wall_s", profile.wall_s), ("median_s", earlier.wall_s)];
    if let Some((worst, median_s)) = worst.and_then(|worst| Some((worst, worst.median_s?))) {
        sentence += &format!(
            "; {} alone {} instead of {}",
            quoted(&worst.name),
            shown_seconds(worst.run_s),
            shown_seconds(median_s)
        );
        figures.extend([("task_s", worst.run_s), ("task_median_s", median_s)]);
    }
    let mut slower = advice(About::Slower, worst.map(|worst| &*worst.name), [], sentence);
    slower.figures.extend(figures.into_iter().map(|(name, value)| (name, rounded(value))));
    Some(slower)
}

fn long_task(profile: &Profile) -> Option<Advice> {
    let longest = profile.tasks.iter().max_by(|a, b| a.critical_s.total_cmp(&b.critical_s))?;
    let ran = profile.tasks.iter().filter(|task| task.run_s > 0.0).count();
    let share = longest.critical_s / profile.wall_s.max(f64::MIN_POSITIVE);
    (ran > 1 && share >= LARGE_SHARE).then(|| {
        let sentence = format!(
            "{} alone is {} of the critical path: {} of {}",
            quoted(&longest.name),
            percent(share),
            shown_seconds(longest.critical_s),
            shown_seconds(profile.wall_s)
        );
        let figures = [("share", share), ("critical_s", longest.critical_s), ("wall_s", profile.wall_s)];
        advice(About::LongTask, Some(&longest.name), figures, sentence)
    })
}

fn workers(profile: &Profile) -> Option<Advice> {
    let simulated = profile.simulated.as_ref()?;
    let as_it_was = simulated.as_it_was_s;
    let mut more =
        simulated.workers.iter().filter(|it| it.workers.is_some_and(|it| it > profile.max_concurrency));
    let best = simulated.workers.last()?.wall_s;
    // The fewest that come near what any number of them would bring.
    let enough = more.clone().find(|it| it.wall_s <= best * 1.05).or_else(|| more.next_back())?;
    let workers = enough.workers?;
    (enough.wall_s <= as_it_was * (1.0 - SAVES)).then(|| {
        let sentence = format!(
            "{} instead of {} would take {} instead of {}",
            counted(workers as usize, "worker"),
            profile.max_concurrency,
            shown_seconds(enough.wall_s),
            shown_seconds(as_it_was)
        );
        let figures =
            [("workers", f64::from(workers)), ("wall_s", enough.wall_s), ("as_it_was_s", as_it_was)];
        advice(About::Workers, None, figures, sentence)
    })
}

fn resources(profile: &Profile) -> Vec<Advice> {
    let mut all = Vec::new();
    for resource in &profile.resources {
        let as_it_was = profile.simulated.as_ref().map(|simulated| simulated.as_it_was_s);
        let saves =
            resource.doubled_s.zip(as_it_was).filter(|(doubled, was)| *doubled <= was * (1.0 - SAVES));
        let full = resource.full_share.filter(|share| *share >= OFTEN_FULL);
        let mut sentence = match full {
            Some(share) => format!("{} was full {} of the time", quoted(&resource.name), percent(share)),
            None => format!("{} holds tasks up", quoted(&resource.name)),
        };
        let mut figures = BTreeMap::new();
        figures.extend(full.map(|share| ("full_share", share)));
        match saves {
            Some((doubled_s, was_s)) => {
                sentence += &format!(
                    ": twice as much would take {} instead of {}",
                    shown_seconds(doubled_s),
                    shown_seconds(was_s)
                );
                figures.extend([("doubled_s", doubled_s), ("as_it_was_s", was_s)]);
            }
            // That it is full harms nobody where more of it would bring nothing.
            None if profile.simulated.is_some() || full.is_none() => continue,
            None => {}
        }
        all.push(Advice { about: About::Resource, sentence, task: None, figures });
    }
    all
}

fn retries(profile: &Profile) -> Vec<Advice> {
    let lost_s = |task: &TaskProfile| task.retry_s + task.failed_s;
    let is_much = |task: &&TaskProfile| task.attempts > 1 && lost_s(task) >= profile.wall_s * RETRY_SHARE;
    let mut tasks: Vec<&TaskProfile> = profile.tasks.iter().filter(is_much).collect();
    tasks.sort_by(|a, b| lost_s(b).total_cmp(&lost_s(a)));
    let told = |task: &&TaskProfile| {
        let retries = task.attempts - 1;
        let noun = if retries == 1 { "retry" } else { "retries" };
        let sentence = format!(
            "{} needed {retries} {noun}: {} in attempts that came to nothing, {} waiting between them",
            quoted(&task.name),
            shown_seconds(task.failed_s),
            shown_seconds(task.retry_s)
        );
        let figures =
            [("retries", f64::from(retries)), ("failed_s", task.failed_s), ("retry_s", task.retry_s)];
        advice(About::Retries, Some(&task.name), figures, sentence)
    };
    tasks.iter().take(3).map(told).collect()
}

fn chain(profile: &Profile) -> Option<Advice> {
    let simulated = profile.simulated.as_ref()?;
    let is_chain = simulated.bound_s >= simulated.as_it_was_s * (1.0 - SAVES);
    let links = profile.critical_path.iter().filter(|step| step.spent == super::Spent::Run).count();
    (is_chain && profile.max_concurrency > 1 && links > 1).then(|| {
        let sentence = format!(
            "no number of workers would help: {} one after the other take {} of {}",
            counted(links, "attempt"),
            shown_seconds(simulated.bound_s),
            shown_seconds(simulated.as_it_was_s)
        );
        let figures = [("bound_s", simulated.bound_s), ("as_it_was_s", simulated.as_it_was_s)];
        advice(About::Chain, None, figures, sentence)
    })
}
