//! Which spans are counted where.

use super::{call, request, set};
use crate::{
    capture::input::AttributeValue,
    export::tests::{process, text},
    metrics::{Family, Measures, Settings, Value, series::OVERFLOW},
    spans::{Span, span::SpanStatus},
};

const SECOND: u64 = 1_000_000_000;

fn measured(spans: &[Span]) -> Measures {
    let mut measures = Measures::new(Settings::default());
    spans.iter().for_each(|span| measures.observe(span));
    measures
}

fn family<'a>(families: &'a [Family], name: &str) -> &'a Family {
    let found = families.iter().find(|family| family.name == name);
    found.unwrap_or_else(|| panic!("{name} is missing"))
}

/// Each series of a metric: its labels, and how many were counted.
fn counts(families: &[Family], name: &str) -> Vec<(String, u64)> {
    let mut counts: Vec<_> = family(families, name)
        .points
        .iter()
        .map(|point| {
            let labels = point.labels.iter().map(|(key, value)| match value {
                AttributeValue::Text(text) => format!("{key}={text}"),
                AttributeValue::Int(number) => format!("{key}={number}"),
                other => format!("{key}={other:?}"),
            });
            let count = match &point.value {
                Value::Whole(count) => *count,
                Value::Histogram(histogram) => histogram.count(),
                Value::Real(_) => panic!("no count"),
            };
            (labels.collect::<Vec<_>>().join(" "), count)
        })
        .collect();
    counts.sort();
    counts
}

#[test]
fn requests_are_counted_by_the_labels_of_the_conventions_and_never_by_path() {
    let mut failed = request(3, 0, 503, (0, 30));
    set(&mut failed, "error.type", text("503"));
    set(&mut failed, "http.route", text("/orders/{id}"));
    let spans = [request(1, 0, 200, (0, 3)), request(2, 0, 200, (0, 7)), failed];
    let families = measured(&spans).families();
    let common = "url.scheme=http";
    assert_eq!(
        counts(&families, "http.server.request.duration"),
        [
            (format!("http.request.method=GET http.response.status_code=200 network.protocol.version=1.1 {common}"), 2),
            (format!("http.request.method=GET {} http.response.status_code=503 network.protocol.version=1.1 {common} error.type=503 http.route=/orders/{{id}}", "").replace("  ", " "), 1),
        ]
    );
    let points = &family(&families, "http.server.request.duration").points;
    let whole = format!("{points:?}");
    assert!(!whole.contains("secret"), "{whole}");
    assert_eq!(points[0].service[0], ("service.name", text("shop")));
    let Value::Histogram(histogram) = &points.iter().find(|point| point.labels.len() == 4).unwrap().value
    else {
        panic!("no histogram")
    };
    assert_eq!(histogram.counts()[..3], [1, 1, 0], "3 ms and 7 ms");
    assert!((histogram.sum_seconds() - 0.010).abs() < 1e-9);
}

#[test]
fn a_span_that_is_not_sampled_is_counted_and_is_no_exemplar() {
    let mut unsampled = request(1, 0, 200, (0, 3));
    unsampled.trace_flags = 0;
    let exemplars = |span| {
        let families = measured(&[span]).families();
        match &family(&families, "http.server.request.duration").points[0].value {
            Value::Histogram(histogram) => (histogram.count(), histogram.exemplar(0).is_some()),
            _ => panic!("no histogram"),
        }
    };
    assert_eq!(exemplars(unsampled), (1, false));
    assert_eq!(exemplars(request(1, 0, 200, (0, 3))), (1, true));
}

#[test]
fn a_request_whose_end_was_not_seen_has_no_duration_and_is_counted_by_that() {
    let mut cut = request(1, 0, 200, (0, 3));
    cut.attributes
        .retain(|(key, _)| *key != "http.response.status_code");
    let families = measured(&[cut]).families();
    assert!(
        families
            .iter()
            .all(|family| family.name != "http.server.request.duration")
    );
    let uncounted = counts(&families, "tracer.agent.metrics.uncounted");
    assert!(
        uncounted.contains(&("cause=end_not_seen".into(), 1)),
        "{uncounted:?}"
    );
}

#[test]
fn calls_by_grpc_are_calls_and_no_requests() {
    let mut rpc = request(1, 0, 200, (0, 3));
    rpc.attributes = vec![
        ("rpc.system.name", text("grpc")),
        ("rpc.method", text("a.Shop/Buy")),
        ("rpc.response.status_code", text("OK")),
        ("client.address", text("10.0.0.9")),
    ];
    let families = measured(&[rpc]).families();
    assert_eq!(
        counts(&families, "rpc.server.call.duration"),
        [(
            "rpc.system.name=grpc rpc.method=a.Shop/Buy rpc.response.status_code=OK".into(),
            1
        )]
    );
    assert!(
        families
            .iter()
            .all(|family| family.name != "http.server.request.duration")
    );
}

#[test]
fn a_flood_of_labels_is_bounded_and_adds_up() {
    let mut measures = Measures::new(Settings { max_series: 10 });
    for number in 0..1_000 {
        measures.observe(&call(1, &format!("host-{number}"), (0, 3)));
    }
    let families = measures.families();
    let series = family(&families, "http.client.request.duration");
    assert_eq!(series.points.len(), 11);
    assert!(series.points.iter().any(|point| *point.labels == [OVERFLOW]));
    let sum: u64 = counts(&families, series.name)
        .iter()
        .map(|(_, count)| count)
        .sum();
    assert_eq!(sum, 1_000);
    let overflowed = counts(&families, "tracer.agent.metrics.overflowed");
    assert!(overflowed.contains(&("table=red".into(), 990)), "{overflowed:?}");
}

#[test]
fn two_ends_of_a_request_are_one_edge_whichever_comes_first() {
    let mut measures = Measures::new(Settings::default());
    let (client, server) = (call(1, "shop.local", (0, 9)), request(2, 1, 200, (1, 8)));
    measures.observe(&client);
    measures.observe(&server);
    measures.observe(&server);
    measures.observe(&client);
    let families = measures.families();
    let edge = "client=web server=shop connection_type=";
    assert_eq!(
        counts(&families, "traces_service_graph_request_total"),
        [(edge.into(), 2)]
    );
    assert_eq!(
        counts(&families, "traces_service_graph_request_failed_total"),
        [(edge.into(), 0)]
    );
    assert_eq!(
        counts(&families, "traces_service_graph_request_client"),
        [(edge.into(), 2)]
    );
    assert_eq!(
        counts(&families, "traces_service_graph_request_server"),
        [(edge.into(), 2)]
    );
}

#[test]
fn an_end_without_the_other_is_an_edge_to_what_is_outside() {
    let mut measures = Measures::new(Settings::default());
    let mut failed = call(1, "bank.example", (0, 9));
    failed.status = SpanStatus::Error;
    measures.observe(&failed);
    measures.observe(&request(2, 0, 200, (0, 1)));
    measures.observe(&request(3, 9, 200, (0, 1)));
    let end = failed.end_unix_ns;
    measures.tick(end + 9 * SECOND);
    let edges = |measures: &Measures| counts(&measures.families(), "traces_service_graph_request_total");
    let user = (
        "client=user server=shop connection_type=virtual_node".to_owned(),
        1,
    );
    assert_eq!(edges(&measures), std::slice::from_ref(&user));
    measures.tick(end + 11 * SECOND);
    let bank = (
        "client=web server=bank.example:9000 connection_type=virtual_node".to_owned(),
        1,
    );
    assert_eq!(edges(&measures), [user, bank.clone()]);
    let families = measures.families();
    let failures = counts(&families, "traces_service_graph_request_failed_total");
    assert!(failures.contains(&bank));
    let uncounted = counts(&families, "tracer.agent.metrics.uncounted");
    assert!(
        uncounted.contains(&("cause=caller_not_seen".into(), 1)),
        "{uncounted:?}"
    );
}

#[test]
fn two_services_with_one_name_in_two_namespaces_are_two() {
    let with = |namespace: &str| {
        let mut span = request(1, 0, 200, (0, 3));
        let mut info = (*process(7, "shop")).clone();
        info.resource.push(("service.namespace".into(), text(namespace)));
        span.process = info.into();
        span
    };
    let families = measured(&[with("a"), with("b"), with("a")]).families();
    let mut counted: Vec<_> = counts(&families, "http.server.request.duration")
        .into_iter()
        .map(|(_, count)| count)
        .collect();
    counted.sort_unstable();
    assert_eq!(counted, [1, 2]);
}

/// `cargo test --release -p tracer-agent --lib metrics::tests::counted::cost -- --ignored --nocapture`
#[test]
#[ignore = "measures; run it in release"]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement, told to who runs it"
)]
fn cost() {
    const ROUNDS: u32 = 1_000_000;
    let spans: Vec<_> = (0..10_u8)
        .flat_map(|number| {
            let client = call(2 * number + 1, &format!("host-{number}"), (0, 9));
            [client, request(2 * number + 2, 2 * number + 1, 200, (1, 8))]
        })
        .collect();
    let mut measures = Measures::new(Settings::default());
    let begun = std::time::Instant::now();
    for _ in 0..ROUNDS / 20 {
        spans.iter().for_each(|span| measures.observe(span));
    }
    println!("{} ns a span", begun.elapsed().as_nanos() / u128::from(ROUNDS));
    let begun = std::time::Instant::now();
    let families = measures.families();
    println!(
        "{} us for a snapshot of {} metrics",
        begun.elapsed().as_micros(),
        families.len()
    );
}
