//! What the agent has to say of itself.

use std::{fmt, io, net::SocketAddr, time::Duration};

use serde_json::Value;
use tracer_common::Loss;

use crate::{
    capture::{record::RecordError, recording::WriteError},
    config::values::Level,
    guard::panics::Panic,
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
    /// What goes through a library of TLS is seen, of connections that begin from here on.
    LookedInto {
        /// The file.
        library: String,
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
    /// More or less detail is left out, to keep within a limit.
    Shedding {
        /// Which limit.
        limit: &'static str,
        /// What is taken of it.
        taken: String,
        /// The step before.
        from: u8,
        /// The step now, 0 for full detail.
        to: u8,
        /// What that leaves out, in words.
        now: &'static str,
    },
    /// The core has dropped what it held, because it panicked.
    BegunAnew(Panic),
    /// The same, for want of memory.
    DroppedForMemory,
    /// A thread has panicked, which ends the agent.
    Panicked {
        /// Which one.
        thread: String,
        /// What it says.
        panic: Panic,
    },
    /// The loop of the core stands still.
    Hangs {
        /// For how long.
        still: Duration,
        /// What it does, in words.
        place: &'static str,
        /// Its thread, as the kernel sees it.
        thread: String,
        /// The agent is aborted for it.
        is_end: bool,
    },
    /// It does no more.
    TurnsAgain,
    /// A command could not be carried out.
    Failed(String),
    /// A line of the last word.
    Summary(String),
    /// The agent was asked to end.
    Ending,
}

impl Event {
    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Self::Recording(_) | Self::Failed(_) | Self::Panicked { .. } | Self::BegunAnew(_) => Level::Error,
            Self::Hangs { is_end: true, .. } => Level::Error,
            Self::Hangs { .. } | Self::DroppedForMemory => Level::Warn,
            Self::Shedding { from, to, .. } if to > from => Level::Warn,
            Self::Shedding { .. } | Self::TurnsAgain | Self::Summary(_) => Level::Info,
            Self::NotSelected { .. } | Self::KernelLost { .. } | Self::MalformedRecord(_) => Level::Warn,
            Self::NotFollowed { .. } | Self::NotLookedInto { .. } => Level::Warn,
            Self::Remark(_)
            | Self::Export(_)
            | Self::Unknown(_)
            | Self::NotReconfigured(_)
            | Self::NotReselected(_) => Level::Warn,
            Self::Ready { .. }
            | Self::Serving { .. }
            | Self::Reconfigured { .. }
            | Self::LookedInto { .. } => Level::Info,
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
            Self::LookedInto { library } => write!(out, "what goes through {library} is seen from now on"),
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
            Self::Shedding {
                limit,
                taken,
                from,
                to,
                now,
            } => {
                let change = if to > from {
                    "at the limit of"
                } else {
                    "less is taken of"
                };
                write!(out, "{change} {limit} ({taken}), step {from} to {to}: {now}")
            }
            Self::BegunAnew(panic) => write!(
                out,
                "the core has panicked and begins anew, what was in flight is dropped: {panic}; please report this"
            ),
            Self::DroppedForMemory => {
                out.write_str("for want of memory the core begins anew, what was in flight is dropped")
            }
            Self::Panicked { thread, panic } => write!(
                out,
                "thread {thread} has panicked, so the agent ends: {panic}; please report this"
            ),
            Self::Hangs {
                still,
                place,
                thread,
                is_end,
            } => {
                let end = if *is_end { "the agent is aborted: " } else { "" };
                let still = still.as_secs();
                write!(
                    out,
                    "{end}the core has stood still for {still} s, {place}: {thread}"
                )
            }
            Self::TurnsAgain => out.write_str("the core goes on"),
            Self::Failed(why) | Self::Summary(why) => out.write_str(why),
            Self::Ending => out.write_str("asked to end"),
        }
    }
}

/// What stands beside the message where it is written for machines: a name and a value each.
pub type Fields = Vec<(&'static str, Value)>;

impl Event {
    /// What kind it is, in a word that stays.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ready { .. } => "ready",
            Self::Serving { .. } => "serving",
            Self::Hooks { .. } => "hooks",
            Self::HooksRefused { .. } => "hooks_refused",
            Self::Remark(_) => "remark",
            Self::Selected { .. } => "selected",
            Self::NotSelected { .. } => "not_selected",
            Self::NotFollowed { .. } => "not_followed",
            Self::LookedInto { .. } => "looked_into",
            Self::NotLookedInto { .. } => "not_looked_into",
            Self::KernelLost { .. } => "kernel_lost",
            Self::Kernel(_) => "kernel",
            Self::MalformedRecord(_) => "malformed_record",
            Self::Recording(_) => "recording",
            Self::Export(_) => "export",
            Self::Reconfigured { .. } => "reconfigured",
            Self::NotReconfigured(_) => "not_reconfigured",
            Self::NotReselected(_) => "not_reselected",
            Self::Unknown(_) => "unknown",
            Self::Known(_) => "known",
            Self::Shedding { .. } => "shedding",
            Self::BegunAnew(_) => "begun_anew",
            Self::DroppedForMemory => "dropped_for_memory",
            Self::Panicked { .. } => "panicked",
            Self::Hangs { .. } => "hangs",
            Self::TurnsAgain => "turns_again",
            Self::Failed(_) => "failed",
            Self::Summary(_) => "summary",
            Self::Ending => "ending",
        }
    }

    /// What is in it, apart from its message.
    pub fn fields(&self) -> Fields {
        match self {
            Self::Serving { address } => vec![("address", address.to_string().into())],
            Self::Selected { pid } => vec![("pid", (*pid).into())],
            Self::NotSelected { pid, error } => {
                vec![("pid", (*pid).into()), ("error", error.to_string().into())]
            }
            Self::NotFollowed { pid, version, error } => vec![
                ("pid", (*pid).into()),
                ("version", version.as_str().into()),
                ("error", error.to_string().into()),
            ],
            Self::LookedInto { library } => vec![("library", library.as_str().into())],
            Self::NotLookedInto { library, error } => vec![
                ("library", library.as_str().into()),
                ("error", error.to_string().into()),
            ],
            Self::KernelLost { cause, count } => {
                vec![("cause", cause.name().into()), ("count", (*count).into())]
            }
            Self::Reconfigured { changed, ignored } => vec![
                ("changed", changed.clone().into()),
                ("ignored", ignored.clone().into()),
            ],
            Self::Shedding { limit, from, to, .. } => vec![
                ("limit", (*limit).into()),
                ("from", (*from).into()),
                ("to", (*to).into()),
            ],
            Self::BegunAnew(panic) => vec![("place", panic.place.as_str().into())],
            Self::Panicked { thread, panic } => vec![
                ("thread", thread.as_str().into()),
                ("place", panic.place.as_str().into()),
            ],
            Self::Hangs { still, place, .. } => {
                vec![("seconds", still.as_secs().into()), ("place", (*place).into())]
            }
            _ => Vec::new(),
        }
    }

    /// The events of which so many are written and no more are those with the same key. Texts that say different things are different
    /// messages, also where they are of one kind; numbers in them make no difference.
    pub(super) fn is_text(&self) -> bool {
        matches!(
            self,
            Self::Remark(_) | Self::Export(_) | Self::Unknown(_) | Self::Known(_) | Self::Failed(_)
        )
    }
}
