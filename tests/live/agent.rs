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

/// The agent under test.
pub struct Agent {
    program: PathBuf,
}

/// What came of one traced command.
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
        let folder = TempDir::new()?;
        let export = folder.path().join("spans.json");
        let errors = folder.path().join("errors");
        let mut agent = Command::new(&self.program)
            .arg("trace")
            .arg(format!("--export=json={}", export.display()))
            .args(options)
            .arg("--")
            .args(command.iter().map(AsRef::as_ref))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors)?)
            .process_group(0)
            .spawn()
            .context("the agent does not start")?;
        let ended = wait(&mut agent);
        let errors = fs::read_to_string(&errors)?;
        let status = ended.with_context(|| format!("standard error was:\n{errors}"))?;
        let export = fs::read_to_string(&export)
            .with_context(|| format!("nothing was exported; standard error was:\n{errors}"))?;
        Ok(Traced {
            spans: read(&export)?,
            export,
            errors,
            status,
        })
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
        thread::sleep(Duration::from_millis(20));
    }
    let group = format!("-{}", agent.id());
    Command::new("kill").args(["-KILL", "--", &group]).status()?;
    agent.wait()?;
    bail!("did not end within {} s", LIMIT.as_secs())
}
