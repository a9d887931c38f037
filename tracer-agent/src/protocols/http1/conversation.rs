//! The two directions of a connection end, and what is said in them.

use super::{
    message::Gap,
    pairing::{Outlook, Pairing},
    placing::{SeenHead, Unsampled},
    stream::{At, Beginning, Body, Ends, Stream, UnfinishedHead, is_cut},
};
use crate::{
    capture::record::{Data, Direction},
    ids::BootNanos,
    protocols::{context::Context, exchange::ExchangeEvent},
};

/// HTTP/1 on one connection end.
#[derive(Debug, Default)]
pub(in crate::protocols) struct Conversation {
    pub(super) received: Stream,
    pub(super) sent: Stream,
    /// The direction of the requests, once a head has told.
    pub(super) requests_in: Option<Direction>,
    pub(super) pairing: Pairing,
    /// It is not HTTP/1 any more.
    pub(super) opaque: bool,
    /// Bytes may have passed before the agent was there.
    pub(super) joined_late: bool,
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
            self.body(data, cx);
        }
        if data.marks.opaque() {
            self.opaque = true;
            cx.counters.opaque_connections += 1;
        }
        self.pairing.resolve(Outlook::Open, cx);
        self.pairing.rest(cx);
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
                self.set_lost(direction, gap(true));
                if !at_head {
                    self.stream(direction).at = At::Lost;
                }
            }
            At::Lost => {
                self.set_lost(direction, gap(false));
                self.stream(direction).at = At::Lost;
            }
            At::Head(head) => self.break_off_head(*head, direction, gap(false), cx),
            At::Body(body) => {
                // A length says nothing of what follows where the request was `HEAD`.
                let is_sure = self.requests_in == Some(direction) || self.pairing.last_response_has_body();
                match body.ends {
                    Ends::At(end) if resumes >= end => {
                        self.break_off_body(direction, body, Some(end));
                        if resumes > end {
                            self.set_lost(direction, gap(true));
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
                }
                if !is_sure {
                    self.set_lost(direction, gap(true));
                }
            }
        }
    }

    pub(super) fn set_lost(&mut self, direction: Direction, gap: Gap) {
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
        let message = SeenHead {
            direction,
            beginning: head.beginning,
            last: head.last,
            bytes: &head.bytes,
            cut: true,
            unsampled: None,
        };
        let body = self.place(&message, cx);
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
                _ => {
                    self.stream(direction).adrift = Some(Box::new(data.start));
                    if !marks.message_end() {
                        self.stream(direction).at = At::Lost;
                    }
                }
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
        let message = SeenHead {
            direction,
            beginning,
            last: data.end,
            bytes,
            cut,
            unsampled: Unsampled::of(data.marks),
        };
        let Some(mut body) = self.place(&message, cx) else {
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

    /// Takes a run of body bytes.
    fn body(&mut self, data: &Data<'_>, cx: &mut Context<'_>) {
        let direction = data.direction;
        let ended = data.marks.message_end();
        match self.stream(direction).at {
            At::Body(body) => {
                self.touch(body, data, cx);
                if body.in_pairing && self.requests_in != Some(direction) && self.pairing.ended_bodiless() {
                    // These are the responses that followed.
                    let gap = Gap {
                        until: data.end,
                        holds_message: true,
                    };
                    self.set_lost(direction, gap);
                }
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

    /// Takes note of when the last byte passed, and where in an event loop it was read.
    fn touch(&mut self, body: Body, data: &Data<'_>, cx: &mut Context<'_>) {
        if !body.in_pairing {
            return;
        }
        let read = data.moment.filter(|_| data.direction == Direction::Received);
        if self.requests_in == Some(data.direction) {
            if let Some(request) = self.pairing.last_request() {
                request.last = request.last.max(data.end);
                if let (Some(exchange), Some(moment)) = (request.exchange, read) {
                    cx.out.push(ExchangeEvent::Read(exchange, data.task, moment));
                }
            }
        } else if let Some(response) = self.pairing.last_response() {
            response.last = response.last.max(data.end);
            if data.direction == Direction::Received {
                response.moment = read.filter(|_| data.task == response.task);
            }
        }
    }
}

pub(super) fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Received => Direction::Sent,
        Direction::Sent => Direction::Received,
    }
}
