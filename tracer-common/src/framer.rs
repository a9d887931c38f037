//! Frames HTTP messages in a stream that is seen call by call, without ever keeping a body.
//!
//! In: the bytes of a call, buffer by buffer. Out: [`DataRecord`]s: head bytes are captured, bodies are
//! counted; of HTTP/2 (`frames`) what stands before each payload is captured, and header fields. The same code runs in the kernel (where a `Port` reads user memory and writes to the ring) and in
//! the agent (packet captures, tests, fuzzing).
//!
//! A call is framed by setting it up in a [`Work`], then calling [`step`] until its buffers are used up, then
//! [`finish`]. A step does one bounded thing: it handles one line, or skips one stretch of body. All state is
//! in memory between steps, so that the verifier proves one step and not their product. Nothing here can
//! panic: every index is masked to its array.
//!
//! What it decides, and from what: the end of a head (blank line; bare LF is accepted as RFC 9112 §2.2
//! allows), the length of a body (RFC 9112 §6.3: status, method of the request, Transfer-Encoding,
//! Content-Length), chunk framing (§7.1). Everything else about a head is left to the agent.

#![expect(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "every index is masked to its array and every cast keeps the bits that count: the verifier checks it again"
)]

mod frames;
mod lines;

pub use frames::BLOCK_MAX;
pub use frames::starts_frame;
use frames::{begins_preface, frame, frames_end, is_full, payload_block, window_starts_frame};
use lines::{find_newline, header, plausible, start_line, starts_message, traceparent};

use crate::{
    lane::{CARRY, Lane, State, fact},
    loss::Loss,
    record::{DataRecord, data_flags as flag, kind},
    traceparent::Traceparent,
    unaligned,
};

/// Most bytes of one head that are copied.
pub const HEAD_MAX: u32 = 8192;
/// Most bytes of one head that are searched for its end.
pub const HEAD_SEARCH_MAX: u32 = 65536;
/// Bytes read from a buffer at a time.
pub const LOAD: u32 = 256;
/// A run of body bytes that is older than this is reported before it ends, so that progress is seen.
pub const RUN_REPORT_NS: u64 = 1_000_000_000;

const PAYLOAD_MASK: u32 = 16383;
/// Room of the payload: any masked index may be followed by a 64-byte copy.
const PAYLOAD: usize = PAYLOAD_MASK as usize + 1 + CARRY;

/// What of a request's method decides about the body of its response.
pub struct Method;

impl Method {
    /// Any other method.
    pub const OTHER: u8 = 0;
    /// The response to HEAD has no body.
    pub const HEAD: u8 = 1;
    /// A 2xx response to CONNECT makes a tunnel.
    pub const CONNECT: u8 = 2;
    /// Any other method, of a request that is not sampled: its response is not captured either.
    pub const UNSAMPLED: u8 = 3;
    /// Of a response: it says that HTTP/2 follows. Nothing waits for it.
    pub const HTTP2: u8 = 4;
}

/// The requests of a connection that wait for their response, oldest first: 2 bits a request, 32 at most.
///
/// `pushed` and `methods` are written by the direction of the requests only, `popped` by that of the
/// responses only, so the two may run on two CPUs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// [`Method`] of request `n` at bits `2 * (n % 32)`.
    pub methods: u64,
    /// Requests so far.
    pub pushed: u32,
    /// Final responses so far.
    pub popped: u32,
}

impl Waiting {
    /// The number of the exchange whose message of this kind comes next.
    #[inline(always)]
    const fn number(&self, response: bool) -> u32 {
        if response {
            self.popped.wrapping_add(1)
        } else {
            self.pushed.wrapping_add(1)
        }
    }

    #[inline(always)]
    fn push(&mut self, method: u8) {
        let shift = (self.pushed & 31) * 2;
        self.methods = (self.methods & !(3 << shift)) | ((method as u64 & 3) << shift);
        self.pushed = self.pushed.wrapping_add(1);
    }

    /// A response that is `counted` has its request, though that may be framed a moment later, on another CPU. Without
    /// a count, where no request waits the response is to one that was not seen.
    #[inline(always)]
    fn pop(&mut self, counted: bool) -> u8 {
        let waiting = self.pushed.wrapping_sub(self.popped);
        if waiting == 0 && !counted {
            return Method::OTHER;
        }
        let shift = (self.popped & 31) * 2;
        self.popped = self.popped.wrapping_add(1);
        if waiting == 0 || waiting > 32 {
            Method::OTHER
        } else {
            ((self.methods >> shift) & 3) as u8
        }
    }
}

/// What the framer needs from where it runs.
pub trait Port {
    /// Copies `len` bytes (1 to [`LOAD`]) of the traced program's memory; false if they cannot be read.
    ///
    /// # Safety
    /// `to` is valid for `len` bytes.
    #[expect(unsafe_code, reason = "the kernel helper behind it takes a pointer")]
    unsafe fn read(&mut self, to: *mut u8, len: u32, from: u64) -> bool;

    /// Delivers `work.record` with the first `work.record.captured` bytes of `work.payload`.
    fn emit(&mut self, work: &mut Work);

    /// Counts a loss.
    fn lost(&mut self, cause: Loss);

    /// Whether requests of which their callers say that they are not sampled are to be left uncaptured, and their responses.
    fn follows_sampling(&self) -> bool;
}

/// One call in the making: per CPU in the kernel.
#[repr(C)]
#[derive(Clone, Debug)]
pub struct Work {
    /// The record being made; `connection`, `task`, `tgid`, `tid`, `start_ns`, `end_ns` are those of the call.
    pub record: DataRecord,
    /// Captured bytes of the record, then the window.
    pub payload: [u8; PAYLOAD],
    /// The direction the call moves bytes in.
    pub lane: Lane,
    /// The connection's requests without response.
    pub waiting: Waiting,
    /// Address of the next byte of the current buffer.
    pub addr: u64,
    /// Bytes of the current buffer from `addr` on.
    pub left: u64,
    /// Stream offset of the first byte of the head piece being captured.
    piece_offset: u64,
    /// When the call was entered (sent) or returned (received).
    pub start_ns: u64,
    /// When the call returned.
    pub end_ns: u64,
    piece_seq: u32,
    piece_flags: u32,
    /// Bytes captured so far; the window begins there or later.
    out_len: u32,
    /// The window: `payload[window..window + window_len]` are the next bytes from `addr` on.
    window: u32,
    window_len: u32,
    found: u32,
    /// See [`DataRecord::exchange`].
    exchange: u32,
    /// 1 if the process wrote the bytes.
    pub sent: u32,
    /// [`flag::HANDED`], [`flag::TIMER`] or neither, for every record of the call.
    pub of_call: u32,
    /// [`flag::UNSAMPLED_REQUEST`] or its twin when the head that ends is not to be captured.
    unsampled: u32,
    /// 1 while a piece of HTTP/2 is being made of this call.
    frames: u32,
    /// 1 until the first byte of the call is passed.
    at_call_start: u32,
    /// 1 when this call made the connection opaque.
    pub turned_opaque: u32,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Progress: call again.
    More,
    /// The current buffer is used up, or nothing more of the connection is of interest.
    Done,
}

impl Work {
    /// A work area with nothing in it.
    pub const fn new() -> Self {
        Self {
            record: DataRecord {
                kind: 0,
                size: 0,
                connection: 0,
                offset: 0,
                len: 0,
                start_ns: 0,
                end_ns: 0,
                task: 0,
                tgid: 0,
                tid: 0,
                seq: 0,
                flags: 0,
                captured: 0,
                exchange: 0,
                maker: 0,
                turn: 0,
                reads: 0,
            },
            payload: [0; PAYLOAD],
            lane: Lane::NEW,
            waiting: Waiting {
                methods: 0,
                pushed: 0,
                popped: 0,
            },
            addr: 0,
            left: 0,
            piece_offset: 0,
            start_ns: 0,
            end_ns: 0,
            piece_seq: 0,
            piece_flags: 0,
            out_len: 0,
            window: 0,
            window_len: 0,
            found: 0,
            exchange: 0,
            sent: 0,
            of_call: 0,
            unsampled: 0,
            frames: 0,
            at_call_start: 0,
            turned_opaque: 0,
        }
    }

    /// Begins a call. The caller has set `lane`, `waiting`, `sent`, times and the task fields of `record`.
    #[inline(always)]
    pub fn begin(&mut self) {
        self.record.kind = kind::DATA;
        self.left = 0;
        self.out_len = 0;
        self.window = 0;
        self.window_len = 0;
        self.at_call_start = 1;
        self.turned_opaque = 0;
        self.unsampled = 0;
        self.frames = 0;
        self.piece_offset = self.lane.offset;
        self.piece_seq = self.lane.seq;
        self.piece_flags = 0;
        self.lane.last_ns = self.end_ns;
        self.count();
    }

    /// Says of which exchange the head is that passes.
    #[inline(always)]
    fn count(&mut self) {
        let lane = &self.lane;
        self.exchange = if lane.state != State::HEAD || lane.facts & (fact::START_LINE | fact::UNCOUNTED) != 0
        {
            0
        } else {
            self.waiting.number(lane.is(fact::RESPONSE))
        };
    }

    /// Gives the next buffer of the call.
    #[inline(always)]
    pub fn buffer(&mut self, addr: u64, len: u64) {
        self.addr = addr;
        self.left = len;
        self.window_len = 0;
    }

    #[inline(always)]
    fn consume(&mut self, len: u64) {
        self.addr = self.addr.wrapping_add(len);
        self.left -= len;
        self.lane.offset = self.lane.offset.wrapping_add(len);
        self.lane.seq = self.lane.seq.wrapping_add(len as u32);
        self.at_call_start = 0;
        if len < self.window_len as u64 {
            self.window += len as u32;
            self.window_len -= len as u32;
        } else {
            self.window_len = 0;
        }
    }

    #[inline(always)]
    fn byte(&self, index: u32) -> u8 {
        self.payload[(index & PAYLOAD_MASK) as usize]
    }

    #[inline(always)]
    fn word(&self, index: u32) -> u64 {
        // SAFETY: a masked index is followed by CARRY more bytes of the payload.
        #[expect(
            unsafe_code,
            reason = "an eight-byte load at any index, in bounds by the mask"
        )]
        unsafe {
            unaligned::load(self.payload.as_ptr().add((index & PAYLOAD_MASK) as usize))
        }
    }

    #[inline(always)]
    fn carry_word(&self, index: usize) -> u64 {
        // SAFETY: callers pass at most CARRY, and the carry is 2 * CARRY long.
        #[expect(
            unsafe_code,
            reason = "an eight-byte load, in bounds by the constant indexes used"
        )]
        unsafe {
            unaligned::load(self.lane.carry.as_ptr().add(index & (CARRY - 1)))
        }
    }

    /// Whether the first bytes of the direction, which turned out not to be HTTP/1, are those of a TLS handshake (RFC 8446 §5.1).
    #[inline(always)]
    pub fn begins_tls(&self) -> bool {
        self.piece_offset == 0 && self.carry_byte(0) == 0x16 && self.carry_byte(1) == 3
    }

    #[inline(always)]
    fn carry_byte(&self, index: u32) -> u8 {
        self.lane.carry[(index & (CARRY as u32 - 1)) as usize]
    }
}

impl Default for Work {
    fn default() -> Self {
        Self::new()
    }
}

/// Does one bounded thing with the current buffer.
#[inline(always)]
pub fn step<P: Port>(work: &mut Work, port: &mut P) -> Step {
    if work.left == 0 {
        return Step::Done;
    }
    let state = work.lane.state;
    if state == State::OPAQUE {
        return Step::Done;
    }
    if state == State::BODY || state == State::CHUNK_DATA || state == State::PAYLOAD {
        skip_body(work, port);
        return Step::More;
    }
    if state == State::UNTIL_CLOSE || (state == State::SEEK && work.at_call_start == 0) {
        hold(work);
        let left = work.left;
        work.consume(left);
        return Step::Done;
    }
    if is_full(work) {
        frames_end(work, port);
        return Step::More;
    }
    if work.window_len == 0 && !load(work, port) {
        port.lost(Loss::UserFault);
        let left = work.left;
        work.left = 0;
        pass_unseen(work, port, left);
        return Step::Done;
    }
    if state == State::FRAME {
        frame(work, port);
        return Step::More;
    }
    if state == State::BLOCK {
        payload_block(work);
        return Step::More;
    }
    if state == State::IDLE || state == State::SEEK {
        between_messages(work, port);
        if work.lane.state != State::HEAD || work.window_len == 0 {
            return Step::More;
        }
    }
    line(work, port);
    Step::More
}

/// Ends a call: what is held of a head is delivered, a long run is reported.
#[inline(always)]
pub fn finish<P: Port>(work: &mut Work, port: &mut P) {
    if work.lane.state == State::HEAD {
        if work.lane.is(fact::START_LINE) && !plausible(work) {
            not_http(work, port);
        } else {
            piece(work, port, 0);
        }
    }
    frames_end(work, port);
    // What stands before a payload is told whole.
    let is_due =
        work.lane.state != State::FRAME && work.end_ns.wrapping_sub(work.lane.run_start_ns) > RUN_REPORT_NS;
    if work.lane.is(fact::RUN) && is_due {
        run(work, port, 0);
    }
}

/// Delivers the run that is held, without waiting for what ends it.
#[inline(always)]
pub fn flush<P: Port>(work: &mut Work, port: &mut P) {
    run(work, port, 0);
}

/// Passes `len` bytes whose content cannot be read: sent from a file, by a path that is not hooked, or on a
/// page that is not there. Inside a body they are counted like any; elsewhere the place in the stream is lost.
#[inline(never)]
pub fn pass_unseen<P: Port>(work: &mut Work, port: &mut P, len: u64) {
    let state = work.lane.state;
    let mut left = len;
    if state == State::OPAQUE || len == 0 {
        return;
    }
    if state == State::BODY || state == State::CHUNK_DATA || state == State::PAYLOAD {
        let inside = if left < work.lane.remaining {
            left
        } else {
            work.lane.remaining
        };
        work.addr = 0;
        work.left = inside;
        work.window_len = 0;
        skip_body(work, port);
        left -= inside;
        if left == 0 {
            return;
        }
    }
    if work.lane.state != State::UNTIL_CLOSE {
        if work.lane.state == State::HEAD {
            piece(work, port, 0);
        }
        frames_end(work, port);
        if work.lane.is(fact::RUN) && !work.lane.is(fact::RUN_UNKNOWN) {
            run(work, port, 0);
        }
        port.lost(Loss::Unseen);
        work.lane.state = State::SEEK;
    }
    hold(work);
    work.left = left;
    work.window_len = 0;
    work.consume(left);
}

/// Fills the window from the buffer; false if it cannot be read.
#[inline(always)]
fn load<P: Port>(work: &mut Work, port: &mut P) -> bool {
    let state = work.lane.state;
    let keeping = state.is_http2() || (state == State::HEAD && !work.lane.is(fact::TRUNCATED));
    if !keeping {
        work.out_len = 0;
    }
    work.window = work.out_len;
    let len = if work.left < LOAD as u64 {
        work.left as u32
    } else {
        LOAD
    };
    let at = (work.window & PAYLOAD_MASK) as usize;
    // SAFETY: a head piece stays below HEAD_MAX, so `at + LOAD` is within the payload.
    #[expect(unsafe_code, reason = "the port writes into the payload")]
    let read =
        at <= (HEAD_MAX as usize) && unsafe { port.read(work.payload.as_mut_ptr().add(at), len, work.addr) };
    work.window_len = if read { len } else { 0 };
    read
}

#[inline(always)]
fn skip_body<P: Port>(work: &mut Work, port: &mut P) {
    let len = if work.left < work.lane.remaining {
        work.left
    } else {
        work.lane.remaining
    };
    if work.frames == 0 {
        hold(work);
    }
    work.consume(len);
    work.lane.remaining -= len;
    if work.lane.remaining == 0 {
        let state = work.lane.state;
        if state != State::CHUNK_DATA {
            let ends = if state == State::BODY {
                flag::MESSAGE_END
            } else {
                0
            };
            run(work, port, ends);
        }
        work.lane.state = if state == State::BODY {
            State::IDLE
        } else if state == State::PAYLOAD {
            State::FRAME
        } else {
            State::CHUNK_SIZE
        };
        work.lane.line_len = 0;
    }
}

/// Looks at the first byte of what should be a message.
#[inline(always)]
fn between_messages<P: Port>(work: &mut Work, port: &mut P) {
    let first = work.byte(work.window);
    if work.lane.state == State::IDLE && (first == b'\r' || first == b'\n') {
        // RFC 9112 §2.2: an empty line before a request line is to be ignored.
        hold(work);
        work.consume(1);
        return;
    }
    let frames = window_starts_frame(work, first);
    let starts = frames || work.lane.state != State::SEEK || starts_message(work);
    if forget(&mut work.found, starts as u32) == 0 {
        hold(work);
        let left = work.left;
        work.consume(left);
        return;
    }
    run(work, port, 0);
    if frames {
        work.lane.facts = if work.lane.state == State::IDLE {
            fact::START_LINE
        } else {
            0
        };
        work.lane.state = State::FRAME;
        work.lane.line_len = 0;
        work.lane.head_len = 0;
        return;
    }
    if work.window != 0 {
        // A head is captured from the beginning of the payload.
        work.window_len = 0;
    }
    work.out_len = 0;
    work.piece_offset = work.lane.offset;
    work.piece_seq = work.lane.seq;
    work.piece_flags = flag::HEAD_START;
    work.exchange = 0;
    work.unsampled = 0;
    work.lane.traceparent = Traceparent::NONE;
    let uncounted = if work.lane.state == State::SEEK {
        fact::UNCOUNTED
    } else {
        work.lane.facts & fact::UNCOUNTED
    };
    work.lane.state = State::HEAD;
    work.lane.facts = fact::START_LINE | uncounted;
    work.lane.head_len = 0;
    work.lane.line_len = 0;
    work.lane.status = 0;
    work.lane.method = Method::OTHER;
}

/// Handles the rest of a line, or all there is of it in the window.
#[inline(always)]
fn line<P: Port>(work: &mut Work, port: &mut P) {
    let found = find_newline(work);
    let found = forget(&mut work.found, found);
    let rest = if found < work.window_len {
        found + 1
    } else {
        work.window_len
    };
    keep_beginning(work);
    let len = if port.follows_sampling() && work.lane.state == State::HEAD && !work.lane.is(fact::START_LINE)
    {
        traceparent(work, rest)
    } else {
        rest
    };
    let len = forget(&mut work.found, len);
    let ended = len == found.wrapping_add(1);
    let at = work.window;
    work.lane.line_len = work.lane.line_len.saturating_add(len);
    if work.lane.state == State::HEAD {
        work.lane.head_len = work.lane.head_len.saturating_add(len);
        if !work.lane.is(fact::TRUNCATED) {
            work.out_len = at + len;
        }
    } else {
        // The framing of chunks and trailers belongs to the body's bytes.
        hold(work);
    }
    work.consume(len as u64);
    let doubtful = work.lane.state == State::HEAD && work.lane.is(fact::START_LINE) && !plausible(work);
    let doubtful = forget(&mut work.found, doubtful as u32) != 0;
    if ended {
        let blank = work.lane.line_len == 1 || (work.lane.line_len == 2 && work.carry_byte(0) == b'\r');
        if work.lane.state == State::HEAD {
            head_line(work, port, blank, doubtful, at, len);
        } else if work.lane.state == State::CHUNK_SIZE {
            chunk_size(work, port);
        } else if blank {
            run(work, port, flag::MESSAGE_END);
            work.lane.state = State::IDLE;
        }
        work.lane.line_len = 0;
    } else if doubtful {
        not_http(work, port);
    }
    if work.lane.state == State::HEAD {
        head_bounds(work, port);
    }
}

/// Passes a value through memory, so that the verifier forgets how it came about: without it everything after a
/// loop is verified once for each turn the loop can end in.
#[inline(always)]
fn forget(place: &mut u32, value: u32) -> u32 {
    // SAFETY: a reference is valid for both.
    #[expect(
        unsafe_code,
        reason = "volatile, or the compiler keeps the value in its register"
    )]
    unsafe {
        core::ptr::write_volatile(place, value);
        core::ptr::read_volatile(place)
    }
}

/// Keeps the first bytes of the line: what the window has from its start on is put behind what is there.
#[inline(always)]
fn keep_beginning(work: &mut Work) {
    if work.lane.line_len >= CARRY as u32 {
        return;
    }
    let to = (work.lane.line_len & (CARRY as u32 - 1)) as usize;
    let from = (work.window & PAYLOAD_MASK) as usize;
    // SAFETY: `to < CARRY` and the carry is 2 * CARRY long; `from` is masked and CARRY more bytes follow it.
    #[expect(unsafe_code, reason = "a copy of constant length, in bounds by the masks")]
    unsafe {
        let from = work.payload.as_ptr().add(from);
        let to = work.lane.carry.as_mut_ptr().add(to);
        unaligned::copy_8(to, from);
    }
}

#[inline(always)]
fn head_bounds<P: Port>(work: &mut Work, port: &mut P) {
    if work.lane.head_len > HEAD_SEARCH_MAX {
        port.lost(Loss::HeadEndless);
        piece(work, port, flag::OPAQUE);
        turn_opaque(work);
    } else if !work.lane.is(fact::TRUNCATED) && work.lane.head_len >= HEAD_MAX {
        port.lost(Loss::HeadTruncated);
        work.lane.facts |= fact::TRUNCATED;
        piece(work, port, 0);
        work.window_len = 0;
    }
}

#[inline(always)]
fn head_line<P: Port>(work: &mut Work, port: &mut P, blank: bool, doubtful: bool, at: u32, len: u32) {
    if work.lane.is(fact::START_LINE) {
        if begins_preface(work) {
            return;
        }
        if doubtful || !start_line(work, at, len) {
            not_http(work, port);
            return;
        }
        work.lane.facts &= !fact::START_LINE;
        work.count();
    } else if blank {
        head_end(work, port);
    } else {
        header(work);
    }
}

/// The blank line of a head: decides what follows it.
#[inline(always)]
fn head_end<P: Port>(work: &mut Work, port: &mut P) {
    let mut opaque = false;
    let mut bodiless = false;
    let response = work.lane.is(fact::RESPONSE);
    let counted = !work.lane.is(fact::UNCOUNTED);
    if response {
        let status = work.lane.status;
        if status == 101 {
            work.waiting.pop(counted);
            bodiless = work.lane.method == Method::HTTP2;
            opaque = !bodiless;
        } else if status < 200 {
            bodiless = true;
        } else {
            let method = work.waiting.pop(counted);
            if method == Method::UNSAMPLED {
                work.unsampled = flag::UNSAMPLED_RESPONSE;
            }
            opaque = method == Method::CONNECT && status < 300;
            bodiless = method == Method::HEAD || status == 204 || status == 304;
        }
    } else {
        let mut method = work.lane.method;
        if work.lane.traceparent.says_unsampled() {
            work.unsampled = flag::UNSAMPLED_REQUEST;
            if method == Method::OTHER {
                method = Method::UNSAMPLED;
            }
        }
        work.waiting.push(method);
    }
    let chunked = work.lane.is(fact::CHUNKED);
    let length = if work.lane.is(fact::LENGTH) {
        work.lane.length
    } else {
        0
    };
    if opaque {
        piece(work, port, flag::HEAD_END | flag::MESSAGE_END | flag::OPAQUE);
        turn_opaque(work);
    } else if bodiless || (!chunked && length == 0 && (!response || work.lane.is(fact::LENGTH))) {
        piece(work, port, flag::HEAD_END | flag::MESSAGE_END);
        work.lane.state = State::IDLE;
    } else {
        piece(work, port, flag::HEAD_END);
        work.lane.remaining = length;
        work.lane.state = if chunked {
            State::CHUNK_SIZE
        } else if length > 0 {
            State::BODY
        } else {
            State::UNTIL_CLOSE
        };
    }
}

/// The line before a chunk: RFC 9112 §7.1, extensions passed over.
#[inline(always)]
fn chunk_size<P: Port>(work: &mut Work, port: &mut P) {
    let mut at = 0;
    let mut size: u64 = 0;
    while at < 20 {
        let byte = work.carry_byte(at);
        let digit = if byte.is_ascii_digit() {
            byte - b'0'
        } else {
            let letter = byte | 0x20;
            if !(b'a'..=b'f').contains(&letter) {
                break;
            }
            letter - b'a' + 10
        };
        if size > (u64::MAX >> 8) {
            // No body is that long: the sender is broken or hostile.
            at = 0;
            break;
        }
        size = (size << 4) | digit as u64;
        at += 1;
    }
    if at == 0 {
        port.lost(Loss::Unseen);
        run(work, port, 0);
        work.lane.state = State::SEEK;
    } else if size == 0 {
        work.lane.state = State::TRAILER;
    } else {
        work.lane.remaining = size + 2;
        work.lane.state = State::CHUNK_DATA;
    }
}

/// What came is not HTTP: nothing of it is delivered. Of what begins as TLS it is not even said that it came: what is in it may be
/// seen.
#[inline(always)]
fn not_http<P: Port>(work: &mut Work, port: &mut P) {
    work.out_len = 0;
    if !work.begins_tls() {
        piece(work, port, flag::UNKNOWN | flag::OPAQUE);
    }
    turn_opaque(work);
}

#[inline(always)]
fn turn_opaque(work: &mut Work) {
    work.lane.state = State::OPAQUE;
    work.turned_opaque = 1;
}

/// Holds the bytes from here on for a joined record; called before they are consumed.
#[inline(always)]
fn hold(work: &mut Work) {
    if !work.lane.is(fact::RUN) {
        work.lane.run_offset = work.lane.offset;
        work.lane.run_seq = work.lane.seq;
        work.lane.run_start_ns = work.start_ns;
        work.lane.facts |= fact::RUN;
        if work.lane.state == State::SEEK {
            work.lane.facts |= fact::RUN_UNKNOWN;
        }
    }
}

/// Delivers the held run, if there is one.
#[inline(never)]
fn run<P: Port>(work: &mut Work, port: &mut P, flags: u32) {
    if !work.lane.is(fact::RUN) {
        return;
    }
    let unknown = if work.lane.is(fact::RUN_UNKNOWN) {
        flag::UNKNOWN
    } else if work.lane.state.is_http2() {
        flag::HTTP2
    } else {
        0
    };
    work.lane.facts &= !(fact::RUN | fact::RUN_UNKNOWN);
    let len = work.lane.offset.wrapping_sub(work.lane.run_offset);
    work.record.offset = work.lane.run_offset;
    work.record.seq = work.lane.run_seq;
    work.record.start_ns = work.lane.run_start_ns;
    work.record.exchange = 0;
    deliver(work, port, len, 0, flags | unknown);
}

/// Delivers the head piece that was captured so far and begins the next one.
#[inline(never)]
fn piece<P: Port>(work: &mut Work, port: &mut P, flags: u32) {
    let len = work.lane.offset.wrapping_sub(work.piece_offset);
    if len != 0 {
        // The last window may reach past the bound: what is beyond it is covered, not captured.
        let captured = if work.unsampled != 0 {
            0
        } else if work.out_len < HEAD_MAX {
            work.out_len
        } else {
            HEAD_MAX
        };
        let truncated = if (captured as u64) < len && work.unsampled | flags & flag::UNKNOWN == 0 {
            flag::TRUNCATED
        } else {
            0
        };
        let head = if flags & flag::UNKNOWN == 0 {
            flag::HEAD | work.piece_flags
        } else {
            0
        };
        work.record.offset = work.piece_offset;
        work.record.seq = work.piece_seq;
        work.record.start_ns = work.start_ns;
        work.record.exchange = work.exchange;
        deliver(
            work,
            port,
            len,
            captured,
            flags | head | truncated | work.unsampled,
        );
    }
    work.out_len = 0;
    work.piece_flags = 0;
    work.piece_offset = work.lane.offset;
    work.piece_seq = work.lane.seq;
}

#[inline(always)]
fn deliver<P: Port>(work: &mut Work, port: &mut P, len: u64, captured: u32, flags: u32) {
    work.record.len = len;
    work.record.captured = captured;
    work.record.size = size_of::<DataRecord>() as u32 + captured;
    work.record.end_ns = work.end_ns;
    work.record.flags = flags | work.of_call | if work.sent != 0 { flag::SENT } else { 0 };
    port.emit(work);
}
