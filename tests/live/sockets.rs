//! Sockets that are used as few programs do: what passes over them is seen all the same, or said not to be.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::Test;
use crate::agent::{Agent, Traced};
use crate::http1::{of_kind, paired};
use crate::skip::{Skip, needs};
use crate::spans::Kind;

pub const TESTS: &[Test] = &[
    ("a_request_that_is_peeked_at_is_one_request", peeked),
    ("bodies_that_are_spliced_have_their_size", spliced),
    ("a_connection_that_is_passed_to_another_process_goes_on", passed),
    ("a_connection_that_a_fork_inherits_goes_on", inherited),
    (
        "a_connection_that_was_open_before_is_joined_at_the_next_request",
        opened_before,
    ),
    ("requests_served_by_io_uring_are_seen", io_uring),
];

const TWO: [&str; 4] = ["curl", "-sS", "{url}/a", "{url}/b"];

fn served(agent: &Agent, way: &str, client: &[&str]) -> Result<Traced> {
    needs(&["python3", "curl"])?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/live/sockets.py");
    agent
        .trace(&[], &[&["python3", script, way], client].concat())?
        .successful()
}

fn peeked(agent: &Agent) -> Result<()> {
    paired(&served(agent, "peek", &TWO)?, 2)
}

fn spliced(agent: &Agent) -> Result<()> {
    let body = "x".repeat(50_000);
    let client = [
        "curl", "-sS", "-H", "Expect:", "--data", &body, "{url}/a", "{url}/b",
    ];
    let traced = served(agent, "splice", &client)?;
    paired(&traced, 2)?;
    for kind in [Kind::Server, Kind::Client] {
        for span in of_kind(&traced, kind, 2)? {
            let sizes = ["request", "response"].map(|half| span.attribute(&format!("http.{half}.body.size")));
            ensure!(sizes == ["50000", "50000"], "{kind:?}: {sizes:?}");
        }
    }
    Ok(())
}

fn passed(agent: &Agent) -> Result<()> {
    paired(&served(agent, "pass", &TWO)?, 2)
}

fn inherited(agent: &Agent) -> Result<()> {
    paired(&served(agent, "fork", &TWO)?, 2)
}

fn opened_before(agent: &Agent) -> Result<()> {
    paired(&joined_late(agent, &[])?, 3)
}

/// Three requests over a connection that was there before the agent.
pub fn joined_late(agent: &Agent, place: &[&str]) -> Result<Traced> {
    needs(&["python3"])?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/live/early.py");
    let mut program = Command::new("python3")
        .arg(script)
        .args(place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(program.stdout.take().context("no output")?).read_line(&mut line)?;
    let running = agent.run(&["--pid", &program.id().to_string()]);
    // Closing its input ends the program, also where the agent did not start.
    let mut input = program.stdin.take().context("no input")?;
    input.write_all(b"go\n")?;
    drop(input);
    let status = program.wait()?;
    let traced = running?.stop()?;
    ensure!(
        status.success() && line == "connected\n",
        "the program ended with {status}"
    );
    Ok(traced)
}

fn io_uring(agent: &Agent) -> Result<()> {
    needs(&["curl"])?;
    if agent.family() == "syscall" {
        bail!(Skip(
            "the family syscall does not see io_uring; `check` says so".to_owned()
        ));
    }
    let server = std::env::current_exe()?.with_file_name("uring-server");
    let server = server.display().to_string();
    let traced = agent
        .trace(&[], &[&[server.as_str()], &TWO[..]].concat())?
        .successful()?;
    paired(&traced, 2)
}
