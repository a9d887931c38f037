//! The records the kernel side puts into the ring buffer, byte for byte.
//!
//! Every record begins with its `kind: u32` and `size: u32` (of the whole record, captured bytes
//! included), and is a multiple of 8 bytes up to the captured bytes. All times are nanoseconds of
//! `CLOCK_BOOTTIME`; all process and thread ids are those of the initial pid namespace.

/// What a record is; the first word of each.
pub mod kind {
    /// [`super::DataRecord`]
    pub const DATA: u32 = 1;
    /// [`super::OpenRecord`]
    pub const OPEN: u32 = 2;
    /// [`super::CloseRecord`]
    pub const CLOSE: u32 = 3;
    /// [`super::ProcessRecord`]
    pub const PROCESS: u32 = 4;
    /// [`super::AskRecord`]
    pub const ASK: u32 = 5;
    /// [`super::StreamRecord`]
    pub const STREAM: u32 = 6;
    /// [`super::CoroutineRecord`]
    pub const COROUTINE: u32 = 7;
}

/// Bits of [`DataRecord::flags`].
pub mod data_flags {
    /// The bytes were written by the process; without it they were read.
    pub const SENT: u32 = 1 << 0;
    /// The bytes belong to the head of a message (start line, headers, blank line).
    pub const HEAD: u32 = 1 << 1;
    /// The first byte is the first of a head, or of a frame.
    pub const HEAD_START: u32 = 1 << 2;
    /// The last byte is the last of a head: the line feed of its blank line.
    pub const HEAD_END: u32 = 1 << 3;
    /// The last byte is the last of a message, body and trailers included.
    pub const MESSAGE_END: u32 = 1 << 4;
    /// Head bytes were passed over: `captured < len` because the head exceeds its bound.
    pub const TRUNCATED: u32 = 1 << 5;
    /// Bytes of this range could not be read from user memory or were not seen: what they were is not known.
    pub const UNKNOWN: u32 = 1 << 6;
    /// From here on the connection is not HTTP (another protocol, an upgrade, a tunnel): no more data follows.
    pub const OPAQUE: u32 = 1 << 7;
    /// With `HEAD_END`: the head is that of a request of which the caller says that it is not sampled. Nothing of it is
    /// captured, or nothing of its last piece.
    pub const UNSAMPLED_REQUEST: u32 = 1 << 8;
    /// The same for the response to such a request.
    pub const UNSAMPLED_RESPONSE: u32 = 1 << 9;
    /// The task handed the bytes to whoever made the call.
    pub const HANDED: u32 = 1 << 10;
    /// A timer of the thread's event loop may have expired in this turn before the call.
    pub const TIMER: u32 = 1 << 11;
    /// The bytes are frames of HTTP/2: see [`super::DataRecord`].
    pub const HTTP2: u32 = 1 << 12;
    /// The bytes are those that a TLS library was given or gave: offset, length and sequence number count them, from the sequence
    /// number of the connection's first byte on, so that they are equal at both ends too.
    pub const DECRYPTED: u32 = 1 << 13;
    /// With `DECRYPTED`: such bytes may have passed before the first that was seen, so that the sequence number says nothing.
    pub const APART: u32 = 1 << 14;
    /// The process has no goroutines, and another thread seems to have had the call made: [`super::DataRecord::maker`] says in its low half which has
    /// taken the connection, in its high half which had that do so, 0 where none is known, and [`super::DataRecord::task`] when. Of bytes that
    /// were received: who has others make calls is known in this process; it is the thread itself.
    pub const BY_THREAD: u32 = 1 << 15;
    /// A task of tokio has sent: [`super::DataRecord::maker`] has the last digits of its number in the low half, in the high half those of the one that has
    /// woken or made it last, 0 where none is known, and [`super::DataRecord::task`] when that was.
    pub const BY_TASK: u32 = 1 << 16;
}

/// The first nine bytes of a frame of HTTP/2 (RFC 9113 §4.1): length, type, flags, stream.
pub mod frame {
    /// Its size.
    pub const HEADER: u32 = 9;
    /// In a captured one, of the byte at [`KEPT_AT`]: the payload follows. It is the bit that is reserved in the stream's number.
    pub const KEPT: u8 = 1 << 7;
    /// See [`KEPT`].
    pub const KEPT_AT: usize = 5;
    /// The bytes of a message.
    pub const DATA: u8 = 0;
    /// Header fields, the first of them.
    pub const HEADERS: u8 = 1;
    /// A stream ends before it should.
    pub const RST_STREAM: u8 = 3;
    /// Settings of the connection.
    pub const SETTINGS: u8 = 4;
    /// Header fields of a request that nobody made.
    pub const PUSH_PROMISE: u8 = 5;
    /// Whether the peer is there.
    pub const PING: u8 = 6;
    /// More bytes are taken.
    pub const WINDOW_UPDATE: u8 = 8;
    /// Header fields that go on.
    pub const CONTINUATION: u8 = 9;
    /// `SETTINGS`, `PING`: it confirms one of the other end.
    pub const ACK: u8 = 1 << 0;
    /// `HEADERS`, `CONTINUATION`: the fields end with this frame.
    pub const END_HEADERS: u8 = 1 << 2;
}

/// Bytes that passed over a connection in one direction.
///
/// One record covers a piece of a head (then `captured` bytes follow the struct) or a run of body
/// (`captured == 0`), never both. Body runs of several calls are joined into one record.
///
/// Of HTTP/2 one record covers whatever passed in a call, and captured are of each frame the nine bytes before its payload,
/// and the payload where these say so ([`frame::KEPT`]). The record begins with a frame ([`data_flags::HEAD_START`]) or in a
/// payload that an earlier record began. Without captured bytes it is the rest of a payload.
/// Invariants: `captured <= len`; records of one direction come in order of `offset` and cover the
/// stream without holes unless one was lost.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataRecord {
    /// [`kind::DATA`]
    pub kind: u32,
    /// Size of the record with its captured bytes.
    pub size: u32,
    /// The connection, never reused while the agent runs.
    pub connection: u64,
    /// Stream offset of the first byte covered, counted from where the agent first saw the connection.
    pub offset: u64,
    /// Number of stream bytes covered.
    pub len: u64,
    /// Sent: when the first call was entered. Received: when the first call returned.
    pub start_ns: u64,
    /// When the last call returned.
    pub end_ns: u64,
    /// The goroutine or the virtual thread of Java that made the call, or with [`data_flags::HANDED`] the one it was made for; 0 where there is none.
    pub task: u64,
    /// Process that made the call.
    pub tgid: u32,
    /// Thread that made the call.
    pub tid: u32,
    /// TCP sequence number of the first byte covered, for Unix sockets its place in the stream: equal at both ends of the
    /// connection.
    pub seq: u32,
    /// [`data_flags`]
    pub flags: u32,
    /// Number of captured bytes that follow this struct.
    pub captured: u32,
    /// For a piece of a head: the number of the exchange it belongs to, counted on this connection from 1. A request and
    /// its responses have the same, whatever is lost between them. 0 where it is not known: before the start line is
    /// whole, and from where the kernel side itself has lost its place in this direction.
    pub exchange: u32,
    /// The goroutine that made `task`, 0 where that is not known. Without a goroutine: the coroutine that makes a call which sends, 0 where
    /// there is none. See also [`data_flags::BY_THREAD`].
    pub maker: u64,
    /// The turn of its event loop in which the thread made the call: how often it has waited for many files at once. 0 where it is
    /// no loop.
    pub turn: u32,
    /// How often the thread has read in that turn, this call included if it did.
    pub reads: u32,
}

/// Bits of [`OpenRecord::flags`].
pub mod open_flags {
    /// This end called `connect`.
    pub const CONNECTED: u32 = 1 << 0;
    /// This end was accepted from a listening socket.
    pub const ACCEPTED: u32 = 1 << 1;
    /// The connection was already open when it was first seen: bytes may have passed before.
    pub const MID_STREAM: u32 = 1 << 2;
    /// The connection belongs to the agent itself: it is reported only so that its other end can be left out.
    pub const OWN: u32 = 1 << 3;
    /// The connection is between two Unix sockets.
    pub const UNIX: u32 = 1 << 4;
    /// [`super::data_flags::TIMER`] for the call of `connect`.
    pub const TIMER: u32 = 1 << 5;
}

/// Most bytes of the path of a Unix socket.
pub const PATH_MAX: usize = 108;

/// An end of a connection between Unix sockets, as it stands in place of an address: both ends have the same number.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnixEnd {
    /// Inode number of one of the two sockets, which tells the connection from all that are open; 0 where it is not known.
    pub pair: u64,
    /// 1 for the end that the inode is of, else 0.
    pub first: u64,
}

impl UnixEnd {
    /// As it stands in the record.
    pub const fn bytes(self) -> [u8; 16] {
        (self.pair as u128 | (self.first as u128) << 64).to_le_bytes()
    }

    /// Read from where [`Self::bytes`] are.
    pub const fn of(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, first @ ..] = bytes;
        Self {
            pair: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            first: u64::from_le_bytes(first),
        }
    }
}

/// One end of a connection, seen for the first time. Of a Unix socket `path` bytes of its path follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenRecord {
    /// [`kind::OPEN`]
    pub kind: u32,
    /// Size of the record.
    pub size: u32,
    /// The connection.
    pub connection: u64,
    /// When `connect` began, or when the connection was first used.
    pub start_ns: u64,
    /// When the connection was established; 0 when that is not known.
    pub established_ns: u64,
    /// Process and thread that opened or first used it.
    pub tgid: u32,
    /// See `tgid`.
    pub tid: u32,
    /// Inode number of its network namespace.
    pub netns: u32,
    /// [`open_flags`]
    pub flags: u32,
    /// Local address as IPv6; IPv4 as v4-mapped. With [`open_flags::UNIX`] a [`UnixEnd`].
    pub local_addr: [u8; 16],
    /// Peer address, in the same form.
    pub peer_addr: [u8; 16],
    /// Local port, host byte order.
    pub local_port: u16,
    /// Peer port, host byte order.
    pub peer_port: u16,
    /// With [`open_flags::UNIX`]: bytes of the path that the server listens on, which follow this struct; it begins with a
    /// zero where it is an abstract name. Else 0.
    pub path: u32,
    /// Name of the process (`task_struct.comm`).
    pub comm: [u8; 16],
    /// See [`DataRecord::turn`], of the call of `connect`; 0 for an end that was accepted.
    pub turn: u32,
    /// See [`DataRecord::reads`].
    pub reads: u32,
}

/// One end of a connection is closed, or a `connect` failed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseRecord {
    /// [`kind::CLOSE`]
    pub kind: u32,
    /// Size of the record.
    pub size: u32,
    /// The connection.
    pub connection: u64,
    /// When it was closed.
    pub at_ns: u64,
    /// All bytes received by the process, from where the agent first saw the connection.
    pub received: u64,
    /// All bytes sent by the process, from where the agent first saw the connection.
    pub sent: u64,
    /// When the last byte was received; 0 if none.
    pub last_received_ns: u64,
    /// When the last byte was sent; 0 if none.
    pub last_sent_ns: u64,
    /// `errno` that ended it (`ECONNRESET`, `ETIMEDOUT`, `ECONNREFUSED`…), 0 for an orderly end.
    pub errno: u32,
    /// 1 when the connection was never established.
    pub failed: u32,
}

/// What happened to a process.
pub mod process_event {
    /// A selected process made a new process, selected too.
    pub const FORK: u32 = 1;
    /// A process runs a new program.
    pub const EXEC: u32 = 2;
    /// The last thread of a process ended.
    pub const EXIT: u32 = 3;
    /// A process was selected by what it did (it listens on a selected port).
    pub const SELECTED: u32 = 4;
}

/// The life of a selected process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessRecord {
    /// [`kind::PROCESS`]
    pub kind: u32,
    /// Size of the record.
    pub size: u32,
    /// When.
    pub at_ns: u64,
    /// [`process_event`]
    pub event: u32,
    /// The process.
    pub tgid: u32,
    /// Its parent for [`process_event::FORK`], else 0.
    pub parent: u32,
    /// Always 0.
    pub reserved: u32,
    /// Name of the process (`task_struct.comm`) after the event.
    pub comm: [u8; 16],
}

/// A goroutine begins to work on one of the requests that a connection of HTTP/2 carries at once, or has one sent: others read and write for it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamRecord {
    /// [`kind::STREAM`]
    pub kind: u32,
    /// Size of the record.
    pub size: u32,
    /// The connection; 0 where it is not known yet, of a goroutine that is about to have a request sent by one that it makes.
    pub connection: u64,
    /// When.
    pub at_ns: u64,
    /// The goroutine.
    pub task: u64,
    /// The goroutine that made it, 0 where that is not known.
    pub maker: u64,
    /// Its process.
    pub tgid: u32,
    /// The stream, 0 where it is not known yet.
    pub stream: u32,
}

/// A coroutine has made another.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoroutineRecord {
    /// [`kind::COROUTINE`]
    pub kind: u32,
    /// Size of the record.
    pub size: u32,
    /// When.
    pub at_ns: u64,
    /// The new one, by the number that [`DataRecord::maker`] has for it; one that had it before is over.
    pub coroutine: u64,
    /// The one that made it.
    pub maker: u64,
    /// Their process.
    pub tgid: u32,
    /// The thread that runs them.
    pub tid: u32,
}

/// A process runs a program that only the user side can judge. Not part of the way of the data: it is answered, and
/// neither recorded nor told to anyone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskRecord {
    /// [`kind::ASK`]
    pub kind: u32,
    /// Size of the record.
    pub size: u32,
    /// The program, to be known by the next time; all zero if the kernel does not say.
    pub exe: crate::layout::Exe,
    /// The process.
    pub tgid: u32,
    /// What its control group and its network namespace say: one of [`crate::layout::process`].
    pub place: u32,
}

const _: () = assert!(size_of::<AskRecord>() == 32);
const _: () = assert!(size_of::<DataRecord>() == 96);
const _: () = assert!(size_of::<OpenRecord>() == 112);
const _: () = assert!(size_of::<CloseRecord>() == 64);
const _: () = assert!(size_of::<ProcessRecord>() == 48);
const _: () = assert!(size_of::<StreamRecord>() == 48);
const _: () = assert!(size_of::<CoroutineRecord>() == 40);
