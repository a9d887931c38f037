//! `traceparent` by W3C Trace Context level 2 (www.w3.org/TR/trace-context-2), sections 3.2 and 3.2.4.
//!
//! A version above 00 is read as the specification asks of a reader that knows only 00: the four known
//! fields, of which flags give the sampled bit alone, and then nothing or a dash.

use super::{
    Malformed,
    digits::{Case, hex, span_id, trace_id},
    headers::Headers,
};
use crate::protocols::exchange::{ContextFormat, RemoteParent, Sampled};

pub(super) const TRACEPARENT: &str = "traceparent";

const SAMPLED: u128 = 1 << 0;
const RANDOM: u128 = 1 << 1;

/// A valid `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traceparent {
    pub parent: RemoteParent,
    /// The sender says that the right-most 7 bytes of the trace id are random.
    pub random_trace_id: bool,
}

pub(super) fn read(headers: Headers<'_, '_>) -> Result<Option<Traceparent>, Malformed> {
    headers.parsed(TRACEPARENT, parse)
}

fn parse(value: &[u8]) -> Option<Traceparent> {
    let (version, rest) = field::<2>(value)?;
    let (trace, rest) = field::<32>(rest.strip_prefix(b"-")?)?;
    let (span, rest) = field::<16>(rest.strip_prefix(b"-")?)?;
    let (flags, rest) = field::<2>(rest.strip_prefix(b"-")?)?;
    let flags = hex(flags, Case::Lower)?;
    let version = hex(version, Case::Lower)?;
    let whole = match version {
        0x00 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    if !whole {
        return None;
    }
    Some(Traceparent {
        parent: RemoteParent {
            trace: trace_id(trace, Case::Lower)?,
            span: Some(span_id(span, Case::Lower)?),
            sampled: if flags & SAMPLED != 0 {
                Sampled::Yes
            } else {
                Sampled::No
            },
            format: ContextFormat::W3c,
        },
        random_trace_id: version == 0 && flags & RANDOM != 0,
    })
}

fn field<const N: usize>(text: &[u8]) -> Option<(&[u8; N], &[u8])> {
    text.split_first_chunk()
}
