//! What the words of dirigent mean, and what follows from what.
//!
//! This crate touches nothing: no clock, no disk, no socket, no thread, no interpreter. Time and ids come in as
//! values, so that the same inputs always give the same facts.
//!
//! Modules stand bottom-up: each uses only those above it.

pub mod text;
pub mod fault;
pub mod ids;
pub mod graph;
pub mod spec;
pub mod value;
pub mod outcome;
pub mod event;
mod ready;
pub mod state;
pub mod retry;
pub mod decide;

pub use event::{Event, Fact};
pub use fault::{Fault, Kind};
pub use ids::{RunId, TaskIndex};
pub use outcome::Outcome;
pub use state::State;
