//! Where the time of made-up runs went, to the millisecond.

use dirigent_core::decide::{Input, Report, decide, follow};
use dirigent_core::event::{Created, Event, Fact, Origin};
use dirigent_core::outcome::{Ended, Outcome, Usage};
use dirigent_core::spec::{Action, Claim, Policy, Resource, Retry, Task};
use dirigent_core::{RunId, State, TaskIndex};
use dirigent_report::profile::{About, After, Earlier, Profile, Spent};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A task: its name, what it needs, how long each of its attempts takes. All but the last fail.
type Made<'a> = (&'a str, &'a [u32], &'a [i64]);

/// A run of such tasks, decided by the core on a clock of its own.
struct Conducted {
    state: State,
    events: Vec<Event>,
    now_ms: i64,
}

impl Conducted {
    fn tell(&mut self, fact: Fact) {
        let event = Event { seq: self.state.next_seq(), at_ms: 1_795_196_045_120 + self.now_ms, fact };
        self.state.apply(&event);
        self.events.push(event);
    }
}

fn conducted(
    made: &[Made<'_>],
    workers: u32,
    resources: &[Resource],
    change: fn(usize, &mut Policy),
) -> Vec<Event> {
    let mut run = Conducted { state: State::default(), events: Vec::new(), now_ms: 0 };
    run.tell(Fact::RunCreated(Box::new(Created {
        run: RunId::try_from("r1".to_owned()).expect("a valid id"),
        workflow: "nightly".to_owned(),
        max_concurrency: workers,
        fail_fast: false,
        origin: Box::new(Origin::default()),
        resources: resources.to_vec(),
        timeout_ms: None,
        seed: 0,
    })));
    let task = |(at, (name, needs, took)): (usize, &Made<'_>)| {
        let retry = Retry {
            max_attempts: took.len() as u32,
            initial_delay_ms: 500,
            max_delay_ms: 500,
            base: 1.0,
            jitter: 0.0,
        };
        let mut policy = Policy { retry: Some(retry), ..Policy::default() };
        change(at, &mut policy);
        Arc::new(Task {
            name: (*name).into(),
            action: Action::function("f", None),
            needs: needs.iter().copied().map(TaskIndex).collect(),
            policy: Arc::new(policy),
        })
    };
    run.tell(Fact::TasksDeclared { tasks: made.iter().enumerate().map(task).collect(), parent: None });
    let start_ms = 1_795_196_045_120;
    let mut ends: BTreeMap<(i64, u32), u32> = BTreeMap::new();
    while run.state.open() > 0 {
        loop {
            let facts = follow(&run.state, start_ms + run.now_ms);
            if facts.is_empty() {
                break;
            }
            for fact in facts {
                if let Fact::AttemptStarted { task, attempt } = fact {
                    let took_ms = made[task.usize()].2[attempt as usize - 1];
                    ends.insert((run.now_ms + took_ms, task.0), attempt);
                }
                run.tell(fact);
            }
        }
        if run.state.open() == 0 {
            break;
        }
        let due_ms = run.state.next_due_ms(start_ms + run.now_ms).map(|ms| ms - start_ms);
        let end_ms = ends.keys().next().map(|(ms, _)| *ms);
        run.now_ms = end_ms.into_iter().chain(due_ms).min().expect("something is to come");
        while let Some((&(ms, task), &attempt)) = ends.first_key_value()
            && ms == run.now_ms
        {
            ends.pop_first();
            let its = made[task as usize].2;
            let is_last = attempt as usize == its.len();
            let raised = Outcome::Raised { error: "E".into(), message: Box::default(), retryable: true };
            let outcome = if is_last { Outcome::Returned } else { raised };
            let wall_us = its[attempt as usize - 1] as u64 * 1000;
            let usage =
                Usage { wall_us, user_us: wall_us / 4, system_us: wall_us / 4, peak_memory_bytes: 1 << 20 };
            let ended = Ended { usage, ..Ended::new(outcome) };
            let report = Report { task: TaskIndex(task), attempt, ended };
            let facts = decide(&run.state, Input::AttemptEnded(report), start_ms + ms);
            facts.into_iter().for_each(|fact| run.tell(fact));
        }
    }
    let closed = Input::WorkersClosed { strays: 0, survivors: Vec::new() };
    let facts = decide(&run.state, closed, start_ms + run.now_ms);
    facts.into_iter().for_each(|fact| run.tell(fact));
    run.events
}

fn plain(_: usize, _: &mut Policy) {}

#[track_caller]
fn profile(events: &[Event]) -> Profile {
    Profile::new(events, &[]).expect("a run")
}

fn path(profile: &Profile) -> Vec<(&str, Spent, After, f64)> {
    profile.critical_path.iter().map(|step| (&*step.task, step.spent, step.after, step.seconds)).collect()
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// With so many workers: 1, 2, 4, 8, 16, any number.
fn with_workers(profile: &Profile) -> Vec<f64> {
    profile.simulated.iter().flat_map(|it| &it.workers).map(|it| it.wall_s).collect()
}

#[test]
fn the_path_goes_through_needs() {
    let made: [Made<'_>; 4] =
        [("load", &[], &[1000]), ("clean", &[0], &[2000]), ("side", &[], &[100]), ("end", &[1, 2], &[1000])];
    let it = profile(&conducted(&made, 4, &[], plain));
    assert_eq!(
        path(&it),
        [
            ("load", Spent::Run, After::Start, 1.0),
            ("clean", Spent::Run, After::Need, 2.0),
            ("end", Spent::Run, After::Need, 1.0)
        ]
    );
    let shares: Vec<f64> = it.critical_path.iter().map(|step| step.share).collect();
    assert_eq!(shares, [0.25, 0.5, 0.25]);
    assert_eq!((it.wall_s, it.run_s, it.parallelism, it.between_s), (4.0, 4.1, 1.025, 0.0));
    assert_eq!(it.tasks.iter().map(|task| task.needs_s).collect::<Vec<_>>(), [0.0, 1.0, 0.0, 3.0]);
    assert_eq!((it.cpu_s, it.tasks[1].cpu_share), (Some(2.05), Some(0.5)));
    assert_eq!(with_workers(&it), [4.1, 4.0, 4.0, 4.0, 4.0, 4.0]);
    let simulated = it.simulated.as_ref().expect("it ended");
    assert_eq!((simulated.as_it_was_s, simulated.bound_s, simulated.most_at_once), (4.0, 4.0, 2));
    let sentences: Vec<&str> = it.advice.iter().map(|advice| &*advice.sentence).collect();
    assert_eq!(
        sentences,
        [
            "`clean` alone is 50 % of the critical path: 2.00 s of 4.00 s",
            "no number of workers would help: 3 attempts one after the other take 4.00 s of 4.00 s"
        ]
    );
}

#[test]
fn the_path_goes_through_the_slot_that_was_waited_for() {
    let made: [Made<'_>; 3] = [("a", &[], &[1000]), ("b", &[], &[3000]), ("c", &[], &[4000])];
    let it = profile(&conducted(&made, 2, &[], plain));
    assert_eq!(path(&it), [("a", Spent::Run, After::Start, 1.0), ("c", Spent::Run, After::Slot, 4.0)]);
    assert_eq!(it.tasks.iter().map(|task| task.queued_s).collect::<Vec<_>>(), [0.0, 0.0, 1.0]);
    assert_eq!(with_workers(&it), [8.0, 5.0, 4.0, 4.0, 4.0, 4.0]);
    assert_eq!(it.queued_s, 1.0);
    let workers = it.advice.iter().find(|advice| advice.about == About::Workers).expect("it would help");
    assert_eq!(workers.sentence, "4 workers instead of 2 would take 4.00 s instead of 5.00 s");
    assert_eq!(workers.figures, BTreeMap::from([("workers", 4.0), ("wall_s", 4.0), ("as_it_was_s", 5.0)]));
}

#[test]
fn the_path_goes_through_delays_before_other_attempts() {
    let made: [Made<'_>; 2] = [("fetch", &[], &[1000, 1000, 2000]), ("use", &[0], &[100])];
    let it = profile(&conducted(&made, 2, &[], plain));
    assert_eq!(
        path(&it),
        [
            ("fetch", Spent::Run, After::Start, 1.0),
            ("fetch", Spent::Retry, After::Attempt, 0.5),
            ("fetch", Spent::Run, After::Attempt, 1.0),
            ("fetch", Spent::Retry, After::Attempt, 0.5),
            ("fetch", Spent::Run, After::Attempt, 2.0),
            ("use", Spent::Run, After::Need, 0.1),
        ]
    );
    let fetch = &it.tasks[0];
    assert_eq!((fetch.run_s, fetch.failed_s, fetch.retry_s, fetch.critical_s), (4.0, 2.0, 1.0, 5.0));
    assert_eq!(with_workers(&it)[5], 5.1);
    let retries = it.advice.iter().find(|advice| advice.about == About::Retries).expect("it took long");
    assert_eq!(
        retries.sentence,
        "`fetch` needed 2 retries: 2.00 s in attempts that came to nothing, 1.00 s waiting between them"
    );
}

#[test]
fn a_resource_that_is_full_is_named_with_what_more_of_it_would_bring() {
    let made: [Made<'_>; 4] =
        [("q1", &[], &[1000]), ("q2", &[], &[1000]), ("q3", &[], &[1000]), ("free", &[], &[4000])];
    let db = Resource { name: "db".to_owned(), capacity: 1, per_ms: None };
    let claims = |at: usize, policy: &mut Policy| {
        if at < 3 {
            policy.claims = vec![Claim { resource: 0, amount: 1 }];
        }
    };
    let it = profile(&conducted(&made[..3], 8, std::slice::from_ref(&db), claims));
    assert_eq!(
        path(&it),
        [
            ("q1", Spent::Run, After::Start, 1.0),
            ("q2", Spent::Run, After::Resource, 1.0),
            ("q3", Spent::Run, After::Resource, 1.0)
        ]
    );
    assert_eq!((it.resources[0].full_share, it.resources[0].doubled_s), (Some(1.0), Some(2.0)));
    assert_eq!(it.critical_path[1].resource.as_deref(), Some("db"));
    assert_eq!(it.simulated.as_ref().map(|it| (it.as_it_was_s, it.bound_s)), Some((3.0, 1.0)));
    let sentences: Vec<&str> = it.advice.iter().map(|advice| &*advice.sentence).collect();
    assert!(
        sentences
            .contains(&"`db` was full 100 % of the time: twice as much would take 2.00 s instead of 3.00 s"),
        "{sentences:?}"
    );
    // Where something else takes longer, more of it brings nothing, and nothing is said.
    let it = profile(&conducted(&made, 8, &[db], claims));
    assert_eq!((it.resources[0].full_share, it.resources[0].doubled_s), (Some(0.75), Some(4.0)));
    assert!(it.advice.iter().all(|advice| advice.about != About::Resource));
}

#[test]
fn waiting_for_a_rate_is_a_step_of_its_own() {
    let made: [Made<'_>; 3] = [("a", &[], &[100]), ("b", &[], &[100]), ("c", &[], &[100])];
    let rate = Resource { name: "api".to_owned(), capacity: 1, per_ms: Some(1000) };
    let claims = |_: usize, policy: &mut Policy| policy.claims = vec![Claim { resource: 0, amount: 1 }];
    let it = profile(&conducted(&made, 8, &[rate], claims));
    assert_eq!(it.wall_s, 2.1);
    assert_eq!(path(&it), [("c", Spent::Rate, After::Start, 2.0), ("c", Spent::Run, After::Resource, 0.1)]);
    assert_eq!((it.resources[0].full_share, it.resources[0].doubled_s), (None, Some(1.1)));
}

#[test]
fn a_task_that_takes_longer_than_the_median_is_named() {
    let run = |clean_ms: i64| {
        let (load, clean) = ([1000], [clean_ms]);
        let made: [Made<'_>; 2] = [("load", &[], &load), ("clean", &[0], &clean)];
        conducted(&made, 2, &[], plain)
    };
    let earlier: Vec<Earlier> =
        [2000, 2100, 9000].into_iter().map(|ms| Earlier::new(&run(ms)).expect("it succeeded")).collect();
    let it = Profile::new(&run(4100), &earlier).expect("a run");
    assert_eq!(it.earlier.map(|earlier| (earlier.runs, earlier.wall_s)), Some((3, 3.1)));
    assert_eq!(it.tasks[1].median_s, Some(2.1));
    assert_eq!(
        it.advice[0].sentence,
        "slower than the median of 3 earlier runs by 65 %: 5.10 s instead of 3.10 s; `clean` alone 4.10 s instead of 2.10 s"
    );
    let usual = Profile::new(&run(2200), &earlier).expect("a run");
    assert!(usual.advice.iter().all(|advice| advice.about != About::Slower));
    let few = Profile::new(&run(4100), &earlier[..2]).expect("a run");
    assert!(few.advice.iter().all(|advice| advice.about != About::Slower));
}

#[test]
fn a_run_that_has_not_ended_is_looked_into_and_not_simulated() {
    let made: [Made<'_>; 2] = [("a", &[], &[1000]), ("b", &[0], &[1000])];
    let events = conducted(&made, 2, &[], plain);
    assert_eq!(Profile::new(&events[..0], &[]), None);
    for cut in 1..events.len() {
        let it = profile(&events[..cut]);
        assert_eq!(it.simulated, None);
        assert_eq!(it.not_simulated.as_deref(), Some("the run did not come to its own end"));
    }
    assert_eq!(Earlier::new(&events[..4]), None);
}

/// The same, where after the first end a minute passes around these facts.
fn with_a_minute_lost(mut events: Vec<Event>, facts: [Fact; 2]) -> Vec<Event> {
    let is_end = |event: &Event| matches!(event.fact, Fact::AttemptEnded { .. });
    let at = events.iter().position(is_end).expect("one ended") + 1;
    let at_ms = events[at].at_ms;
    events.iter_mut().skip(at).for_each(|event| event.at_ms += 60_000);
    let [first, second] = facts;
    let first_ms = if matches!(first, Fact::RunSuspended) { at_ms } else { at_ms + 60_000 };
    events.insert(at, Event { seq: 0, at_ms: first_ms, fact: first });
    events.insert(at + 1, Event { seq: 0, at_ms: at_ms + 60_000, fact: second });
    for (seq, event) in (0..).zip(&mut events) {
        event.seq = seq;
    }
    events
}

#[test]
fn time_in_which_it_was_stopped_or_had_no_engine_does_not_count() {
    let made: [Made<'_>; 2] = [("a", &[], &[1000]), ("b", &[0], &[1000])];
    let resumed = || Fact::RunResumed { origin: Box::new(Origin::default()) };
    for facts in
        [[Fact::RunSuspended, Fact::RunContinued], [Fact::RunSuspended, resumed()], [resumed(), resumed()]]
    {
        let it = profile(&with_a_minute_lost(conducted(&made, 2, &[], plain), facts.clone()));
        assert_eq!((it.wall_s, it.tasks[1].needs_s, it.tasks[1].queued_s), (2.0, 1.0, 0.0), "{facts:?}");
        assert_eq!(it.simulated.map(|it| it.as_it_was_s), Some(2.0), "{facts:?}");
    }
}

/// As chance has it, the same each time.
fn chance(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

#[test]
fn with_the_limits_that_it_had_every_run_takes_what_it_took() {
    for round in 0..200 {
        let mut seed = round;
        let count = 1 + chance(&mut seed, 30);
        let names: Vec<String> = (0..count).map(|i| format!("t{i}")).collect();
        let needs: Vec<Vec<u32>> =
            (0..count).map(|i| (0..i as u32).filter(|_| chance(&mut seed, i + 1) < 2).collect()).collect();
        let took: Vec<Vec<i64>> = (0..count)
            .map(|_| (0..=chance(&mut seed, 8) / 6).map(|_| chance(&mut seed, 2000) as i64).collect())
            .collect();
        let made: Vec<Made<'_>> = (0..count as usize).map(|i| (&*names[i], &*needs[i], &*took[i])).collect();
        let pools = [
            Resource { name: "db".to_owned(), capacity: 2, per_ms: None },
            Resource { name: "api".to_owned(), capacity: 3, per_ms: Some(1000) },
        ];
        let workers = 1 + chance(&mut seed, 6) as u32;
        let change = |at: usize, policy: &mut Policy| {
            policy.priority = (at % 3) as i32;
            if at.is_multiple_of(2) {
                policy.claims = vec![Claim { resource: (at % 4 / 2) as u32, amount: 1 }];
            }
        };
        let events = conducted(&made, workers, &pools, change);
        for cut in (1..events.len()).filter(|_| round < 20) {
            assert!(profile(&events[..cut]).text(80).len() > 100, "round {round}");
        }
        let it = profile(&events);
        let simulated = it.simulated.as_ref().expect("it ended");
        assert_eq!(simulated.as_it_was_s, it.wall_s, "round {round}");
        assert!(simulated.bound_s <= it.wall_s + 1e-9, "round {round}");
        // The path is a whole: what is on it and what is between it is the run.
        let on_path: f64 = it.critical_path.iter().map(|step| step.seconds).sum();
        assert!(
            same(on_path + it.between_s, it.wall_s) && it.between_s < 0.01,
            "round {round}: {:?}",
            path(&it)
        );
        let own: f64 = it.tasks.iter().map(|task| task.critical_s).sum();
        assert!((own - on_path).abs() < 1e-6, "round {round}");
    }
}

/// An event at some millisecond.
fn told(facts: Vec<(i64, Fact)>) -> Vec<Event> {
    (0..).zip(facts).map(|(seq, (at_ms, fact))| Event { seq, at_ms, fact }).collect()
}

fn function(name: &str, needs: &[u32], policy: &Policy) -> Arc<Task> {
    Arc::new(Task {
        name: name.into(),
        action: Action::function("f", None),
        needs: needs.iter().copied().map(TaskIndex).collect(),
        policy: Arc::new(policy.clone()),
    })
}

fn created(workers: u32) -> Fact {
    Fact::RunCreated(Box::new(Created {
        run: RunId::try_from("r1".to_owned()).expect("a valid id"),
        workflow: "grows".to_owned(),
        max_concurrency: workers,
        fail_fast: false,
        origin: Box::new(Origin::default()),
        resources: Vec::new(),
        timeout_ms: None,
        seed: 0,
    }))
}

fn started(task: u32) -> Fact {
    Fact::AttemptStarted { task: TaskIndex(task), attempt: 1 }
}

fn returned(task: u32) -> Fact {
    Fact::AttemptEnded {
        task: TaskIndex(task),
        attempt: 1,
        retry_at_ms: None,
        ended: Arc::new(Ended::new(Outcome::Returned)),
    }
}

fn answered(task: u32) -> Fact {
    Fact::WaitAnswered {
        task: TaskIndex(task),
        approved: true,
        comment: Box::default(),
        actor: Box::default(),
        value: None,
    }
}

/// Two tasks that become others, the second one first; then one that needs both.
fn growing() -> Vec<(i64, Fact)> {
    let plain = Policy::default();
    let tasks =
        vec![function("m", &[], &plain), function("n", &[], &plain), function("sum", &[0, 1], &plain)];
    let approval = Action::approval("well?", false);
    let asked = Arc::new(Task { action: approval, ..Task::clone(&function("n[1]", &[3], &plain)) });
    let of_n = vec![function("n[0]", &[], &plain), asked];
    let of_m = vec![function("m[0]", &[], &plain), function("m[1]", &[5], &plain)];
    vec![
        (0, created(2)),
        (0, Fact::TasksDeclared { tasks: tasks.into(), parent: None }),
        (0, started(0)),
        (0, started(1)),
        (100, Fact::TasksDeclared { tasks: of_n.into(), parent: Some(TaskIndex(1)) }),
        (100, started(3)),
        (200, Fact::TasksDeclared { tasks: of_m.into(), parent: Some(TaskIndex(0)) }),
        (200, started(5)),
        (500, returned(3)),
        (500, Fact::WaitStarted { task: TaskIndex(4) }),
        (600, returned(5)),
        (600, started(6)),
        (1300, answered(4)),
        (1300, returned(1)),
        (1600, returned(6)),
        (1600, returned(0)),
        (1600, started(2)),
        (1700, returned(2)),
        (
            1700,
            Fact::RunEnded {
                verdict: dirigent_core::event::Verdict::Succeeded,
                strays: 0,
                survivors: Vec::new(),
            },
        ),
    ]
}

#[test]
fn tasks_that_become_others_are_walked_through_and_simulated_in_any_order() {
    let it = profile(&told(growing()));
    assert_eq!(
        path(&it),
        [
            ("m", Spent::Run, After::Start, 0.2),
            ("m[0]", Spent::Run, After::Parent, 0.4),
            ("m[1]", Spent::Run, After::Need, 1.0),
            ("sum", Spent::Run, After::Need, 0.1),
        ]
    );
    // With one worker the first becomes others first: 200, 100, then 400 and 1000, 400 and the answer after 800, then 100.
    assert_eq!(with_workers(&it), [3.0, 1.7, 1.7, 1.7, 1.7, 1.7]);
    assert_eq!(it.run_s, 2.2);
}

#[test]
fn tasks_declared_by_a_program_as_it_goes_are_not_simulated() {
    let mut facts = growing();
    let late = vec![function("late", &[], &Policy::default())];
    facts.truncate(facts.len() - 1);
    facts.insert(15, (1600, Fact::TasksDeclared { tasks: late.into(), parent: None }));
    facts.push((1700, started(7)));
    facts.push((1800, returned(7)));
    facts.push((
        1800,
        Fact::RunEnded {
            verdict: dirigent_core::event::Verdict::Succeeded,
            strays: 0,
            survivors: Vec::new(),
        },
    ));
    let it = profile(&told(facts));
    assert!(it.not_simulated.expect("a reason").starts_with("its program declared tasks while it went on"));
    assert_eq!(it.simulated, None);
}

#[test]
fn an_approval_is_a_step_and_a_wait_that_no_worker_shortens() {
    let approval = Task {
        action: Action::approval("well?", false),
        ..Task::clone(&function("ok", &[0], &Policy::default()))
    };
    let tasks = vec![function("a", &[], &Policy::default()), Arc::new(approval)];
    let it = profile(&told(vec![
        (0, created(1)),
        (0, Fact::TasksDeclared { tasks: tasks.into(), parent: None }),
        (0, started(0)),
        (100, returned(0)),
        (100, Fact::WaitStarted { task: TaskIndex(1) }),
        (900, answered(1)),
        (
            900,
            Fact::RunEnded {
                verdict: dirigent_core::event::Verdict::Succeeded,
                strays: 0,
                survivors: Vec::new(),
            },
        ),
    ]));
    assert_eq!(path(&it), [("a", Spent::Run, After::Start, 0.1), ("ok", Spent::Answer, After::Need, 0.8)]);
    assert_eq!((it.tasks[1].answer_s, it.tasks[1].run_s), (0.8, 0.0));
    assert_eq!(with_workers(&it), [0.9; 6]);
}

#[test]
fn text_fits_into_eighty_columns() {
    let long = "a name that nobody would type and that is longer than any line may ever be on a terminal";
    let made: [Made<'_>; 3] =
        [(long, &[], &[61_000, 1000]), ("日本語", &[0], &[2000]), ("plain", &[1], &[100])];
    let earlier = Earlier::new(&conducted(&made[..1], 2, &[], plain)).expect("it succeeded");
    let it = Profile::new(&conducted(&made, 1, &[], plain), &[earlier]).expect("a run");
    let text = it.text(80);
    for line in text.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "{line}");
    }
    for part in ["critical path\n", "with other limits\n", "workers", "before attempt 2", "日本語"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn tasks_that_are_shorter_than_what_is_around_them_are_not_simulated() {
    let made: [Made<'_>; 2] = [("a", &[], &[1000]), ("b", &[0], &[1000])];
    let mut events = conducted(&made, 2, &[], plain);
    for event in &mut events {
        if let Fact::AttemptEnded { ended, .. } = &mut event.fact {
            Arc::make_mut(ended).usage.wall_us = 499_000;
        }
    }
    let it = profile(&events);
    let why = "its tasks are too short: starting and recording them took longer than they did";
    assert_eq!((it.not_simulated.as_deref(), it.simulated), (Some(why), None));
    assert_eq!((it.run_s, it.wall_s, it.critical_path.len()), (0.998, 2.0, 2));
}
