//! tracer-agent: distributed traces of unmodified programs, read from the kernel.
//!
//! The way of the data, one stage a folder: [`capture`] → [`connections`] → [`protocols`] →
//! [`correlate`] → [`spans`] → [`export`]. Up to `spans` the code is synchronous and takes its clock as an
//! argument; [`pipeline`] is the only file that knows the whole way.

pub mod capture;
pub mod cli;
pub mod config;
pub mod connections;
pub mod correlate;
pub mod discovery;
pub mod export;
pub mod guard;
pub mod ids;
pub mod kernel;
pub mod live;
pub mod metrics;
pub mod observe;
pub mod pipeline;
pub mod privacy;
pub mod protocols;
mod recent;
pub mod sampling;
pub mod shop;
pub mod spans;
pub mod symbols;
#[cfg(any(test, fuzzing, feature = "testing"))]
pub mod testing;
