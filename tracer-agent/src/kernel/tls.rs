//! What is attached to libraries of TLS: breakpoints in the file of the library, or of a program that has it inside, for whoever runs it. Gone when
//! the agent ends.
//!
//! In the file and not in processes, because a process that makes one call is over before it would be attached to. Who is not traced
//! pays for the way into the kernel and is not looked at. A library is attached to when a traced process is seen to have it in its memory,
//! or at the start where the host keeps it.

use std::{
    collections::{HashSet, VecDeque},
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aya::{Ebpf, programs::ProgramFd};

use super::{
    breakpoint::{self, At, Breakpoint, Obstacle, Who},
    capability,
};
use crate::symbols::{Exit, Library, Session};

/// The program where something was moved; with `_chain` behind its name the one for kernels without `bpf_loop`.
pub(super) const MOVED: &str = "tracer_tls_moved";
/// The program that goes on there, and the map that holds it.
pub(super) const CHAIN: (&str, &str) = ("tracer_tls_chain", "TLS_CHAIN");

/// The map that holds the former for what Go is about to write.
pub(super) const WRITES: &str = "TLS_GO_WRITES";

/// The program at the entry of a function.
pub(super) const fn entry(session: Session) -> &'static str {
    match session {
        Session::Handshake => "tracer_tls_handshake",
        Session::Read => "tracer_tls_read",
        Session::ReadEx => "tracer_tls_read_ex",
        Session::Write => "tracer_tls_write",
        Session::WriteEx => "tracer_tls_write_ex",
        Session::Free => "tracer_tls_free",
        Session::GoHandshake => "tracer_go_tls_handshake",
        Session::GoRead => "tracer_go_tls_read",
        Session::GoWrite => "tracer_go_tls_write",
    }
}

/// Libraries that are attached to at once: each container may have its own.
const MAX_LIBRARIES: usize = 256;
/// Files without one that are remembered; past it all are forgotten and looked at again.
const MAX_OTHERS: usize = 8192;
/// Bytes of a list of memory that are looked at.
const MAX_MAPS: u64 = 4 << 20;
/// When a process is looked at: some load libraries long after they began.
const LOOKS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(2_500),
    Duration::from_millis(10_000),
];
/// Processes that wait to be looked at.
const MAX_WAITING: usize = 4096;

/// Told of a library that is attached to from now on, or cannot be.
pub type Told = Box<dyn Fn(&Path, io::Result<()>) + Send>;

/// The libraries that are attached to, and the thread that looks for more.
pub(super) struct Libraries {
    watch: Option<Watch>,
    obstacle: Option<&'static str>,
    wanted: Option<Sender<u32>>,
    /// Nobody wants anything any more.
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Libraries {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.wanted = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Libraries {
    /// Takes the programs over from the object, if the kernel took them, by the names of the variants that it took.
    pub fn of(loaded: &Ebpf, variant: impl Fn(&str) -> String) -> Self {
        let program = |name| breakpoint::program(loaded, &variant(name));
        let entries = Session::ALL.map(|session| program(entry(session)));
        let entries = entries.into_iter().collect::<Option<Vec<_>>>();
        let programs = entries.zip(program(MOVED));
        let obstacle = match breakpoint::obstacle() {
            _ if programs.is_none() => Some(breakpoint::REFUSED),
            Some(Obstacle::Unknown) => Some(breakpoint::UNKNOWN),
            Some(Obstacle::NotPermitted) => Some("breakpoints in libraries take CAP_SYS_ADMIN"),
            None => None,
        };
        let programs = programs.filter(|_| obstacle.is_none());
        Self {
            watch: programs.map(|(entries, moved)| Watch {
                entries,
                moved,
                known: HashSet::new(),
                others: HashSet::new(),
                breakpoints: Vec::new(),
                told: Box::new(|_, _| {}),
            }),
            obstacle,
            wanted: None,
            ends: Arc::default(),
            thread: None,
        }
    }

    /// Why nothing of TLS is seen, if nothing is.
    pub fn obstacle(&self) -> Option<&'static str> {
        self.obstacle
    }

    /// Attaches to these files now.
    pub fn attach(&mut self, files: &[PathBuf]) {
        if let Some(watch) = &mut self.watch {
            for path in files {
                watch.attach(path);
            }
        }
    }

    /// From here on processes are looked at, by a thread that keeps the rights for it.
    pub fn begin(&mut self, told: Told) -> io::Result<()> {
        let Some(mut watch) = self.watch.take() else {
            return Ok(());
        };
        watch.told = told;
        let (wanted, wants) = mpsc::channel();
        let ends = Arc::clone(&self.ends);
        let thread = thread::Builder::new()
            .name("libraries".to_owned())
            .spawn(move || {
                capability::keep(capability::TO_SET_BREAKPOINTS);
                watch.run(&wants, &ends);
            })?;
        self.thread = Some(thread);
        self.wanted = Some(wanted);
        Ok(())
    }

    /// A process runs a new program, or is seen for the first time: it is looked at now, and once the thread is there a few times more.
    pub fn look(&mut self, pid: u32) {
        if let Some(thread) = &self.wanted {
            // It ends with this value.
            let _ = thread.send(pid);
        } else if let Some(watch) = &mut self.watch {
            // Who has ended has no libraries.
            let _ = watch.look(pid);
        }
    }
}

/// What attaches.
struct Watch {
    /// In the order of [`Session::ALL`].
    entries: Vec<ProgramFd>,
    moved: ProgramFd,
    /// Files that are attached to or cannot be, by device and inode.
    known: HashSet<(u64, u64)>,
    /// Files without such functions.
    others: HashSet<(u64, u64)>,
    breakpoints: Vec<Breakpoint>,
    told: Told,
}

impl Drop for Watch {
    fn drop(&mut self) {
        breakpoint::leave(std::mem::take(&mut self.breakpoints));
    }
}

/// A process that is to be looked at again.
struct Waiting {
    due: Instant,
    pid: u32,
    looks: usize,
}

impl Watch {
    /// Looks at whoever is wanted, until nobody wants anything any more.
    fn run(&mut self, wants: &Receiver<u32>, ends: &AtomicBool) {
        let mut waiting = VecDeque::<Waiting>::new();
        loop {
            let due = waiting.iter().map(|process| process.due).min();
            let wanted = match due {
                Some(due) => wants.recv_timeout(due.saturating_duration_since(now())),
                None => wants.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match wanted {
                Ok(pid) => {
                    waiting.retain(|process| process.pid != pid);
                    waiting.truncate(MAX_WAITING);
                    let first = Waiting {
                        due: now(),
                        pid,
                        looks: 0,
                    };
                    waiting.push_front(first);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if ends.load(Ordering::Relaxed) {
                return;
            }
            let now = now();
            for mut process in std::mem::take(&mut waiting) {
                if process.due > now {
                    waiting.push_back(process);
                    continue;
                }
                let found = self.look(process.pid);
                process.looks += 1;
                if let (Ok(false), Some(after)) = (found, LOOKS.get(process.looks)) {
                    process.due = now + *after;
                    waiting.push_back(process);
                }
            }
        }
    }

    /// Attaches to what a process has in its memory; whether there was such a library, an error if the process is gone.
    fn look(&mut self, pid: u32) -> io::Result<bool> {
        let mut has_one = self.attach(Path::new(&format!("/proc/{pid}/exe")));
        let maps = BufReader::new(File::open(format!("/proc/{pid}/maps"))?.take(MAX_MAPS));
        for line in maps.split(b'\n') {
            // An error ends it: of a process that has ended every read is one. A path may be anything.
            let line = line?;
            if let Some(range) = library(&String::from_utf8_lossy(&line)) {
                has_one |= self.attach(Path::new(&format!("/proc/{pid}/map_files/{range}")));
            }
        }
        Ok(has_one)
    }

    /// Attaches to a file if that was not done; whether it has such functions.
    fn attach(&mut self, path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        let Ok(about) = file.metadata() else { return false };
        let id = (about.dev(), about.ino());
        if self.known.contains(&id) {
            return true;
        }
        if !about.is_file() || self.others.contains(&id) {
            return false;
        }
        let Some(library) = Library::read(&file) else {
            if self.others.len() >= MAX_OTHERS {
                self.others.clear();
            }
            self.others.insert(id);
            return false;
        };
        self.known.insert(id);
        let outcome = if self.known.len() <= MAX_LIBRARIES {
            self.set(&file, &library)
        } else {
            Err(io::Error::other("too many libraries are in use at once"))
        };
        (self.told)(path, outcome.map(|set| self.breakpoints.extend(set)));
        true
    }

    /// Exits before entries: what is begun is ended.
    fn set(&self, file: &File, library: &Library) -> io::Result<Vec<Breakpoint>> {
        let exits = library.exits.iter().map(|exit| match *exit {
            Exit::Of(offset) => (At::Return(offset), &self.moved),
            Exit::By(offset) => (At::Entry(offset), &self.moved),
        });
        let entries = Session::ALL.iter().zip(&self.entries);
        let entries = entries.flat_map(|(session, program)| {
            let places = library.entries.iter().filter(move |(known, _)| known == session);
            places.map(move |(_, offset)| (At::Entry(*offset), program))
        });
        let set = |(at, program): (At, &ProgramFd)| Breakpoint::set(Who::All, file, at, program);
        exits.chain(entries).map(set).collect()
    }
}

/// The range of memory in a line of `/proc/PID/maps` that has the instructions of such a library in it.
fn library(line: &str) -> Option<&str> {
    let mut words = line.splitn(6, ' ');
    let (range, rights) = (words.next()?, words.next()?);
    let path = words.nth(3)?;
    // An update takes the file away from under those that run it.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let name = path.rsplit('/').next()?;
    (rights.contains('x') && Library::is_named(name)).then_some(range)
}

#[expect(clippy::disallowed_methods, reason = "this is no part of the core")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_memory_of_a_process_only_instructions_of_the_library_are_taken() {
        let line = |rights: &str, path: &str| format!("7f00-7f10 {rights} 0001e000 fe:00 4242 {path}");
        let path = "/usr/lib/x86_64-linux-gnu/libssl.so.3";
        assert_eq!(library(&line("r-xp", path)), Some("7f00-7f10"));
        assert_eq!(
            library(&line("r-xp", "/srv/a b/libssl.so.1.1 (deleted)")),
            Some("7f00-7f10")
        );
        assert_eq!(library(&line("r--p", path)), None);
        assert_eq!(library(&line("r-xp", "/usr/lib/libcrypto.so.3")), None);
        assert_eq!(library("7f00-7f10 r-xp 00000000 00:00 0"), None);
        assert_eq!(library(""), None);
    }
}
