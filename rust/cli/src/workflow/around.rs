//! What a task of a workflow file finds around it, and how that and the file make a program to run.

use dirigent_core::fault::chain;
use dirigent_core::spec::{Action, Command, Script};
use dirigent_core::text::OsText;
use dirigent_journal::Artifacts;
use dirigent_project::Interpreter;
use dirigent_project::env_file;
use dirigent_project::recognise::Recogniser;
use dirigent_project::template::Template;
use dirigent_project::workflow::{FileAction, FileTask, Piece, Shape, arguments};
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Arguments of a function that take more bytes than this are handed over as a file: an environment has its limits.
const MOST_IN_ENVIRONMENT: usize = 32 << 10;

/// What all tasks of a file find around them.
#[derive(Clone, Debug)]
pub struct Around {
    /// The interpreter of Python functions and scripts.
    pub python: PathBuf,
    /// The `PATH`-like list of the environment that the file's folder goes in front of.
    pub python_path: Option<OsString>,
    /// What tells how a script is run.
    pub recogniser: Recogniser,
    /// Bytes of each output kept on disk.
    pub output_bytes: u64,
    /// The program that calls a function.
    pub caller: PathBuf,
    /// Where large values go.
    pub artifacts: Artifacts,
}

impl Around {
    /// What a task does, its expressions worked out. Its file lies in `folder`; `needs` are the values of what it needs.
    ///
    /// # Errors
    ///
    /// An expression cannot be worked out, or what it gives makes no sense there.
    pub fn action(
        &self,
        task: &FileTask,
        folder: &Path,
        values: &Value,
        needs: &Map<String, Value>,
    ) -> Result<Action, String> {
        let prompt = |text: &Template, wants_value| Ok(Action::approval(text.text(values)?, wants_value));
        match &task.action {
            FileAction::Approval(text) => return prompt(text, false),
            FileAction::Signal(text) => return prompt(text, true),
            FileAction::Workflow { path, .. } => return Ok(expands(&format!("workflow {path}"))),
            _ => {}
        }
        let cwd = match &task.cwd {
            Some(cwd) => folder.join(cwd.text(values)?),
            None => folder.to_owned(),
        };
        let mut env = self.environment(folder);
        for path in &task.env_file {
            let variables = env_file::load(path).map_err(|error| chain(&error))?.into_iter();
            env.extend(variables.map(|(name, value)| (name.into(), Some(value.into()))));
        }
        for (name, value) in &task.env {
            let value = value.as_ref().map(|value| value.text(values)).transpose()?;
            env.push((name.into(), value.map(Into::into)));
        }
        let all = |templates: &[Template]| -> Result<Vec<OsText>, String> {
            let mut argv = Vec::with_capacity(templates.len());
            for template in templates {
                argv.extend(arguments(template, values)?.into_iter().map(OsText::from));
            }
            Ok(argv)
        };
        let mut script = None;
        let argv = match &task.action {
            FileAction::Run(templates) => self.program(all(templates)?, &cwd)?,
            FileAction::Shell(pieces) => {
                let (line, values) = shell_line(pieces, values)?;
                env.extend(values.into_iter().map(|(name, value)| (name.into(), Some(value.into()))));
                vec!["/bin/sh".into(), "-c".into(), line.into()]
            }
            FileAction::Script { path, args } => {
                let path = folder.join(path.text(values)?);
                let argv = self.script(&path)?.into_iter().map(OsText::from).chain(all(args)?).collect();
                script = Some(path);
                argv
            }
            FileAction::Python { function, with } => {
                env.push(self.function_arguments(with, values, needs)?);
                let argv = [self.python.as_os_str(), self.caller.as_os_str(), function.as_ref()];
                argv.into_iter().map(|arg| arg.to_owned().into()).collect()
            }
            FileAction::Approval(_) | FileAction::Signal(_) | FileAction::Workflow { .. } => Vec::new(),
        };
        // No system takes one; told here, it costs no attempt.
        let has_null = |text: &OsText| text.as_os_str().as_encoded_bytes().contains(&0);
        if argv.iter().any(has_null) {
            return Err("an argument holds a null character".to_owned());
        }
        if let Some((name, _)) = env.iter().find(|(_, value)| value.as_ref().is_some_and(has_null)) {
            return Err(format!("the variable {} holds a null character", name.shown()));
        }
        let passed = |names: &Vec<String>| names.iter().map(Into::into).collect();
        let pass_env = task.pass_env.as_ref().map(passed);
        let secrets = task.secrets.iter().map(|(variable, name)| (variable.into(), name.clone())).collect();
        let command = Command { argv, cwd: cwd.into(), env, secrets, pass_env };
        Ok(match script {
            Some(path) => Action::Script(Box::new(Script { path: path.into(), command })),
            None => Action::Command(Box::new(command)),
        })
    }

    /// A program with a path in it is meant from where it runs; `python` is the interpreter that counts.
    fn program(&self, mut argv: Vec<OsText>, cwd: &Path) -> Result<Vec<OsText>, String> {
        let Some(program) = argv.first_mut().filter(|program| !program.shown().is_empty()) else {
            return Err("`run` names no program".to_owned());
        };
        let name = program.shown();
        if name.contains('/') {
            *program = cwd.join(program.as_path()).into();
        } else if name == "python" || name == "python3" {
            *program = self.python.clone().into();
        }
        Ok(argv)
    }

    fn script(&self, path: &Path) -> Result<Vec<OsString>, String> {
        let told = |why: String| format!("{}: {why}", path.display());
        let own = path.to_owned().into_os_string();
        match self.recogniser.recognise(path).map_err(|error| told(error.to_string()))? {
            Some(Interpreter::Python) => Ok(vec![self.python.clone().into(), own]),
            Some(Interpreter::Program(argv)) => Ok(argv.into_iter().chain([own]).collect()),
            Some(Interpreter::Itself) => Ok(vec![own]),
            None => Err(told(
                "it is no script: its name says no interpreter, and it is not executable".to_owned(),
            )),
        }
    }

    fn function_arguments(
        &self,
        with: &[(String, Shape)],
        values: &Value,
        needs: &Map<String, Value>,
    ) -> Result<(OsText, Option<OsText>), String> {
        let with = with.iter().map(|(name, shape)| Ok((name.clone(), shape.value(values)?)));
        let with: Map<String, Value> = with.collect::<Result<_, String>>()?;
        let text = serde_json::json!({"with": with, "needs": needs}).to_string();
        if text.len() <= MOST_IN_ENVIRONMENT {
            return Ok(("DIRIGENT_ARGUMENTS".into(), Some(text.into())));
        }
        let hash = self.artifacts.store(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(("DIRIGENT_ARGUMENTS_FILE".into(), Some(self.artifacts.path(&hash).into())))
    }

    /// `PYTHONPATH` with the file's folder and its `src/` in front, and output unbuffered.
    fn environment(&self, folder: &Path) -> Vec<(OsText, Option<OsText>)> {
        let inherited = self.python_path.as_ref().filter(|path| !path.is_empty());
        let src = Some(folder.join("src")).filter(|src| src.is_dir());
        let own = src.into_iter().chain([folder.to_owned()]);
        let folders = own.chain(inherited.iter().flat_map(std::env::split_paths));
        let path = std::env::join_paths(folders).ok();
        let path = path.map(|path| ("PYTHONPATH".into(), Some(path.into())));
        path.into_iter().chain([("PYTHONUNBUFFERED".into(), Some("1".into()))]).collect()
    }
}

/// What a task is called to do that runs once for each of several things.
pub(super) const EACH: &str = "each";

/// What a task does that will consist of others.
pub(super) fn expands(what: &str) -> Action {
    Action::function(what, None)
}

/// A line, and the variables that hold its values.
type Line = (String, Vec<(String, String)>);

/// A line for a shell in which values stand as variables.
fn shell_line(pieces: &[Piece], values: &Value) -> Result<Line, String> {
    let mut line = String::new();
    let mut variables = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => line.push_str(text),
            Piece::Value { expression, is_quoted } => {
                let name = format!("DIRIGENT_VALUE_{}", variables.len() + 1);
                line.push_str(&if *is_quoted { format!("${{{name}}}") } else { format!("\"${{{name}}}\"") });
                let value = expression.evaluate(values)?;
                variables.push((name, dirigent_project::template::as_text(expression, &value)?));
            }
        }
    }
    Ok((line, variables))
}
