//! For tests, recordings and fuzzing: records made from a script that reads like a conversation.

#[cfg(any(test, fuzzing))]
pub mod hpack;
mod script;

pub use script::{End, STEP_NS, Way};
