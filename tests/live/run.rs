//! `run`: what is selected is traced, from the moment it does something.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::Test;
use crate::agent::{Agent, in_guest};
use crate::http1::{answer, answer_untraced, of_kind, paired};
use crate::skip::{Skip, needs};
use crate::spans::Kind;

pub const TESTS: &[Test] = &[
    ("run_by_pid_traces_what_the_process_starts_later", by_pid),
    ("run_by_port_traces_a_server_that_starts_later", by_port),
    (
        "run_in_a_container_of_its_own_traces_the_host_whose_root_it_is_given",
        by_host_root,
    ),
    ("run_all_traces_every_process_of_the_host", all),
];

const CLIENT: [&str; 4] = ["curl", "-sS", "{url}/a", "{url}/b"];

fn by_pid(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl"])?;
    // A shell that waits for a line, so that the agent is there before its children are.
    let mut shell = Command::new("sh")
        .args(["-c", "read line; \"$@\"", "sh"])
        .args(answer(&[], &CLIENT))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let running = agent.run(&["--pid", &shell.id().to_string()]);
    // Closing its input ends the shell, also where the agent did not start.
    let mut input = shell.stdin.take().context("the shell has no input")?;
    if running.is_ok() {
        input.write_all(b"go\n")?;
    }
    drop(input);
    let status = shell.wait()?;
    let traced = running?.stop()?;
    ensure!(status.success(), "the traced command ended with {status}");
    paired(&traced, 2)
}

fn free_port() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string())
}

fn by_port(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl"])?;
    let port = free_port()?;
    let running = agent.run(&["--port", &port])?;
    answer_untraced(&["--port", &port], &CLIENT)?;
    let traced = running.stop()?;
    let servers = of_kind(&traced, Kind::Server, 2)?;
    ensure!(
        servers.iter().all(|span| span.attribute("server.port") == port),
        "other ports: {servers:?}"
    );
    Ok(())
}

/// The process ids of the kernel and the host's network are only in what is mounted from the host.
fn by_host_root(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl", "mount"])?;
    let root = TempDir::new()?;
    let root = root.path().display().to_string();
    let port = free_port()?;
    let starter = [
        "python3",
        concat!(env!("CARGO_MANIFEST_DIR"), "/live/apart.py"),
        &root,
    ];
    let refused = agent.run_under(&starter, &["--port", &port]).err();
    let refused = refused.context("it traces with ids that are not the kernel's")?;
    ensure!(
        format!("{refused:#}").contains("--host-root"),
        "it says: {refused:#}"
    );
    let running = agent.run_under(&starter, &["--port", &port, "--host-root", &root])?;
    answer_untraced(&["--port", &port], &CLIENT)?;
    of_kind(&running.stop()?, Kind::Server, 2)?;
    Ok(())
}

fn all(agent: &Agent) -> Result<()> {
    if !in_guest() {
        bail!(Skip(
            "other programs run on this machine: tried in a virtual machine only".to_owned()
        ));
    }
    needs(&["python3", "curl"])?;
    let running = agent.run(&["--all"])?;
    answer_untraced(&[], &CLIENT)?;
    paired(&running.stop()?, 2)
}
