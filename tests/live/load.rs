//! Full load: what is not a span is a counted loss.

use std::fs;
use std::net::TcpListener;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::Test;
use crate::agent::{Agent, Traced, in_guest};
use crate::skip::needs;

pub const TESTS: &[Test] = &[
    (
        "every_request_of_a_saturated_nginx_is_a_span_or_a_counted_loss",
        saturated,
    ),
    (
        "with_hardly_any_memory_losses_are_counted_and_what_comes_after_is_whole",
        overloaded,
    ),
];

/// One process that answers from memory and writes a line for each request.
pub const NGINX: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
events { worker_connections 256; }
http {
    log_format line "$request_uri";
    access_log access.log line;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    keepalive_requests 1000000;
    server { listen 127.0.0.1:@PORT@; location / { return 200 "hello"; } }
}
"#;

const CONNECTIONS: usize = 8;

/// Starts the server, drives it, ends it in order, and ends as the load ended.
const SCRIPT: &str = r#"
nginx -p "$1" -c nginx.conf -e stderr &
until [ -s "$1/nginx.pid" ]; do sleep 0.05; done
wrk -t1 -c"$4" -d"$3" "http://127.0.0.1:$2/"
status=$?
curl -sS -o /dev/null "http://127.0.0.1:$2/after1" -o /dev/null "http://127.0.0.1:$2/after2" || status=1
kill -QUIT $!
wait
exit $status
"#;

fn saturated(agent: &Agent) -> Result<()> {
    loaded(agent, &[]).map(drop)
}

/// The smallest ring there is holds a few requests.
fn overloaded(agent: &Agent) -> Result<()> {
    let (traced, lost) = loaded(agent, &["--ring-size", "4K"])?;
    ensure!(
        lost > 0,
        "nothing was lost, so nothing is proven: {}",
        traced.errors
    );
    let after: Vec<_> = traced
        .spans
        .iter()
        .filter(|span| {
            ["url.path", "url.full"]
                .iter()
                .any(|key| span.attribute(key).contains("/after"))
        })
        .collect();
    ensure!(
        !traced.errors.contains("connections_unpairable"),
        "connections that were kept did not recover: {}",
        traced.errors
    );
    ensure!(
        after.len() == 4
            && after
                .iter()
                .all(|span| span.attribute("tracer.incomplete").is_empty()),
        "what came after the load is not whole: {after:?}"
    );
    Ok(())
}

/// Loads a server under the agent; how many requests were lost, which are all that are no spans.
fn loaded(agent: &Agent, options: &[&str]) -> Result<(Traced, usize)> {
    needs(&["nginx", "wrk", "curl"])?;
    let folder = TempDir::new()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    fs::write(folder.path().join("nginx.conf"), NGINX.replace("@PORT@", &port))?;
    let place = folder.path().display().to_string();
    // An emulated machine needs longer to reach its speed, and reaches less.
    let time = if in_guest() { "6s" } else { "3s" };
    let connections = CONNECTIONS.to_string();
    let traced = agent
        .trace(
            options,
            &["sh", "-c", SCRIPT, "sh", &place, &port, time, &connections],
        )?
        .successful()?;
    let served = fs::read_to_string(folder.path().join("access.log"))?
        .lines()
        .count();
    let spans = traced.spans.len();
    // Lost in the kernel, seen but no exchange, made but not delivered.
    let lost = counted(&traced.errors, "kernel: request_lost")
        + counted(&traced.errors, "protocols: requests_")
        + counted(&traced.errors, "queue_full");
    let told = format!(
        "{served} requests served: {spans} spans at both ends and {lost} counted losses; standard error was:\n{}",
        traced.errors
    );
    ensure!(served > 100, "no load: {told}");
    // At the end each connection may have one request that was sent and never read.
    let ends = 2 * served..=2 * served + CONNECTIONS;
    ensure!(ends.contains(&(spans + lost)), "the sums do not agree: {told}");
    Ok((traced, lost))
}

/// The count of a loss in the agent's last words, `loss COUNT`; that of all losses whose names begin so, if there are more.
pub fn counted(errors: &str, loss: &str) -> usize {
    let counts = errors.lines().filter_map(|line| {
        let (_, after) = line.strip_prefix("tracer-agent: ")?.split_once(loss)?;
        after
            .split([' ', ','])
            .find_map(|word| word.parse::<usize>().ok())
    });
    counts.sum()
}
