//! HTTP/2 in cleartext and gRPC: real clients and servers of several makes, each request once at both ends.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use xtask::judge::{Truth, judge};

use crate::Test;
use crate::agent::{Agent, Traced, in_guest};
use crate::skip::{Skip, needs};
use crate::spans::{Kind, Span};

pub const TESTS: &[Test] = &[
    ("calls_by_grpc_from_python_to_go", |agent| {
        echo(agent, "grpcio", "grpc-go", &[])
    }),
    ("calls_by_grpc_from_node_to_python", |agent| {
        echo(agent, "grpc-js", "grpcio", &[])
    }),
    ("calls_by_grpc_from_go_to_node", |agent| {
        echo(agent, "grpc-go", "grpc-js", &[])
    }),
    ("calls_by_grpc_from_java_to_rust", |agent| {
        echo(agent, "grpc-java", "tonic", &[])
    }),
    ("calls_by_grpc_from_rust_to_java", |agent| {
        echo(agent, "tonic", "grpc-java", &[])
    }),
    ("calls_by_grpc_100_at_once_on_a_connection", |agent| {
        echo(agent, "grpc-go", "grpc-go", &["--in-flight", "100"])
    }),
    ("calls_by_grpc_of_hops_in_go_32_in_flight", |agent| {
        hops(agent, "sequential", "task")
    }),
    ("calls_by_grpc_of_hops_in_go_that_fan_out_32_in_flight", |agent| {
        hops(agent, "nested", "handoff")
    }),
    ("requests_in_http_2_from_h2load_to_nginx", |agent| {
        needs(&["h2load", "nginx"])?;
        h2c(agent, "h2load", "nginx", &[])
    }),
    ("requests_in_http_2_from_httpx_to_node", |agent| {
        needs(&["node"])?;
        h2c(agent, "httpx", "node", &[])
    }),
    (
        "requests_in_http_2_from_node_to_go_with_heads_of_60_kb",
        |agent| {
            needs(&["node"])?;
            h2c(agent, "node", "go", &["--header-bytes", "60000"])
        },
    ),
    (
        "requests_in_http_2_from_go_to_hypercorn_with_heads_of_16_kib",
        |agent| h2c(agent, "go", "hypercorn", &["--header-bytes", "16384"]),
    ),
    ("requests_in_http_2_from_nghttp_through_a_proxy", |agent| {
        needs(&["nghttp", "nghttpx", "nghttpd"])?;
        h2c(agent, "nghttp", "nghttpx", &["--body-bytes", "100000"])
    }),
];

/// Calls of each method.
const TOTAL: usize = 20;
/// What a call of a method ends with, at both ends.
const STATUSES: [(&str, &str); 7] = [
    ("Unary", "OK"),
    ("ServerStream", "OK"),
    ("ClientStream", "OK"),
    ("BidiStream", "OK"),
    ("NotFound", "NOT_FOUND"),
    ("DataLoss", "DATA_LOSS"),
    ("Unimplemented", "UNIMPLEMENTED"),
];

/// Where what others wrote is installed.
pub fn installed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(name)
}

/// A program that was built beside this one.
pub fn built(name: &str) -> PathBuf {
    env::current_exe().unwrap_or_default().with_file_name(name)
}

pub fn needs_files(what: &str, files: &[PathBuf]) -> Result<()> {
    match files.iter().find(|file| !file.exists()) {
        Some(missing) => bail!(Skip(format!("{what} is not installed: no {}", missing.display()))),
        None => Ok(()),
    }
}

/// Python with its packages.
pub fn python() -> PathBuf {
    installed("workloads/bin/python")
}

fn needs_part(part: &str) -> Result<()> {
    match part {
        "grpcio" => needs_files("grpcio", &[python().with_file_name("hypercorn")]),
        "httpx" | "hypercorn" => needs_files(part, &[python().with_file_name("hypercorn")]),
        "grpc-go" => needs_files("grpc-go", &[built("hop-grpc-go")]),
        "go" => needs_files("the program in Go", &[built("h2c-go")]),
        "grpc-js" => {
            needs(&["node"])?;
            needs_files("grpc-js", &[installed("grpc-js/node_modules")])
        }
        "grpc-java" => {
            needs(&["java", "javac"])?;
            let jar = "grpc-java/grpc-netty-shaded-1.85.1.jar";
            needs_files("grpc-java", &[installed(jar)])
        }
        "tonic" => needs_files("tonic", &[installed("tonic/release")]),
        _ => Ok(()),
    }
}

/// A workload of two or more parts, traced to its end.
fn traced(agent: &Agent, parts: &[&str], script: &str, options: &[&str]) -> Result<Traced> {
    needs(&["python3"])?;
    parts.iter().try_for_each(|part| needs_part(part))?;
    let script = format!("{}/workloads/{script}", env!("CARGO_MANIFEST_DIR"));
    let of_grpc = format!("HOP_GRPC_GO={}", built("hop-grpc-go").display());
    let of_h2c = format!("H2C_GO={}", built("h2c-go").display());
    let python = Some(python()).filter(|python| python.exists());
    let python = python.unwrap_or_else(|| "python3".into()).display().to_string();
    let command = ["env", &of_grpc, &of_h2c, &python, &script];
    agent.trace(&[], &[&command, options].concat())?.successful()
}

fn echo(agent: &Agent, client: &str, server: &str, options: &[&str]) -> Result<()> {
    let asked = [
        "--server",
        server,
        "--client",
        client,
        "--total",
        "20",
        "--in-flight",
        "10",
    ];
    let traced = traced(agent, &[client, server], "echo.py", &[&asked, options].concat())?;
    let mut found = BTreeMap::<_, usize>::new();
    for span in &traced.spans {
        let method = span.attribute("rpc.method").to_owned();
        let status = span.attribute("rpc.response.status_code").to_owned();
        *found
            .entry((span.kind == Kind::Server, method, status))
            .or_default() += 1;
    }
    let count = |is_server, method: &str, status: &str| {
        let key = (is_server, format!("chain.Echo/{method}"), status.to_owned());
        found.get(&key).copied().unwrap_or_default()
    };
    for is_server in [false, true] {
        for (method, status) in STATUSES {
            ensure!(count(is_server, method, status) == TOTAL, "{method}: {found:#?}");
        }
    }
    // The client goes away; or the server is first to say that it is too late, or the call never came so far as to be sent.
    let all = |is_server, method: &str| {
        let name = format!("chain.Echo/{method}");
        let of_method = found
            .iter()
            .filter(|((at, of, _), _)| *at == is_server && *of == name);
        of_method.map(|(_, count)| count).sum::<usize>()
    };
    let late = all(true, "DeadlineExceeded");
    ensure!((1..=TOTAL).contains(&late), "{found:#?}");
    for is_server in [false, true] {
        let cancelled = all(is_server, "Cancelled");
        ensure!(
            cancelled == TOTAL && all(is_server, "DeadlineExceeded") == late,
            "{found:#?}"
        );
    }
    let calls = (STATUSES.len() + 1) * TOTAL + late;
    ensure!(traced.spans.len() == 2 * calls, "{found:#?}");
    both_ends(&traced)
}

/// Each span of a server hangs under that of its client, and everything is known of both.
pub fn both_ends(traced: &Traced) -> Result<()> {
    for span in &traced.spans {
        ensure!(span.attribute("tracer.incomplete").is_empty(), "{span:?}");
        if span.kind != Kind::Server {
            continue;
        }
        let is_parent = |other: &&Span| other.id == span.parent;
        let client = traced
            .spans
            .iter()
            .find(is_parent)
            .context("without its client")?;
        let is_same = |key| client.attribute(key) == span.attribute(key);
        ensure!(
            client.kind == Kind::Client && is_same("rpc.method") && is_same("http.request.method"),
            "{client:?} is not the other end of {span:?}"
        );
        ensure!(client.start <= span.start, "{client:?} begins after {span:?}");
    }
    Ok(())
}

fn h2c(agent: &Agent, client: &str, server: &str, options: &[&str]) -> Result<()> {
    let asked = [
        "--server",
        server,
        "--client",
        client,
        "--total",
        "20",
        "--in-flight",
        "10",
    ];
    let traced = traced(agent, &[client, server], "h2c.py", &[&asked, options].concat())?;
    let hops = if server == "nghttpx" { 2 } else { 1 };
    let mut found = BTreeMap::<_, usize>::new();
    // It is tried whether the server is there already.
    let is_request = |span: &&Span| span.attribute("error.type") != "ECONNREFUSED";
    for span in traced.spans.iter().filter(is_request) {
        ensure!(span.attribute("network.protocol.version") == "2", "{span:?}");
        let path = span.attribute("url.path");
        let path = [path, span.attribute("url.full")].concat();
        let is_as_asked = match span.summary().as_str() {
            "GET 200" => path.contains("/bytes/"),
            "POST 200" => path.ends_with("/up"),
            _ => path.ends_with("/missing"),
        };
        ensure!(is_as_asked, "{span:?}");
        *found
            .entry((span.kind == Kind::Server, span.summary()))
            .or_default() += 1;
    }
    let expected: BTreeMap<_, _> = [false, true]
        .into_iter()
        .flat_map(|at| ["GET 200", "GET 404", "POST 200"].map(|said| ((at, said.to_owned()), hops * TOTAL)))
        .collect();
    ensure!(
        found == expected,
        "{found:#?}\nstandard error was:\n{}",
        traced.errors
    );
    both_ends(&traced)
}

/// Whoever reads or writes a connection does so for all its streams: the goroutines tell that work on them. Each request has one that works on it, or
/// that makes others for its calls.
fn hops(agent: &Agent, order: &str, evidence: &str) -> Result<()> {
    let folder = TempDir::new()?;
    let truth = folder.path().join("truth.txt").display().to_string();
    let asked = [
        "--truth",
        &truth,
        "--runtime",
        "grpc-go",
        "--total",
        "64",
        "--in-flight",
        "32",
        "--calls",
        "2",
        "--order",
        order,
        // They are followed by then.
        "--settle-ms",
        if in_guest() { "8000" } else { "2000" },
    ];
    agent.alone()?;
    let traced = traced(agent, &["grpc-go"], "chain.py", &asked)?;
    let called = fs::read_to_string(&truth)?;
    let verdict = judge(&Truth::new(called.lines(), true), traced.export.lines())?;
    // One call of the first hop for each request, and two of the second.
    let calls = 3 * 64;
    let is_right = verdict.found_spans == verdict.expected_spans
        && (verdict.right_links, verdict.exported_links) == (verdict.true_links, verdict.true_links)
        && verdict.by_evidence.get(evidence) == Some(&(calls, calls));
    ensure!(is_right, "{verdict}\nstandard error was:\n{}", traced.errors);
    Ok(())
}
