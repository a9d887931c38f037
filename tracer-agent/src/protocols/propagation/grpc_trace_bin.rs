//! `grpc-trace-bin` by OpenCensus (specs/encodings/BinaryEncoding.md), as gRPC sends what is binary: in base64, padded or not.
//!
//! Version 0: fields in the order of their numbers, each a byte with its number and its value: 0 the trace of 16 bytes, 1 the span of
//! 8, 2 the options of one. What begins with another number ends what is known.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{Carried, Malformed, headers::Headers};
use crate::{
    ids::{SpanId, TraceId},
    protocols::exchange::{ContextFormat, RemoteParent, Sampled},
};

pub(super) const GRPC_TRACE_BIN: &str = "grpc-trace-bin";

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Room for what later versions may add.
const MAX: usize = 96;

/// The lowest bit of the options: the caller traces this request.
const SAMPLED: u8 = 1 << 0;

pub(super) fn read(headers: Headers<'_, '_>) -> Result<Option<Carried>, Malformed> {
    headers.parsed(GRPC_TRACE_BIN, parse)
}

fn parse(value: &[u8]) -> Option<Carried> {
    let mut room = [0; MAX];
    let len = ENGINE.decode_slice(value, &mut room).ok()?;
    let (trace, rest) = room.get(..len)?.strip_prefix(&[0, 0])?.split_first_chunk()?;
    let (span, rest) = match rest {
        [1, rest @ ..] => {
            let (span, rest) = rest.split_first_chunk()?;
            (SpanId::new(*span), rest)
        }
        _ => (None, rest),
    };
    let sampled = match rest {
        [2, options, ..] if options & SAMPLED != 0 => Sampled::Yes,
        [2, _, ..] => Sampled::No,
        [2] => return None,
        _ => Sampled::Deferred,
    };
    Some(Carried::Parent(RemoteParent {
        trace: TraceId::new(*trace)?,
        span,
        sampled,
        format: ContextFormat::GrpcTraceBin,
    }))
}
