//! The `syscall` family: every call that writes to a socket, seen at its entry and its return, or reads from one, seen at its return.
//!
//! Hooks: raw tracepoints `sys_enter(struct pt_regs *regs, long id)` and
//! `sys_exit(struct pt_regs *regs, long ret)`. Produces: what selected processes write to TCP sockets, calls begun at entry
//! and ended at return, when the bytes that moved and their memory are known; what they read, at return alone.
//!
//! A write begins in time at its entry. Of a read its return tells everything: TCP says how far it is read. So a read that finds
//! nothing costs next to nothing, and one that was waiting when the agent came is as any other. Where another thread has put another
//! file in the place of the file descriptor meanwhile, what was read is not what that was read to, which is seen if the connection there was
//! used before ([`call::read`]); of one that was not, it is taken for its first bytes.
//!
//! Memory is read at return: what was read is there then, and what was written has just been touched by the kernel, so it is resident.

use aya_ebpf::{
    macros::{map, raw_tracepoint},
    maps::ProgramArray,
    programs::RawTracePointContext,
};
use tracer_common::layout::mark;

use super::flags::{self, Move};
use crate::{
    arch::{self, number, saved},
    path::{
        call::{self, Memory, Shape},
        files,
        message::{Chain, Loop, Repeat},
        select::{self, Current},
        task, tls, turn,
    },
    peek::at,
};

/// Holds `tracer_sys_chain`, on kernels without `bpf_loop`.
#[map]
static SYS_CHAIN: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Holds `tracer_sys_exit`, for `tracer_join`.
#[map]
static SYS_RETURN: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// `-EAGAIN`
const NOTHING_YET: i64 = -11;

/// A call as its number describes it.
#[derive(Clone, Copy)]
struct Form {
    /// Where the file descriptor is, 0 for a call that moves no bytes.
    fd: saved::Offset,
    /// Where the flags are, 0 for none.
    flags: saved::Offset,
    sent: bool,
    shape: Shape,
}

impl Form {
    /// Everything is known of it when it returns. Of many messages it is not how many bytes they have.
    #[inline(always)]
    const fn is_read(&self) -> bool {
        !self.sent && !matches!(self.shape, Shape::Messages)
    }
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
            fd: fd as saved::Offset,
            flags: flags as saved::Offset,
            sent,
            shape,
        }
    }
    let mut forms = [NO_FORM; NUMBERS];
    forms[number::READ] = form(Shape::Buffer, false, saved::FIRST, 0);
    forms[number::WRITE] = form(Shape::Buffer, true, saved::FIRST, 0);
    forms[number::READV] = form(Shape::Vector, false, saved::FIRST, 0);
    forms[number::PREADV2] = form(Shape::Vector, false, saved::FIRST, 0);
    forms[number::WRITEV] = form(Shape::Vector, true, saved::FIRST, 0);
    forms[number::PWRITEV2] = form(Shape::Vector, true, saved::FIRST, 0);
    forms[number::RECVFROM] = form(Shape::Buffer, false, saved::FIRST, saved::FOURTH);
    forms[number::SENDTO] = form(Shape::Buffer, true, saved::FIRST, saved::FOURTH);
    forms[number::RECVMSG] = form(Shape::Message, false, saved::FIRST, saved::THIRD);
    forms[number::SENDMSG] = form(Shape::Message, true, saved::FIRST, saved::THIRD);
    forms[number::RECVMMSG] = form(Shape::Messages, false, saved::FIRST, saved::FOURTH);
    forms[number::SENDMMSG] = form(Shape::Messages, true, saved::FIRST, saved::FOURTH);
    forms[number::SENDFILE] = form(Shape::Unseen, true, saved::FIRST, 0);
    forms[number::SPLICE] = form(Shape::Unseen, true, saved::THIRD, 0);
    forms
}

#[raw_tracepoint(tracepoint = "sys_enter")]
fn tracer_sys_enter(ctx: RawTracePointContext) -> i32 {
    let _ = entered(ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "sys_exit")]
fn tracer_sys_exit(ctx: RawTracePointContext) -> i32 {
    returned(ctx.arg(0), ctx.arg(1), &Loop);
    0
}

#[raw_tracepoint(tracepoint = "sys_exit")]
fn tracer_sys_exit_chain(ctx: RawTracePointContext) -> i32 {
    returned(ctx.arg(0), ctx.arg(1), &chain(&ctx));
    0
}

#[raw_tracepoint(tracepoint = "sys_exit")]
fn tracer_sys_chain(ctx: RawTracePointContext) -> i32 {
    chain(&ctx).turns();
    0
}

/// Calls that were waiting when the agent came, for the families that see them begin: everything is taken from their return. Attached
/// beside these, and only for a while. What follows is done by the program of returns, which a copy of the framer would double.
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
    if number::is_epoll_wait(id) {
        native()?;
        return super::turn::waiting(registers);
    }
    if id == number::EPOLL_PWAIT2 {
        native()?;
        return super::turn::waiting_finely(registers);
    }
    let form = form(id)?;
    if form.is_read() {
        return None;
    }
    let current = select::traced()?;
    native()?;
    let mut sent = form.sent;
    let arguments = Arguments::of(registers)?;
    let mut sock = files::socket(arguments.fd(form));
    if sock.is_none() && id == number::SPLICE as u64 {
        sent = false;
        sock = files::socket(arguments.first);
    }
    let Some(sock) = sock else {
        if !sent && files::can_be_waited_for(arguments.fd(form)) {
            turn::reads(current);
        }
        return None;
    };
    let memory = arguments.memory(form, sent, registers)?;
    call::begin(sock, memory, current)
}

/// A system call returns: it ends, or it was a read.
#[inline(always)]
fn returned(registers: u64, result: i64, repeat: &impl Repeat) {
    if !call::end(result, Current::get(), repeat) {
        let _ = read(registers, result, repeat);
    }
}

#[inline(always)]
fn read(registers: u64, result: i64, repeat: &impl Repeat) -> Option<()> {
    let form = form(arch::number_of(registers)?).filter(|form| form.is_read())?;
    let current = select::traced()?;
    if result == NOTHING_YET && !tls::is_inside(current) {
        turn::reads(current);
        return looked(registers, form, current);
    }
    native()?;
    let arguments = Arguments::of(registers)?;
    let Some(sock) = files::socket(arguments.fd(form)) else {
        if files::can_be_waited_for(arguments.fd(form)) {
            turn::reads(current);
        }
        return None;
    };
    let memory = arguments.memory(form, false, registers)?;
    if result > 0 {
        call::read(sock, memory, result as u64, current, repeat);
    } else {
        call::read_nothing(sock, current);
    }
    None
}

/// Nothing has come of what a call wanted to read.
#[inline(always)]
fn looked(registers: u64, form: &Form, current: Current) -> Option<()> {
    if !matches!(form.shape, Shape::Buffer) || !mark::has_threads_only(current.kind) {
        return None;
    }
    let arguments = Arguments::of(registers)?;
    if arguments.third != task::LOOK {
        return None;
    }
    native()?;
    task::looked(files::socket(arguments.fd(form))?, current)
}

/// The first three arguments of a call.
struct Arguments {
    first: u64,
    second: u64,
    third: u64,
}

impl Arguments {
    #[inline(always)]
    fn of(registers: u64) -> Option<Self> {
        let [first, second, third] = arch::arguments(registers)?;
        Some(Self { first, second, third })
    }

    /// The file descriptor.
    #[inline(always)]
    fn fd(&self, form: &Form) -> u64 {
        if form.fd as u64 == saved::FIRST {
            self.first
        } else {
            self.third
        }
    }

    #[inline(always)]
    fn flags(&self, form: &Form, registers: u64) -> Option<u64> {
        match form.flags as u64 {
            0 => Some(0),
            saved::THIRD => Some(self.third),
            _ => at(registers + saved::FOURTH),
        }
    }

    /// What the call moves bytes from or to, if it moves any.
    #[inline(always)]
    fn memory(&self, form: &Form, sent: bool, registers: u64) -> Option<Memory> {
        let shape = match flags::moves(sent, self.flags(form, registers)?) {
            Move::Nothing => return None,
            Move::Discarded => Shape::Unseen,
            Move::Bytes => form.shape,
        };
        Some(Memory {
            address: self.second,
            count: self.third,
            skip: 0,
            shape,
            sent: sent as u32,
        })
    }
}

#[inline(always)]
fn joined(registers: u64, result: i64) -> Option<()> {
    if result <= 0 {
        return None;
    }
    let form = form(arch::number_of(registers)?)?;
    if !form.is_read() {
        return None;
    }
    let current = select::traced()?;
    let arguments = Arguments::of(registers)?;
    native()?;
    let sock = files::socket(arguments.fd(form))?;
    let memory = arguments.memory(form, false, registers)?;
    call::join(sock, memory, result as u64, current)
}

/// Nothing, if the call is a 32-bit one.
#[inline(always)]
fn native() -> Option<()> {
    (files::compat() & arch::COMPAT == 0).then_some(())
}
