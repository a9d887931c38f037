//! `X-Cloud-Trace-Context` by cloud.google.com/trace/docs/trace-context: `{32 hex}[/{decimal span}][;o={bits}]`.
//!
//! Span 0 is what Google's front ends send when they have no span of their own: a trace without a span.

use super::{
    Carried, Malformed,
    digits::{Case, decimal, trace_id},
    headers::Headers,
};
use crate::{
    ids::SpanId,
    protocols::exchange::{ContextFormat, RemoteParent, Sampled},
};

pub(super) const CLOUD_TRACE_CONTEXT: &str = "x-cloud-trace-context";

/// The lowest bit of the options: the caller traces this request.
const TRACED: u64 = 1 << 0;

pub(super) fn read(headers: Headers<'_, '_>) -> Result<Option<Carried>, Malformed> {
    headers.parsed(CLOUD_TRACE_CONTEXT, parse)
}

fn parse(value: &[u8]) -> Option<Carried> {
    let (trace, rest) = value.split_first_chunk::<32>()?;
    let (span, options) = match rest.iter().position(|byte| *byte == b';') {
        Some(semicolon) => {
            let (span, options) = rest.split_at_checked(semicolon)?;
            (span, options.strip_prefix(b";o=").map(Some)?)
        }
        None => (rest, None),
    };
    let span = match span {
        [] => None,
        [b'/', digits @ ..] => SpanId::new(decimal(digits)?.to_be_bytes()),
        _ => return None,
    };
    let sampled = match options {
        Some(bits) if decimal(bits)? & TRACED != 0 => Sampled::Yes,
        Some(_) => Sampled::No,
        None => Sampled::Deferred,
    };
    Some(Carried::Parent(RemoteParent {
        trace: trace_id(trace, Case::Any)?,
        span,
        sampled,
        format: ContextFormat::GoogleCloud,
    }))
}
