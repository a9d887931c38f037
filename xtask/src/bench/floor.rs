//! The least that probes can cost: empty programs on the hooks of a family, which bpftrace loads.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::agent::program_time_ns;

/// The hooks that a call passes, by family.
const HOOKS: [(&str, &str); 3] = [
    (
        "socket",
        "fentry:tcp_sendmsg, fexit:tcp_sendmsg, fentry:tcp_recvmsg, fexit:tcp_recvmsg",
    ),
    (
        "kprobe",
        "kprobe:tcp_sendmsg, kretprobe:tcp_sendmsg, kprobe:tcp_recvmsg, kretprobe:tcp_recvmsg, kprobe:release_sock",
    ),
    ("syscall", "rawtracepoint:sys_enter, rawtracepoint:sys_exit"),
];

/// Empty programs, attached.
pub struct Floor(Child);

impl Floor {
    /// On the hooks of this family.
    pub fn attach(family: &str) -> Result<Self> {
        let (_, hooks) = HOOKS
            .iter()
            .find(|(name, _)| *name == family)
            .with_context(|| format!("no hooks are known of family {family}"))?;
        let script = format!("BEGIN {{ printf(\"attached\\n\"); }} {hooks} {{ }}");
        let mut child = Command::new("bpftrace")
            .args(["-q", "-e", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        if let Some(stdout) = &mut child.stdout {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        let floor = Self(child);
        anyhow::ensure!(said.contains("attached"), "bpftrace does not attach to {hooks}");
        Ok(floor)
    }

    /// See [`program_time_ns`].
    pub fn program_time_ns(&self) -> Result<f64> {
        program_time_ns(self.0.id())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
