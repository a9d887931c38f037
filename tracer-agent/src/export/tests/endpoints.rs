//! Several endpoints of one destination: they take turns, and one that is away costs nothing but its turn.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tonic::Status;

use super::{
    backend::{self, Reply, Toggled},
    failures::closed_port,
    host, listener, many,
};
use crate::export::{
    BatchSettings, DiskSettings, DropCause, ExporterReport, Exporters, OtlpSettings, SHUTDOWN_LIMIT, Target,
};

/// Spans of a batch in these tests.
const BATCH: usize = 10;

/// One destination with these endpoints.
fn settings(endpoints: &[SocketAddr], protocol: &str) -> OtlpSettings {
    let urls: Vec<String> = endpoints
        .iter()
        .map(|address| format!("http://{address}"))
        .collect();
    let env = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
        "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("500".to_owned()),
        _ => None,
    };
    OtlpSettings::from_env(urls.iter().map(String::as_str), env)
        .unwrap()
        .0
}

fn start(settings: OtlpSettings) -> Exporters {
    let batch = BatchSettings {
        max_batch: BATCH,
        delay: Some(Duration::from_millis(5)),
        ..BatchSettings::default()
    };
    Exporters::start(&[Target::Otlp(settings)], &batch, &host(), listener().0, || ()).unwrap()
}

fn end(exporters: Exporters) -> ExporterReport {
    let report = exporters.shutdown(SHUTDOWN_LIMIT, &[]).exporters.remove(0);
    assert_eq!(
        report.accepted + report.resumed,
        report.delivered + report.dropped_total() + report.kept,
        "every span has a fate: {report:?}"
    );
    report
}

/// How often each span arrived, wherever.
type Arrived = Arc<Mutex<HashMap<Vec<u8>, u32>>>;

/// A backend at an address, which notes what arrives.
fn backend_at(address: SocketAddr, arrived: &Arrived) -> Toggled {
    let arrived = arrived.clone();
    backend::toggled(&address.to_string(), move |body| {
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let groups = request.resource_spans.into_iter();
        let spans = groups
            .flat_map(|group| group.scope_spans)
            .flat_map(|scope| scope.spans);
        let mut arrived = arrived.lock().unwrap();
        spans.for_each(|span| *arrived.entry(span.span_id).or_default() += 1);
    })
}

/// Waits until so many spans have arrived or were lost.
fn settled(exporters: &Exporters, spans: u64) -> ExporterReport {
    let began = Instant::now();
    loop {
        let report = exporters.report().exporters.remove(0);
        if report.delivered + report.dropped_total() >= spans {
            return report;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{report:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn shares(report: &ExporterReport) -> Vec<u64> {
    report
        .endpoints
        .iter()
        .map(|endpoint| endpoint.delivered)
        .collect()
}

#[test]
fn batches_go_round_the_endpoints_while_one_is_dead_to_the_other_and_go_round_again_when_it_is_back() {
    let addresses = [closed_port(), closed_port()];
    let arrived = Arrived::default();
    let first = backend_at(addresses[0], &arrived);
    let _second = backend_at(addresses[1], &arrived);
    let exporters = start(settings(&addresses, "http/protobuf"));
    let spans = many(400);
    exporters.send(spans[..100].to_vec());
    assert_eq!(shares(&settled(&exporters, 100)), [50, 50]);

    drop(first);
    exporters.send(spans[100..300].to_vec());
    let report = settled(&exporters, 300);
    assert_eq!(shares(&report), [50, 250]);
    assert!(report.endpoints[0].failures >= 1, "{report:?}");
    assert_eq!(report.retries, report.endpoints[0].failures);
    assert_eq!(report.dropped, []);

    let _first = backend_at(addresses[0], &arrived);
    // It rests for a second after its first failure, for two after the next, and is asked once more then.
    let doublings = u32::try_from(report.endpoints[0].failures).unwrap() - 1;
    thread::sleep(Duration::from_secs(1 << doublings.min(4)) + Duration::from_millis(100));
    exporters.send(spans[300..].to_vec());
    assert_eq!(shares(&settled(&exporters, 400)), [100, 300]);
    let report = end(exporters);
    assert_eq!((report.delivered, report.dropped_total()), (400, 0));
    let arrived = arrived.lock().unwrap();
    assert_eq!(arrived.len(), 400, "every span arrives");
    assert!(arrived.values().all(|times| *times == 1), "and none twice");
}

/// Both endpoints are away, then the second comes; on disk too if there is a directory.
fn both_are_away_for_a_while(directory: Option<&Path>) {
    let addresses = [closed_port(), closed_port()];
    let disk = directory.map(|directory| DiskSettings {
        directory: directory.to_owned(),
        max_bytes: 16 << 20,
        max_age: Duration::from_secs(3600),
    });
    let exporters = start(OtlpSettings {
        disk,
        ..settings(&addresses, "http/protobuf")
    });
    exporters.send(many(100));
    thread::sleep(Duration::from_millis(700));
    let report = exporters.report().exporters.remove(0);
    assert_eq!((report.delivered, report.dropped_total()), (0, 0));
    assert!(
        report.endpoints.iter().all(|endpoint| endpoint.failures >= 1),
        "each was asked: {report:?}"
    );
    let arrived = Arrived::default();
    let _second = backend_at(addresses[1], &arrived);
    assert_eq!(shares(&settled(&exporters, 100)), [0, 100]);
    let report = end(exporters);
    assert_eq!((report.delivered, report.kept), (100, 0));
    let arrived = arrived.lock().unwrap();
    assert_eq!(arrived.len(), 100);
    assert!(arrived.values().all(|times| *times == 1));
}

#[test]
fn while_all_are_away_batches_wait_in_memory() {
    both_are_away_for_a_while(None);
}

#[test]
fn while_all_are_away_batches_wait_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    both_are_away_for_a_while(Some(folder.path()));
}

#[test]
fn what_was_kept_is_sent_also_when_other_endpoints_have_come_or_gone() {
    let folder = tempfile::tempdir().unwrap();
    let addresses = [closed_port(), closed_port()];
    let on_disk = |endpoints: &[SocketAddr]| OtlpSettings {
        disk: Some(DiskSettings {
            directory: folder.path().to_owned(),
            max_bytes: 16 << 20,
            max_age: Duration::from_secs(3600),
        }),
        ..settings(endpoints, "http/protobuf")
    };
    let exporters = start(on_disk(&addresses[..1]));
    exporters.send(many(30));
    let report = exporters
        .shutdown(Duration::from_millis(500), &[])
        .exporters
        .remove(0);
    assert_eq!((report.kept, report.endpoints), (30, vec![]));
    let arrived = Arrived::default();
    let _second = backend_at(addresses[1], &arrived);
    let exporters = start(on_disk(&addresses));
    settled(&exporters, 30);
    let report = end(exporters);
    assert_eq!((report.resumed, report.delivered), (30, 30));
    assert_eq!(arrived.lock().unwrap().len(), 30);
}

#[test]
fn what_one_endpoint_refuses_for_good_no_other_is_asked_to_take() {
    let no = || vec![Reply::http(400, "")];
    let (one, log_of_one) = backend::http(no(), None);
    let (other, log_of_other) = backend::http(no(), None);
    let exporters = start(settings(&[one, other], "http/protobuf"));
    exporters.send(many(3));
    let report = end(exporters);
    assert_eq!(report.dropped, [(DropCause::Refused, 3)]);
    assert_eq!(log_of_one.received().len() + log_of_other.received().len(), 1);
}

#[test]
fn an_endpoint_is_left_alone_for_as_long_as_it_says_and_no_other_is() {
    let busy = Reply::http(429, "retry-after: 2\r\n");
    let (one, log_of_one) = backend::http(vec![busy], None);
    let (other, log_of_other) = backend::http(vec![], None);
    let exporters = start(settings(&[one, other], "http/protobuf"));
    let began = Instant::now();
    exporters.send(many(100));
    let report = settled(&exporters, 100);
    assert!(began.elapsed() < Duration::from_secs(2), "nobody waits");
    assert_eq!(shares(&report), [0, 100]);
    assert_eq!(
        (log_of_one.received().len(), log_of_other.received().len()),
        (1, 10)
    );
    thread::sleep(Duration::from_millis(2_100));
    exporters.send(many(40));
    assert_eq!(shares(&settled(&exporters, 140)), [20, 120]);
    end(exporters);
}

#[test]
fn an_endpoint_of_grpc_that_stalls_or_says_that_it_is_not_there_gives_its_batches_to_the_next() {
    for reply in [Reply::Stall, Reply::Grpc(Err(Status::unavailable("no")))] {
        let (one, log_of_one) = backend::grpc(vec![reply], None);
        let (other, log_of_other) = backend::grpc(vec![], None);
        let exporters = start(settings(&[one, other, closed_port()], "grpc"));
        exporters.send(many(40));
        let report = settled(&exporters, 40);
        assert_eq!(report.dropped, []);
        assert_eq!(log_of_one.received().len(), 1);
        let failures: Vec<u64> = report
            .endpoints
            .iter()
            .map(|endpoint| endpoint.failures)
            .collect();
        assert!(
            matches!(failures[..], [1, 0, closed] if closed >= 1),
            "{failures:?}"
        );
        assert_eq!(shares(&report), [0, 40, 0]);
        assert_eq!(log_of_other.received().len(), 4);
        end(exporters);
    }
}
