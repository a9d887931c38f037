//! What the agent has to say of itself.

use std::{fmt, io, net::SocketAddr};

use tracer_common::Loss;

use crate::{
    capture::{record::RecordError, recording::WriteError},
    config::values::Level,
};

/// One thing that happened to the agent.
#[derive(Debug)]
pub enum Event {
    /// The probes are attached: from here on nothing is missed.
    Ready {
        /// What is traced, in words.
        what: String,
    },
    /// Metrics and health can be asked for.
    Serving {
        /// Where.
        address: SocketAddr,
    },
    /// A hook family was taken.
    Hooks {
        /// Which one, and what it cannot see.
        family: String,
    },
    /// A better hook family was not taken.
    HooksRefused {
        /// Which one and why; what the kernel's verifier wrote about it.
        why: String,
    },
    /// Something was set that has no effect, or is not as it should be.
    Remark(String),
    /// A process is traced from now on.
    Selected {
        /// The process.
        pid: u32,
    },
    /// A process that was asked for cannot be traced.
    NotSelected {
        /// The process.
        pid: u32,
        /// Why.
        error: io::Error,
    },
    /// The goroutines of a process, or what they hand on, cannot be followed.
    NotFollowed {
        /// The process.
        pid: u32,
        /// The version of Go that made it.
        version: String,
        /// Why.
        error: io::Error,
    },
    /// What goes through a library of TLS cannot be seen.
    NotLookedInto {
        /// The file.
        library: String,
        /// Why.
        error: io::Error,
    },
    /// The kernel side lost events.
    KernelLost {
        /// Why.
        cause: Loss,
        /// How many.
        count: u64,
    },
    /// The kernel side says what it does.
    Kernel(String),
    /// The kernel side and the agent do not understand each other.
    MalformedRecord(RecordError),
    /// Something is missing from the recording.
    Recording(WriteError),
    /// Something about a destination of spans.
    Export(String),
    /// What was said in the configuration file is done from now on.
    Reconfigured {
        /// Settings that are other than before.
        changed: Vec<&'static str>,
        /// Those among them that are looked at when the agent starts only.
        ignored: Vec<&'static str>,
    },
    /// What the configuration file says cannot be done; what it said before goes on.
    NotReconfigured(String),
    /// What it selects cannot be traced from now on; what was selected before goes on.
    NotReselected(String),
    /// Who processes are cannot be found out as it should be.
    Unknown(String),
    /// Who processes are can be found out.
    Known(String),
    /// The agent was asked to end.
    Ending,
}

impl Event {
    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Self::Recording(_) => Level::Error,
            Self::NotSelected { .. } | Self::KernelLost { .. } | Self::MalformedRecord(_) => Level::Warn,
            Self::NotFollowed { .. } | Self::NotLookedInto { .. } => Level::Warn,
            Self::Remark(_)
            | Self::Export(_)
            | Self::Unknown(_)
            | Self::NotReconfigured(_)
            | Self::NotReselected(_) => Level::Warn,
            Self::Ready { .. } | Self::Serving { .. } | Self::Reconfigured { .. } => Level::Info,
            Self::Kernel(_)
            | Self::Known(_)
            | Self::Selected { .. }
            | Self::Hooks { .. }
            | Self::HooksRefused { .. }
            | Self::Ending => Level::Debug,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { what } => write!(out, "tracing {what}"),
            Self::Serving { address } => {
                write!(out, "serving http://{address}/metrics, /healthz and /readyz")
            }
            Self::Hooks { family } => write!(out, "hooks: {family}"),
            Self::HooksRefused { why } => write!(out, "not taken: {why}"),
            Self::Remark(text) | Self::Export(text) | Self::Unknown(text) | Self::Known(text) => {
                out.write_str(text)
            }
            Self::Selected { pid } => write!(out, "tracing process {pid} from now on"),
            Self::NotSelected { pid, error } => write!(out, "cannot trace process {pid}: {error}"),
            Self::NotFollowed { pid, version, error } => write!(
                out,
                "calls of process {pid} ({version}) are linked by times only: {error}"
            ),
            Self::NotLookedInto { library, error } => {
                write!(out, "what goes through {library} is not seen: {error}")
            }
            Self::KernelLost { cause, count } => {
                write!(out, "{count} events lost in the kernel: {}", cause.name())
            }
            Self::Kernel(line) => write!(out, "kernel: {line}"),
            Self::MalformedRecord(error) => write!(out, "the kernel side sent what is no record: {error}"),
            Self::Recording(error) => error.fmt(out),
            Self::Reconfigured { changed, ignored } => {
                write!(out, "the configuration has changed: {}", changed.join(", "))?;
                match ignored.as_slice() {
                    [] => Ok(()),
                    ignored => write!(
                        out,
                        "; of no effect before the agent is started again: {}",
                        ignored.join(", ")
                    ),
                }
            }
            Self::NotReconfigured(why) => write!(out, "the configuration stays as it was: {why}"),
            Self::NotReselected(why) => write!(out, "the same is traced as before: {why}"),
            Self::Ending => out.write_str("asked to end"),
        }
    }
}
