//! Trees that are right, and trees that are wrong in every way there is.

use serde_json::json;

use super::{Bin, Kind, Range, Truth, Verdict, judge};

/// Paths of two roots through three hops, the second of which calls twice.
const CHAIN: [&str; 8] = [
    "/job/r1",
    "/job/r1.0",
    "/job/r1.0.0",
    "/job/r1.0.1",
    "/job/r2",
    "/job/r2.0",
    "/job/r2.0.0",
    "/job/r2.0.1",
];

#[derive(Clone, Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    kind: Kind,
    path: String,
    /// The confidence of its link, where that was found by `timing`.
    confidence: Option<f64>,
    /// What it may belong under, and how likely.
    candidate: Option<(String, f64)>,
}

impl Span {
    fn is(&self, kind: Kind, path: &str) -> bool {
        self.kind == kind && self.path == path
    }
}

/// The export as it should be.
fn right(truth: &Truth) -> Vec<Span> {
    let id = |(path, kind): (&str, Kind)| format!("{kind}{path}");
    truth
        .ends()
        .map(|end| Span {
            trace: end
                .0
                .rsplit('/')
                .next()
                .unwrap()
                .split('.')
                .next()
                .unwrap()
                .to_owned(),
            id: id(end),
            parent: truth.parent_of(end).map(id).unwrap_or_default(),
            kind: end.1,
            path: end.0.to_owned(),
            confidence: None,
            candidate: None,
        })
        .collect()
}

fn judged(truth: &Truth, spans: &[Span]) -> Verdict {
    let line = |spans: &[Span]| {
        let spans: Vec<_> = spans
            .iter()
            .map(|span| {
                let url = match span.kind {
                    Kind::Server => json!({"key": "url.path", "value": {"stringValue": span.path}}),
                    Kind::Client => {
                        let full = format!("http://127.0.0.1:80{}?q=REDACTED", span.path);
                        json!({"key": "url.full", "value": {"stringValue": full}})
                    }
                };
                let port = json!({"key": "server.port", "value": {"intValue": "80"}});
                let timing = json!({"key": "tracer.link.evidence", "value": {"stringValue": "timing"}});
                let claim = |confidence: f64| {
                    let confidence = json!({"doubleValue": confidence});
                    vec![
                        timing.clone(),
                        json!({"key": "tracer.link.confidence", "value": confidence}),
                    ]
                };
                let mut attributes = span.confidence.map_or_else(Vec::new, claim);
                attributes.extend([port, url]);
                let links = span.candidate.iter().map(|(id, confidence)| {
                    json!({"traceId": "of the candidate", "spanId": id, "attributes": claim(*confidence)})
                });
                json!({
                    "traceId": span.trace, "spanId": span.id, "parentSpanId": span.parent,
                    "kind": match span.kind { Kind::Server => 2, Kind::Client => 3 },
                    "attributes": attributes, "links": links.collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": spans}]}]}).to_string()
    };
    // More than one line, as an export has them.
    let lines: Vec<String> = spans.chunks(3).map(line).collect();
    judge(truth, lines.iter().map(String::as_str)).unwrap()
}

fn find<'a>(spans: &'a mut [Span], kind: Kind, path: &str) -> &'a mut Span {
    spans.iter_mut().find(|span| span.is(kind, path)).unwrap()
}

#[test]
fn a_right_tree_is_perfect() {
    for roots_are_traced in [false, true] {
        let truth = Truth::new(CHAIN, roots_are_traced);
        let verdict = judged(&truth, &right(&truth));
        assert!(verdict.is_perfect(), "{verdict}");
        let roots = if roots_are_traced { 2 } else { 0 };
        assert_eq!(verdict.expected_spans, 14 + roots);
        assert_eq!(
            verdict.true_links,
            12 + roots,
            "every span but the first of each trace has a parent"
        );
        assert!(verdict.examples.is_empty());
    }
}

#[test]
fn the_true_tree_is_that_of_the_paths() {
    let truth = Truth::new(CHAIN, false);
    for (end, parent) in [
        (("/job/r1", Kind::Server), None),
        (("/job/r1.0", Kind::Client), Some(("/job/r1", Kind::Server))),
        (("/job/r1.0", Kind::Server), Some(("/job/r1.0", Kind::Client))),
        (("/job/r1.0.1", Kind::Client), Some(("/job/r1.0", Kind::Server))),
    ] {
        assert_eq!(truth.parent_of(end), parent, "{end:?}");
    }
    assert!(!truth.contains(("/job/r1", Kind::Client)));
}

#[test]
fn a_proxy_is_a_hop_of_its_own() {
    let truth = Truth::new(["/via/job/r1", "/job/r1", "/via/job/r1.0", "/job/r1.0"], false);
    for (end, parent) in [
        (("/via/job/r1", Kind::Server), None),
        (("/job/r1", Kind::Client), Some(("/via/job/r1", Kind::Server))),
        (("/via/job/r1.0", Kind::Client), Some(("/job/r1", Kind::Server))),
        (("/job/r1.0", Kind::Client), Some(("/via/job/r1.0", Kind::Server))),
        (("/job/r1.0", Kind::Server), Some(("/job/r1.0", Kind::Client))),
    ] {
        assert_eq!(truth.parent_of(end), parent, "{end:?}");
    }
    let verdict = judged(&truth, &right(&truth));
    assert!(verdict.is_perfect() && verdict.expected_spans == 7, "{verdict}");
}

#[test]
fn two_swapped_parents_cost_precision_and_recall() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    let one = find(&mut spans, Kind::Client, "/job/r1.0").parent.clone();
    let other = std::mem::replace(&mut find(&mut spans, Kind::Client, "/job/r2.0").parent, one);
    find(&mut spans, Kind::Client, "/job/r1.0").parent = other;
    let verdict = judged(&truth, &spans);
    assert_eq!(
        (verdict.right_links, verdict.exported_links, verdict.true_links),
        (10, 12, 12)
    );
    assert!(verdict.precision() < 0.84 && verdict.recall() < 0.84 && !verdict.is_perfect());
    assert_eq!((verdict.orphans, verdict.dangling), (0, 0));
}

#[test]
fn a_link_that_leaves_out_a_hop_is_wrong() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    let above = find(&mut spans, Kind::Server, "/job/r1").id.clone();
    find(&mut spans, Kind::Server, "/job/r1.0").parent = above;
    let verdict = judged(&truth, &spans);
    assert_eq!((verdict.right_links, verdict.exported_links), (11, 12));
    assert!(
        verdict.examples[0].contains("it should be under client /job/r1.0"),
        "{verdict}"
    );
}

#[test]
fn a_missing_link_costs_recall_alone() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    find(&mut spans, Kind::Client, "/job/r1.0.1").parent.clear();
    let verdict = judged(&truth, &spans);
    assert_eq!(
        (verdict.orphans, verdict.right_links, verdict.exported_links),
        (1, 11, 11)
    );
    assert!(verdict.precision() >= 1.0 && verdict.recall() < 1.0 && !verdict.is_perfect());
}

#[test]
fn a_parent_in_another_trace_is_not_right() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    find(&mut spans, Kind::Client, "/job/r1.0.1").trace = "elsewhere".to_owned();
    let verdict = judged(&truth, &spans);
    // Its own link, and that of the server span below it.
    assert_eq!((verdict.right_links, verdict.exported_links), (10, 12));
}

#[test]
fn a_root_that_was_given_a_parent_costs_precision_alone() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    let other = find(&mut spans, Kind::Server, "/job/r2").id.clone();
    find(&mut spans, Kind::Server, "/job/r1").parent = other;
    let verdict = judged(&truth, &spans);
    assert_eq!(
        (verdict.right_links, verdict.exported_links, verdict.true_links),
        (12, 13, 12)
    );
    assert!(!verdict.is_perfect());
}

#[test]
fn a_parent_that_was_not_exported_dangles() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    find(&mut spans, Kind::Server, "/job/r1").parent = "nobody".to_owned();
    let verdict = judged(&truth, &spans);
    assert_eq!(
        (verdict.dangling, verdict.exported_links, verdict.right_links),
        (1, 13, 12)
    );
    assert!(!verdict.is_perfect());
}

#[test]
fn a_lost_span_is_missing_and_costs_the_links_it_had() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    spans.retain(|span| !span.is(Kind::Client, "/job/r1.0"));
    let verdict = judged(&truth, &spans);
    assert_eq!((verdict.found_spans, verdict.expected_spans), (13, 14));
    assert_eq!((verdict.right_links, verdict.dangling), (10, 1));
    assert!(
        verdict.to_string().contains("client /job/r1.0 is missing"),
        "{verdict}"
    );
}

#[test]
fn a_second_span_for_one_end_is_a_duplicate() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    let mut twin = find(&mut spans, Kind::Server, "/job/r1.0").clone();
    twin.id = "twin".to_owned();
    spans.push(twin);
    let verdict = judged(&truth, &spans);
    assert_eq!((verdict.duplicates, verdict.found_spans), (1, 14));
    assert!(!verdict.is_perfect());
}

#[test]
fn a_span_for_a_call_that_was_never_made_is_unexpected() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    let mut made_up = find(&mut spans, Kind::Server, "/job/r1.0").clone();
    made_up.path = "/job/r9".to_owned();
    made_up.id = "made up".to_owned();
    spans.push(made_up);
    let verdict = judged(&truth, &spans);
    assert_eq!(
        (verdict.unexpected, verdict.exported_links, verdict.right_links),
        (1, 13, 12)
    );
    assert!(!verdict.is_perfect());
}

#[test]
fn other_traffic_is_counted_and_not_judged() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    let mut foreign = find(&mut spans, Kind::Server, "/job/r1.0").clone();
    foreign.path = "/healthz".to_owned();
    foreign.id = "foreign".to_owned();
    spans.push(foreign);
    let verdict = judged(&truth, &spans);
    assert!(verdict.foreign == 1 && verdict.is_perfect(), "{verdict}");
}

/// Of the bins that are not empty, the range, how much is there and how much of it is right.
fn told<'bin>(bins: impl Iterator<Item = (Range, &'bin Bin)>) -> Vec<(String, usize, usize)> {
    let filled = bins.filter(|(_, bin)| bin.links > 0);
    filled
        .map(|(range, bin)| (range.to_string(), bin.links, bin.right))
        .collect()
}

#[test]
fn a_link_by_timing_is_held_to_the_confidence_that_it_claims() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    find(&mut spans, Kind::Client, "/job/r1.0").confidence = Some(0.953);
    find(&mut spans, Kind::Client, "/job/r1.0.0").confidence = Some(0.953);
    let other = find(&mut spans, Kind::Server, "/job/r1").id.clone();
    let wrong = find(&mut spans, Kind::Client, "/job/r2.0");
    (wrong.parent, wrong.confidence) = (other, Some(0.958));
    let verdict = judged(&truth, &spans);
    let links = told(verdict.calibration.links());
    assert_eq!(links, [("0.95 to 0.96".to_owned(), 3, 2)]);
    assert_eq!(told(verdict.calibration.candidates()), []);
    assert_eq!(verdict.by_evidence["timing"], (2, 3));
}

#[test]
fn a_link_by_timing_that_does_not_say_how_likely_it_is_claims_to_be_certain() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    // No confidence is written as a number that is none.
    find(&mut spans, Kind::Client, "/job/r1.0").confidence = Some(f64::NAN);
    let verdict = judged(&truth, &spans);
    let links = told(verdict.calibration.links());
    assert_eq!(links, [("0.99 to 1.00".to_owned(), 1, 1)]);
    assert_eq!(verdict.calibration.misses().count(), 0);
}

#[test]
fn a_candidate_is_judged_as_a_link_would_be_and_is_none() {
    let truth = Truth::new(CHAIN, false);
    let mut spans = right(&truth);
    let [true_parent, other] =
        ["/job/r1", "/job/r2"].map(|path| find(&mut spans, Kind::Server, path).id.clone());
    for (path, candidate, confidence) in [
        ("/job/r1.0", true_parent, 0.62),
        ("/job/r2.0", other.clone(), 0.65),
        ("/job/r1.0.0", other, 0.31),
    ] {
        let span = find(&mut spans, Kind::Client, path);
        span.parent.clear();
        span.candidate = Some((candidate, confidence));
    }
    // Of a root that has no parent in truth, any is wrong.
    let nobody = find(&mut spans, Kind::Server, "/job/r1");
    nobody.candidate = Some(("nobody".to_owned(), 0.05));
    let verdict = judged(&truth, &spans);
    let candidates = told(verdict.calibration.candidates());
    let expected = [
        ("0.00 to 0.10", 1, 0),
        ("0.30 to 0.40", 1, 0),
        ("0.60 to 0.70", 2, 2),
    ];
    assert_eq!(
        candidates,
        expected.map(|(range, all, right)| (range.to_owned(), all, right))
    );
    assert_eq!(told(verdict.calibration.links()), []);
    assert_eq!((verdict.orphans, verdict.exported_links), (3, 9));
}

#[test]
fn an_empty_export_recalls_nothing() {
    let verdict = judged(&Truth::new(CHAIN, false), &[]);
    assert!(verdict.recall() <= 0.0 && verdict.found_spans == 0 && !verdict.is_perfect());
}

#[test]
fn what_is_not_otlp_is_an_error() {
    let truth = Truth::new(CHAIN, false);
    assert!(judge(&truth, ["{"]).is_err());
    let internal =
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"a","spanId":"b","kind":1}]}]}]}"#;
    assert!(judge(&truth, [internal]).is_err());
}
