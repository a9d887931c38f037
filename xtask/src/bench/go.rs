//! A Go service that calls another one for each request.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

/// Both services.
pub struct Services {
    first: Hop,
    second: Hop,
}

struct Hop {
    child: Child,
    port: String,
}

impl Services {
    pub fn start(program: &Path) -> Result<Self> {
        let second = Hop::start(program, &[])?;
        let next = format!("http://127.0.0.1:{}", second.port);
        let first = Hop::start(program, &["--next", &next])?;
        Ok(Self { first, second })
    }

    /// What to ask.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/job/a", self.first.port)
    }

    /// What has the agent trace both.
    pub fn selection(&self) -> [String; 4] {
        let pid = |hop: &Hop| hop.child.id().to_string();
        [
            "--pid".to_owned(),
            pid(&self.first),
            "--pid".to_owned(),
            pid(&self.second),
        ]
    }
}

impl Hop {
    fn start(program: &Path, options: &[&str]) -> Result<Self> {
        let mut child = Command::new(program)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let mut port = String::new();
        let said = child.stdout.take().context("no standard output")?;
        BufReader::new(said).read_line(&mut port)?;
        Ok(Self {
            child,
            port: port.trim().to_owned(),
        })
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
