//! One run of a workflow declared in Python, and what Python asks of it.

use crate::fault::{misused, raised};
use crate::secrets::Secrets;
use crate::waiting::{hold, this_thread, wait};
use crate::workflow::places::Places;
use crate::workflow::plan::{Built, Plan, bug};
use crate::workflow::queue::Wanted;
use crate::workflow::record::{Options, changed, fit, open};
use crate::workflow::rerun::taken_over;
use crate::workflow::seat::Seat;
use crate::workflow::shared::{Door, Group, Raised, Shared, own_name};
use crate::workflow::total::SLOTS;
use dirigent_cli::VERSION;
use dirigent_cli::conduct::why_lost;
use dirigent_cli::fault::CliError;
use dirigent_cli::record::new_run_id;
use dirigent_cli::secrets::keep_out;
use dirigent_cli::surroundings::origin;
use dirigent_core::event::{CancelReason, Event};
use dirigent_core::ids::{RunId, TaskIndex};
use dirigent_core::spec::Task;
use dirigent_core::state::{State, TaskStatus};
use dirigent_engine::run::{Config, Record, attempt_folder, mark};
use dirigent_engine::{EngineError, Feed, News, Run};
use dirigent_journal::store::Durability;
use dirigent_journal::{Store, run_folder};
use dirigent_process::end_leftovers;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::raw::c_long;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How a run begins.
enum Begin {
    New(Box<dirigent_engine::Plan>),
    Resumed(Arc<Store>),
}

/// A run, from Python.
#[pyclass(module = "dirigent._native", frozen)]
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    run: Mutex<Option<Run>>,
    pub(crate) feed: Feed,
    begin: Mutex<Option<Begin>>,
    places: Mutex<Places>,
    /// How many events were recorded before it was taken up.
    recorded_events: u64,
    id: String,
}

#[pymethods]
impl Session {
    /// Checks a plan and prepares a run of it, which is recorded unless `durability` is `none`. `resume` is the id of a
    /// recorded run of the same tasks that is to go on.
    #[new]
    #[pyo3(signature = (plan, name, guard, state_dir, options, durability, resume=None, secrets=None))]
    #[allow(clippy::too_many_arguments, reason = "called by the package alone")]
    fn new(
        py: Python<'_>,
        plan: &Plan,
        name: &str,
        guard: PathBuf,
        state_dir: PathBuf,
        options: &str,
        durability: &str,
        resume: Option<String>,
        secrets: Option<&Secrets>,
    ) -> PyResult<Self> {
        let options: Options = serde_json::from_str(options)
            .map_err(|error| misused(py, format!("the options of a run make no sense: {error}"), None))?;
        let durability = match durability {
            "none" => None,
            "power" => Some(Durability::Power),
            _ => Some(Durability::Process),
        };
        let (workflow, built) = plan.workflow(py, name)?;
        let secrets = secrets.map(|secrets| Arc::clone(&secrets.0)).unwrap_or_default();
        let workflow = keep_out(workflow, &secrets).map_err(|error| raised(py, error))?;
        let is_new = resume.is_none();
        let id = match resume {
            None => new_run_id(),
            Some(id) => RunId::try_from(id).map_err(|error| misused(py, error.to_string(), None))?,
        };
        let opened =
            wait(py, || open(&state_dir, &id, durability, is_new)).map_err(|error| raised(py, error))?;
        let folder = run_folder(&state_dir, &id);
        let artifacts = opened.as_ref().map(|(store, ..)| store.artifacts());
        let store = opened.as_ref().map_or_else(Weak::new, |(store, ..)| Arc::downgrade(store));
        let hidden = Arc::clone(&secrets);
        let shared =
            Shared { folder: folder.clone(), artifacts, store, secrets: hidden, ..Shared::default() };
        let shared = Arc::new(shared);
        let Built { calls, functions, .. } = built;
        shared.take_in(py, calls, &functions);
        let slots = SLOTS.clone();
        let config =
            Config { guard, version: VERSION, adopts_orphans: false, folder, slots, judge: None, secrets };
        let recorded_events = opened.as_ref().map_or(0, |(_, _, recorded)| recorded.len() as u64);
        let (record, begin) = match opened {
            Some((store, writer, recorded)) if !is_new => {
                (Record::OnDisk { writer, recorded }, Some(Begin::Resumed(store)))
            }
            Some((_, writer, recorded)) => (Record::OnDisk { writer, recorded }, None),
            None => (Record::InMemory, None),
        };
        let run = Run::prepare(id.clone(), config, Some(Box::new(Door(Arc::clone(&shared)))), record)
            .map_err(|error| raised(py, CliError::from(error)))?;
        let feed = run.feed(0);
        shared.control.set(run.control()).map_err(|_| bug("a run that began twice"))?;
        let begin = match begin {
            Some(resumed) => {
                let fits = shared
                    .look(|state| fit(state, workflow.tasks(), &options.resources, options.keeps_changed));
                fits.map_err(|message| changed(py, &id, &message))?;
                shared.find_groups();
                shared.hold_back_calls();
                resumed
            }
            None => Begin::New(Box::new(dirigent_engine::Plan {
                known: match &options.takes_over {
                    Some(old) => taken_over(py, old, &state_dir, &shared, workflow.tasks())?,
                    None => Vec::new(),
                },
                max_concurrency: options.max_concurrency.max(1),
                fail_fast: options.fail_fast,
                origin: origin(None),
                resources: options.resources,
                timeout_ms: options.timeout_ms,
                seed: options.seed,
                ..dirigent_engine::Plan::new(id.clone(), workflow)
            })),
        };
        Ok(Self {
            shared,
            run: Mutex::new(Some(run)),
            feed,
            begin: Mutex::new(Some(begin)),
            places: Mutex::default(),
            recorded_events,
            id: id.to_string(),
        })
    }

    /// How many events were recorded before it was taken up.
    #[getter]
    fn recorded_events(&self) -> u64 {
        self.recorded_events
    }

    /// What its functions must not print.
    #[getter]
    fn secrets(&self) -> Secrets {
        Secrets(Arc::clone(&self.shared.secrets))
    }

    /// Its id.
    #[getter]
    fn id(&self) -> &str {
        &self.id
    }

    /// Its folder, which is made with the first log.
    #[getter]
    fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// The attempts that consist of tasks, and whose makers have to say again which those are before the run goes on. Parts
    /// that are wholes themselves come when theirs was told.
    fn take_wholes<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let wholes = self.shared.open_wholes().into_iter().filter(|job| self.shared.has_call(job.0));
        wholes.map(|job| self.shared.call(py, job)).collect()
    }

    /// Begins, or goes on.
    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        let begin = || -> Result<(), CliError> {
            let begin = hold(&self.begin).take();
            let run = hold(&self.run);
            match (&*run, begin) {
                (Some(run), Some(Begin::New(plan))) => run.begin(*plan),
                (Some(run), Some(Begin::Resumed(store))) => {
                    end_leftovers(&mark(run.id()));
                    run.take_up(origin(None), &|value| why_lost(value, &store))?;
                }
                _ => {}
            }
            Ok(())
        };
        wait(py, begin).map_err(|error| raised(py, error))
    }

    /// A place for a thread that carries functions out.
    fn seat(&self, thread: u64) -> Seat {
        Seat::new(Arc::clone(&self.shared), thread)
    }

    /// Waits until something is wanted: so many threads (above 0), nothing yet (0), the end (-1), interrupts (-2).
    fn attend(&self, py: Python<'_>, at_most_s: f64) -> isize {
        let at_most = Duration::try_from_secs_f64(at_most_s).unwrap_or_default();
        match wait(py, || self.shared.queue.attend(at_most)) {
            Wanted::Threads(count) => isize::try_from(count).unwrap_or(isize::MAX),
            Wanted::Nothing => 0,
            Wanted::End => -1,
            Wanted::Interrupts => -2,
        }
    }

    /// Raises an exception in the threads whose attempts nobody waits for any more.
    fn interrupt(&self, py: Python<'_>, exception: &Bound<'_, PyAny>) -> PyResult<()> {
        for (job, thread) in self.shared.queue.given_up() {
            if let Some(end) = self.shared.end_of(job, thread) {
                end.call0(py)?;
                continue;
            }
            // SAFETY: the interpreter is held, and the thread cannot go on to other work before it has taken it
            // again: handing in takes an exception back that came too late.
            unsafe { ffi::PyThreadState_SetAsyncExc(thread as c_long, exception.as_ptr()) };
        }
        Ok(())
    }

    /// Says what ends the attempt of this thread, should nobody wait for it any more.
    fn on_give_up(&self, task: u32, attempt: u32, end: Py<PyAny>) {
        self.shared.is_elsewhere((TaskIndex(task), attempt), end);
    }

    /// The descriptor that is readable when the event loop has something to do.
    fn wake_descriptor(&self, py: Python<'_>) -> PyResult<i32> {
        if self.shared.wake.get().is_none() {
            let io = |error: std::io::Error| raised(py, CliError::io("make", Path::new("a pipe"))(error));
            let (reader, writer) = std::io::pipe().map_err(io)?;
            let files = (File::from(OwnedFd::from(reader)), File::from(OwnedFd::from(writer)));
            let _ = self.shared.wake.set(files);
        }
        self.shared.wake.get().map(|(reader, _)| reader.as_raw_fd()).ok_or_else(|| bug("no pipe"))
    }

    /// Takes what woke the loop; to be called when the descriptor is readable.
    fn woken(&self) {
        if let Some((reader, _)) = self.shared.wake.get() {
            let _ = (&mut &*reader).read(&mut [0; 64]);
        }
    }

    /// Takes the attempts that run on the event loop.
    fn take_for_loop<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        self.shared.queue.take_for_loop().into_iter().map(|job| self.shared.call(py, job)).collect()
    }

    /// What was given up on the loop, as `(task, attempt)`.
    fn given_up_on_loop(&self) -> Vec<(u32, u32)> {
        self.shared.queue.given_up_on_loop().into_iter().map(|(task, attempt)| (task.0, attempt)).collect()
    }

    /// Hands in the value of a coroutine and takes what follows on the loop.
    fn step_on_loop<'py>(
        &self,
        py: Python<'py>,
        task: u32,
        attempt: u32,
        value: Py<PyAny>,
        wall_ns: u64,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let job = (TaskIndex(task), attempt);
        if self.shared.queue.hand_in_from_loop(job) {
            self.shared.returned(py, job, value, wall_ns.div_ceil(1000));
        }
        self.take_for_loop(py)
    }

    /// Hands in the exception of a coroutine and takes what follows on the loop.
    #[allow(clippy::too_many_arguments, reason = "everything there is to tell of an exception")]
    fn fail_on_loop<'py>(
        &self,
        py: Python<'py>,
        task: u32,
        attempt: u32,
        error: Py<PyAny>,
        class_: &str,
        message: &str,
        trace: &str,
        retryable: bool,
        wall_ns: u64,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let job = (TaskIndex(task), attempt);
        if self.shared.queue.hand_in_from_loop(job) {
            let told = Raised { class: class_, message, trace, retryable };
            self.shared.raised(py, job, error, told, wall_ns.div_ceil(1000));
        }
        self.take_for_loop(py)
    }

    /// Hands in that a coroutine's task is not through and takes what follows on the loop.
    fn repeat_on_loop<'py>(
        &self,
        py: Python<'py>,
        task: u32,
        attempt: u32,
        value: Py<PyAny>,
        wall_ns: u64,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let job = (TaskIndex(task), attempt);
        if self.shared.queue.hand_in_from_loop(job) {
            self.shared.unfinished(py, job, value, wall_ns.div_ceil(1000));
        }
        self.take_for_loop(py)
    }

    /// Puts the tasks of a plan into the place of a task being carried out. `is_list`: its value is the list of theirs,
    /// else a dictionary by name.
    fn expand(&self, py: Python<'_>, task: u32, attempt: u32, plan: &Plan, is_list: bool) -> PyResult<()> {
        let task = TaskIndex(task);
        if self.shared.is_told_again(py, task, attempt, plan)? {
            return Ok(());
        }
        if plan.is_empty() {
            let none = if is_list { PyList::empty(py).into_any() } else { PyDict::new(py).into_any() };
            wait(py, || ());
            self.shared.returned(py, (task, attempt), none.unbind(), 0);
            self.shared.control().hurry();
            return Ok(());
        }
        let (first, tasks) = self.add(py, plan)?;
        let whole = self.name(task.0);
        let names = (!is_list).then(|| tasks.iter().map(|task| own_name(&whole, &task.name)).collect());
        let count = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        hold(&self.shared.groups).insert(task, Group { first, names, count });
        self.shared.control().expand(task, attempt, |_| tasks);
        self.drop_unused(py);
        Ok(())
    }

    /// Adds the tasks of a plan to the run and returns the index of the first.
    fn declare(&self, py: Python<'_>, plan: &Plan) -> PyResult<u32> {
        let (first, tasks) = self.add(py, plan)?;
        self.shared.control().declare(|_| tasks);
        self.drop_unused(py);
        Ok(first)
    }

    /// Asks the run to end.
    fn cancel(&self, py: Python<'_>) {
        wait(py, || self.shared.control().cancel(CancelReason::Requested));
    }

    /// Ends everything at once.
    fn kill(&self, py: Python<'_>) {
        wait(py, || self.shared.control().kill());
    }

    /// Asks one task to end.
    fn cancel_task(&self, py: Python<'_>, task: u32) {
        wait(py, || self.shared.control().cancel_task(TaskIndex(task)));
    }

    /// Answers a task that waits.
    fn answer(&self, py: Python<'_>, task: u32, approved: bool, comment: &str) -> bool {
        let task = TaskIndex(task);
        wait(py, || {
            let control = self.shared.control();
            let waits =
                control.look(|state| state.task(task).is_some_and(|task| task.status == TaskStatus::Waiting));
            control.answer(task, approved, comment.into());
            waits
        })
    }

    /// Waits for the end of a run whose end was told.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        let finish = || -> Result<(), EngineError> {
            let Some(run) = hold(&self.run).take() else {
                return Ok(());
            };
            *self.shared.state.write().unwrap_or_else(PoisonError::into_inner) = Some(run.wait()?);
            // They have nothing more to do, and shall not be under way when the program leaves.
            self.shared.queue.wait_until_left(Duration::from_secs(1));
            Ok(())
        };
        wait(py, finish).map_err(|error| raised(py, CliError::from(error)))
    }

    /// Leaves the run to end by itself.
    fn abandon(&self, py: Python<'_>) {
        wait(py, || {
            if let Some(run) = hold(&self.run).take() {
                run.abandon();
            }
        });
    }

    /// Waits until a task has its last status and returns it; `None` when the time is over before.
    fn wait_task(&self, py: Python<'_>, task: u32, at_most_s: f64) -> Option<&'static str> {
        let task = TaskIndex(task);
        let look = || {
            let status = self.look(|state| state.task(task).map(|task| task.status));
            status.filter(|status| status.is_final()).map(TaskStatus::name)
        };
        let at_most = Duration::try_from_secs_f64(at_most_s).unwrap_or_default();
        if let Some(status) = look() {
            // It may not be recorded yet, and is only then to be told.
            wait(py, || self.shared.commit());
            return Some(status);
        }
        if at_most.is_zero() {
            return None;
        }
        wait(py, || {
            // A function that waits for another task does nothing meanwhile: somebody else may be needed for that one.
            let away = self.shared.queue.step_aside(this_thread());
            let status = self.shared.awaited.wait(task, Instant::now() + at_most, look);
            if away {
                self.shared.queue.step_back(this_thread());
            }
            status.inspect(|_| self.shared.commit())
        })
    }

    /// How the run went; `None` before its end.
    fn verdict(&self) -> Option<String> {
        let end = self.look(|state| state.end().map(|end| end.verdict));
        end.and_then(|verdict| serde_json::to_value(verdict).ok()?.as_str().map(str::to_owned))
    }

    /// How many tasks there are.
    fn __len__(&self) -> usize {
        self.look(|state| state.tasks().len())
    }

    /// The name of a task; empty where there is none.
    fn name(&self, task: u32) -> String {
        self.look(|state| state.task(TaskIndex(task)).map(|task| task.spec.name.to_string()))
            .unwrap_or_default()
    }

    /// The index of a task by its name.
    fn find(&self, name: &str) -> Option<u32> {
        let mut places = hold(&self.places);
        self.look(|state| places.find(state, name))
    }

    /// Why the run was asked to end, if it was.
    fn cancel_reason(&self) -> Option<String> {
        let reason = self.look(State::cancel);
        reason.and_then(|reason| serde_json::to_value(reason).ok()?.as_str().map(str::to_owned))
    }

    /// The names of the tasks from one on.
    fn names(&self, from_: usize) -> Vec<String> {
        self.look(|state| state.tasks().iter().skip(from_).map(|task| task.spec.name.to_string()).collect())
    }

    /// The statuses of all tasks, in order.
    fn statuses(&self) -> Vec<&'static str> {
        self.look(|state| state.tasks().iter().map(|task| task.status.name()).collect())
    }

    /// What is known of one task: `(status, attempts, seconds, sentence, exit code, parent, folder of its last attempt)`.
    fn task<'py>(&self, py: Python<'py>, task: u32) -> PyResult<Bound<'py, PyTuple>> {
        let index = TaskIndex(task);
        let told = self.look(|state| {
            let it = state.task(index)?;
            let ended = it.ended.as_deref();
            let seconds = ended.map_or(0.0, |ended| ended.usage.wall_us as f64 / 1e6);
            let exit_code = ended.and_then(|ended| ended.outcome.exit_code());
            let parent = it.parent.map(|parent| parent.0);
            Some((
                it.status.name(),
                it.attempts,
                seconds,
                dirigent_report::task_sentence(state, it),
                exit_code,
                parent,
            ))
        });
        let (status, attempts, seconds, sentence, exit_code, parent) =
            told.ok_or_else(|| bug("a task that is not there"))?;
        let folder = (attempts > 0).then(|| self.shared.folder.join(attempt_folder(index, attempts)));
        (status, attempts, seconds, sentence, exit_code, parent, folder).into_pyobject(py)
    }

    /// The value of a task, in a list of one; `None` where it has none.
    fn value(&self, py: Python<'_>, task: u32) -> PyResult<Option<Vec<Py<PyAny>>>> {
        Ok(self.shared.value(py, TaskIndex(task))?.map(|value| vec![value]))
    }

    /// Puts a value into the place of a task's.
    fn set_value(&self, py: Python<'_>, task: u32, value: Py<PyAny>) {
        self.shared.keep(py, TaskIndex(task), value);
    }

    /// The exception of a task that raised one.
    fn error(&self, py: Python<'_>, task: u32) -> Option<Py<PyAny>> {
        hold(&self.shared.errors).get(&TaskIndex(task)).map(|error| error.clone_ref(py))
    }

    /// What is recorded of how a task failed: the traceback of a function, the last lines of a command.
    fn last_lines(&self, task: u32) -> String {
        let lines = |state: &State| Some(state.task(TaskIndex(task))?.ended.as_ref()?.last_lines.to_string());
        self.look(lines).unwrap_or_default()
    }

    /// The events from a place on, as JSON, waiting for the next one for so long; `None` after the last.
    fn events(&self, py: Python<'_>, from_: u64, at_most_s: f64) -> Option<Vec<String>> {
        let mut feed = self.feed.at(from_);
        let deadline = Instant::now() + Duration::try_from_secs_f64(at_most_s).unwrap_or_default();
        match wait(py, || feed.next(Some(deadline))) {
            News::Stalled(why) => {
                // Nobody has to ask for it: what holds a run up is said where logs are read.
                let _ = py
                    .import("dirigent._keeping")
                    .and_then(|keeping| keeping.call_method1("tell_stall", (&*why,)));
                Some(Vec::new())
            }
            News::Events(events) => {
                Some(events.iter().filter_map(|event| serde_json::to_string(event).ok()).collect())
            }
            News::Quiet => Some(Vec::new()),
            News::End => None,
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.shared.visit(&visit)
    }

    fn __clear__(&self) {
        self.shared.clear();
    }
}

impl Session {
    /// A recorded run, to be looked at.
    pub(crate) fn recorded(shared: Arc<Shared>, feed: Feed, id: String) -> Self {
        let (run, begin, places) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { shared, run, feed, begin, places, recorded_events: 0, id }
    }

    /// The events that there are.
    pub(crate) fn so_far(&self) -> Vec<Event> {
        match self.feed.at(0).next(Some(Instant::now())) {
            News::Events(events) => events,
            News::Stalled(_) | News::Quiet | News::End => Vec::new(),
        }
    }

    fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.shared.look(look)
    }

    /// Builds the tasks of a plan for the next free indices. The interpreter is held, and everybody who adds tasks holds
    /// it: nobody comes between.
    fn add(&self, py: Python<'_>, plan: &Plan) -> PyResult<(u32, Vec<Arc<Task>>)> {
        let first = u32::try_from(self.look(|state| state.tasks().len())).unwrap_or(u32::MAX);
        let Built { tasks, calls, functions } = plan.build(py, first)?;
        // Of a run that goes on, calls of the last tasks may not be known.
        self.shared.take_in_at(py, first as usize, calls, &functions);
        Ok((first, tasks.into_iter().map(Arc::new).collect()))
    }

    /// Forgets calls whose tasks were not taken: the attempt that they belong to had been given up.
    fn drop_unused(&self, _: Python<'_>) {
        let count = self.look(|state| state.tasks().len());
        let mut calls = self.shared.calls.write().unwrap_or_else(PoisonError::into_inner);
        let kept = count.min(calls.len());
        let unused = calls.split_off(kept);
        // Whatever happens when they are thrown away happens outside of any lock.
        drop(calls);
        drop(unused);
    }
}
