//! HTTP in TLS between clients and servers that others wrote, as in `cargo xtask matrix`, which tries each with each: those among them that are
//! installed for other tests.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::Test;
use crate::agent::Agent;
use crate::http1::of_kind;
use crate::http2::{needs_files, python};
use crate::skip::needs;
use crate::spans::Kind;
use crate::tls::paired_in_tls;

pub const TESTS: &[Test] = &[
    (
        "tls_1_2_by_requests_httpx_and_aiohttp_is_a_pair_of_spans_each",
        |agent| {
            let clients = ["requests", "httpx", "aiohttp"];
            pairs(agent, "python", &clients, ["1.2", "1.1"])
        },
    ),
    (
        "http_2_over_tls_by_curl_and_httpx_to_hypercorn_is_a_pair_of_spans_each",
        |agent| pairs(agent, "hypercorn", &["curl", "httpx"], ["1.3", "2"]),
    ),
];

/// What ends with which status in a round.
const KINDS: [&str; 4] = ["GET 200", "GET 404", "GET 500", "POST 201"];

fn pairs(agent: &Agent, server: &str, clients: &[&str], [tls, http]: [&str; 2]) -> Result<()> {
    needs(&["openssl", "curl"])?;
    needs_files("packages of Python", &[python()])?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/matrix/matrix.py");
    let (python, names) = (python().display().to_string(), clients.join(","));
    let command = [&python, script, "--server", server, "--clients", &names];
    let how = ["--tls", tls, "--http", http, "--rounds", "2"];
    let traced = agent.trace(&[], &[&command[..], &how].concat())?.successful()?;
    let count = 2 * KINDS.len() * clients.len();
    paired_in_tls(&traced, count)?;
    for kind in [Kind::Client, Kind::Server] {
        let mut found = BTreeMap::<_, usize>::new();
        for span in of_kind(&traced, kind, count)? {
            ensure!(span.attribute("network.protocol.version") == http, "{span:?}");
            *found.entry(span.summary()).or_default() += 1;
        }
        let expected: BTreeMap<_, _> = KINDS
            .map(|summary| (summary.to_owned(), count / KINDS.len()))
            .into();
        ensure!(found == expected, "{kind:?}: {found:?}, not {expected:?}");
    }
    Ok(())
}
