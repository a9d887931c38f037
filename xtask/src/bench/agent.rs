//! The agent as it is measured: started, and looked at through `/proc`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::load::Words;
use crate::process::{now, output, run, target};
use crate::setup;

const LIMIT: Duration = Duration::from_secs(20);
/// `USER_HZ`: the unit of times in `/proc/PID/stat`, 100 on every architecture that there is an agent for.
const TICKS_PER_SECOND: f64 = 100.0;
/// What the sink takes.
const PROTOCOL: &str = "http/protobuf";
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// The agent's program.
pub struct Agent {
    program: PathBuf,
}

/// An agent that traces.
pub struct Running {
    child: Child,
    errors: PathBuf,
}

/// What an agent said at its end.
pub struct Said(String);

/// Has it say what it counts, and which hooks it takes; its programs speak then, and are larger.
pub const SPEAKING: [&str; 2] = ["--log-level", "debug"];

/// The agent at this place, or one that is built now.
pub fn built(agent: Option<&Path>) -> Result<Agent> {
    if let Some(agent) = agent {
        return Ok(Agent::new(agent.to_owned()));
    }
    let toolchain = setup::for_build()?;
    run(toolchain
        .cargo()
        .args(["build", "--quiet", "--release", "--package", "tracer-agent"]))?;
    Ok(Agent::new(target().join("release/tracer-agent")))
}

/// The agent with an allocator that counts.
pub fn built_to_count() -> Result<Agent> {
    let toolchain = setup::for_build()?;
    run(toolchain
        .cargo()
        .args(["build", "--quiet", "--release", "--package", "tracer-agent"])
        .args(["--bin", "allocations", "--features", "allocations"]))?;
    Ok(Agent::new(target().join("release/allocations")))
}

impl Agent {
    fn new(program: PathBuf) -> Self {
        Self { program }
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// `run`, once it traces.
    pub fn run(&self, options: &[&str]) -> Result<Running> {
        let command = &mut Command::new(&self.program);
        let mut running = started(
            command
                .arg("run")
                .args(["--export", "json=/dev/null"])
                .args(options),
        )?;
        running.wait_until_it_traces()?;
        Ok(running)
    }

    /// `trace`: the command begins once it traces.
    pub fn trace(&self, options: &[&str], traced: &Words) -> Result<Running> {
        let command = &mut Command::new(&self.program);
        started(command.arg("trace").args(options).arg("--").args(traced.iter()))
    }

    /// The same with what it writes for whoever takes it.
    pub fn trace_to_pipe(&self, options: &[&str], traced: &Words) -> Result<Running> {
        let command = &mut Command::new(&self.program);
        let command = command.arg("trace").args(options).arg("--").args(traced.iter());
        started_to(command, Stdio::piped())
    }

    /// Waits until nothing runs it any more: what an agent leaves behind takes its breakpoints away after its end.
    pub fn wait_until_none_runs(&self) -> Result<()> {
        let program = fs::canonicalize(&self.program)?;
        let begun = now();
        while is_run(&program)? {
            ensure!(begun.elapsed() < LIMIT, "{} still runs", program.display());
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Replays a recording: seconds of user CPU, and spans.
    pub fn replay(&self, recording: &str, export: &str) -> Result<(f64, f64)> {
        let script = "\"$0\" replay \"$1\" --export \"$2\" 2>&1 && times";
        let said = output(
            Command::new("sh")
                .args(["-c", script])
                .arg(&self.program)
                .args([recording, export])
                .env("OTEL_EXPORTER_OTLP_PROTOCOL", PROTOCOL),
        )?;
        let spans = Said(said.clone()).spans()? as f64;
        let read = || {
            // The second line of `times` is of the children: `0m0.350000s 0m0.040000s`.
            let user = said.lines().next_back()?.split_whitespace().next()?;
            let (minutes, seconds) = user.trim_end_matches('s').split_once('m')?;
            Some((
                minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?,
                spans,
            ))
        };
        read().with_context(|| format!("replay said:\n{said}"))
    }

    /// Replays a recording in callgrind: instructions executed, and spans.
    pub fn replay_counted(&self, recording: &str, export: &str) -> Result<(f64, f64)> {
        let mut command = Command::new("valgrind");
        command
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&self.program);
        replayed(&mut command, [recording, export], "Collected :")
    }

    /// Replays a recording in the agent whose allocator counts: allocations, and spans.
    pub fn replay_allocating(&self, recording: &str, export: &str) -> Result<(f64, f64)> {
        replayed(
            &mut Command::new(&self.program),
            [recording, export],
            "allocations:",
        )
    }
}

/// Whether a process runs this program.
fn is_run(program: &Path) -> Result<bool> {
    let processes = fs::read_dir("/proc")?;
    let mut programs = processes.filter_map(|entry| fs::read_link(entry.ok()?.path().join("exe")).ok());
    Ok(programs.any(|other| other == program))
}

/// A number that is told at the end of a replay, and the spans of it.
fn replayed(command: &mut Command, [recording, export]: [&str; 2], name: &str) -> Result<(f64, f64)> {
    let command = command
        .args(["replay", recording, "--export", export])
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", PROTOCOL);
    let done = command
        .output()
        .with_context(|| format!("{command:?} does not start"))?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(
        done.status.success(),
        "{command:?} ended with {}: {said}",
        done.status
    );
    let number = said
        .lines()
        .find_map(|line| line.split_once(name)?.1.trim().parse().ok());
    let number = number.with_context(|| format!("no `{name}` in: {said}"))?;
    Ok((number, Said(said).spans()? as f64))
}

/// The spans leave by OTLP over HTTP, which the sink takes.
fn started(command: &mut Command) -> Result<Running> {
    started_to(command, Stdio::null())
}

fn started_to(command: &mut Command, output: Stdio) -> Result<Running> {
    let errors = target().join("bench/errors");
    let child = command
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", PROTOCOL)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(File::create(&errors)?)
        .spawn()
        .with_context(|| format!("{command:?} does not start"))?;
    Ok(Running { child, errors })
}

impl Running {
    fn wait_until_it_traces(&mut self) -> Result<()> {
        let begun = now();
        loop {
            let said = self.said()?;
            if said.contains(": tracing ") {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended with {status}: {said}");
            }
            ensure!(begun.elapsed() < LIMIT, "the agent does not trace: {said}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What it writes, once.
    pub fn take_output(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("no pipe")
    }

    pub fn rss(&self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// What [`Self::peak_rss`] tells begins anew: loading takes more for a moment than anything after it.
    pub fn forget_peak(&self) -> Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    pub fn peak_rss(&self) -> Result<f64> {
        self.status("VmHWM:")
    }

    /// Bytes.
    fn status(&self, name: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(number.with_context(|| format!("no {name}"))? * 1024.0)
    }

    /// User and system time so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.child.id())
    }

    /// Bytes that the kernel holds for the maps.
    pub fn map_memory(&self) -> Result<f64> {
        let maps = self.maps()?;
        maps.iter().map(|map| number(map, "bytes_memlock")).sum()
    }

    /// See [`program_time_ns`].
    pub fn program_time_ns(&self) -> Result<f64> {
        program_time_ns(self.child.id())
    }

    /// Entries of each map that is looked up by key and forgets nothing by itself.
    pub fn map_entries(&self) -> Result<BTreeMap<String, usize>> {
        let mut entries = BTreeMap::new();
        for map in self.maps()? {
            let text = |name| map.get(name).and_then(Value::as_str).unwrap_or_default();
            if text("type") == "hash" {
                let id = map.get("id").and_then(Value::as_u64).context("no id of a map")?;
                let dumped = bpftool(&["map", "dump"], id)?;
                let count = dumped.as_array().context("no dump of a map")?.len();
                entries.insert(text("name").to_owned(), count);
            }
        }
        Ok(entries)
    }

    /// The hook family that was taken.
    pub fn family(&self) -> Result<String> {
        let said = self.said()?;
        let line = said.lines().find_map(|line| line.split_once("hooks: "));
        Ok(line
            .context("the agent does not say which hooks it takes")?
            .1
            .to_owned())
    }

    /// Instructions of all programs as the kernel keeps them, eight bytes each.
    pub fn instructions(&self) -> Result<f64> {
        let programs = self.programs()?;
        let bytes: Result<f64> = programs
            .iter()
            .map(|program| number(program, "bytes_xlated"))
            .sum();
        Ok(bytes? / 8.0)
    }

    /// What the kernel says of each program. Of some only the link is open, some are open twice.
    fn programs(&self) -> Result<Vec<Value>> {
        let open = [self.objects("bpf-prog")?, self.objects("bpf_link")?].concat();
        let ids: BTreeSet<_> = open.iter().map(|object| field(object, "prog_id:")).collect();
        let shown = |id: u64| bpftool(&["prog", "show"], id);
        ids.into_iter().map(shown).collect()
    }

    /// The same of each map that a program has: of most nothing but the programs is open.
    fn maps(&self) -> Result<Vec<Value>> {
        let mut ids = BTreeSet::new();
        for program in self.programs()? {
            let of_it = program.get("map_ids").and_then(Value::as_array);
            ids.extend(of_it.into_iter().flatten().filter_map(Value::as_u64));
        }
        let shown = |id: u64| bpftool(&["map", "show"], id);
        ids.into_iter().map(shown).collect()
    }

    fn objects(&self, kind: &str) -> Result<Vec<String>> {
        objects(self.child.id(), kind)
    }

    /// Asks it to end.
    pub fn stop(self) -> Result<Said> {
        output(Command::new("kill").args(["-INT", &self.child.id().to_string()]))?;
        self.end()
    }

    /// Waits for the end.
    pub fn end(mut self) -> Result<Said> {
        let status = self.child.wait()?;
        let said = self.said()?;
        ensure!(status.success(), "the agent ended with {status}: {said}");
        Ok(Said(said))
    }

    fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.errors)?)
    }
}

impl Drop for Running {
    /// A run that fails leaves no agent behind. Does nothing to one that has ended.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the kernel says of each BPF object that a process has open.
fn objects(pid: u32, kind: &str) -> Result<Vec<String>> {
    let mut objects = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        let leads_to = fs::read_link(&path).unwrap_or_default();
        if leads_to.to_string_lossy() == format!("anon_inode:{kind}") {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            objects.push(fs::read_to_string(format!("/proc/{pid}/fdinfo/{name}"))?);
        }
    }
    ensure!(!objects.is_empty(), "process {pid} has no {kind}");
    Ok(objects)
}

/// User and system time of a process so far.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_PER_SECOND)
}

/// Nanoseconds that the programs of a process have run, while [`Statistics`] are on.
pub fn program_time_ns(pid: u32) -> Result<f64> {
    let programs = objects(pid, "bpf-prog")?;
    // Of those that are open twice one counts.
    let times: BTreeMap<_, _> = programs
        .iter()
        .map(|program| (field(program, "prog_id:"), field(program, "run_time_ns:")))
        .collect();
    Ok(times.values().sum::<u64>() as f64)
}

impl Said {
    /// All of it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Spans that were made.
    pub fn spans(&self) -> Result<u64> {
        let read = || {
            let (before, _) = self.0.split_once(" spans made")?;
            before.split_whitespace().next_back()?.parse().ok()
        };
        read().with_context(|| format!("no number of spans in: {}", self.0))
    }

    /// A counter of the stage `correlate`.
    pub fn correlated(&self, name: &str) -> f64 {
        let prefix = format!("tracer-agent: correlate: {name} ");
        let line = self.0.lines().find_map(|line| line.strip_prefix(&prefix));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0.0)
    }

    /// Requests that are no span: lost in the kernel, or seen and no exchange.
    pub fn lost_requests(&self) -> u64 {
        let counts = self.0.lines().filter_map(|line| {
            let counter = line.strip_prefix("tracer-agent: ")?;
            let (name, count) = counter.rsplit_once(' ')?;
            let is_request = name == "kernel: request_lost" || name.starts_with("protocols: requests_");
            count.parse::<u64>().ok().filter(|_| is_request)
        });
        counts.sum()
    }

    /// What it counted as lost, a line a cause.
    pub fn losses(&self) -> impl Iterator<Item = &str> {
        let counters = self
            .0
            .lines()
            .filter_map(|line| line.strip_prefix("tracer-agent: "));
        counters.filter(|counter| {
            let is_of = |stage: &str| counter.starts_with(stage);
            is_of("kernel: ") || is_of("protocols: ") || is_of("connections: ")
        })
    }

    /// Records that the kernel side could not deliver: the sum of its counters of losses.
    pub fn lost(&self) -> f64 {
        let counts = self.0.lines().filter_map(|line| {
            let (_, counter) = line.split_once(": kernel: ")?;
            counter.split_whitespace().next_back()?.parse::<f64>().ok()
        });
        counts.fold(0.0, |sum, count| sum + count)
    }
}

/// What `bpftool WORDS id ID` says.
fn bpftool(words: &[&str], id: u64) -> Result<Value> {
    let mut command = Command::new("bpftool");
    command.arg("--json").args(words).args(["id", &id.to_string()]);
    Ok(serde_json::from_str(&output(&mut command)?)?)
}

/// A number of what it says.
fn number(shown: &Value, name: &str) -> Result<f64> {
    let number = shown.get(name).and_then(Value::as_f64);
    number.with_context(|| format!("bpftool says no {name}"))
}

/// `name: value`, 0 where it is absent.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// The kernel measures programs while this lives; it costs every program of the host some nanoseconds a run.
pub struct Statistics {
    before: String,
}

impl Statistics {
    pub fn on() -> Result<Self> {
        let before = fs::read_to_string(STATISTICS)?;
        fs::write(STATISTICS, "1")?;
        Ok(Self { before })
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        let _ = fs::write(STATISTICS, &self.before);
    }
}
