//! What becomes of a conversation however it was captured. Formats and headers have tests of their own.

mod captures;
mod orders;
pub(super) mod wire;

use std::path::Path;

use super::*;
use crate::{
    pipeline::{Pipeline, Settings},
    spans::{Span, span::SpanKind},
};
use wire::{Conversation, Sent};

/// Spans of segments as they were captured, and what was counted.
fn spans(segments: &[Sent]) -> (Vec<Span>, CaptureCounters) {
    let file = wire::pcap(segments.iter().map(|sent| (sent.at, sent.packet())));
    spans_of(&file)
}

/// Spans of a file, and what was counted.
fn spans_of(file: &[u8]) -> (Vec<Span>, CaptureCounters) {
    let mut settings = Settings::default();
    settings.correlate.wait_timing_ns = 0;
    settings.correlate.instrumented = crate::correlate::Instrumented::Keep;
    let mut pipeline = Pipeline::new(settings);
    let mut capture = Capture::start(file, Path::new("test.pcap")).unwrap();
    let mut spans = Vec::new();
    while let Some(input) = capture.next_input().unwrap() {
        pipeline.push(&input, &mut spans);
    }
    let counters: Vec<_> = pipeline.counters();
    let broken = |what: &str| counters.iter().find(|(_, name, _)| *name == what).unwrap().2;
    assert_eq!(broken("malformed_records"), 0);
    assert_eq!(broken("overlapping_records"), 0);
    assert_eq!(broken("open_lost"), 0);
    (spans, capture.counters())
}

/// What a span tells: who, method, path (of a server), status, and whether something of it is missing.
fn told(span: &Span) -> (SpanKind, String, String, Option<i64>, bool) {
    use crate::capture::input::AttributeValue::{Bool, Int, Text};
    let find = |key: &str| {
        span.attributes
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    };
    let text = |key: &str| match find(key) {
        Some(Text(text)) => text.to_string(),
        _ => String::new(),
    };
    let status = match find("http.response.status_code") {
        Some(Int(status)) => Some(*status),
        _ => None,
    };
    let path = match span.kind {
        SpanKind::Server => text("url.path"),
        _ => text("url.full")
            .split('/')
            .skip(3)
            .fold(String::new(), |path, part| path + "/" + part),
    };
    let is_incomplete = find("tracer.incomplete") == Some(&Bool(true));
    (
        span.kind,
        text("http.request.method"),
        path,
        status,
        is_incomplete,
    )
}

/// The exchanges that servers saw.
fn served(spans: &[Span]) -> Vec<(String, String, Option<i64>, bool)> {
    let mut served: Vec<_> = spans
        .iter()
        .map(told)
        .filter(|(kind, ..)| *kind == SpanKind::Server)
        .map(|(_, method, path, status, is_incomplete)| (method, path, status, is_incomplete))
        .collect();
    served.sort();
    served
}

fn whole(method: &str, path: &str, status: i64) -> (String, String, Option<i64>, bool) {
    (method.into(), path.into(), Some(status), false)
}

fn one_exchange() -> Conversation {
    Conversation::begun()
        .request(b"GET /a HTTP/1.1\r\nhost: b\r\n\r\n")
        .response(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes")
}

#[test]
fn an_exchange_is_the_span_of_its_client_and_of_its_server() {
    let (spans, counters) = spans(&one_exchange().finished().segments);
    let [server, client] = <[Span; 2]>::try_from(spans)
        .map(|[a, b]| {
            if a.kind == SpanKind::Server {
                [a, b]
            } else {
                [b, a]
            }
        })
        .unwrap();
    assert_eq!(
        told(&client),
        (SpanKind::Client, "GET".into(), "/a".into(), Some(200), false)
    );
    assert_eq!(
        told(&server),
        (SpanKind::Server, "GET".into(), "/a".into(), Some(200), false)
    );
    assert_eq!((server.trace, server.parent), (client.trace, Some(client.id)));
    assert_eq!(client.process.service_name, "unknown_service:10.0.0.1");
    assert_eq!(server.process.service_name, "unknown_service:10.0.0.2");
    // Unix time, as the packets have it: the request, and the last byte of the response.
    let start = wire::START + 3 * wire::STEP;
    assert_eq!(
        (server.start_unix_ns, server.end_unix_ns),
        (start, start + wire::STEP)
    );
    assert_eq!(
        (counters.packets, counters.tcp_connections, counters.holes),
        (7, 1, 0)
    );
}

#[test]
fn what_was_not_seen_to_begin_is_joined_and_roles_are_told_by_what_is_said() {
    let whole_conversation = one_exchange();
    let (spans, _) = spans(&whole_conversation.segments[3..]);
    assert_eq!(served(&spans), [whole("GET", "/a", 200)]);
    // The response comes first: it is of a request before the capture.
    let late = one_exchange()
        .request(b"GET /b HTTP/1.1\r\n\r\n")
        .response(b"HTTP/1.1 204 \r\n\r\n");
    let (spans, _) = self::spans(&late.segments[4..]);
    assert_eq!(served(&spans), [whole("GET", "/b", 204)]);
}

#[test]
fn a_syn_tells_who_connected_whatever_the_ports_are() {
    let (spans, _) = spans(&one_exchange().between_ports(80, 40_000).segments);
    let server = spans.iter().find(|span| span.kind == SpanKind::Server).unwrap();
    assert_eq!(server.process.service_name, "unknown_service:10.0.0.2");
}

#[test]
fn a_server_that_resets_is_an_error_and_a_client_that_is_refused_too() {
    let asked = || Conversation::begun().request(b"GET /a HTTP/1.1\r\n\r\n");
    let error = |segments: &[Sent], kind| {
        let (spans, _) = spans(segments);
        let span = spans.into_iter().find(|span| span.kind == kind).unwrap();
        let error = span.attributes.into_iter().find(|(key, _)| *key == "error.type");
        format!("{:?}", error.unwrap().1)
    };
    let reset = asked().reset_by_server();
    assert!(error(&reset.segments, SpanKind::Client).contains("connection_reset"));
    assert!(error(&reset.segments, SpanKind::Server).contains("connection_closed"));
    let refused = Conversation::refused();
    assert!(error(&refused.segments, SpanKind::Client).contains("ECONNREFUSED"));
}

#[test]
fn a_capture_that_ends_before_the_response_claims_nothing_of_it() {
    let (spans, _) = spans(&Conversation::begun().request(b"GET /a HTTP/1.1\r\n\r\n").segments);
    assert_eq!(served(&spans), [("GET".into(), "/a".into(), None, true)]);
    assert!(
        spans
            .iter()
            .all(|span| span.attributes.iter().all(|(key, _)| *key != "error.type"))
    );
}

#[test]
fn only_one_direction_in_the_capture_is_an_exchange_without_response() {
    let all = one_exchange()
        .request(b"GET /b HTTP/1.1\r\n\r\n")
        .response(b"HTTP/1.1 200 \r\n\r\n");
    let requests: Vec<_> = all
        .segments
        .iter()
        .filter(|sent| sent.is_of_client)
        .cloned()
        .collect();
    let (spans, counters) = spans(&requests);
    assert_eq!(
        served(&spans),
        [
            ("GET".into(), "/a".into(), None, true),
            ("GET".into(), "/b".into(), None, true)
        ]
    );
    assert!(
        counters.holes > 0,
        "the acknowledgements tell of bytes that are not there"
    );
}

#[test]
fn a_body_that_ends_with_its_connection_is_whole_when_the_server_finishes() {
    let until_close = Conversation::begun()
        .request(b"GET /a HTTP/1.0\r\n\r\n")
        .response(b"HTTP/1.0 200 OK\r\n\r\nall of it");
    let (before, _) = spans(&until_close.segments);
    assert_eq!(served(&before), [("GET".into(), "/a".into(), Some(200), true)]);
    let (after, _) = spans(&until_close.server_finished().segments);
    assert_eq!(served(&after), [whole("GET", "/a", 200)]);
}

#[test]
fn addresses_that_are_used_again_are_another_connection() {
    let mut segments = one_exchange().segments;
    let again = Conversation::begun_at(900_000, 5_000_000)
        .request(b"GET /b HTTP/1.1\r\n\r\n")
        .response(b"HTTP/1.1 201 \r\ncontent-length: 0\r\n\r\n");
    segments.extend(again.segments.into_iter().map(|sent| sent.later(40 * wire::STEP)));
    let (spans, counters) = spans(&segments);
    assert_eq!(served(&spans), [whole("GET", "/a", 200), whole("GET", "/b", 201)]);
    assert_eq!(counters.tcp_connections, 2);
}

#[test]
fn keep_alive_probes_are_no_bytes() {
    let mut conversation = one_exchange();
    conversation.probe();
    let conversation = conversation
        .request(b"GET /b HTTP/1.1\r\n\r\n")
        .response(b"HTTP/1.1 204 \r\n\r\n");
    let (spans, counters) = spans(&conversation.segments);
    assert_eq!(served(&spans), [whole("GET", "/a", 200), whole("GET", "/b", 204)]);
    assert_eq!((counters.holes, counters.repeated_segments), (0, 1));
}

#[test]
fn a_trace_header_and_a_request_id_that_are_passed_on_link_and_nothing_else_does() {
    let hops = |header: &str| {
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n{header}\r\n").into_bytes();
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let outer = Conversation::begun().request(&request("/outer"));
        let inner = Conversation::begun()
            .between(2, 3)
            .request(&request("/inner"))
            .response(response);
        let mut segments = outer.segments.clone();
        segments.extend(inner.segments.into_iter().map(|sent| sent.later(4 * wire::STEP)));
        let done = outer.response(response).segments.split_off(4);
        segments.extend(done.into_iter().map(|sent| sent.later(8 * wire::STEP)));
        let (spans, _) = spans(&segments);
        let find = |path: &str, kind| {
            let found = spans
                .iter()
                .find(|span| told(span).0 == kind && told(span).2 == path);
            found.unwrap().clone()
        };
        (find("/outer", SpanKind::Server), find("/inner", SpanKind::Client))
    };
    for header in [
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
        "x-request-id: 5f1d7c6e-9a1b-4c7f\r\n",
    ] {
        let (outer, inner) = hops(header);
        assert_eq!(inner.parent, Some(outer.id), "{header}");
    }
    let (outer, inner) = hops("");
    assert_eq!(inner.parent, None);
    assert_ne!(inner.trace, outer.trace);
}

#[test]
fn what_is_not_http_is_counted_and_gives_no_span() {
    let startup = b"\x00\x00\x00\x08\x04\xd2\x16\x2fN\x00\x00\x00";
    let (none, _) = spans(&Conversation::begun().request(startup).segments);
    assert!(none.is_empty());
    let joined = Conversation::begun().request(b"\x16\x03\x01\x00\x02hi");
    let (none, counters) = spans(&joined.segments[3..]);
    assert!(none.is_empty());
    assert_eq!(counters.connections_without_http, 1);
}

#[test]
fn the_same_file_gives_the_same_ids_and_another_one_others() {
    let segments = one_exchange().segments;
    let [once, twice] = [spans(&segments).0, spans(&segments).0];
    assert_eq!(
        once.iter().map(|span| span.id).collect::<Vec<_>>(),
        twice.iter().map(|span| span.id).collect::<Vec<_>>()
    );
    let later: Vec<_> = segments.iter().map(|sent| sent.clone().later(1_000)).collect();
    assert_ne!(once[0].id, spans(&later).0[0].id);
}
