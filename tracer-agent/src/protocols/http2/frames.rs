//! One direction of a connection as frames, from what was captured of them (see [`DataRecord`](tracer_common::record::DataRecord)).

use std::borrow::Cow;

use tracer_common::record::frame::{self, KEPT, KEPT_AT};

use crate::{
    capture::record::{Data, Direction},
    ids::{BootNanos, Maker, Task},
    protocols::exchange::Cover,
};

/// What stands before a payload.
const HEADER: usize = frame::HEADER as usize;

/// Flags of frames (RFC 9113 §6.1, §6.2).
mod flag {
    pub const END_STREAM: u8 = 1 << 0;
    pub const END_HEADERS: u8 = tracer_common::record::frame::END_HEADERS;
    pub const PADDED: u8 = 1 << 3;
    pub const PRIORITY: u8 = 1 << 5;
}

/// A direction, up to some byte.
#[derive(Debug, Default)]
pub(super) struct Frames {
    at: At,
    block: Option<Block>,
    /// Of a payload that came in several records, what was in those before.
    payload: Vec<u8>,
}

/// A place in a stream of frames.
///
/// ```text
///   Start ── the preface, or SETTINGS ──▶ Between ── nine bytes ──▶ Kept, Passed ── all of the payload ──▶ Between
///     └───── anything else, or a gap ──▶ Lost ── a record begins with a frame ──▶ Between
/// ```
#[derive(Clone, Copy, Debug, Default)]
enum At {
    /// No frame was seen.
    #[default]
    Start,
    Between,
    /// In a payload that was captured.
    Kept(Frame),
    /// In a payload that was not.
    Passed(Frame),
    Lost,
}

/// A frame, with what is still to pass of it.
#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    length: u32,
    left: u64,
}

/// A header block up to now: a frame and what continues it.
#[derive(Debug)]
struct Block {
    beginning: Beginning,
    ends_stream: bool,
    promised: bool,
    /// `None` once a part of it is missing.
    bytes: Option<Vec<u8>>,
}

/// Where header fields began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    pub stream: u32,
    pub start: BootNanos,
    pub task: Task,
    pub maker: Option<Maker>,
    pub seq: u32,
    pub cover: Cover,
}

/// What passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// The direction was seen from its first frame: no header fields passed before.
    FromStart,
    /// Bytes are missing: what they were is not known.
    Gap,
    /// All the header fields of a block.
    Fields {
        beginning: Beginning,
        /// `None` where a part of it is missing.
        block: Option<&'a [u8]>,
        ends_stream: bool,
        /// Those of a request that nobody made.
        promised: bool,
    },
    /// Bytes of a message, all of a frame.
    Data {
        stream: u32,
        /// `None` where padding is among them.
        len: Option<u64>,
        ends_stream: bool,
    },
    /// The stream ends before it should.
    Reset { stream: u32, code: u32 },
}

impl Frames {
    /// Takes the next bytes, after some that were lost or not.
    pub(super) fn take(&mut self, data: &Data<'_>, after_gap: bool, each: &mut impl FnMut(Event<'_>)) {
        if after_gap || data.marks.unknown() {
            self.lose(each);
        }
        if data.marks.unknown() {
            return;
        }
        let mut captured = data.captured;
        if captured.is_empty() {
            self.rest(data, each);
            return;
        }
        if data.marks.head_start() {
            self.begins_with_frame(captured, each);
        }
        let mut passed = 0;
        while let Some(read) = self.step(data, captured, passed, each) {
            captured = captured.get(read.captured..).unwrap_or_default();
            passed += read.passed;
        }
        let is_all = captured.is_empty() && passed == data.len;
        if !is_all && !matches!(self.at, At::Lost) {
            self.lose(each);
        }
    }

    /// The first record that begins with a frame tells whether anything was before it.
    fn begins_with_frame(&mut self, captured: &[u8], each: &mut impl FnMut(Event<'_>)) {
        match self.at {
            At::Between => {}
            At::Start => {
                // The first frame of a server; a client has its preface before it.
                let is_first = matches!(captured, [_, _, _, frame::SETTINGS, 0, 0, 0, 0, 0, ..]);
                each(if is_first { Event::FromStart } else { Event::Gap });
                self.at = At::Between;
            }
            At::Kept(_) | At::Passed(_) => {
                self.lose(each);
                self.at = At::Between;
            }
            At::Lost => self.at = At::Between,
        }
    }

    /// The rest of a payload, or the preface.
    fn rest(&mut self, data: &Data<'_>, each: &mut impl FnMut(Event<'_>)) {
        match self.at {
            // Nothing else passes uncaptured before the first frame.
            At::Start => {
                each(Event::FromStart);
                self.at = At::Between;
            }
            At::Passed(mut frame) if data.len <= frame.left => {
                frame.left -= data.len;
                self.at = At::Passed(frame);
                self.end_frame_if_over(data, &[], each);
            }
            At::Lost => {}
            At::Between | At::Kept(_) | At::Passed(_) => self.lose(each),
        }
    }

    /// Moves on by a frame's beginning or a payload; `None` where nothing is left, or nothing can be made of it.
    fn step(
        &mut self,
        data: &Data<'_>,
        captured: &[u8],
        passed: u64,
        each: &mut impl FnMut(Event<'_>),
    ) -> Option<Read> {
        let left = data.len.saturating_sub(passed);
        let mut payload: &[u8] = &[];
        let read = match &mut self.at {
            At::Start | At::Lost => return None,
            At::Between => {
                let (header, _) = captured.split_first_chunk::<HEADER>()?;
                let seq = data.seq.wrapping_add(low(passed));
                self.begin_frame(*header, data, seq);
                Read::both(HEADER)
            }
            At::Kept(frame) => {
                let len = usize::try_from(frame.left).ok()?.min(captured.len());
                if len == 0 && frame.left > 0 {
                    return None;
                }
                payload = captured.get(..len)?;
                frame.left -= len as u64;
                if frame.left > 0 {
                    self.payload.extend_from_slice(payload);
                }
                Read::both(len)
            }
            At::Passed(frame) => {
                let len = frame.left.min(left);
                if len == 0 && frame.left > 0 {
                    return None;
                }
                frame.left -= len;
                Read {
                    captured: 0,
                    passed: len,
                }
            }
        };
        self.end_frame_if_over(data, payload, each);
        Some(read)
    }

    fn begin_frame(&mut self, header: [u8; HEADER], data: &Data<'_>, seq: u32) {
        let [a, b, c, kind, flags, d, e, f, g] = header;
        let is_kept = header.get(KEPT_AT).is_some_and(|byte| byte & KEPT != 0);
        let length = u32::from_be_bytes([0, a, b, c]);
        let frame = Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([d & !KEPT, e, f, g]),
            length,
            left: u64::from(length),
        };
        if kind == frame::HEADERS || kind == frame::PUSH_PROMISE {
            self.block = Some(Block {
                beginning: Beginning {
                    stream: frame.stream,
                    start: data.start,
                    task: data.task,
                    maker: data.maker,
                    seq,
                    cover: Cover::of(data.marks),
                },
                ends_stream: kind == frame::HEADERS && flags & flag::END_STREAM != 0,
                promised: kind == frame::PUSH_PROMISE,
                bytes: Some(Vec::new()),
            });
        }
        self.at = if is_kept {
            At::Kept(frame)
        } else {
            At::Passed(frame)
        };
    }

    /// With the last bytes of its payload, where that was captured.
    fn end_frame_if_over(&mut self, data: &Data<'_>, last: &[u8], each: &mut impl FnMut(Event<'_>)) {
        let (frame, is_kept) = match self.at {
            At::Kept(frame) => (frame, true),
            At::Passed(frame) => (frame, false),
            At::Start | At::Between | At::Lost => return,
        };
        if frame.left > 0 {
            return;
        }
        self.at = At::Between;
        let mut payload = Cow::Borrowed(last);
        if !self.payload.is_empty() {
            let mut all = std::mem::take(&mut self.payload);
            all.extend_from_slice(last);
            payload = Cow::Owned(all);
        }
        match frame.kind {
            frame::DATA => each(Event::Data {
                stream: frame.stream,
                len: (frame.flags & flag::PADDED == 0).then_some(u64::from(frame.length)),
                ends_stream: frame.flags & flag::END_STREAM != 0,
            }),
            frame::RST_STREAM => {
                if let Some((code, _)) = payload.split_first_chunk().filter(|_| is_kept) {
                    each(Event::Reset {
                        stream: frame.stream,
                        code: u32::from_be_bytes(*code),
                    });
                }
            }
            frame::HEADERS | frame::PUSH_PROMISE | frame::CONTINUATION => {
                let payload = Some(&*payload).filter(|_| is_kept || frame.length == 0);
                self.add_to_block(frame, payload, data, each);
            }
            _ => {}
        }
    }

    fn add_to_block(
        &mut self,
        frame: Frame,
        payload: Option<&[u8]>,
        data: &Data<'_>,
        each: &mut impl FnMut(Event<'_>),
    ) {
        let Some(mut block) = self.block.take() else {
            // It continues what was not seen.
            each(Event::Gap);
            return;
        };
        if data.direction == Direction::Received {
            // Whoever has read the last of it can work on it.
            block.beginning.task = data.task;
            block.beginning.maker = data.maker;
        }
        let fragment = payload
            .and_then(|payload| fragment(frame, payload))
            .filter(|_| block.beginning.stream == frame.stream);
        let bytes = match (block.bytes.take(), fragment) {
            // Nearly every block is one frame.
            (Some(before), Some(fragment)) if before.is_empty() => Some(Cow::Borrowed(fragment)),
            (Some(mut before), Some(fragment)) => {
                before.extend_from_slice(fragment);
                Some(Cow::Owned(before))
            }
            _ => None,
        };
        if frame.flags & flag::END_HEADERS == 0 {
            block.bytes = bytes.map(Cow::into_owned);
            self.block = Some(block);
            return;
        }
        each(Event::Fields {
            beginning: block.beginning,
            block: bytes.as_deref(),
            ends_stream: block.ends_stream,
            promised: block.promised,
        });
    }

    /// Bytes are missing from here on.
    fn lose(&mut self, each: &mut impl FnMut(Event<'_>)) {
        self.at = At::Lost;
        self.block = None;
        self.payload = Vec::new();
        each(Event::Gap);
    }
}

/// How far a step came.
struct Read {
    captured: usize,
    passed: u64,
}

impl Read {
    fn both(len: usize) -> Self {
        Self {
            captured: len,
            passed: len as u64,
        }
    }
}

/// The part of a payload that holds fields: without padding, priority and the number of a promised stream.
fn fragment(frame: Frame, payload: &[u8]) -> Option<&[u8]> {
    let mut rest = payload;
    if frame.kind != frame::CONTINUATION && frame.flags & flag::PADDED != 0 {
        let (padding, after) = rest.split_first()?;
        rest = after.get(..after.len().checked_sub(usize::from(*padding))?)?;
    }
    let before = match frame.kind {
        frame::HEADERS if frame.flags & flag::PRIORITY != 0 => 5,
        frame::PUSH_PROMISE => 4,
        _ => 0,
    };
    rest.get(before..)
}

/// Sequence numbers wrap.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low bits are those that count"
)]
const fn low(offset: u64) -> u32 {
    offset as u32
}
