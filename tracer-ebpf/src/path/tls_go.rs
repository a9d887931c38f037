//! What is in TLS, taken from Go's `crypto/tls`, which says itself on which connection it works.
//!
//! ```text
//!         it begins to agree on keys            first bytes: TLS
//!   new ─────────────────────────────▶ shaking ──────────────────▶ joined
//!   TLS, or there before ── a read or a write begins or returns ──▶ joined, apart
//!
//!              begin                    end(moved)
//!   outside ─────────▶ inside a call ─────────────▶ framed, outside
//!      └── begin of a write, joined ──────────────────▲
//! ```
//!
//! What is written is framed before it is: when the call returns, another goroutine may have read the answer and closed the connection, or the
//! process have been ended. Only while it is not known whether keys are agreed on yet the return is waited for.
//!
//! Goroutines move between threads: a call is known by its goroutine's address, which stays. Their stacks move too, with what lies there.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tracer_common::Loss;

use super::{
    call::Call,
    connection::{self, Connection, NEXT_WRITE},
    emit,
    select::Current,
    sock::Sock,
    task::Task,
    tls,
};
use crate::peek::user;

/// A goroutine of a process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Goroutine {
    tgid: u64,
    /// `runtime.g *`
    address: u64,
}

impl Goroutine {
    /// The one at this address that the current thread runs.
    #[inline(always)]
    pub fn of(current: Current, address: u64) -> Self {
        Self {
            tgid: current.tgid as u64,
            address,
        }
    }

    /// `runtime.g` begins with where its stack begins and ends.
    #[inline(always)]
    fn stack(self) -> Option<[u64; 2]> {
        user(self.address)
    }
}

/// What is asked of the library.
#[derive(Clone, Copy)]
pub struct Asked {
    /// Where what is moved is, and how much at most.
    pub buffer: u64,
    pub room: u64,
    /// Whether it is to be sent.
    pub sent: bool,
}

/// What a goroutine is inside of.
#[repr(C)]
#[derive(Clone, Copy)]
struct Inside {
    /// `struct sock *`
    sock: u64,
    /// Its connection: another one may have taken its place. 0 if it was not known when the call began.
    connection: u64,
    /// Where what is moved is; before the end of the stack, if it lies there.
    buffer: u64,
    room: u64,
    entered_ns: u64,
    /// Who has this goroutine write.
    caller: Task,
    sent: u32,
    on_stack: u32,
    /// 1 if all that it is asked for counts as moved.
    at_once: u64,
}

/// Goroutine to what it is inside of. The longest forgotten is dropped for a new one, since nobody says that a goroutine has ended.
#[map]
static GO_CALLS: LruHashMap<Goroutine, Inside> = LruHashMap::with_max_entries(16384, 0);

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

/// Whatever the goroutine was inside of is over.
#[inline(always)]
pub fn forget(goroutine: Goroutine) {
    let _ = GO_CALLS.remove(goroutine);
}

/// A goroutine of a traced process asks for what has come, or has something sent. An accepted connection of which this is the first use is not
/// known yet, and is when the call returns. Whether it is to be ended at once.
#[inline(always)]
pub fn begin(sock: Sock, goroutine: Goroutine, asked: Asked) -> Option<bool> {
    let mut inside = Inside {
        sock: sock.address,
        connection: 0,
        buffer: asked.buffer,
        room: asked.room,
        entered_ns: unsafe { aya_ebpf::helpers::bpf_ktime_get_boot_ns() },
        caller: Task::NONE,
        sent: asked.sent as u32,
        on_stack: 0,
        at_once: 0,
    };
    if let Some(known) = connection::known(sock) {
        let connection = unsafe { &mut *known };
        if connection.ignored() {
            return None;
        }
        meet(connection);
        inside.connection = connection.id;
        if asked.sent {
            if connection.caller_seq == NEXT_WRITE {
                inside.caller = connection.caller;
            }
            connection.caller_seq = 0;
            inside.at_once = connection.is_joined() as u64;
        } else if !connection.begin_read() {
            // What the one before was given is not known.
            emit::lost(Loss::Unpaired);
            connection.turn_opaque();
            return None;
        }
    }
    let [low, high] = goroutine.stack()?;
    if low <= asked.buffer && asked.buffer < high {
        inside.buffer = high - asked.buffer;
        inside.on_stack = 1;
    }
    if GO_CALLS.insert(goroutine, inside, 0).is_err() {
        emit::lost(Loss::CallsFull);
        if let Some(connection) = connection::known(sock) {
            // Nothing will tell what it moved.
            unsafe { (*connection).turn_opaque() };
        }
        return None;
    }
    Some(inside.at_once != 0)
}

/// Its call returns: whether that moved anything, and what.
#[inline(always)]
pub fn end(result: u64, goroutine: Goroutine, call: &mut Call) -> bool {
    let Some(known) = GO_CALLS.get_ptr(goroutine) else {
        return false;
    };
    // Read where it is: there is no room for it on the stack.
    let moves = match ended(result, goroutine, unsafe { &*known }) {
        Some(ended) => {
            *call = ended;
            true
        }
        None => false,
    };
    forget(goroutine);
    moves
}

#[inline(always)]
fn ended(result: u64, goroutine: Goroutine, inside: &Inside) -> Option<Call> {
    let known = connection::get(inside.sock)
        .filter(|known| inside.connection == 0 || inside.connection == unsafe { (**known).id });
    let Some(known) = known else {
        let moved = result != 0 && result <= inside.room;
        if moved && inside.sent != 0 && inside.connection != 0 {
            // Another goroutine has closed it since. Who reads then has no use for it.
            emit::lost(Loss::TlsUnplaced);
        }
        return None;
    };
    let connection = unsafe { &mut *known };
    if inside.sent == 0 {
        connection.end_read();
    }
    let result = if inside.at_once == 0 { result } else { inside.room };
    // An error is none, or less.
    if result == 0 || result > inside.room || connection.ignored() {
        return None;
    }
    meet(connection);
    if !connection.is_joined() {
        emit::lost(Loss::TlsUnplaced);
        connection.turn_opaque();
        return None;
    }
    let buffer = if inside.on_stack == 0 {
        inside.buffer
    } else {
        let [_, high] = goroutine.stack()?;
        high.wrapping_sub(inside.buffer)
    };
    let mut call = tls::given(inside.sock, connection, buffer, result, inside.sent != 0);
    call.entered_ns = inside.entered_ns;
    call.caller = inside.caller;
    Some(call)
}

/// A connection of which the beginning was not seen is joined as it is.
#[inline(always)]
fn meet(connection: &mut Connection) {
    if connection.may_be_tls() {
        connection.join(false);
    }
}
