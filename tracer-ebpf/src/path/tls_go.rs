//! What is in TLS, taken from Go's `crypto/tls`, which says itself on which connection it works.
//!
//! ```text
//!         it begins to agree on keys            first bytes: TLS
//!   new ─────────────────────────────▶ shaking ──────────────────▶ joined
//!   TLS, or there before ── a read or a write begins ─────────────▶ joined, apart
//!
//!   joined:  a write begins ─▶ framed;   a read begins ─▶ reads ── it returns ─▶ framed
//! ```
//!
//! A write is framed when it begins, since all of it is sent or the connection is over. Goroutines move between threads: a read is known by
//! its goroutine's address, which stays.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tracer_common::Loss;

use super::{
    call::Call,
    connection::{self, Connection},
    emit,
    select::Current,
    sock::Sock,
    task, tls,
};

/// A goroutine of a process.
#[repr(C)]
#[derive(Clone, Copy)]
struct Goroutine {
    tgid: u64,
    /// `runtime.g *`
    address: u64,
}

/// What a goroutine waits for.
#[repr(C)]
#[derive(Clone, Copy)]
struct Read {
    /// `struct sock *`
    sock: u64,
    /// Its connection: another one may have taken its place.
    connection: u64,
    /// Where what comes is put, and how much there is room for.
    buffer: u64,
    room: u64,
}

/// Goroutine to what it waits for. The longest forgotten is dropped for a new one, since nobody says that a goroutine has ended.
#[map]
static READS: LruHashMap<Goroutine, Read> = LruHashMap::with_max_entries(16384, 0);

/// Sock on which keys are to be agreed on, to its identity: nothing may have passed on it.
#[map]
static SHAKING: LruHashMap<u64, u32> = LruHashMap::with_max_entries(1024, 0);

/// It begins to agree on keys.
#[inline(always)]
pub fn shakes(sock: Sock) {
    let _ = SHAKING.insert(sock.address, sock.identity(), 0);
}

/// Whether it has begun to on a connection of which the first bytes are TLS.
#[inline(always)]
pub fn has_shaken(sock: u64, connection: &Connection) -> bool {
    let Some(known) = SHAKING.get_ptr(sock) else {
        return false;
    };
    let identity = unsafe { *known };
    let _ = SHAKING.remove(sock);
    identity == connection.identity()
}

/// A goroutine of a traced process asks for what has come.
#[inline(always)]
pub fn begin_read(sock: Sock, current: Current, goroutine: u64, buffer: u64, room: u64) -> Option<()> {
    let connection = met(sock)?;
    if !connection.begin_read() {
        // What the one before was given is not known.
        emit::lost(Loss::Unpaired);
        connection.turn_opaque();
        return None;
    }
    let read = Read {
        sock: sock.address,
        connection: connection.id,
        buffer,
        room,
    };
    let _ = READS.insert(key(current, goroutine), read, 0);
    None
}

/// A goroutine that waits is given so many bytes, or none; `None` if that is no number of bytes, or it does not wait.
#[inline(always)]
pub fn end_read(result: u64, current: Current, goroutine: u64) -> Option<Option<Call>> {
    let key = key(current, goroutine);
    let read = unsafe { *READS.get_ptr(key)? };
    let _ = READS.remove(key);
    (result <= read.room).then(|| is_read(&read, result))
}

#[inline(always)]
fn is_read(read: &Read, moved: u64) -> Option<Call> {
    let connection = unsafe { &mut *connection::get(read.sock)? };
    if connection.id != read.connection {
        return None;
    }
    connection.end_read();
    (moved > 0 && is_given(connection)).then(|| tls::given(read.sock, connection, read.buffer, moved, false))
}

/// A goroutine of a traced process has so many bytes sent.
#[inline(always)]
pub fn write(sock: Sock, buffer: u64, len: u64) -> Option<Call> {
    let connection = met(sock)?;
    if len == 0 || !is_given(connection) {
        return None;
    }
    let mut call = tls::given(sock.address, connection, buffer, len, true);
    call.caller = task::caller(connection, connection.sent.seq);
    Some(call)
}

/// The connection of a sock, if anything is to be seen of it. One of which the beginning was not seen is joined as it is; one that was there
/// before and has not been used since is met when its socket is.
#[inline(always)]
fn met(sock: Sock) -> Option<&'static mut Connection> {
    let connection = unsafe { &mut *connection::known(sock)? };
    if connection.ignored() {
        return None;
    }
    if connection.may_be_tls() {
        connection.join(false);
    }
    Some(connection)
}

/// Whether what passes is on a connection that was joined. Who writes before keys are agreed on has `Write` do both, and of that
/// connection nothing is seen.
#[inline(always)]
fn is_given(connection: &mut Connection) -> bool {
    if !connection.is_joined() {
        emit::lost(Loss::TlsUnplaced);
        connection.turn_opaque();
    }
    connection.is_joined()
}

#[inline(always)]
fn key(current: Current, goroutine: u64) -> Goroutine {
    Goroutine {
        tgid: current.tgid as u64,
        address: goroutine,
    }
}
