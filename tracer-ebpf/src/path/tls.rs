//! What is in TLS, taken from the library that a process uses: which of its sessions is on which socket, and what it was given or gave.
//!
//! ```text
//!              begin                    the thread uses a socket                end(moved)
//!   outside ─────────▶ inside a session ────────────────────────▶ joined to it ───────────▶ framed, outside
//!                        │ end, and it used none                      ▲
//!                        ▼        of a connection the first is sent,  │
//!                  begins to speak    or the first was received before┘
//! ```
//!
//! A thread that reads from or writes to a socket of TLS while it is inside a session does so for that session: no member of the
//! library's own structs is looked at. Some programs have the library work in memory, and carry the bytes to and from the socket themselves
//! (asyncio, Node). They carry what comes into its session before they receive anything else, and most send what a session has to say before
//! they let another speak. So while keys are agreed on:
//!
//! - after the first that a thread receives on a connection of TLS, the next session that it calls is that connection's;
//! - the first that it sends on one is of the session that it called before.
//!
//! Where there are several connections, or several sessions, in the same place, nothing is concluded from it until the thread waits again; who
//! sends later and several at a time (uvloop) has what it receives. What a session that was not placed so moves is counted, and not seen.
//!
//! A session that has been joined is remembered, since what it gives may have come with an earlier read. It is forgotten when it is freed.

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
    select::{self, Current},
    sock::Sock,
    task::Task,
    tls_go, turn,
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
    /// Forget the session.
    Free,
}

/// A session of a process.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct Session {
    tgid: u64,
    /// `SSL *`, `gnutls_session_t`
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

impl Joined {
    /// Not known.
    const NOT: Self = Self {
        sock: 0,
        connection: 0,
    };
    /// Not known, and something was moved already.
    const LATE: Self = Self {
        sock: 0,
        connection: u64::MAX,
    };
}

/// A thread that is inside a session.
#[repr(C)]
#[derive(Clone, Copy)]
struct Inside {
    session: Session,
    /// Where that is known.
    joined: Joined,
    /// The memory that is read into or written from.
    buffer: u64,
    /// Where the library leaves how many bytes it moved; 0 where it returns that.
    count: u64,
    entered_ns: u64,
    act: Act,
    /// 1 once the thread has used a socket.
    at_socket: u32,
    /// How many of the library's own calls, for the same session, it is inside of below.
    nested: u64,
}

/// What a thread carries between sockets and sessions.
#[repr(C)]
#[derive(Clone, Copy)]
struct Carried {
    /// The session that may have something to say; address 0 if there are several.
    speaker: Session,
    /// When it was called; 0 if there is none.
    spoke_ns: u64,
    /// The connection of which the first was received; connection 0 if there are several.
    listener: Joined,
    /// When that was; 0 if there is none.
    listened_ns: u64,
}

/// What a thread carries at first; it has a place, since there is none for it on the stack.
static NOTHING: Carried = Carried {
    speaker: Session { tgid: 0, address: 0 },
    spoke_ns: 0,
    listener: Joined::NOT,
    listened_ns: 0,
};

/// For as long either is believed of a thread that is not seen to wait.
const PATIENCE_NS: u64 = 1_000_000_000;

/// Thread to what it is inside of.
#[map]
static INSIDE: HashMap<u64, Inside> = HashMap::with_max_entries(16384, 0);

/// Sessions that were joined.
#[map]
static SESSIONS: LruHashMap<Session, Joined> = LruHashMap::with_max_entries(16384, 0);

/// Thread to what it carries.
#[map]
static CARRIED: LruHashMap<u64, Carried> = LruHashMap::with_max_entries(1024, 0);

/// The current thread enters a function of the library.
#[inline(always)]
pub fn begin(act: Act, address: u64, buffer: u64, count: u64) -> Option<()> {
    let current = select::maybe_traced()?;
    let session = Session {
        tgid: current.tgid as u64,
        address,
    };
    if act == Act::Free {
        let _ = SESSIONS.remove(session);
        return None;
    }
    if let Some(known) = INSIDE.get_ptr_mut(current.key()) {
        let outer = unsafe { &mut *known };
        if outer.session == session && act == Act::Handshake && outer.act != Act::Handshake {
            // GnuTLS agrees on keys by its own function when it is asked for what has come.
            outer.nested += 1;
            return None;
        }
    }
    let joined = SESSIONS
        .get_ptr(session)
        .map_or(Joined::NOT, |known| unsafe { *known });
    let inside = Inside {
        session,
        joined,
        buffer,
        count,
        entered_ns: unsafe { bpf_ktime_get_boot_ns() },
        act,
        at_socket: 0,
        nested: 0,
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

/// Whether it is inside of one.
#[inline(always)]
pub fn is_inside(current: Current) -> bool {
    INSIDE.get_ptr(current.key()).is_some()
}

/// It returns from it: whether that moved anything, and what.
#[inline(always)]
pub fn end(result: i32, current: Current, call: &mut Call) -> bool {
    // Nobody else takes it away: there is no room for it on the stack.
    let Some(known) = INSIDE.get_ptr_mut(current.key()) else {
        return false;
    };
    let inside = unsafe { &mut *known };
    if inside.nested != 0 {
        inside.nested -= 1;
        return false;
    }
    let moves = match ended(result, current, inside) {
        Some(ended) => {
            *call = ended;
            true
        }
        None => false,
    };
    let _ = INSIDE.remove(current.key());
    moves
}

#[inline(always)]
fn ended(result: i32, current: Current, inside: &Inside) -> Option<Call> {
    let moves = inside.act != Act::Handshake && result > 0;
    let Some(connection) = of(inside.joined) else {
        unplaced(current.key(), inside, moves);
        return None;
    };
    if !moves {
        return None;
    }
    let connection = unsafe { &mut *connection };
    let moved = if inside.count == 0 {
        Some(result as u64)
    } else {
        user(inside.count)
    };
    let Some(moved) = moved else {
        emit::lost(Loss::UserFault);
        connection.turn_opaque();
        return None;
    };
    let is_sent = inside.act == Act::Write;
    if !is_sent {
        turn::reads(current);
    }
    let mut call = given(inside.joined.sock, connection, inside.buffer, moved, is_sent);
    call.entered_ns = inside.entered_ns;
    Some(call)
}

/// A call that moves what a library gives or takes: `memory.count` bytes.
#[inline(always)]
pub fn given(sock: u64, connection: &Connection, buffer: u64, moved: u64, is_sent: bool) -> Call {
    Call {
        sock,
        memory: Memory {
            address: buffer,
            count: moved,
            skip: 0,
            shape: Shape::Buffer,
            sent: is_sent as u32,
        },
        entered_ns: unsafe { bpf_ktime_get_boot_ns() },
        returned_ns: 0,
        done: 0,
        seq: if is_sent {
            connection.sent.seq
        } else {
            connection.received.seq
        },
        unix: 0,
        open: 0,
        kind: 0,
        timer: 0,
        turn: 0,
        reads: 0,
        caller: Task::NONE,
    }
}

/// The thread comes out of a session of which the socket is not known, or gone. A function of its own, with a stack of its own: that of what
/// frames is full.
#[inline(never)]
fn unplaced(thread: u64, inside: &Inside, moves: bool) {
    if inside.at_socket != 0 || inside.joined.sock != 0 {
        return;
    }
    let is_new = inside.joined.connection == 0;
    if moves {
        emit::lost(Loss::TlsUnplaced);
        if is_new {
            let _ = SESSIONS.insert(inside.session, Joined::LATE, 0);
        }
    } else if is_new && !has_listened(thread, inside.session) {
        speaks(thread, inside.session);
    }
}

/// The session is that of the connection of which the thread has received the first, if there is one.
#[inline(always)]
fn has_listened(thread: u64, session: Session) -> bool {
    let Some(known) = CARRIED.get_ptr_mut(thread) else {
        return false;
    };
    let carried = unsafe { &mut *known };
    let at = carried.listener;
    let Some(connection) = of(at).filter(|_| carried.listened_ns != 0) else {
        return false;
    };
    carried.listened_ns = 0;
    let connection = unsafe { &mut *connection };
    // What it sent may have told whose it is.
    if connection.is_joined() {
        return false;
    }
    place(session, at, connection);
    true
}

#[inline(always)]
fn speaks(thread: u64, session: Session) {
    let Some(carried) = carried(thread) else { return };
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let before = carried.speaker;
    // Long ago, or none.
    let is_past = now - carried.spoke_ns >= PATIENCE_NS;
    carried.spoke_ns = now;
    carried.speaker = session;
    // Who has been joined meanwhile has said it.
    if !is_past && before != session && SESSIONS.get_ptr(before).is_none() {
        carried.speaker.address = 0;
    }
}

#[inline(always)]
fn listens(thread: u64, at: Joined) {
    let Some(carried) = carried(thread) else { return };
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let before = carried.listener;
    let is_past = now - carried.listened_ns >= PATIENCE_NS;
    carried.listened_ns = now;
    carried.listener = at;
    if !is_past && of(before).is_none_or(|other| unsafe { !(*other).is_joined() }) {
        carried.listener.connection = 0;
    }
}

#[inline(always)]
fn carried(thread: u64) -> Option<&'static mut Carried> {
    if CARRIED.get_ptr(thread).is_none() {
        #[expect(
            clippy::needless_borrows_for_generic_args,
            reason = "by value it would be copied to the stack, where there is no room for it"
        )]
        let _ = CARRIED.insert(thread, &NOTHING, 0);
    }
    CARRIED.get_ptr_mut(thread).map(|known| unsafe { &mut *known })
}

#[inline(always)]
fn place(session: Session, at: Joined, connection: &mut Connection) {
    let _ = SESSIONS.insert(session, at, 0);
    connection.join(true);
}

/// The thread waits: it has carried everything to where it belongs.
#[inline(always)]
pub fn waits(thread: u64) {
    if settings().sees_tls != 0 && CARRIED.get_ptr(thread).is_some() {
        let _ = CARRIED.remove(thread);
    }
}

/// The current thread is about to use a socket; whether its bytes are TLS, and are to be passed over.
#[inline(always)]
pub fn carries(sock: Sock, connection: *const Connection, sends: bool) -> bool {
    if settings().sees_tls == 0 {
        return false;
    }
    let before = unsafe { &*connection };
    // What begins as something else (STARTTLS) is not followed, but is where a session is.
    if before.may_be_tls() || before.ignored() {
        tracer_tls_join(sock.address, 0, sends as u32);
    }
    unsafe { (*connection).is_tls() }
}

/// What has come first on a socket is TLS.
#[inline(always)]
pub fn begins(sock: u64, connection: *mut Connection, sends: bool) {
    let connection = unsafe { &mut *connection };
    connection.turn_tls();
    if tls_go::has_shaken(sock, connection) {
        connection.join(true);
    } else {
        tracer_tls_join(sock, 1, sends as u32);
    }
}

/// The session that the thread is inside of, or that it carries bytes for, is on this socket. A function of its own, since every hook asks.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tracer_tls_join(sock: u64, begins: u32, sends: u32) -> u32 {
    if let Some(connection) = connection::get(sock) {
        join(sock, unsafe { &mut *connection }, begins != 0, sends != 0);
    }
    0
}

#[inline(always)]
fn join(sock: u64, connection: &mut Connection, begins: bool, sends: bool) {
    let thread = Current::get().key();
    let here = Joined {
        sock,
        connection: connection.id,
    };
    if let Some(known) = INSIDE.get_ptr_mut(thread) {
        let inside = unsafe { &mut *known };
        inside.at_socket = 1;
        if inside.joined.connection == connection.id || connection.ignored() {
            return;
        }
        inside.joined = here;
        connection.join(begins || inside.act == Act::Handshake);
        // Without room it is joined again by the next call.
        let _ = SESSIONS.insert(inside.session, here, 0);
        return;
    }
    if connection.is_joined() || !connection.is_tls() {
        return;
    }
    if !sends {
        let has_come = begins || Sock::moving(sock).unread() != 0;
        if has_come && connection.is_first(false) {
            listens(thread, here);
        }
    } else if connection.is_first(true)
        && let Some(known) = CARRIED.get_ptr_mut(thread)
    {
        let carried = unsafe { &mut *known };
        let session = carried.speaker;
        if carried.spoke_ns != 0 && session.address != 0 && SESSIONS.get_ptr(session).is_none() {
            place(session, here, connection);
        }
        carried.spoke_ns = 0;
    }
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
    waits(current.key());
}
