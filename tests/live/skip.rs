//! Why a test cannot run here.

use std::fmt;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::agent::Agent;

/// An error that means: not judged, for this reason.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Skips the test where the hook family does not see Unix sockets.
pub fn needs_unix_sockets(agent: &Agent) -> Result<()> {
    if agent.family() == "syscall" {
        bail!(Skip(
            "the family syscall does not see Unix sockets; `check` says so".to_owned()
        ));
    }
    Ok(())
}

/// Skips the test where one of these programs does not start.
pub fn needs(programs: &[&str]) -> Result<()> {
    for program in programs {
        let mut started = Command::new(program);
        started
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Err(error) = started.status() {
            bail!(Skip(format!("{program} does not start: {error}")));
        }
    }
    Ok(())
}
