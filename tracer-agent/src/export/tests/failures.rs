//! Both protocols against backends that refuse, stall, reset, throttle and complain.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tonic::{Code, Status};

use super::{
    backend::{self, Log, Received, Reply},
    checkout, host, listener, many,
};
use crate::export::{
    BatchSettings, DropCause, Exporters, JsonDestination, OtlpSettings, Report, SHUTDOWN_LIMIT, Target, json,
    otlp::{
        answer::{Any, ProtoDuration, RetryInfo, RpcStatus},
        mapping,
    },
};

/// The settings of `OTEL_EXPORTER_OTLP_<name>=<value>` for a backend.
pub(super) fn otlp(scheme: &str, address: SocketAddr, variables: &[(&str, &str)]) -> OtlpSettings {
    let env = |name: &str| {
        let name = name.strip_prefix("OTEL_EXPORTER_OTLP_")?;
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let (settings, warnings) = OtlpSettings::from_env(Some(&format!("{scheme}://{address}")), env).unwrap();
    assert_eq!(warnings, [""; 0]);
    settings
}

fn grpc(address: SocketAddr) -> OtlpSettings {
    otlp("http", address, &[("PROTOCOL", "grpc"), ("TIMEOUT", "300")])
}

fn http(address: SocketAddr) -> OtlpSettings {
    otlp("http", address, &[("TIMEOUT", "300")])
}

pub(super) fn start(targets: &[Target]) -> (Exporters, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let (notify, heard) = listener();
    (
        Exporters::start(targets, &BatchSettings::default(), &host(), notify, || ()).unwrap(),
        heard,
    )
}

/// Sends one checkout and ends the run.
fn run(settings: OtlpSettings) -> (Report, Vec<String>) {
    let (exporters, heard) = start(&[Target::Otlp(settings)]);
    exporters.send(checkout());
    let report = exporters.shutdown(SHUTDOWN_LIMIT, &[]);
    let heard = heard.lock().unwrap().clone();
    (report, heard)
}

/// Delivered, sent again, and dropped.
fn figures(report: &Report) -> (u64, u64, Vec<(DropCause, u64)>) {
    let exporter = &report.exporters[0];
    assert_eq!(
        exporter.accepted,
        exporter.delivered + exporter.dropped_total(),
        "every span has a fate"
    );
    (exporter.delivered, exporter.retries, exporter.dropped.clone())
}

fn message_of(log: &Log, place: usize) -> ExportTraceServiceRequest {
    let received = log.received()[place].clone();
    received
        .message
        .unwrap_or_else(|| ExportTraceServiceRequest::decode(&received.body[..]).unwrap())
}

pub(super) fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn http_sends_what_the_mapping_makes_with_the_headers_it_was_given() {
    let (address, log) = backend::http(vec![], None);
    let (report, heard) = run(otlp(
        "http",
        address,
        &[("HEADERS", "authorization=Bearer%20s3cret,x-tenant=shop")],
    ));
    assert_eq!(figures(&report), (10, 0, vec![]));
    assert_eq!(heard, [""; 0]);
    assert_eq!(message_of(&log, 0), mapping::request(checkout(), &host()));
    let head = log.received()[0].head.clone();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    for header in [
        &format!("host: {address}"),
        "content-type: application/x-protobuf",
        "authorization: Bearer s3cret",
        "x-tenant: shop",
        concat!("user-agent: tracer-agent/", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(head.contains(&format!("\r\n{header}\r\n")), "{header} in {head}");
    }
}

#[test]
fn http_compresses_the_body_when_told_to() {
    for coding in ["gzip", "zstd"] {
        let (address, log) = backend::http(vec![], None);
        let (report, _) = run(otlp("http", address, &[("COMPRESSION", coding)]));
        assert_eq!(figures(&report), (10, 0, vec![]));
        let Received { head, body, .. } = log.received()[0].clone();
        let header = format!("\r\ncontent-encoding: {coding}\r\n");
        assert!(head.contains(&header), "{head}");
        let mut plain = Vec::new();
        match coding {
            "gzip" => flate2::read::GzDecoder::new(&body[..])
                .read_to_end(&mut plain)
                .map(drop),
            _ => zstd::stream::copy_decode(&body[..], &mut plain),
        }
        .unwrap();
        assert_eq!(plain, mapping::request(checkout(), &host()).encode_to_vec());
    }
}

#[test]
fn http_json_sends_the_line_of_the_json_export() {
    let (address, log) = backend::http(vec![], None);
    let (report, _) = run(otlp("http", address, &[("PROTOCOL", "http/json")]));
    assert_eq!(figures(&report), (10, 0, vec![]));
    assert_eq!(
        log.received()[0].body,
        json::encode(&mapping::request(checkout(), &host()))
    );
}

#[test]
fn grpc_sends_what_the_mapping_makes_compressed_or_not() {
    for compression in ["none", "gzip", "zstd"] {
        let (address, log) = backend::grpc(vec![], None);
        let variables = [
            ("PROTOCOL", "grpc"),
            ("COMPRESSION", compression),
            ("HEADERS", "x-tenant=shop"),
        ];
        let (report, heard) = run(otlp("http", address, &variables));
        assert_eq!(figures(&report), (10, 0, vec![]), "{heard:?}");
        assert_eq!(message_of(&log, 0), mapping::request(checkout(), &host()));
        assert!(
            log.received()[0].head.contains(r#""x-tenant": "shop""#),
            "{}",
            log.received()[0].head
        );
    }
}

#[test]
fn a_backend_that_refuses_connections_costs_a_bounded_queue_and_no_time() {
    for settings in [http(closed_port()), grpc(closed_port())] {
        let (exporters, heard) = start(&[Target::Otlp(settings)]);
        let began = Instant::now();
        for _ in 0..20 {
            exporters.send(many(1_000));
        }
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "sending does not wait: {:?}",
            began.elapsed()
        );
        let before = exporters.report().exporters[0].dropped.clone();
        let most = (BatchSettings::default().max_queue + BatchSettings::default().max_batch) as u64;
        assert!(
            matches!(before[..], [(DropCause::QueueFull, lost)] if lost >= 20_000 - most),
            "{before:?}"
        );
        let began = Instant::now();
        let report = exporters.shutdown(Duration::from_secs(2), &[]);
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        let (delivered, _, dropped) = figures(&report);
        assert_eq!(
            (delivered, dropped.iter().map(|(_, count)| count).sum()),
            (0, 20_000)
        );
        assert!(!heard.lock().unwrap().is_empty());
    }
}

#[test]
fn a_backend_that_stalls_is_given_up_after_the_timeout_and_asked_again() {
    let (address, log) = backend::http(vec![Reply::Stall], None);
    let (report, heard) = run(http(address));
    assert_eq!(figures(&report), (10, 1, vec![]));
    assert!(heard[0].contains("no answer within 300 ms"), "{heard:?}");
    assert_eq!(message_of(&log, 0), message_of(&log, 1));

    let (address, log) = backend::grpc(vec![Reply::Stall], None);
    let (report, _) = run(grpc(address));
    assert_eq!(figures(&report), (10, 1, vec![]));
    assert_eq!(message_of(&log, 0), message_of(&log, 1));
}

#[test]
fn a_backend_that_resets_is_asked_again() {
    let (address, log) = backend::http(vec![Reply::Reset], None);
    let (report, _) = run(http(address));
    assert_eq!(figures(&report), (10, 1, vec![]));
    assert_eq!(log.received().len(), 2);

    // A server of another protocol breaks the connection off: nothing in gRPC has refused the spans.
    let (address, _) = backend::http(vec![], None);
    let (report, heard) = run(grpc(address));
    assert_eq!(figures(&report).2, [(DropCause::Shutdown, 10)], "{heard:?}");
}

#[test]
fn what_is_refused_for_good_is_not_sent_again_and_the_reason_is_told() {
    let status = RpcStatus {
        code: 3,
        message: "no such\x1b[2J tenant".into(),
        details: vec![],
    };
    let reply = Reply::Http {
        status: 400,
        headers: "content-type: application/x-protobuf\r\n",
        body: status.encode_to_vec(),
    };
    let (address, log) = backend::http(vec![reply], None);
    let (report, heard) = run(http(address));
    assert_eq!(figures(&report), (0, 0, vec![(DropCause::Refused, 10)]));
    assert_eq!(log.received().len(), 1);
    assert_eq!(
        heard,
        [format!(
            "otlp:http://{address}: 10 spans refused: HTTP 400: no such [2J tenant"
        )]
    );

    for status in [
        Status::invalid_argument("no"),
        Status::resource_exhausted("for good"),
    ] {
        let (address, log) = backend::grpc(vec![Reply::Grpc(Err(status))], None);
        let (report, _) = run(grpc(address));
        assert_eq!(figures(&report), (0, 0, vec![(DropCause::Refused, 10)]));
        assert_eq!(log.received().len(), 1);
    }
}

#[test]
fn a_backend_that_is_busy_is_asked_again_when_it_says() {
    let (address, log) = backend::http(vec![Reply::http(503, "retry-after: 2\r\n")], None);
    let began = Instant::now();
    let (report, _) = run(http(address));
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(figures(&report), (10, 1, vec![]));
    assert_eq!(log.received().len(), 2);

    let delay = RetryInfo {
        retry_delay: Some(ProtoDuration { seconds: 2, nanos: 0 }),
    };
    let details = RpcStatus {
        code: Code::ResourceExhausted.into(),
        message: String::new(),
        details: vec![Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
            value: delay.encode_to_vec(),
        }],
    };
    let busy = Status::with_details(Code::ResourceExhausted, "busy", details.encode_to_vec().into());
    let (address, log) = backend::grpc(vec![Reply::Grpc(Err(busy))], None);
    let began = Instant::now();
    let (report, _) = run(grpc(address));
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(figures(&report), (10, 1, vec![]));
    assert_eq!(log.received().len(), 2);
}

#[test]
fn a_run_does_not_outlast_its_limit_for_a_backend_that_is_busy_for_longer() {
    let (address, _) = backend::http(vec![Reply::http(503, "retry-after: 30\r\n")], None);
    let began = Instant::now();
    let (report, _) = run(http(address));
    assert!(began.elapsed() < SHUTDOWN_LIMIT, "{:?}", began.elapsed());
    assert_eq!(figures(&report).2, [(DropCause::Shutdown, 10)]);
}

#[test]
fn rejected_spans_are_counted_and_the_message_is_told() {
    let response = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 3,
            error_message: "too old".into(),
        }),
    };
    let headers = "content-type: application/x-protobuf\r\n";
    let reply = Reply::Http {
        status: 200,
        headers,
        body: response.encode_to_vec(),
    };
    let (over_http, _) = backend::http(vec![reply], None);
    let (over_grpc, _) = backend::grpc(vec![Reply::Grpc(Ok(response))], None);
    for settings in [http(over_http), grpc(over_grpc)] {
        let (report, heard) = run(settings);
        assert_eq!(figures(&report), (7, 0, vec![(DropCause::Rejected, 3)]));
        assert!(heard[0].ends_with("3 of 10 spans rejected: too old"), "{heard:?}");
    }
}

#[test]
fn a_backend_that_stalls_delays_no_other_and_a_span_is_on_the_wire_within_a_second() {
    let (stalled, _) = backend::http(vec![Reply::Stall], None);
    let (healthy, log) = backend::grpc(vec![], None);
    let slow = otlp("http", stalled, &[("TIMEOUT", "60000")]);
    let (exporters, _) = start(&[Target::Otlp(slow), Target::Otlp(grpc(healthy))]);
    exporters.send(checkout());
    let began = Instant::now();
    while log.received().is_empty() {
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "the healthy backend waits"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let report = exporters.shutdown(Duration::from_millis(300), &[]);
    let lost: Vec<_> = report
        .exporters
        .iter()
        .map(|exporter| exporter.dropped.clone())
        .collect();
    assert_eq!(lost, [vec![(DropCause::Shutdown, 10)], vec![]]);
}

#[test]
fn a_full_disk_is_told_once_and_counted_and_the_run_goes_on() {
    let full = Target::Json(JsonDestination::parse("/dev/full"));
    let (exporters, heard) = start(&[full]);
    for _ in 0..3 {
        exporters.send(checkout());
        std::thread::sleep(Duration::from_millis(250));
    }
    let report = exporters.shutdown(SHUTDOWN_LIMIT, &[]);
    assert_eq!(figures(&report), (0, 0, vec![(DropCause::WriteFailed, 30)]));
    let heard = heard.lock().unwrap().clone();
    assert_eq!(
        heard,
        ["json:/dev/full: 10 spans not written: No space left on device (os error 28)"]
    );
}

#[test]
fn a_file_that_cannot_be_opened_ends_the_run_before_it_begins() {
    let target = Target::Json(JsonDestination::parse("/nonexistent/spans.json"));
    let error = Exporters::start(&[target], &BatchSettings::default(), &host(), listener().0, || ())
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "cannot write json:/nonexistent/spans.json: No such file or directory (os error 2)"
    );
}

#[test]
fn the_lines_of_a_replay_depend_on_the_spans_alone() {
    let folder = tempfile::tempdir().unwrap();
    let lines = |name: &str, piece: usize| {
        let path = folder.path().join(name);
        let target = Target::Json(JsonDestination::File(path.clone()));
        let batch = BatchSettings {
            max_queue: 64,
            max_batch: 16,
            ..BatchSettings::default()
        }
        .for_replay();
        let exporters = Exporters::start(&[target], &batch, &host(), listener().0, || ()).unwrap();
        for spans in many(500).chunks(piece) {
            exporters.send_waiting(spans.to_vec());
        }
        let report = exporters.shutdown(SHUTDOWN_LIMIT, &[]);
        assert_eq!(figures(&report), (500, 0, vec![]));
        std::fs::read_to_string(path).unwrap()
    };
    let first = lines("first", 500);
    assert_eq!(first.lines().count(), 32);
    assert_eq!(first, lines("second", 7));
}
