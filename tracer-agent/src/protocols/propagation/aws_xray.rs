//! `x-amzn-trace-id` by docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html:
//! `Root=1-{8 hex}-{24 hex};Parent={16 hex};Sampled={0|1|?}`, in any order, with further fields to skip.

use super::{
    Carried, Malformed,
    digits::{Case, hex, span_id},
    headers::{Headers, trim},
};
use crate::{
    ids::TraceId,
    protocols::exchange::{ContextFormat, RemoteParent, Sampled},
};

pub(super) const AMZN_TRACE_ID: &str = "x-amzn-trace-id";

pub(super) fn read(headers: Headers<'_, '_>) -> Result<Option<Carried>, Malformed> {
    headers.parsed(AMZN_TRACE_ID, parse)
}

fn parse(value: &[u8]) -> Option<Carried> {
    let (mut root, mut parent, mut sampled) = (None, None, None);
    for field in value.split(|byte| *byte == b';').map(trim) {
        let is_first = if let Some(text) = field.strip_prefix(b"Root=") {
            root.replace(trace(text)?).is_none()
        } else if let Some(text) = field.strip_prefix(b"Parent=") {
            parent
                .replace((text.len() == 16).then(|| span_id(text, Case::Any)).flatten()?)
                .is_none()
        } else if let Some(text) = field.strip_prefix(b"Sampled=") {
            sampled.replace(decision(text)?).is_none()
        } else {
            true
        };
        if !is_first {
            return None;
        }
    }
    Some(Carried::Parent(RemoteParent {
        trace: root?,
        span: parent,
        sampled: sampled.unwrap_or(Sampled::Deferred),
        format: ContextFormat::AwsXray,
    }))
}

fn trace(text: &[u8]) -> Option<TraceId> {
    let (seconds, rest) = text.strip_prefix(b"1-")?.split_first_chunk::<8>()?;
    let random: &[u8; 24] = rest.strip_prefix(b"-")?.try_into().ok()?;
    let number = hex(seconds, Case::Any)? << 96 | hex(random, Case::Any)?;
    TraceId::new(number.to_be_bytes())
}

fn decision(text: &[u8]) -> Option<Sampled> {
    match text {
        b"1" => Some(Sampled::Yes),
        b"0" => Some(Sampled::No),
        b"?" => Some(Sampled::Deferred),
        _ => None,
    }
}
