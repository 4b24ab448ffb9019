//! A run as text and picture: a summary for programs, Markdown, JUnit XML, and one page of HTML.
//!
//! This crate touches nothing: no file, no clock, no environment. A [`State`](dirigent_core::State) and the ends of
//! the logs come in as values, text goes out; the same values always give the same text.
//!
//! Modules stand bottom-up: each uses only those above it.

pub mod logs;
pub mod quantity;
pub mod layout;
mod escape;
pub mod counts;
mod sentence;
pub mod drawing;
pub mod svg;
pub mod text;
mod mermaid;
mod dot;
pub mod picture;
mod cell;
pub mod summary;
mod course;
mod path;
mod times;
pub mod past;
pub mod script_result;
pub mod json;
mod markdown;
mod junit;
mod trace;
mod html;
pub mod format;
pub mod profile;

pub use cell::{cell, told};
pub use drawing::{Detail, Drawing, NotFolded};
pub use format::{Format, RunView};
pub use logs::{Logs, NoLogs, StreamName};
pub use past::PastRun;
pub use picture::Picture;
pub use profile::{Earlier, Profile, TimesBefore, time_left_ms};
pub use script_result::{ScriptResult, ScriptStatus};
pub use sentence::task_sentence;
pub use summary::{Summary, TaskSummary};
pub use svg::{Sketch, Theme};
