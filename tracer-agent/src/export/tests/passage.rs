//! What stands between an exporter and a backend: a port that leads elsewhere, and a proxy.

use std::{
    io::{self, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use super::{
    backend::{self, Reply},
    checkout,
    failures::start,
    tls::pki,
};
use crate::export::{OtlpSettings, SHUTDOWN_LIMIT, Target};

/// A port that leads to another.
pub struct Passage {
    pub address: SocketAddr,
    to: Arc<Mutex<SocketAddr>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    /// What clients said before they were led on.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Passage {
    /// Leads elsewhere from now on; whoever is inside is thrown out.
    pub fn lead_to(&self, address: SocketAddr) {
        *self.to.lock().unwrap() = address;
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

pub fn plain(to: SocketAddr) -> Passage {
    passage(to, |_, _| true)
}

/// A proxy that leads who asks with `CONNECT` to `to`, whatever was asked for; others are answered as `refusal` says.
fn tunnel(to: SocketAddr, refusal: Option<&'static str>) -> Passage {
    passage(to, move |stream, asked| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            io::Read::read_exact(stream, &mut byte).unwrap();
            head.push(byte[0]);
        }
        asked.lock().unwrap().push(String::from_utf8(head).unwrap());
        let answer = refusal.unwrap_or("HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
        refusal.is_none()
    })
}

fn passage(
    to: SocketAddr,
    admit: impl Fn(&mut TcpStream, &Mutex<Vec<String>>) -> bool + Send + Sync + 'static,
) -> Passage {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let passage = Passage {
        address: listener.local_addr().unwrap(),
        to: Arc::new(Mutex::new(to)),
        open: Arc::default(),
        asked: Arc::default(),
    };
    let (to, open, asked) = (passage.to.clone(), passage.open.clone(), passage.asked.clone());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut inside = stream.unwrap();
            if !admit(&mut inside, &asked) {
                continue;
            }
            let outside = TcpStream::connect(*to.lock().unwrap()).unwrap();
            open.lock()
                .unwrap()
                .extend([inside.try_clone().unwrap(), outside.try_clone().unwrap()]);
            for (from, into) in [
                (inside.try_clone().unwrap(), outside.try_clone().unwrap()),
                (outside, inside),
            ] {
                thread::spawn(move || {
                    let _ = io::copy(&mut &from, &mut &into);
                    let _ = into.shutdown(Shutdown::Write);
                });
            }
        }
    });
    passage
}

/// The settings for a backend that only a proxy knows.
fn by_proxy(endpoint: &str, proxy: SocketAddr, variables: &[(&str, String)]) -> OtlpSettings {
    let env = |name: &str| match name {
        "HTTPS_PROXY" | "HTTP_PROXY" => Some(format!("http://agent:secret@{proxy}")),
        name => {
            let name = name.strip_prefix("OTEL_EXPORTER_OTLP_")?;
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone())
        }
    };
    let (settings, warnings) = OtlpSettings::from_env(Some(endpoint), env).unwrap();
    assert_eq!(warnings, [""; 0]);
    settings
}

fn delivered(settings: OtlpSettings) -> (u64, Vec<String>) {
    let (exporters, heard) = start(&[Target::Otlp(settings)]);
    exporters.send(checkout());
    let report = exporters.shutdown(SHUTDOWN_LIMIT, &[]);
    let heard = heard.lock().unwrap().clone();
    (report.exporters[0].delivered, heard)
}

const AUTHORIZATION: &str = "Basic YWdlbnQ6c2VjcmV0";

#[test]
fn what_is_encrypted_or_grpc_passes_a_proxy_by_a_tunnel() {
    let pki = pki();
    for (protocol, scheme) in [("http/protobuf", "https"), ("grpc", "https"), ("grpc", "http")] {
        let (address, log) = match (protocol, scheme) {
            ("grpc", "https") => backend::grpc(vec![], Some(pki.tonic())),
            ("grpc", _) => backend::grpc(vec![], None),
            _ => backend::http(vec![], Some(pki.rustls())),
        };
        let proxy = tunnel(address, None);
        let mut variables = vec![("PROTOCOL", protocol.to_owned())];
        if scheme == "https" {
            variables.extend(pki.variables());
        }
        let endpoint = format!("{scheme}://backend.test:4999");
        let (spans, heard) = delivered(by_proxy(&endpoint, proxy.address, &variables));
        assert_eq!(
            (spans, log.received().len()),
            (10, 1),
            "{protocol} {scheme}: {heard:?}"
        );
        let asked = proxy.asked.lock().unwrap().clone();
        let expected = format!(
            "CONNECT backend.test:4999 HTTP/1.1\r\nHost: backend.test:4999\r\n\
             Proxy-Authorization: {AUTHORIZATION}\r\n\r\n"
        );
        assert_eq!(asked, [expected], "{protocol} {scheme}");
        assert!(!log.received()[0].head.contains(AUTHORIZATION));
    }
}

#[test]
fn plain_http_is_passed_on_by_a_proxy() {
    let (proxy, log) = backend::http(vec![], None);
    let (spans, heard) = delivered(by_proxy("http://backend.test:4318", proxy, &[]));
    assert_eq!(spans, 10, "{heard:?}");
    let head = log.received()[0].head.clone();
    assert!(
        head.starts_with("POST http://backend.test:4318/v1/traces HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nhost: backend.test:4318\r\n"), "{head}");
    assert!(
        head.contains(&format!("\r\nproxy-authorization: {AUTHORIZATION}\r\n")),
        "{head}"
    );
}

#[test]
fn a_proxy_that_refuses_is_told_and_its_password_is_not() {
    let pki = pki();
    let (address, log) = backend::http(vec![Reply::Reset], None);
    for (refusal, words) in [
        ("HTTP/1.1 407 No\r\n\r\n", "proxy: it answered CONNECT with 407"),
        ("SSH-2.0-x\r\n\r\n", "proxy: its answer to CONNECT is not HTTP"),
    ] {
        let proxy = tunnel(address, Some(refusal));
        let settings = by_proxy("https://backend.test", proxy.address, &pki.variables());
        let (exporters, heard) = start(&[Target::Otlp(settings)]);
        exporters.send(checkout());
        exporters.shutdown(std::time::Duration::from_secs(1), &[]);
        let heard = heard.lock().unwrap().join("\n");
        assert!(heard.contains(words), "{heard}");
        assert!(!heard.contains("secret"), "{heard}");
    }
    assert_eq!(log.received().len(), 0);
}
