//! The agent under limits: it leaves out detail, says so, and comes back.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::Test;
use crate::agent::Agent;
use crate::load::{NGINX, counted};
use crate::server::Server;
use crate::skip::needs;

pub const TESTS: &[Test] = &[
    (
        "above_its_limit_of_processor_time_the_agent_leaves_out_detail_and_comes_back",
        cpu,
    ),
    (
        "above_its_limit_of_memory_the_agent_leaves_out_detail_and_goes_on",
        memory,
    ),
];

/// nginx, its files in this folder.
fn nginx(folder: &TempDir) -> Result<Server> {
    needs(&["nginx", "wrk", "curl"])?;
    let folder = folder.path();
    Server::start(|port| {
        let configuration = NGINX.replace("@PORT@", &port.to_string());
        fs::write(folder.join("nginx.conf"), configuration)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder);
        command.args(["-c", "nginx.conf", "-e", "stderr"]);
        Ok(command)
    })
}

/// Asks for a path so often, on one connection.
fn ask(server: &Server, path: &str, times: usize) -> Result<()> {
    let urls = format!("{}?[1-{times}]", server.url(path));
    let status = Command::new("curl")
        .args(["-sS", "-o", "/dev/null", &urls])
        .status()?;
    ensure!(status.success(), "curl ended with {status}");
    Ok(())
}

/// Under as much load as a client makes, until the agent waits; then none.
fn cpu(agent: &Agent) -> Result<()> {
    let folder = TempDir::new()?;
    let server = nginx(&folder)?;
    let running = agent.run(&["--pid", &server.pid(), "--max-cpu", "2%"])?;
    let mut load = Command::new("wrk")
        .args(["-t1", "-c4", "-d120", &server.url("/")])
        .stdout(Stdio::null())
        .spawn()?;
    let entered = running.until_said("step 3 to 4: the agent waits", 1);
    load.kill()?;
    load.wait()?;
    entered?;
    running.until_said("step 1 to 0: nothing is left out", 1)?;
    ask(&server, "/after", 20)?;
    let traced = running.stop()?.successful()?;
    for step in ["0 to 1", "1 to 2", "2 to 3", "4 to 3", "3 to 2", "2 to 1"] {
        ensure!(
            traced.errors.contains(&format!("step {step}: ")),
            "step {step} is not said:\n{}",
            traced.errors
        );
    }
    for what in [
        "correlate: shed_sampling",
        "guard: cpu_changes",
        "guard: waited_ms",
    ] {
        ensure!(
            counted(&traced.errors, what) > 0,
            "{what} is not counted:\n{}",
            traced.errors
        );
    }
    let after = traced
        .spans
        .iter()
        .filter(|span| span.attribute("url.path") == "/after")
        .filter(|span| span.attribute("tracer.incomplete").is_empty());
    let after = after.count();
    ensure!(
        after == 20,
        "{after} of 20 requests after the load are whole spans"
    );
    Ok(())
}

/// A limit that it is above with nothing to do, since its ring alone takes as much: all that can be left out is, and what is sampled then is right.
fn memory(agent: &Agent) -> Result<()> {
    let folder = TempDir::new()?;
    let server = nginx(&folder)?;
    let limits = ["--max-memory", "16MiB", "--ring-size", "16MiB"];
    let running = agent.run(&[&["--pid", &server.pid()], &limits[..]].concat())?;
    running.until_said("for want of memory the core begins anew", 1)?;
    ask(&server, "/after", 200)?;
    let traced = running.stop()?.successful()?;
    for step in ["0 to 1", "1 to 2", "2 to 3", "3 to 4"] {
        ensure!(
            traced.errors.contains(&format!("step {step}: ")),
            "step {step} is not said:\n{}",
            traced.errors
        );
    }
    let shed = counted(&traced.errors, "correlate: shed_sampling");
    let spans = traced.spans.len();
    ensure!(
        spans > 0 && spans + shed == 200,
        "{spans} spans and {shed} that were not sampled; standard error was:\n{}",
        traced.errors
    );
    ensure!(
        traced.export.matches(r#""traceState":"ot=th:e""#).count() == spans,
        "the share is not in the spans: {}",
        traced.export
    );
    Ok(())
}
