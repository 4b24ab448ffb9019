//! From a document to a workflow: what each part of it says by itself. How the parts fit is [`super::check`]'s.

use super::action::{Each, FileAction, Shape};
use super::check::check;
use super::reading::Reading;
use super::shell::shell_line;
use super::{FileTask, Kind, WorkflowFile};
use crate::decode::{Scalar, Spanned, decode_part};
use crate::diagnose::Diagnostic;
use crate::document::{Document, Key, Node, NodeKind, Span};
use crate::param::Param;
use crate::template::Template;
use crate::value::{Limit, Skip};
use crate::workflow_schema::{
    CacheFile, DefaultsFile, HeadFile, ParamFile, ResourceFile, RetryFile, TaskFile, TriggerFile,
};
use dirigent_core::spec::{Claim, Limits, Policy, Repeat, Resource, Retry, Reuse, Trigger};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// How many attempts may be lost with the guard before the task counts as failed.
const LOST_ATTEMPTS_ALLOWED: u32 = 2;

/// The tables of a file whose entries are read one by one.
const TABLES: [&str; 3] = ["params", "tasks", "finally"];

/// The table of a project file that holds tasks.
const JOBS: &str = "jobs";

/// Reads a document; what is wrong with it is added to the problems.
pub(super) fn read(document: &Document, kind: Kind, problems: &mut Vec<Diagnostic>) -> Option<WorkflowFile> {
    let mut head = Vec::new();
    let mut tables: HashMap<&str, &[(Key, Node)]> = HashMap::new();
    let entries = match &document.root.kind {
        NodeKind::Map(entries) => entries.as_slice(),
        NodeKind::Null => &[],
        _ => {
            let message = "a workflow file is a table".to_owned();
            let hint = Some("write `tasks:`, and under it each task by its name".to_owned());
            let span = document.root.span.clone();
            Reading { document, problems }.wrong("config.wrong_type", &span, message, hint);
            return None;
        }
    };
    for (key, node) in entries {
        if kind == Kind::Jobs {
            // The rest of a project file is checked as such.
            if let (JOBS, NodeKind::Map(entries)) = (key.name.as_str(), &node.kind) {
                tables.insert(JOBS, entries);
            }
            continue;
        }
        match (TABLES.iter().find(|table| **table == key.name), &node.kind) {
            (Some(table), NodeKind::Map(entries)) => drop(tables.insert(table, entries)),
            (Some(_), NodeKind::Null) => {}
            (Some(table), _) => {
                let message = format!("`{table}` is a table");
                let hint = Some("write each under its name, as in `name: …`".to_owned());
                Reading { document, problems }.wrong("config.wrong_type", &node.span, message, hint);
            }
            (None, _) => head.push((key.clone(), node.clone())),
        }
    }
    let head = Node { kind: NodeKind::Map(head), span: document.root.span.clone() };
    let head = decode_part::<HeadFile>(document, &head, &[], problems).unwrap_or_default();
    let mut secrets = head.secrets.clone();
    secrets.resolve(document.path.parent().unwrap_or(Path::new("")));
    let mut reading = Reading { document, problems };
    if let Err((span, message)) = secrets.check() {
        reading.wrong("config.invalid_value", &span, message, None);
    }
    let secrets = secrets.0.0.into_iter().map(|(name, source)| (name.value, source)).collect();
    let params = read_params(&mut reading, tables.get("params").copied().unwrap_or_default());
    let mut reader = TaskReader::new(&mut reading, &head);
    let mut tasks = Vec::new();
    for (table, is_finally) in [("tasks", false), (JOBS, false), ("finally", true)] {
        for (key, node) in tables.get(table).copied().unwrap_or_default() {
            // Of what is wrong with thousands of them, nobody reads more; and what fits together is not known then.
            if reading.is_enough() {
                return None;
            }
            tasks.extend(reader.task(&mut reading, table, key, node, is_finally));
        }
    }
    let named = head.name.as_ref().map(|name| name.value.clone());
    if kind == Kind::Jobs && tasks.is_empty() {
        return None;
    }
    let stem =
        || document.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let (needs, tasks): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
    let mut file = WorkflowFile {
        name: if kind == Kind::Jobs { JOBS.to_owned() } else { named.unwrap_or_else(stem) },
        path: document.path.clone(),
        description: head.description,
        params,
        resources: reader.resources,
        timeout_ms: head.timeout.and_then(|limit| limit.0).map(milliseconds),
        fail_fast: head.fail_fast.unwrap_or(true),
        secrets,
        jobs: head.jobs.map(|jobs| jobs.0),
        tasks,
    };
    check(&mut reading, &mut file, &needs);
    Some(file)
}

fn read_params(reading: &mut Reading<'_>, entries: &[(Key, Node)]) -> Vec<Param> {
    let mut params = Vec::new();
    for (key, node) in entries {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if key.name.is_empty()
            || !key.name.chars().all(is_word)
            || key.name.starts_with(|c: char| c.is_ascii_digit())
        {
            let message = format!("`{}` is no name of a parameter", key.name);
            let hint = "write letters, digits and `_`, so that expressions can speak of it".to_owned();
            reading.wrong("workflow.bad_name", &key.span, message, Some(hint));
            continue;
        }
        let Some(file) =
            decode_part::<ParamFile>(reading.document, node, &["params", &key.name], reading.problems)
        else {
            continue;
        };
        match Param::new(&key.name, file) {
            Ok(param) => params.push(param),
            Err(why) => {
                let message = format!("parameter `{}`: {why}", key.name);
                reading.wrong("workflow.bad_default", &node.span, message, None);
            }
        }
    }
    params
}

/// Whole milliseconds, at least one where there is any time: a limit is never rounded to none.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// What all tasks of a file share.
struct TaskReader {
    env: Vec<(String, Option<Template>)>,
    defaults: DefaultsFile,
    resources: Vec<Resource>,
}

/// A task, and the names of what it needs.
type Named = (Vec<Spanned<String>>, FileTask);

impl TaskReader {
    fn new(reading: &mut Reading<'_>, head: &HeadFile) -> Self {
        let pool = |(name, count): &(Spanned<String>, crate::value::Count)| Resource {
            name: name.value.clone(),
            capacity: u64::from(count.0),
            per_ms: None,
        };
        let mut resources: Vec<Resource> = head.pools.0.iter().map(pool).collect();
        for (name, file) in &head.resources.0 {
            if resources.iter().any(|resource| resource.name == name.value) {
                let message = format!("`{}` is a pool already", name.value);
                reading.wrong(
                    "workflow.two_resources",
                    &name.span,
                    message,
                    Some("choose another name".to_owned()),
                );
            }
            let (capacity, per_ms) = match &file.value {
                ResourceFile::Amount(amount) => (*amount, None),
                ResourceFile::Rate(rate) => (rate.limit, Some(milliseconds(rate.per.0).max(1))),
            };
            if capacity == 0 {
                let message = format!("of `{}` there is nothing", name.value);
                reading.wrong("config.invalid_value", &file.span, message, None);
            }
            resources.push(Resource { name: name.value.clone(), capacity, per_ms });
        }
        Self {
            env: reading.environment(head.env.clone()),
            defaults: head.defaults.clone().unwrap_or_default(),
            resources,
        }
    }

    fn task(
        &mut self,
        reading: &mut Reading<'_>,
        table: &str,
        key: &Key,
        node: &Node,
        is_finally: bool,
    ) -> Option<Named> {
        if key.name.is_empty() || key.name.contains('\0') {
            reading.wrong("workflow.bad_name", &key.span, "a task has a name".to_owned(), None);
            return None;
        }
        let before = reading.problems.len();
        let file: TaskFile = decode_part(reading.document, node, &[table, &key.name], reading.problems)?;
        let run = format!("`{table}.{}.run`: expected a list", key.name);
        let is_line = |it: &&mut Diagnostic| it.hint.is_none() && it.message.starts_with(&run);
        for problem in reading.problems[before..].iter_mut().filter(is_line) {
            problem.hint = Some("write `[program, argument]`; a line for a shell is `shell: …`".to_owned());
        }
        // What is missing may be what was misspelt, and was told.
        let is_whole = reading.problems.len() == before;
        let of = format!("task `{}`", key.name);
        applicable(reading, &file, key, node, &of);
        if !is_whole && named_actions(&file).is_empty() {
            return None;
        }
        let action = action(reading, &file, &key.span, &of)?;
        let policy = self.policy(reading, &file, is_finally, &of);
        let when = match &file.when {
            None => None,
            Some(Spanned { value: Scalar(text), span }) => {
                let text = Spanned { value: text.clone().unwrap_or_default(), span: span.clone() };
                reading.expression(&text, &format!("{of}: `when`"))
            }
        };
        let each = file.each.clone().and_then(|each| self.each(reading, each, &of));
        let limit = file.limit.as_ref().map(|limit| {
            self.resources.push(Resource {
                name: format!("limit of {}", key.name),
                capacity: u64::from(limit.value.0),
                per_ms: None,
            });
            self.resources.len() as u32 - 1
        });
        let cache = match &file.cache {
            Some(CacheFile::Full(table)) => table.clone(),
            _ => crate::workflow_schema::CacheTable::default(),
        };
        let mut outputs = reading.templates(file.outputs.as_ref(), &of);
        outputs.extend(reading.templates(cache.outputs.as_ref(), &of));
        let cwd = file.cwd.as_ref().or(self.defaults.cwd.as_ref()).cloned();
        let own = reading.environment(file.env);
        let env = self.env.iter().filter(|(name, _)| own.iter().all(|(other, _)| other != name)).cloned();
        let env = env.collect::<Vec<_>>().into_iter().chain(own).collect();
        let has_each = file.each.is_some();
        reading.variables(file.secrets.as_ref(), file.pass_env.as_ref(), &of);
        let folder = reading.document.path.parent().unwrap_or(Path::new(""));
        let files = file.env_file.iter().flat_map(|files| &files.value.0);
        let env_file = files.map(|path| folder.join(path)).collect();
        let uses = file.secrets.unwrap_or_default().0.into_iter();
        let task = FileTask {
            name: key.name.clone(),
            span: key.span.clone(),
            description: file.description,
            tags: file.tags.map(|tags| tags.0).unwrap_or_default(),
            needs: Vec::new(),
            policy,
            when,
            action,
            each,
            has_each,
            limit,
            until: file
                .repeat
                .and_then(|repeat| reading.expression(&repeat.until, &format!("{of}: `until`"))),
            env,
            env_file,
            pass_env: file.pass_env.map(|names| names.value.0),
            secrets: uses.map(|(variable, secret)| (variable.value, secret.value)).collect(),
            cwd: cwd.and_then(|cwd| reading.template(&cwd, &of)),
            output: file.output,
            outputs,
            documents: reading.templates(file.documents.as_ref(), &of),
            inputs: reading.templates(cache.inputs.as_ref(), &of),
        };
        let needs = file.needs.unwrap_or_default().names().to_vec();
        Some((needs, task))
    }

    fn each(&self, reading: &mut Reading<'_>, each: Spanned<Value>, of: &str) -> Option<Each> {
        let of = format!("{of}: `each`");
        match each.value {
            Value::Object(lists) => {
                let mut matrix = Vec::with_capacity(lists.len());
                for (name, list) in lists {
                    if !matches!(list, Value::Array(_) | Value::String(_)) {
                        let message = format!("{of}: `{name}` is no list");
                        reading.wrong("config.wrong_type", &each.span, message, None);
                    }
                    matrix
                        .push((name, reading.shape(Spanned { value: list, span: each.span.clone() }, &of)?));
                }
                Some(Each::Matrix(matrix))
            }
            value @ (Value::Array(_) | Value::String(_)) => {
                let span = each.span.clone();
                let shape = reading.shape(Spanned { value, span }, &of)?;
                if matches!(shape, Shape::Plain(Value::String(_))) {
                    let hint = Some("write a list, or an expression that gives one: `${{ … }}`".to_owned());
                    reading.wrong("config.wrong_type", &each.span, format!("{of}: a text is no list"), hint);
                    return None;
                }
                Some(Each::Items(shape))
            }
            value => {
                reading.wrong("config.wrong_type", &each.span, format!("{of}: {value} is no list"), None);
                None
            }
        }
    }

    fn policy(&self, reading: &mut Reading<'_>, file: &TaskFile, is_finally: bool, of: &str) -> Policy {
        let defaults = &self.defaults;
        let time = |limit: Limit| limit.0.map(milliseconds);
        let codes = file.allowed_exit_codes.as_ref().or(defaults.allowed_exit_codes.as_ref());
        let is_written =
            |span: &Span| reading.document.source.get(span.clone()).is_some_and(|it| it.len() > 2);
        if let Some(codes) = codes.filter(|codes| codes.value.is_empty() && !is_written(&codes.span)) {
            let message = format!("{of}: without any exit code it cannot succeed");
            reading.wrong("config.invalid_value", &codes.span, message, None);
        }
        let is_program = file.approval.is_none() && file.signal.is_none() && file.workflow.is_none();
        let retry = file.retry.as_ref().or(defaults.retry.as_ref().filter(|_| is_program));
        Policy {
            limits: Limits {
                timeout_ms: file.timeout.or(defaults.timeout.filter(|_| is_program)).and_then(time),
                memory_bytes: file.memory_limit_mb.or(defaults.memory_limit_mb).map(|mb| mb.0 << 20),
                output_bytes: None,
                grace_ms: file.grace.or(defaults.grace).map_or(5_000, |grace| milliseconds(grace.0)),
            },
            allowed_exit_codes: codes
                .map(|codes| codes.value.iter().map(|code| i32::from(code.0)).collect())
                .unwrap_or_else(|| vec![0]),
            skip: match &file.skip {
                None | Some(Skip::No) => None,
                Some(Skip::Yes) => Some("the workflow file says so".to_owned()),
                Some(Skip::Because(reason)) => Some(reason.clone()),
            },
            leave_running: file.leave_running.unwrap_or(false),
            lost_attempts_allowed: LOST_ATTEMPTS_ALLOWED,
            trigger: file.trigger.map_or(Trigger::AllSuccess, trigger),
            retry: retry.map(|retry| self.retry(reading, retry, of)),
            repeat: file.repeat.as_ref().map(|repeat| Repeat {
                max_times: repeat.times.0,
                delay_ms: repeat.every.map_or(0, |every| milliseconds(every.0)),
            }),
            priority: file.priority.unwrap_or(0),
            reuse: reuse(file),
            claims: self.claims(reading, file, of),
            teardown: is_finally,
            ..Policy::default()
        }
    }

    fn retry(&self, reading: &mut Reading<'_>, retry: &RetryFile, of: &str) -> Retry {
        let (attempts, table) = match retry {
            RetryFile::Attempts(attempts) => (attempts.0, None),
            RetryFile::Full(table) => (table.attempts.0, Some(table)),
        };
        let mut number = |key: &str, number: Option<&Spanned<f64>>, usual: f64, most: f64| match number {
            Some(number) if !(usual.min(1.0).floor()..=most).contains(&number.value) => {
                let least = usual.min(1.0).floor();
                let message =
                    format!("{of}: `retry.{key}` is {}, and not between {least} and {most}", number.value);
                reading.wrong("config.invalid_value", &number.span, message, None);
                usual
            }
            Some(number) => number.value,
            None => usual,
        };
        Retry {
            max_attempts: attempts,
            base: number("factor", table.and_then(|table| table.factor.as_ref()), 2.0, 1000.0),
            jitter: number("jitter", table.and_then(|table| table.jitter.as_ref()), 0.1, 1.0),
            initial_delay_ms: table
                .and_then(|table| table.backoff)
                .map_or(1_000, |pause| milliseconds(pause.0)),
            max_delay_ms: table.and_then(|table| table.max).map_or(60_000, |pause| milliseconds(pause.0)),
        }
    }

    /// What it holds of pools and resources.
    fn claims(&self, reading: &mut Reading<'_>, file: &TaskFile, of: &str) -> Vec<Claim> {
        let mut claims = Vec::new();
        let pools = file.pool.as_ref().or(self.defaults.pool.as_ref());
        let pools =
            pools.iter().flat_map(|pool| pool.value.0.iter().map(|name| (name.as_str(), 1, &pool.span)));
        let amounts =
            file.resources.0.iter().map(|(name, amount)| (name.value.as_str(), amount.value, &name.span));
        for (name, amount, span) in pools.chain(amounts) {
            let known = self.resources.iter().position(|resource| resource.name == name);
            if reading.is_enough() {
                break;
            }
            let Some(place) = known else {
                let names = self.resources.iter().map(|resource| resource.name.as_str());
                let names = names.filter(|name| !name.starts_with("limit of "));
                let hint = match crate::diagnose::did_you_mean(name, names) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "say how much there is of it, under `pools` or `resources`".to_owned(),
                };
                reading.wrong(
                    "workflow.unknown_resource",
                    span,
                    format!("{of}: there is no `{name}`"),
                    Some(hint),
                );
                continue;
            };
            let capacity = self.resources[place].capacity;
            if amount > capacity {
                let message = format!("{of}: it wants {amount} of `{name}`, and there are only {capacity}");
                reading.wrong("workflow.never_starts", span, message, None);
            }
            if amount > 0 {
                claims.push(Claim { resource: place as u32, amount });
            }
        }
        claims
    }
}

fn trigger(trigger: TriggerFile) -> Trigger {
    match trigger {
        TriggerFile::AllSuccess => Trigger::AllSuccess,
        TriggerFile::AllDone => Trigger::AllDone,
        TriggerFile::AnySuccess => Trigger::AnySuccess,
        TriggerFile::AnyFailed => Trigger::AnyFailed,
        TriggerFile::NoneFailed => Trigger::NoneFailed,
        TriggerFile::Always => Trigger::Always,
    }
}

/// Whether it need not run where nothing has changed. The files are named when its turn comes.
fn reuse(file: &TaskFile) -> Option<Reuse> {
    match file.cache.as_ref()? {
        CacheFile::Yes(yes) => yes.then(Reuse::default),
        CacheFile::Full(table) => Some(Reuse {
            ttl_ms: table.ttl.map(|ttl| milliseconds(ttl.0)),
            env: table.env.as_ref().map(|env| env.0.clone()).unwrap_or_default(),
            ..Reuse::default()
        }),
    }
}

/// The keys that say what a task does.
const ACTIONS: [&str; 7] = ["run", "shell", "script", "python", "workflow", "approval", "signal"];

fn named_actions(file: &TaskFile) -> Vec<(&'static str, &Span)> {
    let spans = [
        file.run.as_ref().map(|it| &it.span),
        file.shell.as_ref().map(|it| &it.span),
        file.script.as_ref().map(|it| &it.span),
        file.python.as_ref().map(|it| &it.span),
        file.workflow.as_ref().map(|it| &it.span),
        file.approval.as_ref().map(|it| &it.span),
        file.signal.as_ref().map(|it| &it.span),
    ];
    ACTIONS.into_iter().zip(spans).filter_map(|(name, span)| Some((name, span?))).collect()
}

/// Tells the keys that mean nothing beside what the task does.
fn applicable(reading: &mut Reading<'_>, file: &TaskFile, name: &Key, node: &Node, of: &str) {
    let actions = named_actions(file);
    let [(action, _)] = actions.as_slice() else { return };
    let is_program = matches!(*action, "run" | "shell" | "script" | "python");
    let is_waiting = matches!(*action, "approval" | "signal");
    let keys = [
        ("args", file.args.is_some(), *action == "script"),
        ("with", !file.with.0.is_empty(), matches!(*action, "python" | "workflow")),
        ("each", file.each.is_some(), !is_waiting),
        ("limit", file.limit.is_some(), file.each.is_some()),
        ("repeat", file.repeat.is_some(), is_program),
        ("retry", file.retry.is_some(), is_program),
        ("cache", file.cache.is_some(), is_program),
        ("env", !file.env.0.is_empty(), is_program),
        ("env_file", file.env_file.is_some(), is_program),
        ("pass_env", file.pass_env.is_some(), is_program),
        ("secrets", file.secrets.is_some(), is_program),
        ("cwd", file.cwd.is_some(), is_program),
        ("output", file.output.is_some(), is_program && *action != "python"),
        ("outputs", file.outputs.is_some(), is_program),
        ("documents", file.documents.is_some(), is_program),
        ("allowed_exit_codes", file.allowed_exit_codes.is_some(), is_program),
        ("leave_running", file.leave_running.is_some(), is_program),
        ("memory_limit_mb", file.memory_limit_mb.is_some(), is_program),
        ("timeout", file.timeout.is_some(), *action != "workflow"),
        ("pool", file.pool.is_some(), is_program),
        ("resources", !file.resources.0.is_empty(), is_program),
    ];
    for (key, is_there, makes_sense) in keys {
        if is_there && !makes_sense {
            let message = match key {
                "limit" => format!("{of}: `limit` means nothing without `each`"),
                key => format!("{of}: `{key}` means nothing beside `{action}`"),
            };
            let entries = match &node.kind {
                NodeKind::Map(entries) => entries.as_slice(),
                _ => &[],
            };
            let span = entries.iter().find(|(it, _)| it.name == key).map_or(&name.span, |(it, _)| &it.span);
            reading.wrong("workflow.not_applicable", span, message, Some("take it away".to_owned()));
        }
    }
}

fn action(reading: &mut Reading<'_>, file: &TaskFile, span: &Span, of: &str) -> Option<FileAction> {
    match named_actions(file).as_slice() {
        [_] => {}
        [] => {
            let known: Vec<String> = ACTIONS.iter().map(|name| format!("`{name}`")).collect();
            let hint = Some(format!("give it one of {}", known.join(", ")));
            reading.wrong("workflow.no_action", span, format!("{of} does not say what it does"), hint);
            return None;
        }
        [_, (second, place), ..] => {
            let message = format!("{of} does one thing, and `{second}` is another");
            reading.wrong("workflow.two_actions", place, message, Some("make two tasks of it".to_owned()));
            return None;
        }
    }
    if let Some(argv) = &file.run {
        let is_empty =
            argv.value.first().is_none_or(|program| program.value.0.as_deref().is_none_or(str::is_empty));
        if is_empty {
            reading.wrong("workflow.no_program", &argv.span, format!("{of}: `run` names no program"), None);
        }
        return Some(FileAction::Run(reading.arguments(argv.clone(), of)));
    }
    if let Some(line) = &file.shell {
        let pieces =
            shell_line(&line.value).map_err(|mistake| reading.misread(&line.span, &line.value, mistake, of));
        return pieces.ok().map(FileAction::Shell);
    }
    if let Some(path) = &file.script {
        let args = file.args.clone().map(|args| reading.arguments(args, of)).unwrap_or_default();
        return Some(FileAction::Script { path: reading.template(path, of)?, args });
    }
    if let Some(function) = &file.python {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.split('.').all(|part| {
                    part.chars().all(|c| c.is_alphanumeric() || c == '_')
                        && !part.starts_with(|c: char| c.is_ascii_digit())
                        && !part.is_empty()
                })
        };
        let is_one =
            function.value.split_once(':').is_some_and(|(module, name)| is_name(module) && is_name(name));
        if !is_one {
            let message = format!("{of}: `{}` is no function", function.value);
            reading.wrong(
                "workflow.bad_function",
                &function.span,
                message,
                Some("write `module:function`".to_owned()),
            );
        }
        return Some(FileAction::Python { function: function.value.clone(), with: with(reading, file, of) });
    }
    if let Some(path) = &file.workflow {
        if path.value.contains("${{") {
            let message = format!("{of}: `workflow` takes no expression");
            let hint = Some("name the file: it is checked before anything runs".to_owned());
            reading.wrong("workflow.bad_expression", &path.span, message, hint);
            return None;
        }
        return Some(FileAction::Workflow { path: path.value.clone(), with: with(reading, file, of) });
    }
    if let Some(text) = &file.approval {
        return reading.template(text, of).map(FileAction::Approval);
    }
    let text = file.signal.as_ref()?;
    reading.template(text, of).map(FileAction::Signal)
}

fn with(reading: &mut Reading<'_>, file: &TaskFile, of: &str) -> Vec<(String, Shape)> {
    let entries = file.with.0.iter();
    entries
        .filter_map(|(name, value)| Some((name.value.clone(), reading.shape(value.clone(), of)?)))
        .collect()
}
