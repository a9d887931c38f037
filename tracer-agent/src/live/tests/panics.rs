//! A core that panics: what comes after is right, and what it held is counted.

use std::collections::HashSet;

use super::*;
use crate::{
    capture::input::{AttributeValue, Shed},
    ids::TraceId,
    pipeline::{Pipeline, Settings},
    testing::End,
};

const OK: &str = "HTTP/1.1 200 OK|Content-Length: 0";

/// The real core with a defect in it: a record that holds this is too much for it, once it has taken it in.
struct Fragile(Pipeline);

impl Core for Fragile {
    fn push(&mut self, input: &Input<'_>, out: &mut Vec<Span>) {
        self.0.push(input, out);
        let is_bad = |bytes: &[u8]| bytes.windows(4).any(|bytes| bytes == b"/bad");
        assert!(
            !matches!(input, Input::Record(bytes) if is_bad(bytes)),
            "a defect"
        );
    }

    fn next_deadline(&self) -> Option<BootNanos> {
        self.0.next_deadline()
    }

    fn families(&mut self, now: BootNanos) -> Vec<Family> {
        self.0.families(now)
    }
}

struct Came {
    paths: Vec<String>,
    spans: Vec<Span>,
    tally: Tally,
    counters: Vec<(&'static str, &'static str, u64)>,
    is_broken: bool,
}

impl Came {
    fn count(&self, stage: &str, what: &str) -> u64 {
        let mut counters = self.counters.iter();
        counters
            .find(|counter| (counter.0, counter.1) == (stage, what))
            .unwrap()
            .2
    }
}

type Fed<'a> = Feed<'a, &'a mut Fragile, FakeProcesses>;

/// The records of these ends, each with what is done before it.
fn fed(ends: &[End], act: impl Fn(usize, &mut Fed<'_>)) -> Came {
    let mut core = Fragile(Pipeline::new(Settings::default()));
    let processes = FakeProcesses(Cell::new(0), RefCell::default());
    let log = Log::new(Level::Error, io::sink());
    let spans = RefCell::new(Vec::new());
    let deliver = |more| spans.borrow_mut().extend::<Vec<Span>>(more);
    let mut feed = Feed::new((&mut core, processes), None, vec![], deliver, &log);
    feed.host(HostInfo {
        id_seed: [3, 4],
        ..HostInfo::default()
    });
    for (number, record) in ends.iter().flat_map(End::encoded).enumerate() {
        act(number, &mut feed);
        feed.record(record);
    }
    let is_broken = feed.broken().is_some();
    let tally = feed.end(BootNanos(1 << 40), None);
    let spans = spans.take();
    let path = |span: &Span| {
        let mut attributes = span.attributes.iter();
        match attributes.find(|(key, _)| *key == "url.path") {
            Some((_, AttributeValue::Text(path))) => path.to_string(),
            other => panic!("{other:?}"),
        }
    };
    Came {
        paths: spans.iter().map(path).collect(),
        spans,
        tally,
        counters: core.0.counters(),
        is_broken,
    }
}

fn ask(end: End, path: &str) -> End {
    end.receive(&format!("GET {path} HTTP/1.1"), 0).send(OK, 0)
}

/// An end that is asked for these, each in two records, after the one that opens it.
fn asked(number: u64, paths: &[&str]) -> End {
    let end = End::accepted(number).counted();
    paths.iter().fold(end, |end, path| ask(end, path))
}

fn is_without_repeats(spans: &[Span]) -> bool {
    let ids: HashSet<_> = spans.iter().map(|span| span.id).collect();
    let traces: HashSet<TraceId> = spans.iter().map(|span| span.trace).collect();
    ids.len() == spans.len() && traces.len() == spans.len()
}

#[test]
fn after_a_panic_the_spans_of_connections_that_are_open_are_right() {
    let ends = [asked(2, &["/a", "/b", "/bad", "/c", "/d"]), asked(4, &["/e"])];
    let came = fed(&ends, |_, _| ());
    assert_eq!(came.paths, ["/a", "/b", "/c", "/d", "/e"]);
    assert!(is_without_repeats(&came.spans));
    assert!(
        came.spans
            .iter()
            .all(|span| span.start_unix_ns < span.end_unix_ns)
    );
    assert_eq!((came.tally.panics, came.tally.spans), (1, 5));
    assert_eq!(came.count("pipeline", "lost_exchanges"), 1);
    // What was counted before the panic is counted still.
    assert_eq!(came.count("protocols", "exchanges"), 6);
    assert_eq!(came.count("correlate", "begun"), 6);
    assert_eq!(came.count("protocols", "responses_without_request"), 1);
    assert_eq!(came.count("protocols", "requests_of_unknown_connection"), 0);
    // Who they are was asked again.
    assert_eq!(came.spans[0].process.service_name, "look1");
    assert_eq!(came.spans[4].process.service_name, "look2");
}

#[test]
fn panics_that_do_not_stop_are_not_borne() {
    let came = fed(&[asked(2, &["/bad"; 20])], |_, _| ());
    assert!(came.is_broken && came.spans.is_empty());
    assert_eq!(came.tally.panics, 6);
}

#[test]
fn a_run_that_cannot_go_on_says_so_and_ends() {
    let stop = Stop::new().unwrap();
    let mut core = Fragile(Pipeline::new(Settings::default()));
    let log = Log::new(Level::Error, io::sink());
    let processes = FakeProcesses(Cell::new(0), RefCell::default());
    let mut feed = Feed::new((&mut core, processes), None, vec![], |_| {}, &log);
    feed.host(HostInfo::default());
    let probes = FakeProbes {
        ring: Stop::new().unwrap().asked().try_clone_to_owned().unwrap(),
        records: asked(2, &["/bad"; 20]).encoded().to_vec(),
        losses: vec![],
        stop: stop.clone(),
        judged: Rc::default(),
        selected: vec![],
    };
    let live = Live::new(probes, feed, None, &log, || BootNanos(7));
    let pulse = live.pulse();
    let (tally, outcome) = live.run(&stop);
    let error = outcome.unwrap_err().to_string();
    let expected = "the core has panicked 6 times within a minute, at last: a defect at ";
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(tally.panics, 6);
    assert!(format!("{pulse:?}").contains("is_over: true"));
}

/// What is dropped for want of memory is as what is dropped in a panic.
#[test]
fn a_core_that_begins_anew_drops_what_is_in_flight_and_goes_on() {
    let came = fed(&[asked(2, &["/a", "/b", "/c"])], |number, feed| {
        // After the request of /b.
        if number == 4 {
            feed.begin_anew();
        }
    });
    assert_eq!(came.paths, ["/a", "/c"]);
    assert!(is_without_repeats(&came.spans));
    assert_eq!(came.count("pipeline", "lost_exchanges"), 1);
    assert_eq!(came.tally.panics, 0);
}

#[test]
fn what_was_said_on_idle_connections_is_forgotten_and_what_comes_on_them_is_right() {
    let came = fed(&[asked(2, &["/a", "/b", "/c"])], |number, feed| {
        // Between /a and /b, and within /b, where it is not idle.
        if number == 3 || number == 4 {
            feed.shed(Shed { cpu: 0, memory: 3 });
            feed.shed(Shed::default());
        }
    });
    assert_eq!(came.paths, ["/a", "/b", "/c"]);
    assert_eq!(came.count("protocols", "conversations_shed"), 1);
    assert_eq!(came.count("protocols", "exchanges_incomplete"), 0);
}

#[test]
fn of_traces_that_are_thinned_out_the_share_is_kept_and_said() {
    let came = fed(&[asked(2, &["/a"; 4000])], |number, feed| {
        if number == 0 {
            feed.shed(Shed { cpu: 2, memory: 0 });
        }
    });
    // One in four of 4,000, within five standard deviations.
    assert!((863..=1137).contains(&came.spans.len()), "{}", came.spans.len());
    assert!(came.spans.iter().all(|span| span.tracestate == "ot=th:c"));
    let shed = came.count("correlate", "shed_sampling");
    assert_eq!(shed + came.spans.len() as u64, 4000);
    assert_eq!(came.count("correlate", "unsampled"), shed);
}
