//! Stage 6. In: spans. Out: bytes on a wire, in a file or on a terminal. Kept true: bounded memory, every span
//! that could not be delivered is counted by cause, a backend that is away costs the core nothing.
//!
//! [`Exporters`] is the edge between the synchronous core and the asynchronous exporters: each exporter
//! has a [`batch::Queue`] of its own, so that a slow one delays no other.

pub mod batch;
pub mod console;
pub mod disk;
pub mod exporters;
pub mod json;
mod lane;
pub mod otlp;
pub mod report;
pub mod target;
#[cfg(test)]
pub(crate) mod tests;

pub use batch::BatchSettings;
pub use console::{ConsoleSettings, SLOWEST_SHOWN, ShowWhen};
pub use exporters::{Exporters, SHUTDOWN_LIMIT, StartError};
pub use json::JsonDestination;
pub use otlp::{DiskSettings, OtlpSettings, SettingsError};
pub use report::{DropCause, EndpointReport, ExporterReport, Notice, Notify, Report};
pub use target::Target;
