//! What is in TLS, where a program written in Go does it.
//!
//! Hooks: uprobes at the entries of `crypto/tls.(*Conn).clientHandshake(c *Conn, ctx context.Context)` and `serverHandshake`, at the
//! beginning of `(*Conn).Read(c *Conn, b []byte)` and `(*Conn).Write(c *Conn, b []byte)` where their stack is large enough, since what makes it grow
//! begins them again, and at each instruction by which `Read` returns: Go moves stacks, and may not find a return address changed. Produces: what passes in sessions. What frames it is the program of [`super::tls`], since each
//! such program is a third of all.
//!
//! Go passes arguments in RAX, RBX and RCX, returns the first result in RAX and keeps the goroutine in R14. A `tls.Conn` begins with the
//! `net.Conn` that it works on.

use aya_ebpf::{
    bindings::pt_regs,
    macros::{map, uprobe},
    maps::ProgramArray,
    programs::ProbeContext,
};

use super::go;
use crate::{
    path::{
        call::Call,
        select::{self, Current},
        sock::Sock,
        tls_go,
    },
    peek::user,
};

/// Empty, and why is said of [`super::go`]'s.
#[map]
static TLS_GO_NOWHERE: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Offset of the value of `crypto/tls.Conn.conn`.
const CONN: u64 = 8;

#[uprobe]
fn tracer_go_tls_handshake(ctx: ProbeContext) -> u32 {
    let _ = shakes(&ctx);
    unsafe { TLS_GO_NOWHERE.tail_call(&ctx, 0) };
    0
}

#[inline(always)]
fn shakes(ctx: &ProbeContext) -> Option<()> {
    select::followed()?;
    tls_go::shakes(sock(unsafe { &*ctx.regs })?);
    None
}

#[uprobe]
fn tracer_go_tls_read(ctx: ProbeContext) -> u32 {
    let _ = reads(&ctx);
    unsafe { TLS_GO_NOWHERE.tail_call(&ctx, 0) };
    0
}

#[inline(always)]
fn reads(ctx: &ProbeContext) -> Option<()> {
    let current = select::followed()?;
    let registers = unsafe { &*ctx.regs };
    let (buffer, room) = (registers.rbx, registers.rcx);
    tls_go::begin_read(sock(registers)?, current, registers.r14, buffer, room)
}

/// `Read` returns or `Write` begins, whose first argument is larger than any number of bytes: what that moves.
#[inline(always)]
pub fn moved(registers: &pt_regs, current: Current) -> Option<Call> {
    if let Some(call) = tls_go::end_read(registers.rax, current, registers.r14) {
        return call;
    }
    tls_go::write(sock(registers)?, registers.rbx, registers.rcx)
}

/// The socket of the `tls.Conn` that is the first argument.
#[inline(always)]
fn sock(registers: &pt_regs) -> Option<Sock> {
    go::sock(user(registers.rax.wrapping_add(CONN))?)
}
