//! The server and the sender, on loopback, with good and bad company.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;

use super::{strict, told};
use crate::{
    export::{
        otlp::{OtlpSettings, Signal},
        tests::{backend, host},
    },
    ids::BootNanos,
    metrics::{Board, Readers, Service, StartError, push::Notify},
};

const LIMIT: Duration = Duration::from_secs(20);

fn clock() -> BootNanos {
    BootNanos(1_000_000_000)
}

fn service(readers: &Readers, board: &Arc<Board>) -> Result<Service, StartError> {
    service_heard(readers, board, Arc::new(|_| ()))
}

fn service_heard(readers: &Readers, board: &Arc<Board>, notify: Notify) -> Result<Service, StartError> {
    let who = (host(), Vec::new());
    Service::start(readers, board.clone(), &who, || 2_000, &notify, || ())
}

fn served() -> (Service, SocketAddr, Arc<Board>) {
    let board = Arc::new(Board::new(clock, 1_000));
    let readers = Readers {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..Readers::default()
    };
    let service = service(&readers, &board).unwrap();
    let address = service.addresses()[0];
    (service, address, board)
}

/// Everything that is answered to these bytes, until the server ends the connection.
fn answer(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // A server that refuses may end the connection before all is written.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(answer).unwrap()
}

fn get(address: SocketAddr, path: &str, headers: &str) -> (u16, String, String) {
    let answer = answer(
        address,
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").as_bytes(),
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head[9..12].parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn a_scraper_gets_what_was_published_in_the_text_it_asks_for() {
    let (_service, address, board) = served();
    board.publish(told::published());
    let (status, head, body) = get(address, "/metrics", "");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(!strict::read(&body, false).is_empty());
    let (_, head, body) = get(address, "/metrics", "accept: application/openmetrics-text\r\n");
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    let samples = strict::read(&body, true);
    assert!(samples.iter().any(|sample| sample.exemplar.is_some()));
}

#[test]
fn health_is_that_of_the_loop_and_readiness_that_of_the_probes() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    let board = Board::new(|| BootNanos(NOW.load(Relaxed)), 0);
    NOW.store(60_000_000_000, Relaxed);
    assert_eq!(board.health(), Ok(()), "to attach takes what it takes");
    assert!(!board.is_ready());
    board.ready();
    NOW.store(89_000_000_000, Relaxed);
    assert_eq!(board.health(), Ok(()));
    NOW.store(91_000_000_000, Relaxed);
    assert_eq!(board.health(), Err(Duration::from_secs(31)));
    board.turned(BootNanos(91_000_000_000));
    assert_eq!(board.health(), Ok(()));

    let (_service, address, board) = served();
    assert_eq!(get(address, "/readyz", "").0, 503);
    assert_eq!(get(address, "/healthz", "").0, 200);
    board.ready();
    assert_eq!(get(address, "/readyz", "").0, 200);
}

#[test]
fn only_what_there_is_is_served_and_only_read() {
    let (_service, address, _) = served();
    assert_eq!(get(address, "/", "").0, 404);
    assert_eq!(get(address, "/metrics/../etc/passwd", "").0, 404);
    let post = answer(
        address,
        b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
    assert!(post.to_ascii_lowercase().contains("allow: get, head"), "{post}");
    let head = answer(
        address,
        b"HEAD /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    assert!(
        head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[test]
fn what_is_no_request_or_too_large_is_refused() {
    let (_service, address, _) = served();
    let long = format!(
        "GET /metrics HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(100_000)
    );
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    let url = format!("GET /{} HTTP/1.1\r\n\r\n", "z".repeat(100_000));
    for request in [
        long.as_bytes(),
        many.as_bytes(),
        url.as_bytes(),
        b"\x16\x03\x01 \r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = answer(address, request);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(get(address, "/healthz", "").0, 200);
}

#[test]
fn requests_one_after_the_other_on_one_connection_are_answered_in_order() {
    let (_service, address, _) = served();
    let one = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = answer(address, format!("{}{last}", one.repeat(50)).as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 50);
    assert_eq!(answer.matches("HTTP/1.1 404").count(), 1);
}

/// More of them than there are places, each of which sends nothing, or one byte at a time for ever.
#[test]
fn those_who_say_nothing_lose_their_place() {
    let (_service, address, _) = served();
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    let slow = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let bytes = b"GET /healthz HTTP/1.1\r\nx: y"
            .iter()
            .chain(std::iter::repeat(&b'y'));
        bytes
            .take(300)
            .take_while(|byte| {
                thread::sleep(Duration::from_millis(50));
                stream.write_all(&[**byte]).is_ok()
            })
            .count()
    });
    assert_eq!(get(address, "/healthz", "").0, 200);
    drop(silent);
    assert!(
        slow.join().unwrap() < 300,
        "a head that takes 15 s was waited for"
    );
}

#[test]
fn an_address_that_is_taken_is_said_at_once() {
    let (_service, address, board) = served();
    let readers = Readers {
        listen: vec![address],
        ..Readers::default()
    };
    let error = service(&readers, &board).err().unwrap().to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("in use"),
        "{error}"
    );
}

fn pushed(scheme: &str, address: SocketAddr, protocol: &str, interval: Duration) -> (Service, Arc<Board>) {
    let env = |name: &str| (name == "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL").then(|| protocol.to_owned());
    let url = format!("{scheme}://{address}");
    let (settings, warnings) = OtlpSettings::of(Signal::Metrics, Some(&url), env).unwrap();
    assert_eq!(warnings, [""; 0]);
    let board = Arc::new(Board::new(clock, 1_000));
    board.publish(told::published());
    let readers = Readers {
        push: vec![(settings, interval)],
        ..Readers::default()
    };
    (service(&readers, &board).unwrap(), board)
}

fn wait_for(what: impl Fn() -> bool) {
    for _ in 0..400 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(25));
    }
    panic!("it does not come");
}

#[test]
fn metrics_are_sent_once_an_interval_and_at_the_end() {
    let (address, log) = backend::http(Vec::new(), None);
    let (service, _) = pushed("http", address, "http/protobuf", Duration::from_millis(100));
    wait_for(|| log.received().len() >= 2);
    let before = log.received().len();
    service.shutdown(Duration::from_secs(5));
    let received = log.received();
    assert!(received.len() > before);
    for request in &received {
        assert!(request.head.starts_with("POST /v1/metrics "), "{}", request.head);
        let message = ExportMetricsServiceRequest::decode(request.body.as_slice()).unwrap();
        assert_eq!(message.resource_metrics.len(), 3);
    }
}

#[test]
fn a_backend_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let busy = backend::Reply::http(503, "retry-after: 0\r\n");
    let refuses = backend::Reply::http(400, "");
    let (address, log) = backend::http(vec![busy.clone(), busy, refuses], None);
    let (service, _) = pushed("http", address, "http/json", Duration::from_secs(3600));
    service.shutdown(Duration::from_secs(5));
    let received = log.received();
    assert_eq!(received.len(), 3);
    let message: serde_json::Value = serde_json::from_slice(&received[2].body).unwrap();
    assert_eq!(message["resourceMetrics"].as_array().unwrap().len(), 3);
}

#[test]
fn a_backend_that_is_away_does_not_keep_the_agent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (service, _) = pushed("http", address, "grpc", Duration::from_secs(3600));
    let ended = Arc::new(Mutex::new(false));
    let flag = ended.clone();
    thread::spawn(move || {
        service.shutdown(Duration::from_millis(300));
        *flag.lock().unwrap() = true;
    });
    wait_for(|| *ended.lock().unwrap());
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn those_who_are_told_change_and_those_who_stay_do_not_notice() {
    let [first, second, third] = [(); 3].map(|()| free_address());
    let (backend, log) = backend::http(Vec::new(), None);
    let url = format!("http://{backend}");
    let (settings, _) = OtlpSettings::of(Signal::Metrics, Some(&url), |_| None).unwrap();
    let board = Arc::new(Board::new(clock, 1_000));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let listening = |addresses: &[SocketAddr]| Readers {
        listen: addresses.to_vec(),
        ..Readers::default()
    };
    let notify: Notify = Arc::new(move |text| hears.lock().unwrap().push(text));
    let service = service_heard(&listening(&[first, second]), &board, notify).unwrap();
    let mut kept = TcpStream::connect(second).unwrap();

    let sending = Readers {
        push: vec![(settings, Duration::from_secs(3600))],
        ..listening(&[second, third])
    };
    service.configure(sending, LIMIT);
    wait_for(|| TcpStream::connect(third).is_ok());
    assert!(TcpStream::connect(first).is_err());
    assert_eq!(get(third, "/healthz", "").0, 200);
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut answer = [0; 12];
    kept.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert!(log.received().is_empty(), "the first interval is not over");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    service.configure(listening(&[first, taken.local_addr().unwrap()]), LIMIT);
    wait_for(|| !log.received().is_empty());
    wait_for(|| TcpStream::connect(first).is_ok());
    wait_for(|| !heard.lock().unwrap().is_empty());
    let said = heard.lock().unwrap().clone();
    assert!(
        said[0].starts_with("cannot serve metrics on 127.0.0.1:"),
        "{said:?}"
    );
    assert!(TcpStream::connect(second).is_err() && TcpStream::connect(third).is_err());
    service.shutdown(LIMIT);
    assert_eq!(log.received().len(), 1, "who has left is sent to a last time");
    assert!(TcpStream::connect(first).is_err());
}
