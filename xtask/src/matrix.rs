//! Every client of HTTPS with every server, over TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2: each request is a right span at each end, or it is
//! known why it is not visible, and `tracer-agent check` says so too. And every client of WebSocket with every server, over the same: the
//! request that turns a connection to it is a right span at each end, nothing that passes then is one, and each end is counted as opaque.

mod cell;
mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use self::cell::{Cell, Outcome, Told};
use self::parts::{HTTP, Part, TABLES, TLS, Table, WEBSOCKET};
use crate::bench::agent;
use crate::process::{self, find, now, output, say};
use crate::runtimes;

#[derive(clap::Args)]
pub struct Options {
    /// Only servers whose name has this in it
    #[arg(long, default_value = "")]
    server: String,
    /// Only clients whose name has this in it
    #[arg(long, default_value = "")]
    client: String,
    /// Only this version of TLS
    #[arg(long, value_parser = TLS)]
    tls: Option<String>,
    /// Only this version of HTTP, or only WebSocket
    #[arg(long, value_parser = HTTP)]
    http: Option<String>,
    /// Rounds of four requests in each cell, or of one that turns to WebSocket
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Judge an agent that is already built
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// What became of a cell.
type Judged = (Cell, Outcome);

/// Runs every cell and prints the table; fails if one is not as it is to be, in either direction.
pub fn run_matrix(options: &Options) -> Result<()> {
    let begun = now();
    ensure!(
        find("openssl").is_some(),
        "openssl is not installed: it makes the servers' certificate"
    );
    let agent = agent::built(options.agent.as_deref())?;
    let agent = agent.program();
    let folder = process::root().join("target/matrix");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut ready = Ready::default();
    let mut judged = Vec::new();
    let wants =
        |wanted: &Option<String>, version: &str| wanted.as_ref().is_none_or(|wanted| wanted == version);
    let versions = TABLES
        .iter()
        .flat_map(|table| TLS.map(|tls| (table, tls)))
        .filter(|(_, tls)| wants(&options.tls, tls))
        .flat_map(|(table, tls)| table.http.iter().map(move |http| (table, tls, *http)))
        .filter(|(_, _, http)| wants(&options.http, http));
    for (table, tls, http) in versions {
        let named = |part: &&Part, wanted: &str| part.name.contains(wanted);
        for server in table.servers.iter().filter(|part| named(part, &options.server)) {
            let clients = table.clients.iter().filter(|part| named(part, &options.client));
            let cells = clients.map(|client| Cell {
                client,
                server,
                tls,
                http,
            });
            judged.extend(with_server(agent, &folder, cells, options.rounds, &mut ready)?);
        }
    }
    let tables = TABLES.iter().map(|table| rows(table, &judged));
    for table in tables.filter(|table| !table.is_empty()) {
        println!("{table}");
    }
    for (name, version) in &ready.0 {
        match version {
            Ok(version) => println!("{name}: {version}"),
            Err(lack) => println!("{name}: skipped, {lack}"),
        }
    }
    let told = folder.join("matrix.json");
    fs::write(&told, as_json(&judged, &ready).to_string())
        .with_context(|| format!("writing {}", told.display()))?;
    let mut broken = unsaid(agent, &judged)?;
    for (cell, outcome) in &judged {
        if let Outcome::Wrong(faults) = outcome {
            broken.push(format!("{cell}:\n    {}", faults.join("\n    ")));
        }
    }
    let count = |is: fn(&Outcome) -> bool| judged.iter().filter(|(_, outcome)| is(outcome)).count();
    println!(
        "{} right, {} wrong, {} skipped, {} that there cannot be, in {} s; {}",
        count(|outcome| matches!(outcome, Outcome::Right)),
        count(|outcome| matches!(outcome, Outcome::Wrong(_))),
        count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        count(|outcome| matches!(outcome, Outcome::Impossible(_))),
        begun.elapsed().as_secs(),
        told.display(),
    );
    if broken.is_empty() {
        return Ok(());
    }
    bail!("not as it is to be:\n{}", broken.join("\n"))
}

/// The parts that were made ready: their versions, or why they cannot be used.
#[derive(Default)]
struct Ready(BTreeMap<&'static str, Result<String, String>>);

impl Ready {
    fn lack(&mut self, part: &'static Part) -> Option<String> {
        let ready = self
            .0
            .entry(part.name)
            .or_insert_with(|| (part.prepare)().map_err(|error| format!("{error:#}")));
        let lack = ready.as_ref().err()?;
        Some(format!("{}: {lack}", part.name))
    }
}

/// All cells of a server by a version of TLS and one of HTTP: it is started once, and each client asks.
fn with_server(
    agent: &Path,
    folder: &Path,
    cells: impl Iterator<Item = Cell>,
    rounds: u32,
    ready: &mut Ready,
) -> Result<Vec<Judged>> {
    let mut judged = Vec::new();
    let mut possible = Vec::new();
    for cell in cells {
        if let Some(reason) = cell.impossible() {
            judged.push((cell, Outcome::Impossible(reason)));
        } else if let Some(lack) = ready.lack(cell.server).or_else(|| ready.lack(cell.client)) {
            judged.push((cell, Outcome::Skipped(lack)));
        } else {
            possible.push(cell);
        }
    }
    let Some(first) = possible.first() else {
        return Ok(judged);
    };
    let name = format!("{}-tls{}-http{}", first.server.name, first.tls, first.http);
    say(&name);
    let outcomes = traced(agent, &folder.join(&name), &possible, rounds);
    let outcomes = outcomes.unwrap_or_else(|error| {
        let fault = || Outcome::Wrong(vec![format!("{error:#}")]);
        possible.iter().map(|_| fault()).collect()
    });
    judged.extend(possible.into_iter().zip(outcomes));
    Ok(judged)
}

/// Traces a server and its clients, and judges each.
fn traced(agent: &Path, at: &Path, cells: &[Cell], rounds: u32) -> Result<Vec<Outcome>> {
    let [first, ..] = cells else {
        return Ok(Vec::new());
    };
    let clients: Vec<_> = cells.iter().map(|cell| cell.client.name).collect();
    let file = |kind| format!("{}.{kind}", at.display());
    let (export, answers, errors) = (file("json"), file("answers"), file("errors"));
    let status = Command::new(agent)
        .current_dir(process::root())
        .args(["trace", "--export", &format!("json={export}"), "--"])
        .arg(runtimes::python())
        .args(["tests/workloads/matrix/matrix.py", "--server", first.server.name])
        .args(["--tls", first.tls, "--http", first.http])
        .args(["--clients", &clients.join(","), "--rounds", &rounds.to_string()])
        .args(["--told", &errors])
        .stdin(Stdio::null())
        .stdout(File::create(&answers)?)
        .stderr(File::create(&errors)?)
        .status()
        .with_context(|| format!("{} does not start", agent.display()))?;
    let [export, answers, errors] = [export, answers, errors].map(fs::read_to_string);
    let errors = errors?;
    ensure!(status.success(), "ended with {status}: {errors}");
    let spans = cell::read(&export?)?;
    let answers = answers?;
    let told = answers.lines().map(serde_json::from_str);
    let told = told.collect::<Result<Vec<Told>, _>>()?;
    let foreign = |span: &&cell::Span| {
        !span.is_refused() && !cells.iter().any(|cell| span.path().starts_with(&cell.prefix()))
    };
    if let Some(span) = spans.iter().find(foreign) {
        bail!("{span} was asked by none");
    }
    if let Some(loss) = lost(&errors) {
        bail!("something was lost: {loss}");
    }
    if first.http == WEBSOCKET {
        let turned: usize = cells.iter().map(|cell| cell.ends_turned(&told)).sum();
        let counted = counted(&errors, "protocols: opaque_connections");
        ensure!(
            counted == turned,
            "{turned} ends turned to WebSocket, {counted} were counted as opaque"
        );
    }
    let judge = |cell: &Cell| match told.iter().find(|told| told.client == cell.client.name) {
        Some(told) => cell.judge(told, &spans),
        None => Outcome::Wrong(vec!["it was not asked".to_owned()]),
    };
    Ok(cells.iter().map(judge).collect())
}

/// What the agent says that it lost. What the kernel skips is the life of a connection that began or ended while another did: the spans
/// are the same.
fn lost(errors: &str) -> Option<&str> {
    let mut losses = errors.lines().filter(|line| line.contains("lost in the kernel"));
    losses.find(|line| !line.ends_with("lost in the kernel: skipped"))
}

/// What the agent says that it counted by this name.
fn counted(errors: &str, name: &str) -> usize {
    let counts = errors.lines().filter_map(|line| {
        let (_, count) = line.strip_prefix("tracer-agent: ")?.split_once(name)?;
        count.trim().parse::<usize>().ok()
    });
    counts.sum()
}

/// Reasons of what is not visible that `check` does not say.
fn unsaid(agent: &Path, judged: &[Judged]) -> Result<Vec<String>> {
    let said = output(Command::new(agent).arg("check"))?;
    let of_tls = said.lines().skip_while(|line| !line.contains("  tls  "));
    let of_tls = of_tls.collect::<Vec<_>>().join("\n");
    let parts = judged.iter().flat_map(|(cell, _)| [cell.client, cell.server]);
    let reasons: BTreeSet<_> = parts.filter_map(|part| part.library.unseen()).collect();
    let unsaid = reasons.into_iter().filter(|reason| !of_tls.contains(reason));
    Ok(unsaid
        .map(|reason| format!("check does not say that TLS of {reason} is not visible"))
        .collect())
}

/// A row for each client by each version of TLS and of HTTP, a column for each server; nothing where no cell was judged.
fn rows(table: &Table, judged: &[Judged]) -> String {
    let judged: Vec<_> = judged
        .iter()
        .filter(|(cell, _)| table.http.contains(&cell.http))
        .collect();
    let servers: Vec<_> = table
        .servers
        .iter()
        .map(|part| part.name)
        .filter(|name| judged.iter().any(|(cell, _)| cell.server.name == *name))
        .collect();
    if servers.is_empty() {
        return String::new();
    }
    let mut text = format!("| TLS | HTTP | client | {} |\n", servers.join(" | "));
    text += &format!("|{}\n", " --- |".repeat(3 + servers.len()));
    for tls in TLS {
        for http in table.http {
            for client in table.clients {
                let of_row = judged
                    .iter()
                    .filter(|(cell, _)| (cell.tls, cell.http, cell.client.name) == (tls, *http, client.name));
                let of_row: BTreeMap<_, _> = of_row
                    .map(|(cell, outcome)| (cell.server.name, shown(cell, outcome)))
                    .collect();
                if !of_row.is_empty() {
                    let row = servers
                        .iter()
                        .map(|server| of_row.get(server).map_or("", String::as_str));
                    let row: Vec<_> = row.collect();
                    text += &format!("| {tls} | {http} | {} | {} |\n", client.name, row.join(" | "));
                }
            }
        }
    }
    text
}

fn shown(cell: &Cell, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Right => cell.expected(),
        Outcome::Impossible(reason) => format!("none: {reason}"),
        Outcome::Skipped(reason) => format!("skipped: {reason}"),
        Outcome::Wrong(_) => format!("WRONG, to be: {}", cell.expected()),
    }
}

fn as_json(judged: &[Judged], ready: &Ready) -> Value {
    let cells = judged.iter().map(|(cell, outcome)| {
        let (said, detail) = match outcome {
            Outcome::Right => ("right", json!(cell.expected())),
            Outcome::Impossible(reason) => ("none", json!(reason)),
            Outcome::Skipped(reason) => ("skipped", json!(reason)),
            Outcome::Wrong(faults) => ("wrong", json!(faults)),
        };
        json!({
            "tls": cell.tls,
            "http": cell.http,
            "client": cell.client.name,
            "server": cell.server.name,
            "outcome": said,
            "detail": detail,
        })
    });
    let versions = ready.0.iter().map(|(name, version)| {
        let told = match version {
            Ok(version) => version.clone(),
            Err(lack) => format!("skipped: {lack}"),
        };
        ((*name).to_owned(), Value::from(told))
    });
    json!({
        "cells": cells.collect::<Vec<_>>(),
        "versions": versions.collect::<serde_json::Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn a_count_of_the_agent_is_read_from_what_it_says() {
        let said = "tracer-agent: 30 spans made\ntracer-agent: protocols: opaque_connections 30\n\
                    tracer-agent: 1 more: opaque_connections 7";
        assert_eq!(counted(said, "protocols: opaque_connections"), 30);
        assert_eq!(
            counted("tracer-agent: 30 spans made", "protocols: opaque_connections"),
            0
        );
    }
}
