//! What is counted is what was asked for, whatever is sampled.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::Test;
use crate::agent::{Agent, Running};
use crate::http1::{answer_untraced, of_kind};
use crate::now;
use crate::skip::needs;
use crate::spans::Kind;

pub const TESTS: &[Test] = &[
    ("every_request_is_counted_and_health_told", counted),
    (
        "requests_that_are_not_sampled_are_counted_and_are_no_spans",
        counted_before_sampling,
    ),
];

/// Counts are published once a second, and where nothing comes every five.
const LIMIT: Duration = Duration::from_secs(60);
const COUNT: &str = "http_server_request_duration_seconds_count";
const REQUESTS: usize = 7;

fn counted(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl"])?;
    let (running, metrics) = serve(agent, &[], &[])?;
    for path in ["/healthz", "/readyz"] {
        let answer = get(metrics, path)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    let answer = get(metrics, "/metrics")?;
    for part in [
        "http_request_method=\"GET\"",
        "tracer_agent_records_total ",
        "tracer_agent_kernel_lost_total{cause=\"ring_full\"} 0",
        "traces_service_graph_request_total{client=\"curl\",server=\"answer\"",
    ] {
        ensure!(answer.contains(part), "{part} is missing in {answer}");
    }
    of_kind(&running.stop()?, Kind::Server, REQUESTS)?;
    Ok(())
}

fn counted_before_sampling(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl"])?;
    let (running, _) = serve(agent, &["--sampler", "always_off"], &[])?;
    of_kind(&running.stop()?, Kind::Server, 0)?;
    // Where the caller decides, the kernel side would not deliver what is to be counted.
    let unsampled = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let (running, metrics) = serve(agent, &[], &["-H", unsampled])?;
    let answer = get(metrics, "/metrics")?;
    ensure!(
        answer.contains("http_response_status_code=\"200\""),
        "the status of what is not sampled is missing in {answer}"
    );
    of_kind(&running.stop()?, Kind::Server, 0)?;
    Ok(())
}

/// An agent that has traced a server until all requests to it were counted, and where it tells of them.
fn serve(agent: &Agent, options: &[&str], of_client: &[&str]) -> Result<(Running, SocketAddr)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let running = agent.run(&[&["--port", &port, "--metrics", "prometheus=0"], options].concat())?;
    let errors = running.errors()?;
    let (_, address) = errors
        .split_once("serving http://")
        .context("it serves nothing")?;
    let (address, _) = address.split_once('/').context("no address")?;
    let address = address.parse()?;
    let client = [&["curl", "-sS"], of_client, &["{url}/a"; REQUESTS]].concat();
    answer_untraced(&["--port", &port], &client)?;
    let begun = now();
    loop {
        let answer = get(address, "/metrics")?;
        let of_servers = answer.lines().filter(|line| line.starts_with(COUNT));
        let counts = of_servers.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
        let sum: usize = counts.sum();
        if sum == REQUESTS {
            return Ok((running, address));
        }
        ensure!(
            sum < REQUESTS && begun.elapsed() < LIMIT,
            "{sum} of {REQUESTS} requests are counted: {answer}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
