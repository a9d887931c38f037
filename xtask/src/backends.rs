//! Asks backends that others wrote, each through its own query interface, for what the agent exported to them of one run: Jaeger by gRPC and
//! by HTTP, the Collector's tail sampling behind load balancing as `deploy/collector` has it, and Prometheus. What each has is compared with
//! the agent's own json export of that run, and with what the workload wrote down.

mod jaeger;
mod network;
mod prometheus;
mod spans;
mod tail;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use xtask::judge::{Truth, judge};

use self::jaeger::{GRPC, HTTP, Jaeger};
use self::network::Network;
use self::prometheus::{Prometheus, Said};
use self::spans::Spans;
use self::tail::Tiers;
use crate::bench::agent;
use crate::process::{self, is_root, now, output, run, say};
use crate::setup;

#[derive(clap::Args)]
pub struct Options {
    /// Ask for what an agent exports that is already built
    #[arg(long)]
    agent: Option<PathBuf>,
    /// In a network that nobody else is in
    #[arg(long, hide = true)]
    alone: bool,
}

/// Requests of the agent's shop, which `several.sh` opens five times.
const OF_SHOP: usize = 5 * 24;
/// What is counted is published at least as often as this, and scraped a second later.
const PUBLISHED: Duration = Duration::from_secs(8);
/// So small that the spans of a trace come in several requests.
const BATCH: &str = "64";

/// Sets up the backends, runs the workload and asks; fails if one does not have what it is to have.
pub fn run_backends(options: &Options) -> Result<()> {
    if options.alone {
        let agent = options.agent.as_deref().context("no agent")?;
        return ask_all(agent);
    }
    ensure!(is_root(), "tracing and networks need root");
    setup::for_backends()?;
    setup::backends::COLLECTOR.install()?;
    setup::backends::JAEGER.install()?;
    setup::backends::prometheus()?;
    let agent = agent::built(options.agent.as_deref())?;
    let agent = agent.program().canonicalize().context("where is the agent")?;
    run(Command::new("unshare")
        .args(["--net", "--mount"])
        .arg(std::env::current_exe()?)
        .args(["backends", "--alone", "--agent"])
        .arg(agent))
}

fn ask_all(agent: &Path) -> Result<()> {
    let begun = now();
    let folder = process::target().join("backends");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    say("starting three Jaegers, three Collectors and a Prometheus");
    let network = &mut Network::new(&folder)?;
    let by_grpc = Jaeger::start(network, "jaeger-grpc")?;
    let by_http = Jaeger::start(network, "jaeger-http")?;
    let tiers = Tiers::start(network)?;
    let prometheus = Prometheus::start(&folder)?;
    say("tracing services of several kinds");
    let to = [by_grpc.otlp(GRPC), by_http.otlp(HTTP), tiers.otlp()];
    let said = traced(agent, &folder, &to, &prometheus)?;
    let export = fs::read_to_string(folder.join("export.json"))?;
    let lines = export.lines().map(serde_json::from_str);
    let spans = spans::read(lines.collect::<Result<Vec<Value>, _>>()?)?;

    let (mut rows, called) = of_agent(&folder, &export)?;
    rows.extend(by_grpc.judge("Jaeger, gRPC", &spans)?);
    rows.extend(by_http.judge("Jaeger, HTTP", &spans)?);
    rows.extend(said.judge(&spans, called + OF_SHOP));
    say(format!(
        "waiting {} s until the Collectors have decided",
        tail::DECIDED.as_secs()
    ));
    thread::sleep(tail::DECIDED);
    rows.extend(tiers.judge(&spans)?);
    told(&folder, &rows, &spans)?;
    println!("in {} s", begun.elapsed().as_secs());
    let wrong = rows.iter().filter(|row| !row.is_right).count();
    ensure!(wrong == 0, "{wrong} of {} are not as they are to be", rows.len());
    Ok(())
}

/// Traces the workload, and asks Prometheus before the agent ends.
fn traced(agent: &Path, folder: &Path, to: &[String], prometheus: &Prometheus) -> Result<Said> {
    let errors = folder.join("agent.errors");
    let mut command = Command::new(agent);
    command
        .current_dir(process::root())
        .args([
            "trace",
            "--metrics",
            &format!("prometheus={}", prometheus::AGENT),
            "--export",
        ])
        .arg(format!("json={}", folder.join("export.json").display()))
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH);
    for endpoint in to {
        command.args(["--export", &format!("otlp=http://{endpoint}")]);
    }
    let mut child = command
        .args(["--", "tests/workloads/several.sh"])
        .arg(folder)
        .arg("python3")
        .arg(agent)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(&errors)?)
        .spawn()
        .with_context(|| format!("{} does not start", agent.display()))?;
    let stdout = BufReader::new(child.stdout.take().context("a pipe is missing")?);
    let is_done = stdout.lines().map_while(Result::ok).any(|line| line == "done");
    thread::sleep(PUBLISHED);
    let said = prometheus.ask();
    drop(child.stdin.take());
    let status = child.wait()?;
    ensure!(
        is_done && status.success(),
        "the agent ended with {status}: {}",
        errors.display()
    );
    said
}

/// The agent's own export beside what the workload wrote down; and how many requests that were.
fn of_agent(folder: &Path, export: &str) -> Result<(Vec<Row>, usize)> {
    let [fast, slow] = ["fast.truth", "slow.truth"].map(|name| fs::read_to_string(folder.join(name)));
    let called = fast? + &slow?;
    let truth = Truth::new(called.lines(), true);
    let verdict = judge(&truth, export.lines())?;
    let surplus = verdict.duplicates + verdict.dangling + verdict.unexpected;
    let rows = vec![
        Row::new(
            "the agent itself",
            "spans of requests that were written down",
            verdict.expected_spans.to_string(),
            verdict.found_spans.to_string(),
        ),
        Row::new(
            "the agent itself",
            "spans that are twice, without their parent or of no request",
            "0".to_owned(),
            surplus.to_string(),
        ),
    ];
    Ok((rows, called.lines().count()))
}

/// What was asked, and what came of it.
struct Row {
    backend: &'static str,
    asked: &'static str,
    expected: String,
    found: String,
    is_right: bool,
}

impl Row {
    /// Both are to be the same.
    fn new(
        backend: &'static str,
        asked: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let (expected, found) = (expected.into(), found.into());
        Self {
            backend,
            asked,
            is_right: expected == found,
            expected,
            found,
        }
    }

    /// Each of what is expected is to be found as it is, and nothing else; nothing expected proves nothing.
    fn of_maps<K: Ord + Debug, V: PartialEq + Debug>(
        backend: &'static str,
        asked: &'static str,
        expected: &BTreeMap<K, V>,
        found: &BTreeMap<K, V>,
    ) -> Self {
        let same = expected
            .iter()
            .filter(|(key, value)| found.get(key) == Some(value))
            .count();
        let mut keys = expected.keys().chain(found.keys());
        let other = keys.find(|key| expected.get(key) != found.get(key));
        let told = other.map(|key| {
            let (all, is, should) = (found.len(), found.get(key), expected.get(key));
            format!(
                ", and {} others; {key:?} is {is:?} and not {should:?}",
                all.saturating_sub(same)
            )
        });
        Self {
            backend,
            asked,
            expected: expected.len().to_string(),
            found: format!("{same}{}", told.unwrap_or_default()),
            is_right: other.is_none() && !expected.is_empty(),
        }
    }
}

/// Prints the table, and writes it beside the logs.
fn told(folder: &Path, rows: &[Row], spans: &Spans) -> Result<()> {
    println!("| backend | asked for | expected | found | |\n| --- | --- | --- | --- | --- |");
    for row in rows {
        let verdict = if row.is_right { "right" } else { "WRONG" };
        let [expected, found] =
            [&row.expected, &row.found].map(|text| if text.is_empty() { "none" } else { text });
        println!(
            "| {} | {} | {expected} | {found} | {verdict} |",
            row.backend, row.asked
        );
    }
    let as_json = rows.iter().map(|row| {
        json!({
            "backend": row.backend,
            "asked": row.asked,
            "expected": row.expected,
            "found": row.found,
            "right": row.is_right,
        })
    });
    let at = folder.join("backends.json");
    let whole = json!({"rows": as_json.collect::<Vec<_>>(), "spans": spans.len()});
    fs::write(&at, whole.to_string()).with_context(|| format!("writing {}", at.display()))?;
    let traces = spans::traces(spans).len();
    print!("{} spans of {traces} traces; {}; ", spans.len(), at.display());
    Ok(())
}

/// What a URL answers with.
fn ask(arguments: &[&str]) -> Result<String> {
    output(
        Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body"])
            .args(arguments),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_other_or_too_much_is_wrong_and_so_is_nothing() {
        let map = |pairs: &[(&'static str, u8)]| pairs.iter().copied().collect::<BTreeMap<_, _>>();
        let expected = map(&[("a", 1), ("b", 2)]);
        let row = |found: &[_]| Row::of_maps("", "", &expected, &map(found));
        assert!(row(&[("a", 1), ("b", 2)]).is_right);
        assert!(!row(&[("a", 1)]).is_right);
        assert!(!row(&[("a", 1), ("b", 3)]).is_right);
        assert!(!row(&[("a", 1), ("b", 2), ("c", 3)]).is_right);
        assert!(!Row::of_maps("", "", &map(&[]), &map(&[])).is_right);
        assert_eq!(
            row(&[("a", 1), ("b", 3)]).found,
            "1, and 1 others; \"b\" is Some(3) and not Some(2)"
        );
    }
}
