//! Every row of the truth table of contexts.
//!
//! A service reads S (perhaps with a context), writes C (perhaps with a context) on the same thread, and the next
//! hop, a legacy service, reads N with what C carried. Each row holds whichever end of C is told first.

use crate::{
    capture::record::Change,
    correlate::{Evidence, Instrumented, RootSampler, Sampler, Settings},
    ids::{SpanId, TraceId},
    protocols::{
        ExchangeId,
        exchange::{ContextFormat, RemoteParent, Sampled},
    },
};

use super::scene::{Draft, Place, Scene, Tree, context, inbound, outbound, span, span_of, trace};

const T: u128 = 0x77;
const P: u64 = 0xa0;
const X: u64 = 0xb0;

/// A header of a request.
#[derive(Clone, Copy)]
enum Header {
    None,
    Of(RemoteParent),
    Malformed,
    /// Not sampled, and so not even captured.
    Unseen,
}

impl Header {
    fn on(self, draft: Draft) -> Draft {
        match self {
            Self::None => draft,
            Self::Of(context) => draft.with(context),
            Self::Malformed => draft.malformed(),
            Self::Unseen => draft.unseen(),
        }
    }
}

struct Row {
    tree: Tree,
    s: ExchangeId,
    c: ExchangeId,
    n: ExchangeId,
}

impl Row {
    fn places(&self) -> [Place; 3] {
        [self.s, self.c, self.n].map(|id| self.tree.place(id))
    }

    /// That all three are in this trace.
    fn is_in(&self, trace: TraceId) -> bool {
        [self.s, self.c, self.n]
            .iter()
            .all(|id| self.tree.trace(*id) == trace)
    }
}

/// Both orders in which a row can be told.
fn rows(came: Header, sent: Header) -> [Row; 2] {
    rows_with(&Settings::default(), came, sent)
}

fn rows_with(settings: &Settings, came: Header, sent: Header) -> [Row; 2] {
    [false, true].map(|server_end_first| {
        let mut scene = Scene::with(settings.clone());
        let s = scene.begin(came.on(inbound(1, 1)).at(1));
        let (client_end, server_end) = (sent.on(outbound(1, 1).wire(1)), sent.on(inbound(2, 1).wire(1)));
        let (client_end, server_end) = (client_end.at(10), server_end.at(11));
        let (c, n) = if server_end_first {
            let n = scene.begin(server_end);
            (scene.begin(client_end), n)
        } else {
            let c = scene.begin(client_end);
            (c, scene.begin(server_end))
        };
        scene.wait(20);
        for id in [n, c, s] {
            scene.end(id);
        }
        Row {
            tree: scene.finish(),
            s,
            c,
            n,
        }
    })
}

fn wire(span: SpanId) -> Place {
    Place::UnderWire(span)
}

#[test]
fn none_none_a_legacy_service_is_linked_by_task_and_connection() {
    for row in rows(Header::None, Header::None) {
        let expected = [
            Place::Root,
            Place::Under(row.s, Evidence::Task),
            Place::Under(row.c, Evidence::Connection),
        ];
        assert_eq!(row.places(), expected);
        assert!(row.is_in(row.tree.trace(row.s)));
    }
}

#[test]
fn none_none_a_server_span_is_the_child_of_the_callers_client_span() {
    let mut scene = Scene::new();
    let caller = scene.begin(outbound(9, 9).wire(1));
    let s = scene.begin(inbound(1, 1).wire(1));
    scene.end(s);
    scene.end(caller);
    let tree = scene.finish();
    assert_eq!(tree.place(caller), Place::Root);
    assert_eq!(tree.place(s), Place::Under(caller, Evidence::Connection));
    assert_eq!(tree.linked(s).unwrap().parent.unwrap().span, span_of(caller));
}

#[test]
fn context_none_a_service_that_drops_the_context_stays_in_its_trace() {
    for row in rows(Header::Of(context(T, P)), Header::None) {
        let expected = [
            wire(span(P)),
            Place::Under(row.s, Evidence::Task),
            Place::Under(row.c, Evidence::Connection),
        ];
        assert_eq!(row.places(), expected);
        assert!(row.is_in(trace(T)));
    }
}

#[test]
fn context_same_the_next_hop_of_a_transparent_service_is_under_its_client_span() {
    for row in rows(Header::Of(context(T, P)), Header::Of(context(T, P))) {
        let expected = [
            wire(span(P)),
            Place::Under(row.s, Evidence::Header),
            Place::Under(row.c, Evidence::Connection),
        ];
        assert_eq!(row.places(), expected);
        assert!(row.is_in(trace(T)));
    }
}

#[test]
fn context_new_an_instrumented_service_is_withheld_and_the_next_hop_is_under_its_own_span() {
    for row in rows(Header::Of(context(T, P)), Header::Of(context(T, X))) {
        assert_eq!(row.places(), [Place::Absent, Place::Absent, wire(span(X))]);
        assert_eq!(row.tree.trace(row.n), trace(T));
        assert_eq!(
            (
                row.tree.counters.withheld,
                row.tree.counters.instrumented_processes
            ),
            (2, 1)
        );
    }
}

#[test]
fn none_new_an_instrumented_root_is_withheld_and_the_next_hop_is_under_its_own_span() {
    for row in rows(Header::None, Header::Of(context(T, X))) {
        assert_eq!(row.places(), [Place::Absent, Place::Absent, wire(span(X))]);
        assert_eq!(row.tree.trace(row.n), trace(T));
    }
}

#[test]
fn a_malformed_context_is_treated_as_none_and_counted() {
    for came in [Header::None, Header::Of(context(T, P)), Header::Malformed] {
        for row in rows(came, Header::Malformed) {
            let s = match came {
                Header::Of(_) => wire(span(P)),
                Header::None | Header::Malformed | Header::Unseen => Place::Root,
            };
            let expected = [
                s,
                Place::Under(row.s, Evidence::Task),
                Place::Under(row.c, Evidence::Connection),
            ];
            assert_eq!(row.places(), expected);
            let malformed = if matches!(came, Header::Malformed) { 3 } else { 2 };
            assert_eq!(row.tree.counters.malformed_context, malformed);
            assert_eq!(row.tree.counters.instrumented_processes, 0);
        }
    }
}

#[test]
fn not_sampled_upstream_nothing_is_exported_under_parent_based_sampling_but_all_is_counted() {
    let unsampled = |span| RemoteParent {
        sampled: Sampled::No,
        ..context(T, span)
    };
    for sent in [
        Header::None,
        Header::Of(unsampled(P)),
        Header::Malformed,
        Header::Of(unsampled(X)),
    ] {
        for row in rows(Header::Of(unsampled(P)), sent) {
            assert_eq!(row.places(), [Place::Absent; 3]);
            assert_eq!((row.tree.counters.unsampled, row.tree.counters.exported), (3, 0));
        }
    }
}

#[test]
fn what_was_left_uncaptured_causes_nothing_that_is_exported() {
    let always = Settings {
        sampler: Sampler::Always(RootSampler::On),
        ..Settings::default()
    };
    for settings in [Settings::default(), always] {
        for sent in [Header::None, Header::Unseen, Header::Malformed] {
            for row in rows_with(&settings, Header::Unseen, sent) {
                assert_eq!(row.places(), [Place::Absent; 3]);
                assert_eq!((row.tree.counters.unsampled, row.tree.counters.exported), (3, 0));
            }
        }
    }
}

#[test]
fn who_decides_by_itself_that_a_request_is_not_sampled_is_instrumented() {
    for came in [Header::None, Header::Of(context(T, P))] {
        for row in rows(came, Header::Unseen) {
            assert_eq!(row.places(), [Place::Absent; 3]);
            assert_eq!((row.tree.counters.withheld, row.tree.counters.unsampled), (1, 2));
        }
    }
}

#[test]
fn not_sampled_upstream_is_exported_when_the_sampler_does_not_ask_the_parent() {
    let settings = Settings {
        sampler: Sampler::Always(RootSampler::On),
        ..Settings::default()
    };
    let unsampled = RemoteParent {
        sampled: Sampled::No,
        ..context(T, P)
    };
    for row in rows_with(&settings, Header::Of(unsampled), Header::None) {
        assert_eq!(row.tree.counters.exported, 3);
    }
}

#[test]
fn a_trace_that_is_not_sampled_at_its_root_is_not_exported_anywhere() {
    let settings = Settings {
        sampler: Sampler::ParentBased(RootSampler::Off),
        ..Settings::default()
    };
    for row in rows_with(&settings, Header::None, Header::None) {
        assert_eq!((row.tree.counters.unsampled, row.tree.counters.exported), (3, 0));
    }
}

#[test]
fn kept_instrumented_spans_hang_under_the_span_that_the_process_names() {
    let settings = Settings {
        instrumented: Instrumented::Keep,
        ..Settings::default()
    };
    for row in rows_with(&settings, Header::Of(context(T, P)), Header::Of(context(T, X))) {
        let expected = [
            wire(span(P)),
            wire(span(X)),
            Place::Under(row.c, Evidence::Connection),
        ];
        assert_eq!(row.places(), expected);
        assert!(row.is_in(trace(T)));
    }
}

#[test]
fn other_formats_are_compared_the_same_way() {
    let b3 = |span| RemoteParent {
        format: ContextFormat::B3Multi,
        ..context(T, span)
    };
    for row in rows(Header::Of(b3(P)), Header::Of(b3(P))) {
        assert_eq!(row.tree.place(row.c), Place::Under(row.s, Evidence::Header));
    }
    for row in rows(Header::Of(b3(P)), Header::Of(b3(X))) {
        assert_eq!(row.places(), [Place::Absent, Place::Absent, wire(span(X))]);
    }
}

#[test]
fn a_format_that_names_the_trace_alone_gives_a_span_without_parent_in_that_trace() {
    let trace_only = RemoteParent {
        span: None,
        format: ContextFormat::GoogleCloud,
        ..context(T, P)
    };
    for row in rows(Header::Of(trace_only), Header::None) {
        assert_eq!(row.tree.place(row.s), Place::InTrace(trace(T)));
        assert!(row.is_in(trace(T)));
    }
}

#[test]
fn tracestate_goes_with_the_trace_it_came_with() {
    let mut scene = Scene::new();
    let mut s = inbound(1, 1).with(context(T, P));
    s.0.context.tracestate = Some("vendor=1".into());
    let s = scene.begin(s);
    let c = scene.begin(outbound(1, 1));
    let tree = scene.finish();
    for id in [s, c] {
        assert_eq!(tree.linked(id).unwrap().tracestate.as_deref(), Some("vendor=1"));
    }
}

#[test]
fn of_several_requests_with_one_context_the_thread_tells_which_one_it_was_passed_on_for() {
    let mut scene = Scene::new();
    let same = context(T, P);
    let first = scene.begin(inbound(1, 1).with(same));
    let second = scene.begin(inbound(1, 2).with(same));
    let by_first = scene.begin(outbound(1, 1).with(same));
    let by_second = scene.begin(outbound(1, 2).with(same));
    let by_other = scene.begin(outbound(1, 3).with(same));
    let tree = scene.finish();
    assert_eq!(tree.place(by_first), Place::Under(first, Evidence::Task));
    assert_eq!(tree.place(by_second), Place::Under(second, Evidence::Task));
    assert_eq!(tree.place(by_other), Place::InTrace(trace(T)));
    assert_eq!(tree.counters.ambiguous_context, 1);
}

#[test]
fn a_context_that_is_passed_on_after_the_response_is_still_transparent() {
    let mut scene = Scene::new();
    let s = scene.begin(inbound(1, 1).with(context(T, P)));
    scene.end(s);
    let c = scene.begin(outbound(1, 2).with(context(T, P)));
    let tree = scene.finish();
    assert_eq!(tree.place(c), Place::Under(s, Evidence::Header));
    assert_eq!(tree.counters.instrumented_processes, 0);
}

#[test]
fn a_context_that_comes_back_to_the_process_that_made_it_was_not_passed_on() {
    let mut scene = Scene::new();
    let n = scene.begin(inbound(1, 2).wire(1).with(context(T, X)).at(11));
    let c = scene.begin(outbound(1, 1).wire(1).with(context(T, X)).at(10));
    let tree = scene.finish();
    assert_eq!([tree.place(n), tree.place(c)], [Place::Absent; 2]);
    assert_eq!(tree.counters.instrumented_processes, 1);
}

#[test]
fn a_proxy_that_lost_one_request_to_the_agent_is_not_taken_for_instrumented() {
    let mut scene = Scene::new();
    for request in 1..=3 {
        let s = scene.begin(inbound(1, 1).with(context(T, request)));
        let c = scene.begin(outbound(1, 1).with(context(T, request)));
        scene.end(c);
        scene.end(s);
    }
    let orphan = scene.begin(outbound(1, 1).wire(1).with(context(T, X)));
    let next = scene.begin(inbound(2, 1).wire(1).with(context(T, X)));
    let tree = scene.finish();
    assert_eq!(tree.counters.withheld, 0);
    assert_eq!(
        tree.place(orphan),
        wire(span(X)),
        "the nearest span that is known to exist"
    );
    assert_eq!(tree.place(next), Place::Under(orphan, Evidence::Connection));
}

#[test]
fn a_leaf_that_exports_otlp_is_withheld() {
    for target in [
        "/otlp/v1/traces?x=1",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    ] {
        let mut scene = Scene::new();
        let export = scene.begin(outbound(1, 9).posts_to(target));
        scene.end(export);
        let s = scene.begin(inbound(1, 1));
        scene.end(s);
        let tree = scene.finish();
        assert_eq!(
            [tree.place(export), tree.place(s)],
            [Place::Absent; 2],
            "{target}"
        );
    }
}

#[test]
fn what_forwards_otlp_is_not_taken_for_instrumented() {
    let by_grpc = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    for (came, sent) in [
        ("/v1/traces", "/v1/traces"),
        (by_grpc, "/v1/traces"),
        ("/v1/traces", by_grpc),
    ] {
        let mut scene = Scene::new();
        let s = scene.begin(inbound(1, 1).posts_to(came));
        let c = scene.begin(outbound(1, 1).posts_to(sent));
        let tree = scene.finish();
        assert_eq!(tree.place(c), Place::Under(s, Evidence::Task), "{came} {sent}");
    }
}

#[test]
fn what_exports_measurements_or_logs_alone_is_no_exporter_of_spans() {
    let services = ["metrics.v1.MetricsService", "logs.v1.LogsService"]
        .map(|name| format!("/opentelemetry.proto.collector.{name}/Export"));
    let paths = ["/v1/metrics", "/v1/logs"].map(str::to_owned);
    for target in paths.iter().chain(&services) {
        let mut scene = Scene::new();
        let export = scene.begin(outbound(1, 9).wire(1).posts_to(target));
        scene.end(export);
        let s = scene.begin(inbound(1, 1).wire(2));
        scene.end(s);
        let tree = scene.finish();
        assert_eq!([tree.place(export), tree.place(s)], [Place::Root; 2], "{target}");
    }
}

#[test]
fn the_next_hop_of_an_instrumented_service_that_sends_no_context_begins_a_trace() {
    let mut scene = Scene::new();
    let export = scene.begin(outbound(1, 9).posts_to("/v1/traces"));
    scene.end(export);
    let c = scene.begin(outbound(1, 1).wire(1));
    let n = scene.begin(inbound(2, 1).wire(1));
    let tree = scene.finish();
    assert_eq!([tree.place(c), tree.place(n)], [Place::Absent, Place::Root]);
}

#[test]
fn the_verdict_ends_with_the_program_but_not_for_what_that_program_had_begun() {
    for change in [Change::Executed, Change::Exited] {
        let mut scene = Scene::new();
        let c = scene.begin(outbound(1, 1).with(context(T, X)));
        scene.process(1, change);
        scene.end(c);
        let after = scene.begin(inbound(1, 1));
        let tree = scene.finish();
        assert_eq!([tree.place(c), tree.place(after)], [Place::Absent, Place::Root]);
    }
}

#[test]
fn a_span_that_was_named_as_a_parent_is_exported_in_spite_of_a_later_verdict() {
    let mut scene = Scene::new();
    let s = scene.begin(inbound(1, 1));
    let early = scene.begin(outbound(1, 1));
    scene.end(early);
    let late = scene.begin(outbound(1, 1).with(context(T, X)));
    scene.end(late);
    scene.end(s);
    let tree = scene.finish();
    assert_eq!(tree.place(s), Place::Root);
    assert_eq!(tree.place(early), Place::Under(s, Evidence::Task));
    assert_eq!(tree.place(late), Place::Absent);
}
