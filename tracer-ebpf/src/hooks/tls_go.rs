//! What is in TLS, where a program written in Go does it.
//!
//! Hooks: uprobes at the entries of `crypto/tls.(*Conn).clientHandshake(c *Conn, ctx context.Context)` and `serverHandshake`; at the
//! beginning of `(*Conn).Read(c *Conn, b []byte)` and `(*Conn).Write(c *Conn, b []byte)` where their stack is large enough, since what
//! makes it grow begins them again; and at each instruction by which they return: Go moves stacks, and may not find a return address
//! changed. At those is the program of [`super::tls`], since each that frames is a third of all; what is written is framed by it before.
//! Produces: what passes in sessions.
//!
//! A `tls.Conn` begins with the `net.Conn` that it works on.

use aya_ebpf::{
    bindings::pt_regs,
    macros::{map, uprobe},
    maps::ProgramArray,
    programs::ProbeContext,
};

use super::go;
use crate::{
    arch::{self, go::argument},
    path::{
        select,
        sock::Sock,
        tls_go::{self, Asked, Goroutine},
    },
    peek::user,
};

/// Empty, and why is said of [`super::go`]'s.
#[map]
static TLS_GO_NOWHERE: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Holds `tracer_tls_moved`, or the one with `_chain` behind its name.
#[map]
static TLS_GO_WRITES: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Offset of the value of `crypto/tls.Conn.conn`.
const CONN: u64 = 8;

#[uprobe]
fn tracer_go_tls_handshake(ctx: ProbeContext) -> u32 {
    let _ = shakes(unsafe { &*ctx.regs });
    unsafe { TLS_GO_NOWHERE.tail_call(&ctx, 0) };
    0
}

#[inline(always)]
fn shakes(registers: &pt_regs) -> Option<()> {
    select::followed()?;
    tls_go::shakes(sock(registers)?);
    None
}

#[uprobe]
fn tracer_go_tls_read(ctx: ProbeContext) -> u32 {
    let _ = begins(unsafe { &*ctx.regs }, false);
    unsafe { TLS_GO_NOWHERE.tail_call(&ctx, 0) };
    0
}

#[uprobe]
fn tracer_go_tls_write(ctx: ProbeContext) -> u32 {
    if begins(unsafe { &*ctx.regs }, true) == Some(true) {
        unsafe { TLS_GO_WRITES.tail_call(&ctx, 0) };
    }
    0
}

#[inline(always)]
fn begins(registers: &pt_regs, sent: bool) -> Option<bool> {
    let current = select::followed()?;
    let goroutine = Goroutine::of(current, arch::go::goroutine(registers));
    tls_go::forget(goroutine);
    let asked = Asked {
        buffer: argument::<1>(registers),
        room: argument::<2>(registers),
        sent,
    };
    tls_go::begin(sock(registers)?, goroutine, asked)
}

/// The socket of the `tls.Conn` that is the first argument.
#[inline(always)]
fn sock(registers: &pt_regs) -> Option<Sock> {
    go::sock(user(argument::<0>(registers).wrapping_add(CONN))?)
}
