//! HTTP over Unix sockets: both ends are spans, linked, whatever the programs do with the socket.

use std::fs;
use std::net::TcpListener;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::Test;
use crate::agent::{Agent, Traced};
use crate::http1::{of_kind, paired};
use crate::skip::{needs, needs_unix_sockets};
use crate::sockets::joined_late;
use crate::spans::{Kind, Span};

pub const TESTS: &[Test] = &[
    (
        "nginx_to_gunicorn_over_a_unix_socket_is_one_trace",
        nginx_to_gunicorn,
    ),
    (
        "a_unix_socket_with_an_abstract_name_is_told_as_the_peer",
        |agent| {
            // curl connects anew for each URL there.
            let client = [
                "curl",
                "-sS",
                "--abstract-unix-socket",
                "{socket}",
                "http://localhost/a",
            ];
            let traced = asked(agent, "--abstract", "plain", &client)?;
            paired(&traced, 1)?;
            told_as_peer(&traced, |peer| peer.starts_with('@') && peer.ends_with("/socket"))
        },
    ),
    (
        "a_request_that_is_peeked_at_on_a_unix_socket_is_one_request_to_its_path",
        |agent| {
            let traced = served(agent, "peek")?;
            paired(&traced, 2)?;
            told_as_peer(&traced, |peer| peer.ends_with("/socket"))
        },
    ),
    (
        "bodies_that_are_spliced_over_a_unix_socket_have_their_size",
        spliced,
    ),
    (
        "a_unix_socket_that_is_passed_to_another_process_goes_on",
        |agent| paired(&served(agent, "pass")?, 2),
    ),
    (
        "requests_over_a_unix_socket_that_was_connected_before_are_seen_and_not_linked_by_it",
        connected_before,
    ),
    ("a_unix_socket_that_a_fork_inherits_goes_on", |agent| {
        paired(&served(agent, "fork")?, 2)
    }),
];

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
    upstream app { server unix:@FOLDER@/app.sock; keepalive 4; }
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server { listen 127.0.0.1:@PORT@; location / { proxy_pass http://app; } }
}
"#;

/// Starts both, asks, and ends them.
const SCRIPT: &str = r#"
gunicorn --chdir "$3" --bind "unix:$1/app.sock" --worker-class gthread --threads 2 --keep-alive 5 --log-level error \
    --worker-tmp-dir "$1" wsgi:app &
app=$!
nginx -p "$1" -c nginx.conf -e stderr &
proxy=$!
until [ -S "$1/app.sock" ] && [ -s "$1/nginx.pid" ]; do sleep 0.05; done
curl -sS "http://127.0.0.1:$2/r0" "http://127.0.0.1:$2/r1" "http://127.0.0.1:$2/r2" "http://127.0.0.1:$2/r3"
status=$?
kill -QUIT $proxy
wait $proxy
kill $app
wait $app
exit $status
"#;

const REQUESTS: usize = 4;

fn nginx_to_gunicorn(agent: &Agent) -> Result<()> {
    needs_unix_sockets(agent)?;
    needs(&["nginx", "gunicorn", "curl"])?;
    let folder = TempDir::new()?;
    let place = folder.path().display().to_string();
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let nginx = NGINX.replace("@FOLDER@", &place).replace("@PORT@", &port);
    fs::write(folder.path().join("nginx.conf"), nginx)?;
    let code = concat!(env!("CARGO_MANIFEST_DIR"), "/live");
    let traced = agent
        .trace(&[], &["sh", "-c", SCRIPT, "sh", &place, &port, code])?
        .successful()?;
    let chain = [
        (Kind::Server, "unix"),
        (Kind::Client, "unix"),
        (Kind::Server, ""),
        (Kind::Client, ""),
    ];
    for kind in [Kind::Client, Kind::Server] {
        of_kind(&traced, kind, 2 * REQUESTS)?;
    }
    for request in 0..REQUESTS {
        let path = format!("/r{request}");
        let is_last = |span: &&Span| {
            span.attribute("network.transport") == "unix" && span.attribute("url.path") == path
        };
        let mut span = traced.spans.iter().find(is_last);
        let mut seen = Vec::new();
        while let Some(here) = span {
            seen.push((here.kind, here.attribute("network.transport")));
            span = traced.spans.iter().find(|other| other.id == here.parent);
        }
        ensure!(
            seen == chain,
            "{path} is not one trace from gunicorn to curl: {seen:?} in {:?}",
            traced.spans
        );
    }
    Ok(())
}

fn served(agent: &Agent, way: &str) -> Result<Traced> {
    let client = [
        "curl",
        "-sS",
        "--unix-socket",
        "{socket}",
        "http://localhost/a",
        "http://localhost/b",
    ];
    asked(agent, "--unix", way, &client)
}

fn asked(agent: &Agent, place: &str, way: &str, client: &[&str]) -> Result<Traced> {
    needs_unix_sockets(agent)?;
    needs(&["python3", "curl"])?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/live/sockets.py");
    agent
        .trace(&[], &[&["python3", script, place, way], client].concat())?
        .successful()
}

/// How much had passed is not known, so that it is not known which request at one end is which at the other.
fn connected_before(agent: &Agent) -> Result<()> {
    needs_unix_sockets(agent)?;
    let folder = TempDir::new()?;
    let place = folder.path().join("socket").display().to_string();
    let traced = joined_late(agent, &[&place])?;
    for kind in [Kind::Client, Kind::Server] {
        for span in of_kind(&traced, kind, 3)? {
            ensure!(
                span.attribute("tracer.link.evidence") != "connection",
                "it cannot be known: {span:?}"
            );
        }
    }
    Ok(())
}

fn told_as_peer(traced: &Traced, is_right: fn(&str) -> bool) -> Result<()> {
    for span in &traced.spans {
        ensure!(
            span.attribute("network.transport") == "unix",
            "another transport: {span:?}"
        );
        let peer = span.attribute("network.peer.address");
        let is_as_it_should = match span.kind {
            Kind::Client => is_right(peer),
            Kind::Server | Kind::Other => peer.is_empty(),
        };
        ensure!(is_as_it_should, "another peer: {span:?}");
    }
    Ok(())
}

fn spliced(agent: &Agent) -> Result<()> {
    let body = "x".repeat(50_000);
    let client = [
        "curl",
        "-sS",
        "-H",
        "Expect:",
        "--data",
        &body,
        "--unix-socket",
        "{socket}",
        "http://localhost/a",
        "http://localhost/b",
    ];
    let traced = asked(agent, "--unix", "splice", &client)?;
    paired(&traced, 2)?;
    for span in &traced.spans {
        let sizes = ["request", "response"].map(|half| span.attribute(&format!("http.{half}.body.size")));
        ensure!(sizes == ["50000", "50000"], "{sizes:?}: {span:?}");
    }
    Ok(())
}
