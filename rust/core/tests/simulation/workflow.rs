//! Random workflows: every kind of task there is, in any mix, that can be carried out.

use crate::chance::Chance;
use dirigent_core::event::{Created, Origin};
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::spec::{Action, Claim, Command, Limits, Policy, Repeat, Resource, Retry, Task, Trigger};
use dirigent_core::{Event, Fact};
use std::sync::Arc;

const TRIGGERS: [Trigger; 6] = [
    Trigger::AllSuccess,
    Trigger::AllDone,
    Trigger::AnySuccess,
    Trigger::AnyFailed,
    Trigger::NoneFailed,
    Trigger::Always,
];

/// What the tasks of a run are like, in percent of them.
#[derive(Clone, Debug)]
pub(crate) struct Taste {
    resources: Vec<Resource>,
    other_triggers: u64,
    commands: u64,
    approvals: u64,
    retries: u64,
    repeats: u64,
    claims: u64,
    conditions: u64,
    teardowns: u64,
    slotless: u64,
    timeouts: u64,
    skips: u64,
}

/// One of the tasks that a new one may need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) task: TaskIndex,
    /// Whether it waits, perhaps by way of others, for all tasks that clean nothing up.
    pub(crate) is_after_all: bool,
}

impl Taste {
    /// One of many: some runs have none of a thing, some have much of it.
    pub(crate) fn random(chance: &mut Chance) -> Self {
        let count = chance.pick(&[0, 0, 1, 2, 3]);
        let resources = (0..count).map(|number| Resource {
            name: format!("resource{number}"),
            capacity: chance.between(1, 4),
            per_ms: chance.percent(50).then(|| chance.between(1, 40)),
        });
        Self {
            resources: resources.collect(),
            other_triggers: chance.pick(&[0, 20, 40, 90]),
            commands: chance.pick(&[0, 40, 90]),
            approvals: chance.pick(&[0, 0, 10]),
            retries: chance.pick(&[0, 30, 90]),
            repeats: chance.pick(&[0, 15, 50]),
            claims: chance.pick(&[30, 90]),
            conditions: chance.pick(&[0, 0, 20]),
            teardowns: chance.pick(&[0, 0, 10, 30]),
            slotless: chance.pick(&[0, 0, 15]),
            timeouts: chance.pick(&[0, 30, 90]),
            skips: chance.pick(&[0, 0, 8]),
        }
    }

    /// The first event of a run of such tasks.
    pub(crate) fn created(&self, chance: &mut Chance, at_ms: i64) -> Event {
        let fact = Fact::RunCreated(Box::new(Created {
            run: RunId::try_from("simulated".to_owned()).expect("it has letters only"),
            workflow: "simulated".to_owned(),
            max_concurrency: chance.between(1, 5) as u32,
            fail_fast: chance.percent(50),
            origin: Box::new(Origin::default()),
            resources: self.resources.clone(),
            timeout_ms: chance.percent(15).then(|| chance.between(1, 200)),
            seed: chance.number(),
        }));
        Event { seq: 0, at_ms, fact }
    }

    /// Tasks to be added to those there are; `first` is the index of the first of them.
    pub(crate) fn tasks(
        &self,
        chance: &mut Chance,
        first: usize,
        count: usize,
        others: &[Candidate],
    ) -> Vec<Arc<Task>> {
        // Half of the time, tasks need those declared after them.
        let is_reversed = chance.percent(50);
        let place = |i: usize| if is_reversed { count - 1 - i } else { i };
        let mut candidates = others.to_vec();
        let mut tasks: Vec<Option<Task>> = (0..count).map(|_| None).collect();
        let fan = chance.pick(&[0, 1, 2, 4]);
        for i in 0..count {
            let teardown = chance.percent(self.teardowns);
            let eligible: Vec<Candidate> =
                candidates.iter().copied().filter(|it| teardown || !it.is_after_all).collect();
            let mut needs: Vec<Candidate> = Vec::new();
            for _ in 0..fan.min(eligible.len()) {
                let need = chance.pick(&eligible);
                let is_known = needs.iter().any(|known| known.task == need.task);
                if chance.percent(if is_known { 2 } else { 70 }) {
                    needs.push(need);
                }
            }
            let index = TaskIndex((first + place(i)) as u32);
            let is_after_all = (teardown && needs.is_empty()) || needs.iter().any(|need| need.is_after_all);
            candidates.push(Candidate { task: index, is_after_all });
            tasks[place(i)] = Some(Task {
                name: format!("task{index}").into(),
                action: self.action(chance),
                needs: needs.iter().map(|need| need.task).collect(),
                policy: Arc::new(self.policy(chance, teardown)),
            });
        }
        tasks.into_iter().map(|task| Arc::new(task.expect("each place was filled"))).collect()
    }

    fn action(&self, chance: &mut Chance) -> Action {
        if chance.percent(self.approvals) {
            return Action::approval("go on?", false);
        }
        if chance.percent(self.commands) {
            let command = Command { argv: vec!["true".into()], cwd: "/".into(), ..Command::default() };
            return Action::Command(Box::new(command));
        }
        Action::function("simulated.function", None)
    }

    fn policy(&self, chance: &mut Chance, teardown: bool) -> Policy {
        let retry = chance.percent(self.retries).then(|| Retry {
            max_attempts: chance.between(1, 4) as u32,
            initial_delay_ms: chance.between(0, 15),
            max_delay_ms: chance.between(0, 40),
            // Thousandths: `serde_json` reads longer fractions a little differently from how it wrote them.
            base: chance.between(1000, 3000) as f64 / 1000.0,
            jitter: chance.below(1001).saturating_sub(300) as f64 / 1000.0,
        });
        let repeat = chance
            .percent(self.repeats)
            .then(|| Repeat { max_times: chance.between(1, 4) as u32, delay_ms: chance.between(0, 10) });
        let mut claims = Vec::new();
        for (resource, it) in (0u32..).zip(&self.resources) {
            if chance.percent(self.claims) {
                claims.push(Claim { resource, amount: chance.between(1, it.capacity) });
            }
        }
        let other_trigger = chance.percent(self.other_triggers);
        Policy {
            limits: Limits {
                timeout_ms: chance.percent(self.timeouts).then(|| chance.between(1, 30)),
                ..Limits::default()
            },
            skip: chance.percent(self.skips).then(|| "not today".to_owned()),
            lost_attempts_allowed: chance.between(0, 3) as u32,
            trigger: if other_trigger { chance.pick(&TRIGGERS) } else { Trigger::AllSuccess },
            retry,
            repeat,
            priority: chance.pick(&[0, 0, 0, -1, 1, 2]),
            claims,
            has_condition: chance.percent(self.conditions),
            teardown,
            slotless: chance.percent(self.slotless),
            ..Policy::default()
        }
    }
}
