//! One frame of HTTP/2 (RFC 9113 §4.1, §6), and what of it is no header fields.

use std::ops::Range;

use tracer_common::record::frame::{self, KEPT, KEPT_AT};

/// What stands before a payload.
pub(super) const HEADER: usize = frame::HEADER as usize;

/// Flags of frames (RFC 9113 §6.2).
mod flag {
    pub const PADDED: u8 = 1 << 3;
    pub const PRIORITY: u8 = 1 << 5;
}

/// A frame in whose payload the direction is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub is_kept: bool,
    pub length: u32,
    pub left: u32,
    /// Bytes at the end of the payload that are padding, once their number was seen.
    pub padding: u32,
}

impl Frame {
    pub fn of(header: &[u8; HEADER]) -> Self {
        let [a, b, c, kind, flags, d, e, f, g] = *header;
        let length = u32::from_be_bytes([0, a, b, c]);
        Self {
            kind,
            flags,
            stream: u32::from_be_bytes([d & !KEPT, e, f, g]),
            is_kept: header.get(KEPT_AT).is_some_and(|byte| byte & KEPT != 0),
            length,
            left: length,
            padding: 0,
        }
    }

    /// The fields in it are there to be read.
    pub fn has_fields(self) -> bool {
        self.is_kept || self.length == 0
    }

    pub fn ends_block(self) -> bool {
        let has_block = matches!(
            self.kind,
            frame::HEADERS | frame::PUSH_PROMISE | frame::CONTINUATION
        );
        has_block && self.flags & frame::END_HEADERS != 0
    }

    /// Masks what is no fields in the next piece of the payload, and gives where they are; `None` if they have no place in it.
    pub fn mask_around(&mut self, piece: &mut [u8]) -> Option<Range<usize>> {
        let at = self.length.saturating_sub(self.left);
        let is_padded = self.kind != frame::CONTINUATION && self.flags & flag::PADDED != 0;
        let before = u32::from(is_padded)
            + match self.kind {
                frame::HEADERS if self.flags & flag::PRIORITY != 0 => 5,
                frame::PUSH_PROMISE => 4,
                frame::HEADERS | frame::CONTINUATION => 0,
                frame::RST_STREAM if self.length == 4 => return Some(0..0),
                _ => {
                    piece.fill(0);
                    return Some(0..0);
                }
            };
        if is_padded && at == 0 {
            self.padding = piece.first().copied().map_or(0, u32::from);
        }
        let end = self.length.checked_sub(self.padding).filter(|end| before <= *end);
        let Some(end) = end else {
            piece.get_mut(usize::from(at == 0)..).unwrap_or_default().fill(0);
            return None;
        };
        let place = |of: u32| (of.saturating_sub(at) as usize).min(piece.len());
        let fields = place(before)..place(end);
        piece.get_mut(fields.end..).unwrap_or_default().fill(0);
        Some(fields)
    }
}
