//! Which traces are exported. `threshold` and `tracestate` are the arithmetic and the wire format of OpenTelemetry's
//! consistent probability sampling, by which everybody decides alike from the trace id alone; `rules` is what a person
//! asks of requests before they are traced, `tail` what is decided once spans are finished.
//!
//! Kept true: a decision is of a trace, never of a span alone, so no exported span names a parent of this host that
//! was left out; a span says how many it stands for (`ot=th`) only where that is known.

pub mod rules;
pub mod tail;

mod threshold;
pub mod tracestate;

pub use rules::{Action, Rule};

pub use tail::Tail;
pub use threshold::{Randomness, Threshold};
