//! Calls in progress: what the entry of a call knows is kept by thread until its return says how many bytes moved.
//!
//! ```text
//!          begin                      end(moved)
//!   none ─────────▶ in progress ──────────────────▶ framed, none
//!                    │   ▲  │ end of the thread ──▶ none
//!                    │   └──┘ progress ─▶ framed that far
//!                    └─ begin: the return was not seen ─▶ counted, in progress
//! ```

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_ktime_get_boot_ns, macros::map, maps::HashMap};
use tracer_common::Loss;

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

/// A call in progress.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    /// `struct sock *`
    pub sock: u64,
    /// What it moves.
    pub memory: Memory,
    /// When it was entered.
    pub entered_ns: u64,
    /// Bytes that were framed before it returned.
    pub done: u64,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// 1 for a Unix socket.
    pub unix: u16,
    /// See [`Current::goroutines`].
    pub goroutines: u16,
    /// The goroutine that has another make the call.
    pub caller: Task,
}

impl Call {
    /// None: 5.10 reads nothing from the stack that was not written there.
    pub const NONE: Self = Self {
        sock: 0,
        memory: Memory::unseen(false),
        entered_ns: 0,
        done: 0,
        seq: 0,
        unix: 0,
        goroutines: 0,
        caller: Task::NONE,
    };
}

/// Thread to the call it is in.
#[map]
static CALLS: HashMap<u64, Call> = HashMap::with_max_entries(16384, 0);

/// A thread that is selected enters a call on a socket.
#[inline(always)]
pub fn begin(sock: Sock, memory: Memory, current: Current) -> Option<()> {
    let maker = if memory.sent != 0 {
        Maker::Write
    } else {
        Maker::Read
    };
    let known = connection::used(sock, maker);
    let is_tls = !sock.unix && known.is_some_and(|known| tls::carries(sock, known, memory.sent != 0));
    // What a library reads says nothing before it gives it.
    let is_given = is_tls && known.is_some_and(|known| unsafe { (*known).is_joined() });
    if memory.sent == 0 && !is_given {
        turn::reads(current);
    }
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
    let call = Call {
        sock: sock.address,
        memory,
        entered_ns: unsafe { bpf_ktime_get_boot_ns() },
        done: 0,
        seq,
        caller: if memory.sent != 0 && current.goroutines != 0 {
            task::caller(connection, seq)
        } else {
            Task::NONE
        },
        unix: sock.unix as u16,
        goroutines: current.goroutines as u16,
    };
    let key = current.key();
    if CALLS.insert(key, call, BPF_NOEXIST as u64).is_err() {
        if let Some(old) = CALLS.get_ptr(key)
            && unsafe { (*old).done } == 0
        {
            emit::lost(Loss::Unpaired);
            let old = unsafe { &*old };
            if old.unix != 0
                && let Some(lost) = connection::get(old.sock)
            {
                // Nothing will ever tell how much it moved.
                unsafe { (*lost).turn_opaque() };
            }
        }
        if CALLS.insert(key, call, 0).is_err() {
            emit::lost(Loss::CallsFull);
        }
    }
    None
}

/// The current thread returns from its call; `result` is what it returns: bytes, messages or an error.
#[inline(always)]
pub fn end(result: i64, current: Current, repeat: &impl Repeat) {
    let key = current.key();
    let Some(known) = CALLS.get_ptr(key) else { return };
    let call = unsafe { *known };
    let _ = CALLS.remove(key);
    if result > 0 {
        framed(&call, result as u64, current, repeat);
    }
}

/// The current thread may have moved bytes of the sock in its call: how many is taken from TCP itself.
#[inline(always)]
pub fn progress(sock: Sock, current: Current, repeat: &impl Repeat) {
    let Some(known) = CALLS.get_ptr_mut(current.key()) else {
        return;
    };
    let call = unsafe { *known };
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
        unsafe { (*known).done = total };
        framed(&call, total, current, repeat);
    }
}

/// A call has received bytes of which nobody knew that it was waiting for them.
#[inline(always)]
pub fn join(sock: Sock, memory: Memory, moved: u64, current: Current, repeat: &impl Repeat) -> Option<()> {
    if CALLS.get_ptr(current.key()).is_some() {
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
    let connection = unsafe { &mut *connection::used(sock, Maker::Read)? };
    if connection.ignored() || connection.is_tls() {
        return None;
    }
    connection.received.seq = first;
    turn::reads(current);
    let call = Call {
        sock: sock.address,
        memory,
        entered_ns: 0,
        done: 0,
        seq: first,
        unix: 0,
        goroutines: current.goroutines as u16,
        caller: Task::NONE,
    };
    framed(&call, moved, current, repeat);
    None
}

/// Forgets a thread that ends, in a call or not.
#[inline(always)]
pub fn forget(current: Current) {
    let _ = CALLS.remove(current.key());
    tls::forget(current);
    turn::forget(current);
}

/// Frames what was moved since the last time.
#[inline(always)]
fn framed(call: &Call, total: u64, current: Current, repeat: &impl Repeat) {
    if total > call.done {
        let current = Current {
            goroutines: call.goroutines as u8,
            ..current
        };
        message::moved(call, total - call.done, current, Source::Socket, repeat);
    }
}
