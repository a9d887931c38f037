//! HTTP/2 (RFC 9113): of each frame the nine bytes before its payload are delivered, and the payload where it holds header fields
//! or why a stream was ended. Everything else is passed over.
//!
//! A call makes one piece of all that begins in it. What stands before a payload is delivered whole, even where it came in two
//! calls: the first bytes are held like a run. So the agent finds each frame whatever was lost before it.

use super::{HEAD_MAX, PAYLOAD_MASK, Port, Work, deliver, forget, hold, not_http};
use crate::{
    lane::{State, fact},
    loss::Loss,
    record::{data_flags as flag, frame},
    unaligned,
};

/// Most bytes of one header block that are delivered. What is beyond makes the fields that follow on the connection unknown, so it
/// is more than any server takes by default.
pub const BLOCK_MAX: u32 = 131_072;

/// What follows `PRI * HTTP/2.0` and its line end in the preface of a client (RFC 9113 §3.4).
const PREFACE_REST: u64 = 8;
/// Largest payload that is not agreed on by `SETTINGS`.
const USUAL_PAYLOAD: u32 = 16_384;
/// A `SETTINGS` frame has 6 bytes a setting, and nobody sends more than these.
const SETTINGS_MAX: u32 = 6 * 32;

/// What stands before a payload.
#[derive(Clone, Copy)]
struct Header {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Header {
    #[inline(always)]
    const fn of(word: u64, last: u8) -> Self {
        let [a, b, c, kind, flags, d, e, f] = word.to_le_bytes();
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([d, e, f, last]),
        }
    }

    /// The first frame that a server sends (RFC 9113 §3.4).
    #[inline(always)]
    const fn is_first_settings(self) -> bool {
        self.kind == frame::SETTINGS
            && self.flags == 0
            && self.stream == 0
            && self.length <= SETTINGS_MAX
            && self.length.is_multiple_of(6)
    }

    /// What can hardly be anything else, in the middle of a stream.
    #[inline(always)]
    const fn is_unmistakable(self) -> bool {
        let on_connection = self.stream == 0;
        match self.kind {
            frame::HEADERS => {
                !on_connection
                    && self.stream >> 31 == 0
                    && self.length > 0
                    && self.length <= USUAL_PAYLOAD
                    && self.flags & 0xd2 == 0
                    && self.flags & frame::END_HEADERS != 0
            }
            frame::SETTINGS => {
                (self.flags == frame::ACK && on_connection && self.length == 0)
                    || (self.is_first_settings() && self.length != 0)
            }
            frame::PING => on_connection && self.length == 8 && self.flags <= frame::ACK,
            frame::WINDOW_UPDATE => self.length == 4 && self.flags == 0 && self.stream >> 31 == 0,
            _ => false,
        }
    }

    /// Its payload is delivered, as long as there is room.
    #[inline(always)]
    const fn is_of_interest(self) -> bool {
        matches!(
            self.kind,
            frame::HEADERS | frame::CONTINUATION | frame::PUSH_PROMISE | frame::RST_STREAM
        )
    }
}

/// Whether bytes from the middle of a stream begin with a frame, as sure as can be.
pub const fn starts_frame(bytes: &[u8]) -> bool {
    match bytes {
        [0, b, c, kind, flags, d, e, f, g, ..] => {
            Header::of(u64::from_le_bytes([0, *b, *c, *kind, *flags, *d, *e, *f]), *g).is_unmistakable()
        }
        _ => false,
    }
}

/// Whether the window begins with a frame: the first of a server, or any in the middle of a stream.
#[inline(always)]
pub(super) fn window_starts_frame(work: &Work, first: u8) -> bool {
    if first != 0 {
        return false;
    }
    if work.lane.state == State::IDLE {
        return true;
    }
    let header = Header::of(work.word(work.window), work.byte(work.window.wrapping_add(8)));
    work.window_len >= frame::HEADER && header.is_unmistakable()
}

/// Whether the line that ended is the preface of a client. Nothing of it is delivered.
#[inline(always)]
pub(super) fn begins_preface(work: &mut Work) -> bool {
    let is_preface = work.lane.line_len == 16
        && work.carry_word(0) == u64::from_le_bytes(*b"PRI * HT")
        && work.carry_word(8) == u64::from_le_bytes(*b"TP/2.0\r\n");
    if is_preface {
        work.out_len = 0;
        work.lane.facts = fact::RUN;
        work.lane.run_offset = work.piece_offset;
        work.lane.run_seq = work.piece_seq;
        work.lane.run_start_ns = work.start_ns;
        work.lane.state = State::PAYLOAD;
        work.lane.remaining = PREFACE_REST;
        work.lane.head_len = 0;
    }
    is_preface
}

/// Takes what there is of the nine bytes before a payload.
#[inline(always)]
pub(super) fn frame<P: Port>(work: &mut Work, port: &mut P) {
    let before = work.lane.line_len;
    if before >= frame::HEADER {
        // Not reached; it tells the verifier.
        work.lane.line_len = 0;
        return;
    }
    super::keep_beginning(work);
    let missing = frame::HEADER - before;
    let len = if work.window_len < missing {
        work.window_len
    } else {
        missing
    };
    let is_whole = len == missing;
    if before == 0 && (work.frames == 0 || !is_whole) {
        hold(work);
    }
    work.lane.line_len = before.wrapping_add(len);
    work.consume(len as u64);
    if is_whole {
        header_whole(work, port);
    }
}

#[inline(always)]
fn header_whole<P: Port>(work: &mut Work, port: &mut P) {
    let (word, last) = (work.carry_word(0), work.carry_byte(8));
    let header = Header::of(word, last);
    if work.lane.is(fact::START_LINE) {
        work.lane.facts &= !fact::START_LINE;
        if !header.is_first_settings() {
            work.piece_offset = work.lane.run_offset;
            work.piece_seq = work.lane.run_seq;
            work.lane.facts &= !fact::RUN;
            not_http(work, port);
            return;
        }
    }
    if work.frames == 0 {
        begin_piece(work);
        work.piece_flags = flag::HEAD_START;
    }
    // What was held of it is in the piece.
    work.lane.facts &= !fact::RUN;
    let kept = header.is_of_interest() && header.stream != 0 && has_room(work, port, header);
    let kept = forget(&mut work.found, kept as u32) != 0;
    let bit = (frame::KEPT as u64) << (8 * frame::KEPT_AT);
    put_header(work, if kept { word | bit } else { word & !bit }, last);
    work.lane.remaining = header.length as u64;
    work.lane.line_len = 0;
    work.lane.state = if header.length == 0 {
        State::FRAME
    } else if kept {
        State::BLOCK
    } else {
        State::PAYLOAD
    };
}

/// Captures what stands before a payload. If its first bytes came in another call, there is less of it in the window.
#[inline(always)]
fn put_header(work: &mut Work, word: u64, last: u8) {
    let at = (work.out_len & PAYLOAD_MASK) as usize;
    // SAFETY: a masked index is followed by CARRY more bytes of the payload.
    #[expect(
        unsafe_code,
        reason = "an eight-byte store at any index, in bounds by the mask"
    )]
    unsafe {
        unaligned::store(work.payload.as_mut_ptr().add(at), word);
    }
    work.payload[at + 8] = last;
    work.out_len = work.out_len.wrapping_add(frame::HEADER);
    if work.window < work.out_len {
        work.window_len = 0;
    }
}

/// Begins a piece with the first byte of a frame, which is held.
#[inline(always)]
fn begin_piece(work: &mut Work) {
    work.frames = 1;
    work.out_len = 0;
    if work.lane.is(fact::RUN) {
        work.piece_offset = work.lane.run_offset;
        work.piece_seq = work.lane.run_seq;
    } else {
        work.piece_offset = work.lane.offset.wrapping_sub(frame::HEADER as u64);
        work.piece_seq = work.lane.seq.wrapping_sub(frame::HEADER);
    }
}

/// Counts the bytes of the block; without room for all of the frame nothing of it is delivered.
#[inline(always)]
fn has_room<P: Port>(work: &mut Work, port: &mut P, header: Header) -> bool {
    if header.kind == frame::RST_STREAM {
        return header.length == 4;
    }
    if header.kind != frame::CONTINUATION {
        work.lane.head_len = 0;
    }
    let before = work.lane.head_len;
    work.lane.head_len = before.saturating_add(header.length);
    if work.lane.head_len <= BLOCK_MAX {
        return true;
    }
    if before <= BLOCK_MAX {
        port.lost(Loss::HeadTruncated);
    }
    work.lane.head_len = u32::MAX;
    false
}

/// Captures the window's part of a payload.
#[inline(always)]
pub(super) fn payload_block(work: &mut Work) {
    if work.frames == 0 {
        work.frames = 1;
        work.out_len = 0;
        work.piece_offset = work.lane.offset;
        work.piece_seq = work.lane.seq;
        work.piece_flags = 0;
    }
    if work.window != work.out_len {
        // It is captured where it is loaded.
        work.window_len = 0;
        return;
    }
    let room = HEAD_MAX.saturating_sub(work.out_len);
    let len = if work.window_len < room {
        work.window_len
    } else {
        room
    };
    let len = if (len as u64) < work.lane.remaining {
        len
    } else {
        work.lane.remaining as u32
    };
    let len = forget(&mut work.found, len);
    work.out_len = work.out_len.wrapping_add(len);
    work.consume(len as u64);
    work.lane.remaining = work.lane.remaining.wrapping_sub(len as u64);
    if work.lane.remaining == 0 {
        work.lane.state = State::FRAME;
        work.lane.line_len = 0;
    }
}

/// The piece has no room for what stands before another payload.
#[inline(always)]
pub(super) const fn is_full(work: &Work) -> bool {
    work.frames != 0 && work.out_len > HEAD_MAX - frame::HEADER
}

/// Delivers the piece, up to the last frame of which all is known that stands before its payload.
#[inline(always)]
pub(super) fn frames_end<P: Port>(work: &mut Work, port: &mut P) {
    if work.frames == 0 {
        return;
    }
    work.frames = 0;
    let held = if work.lane.state == State::FRAME {
        work.lane.line_len
    } else {
        0
    };
    let end = work.lane.offset.wrapping_sub(held as u64);
    let len = end.wrapping_sub(work.piece_offset);
    if len == 0 {
        return;
    }
    let captured = if work.out_len < HEAD_MAX {
        work.out_len
    } else {
        HEAD_MAX
    };
    work.record.offset = work.piece_offset;
    work.record.seq = work.piece_seq;
    work.record.start_ns = work.start_ns;
    work.record.exchange = 0;
    deliver(work, port, len, captured, flag::HTTP2 | work.piece_flags);
    work.out_len = 0;
    work.window_len = 0;
}
