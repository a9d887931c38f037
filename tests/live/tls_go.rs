//! HTTP in TLS, where Go does it.

use std::collections::HashMap;

use anyhow::{Result, ensure};

use crate::Test;
use crate::agent::{Agent, in_guest};
use crate::http1::of_kind;
use crate::http2::{built, needs_files};
use crate::skip::needs;
use crate::spans::{Kind, Span};
use crate::tls::{PYTHON, Place, all_placed, placed, settle};

pub const TESTS: &[Test] = &[
    (
        "tls_of_go_at_both_ends_is_placed_on_its_128_connections",
        |agent| pair(agent, Who::Go, Who::Go, ["serve", "ask"]),
    ),
    (
        "tls_of_go_within_other_connections_and_read_into_the_stack_is_placed",
        |agent| pair(agent, Who::Go, Who::Go, ["wrapped", "raw"]),
    ),
    (
        "tls_of_go_and_of_asyncio_is_placed_on_its_128_connections",
        |agent| pair(agent, Who::Go, Who::Python, ["serve", "ask"]),
    ),
    (
        "tls_of_asyncio_and_go_is_placed_on_its_128_connections",
        |agent| pair(agent, Who::Python, Who::Go, ["serve", "ask"]),
    ),
    (
        "calls_over_tls_of_a_hop_in_go_are_under_their_requests",
        |agent| hop(agent, "1", "ask"),
    ),
    ("http_2_over_tls_of_go_is_a_pair_of_spans_each", |agent| {
        hop(agent, "2", "ask2")
    }),
];

/// A program at one end.
#[derive(Clone, Copy)]
enum Who {
    Go,
    Python,
}

fn program() -> String {
    built("tls-go").display().to_string()
}

fn pair(agent: &Agent, server: Who, client: Who, acts: [&str; 2]) -> Result<()> {
    needs_files("the program of TLS in Go", &[built("tls-go")])?;
    let program = program();
    let command = |who| match who {
        Who::Go => ["env", &program],
        Who::Python => PYTHON,
    };
    placed(agent, command(server), command(client), acts)
}

/// Starts the program `$1` as a server and as a hop before it, asks the hop, and ends both.
const HOP: &str = r#"
both="$2/certificate.pem,$2/key.pem"
"$1" serve "$both" > "$2/last" &
last=$!
until [ -s "$2/last" ]; do sleep 0.05; done
"$1" hop "$both" "$2/certificate.pem" "$(cat "$2/last")" "$3" > "$2/hop" &
hop=$!
until [ -s "$2/hop" ]; do sleep 0.05; done
"$1" "$4" "$2/certificate.pem" "$(cat "$2/hop")" "$5" 2 "$6" "$7"
status=$?
kill $hop $last
wait
exit $status
"#;

/// Each request at a server is under the one it was made by, by the connection; and what the hop calls is under what it was asked, by the goroutine
/// that handed it on or had it sent.
fn hop(agent: &Agent, protocol: &str, ask: &str) -> Result<()> {
    needs(&["openssl"])?;
    needs_files("the program of TLS in Go", &[built("tls-go")])?;
    let place = Place::new()?;
    let folder = place.path().display().to_string();
    agent.alone()?;
    let (at_once, each) = if in_guest() { (8, 2) } else { (64, 3) };
    let sizes = [at_once, each].map(|number| number.to_string());
    let command = [
        "sh",
        "-c",
        HOP,
        "sh",
        &program(),
        &folder,
        protocol,
        ask,
        settle(),
        &sizes[0],
        &sizes[1],
    ];
    let traced = agent.trace(&[], &command)?.successful()?;
    let asked = 2 * at_once * each;
    let spans: HashMap<_, _> = traced.spans.iter().map(|span| (span.id.as_str(), span)).collect();
    for span in of_kind(&traced, Kind::Server, 2 * asked)? {
        ensure!(
            is_under(span, &spans, "connection"),
            "{span:?} is not under its call"
        );
        ensure!(span.summary() == "GET 200", "{span:?} is not answered");
    }
    let calls = of_kind(&traced, Kind::Client, 2 * asked)?;
    let linked = calls.iter().filter(|span| is_under(span, &spans, "handoff"));
    let linked = linked.count();
    ensure!(
        linked == asked,
        "{linked} of {asked} calls are under their requests"
    );
    for call in calls.iter().filter(|call| !call.parent.is_empty()) {
        let parent = spans.get(call.parent.as_str());
        let is_right = parent.is_some_and(|parent| path(parent) == path(call));
        ensure!(is_right, "{call:?} is under the request of another");
    }
    all_placed(&traced)
}

fn is_under(span: &Span, spans: &HashMap<&str, &Span>, evidence: &str) -> bool {
    let parent = spans.get(span.parent.as_str());
    span.attribute("tracer.link.evidence") == evidence
        && parent.is_some_and(|parent| path(parent) == path(span))
}

fn path(span: &Span) -> &str {
    let full = span.attribute("url.full");
    match full
        .strip_prefix("https://")
        .and_then(|rest| rest.find('/').map(|slash| &rest[slash..]))
    {
        Some(path) => path,
        None => span.attribute("url.path"),
    }
}
