//! Times the plan of a big graph beside a bare topological sort, and counts its bytes: `cargo run --release -p
//! dirigent-core --example plan -- [TASKS [ROUNDS]]`. A task needs two others drawn at random from those before it.
//!
//! A plan is everything from declared tasks to knowing which of them may start: the check of the workflow, and the fold of
//! the run's first two events. The sort beside it takes bare pairs of numbers and does what nobody can do without.

use dirigent_core::decide::follow;
use dirigent_core::event::{Created, Event, Fact, Origin};
use dirigent_core::spec::{Action, Policy, Task, Workflow};
use dirigent_core::{RunId, State, TaskIndex};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The system's allocator, which also counts the bytes asked for and not yet given back, and the most there ever were.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note_more(layout.size());
        // SAFETY: the caller keeps what `alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note_more(layout.size());
        // SAFETY: the caller keeps what `alloc_zeroed` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note_more(size);
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the place came from one of these, and so from the system's allocator; the caller keeps the rest.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the place came from one of these, and so from the system's allocator.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note_more(bytes: usize) {
    let held = HELD.fetch_add(bytes, Relaxed) + bytes;
    MOST.fetch_max(held, Relaxed);
}

/// Numbers by chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(most)) >> 32) as u32
    }
}

/// Which task needs which: pairs of a need and the task that has it, in the order of the tasks.
fn edges(count: u32) -> Vec<(u32, u32)> {
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let mut edges = Vec::with_capacity(2 * count as usize);
    if count > 1 {
        edges.push((0, 1));
    }
    for task in 2..count {
        let one = chance.below(task);
        let other = (one + 1 + chance.below(task - 1)) % task;
        edges.extend([(one, task), (other, task)]);
    }
    edges
}

/// The same graph, its tasks declared in any order.
fn shuffled(count: u32, edges: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut place: Vec<u32> = (0..count).collect();
    for last in (1..count).rev() {
        place.swap(last as usize, chance.below(last + 1) as usize);
    }
    let moved = edges.iter().map(|(need, task)| (place[*need as usize], place[*task as usize]));
    let mut moved: Vec<(u32, u32)> = moved.collect();
    moved.sort_by_key(|(_, task)| *task);
    moved
}

/// The floor: compressed rows, then whatever needs nothing that is still open, first come, first out.
fn sorted(count: u32, edges: &[(u32, u32)]) -> Vec<u32> {
    let mut ends = vec![0u32; count as usize];
    let mut open = vec![0u32; count as usize];
    for (need, task) in edges {
        ends[*need as usize] += 1;
        open[*task as usize] += 1;
    }
    let mut sum = 0;
    for end in &mut ends {
        sum += *end;
        *end = sum;
    }
    // Filled from its end, a row ends up with its start where its end was.
    let mut starts = ends;
    let mut rows = vec![0u32; edges.len()];
    for (need, task) in edges {
        let place = &mut starts[*need as usize];
        *place -= 1;
        rows[*place as usize] = *task;
    }
    starts.push(sum);
    let mut order: Vec<u32> = Vec::with_capacity(count as usize);
    order.extend((0..count).filter(|task| open[*task as usize] == 0));
    let mut next = 0;
    while let Some(task) = order.get(next).map(|task| *task as usize) {
        next += 1;
        for dependent in &rows[starts[task] as usize..starts[task + 1] as usize] {
            let open = &mut open[*dependent as usize];
            *open -= 1;
            if *open == 0 {
                order.push(*dependent);
            }
        }
    }
    order
}

/// The same graph as tasks, which share what tasks share: a policy and a function's name.
fn tasks(count: u32, edges: &[(u32, u32)]) -> Vec<Task> {
    let policy = Arc::new(Policy::default());
    let action = Action::function("work.step", None);
    let mut edges = edges;
    let task = |number: u32| {
        let its = edges.iter().take_while(|(_, task)| *task == number).count();
        let (needs, rest) = edges.split_at(its);
        edges = rest;
        Task {
            name: format!("t{number}").into(),
            action: action.clone(),
            needs: needs.iter().map(|(need, _)| TaskIndex(*need)).collect(),
            policy: Arc::clone(&policy),
        }
    };
    (0..count).map(task).collect()
}

fn created() -> Event {
    let fact = Fact::RunCreated(Box::new(Created {
        run: RunId::try_from("plan".to_owned()).expect("it has letters only"),
        workflow: "plan".to_owned(),
        max_concurrency: 2,
        fail_fast: true,
        origin: Box::new(Origin::default()),
        resources: Vec::new(),
        timeout_ms: None,
        seed: 0,
    }));
    Event { seq: 0, at_ms: 0, fact }
}

/// What one plan took.
#[derive(Clone, Copy)]
struct Plan {
    check: Duration,
    fold: Duration,
    /// Bytes of the declared tasks, those of the whole plan, and the most there were at any time.
    declared: usize,
    held: usize,
    most: usize,
}

impl Plan {
    fn time(&self) -> Duration {
        self.check + self.fold
    }
}

fn plan(count: u32, edges: &[(u32, u32)]) -> Plan {
    let before = HELD.load(Relaxed);
    MOST.store(before, Relaxed);
    let bytes = |counter: &AtomicUsize| counter.load(Relaxed) - before;
    let tasks = tasks(count, edges);
    let declared = bytes(&HELD);

    let began = Instant::now();
    let workflow = Workflow::new("plan", tasks).expect("the graph has no circle");
    let check = began.elapsed();
    let (_, tasks) = workflow.into_parts();
    let began = Instant::now();
    let mut state = State::default();
    state.apply(&created());
    let event = Event { seq: 1, at_ms: 0, fact: Fact::TasksDeclared { tasks: tasks.into(), parent: None } };
    state.apply(&event);
    let first = follow(&state, 0);
    let fold = began.elapsed();

    assert_eq!(first.len(), 1, "all but one task need another");
    Plan { check, fold, declared, held: bytes(&HELD), most: bytes(&MOST) }
}

/// Measures both in turns and prints the ratio.
fn compare(order: &str, count: u32, edges: &[(u32, u32)], rounds: usize) -> std::io::Result<()> {
    let mut sorts = Vec::new();
    let mut plans = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let order = sorted(count, black_box(edges));
        sorts.push(began.elapsed());
        assert_eq!(black_box(order).len(), count as usize);
        plans.push(plan(count, edges));
    }
    sorts.sort();
    plans.sort_by_key(Plan::time);
    let mut out = std::io::stdout().lock();
    let ns = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(count);
    for (what, at) in [("medians", rounds / 2), ("fastest", 0)] {
        let (sort, plan) = (ns(sorts[at]), plans[at]);
        let ratio = ns(plan.time()) / sort;
        let (check, fold) = (ns(plan.check), ns(plan.fold));
        writeln!(
            out,
            "{order}, {what}: plan / bare sort {ratio:.2}, goal 3; ns a task: bare sort {sort:.0}, check {check:.0}, fold {fold:.0}"
        )?;
    }
    let bytes = |bytes: usize| bytes as f64 / f64::from(count);
    let [held, declared, most] = [plans[0].held, plans[0].declared, plans[0].most].map(bytes);
    writeln!(
        out,
        "{order}: {held:.0} bytes a task, goal 200; {declared:.0} as declared, {most:.0} at the most"
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let count: u32 = args.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let rounds: usize = args.next().map_or(Ok(7), |rounds| rounds.parse())?;
    if count == 0 || rounds == 0 {
        return Err("there is nothing to measure".into());
    }
    let edges = edges(count);
    compare("declared in order", count, &edges, rounds)?;
    compare("declared in any order", count, &shuffled(count, &edges), rounds)?;
    Ok(())
}
