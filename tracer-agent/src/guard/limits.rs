//! What the agent may take, and what it takes. In: settings, the control group that it is in, its own process.

use std::{fs, path::PathBuf, time::Duration};

use crate::{
    discovery::{Hierarchy, is_group},
    metrics::process,
};

/// What the agent may take; what is `None` is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Part of one processor, user and system time of all threads: 0.2 is 20 %. Above 0.
    pub cpu: Option<f64>,
    /// Bytes. Above 0.
    pub memory: Option<u64>,
}

/// What it has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Processor time since it was started.
    pub cpu: Duration,
    /// Bytes of memory that it holds now, if that can be read.
    pub memory: Option<u64>,
}

impl Reading {
    /// Of this process, by the kernel: its resident memory.
    pub fn of_process() -> Self {
        let usage = process::usage();
        Self {
            cpu: usage.cpu.unwrap_or_default(),
            memory: usage.resident_bytes,
        }
    }
}

/// A control group that has a limit of memory, which is the agent's own: the kernel ends what is in it when that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    folder: PathBuf,
    files: &'static Files,
    /// Bytes; where the kernel begins to make it wait before that, that.
    pub limit: u64,
}

/// Where it is told, in bytes.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    limits: &'static [&'static str],
    current: &'static str,
    /// In `memory.stat`: pages of files that were not used lately.
    inactive: &'static str,
}

const UNIFIED: Files = Files {
    limits: &["memory.max", "memory.high"],
    current: "memory.current",
    inactive: "inactive_file ",
};

const VERSION_1: Files = Files {
    limits: &["memory.limit_in_bytes"],
    current: "memory.usage_in_bytes",
    inactive: "total_inactive_file ",
};

/// What version 1 says where there is no limit is a little below 2⁶³.
const NO_LIMIT: u64 = 1 << 62;

impl Group {
    /// The first group with a limit that a process is in, of those that `path` has in the hierarchy of a controller; `None` where
    /// none has one.
    pub fn find(all: &[Hierarchy], path: impl Fn(Option<&str>) -> Option<String>) -> Option<Self> {
        all.iter().find_map(|hierarchy| {
            let files = match hierarchy.controller() {
                None => &UNIFIED,
                Some("memory") => &VERSION_1,
                Some(_) => return None,
            };
            let group = hierarchy.group(&path(hierarchy.controller())?);
            // In a container the host's path may be told, and its own group be all that is mounted.
            let folder = if is_group(&group) {
                group
            } else {
                hierarchy.path().to_owned()
            };
            let limits = files.limits.iter().filter_map(|file| {
                // `max` is no number.
                fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
            });
            let limit = limits.min().filter(|limit| (1..NO_LIMIT).contains(limit))?;
            Some(Self { folder, files, limit })
        })
    }

    /// What the agent has taken: of memory, what counts towards the limit, with its maps in the kernel, less what the kernel would give
    /// up at once.
    pub fn reading(&self) -> Reading {
        let current = fs::read_to_string(self.folder.join(self.files.current));
        let current: Option<u64> = current.ok().and_then(|text| text.trim().parse().ok());
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let inactive = stat
            .lines()
            .find_map(|line| line.strip_prefix(self.files.inactive));
        let inactive = inactive.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0);
        Reading {
            memory: current.map(|current| current.saturating_sub(inactive)),
            ..Reading::of_process()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &std::path::Path) -> impl Fn(&str, &str) {
        let folder = folder.to_owned();
        move |file, text| fs::write(folder.join(file), text).unwrap()
    }

    #[test]
    fn the_group_has_the_lower_of_its_limits_and_what_the_kernel_would_give_up_is_not_counted() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("agent");
        fs::create_dir(&folder).unwrap();
        let write = written(&folder);
        let all = [Hierarchy::at(root.path())];
        let group = || Group::find(&all, |_| Some("/agent".to_owned()));
        write("cgroup.procs", "");
        assert_eq!(group(), None);
        write("memory.max", "max\n");
        write("memory.high", "max\n");
        assert_eq!(group(), None);
        write("memory.max", "268435456\n");
        assert_eq!(group().unwrap().limit, 256 << 20);
        write("memory.high", "201326592\n");
        assert_eq!(group().unwrap().limit, 192 << 20);
        assert_eq!(group().unwrap().reading().memory, None);
        write("memory.current", "50000000\n");
        write(
            "memory.stat",
            "anon 1\nfile 2\ninactive_file 20000000\nactive_file 3\n",
        );
        let reading = group().unwrap().reading();
        assert_eq!(reading.memory, Some(30_000_000));
        assert!(reading.cpu > Duration::ZERO);
    }

    #[test]
    fn in_version_1_it_is_the_group_of_the_memory_controller_wherever_that_is_mounted() {
        let root = tempfile::tempdir().unwrap();
        let write = written(root.path());
        let of = |controller| Hierarchy::of_version_1(root.path(), controller);
        // The host's path of it, which a container does not see.
        let group = |all: &[Hierarchy]| Group::find(all, |_| Some("/docker/1".to_owned()));
        write("cgroup.procs", "");
        write("memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(group(&[of("pids"), of("memory")]), None);
        write("memory.limit_in_bytes", "134217728\n");
        assert_eq!(group(&[of("pids")]), None);
        let found = group(&[of("pids"), of("memory")]).unwrap();
        assert_eq!(found.limit, 128 << 20);
        write("memory.usage_in_bytes", "5000\n");
        write(
            "memory.stat",
            "inactive_file 1\nhierarchical_memory_limit 7\ntotal_inactive_file 1000\n",
        );
        assert_eq!(found.reading().memory, Some(4000));
    }
}
