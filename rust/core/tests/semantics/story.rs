//! A run as a short text: what its tasks are, what happens, and how everything should stand then.
//!
//! ```text
//! run slots=2 cpu=4: fetch retry=2@100, train(fetch) command cpu=3, tidy teardown
//! fetch fails                                        what a worker or a person says, with all that follows
//! => fetch: retrying · train: pending · tidy: pending
//! next at 100                                        what is due next is due then, in milliseconds since the start
//! => fetch: running #2 · train: pending · tidy: pending
//! in vain: fetch#1 fails                             what is said so means nothing: no fact comes of it
//! ```

use dirigent_core::decide::{Input, Report, decide, follow};
use dirigent_core::event::{CancelReason, Created, Origin, Reused, SkipReason, Verdict};
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::outcome::Outcome;
use dirigent_core::spec::{Action, Claim, Command, Policy, Repeat, Resource, Retry, Reuse, Task, Trigger};
use dirigent_core::state::TaskState;
use dirigent_core::{Event, Fact, State};
use std::sync::Arc;

const START_MS: i64 = 1_700_000_000_000;

/// More turns than what follows from one line of any story takes.
const TURNS: usize = 100;

/// Tells a story and holds each `=>` in it against the state at that point.
#[track_caller]
pub(crate) fn check(story: &str) {
    let mut run = Run { now_ms: START_MS, ..Run::default() };
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(expected) = line.strip_prefix("=>") {
            assert_eq!(run.shown(), expected.trim(), "in\n{story}");
        } else if let Some(at_ms) = line.strip_prefix("next at ") {
            let due_ms = run.state.next_due_ms(run.now_ms).map(|ms| ms - START_MS);
            assert_eq!(due_ms, Some(number(at_ms)), "{line}, in\n{story}");
            run.now_ms = START_MS + number::<i64>(at_ms);
            run.settle();
        } else if let Some(line) = line.strip_prefix("in vain: ") {
            let count = run.events.len();
            run.act(line);
            assert_eq!(run.events[count..], [], "{line}, in\n{story}");
        } else if line == "nothing is due" {
            assert_eq!(run.state.next_due_ms(run.now_ms), None, "in\n{story}");
        } else {
            run.act(line);
        }
    }
    assert_eq!(State::fold(&run.events), run.state, "the fold of the events of\n{story}");
}

/// The first attempt of a function as it was recorded to have ended, in microseconds of wall time.
pub(crate) fn wall_us(story: &str) -> u64 {
    let mut run = Run { now_ms: START_MS, ..Run::default() };
    story.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| run.act(line));
    run.state.tasks()[0].ended.as_ref().expect("the first task has ended").usage.wall_us
}

#[derive(Default)]
struct Run {
    state: State,
    events: Vec<Event>,
    now_ms: i64,
    resources: Vec<Resource>,
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"))
}

impl Run {
    fn act(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["run" | "run:", ..] => self.begin(line),
            ["wait", ms] => {
                self.now_ms += number::<i64>(ms);
                self.settle();
            }
            ["declare", ..] => self.say(|run| Input::Declared(run.tasks(rest_after(line, "declare")))),
            ["cancel"] => self.say(|_| Input::Cancel(CancelReason::Interrupted)),
            ["cancel", task] => self.say(|run| Input::CancelTask(run.find(task))),
            ["kill"] => self.say(|_| Input::Kill),
            ["another", "engine"] => {
                self.state = State::fold(&self.events);
                self.say(|_| Input::Resumed(Box::default()));
            }
            ["another", "engine", "without", task] => {
                self.state = State::fold(&self.events);
                self.record(decide(&self.state, Input::Resumed(Box::default()), self.now_ms));
                self.say(|run| Input::ValueLost { task: run.find(task), why: "nobody kept it".into() });
            }
            [task, "is", "known"] => {
                let from = RunId::try_from("r0".to_owned()).expect("it has letters and digits only");
                let reused = Reused { from, saved_us: 5, key: None, logs: None, value: None };
                self.say(|run| Input::Reused { task: run.find(task), reused });
            }
            [task, "is", "unknown"] => {
                self.say(|run| Input::NotReusable { task: run.find(task), key: None, parts: Vec::new() });
            }
            [task, "is", "gone"] => {
                self.say(|run| Input::ValueLost { task: run.find(task), why: "nobody kept it".into() });
            }
            ["stop"] => self.say(|_| Input::Suspended),
            ["go", "on"] => self.say(|_| Input::Continued),
            ["workers", "close"] => {
                self.say(|_| Input::WorkersClosed { strays: 0, survivors: Vec::new() });
            }
            [task, "becomes", ..] => self.say(|run| {
                let children = run.tasks(rest_after(line, "becomes"));
                let task = run.find(task);
                Input::Expanded { task, attempt: run.state.tasks()[task.usize()].attempts, children }
            }),
            [task, "should", "run"] => self.answer_condition(task, Ok(true)),
            [task, "should", "not", "run"] => self.answer_condition(task, Ok(false)),
            [task, "cannot", "be", "judged"] => self.answer_condition(task, Err("no idea".into())),
            [task, "is", "approved"] => self.answer(task, true),
            [task, "is", "rejected"] => self.answer(task, false),
            [ref task @ .., verb] if task.len() == 1 => self.say(|run| run.report(task[0], verb)),
            _ => panic!("what does `{line}` mean?"),
        }
    }

    fn begin(&mut self, line: &str) {
        let (head, tasks) = line.split_once(':').expect("a run has tasks after a colon");
        let (mut max_concurrency, mut fail_fast, mut timeout_ms) = (9, false, None);
        for setting in head.split_whitespace().skip(1) {
            match setting.split_once('=') {
                Some(("slots", slots)) => max_concurrency = number(slots),
                Some(("timeout", ms)) => timeout_ms = Some(number(ms)),
                Some((name, amount)) => {
                    let (capacity, per_ms) = match amount.split_once('/') {
                        Some((capacity, per_ms)) => (capacity, Some(number(per_ms))),
                        None => (amount, None),
                    };
                    self.resources.push(Resource {
                        name: name.to_owned(),
                        capacity: number(capacity),
                        per_ms,
                    });
                }
                None => fail_fast = setting == "fail_fast",
            }
        }
        let created = Fact::RunCreated(Box::new(Created {
            run: RunId::try_from("r1".to_owned()).expect("it has letters and digits only"),
            workflow: "story".to_owned(),
            max_concurrency,
            fail_fast,
            origin: Box::new(Origin::default()),
            resources: self.resources.clone(),
            timeout_ms,
            seed: 7,
        }));
        let tasks = self.tasks(tasks);
        self.record(vec![created, Fact::TasksDeclared { tasks: tasks.into(), parent: None }]);
        self.settle();
    }

    /// `a, b(a) command any_failed, c(a b) retry=2@100`; names of the run and of the text itself may be needed.
    fn tasks(&self, text: &str) -> Vec<Arc<Task>> {
        let texts: Vec<&str> = text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
        let head = |text: &str| text.split([' ', '(']).next().unwrap_or_default().to_owned();
        let mut names: Vec<String> =
            self.state.tasks().iter().map(|task| task.spec.name.to_string()).collect();
        names.extend(texts.iter().map(|text| head(text)));
        let index = |name: &str| {
            let place = names.iter().position(|known| known == name);
            TaskIndex(place.unwrap_or_else(|| panic!("there is no `{name}`")) as u32)
        };
        let task = |text: &&str| {
            let name = head(text);
            let rest = text[name.len()..].trim();
            let (needs, options) = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
                Some(parts) => parts,
                None => ("", rest),
            };
            let mut action = Action::function(name.as_str(), None);
            let mut policy = Policy::default();
            for option in options.split_whitespace() {
                match option {
                    "command" => {
                        let command =
                            Command { argv: vec!["true".into()], cwd: "/".into(), ..Command::default() };
                        action = Action::Command(Box::new(command));
                    }
                    "approval" => action = Action::approval("well?", false),
                    option => self.set(&mut policy, option),
                }
            }
            let needs = needs.split_whitespace().map(index).collect();
            Arc::new(Task { name: name.into(), action, needs, policy: Arc::new(policy) })
        };
        texts.iter().map(task).collect()
    }

    fn set(&self, policy: &mut Policy, option: &str) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let (times, delay) = value.split_once('@').unwrap_or((value, "0"));
        match key {
            "all_done" => policy.trigger = Trigger::AllDone,
            "any_success" => policy.trigger = Trigger::AnySuccess,
            "any_failed" => policy.trigger = Trigger::AnyFailed,
            "none_failed" => policy.trigger = Trigger::NoneFailed,
            "always" => policy.trigger = Trigger::Always,
            "teardown" => policy.teardown = true,
            "slotless" => policy.slotless = true,
            "asks" => policy.has_condition = true,
            "reuse" => policy.reuse = Some(Reuse::default()),
            "skip" => policy.skip = Some("not today".to_owned()),
            "priority" => policy.priority = number(value),
            "timeout" => policy.limits.timeout_ms = Some(number(value)),
            "lost" => policy.lost_attempts_allowed = number(value),
            "repeat" => {
                policy.repeat = Some(Repeat { max_times: number(times), delay_ms: number(delay) });
            }
            "retry" => {
                policy.retry = Some(Retry {
                    max_attempts: number(times),
                    initial_delay_ms: number(delay),
                    max_delay_ms: 1_000,
                    base: 2.0,
                    jitter: 0.0,
                });
            }
            name => {
                let resource = self.resources.iter().position(|resource| resource.name == name);
                let resource = resource.unwrap_or_else(|| panic!("what does `{option}` mean?")) as u32;
                policy.claims.push(Claim { resource, amount: number(value) });
            }
        }
    }

    /// `fetch fails` is about the attempt that runs, `fetch#1 fails` about that one.
    fn report(&self, task: &str, verb: &str) -> Input {
        let (name, attempt) = match task.split_once('#') {
            Some((name, attempt)) => (name, Some(number(attempt))),
            None => (task, None),
        };
        let task = self.find(name);
        let it = &self.state.tasks()[task.usize()];
        let outcome = match (verb, it.spec.action.command().is_some()) {
            ("succeeds", true) => Outcome::Succeeded { exit_code: 0 },
            ("succeeds", false) => Outcome::Returned,
            ("fails", true) => Outcome::Failed { exit_code: 1 },
            ("fails", false) => {
                Outcome::Raised { error: "OSError".into(), message: "".into(), retryable: true }
            }
            ("raises", _) => {
                Outcome::Raised { error: "TypeError".into(), message: "".into(), retryable: false }
            }
            ("repeats", _) => Outcome::Unfinished,
            ("vanishes", _) => Outcome::Lost { why: "the worker is gone".into() },
            ("ends", _) => Outcome::Cancelled,
            (verb, _) => panic!("what does `{verb}` mean?"),
        };
        Input::AttemptEnded(Report::new(task, attempt.unwrap_or(it.attempts), outcome))
    }

    fn answer_condition(&mut self, task: &str, holds: Result<bool, Box<str>>) {
        self.say(|run| Input::ConditionAnswered { task: run.find(task), holds });
    }

    fn answer(&mut self, task: &str, approved: bool) {
        self.say(|run| Input::Answered {
            task: run.find(task),
            approved,
            comment: "".into(),
            actor: "".into(),
            value: None,
        });
    }

    fn find(&self, name: &str) -> TaskIndex {
        let place = self.state.tasks().iter().position(|task| &*task.spec.name == name);
        TaskIndex(place.unwrap_or_else(|| panic!("there is no `{name}`")) as u32)
    }

    fn say(&mut self, input: impl FnOnce(&Self) -> Input) {
        let facts = decide(&self.state, input(self), self.now_ms);
        self.record(facts);
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..TURNS {
            let facts = follow(&self.state, self.now_ms);
            if facts.is_empty() {
                return;
            }
            self.record(facts);
        }
        panic!("what follows never ends");
    }

    fn record(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            let event = Event { seq: self.state.next_seq(), at_ms: self.now_ms, fact };
            self.state.apply(&event);
            self.events.push(event);
        }
    }

    fn shown(&self) -> String {
        let mut shown: Vec<String> = self.state.tasks().iter().map(|task| self.shown_task(task)).collect();
        shown.extend(self.state.end().map(|end| match end.verdict {
            Verdict::Succeeded => "the run succeeded".to_owned(),
            Verdict::Failed => "the run failed".to_owned(),
            Verdict::Cancelled => "the run was cancelled".to_owned(),
        }));
        shown.join(" · ")
    }

    /// Attempts are counted from the second one on, and skips have their reason.
    fn shown_task(&self, task: &TaskState) -> String {
        let name = |task: &TaskIndex| &*self.state.tasks()[task.usize()].spec.name;
        let detail = match task.skipped.as_deref() {
            None if task.attempts > 1 => format!(" #{}", task.attempts),
            None => String::new(),
            Some(SkipReason::Declared { text }) => format!(" ({text})"),
            Some(SkipReason::NeedNotMet { need }) => format!(" (needs {})", name(need)),
            Some(SkipReason::TriggerNotMet) => " (trigger)".to_owned(),
            Some(SkipReason::Condition) => " (condition)".to_owned(),
            Some(SkipReason::FailFast { failed }) => format!(" (after {})", name(failed)),
        };
        format!("{}: {}{detail}", task.spec.name, task.status.name())
    }
}

fn rest_after<'a>(line: &'a str, word: &str) -> &'a str {
    line.split_once(word).map_or("", |(_, rest)| rest)
}
