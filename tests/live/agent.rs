//! Running the agent around a command and reading what it exported.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::now;
use crate::spans::{Span, read};

/// Far beyond what a test takes, also under emulation: what is still running then hangs.
const LIMIT: Duration = Duration::from_secs(240);
/// How often it is looked at.
const STEP: Duration = Duration::from_millis(20);
const EXPORT: &str = "spans.json";
const ERRORS: &str = "errors";

/// The agent under test.
pub struct Agent {
    program: PathBuf,
}

/// An agent that runs until it is stopped.
pub struct Running {
    agent: Child,
    folder: TempDir,
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
}

impl Agent {
    pub fn beside_this_program() -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("tracer-agent");
        ensure!(
            program.is_file(),
            "{} is missing: cargo build --package tracer-agent",
            program.display()
        );
        Ok(Self { program })
    }

    /// `tracer-agent trace OPTIONS -- COMMAND`, to its end.
    pub fn trace<Word: AsRef<str>>(&self, options: &[&str], command: &[Word]) -> Result<Traced> {
        let mut words = vec!["trace"];
        words.extend(options);
        words.push("--");
        words.extend(command.iter().map(AsRef::as_ref));
        self.start(&words)?.end()
    }

    /// `tracer-agent run OPTIONS`, once it traces.
    pub fn run(&self, options: &[&str]) -> Result<Running> {
        let mut running = self.start(&[&["run"], options].concat())?;
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

    fn start(&self, words: &[&str]) -> Result<Running> {
        let folder = TempDir::new()?;
        let mut words = words.iter();
        let agent = Command::new(&self.program)
            .args(words.next())
            .arg(format!("--export=json={}", folder.path().join(EXPORT).display()))
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join(ERRORS))?)
            .process_group(0)
            .spawn()
            .context("the agent does not start")?;
        Ok(Running { agent, folder })
    }
}

impl Running {
    /// Asks the agent to end, and waits.
    pub fn stop(self) -> Result<Traced> {
        Command::new("kill")
            .args(["-INT", &self.agent.id().to_string()])
            .status()?;
        self.end()
    }

    fn errors(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join(ERRORS))?)
    }

    fn end(mut self) -> Result<Traced> {
        let ended = wait(&mut self.agent);
        let errors = self.errors()?;
        let status = ended.with_context(|| format!("standard error was:\n{errors}"))?;
        let export = fs::read_to_string(self.folder.path().join(EXPORT))
            .with_context(|| format!("nothing was exported; standard error was:\n{errors}"))?;
        Ok(Traced {
            spans: read(&export)?,
            export,
            errors,
            status,
        })
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

/// Waits for the end; ends the agent and everything it started where there is none.
fn wait(agent: &mut Child) -> Result<ExitStatus> {
    let begun = now();
    while begun.elapsed() < LIMIT {
        if let Some(status) = agent.try_wait()? {
            return Ok(status);
        }
        thread::sleep(STEP);
    }
    let group = format!("-{}", agent.id());
    Command::new("kill").args(["-KILL", "--", &group]).status()?;
    agent.wait()?;
    bail!("did not end within {} s", LIMIT.as_secs())
}
