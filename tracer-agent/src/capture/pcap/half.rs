//! One direction of a connection: which byte comes next, and what was captured too early for its place.
//!
//! ```text
//!        passed            hole          early               hole        end
//!   ───────────────────┬┄┄┄┄┄┄┄┄┄┄┄┬───────────────┬┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┤ FIN, RST
//!                     next
//! ```
//!
//! Kept true: no byte passes twice, the first copy of it counts; early pieces are in order, do not overlap and lie
//! behind `next`. A piece is ready when it is next and what its sender had received by then has passed in the other
//! direction: so a request passes before its response, in whatever order they were captured.

use std::collections::VecDeque;

use super::segment::Seq;

/// No window is larger (RFC 7323 §2.3): what is farther away is of another connection.
const WINDOW_MAX: u32 = 1 << 30;

/// A run of bytes with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub seq: Seq,
    pub len: u32,
    /// `None` for bytes that passed and were not kept.
    pub bytes: Option<Box<[u8]>>,
    pub at: u64,
    /// What its sender had received.
    pub ack: Option<Seq>,
}

/// How a direction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// By FIN.
    Finished,
    /// By RST.
    Reset,
}

/// Where a direction ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub seq: Seq,
    pub how: How,
    pub ack: Option<Seq>,
    pub at: u64,
}

/// Bytes that did not come, though something behind them did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub len: u32,
    /// The other end has received them: they are not sent again.
    pub is_acknowledged: bool,
    /// When something was captured that shows that they had passed.
    pub known: u64,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// The first byte; `None` before anything is known.
    first: Option<Seq>,
    next: Option<Seq>,
    /// The first byte is that of the connection.
    pub from_start: bool,
    /// Up to where the other end has received, and when it said so.
    acknowledged: Option<(Seq, u64)>,
    early: VecDeque<Piece>,
    early_bytes: usize,
    end: Option<End>,
    pub ended: Option<How>,
    /// Where it waits and since when.
    stuck: Option<(Seq, u64)>,
    /// When its last byte passed.
    pub last: u64,
}

impl Half {
    pub fn next(&self) -> Option<Seq> {
        self.next
    }

    pub fn early_pieces(&self) -> usize {
        self.early.len()
    }

    pub fn early_bytes(&self) -> usize {
        self.early_bytes
    }

    /// Since when it waits for something.
    pub fn stuck_since(&self) -> Option<u64> {
        self.stuck.map(|(_, since)| since)
    }

    fn has_passed(&self) -> bool {
        self.next != self.first
    }

    /// Whether a first byte with this place may begin the direction: false if it has begun elsewhere.
    pub fn begin(&mut self, first: Seq) -> bool {
        if self.first.is_some_and(|known| known != first) && (self.from_start || self.has_passed()) {
            return false;
        }
        if self.next.is_none() || !self.has_passed() {
            self.next = Some(first);
        }
        self.first = Some(first);
        self.from_start = true;
        true
    }

    /// Learns the place from a segment, where the beginning was not seen.
    pub fn join(&mut self, seq: Seq) {
        let is_before = self.next.is_some_and(|next| seq.since(next) < 0);
        if self.next.is_none() || (is_before && !self.from_start && !self.has_passed()) {
            (self.first, self.next) = (Some(seq), Some(seq));
        }
    }

    /// Whether a segment can be of this connection.
    pub fn is_near(&self, seq: Seq) -> bool {
        self.next
            .is_none_or(|next| seq.since(next).unsigned_abs() <= WINDOW_MAX)
    }

    /// The other end has received everything before `ack`.
    pub fn acknowledge(&mut self, ack: Seq, at: u64) {
        let Some(next) = self.next else {
            (self.first, self.next) = (Some(ack), Some(ack));
            return;
        };
        let known = self.acknowledged.map_or(next, |(known, _)| known);
        if ack.since(known) > 0 && self.is_near(ack) {
            self.acknowledged = Some((ack, at));
        }
    }

    /// Whether bytes at this place are next, and nothing waits.
    pub fn is_next(&self, seq: Seq) -> bool {
        self.next == Some(seq) && self.early.is_empty() && self.end.is_none() && self.ended.is_none()
    }

    /// These bytes passed.
    pub fn pass(&mut self, len: u32, at: u64) {
        self.next = self.next.map(|next| next.plus(len));
        self.last = self.last.max(at);
    }

    /// Where it will end; the first that says so counts, and RST before FIN.
    pub fn set_end(&mut self, mut end: End) {
        if let Some(next) = self.next
            && !self.is_near(end.seq)
        {
            // An RST from nowhere ends it all the same.
            end.seq = next;
        }
        if self
            .end
            .is_none_or(|known| known.how == How::Finished && end.how == How::Reset)
        {
            self.end = Some(end);
        }
    }

    /// Keeps what is new of a piece; how many of its bytes are not.
    pub fn keep(&mut self, piece: Piece) -> u32 {
        let Some(next) = self.next else { return piece.len };
        let end = piece.seq.plus(piece.len);
        let mut at = if piece.seq.since(next) < 0 {
            next
        } else {
            piece.seq
        };
        let mut fresh = Vec::new();
        for known in &self.early {
            if known.seq.since(at) >= 0 {
                let until = if known.seq.since(end) < 0 { known.seq } else { end };
                fresh.extend(piece.part(at, until));
            }
            let behind = known.seq.plus(known.len);
            if behind.since(at) > 0 {
                at = behind;
            }
        }
        fresh.extend(piece.part(at, end));
        let kept = fresh.iter().fold(0, |sum, part| sum + part.len);
        for part in fresh {
            let place = self.early.partition_point(|known| known.seq.since(part.seq) < 0);
            self.early_bytes += part.bytes.as_ref().map_or(0, |bytes| bytes.len());
            self.early.insert(place, part);
        }
        piece.len.saturating_sub(kept)
    }

    /// Takes the next piece, if it is there and what it answers has passed; `other` is the next byte of the other
    /// direction.
    pub fn take(&mut self, other: Option<Seq>, whatever_it_answers: bool) -> Option<Piece> {
        let front = self.early.front()?;
        let is_ready = Some(front.seq) == self.next && (whatever_it_answers || has_passed(front.ack, other));
        let piece = if is_ready { self.early.pop_front() } else { None }?;
        self.early_bytes -= piece.bytes.as_ref().map_or(0, |bytes| bytes.len());
        Some(piece)
    }

    /// Ends, if everything before the end has passed.
    pub fn try_end(&mut self, other: Option<Seq>, whatever_it_answers: bool) -> bool {
        let (Some(end), None) = (self.end, self.ended) else {
            return false;
        };
        let is_reached = self.next.is_none_or(|next| next.since(end.seq) >= 0);
        if is_reached && (whatever_it_answers || has_passed(end.ack, other)) {
            self.ended = Some(end.how);
            self.early.clear();
            self.early_bytes = 0;
            if end.how == How::Finished && self.next == Some(end.seq) {
                // A FIN has a place of its own, and is no byte.
                self.next = Some(end.seq.plus(1));
            }
        }
        is_reached && self.ended.is_some()
    }

    /// What is missing at its next byte.
    pub fn hole(&self) -> Option<Hole> {
        let next = self.next.filter(|_| self.ended.is_none())?;
        let (until, known) = match (self.early.front(), self.end) {
            (Some(front), _) => (front.seq, front.at),
            (None, Some(end)) => (end.seq, end.at),
            (None, None) => self.acknowledged?,
        };
        let len = until.beyond(next)?;
        let acknowledged = self.acknowledged.filter(|(ack, _)| ack.since(until) >= 0);
        Some(Hole {
            len,
            is_acknowledged: acknowledged.is_some(),
            known: acknowledged.map_or(known, |(_, at)| known.min(at)),
        })
    }

    /// Takes note of whether it waits; `at` is now.
    pub fn look(&mut self, at: u64) {
        let waits =
            self.hole().is_some() || !self.early.is_empty() || (self.end.is_some() && self.ended.is_none());
        self.stuck = match (self.next.filter(|_| waits), self.stuck) {
            (Some(next), Some((place, since))) if place == next => Some((next, since)),
            (Some(next), _) => Some((next, at)),
            (None, _) => None,
        };
    }

    /// Forgets what came early: the bytes are of no interest any more.
    pub fn forget(&mut self) {
        self.early = VecDeque::new();
        self.early_bytes = 0;
        self.stuck = None;
    }
}

impl Piece {
    /// The part of it between two places, if there is one.
    fn part(&self, from: Seq, until: Seq) -> Option<Self> {
        let len = until.beyond(from)?;
        let skip = usize::try_from(from.since(self.seq)).ok()?;
        let bytes = match &self.bytes {
            Some(bytes) => Some(
                bytes
                    .get(skip..skip.checked_add(usize::try_from(len).ok()?)?)?
                    .into(),
            ),
            None => None,
        };
        Some(Self {
            seq: from,
            len,
            bytes,
            ..*self
        })
    }
}

fn has_passed(ack: Option<Seq>, other: Option<Seq>) -> bool {
    match (ack, other) {
        (Some(ack), Some(other)) => ack.since(other) <= 0,
        _ => true,
    }
}
