//! Masking secrets in records before they reach the disk.
//!
//! Of a head only what the core reads is kept: method, path without what looks like a secret in it (as [`Privacy`] says), query
//! keys, version, status, the names of well-known headers and the values of those listed in `names`; every other byte becomes `x` in its place. Lengths, line
//! ends and white space stay, and a byte that is invalid where it stands stays invalid, so that offsets, framing
//! and parsing come out as they did live.
//!
//! A head comes in any number of records. Masking goes byte by byte with a small state for each head in flight,
//! from the record that starts it to the one that ends it; a piece that does not continue the head that is
//! remembered is masked whole. So where heads are split makes no difference, with one exception on the safe side:
//! an authority, a part of a path or a query key that a split cuts in two is masked, because whether it is userinfo, a secret or a
//! bare value shows only at its end.
//!
//! Of HTTP/2 the frames are kept as they were captured ([`frames`]), and how their header blocks say each field ([`block`]): every
//! string is masked in its place, takes as many bytes as before and, in Huffman code too, says as many characters ([`text`]).
//! Which rule is for a value whose name is in the dynamic table is remembered for each direction of a connection
//! ([`rule`]). Where that is not known the value is masked. Of a string that two records share less is kept ([`cut`]).

mod block;
mod cut;
mod frame;
mod frames;
mod head;
mod literal;
mod names;
mod rule;
mod target;
mod text;

use std::collections::HashMap;

use self::{
    frames::{Covered, Frames},
    head::{Head, mask_all},
    text::Texts,
};
use crate::{
    capture::record::{Data, Direction, Record},
    ids::{ConnectionId, StreamOffset},
    privacy::Privacy,
    recent::Recent,
};

/// Heads in flight that are remembered; a head above that is masked from its second record on.
const MAX_HEADS: usize = 16_384;
/// Directions of connections with frames that are remembered while as many others are heard of.
const MAX_FRAMED: usize = 8_192;

/// Masks records in the order in which they come.
pub(super) struct Redactor {
    /// Heads of which more is to come, and the offset at which it must; at most [`MAX_HEADS`].
    heads: HashMap<(ConnectionId, Direction), (StreamOffset, Head), foldhash::fast::RandomState>,
    frames: Recent<(ConnectionId, Direction), Frames>,
    texts: Texts,
    masked_blind: u64,
}

impl Redactor {
    /// Masks as much as this says.
    pub fn new(privacy: Privacy) -> Self {
        Self {
            heads: HashMap::default(),
            frames: Recent::new(MAX_FRAMED),
            texts: Texts::new(privacy),
            masked_blind: 0,
        }
    }

    /// Pieces that were masked whole because what they begin in was not remembered, and directions of connections that were
    /// forgotten before they were closed.
    pub fn masked_blind(&self) -> u64 {
        self.masked_blind.saturating_add(self.frames.forgotten())
    }

    /// Masks one record in place. What is not a record stays none, and is masked.
    pub fn redact(&mut self, record: &mut [u8]) {
        let known = match Record::decode(record) {
            Ok(Record::Data(data)) => {
                let start = data.captured.as_ptr().addr() - record.as_ptr().addr();
                let captured = data.captured.len();
                if data.marks.http2() {
                    let (key, is_over) = ((data.connection, data.direction), data.marks.opaque());
                    let covered = Covered::of(&data);
                    self.heads.remove(&key);
                    if let Some(captured) = record.get_mut(start..start + captured) {
                        self.mask_frames(captured, key, &covered, is_over);
                    }
                    return mask_left_over(record, start + captured);
                }
                let head = self.take_head(&data);
                let continues = Continuation::of(&data);
                self.mask_captured(record, start, captured, head, continues);
                start + captured
            }
            Ok(Record::Close(close)) => {
                for direction in [Direction::Received, Direction::Sent] {
                    self.heads.remove(&(close.connection, direction));
                    self.frames.remove((close.connection, direction));
                }
                size_of::<tracer_common::record::CloseRecord>()
            }
            Ok(Record::Open(open)) => size_of::<tracer_common::record::OpenRecord>() + open.path_len,
            Ok(Record::Process(_)) => size_of::<tracer_common::record::ProcessRecord>(),
            Ok(Record::Stream(_)) => size_of::<tracer_common::record::StreamRecord>(),
            Ok(Record::Coroutine(_)) => size_of::<tracer_common::record::CoroutineRecord>(),
            // Its kind and size say why it is not a record, so they stay.
            Err(_) => size_of::<[u32; 2]>(),
        };
        mask_left_over(record, known);
    }

    fn mask_frames(
        &mut self,
        captured: &mut [u8],
        key: (ConnectionId, Direction),
        covered: &Covered,
        is_over: bool,
    ) {
        let remembered = self.frames.remove(key);
        let masked = Frames::at(remembered, covered)
            .and_then(|frames| frames.mask(covered, captured, &mut self.texts));
        match masked {
            Some(frames) if !is_over => {
                self.frames.insert(key, frames);
            }
            Some(_) => {}
            None if captured.is_empty() => {}
            None => {
                mask_all(captured);
                self.masked_blind += 1;
            }
        }
    }

    /// The state in which this piece is to be masked; `None` if it is not known.
    fn take_head(&mut self, data: &Data<'_>) -> Option<Head> {
        let remembered = self.heads.remove(&(data.connection, data.direction));
        if !data.marks.head() || data.marks.unknown() {
            return None;
        }
        if data.marks.head_start() {
            return Some(Head::default());
        }
        remembered
            .filter(|(next, _)| *next == data.offset)
            .map(|(_, head)| head)
    }

    fn mask_captured(
        &mut self,
        record: &mut [u8],
        start: usize,
        len: usize,
        head: Option<Head>,
        continues: Option<Continuation>,
    ) {
        let Some(captured) = record
            .get_mut(start..start + len)
            .filter(|captured| !captured.is_empty())
        else {
            return;
        };
        let Some(mut head) = head else {
            mask_all(captured);
            self.masked_blind += 1;
            return;
        };
        head.mask(captured, self.texts.privacy);
        if let Some(Continuation { key, next }) = continues
            && self.heads.len() < MAX_HEADS
        {
            self.heads.insert(key, (next, head));
        }
    }
}

/// Bytes after a record are left over from others.
fn mask_left_over(record: &mut [u8], known: usize) {
    if let Some(left_over) = record.get_mut(known..) {
        left_over.fill(b'x');
    }
}

/// Where the head of a piece goes on.
struct Continuation {
    key: (ConnectionId, Direction),
    next: StreamOffset,
}

impl Continuation {
    /// `None` if nothing of this head follows, or not from where this piece ends.
    fn of(data: &Data<'_>) -> Option<Self> {
        let whole = data.captured.len() as u64 == data.len && !data.marks.truncated();
        (whole && !data.marks.head_end() && !data.marks.opaque()).then(|| Self {
            key: (data.connection, data.direction),
            // Decoding has checked that this does not overflow.
            next: StreamOffset(data.offset.0.saturating_add(data.len)),
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
