//! What the words of a workflow mean: one story a rule.

mod story;
mod starting;
mod trying_again;
mod ending;
mod changing;
mod resuming;
mod reusing;
mod standing;
