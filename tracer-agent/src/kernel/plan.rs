//! What the kernel side is to do: whom it traces, in the kernel's numbers, and how it is to be loaded.

use std::path::PathBuf;

use tracer_common::{
    glob,
    layout::{process, rule},
};

use super::family::Family;

/// What is to be traced from the first moment on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Every process but the excluded ones.
    pub all: bool,
    /// These processes and their future children.
    pub pids: Vec<u32>,
    /// Not these processes, nor their future children.
    pub excluded_pids: Vec<u32>,
    /// Processes that begin to listen on one of these ports.
    pub ports: Vec<u16>,
    /// Not processes that begin to listen on one of these.
    pub excluded_ports: Vec<u16>,
    /// Control groups by id, with what becomes of processes below them.
    pub cgroups: Vec<(u64, u8)>,
    /// Network namespaces by inode number, with what becomes of processes in them.
    pub netns: Vec<(u32, u8)>,
    /// Files by name, with what becomes of processes that run them.
    pub names: Vec<glob::NameRule>,
    /// Control groups of containers are judged as they come; whether some are excluded.
    pub containers: Option<Excludes>,
    /// Those that are there, with what becomes of processes below them.
    pub of_containers: Vec<(u64, u8)>,
    /// What the control groups are of: a controller of version 1; the unified hierarchy if it is `None`.
    pub controller: Option<String>,
    /// Programs are judged by the agent in any case: it is asked when a process runs one that nobody has judged.
    pub asks: bool,
}

/// Whether a rule that is made later may exclude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excludes(pub bool);

impl Selection {
    /// What a process is that was selected by itself: places that are excluded are known to the kernel side only.
    pub(super) fn chosen(&self) -> u8 {
        let cgroups = self.cgroups.iter().map(|(_, mark)| *mark);
        let netns = self.netns.iter().map(|(_, mark)| *mark);
        let is_excluded = cgroups.chain(netns).any(|mark| mark == process::EXCLUDED);
        if is_excluded || self.containers == Some(Excludes(true)) {
            process::DUE
        } else {
            process::SELECTED
        }
    }

    /// The controller of version 1 that rules are about.
    pub(super) fn controller(&self) -> Option<&str> {
        self.controller.as_deref().filter(|_| self.has_cgroups())
    }

    pub(super) fn has_cgroups(&self) -> bool {
        !self.cgroups.is_empty() || self.containers.is_some()
    }

    pub(super) fn rules(&self, asks: bool) -> u32 {
        let of = |applies, rule| if applies { rule } else { 0 };
        of(self.has_cgroups(), rule::CGROUP) | of(!self.netns.is_empty(), rule::NETNS) | of(asks, rule::ASK)
    }
}

/// How the kernel side is to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is traced.
    pub selection: Selection,
    /// Hook families in the order in which they are tried.
    pub families: Vec<Family>,
    /// What its caller does not sample is not captured.
    pub follows_sampling: bool,
    /// Calls that wait already are to be seen when they return.
    pub joins: bool,
    /// Breakpoints may go into traced programs.
    pub has_uprobes: bool,
    /// Breakpoints may go into libraries of TLS.
    pub sees_tls: bool,
    /// Those that a traced process may load before it could be looked at.
    pub libraries: Vec<PathBuf>,
    /// The agent itself.
    pub agent_pid: u32,
    /// The programs in the kernel say what they do.
    pub speaks: bool,
    /// Size of the ring buffer: a power of two, at least a page; by the size of the host where it is not said.
    pub ring_bytes: Option<u32>,
}
