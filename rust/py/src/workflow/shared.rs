//! What the threads of Python and the engine have in common in one run: the queue, the calls, the values.

use crate::waiting::{hold, this_thread};
use crate::workflow::call::{Call, Function};
use crate::workflow::ends::Ends;
use crate::workflow::kept;
use crate::workflow::plan::{Built, Plan, bug};
use crate::workflow::queue::{CHECK, Job, Queue};
use crate::workflow::record::changed_parts;
use dirigent_core::decide::Report;
use dirigent_core::ids::TaskIndex;
use dirigent_core::outcome::{Ended, Outcome, Usage};
use dirigent_core::spec::Task;
use dirigent_core::state::{State, TaskState, TaskStatus};
use dirigent_core::text::plain_output;
use dirigent_core::value::Kept;
use dirigent_engine::Functions;
use dirigent_engine::run::{Control, attempt_folder};
use dirigent_journal::{Artifacts, Store};
use dirigent_process::Secrets;
use dirigent_report::Sketch;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use pyo3::{PyTraverseError, PyVisit};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::Instant;

/// What a task stands for that consists of others.
pub(crate) struct Group {
    pub(crate) first: u32,
    /// The names of its tasks; `None` for a list.
    pub(crate) names: Option<Vec<Arc<str>>>,
    pub(crate) count: u32,
}

/// The functions that tasks of a run call, each once.
#[derive(Default)]
pub(crate) struct Callables {
    /// References that are the run's own: only then can the garbage collector count them.
    all: Vec<Py<PyAny>>,
    /// Where they are, by the object.
    places: HashMap<usize, u32>,
}

impl Callables {
    fn place(&mut self, py: Python<'_>, function: &Function) -> u32 {
        let all = &mut self.all;
        *self.places.entry(function.callable.as_ptr() as usize).or_insert_with(|| {
            all.push(function.callable.clone_ref(py));
            u32::try_from(all.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

/// An attempt that a thread has carried out elsewhere.
pub(crate) struct Elsewhere {
    job: Job,
    /// What ends it.
    end: Py<PyAny>,
    /// When there was a process for it.
    since: Instant,
}

/// What a function is called with, and what it calls its needs.
pub(crate) type Arguments = (Py<PyAny>, Option<Vec<String>>);

/// What is told of an exception.
pub(crate) struct Raised<'a> {
    pub(crate) class: &'a str,
    pub(crate) message: &'a str,
    /// Where it was raised.
    pub(crate) trace: &'a str,
    /// Whether the task's policy tries again after it.
    pub(crate) retryable: bool,
}

/// What the threads of Python and the engine have in common.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    /// Those who wait for the end of a task.
    pub(crate) awaited: Ends,
    pub(crate) control: OnceLock<Control>,
    /// The last state, once there is one.
    pub(crate) state: RwLock<Option<Arc<State>>>,
    pub(crate) calls: RwLock<Vec<Option<Call>>>,
    pub(crate) functions: RwLock<Callables>,
    pub(crate) values: Mutex<Vec<Option<Py<PyAny>>>>,
    pub(crate) errors: Mutex<HashMap<TaskIndex, Py<PyAny>>>,
    /// The attempts of threads that have them carried out elsewhere, by thread; not there before there is one.
    pub(crate) elsewhere: OnceLock<Mutex<HashMap<u64, Elsewhere>>>,
    /// How the run was drawn last.
    pub(crate) sketch: Mutex<Sketch>,
    pub(crate) groups: Mutex<HashMap<TaskIndex, Group>>,
    pub(crate) folder: PathBuf,
    /// Where large values are kept, if they are.
    pub(crate) artifacts: Option<Artifacts>,
    /// What must not be recorded.
    pub(crate) secrets: Arc<Secrets>,
    /// Where the run is recorded, if it is and goes on here. Kept open by the run alone.
    pub(crate) store: Weak<Store>,
    /// Whether it came from elsewhere and nobody said that it is trusted.
    pub(crate) is_foreign: bool,
    /// A byte in this pipe wakes the event loop.
    pub(crate) wake: OnceLock<(File, File)>,
}

/// The side of it that the engine speaks to.
pub(crate) struct Door(pub(crate) Arc<Shared>);

impl Functions for Door {
    fn carry_out(&self, task: TaskIndex, attempt: u32, _: &Arc<Task>) {
        let shared = &self.0;
        let calls = shared.calls.read().unwrap_or_else(PoisonError::into_inner);
        let is_async = calls.get(task.usize()).and_then(Option::as_ref).is_some_and(|call| call.is_async);
        drop(calls);
        if shared.queue.push((task, attempt), is_async) {
            shared.wake_loop();
        }
    }

    fn ask(&self, task: TaskIndex, _: &Arc<Task>) {
        self.0.queue.push((task, 0), false);
    }

    fn check(&self, task: TaskIndex) {
        self.0.queue.push((task, CHECK), false);
    }

    fn give_up(&self, task: TaskIndex, attempt: u32) {
        if self.0.queue.give_up((task, attempt)) {
            self.0.wake_loop();
        }
    }

    fn ended(&self, task: TaskIndex) {
        self.0.awaited.tell(task);
    }

    fn close(&self) {
        self.0.queue.close();
        self.0.awaited.close();
        self.0.wake_loop();
    }
}

impl Shared {
    pub(crate) fn control(&self) -> &Control {
        self.control.get().expect("a run begins before anybody takes its tasks")
    }

    pub(crate) fn wake_loop(&self) {
        if let Some((_, mut writer)) = self.wake.get().map(|(reader, writer)| (reader, writer)) {
            let _ = writer.write(&[1]);
        }
    }

    /// Adds tasks that were built for the next free indices.
    pub(crate) fn take_in(&self, py: Python<'_>, calls: Vec<Option<Call>>, functions: &[Arc<Function>]) {
        let first = self.calls.read().unwrap_or_else(PoisonError::into_inner).len();
        self.take_in_at(py, first, calls, functions);
    }

    /// Adds tasks that were built for the indices from one on.
    pub(crate) fn take_in_at(
        &self,
        py: Python<'_>,
        first: usize,
        calls: Vec<Option<Call>>,
        functions: &[Arc<Function>],
    ) {
        self.take_in_places(py, first.., calls, functions);
    }

    /// The same for any indices.
    pub(crate) fn take_in_places(
        &self,
        py: Python<'_>,
        at: impl Iterator<Item = usize>,
        calls: Vec<Option<Call>>,
        functions: &[Arc<Function>],
    ) {
        let mut known = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        let places: Vec<u32> = functions.iter().map(|function| known.place(py, function)).collect();
        drop(known);
        let placed = |call: Call| {
            // One that is carried out otherwise has no function.
            let is_async = functions.get(call.function as usize).is_some_and(|function| function.is_async);
            let function = places.get(call.function as usize).copied().unwrap_or(u32::MAX);
            Call { function, is_async, ..call }
        };
        let placed = calls.into_iter().map(|call| call.map(placed));
        let mut known = self.calls.write().unwrap_or_else(PoisonError::into_inner);
        for (place, call) in at.zip(placed) {
            if known.len() <= place {
                known.resize_with(place + 1, || None);
            }
            known[place] = call;
        }
    }

    /// Whether the tasks of a plan have taken the place of an attempt already, before another engine took the run up.
    /// Then they only get their calls.
    pub(crate) fn is_told_again(
        &self,
        py: Python<'_>,
        task: TaskIndex,
        attempt: u32,
        plan: &Plan,
    ) -> PyResult<bool> {
        let parts = self.look(|state| {
            let it = state.task(task).filter(|it| it.attempts == attempt && it.consists_of_tasks())?;
            let parts: Vec<TaskIndex> = state.parts(task).collect();
            (it.status != TaskStatus::Pending).then_some(parts)
        });
        let Some(parts) = parts else { return Ok(false) };
        let first = parts.first().map_or(0, |first| first.0);
        let Built { tasks, calls, functions } = plan.build(py, first)?;
        let are_same = self.look(|state| {
            parts.len() == tasks.len()
                && parts
                    .iter()
                    .zip(&tasks)
                    .all(|(part, task)| state.task(*part).is_some_and(|part| part.spec.name == task.name))
        });
        if !are_same {
            let name = self.look(|state| state.task(task).map(|task| task.spec.name.to_string()));
            return Err(changed_parts(py, &name.unwrap_or_default(), parts.len(), tasks.len()));
        }
        self.take_in_at(py, first as usize, calls, &functions);
        Ok(true)
    }

    /// Whether it is known how a task is carried out.
    pub(crate) fn has_call(&self, task: TaskIndex) -> bool {
        let calls = self.calls.read().unwrap_or_else(PoisonError::into_inner);
        calls.get(task.usize()).is_some_and(Option::is_some)
    }

    /// Has what happened so far recorded, and told.
    pub(crate) fn commit(&self) {
        if let (Some(control), Some(_)) = (self.control.get(), &self.artifacts) {
            control.commit();
        }
    }

    /// The attempts that consist of tasks and have not ended, or that go on when the run does.
    pub(crate) fn open_wholes(&self) -> Vec<Job> {
        let is_open = |task: &TaskState| matches!(task.status, TaskStatus::Running | TaskStatus::Cancelled);
        self.look(|state| {
            let tasks = (0u32..).map(TaskIndex).zip(state.tasks());
            let wholes = tasks.filter(|(_, task)| is_open(task) && task.consists_of_tasks());
            wholes.map(|(index, task)| (index, task.attempts)).collect()
        })
    }

    /// Finds again which tasks of a recorded run consisted of which.
    pub(crate) fn find_groups(&self) {
        let groups = self.look(|state| {
            // What consists of tasks in a flow is a map.
            let is_flow = state.task(TaskIndex(0)).is_some_and(|body| body.spec.policy.decides);
            let tasks = (0u32..).map(TaskIndex).zip(state.tasks());
            let wholes = tasks.filter(|(_, task)| task.consists_of_tasks());
            let group = |(index, whole): (TaskIndex, &TaskState)| {
                let parts: Vec<(TaskIndex, &TaskState)> =
                    state.parts(index).filter_map(|part| Some((part, state.task(part)?))).collect();
                let (first, part) = parts.first()?;
                let is_list = is_flow || part.spec.name.strip_prefix(&*whole.spec.name) == Some("[0]");
                let name = |part: &TaskState| own_name(&whole.spec.name, &part.spec.name);
                let names = (!is_list).then(|| parts.iter().map(|(_, part)| name(part)).collect());
                let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
                Some((index, Group { first: first.0, names, count }))
            };
            wholes.filter_map(group).collect()
        });
        *hold(&self.groups) = groups;
    }

    /// Holds back what a flow has recorded besides its body, until that has called it again.
    pub(crate) fn hold_back_calls(&self) {
        let count = self.look(|state| {
            let is_flow = state.task(TaskIndex(0)).is_some_and(|body| body.spec.policy.decides);
            if is_flow { state.tasks().len() } else { 0 }
        });
        self.control().hold_back((1..u32::try_from(count).unwrap_or(u32::MAX)).map(TaskIndex));
    }

    /// What a thread needs to carry out a job: `(task, attempt, callable, args, kwargs, extras)`.
    pub(crate) fn call<'py>(&self, py: Python<'py>, job: Job) -> PyResult<Bound<'py, PyAny>> {
        let (task, attempt) = job;
        let calls = self.calls.read().unwrap_or_else(PoisonError::into_inner);
        let call = calls.get(task.usize()).and_then(Option::as_ref).map(|call| call.clone_ref(py));
        // What follows may run code of Python, which others must not have to wait for with the interpreter in hand.
        drop(calls);
        let call = call.ok_or_else(|| bug("a task without a call"))?;
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        let callable = functions.all.get(call.function as usize).map(|it| it.clone_ref(py));
        drop(functions);
        let mut kwargs = match &call.kwargs {
            Some(kwargs) => Some(kwargs.bind(py).copy()?),
            None => None,
        };
        if attempt > 0 && !call.wants.is_empty() {
            let kwargs = kwargs.get_or_insert_with(|| PyDict::new(py));
            for (need, name) in &call.wants {
                if let Some(value) = self.value(py, *need)? {
                    kwargs.set_item(name, value)?;
                }
            }
        }
        (task.0, attempt, callable, call.args, kwargs, call.extras).into_bound_py_any(py)
    }

    /// The value of a task that completed.
    pub(crate) fn value(&self, py: Python<'_>, task: TaskIndex) -> PyResult<Option<Py<PyAny>>> {
        let known = hold(&self.values).get(task.usize()).and_then(Option::as_ref).map(|it| it.clone_ref(py));
        if known.is_some() {
            return Ok(known);
        }
        let made = {
            let groups = hold(&self.groups);
            groups.get(&task).map(|group| (group.first, group.count, group.names.clone()))
        };
        // Before its end some values are still to come.
        if made.is_some() && !self.has_completed(task) {
            return Ok(None);
        }
        let value = match made {
            Some((first, count, None)) => {
                let values = (first..first + count).map(|child| self.value(py, TaskIndex(child)));
                let values = values.collect::<PyResult<Vec<_>>>()?;
                PyList::new(py, values)?.into_any().unbind()
            }
            Some((first, _, Some(names))) => {
                let dict = PyDict::new(py);
                for (child, name) in (first..).zip(names) {
                    if let Some(value) = self.value(py, TaskIndex(child))? {
                        dict.set_item(&*name, value)?;
                    }
                }
                dict.into_any().unbind()
            }
            None => match (self.command_result(task), self.recorded_value(task)) {
                (Some(result), _) => {
                    py.import("dirigent._run")?.getattr("CommandResult")?.call1(result)?.unbind()
                }
                (None, Some((kept, _))) if self.is_foreign && kept.is_pickle() => {
                    return Err(self.untrusted(py, task));
                }
                (None, Some((kept, artifacts))) => kept::load(py, &kept, artifacts)?.unbind(),
                (None, None) => return Ok(None),
            },
        };
        self.keep(py, task, value.clone_ref(py));
        Ok(Some(value))
    }

    /// The exception that says that a value is not opened.
    fn untrusted(&self, py: Python<'_>, task: TaskIndex) -> PyErr {
        let name = self.look(|state| state.task(task).map(|task| task.spec.name.to_string()));
        let make = || py.import("dirigent._keeping")?.call_method1("untrusted", (name,));
        make().map_or_else(|error| error, PyErr::from_value)
    }

    fn has_completed(&self, task: TaskIndex) -> bool {
        let status = self.look(|state| state.task(task).map(|task| task.status));
        status == Some(TaskStatus::Completed)
    }

    /// What is recorded of the value of a task that completed.
    fn recorded_value(&self, task: TaskIndex) -> Option<(Arc<Kept>, &Artifacts)> {
        let kept = self.look(|state| {
            let it = state.task(task).filter(|task| task.status == TaskStatus::Completed)?;
            it.ended.as_ref()?.value.clone()
        })?;
        Some((kept, self.artifacts.as_ref()?))
    }

    /// Looks at the run as it stands.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = &*state {
            return look(state);
        }
        drop(state);
        self.control().look(look)
    }

    /// What the function of a task is called with, as its declaration says, and what its needs are called there, where their
    /// names do not say that; `None` where it calls none.
    pub(crate) fn arguments(&self, py: Python<'_>, task: TaskIndex) -> Option<Result<Arguments, String>> {
        let calls = self.calls.read().unwrap_or_else(PoisonError::into_inner);
        let call = calls.get(task.usize())?.as_ref().filter(|call| call.function != u32::MAX)?;
        let args = call.args.as_ref().map(|args| args.clone_ref(py));
        let kwargs = call.kwargs.as_ref().map(|kwargs| kwargs.clone_ref(py));
        let extras = call.extras.as_ref().map(|extras| extras.clone_ref(py));
        drop(calls);
        let tell = || -> PyResult<Arguments> {
            let told =
                py.import("dirigent._fingerprint")?.call_method1("for_reuse", (args, kwargs, extras))?;
            told.extract()
        };
        Some(tell().map_err(|error| error.to_string()))
    }

    /// The exit code of a command that completed, where its logs are, and how many bytes they are to have at least.
    pub(crate) fn command_result(&self, task: TaskIndex) -> Option<(i32, PathBuf, u64, u64)> {
        self.look(|state| {
            let it = state.task(task).filter(|task| task.status == TaskStatus::Completed)?;
            if let Some(reused) = it.reused.as_ref().filter(|_| it.spec.action.command().is_some()) {
                let state_dir = self.folder.ancestors().nth(2)?;
                return Some((0, state_dir.join(reused.logs.as_deref().unwrap_or_default()), 0, 0));
            }
            let ended = it.ended.as_ref()?;
            let exit_code = ended.outcome.exit_code()?;
            let [out, err] =
                [&ended.stdout, &ended.stderr].map(|log| log.as_ref().map_or(0, |log| log.kept_bytes));
            Some((exit_code, self.folder.join(attempt_folder(task, it.attempts)), out, err))
        })
    }

    pub(crate) fn keep(&self, py: Python<'_>, task: TaskIndex, value: Py<PyAny>) {
        let mut values = hold(&self.values);
        if values.len() <= task.usize() {
            values.resize_with(task.usize() + 1, || None);
        }
        let old = values[task.usize()].replace(value);
        drop(values);
        // Whatever happens when it is thrown away happens outside of any lock.
        drop(old.map(|old| old.into_bound(py)));
    }

    /// There is a process for the attempt of this thread now, and what ends it.
    pub(crate) fn is_elsewhere(&self, job: Job, end: Py<PyAny>) {
        let there = Elsewhere { job, end, since: Instant::now() };
        let _old = hold(self.elsewhere.get_or_init(Mutex::default)).insert(this_thread(), there);
    }

    /// What ends an attempt that a thread has carried out elsewhere; `None` where the thread carries it out itself.
    pub(crate) fn end_of(&self, job: Job, thread: u64) -> Option<Py<PyAny>> {
        let there = hold(self.elsewhere.get()?).remove(&thread)?;
        (there.job == job).then_some(there.end)
    }

    /// How long it took until there was a process for an attempt of this thread that has just come to its end.
    fn start_us(&self, job: Job, wall_us: u64) -> u64 {
        let Some(elsewhere) = self.elsewhere.get() else { return 0 };
        let elsewhere = hold(elsewhere);
        elsewhere.get(&this_thread()).filter(|there| there.job == job).map_or(0, |there| {
            wall_us.saturating_sub(u64::try_from(there.since.elapsed().as_micros()).unwrap_or(0))
        })
    }

    fn report(&self, job: Job, outcome: Outcome, (start_us, wall_us): (u64, u64), value: Option<Arc<Kept>>) {
        let usage = Usage { wall_us, ..Usage::default() };
        let ended = Ended { start_us, usage, value, ..Ended::new(outcome) };
        self.control().report(Report { task: job.0, attempt: job.1, ended });
    }

    pub(crate) fn returned(&self, py: Python<'_>, job: Job, value: Py<PyAny>, wall_us: u64) {
        let start_us = self.start_us(job, wall_us);
        let kept = self.artifacts.as_ref().map(|to| Arc::new(kept::keep(value.bind(py), to, &self.secrets)));
        self.keep(py, job.0, value);
        self.report(job, Outcome::Returned, (start_us, wall_us), kept);
    }

    pub(crate) fn unfinished(&self, py: Python<'_>, job: Job, value: Py<PyAny>, wall_us: u64) {
        let start_us = self.start_us(job, wall_us);
        self.keep(py, job.0, value);
        self.report(job, Outcome::Unfinished, (start_us, wall_us), None);
    }

    pub(crate) fn raised(&self, py: Python<'_>, job: Job, error: Py<PyAny>, told: Raised<'_>, wall_us: u64) {
        let start_us = self.start_us(job, wall_us);
        let old = hold(&self.errors).insert(job.0, error);
        drop(old.map(|old| old.into_bound(py)));
        let Raised { class, message, trace, retryable } = told;
        let outcome = Outcome::Raised { error: class.into(), message: message.into(), retryable };
        let usage = Usage { wall_us, ..Usage::default() };
        let last_lines = plain_output(trace.as_bytes()).into();
        let ended = Ended { start_us, usage, last_lines, ..Ended::new(outcome) };
        self.control().report(Report { task: job.0, attempt: job.1, ended });
    }

    /// Drops the value of a task, which is another one from here on.
    pub(crate) fn forget(&self, py: Python<'_>, task: TaskIndex) {
        let old = hold(&self.values).get_mut(task.usize()).and_then(Option::take);
        drop(old.map(|old| old.into_bound(py)));
    }

    /// Shows the garbage collector every object of Python that the run holds. What somebody is busy with stays unseen, and
    /// thereby alive.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(functions) = self.functions.try_read() {
            functions.all.iter().try_for_each(|it| visit.call(it))?;
        }
        if let Ok(calls) = self.calls.try_read() {
            calls.iter().flatten().try_for_each(|call| call.visit(visit))?;
        }
        if let Ok(values) = self.values.try_lock() {
            values.iter().try_for_each(|value| visit.call(value))?;
        }
        if let Ok(errors) = self.errors.try_lock() {
            errors.values().try_for_each(|error| visit.call(error))?;
        }
        if let Some(Ok(elsewhere)) = self.elsewhere.get().map(Mutex::try_lock) {
            elsewhere.values().try_for_each(|there| visit.call(&there.end))?;
        }
        Ok(())
    }

    /// Lets go of all of them.
    pub(crate) fn clear(&self) {
        // Whatever happens when they are thrown away happens outside of any lock.
        let functions = std::mem::take(&mut *self.functions.write().unwrap_or_else(PoisonError::into_inner));
        let calls = std::mem::take(&mut *self.calls.write().unwrap_or_else(PoisonError::into_inner));
        let values = std::mem::take(&mut *hold(&self.values));
        let errors = std::mem::take(&mut *hold(&self.errors));
        let elsewhere = self.elsewhere.get().map(|elsewhere| std::mem::take(&mut *hold(elsewhere)));
        drop((functions, calls, values, errors, elsewhere));
    }

    pub(crate) fn lost(&self, job: Job, why: &str) {
        self.report(job, Outcome::Lost { why: why.into() }, (0, 0), None);
    }
}

/// The name of a part in its whole.
pub(crate) fn own_name(whole: &str, name: &str) -> Arc<str> {
    name.strip_prefix(whole).and_then(|name| name.strip_prefix('/')).unwrap_or(name).into()
}
