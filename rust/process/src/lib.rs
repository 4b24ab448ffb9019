//! Running children, and being sure that they are gone.
//!
//! The engine talks to a [`worker`], a thread that owns pipes and log files. The worker talks to the [`guard`], a small
//! process of its own that spawns the children, is the reaper of every process they leave behind, and ends all of them
//! when it is asked to, when its engine ends, and when its engine is killed.
//!
//! Linux only: it leans on subreapers, pidfds and `/proc`. Knows no graph, no journal and no configuration.
//!
//! Modules stand bottom-up: each uses only those above it.

#[cfg(not(target_os = "linux"))]
compile_error!("dirigent-process supports Linux only so far");

pub mod fault;
mod disguise;
pub mod mask;
pub mod secret;
pub mod output;
mod identity;
mod wire;
mod clock;
mod table;
mod leftover;
mod spawn;
mod reap;
pub mod guard;
mod connection;
mod attempt;
pub mod worker;

pub use attempt::Attempt;
pub use fault::ProcessError;
pub use identity::Identity;
pub use leftover::end_leftovers;
pub use secret::Secrets;
pub use worker::{Asker, Config, Report, Worker};
