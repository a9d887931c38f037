//! Running the agent around a command and reading what it exported.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::now;
use crate::skip::Skip;
use crate::spans::{Span, read};

/// Far beyond what a test takes, also under emulation: what is still running then hangs.
pub const LIMIT: Duration = Duration::from_secs(240);
/// How often it is looked at.
const STEP: Duration = Duration::from_millis(20);
/// Far above what the agent takes, also unoptimised, and far below what a test makes programs send.
pub const MEMORY_MAX_KIB: u64 = 128 * 1024;
const EXPORT: &str = "spans.json";
const ERRORS: &str = "errors";

/// The agent under test.
pub struct Agent {
    program: PathBuf,
    /// The hook family it is told to use.
    family: String,
}

/// An agent that runs until it is stopped.
pub struct Running {
    agent: Child,
    folder: TempDir,
    peak_memory_kib: u64,
}

/// What came of one run.
pub struct Traced {
    /// Everything exported, in the order of the file.
    pub spans: Vec<Span>,
    /// The lines of the json export.
    pub export: String,
    /// What the agent and the command wrote to standard error.
    pub errors: String,
    /// How the agent ended, which is how the command ended.
    pub status: ExitStatus,
    /// The most memory that the agent was seen to hold.
    pub peak_memory_kib: u64,
}

impl Agent {
    /// The agent with a hook family; skipped where the kernel does not take it.
    pub fn beside_this_program(family: &str) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("tracer-agent");
        ensure!(
            program.is_file(),
            "{} is missing: cargo build --package tracer-agent",
            program.display()
        );
        let tried = Command::new(&program)
            .args(["trace", "--export=json=/dev/null", "--hooks", family])
            .args(["--log-level", "debug", "--", "true"])
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&tried.stderr);
        if !tried.status.success() {
            let reason = said.lines().last().unwrap_or_default().to_owned();
            ensure!(family != "auto", "the agent does not work here: {reason}");
            bail!(Skip(reason));
        }
        let preempted = "this kernel preempts programs";
        if let Some(reason) = said
            .lines()
            .find(|line| line.contains("warning: ") && line.contains(preempted))
        {
            bail!(Skip(reason.to_owned()));
        }
        let taken = said.lines().find_map(|line| line.split_once("hooks: "));
        let (_, taken) = taken.context("the agent does not say which hooks it takes")?;
        Ok(Self {
            program,
            family: taken.to_owned(),
        })
    }

    /// The program, to be started in other ways than these.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The hook family that the kernel takes.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// Waits until the agents of tests before are gone to the last: while one takes its breakpoints away, the kernel sets new ones late.
    pub fn alone(&self) -> Result<()> {
        let program = fs::canonicalize(&self.program)?;
        let name = self.program.file_name().unwrap_or_default();
        let is_agent = |process: &Path| match fs::read_link(process.join("exe")) {
            Ok(known) => known == program,
            // One that ends has no program any more, and takes breakpoints away for a while.
            Err(_) => fs::read_to_string(process.join("stat")).is_ok_and(|line| is_ending(&line, name)),
        };
        let is_there = || -> Result<bool> {
            let mut processes = fs::read_dir("/proc")?.flatten();
            Ok(processes.any(|process| is_agent(&process.path())))
        };
        let begun = now();
        while is_there()? {
            ensure!(
                begun.elapsed() < LIMIT,
                "an agent of a test before is still there"
            );
            thread::sleep(STEP);
        }
        Ok(())
    }

    /// `tracer-agent trace OPTIONS -- COMMAND`, to its end.
    pub fn trace<Word: AsRef<str>>(&self, options: &[&str], command: &[Word]) -> Result<Traced> {
        let command: Vec<_> = command.iter().map(AsRef::as_ref).collect();
        self.under(&[], &[&["trace"], options].concat(), &command)
    }

    /// The same, with the agent started by another program: its words come before those of the agent.
    pub fn under(&self, starter: &[&str], words: &[&str], command: &[&str]) -> Result<Traced> {
        let words = [words, &["--"], command].concat();
        self.start(starter, &words)?.end()
    }

    /// `tracer-agent run OPTIONS`, once it traces.
    pub fn run(&self, options: &[&str]) -> Result<Running> {
        self.run_under(&[], options)
    }

    /// The same, with the agent started by another program, which passes signals on.
    pub fn run_under(&self, starter: &[&str], options: &[&str]) -> Result<Running> {
        let mut running = self.start(starter, &[&["run"], options].concat())?;
        let begun = now();
        while !running.errors()?.contains(": tracing ") {
            if let Some(status) = running.agent.try_wait()? {
                bail!(
                    "ended with {status} before it traced; standard error was:\n{}",
                    running.errors()?
                );
            }
            ensure!(
                begun.elapsed() < LIMIT,
                "does not trace; standard error was:\n{}",
                running.errors()?
            );
            thread::sleep(STEP);
        }
        Ok(running)
    }

    fn start(&self, starter: &[&str], words: &[&str]) -> Result<Running> {
        let folder = TempDir::new()?;
        let mut words = words.iter();
        let mut started = starter.iter().map(OsStr::new).chain([self.program.as_os_str()]);
        let agent = Command::new(started.next().unwrap_or_default())
            .args(started)
            .args(words.next())
            .arg(format!("--export=json={}", folder.path().join(EXPORT).display()))
            .args(words)
            .env("TRACER_HOOKS", &self.family)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join(ERRORS))?)
            .process_group(0)
            .spawn()
            .context("the agent does not start")?;
        Ok(Running {
            agent,
            folder,
            peak_memory_kib: 0,
        })
    }
}

/// Whether a line of `/proc/PID/stat` is of a process of this name that is not over.
fn is_ending(line: &str, name: &OsStr) -> bool {
    let (before, behind) = line.rsplit_once(") ").unwrap_or_default();
    let named = before.split_once('(').is_some_and(|(_, known)| known == name);
    named && !behind.starts_with('Z')
}

impl Running {
    /// Asks the agent to end, and waits.
    pub fn stop(self) -> Result<Traced> {
        Command::new("kill")
            .args(["-INT", &self.agent.id().to_string()])
            .status()?;
        self.end()
    }

    /// Kills the agent, and waits.
    pub fn kill(mut self) -> Result<()> {
        self.agent.kill()?;
        self.agent.wait()?;
        Ok(())
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) -> Result<()> {
        let id = self.agent.id().to_string();
        let status = Command::new("kill").args(["-HUP", &id]).status()?;
        ensure!(status.success(), "no signal was sent: {status}");
        Ok(())
    }

    /// Waits until it has said something so often.
    pub fn until_said(&self, text: &str, times: usize) -> Result<()> {
        let begun = now();
        while self.errors()?.matches(text).count() < times {
            ensure!(
                begun.elapsed() < LIMIT,
                "{text:?} is not said {times} times:\n{}",
                self.errors()?
            );
            thread::sleep(STEP);
        }
        Ok(())
    }

    /// The effective capabilities of each of its threads.
    pub fn capabilities(&self) -> Result<Vec<u64>> {
        let mut sets = Vec::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.agent.id()))? {
            sets.push(capabilities(&thread?.path())?);
        }
        Ok(sets)
    }

    /// What it has written to standard error so far.
    pub fn errors(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join(ERRORS))?)
    }

    fn end(mut self) -> Result<Traced> {
        let ended = self.wait();
        let errors = self.errors()?;
        let status = ended.with_context(|| format!("standard error was:\n{errors}"))?;
        let export = match fs::read_to_string(self.folder.path().join(EXPORT)) {
            Err(_) if !status.success() => String::new(),
            read => read.with_context(|| format!("nothing was exported; standard error was:\n{errors}"))?,
        };
        Ok(Traced {
            spans: read(&export)?,
            export,
            errors,
            status,
            peak_memory_kib: self.peak_memory_kib,
        })
    }

    /// Waits for the end; ends the agent and everything it started where there is none.
    fn wait(&mut self) -> Result<ExitStatus> {
        let begun = now();
        while begun.elapsed() < LIMIT {
            if let Some(status) = self.agent.try_wait()? {
                return Ok(status);
            }
            let peak = peak_memory_kib(self.agent.id()).unwrap_or(0);
            self.peak_memory_kib = self.peak_memory_kib.max(peak);
            thread::sleep(STEP);
        }
        let group = format!("-{}", self.agent.id());
        Command::new("kill").args(["-KILL", "--", &group]).status()?;
        self.agent.wait()?;
        bail!("did not end within {} s", LIMIT.as_secs())
    }
}

impl Drop for Running {
    /// A test that fails leaves no agent behind. Does nothing to one that has ended.
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

impl Traced {
    /// The same, where the command succeeded.
    pub fn successful(self) -> Result<Self> {
        ensure!(
            self.status.success(),
            "ended with {}; standard error was:\n{}",
            self.status,
            self.errors
        );
        Ok(self)
    }
}

/// Whether this kernel runs under emulation, some twenty times slower.
pub fn in_guest() -> bool {
    std::env::var_os("IN_GUEST").is_some()
}

/// The effective capabilities of a process or thread, by its folder in `/proc`.
pub fn capabilities(folder: &Path) -> Result<u64> {
    let status = fs::read_to_string(folder.join("status"))?;
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Ok(u64::from_str_radix(set.context("no CapEff")?.trim(), 16)?)
}

/// The most memory that a process has held so far, by the kernel's own book.
fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
