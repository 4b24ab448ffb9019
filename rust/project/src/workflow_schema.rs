//! What may stand in a workflow file: the keys and the kinds of their values. The published JSON Schema is made from these.
//!
//! Knows nothing of what the values mean together; that is [`crate::workflow`]'s.

use crate::decode::{Entries, Scalar, Spanned};
use crate::secret::{SecretUses, SecretsTable};
use crate::value::{Count, ExitCode, Limit, Megabytes, Pause, Skip, Texts};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// A workflow: a named directed acyclic graph of tasks.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeadFile {
    /// What it is called; without this, the file's name.
    pub name: Option<Spanned<String>>,
    /// Read for itself, like the two that follow: they are here so that all keys are known.
    #[schemars(skip)]
    pub params: Option<()>,
    /// Read for itself.
    #[schemars(skip)]
    pub tasks: Option<()>,
    /// Read for itself.
    #[schemars(skip)]
    pub finally: Option<()>,
    /// What it is for.
    pub description: Option<String>,
    /// Words to find it by.
    pub tags: Option<Texts>,
    /// Variables of the environment of every task; null removes one.
    pub env: Entries<Spanned<Scalar>>,
    /// Secrets, and where their values come from; those of the project file count too.
    pub secrets: SecretsTable,
    /// Settings of every task that says nothing else.
    pub defaults: Option<DefaultsFile>,
    /// Pools, each with how many of its tasks may run at once.
    pub pools: Entries<Count>,
    /// What there is only so much of, each with how much there is.
    pub resources: Entries<Spanned<ResourceFile>>,
    /// How long the whole may take.
    pub timeout: Option<Limit>,
    /// Whether nothing new starts after a failure; the default.
    pub fail_fast: Option<bool>,
    /// How many tasks may run at once; the default is one a core.
    pub jobs: Option<Count>,
}

/// A parameter: a default value, or a table of what it may be.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum ParamFile {
    /// In full.
    Full(ParamTable),
    /// Its default; its type is that of the value.
    Default(#[schemars(extend("type" = ["boolean", "number", "string", "array"]))] Value),
}

/// A parameter in full.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParamTable {
    /// What kind of value it takes.
    #[serde(rename = "type")]
    pub kind: Option<ParamKind>,
    /// Its value where none is given; without one it has to be given.
    pub default: Option<Spanned<Value>>,
    /// The values it may have.
    pub allowed: Option<Spanned<Vec<Value>>>,
    /// What it is for.
    pub description: Option<String>,
}

/// What kind of value a parameter takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    /// Text.
    #[default]
    String,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Yes or no.
    Bool,
    /// A day, as `2026-11-21`, `today`, `yesterday` or `tomorrow`.
    Date,
    /// A list.
    List,
    /// Any value.
    Json,
}

/// How much there is of a resource: an amount, or so much in a time.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum ResourceFile {
    /// So much at once.
    Amount(u64),
    /// So much in a time.
    Rate(RateTable),
}

/// So much in a time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateTable {
    /// How much.
    pub limit: u64,
    /// In which time.
    pub per: Pause,
}

/// Settings of every task that says nothing else.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DefaultsFile {
    /// How long an attempt may take.
    pub timeout: Option<Limit>,
    /// Time between the request to end and the end by force.
    pub grace: Option<Pause>,
    /// Whether a failed task is tried again.
    pub retry: Option<RetryFile>,
    /// The folder tasks run in, meant from the file's.
    pub cwd: Option<Spanned<String>>,
    /// Pools that every task takes a place of.
    pub pool: Option<Spanned<Texts>>,
    /// How much memory an attempt may use, in MiB.
    pub memory_limit_mb: Option<Megabytes>,
    /// The exit codes that mean success.
    #[schemars(length(min = 1))]
    pub allowed_exit_codes: Option<Spanned<Vec<ExitCode>>>,
}

/// One task. It has exactly one of `run`, `shell`, `script`, `python`, `workflow`, `approval` and `signal`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("oneOf" = [
    {"required": ["run"]}, {"required": ["shell"]}, {"required": ["script"]}, {"required": ["python"]},
    {"required": ["workflow"]}, {"required": ["approval"]}, {"required": ["signal"]},
]))]
pub struct TaskFile {
    /// What it is for.
    pub description: Option<String>,
    /// Words to find it by.
    pub tags: Option<Texts>,
    /// The tasks that must end first.
    pub needs: Option<Needs>,
    /// Runs only where this holds: an expression.
    pub when: Option<Spanned<Scalar>>,
    /// When it starts, as its needs end.
    pub trigger: Option<TriggerFile>,
    /// Runs a program: the program and its arguments, never parsed by a shell.
    #[schemars(length(min = 1))]
    pub run: Option<Spanned<Vec<Spanned<Scalar>>>>,
    /// Runs a line by `sh`. Values arrive in it as variables.
    pub shell: Option<Spanned<String>>,
    /// Runs a script by the interpreter that fits it.
    pub script: Option<Spanned<String>>,
    /// Calls a function: `module:function`.
    pub python: Option<Spanned<String>>,
    /// Runs the tasks of another workflow file.
    pub workflow: Option<Spanned<String>>,
    /// Waits until somebody approves; a rejection fails it.
    pub approval: Option<Spanned<String>>,
    /// Waits until somebody gives a value.
    pub signal: Option<Spanned<String>>,
    /// Arguments of the script.
    pub args: Option<Spanned<Vec<Spanned<Scalar>>>>,
    /// Named arguments of the function, or parameters of the other workflow.
    #[serde(rename = "with")]
    pub with: Entries<Spanned<Value>>,
    /// Runs once for each item: a list, an expression that gives one, or a table of lists of which every combination runs.
    #[schemars(extend("type" = ["array", "object", "string"]))]
    pub each: Option<Spanned<Value>>,
    /// How many of the items run at once.
    pub limit: Option<Spanned<Count>>,
    /// Runs again until an expression holds.
    pub repeat: Option<RepeatFile>,
    /// Whether a failed task is tried again.
    pub retry: Option<RetryFile>,
    /// How long an attempt may take.
    pub timeout: Option<Limit>,
    /// Time between the request to end and the end by force.
    pub grace: Option<Pause>,
    /// Pools that it takes a place of.
    pub pool: Option<Spanned<Texts>>,
    /// How much of the workflow's resources it holds while it runs.
    pub resources: Entries<Spanned<u64>>,
    /// Of the tasks that could start, those with more go first.
    pub priority: Option<i32>,
    /// Variables of its environment; null removes one.
    pub env: Entries<Spanned<Scalar>>,
    /// Files of variables, meant from the file's folder; what `env` sets wins.
    pub env_file: Option<Spanned<Texts>>,
    /// The only variables it inherits, beside those that every program needs; a `*` at the end of a name means any rest.
    pub pass_env: Option<Spanned<Texts>>,
    /// The secrets it gets as variables.
    pub secrets: Option<SecretUses>,
    /// The folder it runs in, meant from the file's.
    pub cwd: Option<Spanned<String>>,
    /// The exit codes that mean success.
    #[schemars(length(min = 1))]
    pub allowed_exit_codes: Option<Spanned<Vec<ExitCode>>>,
    /// Whether it need not run where nothing has changed.
    pub cache: Option<CacheFile>,
    /// What its standard output is: its value.
    pub output: Option<OutputKind>,
    /// Files or globs that must be there afterwards.
    pub outputs: Option<Spanned<Texts>>,
    /// Documents that must be there afterwards, and not be empty.
    pub documents: Option<Spanned<Texts>>,
    /// Whether processes it leaves behind are let be: the way to start a service.
    pub leave_running: Option<bool>,
    /// How much memory an attempt may use, in MiB.
    pub memory_limit_mb: Option<Megabytes>,
    /// Whether it is left out, and why.
    pub skip: Option<Skip>,
}

/// The tasks that must end first: one name, or a list of them.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(untagged)]
pub enum Needs {
    /// None.
    #[default]
    #[schemars(skip)]
    None,
    /// One.
    One(Spanned<String>),
    /// Several.
    Many(Vec<Spanned<String>>),
}

impl Needs {
    /// Their names.
    pub fn names(&self) -> &[Spanned<String>] {
        match self {
            Self::None => &[],
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// When a task starts, as its needs end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerFile {
    /// All of them completed.
    AllSuccess,
    /// All of them ended, however.
    AllDone,
    /// One of them completed; the others may still run.
    AnySuccess,
    /// One of them failed; the others may still run.
    AnyFailed,
    /// All of them ended and none failed: they may have been skipped.
    NoneFailed,
    /// All of them ended, however, even if the run was cancelled meanwhile.
    Always,
}

/// How often a failed task is tried in all, or a table.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RetryFile {
    /// So many attempts in all, a second apart at first.
    Attempts(Count),
    /// In full.
    Full(RetryTable),
}

/// How often and how far apart a failed task is tried again.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryTable {
    /// Attempts in all, the first one included.
    pub attempts: Count,
    /// Time before the second attempt; the default is a second.
    #[serde(default)]
    pub backoff: Option<Pause>,
    /// The most time before any attempt; the default is a minute.
    #[serde(default)]
    pub max: Option<Pause>,
    /// By what each time is longer than the one before; the default is 2.
    #[serde(default)]
    pub factor: Option<Spanned<f64>>,
    /// The part of a time, from 0 to 1, by which chance shortens or lengthens it; the default is 0.1.
    #[serde(default)]
    pub jitter: Option<Spanned<f64>>,
}

/// Until when a task runs again.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepeatFile {
    /// An expression; `value`, `exit_code` and `stdout` are what the task just gave.
    pub until: Spanned<String>,
    /// How often in all before it has failed.
    pub times: Count,
    /// Time between.
    #[serde(default)]
    pub every: Option<Pause>,
}

/// Whether what a task did is used again: yes, or a table.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum CacheFile {
    /// Where nothing that it depends on has changed.
    Yes(bool),
    /// In full.
    Full(CacheTable),
}

/// What a task depends on, and what it makes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheTable {
    /// Files or globs that it reads.
    pub inputs: Option<Spanned<Texts>>,
    /// Files or globs that it writes: they are put back where they are gone.
    pub outputs: Option<Spanned<Texts>>,
    /// Variables of the environment whose values count.
    pub env: Option<Texts>,
    /// How long it holds.
    pub ttl: Option<Pause>,
}

/// What a task's standard output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// JSON: its value is what that says.
    Json,
    /// Text: its value is that, without the line end.
    Text,
    /// Lines: its value is a list of them.
    Lines,
}

/// A workflow file of dirigent: a named directed acyclic graph of tasks.
#[derive(JsonSchema)]
#[schemars(title = "dirigent workflow", deny_unknown_fields)]
#[expect(dead_code, reason = "it is there for the schema alone")]
pub(crate) struct WholeFile {
    #[schemars(flatten)]
    head: HeadFile,
    /// What may be given to a run.
    params: Option<Entries<ParamFile>>,
    /// The tasks, by name.
    #[schemars(extend("minProperties" = 1))]
    tasks: Entries<TaskFile>,
    /// Tasks that clean up: they run when all others have ended, whatever happened.
    finally: Option<Entries<TaskFile>>,
}

/// Makes a type of one thing or a table of more.
macro_rules! one_or_table {
    ($type:ident, $expecting:literal, $table:ident, $($visit:ident: $from:ty => $make:expr),+) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl<'de> Visitor<'de> for Either {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    $(fn $visit<E: Error>(self, value: $from) -> Result<$type, E> {
                        let make: fn($from) -> Result<$type, String> = $make;
                        make(value).map_err(E::custom)
                    })+

                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        let map = serde::de::value::MapAccessDeserializer::new(map);
                        $table::deserialize(map).map($type::Full)
                    }
                }
                deserializer.deserialize_any(Either)
            }
        }
    };
}

one_or_table! { RetryFile, "a number of attempts, or a table", RetryTable,
    visit_i64: i64 => |attempts| match u32::try_from(attempts) {
        Ok(attempts @ 1..=1_000_000) => Ok(RetryFile::Attempts(Count(attempts))),
        _ => Err(format!("{attempts} attempts in all make no sense; 3 try it up to three times")),
    }
}

one_or_table! { CacheFile, "true, false or a table", CacheTable,
    visit_bool: bool => |yes| Ok(CacheFile::Yes(yes))
}

impl<'de> Deserialize<'de> for ResourceFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ResourceFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount, or a table of `limit` and `per`")
            }

            fn visit_i64<E: Error>(self, amount: i64) -> Result<ResourceFile, E> {
                match u64::try_from(amount) {
                    Ok(amount @ 1..) => Ok(ResourceFile::Amount(amount)),
                    _ => Err(E::custom("there is at least 1 of a resource")),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ResourceFile, A::Error> {
                RateTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    .map(ResourceFile::Rate)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for ParamFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ParamFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a default value, or a table")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<ParamFile, E> {
                Ok(ParamFile::Default(value.into()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<ParamFile, E> {
                Ok(ParamFile::Default(value.into()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<ParamFile, E> {
                Ok(ParamFile::Default(value.into()))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<ParamFile, E> {
                Ok(ParamFile::Default(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<ParamFile, A::Error> {
                let items = serde::de::value::SeqAccessDeserializer::new(items);
                Value::deserialize(items).map(ParamFile::Default)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ParamFile, A::Error> {
                ParamTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    .map(ParamFile::Full)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Needs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<OneOrMany>::deserialize(deserializer)?;
        Ok(match spanned.value {
            OneOrMany::One(value) => Self::One(Spanned { value, span: spanned.span }),
            OneOrMany::Many(names) => Self::Many(names),
        })
    }
}

enum OneOrMany {
    One(String),
    Many(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a task, or a list of names")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(name.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<OneOrMany, A::Error> {
                let names = serde::de::value::SeqAccessDeserializer::new(names);
                Vec::deserialize(names).map(OneOrMany::Many)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
