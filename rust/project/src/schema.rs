//! What may stand in a configuration file: the keys, the kinds of their values, and what they mean.
//!
//! Knows how one file is checked; not where files are found, nor which of several wins.

use crate::automation::{Hooks, Notification};
use crate::decode::{Entries, Scalar, Spanned, decode};
use crate::diagnose::Severity;
use crate::document::{Document, Span};
use crate::fault::ProjectError;
use crate::pattern::Patterns;
use crate::schedule::{Declared, ScheduleFile};
use crate::secret::{SecretUses, SecretsTable, is_variable};
use crate::value::{Args, Argv, Count, ExitCode, Limit, Location, Megabytes, Pause, Reports, Skip, Texts};
use ignore::gitignore::GitignoreBuilder;
use jiff::tz::TimeZone;
use serde::Deserialize as DeriveDeserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use std::fmt;

/// The whole of a project file or a user file.
#[derive(Clone, Debug, Default, DeriveDeserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// Settings of runs.
    pub run: RunFile,
    /// Which program runs files of an extension.
    pub interpreters: Entries<Argv>,
    /// Globs of what is never found, as in a `.gitignore`.
    pub skip: Option<Vec<Spanned<String>>>,
    /// Secrets, and where their values come from.
    pub secrets: SecretsTable,
    /// A time limit that wins over every other.
    pub timeout_override: Option<TimeoutOverride>,
    /// Settings of every script.
    pub default: ScriptFile,
    /// Settings of the scripts that a path or glob means.
    pub scripts: Entries<ScriptFile>,
    /// What runs at which times.
    pub schedules: Entries<ScheduleFile>,
    /// Named tasks; read as those of a workflow file are.
    pub jobs: Elsewhere,
    /// Who is told when a run ends.
    pub notify: Option<Vec<Spanned<Notification>>>,
    /// Who is told what happens to runs and tasks.
    pub hooks: Hooks,
    /// Not yet.
    pub workflows: Reserved,
}

/// The settings of runs, as a file has them.
#[derive(Clone, Debug, Default, DeriveDeserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunFile {
    /// How many scripts run at once.
    pub jobs: Option<Spanned<Count>>,
    /// The time limit of a script that has none of its own.
    pub timeout: Option<Spanned<Limit>>,
    /// How long a process may take to end when asked to.
    pub grace: Option<Spanned<Pause>>,
    /// Whether nothing new starts after a failure.
    pub fail_fast: Option<Spanned<bool>>,
    /// How many folders below a target are looked into.
    pub max_depth: Option<Spanned<u32>>,
    /// Which files are scripts, as globs.
    pub pattern: Option<Spanned<Texts>>,
    /// The forms a finished run is written in.
    pub report: Option<Spanned<Reports>>,
    /// How much of each output of an attempt is kept.
    pub output_limit_mb: Option<Spanned<Megabytes>>,
    /// The interpreter of Python scripts.
    pub python: Option<Spanned<Location>>,
    /// Where runs are recorded.
    pub state_dir: Option<Spanned<Location>>,
    /// How much memory a script that says nothing else may use.
    pub memory_limit_mb: Option<Spanned<Megabytes>>,
}

/// The settings of a script, as a file has them.
#[derive(Clone, Debug, Default, DeriveDeserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScriptFile {
    /// Its time limit.
    pub timeout: Option<Limit>,
    /// Its arguments.
    pub args: Option<Args>,
    /// Variables to set; null removes one.
    pub env: Entries<Scalar>,
    /// Files of variables to set; what `env` sets wins.
    pub env_file: Option<Texts>,
    /// The only variables it inherits, beside those that every program needs; a `*` at the end of a name means any rest.
    pub pass_env: Option<Spanned<Texts>>,
    /// The secrets it gets as variables.
    pub secrets: Option<SecretUses>,
    /// The folder it runs in.
    pub cwd: Option<Location>,
    /// The exit codes that mean success.
    pub allowed_exit_codes: Option<Spanned<Vec<ExitCode>>>,
    /// Whether it is left out.
    pub skip: Option<Skip>,
    /// Why it is left out, where it is.
    pub skip_reason: Option<String>,
    /// How much memory it may use.
    pub memory_limit_mb: Option<Megabytes>,
    /// The scripts that must succeed first.
    pub needs: Option<Vec<String>>,
    /// Whether processes it leaves behind are let be.
    pub leave_running: Option<bool>,
    /// What runs it.
    pub interpreter: Option<Argv>,
}

/// `timeout_override`: one limit for all, or limits by pattern.
#[derive(Clone, Debug)]
pub enum TimeoutOverride {
    /// For every script.
    All(Limit),
    /// For the scripts that a path or glob means.
    ByPattern(Entries<Limit>),
}

/// A table that is read somewhere else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Elsewhere;

impl<'de> Deserialize<'de> for Elsewhere {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Entries::<serde::de::IgnoredAny>::deserialize(deserializer).map(|_| Self)
    }
}

/// A key that a later version will give a meaning. Accepting it in silence would be a false success.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reserved;

impl<'de> Deserialize<'de> for Reserved {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("not supported by this version yet"))
    }
}

impl<'de> Deserialize<'de> for TimeoutOverride {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = TimeoutOverride;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration, or a table of patterns and durations")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<TimeoutOverride, E> {
                Limit::deserialize(value.into_deserializer()).map(TimeoutOverride::All)
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<TimeoutOverride, E> {
                Limit::deserialize(value.into_deserializer()).map(TimeoutOverride::All)
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<TimeoutOverride, E> {
                Limit::deserialize(value.into_deserializer()).map(TimeoutOverride::All)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TimeoutOverride, A::Error> {
                Entries::deserialize(MapAccessDeserializer::new(map)).map(TimeoutOverride::ByPattern)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl ConfigFile {
    /// Makes sense of a document.
    ///
    /// # Errors
    /// An unknown key, a value of the wrong kind, a bad pattern: whatever is first, with its place.
    pub fn read(document: &Document) -> Result<Self, ProjectError> {
        let file: Self = decode(document)?;
        file.check()
            .map_err(|(code, span, message)| document.diagnostic(Severity::Error, code, span, message))?;
        file.schedules(document, &TimeZone::UTC)?;
        Ok(file)
    }

    /// The schedules, each found to make sense.
    ///
    /// # Errors
    /// One does not.
    pub fn schedules(
        &self,
        document: &Document,
        system_zone: &TimeZone,
    ) -> Result<Vec<Declared>, ProjectError> {
        let declared = |(name, schedule): &(_, ScheduleFile)| {
            schedule.declared(name, document, system_zone).map_err(ProjectError::Invalid)
        };
        self.schedules.0.iter().map(declared).collect()
    }

    /// What the kinds of the values alone cannot say.
    fn check(&self) -> Result<(), (&'static str, Span, String)> {
        let wrong = |span: &Span, message: String| Err(("config.invalid_value", span.clone(), message));
        for (extension, _) in &self.interpreters.0 {
            let bare = bare_extension(&extension.value);
            if bare.is_empty() || bare.contains(['.', '/']) {
                return wrong(
                    &extension.span,
                    format!("`{}` is no extension such as `.rb`", extension.value),
                );
            }
        }
        if let Err((span, message)) = self.secrets.check() {
            return wrong(&span, message);
        }
        self.hooks.check()?;
        for notification in self.notify.iter().flatten() {
            notification.value.check(&notification.span)?;
        }
        let mut skip = GitignoreBuilder::new("");
        for pattern in self.skip.iter().flatten() {
            if let Err(error) = skip.add_line(None, &pattern.value) {
                return wrong(&pattern.span, format!("bad pattern: {error}"));
            }
        }
        let overridden = match &self.timeout_override {
            Some(TimeoutOverride::ByPattern(entries)) => {
                entries.0.iter().map(|(pattern, _)| pattern).collect()
            }
            _ => Vec::new(),
        };
        for pattern in self.scripts.0.iter().map(|(pattern, _)| pattern).chain(overridden) {
            if let Err((_, message)) = Patterns::new([pattern.value.as_str()]) {
                return wrong(&pattern.span, format!("bad pattern: {message}"));
            }
        }
        if let Some(pattern) = &self.run.pattern
            && let Err((_, message)) = Patterns::new(pattern.value.0.iter().map(String::as_str))
        {
            return wrong(&pattern.span, format!("bad pattern: {message}"));
        }
        for script in self.scripts.0.iter().map(|(_, script)| script).chain([&self.default]) {
            for (name, value) in &script.env.0 {
                let bad_value = value.0.as_ref().is_some_and(|value| value.contains('\0'));
                if !is_variable(&name.value) || bad_value {
                    return wrong(
                        &name.span,
                        format!("`{}` cannot be a variable of the environment", name.value),
                    );
                }
            }
            let used = script.secrets.iter().flat_map(|uses| &uses.0);
            let both = |variable: &str| script.env.0.iter().any(|(name, _)| name.value == variable);
            if let Some((variable, _)) = used.clone().find(|(variable, _)| both(&variable.value)) {
                let message = format!("`{}` is set by `env` and by `secrets`", variable.value);
                return wrong(&variable.span, message);
            }
            if let Some(passed) = &script.pass_env
                && let Some(name) = passed.value.0.iter().find(|name| !is_variable(name))
            {
                let message = format!("`{name}` cannot be a variable of the environment");
                return wrong(&passed.span, message);
            }
            if let Some(codes) = script.allowed_exit_codes.as_ref().filter(|codes| codes.value.is_empty()) {
                return wrong(&codes.span, "without any exit code no script can succeed".into());
            }
        }
        Ok(())
    }
}

/// An extension without its dot.
pub fn bare_extension(extension: &str) -> &str {
    extension.strip_prefix('.').unwrap_or(extension)
}
