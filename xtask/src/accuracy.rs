//! Judges links: a chain of services under load, each cell compared with the true tree.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use xtask::judge::{Bin, Calibration, Range, TIMING, Truth, Verdict, judge};

use crate::process::{self, run, say};
use crate::runtimes::{self, Runtimes};

#[derive(clap::Args)]
pub struct Options {
    /// Requests in flight, one row of the table each
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,128")]
    in_flight: Vec<u32>,
    /// Root requests of each cell
    #[arg(long, default_value_t = 1000)]
    total: u32,
    /// Only workloads whose name has this in it
    #[arg(long, default_value = "")]
    workload: String,
    /// Judge an agent that is already built
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// A workload: its name, the options of chain.py, and whether the rungs before `timing` must find every link (in Go from 1.21 on, which
/// says who made a goroutine).
type Workload = (&'static str, &'static str, bool);

const WORKLOADS: &[Workload] = &[
    ("keep-alive", "--client thread", true),
    ("pooled keep-alive", "--client pool --calls 2", true),
    ("one-shot", "--client oneshot", true),
    ("nested calls", "--client pool --calls 2 --order nested", true),
    ("think time", "--client pool --think-ms 2 --jitter-ms 5", true),
    ("conditional calls", "--client pool --calls 3 --skip 0.5", true),
    ("after the answer", "--client pool --late 1", false),
    ("through nginx", "--client thread --via-nginx", false),
    (
        "through nginx, request ids",
        "--client thread --via-nginx --request-ids",
        true,
    ),
    ("asyncio", "--runtime asyncio --client pool --calls 2", false),
    (
        "asyncio, think time",
        "--runtime asyncio --client pool --think-ms 2 --jitter-ms 5",
        false,
    ),
    (
        "asyncio, gather",
        "--runtime asyncio --client pool --calls 3 --order nested",
        false,
    ),
    (
        "asyncio, uvloop",
        "--runtime asyncio --loop uvloop --client pool --calls 2",
        false,
    ),
    ("aiohttp", "--runtime aiohttp --client pool --calls 2", false),
    (
        "aiohttp, gather",
        "--runtime aiohttp --client pool --calls 3 --order nested",
        false,
    ),
    (
        "aiohttp, uvloop",
        "--runtime aiohttp --loop uvloop --client pool --calls 2",
        false,
    ),
    ("uvicorn", "--runtime uvicorn --client pool --calls 2", false),
    (
        "uvicorn, gather",
        "--runtime uvicorn --client pool --calls 3 --order nested",
        false,
    ),
    (
        "uvicorn, threads",
        "--runtime uvicorn --in threads --client pool --calls 2",
        false,
    ),
    (
        "uvicorn, uvloop",
        "--runtime uvicorn --loop uvloop --client pool --calls 2",
        false,
    ),
    (
        "gunicorn, gthread",
        "--runtime gunicorn --client pool --calls 2",
        true,
    ),
    (
        "gunicorn, sync",
        "--runtime gunicorn --workers sync --client pool --calls 2",
        true,
    ),
    (
        "gunicorn, after the answer",
        "--runtime gunicorn --client pool --late 1",
        false,
    ),
    (
        "asyncio, after the answer",
        "--runtime asyncio --client pool --late 1",
        false,
    ),
    (
        "uvicorn, after the answer",
        "--runtime uvicorn --client pool --late 1",
        false,
    ),
    ("node", "--runtime node --client pool --calls 2", false),
    (
        "node, think time",
        "--runtime node --client pool --think-ms 2 --jitter-ms 5",
        false,
    ),
    (
        "node, fetch",
        "--runtime node --send fetch --client pool --calls 2",
        false,
    ),
    (
        "node, express",
        "--runtime node --serve express --client pool --calls 2",
        false,
    ),
    (
        "node, after the answer",
        "--runtime node --client pool --late 1",
        false,
    ),
    ("go", "--runtime go --calls 2", true),
    ("go, fan-out", "--runtime go --calls 3 --order nested", false),
    ("go, one-shot", "--runtime go --client oneshot", true),
    ("go, think time", "--runtime go --think-ms 2 --jitter-ms 5", false),
    (
        "go, conditional calls",
        "--runtime go --calls 3 --skip 0.5",
        false,
    ),
    ("go, after the answer", "--runtime go --late 1", false),
    (
        "axum",
        "--runtime axum --client pool --calls 2 --settle-ms 1500",
        false,
    ),
    (
        "axum, fan-out",
        "--runtime axum --client pool --calls 3 --order nested --settle-ms 1500",
        false,
    ),
    (
        "axum, one-shot",
        "--runtime axum --client oneshot --settle-ms 1500",
        false,
    ),
    (
        "axum, think time",
        "--runtime axum --client pool --think-ms 2 --jitter-ms 5 --settle-ms 1500",
        false,
    ),
    ("java", "--runtime java --calls 2", false),
    ("java, fan-out", "--runtime java --calls 3 --order nested", false),
    ("java, async", "--runtime java --send async --calls 2", false),
    ("java, after the answer", "--runtime java --late 1", false),
    (
        "java, virtual threads",
        "--runtime java --threads virtual --calls 2",
        false,
    ),
    (
        "tomcat, HttpURLConnection",
        "--runtime tomcat --send url --calls 2",
        false,
    ),
    (
        "tomcat, RestClient",
        "--runtime tomcat --send spring --calls 2",
        false,
    ),
    (
        "tomcat, RestClient, virtual threads",
        "--runtime tomcat --send spring --threads virtual --calls 2",
        false,
    ),
    // Requests that are not there when a thread of its pool looks are read by another thread.
    ("puma", "--runtime puma --client thread --calls 2", false),
    ("puma, one-shot", "--runtime puma --client oneshot", false),
    (
        "puma, fan-out",
        "--runtime puma --client pool --calls 3 --order nested",
        false,
    ),
    (
        "puma, after the answer",
        "--runtime puma --client oneshot --late 1",
        false,
    ),
    ("webflux", "--runtime webflux --calls 2", false),
    (
        "webflux, fan-out",
        "--runtime webflux --calls 3 --order nested",
        false,
    ),
    (
        "webflux, think time",
        "--runtime webflux --think-ms 2 --jitter-ms 5",
        false,
    ),
];
/// What `timing` claims for each link that it gives, at least.
const LIKELY: f64 = 0.9;

/// Runs every cell and prints the table, and below it how right links by `timing` are in each range of confidence, over all cells; fails
/// if a cell that must be perfect is not, or if in one of these ranges fewer are right than claimed.
pub fn run_accuracy(options: &Options) -> Result<()> {
    let agent = match &options.agent {
        Some(agent) => agent.clone(),
        None => {
            run(Command::new("cargo").current_dir(process::root()).args([
                "build",
                "--release",
                "-p",
                "tracer-agent",
            ]))?;
            process::target().join("release/tracer-agent")
        }
    };
    let folder = process::target().join("accuracy");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    say(runtimes::python_version()?);
    let mut runtimes = Runtimes::default();
    println!(
        "| workload | in flight | spans | recall % | precision % | wrong | orphans | duplicates | dangling | right of all, by evidence |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut broken = Vec::new();
    let mut calibration = Calibration::default();
    let wanted = WORKLOADS
        .iter()
        .filter(|(name, ..)| name.contains(&options.workload));
    for (name, arguments, must_be_perfect) in wanted {
        if let Some(lack) = runtimes.lack(arguments) {
            say(format!("{name}: skipped, {lack}"));
            continue;
        }
        for in_flight in &options.in_flight {
            let cell = format!("{}-{in_flight}", name.replace(' ', "-"));
            let verdict = cell_verdict(&agent, &folder.join(&cell), arguments, *in_flight, options.total)
                .with_context(|| cell.clone())?;
            println!("{}", row(name, *in_flight, &verdict));
            calibration += &verdict.calibration;
            if (*must_be_perfect && !verdict.is_perfect())
                || verdict.wrong_though_proven() > 0
                || !is_as_likely_as_claimed(&verdict)
                || verdict.dangling + verdict.duplicates + verdict.unexpected > 0
            {
                broken.push(format!("{cell}: {verdict}"));
            }
        }
    }
    println!("\n| `timing` claims | links | right | share % | claimed % | as claimed |");
    println!("| --- | --- | --- | --- | --- | --- |");
    calibration
        .links()
        .for_each(|bin| println!("{}", calibration_row(bin)));
    println!("\n| candidates claim | spans | right | share % | claimed % | as claimed |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let candidates = calibration.candidates();
    candidates.for_each(|bin| println!("{}", calibration_row(bin)));
    let misses = calibration.misses().map(|(range, bin)| {
        format!(
            "confidence {range}: {} of {} are right, {:.2} % were claimed",
            bin.right,
            bin.links,
            bin.claim() * 100.0
        )
    });
    broken.extend(misses);
    if broken.is_empty() {
        return Ok(());
    }
    bail!("links that must be right are not:\n{}", broken.join("\n"))
}

fn calibration_row((range, bin): (Range, &Bin)) -> String {
    if bin.links == 0 {
        return format!("| {range} | 0 | 0 | | | |");
    }
    let held = match bin.holds() {
        Some(true) => "yes",
        None => "within chance",
        Some(false) => "no",
    };
    format!(
        "| {range} | {} | {} | {:.2} | {:.2} | {held} |",
        bin.links,
        bin.right,
        bin.share() * 100.0,
        bin.claim() * 100.0,
    )
}

fn cell_verdict(agent: &Path, at: &Path, arguments: &str, in_flight: u32, total: u32) -> Result<Verdict> {
    let (truth, export) = (at.with_extension("truth"), at.with_extension("json"));
    run(Command::new(agent)
        .current_dir(process::root())
        .env("NODE_PATH", runtimes::node_path())
        .args(["trace", "--quiet", "--export"])
        .arg(format!("json={}", export.display()))
        .arg("--")
        .arg(runtimes::python())
        .args(["tests/workloads/chain.py", "--truth"])
        .arg(&truth)
        .args([
            "--total",
            &total.to_string(),
            "--in-flight",
            &in_flight.to_string(),
        ])
        .args(arguments.split(' '))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::inherit()))?;
    let truth = fs::read_to_string(&truth).with_context(|| format!("reading {}", truth.display()))?;
    let lines = fs::read_to_string(&export).with_context(|| format!("reading {}", export.display()))?;
    Ok(judge(&Truth::new(truth.lines(), true), lines.lines())?)
}

/// Whether no more of what `timing` gave is wrong than its claim allows, and three standard deviations.
#[expect(clippy::cast_precision_loss, reason = "counts of links are far below 2^52")]
fn is_as_likely_as_claimed(verdict: &Verdict) -> bool {
    let (right, all) = verdict.by_evidence.get(TIMING).copied().unwrap_or_default();
    let allowed = (1.0 - LIKELY) * all as f64;
    (all - right) as f64 <= allowed + 3.0 * (allowed * LIKELY).sqrt()
}

fn row(name: &str, in_flight: u32, verdict: &Verdict) -> String {
    let by_evidence = verdict.by_evidence.iter();
    let by_evidence: Vec<_> = by_evidence
        .map(|(evidence, (right, all))| format!("{evidence} {right}/{all}"))
        .collect();
    format!(
        "| {name} | {in_flight} | {} of {} | {:.2} | {:.2} | {} | {} | {} | {} | {} |",
        verdict.found_spans,
        verdict.expected_spans,
        verdict.recall() * 100.0,
        verdict.precision() * 100.0,
        verdict.exported_links - verdict.right_links,
        verdict.orphans,
        verdict.duplicates,
        verdict.dangling,
        by_evidence.join(", "),
    )
}
