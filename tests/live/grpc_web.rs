//! gRPC-Web by a real client, to a service that answers it itself and to a proxy that calls by gRPC for it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::Test;
use crate::agent::Agent;
use crate::http2::{both_ends, built, needs_files};
use crate::skip::needs;
use crate::spans::Kind;

pub const TESTS: &[Test] = &[
    ("calls_by_grpc_web_in_http_1", |agent| {
        calls(agent, &["--http", "1.1"], &[WEB])
    }),
    ("calls_by_grpc_web_in_http_2", |agent| {
        calls(agent, &["--http", "2"], &[WEB])
    }),
    ("calls_by_grpc_web_through_a_proxy_that_calls_by_grpc", |agent| {
        calls(agent, &["--http", "1.1", "--proxy"], &[WEB_OF_PROXY, NATIVE])
    }),
];

/// Calls of each method.
const TOTAL: usize = 20;
/// What the spans of a hop say: the method, the status of gRPC and that of HTTP.
type Said = [(&'static str, &'static str, &'static str); 4];
/// The service sends no body where there is no message: the status is in the header fields then.
const WEB: Said = [
    ("Unary", "", "200"),
    ("NotFound", "NOT_FOUND", "200"),
    ("DataLoss", "", "200"),
    ("Unimplemented", "UNIMPLEMENTED", "200"),
];
/// The proxy has it in the body always.
const WEB_OF_PROXY: Said = [
    ("Unary", "", "200"),
    ("NotFound", "", "200"),
    ("DataLoss", "", "200"),
    ("Unimplemented", "", "200"),
];
const NATIVE: Said = [
    ("Unary", "OK", ""),
    ("NotFound", "NOT_FOUND", ""),
    ("DataLoss", "DATA_LOSS", ""),
    ("Unimplemented", "UNIMPLEMENTED", ""),
];

/// Each call is a span at both ends of each hop, with what is known of its status and nothing else.
fn calls(agent: &Agent, options: &[&str], hops: &[Said]) -> Result<()> {
    needs(&["python3"])?;
    let program = built("grpc-web");
    needs_files("the program of gRPC-Web", std::slice::from_ref(&program))?;
    let program = format!("GRPC_WEB={}", program.display());
    let script = format!("{}/workloads/grpc_web.py", env!("CARGO_MANIFEST_DIR"));
    let command = ["env", &program, "python3", &script, "--in-flight", "4"];
    let traced = agent.trace(&[], &[&command, options].concat())?.successful()?;
    let mut found = BTreeMap::<_, usize>::new();
    for span in &traced.spans {
        ensure!(span.attribute("rpc.system.name") == "grpc", "{span:?}");
        let said = [
            "rpc.method",
            "rpc.response.status_code",
            "http.response.status_code",
        ];
        let said = said.map(|key| span.attribute(key).to_owned());
        *found.entry((span.kind == Kind::Server, said)).or_default() += 1;
    }
    let mut expected = BTreeMap::<_, usize>::new();
    for said in hops {
        for is_server in [false, true] {
            for (method, status, of_http) in said {
                let method = format!("chain.Echo/{method}");
                let said = [method, (*status).to_owned(), (*of_http).to_owned()];
                *expected.entry((is_server, said)).or_default() += TOTAL;
            }
        }
    }
    ensure!(
        found == expected,
        "{found:#?}\nstandard error was:\n{}",
        traced.errors
    );
    both_ends(&traced)
}
