//! When something is to happen: cron expressions, intervals, single moments, and which of them were missed.
//!
//! No clock: the present comes in as a value, as do all moments, in milliseconds since 1970. Of the world it reads the
//! system's time zones alone.
//!
//! Modules stand bottom-up: each uses only those above it.

mod wrong;
pub mod zone;
mod cron;
mod wall;
mod moment;
pub mod schedule;
pub mod timetable;

pub use schedule::{CatchUp, Due, Schedule, Timing};
pub use timetable::Timetable;
pub use wrong::Wrong;
