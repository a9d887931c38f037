use tokio::time::Instant;

use super::*;
use crate::{
    capture::input::AttributeValue,
    export::tests::{checkout, process, span, span_id, text, trace_id},
    ids::TraceId,
    spans::{
        Span,
        span::{SpanKind, SpanLink, SpanStatus},
    },
};

fn settings(width: usize) -> ConsoleSettings {
    ConsoleSettings {
        width,
        colour: false,
        verbose: false,
        when: ShowWhen::AtEnd(10),
    }
}

fn collected(spans: Vec<Span>) -> Collection {
    let mut collection = Collection::default();
    let now = Instant::now();
    spans.into_iter().for_each(|span| collection.push(span, now));
    collection
}

fn drawn(spans: Vec<Span>, settings: &ConsoleSettings) -> String {
    collected(spans)
        .take_slowest(usize::MAX)
        .iter()
        .map(|trace| draw::trace(trace, settings))
        .collect()
}

/// A lone server span of the gateway.
fn root(id: u8) -> Span {
    span(
        id,
        0,
        &process(11, "gateway"),
        SpanKind::Server,
        "/checkout",
        (0, 10),
    )
}

#[test]
fn a_checkout_at_80_columns() {
    let expected = "\
trace 01010101010101010101010101010101  842 ms, 10 spans, 5 services, 1 error
gateway GET /checkout 200                ───────────────────────────    842 ms
├ → GET /verify 200                      ─                             12.0 ms
│ └ auth GET /verify 200                 █                             10.0 ms
└ → GET /orders 200                      ───────────────────────────    820 ms
  └ orders GET /orders 200               ───────────────────────────    818 ms
    ├ → GET /reserve 200                 ──                            18.0 ms
    │ └ inventory GET /reserve 503 ✗     ██                            16.0 ms
    └ → GET /pay 200                      ──────────────────────────    792 ms
      └ payment GET /pay 200              ──────────────────────────    790 ms
        └ → GET 127.0.0.1:9000/char… 200  ██████████████████████████    785 ms ◀

";
    assert_eq!(drawn(checkout(), &settings(80)), expected);
}

#[test]
fn a_checkout_at_160_columns() {
    let page = drawn(checkout(), &settings(160));
    let lines: Vec<_> = page.lines().collect();
    let bar = "─".repeat(104);
    assert_eq!(
        lines[4],
        format!("└ → GET /orders 200                         {bar}    820 ms")
    );
    let bar = "█".repeat(100);
    assert_eq!(
        lines[10],
        format!("        └ → GET 127.0.0.1:9000/charge 200      {bar}     785 ms ◀")
    );
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let mut spans = checkout();
    spans[0].attributes[2].1 = text(&"/日本語".repeat(50));
    spans[9].name = "x".repeat(300).into();
    for width in (MIN_WIDTH..200).step_by(7) {
        for verbose in [false, true] {
            let page = drawn(
                spans.clone(),
                &ConsoleSettings {
                    verbose,
                    ..settings(width)
                },
            );
            let rows = page.lines().skip(1);
            for line in rows {
                assert!(text::columns(line) <= width, "{width}: {line}");
            }
        }
    }
}

#[test]
fn colours_change_nothing_but_the_colour() {
    let plain = drawn(checkout(), &settings(100));
    let coloured = drawn(
        checkout(),
        &ConsoleSettings {
            colour: true,
            ..settings(100)
        },
    );
    let mut stripped = String::new();
    for (place, piece) in coloured.split('\x1b').enumerate() {
        stripped.push_str(if place == 0 {
            piece
        } else {
            piece.split_once('m').unwrap().1
        });
    }
    assert_ne!(plain, coloured);
    assert_eq!(plain, stripped);
}

#[test]
fn evidence_is_shown_on_request() {
    let page = drawn(
        checkout(),
        &ConsoleSettings {
            verbose: true,
            ..settings(100)
        },
    );
    assert!(page.contains("│ └ auth GET /verify 200 [connection] "), "{page}");
}

#[test]
fn text_from_the_wire_cannot_steer_the_terminal() {
    let mut hostile = root(1);
    hostile.attributes[2].1 = text("/\x1b[2J\u{9b}31m\r\n\u{202e}");
    hostile.process = process(1, "evil\x1b]0;title\x07");
    hostile.attributes.push(("error.type", text("\x1b[0m")));
    let page = drawn(vec![hostile], &settings(160));
    assert!(
        page.chars().all(|char| char == '\n' || !char.is_control()),
        "{page:?}"
    );
    assert!(
        page.contains(r"evil\u{1b}]0;title\u{7} GET /\u{1b}[2J\u{9b}31m\r\n\u{202e}"),
        "{page}"
    );
}

#[test]
fn a_root_that_has_a_parent_elsewhere_or_a_likely_one_says_so() {
    let mut remote = root(1);
    remote.parent = Some(span_id(9));
    remote.parent_is_remote = true;
    assert!(
        drawn(vec![remote.clone()], &settings(100))
            .contains("┄ continues span 0909090909090909 of a caller that is not traced here\ngateway GET")
    );
    remote.parent_is_remote = false;
    assert!(drawn(vec![remote], &settings(80)).contains("┄ its parent 0909090909090909 is missing\n"));
    let mut likely = root(2);
    let attributes = vec![("tracer.link.confidence", AttributeValue::Double(0.62))];
    likely.links = vec![SpanLink {
        trace: trace_id(2),
        span: span_id(7),
        attributes,
    }];
    assert!(
        drawn(vec![likely], &settings(80))
            .contains("┄ may belong under span 0707070707070707 (confidence 0.62)\n")
    );
}

#[test]
fn what_went_wrong_stands_behind_the_request() {
    let mut broken = root(1);
    broken.status = SpanStatus::Error;
    broken.attributes = vec![
        ("http.request.method", text("GET")),
        ("url.path", text("/checkout")),
        ("error.type", text("connection_reset")),
        ("tracer.incomplete", AttributeValue::Bool(true)),
    ];
    let page = drawn(vec![broken], &settings(120));
    assert!(
        page.contains("gateway GET /checkout ✗ connection_reset (incomplete) "),
        "{page}"
    );
}

#[test]
fn parents_that_run_in_a_circle_are_all_shown_once() {
    let (mut first, mut second) = (root(1), root(2));
    first.parent = Some(second.id);
    second.parent = Some(first.id);
    let page = drawn(vec![first, second], &settings(80));
    assert_eq!(page.matches("GET /checkout").count(), 2, "{page}");
}

#[test]
fn children_that_run_side_by_side_leave_the_rest_to_their_parent() {
    let gateway = process(11, "gateway");
    let call = |id, times| span(id, 1, &gateway, SpanKind::Client, "/a", times);
    let mut spans = vec![root(1), call(2, (1, 4)), call(3, (2, 5)), call(4, (9, 99))];
    spans[0].end_unix_ns = spans[0].start_unix_ns + 10_000_000;
    let collection = &mut collected(spans);
    let trace = collection.take_slowest(1).remove(0);
    let placed = tree::place(&trace.rows);
    assert_eq!(placed[0].children.len(), 2);
    assert_eq!(placed[0].own, 5_000_000);
}

#[test]
fn the_slowest_traces_are_kept_and_the_others_counted() {
    let mut collection = Collection::default();
    // One moment for all: how long the test itself takes must not make some of them old.
    let now = Instant::now();
    for number in 1..=60_000_u64 {
        let mut span = root(1);
        span.trace = TraceId::new(u128::from(number).to_be_bytes()).unwrap();
        span.end_unix_ns = span.start_unix_ns + number % 1_000;
        collection.push(span, now);
    }
    let shown = collection.take_slowest(60);
    assert!(
        shown
            .iter()
            .all(|trace| trace.window().1 - trace.window().0 == 999)
    );
    assert_eq!(
        summary(
            &collection,
            collection.traces() - shown.len(),
            &[("ring_full", 3), ("queue_full", 0)]
        ),
        "60000 spans in 60000 traces, 1 service; 59940 more traces not shown, they were faster; lost: ring_full 3\n"
    );
}

#[test]
fn a_trace_that_may_not_be_whole_gives_way_last() {
    let mut collection = Collection::default();
    let begun = Instant::now();
    let mut of_trace = |number: u64, nanos: u64, now: Instant| {
        let mut span = root(1);
        span.trace = TraceId::new(u128::from(number).to_be_bytes()).unwrap();
        span.end_unix_ns = span.start_unix_ns + nanos;
        collection.push(span, now);
    };
    (1..=15_000).for_each(|number| of_trace(number, 1_000, begun));
    let later = begun + Duration::from_secs(5);
    (15_001..=20_001).for_each(|number| of_trace(number, 1, later));
    let kept = collection.take_quiet(later);
    assert_eq!(
        kept.iter()
            .filter(|trace| trace.window().1 - trace.window().0 == 1)
            .count(),
        5_001
    );
    assert_eq!((kept.len(), collection.evicted), (10_000, 10_001));
}

#[test]
fn a_trace_without_end_is_cut_and_says_so() {
    let mut spans = crate::export::tests::many(700);
    spans.push(root(1));
    let page = drawn(spans, &settings(80));
    assert!(
        page.contains("\n… 201 spans more of this trace are not shown\n"),
        "{page}"
    );
}

#[test]
fn width_and_colour_follow_the_terminal_and_then_the_environment() {
    let resolve = |terminal, is_terminal, env: &[(&str, &str)]| {
        let env = |name: &str| {
            env.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let settings = ConsoleSettings::resolve(terminal, is_terminal, ShowWhen::Quiet, false, env);
        (settings.width, settings.colour)
    };
    assert_eq!(resolve(Some(132), true, &[("COLUMNS", "70")]), (132, true));
    assert_eq!(resolve(None, false, &[("COLUMNS", "70")]), (70, false));
    assert_eq!(resolve(None, false, &[("COLUMNS", "many")]), (100, false));
    assert_eq!(resolve(Some(0), true, &[]), (100, true));
    assert_eq!(resolve(Some(3), true, &[("NO_COLOR", "1")]), (40, false));
    assert_eq!(resolve(Some(80), true, &[("NO_COLOR", "")]), (80, true));
    assert_eq!(resolve(Some(80), true, &[("TERM", "dumb")]), (80, false));
}
