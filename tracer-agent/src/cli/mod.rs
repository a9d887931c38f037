//! Beside the way: the command line. In: arguments and environment. Out: one command run to its end and its
//! exit status. Kept true: misuse is told before anything is done; errors say what failed, on what, and what
//! to do; the exit status means one thing each ([`exit`]).

pub mod args;
mod exit;
pub mod gate;
pub mod signals;

pub use exit::Exit;
