//! What is attached to a Go program: breakpoints in one process, at the functions by which goroutines hand requests on and take them. Gone
//! when the process ends, or the agent does.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

use aya::{Ebpf, programs::ProgramFd};

use super::{
    breakpoint::{self, At, Breakpoint, Obstacle, Who},
    capability,
};
use crate::symbols::{Go, GoHook};

/// The program that runs at a breakpoint.
pub(super) const fn program(hook: GoHook) -> &'static str {
    match hook {
        GoHook::RoundTrip => "tracer_go_round_trip",
        GoHook::Serves => "tracer_go_serves",
        GoHook::Calls => "tracer_go_calls",
        GoHook::GrpcServes => "tracer_grpc_go_serves",
        GoHook::GrpcCalled => "tracer_grpc_go_called",
    }
}

/// Processes that are followed at once.
const MAX_FOLLOWED: usize = 4096;

/// The programs that run at breakpoints, and the threads that set them and take them away. Both take the kernel long (8 to 29 ms, and 87 to
/// 100 ms, by `strace -f -T -e perf_event_open,close`), so neither is waited for, and no process waits to be followed until others are not.
pub(super) struct Breakpoints {
    /// In the order of [`GoHook::ALL`].
    programs: Option<Vec<ProgramFd>>,
    wanted: Option<Sender<Wanted>>,
    /// Nobody wants anything any more.
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Breakpoints {
    /// The threads leave what they have to a child: if they were at it while the agent ends, it would wait for them.
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.wanted = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

enum Wanted {
    Attached(u32, Go),
    Detached(u32),
}

/// Told of a process that cannot be followed.
pub type Refused = Box<dyn Fn(u32, &Go, io::Error) + Send>;

impl Breakpoints {
    /// Takes the programs over from the object, if the kernel took them.
    pub fn of(loaded: &Ebpf) -> Self {
        let programs = GoHook::ALL.map(|hook| breakpoint::program(loaded, program(hook)));
        Self {
            programs: programs.into_iter().collect(),
            wanted: None,
            ends: Arc::default(),
            threads: Vec::new(),
        }
    }

    /// Why no breakpoint can be set, if none can.
    pub fn obstacle(&self) -> Option<&'static str> {
        if self.programs.is_none() {
            return Some(breakpoint::REFUSED);
        }
        breakpoint::obstacle().map(|obstacle| match obstacle {
            Obstacle::Unknown => breakpoint::UNKNOWN,
            Obstacle::NotPermitted => NOT_PERMITTED,
        })
    }

    /// From here on processes are followed, by threads that keep the rights for it.
    pub fn begin(&mut self, refused: Refused) -> io::Result<()> {
        let Some(programs) = self.programs.take() else {
            return Ok(());
        };
        let (wanted, wants) = mpsc::channel();
        let (done, taken) = mpsc::channel();
        let ends = Arc::clone(&self.ends);
        let setting = named("breakpoints").spawn(move || {
            capability::keep(capability::TO_SET_BREAKPOINTS);
            set(&wants, &programs, &done, &refused, &ends);
        })?;
        self.threads.push(setting);
        let ends = Arc::clone(&self.ends);
        let taking = named("breakpoints-off").spawn(move || {
            capability::keep(capability::NONE);
            take_away(&taken, &ends);
        })?;
        self.threads.push(taking);
        self.wanted = Some(wanted);
        Ok(())
    }

    /// Is to be attached to one process soon.
    pub fn attach(&self, pid: u32, go: &Go) {
        if !go.program.hooks.is_empty() {
            self.want(Wanted::Attached(pid, go.clone()));
        }
    }

    /// Is to be detached from a process, or to forget one that has ended.
    pub fn detach(&self, pid: u32) {
        self.want(Wanted::Detached(pid));
    }

    fn want(&self, wanted: Wanted) {
        if let Some(thread) = &self.wanted {
            // It ends with this value.
            let _ = thread.send(wanted);
        }
    }
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned())
}

/// Sets what is wanted until nobody wants anything any more.
fn set(
    wants: &Receiver<Wanted>,
    programs: &[ProgramFd],
    done: &Sender<Breakpoint>,
    refused: &Refused,
    ends: &AtomicBool,
) {
    let mut followed = HashMap::<u32, Vec<Breakpoint>>::new();
    let mut is_permitted = true;
    for wanted in wants {
        if ends.load(Ordering::Relaxed) {
            break;
        }
        match wanted {
            Wanted::Attached(..) if !is_permitted => {}
            Wanted::Attached(pid, _) if followed.contains_key(&pid) => {}
            Wanted::Attached(pid, go) => {
                let set = if followed.len() < MAX_FOLLOWED {
                    breakpoints(pid, &go, programs)
                } else {
                    Err(io::Error::other("too many Go programs run at once"))
                };
                match set {
                    Ok(set) => {
                        followed.insert(pid, set);
                    }
                    // It has ended meanwhile.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        is_permitted = false;
                        refused(pid, &go, io::Error::other(NOT_PERMITTED));
                    }
                    Err(error) => refused(pid, &go, error),
                }
            }
            Wanted::Detached(pid) => {
                for breakpoint in followed.remove(&pid).into_iter().flatten() {
                    let _ = done.send(breakpoint);
                }
            }
        }
    }
    breakpoint::leave(followed.into_values().flatten().collect());
}

/// Takes away what is given, until nobody gives anything any more.
fn take_away(taken: &Receiver<Breakpoint>, ends: &AtomicBool) {
    let mut left = Vec::new();
    for breakpoint in taken {
        if ends.load(Ordering::Relaxed) {
            left.push(breakpoint);
        } else {
            drop(breakpoint);
        }
    }
    breakpoint::leave(left);
}

/// The breakpoints in a process, at which the programs run.
fn breakpoints(pid: u32, go: &Go, programs: &[ProgramFd]) -> io::Result<Vec<Breakpoint>> {
    let by_hook = GoHook::ALL.iter().zip(programs);
    let of_hooks = by_hook.flat_map(|(hook, program)| {
        let places = go.program.hooks.iter().filter(move |(other, _)| other == hook);
        places.map(move |(_, place)| (At::Entry(*place), program))
    });
    let set = |(at, program)| Breakpoint::set(Who::Process(pid), &go.file, at, program);
    of_hooks.map(set).collect()
}

/// Said once, for all.
const NOT_PERMITTED: &str = "breakpoints in Go programs take CAP_SYS_ADMIN; --uprobes off does without";
