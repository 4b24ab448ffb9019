//! The settings of runs that count, each with where it comes from.
//!
//! One list declares them; what files, variables and options may say about them follows from it.

use crate::decode::from_text;
use crate::document::Span;
use crate::schema::RunFile;
use crate::value::{Count, Limit, Location, Megabytes, Pause, ReportKind, Reports, Texts, shown_duration};
use dirigent_core::text::printable;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A file says so.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment says so.
    Environment {
        /// Its name.
        variable: String,
    },
    /// An option says so.
    Flag {
        /// Its name, with the dashes.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", printable(&path.to_string_lossy())),
            Self::Environment { variable } => f.write_str(variable),
            Self::Flag { name } => f.write_str(name),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

/// One line of `dirigent config`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// The key, from the top of the file: `run.jobs`, `scripts."etl/*.py".timeout`.
    pub key: String,
    /// The value; null when there is none.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
}

/// Declares the settings of runs once; the effective settings, the options, the variables and their telling follow.
macro_rules! run_settings {
    ($($(#[$doc:meta])* $name:ident: $raw:ty => $value:ty, $default:expr, $take:expr, $show:expr;)*) => {
        /// The settings of runs that count.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct RunSettings {
            $($(#[$doc])* pub $name: Setting<$value>,)*
        }

        /// The settings of runs as options give them. Paths are meant from where the caller stands, and taken as they are.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Flags {
            $($(#[$doc])* pub $name: Option<$raw>,)*
        }

        /// The names of the settings of runs, as in files; variables and options are named after them.
        pub const RUN_SETTINGS: &[&str] = &[$(stringify!($name)),*];

        impl Default for RunSettings {
            fn default() -> Self {
                Self { $($name: Setting { value: $default, origin: Origin::Default },)* }
            }
        }

        impl RunSettings {
            pub(crate) fn apply_file(&mut self, file: RunFile, origin: impl Fn(&Span) -> Origin) {
                $(if let Some(written) = file.$name {
                    let take: fn($raw) -> $value = $take;
                    self.$name = Setting { origin: origin(&written.span), value: take(written.value) };
                })*
            }

            pub(crate) fn apply_variable(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), String> {
                $(if name == stringify!($name) {
                    let take: fn($raw) -> $value = $take;
                    self.$name = Setting { origin, value: take(from_text::<$raw>(text)?) };
                    return Ok(());
                })*
                Err("no such setting".into())
            }

            pub(crate) fn apply_flags(&mut self, flags: Flags) {
                $(if let Some(written) = flags.$name {
                    let take: fn($raw) -> $value = $take;
                    let name = format!("--{}", stringify!($name).replace('_', "-"));
                    self.$name = Setting { value: take(written), origin: Origin::Flag { name } };
                })*
            }

            pub(crate) fn explain(&self) -> Vec<Explained> {
                vec![$({
                    let show: fn(&$value) -> Value = $show;
                    let key = concat!("run.", stringify!($name)).to_owned();
                    Explained { key, value: show(&self.$name.value), origin: self.$name.origin.clone() }
                }),*]
            }
        }
    };
}

run_settings! {
    /// How many scripts run at once; `None` for as many as there are cores.
    jobs: Count => Option<u32>, None, |count| Some(count.0), |value| json!(value);
    /// The time limit of a script that has none of its own; `None` for none.
    timeout: Limit => Option<Duration>, None, |limit| limit.0, |value| json!(value.map(shown_duration));
    /// How long a process may take to end when asked to.
    grace: Pause => Duration, Duration::from_secs(5), |pause| pause.0, |value| json!(shown_duration(*value));
    /// Whether nothing new starts after a failure.
    fail_fast: bool => bool, false, |value| value, |value| json!(value);
    /// How many folders below a target are looked into; `None` for all.
    max_depth: u32 => Option<u32>, None, Some, |value| json!(value);
    /// Which files are scripts, as globs; empty for what looks like one.
    pattern: Texts => Vec<String>, Vec::new(), |texts| texts.0, |value| json!(value);
    /// The forms a finished run is written in.
    report: Reports => Vec<ReportKind>, ReportKind::ALL.to_vec(), |reports| reports.0, |value| json!(value);
    /// How much of each output of an attempt is kept, in MiB.
    output_limit_mb: Megabytes => u64, 64, |size| size.0, |value| json!(value);
    /// The interpreter of Python scripts; `None` for the one that is found. A bare name is looked up in `PATH`.
    python: Location => Option<PathBuf>, None, |path| Some(path.0), |value| json!(value);
    /// Where runs are recorded; `None` for the usual place.
    state_dir: Location => Option<PathBuf>, None, |path| Some(path.0), |value| json!(value);
    /// How much memory a script that says nothing else may use, in MiB; `None` for as much as there is.
    memory_limit_mb: Megabytes => Option<u64>, None, |size| Some(size.0), |value| json!(value);
}
