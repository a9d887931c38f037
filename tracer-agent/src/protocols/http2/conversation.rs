//! The two directions of a connection end, and the streams in them.

use super::{
    frames::{Beginning, Event, Frames},
    head::Fields,
    hpack::{Decoder, Malformed},
    streams::{Part, Streams},
};
use crate::{
    capture::record::{Close, Data, Direction, Origin},
    ids::BootNanos,
    protocols::{
        begin::{Begins, begin, open},
        context::Context,
        exchange::{ExchangeId, Failure, Worker},
        http1::Upgraded,
    },
};

/// HTTP/2 on one connection end.
#[derive(Debug)]
pub(in crate::protocols) struct Conversation {
    received: Half,
    sent: Half,
    /// The direction of the requests, once it is known.
    requests_in: Option<Direction>,
    streams: Streams,
    /// It is not HTTP/2, or not any more.
    opaque: bool,
}

/// One direction.
#[derive(Debug)]
struct Half {
    frames: Frames,
    fields: Decoder,
    /// Stream offset of the next byte.
    seen: u64,
}

impl Half {
    fn new(seen: u64) -> Self {
        Self {
            frames: Frames::default(),
            // Until its first frame shows that there was none before.
            fields: Decoder::new(true),
            seen,
        }
    }
}

impl Conversation {
    /// A conversation that begins after what was said in HTTP/1, if anything was. The request that asked for HTTP/2 is its first
    /// stream (RFC 7540 §3.2).
    pub(in crate::protocols) fn new(before: Upgraded) -> Self {
        let mut streams = Streams::default();
        if let Some(request) = before.request {
            streams.upgraded(request);
        }
        Self {
            received: Half::new(before.received),
            sent: Half::new(before.sent),
            requests_in: before.requests_in,
            streams,
            opaque: false,
        }
    }

    /// Takes the next bytes of a direction, after `lost_before` that were lost.
    pub(in crate::protocols) fn bytes(&mut self, data: &Data<'_>, lost_before: u64, cx: &mut Context<'_>) {
        let half = match data.direction {
            Direction::Received => &mut self.received,
            Direction::Sent => &mut self.sent,
        };
        half.seen = data.offset.0.saturating_add(data.len);
        let is_frames = data.marks.http2() || data.marks.unknown();
        if self.opaque || !is_frames {
            // The answer that says that HTTP/2 follows may be told after what follows.
            return;
        }
        let mut streams = Turn {
            direction: data.direction,
            end: data.end,
            fields: &mut half.fields,
            requests_in: &mut self.requests_in,
            streams: &mut self.streams,
            cx,
        };
        half.frames
            .take(data, lost_before > 0, &mut |event| streams.take(event));
        if data.marks.opaque() {
            self.opaque = true;
            cx.counters.opaque_connections += 1;
        }
    }

    /// A task works on a stream, or had it sent.
    pub(in crate::protocols) fn taken(&mut self, stream: u32, worker: Worker, cx: &mut Context<'_>) {
        self.streams.taken(stream, worker, cx);
    }

    /// Whether bytes of it are still to be reported, going by the totals of its close record.
    pub(in crate::protocols) fn misses_bytes(&self, close: &Close) -> bool {
        !self.opaque && (self.received.seen < close.received || self.sent.seen < close.sent)
    }

    /// Nothing is running on it.
    pub(in crate::protocols) fn is_at_rest(&self) -> bool {
        self.streams.is_empty()
    }

    /// When the last byte passed of the request that waits longest for its response to begin.
    pub(in crate::protocols) fn longest_unanswered(&self) -> Option<BootNanos> {
        self.streams.longest_unanswered()
    }

    /// Gives up the requests that are not answered by now.
    pub(in crate::protocols) fn time_out(&mut self, now: BootNanos, cx: &mut Context<'_>) {
        let before = BootNanos(now.0.saturating_sub(cx.settings.idle_ns));
        self.streams.time_out(before, now, cx);
    }

    /// Ends everything. Without a close record nothing is known of how.
    pub(in crate::protocols) fn close(&mut self, close: Option<&Close>, cx: &mut Context<'_>) {
        let known = close.filter(|close| !self.opaque && !self.misses_bytes(close));
        let failure = known.map(|close| (Failure::of_close(close.errno), close.at));
        self.streams.close(failure, cx);
    }
}

/// What a record of one direction changes.
struct Turn<'a, 'c> {
    direction: Direction,
    /// When the bytes of the record had passed.
    end: BootNanos,
    fields: &'a mut Decoder,
    requests_in: &'a mut Option<Direction>,
    streams: &'a mut Streams,
    cx: &'a mut Context<'c>,
}

impl Turn<'_, '_> {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::FromStart => *self.fields = Decoder::new(false),
            Event::Gap => {
                self.fields.lose();
                self.streams.damage();
            }
            Event::Fields {
                beginning,
                block,
                ends_stream,
                promised,
            } => self.fields(beginning, block, ends_stream, promised),
            Event::Data {
                stream,
                len,
                ends_stream,
            } => {
                let part = self.part();
                self.streams.data(stream, part, len, self.end);
                if ends_stream {
                    self.streams.ended(stream, part, self.cx);
                }
            }
            Event::Reset { stream, code } => self.streams.reset(stream, code, self.end, self.cx),
        }
    }

    /// What is sent in this direction: as the fields told, else by who opened the connection.
    fn part(&self) -> Part {
        let is_request = match (*self.requests_in, open(self.cx).map(|open| open.origin)) {
            (Some(requests_in), _) => requests_in == self.direction,
            (None, Some(Origin::Connected)) => self.direction == Direction::Sent,
            (None, _) => self.direction == Direction::Received,
        };
        if is_request { Part::Request } else { Part::Response }
    }

    fn fields(&mut self, beginning: Beginning, block: Option<&[u8]>, ends_stream: bool, promised: bool) {
        let settings = self.cx.settings;
        let mut fields = Fields::default();
        let read: Option<Result<(), Malformed>> =
            block.map(|block| self.fields.block(block, |field| fields.note(field, settings)));
        let is_read = read == Some(Ok(()));
        if block.is_none() {
            self.fields.lose();
        }
        if promised || beginning.stream.is_multiple_of(2) {
            // What a server pushes nobody has asked for.
            return;
        }
        if let Some(is_request) = fields.is_request().filter(|_| is_read) {
            let is_sent = self.direction == Direction::Sent;
            let requests_in = if is_request == is_sent {
                Direction::Sent
            } else {
                Direction::Received
            };
            *self.requests_in = Some(requests_in);
        }
        let part = self.part();
        let stream = beginning.stream;
        if !self.streams.begins(stream, part) {
            let status = fields.grpc_status().filter(|_| is_read);
            // What is not known may have been the status.
            let is_whole = status.is_some() || (is_read && !fields.has_unknown());
            self.streams.trailers(stream, part, status, is_whole, self.end);
        } else if part == Part::Request {
            self.request(beginning, fields, is_read, ends_stream);
        } else if is_read && fields.is_interim() {
            self.cx.counters.informational_responses += 1;
        } else {
            self.cx.counters.responses_unparsable += u64::from(!is_read);
            let is_whole = !fields.has_unknown();
            let head = fields.into_response(settings).filter(|_| is_read);
            self.streams.response(stream, head, is_whole, self.end, self.cx);
        }
        if ends_stream {
            self.streams.ended(stream, part, self.cx);
        }
    }

    fn request(&mut self, beginning: Beginning, fields: Fields, is_read: bool, is_whole: bool) {
        let exchange = self.exchange(beginning, fields, is_read);
        self.streams
            .request(beginning.stream, exchange, is_whole, self.end, self.cx);
    }

    /// The exchange of a request, if one is to be made.
    fn exchange(&mut self, beginning: Beginning, fields: Fields, is_read: bool) -> Option<ExchangeId> {
        if !is_read || fields.is_request() != Some(true) {
            self.cx.counters.requests_unparsable += 1;
            return None;
        }
        if self.streams.len() >= self.cx.settings.exchanges_per_connection {
            self.cx.counters.requests_over_bound += 1;
            return None;
        }
        let incomplete = fields.has_unknown();
        let (request, context) = fields.into_request(self.cx.settings);
        begin(
            Begins {
                direction: self.direction,
                start: beginning.start,
                head_end: self.end,
                seq: beginning.seq,
                cover: beginning.cover,
                task: beginning.task,
                maker: beginning.maker,
                handed: false,
                multiplexed: true,
                coroutine: None,
                moment: None,
                request,
                context,
                unseen: false,
                incomplete,
            },
            self.cx,
        )
    }
}
