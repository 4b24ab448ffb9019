//! Pictures of workflows and runs, from Python. What is drawn comes from a plan, a run, or names with what they wait for.

use crate::fault::{misused, raised};
use crate::waiting::hold;
use crate::workflow::plan::Plan;
use crate::workflow::session::Session;
use dirigent_cli::fault::CliError;
use dirigent_core::State;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::{Action, Policy, Task, Whole, Workflow};
use dirigent_core::state::TaskStatus;
use dirigent_core::text::printable;
use dirigent_report::{Detail, Drawing, NotFolded, Picture, Sketch, Theme, cell, task_sentence, told};
use pyo3::prelude::*;
use std::sync::Arc;

/// How it is drawn: `(form, theme, what is unfolded, whether every task is drawn)`. The form `cell` is what a
/// notebook shows, `json` what would be drawn.
type Manner = (String, String, Vec<String>, bool);

/// Draws a workflow as declared.
#[pyfunction]
pub(crate) fn draw_plan(py: Python<'_>, plan: &Plan, name: &str, manner: Manner) -> PyResult<String> {
    let (workflow, _) = plan.workflow(py, name)?;
    let manner = Wanted::new(py, manner)?;
    py.detach(|| manner.of_workflow(&workflow)).map_err(|error| not_folded(py, &error))
}

/// Draws tasks that call functions, each with its name, the places of those that it waits for, and whether it stands for
/// as many calls as there will be items.
#[pyfunction]
pub(crate) fn draw_tasks(
    py: Python<'_>,
    name: &str,
    tasks: Vec<(String, Vec<u32>, bool)>,
    manner: Manner,
) -> PyResult<String> {
    let policy = Arc::new(Policy::default());
    let of_fan = Arc::new(Policy { whole: Some(Whole::Items { count: None }), ..Policy::default() });
    let task = |(name, needs, is_fan): (String, Vec<u32>, bool)| Task {
        action: Action::function(name.as_str(), None),
        name: name.into(),
        needs: needs.into_iter().map(TaskIndex).collect(),
        policy: Arc::clone(if is_fan { &of_fan } else { &policy }),
    };
    let workflow = Workflow::new(name, tasks.into_iter().map(task).collect());
    let workflow = workflow.map_err(|error| raised(py, CliError::from(error)))?;
    let manner = Wanted::new(py, manner)?;
    py.detach(|| manner.of_workflow(&workflow)).map_err(|error| not_folded(py, &error))
}

/// Draws a run as it stands.
#[pyfunction]
pub(crate) fn draw_run(py: Python<'_>, session: &Session, manner: Manner) -> PyResult<String> {
    let manner = Wanted::new(py, manner)?;
    let draw = || {
        if matches!(manner.form, Form::Cell) {
            return Ok(cell_of(session)?.1);
        }
        // What is slow is done without holding the run up.
        let drawing = session.shared.look(|state| Drawing::of_run(state, &manner.detail))?;
        Ok(manner.draw(&drawing))
    };
    py.detach(draw).map_err(|error| not_folded(py, &error))
}

/// Draws a run as it stands for a notebook: as text, and as markup.
#[pyfunction]
pub(crate) fn draw_cell(py: Python<'_>, session: &Session) -> PyResult<(String, String)> {
    py.detach(|| cell_of(session)).map_err(|error| not_folded(py, &error))
}

fn cell_of(session: &Session) -> Result<(String, String), NotFolded> {
    let look = |state: &State| {
        let drawing = Drawing::of_run(state, &Detail::of_cell())?;
        let told = told(&drawing, state);
        Ok((drawing, told))
    };
    let (drawing, told) = session.shared.look(look)?;
    let text = Picture::Text.draw(&drawing, Theme::Auto);
    let markup = cell(&drawing, &text, &told, &mut hold(&session.shared.sketch));
    Ok((text, markup))
}

/// So many running tasks are named.
const MOST_RUNNING: usize = 5;

/// What a line about a run says: `(events so far, counts by status, names of running tasks, first failure, verdict)`. It costs the
/// same however many events there are; of a large run the tasks are gone through only where one runs.
type Glance = (u64, Vec<(&'static str, usize)>, Vec<String>, Option<(String, String)>, Option<&'static str>);

/// Tells where a run stands.
#[pyfunction]
pub(crate) fn glance(py: Python<'_>, session: &Session) -> Glance {
    let look = |state: &State| {
        let counts = TaskStatus::ALL.into_iter().map(|status| (status.name(), state.count(status)));
        let running = state.tasks().iter().filter(|task| task.status == TaskStatus::Running);
        let running = running
            .take(MOST_RUNNING.min(state.count(TaskStatus::Running)))
            .map(|task| task.spec.name.to_string());
        let failed = state.first_failure().and_then(|task| state.task(task));
        let failed = failed.filter(|task| task.status.is_failure());
        (
            state.next_seq(),
            counts.filter(|(_, count)| *count > 0).collect(),
            running.collect(),
            failed.map(|task| (task.spec.name.to_string(), task_sentence(state, task))),
            state.end().map(|end| end.verdict.name()),
        )
    };
    py.detach(|| session.shared.look(look))
}

/// So many tasks that somebody may ask something of are named.
const MOST_ASKABLE: usize = 20;

/// A task of which somebody may ask something: `(place, name, status, what it asks, whether it wants a value)`. What it asks is
/// there where it waits for an answer.
type Askable = (u32, String, &'static str, Option<String>, bool);

/// The tasks that may be answered, or ended, those first that wait for an answer. Costs next to nothing where there are none.
#[pyfunction]
pub(crate) fn askable(py: Python<'_>, session: &Session) -> Vec<Askable> {
    let look = |state: &State| {
        let mut found = Vec::new();
        for status in [TaskStatus::Waiting, TaskStatus::Running, TaskStatus::Retrying] {
            let most = (MOST_ASKABLE - found.len()).min(state.count(status));
            let tasks = (0u32..).zip(state.tasks()).filter(|(_, task)| task.status == status);
            found.extend(tasks.take(most).map(|(place, task)| {
                let (prompt, wants_value) = match &task.spec.action {
                    Action::Approval(asked) => (Some(asked.prompt.to_string()), asked.wants_value),
                    _ => (None, false),
                };
                (place, task.spec.name.to_string(), status.name(), prompt, wants_value)
            }));
        }
        found
    };
    py.detach(|| session.shared.look(look))
}

/// In which form.
enum Form {
    Cell,
    Json,
    Picture(Picture),
}

/// How it is to be drawn.
struct Wanted {
    form: Form,
    theme: Theme,
    detail: Detail,
}

impl Wanted {
    fn new(py: Python<'_>, (form, theme, unfold, whole): Manner) -> PyResult<Self> {
        let none = |what: &str, name: &str, known: &str| {
            misused(
                py,
                format!("there is no {what} `{}`", printable(name)),
                Some(format!("name one of {known}")),
            )
        };
        let form = match form.as_str() {
            "cell" => Form::Cell,
            "json" => Form::Json,
            form => Form::Picture(
                Picture::from_name(form).ok_or_else(|| none("picture", form, "text, svg, mermaid, dot"))?,
            ),
        };
        let theme = Theme::from_name(&theme).ok_or_else(|| none("theme", &theme, "auto, light, dark"))?;
        let drawn = if matches!(form, Form::Cell) { Detail::of_cell() } else { Detail::default() };
        let most_nodes = if whole { usize::MAX } else { drawn.most_nodes };
        Ok(Self { form, theme, detail: Detail { most_nodes, unfold } })
    }

    fn of_workflow(&self, workflow: &Workflow) -> Result<String, NotFolded> {
        Ok(self.draw(&Drawing::of_workflow(workflow, &self.detail)?))
    }

    fn draw(&self, drawing: &Drawing) -> String {
        match self.form {
            Form::Cell => {
                let text = Picture::Text.draw(drawing, self.theme);
                cell(drawing, &text, "", &mut Sketch::default())
            }
            Form::Json => serde_json::to_string_pretty(drawing).expect("its keys are text") + "\n",
            Form::Picture(picture) => picture.draw(drawing, self.theme),
        }
    }
}

fn not_folded(py: Python<'_>, error: &NotFolded) -> PyErr {
    let folded: Vec<String> = error.folded.iter().take(12).map(|name| printable(name)).collect();
    let hint = match folded.as_slice() {
        [] => "leave unfold out: every task is drawn already".to_owned(),
        folded => format!("name some of {}", folded.join(", ")),
    };
    misused(py, error.to_string(), Some(hint))
}
