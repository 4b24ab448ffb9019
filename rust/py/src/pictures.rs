//! Pictures of workflows and runs, from Python. What is drawn comes from a plan, a run, or names with what they wait for.

use crate::fault::{misused, raised};
use crate::workflow::plan::Plan;
use crate::workflow::session::Session;
use dirigent_cli::fault::CliError;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::{Action, Policy, Task, Workflow};
use dirigent_core::text::printable;
use dirigent_report::{Detail, Drawing, NotFolded, Picture, Theme, cell};
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

/// Draws tasks that call functions, each with its name and the places of those that it waits for.
#[pyfunction]
pub(crate) fn draw_tasks(
    py: Python<'_>,
    name: &str,
    tasks: Vec<(String, Vec<u32>)>,
    manner: Manner,
) -> PyResult<String> {
    let policy = Arc::new(Policy::default());
    let task = |(name, needs): (String, Vec<u32>)| Task {
        action: Action::Function { function: name.as_str().into(), code: None },
        name: name.into(),
        needs: needs.into_iter().map(TaskIndex).collect(),
        policy: Arc::clone(&policy),
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
        // Only the cell needs more of the run than the drawing has: what is slow is done without holding the run up.
        let (drawing, cell) = session.shared.look(|state| {
            let drawing = Drawing::of_run(state, &manner.detail)?;
            let cell = matches!(manner.form, Form::Cell).then(|| cell(&drawing, Some(state)));
            Ok((drawing, cell))
        })?;
        Ok(cell.unwrap_or_else(|| manner.draw(&drawing)))
    };
    py.detach(draw).map_err(|error| not_folded(py, &error))
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
        let most_nodes = if whole { usize::MAX } else { Detail::default().most_nodes };
        Ok(Self { form, theme, detail: Detail { most_nodes, unfold } })
    }

    fn of_workflow(&self, workflow: &Workflow) -> Result<String, NotFolded> {
        Ok(self.draw(&Drawing::of_workflow(workflow, &self.detail)?))
    }

    fn draw(&self, drawing: &Drawing) -> String {
        match self.form {
            Form::Cell => cell(drawing, None),
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
