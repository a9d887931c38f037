//! Parent links over three hops, thread per request, judged by the tree that stands in the paths.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use xtask::judge::{Truth, Verdict, judge};

use crate::Test;
use crate::agent::{Agent, in_guest};
use crate::http2::{installed, needs_files};
use crate::skip::{Skip, needs, needs_unix_sockets};

pub const TESTS: &[Test] = &[
    ("chain_of_three_hops_1_in_flight_kept_alive", |agent| {
        chain(agent, 1, "thread", &[])
    }),
    ("chain_of_three_hops_8_in_flight_kept_alive", |agent| {
        chain(agent, 8, "pool", &[])
    }),
    ("chain_of_three_hops_32_in_flight_kept_alive", |agent| {
        chain(agent, 32, "pool", &[])
    }),
    ("chain_of_three_hops_128_in_flight_kept_alive", |agent| {
        chain(agent, 128, "pool", &[])
    }),
    ("chain_of_three_hops_1_in_flight_one_shot", |agent| {
        chain(agent, 1, "oneshot", &[])
    }),
    ("chain_of_three_hops_32_in_flight_one_shot", |agent| {
        chain(agent, 32, "oneshot", &[])
    }),
    ("chain_of_three_hops_128_in_flight_one_shot", |agent| {
        chain(agent, 128, "oneshot", &[])
    }),
    ("chain_of_go_hops_32_in_flight_kept_alive", |agent| {
        go(agent, 32, &["--calls", "2", "--think-ms", "1"])
    }),
    ("chain_of_go_hops_8_in_flight_one_shot", |agent| {
        go(agent, 8, &["--client", "oneshot"])
    }),
    ("chain_of_go_hops_that_fan_out_8_in_flight", |agent| {
        let version = go_of_hop()?;
        if ["go1.18", "go1.19", "go1.20"]
            .iter()
            .any(|old| version.starts_with(old))
        {
            bail!(Skip(format!(
                "{version} does not say who made a goroutine, as 1.21 does"
            )));
        }
        go(agent, 8, &["--calls", "3", "--order", "nested"])
    }),
    ("chain_through_nginx_that_passes_request_ids_on", |agent| {
        needs(&["nginx"])?;
        chain(agent, 32, "thread", &["--via-nginx", "--request-ids"])
    }),
    ("chain_through_nginx_32_in_flight", |agent| {
        needs(&["nginx"])?;
        turns(agent, 32, "thread", &["--via-nginx"])
    }),
    ("chain_of_node_hops_32_in_flight_kept_alive", |agent| {
        node(agent, 32, "pool", &["--calls", "2"])
    }),
    ("chain_of_node_hops_that_fan_out_8_in_flight_one_shot", |agent| {
        node(agent, 8, "oneshot", &["--calls", "3", "--order", "nested"])
    }),
    ("chain_of_asyncio_hops_32_in_flight_kept_alive", |agent| {
        loops(
            agent,
            32,
            "pool",
            "task",
            &["--runtime", "asyncio", "--calls", "2"],
        )
    }),
    ("chain_of_asyncio_hops_that_gather_8_in_flight", |agent| {
        agent.alone()?;
        let gather = ["--runtime", "asyncio", "--calls", "3", "--order", "nested"];
        // Before the breakpoint is there, which a busy machine takes long for, there is nothing to tell.
        let more: &[&str] = if in_guest() { &[] } else { &["--total", "1000"] };
        loops(agent, 8, "pool", "task", &[&gather, more].concat())
    }),
    ("chain_of_java_hops_32_in_flight_kept_alive", |agent| {
        java(agent, 32, "handoff", 1.0, &["--calls", "2"])
    }),
    (
        "chain_of_java_hops_that_go_on_when_answers_come_16_in_flight",
        |agent| {
            needs(&["java", "javac"])?;
            // Workers of a ForkJoinPool take what there is to do, whoever has woken them for what.
            if release_of_java()? > Some(24) || available_parallelism()?.get() > 2 {
                let by = "from Java 25 on, and with more than two processors, ForkJoinPool does what follows";
                bail!(Skip(by.to_owned()));
            }
            let more = ["--send", "async", "--calls", "2", "--total", "600"];
            java(agent, 16, "turn", 0.99, &more)
        },
    ),
    ("chain_of_java_hops_that_fan_out_in_a_pool_8_in_flight", |agent| {
        // Up to Java 20 one that hands work on may wake the thread that another has work for.
        java(agent, 8, "handoff", 0.99, &["--calls", "3", "--order", "nested"])
    }),
    (
        "chain_of_java_hops_in_virtual_threads_32_in_flight_kept_alive",
        |agent| {
            needs(&["java", "javac"])?;
            if release_of_java()? < Some(24) {
                bail!(Skip("virtual threads have numbers from Java 24 on".to_owned()));
            }
            java(
                agent,
                32,
                "handoff",
                1.0,
                &["--threads", "virtual", "--calls", "2"],
            )
        },
    ),
    ("chain_of_puma_hops_32_in_flight_kept_alive", |agent| {
        puma(agent, 32, "thread", &["--calls", "2"])
    }),
    ("chain_of_puma_hops_8_in_flight_one_shot", |agent| {
        puma(agent, 8, "oneshot", &[])
    }),
    ("chain_of_axum_hops_32_in_flight_kept_alive", |agent| {
        axum(agent, 32, "pool", &["--calls", "2"])
    }),
    ("chain_of_axum_hops_8_in_flight_one_shot", |agent| {
        axum(agent, 8, "oneshot", &[])
    }),
    ("chain_of_axum_hops_that_fan_out_8_in_flight", |agent| {
        axum(agent, 8, "pool", &["--calls", "3", "--order", "nested"])
    }),
    ("chain_over_unix_sockets_8_in_flight_kept_alive", |agent| {
        unix(agent, 8, "pool")
    }),
    ("chain_over_unix_sockets_32_in_flight_one_shot", |agent| {
        unix(agent, 32, "oneshot")
    }),
];

fn unix(agent: &Agent, in_flight: u32, client: &str) -> Result<()> {
    needs_unix_sockets(agent)?;
    chain(agent, in_flight, client, &["--unix"])
}

/// The hop that is written in Go, built beside the live tests.
fn hop() -> PathBuf {
    let here = env::current_exe().unwrap_or_default();
    here.with_file_name("hop-go")
}

/// The version that made it, behind its length in what Go writes into its programs.
fn go_of_hop() -> Result<String> {
    const MAGIC: &[u8] = b"\xff Go buildinf:";
    const LENGTH_AT: usize = 32;
    let Ok(bytes) = fs::read(hop()) else {
        bail!(Skip(
            "the hop in Go was not built: there is no Go here".to_owned()
        ));
    };
    let place = bytes.windows(MAGIC.len()).position(|window| window == MAGIC);
    let info = place.and_then(|place| bytes.get(place + LENGTH_AT..));
    let version = info
        .and_then(|info| info.split_first())
        .and_then(|(len, text)| text.get(..usize::from(*len)));
    Ok(String::from_utf8(
        version
            .context("the hop does not say its version of Go")?
            .to_vec(),
    )?)
}

fn go(agent: &Agent, in_flight: u32, options: &[&str]) -> Result<()> {
    go_of_hop()?;
    // Calls before the breakpoint is there are without a parent: the kernel sets one when it comes to it.
    agent.alone()?;
    let settle = if in_guest() { "6000" } else { "1000" };
    let of_go = ["--runtime", "go", "--settle-ms", settle];
    chain(agent, in_flight, "pool", &[&of_go, options].concat())
}

fn node(agent: &Agent, in_flight: u32, client: &str, options: &[&str]) -> Result<()> {
    needs(&["node"])?;
    turns(
        agent,
        in_flight,
        client,
        &[&["--runtime", "node"], options].concat(),
    )
}

/// 25 of `openjdk 25.0.3 2026-04-21 LTS`.
fn release_of_java() -> Result<Option<u32>> {
    let said = Command::new("java").arg("--version").output()?.stdout;
    let said = String::from_utf8_lossy(&said);
    let number = said.split(' ').nth(1).and_then(|number| number.split('.').next());
    Ok(number.and_then(|number| number.parse().ok()))
}

/// Threads that have others send for them: every span is there, and so much of the links by that is right.
fn java(agent: &Agent, in_flight: u32, evidence: &str, precision: f64, options: &[&str]) -> Result<()> {
    needs(&["java", "javac"])?;
    let options = [&["--runtime", "java"], options].concat();
    let (verdict, errors) = traced(agent, in_flight, "pool", &options)?;
    let (_, by_it) = verdict.by_evidence.get(evidence).copied().unwrap_or_default();
    let is_right = verdict.found_spans == verdict.expected_spans
        && verdict.precision() >= precision
        && by_it > 0
        && (in_guest() || verdict.recall() > 0.9);
    ensure!(is_right, "{verdict}\nstandard error was:\n{errors}");
    Ok(())
}

/// A pool of threads that read what is there when they look, and else answer what another has read: every span is there, no link that is proven is
/// wrong, and few are missing.
fn puma(agent: &Agent, in_flight: u32, client: &str, options: &[&str]) -> Result<()> {
    needs(&["ruby"])?;
    let mut ask = Command::new("ruby");
    ask.args(["-rrack", "-rrack/handler/puma", "-e", ""]);
    if !ask.output()?.status.success() {
        bail!(Skip("ruby does not find puma and rack".to_owned()));
    }
    let options = [&["--runtime", "puma"], options].concat();
    let (verdict, errors) = traced(agent, in_flight, client, &options)?;
    let (_, by_thread) = verdict.by_evidence.get("task").copied().unwrap_or_default();
    let is_right = verdict.found_spans == verdict.expected_spans
        && verdict.wrong_though_proven() == 0
        && by_thread > 0
        && (in_guest() || verdict.recall() > 0.9);
    ensure!(is_right, "{verdict}\nstandard error was:\n{errors}");
    Ok(())
}

/// Tasks that any thread may poll, and that have others write for them.
fn axum(agent: &Agent, in_flight: u32, client: &str, options: &[&str]) -> Result<()> {
    needs_files("axum", &[installed("axum/release/hop-axum")])?;
    if env::consts::ARCH != "x86_64" {
        bail!(Skip(
            "where tokio keeps its tasks is known for x86-64 only".to_owned()
        ));
    }
    // As of the breakpoints in Go.
    agent.alone()?;
    let settle = if in_guest() { "6000" } else { "1500" };
    let of_axum = ["--runtime", "axum", "--settle-ms", settle, "--total", "600"];
    loops(agent, in_flight, client, "task", &[&of_axum, options].concat())
}

/// Event loops that act on what they have read.
fn turns(agent: &Agent, in_flight: u32, client: &str, options: &[&str]) -> Result<()> {
    loops(agent, in_flight, client, "turn", options)
}

/// Every span is there, and no link is wrong, of event loops, which are believed only when they have answered many requests: of the first calls some are without a
/// parent, on an emulated machine most.
fn loops(agent: &Agent, in_flight: u32, client: &str, evidence: &str, options: &[&str]) -> Result<()> {
    let (verdict, errors) = traced(agent, in_flight, client, options)?;
    let (_, by_it) = verdict.by_evidence.get(evidence).copied().unwrap_or_default();
    let is_right = verdict.found_spans == verdict.expected_spans
        && verdict.exported_links == verdict.right_links
        && by_it > 0
        && (in_guest() || verdict.recall() > 0.9);
    ensure!(is_right, "{verdict}\nstandard error was:\n{errors}");
    Ok(())
}

/// Every span and every parent link is there, right, and once.
fn chain(agent: &Agent, in_flight: u32, client: &str, options: &[&str]) -> Result<()> {
    let (verdict, errors) = traced(agent, in_flight, client, options)?;
    ensure!(verdict.is_perfect(), "{verdict}\nstandard error was:\n{errors}");
    Ok(())
}

/// What is right of what was exported, and what the agent said.
fn traced(agent: &Agent, in_flight: u32, client: &str, options: &[&str]) -> Result<(Verdict, String)> {
    needs(&["python3"])?;
    let folder = TempDir::new()?;
    let truth = folder.path().join("truth.txt").display().to_string();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/chain.py");
    let in_flight = in_flight.to_string();
    // An emulated machine is some twenty times slower.
    let total = if in_guest() { "64" } else { "200" };
    let hop = format!("HOP_GO={}", hop().display());
    let command = [
        "env",
        &hop,
        "python3",
        script,
        "--truth",
        &truth,
        "--total",
        total,
        "--in-flight",
        &in_flight,
        "--client",
        client,
    ];
    let traced = agent.trace(&[], &[&command, options].concat())?.successful()?;
    let called = fs::read_to_string(&truth)?;
    let truth = Truth::new(called.lines(), true);
    let verdict = judge(&truth, traced.export.lines())?;
    Ok((verdict, traced.errors))
}
