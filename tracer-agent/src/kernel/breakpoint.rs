//! A breakpoint in a file: a program runs wherever a process comes to it.
//!
//! Set and taken away where [nothing cuts the kernel short](super::shielded).
//!
//! By the kernel's own interface: aya attaches only what the object it was loaded from still holds, which is let go after loading, and
//! would get it back by a call that takes `CAP_SYS_ADMIN`.

use std::{
    ffi::CString,
    fs::{self, File},
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use aya::{
    Ebpf,
    programs::{Program, ProgramFd},
};

use super::{capability, descriptors, shielded::shielded};

/// Where the kernel says what it calls breakpoints in programs.
const KIND: &str = "/sys/bus/event_source/devices/uprobe/type";

/// Why no breakpoint can be set in this kernel or by this process, if none can.
pub(super) fn obstacle() -> Option<Obstacle> {
    if !Path::new(KIND).exists() {
        Some(Obstacle::Unknown)
    } else if !capability::may_set_breakpoints() {
        Some(Obstacle::NotPermitted)
    } else {
        None
    }
}

/// What is said where the programs for them are not there.
pub(super) const REFUSED: &str = "the kernel refused the program for breakpoints";
/// What is said where there are too many.
const FULL: &str = "as many files are open as may be (RLIMIT_NOFILE), each breakpoint is one";
/// What is said of [`Obstacle::Unknown`].
pub(super) const UNKNOWN: &str =
    "this kernel knows no breakpoints in programs (uprobes), or they are not shown in /sys";

/// What stands in the way of breakpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The kernel has none.
    Unknown,
    /// The process lacks `CAP_SYS_ADMIN`.
    NotPermitted,
}

/// Takes a program for breakpoints over from the object, if the kernel took it.
pub(super) fn program(loaded: &Ebpf, name: &str) -> Option<ProgramFd> {
    match loaded.program(name) {
        Some(Program::UProbe(program)) => program.fd().ok()?.try_clone().ok(),
        _ => None,
    }
}

/// Whose way leads to a breakpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// One process: in the memory of others there is nothing.
    Process(u32),
    /// Everyone who runs the file.
    All,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The instruction at this offset.
    Entry(u64),
    /// The return of the function that begins at this offset.
    Return(u64),
}

/// A breakpoint at which a program runs, there until this is dropped.
pub(super) struct Breakpoint {
    /// Open; `None` once it is taken out.
    event: Option<OwnedFd>,
}

impl Breakpoint {
    /// Sets one.
    pub(super) fn set(who: Who, file: &File, at: At, program: &ProgramFd) -> io::Result<Self> {
        let mut event = None;
        shielded(|| event = Some(event_at(who, file, at)));
        let breakpoint = Self {
            event: event.transpose()?,
        };
        if let Some(event) = &breakpoint.event {
            if !descriptors::leaves_enough(event) {
                return Err(io::Error::other(FULL));
            }
            run_at(event, program)?;
        }
        Ok(breakpoint)
    }
}

impl Drop for Breakpoint {
    fn drop(&mut self) {
        if self.event.is_some() {
            shielded(|| drop(self.event.take()));
        }
    }
}

/// Takes breakpoints away when this process has ended: that takes the kernel 80 ms each, one after the other whoever asks (it holds a lock
/// while it waits), and whoever waits for the agent need not wait for it. A child is left behind that holds nothing but these events
/// until its parent is gone, and ends with them. Where there can be no child they are taken away here.
#[expect(
    unsafe_code,
    reason = "nothing else makes a process that has descriptors of its own"
)]
pub(super) fn leave(mut breakpoints: Vec<Breakpoint>) {
    let events = breakpoints
        .iter()
        .filter_map(|breakpoint| breakpoint.event.as_ref());
    let mut kept: Vec<_> = events.map(|event| event.as_raw_fd().unsigned_abs()).collect();
    let Ok((ended, alive)) = io::pipe() else { return };
    if kept.is_empty() {
        return;
    }
    kept.push(ended.as_raw_fd().unsigned_abs());
    kept.sort_unstable();
    // SAFETY: the child has one thread, of which nothing is known: it makes system calls and touches nothing but its own stack, a constant
    // and `kept`, which is made. It never returns.
    unsafe {
        match libc::fork() {
            0 => {}
            -1 => return,
            _ => {
                // The other end is closed when this process ends, and not before.
                mem::forget(alive);
                // The child has them too: nothing is taken away by closing them here.
                return breakpoints
                    .iter_mut()
                    .for_each(|breakpoint| drop(breakpoint.event.take()));
            }
        }
        // Not that of the thread that was here: whoever sees it is to know what it is.
        libc::prctl(libc::PR_SET_NAME, c"tracer-agent".as_ptr());
        let mut next = 0;
        for fd in &kept {
            if next < *fd {
                libc::syscall(libc::SYS_close_range, next, *fd - 1, 0);
            }
            next = *fd + 1;
        }
        libc::syscall(libc::SYS_close_range, next, libc::c_uint::MAX, 0);
        let mut byte = 0_u8;
        libc::read(ended.as_raw_fd(), (&raw mut byte).cast(), 1);
        libc::_exit(0);
    }
}

fn first_cpu() -> io::Result<libc::c_int> {
    let cpus = aya::util::online_cpus().map_err(|(_, error)| error)?;
    let first = cpus
        .first()
        .ok_or_else(|| io::Error::other("no processor is online"))?;
    libc::c_int::try_from(*first).map_err(io::Error::other)
}

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
const SET_PROGRAM: libc::Ioctl = 0x4004_2408;
const ENABLE: libc::Ioctl = 0x2400;

/// An event that happens whenever one of these processes comes to that place of the file, or leaves the function that begins there.
#[expect(unsafe_code, reason = "no library that is here opens such an event")]
fn event_at(who: Who, file: &File, at: At) -> io::Result<OwnedFd> {
    let (config, offset) = match at {
        At::Entry(offset) => (0, offset),
        At::Return(offset) => (1, offset),
    };
    let (pid, cpu) = match who {
        Who::Process(pid) => (libc::pid_t::try_from(pid).map_err(io::Error::other)?, -1),
        // It happens on every processor; the kernel wants to be given one.
        Who::All => (-1, first_cpu()?),
    };
    let kind = fs::read_to_string(KIND)?;
    // The file that was looked at, and no other: by its process a later one with the same number could be meant.
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let attributes = Attributes {
        kind: kind.trim().parse().map_err(io::Error::other)?,
        size: ATTRIBUTES_SIZE,
        config,
        config1: path.as_ptr() as u64,
        config2: offset,
        ..Attributes::default()
    };
    // SAFETY: the attributes and the path that they point to outlive the call, which writes to neither; what it returns is a
    // descriptor that nobody else has, or negative.
    unsafe {
        let event = libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            pid,
            cpu,
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
