//! Which thread wakes which: seen while there are processes for which that tells something, since the kernel says it of every thread of the host.

use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use aya::{
    Ebpf,
    programs::{Program, ProgramFd},
};

use super::family::{Hook, Part};

/// The program, and where it runs.
pub(super) const WAKING: Part = Part {
    program: "tracer_waking",
    hook: Hook::Tracepoint("sched_waking"),
};

/// The program, attached while anybody wants it.
pub(super) struct Wakes {
    /// If the kernel took it.
    program: Option<ProgramFd>,
    /// It runs while this is open.
    link: Option<OwnedFd>,
    followed: HashSet<u32>,
}

impl Wakes {
    /// Takes the program over from the object.
    pub fn of(loaded: &Ebpf) -> Self {
        let program = match loaded.program(WAKING.program) {
            Some(Program::RawTracePoint(program)) => program.fd().ok().and_then(|fd| fd.try_clone().ok()),
            _ => None,
        };
        Self {
            program,
            link: None,
            followed: HashSet::new(),
        }
    }

    /// Why nothing can be seen of it, if nothing can.
    pub fn obstacle(&self) -> Option<&'static str> {
        self.program.is_none().then_some(REFUSED)
    }

    /// Is told of this process from now on.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn follow(&mut self, pid: u32) -> io::Result<()> {
        if self.link.is_none() {
            let program = self.program.as_ref().ok_or_else(|| io::Error::other(REFUSED))?;
            self.link = Some(attached(program)?);
        }
        self.followed.insert(pid);
        Ok(())
    }

    /// A process has ended, or runs another program.
    pub fn unfollow(&mut self, pid: u32) {
        if self.followed.remove(&pid) && self.followed.is_empty() {
            self.link = None;
        }
    }
}

const REFUSED: &str = "the kernel refused the program that sees which thread wakes which";

/// `BPF_RAW_TRACEPOINT_OPEN`
const OPEN: libc::c_int = 17;

/// What that takes of `union bpf_attr`.
#[repr(C)]
struct Attributes {
    /// Address of the name, which ends with a zero.
    name: u64,
    program: u32,
    reserved: u32,
}

/// By the kernel's own interface, since aya attaches only what the object still holds, which is let go after loading.
#[expect(
    unsafe_code,
    reason = "no library that is here attaches what it has not loaded"
)]
fn attached(program: &ProgramFd) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        name: c"sched_waking".as_ptr() as u64,
        program: program.as_fd().as_raw_fd().unsigned_abs(),
        reserved: 0,
    };
    // SAFETY: the kernel reads so many bytes, and the name, and gives a descriptor that nobody else has.
    unsafe {
        let link = libc::syscall(
            libc::SYS_bpf,
            OPEN,
            &raw const attributes,
            size_of::<Attributes>(),
        );
        match libc::c_int::try_from(link) {
            Ok(link) if link >= 0 => Ok(OwnedFd::from_raw_fd(link)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
