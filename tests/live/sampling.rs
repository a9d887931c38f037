//! What callers do not sample, what rules drop, and what the tail keeps.

use std::fs;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::Test;
use crate::agent::{Agent, Traced};
use crate::http1::{answer, of_kind};
use crate::skip::needs;
use crate::spans::Kind;

pub const TESTS: &[Test] = &[
    (
        "a_request_that_its_caller_does_not_sample_is_no_span_nor_what_it_causes",
        unsampled,
    ),
    ("what_a_rule_drops_is_no_span_nor_what_it_causes", dropped_by_rule),
    (
        "of_finished_traces_those_with_an_error_are_kept_whole",
        kept_for_errors,
    ),
];

/// A server that asks itself for what it is asked for, without passing any header on.
fn unsampled(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl"])?;
    let context =
        |flags| format!("TraceParent:\t00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
    let (no, yes) = (context("00"), context("01"));
    let script = "curl -sS -H \"$2\" $1/no $1/no && curl -sS -H \"$3\" $1/yes && curl -sS $1/none";
    let client = ["sh", "-c", script, "sh", "{url}/via", &no, &yes];
    let folder = TempDir::new()?;
    let recording = folder.path().join("raw");
    let options = ["--record-raw", "--record", &recording.display().to_string()];
    let traced = agent.trace(&options, &answer(&[], &client))?.successful()?;
    let servers = of_kind(&traced, Kind::Server, 4)?;
    let paths: Vec<_> = servers.iter().map(|span| span.attribute("url.path")).collect();
    ensure!(
        paths == ["/via/yes", "/yes", "/via/none", "/none"],
        "other spans: {paths:?}"
    );
    let delivered = fs::read(recording)?;
    let holds = |head: &str| {
        delivered
            .windows(head.len())
            .any(|bytes| bytes == head.as_bytes())
    };
    ensure!(
        holds("GET /via/yes HTTP") && !holds("GET /via/no HTTP"),
        "the head of a request that is not sampled left the kernel, or no head did"
    );
    Ok(())
}

/// The rule is of the request that comes in first; what it causes has another path.
fn dropped_by_rule(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl"])?;
    let client = [
        "curl",
        "-sS",
        "{url}/via/health",
        "{url}/via/cart",
        "{url}/via/health",
        "{url}/pay",
    ];
    let options = [
        "--sample",
        "service=curl /pay drop",
        "--sample",
        "method=GET /via/health* drop",
    ];
    let traced = agent.trace(&options, &answer(&[], &client))?.successful()?;
    let servers = of_kind(&traced, Kind::Server, 2)?;
    let paths: Vec<_> = servers.iter().map(|span| span.attribute("url.path")).collect();
    ensure!(paths == ["/via/cart", "/cart"], "other spans: {paths:?}");
    whole(&traced)
}

/// An error of the inner of two requests, and of its trace everything.
fn kept_for_errors(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl"])?;
    let client = [
        "curl",
        "-sS",
        "{url}/a",
        "{url}/status/503",
        "{url}/via/b",
        "{url}/c",
    ];
    let traced = agent
        .trace(&["--tail", "errors"], &answer(&[], &client))?
        .successful()?;
    let servers = of_kind(&traced, Kind::Server, 1)?;
    let paths: Vec<_> = servers.iter().map(|span| span.attribute("url.path")).collect();
    ensure!(paths == ["/status/503"], "other spans: {paths:?}");
    of_kind(&traced, Kind::Client, 1)?;
    let options = ["--tail", "errors,ratio=1", "--sampler", "traceidratio=1"];
    let traced = agent.trace(&options, &answer(&[], &client))?.successful()?;
    of_kind(&traced, Kind::Server, 5)?;
    let of_share = traced.export.matches(r#""traceState":"ot=th:0""#).count();
    // The pair of the error says nothing of how many it stands for.
    ensure!(of_share == 8, "{of_share} spans of 8 say their threshold");
    whole(&traced)
}

/// No span is under one that was left out.
fn whole(traced: &Traced) -> Result<()> {
    let is_there = |id: &str| traced.spans.iter().any(|span| span.id == id);
    let orphan = traced
        .spans
        .iter()
        .find(|span| !span.parent.is_empty() && !is_there(&span.parent));
    ensure!(
        orphan.is_none(),
        "{orphan:?} is under a span that is not exported"
    );
    Ok(())
}
