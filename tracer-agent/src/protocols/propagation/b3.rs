//! B3 by github.com/openzipkin/b3-propagation: one `b3` header, or several `x-b3-…` headers.
//!
//! Either may carry a sampling decision without ids. The span named is the one the caller shares with its
//! server; the parent of that span, which B3 sends too, says nothing about this request and is not read.

use super::{
    Carried, Malformed,
    digits::{Case, hex, span_id, trace_id},
    headers::Headers,
};
use crate::protocols::exchange::{ContextFormat, RemoteParent, Sampled};

pub(super) const SINGLE: &str = "b3";
pub(super) const TRACE_ID: &str = "x-b3-traceid";
pub(super) const SPAN_ID: &str = "x-b3-spanid";
pub(super) const SAMPLED: &str = "x-b3-sampled";
pub(super) const FLAGS: &str = "x-b3-flags";

pub(super) fn read_single(headers: Headers<'_, '_>) -> Result<Option<Carried>, Malformed> {
    headers.parsed(SINGLE, parse_single)
}

/// `{trace}-{span}[-{decision}[-{parent span}]]`, or a decision alone.
fn parse_single(value: &[u8]) -> Option<Carried> {
    if let Some(sampled) = decision(value) {
        return Some(Carried::Decision(sampled));
    }
    let mut fields = value.split(|byte| *byte == b'-');
    let (trace, span) = (fields.next()?, fields.next()?);
    let sampled = match fields.next() {
        Some(text) => decision(text)?,
        None => Sampled::Deferred,
    };
    if let Some(grandparent) = fields.next() {
        (grandparent.len() == 16)
            .then(|| hex(grandparent, Case::Lower))
            .flatten()?;
    }
    if fields.next().is_some() {
        return None;
    }
    parent(trace, span, sampled, ContextFormat::B3Single)
}

pub(super) fn read_multi(headers: Headers<'_, '_>) -> Result<Option<Carried>, Malformed> {
    let sampled = match headers.one(SAMPLED)? {
        // Not in the description, but sent by tracers older than it.
        Some(b"true") => Some(Sampled::Yes),
        Some(b"false") => Some(Sampled::No),
        Some(b"d") => return Err(Malformed),
        Some(text) => Some(decision(text).ok_or(Malformed)?),
        None => None,
    };
    // Flags other than the debug flag are not described and not looked at.
    let debug = headers.one(FLAGS)? == Some(b"1");
    let sampled = if debug { Some(Sampled::Yes) } else { sampled };
    match (headers.one(TRACE_ID)?, headers.one(SPAN_ID)?) {
        (Some(trace), Some(span)) => {
            let sampled = sampled.unwrap_or(Sampled::Deferred);
            parent(trace, span, sampled, ContextFormat::B3Multi)
                .map(Some)
                .ok_or(Malformed)
        }
        (None, None) => Ok(sampled.map(Carried::Decision)),
        (Some(_), None) | (None, Some(_)) => Err(Malformed),
    }
}

fn decision(text: &[u8]) -> Option<Sampled> {
    match text {
        b"1" | b"d" => Some(Sampled::Yes),
        b"0" => Some(Sampled::No),
        _ => None,
    }
}

fn parent(trace: &[u8], span: &[u8], sampled: Sampled, format: ContextFormat) -> Option<Carried> {
    if !matches!(trace.len(), 16 | 32) || span.len() != 16 {
        return None;
    }
    Some(Carried::Parent(RemoteParent {
        trace: trace_id(trace, Case::Lower)?,
        span: Some(span_id(span, Case::Lower)?),
        sampled,
        format,
    }))
}
