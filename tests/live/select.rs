//! Selection: who is traced is decided in the kernel, from the first packet on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::Test;
use crate::agent::{Agent, Traced};
use crate::http1::{answer, answer_untraced, of_kind};
use crate::skip::{Skip, needs};
use crate::spans::Kind;

pub const TESTS: &[Test] = &[
    ("run_by_exe_traces_programs_that_start_later", by_exe),
    ("an_excluded_program_is_left_out_of_what_is_traced", without_exe),
    ("an_excluded_port_leaves_out_its_server", without_port),
    ("run_by_cgroup_traces_what_is_below_it", by_cgroup),
    (
        "run_by_cgroup_of_version_1_traces_what_is_below_it",
        by_cgroup_of_version_1,
    ),
    (
        "a_control_group_and_a_program_select_what_is_either_and_exclude_what_is_one",
        by_cgroup_and_exe,
    ),
    (
        "run_by_container_traces_what_comes_in_one_and_leaves_out_what_is_excluded",
        by_container,
    ),
    ("run_by_netns_traces_what_is_in_it", by_netns),
];

/// A copy of curl under a name that nothing else on this machine has.
fn own_curl(folder: &TempDir, name: &str) -> Result<PathBuf> {
    needs(&["python3", "curl"])?;
    let found = Command::new("sh").args(["-c", "command -v curl"]).output()?;
    let path = fs::canonicalize(String::from_utf8(found.stdout)?.trim())?;
    let copy = folder.path().join(name);
    fs::copy(path, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

fn by_exe(agent: &Agent) -> Result<()> {
    let folder = TempDir::new()?;
    let curl = own_curl(&folder, "own-curl")?.display().to_string();
    let running = agent.run(&["--exe", &format!("{}/own-*", folder.path().display())])?;
    // Three programs one after the other: the first is judged by the agent, those after it by the kernel.
    let three = format!("{curl} -sS $1/a && {curl} -sS $1/b && {curl} -sS $1/c");
    answer_untraced(&[], &["sh", "-c", &three, "sh", "{url}"])?;
    let traced = running.stop()?;
    of_kind(&traced, Kind::Client, 3)?;
    of_kind(&traced, Kind::Server, 0)?;
    Ok(())
}

fn without_exe(agent: &Agent) -> Result<()> {
    let folder = TempDir::new()?;
    let curl = own_curl(&folder, "left-out")?.display().to_string();
    let both = format!("curl -sS $1/seen && {curl} -sS $1/unseen");
    let options = ["--exclude-exe", "left-out"];
    let traced = agent.trace(&options, &answer(&[], &["sh", "-c", &both, "sh", "{url}"]))?;
    let clients = of_kind(&traced, Kind::Client, 1)?;
    ensure!(
        clients
            .iter()
            .all(|span| span.attribute("url.full").ends_with("/seen")),
        "{clients:?}"
    );
    of_kind(&traced, Kind::Server, 2)?;
    Ok(())
}

fn without_port(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl"])?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port()
        .to_string();
    let command = answer(&["--port", &port], &["curl", "-sS", "{url}/a"]);
    let traced = agent.trace(&["--exclude-port", &port], &command)?;
    of_kind(&traced, Kind::Client, 0)?;
    of_kind(&traced, Kind::Server, 0)?;
    Ok(())
}

/// A control group that is gone with this value.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(below: &Path, name: &str) -> Result<Self> {
        let path = below.join(name);
        fs::create_dir(&path).map_err(|error| {
            Skip(format!(
                "no control group can be made in {}: {error}",
                below.display()
            ))
        })?;
        Ok(Self(path))
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }

    /// Runs a server outside and this client in it, started by this program and not by the agent.
    fn untraced(&self, client: &[&str]) -> Result<()> {
        let client = self.command(client);
        answer_untraced(&[], &client.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A command in it, from its first instruction on.
    fn command(&self, words: &[&str]) -> Vec<String> {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        let shell = ["sh", "-c", &enter, "sh"].map(str::to_owned);
        shell
            .into_iter()
            .chain(words.iter().map(|word| (*word).to_owned()))
            .collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It is empty: whoever was in it has ended.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Where control groups can be made.
fn cgroups() -> Result<PathBuf> {
    mounted("cgroup2", |_| true)
}

/// Where a hierarchy of control groups is mounted, the first with such options.
fn mounted(kind: &str, is_wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let root = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, found, options) = (fields.next()?, fields.next()?, fields.next()?);
        (found == kind && is_wanted(options)).then_some(place)
    });
    let Some(root) = root else {
        bail!(Skip(format!("no such {kind} is mounted")));
    };
    Ok(root.into())
}

/// Where runtimes put containers here: below a controller of version 1, if that is how it is mounted.
fn containers() -> Result<PathBuf> {
    let with = |controller| {
        let has = move |options: &str| options.split(',').any(|option| option == controller);
        mounted("cgroup", has)
    };
    with("memory")
        .or_else(|_| with("pids"))
        .or_else(|_| with("cpu"))
        .or_else(|_| cgroups())
}

fn by_cgroup(agent: &Agent) -> Result<()> {
    below(agent, &cgroups()?)
}

fn by_cgroup_of_version_1(agent: &Agent) -> Result<()> {
    below(agent, &mounted("cgroup", |options| !options.contains("name="))?)
}

fn below(agent: &Agent, root: &Path) -> Result<()> {
    needs(&["python3", "curl"])?;
    let outer = Cgroup::new(root, &format!("live-test-{}", std::process::id()))?;
    let inner = Cgroup::new(&outer.0, "inner")?;
    let left_out = Cgroup::new(&outer.0, "left-out")?;
    let running = agent.run(&["--cgroup", &outer.name(), "--exclude-cgroup", &left_out.name()])?;
    for group in [&inner, &left_out] {
        group.untraced(&["curl", "-sS", "{url}/a"])?;
    }
    let traced = running.stop()?;
    of_kind(&traced, Kind::Client, 1)?;
    of_kind(&traced, Kind::Server, 0)?;
    Ok(())
}

fn by_container(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl"])?;
    let outer = Cgroup::new(&containers()?, &format!("live-test-{}", std::process::id()))?;
    // Twelve digits that no other container has, and then what is the same for all.
    let id = |last: u32| {
        format!(
            "{:012x}{}{last:04x}",
            u64::from(std::process::id()) << 16,
            "0".repeat(48)
        )
    };
    let prefix = id(0)[..12].to_owned();
    let before = Cgroup::new(&outer.0, &format!("docker-{}.scope", id(1)))?;
    let running = agent.run(&["--container", &prefix, "--exclude-container", &id(3)])?;
    before.untraced(&["curl", "-sS", "{url}/before"])?;
    // These come while it runs.
    let after = Cgroup::new(&outer.0, &format!("cri-containerd-{}.scope", id(2)))?;
    let inner = Cgroup::new(&after.0, "inner")?;
    let left_out = Cgroup::new(&outer.0, &format!("docker-{}.scope", id(3)))?;
    let other = Cgroup::new(&outer.0, &format!("docker-{}.scope", "f".repeat(64)))?;
    for (group, path) in [
        (&after, "{url}/after"),
        (&inner, "{url}/inner"),
        (&left_out, "{url}/left-out"),
        (&other, "{url}/other"),
    ] {
        group.untraced(&["curl", "-sS", path])?;
    }
    let traced = running.stop()?;
    let clients = of_kind(&traced, Kind::Client, 3)?;
    let mut seen: Vec<_> = clients
        .iter()
        .filter_map(|span| span.attribute("url.full").rsplit('/').next().map(str::to_owned))
        .collect();
    seen.sort();
    ensure!(seen == ["after", "before", "inner"], "{seen:?}");
    of_kind(&traced, Kind::Server, 0)?;
    Ok(())
}

/// Waits for a file, then makes a request.
const EARLY: &str = r#"
import os, sys, time, urllib.request
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
urllib.request.urlopen(sys.argv[1]).read()
"#;

fn by_cgroup_and_exe(agent: &Agent) -> Result<()> {
    let folder = TempDir::new()?;
    let curl = |name| Ok::<_, anyhow::Error>(own_curl(&folder, name)?.display().to_string());
    let (by_name, by_path, hidden) = (curl("by-name")?, curl("by-path")?, curl("hidden")?);
    let outer = Cgroup::new(&cgroups()?, &format!("live-test-{}", std::process::id()))?;
    let inner = Cgroup::new(&outer.0, "inner")?;
    let left_out = Cgroup::new(&outer.0, "left-out")?;
    let go = folder.path().join("go").display().to_string();
    // A pattern with a path is judged by the agent, the others by the kernel side.
    for select in ["by-name", by_path.as_str()] {
        // Was there before the agent, and runs no other program after it.
        let early = inner.command(&answer(&[], &["python3", "-c", EARLY, "{url}/before", &go]));
        let (shell, arguments) = early.split_first().context("no command")?;
        let mut early = Command::new(shell)
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()?;
        let running = agent.run(&[
            "--cgroup",
            &inner.name(),
            "--exe",
            select,
            "--exclude-cgroup",
            &left_out.name(),
            "--exclude-exe",
            "hidden",
        ])?;
        let program = if select == "by-name" { &by_name } else { &by_path };
        fs::write(&go, "")?;
        ensure!(early.wait()?.success(), "the early client failed");
        fs::remove_file(&go)?;
        // Of a path the first process is only a question.
        for target in ["asked", "again"] {
            answer_untraced(&[], &[program, "-sS", &format!("{{url}}/{target}")])?;
            inner.untraced(&["curl", "-sS", &format!("{{url}}/group-{target}")])?;
        }
        answer_untraced(&[], &["curl", "-sS", "{url}/neither"])?;
        left_out.untraced(&[program, "-sS", "{url}/left-out"])?;
        inner.untraced(&[&hidden, "-sS", "{url}/hidden"])?;
        let traced = running.stop()?;
        let seen: Vec<_> = traced
            .spans
            .iter()
            .filter(|span| span.kind == Kind::Client)
            .filter_map(|span| span.attribute("url.full").rsplit('/').next().map(str::to_owned))
            .collect();
        for target in ["before", "again", "group-again"] {
            ensure!(
                seen.iter().any(|seen| seen == target),
                "{select}: {target} is not in {seen:?}"
            );
        }
        for target in ["neither", "left-out", "hidden"] {
            ensure!(
                seen.iter().all(|seen| seen != target),
                "{select}: {target} is in {seen:?}"
            );
        }
    }
    Ok(())
}

/// A network namespace that is gone with this value.
struct Netns(String);

impl Netns {
    fn new() -> Result<Self> {
        let name = format!("live-test-{}", std::process::id());
        needs(&["ip"])?;
        let made = Command::new("ip").args(["netns", "add", &name]).output()?;
        if !made.status.success() {
            bail!(Skip(format!(
                "no network namespace can be made: {}",
                String::from_utf8_lossy(&made.stderr).trim()
            )));
        }
        let namespace = Self(name);
        let up = Command::new("ip")
            .args(["-n", &namespace.0, "link", "set", "lo", "up"])
            .status()?;
        ensure!(up.success(), "lo does not come up in {}", namespace.0);
        Ok(namespace)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

fn by_netns(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl"])?;
    let namespace = Netns::new()?;
    let running = agent.run(&["--netns", &namespace.0])?;
    answer_untraced(&[], &["curl", "-sS", "{url}/outside"])?;
    let inside = answer(&[], &["curl", "-sS", "{url}/inside"]);
    let status = Command::new("ip")
        .args(["netns", "exec", &namespace.0])
        .args(inside)
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "ended with {status}");
    let traced: Traced = running.stop()?;
    crate::http1::paired(&traced, 1)
}
