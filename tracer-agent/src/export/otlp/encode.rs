//! Spans to the bytes of an `ExportTraceServiceRequest`, for gRPC and HTTP, without the messages in between:
//! those are an allocation for each key, id and text. The bytes are those of [`mapping::request`], encoded.

use std::{collections::HashMap, sync::Arc};

use bytes::BufMut as _;
use opentelemetry_proto::tonic::trace::v1::{span, status::StatusCode};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, message};

use super::mapping;
use crate::{
    capture::input::{AttributeValue, HostInfo},
    ids::SpanId,
    spans::{
        Span,
        span::{SpanKind, SpanLink, SpanStatus},
    },
};

/// Bytes of the length of a usual batch, of a usual span, and of a text that is not [`SHORT`].
const OF_BATCH: usize = 3;
const OF_SPAN: usize = 2;
const OF_LONG: usize = 2;
/// Key and text of an attribute that take less have lengths of one byte, with what is around them.
const SHORT: usize = 0x80 - 6;
/// Room for a span with its texts, so that a usual batch is one allocation.
const USUAL_SPAN: usize = 768;

/// The request that carries these spans; resources in the order in which their first spans come.
pub fn request(spans: &[Span], host: &HostInfo) -> Vec<u8> {
    let mut out = Vec::with_capacity(spans.len() * USUAL_SPAN);
    let scope = mapping::scope();
    for group in by_process(spans) {
        nested::<OF_BATCH>(&mut out, 1, |out| {
            if let Some(first) = group.first() {
                message::encode(1, &mapping::resource(&first.process, host), out);
            }
            nested::<OF_BATCH>(out, 2, |out| {
                message::encode(1, &scope, out);
                for span in group {
                    nested::<OF_SPAN>(out, 2, |out| put_span(out, span));
                }
            });
        });
    }
    out
}

fn by_process(spans: &[Span]) -> Vec<Vec<&Span>> {
    let mut places = HashMap::<usize, usize, foldhash::fast::RandomState>::default();
    let mut groups: Vec<Vec<&Span>> = Vec::new();
    for span in spans {
        let place = *places
            .entry(Arc::as_ptr(&span.process).addr())
            .or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
        if let Some(group) = groups.get_mut(place) {
            group.push(span);
        }
    }
    groups
}

/// The body of `Span`, fields in the order of their tags.
fn put_span(out: &mut Vec<u8>, span: &Span) {
    put_bytes(out, 1, &span.trace.bytes());
    put_bytes(out, 2, &span.id.bytes());
    put_text(out, 3, &span.tracestate);
    if let Some(parent) = span.parent.map(SpanId::bytes) {
        put_bytes(out, 4, &parent);
    }
    put_text(out, 5, &span.name);
    put_enum(
        out,
        6,
        match span.kind {
            SpanKind::Server => span::SpanKind::Server.into(),
            SpanKind::Client => span::SpanKind::Client.into(),
        },
    );
    put_time(out, 7, span.start_unix_ns);
    put_time(out, 8, span.end_unix_ns);
    for (key, value) in &span.attributes {
        put_attribute(out, 9, key, value);
    }
    for (key, value) in &span.header_attributes {
        put_attribute(out, 9, key, value);
    }
    for link in &span.links {
        nested::<1>(out, 13, |out| put_link(out, link));
    }
    if span.status == SpanStatus::Error {
        nested::<1>(out, 15, |out| put_enum(out, 3, StatusCode::Error.into()));
    }
    encode_key(16, WireType::ThirtyTwoBit, out);
    out.put_u32_le(mapping::flags(span));
}

fn put_link(out: &mut Vec<u8>, link: &SpanLink) {
    put_bytes(out, 1, &link.trace.bytes());
    put_bytes(out, 2, &link.span.bytes());
    for (key, value) in &link.attributes {
        put_attribute(out, 4, key, value);
    }
}

fn put_attribute(out: &mut Vec<u8>, number: u32, key: &str, value: &AttributeValue) {
    let AttributeValue::Text(text) = value else {
        return put_key_and_value::<1>(out, number, key, value);
    };
    let (1.., 0..SHORT) = (key.len(), key.len() + text.len()) else {
        return put_key_and_value::<OF_LONG>(out, number, key, value);
    };
    // Nearly all are these: their lengths are known before and take a byte, and so does each tag.
    let [of_key, of_text] = [key.len(), text.len()].map(|len| u8::try_from(len).unwrap_or_default());
    let tag = |number: u32| u8::try_from(number << 3 | WireType::LengthDelimited as u32).unwrap_or_default();
    out.extend_from_slice(&[tag(number), of_key + of_text + 6, tag(1), of_key]);
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(&[tag(2), of_text + 2, tag(1), of_text]);
    out.extend_from_slice(text.as_bytes());
}

fn put_key_and_value<const KEPT: usize>(out: &mut Vec<u8>, number: u32, key: &str, value: &AttributeValue) {
    nested::<KEPT>(out, number, |out| {
        put_text(out, 1, key);
        nested::<KEPT>(out, 2, |out| put_value(out, value));
    });
}

/// The body of `AnyValue`: a `oneof`, which is written also if it is 0 or empty.
fn put_value(out: &mut Vec<u8>, value: &AttributeValue) {
    match value {
        AttributeValue::Text(text) => put_bytes(out, 1, text.as_bytes()),
        AttributeValue::Bool(value) => {
            put_key(out, 2, WireType::Varint);
            out.push(u8::from(*value));
        }
        AttributeValue::Int(value) => {
            put_key(out, 3, WireType::Varint);
            encode_varint(value.cast_unsigned(), out);
        }
        AttributeValue::Double(value) => {
            put_key(out, 4, WireType::SixtyFourBit);
            out.put_f64_le(*value);
        }
        AttributeValue::List(texts) => nested::<1>(out, 5, |out| {
            for text in texts {
                nested::<1>(out, 1, |out| put_bytes(out, 1, text.as_bytes()));
            }
        }),
    }
}

/// A field of a text; none if it is empty, which is the default.
fn put_text(out: &mut Vec<u8>, tag: u32, text: &str) {
    if !text.is_empty() {
        put_bytes(out, tag, text.as_bytes());
    }
}

/// A field of Unix nanoseconds; none if they are 0, which is the default.
fn put_time(out: &mut Vec<u8>, tag: u32, nanos: u64) {
    if nanos != 0 {
        put_key(out, tag, WireType::SixtyFourBit);
        out.put_u64_le(nanos);
    }
}

/// A field of an enumeration, whose values are never negative.
fn put_enum(out: &mut Vec<u8>, tag: u32, value: i32) {
    put_key(out, tag, WireType::Varint);
    encode_varint(value.unsigned_abs().into(), out);
}

fn put_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    put_key(out, tag, WireType::LengthDelimited);
    put_varint(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// [`encode_key`] of what takes one byte, as nearly all do.
fn put_key(out: &mut Vec<u8>, tag: u32, wire_type: WireType) {
    match u8::try_from(tag << 3 | wire_type as u32) {
        Ok(key @ ..0x80) => out.push(key),
        _ => encode_key(tag, wire_type, out),
    }
}

/// [`encode_varint`] of what takes one byte, as nearly all do.
fn put_varint(out: &mut Vec<u8>, value: usize) {
    match u8::try_from(value) {
        Ok(value @ ..0x80) => out.push(value),
        _ => encode_varint(value as u64, out),
    }
}

/// A field of a message, whose length is known only behind it: so many bytes are kept for it, and what stands behind it is moved if
/// it takes others. That is cheaper than a second look at every field.
fn nested<const KEPT: usize>(out: &mut Vec<u8>, tag: u32, body: impl FnOnce(&mut Vec<u8>)) {
    put_key(out, tag, WireType::LengthDelimited);
    let place = out.len();
    out.extend_from_slice(&[0; KEPT]);
    body(out);
    let len = out.len() - place - KEPT;
    match (u8::try_from(len), out.get_mut(place..place + KEPT)) {
        (Ok(len @ ..0x80), Some([byte])) => *byte = len,
        (_, room) => {
            let mut prefix = [0; 10];
            encode_varint(len as u64, &mut prefix.as_mut_slice());
            let prefix = prefix.get(..encoded_len_varint(len as u64)).unwrap_or_default();
            match room {
                Some(room) if room.len() == prefix.len() => room.copy_from_slice(prefix),
                _ => drop(out.splice(place..place + KEPT, prefix.iter().copied())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use proptest::{collection::vec, num, option, prelude::*};
    use prost::Message as _;

    use super::*;
    use crate::{
        capture::input::ProcessInfo,
        export::tests::{checkout, host, process},
        ids::TraceId,
    };

    const KEYS: [&str; 4] = ["", "url.path", "http.response.status_code", "k"];

    fn assert_same(spans: Vec<Span>, host: &HostInfo) {
        let bytes = request(&spans, host);
        let expected = mapping::request(spans, host);
        assert_eq!(
            ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap(),
            expected
        );
        assert!(
            bytes == expected.encode_to_vec(),
            "the same message, but other bytes"
        );
    }

    /// On both sides of where a length takes another byte.
    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            8 => "\\PC{0,12}",
            2 => (100_usize..150).prop_map(|len| "x".repeat(len)),
            1 => (16_300_usize..16_400).prop_map(|len| "y".repeat(len)),
        ]
    }

    fn any_value() -> impl Strategy<Value = AttributeValue> {
        // NaN is like nothing, also where it arrives as it was sent.
        let double = num::f64::NORMAL | num::f64::SUBNORMAL | num::f64::ZERO | num::f64::INFINITE;
        prop_oneof![
            any_text().prop_map(|text| AttributeValue::Text(text.into())),
            any::<bool>().prop_map(AttributeValue::Bool),
            prop_oneof![any::<i64>(), -1_i64..300].prop_map(AttributeValue::Int),
            double.prop_map(AttributeValue::Double),
            vec(any_text(), 0..4).prop_map(|texts| AttributeValue::List(texts.into_iter().collect())),
        ]
    }

    fn any_attributes() -> impl Strategy<Value = Vec<(&'static str, AttributeValue)>> {
        vec((prop::sample::select(&KEYS[..]), any_value()), 0..4)
    }

    fn any_span_id() -> impl Strategy<Value = SpanId> {
        any::<[u8; 8]>().prop_filter_map("zero", SpanId::new)
    }

    fn any_trace_id() -> impl Strategy<Value = TraceId> {
        any::<[u8; 16]>().prop_filter_map("zero", TraceId::new)
    }

    fn any_link() -> impl Strategy<Value = SpanLink> {
        (any_trace_id(), any_span_id(), any_attributes()).prop_map(|(trace, span, attributes)| SpanLink {
            trace,
            span,
            attributes,
        })
    }

    fn any_span(processes: Vec<Arc<ProcessInfo>>) -> BoxedStrategy<Span> {
        let ids = (any_trace_id(), any_span_id(), option::of(any_span_id()));
        let context = (any::<bool>(), any::<u8>(), any_text());
        let kind = prop::sample::select(vec![SpanKind::Server, SpanKind::Client]);
        let status = prop::sample::select(vec![SpanStatus::Unset, SpanStatus::Error]);
        let times = (prop_oneof![Just(0), any::<u64>()], any::<u64>());
        let what = (any_text(), kind, status, times);
        let texts = (
            any_attributes(),
            vec((any_text(), any_value()), 0..3),
            vec(any_link(), 0..3),
        );
        (ids, context, what, texts, prop::sample::select(processes))
            .prop_map(|(ids, context, what, texts, process)| Span {
                trace: ids.0,
                id: ids.1,
                parent: ids.2,
                parent_is_remote: context.0,
                trace_flags: context.1,
                tracestate: context.2,
                name: what.0.into(),
                kind: what.1,
                status: what.2,
                start_unix_ns: what.3.0,
                end_unix_ns: what.3.1,
                attributes: texts.0,
                header_attributes: texts.1,
                links: texts.2,
                process,
            })
            .boxed()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn the_bytes_are_those_of_the_messages(
            spans in vec(any_span(vec![process(1, "a"), process(2, "b"), process(3, "")]), 0..9),
        ) {
            assert_same(spans, &host());
        }
    }

    #[test]
    fn everything_that_is_empty_is_encoded_like_the_messages() {
        let mut spans = checkout();
        let nothing = Arc::new(ProcessInfo::default());
        for span in &mut spans {
            span.process = nothing.clone();
            span.attributes = vec![
                ("", AttributeValue::Text("".into())),
                ("list", AttributeValue::List(Default::default())),
                ("zero", AttributeValue::Int(0)),
                ("false", AttributeValue::Bool(false)),
                ("none", AttributeValue::Double(0.0)),
            ];
            span.name = "".into();
            span.start_unix_ns = 0;
        }
        assert_same(spans, &HostInfo::default());
        assert_same(Vec::new(), &HostInfo::default());
    }

    #[test]
    fn a_batch_whose_length_takes_four_bytes_is_encoded_like_the_messages() {
        let mut spans = checkout();
        spans[0]
            .attributes
            .push(("big", AttributeValue::Text("x".repeat(3 << 20).into())));
        assert_same(spans, &host());
    }
}
