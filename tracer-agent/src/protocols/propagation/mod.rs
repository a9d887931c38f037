//! Trace context in request headers. In: the headers of one request. Out: the [`WireContext`] of the first
//! format, in the order of the evidence ladder, that is there and valid. Kept true: ids are taken as they
//! were sent or not at all; a header that breaks its format is treated as none and reported as malformed.
//!
//! One file a format; each says which description it follows and where it is stricter or laxer.

mod aws_xray;
mod b3;
mod datadog;
mod digits;
mod google_cloud;
mod grpc_trace_bin;
mod headers;
mod jaeger;
mod request_id;
mod tracestate;
mod w3c;

use self::headers::Headers;
pub use self::request_id::RequestId;
use super::exchange::{RemoteParent, Sampled, WireContext};

/// Every header this module reads, lower-case: what a recording must keep for its links to stay the same.
pub const CONTEXT_HEADERS: &[&str] = &[
    w3c::TRACEPARENT,
    tracestate::TRACESTATE,
    b3::SINGLE,
    b3::TRACE_ID,
    b3::SPAN_ID,
    b3::SAMPLED,
    b3::FLAGS,
    jaeger::UBER_TRACE_ID,
    datadog::TRACE_ID,
    datadog::PARENT_ID,
    datadog::SAMPLING_PRIORITY,
    datadog::TAGS,
    aws_xray::AMZN_TRACE_ID,
    google_cloud::CLOUD_TRACE_CONTEXT,
    grpc_trace_bin::GRPC_TRACE_BIN,
    request_id::REQUEST_ID,
    request_id::CORRELATION_ID,
];

/// A header of a format is there and breaks the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed;

/// What the headers of one format say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    /// A trace, and mostly a span in it.
    Parent(RemoteParent),
    /// A sampling decision alone.
    Decision(Sampled),
}

/// Reads the trace context of a request.
///
/// The formats are tried strongest first; the first that is there and valid counts. `malformed` is set when a
/// format looked at on the way was there but not valid, or when a `tracestate` had to be dropped.
pub fn extract(headers: &[httparse::Header<'_>]) -> WireContext {
    if !headers.iter().any(is_read) {
        return WireContext::default();
    }
    let headers = Headers(headers);
    WireContext {
        request_ids: request_id::read(headers),
        ..trace_context(headers)
    }
}

/// Whether a header is one of those that are read: of most requests none is, and then none has to be looked up.
fn is_read(header: &httparse::Header<'_>) -> bool {
    const LENGTHS: u64 = {
        let (mut lengths, mut rest) = (0, CONTEXT_HEADERS);
        while let [name, others @ ..] = rest {
            lengths |= 1 << name.len();
            rest = others;
        }
        lengths
    };
    let len = u32::try_from(header.name.len()).unwrap_or(u32::MAX);
    LENGTHS.checked_shr(len).is_some_and(|lengths| lengths & 1 != 0)
        && CONTEXT_HEADERS
            .iter()
            .any(|name| header.name.eq_ignore_ascii_case(name))
}

fn trace_context(headers: Headers<'_, '_>) -> WireContext {
    let mut context = WireContext::default();
    match w3c::read(headers) {
        Ok(Some(found)) => {
            context.parent = Some(found.parent);
            context.random_trace_id = found.random_trace_id;
            match tracestate::read(headers) {
                Ok(tracestate) => context.tracestate = tracestate,
                Err(Malformed) => context.malformed = true,
            }
            return context;
        }
        Ok(None) => {}
        Err(Malformed) => context.malformed = true,
    }
    for read in [
        b3::read_single,
        b3::read_multi,
        jaeger::read,
        datadog::read,
        aws_xray::read,
        google_cloud::read,
        grpc_trace_bin::read,
    ] {
        match read(headers) {
            Ok(None) => continue,
            Ok(Some(Carried::Parent(parent))) => context.parent = Some(parent),
            Ok(Some(Carried::Decision(sampled))) => context.decision = Some(sampled),
            Err(Malformed) => {
                context.malformed = true;
                continue;
            }
        }
        break;
    }
    context
}

#[cfg(test)]
mod tests;
