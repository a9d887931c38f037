//! What the agent may take, and what it takes. In: settings, the control group that it is in, its own process.

use std::{fs, path::PathBuf, time::Duration};

use crate::metrics::process;

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

/// A control group (v2) that has a limit of memory, which is the agent's own: the kernel ends what is in it when that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    folder: PathBuf,
    /// Bytes: `memory.max`, or `memory.high` if that is less, where the kernel begins to make it wait.
    pub limit: u64,
}

impl Group {
    /// The group that this process is in; `None` where it has no limit, or is not of v2.
    pub fn of_process() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        mount
            .into_iter()
            .find_map(|mount| Self::at(PathBuf::from(mount).join(path)))
    }

    fn at(folder: PathBuf) -> Option<Self> {
        let bytes = |file: &str| -> Option<u64> {
            // `max` is no number.
            fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
        };
        let limit = [bytes("memory.max"), bytes("memory.high")]
            .into_iter()
            .flatten()
            .min();
        limit
            .filter(|limit| *limit > 0)
            .map(|limit| Self { folder, limit })
    }

    /// What the agent has taken: of memory, what counts towards the limit, with its maps in the kernel, less what the kernel would give
    /// up at once (pages of files that were not used lately).
    pub fn reading(&self) -> Reading {
        let current = fs::read_to_string(self.folder.join("memory.current"));
        let current: Option<u64> = current.ok().and_then(|text| text.trim().parse().ok());
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let inactive = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
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

    #[test]
    fn the_group_has_the_lower_of_its_limits_and_what_the_kernel_would_give_up_is_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        let group = || Group::at(folder.path().to_owned());
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
}
