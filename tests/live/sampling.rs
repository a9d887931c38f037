//! What callers do not sample.

use std::fs;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::Test;
use crate::agent::Agent;
use crate::http1::{answer, of_kind};
use crate::skip::needs;
use crate::spans::Kind;

pub const TESTS: &[Test] = &[(
    "a_request_that_its_caller_does_not_sample_is_no_span_nor_what_it_causes",
    unsampled,
)];

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
