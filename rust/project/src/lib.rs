//! What the user wrote: which scripts there are, what the configuration files say, and where.
//!
//! This crate reads the user's files and nothing else: it prints nothing, changes nothing, and knows neither the
//! environment nor the home folder; those come in as values.
//!
//! Modules stand bottom-up: each uses only those above it.

pub mod diagnose;
pub mod fault;
pub mod document;
pub mod expression;
pub mod template;
pub mod decode;
pub mod value;
pub mod secret;
pub mod env_file;
mod json_schema;
pub mod workflow_schema;
pub mod param;
pub mod workflow;
pub mod pattern;
pub mod schedule;
pub mod automation;
pub mod schema;
pub mod run;
pub mod script;
pub mod settings;
pub mod shebang;
pub mod recognise;
pub mod filter;
pub mod discover;
pub mod snapshot;

pub use diagnose::{Diagnostic, Severity};
pub use discover::{Found, Notice, Query, Script, discover};
pub use document::Document;
pub use fault::ProjectError;
pub use recognise::Interpreter;
pub use run::{Explained, Flags, Origin, RunSettings, Setting};
pub use schedule::{Declared, Overlap};
pub use script::ScriptSettings;
pub use secret::{SecretSource, SecretUses, SecretsTable};
pub use settings::{Config, Sources};
pub use snapshot::{Became, Scope, Snapshot};
pub use workflow::WorkflowFile;
