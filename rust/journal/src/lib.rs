//! What happened, on disk: the events of every run of a state folder, in one database, with the values tasks gave.
//!
//! It knows nothing of processes, of threads that carry tasks out, or of who reads. Modules stand bottom-up: each uses only
//! those above it.

pub mod holder;
pub mod fault;
pub mod lock;
mod group;
mod place;
mod seal;
mod open;
mod schema;
pub mod artifact;
pub mod known;
pub mod read;
pub mod store;
pub mod ticks;

pub use artifact::Artifacts;
pub use fault::JournalError;
pub use holder::Holder;
pub use known::Known;
pub use place::{DATABASE, attempt_folder, bytes_in, has_records, run_folder};
pub use read::{ReadTo, Reader, RunRow};
pub use store::{Durability, RunWriter, Store};
pub use ticks::{Claim, Paused, Tick, TickOutcome, Wish, tick_log};
