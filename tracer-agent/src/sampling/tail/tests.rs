//! What is kept, of traces made by hand and at random.

mod cost;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::{
    capture::ProcessInfo,
    ids::SpanId,
    spans::span::{SpanKind, SpanLink},
};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

fn trace(number: u64) -> TraceId {
    TraceId::new((1_u128 << 100 | u128::from(number)).to_be_bytes()).unwrap()
}

fn id(number: u64) -> SpanId {
    SpanId::new(number.to_be_bytes()).unwrap()
}

/// A span of this trace from one time to another, without a parent.
fn span(of: TraceId, number: u64, start_ns: u64, end_ns: u64) -> Span {
    Span {
        trace: of,
        id: id(number),
        parent: None,
        parent_is_remote: false,
        trace_flags: 3,
        tracestate: String::new(),
        name: "GET /orders/{id}".into(),
        kind: SpanKind::Server,
        start_unix_ns: start_ns,
        end_unix_ns: end_ns,
        status: SpanStatus::Unset,
        attributes: Vec::new(),
        header_attributes: Vec::new(),
        links: Vec::new(),
        process: Arc::new(ProcessInfo {
            service_name: "shop".into(),
            ..ProcessInfo::default()
        }),
    }
}

fn under(parent: u64, span: Span) -> Span {
    Span {
        parent: Some(id(parent)),
        ..span
    }
}

fn failed(span: Span) -> Span {
    Span {
        status: SpanStatus::Error,
        ..span
    }
}

/// A stage, and what it has given out.
struct Bench {
    tail: Tail,
    out: Vec<Span>,
}

impl Bench {
    fn of(text: &str) -> Self {
        Self::with(text.parse().unwrap())
    }

    fn with(settings: Settings) -> Self {
        Self {
            tail: Tail::new(settings),
            out: Vec::new(),
        }
    }

    /// Takes a span when it ends; its parent is of this host.
    fn push(&mut self, span: Span) {
        let (is_local, end) = (span.parent.is_some(), BootNanos(span.end_unix_ns));
        self.tail.push(span, is_local, end, &mut self.out);
    }

    fn tick(&mut self, seconds: u64) {
        self.tail.tick(BootNanos(seconds * SECOND), &mut self.out);
    }

    /// The numbers of the spans that were given out.
    fn given(&self) -> Vec<u64> {
        let numbers = self.out.iter().map(|span| u64::from_be_bytes(span.id.bytes()));
        numbers.collect()
    }
}

#[test]
fn a_trace_with_an_error_is_kept_with_all_its_spans_and_another_is_not() {
    let mut bench = Bench::of("errors");
    bench.push(under(1, failed(span(trace(1), 2, 10, 20))));
    bench.push(under(1, span(trace(1), 3, 20, 30)));
    bench.push(span(trace(1), 1, 0, 40));
    bench.push(span(trace(2), 4, 0, 40));
    bench.tick(10);
    assert_eq!(bench.given(), [2, 3, 1]);
    let counters = bench.tail.counters();
    assert_eq!(
        (
            counters.kept_by_rule,
            counters.dropped_traces,
            counters.dropped_spans
        ),
        (1, 1, 1)
    );
    assert!(bench.out.iter().all(|span| span.tracestate.is_empty()));
}

#[test]
fn a_trace_is_not_decided_while_a_request_is_in_flight_and_then_after_a_quiet_while() {
    let mut bench = Bench::of("slow=5s");
    bench.push(under(1, span(trace(1), 2, 0, 10)));
    bench.tick(4);
    assert!(bench.given().is_empty());
    assert_eq!(bench.tail.next_deadline(), Some(BootNanos(5 * SECOND)));
    // It ends before it is slow.
    bench.push(span(trace(1), 1, 0, 4 * SECOND));
    bench.tick(5);
    assert_eq!(bench.tail.counters().dropped_traces, 0);
    bench.tick(6);
    assert_eq!(bench.tail.counters().dropped_traces, 1);
}

#[test]
fn what_is_in_flight_for_too_long_is_slow_before_it_has_ended() {
    let mut bench = Bench::of("slow=5s");
    bench.push(under(1, span(trace(1), 2, 0, 10)));
    bench.tick(5);
    assert_eq!(bench.given(), [2]);
    bench.push(span(trace(1), 1, 0, 20 * SECOND));
    assert_eq!(bench.given(), [2, 1]);
    assert_eq!(bench.tail.counters().late_spans, 1);
}

#[test]
fn no_trace_is_held_longer_than_the_bound() {
    let mut bench = Bench::of("errors");
    bench.push(under(1, span(trace(1), 2, 0, 10)));
    bench.tick(29);
    assert_eq!(bench.tail.counters().dropped_traces, 0);
    bench.tick(31);
    assert_eq!(bench.tail.counters().dropped_traces, 1);
    let mut bench = Bench::of("errors");
    for second in 1..=31 {
        bench.push(span(trace(1), second, second * SECOND, second * SECOND + 1));
    }
    assert_eq!(bench.tail.counters().dropped_traces, 1);
}

#[test]
fn other_rules_count_for_what_is_held_too() {
    let mut bench = Bench::of("errors");
    bench.push(span(trace(1), 1, 0, 2 * SECOND));
    bench.tail.configure(Some("slow=2s".parse().unwrap()));
    bench.push(failed(span(trace(2), 2, 2 * SECOND, 3 * SECOND)));
    bench.tick(10);
    assert_eq!(bench.given(), [1]);
}

#[test]
fn without_rules_new_traces_pass_and_what_is_held_or_decided_goes_on_as_before() {
    let mut bench = Bench::of("errors");
    bench.push(span(trace(1), 1, 0, 10));
    bench.tick(10);
    bench.push(under(1, span(trace(2), 2, 10 * SECOND, 10 * SECOND + 1)));
    bench.tail.configure(None);
    bench.push(under(1, span(trace(1), 3, 0, 11 * SECOND)));
    bench.push(span(trace(3), 4, 0, 11 * SECOND));
    assert_eq!(
        bench.given(),
        [4],
        "a new one passes, one that was left out does not"
    );
    bench.push(failed(span(trace(2), 5, 0, 11 * SECOND)));
    assert_eq!(bench.given(), [4, 2, 5], "one that was held is whole");
    bench.tail.configure(Some("errors".parse().unwrap()));
    bench.push(span(trace(4), 6, 0, 12 * SECOND));
    bench.tick(60);
    assert_eq!(bench.given(), [4, 2, 5]);
}

#[test]
fn what_comes_late_goes_the_way_of_its_trace() {
    let mut bench = Bench::of("errors");
    bench.push(failed(span(trace(1), 1, 0, 10)));
    bench.push(span(trace(2), 2, 0, 10));
    bench.tick(10);
    bench.push(under(1, span(trace(1), 3, 0, 11 * SECOND)));
    bench.push(under(2, failed(span(trace(2), 4, 0, 11 * SECOND))));
    bench.tick(60);
    assert_eq!(bench.given(), [1, 3]);
    assert_eq!(bench.tail.counters().late_spans, 2);
}

#[test]
fn a_share_is_said_on_every_span_and_a_rule_takes_what_was_said_away() {
    let half = trace(0x80_0000_0000_0000);
    let with = |tracestate: &str, span| Span {
        tracestate: tracestate.into(),
        ..span
    };
    let mut bench = Bench::of("errors,ratio=0.5");
    bench.push(with("a=1", span(half, 1, 0, 10)));
    bench.push(with("ot=th:4", span(half, 2, 0, 10)));
    bench.push(with("ot=th:c", span(trace(0xc0_0000_0000_0000), 3, 0, 10)));
    bench.push(failed(with(
        "ot=th:8,a=1",
        span(trace(0x90_0000_0000_0000), 4, 0, 10),
    )));
    bench.push(with("ot=rv:ffffffffffffff", span(trace(5), 5, 0, 10)));
    bench.push(span(trace(6), 6, 0, 10));
    bench.tick(10);
    let said: BTreeMap<_, _> = bench
        .given()
        .into_iter()
        .zip(bench.out.iter().map(|span| span.tracestate.as_str()))
        .collect();
    let expected = [
        (1, "ot=th:8,a=1"),
        (2, "ot=th:8"),
        (3, "ot=th:c"),
        (4, "a=1"),
        (5, "ot=rv:ffffffffffffff;th:8"),
    ];
    assert_eq!(said, BTreeMap::from(expected));
}

#[test]
fn what_is_slower_than_its_route_usually_is_is_kept() {
    let mut bench = Bench::of("slow=p99");
    for number in 1..=600 {
        let start = number * SECOND;
        let length = if number == 590 { 90 } else { 10 } * MILLISECOND;
        bench.push(span(trace(number), number, start, start + length));
    }
    bench.tick(700);
    assert_eq!(bench.given(), [590]);
}

#[test]
fn a_limit_holds_in_the_mean_and_says_the_threshold_that_it_made() {
    let mut bench = Bench::of("ratio=1,rate=10");
    for number in 0..20_000_u64 {
        let end = SECOND + number * MILLISECOND;
        let trace = trace(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        bench.push(span(trace, number + 1, end - 1, end));
    }
    bench.tick(60);
    // 20 seconds, and the beginning of the burst.
    let kept = bench.out.len();
    assert!((170..=310).contains(&kept), "{kept}");
    assert_eq!(bench.tail.counters().over_limit, 20_000 - kept as u64);
    // Each stands for so many; the sum is what there was.
    let count: f64 = bench
        .out
        .iter()
        .map(|span| 1.0 / tracestate::threshold(&span.tracestate).unwrap().share())
        .sum();
    assert!((17_000.0..23_000.0).contains(&count), "{count}");
}

#[test]
fn a_limit_holds_for_errors_too_and_for_each_service_alone() {
    let mut bench = Bench::of("errors,rate=10");
    for number in 0..20_000_u64 {
        let end = SECOND + number * MILLISECOND;
        let trace = trace(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        bench.push(failed(span(trace, number + 1, end - 1, end)));
        if number.is_multiple_of(1_000) {
            let mut other = failed(span(self::trace(number + 7), number + 100_000, end - 1, end));
            other.process = Arc::new(ProcessInfo {
                service_name: "pay".into(),
                ..ProcessInfo::default()
            });
            bench.push(other);
        }
    }
    bench.tick(60);
    let of = |service: &str| {
        bench
            .out
            .iter()
            .filter(|span| span.process.service_name == service)
            .count()
    };
    assert!((170..=310).contains(&of("shop")), "{}", of("shop"));
    assert_eq!(of("pay"), 20);
}

#[test]
fn past_each_bound_the_oldest_trace_is_decided_and_counted() {
    let settings = Settings {
        max_traces: 2,
        max_spans: 4,
        max_spans_of_trace: 3,
        .."slow=1s".parse().unwrap()
    };
    let mut bench = Bench::with(settings.clone());
    // Each is slow by itself, and waits for its parent.
    for number in 1..=3 {
        bench.push(under(9, span(trace(number), number, 0, SECOND / 2)));
    }
    assert_eq!(bench.tail.counters().decided_early, 1);
    assert_eq!(bench.tail.counters().dropped_spans, 1);
    let mut bench = Bench::with(settings.clone());
    for number in 1..=4 {
        bench.push(under(9, span(trace(1), number, 0, SECOND / 2)));
    }
    assert_eq!(
        (
            bench.tail.counters().decided_early,
            bench.tail.counters().dropped_spans
        ),
        (1, 4)
    );
    let mut bench = Bench::with(settings);
    for number in 1..=5 {
        bench.push(under(9, span(trace(number % 2), number, 0, SECOND / 2)));
    }
    assert_eq!(
        (
            bench.tail.counters().decided_early,
            bench.tail.counters().dropped_spans
        ),
        (1, 3)
    );
}

#[test]
fn a_link_to_what_was_left_out_is_taken_away() {
    let link = |number| SpanLink {
        trace: trace(number),
        span: id(number),
        attributes: Vec::new(),
    };
    let mut bench = Bench::of("errors");
    bench.push(span(trace(1), 1, 0, 10));
    bench.tick(10);
    bench.push(Span {
        links: vec![link(1), link(2)],
        ..failed(span(trace(3), 3, 0, 11 * SECOND))
    });
    assert_eq!(bench.out.first().unwrap().links, [link(2)]);
    assert_eq!(bench.tail.counters().dropped_links, 1);
}

/// Spans of a few traces, each under one that has come or that comes later.
fn history() -> impl Strategy<Value = Vec<(u64, u64, Option<u64>, u64, bool)>> {
    let span = (
        0..12_u64,
        prop::option::of(any::<prop::sample::Index>()),
        0..4_000_u64,
        prop::bool::weighted(0.1),
    );
    prop::collection::vec(span, 1..80).prop_map(|spans| {
        let traces: Vec<_> = spans.iter().map(|(trace, ..)| *trace).collect();
        let parent = |number: usize, index: prop::sample::Index| {
            let same: Vec<_> = (0..traces.len())
                .filter(|other| traces[*other] == traces[number] && *other != number)
                .collect();
            (!same.is_empty()).then(|| same[index.index(same.len())] as u64 + 1)
        };
        let spans = spans.into_iter().enumerate();
        spans
            .map(|(number, (trace, index, pause, is_error))| {
                (
                    trace,
                    number as u64 + 1,
                    index.and_then(|index| parent(number, index)),
                    pause,
                    is_error,
                )
            })
            .collect()
    })
}

proptest! {
    /// With every bound met, all of a trace is given out or nothing of it; so a local parent is, too.
    #[test]
    fn no_span_is_given_out_without_its_local_parent(history in history(), small: bool, limit in prop::option::of(1..3_u32)) {
        let mut settings: Settings = "errors,slow=3s,ratio=0.5".parse().unwrap();
        settings.limit = limit;
        if small {
            (settings.max_traces, settings.max_spans, settings.max_spans_of_trace) = (3, 8, 4);
        }
        let mut bench = Bench::with(settings);
        let mut now = SECOND;
        for (of, number, parent, pause, is_error) in &history {
            now += pause * MILLISECOND / 4;
            let mut span = span(trace(of << 52 | 1), *number, now - pause * MILLISECOND / 8, now);
            span.parent = parent.map(id);
            bench.push(if *is_error { failed(span) } else { span });
        }
        let held = bench.tail.next_deadline();
        bench.tail.finish(BootNanos(now), &mut bench.out);
        prop_assert_eq!(bench.tail.next_deadline(), None);
        prop_assert!(held.is_none_or(|held| held.0 <= now + 30 * SECOND));
        let given: BTreeSet<_> = bench.given().into_iter().collect();
        prop_assert_eq!(given.len(), bench.out.len());
        prop_assert_eq!(given.len() as u64 + bench.tail.counters().dropped_spans, history.len() as u64);
        for (_, number, parent, ..) in &history {
            if let (true, Some(parent)) = (given.contains(number), parent) {
                prop_assert!(given.contains(parent), "{} is given out, its parent {} is not", number, parent);
            }
        }
    }
}
