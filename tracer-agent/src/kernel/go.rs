//! What is attached to a Go program: a breakpoint in one process, at the function by which its HTTP client hands a request on. Gone
//! when the process ends, or the agent does.
//!
//! By the kernel's own interface: aya attaches only what the object it was loaded from still holds, which is let go after loading, and
//! would get it back by a call that takes `CAP_SYS_ADMIN`.

use std::{
    collections::HashMap,
    ffi::CString,
    fs::{self, File},
    io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use aya::{
    Ebpf,
    programs::{Program, ProgramFd},
};

use super::capability;
use crate::symbols::Go;

/// The program that runs at the breakpoint.
pub(super) const PROGRAM: &str = "tracer_go_round_trip";
/// Processes that are followed at once.
const MAX_FOLLOWED: usize = 4096;
/// Where the kernel says what it calls breakpoints in programs.
const KIND: &str = "/sys/bus/event_source/devices/uprobe/type";

/// The program that runs at breakpoints, and the threads that set them and take them away. Both take the kernel long (8 to 29 ms, and 87 to
/// 100 ms, by `strace -f -T -e perf_event_open,close`), so neither is waited for, and no process waits to be followed until others are not.
pub(super) struct Breakpoints {
    program: Option<ProgramFd>,
    wanted: Option<Sender<Wanted>>,
}

enum Wanted {
    Attached(u32, Go),
    Detached(u32),
}

/// Told of a process that cannot be followed.
pub type Refused = Box<dyn Fn(u32, &Go, io::Error) + Send>;

impl Breakpoints {
    /// Takes the program over from the object, if the kernel took it.
    pub fn of(loaded: &Ebpf) -> Self {
        let program = match loaded.program(PROGRAM) {
            Some(Program::UProbe(program)) => program.fd().ok().and_then(|program| program.try_clone().ok()),
            _ => None,
        };
        Self {
            program,
            wanted: None,
        }
    }

    /// Why no breakpoint can be set, if none can.
    pub fn obstacle(&self) -> Option<&'static str> {
        if self.program.is_none() {
            Some("the kernel refused the program for breakpoints")
        } else if !Path::new(KIND).exists() {
            Some("this kernel knows no breakpoints in programs (uprobes), or they are not shown in /sys")
        } else if !capability::may_set_breakpoints() {
            Some(NOT_PERMITTED)
        } else {
            None
        }
    }

    /// From here on processes are followed, by threads that keep the rights for it.
    pub fn begin(&mut self, refused: Refused) -> io::Result<()> {
        let Some(program) = self.program.take() else {
            return Ok(());
        };
        let (wanted, wants) = mpsc::channel();
        let (done, events) = mpsc::channel::<OwnedFd>();
        named("breakpoints").spawn(move || {
            capability::keep(capability::TO_SET_BREAKPOINTS);
            set(&wants, &program, &done, &refused);
        })?;
        named("breakpoints-off").spawn(move || {
            capability::keep(capability::NONE);
            events.iter().for_each(drop);
        })?;
        self.wanted = Some(wanted);
        Ok(())
    }

    /// Is to be attached to one process soon.
    pub fn attach(&self, pid: u32, go: &Go) {
        if go.program.round_trip.is_some() {
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
fn set(wants: &Receiver<Wanted>, program: &ProgramFd, done: &Sender<OwnedFd>, refused: &Refused) {
    // Each breakpoint is there as long as its event is open.
    let mut events = HashMap::<u32, OwnedFd>::new();
    let mut is_permitted = true;
    for wanted in wants {
        match wanted {
            Wanted::Attached(..) if !is_permitted => {}
            Wanted::Attached(pid, _) if events.contains_key(&pid) => {}
            Wanted::Attached(pid, go) => {
                let event = if events.len() < MAX_FOLLOWED {
                    breakpoint(pid, &go, program)
                } else {
                    Err(io::Error::other("too many Go programs run at once"))
                };
                match event {
                    Ok(event) => {
                        events.insert(pid, event);
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
                if let Some(event) = events.remove(&pid) {
                    let _ = done.send(event);
                }
            }
        }
    }
}

/// A breakpoint in a process, at which the program runs.
fn breakpoint(pid: u32, go: &Go, program: &ProgramFd) -> io::Result<OwnedFd> {
    let offset = go.program.round_trip.unwrap_or_default();
    let event = event_at(pid, &go.file, offset)?;
    run_at(&event, program)?;
    Ok(event)
}

/// Said once, for all.
const NOT_PERMITTED: &str = "breakpoints in Go programs take CAP_SYS_ADMIN; --uprobes off does without";

/// `struct perf_event_attr` as it was when it came to have `config2`, which every kernel takes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    /// Address of the path.
    config1: u64,
    /// Offset in the file.
    config2: u64,
}

/// `PERF_ATTR_SIZE_VER1`
const ATTRIBUTES_SIZE: u32 = 72;
const _: () = assert!(size_of::<Attributes>() == ATTRIBUTES_SIZE as usize);

/// `PERF_FLAG_FD_CLOEXEC`
const CLOSE_ON_EXEC: libc::c_ulong = 8;
/// `PERF_EVENT_IOC_SET_BPF`, `PERF_EVENT_IOC_ENABLE`
const SET_PROGRAM: libc::c_ulong = 0x4004_2408;
const ENABLE: libc::c_ulong = 0x2400;

/// An event that happens whenever a process comes to that place of the file that it runs.
#[expect(unsafe_code, reason = "no library that is here opens such an event")]
fn event_at(pid: u32, file: &File, offset: u64) -> io::Result<OwnedFd> {
    let kind = fs::read_to_string(KIND)?;
    // The file that was looked at, and no other: by its process a later one with the same number could be meant.
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let attributes = Attributes {
        kind: kind.trim().parse().map_err(io::Error::other)?,
        size: ATTRIBUTES_SIZE,
        config1: path.as_ptr() as u64,
        config2: offset,
        ..Attributes::default()
    };
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: the attributes and the path that they point to outlive the call, which writes to neither; what it returns is a
    // descriptor that nobody else has, or negative.
    unsafe {
        let event = libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            pid,
            -1,
            -1,
            CLOSE_ON_EXEC,
        );
        let event = i32::try_from(event).map_err(io::Error::other)?;
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(event))
    }
}

/// The program runs whenever that happens.
#[expect(unsafe_code, reason = "no library that is here asks this of an event")]
fn run_at(event: &OwnedFd, program: &ProgramFd) -> io::Result<()> {
    let event = event.as_raw_fd();
    // SAFETY: both descriptors are open; neither request takes a pointer.
    let done = unsafe {
        libc::ioctl(event, SET_PROGRAM, program.as_fd().as_raw_fd()) == 0
            && libc::ioctl(event, ENABLE, 0) == 0
    };
    if done {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
