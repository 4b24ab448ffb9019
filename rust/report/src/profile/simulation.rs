//! How long a run would have taken with other limits: the core decides again what starts when, and what came from outside
//! comes after the same time as it did.

use crate::course::Course;
use dirigent_core::decide::follow;
use dirigent_core::event::{Event, Fact, SkipReason};
use dirigent_core::outcome::{Ended, Outcome};
use dirigent_core::spec::Task;
use dirigent_core::{State, TaskIndex};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// What is other than it was.
pub(super) struct Limits {
    /// How many attempts may run at once.
    pub(super) workers: u32,
    /// How much there is of each resource.
    pub(super) capacities: Vec<u64>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Simulated {
    pub(super) wall_ms: i64,
    /// How many slots were taken at most.
    pub(super) peak: u32,
}

/// What came from outside after the core had said something of a task, and how long after.
type Replies = Vec<(i64, usize)>;

/// A run that can be carried out again, on paper.
pub(super) struct Script<'a> {
    course: &'a Course,
    created: Fact,
    first: Vec<Arc<Task>>,
    /// What came from outside.
    said: Vec<Fact>,
    /// Of each task, one after the other.
    replies: Vec<Vec<Replies>>,
    /// What was said before anything was asked.
    unasked: Vec<(TaskIndex, usize)>,
    /// The places of the parts of an expansion, by its place among what was said.
    parts: Vec<(usize, u32)>,
    /// Before the first task could begin, and after the last had ended.
    around_ms: i64,
}

impl<'a> Script<'a> {
    /// The run as it can be carried out again.
    ///
    /// # Errors
    ///
    /// Why it cannot, as a sentence without its end.
    pub(super) fn new<'e>(
        course: &'a Course,
        events: impl IntoIterator<Item = &'e Event>,
    ) -> Result<Self, &'static str> {
        if course.verdict().is_none() || course.state.cancel().is_some() {
            return Err("the run did not come to its own end");
        }
        let mut script = Self {
            course,
            created: Fact::KillRequested,
            first: Vec::new(),
            said: Vec::new(),
            replies: vec![Vec::new(); course.lanes.len()],
            unasked: Vec::new(),
            parts: Vec::new(),
            around_ms: 0,
        };
        let (mut asked_ms, mut begun_ms) = (vec![0; course.lanes.len()], None);
        let mut declared = 0;
        for (event, at_ms) in events.into_iter().zip(&course.at_ms) {
            match &event.fact {
                Fact::RunCreated(_) => script.created = event.fact.clone(),
                Fact::TasksDeclared { tasks, parent: None } if begun_ms.is_none() => {
                    script.first.extend(script.on_paper(tasks, declared));
                    declared += tasks.len();
                }
                Fact::TasksDeclared { parent: None, .. } => {
                    return Err(
                        "its program declared tasks while it went on, and may have waited for others",
                    );
                }
                Fact::TasksDeclared { tasks, parent: Some(parent) } => {
                    script.parts.push((script.said.len(), declared as u32));
                    let tasks = script.on_paper(tasks, declared);
                    declared += tasks.len();
                    let fact = Fact::TasksDeclared { tasks: tasks.into(), parent: Some(*parent) };
                    script.say(*parent, at_ms - asked_ms[parent.usize()], fact);
                }
                Fact::ConditionAsked { task }
                | Fact::ReuseAsked { task }
                | Fact::WaitStarted { task }
                | Fact::AttemptStarted { task, .. } => {
                    begun_ms.get_or_insert(*at_ms);
                    asked_ms[task.usize()] = *at_ms;
                    script.replies[task.usize()].push(Replies::new());
                }
                Fact::AttemptEnded { task, retry_at_ms, ended, .. } => {
                    // Where it consists of tasks, the core says by itself when it is through.
                    let its = course.lanes[task.usize()].spans.iter().rev().map(|at| &course.spans[*at]);
                    let mut its = its.filter(|span| span.from.seq < event.seq);
                    let is_whole = its.next().is_some_and(|span| span.handed_over);
                    let by_parts = matches!(ended.outcome, Outcome::Returned | Outcome::ChildFailed { .. });
                    if !(is_whole && by_parts) {
                        let retry_ms = retry_at_ms.map(|retry_at_ms| retry_at_ms - event.at_ms);
                        let fact = over(*task, 0, ended.outcome.clone(), retry_ms);
                        script.say(*task, at_ms - asked_ms[task.usize()], fact);
                    }
                }
                Fact::ConditionHeld { task }
                | Fact::ReuseDeclined { task, .. }
                | Fact::WaitAnswered { task, .. }
                | Fact::WaitTimedOut { task }
                | Fact::TaskFailed { task, .. }
                | Fact::TaskReused { task, .. }
                | Fact::TaskSkipped { task, reason: SkipReason::Condition } => {
                    script.say(*task, at_ms - asked_ms[task.usize()], event.fact.clone());
                }
                Fact::ValueLost { .. } => return Err("a value of it was lost, and made again"),
                Fact::TaskCancelRequested { .. } => return Err("a task of it was cancelled"),
                Fact::ActionSettled { .. }
                | Fact::TaskSkipped { .. }
                | Fact::TaskCancelled { .. }
                | Fact::CancelRequested { .. }
                | Fact::KillRequested
                | Fact::RunResumed { .. }
                | Fact::RunSuspended
                | Fact::RunContinued
                | Fact::RunEnded { .. } => {}
            }
        }
        let last_ms = course.lanes.iter().filter_map(|lane| lane.ended).map(|ended| ended.ms).max();
        script.around_ms = begun_ms.unwrap_or(0) + last_ms.map_or(0, |last_ms| course.wall_ms - last_ms);
        Ok(script)
    }

    /// Notes what was said of a task.
    fn say(&mut self, task: TaskIndex, after_ms: i64, fact: Fact) {
        match self.replies[task.usize()].last_mut() {
            Some(last) => last.push((after_ms, self.said.len())),
            // It was said without a question, before anything began.
            None => self.unasked.push((task, self.said.len())),
        }
        self.said.push(fact);
    }

    /// The tasks without what the core would decide by itself, and has been decided. The first has this place in the run.
    fn on_paper(&self, tasks: &[Arc<Task>], first: usize) -> Vec<Arc<Task>> {
        let changed = |(place, task): (usize, &Arc<Task>)| {
            let skipped = self.course.state.tasks()[place].skipped.as_deref();
            let fell = matches!(skipped, Some(SkipReason::FailFast { .. }));
            if task.policy.limits.timeout_ms.is_none() && !fell {
                return Arc::clone(task);
            }
            let mut changed = Task::clone(task);
            let policy = Arc::make_mut(&mut changed.policy);
            policy.limits.timeout_ms = None;
            if fell {
                policy.skip = Some(String::new());
            }
            Arc::new(changed)
        };
        tasks.iter().enumerate().map(|(i, task)| changed((first + i, task))).collect()
    }

    /// Carries it out within other limits; `None` where it does not come to an end.
    pub(super) fn simulate(&self, limits: &Limits) -> Option<Simulated> {
        let mut paper = Paper {
            script: self,
            state: State::default(),
            now_ms: 0,
            to_come: BinaryHeap::new(),
            asked: vec![0; self.replies.len()],
            place: Vec::new(),
            recorded: Vec::new(),
            peak: 0,
        };
        let mut created = self.created.clone();
        if let Fact::RunCreated(it) = &mut created {
            (it.max_concurrency, it.fail_fast, it.timeout_ms) = (limits.workers, false, None);
            for (resource, capacity) in it.resources.iter_mut().zip(&limits.capacities) {
                resource.capacity = *capacity;
            }
        }
        paper.place = vec![None; self.replies.len()];
        paper.declare(0, self.first.len());
        paper.apply(created);
        paper.apply(Fact::TasksDeclared { tasks: self.first.clone().into(), parent: None });
        for (task, said) in &self.unasked {
            paper.hear(paper.place[task.usize()]?, Some(*said))?;
        }
        paper.run()?;
        Some(Simulated { wall_ms: paper.now_ms + self.around_ms, peak: paper.peak })
    }
}

/// That an attempt ended, and nothing else of it.
pub(super) fn over(task: TaskIndex, attempt: u32, outcome: Outcome, retry_at_ms: Option<i64>) -> Fact {
    Fact::AttemptEnded { task, attempt, retry_at_ms, ended: Arc::new(Ended::new(outcome)) }
}

/// What is said when, in the order in which it was heard of: of which task, and what.
type ToCome = (i64, u64, TaskIndex, Option<usize>);

/// A run on paper. Its tasks may have other places than in the recorded one, where tasks became others in another order.
struct Paper<'a> {
    script: &'a Script<'a>,
    state: State,
    now_ms: i64,
    to_come: BinaryHeap<Reverse<ToCome>>,
    /// How often something was asked, by the recorded places.
    asked: Vec<usize>,
    /// From recorded places to these.
    place: Vec<Option<TaskIndex>>,
    /// From these to recorded ones.
    recorded: Vec<TaskIndex>,
    peak: u32,
}

impl Paper<'_> {
    fn declare(&mut self, first: u32, count: usize) {
        for i in first..first + count as u32 {
            self.place[i as usize] = Some(TaskIndex(self.recorded.len() as u32));
            self.recorded.push(TaskIndex(i));
        }
    }

    fn apply(&mut self, fact: Fact) {
        let asked = match &fact {
            Fact::ConditionAsked { task }
            | Fact::ReuseAsked { task }
            | Fact::WaitStarted { task }
            | Fact::AttemptStarted { task, .. } => Some(*task),
            _ => None,
        };
        let event = Event { seq: self.state.next_seq(), at_ms: self.now_ms, fact };
        self.state.apply(&event);
        self.peak = self.peak.max(self.state.running());
        let Some(task) = asked else { return };
        let recorded = self.recorded[task.usize()].usize();
        let replies = self.script.replies[recorded].get(self.asked[recorded]);
        self.asked[recorded] += 1;
        match replies {
            Some(replies) => self.to_come.extend(
                replies.iter().map(|(ms, said)| Reverse((self.now_ms + ms, event.seq, task, Some(*said)))),
            ),
            // It was never carried out: nobody knows how long it takes.
            None => self.to_come.push(Reverse((self.now_ms, event.seq, task, None))),
        }
    }

    fn run(&mut self) -> Option<()> {
        loop {
            loop {
                let facts = follow(&self.state, self.now_ms);
                if facts.is_empty() {
                    break;
                }
                facts.into_iter().for_each(|fact| self.apply(fact));
            }
            if self.state.open() == 0 {
                return Some(());
            }
            let said = self.to_come.peek().map(|Reverse((ms, ..))| *ms);
            self.now_ms = said.into_iter().chain(self.state.next_due_ms(self.now_ms)).min()?.max(self.now_ms);
            while let Some(Reverse((ms, _, task, said))) = self.to_come.peek().copied() {
                if ms > self.now_ms {
                    break;
                }
                self.to_come.pop();
                self.hear(task, said)?;
            }
        }
    }

    /// What was said of a task is said again.
    fn hear(&mut self, task: TaskIndex, said: Option<usize>) -> Option<()> {
        let it = &self.state.tasks()[task.usize()];
        if it.status.is_final() {
            return Some(());
        }
        let attempts = it.attempts;
        let mut fact = match said {
            Some(said) => self.script.said[said].clone(),
            None => over(task, 0, Outcome::Returned, None),
        };
        match &mut fact {
            Fact::TasksDeclared { tasks, parent } => {
                let parts = &self.script.parts;
                let at = parts.binary_search_by_key(&said?, |(said, _)| *said).ok()?;
                self.declare(parts[at].1, tasks.len());
                *parent = Some(task);
                for part in Arc::make_mut(tasks) {
                    let needs = part.needs.iter().map(|need| self.place[need.usize()]);
                    let needs: Option<Box<[TaskIndex]>> = needs.collect();
                    Arc::make_mut(part).needs = needs?;
                }
            }
            Fact::AttemptEnded { task: its, attempt, retry_at_ms, .. } => {
                (*its, *attempt) = (task, attempts);
                *retry_at_ms = retry_at_ms.map(|delay_ms| self.now_ms + delay_ms);
            }
            Fact::ConditionHeld { task: its }
            | Fact::ReuseDeclined { task: its, .. }
            | Fact::WaitAnswered { task: its, .. }
            | Fact::WaitTimedOut { task: its }
            | Fact::TaskFailed { task: its, .. }
            | Fact::TaskReused { task: its, .. }
            | Fact::TaskSkipped { task: its, .. } => *its = task,
            _ => {}
        }
        self.apply(fact);
        Some(())
    }
}
