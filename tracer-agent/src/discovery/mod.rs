//! Beside the way: which processes there are, what service each one is, and on what host. In: `/proc`, and what the Kubernetes
//! API and container runtimes tell ([`Sources`]). Out: [`ProcessInfo`] and [`HostInfo`], and process ids for selection. Kept
//! true: every read is bounded, nothing that a process put there can make the agent fail, and of a process's environment only
//! the variables that name it are looked at. The command line serves to find the program's name and is never kept.
//!
//! What sources tell may come after a process was looked up; then it is looked up again ([`Discovery::known_better`]).

use std::{os::fd::BorrowedFd, path::PathBuf, sync::Arc};

use compact_str::CompactString;

use crate::{
    capture::{
        clock,
        input::{AttributeValue, HostInfo, ProcessInfo},
        record::Verdict,
    },
    symbols::{Executables, Go, Runtime},
};

mod awaiting;
mod catalog;
mod cgroup;
mod cloud;
mod containerd;
mod containers;
mod containment;
mod docker;
mod environment;
mod glob;
mod hierarchy;
mod host;
mod http;
mod identity;
mod image;
mod json;
mod kubernetes;
mod proc;
mod program;
mod runtimes;
mod selection;
mod sources;
mod text;

use awaiting::Awaiting;
use catalog::{Catalog, Place};
use cgroup::Membership;
pub use containers::{Containers, Group, Patterns};
pub use containment::Labels;
pub use glob::Glob;
pub use hierarchy::{Hierarchy, is_group};
pub use identity::NameRule;
pub use kubernetes::{Access, Node};
use proc::Proc;
pub use sources::{Asked, Notice, Notify, Sources};

/// Reads what is known of processes from one `/proc`.
#[derive(Debug)]
pub struct Discovery {
    proc: Proc,
    rules: Vec<NameRule>,
    executables: Executables,
    /// Control groups of the agent: what the agent shares with a process tells that process from no other.
    own_cgroups: Option<Vec<u8>>,
    host_name: String,
    /// What is known from outside of `/proc`.
    catalog: Option<Arc<Catalog>>,
    labels: Labels,
    awaiting: Awaiting,
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
            catalog: None,
            labels: Labels::default(),
            awaiting: Awaiting::default(),
        }
    }

    /// Names that configuration gives to services, before everything that is found; the first that matches.
    #[must_use]
    pub fn with_rules(mut self, rules: Vec<NameRule>) -> Self {
        self.rules = rules;
        self
    }

    /// What these tell is added to what `/proc` tells.
    #[must_use]
    pub fn with_sources(mut self, sources: Option<&Sources>, labels: Labels) -> Self {
        self.catalog = sources.map(Sources::catalog);
        self.labels = labels;
        self
    }

    /// What is known of this process. `comm_hint` is what the kernel called it when it was seen: all there is
    /// to go by when the process is gone by now.
    pub fn lookup(&self, pid: u32, comm_hint: &str) -> ProcessInfo {
        identity::look_up(self, pid, comm_hint)
    }

    /// A process made another, which is what it is until it is looked up itself.
    pub fn forked(&self, parent: u32, child: u32) {
        if let Some(catalog) = &self.catalog {
            self.awaiting.forked(parent, child, catalog);
        }
    }

    /// A process is gone.
    pub fn ended(&self, pid: u32) {
        self.awaiting.end(pid);
    }

    /// Processes that were looked up, and of which more is known since: all that is known now.
    pub fn known_better(&self) -> Vec<ProcessInfo> {
        let Some(catalog) = &self.catalog else {
            return Vec::new();
        };
        catalog.quieten();
        let pids = self.awaiting.known_better(catalog).into_iter();
        let infos = pids.map(|pid| self.lookup(pid, ""));
        // Nothing can be read of one that has ended meanwhile; what it was told as is better.
        infos.filter(|info| self.runs(info.pid)).collect()
    }

    /// Readable when more may be known.
    pub fn learnt(&self) -> Option<BorrowedFd<'_>> {
        self.catalog.as_ref().map(|catalog| catalog.learnt())
    }

    /// What could not be known, by cause.
    pub fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        let named = self.catalog.iter().flat_map(|catalog| catalog.counters().named());
        named.map(|(cause, count)| ("discovery", cause, count)).collect()
    }

    /// The Go program that this process runs, if it does.
    pub fn go(&self, pid: u32) -> Option<Go> {
        self.executables.go(&self.proc.path(pid, "exe"))
    }

    /// What this process runs, if that is known.
    pub fn runtime(&self, pid: u32) -> Option<Runtime> {
        runtimes::look_up(&self.proc, &self.executables, pid)
    }

    /// Whether this process runs the tasks of tokio.
    pub fn has_tasks(&self, pid: u32) -> bool {
        let file = self.proc.open(pid, "exe");
        file.is_some_and(|file| self.executables.tokio(&file).is_some())
    }

    /// What is true of the host, with the clocks read now and a new random seed.
    pub fn host(&self) -> HostInfo {
        host::describe(&self.proc, self.host_name.clone(), clock::unix_minus_boot_ns())
    }

    /// Attributes of the cloud that the host is in, as far as its firmware tells.
    pub fn cloud(&self, is_in_cluster: bool) -> Vec<(String, String)> {
        cloud::attributes(&self.proc, is_in_cluster)
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

    /// Path of a process's control group in the hierarchy of this controller, the unified one if it is `None`, from the agent's own
    /// root of it.
    pub fn cgroup(&self, pid: u32, controller: Option<&str>) -> Option<String> {
        let groups = self.proc.read(pid, "cgroup", Proc::SMALL_MAX)?;
        cgroup::path(&groups, controller)
    }

    /// What these patterns say of a process by the containers that it is in; `None` if that cannot be told.
    pub fn verdict_of_containers(
        &self,
        pid: u32,
        controller: Option<&str>,
        patterns: Patterns<'_>,
    ) -> Option<Verdict> {
        if patterns.is_empty() {
            return Some(Verdict::Passed);
        }
        Some(containers::verdict(
            self,
            &self.cgroup(pid, controller)?,
            patterns,
        ))
    }

    /// Somebody can be asked for the names of containers.
    pub fn knows_names(&self) -> bool {
        self.catalog.is_some()
    }

    fn place(&self, membership: &Membership) -> Place {
        let catalog = self.catalog.as_ref();
        catalog.map_or_else(Place::default, |catalog| catalog.find(membership))
    }

    /// Changes whenever more is known from outside of `/proc`.
    fn version(&self) -> u64 {
        self.catalog.as_ref().map_or(0, |catalog| catalog.version())
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

fn text_attribute(key: &str, value: impl Into<CompactString>) -> (String, AttributeValue) {
    (key.to_owned(), AttributeValue::Text(value.into()))
}

#[cfg(test)]
mod tests;
