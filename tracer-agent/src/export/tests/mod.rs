//! The exporters against backends: what they must survive, and what independent implementations make of them.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests measure how long real backends are waited for"
)]

use std::sync::{Arc, Mutex};

use super::report::Notify;
use crate::{
    capture::input::{AttributeValue, HostInfo, ProcessInfo},
    ids::{SpanId, TraceId},
    spans::{
        Span,
        span::{SpanKind, SpanLink, SpanStatus},
    },
};

pub mod backend;
mod changing;
mod cost;
mod durable;
mod endpoints;
mod failures;
mod independent;
mod killed;
mod passage;
mod tls;

pub const MILLI: u64 = 1_000_000;
/// 2023-11-14T22:13:20Z
const EPOCH: u64 = 1_700_000_000_000_000_000;

pub fn host() -> HostInfo {
    HostInfo {
        host_name: "shop-1".into(),
        host_id: Some("0123456789abcdef0123456789abcdef".into()),
        host_arch: "amd64".into(),
        os_type: "linux".into(),
        os_version: "6.12.0".into(),
        ..HostInfo::default()
    }
}

pub fn process(pid: u32, service: &str) -> Arc<ProcessInfo> {
    Arc::new(ProcessInfo {
        pid,
        comm: "python3".into(),
        service_name: service.into(),
        resource: vec![
            ("process.pid".into(), AttributeValue::Int(pid.into())),
            ("process.executable.name".into(), text("python3")),
        ],
        ..ProcessInfo::default()
    })
}

pub fn text(text: &str) -> AttributeValue {
    AttributeValue::Text(text.to_owned().into())
}

pub fn trace_id(number: u8) -> TraceId {
    TraceId::new([number; 16]).unwrap()
}

pub fn span_id(number: u8) -> SpanId {
    SpanId::new([number; 8]).unwrap()
}

/// A span of trace 1: `GET path` answered with 200 by the process, from `start` to `end` milliseconds.
pub fn span(
    id: u8,
    parent: u8,
    process: &Arc<ProcessInfo>,
    kind: SpanKind,
    path: &str,
    times: (u64, u64),
) -> Span {
    let mut attributes = vec![
        ("http.request.method", text("GET")),
        ("http.response.status_code", AttributeValue::Int(200)),
    ];
    match kind {
        SpanKind::Server => attributes.push(("url.path", text(path))),
        SpanKind::Client => attributes.extend([
            ("url.full", text(&format!("http://127.0.0.1:9000{path}"))),
            ("server.address", text("127.0.0.1")),
            ("server.port", AttributeValue::Int(9000)),
        ]),
    }
    Span {
        trace: trace_id(1),
        id: span_id(id),
        parent: (parent != 0).then(|| span_id(parent)),
        parent_is_remote: parent != 0 && kind == SpanKind::Server,
        trace_flags: 1,
        tracestate: String::new(),
        name: "GET".into(),
        kind,
        start_unix_ns: EPOCH + times.0 * MILLI,
        end_unix_ns: EPOCH + times.1 * MILLI,
        status: SpanStatus::Unset,
        attributes,
        header_attributes: Vec::new(),
        links: Vec::new(),
        process: process.clone(),
    }
}

/// One checkout of a shop with a slow bank: nine spans of five services, with everything a span can carry.
pub fn checkout() -> Vec<Span> {
    use SpanKind::{Client, Server};
    let [gateway, auth, orders, inventory, payment] = [
        (11, "gateway"),
        (12, "auth"),
        (13, "orders"),
        (14, "inventory"),
        (15, "payment"),
    ]
    .map(|(pid, service)| process(pid, service));
    let mut spans = vec![
        span(1, 0, &gateway, Server, "/checkout", (0, 842)),
        span(2, 1, &gateway, Client, "/verify", (3, 15)),
        span(3, 2, &auth, Server, "/verify", (4, 14)),
        span(4, 1, &gateway, Client, "/orders", (18, 838)),
        span(5, 4, &orders, Server, "/orders", (19, 837)),
        span(6, 5, &orders, Client, "/reserve", (22, 40)),
        span(7, 6, &inventory, Server, "/reserve", (23, 39)),
        span(8, 5, &orders, Client, "/pay", (42, 834)),
        span(9, 8, &payment, Server, "/pay", (43, 833)),
        span(10, 9, &payment, Client, "/charge", (45, 830)),
    ];
    spans[0].tracestate = "vendor=1".into();
    spans[0].header_attributes = vec![(
        "http.request.header.x-shop".into(),
        AttributeValue::List(["a".into(), "b".into()].into()),
    )];
    spans[6].status = SpanStatus::Error;
    spans[6].attributes[1].1 = AttributeValue::Int(503);
    spans[6].attributes.push(("error.type", text("503")));
    spans[7].links = vec![SpanLink {
        trace: trace_id(2),
        span: span_id(0x77),
        attributes: vec![("tracer.link.confidence", AttributeValue::Double(0.62))],
    }];
    for (span, evidence) in spans
        .iter_mut()
        .skip(1)
        .zip(["task", "connection"].into_iter().cycle())
    {
        span.attributes.push(("tracer.link.evidence", text(evidence)));
        span.attributes
            .push(("tracer.incomplete", AttributeValue::Bool(false)));
    }
    spans
}

/// `count` spans that differ in their ids alone.
pub fn many(count: u32) -> Vec<Span> {
    let process = process(20, "many");
    (1..=count)
        .map(|number| Span {
            id: SpanId::new(u64::from(number).to_be_bytes()).unwrap(),
            ..span(1, 0, &process, SpanKind::Server, "/", (0, 1))
        })
        .collect()
}

/// Keeps notices for the test to look at.
pub fn listener() -> (Notify, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = heard.clone();
    (
        Arc::new(move |notice| sink.lock().unwrap().push(notice.to_string())),
        heard,
    )
}
