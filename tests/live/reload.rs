//! `run` with a configuration file that changes: what it says counts from then on, and nothing that is traced is missed meanwhile.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::NamedTempFile;

use crate::Test;
use crate::agent::{Agent, Traced};
use crate::server::Server;
use crate::skip::needs;
use crate::spans::Kind;

pub const TESTS: &[Test] = &[(
    "a_configuration_that_changes_counts_from_then_on_and_one_that_cannot_be_used_changes_nothing",
    changes,
)];

const CHANGED: &str = "the configuration has changed";

fn python() -> Result<Server> {
    Server::start(|port| {
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1"]);
        command.arg(port.to_string());
        Ok(command)
    })
}

/// A request on a connection of its own, answered to the last byte.
fn ask(server: &Server, path: &str) -> Result<()> {
    let mut connection = server.connect()?;
    write!(connection, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1"), "no answer: {answer:?}");
    Ok(())
}

fn changes(agent: &Agent) -> Result<()> {
    needs(&["python3"])?;
    let (one, other) = (python()?, python()?);
    let (first, second) = (one.port, other.port);
    let file = NamedTempFile::new()?;
    let say = |text: String| fs::write(file.path(), text);
    let both = |path: &str| ask(&one, path).and_then(|()| ask(&other, path));

    say(format!("port: {first}\n"))?;
    let running = agent.run(&["--config", &file.path().display().to_string()])?;
    both("/0")?;
    // Asked for by a signal: both, and routes.
    say(format!(
        "port: [{first}, {second}]\nroute: /r/{{id}}\nring_size: 64K\n"
    ))?;
    running.hang_up()?;
    running.until_said(CHANGED, 1)?;
    both("/r/1")?;
    // Found without: one of them is left out.
    say(format!("port: {second}\nexclude_port: {first}\n"))?;
    running.until_said(CHANGED, 2)?;
    both("/2")?;
    // What cannot be used changes nothing, nor what would take another start.
    say("prt: 1\n".to_owned())?;
    running.hang_up()?;
    running.until_said("the configuration stays as it was", 1)?;
    both("/3")?;
    say(format!("port: {second}\nexclude_port: {first}\nexe: none-such\n"))?;
    running.hang_up()?;
    running.until_said(CHANGED, 3)?;
    both("/4")?;

    let traced = running.stop()?;
    let seen = |port: u16| seen(&traced, port);
    ensure!(seen(first) == ["/0 -", "/r/1 /r/{id}"], "{:?}", seen(first));
    ensure!(
        seen(second) == ["/r/1 /r/{id}", "/2 -", "/3 -", "/4 -"],
        "{:?}",
        seen(second)
    );
    for wanted in [
        "before the agent is started again: ring-size",
        "unknown key \"prt\"",
        "the same is traced as before",
    ] {
        ensure!(
            traced.errors.contains(wanted),
            "{wanted:?} is missing:\n{}",
            traced.errors
        );
    }
    Ok(())
}

/// Path and route of each server span of this port, in order.
fn seen(traced: &Traced, port: u16) -> Vec<String> {
    let port = port.to_string();
    let mut spans: Vec<_> = traced
        .spans
        .iter()
        .filter(|span| span.kind == Kind::Server && span.attribute("server.port") == port)
        .collect();
    spans.sort_by_key(|span| span.start);
    let route = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.to_owned()
        }
    };
    let line = |span: &&crate::spans::Span| {
        format!(
            "{} {}",
            span.attribute("url.path"),
            route(span.attribute("http.route"))
        )
    };
    spans.iter().map(line).collect()
}
