//! Go's HTTP client: the goroutine that makes a request is not the one that writes it.
//!
//! Hook: a uprobe at the entry of `net/http.(*persistConn).roundTrip(pc *persistConn, req *transportRequest)`, where a goroutine has got a
//! connection for its request and is about to hand it to the goroutine that writes on that connection. At an entry, so nothing that Go
//! keeps on its stack is changed. Produces: the caller of the connection.
//!
//! Go passes the first argument in RAX and keeps the goroutine in R14. The connection is an interface (`net.Conn`) at 80, its
//! value at 88, which points to a `net.TCPConn` or `net.UnixConn`: a pointer to a `net.netFD`, whose `Sysfd` is at 16. What is no such
//! connection (one of TLS) leads to no socket here.

use aya_ebpf::{helpers::bpf_get_current_task, macros::uprobe, programs::ProbeContext};

use super::syscall;
use crate::path::{
    connection::{self, Maker},
    select,
    task::{self, user},
};

/// Offset of the value of `net/http.persistConn.conn`.
const CONN: u64 = 88;
/// Offset of `net.netFD.pfd.Sysfd`.
const SYSFD: u64 = 16;

#[uprobe]
fn tracer_go_round_trip(ctx: ProbeContext) -> u32 {
    let _ = handed(&ctx);
    0
}

#[inline(always)]
fn handed(ctx: &ProbeContext) -> Option<()> {
    let current = select::traced()?;
    let registers = unsafe { &*ctx.regs };
    let caller = task::running(current, registers.r14, registers.rsp)?;
    let conn: u64 = user(registers.rax.wrapping_add(CONN))?;
    let netfd: u64 = user(conn)?;
    let sysfd: u64 = user(netfd.wrapping_add(SYSFD))?;
    if sysfd > u64::from(u32::MAX) {
        return None;
    }
    let sock = syscall::socket(unsafe { bpf_get_current_task() }, sysfd)?;
    let connection = connection::used(sock, current, Maker::Handed)?;
    unsafe { (*connection).caller = caller };
    Some(())
}
