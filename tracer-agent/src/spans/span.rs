//! A finished span, ready for any exporter.

use std::{borrow::Cow, sync::Arc};

use crate::{
    capture::input::{AttributeValue, ProcessInfo},
    ids::{SpanId, TraceId},
};

/// W3C trace flags of a sampled span.
pub const SAMPLED: u8 = 1 << 0;
/// W3C trace flag of a trace whose id is random in its last 7 bytes (level 2).
pub const RANDOM: u8 = 1 << 1;

/// A finished span. Times are Unix nanoseconds; `start_unix_ns <= end_unix_ns`.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its trace.
    pub trace: TraceId,
    /// Its own id.
    pub id: SpanId,
    /// Its parent: exported by this agent or read from the wire, else `None`.
    pub parent: Option<SpanId>,
    /// The parent came over the network (OTLP `SPAN_FLAGS_CONTEXT_IS_REMOTE`).
    pub parent_is_remote: bool,
    /// W3C trace flags to export with the span (bit 0: sampled, bit 1: the trace id is random).
    pub trace_flags: u8,
    /// `tracestate` of the context it continues, empty if none.
    pub tracestate: String,
    /// Name, of low cardinality.
    pub name: Cow<'static, str>,
    /// Server or client.
    pub kind: SpanKind,
    /// Unix time of its start.
    pub start_unix_ns: u64,
    /// Unix time of its end.
    pub end_unix_ns: u64,
    /// Status by the rules of the semantic conventions.
    pub status: SpanStatus,
    /// Attributes, in the order in which they are exported; no key twice.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// Attributes whose key is made at run time (`http.request.header.<name>`), after the others.
    pub header_attributes: Vec<(String, AttributeValue)>,
    /// Links to spans that may be the parent but are not proven to be.
    pub links: Vec<SpanLink>,
    /// The process it was seen in: the resource.
    pub process: Arc<ProcessInfo>,
}

impl Span {
    /// Its trace is sampled: what is not, is counted and goes nowhere.
    pub const fn is_sampled(&self) -> bool {
        self.trace_flags & SAMPLED != 0
    }
}

/// OTLP span kind; the only two this agent sees on a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are OTLP's")]
pub enum SpanKind {
    Server,
    Client,
}

/// OTLP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanStatus {
    /// Left to the backend, as the conventions want for success.
    Unset,
    /// An error, with no description: `error.type` has it.
    Error,
}

/// A link to a span that may be the parent.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanLink {
    /// Its trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Why it is a candidate.
    pub attributes: Vec<(&'static str, AttributeValue)>,
}
