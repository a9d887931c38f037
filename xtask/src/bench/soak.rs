//! `cargo xtask soak`: storms of requests, connections and processes for as long as wanted. Nothing may grow, nothing may be left behind,
//! and every request is a span or a counted loss.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::{
    MIB, agent,
    load::{Nginx, Words},
    overload::run_overload,
    sink::Sink,
};
use crate::process::{is_root, now, say};
use crate::setup;

#[derive(Args)]
pub struct Options {
    /// How long
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Size of the ring, as the agent's `--ring-size`; a small one loses records, which must be counted
    #[arg(long)]
    ring_size: Option<String>,
    /// Only requests on connections that are kept, as fast as they go
    #[arg(long)]
    no_storms: bool,
    /// So many seconds of a server at full speed with the smallest ring there is, instead; then whether what comes after is whole
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["minutes", "ring_size", "no_storms"])]
    overload: Option<u64>,
    /// Try an agent that is already built
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// How often memory is looked at.
const STEP: Duration = Duration::from_secs(5);
/// The share of the time after which memory must not grow.
const SETTLED: f64 = 1.0 / 6.0;
/// By how much it may seem to grow: what the allocator holds or gives back.
const GROWTH_MAX: f64 = 2.0 * MIB;
const CONNECTIONS: usize = 64;
/// The agent's own to its backend, which is still open.
const OWN_CONNECTIONS: usize = 1;

/// Rounds until the time is over, each writing how many requests it has made; then all is quiet until it may end.
const SCRIPT: &str = r#"
cd "$1"; url="$2"; seconds="$3"; storms="$4"
sh -c "$5" &
until [ -s nginx.pid ]; do sleep 0.05; done
end=$(($(date +%s) + seconds))
while [ "$(date +%s)" -lt "$end" ]; do
    ab -q -k -c 64 -n 200000 "$url" > keep.txt 2>&1 || exit 1
    echo 200000 >> asked
    [ "$storms" = 1 ] || continue
    ( seq 4000 | xargs -P 2 -n 1 true ) &
    forks=$!
    ab -q -c 32 -n 20000 "$url" > connect.txt 2>&1 || exit 1
    echo 20000 >> asked
    wait $forks
done
kill -QUIT "$(cat nginx.pid)"
while [ -s nginx.pid ]; do sleep 0.05; done
: > quiet
until [ -e end ]; do sleep 0.1; done
"#;

pub fn run_soak(options: &Options) -> Result<()> {
    ensure!(is_root(), "probing the kernel needs root");
    setup::for_bench()?;
    let agent = agent::built(options.agent.as_deref())?;
    if let Some(seconds) = options.overload {
        return run_overload(&agent, seconds);
    }
    let nginx = Nginx::prepare(CONNECTIONS)?;
    let (folder, url, server) = (nginx.folder().display().to_string(), nginx.url(), nginx.command());
    let sink = Sink::start()?;
    let seconds = options.minutes * 60;
    let script = [
        "sh",
        "-c",
        SCRIPT,
        "sh",
        &folder,
        &url,
        &seconds.to_string(),
        if options.no_storms { "0" } else { "1" },
        server.last(),
    ];
    let mut words = vec!["--export".to_owned(), sink.export()];
    if let Some(size) = &options.ring_size {
        words.extend(["--ring-size".to_owned(), size.clone()]);
    }
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let running = agent.trace(&words, &Words::new(&script))?;
    let begun = now();
    let settled = Duration::from_secs(seconds).mul_f64(SETTLED);
    let (mut early, mut late) = (0.0_f64, 0.0_f64);
    let quiet = nginx.folder().join("quiet");
    while !quiet.exists() {
        thread::sleep(STEP);
        let rss = running.rss()?;
        let most = if begun.elapsed() < settled {
            &mut early
        } else {
            &mut late
        };
        *most = most.max(rss);
    }
    // What is still on its way, and connections that linger.
    thread::sleep(STEP);
    let left = running.map_entries()?;
    fs::write(nginx.folder().join("end"), "")?;
    let said = running.end()?;
    let asked = sum(&nginx.folder().join("asked"))?;
    let (spans, lost) = (said.spans()?, said.lost_requests());
    say(format!(
        "{asked} requests in {:.0} s",
        begun.elapsed().as_secs_f64()
    ));
    say(format!(
        "{spans} spans and {lost} counted losses, {} expected at both ends",
        2 * asked
    ));
    say(format!(
        "RSS: {:.1} MiB at most in the first sixth of the time, {:.1} MiB after it",
        early / MIB,
        late / MIB
    ));
    for (map, entries) in &left {
        say(format!("left in {map}: {entries}"));
    }
    ensure!(
        spans + lost == 2 * asked,
        "the sums do not agree: {}",
        said.text()
    );
    ensure!(late <= early + GROWTH_MAX, "memory grows");
    let entries = |name: &str| left.get(name).with_context(|| format!("no map {name}"));
    ensure!(
        *entries("CONNECTIONS")? <= OWN_CONNECTIONS && *entries("CALLS")? == 0,
        "entries are left of connections and calls that are over"
    );
    Ok(())
}

/// The sum of the numbers in a file, a line each.
fn sum(path: &Path) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.lines().filter_map(|line| line.parse::<u64>().ok()).sum())
}
