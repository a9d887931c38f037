//! One direction of a connection: where in its messages it stands.

use std::num::NonZeroU32;

use super::message::Gap;
use crate::{
    capture::record::{Data, Direction},
    ids::{BootNanos, Coroutine, Maker, Moment, Task},
    protocols::{context::Context, exchange::Cover},
};

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub at: At,
    /// Bytes are missing since the last message whose place is known.
    pub lost: Option<Gap>,
    /// When bytes passed last that belong to a message whose place is not known.
    /// Boxed, since that hardly ever happens.
    pub adrift: Option<Box<BootNanos>>,
    /// Stream offset of the next byte.
    pub seen: u64,
    /// A head was seen.
    pub began: bool,
}

/// A place in a stream of messages.
///
/// ```text
///   Between ── HEAD_START ──▶ Head ── HEAD_END ──▶ Body ── MESSAGE_END ──▶ Between
///      any ── a gap that leaves the place unknown ──▶ Lost ── HEAD_START ──▶ Head
/// ```
#[derive(Debug, Default)]
pub(super) enum At {
    #[default]
    Between,
    Head(Box<UnfinishedHead>),
    Body(Body),
    Lost,
}

/// The first byte of a message, and its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    pub start: BootNanos,
    pub task: Task,
    pub maker: Option<Maker>,
    /// Of the first byte that was sent.
    pub coroutine: Option<Coroutine>,
    pub handed: bool,
    pub is_received: bool,
    /// Of the first byte that was sent, or the last of the head that was received.
    pub moment: Option<Moment>,
    pub seq: u32,
    /// See [`Data::exchange`].
    pub number: Option<NonZeroU32>,
    pub cover: Cover,
}

impl Beginning {
    pub(super) fn of(data: &Data<'_>) -> Self {
        Self {
            start: data.start,
            task: data.task,
            maker: data.maker,
            coroutine: data.coroutine,
            handed: data.marks.handed(),
            is_received: data.direction == Direction::Received,
            moment: data.moment,
            seq: data.seq,
            number: data.exchange,
            cover: Cover::of(data.marks),
        }
    }
}

/// A head that came in more than one piece, up to now.
#[derive(Debug)]
pub(super) struct UnfinishedHead {
    pub beginning: Beginning,
    pub bytes: Vec<u8>,
    pub cut: bool,
    pub last: BootNanos,
}

impl UnfinishedHead {
    pub(super) fn new(beginning: Beginning) -> Self {
        Self {
            beginning,
            bytes: Vec::new(),
            cut: false,
            last: beginning.start,
        }
    }

    /// Adds a piece, or as much of it as there is room for.
    pub(super) fn add(&mut self, data: &Data<'_>, cx: &mut Context<'_>) {
        self.last = data.end;
        self.beginning.number = self.beginning.number.or(data.exchange);
        if data.direction == Direction::Received {
            // Go's server has a goroutine look whether the connection ends meanwhile, which may get a first byte.
            (self.beginning.task, self.beginning.maker) = (data.task, data.maker);
            self.beginning.moment = data.moment;
        }
        if self.cut {
            return;
        }
        let room = cx.settings.head_bytes.saturating_sub(self.bytes.len());
        let room = room.min(cx.settings.unfinished_head_bytes.saturating_sub(*cx.unfinished));
        let kept = data.captured.get(..room).unwrap_or(data.captured);
        self.bytes.extend_from_slice(kept);
        *cx.unfinished += kept.len();
        cx.counters.heads_truncated += u64::from(kept.len() < data.captured.len());
        self.cut = is_cut(data) || kept.len() < data.captured.len();
    }
}

/// Whether the captured bytes are not all the bytes of the piece.
pub(super) fn is_cut(data: &Data<'_>) -> bool {
    data.marks.truncated() || (data.captured.len() as u64) < data.len
}

/// The body of the message that was seen last in its direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    /// Offset of its first byte.
    pub start: u64,
    pub ends: Ends,
    /// The message has a place in the pairing; else its bytes are of no interest.
    pub in_pairing: bool,
}

/// Where a body ends, by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// At this stream offset.
    At(u64),
    /// With the connection.
    AtClose,
    /// Where its own framing says.
    Unknown,
}
