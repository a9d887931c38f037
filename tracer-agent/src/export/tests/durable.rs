//! Delivery by way of the disk, through outages, ends and restarts.

use std::{path::Path, time::Duration};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::{
    backend::{self, Log, Reply},
    checkout,
    failures::{closed_port, otlp, start},
    host, many,
};
use crate::export::{
    DiskSettings, DropCause, ExporterReport, OtlpSettings, SHUTDOWN_LIMIT, Target, json, otlp::mapping,
};

fn on_disk(settings: OtlpSettings, directory: &Path) -> OtlpSettings {
    OtlpSettings {
        disk: Some(DiskSettings {
            directory: directory.to_owned(),
            max_bytes: 16 << 20,
            max_age: Duration::from_secs(3600),
        }),
        ..settings
    }
}

/// Sends spans, ends the run, and says what came of them.
fn run(settings: OtlpSettings, spans: Vec<crate::spans::Span>, limit: Duration) -> ExporterReport {
    let (exporters, _) = start(&[Target::Otlp(settings)]);
    exporters.send(spans);
    let report = exporters.shutdown(limit, &[]).exporters.remove(0);
    assert_eq!(
        report.accepted + report.resumed,
        report.delivered + report.dropped_total() + report.kept,
        "every span has a fate: {report:?}"
    );
    report
}

fn messages(log: &Log) -> Vec<ExportTraceServiceRequest> {
    let decoded = |received: backend::Received| {
        received
            .message
            .unwrap_or_else(|| ExportTraceServiceRequest::decode(&received.body[..]).unwrap())
    };
    log.received().into_iter().map(decoded).collect()
}

#[test]
fn what_was_not_delivered_is_kept_for_the_next_run_which_sends_it_first() {
    for protocol in ["grpc", "http/protobuf"] {
        let folder = tempfile::tempdir().unwrap();
        let reserved = closed_port();
        let variables = [("PROTOCOL", protocol), ("TIMEOUT", "300")];
        let settings = on_disk(otlp("http", reserved, &variables), folder.path());
        let report = run(settings, checkout(), Duration::from_millis(700));
        assert_eq!((report.kept, report.dropped), (10, vec![]), "{protocol}");

        let (address, log) = match protocol {
            "grpc" => backend::grpc(vec![], None),
            _ => backend::http(vec![], None),
        };
        // The queue belongs to the endpoint: the new backend stands where the old one did not.
        let settings = on_disk(otlp("http", address, &variables), folder.path());
        let name = otlp("http", reserved, &variables).queue_name();
        std::fs::rename(
            folder.path().join(name),
            folder.path().join(settings.queue_name()),
        )
        .unwrap();
        let report = run(settings, many(3), SHUTDOWN_LIMIT);
        assert_eq!(
            (report.resumed, report.accepted, report.delivered),
            (10, 3, 13),
            "{protocol}"
        );
        assert_eq!((report.kept, report.dropped), (0, vec![]), "{protocol}");
        assert_eq!(
            messages(&log),
            [
                mapping::request(checkout(), &host()),
                mapping::request(many(3), &host())
            ],
            "{protocol}"
        );
    }
}

#[test]
fn what_has_no_room_in_the_next_run_is_counted_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = on_disk(otlp("http", closed_port(), &[]), folder.path());
    let kept = run(settings.clone(), many(3_000), Duration::from_millis(700)).kept;
    settings.disk.as_mut().unwrap().max_bytes = 1_000;
    let report = run(settings, vec![], Duration::from_millis(300));
    assert_eq!((report.resumed, report.kept), (kept, 0));
    assert_eq!(report.dropped, [(DropCause::QueueFull, kept)]);
}

#[test]
fn nothing_is_left_on_disk_of_what_was_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let (address, _) = backend::http(vec![], None);
    let settings = on_disk(otlp("http", address, &[]), folder.path());
    let queue = folder.path().join(settings.queue_name());
    let report = run(settings, checkout(), SHUTDOWN_LIMIT);
    assert_eq!((report.delivered, report.kept), (10, 0));
    let mut names: Vec<_> = std::fs::read_dir(queue)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["lock", "position"]);
}

#[test]
fn what_was_kept_is_sent_in_whichever_way_the_next_run_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (address, log) = backend::http(vec![Reply::http(503, "retry-after: 60\r\n")], None);
    let settings = on_disk(otlp("http", address, &[]), folder.path());
    assert_eq!(run(settings, checkout(), Duration::from_secs(1)).kept, 10);
    let settings = on_disk(otlp("http", address, &[("PROTOCOL", "http/json")]), folder.path());
    let report = run(settings, vec![], SHUTDOWN_LIMIT);
    assert_eq!((report.resumed, report.delivered), (10, 10));
    assert_eq!(
        log.received()[1].body,
        json::encode(&mapping::request(checkout(), &host()))
    );
}

#[test]
fn a_batch_is_tried_until_it_is_too_old_and_counted_then() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = on_disk(otlp("http", closed_port(), &[]), folder.path());
    settings.disk.as_mut().unwrap().max_age = Duration::from_millis(1_200);
    let (exporters, _) = start(&[Target::Otlp(settings)]);
    exporters.send(checkout());
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(
        exporters.report().exporters[0].dropped,
        [(DropCause::Expired, 10)]
    );
    exporters.shutdown(SHUTDOWN_LIMIT, &[]);
}

#[test]
fn a_disk_that_takes_nothing_costs_no_span_while_the_backend_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (address, log) = backend::http(vec![], None);
    let settings = on_disk(otlp("http", address, &[]), folder.path());
    let queue = folder.path().join(settings.queue_name());
    let (exporters, heard) = start(&[Target::Otlp(settings)]);
    std::thread::sleep(Duration::from_millis(100));
    // Segments cannot be made in a directory that is no more.
    std::fs::remove_dir_all(&queue).unwrap();
    exporters.send(checkout());
    std::thread::sleep(Duration::from_millis(600));
    std::fs::create_dir(&queue).unwrap();
    exporters.send(many(3));
    let report = exporters.shutdown(SHUTDOWN_LIMIT, &[]).exporters.remove(0);
    assert_eq!((report.delivered, report.kept, report.dropped), (13, 0, vec![]));
    assert!(report.disk_errors >= 1);
    assert!(
        heard.lock().unwrap()[0].contains("the queue on disk: No such file"),
        "{heard:?}"
    );
    assert_eq!(messages(&log).len(), 2);
}

#[test]
fn two_agents_do_not_share_a_queue() {
    let folder = tempfile::tempdir().unwrap();
    let settings = on_disk(otlp("http", closed_port(), &[]), folder.path());
    let (exporters, _) = start(&[Target::Otlp(settings.clone())]);
    let second = crate::export::Exporters::start(
        &[Target::Otlp(settings)],
        &crate::export::BatchSettings::default(),
        &host(),
        super::listener().0,
        || (),
    );
    let error = second.err().unwrap().to_string();
    assert!(
        error.ends_with("is in use by another agent: give each its own --queue-dir"),
        "{error}"
    );
    exporters.shutdown(Duration::ZERO, &[]);
}
