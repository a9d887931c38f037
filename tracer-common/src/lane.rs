//! What is remembered of one direction of a connection between two calls.

use crate::traceparent::Traceparent;

/// Where in the stream of HTTP/1 messages a direction stands.
///
/// ```text
///            first byte            blank line, no body
///   Idle ──────────────────▶ Head ─────────────────────▶ Idle
///    ▲                        │ blank line, Content-Length ─▶ Body ──── all of it ──▶ Idle
///    │                        │ blank line, chunked ─▶ ChunkSize ⇄ ChunkData
///    │                        │                            │ size 0
///    └──── blank line ────────┼──────────────────────── Trailer
///                             │ blank line, response without length ─▶ UntilClose
///                             │ 101, CONNECT 2xx, not HTTP/1, endless ─▶ Opaque
///   any ── bytes unseen or unreadable ─▶ Seek ── a call begins with a start line ─▶ Head
///
///   Idle ── the preface of HTTP/2, or its SETTINGS ─▶ Frame, and never back
///   Frame ── nine bytes, of header fields ─▶ Block ── all of it ─▶ Frame
///   Frame ── nine bytes, of anything else ─▶ Payload ── all of it ─▶ Frame
///   Seek ── a call begins with a frame ─▶ Frame
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct State(pub u8);

impl State {
    /// Between messages.
    pub const IDLE: Self = Self(0);
    /// In a start line or header.
    pub const HEAD: Self = Self(1);
    /// In a body of known length: `remaining` bytes to go.
    pub const BODY: Self = Self(2);
    /// In the line that says how long the next chunk is.
    pub const CHUNK_SIZE: Self = Self(3);
    /// In a chunk: `remaining` bytes to go, its CRLF included.
    pub const CHUNK_DATA: Self = Self(4);
    /// After the last chunk, up to a blank line.
    pub const TRAILER: Self = Self(5);
    /// In a body that ends with the connection.
    pub const UNTIL_CLOSE: Self = Self(6);
    /// The place in the stream is not known: a message is recognised only at the beginning of a call.
    pub const SEEK: Self = Self(7);
    /// Not HTTP, for good.
    pub const OPAQUE: Self = Self(8);
    /// HTTP/2: in the nine bytes before a frame's payload, of which `line_len` are in `carry`.
    pub const FRAME: Self = Self(9);
    /// HTTP/2: in a payload that is delivered: `remaining` bytes to go.
    pub const BLOCK: Self = Self(10);
    /// HTTP/2: in a payload that is passed over: `remaining` bytes to go.
    pub const PAYLOAD: Self = Self(11);

    /// The direction carries frames of HTTP/2.
    #[inline(always)]
    pub const fn is_http2(self) -> bool {
        self.0 >= Self::FRAME.0
    }
}

/// Bytes of a line that are kept for the decision about it: enough for `Content-Length: ` and 20 digits.
pub const CARRY: usize = 64;

/// Bits of [`Lane::facts`].
pub mod fact {
    /// The line is the start line of the head; or the frame is the first that the connection's server sends.
    pub const START_LINE: u8 = 1 << 0;
    /// The head is that of a response.
    pub const RESPONSE: u8 = 1 << 1;
    /// The head has a valid Content-Length.
    pub const LENGTH: u8 = 1 << 2;
    /// The head's transfer coding ends in `chunked`.
    pub const CHUNKED: u8 = 1 << 3;
    /// The head is past the bound of what is copied.
    pub const TRUNCATED: u8 = 1 << 4;
    /// Body bytes are held back for one joined record.
    pub const RUN: u8 = 1 << 5;
    /// What the held bytes are is not known.
    pub const RUN_UNKNOWN: u8 = 1 << 6;
    /// Messages may have passed that were not counted: the place in the stream was lost, for a while or from the first.
    pub const UNCOUNTED: u8 = 1 << 7;
}

/// One direction of a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Stream offset of the next byte, from where the connection was first seen.
    pub offset: u64,
    /// When the last byte passed, 0 if none did.
    pub last_ns: u64,
    /// Bytes left in the body, the chunk or the payload.
    pub remaining: u64,
    /// Content-Length of the head, valid with [`fact::LENGTH`].
    pub length: u64,
    /// Offset of the first byte of the held run, valid with [`fact::RUN`].
    pub run_offset: u64,
    /// When the first byte of the held run passed.
    pub run_start_ns: u64,
    /// TCP sequence number of the next byte.
    pub seq: u32,
    /// TCP sequence number of the first byte of the held run.
    pub run_seq: u32,
    /// Bytes of the head so far; of HTTP/2 bytes of the header block that were delivered.
    pub head_len: u32,
    /// Bytes of the unfinished line so far, or of what stands before a payload; the first [`CARRY`] of them are in `carry`.
    pub line_len: u32,
    /// Status code of a response head, 0 before it is known.
    pub status: u16,
    /// See [`State`].
    pub state: State,
    /// See [`fact`].
    pub facts: u8,
    /// See [`crate::framer::Method`]: what the request line asked for.
    pub method: u8,
    /// What the head says of sampling.
    pub traceparent: Traceparent,
    /// The first bytes of the unfinished line; the second half is room for one unconditional copy.
    pub carry: [u8; 2 * CARRY],
}

impl Lane {
    /// A direction of which every byte will be seen.
    pub const NEW: Self = Self {
        offset: 0,
        last_ns: 0,
        remaining: 0,
        length: 0,
        run_offset: 0,
        run_start_ns: 0,
        seq: 0,
        run_seq: 0,
        head_len: 0,
        line_len: 0,
        status: 0,
        state: State::IDLE,
        facts: 0,
        method: 0,
        traceparent: Traceparent::NONE,
        carry: [0; 2 * CARRY],
    };

    /// Whether a fact is known.
    #[inline(always)]
    pub const fn is(&self, fact: u8) -> bool {
        self.facts & fact != 0
    }
}

const _: () = assert!(size_of::<Lane>() == 200);
const _: () = assert!(align_of::<Lane>() == 8);
