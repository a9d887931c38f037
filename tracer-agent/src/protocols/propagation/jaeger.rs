//! `uber-trace-id` by www.jaegertracing.io/sdk-migration: `{trace}:{span}:{parent}:{flags}`.
//!
//! Leading zeroes of the ids may be missing, and the colons may be URL-encoded. The third field is deprecated
//! there and ignored by receivers; so it is here.

use super::{
    Carried, Malformed,
    digits::{Case, hex, span_id, trace_id},
    headers::Headers,
};
use crate::protocols::exchange::{ContextFormat, RemoteParent, Sampled};

pub(super) const UBER_TRACE_ID: &str = "uber-trace-id";

const SAMPLED: u128 = 1 << 0;
/// Debug asks not to drop the trace, so it implies sampled.
const DEBUG: u128 = 1 << 1;

pub(super) fn read(headers: Headers<'_, '_>) -> Result<Option<Carried>, Malformed> {
    headers.parsed(UBER_TRACE_ID, parse)
}

fn parse(value: &[u8]) -> Option<Carried> {
    let (trace, rest) = split_at_colon(value)?;
    let (span, rest) = split_at_colon(rest)?;
    let (_parent, flags) = split_at_colon(rest)?;
    if flags.len() > 2 {
        return None;
    }
    let flags = hex(flags, Case::Any)?;
    Some(Carried::Parent(RemoteParent {
        trace: trace_id(trace, Case::Any)?,
        span: Some(span_id(span, Case::Any)?),
        sampled: if flags & (SAMPLED | DEBUG) != 0 {
            Sampled::Yes
        } else {
            Sampled::No
        },
        format: ContextFormat::Jaeger,
    }))
}

/// What stands before and after the first `:`, `%3A` or `%3a`.
fn split_at_colon(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, rest) = text.split_at_checked(text.iter().position(|byte| matches!(byte, b':' | b'%'))?)?;
    let after = [&b":"[..], b"%3A", b"%3a"]
        .iter()
        .find_map(|colon| rest.strip_prefix(*colon))?;
    Some((before, after))
}
