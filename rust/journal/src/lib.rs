//! What happened, on disk: the events of every run of a state folder, in one database, with the values tasks gave.
//!
//! It knows nothing of processes, of threads that carry tasks out, or of who reads. Modules stand bottom-up: each uses only
//! those above it.

pub mod fault;
pub mod lock;
mod group;
mod schema;
pub mod artifact;
pub mod store;
pub mod read;

pub use artifact::Artifacts;
pub use fault::JournalError;
pub use lock::Holder;
pub use read::{Reader, RunRow};
pub use store::{Durability, RunWriter, Store};
