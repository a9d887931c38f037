//! Whole spans, as the conventions want them.

mod rpc;

use std::sync::Arc;

use crate::{
    capture::{
        HostInfo, ProcessInfo,
        address::{Address, Pair},
        input::AttributeValue,
    },
    correlate::{Candidate, Evidence, Linked, Observed, Parent},
    ids::{BootNanos, ConnectionId, Pid, SpanId, Task, TraceId},
    protocols::{
        Exchange, ExchangeId, Grpc,
        exchange::{
            ConnectFailure, Cover, Ending, Failure, OtherEnd, Request, Response, Side, Version, WireContext,
        },
    },
};

use super::{
    Builder, Route, Settings, Span,
    span::{SpanKind, SpanStatus},
};

const TASK: Task = Task {
    pid: Pid(42),
    tid: 42,
    context: 0,
};

fn exchange(side: Side, method: &str, target: &str, host: Option<&str>) -> Exchange {
    let (client, server) = (([10, 0, 0, 7], 40_000).into(), ([10, 0, 0, 9], 8080).into());
    let (local, peer) = match side {
        Side::Inbound => (server, client),
        Side::Outbound => (client, server),
    };
    Exchange {
        id: ExchangeId(1),
        side,
        connection: ConnectionId(1),
        local,
        peer,
        path: None,
        netns: 1,
        request_seq: 1,
        cover: Cover::None,
        start: BootNanos(5_000),
        task: TASK,
        maker: None,
        coroutine: None,
        handed: false,
        multiplexed: false,
        moment: None,
        head_end: BootNanos(5_100),
        request: Request {
            method: method.into(),
            target: target.into(),
            version: Version::Http1(1),
            scheme: None,
            grpc: None,
            host: host.map(Into::into),
            user_agent: Some("curl/8".into()),
            captured_headers: Vec::new(),
        },
        context: WireContext::default(),
        other_end: OtherEnd::Untraced,
        unseen: false,
        incomplete: false,
        rule: None,
    }
}

fn answer(status: u16) -> Ending {
    Ending {
        end: BootNanos(9_000),
        response: Some(Response {
            status,
            grpc_status: None,
            captured_headers: Vec::new(),
        }),
        response_task: Some(TASK),
        coroutine: None,
        maker: None,
        moment: None,
        request_body: Some(0),
        response_body: Some(512),
        failure: None,
        incomplete: false,
    }
}

fn linked(observed: Observed) -> Linked {
    Linked {
        observed,
        trace: TraceId::new([1; 16]).unwrap(),
        is_sampled: true,
        span: SpanId::new([2; 8]).unwrap(),
        parent: None,
        evidence: None,
        confidence: None,
        tracestate: None,
        has_random_id: true,
        candidates: Vec::new(),
    }
}

fn builder(settings: Settings) -> Builder {
    let host = HostInfo {
        unix_minus_boot_ns: 1_000_000,
        ..HostInfo::default()
    };
    let mut builder = Builder::new(&host, settings);
    builder.on_process_info(Arc::new(ProcessInfo {
        pid: 42,
        service_name: "shop".to_owned(),
        ..ProcessInfo::default()
    }));
    builder
}

fn span_with(settings: Settings, exchange: Exchange, ending: Ending) -> Span {
    builder(settings).build(linked(Observed::Exchange(Box::new(exchange), Box::new(ending))))
}

/// The span of an exchange, where no routes are learned.
fn span(exchange: Exchange, ending: Ending) -> Span {
    let settings = Settings {
        learn_routes: false,
        ..Settings::default()
    };
    span_with(settings, exchange, ending)
}

fn attributes(span: &Span) -> Vec<String> {
    let text = |value: &AttributeValue| match value {
        AttributeValue::Text(text) => text.to_string(),
        AttributeValue::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    span.attributes
        .iter()
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect()
}

fn value(span: &Span, key: &str) -> Option<String> {
    let prefix = format!("{key}=");
    attributes(span)
        .iter()
        .find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
}

#[test]
fn a_server_span_has_the_attributes_of_the_conventions_and_no_others() {
    let span = span(
        exchange(Side::Inbound, "GET", "/cart?user=7", Some("shop.example:8080")),
        answer(200),
    );
    let expected = [
        "http.request.method=GET",
        "url.path=/cart",
        "url.query=user=REDACTED",
        "url.scheme=http",
        "server.address=shop.example",
        "server.port=8080",
        "client.address=10.0.0.7",
        "user_agent.original=curl/8",
        "network.peer.address=10.0.0.7",
        "network.peer.port=40000",
        "network.protocol.version=1.1",
        "http.response.status_code=200",
        "http.request.body.size=0",
        "http.response.body.size=512",
    ];
    assert_eq!(attributes(&span), expected);
    assert_eq!(
        (&*span.name, span.kind, span.status),
        ("GET", SpanKind::Server, SpanStatus::Unset)
    );
    assert_eq!(
        (span.start_unix_ns, span.end_unix_ns, span.trace_flags),
        (1_005_000, 1_009_000, 3)
    );
    assert_eq!(span.process.service_name, "shop");
}

#[test]
fn a_client_span_has_the_attributes_of_the_conventions_and_no_others() {
    let span = span(
        exchange(Side::Outbound, "POST", "/pay", Some("bank")),
        answer(503),
    );
    let expected = [
        "http.request.method=POST",
        "url.full=http://bank/pay",
        "server.address=bank",
        "server.port=80",
        "network.peer.address=10.0.0.9",
        "network.peer.port=8080",
        "network.protocol.version=1.1",
        "http.response.status_code=503",
        "http.request.body.size=0",
        "http.response.body.size=512",
        "error.type=503",
    ];
    assert_eq!(attributes(&span), expected);
    assert_eq!(
        (&*span.name, span.kind, span.status),
        ("POST", SpanKind::Client, SpanStatus::Error)
    );
}

fn over_unix(side: Side, host: Option<&str>) -> Exchange {
    let first = side == Side::Outbound;
    Exchange {
        local: Address::Unix(Pair::Inode(7), first),
        peer: Address::Unix(Pair::Inode(7), !first),
        path: Some("/run/app.sock".into()),
        ..exchange(side, "GET", "/cart", host)
    }
}

#[test]
fn over_a_unix_socket_the_path_is_the_peer_of_the_client_and_nobody_has_a_port() {
    let client = span(over_unix(Side::Outbound, Some("shop")), answer(200));
    let expected = [
        "http.request.method=GET",
        "url.full=http://shop/cart",
        "server.address=shop",
        "network.transport=unix",
        "network.peer.address=/run/app.sock",
        "network.protocol.version=1.1",
        "http.response.status_code=200",
        "http.request.body.size=0",
        "http.response.body.size=512",
    ];
    assert_eq!(attributes(&client), expected);
    let server = span(over_unix(Side::Inbound, None), answer(200));
    let expected = [
        "http.request.method=GET",
        "url.path=/cart",
        "url.scheme=http",
        "server.address=/run/app.sock",
        "user_agent.original=curl/8",
        "network.transport=unix",
        "network.protocol.version=1.1",
        "http.response.status_code=200",
        "http.request.body.size=0",
        "http.response.body.size=512",
    ];
    assert_eq!(attributes(&server), expected);
    let nameless = span(over_unix(Side::Outbound, None), answer(200));
    assert_eq!(
        value(&nameless, "url.full").as_deref(),
        Some("http://localhost/cart")
    );
}

#[test]
fn without_a_usable_host_the_socket_names_the_server() {
    for host in [None, Some("not a host")] {
        let client = span(exchange(Side::Outbound, "GET", "/", host), answer(200));
        assert_eq!(
            value(&client, "url.full").as_deref(),
            Some("http://10.0.0.9:8080/")
        );
        let server = span(exchange(Side::Inbound, "GET", "/", host), answer(200));
        assert_eq!(value(&server, "server.address").as_deref(), Some("10.0.0.9"));
        assert_eq!(value(&server, "server.port").as_deref(), Some("8080"));
    }
}

#[test]
fn an_absolute_target_outranks_the_host_header() {
    let target = "http://user:secret@real.example/a?token=x";
    let client = span(
        exchange(Side::Outbound, "GET", target, Some("proxy")),
        answer(200),
    );
    let expected = "http://REDACTED:REDACTED@real.example/a?token=REDACTED";
    assert_eq!(value(&client, "url.full").as_deref(), Some(expected));
    assert_eq!(value(&client, "server.address").as_deref(), Some("real.example"));
    let server = span(exchange(Side::Inbound, "GET", target, Some("proxy")), answer(200));
    assert_eq!(value(&server, "url.path").as_deref(), Some("/a"));
    assert!(!format!("{client:?}{server:?}").contains("secret"));
}

#[test]
fn the_path_of_a_target_without_one_is_what_its_form_means() {
    for (method, target, path) in [
        ("OPTIONS", "*", "*"),
        ("GET", "http://h", "/"),
        ("CONNECT", "bank.example:443", ""),
    ] {
        let span = span(exchange(Side::Inbound, method, target, Some("h")), answer(200));
        assert_eq!(
            value(&span, "url.path").as_deref(),
            Some(path),
            "{method} {target}"
        );
    }
}

#[test]
fn an_unknown_method_is_other_and_its_span_is_named_http() {
    for method in ["PURGE", "get"] {
        let other = span(exchange(Side::Inbound, method, "/", Some("h")), answer(200));
        assert_eq!(other.name, "HTTP");
        assert_eq!(value(&other, "http.request.method").as_deref(), Some("_OTHER"));
        assert_eq!(
            value(&other, "http.request.method_original").as_deref(),
            Some(method)
        );
    }
    let settings = Settings {
        known_methods: Settings::known_methods_of("PURGE"),
        learn_routes: false,
        ..Settings::default()
    };
    let known = span_with(
        settings,
        exchange(Side::Inbound, "PURGE", "/", Some("h")),
        answer(200),
    );
    assert_eq!(
        (&*known.name, value(&known, "http.request.method_original")),
        ("PURGE", None)
    );
}

#[test]
fn a_configured_route_names_both_ends_and_a_raw_path_never_does() {
    let settings = Settings {
        routes: vec![
            Route::new("/users/{id}").unwrap(),
            Route::new("/{rest...}").unwrap(),
        ],
        ..Settings::default()
    };
    let at = |side| {
        span_with(
            settings.clone(),
            exchange(side, "GET", "/users/7?x=1", Some("h")),
            answer(200),
        )
    };
    let (server, client) = (at(Side::Inbound), at(Side::Outbound));
    assert_eq!([&*server.name, &*client.name], ["GET /users/{id}"; 2]);
    assert_eq!(value(&server, "http.route").as_deref(), Some("/users/{id}"));
    assert_eq!(value(&client, "url.template").as_deref(), Some("/users/{id}"));
    assert_eq!(
        [value(&server, "url.template"), value(&client, "http.route")],
        [None, None]
    );
}

#[test]
fn a_failed_exchange_says_why_and_invents_no_status() {
    for (failure, error) in [
        (Failure::Reset, "connection_reset"),
        (Failure::Closed, "connection_closed"),
        (Failure::Unanswered, "timeout_waiting"),
        (Failure::Errno(110), "ETIMEDOUT"),
    ] {
        let ending = Ending {
            response: None,
            response_body: None,
            failure: Some(failure),
            ..answer(200)
        };
        let span = span(exchange(Side::Inbound, "GET", "/", Some("h")), ending);
        assert_eq!(value(&span, "error.type").as_deref(), Some(error));
        assert_eq!(value(&span, "http.response.status_code"), None);
        assert_eq!(value(&span, "http.response.body.size"), None);
        assert_eq!(span.status, SpanStatus::Error);
    }
}

#[test]
fn a_failed_connect_is_a_client_span_with_its_errno() {
    let failure = ConnectFailure {
        id: ExchangeId(2),
        connection: ConnectionId(2),
        task: TASK,
        peer: "[::ffff:10.0.0.9]:81"
            .parse::<std::net::SocketAddr>()
            .unwrap()
            .into(),
        start: BootNanos(5_000),
        end: BootNanos(6_000),
        errno: 111,
        rule: None,
    };
    let span = builder(Settings::default()).build(linked(Observed::ConnectFailed(Box::new(failure))));
    let expected = [
        "server.address=10.0.0.9",
        "server.port=81",
        "network.peer.address=10.0.0.9",
        "network.peer.port=81",
        "error.type=ECONNREFUSED",
    ];
    assert_eq!(attributes(&span), expected);
    assert_eq!(
        (&*span.name, span.kind, span.status),
        ("connect", SpanKind::Client, SpanStatus::Error)
    );
}

#[test]
fn what_was_lost_is_absent_and_the_span_says_that_it_is_incomplete() {
    let ending = Ending {
        request_body: None,
        incomplete: true,
        end: BootNanos(1_000),
        ..answer(200)
    };
    let span = span(exchange(Side::Inbound, "GET", "/", Some("h")), ending);
    assert_eq!(value(&span, "http.request.body.size"), None);
    assert_eq!(
        span.attributes.last(),
        Some(&("tracer.incomplete", AttributeValue::Bool(true)))
    );
    assert_eq!(
        span.start_unix_ns, span.end_unix_ns,
        "no span ends before it begins"
    );
}

#[test]
fn headers_that_were_asked_for_are_lists_by_name() {
    let mut exchange = exchange(Side::Inbound, "GET", "/", Some("h"));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    exchange.request.captured_headers = vec![header("x-a", "1"), header("x-b", "2"), header("x-a", "3")];
    let mut ending = answer(200);
    ending.response.as_mut().unwrap().captured_headers = vec![header("x-a", "4")];
    let list = |values: &[&str]| AttributeValue::List(values.iter().map(|it| (*it).to_owned()).collect());
    let expected = [
        ("http.request.header.x-a".to_owned(), list(&["1", "3"])),
        ("http.request.header.x-b".to_owned(), list(&["2"])),
        ("http.response.header.x-a".to_owned(), list(&["4"])),
    ];
    assert_eq!(span(exchange, ending).header_attributes, expected);
}

#[test]
fn the_place_in_the_trace_is_carried_over_with_its_evidence() {
    let observed = Observed::Exchange(
        Box::new(exchange(Side::Inbound, "GET", "/", Some("h"))),
        Box::new(answer(200)),
    );
    let (trace, parent) = (TraceId::new([7; 16]).unwrap(), SpanId::new([8; 8]).unwrap());
    let span = builder(Settings::default()).build(Linked {
        parent: Some(Parent {
            span: parent,
            is_remote: true,
            is_local: true,
        }),
        evidence: Some(Evidence::Connection),
        tracestate: Some("vendor=1".into()),
        candidates: vec![Candidate {
            trace,
            span: parent,
            evidence: Evidence::Timing,
            confidence: Some(0.723_9),
        }],
        ..linked(observed)
    });
    assert_eq!((span.parent, span.parent_is_remote), (Some(parent), true));
    assert_eq!(
        value(&span, "tracer.link.evidence").as_deref(),
        Some("connection")
    );
    assert_eq!(span.tracestate, "vendor=1");
    let link = span.links.first().unwrap();
    assert_eq!((link.trace, link.span), (trace, parent));
    let attributes = [
        ("tracer.link.evidence", AttributeValue::Text("timing".into())),
        ("tracer.link.confidence", AttributeValue::Double(0.723)),
    ];
    assert_eq!(link.attributes, attributes);
}

#[test]
fn a_learned_route_names_both_ends_and_says_that_it_was_learned() {
    for (side, key) in [(Side::Inbound, "http.route"), (Side::Outbound, "url.template")] {
        let span = span_with(
            Settings::default(),
            exchange(side, "GET", "/users/42?k=v", Some("shop")),
            answer(200),
        );
        assert_eq!(span.name, "GET /users/{id}");
        assert_eq!(value(&span, key).as_deref(), Some("/users/{id}"));
        assert_eq!(
            value(&span, "tracer.route.learned").as_deref(),
            Some("Bool(true)")
        );
    }
    let missing = span_with(
        Settings::default(),
        exchange(Side::Inbound, "GET", "/wp-admin", Some("shop")),
        answer(404),
    );
    assert_eq!((&*missing.name, value(&missing, "http.route")), ("GET", None));
}

#[test]
fn what_looks_like_a_secret_is_in_no_attribute_and_no_name() {
    let secret = "9f86d081884c7d659a2feaa0c55ad015";
    let target = format!("/reset/{secret};sid={secret}/me@example.com?{secret}=1&k={secret}#{secret}");
    for (side, grpc) in [
        (Side::Inbound, None),
        (Side::Outbound, None),
        (Side::Inbound, Some(Grpc::Native)),
        (Side::Outbound, Some(Grpc::Web)),
    ] {
        let mut exchange = exchange(side, "GET", &target, Some("shop"));
        exchange.request.grpc = grpc;
        exchange.request.captured_headers = ["authorization", "cookie", "x-api-key", "referer"]
            .map(|name| (name.to_owned(), format!("http://h/{secret}")))
            .to_vec();
        let span = span_with(Settings::default(), exchange, answer(200));
        let all = format!("{span:?}");
        assert!(!all.contains(&secret[..8]) && !all.contains("me@"), "{all}");
        assert!(all.contains("REDACTED"));
    }
}

#[test]
fn in_strictness_nothing_tells_of_the_client() {
    let settings = Settings {
        privacy: crate::privacy::Privacy::Strict,
        learn_routes: false,
        ..Settings::default()
    };
    let span = span_with(
        settings,
        exchange(Side::Inbound, "GET", "/users/alice?k=v", Some("shop")),
        answer(200),
    );
    for key in ["client.address", "network.peer.address", "user_agent.original"] {
        assert_eq!(value(&span, key), None, "{key}");
    }
    assert_eq!(value(&span, "url.path").as_deref(), Some("/REDACTED"));
    assert_eq!(value(&span, "url.query").as_deref(), Some("REDACTED"));
}
