//! Go's HTTP client: the goroutine that makes a request is not the one that writes it.
//!
//! Hook: a uprobe at the entry of `net/http.(*persistConn).roundTrip(pc *persistConn, req *transportRequest)`, where a goroutine has got a
//! connection for its request and is about to hand it to the goroutine that writes on that connection. At an entry, so nothing that Go
//! keeps on its stack is changed. Produces: the caller of the connection, and where in the stream its request will begin: a kernel
//! may skip a program, and the next request on the connection must not be taken for this caller's.
//!
//! Go passes the first argument in RAX and keeps the goroutine in R14. The connection is an interface (`net.Conn`) at 80, its
//! value at 88, which points to a `net.TCPConn` or `net.UnixConn`: a pointer to a `net.netFD`, whose `Sysfd` is at 16. What is no such
//! connection (one of TLS) leads to no socket here.

use aya_ebpf::{
    helpers::bpf_get_current_task,
    macros::{map, uprobe},
    maps::ProgramArray,
    programs::ProbeContext,
};

use super::syscall;
use crate::{
    path::{connection, select, task},
    peek::user,
};

/// Offset of the value of `net/http.persistConn.conn`.
const CONN: u64 = 88;
/// Offset of `net.netFD.pfd.Sysfd`.
const SYSFD: u64 = 16;

/// Empty. Newer kernels give a program a stack for each processor instead of each run, and unlike others this one may be
/// preempted by another run of itself: one goroutine's request was then noted as another's. A program that may make a
/// tail call gets none.
#[map]
static GO_CHAIN: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[uprobe]
fn tracer_go_round_trip(ctx: ProbeContext) -> u32 {
    let _ = handed(&ctx);
    unsafe { GO_CHAIN.tail_call(&ctx, 0) };
    0
}

#[inline(always)]
fn handed(ctx: &ProbeContext) -> Option<()> {
    let current = select::followed()?;
    let registers = unsafe { &*ctx.regs };
    let caller = task::running(current, registers.r14, registers.rsp)?;
    let conn: u64 = user(registers.rax.wrapping_add(CONN))?;
    let netfd: u64 = user(conn)?;
    let sysfd: u64 = user(netfd.wrapping_add(SYSFD))?;
    if sysfd > u64::from(u32::MAX) {
        return None;
    }
    let sock = syscall::socket(unsafe { bpf_get_current_task() }, sysfd)?;
    // One that was there before is met when it is written to, so its first request has no caller.
    let connection = unsafe { &mut *connection::known(sock)? };
    connection.caller = caller;
    connection.caller_seq = sock.write_seq() as u64;
    Some(())
}
