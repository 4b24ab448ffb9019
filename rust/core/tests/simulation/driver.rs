//! Carries out a run on a clock of its own, with workers that fail in every way and people who interfere at any moment.

use crate::chance::Chance;
use crate::record::Record;
use crate::rules::{check_event, check_rest};
use crate::workflow::{Candidate, Taste};
use dirigent_core::decide::{Input, Report, are_starts, decide, follow};
use dirigent_core::event::CancelReason;
use dirigent_core::ids::TaskIndex;
use dirigent_core::outcome::Outcome;
use dirigent_core::spec::Task;
use dirigent_core::state::TaskStatus;
use dirigent_core::{Event, Fact, State};
use std::collections::BTreeMap;
use std::sync::Arc;

/// More steps than any run of this size takes.
const STEPS: usize = 20_000;

/// When more tasks than this were declared, no more are.
const TASKS: usize = 90;

/// What goes wrong in a run, in percent of the occasions.
#[derive(Clone, Debug)]
struct Faults {
    fails: u64,
    is_lost: u64,
    hangs: u64,
    expands: u64,
    /// A report comes again, later, or another one for the same attempt.
    is_repeated: u64,
    /// Steps at which somebody interferes.
    interferes: u64,
    /// Steps at which the engine dies, and another one takes the run up.
    dies: u64,
    /// Steps at which the clock has gone on further than anybody waited for.
    is_late: u64,
}

/// What somebody will say.
#[derive(Clone, Debug)]
enum Due {
    Say(Input),
    /// A function says that it consists of tasks, which are made when it does.
    Expand {
        task: TaskIndex,
        attempt: u32,
    },
}

/// A run on its way.
#[derive(Debug)]
pub(crate) struct Driver {
    chance: Chance,
    taste: Taste,
    faults: Faults,
    now_ms: i64,
    state: State,
    record: Record,
    pub(crate) events: Vec<Event>,
    due: BTreeMap<(i64, u64), Due>,
    interferences_left: u32,
}

impl Driver {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let taste = Taste::random(&mut chance);
        let faults = Faults {
            fails: chance.pick(&[0, 10, 30, 60]),
            is_lost: chance.pick(&[0, 0, 15]),
            hangs: chance.pick(&[0, 15, 40]),
            expands: chance.pick(&[0, 15, 40]),
            is_repeated: chance.pick(&[0, 10, 30]),
            interferes: chance.pick(&[0, 0, 3, 15]),
            dies: chance.pick(&[0, 0, 0, 2, 10]),
            is_late: chance.pick(&[0, 10, 50]),
        };
        Self {
            chance,
            taste,
            faults,
            now_ms: 1_700_000_000_000,
            state: State::default(),
            record: Record::default(),
            events: Vec::new(),
            due: BTreeMap::new(),
            interferences_left: 10,
        }
    }

    /// Carries the run through, holding the rules against every step.
    pub(crate) fn run(&mut self) {
        let created = self.taste.created(&mut self.chance, self.now_ms);
        self.record(vec![created.fact], None);
        let count = 1 + self.chance.below(40);
        let tasks = self.taste.tasks(&mut self.chance, 0, count, &[]);
        self.record(vec![Fact::TasksDeclared { tasks: tasks.into(), parent: None }], None);
        self.settle();
        let mut steps = 0;
        while self.state.open() > 0 {
            steps += 1;
            assert!(steps < STEPS, "the run does not end");
            self.step();
        }
        // The workers take some time to close, in which people and clocks go on.
        self.now_ms += self.chance.between(0, 100) as i64;
        self.settle();
        for _ in 0..self.chance.below(3) {
            let input = self.interference();
            self.say(input);
        }
        self.say(closed());
        for status in TaskStatus::ALL {
            let count = self.record.items.iter().filter(|item| item.is(status)).count();
            assert_eq!(self.state.count(status), count, "how many are {status:?}");
        }
        assert!(self.state.end().is_some(), "a run without open tasks ends with its workers");
        for late in std::mem::take(&mut self.due).into_values() {
            self.deliver(late);
        }
    }

    fn step(&mut self) {
        if self.interferences_left > 0 && self.chance.percent(self.faults.interferes) {
            self.interferences_left -= 1;
            let input = self.interference();
            return self.say(input);
        }
        if self.state.cancel().is_none() && self.chance.percent(self.faults.dies) {
            return self.die();
        }
        let report_ms = self.due.first_key_value().map(|((at_ms, _), _)| *at_ms);
        let due_ms = self.state.next_due_ms(self.now_ms);
        let next_ms = report_ms.into_iter().chain(due_ms).min().expect("something is to come: the run hangs");
        self.now_ms = self.now_ms.max(next_ms);
        if self.chance.percent(self.faults.is_late) {
            self.now_ms += self.chance.between(1, 25) as i64;
        }
        // Who comes first, when a report and the time for something else come together, is chance.
        let is_report_first = self.chance.percent(50);
        if !is_report_first {
            self.settle();
        }
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= self.now_ms) {
            let due = entry.remove();
            self.deliver(due);
        }
        self.settle();
    }

    /// Nobody hears anything more of what was under way. Another engine knows the events, and nothing else.
    fn die(&mut self) {
        self.due.clear();
        self.now_ms += self.chance.pick(&[0, 3, 1000]);
        self.state = State::fold(&self.events);
        self.say(Input::Resumed(Box::default()));
        let waiting = self.record.items.iter().enumerate().filter(|(_, item)| item.is(TaskStatus::Waiting));
        let waiting: Vec<_> = waiting.map(|(task, _)| TaskIndex(task as u32)).collect();
        for task in waiting {
            self.plan(
                40,
                Input::Answered { task, approved: true, comment: "so".into(), actor: "".into(), value: None },
            );
        }
    }

    fn deliver(&mut self, due: Due) {
        match due {
            Due::Say(input) => self.say(input),
            Due::Expand { task, attempt } => {
                let count = self.chance.below(5);
                let children = self.new_tasks(count, Some(task));
                self.say(Input::Expanded { task, attempt, children });
            }
        }
    }

    fn say(&mut self, input: Input) {
        let facts = decide(&self.state, input.clone(), self.now_ms);
        self.record(facts, Some(&input));
        self.settle();
    }

    fn settle(&mut self) {
        let most = 100 + 10 * self.record.items.len();
        let mut turns = 0;
        loop {
            let facts = follow(&self.state, self.now_ms);
            if facts.is_empty() {
                break;
            }
            let is_last = are_starts(&facts);
            self.record(facts, None);
            turns += 1;
            assert!(turns < most, "what follows never ends");
            assert!(!is_last || follow(&self.state, self.now_ms).is_empty(), "nothing follows from starts");
        }
        check_rest(&self.record, &self.state, self.now_ms);
    }

    fn record(&mut self, facts: Vec<Fact>, input: Option<&Input>) {
        for fact in facts {
            let seq = self.events.len() as u64;
            assert_eq!(self.state.next_seq(), seq, "events have no gaps");
            let event = Event { seq, at_ms: self.now_ms, fact };
            self.events.push(event.clone());
            check_event(&self.record, &event, input);
            self.record.note(&event);
            self.state.apply(&event);
            self.react(&event.fact);
        }
    }

    /// What the workers and the people do when they hear of a fact.
    fn react(&mut self, fact: &Fact) {
        match fact {
            Fact::AttemptStarted { task, attempt } => self.carry_out(*task, *attempt),
            Fact::ConditionAsked { task } => {
                let holds = match self.chance.below(10) {
                    0 => Err("no idea".into()),
                    1 | 2 => Ok(false),
                    _ => Ok(true),
                };
                self.plan(20, Input::ConditionAnswered { task: *task, holds });
            }
            Fact::WaitStarted { task } => {
                let has_timeout = self.record.items[task.usize()].policy().limits.timeout_ms.is_some();
                if !has_timeout || self.chance.percent(60) {
                    let approved = self.chance.percent(70);
                    self.plan(
                        40,
                        Input::Answered {
                            task: *task,
                            approved,
                            comment: "so".into(),
                            actor: "".into(),
                            value: None,
                        },
                    );
                }
            }
            Fact::CancelRequested { .. } => {
                self.end_commands(|record, task| !record.items[task].outlives_cancel);
            }
            Fact::TaskCancelRequested { task } => self.end_commands(|_, other| other == task.usize()),
            Fact::KillRequested => self.end_commands(|_, _| true),
            Fact::RunSuspended => self.plan(40, Input::Continued),
            _ => {}
        }
    }

    fn end_commands(&mut self, which: impl Fn(&Record, usize) -> bool) {
        for task in 0..self.record.items.len() {
            let item = &self.record.items[task];
            if item.is(TaskStatus::Running) && !item.is_function() && which(&self.record, task) {
                let attempt = item.attempts;
                let outcome = match self.chance.below(5) {
                    0 => Outcome::Lost { why: "the worker ended".into() },
                    _ => Outcome::Cancelled,
                };
                let task = TaskIndex(task as u32);
                self.plan(10, Input::AttemptEnded(Report::new(task, attempt, outcome)));
            }
        }
    }

    /// What becomes of an attempt: a report at some time, mostly.
    fn carry_out(&mut self, task: TaskIndex, attempt: u32) {
        let item = &self.record.items[task.usize()];
        let is_function = item.is_function();
        let timeout_ms = item.policy().limits.timeout_ms;
        let may_repeat = item.policy().repeat.is_some();
        let hangs = self.chance.percent(self.faults.hangs);
        if let Some(limit_ms) = timeout_ms.filter(|_| hangs) {
            // Functions are ended by the run, which hears nothing more of them; commands by their worker.
            if !is_function {
                let report = Report::new(task, attempt, Outcome::TimedOut { limit_ms });
                self.due.insert(
                    (self.now_ms + limit_ms as i64, self.chance.number()),
                    Due::Say(Input::AttemptEnded(report)),
                );
            }
            return;
        }
        let has_room = self.record.items.len() < TASKS;
        if is_function && has_room && self.chance.percent(self.faults.expands) {
            self.plan_due(25, Due::Expand { task, attempt });
            if self.chance.percent(self.faults.is_repeated) {
                self.plan_due(25, Due::Expand { task, attempt });
            }
            if self.chance.percent(self.faults.is_repeated) {
                let outcome = self.outcome(is_function, may_repeat);
                self.plan(40, Input::AttemptEnded(Report::new(task, attempt, outcome)));
            }
            return;
        }
        let outcome = self.outcome(is_function, may_repeat);
        self.plan(25, Input::AttemptEnded(Report::new(task, attempt, outcome)));
        if self.chance.percent(self.faults.is_repeated) {
            let other = self.outcome(is_function, may_repeat);
            self.plan(50, Input::AttemptEnded(Report::new(task, attempt, other)));
        }
    }

    fn outcome(&mut self, is_function: bool, may_repeat: bool) -> Outcome {
        if self.chance.percent(self.faults.is_lost) {
            return Outcome::Lost { why: "the worker is gone".into() };
        }
        let fails = self.chance.percent(self.faults.fails);
        match (is_function, fails) {
            (true, true) => {
                let retryable = self.chance.percent(80);
                Outcome::Raised { error: "ValueError".into(), message: "no".into(), retryable }
            }
            (true, false) if self.chance.percent(if may_repeat { 60 } else { 2 }) => Outcome::Unfinished,
            (true, false) => Outcome::Returned,
            (false, true) => match self.chance.below(6) {
                0 => Outcome::Killed { signal: 11, core_dumped: false, out_of_memory: false },
                1 => Outcome::MemoryExceeded { limit_bytes: 1 << 20 },
                2 => {
                    let doing = "change to /nowhere".into();
                    Outcome::CouldNotStart { doing, reason: "it is not there".into(), errno: None }
                }
                _ => Outcome::Failed { exit_code: 1 },
            },
            (false, false) => Outcome::Succeeded { exit_code: 0 },
        }
    }

    /// Somebody will say this within some milliseconds, or twice, or at once.
    fn plan(&mut self, within_ms: u64, input: Input) {
        let is_repeatable = !matches!(input, Input::AttemptEnded(_));
        if is_repeatable && self.chance.percent(self.faults.is_repeated) {
            self.plan_due(within_ms, Due::Say(input.clone()));
        }
        self.plan_due(within_ms, Due::Say(input));
    }

    fn plan_due(&mut self, within_ms: u64, due: Due) {
        let at_ms = self.now_ms + self.chance.between(0, within_ms) as i64;
        self.due.insert((at_ms, self.chance.number()), due);
    }

    /// What nobody waited for.
    fn interference(&mut self) -> Input {
        let task = TaskIndex(self.chance.below(self.record.items.len()) as u32);
        let item = &self.record.items[task.usize()];
        match self.chance.below(24) {
            0 => Input::Cancel(CancelReason::Interrupted),
            1 => Input::Kill,
            2..7 => Input::CancelTask(task),
            7..10 => Input::Suspended,
            10 => Input::Continued,
            11..14 if self.record.items.len() < TASKS => {
                let count = self.chance.below(6);
                Input::Declared(self.new_tasks(count, None))
            }
            14 => Input::Answered {
                task,
                approved: true,
                comment: "early".into(),
                actor: "".into(),
                value: None,
            },
            15 => Input::ConditionAnswered { task, holds: Ok(true) },
            16 => closed(),
            17..20 => {
                // The worker dies with all it carries out.
                let mut attempts = Vec::new();
                for (task, item) in (0u32..).map(TaskIndex).zip(&self.record.items) {
                    if item.is(TaskStatus::Running) && !item.is_expanded {
                        attempts.push((task, item.attempts));
                    }
                }
                for (task, attempt) in attempts {
                    let report = Report::new(task, attempt, Outcome::Lost { why: "the worker died".into() });
                    self.due
                        .insert((self.now_ms, self.chance.number()), Due::Say(Input::AttemptEnded(report)));
                }
                Input::Declared(Vec::new())
            }
            _ => {
                let attempt = item.attempts + self.chance.below(2) as u32;
                let outcome = self.outcome(item.is_function(), true);
                Input::AttemptEnded(Report::new(task, attempt, outcome))
            }
        }
    }

    /// New tasks that can be carried out: none waits for what waits for it.
    fn new_tasks(&mut self, count: usize, parent: Option<TaskIndex>) -> Vec<Arc<Task>> {
        let record = &self.record;
        let is_whole = |task: usize| parent.is_some_and(|parent| parent.usize() == task);
        let is_after_all = |task: usize| record.items[task].is_last() && !record.items[task].is_last_reached;
        let all = (0..record.items.len()).filter(|task| !record.waits_for(*task, &is_whole));
        let candidates = all.map(|task| Candidate {
            task: TaskIndex(task as u32),
            is_after_all: record.waits_for(task, &is_after_all),
        });
        let candidates: Vec<Candidate> = candidates.collect();
        let first = record.items.len();
        self.taste.tasks(&mut self.chance, first, count, &candidates)
    }

    /// Whether the events alone give the same state, also where they were cut off.
    pub(crate) fn check_replay(&mut self) {
        assert_eq!(State::fold(&self.events), self.state, "the fold of all events");
        let mut folded = State::default();
        let cut = self.chance.below(self.events.len());
        for event in &self.events[..cut] {
            folded.apply(event);
        }
        assert_eq!(State::fold(&self.events[..cut]), folded, "the fold of the first {cut} events");
    }

    /// The events as they are written.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |event| serde_json::to_string(event).expect("an event can be written");
        self.events.iter().map(line).collect()
    }

    /// Whether the events are the same after they were written and read.
    pub(crate) fn check_wire(&self) {
        for (event, line) in self.events.iter().zip(self.lines()) {
            let read: Event = serde_json::from_str(&line).expect("what was written can be read");
            assert_eq!(&read, event, "{line}");
        }
    }
}

fn closed() -> Input {
    Input::WorkersClosed { strays: 0, survivors: Vec::new() }
}
