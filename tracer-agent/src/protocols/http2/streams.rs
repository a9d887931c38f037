//! The streams of a connection that are running: each is one exchange.

use std::collections::BTreeMap;

use crate::{
    ids::BootNanos,
    protocols::{
        context::Context,
        exchange::{self, Ending, ExchangeEvent, ExchangeId, Failure, Worker},
        http1::UpgradedRequest,
    },
};

/// Streams of which only a response was seen: the request may be told later.
const EARLY_MAX: usize = 64;

/// Streams of which a task has told that it works on them, and no request was seen yet.
const TAKEN_MAX: usize = 256;

/// One request with its response.
///
/// ```text
///   request fields ──▶ running ── response fields ──▶ answered ── the response ends, or a reset ──▶ over
///   response fields ──▶ early ── request fields ──▶ answered, or over at once
/// ```
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The request was seen. It has no exchange if none is to be made of it.
    request: Option<Option<ExchangeId>>,
    /// When the last byte passed that belongs to it.
    last: BootNanos,
    sent: Body,
    answer: Body,
    has_answer: bool,
    response: Option<exchange::Response>,
    grpc_status: Option<u32>,
    /// How it ended before its response did.
    failure: Option<Failure>,
    is_over: bool,
    is_incomplete: bool,
}

/// A message's body.
#[derive(Clone, Copy, Debug, Default)]
struct Body {
    bytes: u64,
    is_unknown: bool,
    is_whole: bool,
}

impl Body {
    fn add(&mut self, len: Option<u64>) {
        self.bytes = self.bytes.saturating_add(len.unwrap_or_default());
        self.is_unknown |= len.is_none();
    }

    fn len(self) -> Option<u64> {
        (self.is_whole && !self.is_unknown).then_some(self.bytes)
    }
}

/// A direction, by what is sent in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Request,
    Response,
}

impl Stream {
    fn body(&mut self, part: Part) -> &mut Body {
        match part {
            Part::Request => &mut self.sent,
            Part::Response => &mut self.answer,
        }
    }

    fn is_unanswered(&self) -> bool {
        matches!(self.request, Some(Some(_))) && !self.has_answer
    }
}

/// Those that are running.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: BTreeMap<u32, Stream>,
    early: usize,
    /// A request may be told after the task that had it sent.
    taken: BTreeMap<u32, Worker>,
    /// The last that a request began: they come in order (RFC 9113 §5.1.1).
    newest: u32,
}

impl Streams {
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether the fields that come begin the request or the response of a stream: else they are its trailers.
    pub(super) fn begins(&self, stream: u32, part: Part) -> bool {
        self.streams.get(&stream).is_none_or(|known| match part {
            Part::Request => known.request.is_none(),
            Part::Response => !known.has_answer,
        })
    }

    /// A request began, and was that all of it?
    pub(super) fn request(
        &mut self,
        stream: u32,
        exchange: Option<ExchangeId>,
        is_whole: bool,
        last: BootNanos,
        cx: &mut Context<'_>,
    ) {
        let known = self.streams.entry(stream).or_default();
        self.early = self.early.saturating_sub(usize::from(known.has_answer));
        known.request = Some(exchange);
        self.newest = self.newest.max(stream);
        known.last = known.last.max(last);
        known.sent.is_whole |= is_whole;
        let worker = self.taken.remove(&stream);
        if let Some((exchange, worker)) = exchange.zip(worker) {
            cx.out.push(ExchangeEvent::Taken(exchange, worker));
        }
        // Its response may have been told before it.
        self.end_if_over(stream, cx);
    }

    /// The first request was sent in HTTP/1.
    pub(super) fn upgraded(&mut self, request: UpgradedRequest) {
        let sent = Body {
            bytes: request.body.unwrap_or_default(),
            is_unknown: request.body.is_none(),
            is_whole: true,
        };
        self.newest = 1;
        self.streams.insert(
            1,
            Stream {
                request: Some(request.exchange),
                last: request.last,
                sent,
                ..Stream::default()
            },
        );
    }

    /// A task works on a stream, or had it sent.
    pub(super) fn taken(&mut self, stream: u32, worker: Worker, cx: &mut Context<'_>) {
        match self.streams.get(&stream).and_then(|known| known.request) {
            Some(Some(exchange)) => cx.out.push(ExchangeEvent::Taken(exchange, worker)),
            // None is to be made of it.
            Some(None) => {}
            // It is over.
            None if stream <= self.newest => {}
            None => {
                self.taken.insert(stream, worker);
                if self.taken.len() > TAKEN_MAX {
                    self.taken.pop_first();
                }
            }
        }
    }

    /// A response began.
    pub(super) fn response(
        &mut self,
        stream: u32,
        head: Option<exchange::Response>,
        is_whole: bool,
        last: BootNanos,
        cx: &mut Context<'_>,
    ) {
        if stream <= self.newest && !self.streams.contains_key(&stream) {
            // It is over: whoever writes this was not told yet that it was reset.
            return;
        }
        let known = self.streams.entry(stream).or_default();
        known.has_answer = true;
        known.is_incomplete |= head.is_none() || !is_whole;
        known.grpc_status = head.as_ref().and_then(|head| head.grpc_status);
        known.response = head;
        known.last = known.last.max(last);
        if known.request.is_none() {
            self.early += 1;
            if self.early > EARLY_MAX {
                self.drop_earliest(cx);
            }
        }
    }

    fn drop_earliest(&mut self, cx: &mut Context<'_>) {
        let early = self.streams.iter().find(|(_, known)| known.request.is_none());
        if let Some(stream) = early.map(|(stream, _)| *stream) {
            self.streams.remove(&stream);
            self.early = self.early.saturating_sub(1);
            cx.counters.responses_without_request += 1;
        }
    }

    /// The status of a call by gRPC came behind its response.
    pub(super) fn trailers(
        &mut self,
        stream: u32,
        part: Part,
        grpc_status: Option<u32>,
        is_whole: bool,
        last: BootNanos,
    ) {
        if let Some(known) = self.streams.get_mut(&stream) {
            known.last = known.last.max(last);
            if part == Part::Response {
                known.grpc_status = grpc_status.or(known.grpc_status);
                known.is_incomplete |= !is_whole;
            }
        }
    }

    /// Bytes of a body passed.
    pub(super) fn data(&mut self, stream: u32, part: Part, len: Option<u64>, last: BootNanos) {
        if let Some(known) = self.streams.get_mut(&stream) {
            known.last = known.last.max(last);
            known.body(part).add(len);
        }
    }

    /// One direction of a stream is over.
    pub(super) fn ended(&mut self, stream: u32, part: Part, cx: &mut Context<'_>) {
        if let Some(known) = self.streams.get_mut(&stream) {
            known.body(part).is_whole = true;
            known.is_over |= part == Part::Response;
            // A response without a head has lost it.
            known.is_incomplete |= known.is_over && !known.has_answer;
        }
        self.end_if_over(stream, cx);
    }

    /// A stream was reset.
    pub(super) fn reset(&mut self, stream: u32, code: u32, at: BootNanos, cx: &mut Context<'_>) {
        if let Some(known) = self.streams.get_mut(&stream) {
            known.last = known.last.max(at);
            known.failure = Some(Failure::StreamReset(code));
            known.is_over = true;
        }
        self.end_if_over(stream, cx);
    }

    /// Bytes are missing that may have been of any stream that is running.
    pub(super) fn damage(&mut self) {
        for known in self.streams.values_mut() {
            known.is_incomplete = true;
        }
    }

    fn end_if_over(&mut self, stream: u32, cx: &mut Context<'_>) {
        let is_over = self
            .streams
            .get(&stream)
            .is_some_and(|known| known.is_over && known.request.is_some());
        if is_over && let Some(known) = self.streams.remove(&stream) {
            end(known, cx);
        }
    }

    /// When the last byte passed of the request that waits longest for its response to begin.
    pub(super) fn longest_unanswered(&self) -> Option<BootNanos> {
        let waiting = self.streams.values().filter(|known| known.is_unanswered());
        waiting.map(|known| known.last).min()
    }

    /// Gives up the requests of which no byte passed since `before`, at `now`.
    pub(super) fn time_out(&mut self, before: BootNanos, now: BootNanos, cx: &mut Context<'_>) {
        let is_due = |known: &Stream| known.is_unanswered() && known.last <= before;
        let due: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, known)| is_due(known))
            .map(|(stream, _)| *stream)
            .collect();
        for stream in due {
            if let Some(mut known) = self.streams.remove(&stream) {
                if !known.is_incomplete {
                    known.failure = Some(Failure::Unanswered);
                    known.last = now;
                }
                end(known, cx);
            }
        }
    }

    /// Ends all that are running: with a failure at a time, or with nothing that is known.
    pub(super) fn close(&mut self, failure: Option<(Failure, BootNanos)>, cx: &mut Context<'_>) {
        self.early = 0;
        for (_, mut known) in std::mem::take(&mut self.streams) {
            match failure.filter(|_| !known.is_incomplete) {
                Some((failure, at)) => {
                    known.failure = Some(failure);
                    known.last = known.last.max(at);
                }
                None => known.is_incomplete = true,
            }
            end(known, cx);
        }
    }
}

fn end(stream: Stream, cx: &mut Context<'_>) {
    let Some(request) = stream.request else {
        cx.counters.responses_without_request += 1;
        return;
    };
    let Some(exchange) = request else { return };
    cx.counters.exchanges_incomplete += u64::from(stream.is_incomplete);
    *cx.running = cx.running.saturating_sub(1);
    let response = stream.response.map(|response| exchange::Response {
        grpc_status: stream.grpc_status,
        ..response
    });
    cx.out.push(ExchangeEvent::Ended(
        exchange,
        Ending {
            end: stream.last,
            response,
            // Whoever wrote it wrote for all streams.
            response_task: None,
            coroutine: None,
            maker: None,
            moment: None,
            request_body: stream.sent.len(),
            response_body: stream.answer.len(),
            failure: stream.failure,
            incomplete: stream.is_incomplete,
        },
    ));
}
