//! A run and the handle to it.

use crate::conductor::{Hosts, Shared};
use crate::fault::EngineError;
use crate::functions::{Functions, Judge};
use crate::journal::{Feed, Journal};
use crate::plan::Plan;
use crate::slots::Slots;
use dirigent_core::decide::{Input, Report};
use dirigent_core::event::{CancelReason, Event, Origin};
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::spec::{Action, Task};
use dirigent_core::state::State;
use dirigent_core::value::Kept;
use dirigent_journal::RunWriter;
use dirigent_process::Secrets;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use crate::asked::Asked;
pub use crate::names::{counts, mark};
pub use dirigent_journal::attempt_folder;

/// What an engine needs to know of its surroundings.
#[derive(Clone)]
pub struct Config {
    /// The executable that can be the guard. It is started with the first process.
    pub guard: PathBuf,
    /// The version it must have.
    pub version: &'static str,
    /// Whether this process is one that orphans come to; see [`dirigent_process::worker::adopt_orphans`].
    pub adopts_orphans: bool,
    /// The folder of the run: logs go there.
    pub folder: PathBuf,
    /// The limit that it shares with other runs.
    pub slots: Slots,
    /// The values of secrets that its tasks name, and of all that must not be recorded.
    pub secrets: Arc<Secrets>,
    /// Who looks at what commands did before it is recorded, if anybody does.
    pub judge: Option<Arc<dyn Judge>>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Where the events of a run go.
#[derive(Debug)]
pub enum Record {
    /// Nowhere: they are gone with the program.
    InMemory,
    /// Into the journal of a state folder.
    OnDisk {
        /// What writes them.
        writer: RunWriter,
        /// What is recorded of the run already.
        recorded: Vec<Event>,
    },
}

/// A run under way. Dropping it ends its processes.
#[derive(Debug)]
pub struct Run {
    id: RunId,
    journal: Arc<Journal>,
    control: Control,
    has_begun: AtomicBool,
    is_left: bool,
}

impl Run {
    /// Starts a run of processes.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn start(plan: Plan, config: Config, record: Record) -> Result<Self, EngineError> {
        let run = Self::prepare(plan.run.clone(), config, None, record)?;
        run.begin(plan);
        Ok(run)
    }

    /// Makes a run that has not begun: so that those who carry out functions can be told where to report.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn prepare(
        id: RunId,
        config: Config,
        functions: Option<Box<dyn Functions>>,
        record: Record,
    ) -> Result<Self, EngineError> {
        let journal = Arc::new(match record {
            Record::InMemory => Journal::default(),
            Record::OnDisk { writer, recorded } => Journal::on_disk(writer, recorded),
        });
        let processes = dirigent_process::Config {
            guard: config.guard,
            version: config.version,
            run_mark: mark(&id),
            adopts_orphans: config.adopts_orphans,
        };
        let Config { folder, slots, secrets, judge, .. } = config;
        let hosts = Hosts { functions, judge };
        let conductor =
            Shared::new(id.clone(), folder, Arc::clone(&journal), processes, hosts, slots, secrets);
        if journal.is_on_disk() {
            let writer = conductor.clone();
            let write = move || writer.write();
            std::thread::Builder::new()
                .name("dirigent-journal".to_owned())
                .spawn(write)
                .map_err(EngineError::Thread)?;
        }
        Ok(Self {
            id,
            journal,
            control: Control { conductor },
            has_begun: AtomicBool::new(false),
            is_left: false,
        })
    }

    /// Begins a run that was prepared.
    pub fn begin(&self, plan: Plan) {
        self.has_begun.store(true, Ordering::Relaxed);
        self.control.conductor.lock().begin(plan);
        self.control.commit();
    }

    /// Goes on with a run that was prepared with what is recorded of it. `why_lost` says of a value why it cannot be had,
    /// if that is so: its task is then carried out again where something needs it.
    ///
    /// # Errors
    ///
    /// The run is over.
    pub fn take_up(
        &self,
        origin: Origin,
        why_lost: &dyn Fn(&Kept) -> Option<String>,
    ) -> Result<(), EngineError> {
        self.has_begun.store(true, Ordering::Relaxed);
        self.control.conductor.lock().take_up(origin, why_lost)?;
        self.control.commit();
        Ok(())
    }

    /// Its id.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// A reader of its events from this place on.
    pub fn feed(&self, place: u64) -> Feed {
        Feed::new(Arc::clone(&self.journal), place)
    }

    /// A handle that asks things of the run and can be kept elsewhere.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// The guard cannot be started, the worker could not go on, or has ended unexpectedly.
    pub fn wait(mut self) -> Result<Arc<State>, EngineError> {
        self.is_left = true;
        self.journal.wait_until_closed();
        self.journal.let_go();
        // A worker that has ended is waited for outside of any turn: it may still speak.
        let worker = self.control.conductor.lock().take_worker();
        drop(worker);
        self.control.conductor.lock().result()
    }

    /// Asks the run to end and leaves it to do so by itself, in its grace.
    pub fn abandon(mut self) {
        self.is_left = true;
        if self.is_put_away() {
            return;
        }
        self.control.cancel(CancelReason::Requested);
        let worker = self.control.conductor.lock().take_worker();
        if let Some(worker) = worker {
            worker.leave();
        }
    }
}

impl Run {
    /// One that has not begun is put away as it is: nothing is recorded of it, or nothing is added to what is.
    fn is_put_away(&self) -> bool {
        let has_begun = self.has_begun.load(Ordering::Relaxed);
        if !has_begun {
            self.control.conductor.lock().close();
            self.journal.let_go();
        }
        !has_begun
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.is_left && !self.is_put_away() {
            self.control.kill();
            let worker = self.control.conductor.lock().take_worker();
            drop(worker);
        }
    }
}

/// Asks and tells things of a run. To one that has ended it says nothing.
#[derive(Clone, Debug)]
pub struct Control {
    conductor: Shared,
}

impl Control {
    /// Asks the run to end: nothing new starts but what cleans up, what runs gets a signal, and after its grace is killed.
    pub fn cancel(&self, reason: CancelReason) {
        self.say(Input::Cancel(reason));
    }

    /// Ends everything at once.
    pub fn kill(&self) {
        self.say(Input::Kill);
    }

    /// Asks one task to end, with all that are part of it.
    pub fn cancel_task(&self, task: TaskIndex) {
        self.say(Input::CancelTask(task));
    }

    /// Stops every process of the run, and its clocks.
    pub fn suspend(&self) {
        if let Some(worker) = self.conductor.lock().worker() {
            worker.asker().suspend();
        }
    }

    /// Lets a stopped run go on.
    pub fn go_on(&self) {
        if let Some(worker) = self.conductor.lock().worker() {
            worker.asker().go_on();
        }
    }

    /// Reports how an attempt of a function ended. What follows is told with the next commit.
    pub fn report(&self, report: Report) {
        self.conductor.lock().turn(Input::AttemptEnded(report));
    }

    /// Has everything recorded that is not yet, and told what follows: for whoever would have to wait for it.
    pub fn commit(&self) {
        self.conductor.commit();
    }

    /// The same, soon, on another thread.
    pub fn hurry(&self) {
        self.conductor.hurry();
    }

    /// Reports that a function consists of these tasks. `make` gets the index of the first of them.
    pub fn expand(&self, task: TaskIndex, attempt: u32, make: impl FnOnce(TaskIndex) -> Vec<Arc<Task>>) {
        let mut conductor = self.conductor.lock();
        let children = make(next_index(conductor.state()));
        conductor.turn(Input::Expanded { task, attempt, children });
        drop(conductor);
        self.commit();
    }

    /// Adds tasks. `make` gets the index of the first of them.
    pub fn declare(&self, make: impl FnOnce(TaskIndex) -> Vec<Arc<Task>>) {
        let mut conductor = self.conductor.lock();
        let tasks = make(next_index(conductor.state()));
        conductor.turn(Input::Declared(tasks));
        drop(conductor);
        self.commit();
    }

    /// Keeps tasks from starting until they are let go: nobody knows yet how to carry them out.
    pub fn hold_back(&self, tasks: impl Iterator<Item = TaskIndex>) {
        self.conductor.lock().hold_back(tasks);
    }

    /// Lets tasks start that were held back; those of which `lost` says why their values cannot be had are carried out again.
    pub fn let_go(&self, tasks: &[TaskIndex], lost: Vec<(TaskIndex, Box<str>)>) {
        self.conductor.lock().let_go(tasks, lost);
        self.commit();
    }

    /// Says whether a task is to run, or why that cannot be said.
    pub fn answer_condition(&self, task: TaskIndex, holds: Result<bool, Box<str>>) {
        self.say(Input::ConditionAnswered { task, holds });
    }

    /// Says that a task is to run, and what it then does.
    pub fn settle(&self, task: TaskIndex, action: Action) {
        self.say(Input::Settled { task, action: Box::new(action) });
    }

    /// Says whether a task need not run: [`Input::Reused`] or [`Input::NotReusable`].
    pub fn answer_known(&self, answer: Input) {
        self.conductor.lock().turn(answer);
    }

    /// Answers a task that waits.
    pub fn answer(&self, task: TaskIndex, approved: bool, comment: Box<str>) {
        self.say(Input::Answered { task, approved, comment, actor: Box::default(), value: None });
    }

    /// Looks at the run as it stands; short, since nothing goes on meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(self.conductor.lock().state())
    }

    fn say(&self, input: Input) {
        self.conductor.lock().turn(input);
        self.commit();
    }
}

fn next_index(state: &State) -> TaskIndex {
    TaskIndex(u32::try_from(state.tasks().len()).unwrap_or(u32::MAX))
}
