//! Beside the way: which processes there are, what service each one is, and on what host. In: `/proc`. Out:
//! [`ProcessInfo`] and [`HostInfo`], and process ids for selection. Kept true: every read is bounded, nothing
//! that a process put there can make the agent fail, and of a process's environment only the variables that
//! name it are looked at. The command line serves to find the program's name and is never kept.

use std::path::PathBuf;

use crate::{
    capture::{
        clock,
        input::{AttributeValue, HostInfo, ProcessInfo},
    },
    symbols::{Executables, Go},
};

mod cgroup;
mod environment;
mod glob;
mod host;
mod identity;
mod kubernetes;
mod proc;
mod program;
mod selection;
mod text;

pub use glob::Glob;
pub use identity::NameRule;
use proc::Proc;

/// Reads what is known of processes from one `/proc`.
#[derive(Debug)]
pub struct Discovery {
    proc: Proc,
    rules: Vec<NameRule>,
    executables: Executables,
    /// Control groups of the agent: what the agent shares with a process tells that process from no other.
    own_cgroups: Option<Vec<u8>>,
    host_name: String,
}

impl Discovery {
    /// Discovery below this `/proc`: the agent's own, or the host's where it is mounted into a container.
    pub fn new(proc_root: PathBuf) -> Self {
        let proc = Proc::new(proc_root);
        Self {
            own_cgroups: proc.own_cgroups(),
            host_name: host::name(&proc),
            proc,
            rules: Vec::new(),
            executables: Executables::default(),
        }
    }

    /// Names that configuration gives to services, before everything that is found; the first that matches.
    #[must_use]
    pub fn with_rules(mut self, rules: Vec<NameRule>) -> Self {
        self.rules = rules;
        self
    }

    /// What is known of this process. `comm_hint` is what the kernel called it when it was seen: all there is
    /// to go by when the process is gone by now.
    pub fn lookup(&self, pid: u32, comm_hint: &str) -> ProcessInfo {
        identity::look_up(self, pid, comm_hint)
    }

    /// The Go program that this process runs, if it does.
    pub fn go(&self, pid: u32) -> Option<Go> {
        self.executables.go(&self.proc.path(pid, "exe"))
    }

    /// What is true of the host, with the clocks read now and a new random seed.
    pub fn host(&self) -> HostInfo {
        host::describe(&self.proc, self.host_name.clone(), clock::unix_minus_boot_ns())
    }

    /// Processes that hold a socket which listens on one of these TCP ports, in any network namespace.
    pub fn pids_listening_on(&self, ports: &[u16]) -> Vec<u32> {
        selection::listening_on(&self.proc, ports)
    }

    /// Process id of the agent, as the processes of this `/proc` are numbered.
    pub fn own_pid(&self) -> Option<u32> {
        self.proc.own_pid()
    }

    /// Whether this `/proc` numbers processes as the kernel does.
    pub fn is_of_kernel(&self) -> bool {
        self.proc.is_of_kernel()
    }

    /// Whether a process runs an executable that matches one of the patterns.
    pub fn runs_exe(&self, pid: u32, patterns: &[Glob]) -> bool {
        // Looked at only where it matters: reading it needs a right.
        !patterns.is_empty()
            && self
                .proc
                .exe(pid)
                .is_some_and(|exe| patterns.iter().any(|pattern| pattern.matches_path(&exe)))
    }

    /// Inode number of the file that a process runs.
    pub fn exe_inode(&self, pid: u32) -> Option<u64> {
        self.proc.inode(pid, "exe")
    }

    /// Path of a process's control group in the unified hierarchy, from the agent's own root of it.
    pub fn cgroup(&self, pid: u32) -> Option<String> {
        let groups = self.proc.read(pid, "cgroup", Proc::SMALL_MAX)?;
        cgroup::unified(&groups)
    }

    /// Inode number of the network namespace of a process.
    pub fn netns(&self, pid: u32) -> Option<u32> {
        u32::try_from(self.proc.inode(pid, "ns/net")?).ok()
    }

    /// Every process there is.
    pub fn pids(&self) -> Vec<u32> {
        self.proc.pids()
    }

    /// Descendants of this process, without itself, ancestors before their children.
    pub fn children_of(&self, pid: u32) -> Vec<u32> {
        selection::descendants_of(&self.proc, pid)
    }

    /// Whether there is such a process, and it has not ended.
    pub fn runs(&self, pid: u32) -> bool {
        self.proc.runs(pid)
    }
}

fn text_attribute(key: &str, value: impl Into<String>) -> (String, AttributeValue) {
    (key.to_owned(), AttributeValue::Text(value.into().into()))
}

#[cfg(test)]
mod tests;
