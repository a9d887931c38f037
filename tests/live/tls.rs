//! HTTP in TLS, where OpenSSL does it as a shared library.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::Test;
use crate::agent::{Agent, Traced, in_guest};
use crate::http1::{answer, of_kind, paired};
use crate::skip::{Skip, needs};
use crate::spans::{Kind, Span};

pub const TESTS: &[Test] = &[
    ("tls_1_2_by_curl_is_a_pair_of_spans_each", |agent| {
        curl(agent, &["--tlsv1.2", "--tls-max", "1.2"])
    }),
    ("tls_1_3_by_curl_is_a_pair_of_spans_each", |agent| {
        curl(agent, &["--tlsv1.3"])
    }),
    (
        "requests_kept_alive_over_tls_by_python_are_a_pair_of_spans_each",
        python_keep_alive,
    ),
    (
        "bodies_of_many_tls_records_have_the_sizes_that_were_sent",
        large_bodies,
    ),
    (
        "nginx_that_ends_tls_is_one_trace_with_what_is_behind_it",
        nginx_in_front,
    ),
    ("http_2_over_tls_by_curl_to_nginx_is_a_pair_of_spans_each", http_2),
    (
        "a_tls_connection_that_was_open_before_is_seen_and_not_linked_by_it",
        connected_before,
    ),
    (
        "tls_in_memory_of_asyncio_at_both_ends_is_placed_on_its_128_connections",
        |agent| in_memory(agent, PYTHON, PYTHON),
    ),
    (
        "tls_in_memory_of_asyncio_and_node_is_placed_on_its_128_connections",
        |agent| in_memory(agent, PYTHON, NODE),
    ),
    (
        "tls_in_memory_of_node_and_asyncio_is_placed_on_its_128_connections",
        |agent| in_memory(agent, NODE, PYTHON),
    ),
    ("tls_of_gnutls_by_wget_is_a_pair_of_spans_each", by_wget),
    ("what_is_in_tls_and_no_http_makes_no_spans", no_http),
    ("with_tls_off_what_is_in_it_is_not_seen", |agent| {
        needs(&["openssl", "python3", "curl"])?;
        let place = Place::new()?;
        let client = ["curl", "-sS", "--cacert", &place.certificate, "{url}/a"];
        let traced = agent.trace(&["--tls", "off"], &place.answered(&client))?;
        ensure!(
            traced.successful()?.spans.is_empty(),
            "spans of what is not to be seen"
        );
        Ok(())
    }),
];

/// A folder with a certificate for loopback and its key.
pub struct Place {
    folder: TempDir,
    certificate: String,
    /// Both files, as `answer.py` takes them.
    both: String,
}

impl Place {
    /// The certificate and its key, as workloads take them.
    pub fn both(&self) -> &str {
        &self.both
    }

    pub fn new() -> Result<Self> {
        let folder = TempDir::new()?;
        let file = |name| folder.path().join(name).display().to_string();
        let (certificate, key) = (file("certificate.pem"), file("key.pem"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .args(["-keyout", &key, "-out", &certificate])
            .stderr(Stdio::null())
            .status()?;
        ensure!(made.success(), "no certificate: openssl ended with {made}");
        Ok(Self {
            both: format!("{certificate},{key}"),
            certificate,
            folder,
        })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The command that answers a client over TLS.
    fn answered<'word>(&'word self, client: &[&'word str]) -> Vec<&'word str> {
        answer(&["--tls", &self.both], client)
    }
}

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/live/tls_client.py");

/// Every server span is under its client span, and both say that it was TLS.
pub fn paired_in_tls(traced: &Traced, count: usize) -> Result<()> {
    paired(traced, count)?;
    for span in of_kind(traced, Kind::Server, count)? {
        ensure!(span.attribute("url.scheme") == "https", "{span:?} is not https");
    }
    for span in of_kind(traced, Kind::Client, count)? {
        ensure!(
            span.attribute("url.full").starts_with("https://127.0.0.1:"),
            "{span:?} is not https"
        );
    }
    Ok(())
}

fn curl(agent: &Agent, version: &[&str]) -> Result<()> {
    needs(&["openssl", "python3", "curl"])?;
    let place = Place::new()?;
    let client = ["curl", "-sS", "--cacert", &place.certificate];
    let client = [
        &client[..],
        version,
        &["{url}/a?secret=1", "{url}/status/404", "{url}/c"],
    ]
    .concat();
    let traced = agent.trace(&[], &place.answered(&client))?.successful()?;
    paired_in_tls(&traced, 3)?;
    let told = of_kind(&traced, Kind::Server, 3)?;
    let told: Vec<_> = told
        .iter()
        .map(|span| (span.attribute("url.path"), span.summary()))
        .collect();
    let expected = [("/a", "GET 200"), ("/status/404", "GET 404"), ("/c", "GET 200")];
    ensure!(
        told.iter()
            .map(|(path, summary)| (*path, summary.as_str()))
            .eq(expected),
        "{told:?}, not {expected:?}"
    );
    ensure!(!traced.export.contains("secret=1"), "a query value was exported");
    Ok(())
}

fn by_wget(agent: &Agent) -> Result<()> {
    needs(&["openssl", "python3", "wget"])?;
    let linked = Command::new("sh")
        .args(["-c", "ldd \"$(command -v wget)\""])
        .output()?;
    if !String::from_utf8_lossy(&linked.stdout).contains("libgnutls") {
        bail!(Skip("this wget has another library of TLS".to_owned()));
    }
    let place = Place::new()?;
    let authority = format!("--ca-certificate={}", place.certificate);
    let client = ["wget", "-q", "-O", "-", &authority, "{url}/a?secret=1", "{url}/b"];
    let traced = agent.trace(&[], &place.answered(&client))?.successful()?;
    paired_in_tls(&traced, 2)?;
    let servers = of_kind(&traced, Kind::Server, 2)?;
    let told = servers.iter().map(|span| span.attribute("url.path"));
    ensure!(told.eq(["/a", "/b"]), "not as they were asked: {servers:?}");
    Ok(())
}

fn python_keep_alive(agent: &Agent) -> Result<()> {
    needs(&["openssl", "python3"])?;
    let place = Place::new()?;
    let paths: Vec<_> = (0..20).map(|request| format!("/r{request}")).collect();
    let mut client = vec!["python3", CLIENT, &place.certificate, "{url}"];
    client.extend(paths.iter().map(String::as_str));
    let traced = agent.trace(&[], &place.answered(&client))?.successful()?;
    paired_in_tls(&traced, paths.len())?;
    let servers = of_kind(&traced, Kind::Server, paths.len())?;
    let told = servers.iter().map(|span| span.attribute("url.path"));
    ensure!(told.eq(paths.iter()), "not as they were asked: {servers:?}");
    Ok(())
}

fn large_bodies(agent: &Agent) -> Result<()> {
    needs(&["openssl", "python3"])?;
    let place = Place::new()?;
    let client = [
        "python3",
        CLIENT,
        &place.certificate,
        "{url}",
        "--post",
        "3000000",
        "/a",
        "/b",
    ];
    let traced = agent.trace(&[], &place.answered(&client))?.successful()?;
    paired_in_tls(&traced, 2)?;
    for kind in [Kind::Server, Kind::Client] {
        for span in of_kind(&traced, kind, 2)? {
            let sizes = ["request", "response"].map(|half| span.attribute(&format!("http.{half}.body.size")));
            ensure!(sizes == ["3000000", "6"], "{sizes:?} in {span:?}");
        }
    }
    Ok(())
}

const NGINX: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    upstream app { server @APP@; keepalive 4; }
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {
        listen 127.0.0.1:@PORT@ ssl;
        ssl_certificate certificate.pem; ssl_certificate_key key.pem;
        location / { proxy_pass http://app; }
    }
}
"#;

/// Starts nginx before the server that answers `$3`, asks, and ends it.
const SCRIPT: &str = r#"
app=${3#http://}
sed -i "s/@APP@/$app/" "$1/nginx.conf"
nginx -p "$1" -c nginx.conf -e stderr &
proxy=$!
until [ -s "$1/nginx.pid" ]; do sleep 0.05; done
u=https://127.0.0.1:$2
curl -sS --cacert "$1/certificate.pem" --http1.1 "$u/r0" "$u/r1" "$u/r2" "$u/r3"
status=$?
kill -QUIT $proxy
wait $proxy
exit $status
"#;

fn nginx_in_front(agent: &Agent) -> Result<()> {
    needs(&["openssl", "nginx", "python3", "curl"])?;
    let place = Place::new()?;
    let folder = place.path().display().to_string();
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    fs::write(place.path().join("nginx.conf"), NGINX.replace("@PORT@", &port))?;
    let command = answer(&[], &["sh", "-c", SCRIPT, "sh", &folder, &port, "{url}"]);
    let traced = agent.trace(&[], &command)?.successful()?;
    for kind in [Kind::Client, Kind::Server] {
        of_kind(&traced, kind, 8)?;
    }
    let chain = [
        (Kind::Server, "http"),
        (Kind::Client, "http"),
        (Kind::Server, "https"),
        (Kind::Client, "https"),
    ];
    for request in 0..4 {
        let path = format!("/r{request}");
        let is_last =
            |span: &&Span| span.attribute("url.scheme") == "http" && span.attribute("url.path") == path;
        let mut span = traced.spans.iter().find(is_last);
        let mut seen = Vec::new();
        while let Some(here) = span {
            let url = [here.attribute("url.scheme"), here.attribute("url.full")].concat();
            seen.push((here.kind, url.split(':').next().unwrap_or_default().to_owned()));
            span = traced.spans.iter().find(|other| other.id == here.parent);
        }
        ensure!(
            seen.iter()
                .map(|(kind, scheme)| (*kind, scheme.as_str()))
                .eq(chain),
            "{path} is not one trace from the application to curl: {seen:?} in {:?}",
            traced.spans
        );
    }
    Ok(())
}

/// Starts nginx, asks, and ends it.
const ASK: &str = r#"
nginx -p "$1" -c nginx.conf -e stderr &
server=$!
until [ -s "$1/nginx.pid" ]; do sleep 0.05; done
u=https://127.0.0.1:$2
curl -sS --cacert "$1/certificate.pem" --http2 "$u/r0?secret=1" "$u/r1" "$u/r2"
status=$?
kill -QUIT $server
wait $server
exit $status
"#;

/// What is in TLS is framed like anything else: both ends agree on HTTP/2 while they shake hands.
fn http_2(agent: &Agent) -> Result<()> {
    needs(&["openssl", "nginx", "curl"])?;
    let place = Place::new()?;
    let folder = place.path().display().to_string();
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let listen = format!("127.0.0.1:{port} ssl http2");
    let conf = NGINX
        .replace("127.0.0.1:@PORT@ ssl", &listen)
        .replace("proxy_pass http://app", "return 200 hello")
        .replace("    upstream app { server @APP@; keepalive 4; }\n", "");
    fs::write(place.path().join("nginx.conf"), conf)?;
    let command = ["sh", "-c", ASK, "sh", &folder, &port];
    let traced = agent.trace(&[], &command)?.successful()?;
    paired_in_tls(&traced, 3)?;
    for span in &traced.spans {
        let told = (span.attribute("network.protocol.version"), span.summary());
        ensure!(told == ("2", "GET 200".to_owned()), "{span:?}");
    }
    ensure!(!traced.export.contains("secret=1"), "a query value was exported");
    Ok(())
}

pub const PYTHON: [&str; 2] = [
    "python3",
    concat!(env!("CARGO_MANIFEST_DIR"), "/live/tls_loop.py"),
];
const NODE: [&str; 2] = ["node", concat!(env!("CARGO_MANIFEST_DIR"), "/live/tls_loop.js")];

/// Starts the server `$4 $5 $9`, asks by `$6 $7 ${10}`, and ends it.
const IN_MEMORY: &str = r#"
"$4" "$5" "$9" "$1/certificate.pem,$1/key.pem" > "$1/port" &
server=$!
until [ -s "$1/port" ]; do sleep 0.05; done
"$6" "$7" "${10}" "$1/certificate.pem" "$(cat "$1/port")" "$8" 2 "$2" "$3"
status=$?
kill $server
wait
exit $status
"#;

/// Seconds in which what a program has inside is attached to.
pub fn settle() -> &'static str {
    if in_guest() { "8" } else { "1" }
}

/// Programs that carry the bytes of TLS themselves, for many connections in one thread: each request is under the one it was made by, which
/// has its path, and by the connection.
fn in_memory(agent: &Agent, server: [&str; 2], client: [&str; 2]) -> Result<()> {
    placed(agent, server, client, ["serve", "ask"])
}

/// The same for any programs, and what each of them is to do.
pub fn placed(agent: &Agent, server: [&str; 2], client: [&str; 2], acts: [&str; 2]) -> Result<()> {
    needs(&["openssl", server[0], client[0]])?;
    let place = Place::new()?;
    let folder = place.path().display().to_string();
    // What Node has inside is attached to when it starts, and the kernel takes its time.
    agent.alone()?;
    let settle = settle();
    let (connections, each) = if in_guest() { (8, 2) } else { (128, 3) };
    let sizes = [connections, each].map(|number| number.to_string());
    let command = [
        &["sh", "-c", IN_MEMORY, "sh", &folder, &sizes[0], &sizes[1]],
        &server[..],
        &client[..],
        &[settle],
        &acts[..],
    ]
    .concat();
    let traced = agent.trace(&[], &command)?.successful()?;
    let count = 2 * connections * each;
    let clients: HashMap<_, _> = of_kind(&traced, Kind::Client, count)?
        .into_iter()
        .map(|span| (span.id.as_str(), span))
        .collect();
    for span in of_kind(&traced, Kind::Server, count)? {
        let path = span.attribute("url.path");
        let is_under = clients
            .get(span.parent.as_str())
            .is_some_and(|client| client.attribute("url.full").ends_with(path));
        ensure!(
            is_under && span.attribute("tracer.link.evidence") == "connection" && span.summary() == "GET 200",
            "{span:?} is not under its request"
        );
    }
    all_placed(&traced)
}

/// Nothing was lost. What the kernel skips is the life of a connection that began or ended while another did: it is told, and
/// the spans are the same.
pub fn all_placed(traced: &Traced) -> Result<()> {
    let losses = traced
        .errors
        .lines()
        .filter(|line| line.contains("lost in the kernel"));
    for line in losses {
        ensure!(
            line.ends_with("lost in the kernel: skipped"),
            "something was lost: {}",
            traced.errors
        );
    }
    Ok(())
}

/// Both ends were in the middle of a connection when the agent came, and each by itself: nothing says which bytes are the same.
fn connected_before(agent: &Agent) -> Result<()> {
    needs(&["openssl", "python3"])?;
    let place = Place::new()?;
    let client = [
        "python3",
        "-u",
        CLIENT,
        &place.certificate,
        "{url}",
        "/before",
        "-",
        "/a",
        "/b",
    ];
    let words = place.answered(&client);
    let mut server = Command::new("python3")
        .args(words.iter().skip(1))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let said = server.stdout.take().context("it has no output")?;
    BufReader::new(said).read_line(&mut line)?;
    let client = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.id()))?;
    let running = agent.run(&["--pid", &server.id().to_string(), "--pid", client.trim()]);
    let mut input = server.stdin.take().context("it has no input")?;
    if running.is_ok() {
        input.write_all(b"go\n")?;
    }
    drop(input);
    let status = server.wait()?;
    let traced = running?.stop()?;
    ensure!(status.success(), "the traced command ended with {status}");
    // The server was reading when its library was attached to: what it got then was not seen.
    for (kind, count) in [(Kind::Client, 2), (Kind::Server, 1)] {
        for span in of_kind(&traced, kind, count)? {
            ensure!(span.summary() == "GET 200", "{span:?} is not answered");
            ensure!(
                span.attribute("tracer.link.evidence") != "connection",
                "{span:?} is linked by a connection that was open before"
            );
        }
    }
    ensure!(
        !traced.errors.contains("lost"),
        "something was lost: {}",
        traced.errors
    );
    Ok(())
}

/// Lines that are no HTTP, sent and returned.
const ECHO: &str = r#"
import socket, ssl, sys, threading
certificate, key = sys.argv[1].split(",")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    with context.wrap_socket(listener.accept()[0], server_side=True) as end:
        while data := end.recv(4096):
            end.sendall(data)
thread = threading.Thread(target=serve)
thread.start()
trusting = ssl.create_default_context(cafile=certificate)
with trusting.wrap_socket(socket.create_connection(listener.getsockname()), server_hostname="localhost") as end:
    for _ in range(50):
        end.sendall(b"*1\\r\\n$4\\r\\nPING\\r\\n")
        assert end.recv(4096)
thread.join()
"#;

fn no_http(agent: &Agent) -> Result<()> {
    needs(&["openssl", "python3"])?;
    let place = Place::new()?;
    let traced = agent
        .trace(&[], &["python3", "-c", ECHO, &place.both])?
        .successful()?;
    ensure!(
        traced.spans.is_empty(),
        "spans of what is no HTTP: {:?}",
        traced.spans
    );
    ensure!(
        !traced.errors.contains("lost"),
        "something was lost: {}",
        traced.errors
    );
    Ok(())
}
