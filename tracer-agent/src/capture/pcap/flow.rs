//! One connection: two directions, each put back into the order in which its bytes were sent.

use std::net::SocketAddr;

use super::{
    half::{End, Half, Hole, How, Piece},
    segment::{Segment, Seq},
    sides::{Both, Side},
    story::{Begun, Story, Teller},
};

/// How long bytes may be captured later than those behind them. The other end has received them, so they are not
/// sent again.
const REORDERED_NS: u64 = 1_000_000_000;
/// How long bytes are waited for that may be sent again: some repeats, whose distance doubles each time.
const RESENT_NS: u64 = 10_000_000_000;
/// What is kept of one connection that came too early for its place.
const EARLY_BYTES_MAX: usize = 1 << 20;
const EARLY_PIECES_MAX: usize = 1024;

/// One connection.
#[derive(Debug)]
pub(super) struct Flow {
    addresses: Both<SocketAddr>,
    halves: Both<Half>,
    begun: Begun,
    story: Story,
    /// Orders connections by when they were first seen.
    pub number: u64,
    /// When it ended, if it has: it stays for what is captured late.
    pub closed: Option<u64>,
}

/// How long a flow goes on waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It is this late.
    Until(u64),
    /// Nothing more will come.
    None,
}

impl Flow {
    /// A connection whose first segment is this one.
    pub fn new(number: u64, segment: &Segment<'_>) -> Self {
        let (first, second) = if segment.syn && segment.ack.is_some() {
            (segment.to, segment.from)
        } else {
            (segment.from, segment.to)
        };
        let addresses = Both { first, second };
        Self {
            addresses,
            halves: Both::default(),
            begun: Begun {
                at: segment.at,
                ..Begun::default()
            },
            story: Story::new(number, addresses),
            number,
            closed: None,
        }
    }

    /// Whether a segment can be of this connection, and not of a later one between the same addresses.
    pub fn takes(&mut self, segment: &Segment<'_>) -> bool {
        let side = self.sender(segment);
        if segment.syn {
            if self.closed.is_some() {
                return false;
            }
            let other = self.halves.of_mut(side.other());
            let answers = segment.ack.is_none_or(|ack| match other.next() {
                None => other.begin(ack),
                // A SYN may bring bytes (RFC 7413).
                Some(_) => other.is_near(ack),
            });
            return answers && self.halves.of_mut(side).begin(segment.seq.plus(1));
        }
        self.closed.is_some() || segment.rst || self.halves.of(side).is_near(segment.seq)
    }

    /// Takes a segment for which [`Self::takes`] holds.
    pub fn push(&mut self, segment: &Segment<'_>, teller: &mut Teller) {
        if self.closed.is_some() {
            return;
        }
        let side = self.sender(segment);
        let mut seq = segment.seq;
        if segment.syn {
            seq = seq.plus(1);
            self.begun.with_handshake = true;
            if segment.ack.is_some() {
                self.begun.established = Some(segment.at);
            }
        } else if let (true, None) = (segment.rst, self.halves.of(side).next()) {
            if self.begun.with_handshake && self.early_bytes() == 0 {
                self.story.refuse(self.begun, segment.at, teller);
                self.closed = Some(segment.at);
            } else {
                self.close(segment.at, teller);
            }
            return;
        } else {
            self.halves.of_mut(side).join(seq);
        }
        if let Some(ack) = segment.ack {
            self.halves.of_mut(side.other()).acknowledge(ack, segment.at);
        }
        let end = self.bytes(side, seq, segment, teller);
        if segment.fin || segment.rst {
            self.halves.of_mut(side).set_end(End {
                seq: end,
                how: if segment.rst { How::Reset } else { How::Finished },
                ack: segment.ack,
                at: segment.at,
            });
        }
        self.advance(segment.at, false, teller);
        self.give_up(Patience::Until(segment.at), teller);
    }

    /// Takes the payload of a segment; where it ends.
    fn bytes(&mut self, side: Side, seq: Seq, segment: &Segment<'_>, teller: &mut Teller) -> Seq {
        let len = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
        let behind = seq.plus(len);
        if segment.cut > 0 {
            teller.counters.cut_segments += 1;
        }
        if len == 0 && segment.cut == 0 {
            return behind;
        }
        let end = behind.plus(segment.cut);
        let half = self.halves.of(side);
        if half.ended.is_some() || !half.is_near(seq) {
            teller.counters.repeated_segments += 1;
            return end;
        }
        if self.story.is_opaque {
            // Only when it ends is of interest.
            let half = self.halves.of_mut(side);
            let passed = half.next().and_then(|next| end.beyond(next));
            half.pass(passed.unwrap_or_default(), segment.at);
            half.forget();
            return end;
        }
        let other = self.halves.of(side.other()).next();
        let half = self.halves.of_mut(side);
        let answers = segment
            .ack
            .zip(other)
            .is_none_or(|(ack, other)| ack.since(other) <= 0);
        if half.is_next(seq) && answers && segment.cut == 0 {
            self.pass(side, seq, segment.payload, segment.at, teller);
            return end;
        }
        let piece = Piece {
            seq,
            len,
            bytes: Some(segment.payload.into()),
            at: segment.at,
            ack: segment.ack,
        };
        let cut = Piece {
            seq: behind,
            len: segment.cut,
            bytes: None,
            ..piece
        };
        let mut repeated = half.keep(piece);
        repeated = repeated.saturating_add(half.keep(cut));
        teller.counters.repeated_segments += u64::from(repeated == end.0.wrapping_sub(seq.0));
        end
    }

    /// Passes everything that is ready.
    fn advance(&mut self, at: u64, whatever_it_answers: bool, teller: &mut Teller) {
        let mut is_moving = true;
        let mut whatever_it_answers = whatever_it_answers;
        while is_moving && self.closed.is_none() {
            is_moving = false;
            for side in Side::BOTH {
                let other = self.halves.of(side.other()).next();
                while let Some(piece) = self.halves.of_mut(side).take(other, whatever_it_answers) {
                    (is_moving, whatever_it_answers) = (true, false);
                    self.pass_piece(side, &piece, teller);
                }
                if self.halves.of_mut(side).try_end(other, whatever_it_answers) {
                    (is_moving, whatever_it_answers) = (true, false);
                }
            }
            let ended = self.ended();
            let is_reset = [ended.first, ended.second].contains(&Some(How::Reset));
            if is_reset || (ended.first.is_some() && ended.second.is_some()) {
                self.close(at, teller);
            }
        }
        Side::BOTH
            .into_iter()
            .for_each(|side| self.halves.of_mut(side).look(at));
    }

    /// Passes over what has been waited for long enough.
    pub fn give_up(&mut self, patience: Patience, teller: &mut Teller) {
        while self.closed.is_none() {
            let is_over_bound = self.is_over_bound();
            let candidates = Side::BOTH.into_iter().filter_map(|side| {
                let half = self.halves.of(side);
                Some((half.hole().is_none(), half.stuck_since()?, side))
            });
            // Of two, the hole that is older; something that waits without a hole waits for the other direction.
            let Some((_, since, side)) = candidates.min_by_key(|(is_whole, since, _)| (*is_whole, *since))
            else {
                return;
            };
            let hole = self.halves.of(side).hole();
            let is_due = match patience {
                Patience::None => true,
                Patience::Until(now) => {
                    let is_resent = hole.is_some_and(|hole| !hole.is_acknowledged);
                    let wait_ns = if is_resent { RESENT_NS } else { REORDERED_NS };
                    let since = hole.map_or(since, |hole| since.min(hole.known));
                    now.saturating_sub(since) >= wait_ns
                }
            };
            if !is_due && !is_over_bound {
                return;
            }
            if !is_due {
                teller.counters.early_over_bound += 1;
            }
            let at = match patience {
                Patience::Until(now) => now,
                Patience::None => since,
            };
            let before = self.place();
            match (hole, self.halves.of(side).next()) {
                (Some(hole), Some(next)) => {
                    self.pass_hole(side, next, hole, teller);
                    self.advance(at, false, teller);
                }
                _ => self.advance(at, true, teller),
            }
            if self.place() == before {
                return;
            }
        }
    }

    /// What changes with every byte that passes and with every end.
    fn place(&self) -> [(Option<Seq>, Option<How>); 2] {
        [&self.halves.first, &self.halves.second].map(|half| (half.next(), half.ended))
    }

    /// Whether it waits for something.
    pub fn is_waiting(&self) -> bool {
        let waits = |side| self.halves.of(side).stuck_since().is_some();
        self.closed.is_none() && Side::BOTH.into_iter().any(waits)
    }

    /// Bytes that are kept for their place.
    pub fn early_bytes(&self) -> usize {
        self.halves.first.early_bytes() + self.halves.second.early_bytes()
    }

    /// Nothing more of it will be looked at.
    pub fn finish(&mut self, at: u64, teller: &mut Teller) {
        self.give_up(Patience::None, teller);
        if self.closed.is_none() {
            let is_unanswered = self.begun.with_handshake && self.halves.second.next().is_none();
            teller.counters.connects_unanswered += u64::from(is_unanswered);
            self.close(at, teller);
        }
    }

    fn is_over_bound(&self) -> bool {
        let pieces = self.halves.first.early_pieces() + self.halves.second.early_pieces();
        self.early_bytes() > EARLY_BYTES_MAX || pieces > EARLY_PIECES_MAX
    }

    fn pass_piece(&mut self, side: Side, piece: &Piece, teller: &mut Teller) {
        match &piece.bytes {
            Some(bytes) => self.pass(side, piece.seq, bytes, piece.at, teller),
            None => self.pass_unseen(side, piece.seq, piece.len, piece.at, teller),
        }
    }

    fn pass_hole(&mut self, side: Side, seq: Seq, hole: Hole, teller: &mut Teller) {
        teller.counters.holes += u64::from(!self.story.is_opaque);
        // What shows that they were sent came after them.
        let at = hole.known.saturating_sub(1);
        self.pass_unseen(side, seq, hole.len, at, teller);
    }

    fn pass(&mut self, side: Side, seq: Seq, bytes: &[u8], at: u64, teller: &mut Teller) {
        self.open(teller);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let half = self.halves.of_mut(side);
        half.pass(len, at);
        let at = half.last;
        self.story.pass(side, seq, bytes, at, teller);
        self.forget_if_opaque();
    }

    fn pass_unseen(&mut self, side: Side, seq: Seq, len: u32, at: u64, teller: &mut Teller) {
        self.open(teller);
        teller.counters.missing_bytes += if self.story.is_opaque { 0 } else { u64::from(len) };
        let half = self.halves.of_mut(side);
        half.pass(len, at);
        let at = half.last;
        self.story.pass_unseen(side, seq, len, at, teller);
    }

    fn open(&mut self, teller: &mut Teller) {
        let from_start = Both {
            first: self.halves.first.from_start,
            second: self.halves.second.from_start,
        };
        self.story.open(self.begun, from_start, teller);
    }

    fn forget_if_opaque(&mut self) {
        if self.story.is_opaque {
            Side::BOTH
                .into_iter()
                .for_each(|side| self.halves.of_mut(side).forget());
        }
    }

    fn close(&mut self, at: u64, teller: &mut Teller) {
        // Of a connection that was reset, what is still kept passed before.
        for side in Side::BOTH {
            loop {
                let half = self.halves.of_mut(side);
                if let Some(piece) = half.take(None, true) {
                    self.pass_piece(side, &piece, teller);
                } else if let (false, Some(hole), Some(next)) =
                    (half.early_pieces() == 0, half.hole(), half.next())
                {
                    self.pass_hole(side, next, hole, teller);
                } else {
                    break;
                }
            }
            self.halves.of_mut(side).forget();
        }
        let at = at.max(self.halves.first.last).max(self.halves.second.last);
        self.closed = Some(at);
        self.story.close(self.ended(), at, teller);
    }

    fn ended(&self) -> Both<Option<How>> {
        Both {
            first: self.halves.first.ended,
            second: self.halves.second.ended,
        }
    }

    fn sender(&self, segment: &Segment<'_>) -> Side {
        if segment.from == self.addresses.first {
            Side::First
        } else {
            Side::Second
        }
    }
}
