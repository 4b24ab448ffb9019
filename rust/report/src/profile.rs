//! Where the time of a run went: what each task waited for and used, the critical path, and what other limits would bring.

mod simulation;
mod left;
mod advice;
mod text;

pub use crate::path::{After, Spent};
pub use advice::{About, Advice};
pub use left::{TimesBefore, time_left_ms};

use crate::course::{self, Course, Doing, Moment};
use crate::path::{Link, critical_path};
use crate::quantity::{rounded, seconds};
use dirigent_core::TaskIndex;
use dirigent_core::event::Event;
use dirigent_core::outcome::Usage;
use dirigent_core::state::TaskStatus;
use serde::Serialize;
use simulation::{Limits, Script, Simulated};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The numbers of workers that are tried, beside the run's own and any number.
const WORKERS: [u32; 5] = [1, 2, 4, 8, 16];
/// What workflows of Python call how many commands may run at once.
const COMMANDS: &str = "(commands)";
/// Beyond so many tasks nothing is simulated: it would take longer than somebody waits.
const MOST_SIMULATED: usize = 200_000;

/// Where the time of a run went. Its JSON names are stable: fields are added, never renamed. What ends in `_s` is in
/// seconds, without those in which the run was stopped or had no engine; shares are from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// The run's id.
    pub run: String,
    /// The name of its workflow.
    pub workflow: String,
    /// From accepted to ended; to the last thing known where it has not ended.
    pub wall_s: f64,
    /// What all attempts took together.
    pub run_s: f64,
    /// How many attempts ran at once, on average: `run_s` over `wall_s`.
    pub parallelism: f64,
    /// How many might run at once.
    pub max_concurrency: u32,
    /// How long tasks were ready and waited for a slot or a resource, together.
    pub queued_s: f64,
    /// CPU time that the kernel counted; `null` where it counted none.
    pub cpu_s: Option<f64>,
    /// How many processors were busy on average: `cpu_s` over `wall_s`.
    pub processors: Option<f64>,
    /// The most memory that one process had at once.
    pub peak_memory_bytes: Option<u64>,
    /// How many tasks need not run.
    pub reused: usize,
    /// What those took when they ran.
    pub saved_s: f64,
    /// What the run was waiting for, from its beginning to its end.
    pub critical_path: Vec<Step>,
    /// The time between the steps of the path: starting, recording, other runs.
    pub between_s: f64,
    /// What there is only so much of.
    pub resources: Vec<ResourceProfile>,
    /// What other limits would bring; `null` where that cannot be told.
    pub simulated: Option<Simulations>,
    /// Why it cannot be told.
    pub not_simulated: Option<String>,
    /// The earlier runs of the workflow that are alike; `null` where there are none.
    pub earlier: Option<EarlierRuns>,
    /// What there is to say.
    pub advice: Vec<Advice>,
    /// Every task, in the order of declaration.
    pub tasks: Vec<TaskProfile>,
}

/// Where the time of a task went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskProfile {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// How many attempts were started.
    pub attempts: u32,
    /// From the beginning of the run, or since it was declared, until it had what it needs.
    pub needs_s: f64,
    /// For how long it was ready and waited for a slot or a resource, before all its attempts.
    pub queued_s: f64,
    /// What its attempts took.
    pub run_s: f64,
    /// What those took of them that another one followed.
    pub failed_s: f64,
    /// The delays before further attempts.
    pub retry_s: f64,
    /// How long it waited for somebody's answer.
    pub answer_s: f64,
    /// How much of the critical path is its own.
    pub critical_s: f64,
    /// CPU time of its attempts, in user code and in the kernel; `null` where the kernel did not count it apart.
    pub cpu_s: Option<f64>,
    /// `cpu_s` over `run_s`: how many processors it kept busy.
    pub cpu_share: Option<f64>,
    /// The most memory that one of its processes had at once.
    pub peak_memory_bytes: Option<u64>,
    /// What it took where it was carried out; `null` where it was in this run.
    pub saved_s: Option<f64>,
    /// The median of `run_s` in earlier runs.
    pub median_s: Option<f64>,
}

/// A part of the critical path.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The task.
    pub task: String,
    /// Its attempt; `null` of an answer.
    pub attempt: Option<u32>,
    /// What the time was spent on.
    pub spent: Spent,
    /// What it had to wait for before.
    pub after: After,
    /// The resource, where it was one.
    pub resource: Option<String>,
    /// When it began, counted from the creation of the run.
    pub from_s: f64,
    /// How long it took.
    pub seconds: f64,
    /// Its part of `wall_s`.
    pub share: f64,
}

/// How a resource was used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourceProfile {
    /// Its name.
    pub name: String,
    /// The part of the time in which no task could have got any of it; `null` of a rate.
    pub full_share: Option<f64>,
    /// How long the run would have taken with twice as much; `null` where that cannot be told.
    pub doubled_s: Option<f64>,
}

/// What other limits would bring, where each attempt takes as long as it did: simulated by the core on what was recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Simulations {
    /// With the limits that the run had: how near the simulation comes to `wall_s`.
    pub as_it_was_s: f64,
    /// With so many workers, the last with any number of them.
    pub workers: Vec<WithWorkers>,
    /// How many could run at once at most.
    pub most_at_once: u32,
    /// With any number of workers, and enough of every resource: what no limits can shorten.
    pub bound_s: f64,
}

/// How long the run would have taken with so many workers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WithWorkers {
    /// How many; `null` for any number.
    pub workers: Option<u32>,
    /// How long.
    pub wall_s: f64,
}

/// Earlier runs that carried out as many tasks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EarlierRuns {
    /// How many.
    pub runs: usize,
    /// The median of how long they took.
    pub wall_s: f64,
}

/// What a profile needs to know of an earlier run.
#[derive(Clone, Debug, PartialEq)]
pub struct Earlier {
    wall_ms: i64,
    /// How long each task that was carried out took.
    tasks: HashMap<Arc<str>, i64>,
}

impl Earlier {
    /// Of a run that succeeded; `None` of any other.
    pub fn new<'a>(events: impl IntoIterator<Item = &'a Event>) -> Option<Self> {
        let course = Course::new(events)?;
        let succeeded = course.verdict() == Some(dirigent_core::event::Verdict::Succeeded);
        succeeded.then(|| Self { wall_ms: course.wall_ms, tasks: ran(&course) })
    }
}

/// How long each task that was carried out took, over its attempts.
fn ran(course: &Course) -> HashMap<Arc<str>, i64> {
    let mut tasks = HashMap::new();
    for span in course.spans.iter().filter(|span| span.doing != Doing::Waiting) {
        let name = &course.state.tasks()[span.task.usize()].spec.name;
        *tasks.entry(Arc::clone(name)).or_insert(0) += lasted_ms(course, span);
    }
    tasks
}

fn lasted_ms(course: &Course, span: &course::Span) -> i64 {
    span.until.map_or(course.wall_ms, |until| until.ms) - span.from.ms
}

/// How long it kept a slot, in microseconds: to the event where the clock of the kernel says nothing.
fn ran_us(course: &Course, span: &course::Span) -> u64 {
    match span.usage.wall_us {
        us if us > 0 && !span.handed_over => us,
        _ => u64::try_from(lasted_ms(course, span)).unwrap_or(0) * 1000,
    }
}

fn of_ms(ms: i64) -> f64 {
    rounded(ms as f64 / 1e3)
}

fn median(mut values: Vec<i64>) -> Option<f64> {
    values.sort_unstable();
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { of_ms(upper) } else { of_ms(upper + values[middle - 1]) / 2.0 })
}

impl Profile {
    /// Looks into a run by its events; `None` before its first.
    pub fn new<'a, E>(events: E, earlier: &[Earlier]) -> Option<Self>
    where
        E: IntoIterator<Item = &'a Event> + Clone,
    {
        let course = Course::new(events.clone())?;
        let header = course.state.header()?;
        let path = critical_path(&course);
        let tasks = tasks(&course, &path, earlier);
        let wall_s = of_ms(course.wall_ms);
        let over_wall = |s: f64| if wall_s > 0.0 { rounded(s / wall_s) } else { 0.0 };
        let attempts = || course.spans.iter().filter(|span| span.doing != Doing::Waiting);
        let in_slots = attempts().filter(|span| !course.policy(span.task).slotless);
        let run_s = rounded(seconds(in_slots.map(|span| ran_us(&course, span)).sum()));
        let counted: Vec<f64> = tasks.iter().filter_map(|task| task.cpu_s).collect();
        let cpu_s = (!counted.is_empty()).then(|| rounded(counted.iter().sum()));
        let on_path: i64 = path.iter().map(|link| link.until_ms - link.from_ms).sum();
        let (simulated, not_simulated, doubled) = match simulations(&course, events) {
            Ok((simulated, doubled)) => (Some(simulated), None, doubled),
            Err(why) => (None, Some(why.to_owned()), Vec::new()),
        };
        let mut profile = Self {
            run: header.run.to_string(),
            workflow: header.workflow.clone(),
            wall_s,
            run_s,
            parallelism: over_wall(run_s),
            max_concurrency: header.max_concurrency,
            queued_s: rounded(tasks.iter().map(|task| task.queued_s).fold(0.0, |sum, s| sum + s)),
            cpu_s,
            processors: cpu_s.map(over_wall),
            peak_memory_bytes: tasks.iter().filter_map(|task| task.peak_memory_bytes).max(),
            reused: tasks.iter().filter(|task| task.saved_s.is_some()).count(),
            saved_s: rounded(tasks.iter().filter_map(|task| task.saved_s).fold(0.0, |sum, s| sum + s)),
            critical_path: path.iter().map(|link| step(&course, link)).collect(),
            between_s: of_ms((course.wall_ms - on_path).max(0)),
            resources: resources(&course, &doubled),
            simulated,
            not_simulated,
            earlier: alike(&course, earlier),
            advice: Vec::new(),
            tasks,
        };
        profile.advice = advice::all(&profile);
        Some(profile)
    }
}

/// The earlier runs that carried out as many tasks: what reuse saved is no regression.
fn alike(course: &Course, earlier: &[Earlier]) -> Option<EarlierRuns> {
    let count = ran(course).len();
    let walls: Vec<i64> =
        earlier.iter().filter(|run| run.tasks.len() == count).map(|run| run.wall_ms).collect();
    let runs = walls.len();
    median(walls).map(|wall_s| EarlierRuns { runs, wall_s })
}

fn tasks(course: &Course, path: &[Link], earlier: &[Earlier]) -> Vec<TaskProfile> {
    let mut critical_ms: BTreeMap<TaskIndex, i64> = BTreeMap::new();
    for link in path {
        *critical_ms.entry(link.task).or_insert(0) += link.until_ms - link.from_ms;
    }
    let last_regular = course.last_regular_end();
    let each = (0u32..).map(TaskIndex).zip(course.state.tasks());
    each.map(|(index, task)| {
        let lane = &course.lanes[index.usize()];
        let (ready, _) = course.ready(index, last_regular);
        let spans = lane.spans.iter().map(|at| &course.spans[*at]);
        let (mut queued_ms, mut run_us, mut failed_us, mut retry_ms, mut answer_ms) = (0, 0, 0, 0, 0);
        let mut usage = Usage::default();
        let mut due: Moment = ready;
        for span in spans {
            queued_ms += (span.from.ms - due.ms).max(0);
            if span.doing == Doing::Waiting {
                answer_ms += lasted_ms(course, span);
                continue;
            }
            run_us += ran_us(course, span);
            usage.user_us += span.usage.user_us;
            usage.system_us += span.usage.system_us;
            usage.peak_memory_bytes = usage.peak_memory_bytes.max(span.usage.peak_memory_bytes);
            if let Some((due_ms, until)) = span.retry_ms.zip(span.until) {
                failed_us += ran_us(course, span);
                retry_ms += (due_ms - until.ms).max(0);
                due = Moment { ms: due_ms.max(until.ms), ..until };
            }
        }
        // A function in a thread has no figures of its own.
        let is_counted = usage.peak_memory_bytes > 0;
        let cpu_s = is_counted.then(|| rounded(seconds(usage.user_us + usage.system_us)));
        let run_s = rounded(seconds(run_us));
        let before = || earlier.iter().filter_map(|run| run.tasks.get(&task.spec.name).copied()).collect();
        TaskProfile {
            name: task.spec.name.to_string(),
            status: task.status,
            attempts: task.attempts,
            needs_s: of_ms(if lane.spans.is_empty() { 0 } else { ready.ms - lane.declared.ms }),
            queued_s: of_ms(queued_ms),
            run_s,
            failed_s: rounded(seconds(failed_us)),
            retry_s: of_ms(retry_ms),
            answer_s: of_ms(answer_ms),
            critical_s: of_ms(critical_ms.get(&index).copied().unwrap_or(0)),
            cpu_s,
            cpu_share: cpu_s.filter(|_| run_us > 0).map(|cpu_s| rounded(cpu_s / run_s)),
            peak_memory_bytes: is_counted.then_some(usage.peak_memory_bytes),
            saved_s: task.reused.as_ref().map(|reused| seconds(reused.saved_us)),
            median_s: if task.attempts > 0 { median(before()) } else { None },
        }
    })
    .collect()
}

fn step(course: &Course, link: &Link) -> Step {
    let ms = link.until_ms - link.from_ms;
    Step {
        task: course.state.tasks()[link.task.usize()].spec.name.to_string(),
        attempt: link.attempt,
        spent: link.spent,
        after: link.after,
        resource: link.resource.and_then(|at| Some(course.resources.get(at as usize)?.name.clone())),
        from_s: of_ms(link.from_ms),
        seconds: of_ms(ms),
        share: rounded(ms as f64 / course.wall_ms.max(1) as f64),
    }
}

fn resources(course: &Course, doubled: &[Option<f64>]) -> Vec<ResourceProfile> {
    let each = course.resources.iter().zip(&course.full_ms).enumerate();
    let each = each.filter(|(at, _)| least_claim(course, *at).is_some());
    each.map(|(at, (resource, full_ms))| ResourceProfile {
        name: resource.name.clone(),
        full_share: resource
            .per_ms
            .is_none()
            .then(|| rounded(*full_ms as f64 / course.wall_ms.max(1) as f64)),
        doubled_s: doubled.get(at).copied().flatten(),
    })
    .collect()
}

/// The least that a task takes of a resource; `None` where none takes any.
fn least_claim(course: &Course, at: usize) -> Option<u64> {
    let claims = course.state.tasks().iter().flat_map(|task| &task.spec.policy.claims);
    claims.filter(|claim| claim.resource as usize == at).map(|claim| claim.amount).min()
}

/// What other limits would bring, and twice as much of each resource.
fn simulations<'a>(
    course: &Course,
    events: impl IntoIterator<Item = &'a Event>,
) -> Result<(Simulations, Vec<Option<f64>>), &'static str> {
    const STUCK: &str = "on paper it does not come to an end";
    if course.lanes.len() > MOST_SIMULATED {
        return Err("it has more than 200,000 tasks");
    }
    let script = Script::new(course, events)?;
    let attempts = || course.spans.iter().filter(|span| span.doing != Doing::Waiting);
    let own_us: u64 = attempts().map(|span| ran_us(course, span)).sum();
    let held_ms: i64 = attempts().map(|span| lasted_ms(course, span)).sum();
    if own_us / 500 < u64::try_from(held_ms).unwrap_or(0) {
        return Err("its tasks are too short: starting and recording them took longer than they did");
    }
    let as_they_were: Vec<u64> = course.resources.iter().map(|resource| resource.capacity).collect();
    let any = u32::try_from(course.lanes.len()).unwrap_or(u32::MAX).max(1);
    let own = course.state.header().map_or(1, |header| header.max_concurrency);
    let with = |workers: u32, capacities: Vec<u64>| -> Option<Simulated> {
        script.simulate(&Limits { workers, capacities })
    };
    let as_it_was = with(own, as_they_were.clone()).ok_or(STUCK)?;
    // As many commands may run at once as there are workers.
    let for_workers = |workers: u32| {
        let mut capacities = as_they_were.clone();
        let commands = course.resources.iter().position(|resource| resource.name == COMMANDS);
        if let Some((at, claim)) = commands.and_then(|at| Some((at, least_claim(course, at)?))) {
            capacities[at] = claim.saturating_mul(u64::from(workers));
        }
        capacities
    };
    let most = with(any, for_workers(any)).ok_or(STUCK)?;
    // As many as ever ran at once are as good as any number.
    let with_workers = |workers: u32| match workers {
        _ if workers == own => Some(as_it_was),
        _ if workers >= most.peak => Some(most),
        _ => with(workers, for_workers(workers)),
    };
    let mut workers = Vec::new();
    for count in WORKERS {
        let wall_s = of_ms(with_workers(count).ok_or(STUCK)?.wall_ms);
        workers.push(WithWorkers { workers: Some(count), wall_s });
    }
    workers.push(WithWorkers { workers: None, wall_s: of_ms(most.wall_ms) });
    let bound = match course.resources.is_empty() {
        true => most,
        false => with(any, vec![u64::MAX; course.resources.len()]).ok_or(STUCK)?,
    };
    let doubled = (0..course.resources.len()).map(|at| {
        least_claim(course, at)?;
        let mut capacities = as_they_were.clone();
        capacities[at] = capacities[at].saturating_mul(2);
        with(own, capacities).map(|simulated| of_ms(simulated.wall_ms))
    });
    let doubled = doubled.collect();
    let simulated = Simulations {
        as_it_was_s: of_ms(as_it_was.wall_ms),
        workers,
        most_at_once: most.peak,
        bound_s: of_ms(bound.wall_ms),
    };
    Ok((simulated, doubled))
}
