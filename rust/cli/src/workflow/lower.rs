//! From the tasks of a workflow file to tasks of a run.

use super::around::{Around, EACH, expands};
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::{Action, Claim, Command, Limits, Policy, Reuse, Script, Task, Whole};
use dirigent_core::text::OsText;
use dirigent_project::WorkflowFile;
use dirigent_project::template::{Part, Template};
use dirigent_project::workflow::{Each, FileAction, FileTask, Piece};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;

/// Where tasks of a file stand in a run.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The index of the first of them.
    pub first: TaskIndex,
    /// What their names begin with.
    pub prefix: &'a str,
    /// The place of the file's first resource.
    pub first_resource: u32,
}

/// The tasks of a file, given its parameters as `{"params": …}`.
///
/// # Errors
///
/// Something that depends on parameters alone cannot be worked out; as a sentence without its end.
pub fn lowered(
    file: &WorkflowFile,
    values: &Value,
    around: &Around,
    standing: Standing<'_>,
) -> Result<Vec<Task>, String> {
    let lowered = file.tasks.iter().map(|task| {
        let lowered = lower(file, task, values, around, standing);
        lowered.map_err(|why| format!("task `{}`: {why}", task.name))
    });
    lowered.collect()
}

fn lower(
    file: &WorkflowFile,
    task: &FileTask,
    values: &Value,
    around: &Around,
    standing: Standing<'_>,
) -> Result<Task, String> {
    let needs = task.needs.iter().map(|need| TaskIndex(standing.first.0 + need)).collect();
    let waits = FileTask::speaks_of_tasks(task.when.iter());
    let skip = match &task.when {
        Some(when) if !waits && !holds(&when.evaluate(values)?, "when")? => {
            Some(format!("its condition does not hold: {}", when.text().trim()))
        }
        _ => task.policy.skip.clone(),
    };
    let name = format!("{}{}", standing.prefix, task.name).into();
    if consists_of_others(task) {
        let what = match (&task.each, &task.action) {
            (None, FileAction::Workflow { path, .. }) => format!("workflow {path}"),
            _ => EACH.to_owned(),
        };
        let policy = Policy {
            skip,
            has_condition: waits,
            slotless: true,
            whole: whole(task, values),
            trigger: task.policy.trigger,
            priority: task.policy.priority,
            teardown: task.policy.teardown,
            lost_attempts_allowed: task.policy.lost_attempts_allowed,
            ..Policy::default()
        };
        return Ok(Task { name, action: expands(&what), needs, policy: Arc::new(policy) });
    }
    let is_late = settles_late(task);
    let action = match is_late {
        true => preview(task, file.folder()),
        false => around.action(task, file.folder(), values, &Map::new())?,
    };
    let policy =
        Policy { skip, has_condition: waits || is_late, ..one(file, task, values, around, standing)? };
    Ok(Task { name, action, needs, policy: Arc::new(policy) })
}

/// Whether other tasks take its place when its turn comes.
pub(super) fn consists_of_others(task: &FileTask) -> bool {
    task.each.is_some() || matches!(task.action, FileAction::Workflow { .. })
}

/// What will take its place. How many items there are is known before where it depends on parameters alone.
fn whole(task: &FileTask, values: &Value) -> Option<Whole> {
    let count = |each: &Each| match FileTask::speaks_of_tasks(each.expressions()) {
        false => each.items(values).ok().map(|items| items.len() as u64),
        true => None,
    };
    match (&task.each, &task.action) {
        (Some(each), _) => Some(Whole::Items { count: count(each) }),
        (None, FileAction::Workflow { .. }) => Some(Whole::Workflow),
        (None, _) => None,
    }
}

/// Whether what it does can be said only when its turn comes.
pub(super) fn settles_late(task: &FileTask) -> bool {
    // A function takes what its needs gave by the names of its parameters.
    let takes_needs = matches!(task.action, FileAction::Python { .. }) && !task.needs.is_empty();
    takes_needs || FileTask::speaks_of_tasks(task.expressions())
}

/// What a condition gave.
pub(super) fn holds(value: &Value, key: &str) -> Result<bool, String> {
    match value {
        Value::Bool(holds) => Ok(*holds),
        other => Err(format!("`{key}` gave {other}, and true or false is wanted")),
    }
}

/// The policy of a task that runs one thing.
fn one(
    file: &WorkflowFile,
    task: &FileTask,
    values: &Value,
    around: &Around,
    standing: Standing<'_>,
) -> Result<Policy, String> {
    let offset = |claim: &Claim| Claim { resource: claim.resource + standing.first_resource, ..*claim };
    let reuse = match &task.policy.reuse {
        None => None,
        Some(reuse) => Some(Reuse {
            inputs: files(&task.inputs, file.folder(), values)?,
            outputs: files(&task.outputs, file.folder(), values)?,
            ..reuse.clone()
        }),
    };
    Ok(Policy {
        limits: Limits { output_bytes: Some(around.output_bytes), ..task.policy.limits.clone() },
        claims: task.policy.claims.iter().map(offset).collect(),
        reuse,
        ..task.policy.clone()
    })
}

/// Files or globs, absolute.
pub(super) fn files(templates: &[Template], folder: &Path, values: &Value) -> Result<Vec<OsText>, String> {
    templates.iter().map(|template| Ok(folder.join(template.text(values)?).into())).collect()
}

/// One of the tasks that take the place of a task which runs once for each item. `values` have the item.
pub(super) fn child(
    file: &WorkflowFile,
    task: &FileTask,
    name: String,
    values: &Value,
    needs: &Map<String, Value>,
    around: &Around,
    standing: Standing<'_>,
) -> Result<Task, String> {
    let action = around.action(task, file.folder(), values, needs)?;
    let policy = one(file, task, values, around, standing)?;
    let mut claims = policy.claims;
    claims.extend(task.limit.map(|limit| Claim { resource: limit + standing.first_resource, amount: 1 }));
    let policy = Policy {
        claims,
        trigger: dirigent_core::spec::Trigger::AllSuccess,
        skip: None,
        teardown: false,
        slotless: matches!(task.action, FileAction::Workflow { .. }),
        whole: matches!(task.action, FileAction::Workflow { .. }).then_some(Whole::Workflow),
        ..policy
    };
    Ok(Task { name: name.into(), action, needs: Box::default(), policy: Arc::new(policy) })
}

/// The names of such tasks: by their items where those are short and differ, else by their numbers.
pub(super) fn names(name: &str, items: &[Value]) -> Vec<String> {
    let labels: Vec<String> = items.iter().map(|item| label(item).unwrap_or_default()).collect();
    let mut sorted: Vec<&String> = labels.iter().collect();
    sorted.sort_unstable();
    let do_differ =
        sorted.windows(2).all(|pair| pair[0] != pair[1]) && labels.iter().all(|label| !label.is_empty());
    let numbered = (0..items.len()).map(|number| number.to_string());
    let labels: Vec<String> = if do_differ { labels } else { numbered.collect() };
    labels.into_iter().map(|label| format!("{name}[{label}]")).collect()
}

fn label(item: &Value) -> Option<String> {
    let text = match item {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => item.to_string(),
        Value::Object(entries) => {
            let labels = entries.values().filter(|value| **value != "").map(label);
            labels.collect::<Option<Vec<_>>>()?.join(",")
        }
        Value::Null | Value::Array(_) => return None,
    };
    (!text.is_empty() && text.chars().count() <= 40 && !text.chars().any(char::is_control)).then_some(text)
}

/// What a task will do, as far as the file says, with the expressions as they stand there: for the eye alone.
fn preview(task: &FileTask, folder: &Path) -> Action {
    let shown = |template: &Template| -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Expression(expression) => format!("${{{{ {} }}}}", expression.text().trim()),
        };
        template.parts().iter().map(part).collect()
    };
    let command = |argv: Vec<String>| Command {
        argv: argv.into_iter().map(OsText::from).collect(),
        cwd: folder.into(),
        ..Command::default()
    };
    let run = |argv: Vec<String>| Action::Command(Box::new(command(argv)));
    match &task.action {
        FileAction::Run(argv) => run(argv.iter().map(shown).collect()),
        FileAction::Shell(pieces) => {
            let piece = |piece: &Piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Value { expression, .. } => format!("${{{{ {} }}}}", expression.text().trim()),
            };
            run(vec!["/bin/sh".to_owned(), "-c".to_owned(), pieces.iter().map(piece).collect()])
        }
        FileAction::Script { path, args } => {
            let path = shown(path);
            let argv = std::iter::once(path.clone()).chain(args.iter().map(shown)).collect();
            Action::Script(Box::new(Script { path: folder.join(path).into(), command: command(argv) }))
        }
        FileAction::Python { function, .. } => run(["python", function].map(str::to_owned).to_vec()),
        FileAction::Workflow { path, .. } => expands(&format!("workflow {path}")),
        FileAction::Approval(text) => Action::approval(shown(text), false),
        FileAction::Signal(text) => Action::approval(shown(text), true),
    }
}

/// Parameters as expressions see them.
pub(super) fn with_params(params: Map<String, Value>) -> Value {
    json!({"params": params})
}
