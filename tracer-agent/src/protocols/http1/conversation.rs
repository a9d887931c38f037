//! The two directions of a connection end, and what is said in them.

use super::{
    head::{self, Coding, Head, RequestHead},
    message::{Gap, Method, Request, Response},
    pairing::{Outlook, Pairing},
    stream::{At, Beginning, Body, Ends, Stream, UnfinishedHead, is_cut},
};
use crate::{
    capture::record::{Close, Data, Direction},
    connections::FarEnd,
    ids::BootNanos,
    protocols::{
        context::Context,
        exchange::{Exchange, ExchangeEvent, ExchangeId, OtherEnd, Side},
    },
};

/// HTTP/1 on one connection end.
#[derive(Debug, Default)]
pub(in crate::protocols) struct Conversation {
    pub(super) received: Stream,
    pub(super) sent: Stream,
    /// The direction of the requests, once a head has told.
    pub(super) requests_in: Option<Direction>,
    pub(super) pairing: Pairing,
    /// When the last byte passed, in either direction.
    pub(in crate::protocols) last_byte: BootNanos,
    /// It is not HTTP/1 any more.
    pub(super) opaque: bool,
    /// Bytes may have passed before the agent was there.
    joined_late: bool,
    /// A timer will look at it.
    pub(in crate::protocols) has_timer: bool,
    /// Closed, and waiting for bytes that are reported late.
    pub(in crate::protocols) closing: Option<Close>,
}

impl Conversation {
    pub(in crate::protocols) fn new(joined_late: bool) -> Self {
        Self {
            joined_late,
            ..Self::default()
        }
    }

    /// Takes the next bytes of a direction, after `lost_before` that were lost.
    pub(in crate::protocols) fn bytes(&mut self, data: &Data<'_>, lost_before: u64, cx: &mut Context<'_>) {
        self.last_byte = self.last_byte.max(data.end);
        let direction = data.direction;
        let after = data.offset.0.saturating_add(data.len);
        self.stream(direction).seen = after;
        if self.opaque {
            return;
        }
        if lost_before > 0 {
            self.lose(direction, data.offset.0, data.start, data.marks.head_start(), cx);
        }
        if data.marks.head() {
            self.head(data, cx);
        } else if data.marks.unknown() && !self.ends_with_connection(direction) {
            self.lose(direction, after, data.start, false, cx);
        } else {
            self.body(data);
        }
        if data.marks.opaque() {
            self.opaque = true;
            cx.counters.opaque_connections += 1;
        }
        self.pairing.resolve(Outlook::Open, cx);
    }

    pub(super) fn stream(&mut self, direction: Direction) -> &mut Stream {
        match direction {
            Direction::Received => &mut self.received,
            Direction::Sent => &mut self.sent,
        }
    }

    fn ends_with_connection(&mut self, direction: Direction) -> bool {
        matches!(&self.stream(direction).at, At::Body(body) if body.ends == Ends::AtClose)
    }

    /// Bytes of a direction are missing; the stream goes on at `resumes`, at the head of a message or not.
    fn lose(
        &mut self,
        direction: Direction,
        resumes: u64,
        until: BootNanos,
        at_head: bool,
        cx: &mut Context<'_>,
    ) {
        let gap = |holds_message| Gap { until, holds_message };
        // What passed before the agent was there is not missed.
        let joining = self.joined_late && !self.stream(direction).began;
        let at = std::mem::take(&mut self.stream(direction).at);
        match at {
            At::Between if joining => {}
            At::Between => {
                self.set_lost(direction, gap(at_head));
                if !at_head {
                    self.stream(direction).at = At::Lost;
                }
            }
            At::Lost => {
                self.set_lost(direction, gap(false));
                self.stream(direction).at = At::Lost;
            }
            At::Head(head) => self.break_off_head(*head, direction, gap(false), cx),
            At::Body(body) => match body.ends {
                Ends::At(end) if resumes >= end => {
                    self.break_off_body(direction, body, Some(end));
                    if resumes > end {
                        self.set_lost(direction, gap(at_head));
                        self.stream(direction).at = At::Lost;
                    }
                }
                Ends::At(_) | Ends::AtClose => {
                    self.damage(direction, body);
                    self.stream(direction).at = At::Body(body);
                }
                Ends::Unknown => {
                    self.break_off_body(direction, body, None);
                    self.set_lost(direction, gap(false));
                    self.stream(direction).at = At::Lost;
                }
            },
        }
    }

    fn set_lost(&mut self, direction: Direction, gap: Gap) {
        let lost = &mut self.stream(direction).lost;
        *lost = Some(Gap {
            until: gap.until,
            holds_message: gap.holds_message || lost.is_some_and(|before| before.holds_message),
        });
    }

    fn damage(&mut self, direction: Direction, body: Body) {
        if !body.in_pairing {
            return;
        }
        if self.requests_in == Some(direction) {
            if let Some(request) = self.pairing.last_request() {
                request.damaged = true;
            }
        } else if let Some(response) = self.pairing.last_response() {
            response.damaged = true;
        }
    }

    /// Ends a message whose last bytes are missing.
    fn break_off_body(&mut self, direction: Direction, body: Body, end: Option<u64>) {
        self.damage(direction, body);
        self.end_message(direction, body, end);
    }

    fn end_message(&mut self, direction: Direction, body: Body, end: Option<u64>) {
        if !body.in_pairing {
            return;
        }
        let len = end.map(|end| end.saturating_sub(body.start));
        if self.requests_in == Some(direction) {
            if let Some(request) = self.pairing.last_request() {
                request.body = len;
            }
        } else if let Some(response) = self.pairing.last_response() {
            response.body = len;
            response.done = true;
        }
    }

    /// Makes the most of a head whose rest is missing.
    fn break_off_head(&mut self, head: UnfinishedHead, direction: Direction, gap: Gap, cx: &mut Context<'_>) {
        *cx.unfinished = cx.unfinished.saturating_sub(head.bytes.len());
        let body = self.message(direction, head.beginning, head.last, &head.bytes, true, cx);
        if let Some(body) = body {
            self.break_off_body(direction, body, None);
        }
        self.set_lost(direction, gap);
        self.stream(direction).at = At::Lost;
    }

    /// Takes a piece of a head.
    fn head(&mut self, data: &Data<'_>, cx: &mut Context<'_>) {
        let direction = data.direction;
        let marks = data.marks;
        let at = std::mem::take(&mut self.stream(direction).at);
        if !marks.head_start() {
            match at {
                At::Head(head) => self.add_to_head(head, data, cx),
                _ if marks.message_end() => {}
                _ => self.stream(direction).at = At::Lost,
            }
            return;
        }
        let gap = Gap {
            until: data.start,
            holds_message: false,
        };
        match at {
            At::Head(head) => self.break_off_head(*head, direction, gap, cx),
            At::Body(body) => {
                self.break_off_body(direction, body, None);
                self.set_lost(direction, gap);
            }
            At::Between | At::Lost => {}
        }
        let beginning = Beginning::of(data);
        if marks.head_end() {
            self.head_is_whole(data, beginning, data.captured, is_cut(data), cx);
        } else {
            self.add_to_head(Box::new(UnfinishedHead::new(beginning)), data, cx);
        }
    }

    fn add_to_head(&mut self, mut head: Box<UnfinishedHead>, data: &Data<'_>, cx: &mut Context<'_>) {
        head.add(data, cx);
        if data.marks.head_end() || data.marks.opaque() {
            *cx.unfinished = cx.unfinished.saturating_sub(head.bytes.len());
            let cut = head.cut || !data.marks.head_end();
            self.head_is_whole(data, head.beginning, &head.bytes, cut, cx);
        } else {
            self.stream(data.direction).at = At::Head(head);
        }
    }

    /// Begins a message; `data` holds the end of its head.
    fn head_is_whole(
        &mut self,
        data: &Data<'_>,
        beginning: Beginning,
        bytes: &[u8],
        cut: bool,
        cx: &mut Context<'_>,
    ) {
        let direction = data.direction;
        let Some(mut body) = self.message(direction, beginning, data.end, bytes, cut, cx) else {
            return;
        };
        body.start = data.offset.0.saturating_add(data.len);
        if let Ends::At(len) = body.ends {
            body.ends = Ends::At(body.start.saturating_add(len));
        }
        if let Some(response) = self.pairing.last_response()
            && body.in_pairing
            && self.requests_in != Some(direction)
        {
            response.body_start = body.start;
            // Only its status is needed to know that the exchange is over.
            if response.status() == Some(101) {
                response.done = true;
                return;
            }
        }
        if data.marks.message_end() {
            self.end_message(direction, body, Some(body.start));
        } else {
            self.stream(direction).at = At::Body(body);
        }
    }

    /// Gives a message its place in the pairing. The body it has, counted from its own start; `None` for an
    /// interim response, which has none.
    pub(super) fn message(
        &mut self,
        direction: Direction,
        beginning: Beginning,
        last: BootNanos,
        bytes: &[u8],
        cut: bool,
        cx: &mut Context<'_>,
    ) -> Option<Body> {
        let first = !std::mem::replace(&mut self.stream(direction).began, true);
        let known = self.requests_in.map(|requests| requests != direction);
        let is_response = known.unwrap_or_else(|| head::is_response(bytes));
        let read = head::read(bytes, cut, cx.settings);
        let no_body = Body {
            start: 0,
            ends: Ends::Unknown,
            in_pairing: false,
        };
        let coding;
        if is_response {
            let head = match read {
                Some(Head::Response(head)) => Some(head),
                _ => None,
            };
            if head.is_some() {
                self.requests_in = Some(opposite(direction));
            } else {
                cx.counters.responses_unparsable += 1;
                if known.is_none() {
                    return Some(no_body);
                }
            }
            if head.as_ref().is_some_and(|head| is_interim(head.response.status)) {
                cx.counters.informational_responses += 1;
                return None;
            }
            let gap = self.stream(direction).lost.take();
            if self.pairing.is_unpairable() {
                cx.counters.responses_unpairable += 1;
                return Some(no_body);
            }
            let mut response = Response::new(head, beginning.task, beginning.start);
            response.last = last;
            response.gap = gap;
            response.damaged |= cut;
            if cut {
                response.body_by_head = Coding::Transfer;
            }
            coding = match response.body_by_head {
                Coding::Unsaid if response.head.is_some() => Ends::AtClose,
                other => ends(other),
            };
            self.pairing.push_response(response, cx);
        } else {
            let head = match read {
                Some(Head::Request(head)) => Some(head),
                _ => None,
            };
            if head.is_some() {
                self.requests_in = Some(direction);
            } else {
                cx.counters.requests_unparsable += 1;
                if known.is_none() {
                    return Some(no_body);
                }
            }
            let mut gap = self.stream(direction).lost.take();
            if first && self.joined_late {
                gap = gap.or(Some(Gap {
                    until: BootNanos(0),
                    holds_message: false,
                }));
            }
            if !self.pairing.is_unpairable() && self.pairing.waiting() >= cx.settings.exchanges_per_connection
            {
                self.pairing.give_up(cx);
            }
            if self.pairing.is_unpairable() {
                cx.counters.requests_unpairable += u64::from(head.is_some());
                return Some(no_body);
            }
            let method = head
                .as_ref()
                .map_or(Method::Unknown, |head| Method::of(&head.request.method));
            let body_by_head = head.as_ref().map_or(Coding::Unsaid, |head| head.body);
            coding = ends(body_by_head);
            let exchange = head.and_then(|head| begin(head, direction, beginning, last, cut, cx));
            self.pairing.push_request(Request {
                exchange,
                timed_out: false,
                method,
                start: beginning.start,
                last,
                gap,
                body: None,
                body_by_head,
                damaged: cut,
            });
        }
        Some(Body {
            start: 0,
            ends: coding,
            in_pairing: true,
        })
    }

    /// Takes a run of body bytes.
    fn body(&mut self, data: &Data<'_>) {
        let direction = data.direction;
        let ended = data.marks.message_end();
        match self.stream(direction).at {
            At::Body(body) => {
                self.touch(direction, body, data.end);
                if ended {
                    let end = self.stream(direction).seen;
                    self.end_message(direction, body, Some(end));
                    self.stream(direction).at = At::Between;
                }
            }
            At::Lost if ended => self.stream(direction).at = At::Between,
            // Empty lines between messages.
            At::Between | At::Lost | At::Head(_) => {}
        }
    }

    fn touch(&mut self, direction: Direction, body: Body, at: BootNanos) {
        if !body.in_pairing {
            return;
        }
        if self.requests_in == Some(direction) {
            if let Some(request) = self.pairing.last_request() {
                request.last = request.last.max(at);
            }
        } else if let Some(response) = self.pairing.last_response() {
            response.last = response.last.max(at);
        }
    }
}

/// Begins an exchange, if one is to be made of this request.
fn begin(
    head: RequestHead,
    direction: Direction,
    beginning: Beginning,
    last: BootNanos,
    cut: bool,
    cx: &mut Context<'_>,
) -> Option<ExchangeId> {
    let Some((connection, open)) = cx.connection.and_then(|end| end.open().map(|open| (end, open))) else {
        cx.counters.requests_of_unknown_connection += 1;
        return None;
    };
    let other_end = match connection.far_end() {
        FarEnd::Own => {
            cx.counters.requests_of_agent += 1;
            return None;
        }
        FarEnd::Traced => OtherEnd::Traced,
        FarEnd::Maybe => OtherEnd::Maybe,
        FarEnd::Untraced => OtherEnd::Untraced,
    };
    if *cx.running >= cx.settings.exchanges {
        cx.counters.requests_over_bound += 1;
        return None;
    }
    let id = cx.take_id();
    *cx.running += 1;
    cx.counters.exchanges += 1;
    cx.out.push(ExchangeEvent::Begun(Box::new(Exchange {
        id,
        side: match direction {
            Direction::Received => Side::Inbound,
            Direction::Sent => Side::Outbound,
        },
        connection: connection.id(),
        local: open.local,
        peer: open.peer,
        netns: open.netns,
        request_seq: beginning.seq,
        start: beginning.start,
        task: beginning.task,
        head_end: last,
        request: head.request,
        context: head.context,
        other_end,
        incomplete: cut,
    })));
    Some(id)
}

/// The body's end counted from its start; the caller knows where that is.
fn ends(coding: Coding) -> Ends {
    match coding {
        Coding::Length(len) => Ends::At(len),
        Coding::Transfer | Coding::Unsaid => Ends::Unknown,
    }
}

fn is_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}

pub(super) fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Received => Direction::Sent,
        Direction::Sent => Direction::Received,
    }
}
