//! Simulated runs: random workflows, random faults, and rules that hold at every step of every one of them.
//!
//! A run that breaks a rule is named by its seed, and carried out again, with its events, by
//! `DIRIGENT_SIM_SEED=<seed> cargo test -p dirigent-core --test simulation`.

mod chance;
mod workflow;
mod record;
mod rules;
mod driver;

use driver::Driver;
use std::panic::{AssertUnwindSafe, catch_unwind};

const RUNS: u64 = 10_000;

fn simulate(seed: u64) {
    let mut driver = Driver::new(seed);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        driver.run();
        driver.check_replay();
        driver.check_wire();
    }));
    if ran.is_err() {
        let lines: Vec<String> = driver
            .events
            .iter()
            .map(|event| serde_json::to_string(event).unwrap_or_else(|error| error.to_string()))
            .collect();
        let shown = lines.join("\n");
        panic!("DIRIGENT_SIM_SEED={seed} breaks a rule (above) with the last of these events:\n{shown}");
    }
}

#[test]
fn every_rule_holds_at_every_step_of_ten_thousand_random_runs() {
    match std::env::var("DIRIGENT_SIM_SEED") {
        Ok(seed) => simulate(seed.parse().expect("DIRIGENT_SIM_SEED is a number")),
        Err(_) => (0..RUNS).for_each(simulate),
    }
}
