//! What is in TLS, taken from the library that a process uses: which of its sessions is on which socket, and what it was given or gave.
//!
//! ```text
//!              begin                    the thread uses a socket                end(moved)
//!   outside ─────────▶ inside a session ────────────────────────▶ joined to it ───────────▶ framed, outside
//! ```
//!
//! A thread that reads from or writes to a socket of TLS while it is inside a session does so for that session: no member of the
//! library's own structs is looked at. A session that has been joined is remembered, since what it gives may have come with an earlier
//! read. It is forgotten when it begins a handshake: a new one may have taken the place of one that ended.

use aya_ebpf::{
    helpers::bpf_ktime_get_boot_ns,
    macros::map,
    maps::{HashMap, LruHashMap},
};
use tracer_common::Loss;

use super::{
    call::{Call, Memory, Shape},
    connection::{self, Connection},
    emit,
    message::{self, Repeat, Source},
    select::{self, Current},
    sock::Sock,
    task::Task,
    turn,
};
use crate::peek::{settings, user};

/// What a thread has the library do.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Act {
    /// Agree on keys with the other end.
    Handshake,
    /// Give what has come.
    Read,
    /// Take what is to be sent.
    Write,
}

/// A session of a process.
#[repr(C)]
#[derive(Clone, Copy)]
struct Session {
    tgid: u64,
    /// `SSL *`
    address: u64,
}

/// The socket of a session.
#[repr(C)]
#[derive(Clone, Copy)]
struct Joined {
    /// `struct sock *`
    sock: u64,
    /// Its connection: another one may have taken its place.
    connection: u64,
}

/// A thread that is inside a session.
#[repr(C)]
#[derive(Clone, Copy)]
struct Inside {
    session: Session,
    /// Zero where it is not known.
    joined: Joined,
    /// The memory that is read into or written from.
    buffer: u64,
    /// Where the library leaves how many bytes it moved; 0 where it returns that.
    count: u64,
    entered_ns: u64,
    act: Act,
    reserved: u32,
}

/// Thread to what it is inside of.
#[map]
static INSIDE: HashMap<u64, Inside> = HashMap::with_max_entries(16384, 0);

/// Sessions that were joined.
#[map]
static SESSIONS: LruHashMap<Session, Joined> = LruHashMap::with_max_entries(16384, 0);

/// The current thread enters a function of the library.
#[inline(always)]
pub fn begin(act: Act, address: u64, buffer: u64, count: u64) -> Option<()> {
    let current = select::maybe_traced()?;
    let session = Session {
        tgid: current.tgid as u64,
        address,
    };
    let mut joined = Joined {
        sock: 0,
        connection: 0,
    };
    if act == Act::Handshake {
        let _ = SESSIONS.remove(session);
    } else if let Some(known) = SESSIONS.get_ptr(session) {
        joined = unsafe { *known };
    }
    let inside = Inside {
        session,
        joined,
        buffer,
        count,
        entered_ns: unsafe { bpf_ktime_get_boot_ns() },
        act,
        reserved: 0,
    };
    if INSIDE.insert(current.key(), inside, 0).is_err() {
        emit::lost(Loss::CallsFull);
        if let Some(connection) = of(joined) {
            // Nothing will tell what it moved.
            unsafe { (*connection).turn_opaque() };
        }
    }
    None
}

/// It returns from it.
#[inline(always)]
pub fn end(result: i32, repeat: &impl Repeat) -> Option<()> {
    let current = Current::get();
    let inside = unsafe { *INSIDE.get_ptr(current.key())? };
    let _ = INSIDE.remove(current.key());
    if inside.act == Act::Handshake || result <= 0 {
        return None;
    }
    let moved = if inside.count == 0 {
        result as u64
    } else {
        user(inside.count)?
    };
    let connection = unsafe { &*of(inside.joined)? };
    let is_sent = inside.act == Act::Write;
    if !is_sent {
        turn::reads(current);
    }
    let call = Call {
        sock: inside.joined.sock,
        memory: Memory {
            address: inside.buffer,
            count: moved,
            skip: 0,
            shape: Shape::Buffer,
            sent: is_sent as u32,
        },
        entered_ns: inside.entered_ns,
        done: 0,
        seq: if is_sent {
            connection.sent.seq
        } else {
            connection.received.seq
        },
        unix: 0,
        goroutines: 0,
        caller: Task::NONE,
    };
    message::moved(&call, moved, current, Source::Library, repeat);
    None
}

/// The current thread is about to use a socket; whether its bytes are TLS, and are to be passed over.
#[inline(always)]
pub fn carries(sock: Sock, connection: &mut Connection, current: Current) -> bool {
    if settings().sees_tls == 0 {
        return false;
    }
    if connection.may_be_tls() {
        join(sock.address, connection, current.key(), false);
    }
    connection.is_tls()
}

/// What has come first on a socket is TLS.
#[inline(always)]
pub fn begins(sock: u64, connection: &mut Connection, thread: u64) {
    connection.turn_tls();
    join(sock, connection, thread, true);
}

/// The session that the thread is inside of, if it is, is on this socket. A function of its own, since every hook asks.
#[inline(never)]
fn join(sock: u64, connection: &mut Connection, thread: u64, begins: bool) {
    let Some(known) = INSIDE.get_ptr_mut(thread) else {
        return;
    };
    let inside = unsafe { &mut *known };
    if inside.joined.connection == connection.id {
        return;
    }
    inside.joined = Joined {
        sock,
        connection: connection.id,
    };
    connection.join(begins || inside.act == Act::Handshake);
    // Without room it is joined again by the next call.
    let _ = SESSIONS.insert(inside.session, inside.joined, 0);
}

/// The connection of a session, while it is that one.
#[inline(always)]
fn of(joined: Joined) -> Option<*mut Connection> {
    let known = connection::get(joined.sock)?;
    (unsafe { (*known).id } == joined.connection).then_some(known)
}

/// Forgets a thread that ends.
#[inline(always)]
pub fn forget(current: Current) {
    let _ = INSIDE.remove(current.key());
}
