//! Frames of HTTP/2 (RFC 9113) as they are captured (see [`DataRecord`](tracer_common::record::DataRecord)). What stands before a
//! payload is kept, and of payloads the code that a stream was reset with, priorities and the numbers of promised streams;
//! header blocks are masked field by field ([`Block`]).

use std::ops::Range;

use tracer_common::record::frame;

use super::{
    block::Block,
    frame::{Frame, HEADER},
    rule::Rules,
    text::Texts,
};
use crate::{capture::record::Data, ids::StreamOffset};

/// One direction of a connection, up to some byte.
#[derive(Debug)]
pub(super) struct Frames {
    /// Where it goes on.
    next: StreamOffset,
    /// `None` between two frames.
    frame: Option<Frame>,
    /// The block that is not over, and its stream.
    block: Option<(u32, Block)>,
    rules: Rules,
}

/// What of a record is to be masked, beside what it is masked in.
pub(super) struct Covered {
    pub offset: StreamOffset,
    pub len: u64,
    pub starts_frame: bool,
    pub is_unknown: bool,
}

impl Covered {
    pub fn of(data: &Data<'_>) -> Self {
        Self {
            offset: data.offset,
            len: data.len,
            starts_frame: data.marks.head_start(),
            is_unknown: data.marks.unknown(),
        }
    }
}

impl Frames {
    /// Where a record finds the direction: after those before it, or at a frame of which nothing before is known. `None`
    /// if it is neither.
    pub fn at(remembered: Option<Self>, covered: &Covered) -> Option<Self> {
        let remembered = remembered.filter(|frames| frames.next == covered.offset && !covered.is_unknown);
        match remembered {
            Some(frames) if frames.frame.is_some() != covered.starts_frame => Some(frames),
            _ => (covered.starts_frame && !covered.is_unknown).then(|| Self {
                next: covered.offset,
                frame: None,
                block: None,
                rules: Rules::default(),
            }),
        }
    }

    /// Masks what was captured of a record; `None` if it is not what it should be.
    pub fn mask(mut self, covered: &Covered, captured: &mut [u8], texts: &mut Texts) -> Option<Self> {
        let mut places = Vec::new();
        let (mut at, mut left) = (0, covered.len);
        loop {
            if let Some(frame) = &mut self.frame {
                let len = if frame.is_kept {
                    captured.len().saturating_sub(at)
                } else {
                    usize::try_from(left).unwrap_or(usize::MAX)
                };
                let len = u32::try_from(len).unwrap_or(u32::MAX).min(frame.left);
                if frame.is_kept {
                    let payload = captured.get_mut(at..)?.get_mut(..len as usize)?;
                    match frame.mask_around(payload) {
                        Some(fields) if fields.is_empty() => {}
                        Some(fields) => places.push(at + fields.start..at + fields.end),
                        None => {
                            self.block = Some((frame.stream, Block::lost()));
                            self.rules.forget();
                        }
                    }
                    at += payload.len();
                }
                frame.left -= len;
                left = left.checked_sub(u64::from(len))?;
                if frame.left > 0 {
                    break;
                }
                let frame = *frame;
                self.frame = None;
                if frame.ends_block() {
                    self.mask_block(captured, &mut places, texts);
                    self.end_block();
                }
            }
            let Some(header) = captured.get(at..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            self.begin_frame(Frame::of(header.first_chunk()?));
            at += HEADER;
            left = left.checked_sub(HEADER as u64)?;
        }
        self.mask_block(captured, &mut places, texts);
        self.next = StreamOffset(covered.offset.0.saturating_add(covered.len));
        (left == 0 && at == captured.len()).then_some(self)
    }

    fn begin_frame(&mut self, frame: Frame) {
        let begun = self.block.as_ref().map(|(stream, _)| *stream);
        match frame.kind {
            frame::HEADERS | frame::PUSH_PROMISE if begun.is_none() && frame.has_fields() => {
                self.block = Some((frame.stream, Block::default()));
            }
            frame::CONTINUATION if begun == Some(frame.stream) && frame.has_fields() => {}
            frame::HEADERS | frame::PUSH_PROMISE | frame::CONTINUATION => {
                self.block = Some((frame.stream, Block::lost()));
                self.rules.forget();
            }
            _ => {}
        }
        self.frame = Some(frame);
    }

    /// Masks the piece of the block that stands in these places.
    fn mask_block(&mut self, captured: &mut [u8], places: &mut Vec<Range<usize>>, texts: &mut Texts) {
        let mut lost = Block::lost();
        let block = self.block.as_mut().map_or(&mut lost, |(_, block)| block);
        if let [place] = places.as_slice() {
            let piece = captured.get_mut(place.clone()).unwrap_or_default();
            block.mask(piece, &mut self.rules, texts);
        } else {
            // A string may go on in the next frame, and is masked as one.
            let parts = places.iter().filter_map(|place| captured.get(place.clone()));
            let mut piece: Vec<u8> = parts.flatten().copied().collect();
            block.mask(&mut piece, &mut self.rules, texts);
            let mut rest = piece.as_slice();
            for place in places.iter() {
                let part = captured.get_mut(place.clone()).unwrap_or_default();
                if let Some((masked, after)) = rest.split_at_checked(part.len()) {
                    part.copy_from_slice(masked);
                    rest = after;
                }
            }
        }
        places.clear();
    }

    fn end_block(&mut self) {
        if !self.block.take().is_some_and(|(_, block)| block.is_whole()) {
            self.rules.forget();
        }
    }
}
