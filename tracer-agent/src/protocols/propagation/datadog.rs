//! Datadog's headers, by docs.datadoghq.com/tracing/trace_collection/trace_context_propagation: decimal 64-bit
//! ids, and the upper half of a 128-bit trace id as `_dd.p.tid` in `x-datadog-tags`.
//!
//! A malformed upper half makes the whole malformed: the lower half alone would be another trace.

use super::{
    Carried, Malformed,
    digits::{Case, decimal, hex},
    headers::{Headers, trim},
};
use crate::{
    ids::{SpanId, TraceId},
    protocols::exchange::{ContextFormat, RemoteParent, Sampled},
};

pub(super) const TRACE_ID: &str = "x-datadog-trace-id";
pub(super) const PARENT_ID: &str = "x-datadog-parent-id";
pub(super) const SAMPLING_PRIORITY: &str = "x-datadog-sampling-priority";
pub(super) const TAGS: &str = "x-datadog-tags";

pub(super) fn read(headers: Headers<'_, '_>) -> Result<Option<Carried>, Malformed> {
    let Some(lower) = headers.one(TRACE_ID)? else {
        return Ok(None);
    };
    let lower = decimal(lower).filter(|lower| *lower != 0).ok_or(Malformed)?;
    let upper = match headers.one(TAGS)?.and_then(upper_half) {
        Some(text) if text.len() == 16 => hex(text, Case::Any).ok_or(Malformed)?,
        Some(_) => return Err(Malformed),
        None => 0,
    };
    let trace = TraceId::new((upper << 64 | u128::from(lower)).to_be_bytes()).ok_or(Malformed)?;
    // 0 is sent by what starts a trace without a span of its own (synthetic tests, browsers).
    let span = match headers.one(PARENT_ID)? {
        Some(text) => SpanId::new(decimal(text).ok_or(Malformed)?.to_be_bytes()),
        None => None,
    };
    let sampled = match headers.one(SAMPLING_PRIORITY)? {
        Some(text) => priority(text).ok_or(Malformed)?,
        None => Sampled::Deferred,
    };
    Ok(Some(Carried::Parent(RemoteParent {
        trace,
        span,
        sampled,
        format: ContextFormat::Datadog,
    })))
}

fn upper_half(tags: &[u8]) -> Option<&[u8]> {
    tags.split(|byte| *byte == b',')
        .find_map(|tag| trim(tag).strip_prefix(b"_dd.p.tid="))
}

/// -1 and 0 drop the trace, 1 and 2 keep it; further numbers on either side mean the same.
fn priority(text: &[u8]) -> Option<Sampled> {
    match text.strip_prefix(b"-") {
        Some(digits) => decimal(digits).map(|_| Sampled::No),
        None => decimal(text).map(|priority| if priority == 0 { Sampled::No } else { Sampled::Yes }),
    }
}
