//! What is attached to one process: in Go breakpoints at the functions by which goroutines hand requests on and take them, in CPython at the one by
//! which coroutines make others, in tokio at those by which tasks wake and make others. Gone when the process ends, or the agent does.

use std::{
    collections::HashMap,
    fs::File,
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
use crate::symbols::{Go, GoHook, Interpreter, Tokio, TokioProgram};

/// What a breakpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Go(GoHook),
    /// A coroutine of CPython has made another.
    Copied,
    /// A task of tokio wakes another.
    TaskWakes,
    /// The same makes another.
    TaskMakes,
}

impl Purpose {
    /// Those in tokio. Who wakes others is seen before who makes others: what one was made for it has done when it is woken for something else.
    const OF_TOKIO: [Self; 2] = [Self::TaskWakes, Self::TaskMakes];

    /// Those in Go.
    fn of_go() -> impl Iterator<Item = Self> {
        GoHook::ALL.into_iter().map(Self::Go)
    }

    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::of_go().chain([Self::Copied]).chain(Self::OF_TOKIO)
    }

    /// The program that runs there.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Go(GoHook::RoundTrip) => "tracer_go_round_trip",
            Self::Go(GoHook::Serves) => "tracer_go_serves",
            Self::Go(GoHook::Calls) => "tracer_go_calls",
            Self::Go(GoHook::GrpcServes) => "tracer_grpc_go_serves",
            Self::Go(GoHook::GrpcCalled) => "tracer_grpc_go_called",
            Self::Copied => "tracer_python_copied",
            Self::TaskWakes => "tracer_tokio_wakes",
            Self::TaskMakes => "tracer_tokio_makes",
        }
    }
}

/// Where in a process breakpoints go.
#[derive(Clone)]
pub(super) struct Places {
    file: Arc<File>,
    places: Vec<(Purpose, At)>,
    /// What the process runs, and what in it is followed by them.
    what: String,
}

impl Places {
    pub(super) fn of_go(go: &Go) -> Self {
        let hooks = go.program.hooks.iter();
        Self {
            file: Arc::clone(&go.file),
            places: hooks
                .map(|(hook, place)| (Purpose::Go(*hook), At::Entry(*place)))
                .collect(),
            what: go.program.version.clone(),
        }
    }

    pub(super) fn of_python(interpreter: &Interpreter) -> Self {
        let copies = interpreter.python.copies.iter();
        Self {
            file: Arc::clone(&interpreter.file),
            places: copies
                .map(|place| (Purpose::Copied, At::Return(*place)))
                .collect(),
            what: format!("{}, coroutines made by others", interpreter.python.version()),
        }
    }

    pub(super) fn of_tokio(tokio: &Tokio) -> Self {
        let TokioProgram { wakes, makes, .. } = &*tokio.program;
        let wakes = wakes.iter().map(|place| (Purpose::TaskWakes, *place));
        let makes = makes.iter().map(|place| (Purpose::TaskMakes, *place));
        Self {
            file: Arc::clone(&tokio.file),
            places: wakes
                .chain(makes)
                .map(|(purpose, place)| (purpose, At::Entry(place)))
                .collect(),
            what: "tokio".to_owned(),
        }
    }
}

/// Processes that are followed at once.
const MAX_FOLLOWED: usize = 4096;

/// The programs that run at breakpoints, and the threads that set them and take them away. Both take the kernel long (8 to 29 ms, and 87 to
/// 100 ms, by `strace -f -T -e perf_event_open,close`), so neither is waited for, and no process waits to be followed until others are not.
pub(super) struct Breakpoints {
    /// Those that the kernel took.
    programs: Vec<(Purpose, ProgramFd)>,
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
    Attached(u32, Places),
    Detached(u32),
}

/// Told of a process that cannot be followed, what it runs and why.
pub type Refused = Box<dyn Fn(u32, String, io::Error) + Send>;

impl Breakpoints {
    /// Takes the programs over from the object, if the kernel took them.
    pub fn of(loaded: &Ebpf) -> Self {
        let program = |purpose: Purpose| Some((purpose, breakpoint::program(loaded, purpose.program())?));
        let mut breakpoints = Self {
            programs: Purpose::all().filter_map(program).collect(),
            wanted: None,
            ends: Arc::default(),
            threads: Vec::new(),
        };
        if !breakpoints.has_all_of_go() {
            // A part of them would tell a part of the truth.
            breakpoints
                .programs
                .retain(|(purpose, _)| !matches!(purpose, Purpose::Go(_)));
        }
        if !breakpoints.has_all_of_tokio() {
            breakpoints
                .programs
                .retain(|(purpose, _)| !Purpose::OF_TOKIO.contains(purpose));
        }
        breakpoints
    }

    /// Why no breakpoint can be set in Go programs, if none can.
    pub fn obstacle(&self) -> Option<&'static str> {
        if !self.has_all_of_go() {
            return Some(breakpoint::REFUSED);
        }
        obstacle()
    }

    /// Why those that coroutines of CPython have made for them are not followed.
    pub fn obstacle_in_python(&self) -> Option<&'static str> {
        if !self.has(Purpose::Copied) {
            return Some(NOT_ALL_REFUSED);
        }
        breakpoint::obstacle().map(|_| NOT_ALL)
    }

    /// Why tasks of tokio are not followed from one to the next, if they are not.
    pub fn obstacle_in_rust(&self) -> Option<&'static str> {
        if !self.has_all_of_tokio() {
            return Some(breakpoint::REFUSED);
        }
        obstacle()
    }

    fn has_all_of_go(&self) -> bool {
        Purpose::of_go().all(|purpose| self.has(purpose))
    }

    fn has_all_of_tokio(&self) -> bool {
        Purpose::OF_TOKIO.iter().all(|purpose| self.has(*purpose))
    }

    fn has(&self, wanted: Purpose) -> bool {
        self.programs.iter().any(|(purpose, _)| *purpose == wanted)
    }

    /// From here on processes are followed, by threads that keep the rights for it.
    pub fn begin(&mut self, refused: Refused) -> io::Result<()> {
        let programs = std::mem::take(&mut self.programs);
        if programs.is_empty() {
            return Ok(());
        }
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
    pub fn attach(&self, pid: u32, places: Places) {
        if !places.places.is_empty() {
            self.want(Wanted::Attached(pid, places));
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

/// Why no breakpoint can be set in programs, if none can.
fn obstacle() -> Option<&'static str> {
    breakpoint::obstacle().map(|obstacle| match obstacle {
        Obstacle::Unknown => breakpoint::UNKNOWN,
        Obstacle::NotPermitted => NOT_PERMITTED,
    })
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned())
}

/// Sets what is wanted until nobody wants anything any more.
fn set(
    wants: &Receiver<Wanted>,
    programs: &[(Purpose, ProgramFd)],
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
            Wanted::Attached(pid, places) => {
                let set = if followed.len() < MAX_FOLLOWED {
                    breakpoints(pid, &places, programs)
                } else {
                    Err(io::Error::other("too many such programs run at once"))
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
                        refused(pid, places.what, io::Error::other(NOT_PERMITTED));
                    }
                    Err(error) => refused(pid, places.what, error),
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
fn breakpoints(pid: u32, places: &Places, programs: &[(Purpose, ProgramFd)]) -> io::Result<Vec<Breakpoint>> {
    let of_purposes = programs.iter().flat_map(|(purpose, program)| {
        let there = places.places.iter().filter(move |(other, _)| other == purpose);
        there.map(move |(_, at)| (*at, program))
    });
    let set = |(at, program)| Breakpoint::set(Who::Process(pid), &places.file, at, program);
    of_purposes.map(set).collect()
}

/// Coroutines are told apart without breakpoints.
const NOT_ALL: &str = "by coroutine, but by times where one has another work for it (gather, threads): that takes \
                       breakpoints, and those uprobes and CAP_SYS_ADMIN";
const NOT_ALL_REFUSED: &str = "by coroutine, but by times where one has another work for it (gather, threads): the \
                               kernel refused the program for breakpoints";

/// Said once, for all.
const NOT_PERMITTED: &str = "breakpoints in programs take CAP_SYS_ADMIN; --uprobes off does without";
