//! The `syscall` family: every call that reads from or writes to a socket, seen at its entry and its return.
//!
//! Hooks: raw tracepoints `sys_enter(struct pt_regs *regs, long id)` and
//! `sys_exit(struct pt_regs *regs, long ret)`. Produces: calls begun at entry for selected processes on TCP
//! sockets, ended at return, when the bytes that moved and their memory are known.
//!
//! Entry is where the file descriptor is resolved (another thread may close it during the call) and where a
//! write begins in time. Memory is read at return: what was read is there then, and what was written has just
//! been touched by the kernel, so it is resident.

use aya_ebpf::{
    helpers::bpf_get_current_task,
    macros::{map, raw_tracepoint},
    maps::ProgramArray,
    programs::RawTracePointContext,
};

use super::flags::{self, Move};
use crate::{
    path::{
        call::{self, Memory, Shape},
        message::{Chain, Loop},
        select::{self, Current},
        sock::Sock,
        turn,
    },
    peek::{at, layout, member, member_or_zero, members},
};

/// Holds `tracer_sys_chain`, on kernels without `bpf_loop`.
#[map]
static SYS_CHAIN: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Holds `tracer_sys_exit`, for `tracer_join`.
#[map]
static SYS_RETURN: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// System call numbers of x86-64.
mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const READV: usize = 19;
    pub const WRITEV: usize = 20;
    pub const SENDFILE: usize = 40;
    pub const SENDTO: usize = 44;
    pub const RECVFROM: usize = 45;
    pub const SENDMSG: usize = 46;
    pub const RECVMSG: usize = 47;
    pub const SPLICE: usize = 275;
    pub const RECVMMSG: usize = 299;
    pub const SENDMMSG: usize = 307;
    pub const PREADV2: usize = 327;
    pub const PWRITEV2: usize = 328;
    pub const EPOLL_WAIT: u64 = 232;
    pub const EPOLL_PWAIT: u64 = 281;
    pub const EPOLL_PWAIT2: u64 = 441;
}

/// Offsets in `struct pt_regs` of x86-64, which is part of the kernel's interface to user space.
mod regs {
    pub const R10: u64 = 56;
    pub const DX: u64 = 96;
    pub const DI: u64 = 112;
    pub const ORIG_AX: u64 = 120;
}

/// The kind of a file in `inode.i_mode`, and that of a regular one.
const S_IFMT: u16 = 0o170_000;
const S_IFREG: u16 = 0o100_000;

/// `current_thread_info()->status` says that a 32-bit call is running: other numbers, other structs.
const TS_COMPAT: u32 = 2;

/// A call as its number describes it.
#[derive(Clone, Copy)]
struct Form {
    /// Where the file descriptor is, 0 for a call that moves no bytes.
    fd: u8,
    /// Where the flags are, 0 for none.
    flags: u8,
    sent: bool,
    shape: Shape,
}

const NO_FORM: Form = Form {
    fd: 0,
    flags: 0,
    sent: false,
    shape: Shape::Unseen,
};

/// Numbers that are looked at.
const NUMBERS: usize = 512;

/// By number. A table: as a `match` it would have the verifier look at everything that follows once for each call.
static FORMS: [Form; NUMBERS] = forms();

const fn forms() -> [Form; NUMBERS] {
    const fn form(shape: Shape, sent: bool, fd: u64, flags: u64) -> Form {
        Form {
            fd: fd as u8,
            flags: flags as u8,
            sent,
            shape,
        }
    }
    let mut forms = [NO_FORM; NUMBERS];
    forms[number::READ] = form(Shape::Buffer, false, regs::DI, 0);
    forms[number::WRITE] = form(Shape::Buffer, true, regs::DI, 0);
    forms[number::READV] = form(Shape::Vector, false, regs::DI, 0);
    forms[number::PREADV2] = form(Shape::Vector, false, regs::DI, 0);
    forms[number::WRITEV] = form(Shape::Vector, true, regs::DI, 0);
    forms[number::PWRITEV2] = form(Shape::Vector, true, regs::DI, 0);
    forms[number::RECVFROM] = form(Shape::Buffer, false, regs::DI, regs::R10);
    forms[number::SENDTO] = form(Shape::Buffer, true, regs::DI, regs::R10);
    forms[number::RECVMSG] = form(Shape::Message, false, regs::DI, regs::DX);
    forms[number::SENDMSG] = form(Shape::Message, true, regs::DI, regs::DX);
    forms[number::RECVMMSG] = form(Shape::Messages, false, regs::DI, regs::R10);
    forms[number::SENDMMSG] = form(Shape::Messages, true, regs::DI, regs::R10);
    forms[number::SENDFILE] = form(Shape::Unseen, true, regs::DI, 0);
    forms[number::SPLICE] = form(Shape::Unseen, true, regs::DX, 0);
    forms
}

#[raw_tracepoint(tracepoint = "sys_enter")]
fn tracer_sys_enter(ctx: RawTracePointContext) -> i32 {
    let _ = entered(ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "sys_exit")]
fn tracer_sys_exit(ctx: RawTracePointContext) -> i32 {
    call::end(ctx.arg(1), Current::get(), &Loop);
    0
}

#[raw_tracepoint(tracepoint = "sys_exit")]
fn tracer_sys_exit_chain(ctx: RawTracePointContext) -> i32 {
    call::end(ctx.arg(1), Current::get(), &chain(&ctx));
    0
}

#[raw_tracepoint(tracepoint = "sys_exit")]
fn tracer_sys_chain(ctx: RawTracePointContext) -> i32 {
    chain(&ctx).turns();
    0
}

/// Calls that were waiting when the agent came: nothing saw them begin, so everything is taken from their return. Attached
/// beside any family, and only for a while. What follows is done by the program of returns, which a copy of the framer would double.
#[raw_tracepoint(tracepoint = "sys_exit")]
fn tracer_join(ctx: RawTracePointContext) -> i32 {
    if joined(ctx.arg(0), ctx.arg(1)).is_some() {
        unsafe { SYS_RETURN.tail_call(&ctx, 0) };
    }
    0
}

#[inline(always)]
fn chain(context: &RawTracePointContext) -> Chain<'_, RawTracePointContext> {
    Chain {
        context,
        next: &SYS_CHAIN,
    }
}

#[inline(always)]
fn form(id: u64) -> Option<&'static Form> {
    FORMS.get(id as usize).filter(|form| form.fd != 0)
}

#[inline(always)]
fn entered(registers: u64, id: u64) -> Option<()> {
    if id == number::EPOLL_WAIT || id == number::EPOLL_PWAIT {
        native()?;
        return super::turn::waiting(registers);
    }
    if id == number::EPOLL_PWAIT2 {
        native()?;
        return super::turn::waiting_finely(registers);
    }
    let form = form(id)?;
    let current = select::traced()?;
    let task = native()?;
    let mut sent = form.sent;
    let arguments = Arguments::of(registers)?;
    let mut sock = socket(task, arguments.fd(form));
    if sock.is_none() && id == number::SPLICE as u64 {
        sent = false;
        sock = socket(task, arguments.first);
    }
    let Some(sock) = sock else {
        if !sent && can_be_waited_for(task, arguments.fd(form)) {
            turn::reads(current);
        }
        return None;
    };
    let flags = arguments.flags(form, registers)?;
    let shape = match flags::moves(sent, flags) {
        Move::Nothing => return None,
        Move::Discarded => Shape::Unseen,
        Move::Bytes => form.shape,
    };
    let memory = Memory {
        address: arguments.second,
        count: arguments.third,
        skip: 0,
        shape,
        sent: sent as u32,
    };
    call::begin(sock, memory, current)
}

/// The first three arguments of a call: they are next to each other, and read at once.
struct Arguments {
    first: u64,
    second: u64,
    third: u64,
}

impl Arguments {
    #[inline(always)]
    fn of(registers: u64) -> Option<Self> {
        let [third, second, first] = at(registers + regs::DX)?;
        Some(Self { first, second, third })
    }

    /// The file descriptor.
    #[inline(always)]
    fn fd(&self, form: &Form) -> u64 {
        if form.fd as u64 == regs::DI {
            self.first
        } else {
            self.third
        }
    }

    #[inline(always)]
    fn flags(&self, form: &Form, registers: u64) -> Option<u64> {
        match form.flags as u64 {
            0 => Some(0),
            regs::DX => Some(self.third),
            _ => at(registers + regs::R10),
        }
    }
}

#[inline(always)]
fn joined(registers: u64, result: i64) -> Option<()> {
    if result <= 0 {
        return None;
    }
    let form = form(at(registers + regs::ORIG_AX)?)?;
    if form.sent || form.shape == Shape::Messages || form.shape == Shape::Unseen {
        return None;
    }
    let current = select::traced()?;
    let arguments = Arguments::of(registers)?;
    let sock = socket(native()?, arguments.fd(form))?;
    if !matches!(
        flags::moves(false, arguments.flags(form, registers)?),
        Move::Bytes
    ) {
        return None;
    }
    let memory = Memory {
        address: arguments.second,
        count: arguments.third,
        skip: 0,
        shape: form.shape,
        sent: 0,
    };
    call::join(sock, memory, result as u64, current)
}

/// The current task, unless it makes a 32-bit call.
#[inline(always)]
fn native() -> Option<u64> {
    let task = unsafe { bpf_get_current_task() };
    let status: u32 = member_or_zero(task, layout().task_status);
    (status & TS_COMPAT == 0).then_some(task)
}

/// The sock behind a file descriptor of a task, if it may be one of TCP.
#[inline(always)]
pub fn socket(task: u64, fd: u64) -> Option<Sock> {
    let layout = layout();
    let file = file(task, fd)?;
    let socket: u64 = member(file, layout.file_private_data)?;
    // Only a socket points back at its file.
    let [owner, sock] = members(socket, layout.socket_file, layout.socket_sk)?;
    if owner != file || file == 0 {
        return None;
    }
    Sock::inet(sock)
}

/// Whether a file descriptor of a task is of anything but a regular file: those are always ready, and wake no loop.
#[inline(always)]
fn can_be_waited_for(task: u64, fd: u64) -> bool {
    let inode = file(task, fd).and_then(|file| member(file, layout().file_inode));
    let mode = inode.and_then(|inode: u64| member::<u16>(inode, layout().inode_mode));
    mode.is_none_or(|mode| mode & S_IFMT != S_IFREG)
}

/// The file behind a file descriptor of a task.
#[inline(always)]
fn file(task: u64, fd: u64) -> Option<u64> {
    let layout = layout();
    let fd = fd as u32;
    let files: u64 = member(task, layout.task_files)?;
    let table: u64 = member(files, layout.files_fdt)?;
    // The number is half a word.
    let [size, slots] = members(table, layout.fdtable_max_fds, layout.fdtable_fd)?;
    if fd >= size as u32 {
        return None;
    }
    at(slots.wrapping_add(fd as u64 * 8))
}
