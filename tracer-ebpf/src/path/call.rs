//! Calls in progress: what the entry of a call knows is kept by thread until its return says how many bytes moved.
//!
//! ```text
//!          begin                      end(moved)
//!   none ─────────▶ in progress ──────────────────▶ framed, none
//!                    │   ▲  │ end of the thread ──▶ none
//!                    │   └──┘ progress ─▶ framed that far
//!                    └─ begin: the return was not seen ─▶ counted, in progress
//! ```
//!
//! The place of a thread stays from its first call to its end: to add an entry and to delete it with each call took a tenth of all.

use aya_ebpf::{
    helpers::bpf_ktime_get_boot_ns,
    macros::map,
    maps::{Array, HashMap},
};
use tracer_common::Loss;

use crate::atomic;

use super::{
    connection::{self, Maker},
    emit,
    message::{self, Repeat, Source},
    select::Current,
    sock::Sock,
    task::{self, Task},
    tls, turn,
};

/// How a call describes the memory that it moves bytes from or to.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Shape {
    /// One buffer: `(address, length)`.
    Buffer,
    /// `struct iovec[]` of user space: `(address, count)`.
    Vector,
    /// The same, copied into the kernel already.
    KernelVector,
    /// `struct msghdr` of user space: `(address, 1)`.
    Message,
    /// `struct mmsghdr[]` of user space: `(address, count)`; the call returns a number of messages.
    Messages,
    /// None: the bytes come from or go to another file.
    Unseen,
}

/// The memory of a call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Memory {
    /// Where its description is.
    pub address: u64,
    /// See [`Shape`].
    pub count: u64,
    /// Bytes at its beginning that the call does not move.
    pub skip: u64,
    /// What the description is.
    pub shape: Shape,
    /// 1 if the process writes.
    pub sent: u32,
}

impl Memory {
    /// Bytes that come from or go to another file.
    #[inline(always)]
    pub const fn unseen(sent: bool) -> Self {
        Self {
            address: 0,
            count: 0,
            skip: 0,
            shape: Shape::Unseen,
            sent: sent as u32,
        }
    }
}

/// A call, in progress or over.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    /// `struct sock *`
    pub sock: u64,
    /// What it moves.
    pub memory: Memory,
    /// When it was entered.
    pub entered_ns: u64,
    /// When it returned, if that is known already.
    pub returned_ns: u64,
    /// Bytes that were framed before it returned.
    pub done: u64,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// 1 for a Unix socket.
    pub unix: u8,
    /// 1 while it is in progress.
    pub open: u8,
    /// See [`Current::kind`].
    pub kind: u8,
    /// See [`turn::Moment`].
    pub timer: u8,
    /// See [`turn::Moment`].
    pub turn: u32,
    /// See [`turn::Moment`].
    pub reads: u32,
    /// The goroutine that has another make the call, or the thread that does.
    pub caller: Task,
}

impl Call {
    /// None: 5.10 reads nothing from the stack that was not written there.
    pub const NONE: Self = Self {
        sock: 0,
        memory: Memory::unseen(false),
        entered_ns: 0,
        returned_ns: 0,
        done: 0,
        seq: 0,
        unix: 0,
        open: 0,
        kind: 0,
        timer: 0,
        turn: 0,
        reads: 0,
        caller: Task::NONE,
    };
}

static NONE: Call = Call::NONE;

/// Thread to the call it is in, or was in last.
#[map]
static CALLS: HashMap<u64, Call> = HashMap::with_max_entries(16384, 0);

/// Threads are told apart by so many numbers.
const NUMBERS: u32 = 4096;

/// How many calls are in progress in threads of each number. At the return of every system call of everybody this is looked at first: an
/// array takes the time of a few instructions, [`CALLS`] as long as the rest of what it takes to pass over a thread.
#[map]
static IN_PROGRESS: Array<u64> = Array::with_max_entries(NUMBERS, 0);

/// A thread that is selected enters a call on a socket.
#[inline(always)]
pub fn begin(sock: Sock, memory: Memory, current: Current) -> Option<()> {
    let maker = if memory.sent != 0 {
        Maker::Write
    } else {
        Maker::Read
    };
    let known = connection::used(sock, maker, 0);
    let is_tls = !sock.unix && known.is_some_and(|known| tls::carries(sock, known, memory.sent != 0));
    // What a library reads says nothing before it gives it.
    let is_given = is_tls && known.is_some_and(|known| unsafe { (*known).is_joined() });
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let moment = if memory.sent == 0 && !is_given {
        turn::reads_at(current, now)
    } else {
        turn::moment(current, now)
    };
    let connection = unsafe { &*known? };
    if is_tls || connection.ignored() {
        return None;
    }
    let seq = match (sock.unix, memory.sent != 0) {
        (true, true) => connection.sent.seq,
        (true, false) => connection.received.seq,
        (false, true) => sock.write_seq(),
        (false, false) => sock.copied_seq(),
    };
    let call = place(current)?;
    if call.open == 0 {
        count(current, 1);
    } else if call.done == 0 {
        unreturned(call);
    }
    *call = Call {
        sock: sock.address,
        memory,
        entered_ns: now,
        returned_ns: 0,
        done: 0,
        seq,
        caller: if memory.sent != 0 {
            task::caller(connection, seq, current)
        } else {
            Task::NONE
        },
        unix: sock.unix as u8,
        open: 1,
        kind: current.kind,
        timer: moment.timer as u8,
        turn: moment.turn,
        reads: moment.reads,
    };
    None
}

/// The place of a thread.
#[inline(always)]
fn place(current: Current) -> Option<&'static mut Call> {
    let key = current.key();
    let mut place = CALLS.get_ptr_mut(key);
    if place.is_none() {
        #[expect(
            clippy::needless_borrows_for_generic_args,
            reason = "by value it would be copied to the stack"
        )]
        let made = CALLS.insert(key, &NONE, 0);
        if made.is_err() {
            emit::lost(Loss::CallsFull);
        }
        place = CALLS.get_ptr_mut(key);
    }
    place.map(|call| unsafe { &mut *call })
}

/// The return of this call was missed.
#[inline(always)]
fn unreturned(call: &Call) {
    emit::lost(Loss::Unpaired);
    if call.unix != 0
        && let Some(lost) = connection::get(call.sock)
    {
        // Nothing will ever tell how much it moved.
        unsafe { (*lost).turn_opaque() };
    }
}

/// How many calls are in progress in threads of its number.
#[inline(always)]
fn counter(current: Current) -> Option<*mut u64> {
    // Threads that are made one after the other are to have numbers far apart: they run on different processors.
    IN_PROGRESS.get_ptr_mut(current.tid.wrapping_mul(0x9e37_79b1) / (u32::MAX / NUMBERS + 1))
}

#[inline(always)]
fn count(current: Current, more: u64) {
    if let Some(counter) = counter(current) {
        unsafe { atomic::add(counter, more) };
    }
}

/// The call that the current thread is in.
#[inline(always)]
fn in_progress(current: Current) -> Option<&'static mut Call> {
    if unsafe { counter(current)?.read_volatile() } == 0 {
        return None;
    }
    let call = CALLS.get_ptr_mut(current.key()).map(|call| unsafe { &mut *call });
    call.filter(|call| call.open != 0)
}

/// The current thread returns from its call, if it is in one; `result` is what it returns: bytes, messages or an error.
#[inline(always)]
pub fn end(result: i64, current: Current, repeat: &impl Repeat) -> bool {
    let Some(call) = in_progress(current) else {
        return false;
    };
    call.open = 0;
    count(current, u64::MAX);
    if result > 0 {
        framed(call, result as u64, current, repeat);
    }
    true
}

/// The current thread returns with bytes that it has read. TCP tells which these are: the last that were taken from the stream. If they end
/// before what was seen, it was another stream.
#[inline(always)]
pub fn read(sock: Sock, memory: Memory, moved: u64, current: Current, repeat: &impl Repeat) {
    let Some(known) = connection::used(sock, Maker::Read, moved as u32) else {
        turn::reads(current);
        return;
    };
    let is_tls = tls::carries(sock, known, false);
    let connection = unsafe { &*known };
    let is_given = is_tls && connection.is_joined();
    let now = unsafe { bpf_ktime_get_boot_ns() };
    // What a library reads says nothing before it gives it.
    let moment = if is_given {
        turn::Moment::NONE
    } else {
        turn::reads_at(current, now)
    };
    if is_tls || connection.ignored() {
        return;
    }
    let seq = first_read(sock, moved as u32, connection.received.seq);
    if seq.wrapping_sub(connection.received.seq) >= 1 << 31 {
        return emit::lost(Loss::Unpaired);
    }
    let call = Call {
        returned_ns: now,
        ..returned(sock, memory, seq, moment, current)
    };
    message::moved(&call, moved, current, Source::Socket, repeat);
}

/// The current thread returns without a byte from where it wanted to read.
#[inline(always)]
pub fn read_nothing(sock: Sock, current: Current) {
    let known = connection::known(sock);
    let is_tls = known.is_some_and(|known| tls::carries(sock, known, false));
    if !(is_tls && known.is_some_and(|known| unsafe { (*known).is_joined() })) {
        turn::reads(current);
    }
}

/// Sequence number of the first of the bytes that were read last, where this one is expected. The end of the stream takes a number too, which
/// is seen where it is one too many.
#[inline(always)]
fn first_read(sock: Sock, moved: u32, expected: u32) -> u32 {
    let first = sock.copied_seq().wrapping_sub(moved);
    if first == expected {
        first
    } else {
        sock.copied_bytes().wrapping_sub(moved)
    }
}

/// A read, which is not looked at before it returns.
#[inline(always)]
fn returned(sock: Sock, memory: Memory, seq: u32, moment: turn::Moment, current: Current) -> Call {
    Call {
        sock: sock.address,
        memory,
        entered_ns: 0,
        returned_ns: 0,
        done: 0,
        seq,
        unix: 0,
        open: 1,
        kind: current.kind,
        timer: moment.timer as u8,
        turn: moment.turn,
        reads: moment.reads,
        caller: Task::NONE,
    }
}

/// The current thread may have moved bytes of the sock in its call: how many is taken from TCP itself.
#[inline(always)]
pub fn progress(sock: Sock, current: Current, repeat: &impl Repeat) {
    let Some(call) = in_progress(current) else { return };
    if call.sock != sock.address {
        return;
    }
    let now = if call.memory.sent != 0 {
        sock.write_seq()
    } else {
        sock.copied_bytes()
    };
    let total = now.wrapping_sub(call.seq) as u64;
    // What lies behind is no progress.
    if total < 1 << 31 {
        let before = *call;
        call.done = total;
        framed(&before, total, current, repeat);
    }
}

/// A call has received bytes of which nobody knew that it was waiting for them: from here on it is one in progress that is about to return.
#[inline(always)]
pub fn join(sock: Sock, memory: Memory, moved: u64, current: Current) -> Option<()> {
    if in_progress(current).is_some() {
        return None;
    }
    let now = sock.copied_bytes();
    let first = now.wrapping_sub(moved as u32);
    let known = connection::get(sock.address);
    if let Some(known) = known
        && unsafe { (*known).received.seq } != first
    {
        // It was seen.
        return None;
    }
    let connection = unsafe { &mut *connection::used(sock, Maker::Read, moved as u32)? };
    if connection.ignored() || connection.is_tls() {
        return None;
    }
    turn::reads(current);
    let moment = turn::moment(current, 0);
    let call = place(current)?;
    count(current, 1);
    *call = returned(sock, memory, first, moment, current);
    Some(())
}

/// Forgets a thread that ends, in a call or not.
#[inline(always)]
pub fn forget(current: Current) {
    if in_progress(current).is_some() {
        count(current, u64::MAX);
    }
    let _ = CALLS.remove(current.key());
    tls::forget(current);
    turn::forget(current);
}

/// A program is run by this thread, which had another number if it was not the first of its process: that one will never be told to end.
#[inline(always)]
pub fn renumbered(current: Current, before: u32) {
    if before != current.tid {
        let _ = CALLS.remove(
            Current {
                tid: before,
                ..current
            }
            .key(),
        );
    }
}

/// Frames what was moved since the last time.
#[inline(always)]
fn framed(call: &Call, total: u64, current: Current, repeat: &impl Repeat) {
    if total > call.done {
        let current = Current {
            kind: call.kind,
            ..current
        };
        message::moved(call, total - call.done, current, Source::Socket, repeat);
    }
}
