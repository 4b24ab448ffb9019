//! A workflow as Python declares it: names, needs and functions, checked as a whole before anything runs.

pub(crate) use crate::fault::{bug, made};
use crate::fault::{misused, raised};
use crate::workflow::call::{Call, Function};
use dirigent_cli::fault::CliError;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::{Action, Command, InvalidWorkflow, Policy, Task, Trigger, Workflow};
use dirigent_project::diagnose::did_you_mean;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

enum Kind {
    Function(Call),
    Command(Box<Command>),
    Script(Box<dirigent_core::spec::Script>),
    Approval(Arc<str>),
}

struct Declared {
    name: u32,
    needs: Box<[u32]>,
    policy: u32,
    kind: Kind,
    extras: Option<Py<PyAny>>,
    /// What tells what it does from what others do, instead of the function's own code.
    code: Option<Arc<str>>,
}

/// The number of each name by the string object that it is. Who names a need mostly names it by the object that named the task,
/// and an address is found by one look into memory where a text takes four.
type ByObject = HashMap<usize, u32, foldhash::fast::FixedState>;

/// A workflow being declared.
#[pyclass(module = "dirigent._native")]
pub(crate) struct Plan {
    /// What stands before the own name of each task.
    prefix: String,
    names: Vec<Arc<str>>,
    /// The number of each name. Python's strings carry their hash, so its dictionary finds them faster than ours would.
    ids: Py<PyDict>,
    /// The place of the task of each name; `u32::MAX` while it is only needed.
    places: Vec<u32>,
    /// Names of tasks that the run has already, and which.
    existing: HashMap<u32, TaskIndex>,
    declared: Vec<Declared>,
    policies: Vec<Arc<Policy>>,
    /// Never shared with another plan or a run: the garbage collector counts one reference for each.
    functions: Vec<Arc<Function>>,
}

/// Tasks in the terms of the core, with what Python needs to carry them out.
pub(crate) struct Built {
    pub(crate) tasks: Vec<Task>,
    pub(crate) calls: Vec<Option<Call>>,
    pub(crate) functions: Vec<Arc<Function>>,
}

#[pymethods]
impl Plan {
    #[new]
    fn new(py: Python<'_>) -> Self {
        Self {
            prefix: String::new(),
            names: Vec::new(),
            ids: PyDict::new(py).unbind(),
            places: Vec::new(),
            existing: HashMap::new(),
            declared: Vec::new(),
            policies: Vec::new(),
            functions: Vec::new(),
        }
    }

    fn __len__(&self) -> usize {
        self.declared.len()
    }

    fn __contains__(&self, py: Python<'_>, name: &str) -> bool {
        self.place(py, name).is_some()
    }

    /// Takes a policy as JSON and returns its number.
    fn policy(&mut self, py: Python<'_>, json: &str) -> PyResult<u32> {
        let policy: Policy = serde_json::from_str(json)
            .map_err(|error| misused(py, format!("the options of a task make no sense: {error}"), None))?;
        self.policies.push(Arc::new(policy));
        Ok(number(self.policies.len() - 1))
    }

    /// Takes a function and returns its number.
    fn function(
        &mut self,
        callable: Py<PyAny>,
        shown: &str,
        parameters: Option<Vec<String>>,
        is_async: bool,
    ) -> u32 {
        let parameters = parameters.map(|names| names.into_iter().map(String::into_boxed_str).collect());
        self.functions.push(Arc::new(Function {
            callable,
            shown: shown.into(),
            parameters,
            is_async,
            code: OnceLock::new(),
        }));
        number(self.functions.len() - 1)
    }

    /// Adds a task that calls a function. `code` tells the call from others, where that is more than the function's own.
    #[pyo3(signature = (name, needs, function, args, kwargs, policy, extras, code=None))]
    #[allow(clippy::too_many_arguments, reason = "called by the package alone")]
    fn add_function(
        &mut self,
        py: Python<'_>,
        name: &Bound<'_, PyString>,
        needs: Option<&Bound<'_, PyAny>>,
        function: u32,
        args: Option<Py<PyTuple>>,
        kwargs: Option<Py<PyDict>>,
        policy: u32,
        extras: Option<Py<PyAny>>,
        code: Option<String>,
    ) -> PyResult<u32> {
        let call = Call { function, is_async: false, args, kwargs, wants: Vec::new(), extras: None };
        let place = self.add(py, name, needs, policy, Kind::Function(call), extras)?;
        self.declared[place as usize].code = code.map(Into::into);
        Ok(place)
    }

    /// Adds tasks that call functions, each as `(name, action, needs)`. `numbers` has the number of each action by its id.
    fn add_functions(
        &mut self,
        py: Python<'_>,
        rows: &Bound<'_, PyAny>,
        numbers: &Bound<'_, PyDict>,
        policy: u32,
    ) -> PyResult<()> {
        let mut last: Option<(Bound<'_, PyAny>, u32)> = None;
        let mut known = ByObject::default();
        for row in rows.try_iter()? {
            let row = row?;
            let row = row.cast::<PyTuple>()?;
            let (name, action, needs) = (row.get_item(0)?, row.get_item(1)?, row.get_item(2)?);
            let function = match &last {
                Some((known, number)) if known.is(&action) => *number,
                _ => numbers
                    .get_item(action.as_ptr() as usize)?
                    .ok_or_else(|| bug("a function without a number"))?
                    .extract()?,
            };
            let call =
                Call { function, is_async: false, args: None, kwargs: None, wants: Vec::new(), extras: None };
            let needs = self.ids_of(&needs, &known)?;
            let place =
                self.declare(py, name.cast::<PyString>()?, needs, policy, Kind::Function(call), None)?;
            known.insert(name.as_ptr() as usize, self.declared[place as usize].name);
            last = Some((action, function));
        }
        Ok(())
    }

    /// Adds a task that runs a program.
    #[pyo3(signature = (name, needs, argv, cwd, env, secrets, policy, extras))]
    #[allow(clippy::too_many_arguments, reason = "called by the package alone")]
    fn add_command(
        &mut self,
        py: Python<'_>,
        name: &Bound<'_, PyString>,
        needs: Option<&Bound<'_, PyAny>>,
        argv: Vec<OsString>,
        cwd: PathBuf,
        env: Vec<(OsString, Option<OsString>)>,
        secrets: Vec<(OsString, String)>,
        policy: u32,
        extras: Option<Py<PyAny>>,
    ) -> PyResult<u32> {
        let command = command(argv, cwd, env, secrets);
        self.add(py, name, needs, policy, Kind::Command(Box::new(command)), extras)
    }

    /// Adds a task that runs a script.
    #[pyo3(signature = (name, needs, path, argv, cwd, env, secrets, policy, extras))]
    #[allow(clippy::too_many_arguments, reason = "called by the package alone")]
    fn add_script(
        &mut self,
        py: Python<'_>,
        name: &Bound<'_, PyString>,
        needs: Option<&Bound<'_, PyAny>>,
        path: PathBuf,
        argv: Vec<OsString>,
        cwd: PathBuf,
        env: Vec<(OsString, Option<OsString>)>,
        secrets: Vec<(OsString, String)>,
        policy: u32,
        extras: Option<Py<PyAny>>,
    ) -> PyResult<u32> {
        let script =
            dirigent_core::spec::Script { path: path.into(), command: command(argv, cwd, env, secrets) };
        self.add(py, name, needs, policy, Kind::Script(Box::new(script)), extras)
    }

    /// Adds a task that waits for an answer.
    #[pyo3(signature = (name, needs, prompt, policy, extras))]
    fn add_approval(
        &mut self,
        py: Python<'_>,
        name: &Bound<'_, PyString>,
        needs: Option<&Bound<'_, PyAny>>,
        prompt: &str,
        policy: u32,
        extras: Option<Py<PyAny>>,
    ) -> PyResult<u32> {
        self.add(py, name, needs, policy, Kind::Approval(prompt.into()), extras)
    }

    /// Lets a name mean a task that the run has already.
    fn refer(&mut self, name: &Bound<'_, PyString>, index: u32) -> PyResult<()> {
        let id = self.id(name)?;
        self.existing.insert(id, TaskIndex(index));
        Ok(())
    }

    /// The names of the tasks, in the order of declaration.
    fn names<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.declared.iter().map(|task| &*self.names[task.name as usize]))
    }

    /// The function that a task calls; `None` where it calls none.
    fn action(&self, py: Python<'_>, name: &str) -> Option<Py<PyAny>> {
        match &self.declared[self.place(py, name)?].kind {
            Kind::Function(call) => Some(self.functions[call.function as usize].callable.clone_ref(py)),
            Kind::Command(_) | Kind::Script(_) | Kind::Approval(_) => None,
        }
    }

    /// What a task needs, by name.
    fn needs(&self, py: Python<'_>, name: &str) -> Option<Vec<&str>> {
        let task = &self.declared[self.place(py, name)?];
        Some(task.needs.iter().map(|need| &*self.names[*need as usize]).collect())
    }

    /// The same under longer names, to be put into the place of a task.
    fn prefixed(&self, py: Python<'_>, prefix: &str) -> PyResult<Self> {
        let names: Vec<Arc<str>> = self.names.iter().map(|name| format!("{prefix}{name}").into()).collect();
        let declared = self.declared.iter().map(|task| Declared {
            name: task.name,
            needs: task.needs.clone(),
            policy: task.policy,
            kind: match &task.kind {
                Kind::Function(call) => Kind::Function(call.clone_ref(py)),
                Kind::Command(command) => Kind::Command(command.clone()),
                Kind::Script(script) => Kind::Script(script.clone()),
                Kind::Approval(prompt) => Kind::Approval(Arc::clone(prompt)),
            },
            extras: task.extras.as_ref().map(|extras| extras.clone_ref(py)),
            code: task.code.clone(),
        });
        let ids = PyDict::new(py);
        for (id, name) in (0u32..).zip(&names) {
            ids.set_item(&**name, id)?;
        }
        Ok(Self {
            prefix: format!("{prefix}{}", self.prefix),
            ids: ids.unbind(),
            names,
            places: self.places.clone(),
            existing: self.existing.clone(),
            declared: declared.collect(),
            policies: self.policies.clone(),
            functions: self.functions.iter().map(|function| Arc::new(function.clone_ref(py))).collect(),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.ids)?;
        self.functions.iter().try_for_each(|function| visit.call(&function.callable))?;
        for task in &self.declared {
            visit.call(&task.extras)?;
            if let Kind::Function(call) = &task.kind {
                call.visit(&visit)?;
            }
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        let functions = std::mem::take(&mut self.functions);
        let declared = std::mem::take(&mut self.declared);
        drop((functions, declared));
    }

    /// Has the code of each function told by `tell`, and by `tell_call` what a task calls it with: texts that change with these.
    fn tell_codes(&mut self, tell: &Bound<'_, PyAny>, tell_call: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = tell.py();
        for function in self.functions.iter().filter(|function| function.code.get().is_none()) {
            let _ = function.code.set(tell.call1((function.callable.bind(py),))?.extract::<String>()?.into());
        }
        for task in &mut self.declared {
            let Kind::Function(call) = &task.kind else { continue };
            let is_bare = call.args.is_none() && call.kwargs.is_none() && task.extras.is_none();
            // The body of a flow is called with the run itself.
            if !is_bare && !self.policies[task.policy as usize].decides {
                let told: String = tell_call.call1((&call.args, &call.kwargs, &task.extras))?.extract()?;
                let code = self.functions[call.function as usize].code.get().map_or("", |code| code);
                task.code = Some(format!("{code}:{told}").into());
            }
        }
        Ok(())
    }

    /// Checks the whole.
    fn validate(&self, py: Python<'_>) -> PyResult<()> {
        self.workflow(py, "workflow").map(drop)
    }
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self.declared.is_empty()
    }

    fn add(
        &mut self,
        py: Python<'_>,
        name: &Bound<'_, PyString>,
        needs: Option<&Bound<'_, PyAny>>,
        policy: u32,
        kind: Kind,
        extras: Option<Py<PyAny>>,
    ) -> PyResult<u32> {
        let needs = match needs {
            None => Box::default(),
            Some(needs) => self.ids_of(needs, &ByObject::default())?,
        };
        self.declare(py, name, needs, policy, kind, extras)
    }

    fn declare(
        &mut self,
        py: Python<'_>,
        name: &Bound<'_, PyString>,
        needs: Box<[u32]>,
        policy: u32,
        kind: Kind,
        extras: Option<Py<PyAny>>,
    ) -> PyResult<u32> {
        if name.is_empty()? {
            return Err(misused(py, "a task has a name, not an empty one".to_owned(), None));
        }
        let id = self.id(name)?;
        if self.places[id as usize] != u32::MAX {
            let name = name.to_str()?;
            let message =
                format!("there is a task named `{name}` already\nhint: choose another name for this one");
            return Err(made(py, "DuplicateTaskError", (message, "workflow.duplicate_task")));
        }
        self.places[id as usize] = number(self.declared.len());
        self.declared.push(Declared { name: id, needs, policy, kind, extras, code: None });
        Ok(number(self.declared.len() - 1))
    }

    fn ids_of(&mut self, needs: &Bound<'_, PyAny>, known: &ByObject) -> PyResult<Box<[u32]>> {
        if needs.is_instance_of::<PyString>() {
            let hint = format!("write [{needs:?}]");
            return Err(misused(
                needs.py(),
                "dependencies are a list of names, not one".to_owned(),
                Some(hint),
            ));
        }
        let mut ids = Vec::with_capacity(needs.len().unwrap_or(0));
        for need in needs.try_iter()? {
            let need = need?;
            let id = match known.get(&(need.as_ptr() as usize)) {
                Some(id) => *id,
                None => self.id(need.cast::<PyString>()?)?,
            };
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids.into())
    }

    fn id(&mut self, name: &Bound<'_, PyString>) -> PyResult<u32> {
        let ids = self.ids.bind(name.py());
        if let Some(id) = ids.get_item(name)? {
            return id.extract();
        }
        let id = number(self.names.len());
        let text = name.to_str()?;
        ids.set_item(name, id)?;
        self.names.push(text.into());
        self.places.push(u32::MAX);
        Ok(id)
    }

    fn place(&self, py: Python<'_>, name: &str) -> Option<usize> {
        let id: u32 = self.ids.bind(py).get_item(name).ok()??.extract().ok()?;
        let place = self.places[id as usize];
        (place != u32::MAX).then_some(place as usize)
    }

    /// The tasks with their needs as indices from `first` on, and calls with what they want.
    ///
    /// # Errors
    ///
    /// A need that is not there.
    pub(crate) fn build(&self, py: Python<'_>, first: u32) -> PyResult<Built> {
        let action = |it: &Arc<Function>| Action::function(Arc::clone(&it.shown), it.code.get().cloned());
        let actions: Vec<Action> = self.functions.iter().map(action).collect();
        let mut tasks = Vec::with_capacity(self.declared.len());
        let mut calls = Vec::with_capacity(self.declared.len());
        for task in &self.declared {
            let needs = self.indices(py, task, first)?;
            self.check_trigger(py, task)?;
            let (action, call) = match &task.kind {
                Kind::Function(call) => {
                    let function = &self.functions[call.function as usize];
                    let mut call = call.clone_ref(py);
                    call.extras = task.extras.as_ref().map(|extras| extras.clone_ref(py));
                    call.wants = self.wants(py, task, function, &call, &needs);
                    let action = match &task.code {
                        Some(code) => Action::function(Arc::clone(&function.shown), Some(Arc::clone(code))),
                        None => actions[call.function as usize].clone(),
                    };
                    (action, Some(call))
                }
                Kind::Command(command) => (Action::Command(command.clone()), None),
                Kind::Script(script) => (Action::Script(script.clone()), None),
                Kind::Approval(prompt) => (Action::approval(Arc::clone(prompt), false), None),
            };
            // A task of another kind has a call only for what Python wants to know.
            let call = call.or_else(|| {
                let extras = task.extras.as_ref()?.clone_ref(py);
                Some(Call {
                    function: u32::MAX,
                    is_async: false,
                    args: None,
                    kwargs: None,
                    wants: Vec::new(),
                    extras: Some(extras),
                })
            });
            calls.push(call);
            tasks.push(Task {
                name: Arc::clone(&self.names[task.name as usize]),
                action,
                needs,
                policy: Arc::clone(&self.policies[task.policy as usize]),
            });
        }
        Ok(Built { tasks, calls, functions: self.functions.clone() })
    }

    /// The whole as a workflow, checked.
    pub(crate) fn workflow(&self, py: Python<'_>, name: &str) -> PyResult<(Workflow, Built)> {
        let mut built = self.build(py, 0)?;
        let tasks = std::mem::take(&mut built.tasks);
        let workflow = py.detach(|| Workflow::new(name, tasks)).map_err(|error| match error {
            InvalidWorkflow::Cycle { names } => cycle(py, &names),
            error => raised(py, CliError::from(error)),
        })?;
        Ok((workflow, built))
    }

    fn indices(&self, py: Python<'_>, task: &Declared, first: u32) -> PyResult<Box<[TaskIndex]>> {
        let index = |need: &u32| {
            let place = self.places[*need as usize];
            if let Some(index) = self.existing.get(need) {
                return Ok(*index);
            }
            if place == u32::MAX { Err(self.unknown(py, task, *need)) } else { Ok(TaskIndex(first + place)) }
        };
        task.needs.iter().map(index).collect()
    }

    fn check_trigger(&self, py: Python<'_>, task: &Declared) -> PyResult<()> {
        let policy = &self.policies[task.policy as usize];
        if policy.trigger != Trigger::AnyFailed || !task.needs.is_empty() || policy.teardown {
            return Ok(());
        }
        let name = &self.names[task.name as usize];
        let message = format!(
            "task `{name}` waits for the failure of a task it depends on, and depends on none\nhint: name those tasks in \
             `dependencies`, or leave `trigger` out"
        );
        Err(made(py, "WorkflowError", (message, "workflow.never_starts")))
    }

    fn unknown(&self, py: Python<'_>, task: &Declared, need: u32) -> PyErr {
        let declared = self.declared.iter().map(|task| &*self.names[task.name as usize]);
        let need = &self.names[need as usize];
        let task = &self.names[task.name as usize];
        let mut message = format!("task `{task}` depends on `{need}`, which is no task of this workflow");
        if let Some(meant) = did_you_mean(need, declared) {
            message.push_str(&format!("\nhint: did you mean `{meant}`?"));
        }
        made(py, "UnknownTaskError", (message, "workflow.unknown_task"))
    }

    /// The needs that the function has parameters for, where no argument is given for them already.
    fn wants(
        &self,
        py: Python<'_>,
        task: &Declared,
        function: &Function,
        call: &Call,
        needs: &[TaskIndex],
    ) -> Vec<(TaskIndex, Py<PyString>)> {
        let given = |name: &str| {
            call.kwargs.as_ref().is_some_and(|kwargs| kwargs.bind(py).contains(name).unwrap_or(false))
        };
        let taken = call.args.as_ref().map_or(0, |args| args.bind(py).len());
        let positional =
            function.parameters.as_ref().map_or(&[][..], |names| &names[..taken.min(names.len())]);
        let names = task.needs.iter().map(|need| &self.names[*need as usize][self.prefix.len()..]);
        needs
            .iter()
            .zip(names)
            .filter(|(_, name)| function.takes(name) && !given(name))
            .filter(|(_, name)| !positional.iter().any(|known| **known == **name))
            .map(|(need, name)| (*need, PyString::intern(py, name).unbind()))
            .collect()
    }
}

fn command(
    argv: Vec<OsString>,
    cwd: PathBuf,
    env: Vec<(OsString, Option<OsString>)>,
    secrets: Vec<(OsString, String)>,
) -> Command {
    Command {
        argv: argv.into_iter().map(Into::into).collect(),
        cwd: cwd.into(),
        env: env.into_iter().map(|(name, value)| (name.into(), value.map(Into::into))).collect(),
        secrets: secrets.into_iter().map(|(variable, name)| (variable.into(), name)).collect(),
        ..Command::default()
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn cycle(py: Python<'_>, names: &[String]) -> PyErr {
    let message = InvalidWorkflow::Cycle { names: names.to_vec() }.to_string();
    let message = format!("{message}\nhint: take one of these dependencies away");
    made(py, "CycleError", (message, "workflow.cycle", names.to_vec()))
}
