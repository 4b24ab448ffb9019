//! Whether a task need not run: what it depends on, each part with a hash, and whether the journal knows what came of that.

use crate::waiting::wait;
use crate::workflow::kept::digest_of_value;
use crate::workflow::shared::Shared;
use dirigent_cli::record::now_ms;
use dirigent_core::decide::Input;
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::Action;
use dirigent_core::state::{State, TaskStatus};
use dirigent_core::value::Kept;
use dirigent_journal::known::{digest, digest_of, files, key_of};
use pyo3::prelude::*;
use std::sync::Arc;

type Parts = Vec<(Box<str>, Box<str>)>;

/// Looks whether a task need not run, and says so to its run.
pub(crate) fn check(py: Python<'_>, shared: &Shared, task: TaskIndex) {
    let arguments = arguments(py, shared, task);
    wait(py, || {
        let parts = parts(shared, task, arguments);
        shared.control().answer_known(answer(shared, task, parts));
    });
}

/// A hash of what the function is called with, beside the values of its needs; or why there is none.
fn arguments(py: Python<'_>, shared: &Shared, task: TaskIndex) -> Result<Option<Box<str>>, String> {
    match shared.arguments(py, task) {
        None => Ok(None),
        Some(arguments) => match digest_of_value(arguments.bind(py)) {
            Ok(hash) => Ok(Some(hash.into())),
            Err(why) => Err(format!("its arguments have no hash: {why}")),
        },
    }
}

/// Everything that a task depends on, or why that cannot be told.
fn parts(
    shared: &Shared,
    task: TaskIndex,
    arguments: Result<Option<Box<str>>, String>,
) -> Result<Parts, String> {
    let mut parts: Parts = Vec::new();
    if let Some(hash) = arguments? {
        parts.push(("its arguments".into(), hash));
    }
    let spec = shared
        .look(|state| state.task(task).map(|it| Arc::clone(&it.spec)))
        .ok_or("there is no such task")?;
    let what: Box<str> = match &spec.action {
        Action::Function { function, code } => {
            format!("{function} {}", code.as_deref().unwrap_or_default()).into()
        }
        action => digest(serde_json::to_string(action).unwrap_or_default().as_bytes()).into(),
    };
    parts.push((
        if matches!(spec.action, Action::Function { .. }) { "its code" } else { "what it runs" }.into(),
        what,
    ));
    if let Action::Script(script) = &spec.action {
        let hash = digest_of(script.path.as_path()).map_err(|error| error.to_string())?;
        parts.push(("its script".into(), hash.into()));
    }
    for need in &spec.needs {
        let name =
            shared.look(|state| state.task(*need).map(|need| need.spec.name.to_string())).unwrap_or_default();
        let hash =
            digest_of_need(shared, *need).map_err(|why| format!("what `{name}` gave has no hash: {why}"))?;
        parts.push((format!("what `{name}` gave").into(), hash.into()));
    }
    let reuse = spec.policy.reuse.clone().unwrap_or_default();
    for path in reuse.inputs.iter().flat_map(|pattern| files(pattern.as_path())) {
        let hash = digest_of(&path).unwrap_or_else(|_| "it is not there".to_owned());
        parts.push((format!("file {}", path.display()).into(), hash.into()));
    }
    for name in &reuse.env {
        let value = std::env::var_os(name);
        let hash = value.map_or_else(|| "it is not set".to_owned(), |value| digest(value.as_encoded_bytes()));
        parts.push((format!("variable {name}").into(), hash.into()));
    }
    Ok(parts)
}

/// The hash of the value of a task.
fn digest_of_need(shared: &Shared, need: TaskIndex) -> Result<String, String> {
    enum Found {
        Hash(String),
        Parts(Vec<TaskIndex>),
        Command(i32),
    }
    let look = |state: &State| -> Result<Found, String> {
        let it = state.task(need).ok_or("there is no such task")?;
        if it.status != TaskStatus::Completed {
            return Ok(Found::Hash(it.status.name().to_owned()));
        }
        let ended = it.ended.as_deref();
        match ended.and_then(|ended| ended.value.as_deref()) {
            Some(Kept::Inline { text, .. }) => return Ok(Found::Hash(digest(text.as_bytes()))),
            Some(Kept::Artifact { hash, .. }) => return Ok(Found::Hash(hash.to_string())),
            Some(Kept::NotKept { why }) => return Err(why.to_string()),
            None => {}
        }
        if it.consists_of_tasks() {
            return Ok(Found::Parts(state.parts(need).collect()));
        }
        match ended.and_then(|ended| ended.outcome.exit_code()) {
            Some(exit_code) => Ok(Found::Command(exit_code)),
            None if it.reused.is_some() => Ok(Found::Command(0)),
            None => Ok(Found::Hash("completed".to_owned())),
        }
    };
    match shared.look(look)? {
        Found::Hash(hash) => Ok(hash),
        Found::Parts(parts) => {
            let hashes = parts.into_iter().map(|part| digest_of_need(shared, part));
            Ok(digest(hashes.collect::<Result<Vec<_>, _>>()?.join(" ").as_bytes()))
        }
        Found::Command(exit_code) => {
            let folder = shared.command_result(need).map(|(_, folder)| folder).unwrap_or_default();
            let written = digest_of(&folder.join("stdout.log")).unwrap_or_default();
            Ok(digest(format!("{exit_code} {written}").as_bytes()))
        }
    }
}

fn answer(shared: &Shared, task: TaskIndex, parts: Result<Parts, String>) -> Input {
    let mut parts = match parts {
        Ok(parts) => parts,
        Err(why) => {
            return Input::NotReusable {
                task,
                key: None,
                parts: vec![("why nobody can tell".into(), why.into())],
            };
        }
    };
    let Some(store) = &shared.store else {
        let why = "the run is not recorded".into();
        return Input::NotReusable { task, key: None, parts: vec![("why nobody can tell".into(), why)] };
    };
    let key = key_of(&mut parts);
    let ttl_ms = shared.look(|state| state.task(task)?.spec.policy.reuse.as_ref()?.ttl_ms);
    let is_fresh = |at_ms: i64| ttl_ms.is_none_or(|ttl_ms| now_ms().saturating_sub_unsigned(ttl_ms) < at_ms);
    let known = store.known(&key).ok().flatten().filter(|known| is_fresh(known.at_ms));
    let artifacts = store.artifacts();
    let usable = known.filter(|known| {
        let has_value =
            known.value.as_ref().and_then(Kept::artifact).is_none_or(|hash| artifacts.load(hash).is_ok());
        has_value && known.restore(&artifacts).is_ok()
    });
    match usable {
        Some(known) => Input::Reused {
            task,
            from: known.from,
            saved_us: known.saved_us,
            key: Some(key.into()),
            logs: known.logs.map(Into::into),
            value: known.value.map(Arc::new),
        },
        None => Input::NotReusable { task, key: Some(key.into()), parts },
    }
}
