//! Go's HTTP client: the goroutine that makes a request is not the one that writes it.
//!
//! Hook: a uprobe at the entry of `net/http.(*persistConn).roundTrip(pc *persistConn, req *transportRequest)`, where a goroutine has got a
//! connection for its request and is about to hand it to the goroutine that writes on that connection. At an entry, so nothing that Go
//! keeps on its stack is changed. Produces: the caller of the connection, and where in the stream its request will begin: a kernel
//! may skip a program, and the next request on the connection must not be taken for this caller's.
//!
//! The connection is an interface (`net.Conn`) at 80, its value at 88.

use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use super::nowhere::NOWHERE;
use crate::{
    arch::go,
    path::{
        connection::{self, NEXT_WRITE},
        files, select,
        sock::Sock,
        task,
    },
    peek::user,
};

/// Offset of the value of `net/http.persistConn.conn`.
const CONN: u64 = 88;
/// Offsets in `net.netFD`: of `pfd.Sysfd`, and of `family`, behind which is `sotype`.
const SYSFD: u64 = 16;
const FAMILY: u64 = 56;
/// `SOCK_STREAM`, `AF_INET`, `AF_INET6`
const STREAM: u64 = 1;
const FAMILIES: [u64; 2] = [2, 10];
/// Offset of the value of an interface.
const VALUE: u64 = 8;
/// Connections that may stand one within the other.
const NESTED: u32 = 3;

#[uprobe]
fn tracer_go_round_trip(ctx: ProbeContext) -> u32 {
    let _ = handed(&ctx);
    unsafe { NOWHERE.tail_call(&ctx, 0) };
    0
}

#[inline(always)]
fn handed(ctx: &ProbeContext) -> Option<()> {
    let current = select::followed()?;
    let registers = unsafe { &*ctx.regs };
    let caller = task::running(current, go::goroutine(registers), go::stack(registers))?;
    let sock = sock(user(go::argument::<0>(registers).wrapping_add(CONN))?)?;
    // One that was there before is met when it is written to, so its first request has no caller.
    let connection = unsafe { &mut *connection::known(sock)? };
    connection.caller = caller;
    connection.caller_seq = if connection.is_joined() {
        NEXT_WRITE
    } else {
        sock.write_seq() as u64
    };
    Some(())
}

/// The socket of the value of a `net.Conn`. That points to a `net.TCPConn`, which is a pointer to a `net.netFD`; or to what begins with
/// another `net.Conn`, as a `tls.Conn` does, and those that count or limit connections. What else may begin otherwise has no family and kind
/// of socket in that place.
#[inline(always)]
pub fn sock(value: u64) -> Option<Sock> {
    let mut value = value;
    for _ in 0..NESTED {
        let first: u64 = user(value)?;
        let [family, kind] = user(first.wrapping_add(FAMILY)).unwrap_or([0_u64; 2]);
        if FAMILIES.contains(&family) && kind == STREAM {
            return files::socket(user(first.wrapping_add(SYSFD))?);
        }
        value = user(value.wrapping_add(VALUE))?;
    }
    None
}
