//! `cargo xtask bench`: what the agent costs, against what it may cost. One table, and the same as JSON beside it; a
//! budget that is missed is a failure. What is measured needs a quiet machine and root.

pub mod agent;
mod floor;
mod go;
mod load;
mod overload;
mod redis;
mod sink;
pub mod soak;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde::Serialize;

use crate::arch::Arch;
use crate::hop;
use crate::process::{is_root, now, output, say, target};
use crate::setup;
use agent::{Agent, SPEAKING};
use floor::Floor;
use go::Services;
use load::{Load, Nginx};
use redis::Redis;
use sink::Sink;

#[derive(Args)]
pub struct Options {
    /// How long each run under load takes
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Measure an agent that is already built
    #[arg(long)]
    agent: Option<PathBuf>,
}

const KIB: f64 = 1024.0;
const MIB: f64 = KIB * KIB;
/// Runs of what takes a moment; the middle one counts.
const RUNS: usize = 7;
/// Load that is replayed in an emulator, which takes some fifty times as long.
const SECONDS_COUNTED: u64 = 1;
/// Turns with the agent and without.
const TURNS: usize = 10;
/// Connections of the usual load, and of the many.
const CONNECTIONS: usize = 64;
const MANY_CONNECTIONS: usize = 10_000;

/// One line of the table.
#[derive(Serialize)]
struct Row {
    what: String,
    measured: f64,
    unit: &'static str,
    /// The most it may be; none where it is told only.
    budget: Option<f64>,
}

impl Row {
    fn is_missed(&self) -> bool {
        self.budget.is_some_and(|budget| self.measured > budget)
    }

    fn line(&self) -> String {
        let Self {
            what,
            measured,
            unit,
            budget,
        } = self;
        let (budget, verdict) = match budget {
            Some(budget) => (
                format!("{budget} {unit}"),
                if self.is_missed() { "MISSED" } else { "met" },
            ),
            None => (String::new(), ""),
        };
        format!("| {what} | {measured:.2} {unit} | {budget} | {verdict} |")
    }
}

pub fn run_bench(options: &Options) -> Result<()> {
    ensure!(is_root(), "probing the kernel needs root");
    setup::for_bench()?;
    let agent = agent::built(options.agent.as_deref())?;
    let folder = target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut rows = Vec::new();
    let mut row = |what: &str, measured, unit, budget| {
        let row = Row {
            what: what.to_owned(),
            measured,
            unit,
            budget,
        };
        println!("{}", row.line());
        rows.push(row);
    };
    say(format!("Linux {}", output(Command::new("uname").arg("-r"))?));
    println!("| what | measured | budget | |\n| --- | --- | --- | --- |");
    at_rest(&agent, &mut row)?;
    replayed(&agent, options, &folder.join("load.rec"), &mut row)?;
    under_load(&agent, options, &mut row)?;
    wire::on_other_wires(&agent, options, &mut row)?;
    with_many_connections(&agent, options, &mut row)?;
    in_goroutines(&agent, options, &mut row)?;
    unselected(&agent, &family(&agent)?, &mut row)?;
    let file = folder.join("bench.json");
    fs::write(&file, serde_json::to_string_pretty(&rows)?)?;
    say(format!("also in {}", file.display()));
    let missed = rows.iter().filter(|row| row.is_missed()).count();
    if missed > 0 {
        bail!("{missed} budgets are missed");
    }
    Ok(())
}

type Tell<'a> = dyn FnMut(&str, f64, &'static str, Option<f64>) + 'a;

/// Starting, and waiting for something to happen.
fn at_rest(agent: &Agent, row: &mut Tell<'_>) -> Result<()> {
    let mut starts = Vec::new();
    for _ in 0..RUNS {
        let begun = now();
        let running = agent.run(&["--port", "1"])?;
        starts.push(begun.elapsed().as_secs_f64() * 1e3);
        running.stop()?;
    }
    row("start to attached", middle(starts), "ms", Some(300.0));
    let running = agent.run(&["--port", "1"])?;
    thread::sleep(Duration::from_secs(3));
    row("RSS idle", running.rss()? / MIB, "MiB", Some(20.0));
    row(
        "kernel memory of all maps",
        running.map_memory()? / MIB,
        "MiB",
        Some(24.0),
    );
    row("BPF instructions", running.instructions()?, "", Some(25_000.0));
    running.stop()?;
    let size = fs::metadata(agent.program())?.len();
    row(
        "binary, linked with the C library",
        size as f64 / MIB,
        "MiB",
        Some(15.0),
    );
    let sink = Sink::start()?;
    let nginx = Nginx::prepare(CONNECTIONS)?;
    let running = agent.trace(&["--export", &sink.export()], &nginx.command())?;
    nginx.wait_until_it_listens()?;
    let mut delays = Vec::new();
    for _ in 0..RUNS {
        let before = sink.requests();
        nginx.ask()?;
        let answered = now();
        sink.wait_for_more_than(before)?;
        delays.push(answered.elapsed().as_secs_f64());
    }
    nginx.end()?;
    running.end()?;
    row(
        "last response byte to span on the wire",
        middle(delays),
        "s",
        Some(1.0),
    );
    Ok(())
}

/// The user side alone, on a recording of real load: from the file to bytes that a backend took.
fn replayed(agent: &Agent, options: &Options, recording: &Path, row: &mut Tell<'_>) -> Result<()> {
    let file = recording.display().to_string();
    record(agent, &file, options.seconds)?;
    let sink = Sink::start()?;
    let mut costs = Vec::new();
    for _ in 0..RUNS {
        let (user_seconds, spans) = agent.replay(&file, &sink.export())?;
        costs.push(user_seconds * 1e6 / spans);
    }
    row(
        "user CPU per exchange, record to OTLP bytes",
        middle(costs),
        "µs",
        Some(3.0),
    );
    let short = recording.with_file_name("short.rec");
    counted(agent, options, &short, &sink.export(), row)
}

/// What does not depend on how busy the machine is: a replay of some seconds of load less one of none.
fn counted(
    agent: &Agent,
    options: &Options,
    recording: &Path,
    export: &str,
    row: &mut Tell<'_>,
) -> Result<()> {
    let file = recording.display().to_string();
    record(agent, &file, 0)?;
    let allocating = agent::built_to_count()?;
    let (none, _) = agent.replay_counted(&file, export)?;
    let (none_allocated, _) = allocating.replay_allocating(&file, export)?;
    record(agent, &file, options.seconds.min(SECONDS_COUNTED))?;
    let (instructions, spans) = agent.replay_counted(&file, export)?;
    row(
        "instructions per exchange, record to OTLP bytes",
        (instructions - none) / spans,
        "",
        None,
    );
    let (allocated, spans) = allocating.replay_allocating(&file, export)?;
    row(
        "allocations per exchange, record to OTLP bytes",
        (allocated - none_allocated) / spans,
        "",
        None,
    );
    Ok(())
}

/// A recording of a server under load for so long.
fn record(agent: &Agent, file: &str, seconds: u64) -> Result<()> {
    let nginx = Nginx::prepare(CONNECTIONS)?;
    let _ = fs::remove_file(file);
    let running = agent.trace(
        &["--export", "json=/dev/null", "--record", file],
        &nginx.command(),
    )?;
    nginx.wait_until_it_listens()?;
    if seconds > 0 {
        Load::run(&nginx, CONNECTIONS, seconds)?;
    }
    nginx.end()?;
    running.end()?;
    Ok(())
}

/// A server that saturates its core, traced and not, in turns.
fn under_load(agent: &Agent, options: &Options, row: &mut Tell<'_>) -> Result<()> {
    let sink = Sink::start()?;
    let _counting = agent::Statistics::on()?;
    let [mut ratios, mut p50, mut p99] = [const { Vec::new() }; 3];
    let [mut kernel, mut user, mut lost, mut floors] = [const { Vec::new() }; 4];
    let family = family(agent)?;
    for _ in 0..3 {
        let nginx = Nginx::prepare(CONNECTIONS)?;
        let mut alone = nginx.command().start()?;
        nginx.wait_until_it_listens()?;
        let plain = Load::run(&nginx, CONNECTIONS, options.seconds)?;
        // Not every machine lets every kind attach.
        match Floor::attach(&family) {
            Ok(floor) => {
                let time = floor.program_time_ns()?;
                let empty = Load::run(&nginx, CONNECTIONS, options.seconds)?;
                floors.push((floor.program_time_ns()? - time) / empty.requests / 1e3);
            }
            Err(error) => say(format!("no floor is measured: {error:#}")),
        }
        nginx.end()?;
        alone.wait()?;
        let nginx = Nginx::prepare(CONNECTIONS)?;
        let running = agent.trace(&["--export", &sink.export()], &nginx.command())?;
        nginx.wait_until_it_listens()?;
        let (time, cpu) = (running.program_time_ns()?, running.cpu_seconds()?);
        let traced = Load::run(&nginx, CONNECTIONS, options.seconds)?;
        kernel.push((running.program_time_ns()? - time) / traced.requests / 1e3);
        user.push((running.cpu_seconds()? - cpu) / traced.requests * 1e6);
        nginx.end()?;
        lost.push(running.end()?.lost());
        ratios.push(traced.per_second / plain.per_second);
        p50.push(traced.p50 / plain.p50);
        p99.push(traced.p99 / plain.p99);
    }
    row(
        "throughput of nginx traced, of untraced",
        middle(ratios),
        "",
        None,
    );
    row(
        "median latency of nginx traced, of untraced",
        middle(p50),
        "",
        None,
    );
    row("99th percentile, likewise", middle(p99), "", None);
    row(
        "kernel CPU per exchange, the client's untraced calls included",
        middle(kernel),
        "µs",
        Some(3.0),
    );
    if !floors.is_empty() {
        row(
            "the same of empty programs on the same hooks",
            middle(floors),
            "µs",
            None,
        );
    }
    row(
        "agent user and system CPU per exchange, live",
        middle(user),
        "µs",
        None,
    );
    row(
        "records lost while the server saturates its core",
        lost.iter().fold(0.0, |sum, count| sum + count),
        "",
        Some(0.0),
    );
    Ok(())
}

fn with_many_connections(agent: &Agent, options: &Options, row: &mut Tell<'_>) -> Result<()> {
    let sink = Sink::start()?;
    let nginx = Nginx::prepare(MANY_CONNECTIONS)?;
    let running = agent.trace(&["--export", &sink.export()], &nginx.command())?;
    nginx.wait_until_it_listens()?;
    running.forget_peak()?;
    Load::run(&nginx, MANY_CONNECTIONS, options.seconds)?;
    let peak = running.peak_rss()?;
    nginx.end()?;
    running.end()?;
    row(
        "RSS with 10,000 connections under load",
        peak / MIB,
        "MiB",
        Some(40.0),
    );
    Ok(())
}

/// A Go service that calls another for each request: not traced, traced, and traced without breakpoints, in turns.
fn in_goroutines(agent: &Agent, options: &Options, row: &mut Tell<'_>) -> Result<()> {
    let hop = hop::build(Arch::of_this_machine())?;
    let [mut with, mut p50, mut p99, mut linked] = [const { Vec::new() }; 4];
    let [mut without, mut linked_without] = [const { Vec::new() }; 2];
    for _ in 0..3 {
        let services = Services::start(&hop)?;
        let load = || Load::on(&services.url(), CONNECTIONS, options.seconds);
        let traced = |more: &[&str]| {
            let selection = services.selection();
            let selection: Vec<_> = selection.iter().map(String::as_str).collect();
            let running = agent.run(&[&selection, more, &SPEAKING].concat())?;
            let done = load()?;
            let said = running.stop()?;
            let parents = ["linked_task", "linked_handoff", "linked_turn", "linked_timing"];
            let found: f64 = parents.iter().map(|name| said.correlated(name)).sum();
            anyhow::Ok((found / done.requests, done))
        };
        let plain = load()?;
        let (found, done) = traced(&[])?;
        with.push(done.per_second / plain.per_second);
        p50.push(done.p50 / plain.p50);
        p99.push(done.p99 / plain.p99);
        linked.push(found);
        let (found, done) = traced(&["--uprobes", "off"])?;
        without.push(done.per_second / plain.per_second);
        linked_without.push(found);
    }
    row(
        "throughput of a calling Go service traced, of untraced",
        middle(with),
        "",
        None,
    );
    row("median latency of it traced, of untraced", middle(p50), "", None);
    row("99th percentile, likewise", middle(p99), "", None);
    row(
        "calls of it that have a parent, of its requests",
        middle(linked),
        "",
        None,
    );
    row(
        "throughput without breakpoints, of untraced",
        middle(without),
        "",
        None,
    );
    row(
        "calls that have a parent without breakpoints",
        middle(linked_without),
        "",
        None,
    );
    Ok(())
}

/// The hook family that the agent takes here.
fn family(agent: &Agent) -> Result<String> {
    let running = agent.run(&[&["--port", "1"], &SPEAKING[..]].concat())?;
    let family = running.family()?;
    running.stop()?;
    Ok(family)
}

/// A server that nobody wants to trace, with the agent, with empty programs in place of its own, and without either, in turns.
fn unselected(agent: &Agent, family: &str, row: &mut Tell<'_>) -> Result<()> {
    let redis = Redis::start()?;
    redis.per_second()?;
    let [mut ratios, mut floors] = [const { Vec::new() }; 2];
    let with = || {
        let running = agent.run(&["--port", "1"])?;
        let measured = redis.per_second()?;
        running.stop()?;
        anyhow::Ok(measured)
    };
    for turn in 0..TURNS {
        // Whatever changes with time is to change all alike.
        let is_first = turn % 2 == 0;
        let before = if is_first { Some(with()?) } else { None };
        let alone = redis.per_second()?;
        if let Ok(floor) = Floor::attach(family) {
            floors.push(redis.per_second()? / alone);
            drop(floor);
        }
        let beside = before.map_or_else(with, Ok)?;
        ratios.push(beside / alone);
    }
    let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = ratios.iter().copied().fold(0.0, f64::max);
    row(
        "throughput of Redis beside the agent, unselected, of without",
        middle(ratios),
        "",
        None,
    );
    if !floors.is_empty() {
        row(
            "the same beside empty programs on the same hooks",
            middle(floors),
            "",
            None,
        );
    }
    row("the same, lowest of ten turns", lowest, "", None);
    row("the same, highest of ten turns", highest, "", None);
    Ok(())
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
