//! Runs of workflow files: from what the file says to tasks, and from what tasks gave to what others do.

mod around;
mod given;
mod lower;
mod host;
mod open;
mod part;

pub use around::Around;
pub use host::Host;
pub use lower::lowered;
pub use open::{Opened, open, open_job, reopen};
pub use part::{Part, part, reused};
