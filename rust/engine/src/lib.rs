//! The loop: it takes inputs, records facts, and hands attempts to the worker. One thread of control at a time.
//!
//! It has never heard of a terminal, a page, or Python: whoever wants to see something reads the journal.
//!
//! Modules stand bottom-up: each uses only those above it.

pub mod fault;
pub mod journal;
pub mod plan;
pub mod functions;
pub mod slots;
mod clock;
mod names;
pub mod asked;
mod timer;
mod hide;
mod conductor;
pub mod run;

pub use fault::EngineError;
pub use functions::{Functions, Judge};
pub use journal::{Feed, Journal, News};
pub use plan::Plan;
pub use run::{Config, Record, Run};
pub use slots::Slots;
