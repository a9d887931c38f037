//! What this stage gives: an exchange with its place in a trace.

use std::sync::Arc;

use crate::{
    ids::{BootNanos, Pid, SpanId, Task, TraceId},
    protocols::exchange::{ConnectFailure, Ending, Exchange, Side},
};

/// A finished exchange with its place in a trace, to be exported, or to be counted only.
#[derive(Clone, Debug, PartialEq)]
pub struct Linked {
    /// What happened.
    pub observed: Observed,
    /// The trace it belongs to.
    pub trace: TraceId,
    /// Its trace is exported. Others are given out only where they are counted ([`super::Settings::gives_unsampled`]).
    pub is_sampled: bool,
    /// Its own span id.
    pub span: SpanId,
    /// Its parent: exported by this agent (before or later) or read from the wire.
    pub parent: Option<Parent>,
    /// What its trace and parent were found by; `None` for the root of a trace.
    pub evidence: Option<Evidence>,
    /// How likely the parent is the true one, where that was estimated.
    pub confidence: Option<f64>,
    /// `tracestate` of the context its trace came with, and the threshold that was applied to it.
    pub tracestate: Option<Arc<str>>,
    /// The last 7 bytes of the trace id are random: it was made here, or its caller says so.
    pub has_random_id: bool,
    /// Exported spans that may be the parent but are not proven to be.
    pub candidates: Vec<Candidate>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// A request and how it ended.
    Exchange(Box<Exchange>, Box<Ending>),
    /// A `connect` that failed.
    ConnectFailed(Box<ConnectFailure>),
}

/// A parent span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub span: SpanId,
    /// It belongs to another process.
    pub is_remote: bool,
    /// It is a span of this agent: given out before or later.
    pub is_local: bool,
}

/// What a link was found by: the rungs of the evidence ladder that are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// Context on the wire.
    Header,
    /// Both ends of one connection were seen.
    Connection,
    /// An id that only this request came in with went out again.
    RequestId,
    /// The task that sent the request holds the inbound exchange.
    Task,
    /// A task that holds the inbound exchange had another send the request, or made the task that sent it.
    Handoff,
    /// In an event loop, it was sent after what was read of this request or of the answer to a call made for it, and before anything else was
    /// read.
    Turn,
    /// Of the requests in flight it fits one by its time.
    Timing,
}

/// A span that may be the parent but is not proven to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// What speaks for it.
    pub evidence: Evidence,
    /// How likely it is the parent, where that was estimated.
    pub confidence: Option<f64>,
}

impl Evidence {
    /// The value of `tracer.link.evidence`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Connection => "connection",
            Self::RequestId => "request-id",
            Self::Task => "task",
            Self::Handoff => "handoff",
            Self::Turn => "turn",
            Self::Timing => "timing",
        }
    }
}

impl Observed {
    /// Which end was seen.
    pub fn side(&self) -> Side {
        match self {
            Self::Exchange(exchange, _) => exchange.side,
            Self::ConnectFailed(_) => Side::Outbound,
        }
    }

    /// The task that began it.
    pub fn task(&self) -> Task {
        match self {
            Self::Exchange(exchange, _) => exchange.task,
            Self::ConnectFailed(failure) => failure.task,
        }
    }

    /// The process that was seen.
    pub fn pid(&self) -> Pid {
        self.task().pid
    }

    /// When it began.
    pub fn start(&self) -> BootNanos {
        match self {
            Self::Exchange(exchange, _) => exchange.start,
            Self::ConnectFailed(failure) => failure.start,
        }
    }

    /// When it was over.
    pub fn end(&self) -> BootNanos {
        match self {
            Self::Exchange(_, ending) => ending.end,
            Self::ConnectFailed(failure) => failure.end,
        }
    }
}
