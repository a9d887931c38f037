//! Records of the kernel side, as the core sees them; `decode` reads them from their bytes.

mod decode;

use std::{num::NonZeroU32, sync::Arc};

use tracer_common::{
    layout::{Exe, process},
    record::data_flags,
};

pub use decode::RecordError;

use super::address::Address;
use crate::ids::{BootNanos, ConnectionId, Coroutine, Maker, Moment, Pid, StreamOffset, Task};

/// A record, borrowing its captured bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Bytes passed.
    Data(Data<'a>),
    /// A connection was seen for the first time.
    Open(Open),
    /// A connection ended.
    Close(Close),
    /// A process was born, changed its program, ended or was selected.
    Process(ProcessEvent),
    /// A goroutine works on a stream of HTTP/2.
    Stream(StreamTask),
    /// A coroutine has made another.
    Coroutine(CoroutineMade),
}

impl Record<'_> {
    /// When what it tells of was over.
    pub fn at(&self) -> BootNanos {
        match self {
            Self::Data(data) => data.end,
            Self::Open(open) => open.established.unwrap_or(open.start),
            Self::Close(close) => close.at,
            Self::Process(event) => event.at,
            Self::Stream(taken) => taken.at,
            Self::Coroutine(made) => made.at,
        }
    }
}

/// Which way bytes went, seen from the process that made the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The process read them.
    Received,
    /// The process wrote them.
    Sent,
}

/// See [`tracer_common::record::DataRecord`]; `captured.len() <= len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented on DataRecord")]
pub struct Data<'a> {
    pub connection: ConnectionId,
    pub direction: Direction,
    pub offset: StreamOffset,
    pub len: u64,
    pub start: BootNanos,
    pub end: BootNanos,
    pub task: Task,
    pub maker: Option<Maker>,
    pub coroutine: Option<Coroutine>,
    pub moment: Option<Moment>,
    pub seq: u32,
    pub marks: Marks,
    pub captured: &'a [u8],
    pub exchange: Option<NonZeroU32>,
}

/// What the kernel side knows of the bytes of a [`Data`]: see [`data_flags`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u32);

macro_rules! marks {
    ($($name:ident = $flag:ident;)+) => {
        impl Marks {
            $(
                #[doc = concat!("[`data_flags::", stringify!($flag), "`]")]
                pub const fn $name(self) -> bool { self.0 & data_flags::$flag != 0 }
            )+
        }
    };
}

marks! {
    head = HEAD;
    head_start = HEAD_START;
    head_end = HEAD_END;
    message_end = MESSAGE_END;
    truncated = TRUNCATED;
    unknown = UNKNOWN;
    opaque = OPAQUE;
    unsampled_request = UNSAMPLED_REQUEST;
    unsampled_response = UNSAMPLED_RESPONSE;
    handed = HANDED;
    http2 = HTTP2;
    decrypted = DECRYPTED;
    apart = APART;
}

impl Marks {
    /// The marks of these [`data_flags`] bits.
    pub const fn new(flags: u32) -> Self {
        Self(flags)
    }
}

/// See [`tracer_common::record::OpenRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented on OpenRecord")]
pub struct Open {
    pub connection: ConnectionId,
    pub start: BootNanos,
    pub established: Option<BootNanos>,
    pub pid: Pid,
    pub tid: u32,
    pub netns: u32,
    pub origin: Origin,
    pub mid_stream: bool,
    pub own: bool,
    pub moment: Option<Moment>,
    pub local: Address,
    pub peer: Address,
    /// Of a Unix socket: what its server listens on; `@` begins an abstract name.
    pub path: Option<Arc<str>>,
    /// Bytes that the path takes in the record.
    pub path_len: usize,
    pub comm: Comm,
}

/// How an end of a connection came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By `connect`.
    Connected,
    /// By `accept`.
    Accepted,
    /// It was there before it was seen.
    Unknown,
}

/// See [`tracer_common::record::CloseRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented on CloseRecord")]
pub struct Close {
    pub connection: ConnectionId,
    pub at: BootNanos,
    pub received: u64,
    pub sent: u64,
    pub last_received: Option<BootNanos>,
    pub last_sent: Option<BootNanos>,
    /// `None` for an orderly end.
    pub errno: Option<u32>,
    /// The connection was never established.
    pub failed: bool,
}

/// See [`tracer_common::record::ProcessRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented on ProcessRecord")]
pub struct ProcessEvent {
    pub at: BootNanos,
    pub pid: Pid,
    pub change: Change,
    pub comm: Comm,
}

/// See [`tracer_common::record::StreamRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented on StreamRecord")]
pub struct StreamTask {
    /// `None` where they are not known yet.
    pub stream: Option<(ConnectionId, u32)>,
    pub at: BootNanos,
    pub task: Task,
    pub maker: Option<Task>,
}

/// See [`tracer_common::record::CoroutineRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented on CoroutineRecord")]
pub struct CoroutineMade {
    pub at: BootNanos,
    pub thread: Task,
    pub coroutine: Coroutine,
    pub maker: Coroutine,
}

/// See [`tracer_common::record::AskRecord`]: not a record of what passed, but a question, which is answered and gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented on AskRecord")]
pub struct Ask {
    pub exe: Exe,
    pub pid: Pid,
    pub place: Verdict,
}

/// Whether a process is traced, as far as one rule or all of them decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Selected,
    /// It is not, whatever else speaks for it.
    Excluded,
    /// Nothing is said about it.
    Passed,
}

impl Verdict {
    /// From one of [`tracer_common::layout::process`].
    pub fn of_mark(mark: u8) -> Self {
        match mark {
            process::SELECTED | process::DUE => Self::Selected,
            process::EXCLUDED => Self::Excluded,
            _ => Self::Passed,
        }
    }

    /// As one of [`tracer_common::layout::process`].
    pub fn mark(self) -> u8 {
        match self {
            Self::Selected => process::SELECTED,
            Self::Excluded => process::EXCLUDED,
            Self::Passed => process::PASSED,
        }
    }

    /// Both together: to exclude is stronger.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Excluded, _) | (_, Self::Excluded) => Self::Excluded,
            (Self::Selected, _) | (_, Self::Selected) => Self::Selected,
            (Self::Passed, Self::Passed) => Self::Passed,
        }
    }
}

/// What happened to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Made by this parent.
    Forked(Pid),
    /// Runs a new program.
    Executed,
    /// Ended.
    Exited,
    /// Was selected by what it did.
    Selected,
}

/// `task_struct.comm`: at most 15 bytes, then zeroes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// The name, without what is not UTF-8.
    pub fn name(&self) -> String {
        let text = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}
