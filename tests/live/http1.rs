//! HTTP/1 as clients that nobody here wrote speak it.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::Test;
use crate::agent::{Agent, MEMORY_MAX_KIB, Traced, in_guest};
use crate::skip::{Skip, needs};
use crate::spans::{Kind, Span};

pub const TESTS: &[Test] = &[
    (
        "requests_kept_alive_by_curl_are_a_pair_of_spans_each",
        curl_keep_alive,
    ),
    ("http_1_0_is_one_pair_of_spans_a_connection", http_1_0),
    ("a_post_that_expects_100_continue_is_one_exchange", post_expect),
    ("an_error_status_is_exported_as_the_server_sent_it", error_status),
    (
        "the_sizes_of_a_gibibyte_each_way_are_right_and_take_no_memory",
        gibibyte,
    ),
    ("the_exit_status_is_that_of_the_command", exit_status),
    ("the_agent_takes_small_pages_and_its_command_as_before", pages),
];

/// Runs a client against `answer.py`, both traced.
fn answered(agent: &Agent, options: &[&str], client: &[&str]) -> Result<Traced> {
    needs(&["python3", "curl"])?;
    agent.trace(&[], &answer(options, client))
}

/// The command that answers one client.
pub fn answer<'word>(options: &[&'word str], client: &[&'word str]) -> Vec<&'word str> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/live/answer.py");
    [&["python3", script], options, &["--"], client].concat()
}

/// Runs that command, started by this program and not by the agent.
pub fn answer_untraced(options: &[&str], client: &[&str]) -> Result<()> {
    let words = answer(options, client);
    let (program, arguments) = words.split_first().context("no command")?;
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status()?;
    ensure!(
        status.success(),
        "the command that is not traced ended with {status}"
    );
    Ok(())
}

/// The spans of one kind in the order of their start, checked to be as many as were made.
pub fn of_kind(traced: &Traced, kind: Kind, count: usize) -> Result<Vec<&Span>> {
    let mut spans: Vec<_> = traced.spans.iter().filter(|span| span.kind == kind).collect();
    spans.sort_by_key(|span| span.start);
    ensure!(
        spans.len() == count,
        "{} {kind:?} spans, {count} expected, of {:?} and others; standard error was:\n{}",
        spans.len(),
        traced.spans.iter().take(8).collect::<Vec<_>>(),
        traced.errors
    );
    Ok(spans)
}

/// Every server span is the child of the client span of the same exchange and lies within it.
pub fn paired(traced: &Traced, count: usize) -> Result<()> {
    let clients = of_kind(traced, Kind::Client, count)?;
    let servers = of_kind(traced, Kind::Server, count)?;
    for (client, server) in clients.iter().zip(&servers) {
        ensure!(server.parent == client.id, "{server:?} is not under {client:?}");
        ensure!(
            server.trace == client.trace,
            "{server:?} is not in the trace of {client:?}"
        );
        ensure!(
            client.start <= server.start && server.start <= server.end && client.start <= client.end,
            "the times of {client:?} and {server:?} are out of order"
        );
        ensure!(
            client.summary() == server.summary(),
            "{client:?} and {server:?} disagree"
        );
        ensure!(
            server.attribute("tracer.link.evidence") == "connection",
            "{server:?} has other evidence"
        );
    }
    Ok(())
}

fn curl_keep_alive(agent: &Agent) -> Result<()> {
    let traced = answered(
        agent,
        &[],
        &["curl", "-sS", "{url}/a?secret=1", "{url}/b", "{url}/c"],
    )?
    .successful()?;
    paired(&traced, 3)?;
    let clients = of_kind(&traced, Kind::Client, 3)?;
    ensure!(
        clients.iter().all(|span| span.service == "curl"),
        "not all are curl's: {clients:?}"
    );
    ensure!(
        clients.iter().all(|span| span.summary() == "GET 200"),
        "not all are answered: {clients:?}"
    );
    let ports: Vec<_> = of_kind(&traced, Kind::Server, 3)?
        .iter()
        .map(|span| span.attribute("client.port"))
        .collect();
    ensure!(
        ports.windows(2).all(|pair| pair.first() == pair.last()),
        "not one connection: {ports:?}"
    );
    ensure!(!traced.export.contains("secret=1"), "a query value was exported");
    Ok(())
}

fn http_1_0(agent: &Agent) -> Result<()> {
    let traced = answered(
        agent,
        &["--protocol", "HTTP/1.0"],
        &["curl", "-sS", "--http1.0", "{url}/a", "{url}/b"],
    )?
    .successful()?;
    paired(&traced, 2)
}

fn post_expect(agent: &Agent) -> Result<()> {
    let body = "x".repeat(100_000);
    let client = [
        "curl",
        "-sS",
        "-H",
        "Expect: 100-continue",
        "--data",
        &body,
        "{url}/upload",
    ];
    let traced = answered(agent, &[], &client)?.successful()?;
    paired(&traced, 1)?;
    let server = of_kind(&traced, Kind::Server, 1)?;
    ensure!(
        server.iter().all(|span| span.summary() == "POST 200"),
        "not POST 200: {server:?}"
    );
    Ok(())
}

fn error_status(agent: &Agent) -> Result<()> {
    let traced = answered(agent, &[], &["curl", "-sS", "{url}/status/503"])?.successful()?;
    paired(&traced, 1)?;
    let server = of_kind(&traced, Kind::Server, 1)?;
    ensure!(
        server.iter().all(|span| span.attribute("error.type") == "503"),
        "no error.type: {server:?}"
    );
    Ok(())
}

/// Down by sendfile, up by a length, at once and after `100 Continue`.
fn gibibyte(agent: &Agent) -> Result<()> {
    // An emulated machine takes a minute for it.
    let size: u64 = if in_guest() { 1 << 26 } else { 1 << 30 };
    let folder = TempDir::new()?;
    let file = folder.path().join("upload");
    File::create(&file)?.set_len(size)?;
    let upload = file.display().to_string();
    let script = format!(
        r#"curl -sS -o /dev/null "$1/bytes/{size}" &&
        curl -sS -o /dev/null -H Expect: -T "$2" "$1/up" &&
        curl -sS -o /dev/null -H "Expect: 100-continue" -T "$2" "$1/up""#
    );
    let traced = answered(agent, &[], &["sh", "-c", &script, "sh", "{url}", &upload])?.successful()?;
    paired(&traced, 3)?;
    let size = size.to_string();
    for kind in [Kind::Server, Kind::Client] {
        let sizes: Vec<_> = of_kind(&traced, kind, 3)?
            .iter()
            .map(|span| ["request", "response"].map(|half| span.attribute(&format!("http.{half}.body.size"))))
            .collect();
        let small = "6";
        let expected = [["0", &size], [&size, small], [&size, small]];
        ensure!(sizes == expected, "{kind:?}: {sizes:?}, not {expected:?}");
    }
    ensure!(
        (1..MEMORY_MAX_KIB).contains(&traced.peak_memory_kib),
        "the agent took {} KiB",
        traced.peak_memory_kib
    );
    Ok(())
}

fn exit_status(agent: &Agent) -> Result<()> {
    let traced = answered(agent, &[], &["sh", "-c", "exit 7"])?;
    ensure!(traced.status.code() == Some(7), "ended with {}", traced.status);
    ensure!(traced.spans.is_empty(), "spans of nothing: {:?}", traced.spans);
    Ok(())
}

/// Where the kernel gives huge pages unasked, the agent would take several times its memory.
fn pages(agent: &Agent) -> Result<()> {
    let script = "grep THP_enabled /proc/$PPID/status /proc/self/status >&2";
    let errors = agent.trace(&[], &["sh", "-c", script])?.successful()?.errors;
    let said: Vec<_> = errors
        .lines()
        .filter_map(|line| line.split_once("THP_enabled:"))
        .map(|(_, enabled)| enabled.trim())
        .collect();
    let before = fs::read_to_string("/proc/self/status")?;
    let before = before.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    let Some(before) = before else {
        bail!(Skip("this kernel has no huge pages".to_owned()));
    };
    ensure!(said == ["0", before.trim()], "agent and command: {said:?}");
    Ok(())
}
