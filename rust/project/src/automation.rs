//! Who is told what happens to runs, as configuration files say it: notifications of their ends, and hooks.
//!
//! Knows what may be written and what makes sense together; sends nothing.

use crate::decode::{Entries, Spanned};
use crate::document::Span;
use crate::value::{Argv, Pause, one_or_many};
use serde::Deserialize as DeriveDeserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::time::Duration;

/// The longest a single try may take: the end of a run waits for it.
const LONGEST: Duration = Duration::from_secs(60);
/// How often one may be tried again at most.
const MOST_RETRIES: u32 = 10;

/// A complaint: its code, where, and what.
pub(crate) type Complaint = (&'static str, Span, String);

/// Somebody to tell when a run ends.
#[derive(Clone, Debug, DeriveDeserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// Of which ends.
    pub on: Occasions,
    /// A program that gets it on its standard input.
    #[serde(default)]
    pub command: Option<Argv>,
    /// An address that it is posted to.
    #[serde(default)]
    pub webhook: Option<Spanned<Text>>,
    /// What the post is headed with.
    #[serde(default)]
    pub headers: Entries<Text>,
    /// How long a try may take.
    #[serde(default)]
    pub timeout: Option<Spanned<Pause>>,
    /// How often it is tried again.
    #[serde(default)]
    pub retries: Option<Spanned<u32>>,
}

/// An end of a run that somebody wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeriveDeserialize)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    /// It failed.
    Failure,
    /// It succeeded, and the one before it had failed.
    Recovery,
    /// It succeeded.
    Success,
    /// Any.
    Always,
}

/// One occasion, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasions(pub Vec<Occasion>);

/// A text that stands there, or that a variable of the environment holds: what is secret belongs in no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// This one.
    Plain(String),
    /// What this variable holds when it is needed.
    Environment(String),
}

/// The programs that are told what happens to runs.
#[derive(Clone, Debug, Default, DeriveDeserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the names are those of the moments")]
pub struct Hooks {
    pub before_run: Vec<Hook>,
    pub after_run: Vec<Hook>,
    pub before_task: Vec<Hook>,
    pub after_task: Vec<Hook>,
    pub on_failure: Vec<Hook>,
    pub on_success: Vec<Hook>,
    pub on_retry: Vec<Hook>,
    pub on_change: Vec<Hook>,
    /// How long they may go on after the end of the run.
    pub patience: Option<Spanned<Pause>>,
}

/// A program that is told something: a list of it and its arguments, or a table.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The program and its arguments.
    pub command: Argv,
    timeout: Option<Spanned<Pause>>,
}

/// A moment in the life of runs and tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A run begins, or is taken up again.
    BeforeRun,
    /// A run has ended.
    AfterRun,
    /// An attempt of a task begins.
    BeforeTask,
    /// A task that ran has ended for good.
    AfterTask,
    /// A task has failed.
    OnFailure,
    /// A task has completed.
    OnSuccess,
    /// An attempt has failed, and there will be another.
    OnRetry,
    /// A watched file has changed.
    OnChange,
}

impl Moment {
    /// Its name, as in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeRun => "before_run",
            Self::AfterRun => "after_run",
            Self::BeforeTask => "before_task",
            Self::AfterTask => "after_task",
            Self::OnFailure => "on_failure",
            Self::OnSuccess => "on_success",
            Self::OnRetry => "on_retry",
            Self::OnChange => "on_change",
        }
    }
}

impl Hooks {
    /// The hooks of a moment, in the file's order.
    pub fn of(&self, moment: Moment) -> &[Hook] {
        match moment {
            Moment::BeforeRun => &self.before_run,
            Moment::AfterRun => &self.after_run,
            Moment::BeforeTask => &self.before_task,
            Moment::AfterTask => &self.after_task,
            Moment::OnFailure => &self.on_failure,
            Moment::OnSuccess => &self.on_success,
            Moment::OnRetry => &self.on_retry,
            Moment::OnChange => &self.on_change,
        }
    }

    /// What the kinds of the values alone cannot say.
    pub(crate) fn check(&self) -> Result<(), Complaint> {
        let all = [&self.before_run, &self.after_run, &self.before_task, &self.after_task]
            .into_iter()
            .chain([&self.on_failure, &self.on_success, &self.on_retry, &self.on_change]);
        all.flatten().filter_map(|hook| hook.timeout.as_ref()).try_for_each(check_timeout)
    }
}

impl Hook {
    /// How long it may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.as_ref().map_or(Duration::from_secs(10), |timeout| timeout.value.0)
    }
}

impl<'de> Deserialize<'de> for Hook {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(DeriveDeserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            command: Argv,
            #[serde(default)]
            timeout: Option<Spanned<Pause>>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Hook;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of a program and its arguments, or `{command: …, timeout: …}`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Hook, A::Error> {
                let command = Argv::deserialize(SeqAccessDeserializer::new(items))?;
                Ok(Hook { command, timeout: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Hook, A::Error> {
                let Table { command, timeout } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Hook { command, timeout })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Notification {
    /// How long a try may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.as_ref().map_or(Duration::from_secs(10), |timeout| timeout.value.0)
    }

    /// How often it is tried again.
    pub fn retries(&self) -> u32 {
        self.retries.as_ref().map_or(3, |retries| retries.value)
    }

    /// What the kinds of the values alone cannot say.
    pub(crate) fn check(&self, whole: &Span) -> Result<(), Complaint> {
        let wrong = |span: &Span, message: String| Err(("config.invalid_value", span.clone(), message));
        match (&self.command, &self.webhook) {
            (Some(_), Some(_)) => return wrong(whole, "either `command` or `webhook`, not both".into()),
            (None, None) => return wrong(whole, "say whom to tell: `command` or `webhook`".into()),
            (Some(_), None) if !self.headers.0.is_empty() => {
                return wrong(&self.headers.0[0].0.span, "only a `webhook` has headers".into());
            }
            _ => {}
        }
        if let Some(Spanned { value: Text::Plain(address), span }) = &self.webhook
            && let Err(message) = check_address(address)
        {
            return wrong(span, message);
        }
        for (name, value) in &self.headers.0 {
            let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            let is_plain = |text: &String| text.chars().all(|c| c == '\t' || (' '..='~').contains(&c));
            if name.value.is_empty() || !name.value.chars().all(is_token) {
                return wrong(&name.span, format!("`{}` is no name of a header", name.value));
            }
            if matches!(value, Text::Plain(text) if !is_plain(text)) {
                return wrong(&name.span, format!("the value of `{}` is no plain ASCII text", name.value));
            }
        }
        if let Some(timeout) = &self.timeout {
            check_timeout(timeout)?;
        }
        match &self.retries {
            Some(retries) if retries.value > MOST_RETRIES => {
                wrong(&retries.span, format!("{} is too large, the most is {MOST_RETRIES}", retries.value))
            }
            _ => Ok(()),
        }
    }
}

/// Whether something is posted there: `http` and `https` with a host, and nothing that would be read as two lines.
///
/// # Errors
/// What is wrong with it. The address is not part of that: it may be secret.
pub fn check_address(address: &str) -> Result<(), String> {
    let host = address.strip_prefix("https://").or(address.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with(['/', '?', '#', ':']) => {}
        _ => return Err("an address begins with `https://` or `http://` and a host".into()),
    }
    if address.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("an address has neither spaces nor line ends".into());
    }
    Ok(())
}

fn check_timeout(timeout: &Spanned<Pause>) -> Result<(), Complaint> {
    let message = match timeout.value.0 {
        Duration::ZERO => "a limit is more than 0".to_owned(),
        longer if longer > LONGEST => {
            format!("at most {} s: the end of a run waits for it", LONGEST.as_secs())
        }
        _ => return Ok(()),
    };
    Err(("config.invalid_value", timeout.span.clone(), message))
}

impl<'de> Deserialize<'de> for Occasions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_or_many(deserializer, "`failure`, `recovery`, `success`, `always`, or a list of them").map(Self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(DeriveDeserialize)]
        #[serde(deny_unknown_fields)]
        struct Variable {
            env: String,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or `{env: NAME}` for what a variable holds")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
                let variable = Variable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Text::Environment(variable.env))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
