//! Receivers that others wrote get the spans that the json export shows. `cargo xtask test` installs them and runs
//! these tests; `tests/otlp/README.md` says how to do without it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{checkout, host, listener};
use crate::export::{BatchSettings, Exporters, JsonDestination, OtlpSettings, Target};

const WAYS: [(&str, &str); 4] = [
    ("grpc", "none"),
    ("grpc", "gzip"),
    ("http/protobuf", "none"),
    ("http/protobuf", "gzip"),
];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The file of an installed receiver.
fn installed(name: &str) -> PathBuf {
    let path = repository().join(name);
    assert!(path.exists(), "{name} is missing: see tests/otlp/README.md");
    path
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Exports one checkout to a backend and returns what the json export shows of it.
fn export(protocol: &str, compression: &str, address: SocketAddr) -> Value {
    let env = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
        "OTEL_EXPORTER_OTLP_COMPRESSION" => Some(compression.to_owned()),
        _ => None,
    };
    let (settings, _) = OtlpSettings::from_env(Some(&format!("http://{address}")), env).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.json");
    let targets = [
        Target::Otlp(settings),
        Target::Json(JsonDestination::File(file.clone())),
    ];
    let exporters =
        Exporters::start(&targets, &BatchSettings::default(), &host(), listener().0, || ()).unwrap();
    exporters.send(checkout());
    let report = exporters.shutdown(Duration::from_secs(5), &[]);
    assert_eq!(report.dropped(), 0, "{report:?}");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// Both sides without what is not information: an unset status is one that is left out.
fn comparable(mut request: Value) -> Value {
    let groups = request["resourceSpans"].as_array_mut().unwrap();
    for span in groups
        .iter_mut()
        .flat_map(|group| group["scopeSpans"].as_array_mut().unwrap())
        .flat_map(|scope| scope["spans"].as_array_mut().unwrap())
    {
        if span["status"] == Value::Object(serde_json::Map::default()) {
            span.as_object_mut().unwrap().remove("status");
        }
    }
    request
}

#[test]
#[ignore = "needs the receiver that cargo xtask test installs"]
fn the_official_python_messages_hold_the_spans_of_the_json_export() {
    let python = installed("target/otlp-receiver/bin/python");
    let mut child = Command::new(python)
        .arg(repository().join("tests/otlp/receiver.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _running = Running(child);
    let ports = lines.next().unwrap().unwrap();
    let port = |name: &str| -> u16 {
        let mut words = ports.split(' ').skip_while(|word| *word != name);
        words.nth(1).unwrap().parse().unwrap()
    };
    for (protocol, compression) in WAYS {
        let (name, way) = match (protocol, compression) {
            ("grpc", _) => ("grpc", "grpc"),
            (_, "gzip") => ("http", "http gzip"),
            _ => ("http", "http"),
        };
        let exported = export(
            protocol,
            compression,
            SocketAddr::from(([127, 0, 0, 1], port(name))),
        );
        let received: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(received["way"], way);
        assert_eq!(
            comparable(received["request"].clone()),
            comparable(exported),
            "{protocol} {compression}"
        );
    }
}

#[test]
#[ignore = "needs the receiver that cargo xtask test installs"]
fn the_collector_writes_the_very_lines_of_the_json_export() {
    let collector = installed("target/collector/otelcol-test");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("collector.json");
    let [grpc, http] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let log = fs::File::create(folder.path().join("collector.log")).unwrap();
    let _running = Running(
        Command::new(collector)
            .arg("--config")
            .arg(repository().join("tests/collector/config.yaml"))
            .envs([
                ("GRPC_PORT", grpc.port().to_string()),
                ("HTTP_PORT", http.port().to_string()),
            ])
            .env("OUTPUT", &file)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap(),
    );
    let lines = || -> Vec<String> {
        fs::read_to_string(&file)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    };
    wait_until("the Collector listens", || {
        TcpStream::connect(grpc).is_ok() && TcpStream::connect(http).is_ok()
    });
    for (place, (protocol, compression)) in WAYS.into_iter().enumerate() {
        let address = if protocol == "grpc" { grpc } else { http };
        let exported = export(protocol, compression, address);
        wait_until("the Collector has written the line", || lines().len() > place);
        let written: Value = serde_json::from_str(&lines()[place]).unwrap();
        assert_eq!(written, exported, "{protocol} {compression}");
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{what}: not within 20 s"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
