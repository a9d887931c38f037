//! Parent links over three hops, thread per request, judged by the tree that stands in the paths.

use std::env;
use std::fs;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use xtask::judge::{Truth, judge};

use crate::Test;
use crate::agent::Agent;
use crate::skip::{needs, needs_unix_sockets};

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

/// Every span and every parent link is there, right, and once.
fn chain(agent: &Agent, in_flight: u32, client: &str, options: &[&str]) -> Result<()> {
    needs(&["python3"])?;
    let folder = TempDir::new()?;
    let truth = folder.path().join("truth.txt").display().to_string();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/chain.py");
    let in_flight = in_flight.to_string();
    // An emulated machine is some twenty times slower.
    let total = if env::var_os("IN_GUEST").is_some() {
        "64"
    } else {
        "200"
    };
    let command = [
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
    ensure!(
        verdict.is_perfect(),
        "{verdict}\nstandard error was:\n{}",
        traced.errors
    );
    Ok(())
}
