//! A pipeline that is configured otherwise while it works.

use super::*;
use crate::{
    metrics::exposition::{self, Format},
    testing::End,
};

/// What one request and its answer are given out as.
fn served(pipeline: &mut Pipeline, connection: u64, sampled: &str, status: &str) -> Vec<Span> {
    let trace = format!("{connection:032x}");
    let head = format!("GET / HTTP/1.1|Host: shop|traceparent: 00-{trace}-00f067aa0ba902b7-{sampled}");
    let answer = format!("HTTP/1.1 {status}|Content-Length: 0");
    let end = End::accepted(connection)
        .wait(connection * 1_000_000_000)
        .receive(&head, 0)
        .send(&answer, 0)
        .close();
    let mut out = Vec::new();
    for record in end.encoded() {
        pipeline.push(&Input::Record(record), &mut out);
    }
    // Past the waits of every stage.
    let later = BootNanos(end.now()).plus(40_000_000_000);
    pipeline.push(&Input::Tick(later), &mut out);
    out
}

fn begun(settings: Settings) -> Pipeline {
    let mut pipeline = Pipeline::new(settings);
    let host = HostInfo {
        id_seed: [3, 4],
        ..HostInfo::default()
    };
    pipeline.push(&Input::Host(host), &mut Vec::new());
    pipeline
}

fn with_tail(rules: Option<&str>) -> Settings {
    Settings {
        tail: rules.map(|rules| rules.parse().unwrap()),
        ..Settings::default()
    }
}

fn counted(pipeline: &mut Pipeline) -> String {
    let families = pipeline.families(BootNanos(1 << 40));
    let text = exposition::text(&families, Format::Prometheus);
    let count = |line: &&str| line.starts_with("http_server_request_duration_seconds_count");
    let line = text.lines().find(count).unwrap_or_default();
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn tail_rules_come_change_and_go() {
    let mut pipeline = begun(with_tail(None));
    assert_eq!(served(&mut pipeline, 1, "01", "200 OK").len(), 1);
    pipeline.configure(with_tail(Some("errors")));
    assert_eq!(served(&mut pipeline, 100, "01", "200 OK").len(), 0);
    assert_eq!(served(&mut pipeline, 200, "01", "500 No").len(), 1);
    pipeline.configure(with_tail(Some("ratio=1")));
    assert_eq!(served(&mut pipeline, 300, "01", "200 OK").len(), 1);
    pipeline.configure(with_tail(None));
    assert_eq!(served(&mut pipeline, 400, "01", "200 OK").len(), 1);
    let dropped = |counter: &&(&str, &str, u64)| (counter.0, counter.1) == ("tail", "dropped_traces");
    let counters = pipeline.counters();
    assert_eq!(
        counters.iter().find(dropped).unwrap().2,
        1,
        "what was counted stays"
    );
}

#[test]
fn what_is_not_sampled_goes_on_being_counted_when_something_else_changes() {
    let with_metrics = || Settings {
        metrics: Some(metrics::Settings::default()),
        ..Settings::default()
    };
    let mut pipeline = begun(with_metrics());
    assert!(served(&mut pipeline, 1, "00", "200 OK").is_empty());
    assert_eq!(counted(&mut pipeline), "1");
    pipeline.configure(with_metrics());
    assert!(served(&mut pipeline, 100, "00", "200 OK").is_empty());
    assert_eq!(counted(&mut pipeline), "2");
    // Nobody is told for a while.
    pipeline.configure(Settings::default());
    assert!(served(&mut pipeline, 200, "00", "200 OK").is_empty());
    pipeline.configure(with_metrics());
    assert_eq!(counted(&mut pipeline), "3");
}
