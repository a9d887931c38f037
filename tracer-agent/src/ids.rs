//! The small types that every stage speaks: ids, times and places that cannot be mixed up.

use std::{
    fmt,
    num::{NonZeroU64, NonZeroU128},
};

/// A W3C trace id: 16 bytes, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

/// A W3C span (parent) id: 8 bytes, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId([u8; 8]);

macro_rules! id {
    ($name:ident, $len:literal) => {
        impl $name {
            /// The id of these bytes; `None` if all are zero, which the specification forbids.
            pub fn new(bytes: [u8; $len]) -> Option<Self> {
                (bytes != [0; $len]).then_some(Self(bytes))
            }

            /// The id as bytes, never all zero.
            pub const fn bytes(self) -> [u8; $len] {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{self}")
            }
        }
    };
}

id!(TraceId, 16);
id!(SpanId, 8);

impl From<NonZeroU128> for TraceId {
    fn from(number: NonZeroU128) -> Self {
        Self(number.get().to_be_bytes())
    }
}

impl From<NonZeroU64> for SpanId {
    fn from(number: NonZeroU64) -> Self {
        Self(number.get().to_be_bytes())
    }
}

/// Nanoseconds of `CLOCK_BOOTTIME`: the only clock of the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BootNanos(pub u64);

impl BootNanos {
    /// Nanoseconds from `earlier` to `self`, 0 if `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This time, `nanos` later.
    #[must_use]
    pub const fn plus(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

/// One end of a connection, as the kernel side numbers it: never reused while the agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A place in one direction of a connection, counted from where the agent first saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamOffset(pub u64);

/// A process (thread group) id in the initial pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(pub u32);

/// A place in the work of a thread that runs an event loop: what has the place of a read was done after that read and before the
/// next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// How often the thread has waited for many files at once, from 1; it wraps around.
    pub turn: u32,
    /// How often it has read since, this read included; 0 where what was done does not follow from a read.
    pub reads: u32,
    /// A timer may have expired in the turn before.
    pub timer: bool,
    /// When the call was entered that writes or connects, or that which reads returned.
    pub at: BootNanos,
}

/// Who made a task of the same process, or had it do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// A goroutine, which made this one.
    Goroutine(NonZeroU64),
    /// A thread that has taken the connection for this one to send on, if it has not done that itself.
    Thread {
        /// It.
        taker: u32,
        /// The one that has woken or made it for that; 0 where none is known.
        waker: u32,
        /// When that was.
        at: BootNanos,
    },
    /// A task of tokio sends, which any thread may poll.
    Coroutine {
        /// The one that has handed something to it, which it waited for, or has made it, where that is known.
        waker: Option<Coroutine>,
        /// When that was.
        at: BootNanos,
    },
}

impl Maker {
    /// This thread took the connection, for whomever.
    pub const fn took(taker: u32) -> Self {
        Self::Thread {
            taker,
            waker: 0,
            at: BootNanos(0),
        }
    }

    /// Whether it is known who has woken the thread.
    pub const fn was_woken(&self) -> bool {
        matches!(self, Self::Thread { waker: 1.., .. })
    }
}

/// A coroutine among those of its process that are not over: another may have the same number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Coroutine(pub NonZeroU64);

impl Moment {
    /// Whether both are between the same two reads.
    pub fn is_at(self, other: Self) -> bool {
        (self.turn, self.reads) == (other.turn, other.reads)
    }
}

/// The unit that runs code for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task {
    /// The process.
    pub pid: Pid,
    /// The thread; 0 for a goroutine, which may run in any.
    pub tid: u32,
    /// The goroutine, or the virtual thread of Java; 0 where there is none.
    pub context: u64,
}

impl Task {
    /// A thread, where it is what works on a request.
    pub const fn thread(pid: Pid, tid: u32) -> Self {
        Self { pid, tid, context: 0 }
    }

    /// A goroutine.
    pub const fn goroutine(pid: Pid, goroutine: u64) -> Self {
        Self {
            pid,
            tid: 0,
            context: goroutine,
        }
    }

    /// Every task of a process.
    pub const fn all_of(pid: Pid) -> std::ops::RangeInclusive<Self> {
        let first = Self::thread(pid, 0);
        let last = Self {
            pid,
            tid: u32::MAX,
            context: u64::MAX,
        };
        std::ops::RangeInclusive::new(first, last)
    }

    /// Whether it is a goroutine.
    pub const fn is_goroutine(self) -> bool {
        self.context != 0
    }
}
