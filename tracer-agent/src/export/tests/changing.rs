//! Destinations that come and go while a run goes on.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::{
    backend::{self, Log},
    failures::{closed_port, otlp, start},
    many,
};
use crate::export::{
    DiskSettings, DropCause, ExporterReport, Exporters, JsonDestination, SHUTDOWN_LIMIT, Target,
};

/// What one that leaves has time for in these tests.
const LEAVE: Duration = Duration::from_millis(500);

fn arrived(log: &Log) -> usize {
    let received = log.received().into_iter();
    let messages = received.map(|received| ExportTraceServiceRequest::decode(&received.body[..]).unwrap());
    let groups = messages.flat_map(|message| message.resource_spans);
    let scopes = groups.flat_map(|group| group.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn of(exporters: &Exporters, target: &Target) -> ExporterReport {
    let reports = exporters.report().exporters.into_iter();
    let mut found = reports.filter(|report| report.exporter == target.name());
    let report = found.next().unwrap();
    assert!(found.next().is_none(), "one entry a name");
    report
}

fn settled(report: &ExporterReport) -> bool {
    report.accepted + report.resumed == report.delivered + report.dropped_total() + report.kept
}

#[test]
fn one_that_comes_gets_what_comes_after_it_and_one_that_goes_what_came_before() {
    let (one, log_of_one) = backend::http(vec![], None);
    let (other, log_of_other) = backend::http(vec![], None);
    let [one, other] = [one, other].map(|address| Target::Otlp(otlp("http", address, &[])));
    let (exporters, heard) = start(std::slice::from_ref(&one));
    exporters.send(many(10));
    exporters.configure(&[one.clone(), other.clone()], LEAVE);
    exporters.send(many(20));
    exporters.configure(std::slice::from_ref(&other), LEAVE);
    exporters.send(many(40));
    wait_for("it has left", || !heard.lock().unwrap().is_empty());
    assert_eq!(
        *heard.lock().unwrap(),
        [format!(
            "{}: no longer exported to; 30 of 30 spans delivered",
            one.name()
        )]
    );
    let report = exporters.shutdown(SHUTDOWN_LIMIT, &[]);
    assert_eq!(report.dropped(), 0);
    assert_eq!((arrived(&log_of_one), arrived(&log_of_other)), (30, 60));
    let names: Vec<_> = report
        .exporters
        .iter()
        .map(|report| report.exporter.clone())
        .collect();
    assert_eq!(
        names,
        [one.name(), other.name()],
        "the one that has left is told too"
    );
}

#[test]
fn one_that_stays_keeps_what_waits_for_it() {
    let address = closed_port();
    let one = Target::Otlp(otlp("http", address, &[]));
    let (other, _) = backend::http(vec![], None);
    let other = Target::Otlp(otlp("http", other, &[]));
    let (exporters, _) = start(std::slice::from_ref(&one));
    exporters.send(many(10));
    wait_for("it was tried", || of(&exporters, &one).retries > 0);
    exporters.configure(&[other.clone(), one.clone()], LEAVE);
    exporters.send(many(10));
    exporters.configure(std::slice::from_ref(&one), LEAVE);
    thread::sleep(LEAVE * 2);
    assert_eq!(of(&exporters, &one).dropped, []);
    let _backend = backend::toggled(&address.to_string(), |_| ());
    wait_for("all of it arrives", || of(&exporters, &one).delivered == 20);
    exporters.shutdown(SHUTDOWN_LIMIT, &[]);
}

#[test]
fn one_that_goes_and_cannot_deliver_is_waited_for_no_longer_than_the_limit_and_delays_nobody() {
    let stalled = Target::Otlp(otlp(
        "http",
        backend::http(vec![backend::Reply::Stall], None).0,
        &[("TIMEOUT", "60000")],
    ));
    let (address, log) = backend::http(vec![], None);
    let healthy = Target::Otlp(otlp("http", address, &[]));
    let (exporters, heard) = start(&[stalled.clone(), healthy.clone()]);
    exporters.send(many(10));
    wait_for("it arrives", || arrived(&log) == 10);
    let began = Instant::now();
    exporters.configure(std::slice::from_ref(&healthy), LEAVE);
    exporters.send(many(10));
    assert!(began.elapsed() < LEAVE, "nobody is waited for");
    wait_for("it has left", || !heard.lock().unwrap().is_empty());
    assert!(
        (LEAVE..LEAVE * 10).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
    let report = of(&exporters, &stalled);
    assert_eq!(
        (report.accepted, report.dropped),
        (10, vec![(DropCause::Shutdown, 10)])
    );
    let report = exporters.shutdown(SHUTDOWN_LIMIT, &[]);
    assert_eq!(arrived(&log), 20);
    assert!(report.exporters.iter().all(settled), "{report:?}");
}

fn on_disk(address: std::net::SocketAddr, directory: &Path, max_bytes: u64) -> Target {
    let mut settings = otlp("http", address, &[]);
    settings.disk = Some(DiskSettings {
        directory: directory.to_owned(),
        max_bytes,
        max_age: Duration::from_secs(3600),
    });
    Target::Otlp(settings)
}

#[test]
fn what_one_leaves_on_disk_is_taken_up_by_the_one_that_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let address = closed_port();
    let before = on_disk(address, folder.path(), 16 << 20);
    let after = on_disk(address, folder.path(), 32 << 20);
    let (exporters, heard) = start(std::slice::from_ref(&before));
    exporters.send(many(10));
    wait_for("it was tried", || of(&exporters, &before).retries > 0);
    exporters.configure(std::slice::from_ref(&after), LEAVE);
    exporters.send(many(30));
    let left = |line: &String| line.ends_with("; kept on disk: 10");
    wait_for("it has left", || heard.lock().unwrap().iter().any(left));
    let _backend = backend::toggled(&address.to_string(), |_| ());
    wait_for("all of it arrives", || of(&exporters, &after).delivered == 40);
    // What has left is put together with what came after it.
    exporters.configure(std::slice::from_ref(&after), LEAVE);
    let report = exporters.shutdown(SHUTDOWN_LIMIT, &[]);
    let [report] = &report.exporters[..] else {
        panic!("{report:?}")
    };
    assert_eq!(
        (report.accepted, report.resumed, report.delivered),
        (40, 0, 40),
        "no span is counted twice"
    );
    assert_eq!((report.kept, &report.dropped[..]), (0, &[][..]));
}

#[test]
fn one_that_cannot_be_opened_is_told_and_what_it_is_handed_is_counted() {
    let (address, log) = backend::http(vec![], None);
    let healthy = Target::Otlp(otlp("http", address, &[]));
    let missing = Target::Json(JsonDestination::parse("/nonexistent/spans.json"));
    let (exporters, heard) = start(std::slice::from_ref(&healthy));
    exporters.configure(&[healthy.clone(), missing.clone()], LEAVE);
    exporters.send(many(10));
    wait_for("it is told", || !heard.lock().unwrap().is_empty());
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "json:/nonexistent/spans.json: everything for it is lost: cannot write json:/nonexistent/spans.json: No such \
             file or directory (os error 2)"
        ]
    );
    let report = exporters.shutdown(SHUTDOWN_LIMIT, &[]);
    assert_eq!(arrived(&log), 10);
    assert_eq!(report.exporters[1].dropped, [(DropCause::WriteFailed, 10)]);
}
