//! Bounded reads below one `/proc`. What cannot be read is absent: a process may end between any two reads.

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::text;

/// `PROC_PID_INIT_INO` of the kernel's proc_ns.h: fixed since namespaces have numbers.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";
/// Flag of a thread of the kernel: of the kernel's sched.h, and the same for ever in `/proc/PID/stat`.
const PF_KTHREAD: u32 = 0x0020_0000;

/// A `/proc`, the agent's own or one that is mounted elsewhere.
#[derive(Debug)]
pub(super) struct Proc {
    root: PathBuf,
}

impl Proc {
    /// Bytes of a command line that are looked at; the program stands at its beginning.
    pub(super) const COMMAND_LINE_MAX: usize = 32 * 1024;
    /// Bytes of an environment that are looked at.
    pub(super) const ENVIRONMENT_MAX: usize = 256 * 1024;
    /// Bytes of small files: names, states, control groups.
    pub(super) const SMALL_MAX: usize = 16 * 1024;

    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// At most `max` bytes of a file of this process.
    pub(super) fn read(&self, pid: u32, name: &str, max: usize) -> Option<Vec<u8>> {
        read_bounded(File::open(self.path(pid, name)).ok()?, max)
    }

    /// The start of a file that does not belong to one process.
    pub(super) fn read_global(&self, name: &str) -> Option<Vec<u8>> {
        read_bounded(File::open(self.root.join(name)).ok()?, Self::SMALL_MAX)
    }

    pub(super) fn own_cgroups(&self) -> Option<Vec<u8>> {
        self.read_global("self/cgroup")
    }

    /// What the agent's own link in it leads to.
    pub(super) fn own_pid(&self) -> Option<u32> {
        let pid = fs::read_link(self.root.join("self")).ok()?;
        pid.to_str()?.parse().ok()
    }

    /// Whether it is that of the initial pid namespace: where the agent is itself, or the kernel's own threads.
    pub(super) fn is_of_kernel(&self) -> bool {
        let own = fs::read_link(self.root.join("self/ns/pid"));
        own.is_ok_and(|own| own.as_os_str() == INITIAL_PID_NAMESPACE) || self.is_kernel_thread(2)
    }

    fn is_kernel_thread(&self, pid: u32) -> bool {
        // `pid (name) state parent group session tty group flags …`
        let flags = || {
            let stat = self.read(pid, "stat", Self::SMALL_MAX)?;
            let behind_name = stat.iter().rposition(|byte| *byte == b')')?;
            let fields = str::from_utf8(stat.get(behind_name..)?).ok()?;
            fields.split_ascii_whitespace().nth(7)?.parse::<u32>().ok()
        };
        flags().is_some_and(|flags| flags & PF_KTHREAD != 0)
    }

    /// Whether the agent is in the namespace of host names that the host's first process is in.
    pub(super) fn agent_shares_host_name(&self) -> bool {
        let own = fs::read_link(self.root.join("self/ns/uts"));
        let first = fs::read_link(self.root.join("1/ns/uts"));
        matches!((own, first), (Ok(own), Ok(first)) if own == first)
    }

    /// Where a link of this process leads, e.g. `exe` or `ns/net`.
    pub(super) fn link(&self, pid: u32, name: &str) -> Option<String> {
        let target = fs::read_link(self.path(pid, name)).ok()?;
        Some(target.to_string_lossy().into_owned())
    }

    /// The start of a file as this process sees it, as [`Self::open_in_root_of`] opens it.
    pub(super) fn read_in_root_of(&self, pid: u32, path: &str, max: usize) -> Option<Vec<u8>> {
        read_bounded(self.open_in_root_of(pid, path)?, max)
    }

    /// A file as this process sees it, by its absolute path; only if it is a plain file.
    ///
    /// Anything may stand at such a path. A pipe or device is never opened in earnest (`O_NONBLOCK`), and a
    /// link as last component not followed: it could lead out of the process's root.
    pub(super) fn open_in_root_of(&self, pid: u32, path: &str) -> Option<File> {
        let path = self.path(pid, "root").join(path.trim_start_matches('/'));
        if !fs::symlink_metadata(&path).ok()?.is_file() {
            return None;
        }
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY)
            .open(path)
            .ok()?;
        file.metadata().ok()?.is_file().then_some(file)
    }

    /// A file of the host itself: in the root of its first process, or beside this `/proc`.
    pub(super) fn read_of_host(&self, path: &str) -> Option<Vec<u8>> {
        self.read_in_root_of(1, path, Self::SMALL_MAX).or_else(|| {
            let beside = self.root.parent()?.join(path.trim_start_matches('/'));
            read_bounded(File::open(beside).ok()?, Self::SMALL_MAX)
        })
    }

    /// The open files of this process: what each descriptor leads to.
    pub(super) fn descriptors(&self, pid: u32) -> impl Iterator<Item = PathBuf> {
        fs::read_dir(self.path(pid, "fd"))
            .into_iter()
            .flatten()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
    }

    /// All processes there are, in ascending order.
    pub(super) fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        pids
    }

    /// Whether this process runs. One that has ended keeps its number until its parent asks how; one whose first
    /// thread has ended runs as long as others do.
    pub(super) fn runs(&self, pid: u32) -> bool {
        match self.stat(pid, 0).as_deref() {
            None => false,
            Some("Z" | "X") => {
                let threads = fs::read_dir(self.path(pid, "task"));
                threads.is_ok_and(|threads| threads.count() > 1)
            }
            Some(_) => true,
        }
    }

    /// The parent of this process; `None` for the first one.
    pub(super) fn parent(&self, pid: u32) -> Option<u32> {
        let parent = self.stat(pid, 1)?;
        parent.parse().ok().filter(|parent| *parent != 0)
    }

    /// A field of `pid (comm) state ppid …`, counted from the state.
    fn stat(&self, pid: u32, field: usize) -> Option<String> {
        let stat = self.read(pid, "stat", Self::SMALL_MAX)?;
        // comm may hold anything, a closing bracket too.
        let after_comm = stat.rsplit(|byte| *byte == b')').next()?;
        let fields = str::from_utf8(after_comm).ok()?;
        fields.split_ascii_whitespace().nth(field).map(str::to_owned)
    }

    /// Path of the executable, without the mark of a file that was deleted or replaced since.
    pub(super) fn exe(&self, pid: u32) -> Option<String> {
        let path = self.link(pid, "exe")?;
        Some(text::clean(path.strip_suffix(" (deleted)").unwrap_or(&path)))
    }

    /// Inode number of what a link of this process leads to.
    pub(super) fn inode(&self, pid: u32, link: &str) -> Option<u64> {
        Some(fs::metadata(self.path(pid, link)).ok()?.ino())
    }

    /// Opens a file of this process to be read piece by piece.
    pub(super) fn open(&self, pid: u32, name: &str) -> Option<File> {
        File::open(self.path(pid, name)).ok()
    }

    pub(super) fn path(&self, pid: u32, name: &str) -> PathBuf {
        let mut path = self.root.join(pid.to_string());
        path.push(Path::new(name));
        path
    }
}

fn read_bounded(file: File, max: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(u64::try_from(max).ok()?).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
