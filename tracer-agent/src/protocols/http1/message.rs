//! A request and a final response, as long as their exchange is running.

use std::num::NonZeroU32;

use super::{
    ending::LastWord,
    head::{Coding, ResponseHead},
    stream::Beginning,
};
use crate::{
    ids::{BootNanos, Coroutine, Maker, Moment, Task},
    protocols::exchange::{self, ExchangeId, Failure},
};

/// Bytes of a direction that are missing directly before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// They passed no later than this.
    pub until: BootNanos,
    /// They begin between two messages: at least one message begins in them.
    pub holds_message: bool,
}

/// A request that is waiting for its response, or for the end of it.
#[derive(Debug)]
pub(super) struct Request {
    /// `None` when no span is made of it: it only keeps its place.
    pub exchange: Option<ExchangeId>,
    /// It was given up as unanswered.
    pub timed_out: bool,
    /// See [`Data::exchange`](crate::capture::record::Data::exchange).
    pub number: Option<NonZeroU32>,
    pub method: Method,
    pub start: BootNanos,
    /// When the last of its bytes that was seen passed.
    pub last: BootNanos,
    pub gap: Option<Gap>,
    /// Length of its body; `None` before its end was seen, or when that is not known.
    pub body: Option<u64>,
    pub body_by_head: Coding,
    /// Bytes of it are missing.
    pub damaged: bool,
}

/// What of a method decides about the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Connect,
    Other,
    Unknown,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110 §9.1).
    pub(super) fn of(name: &str) -> Self {
        match name {
            "HEAD" => Self::Head,
            "CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

impl Request {
    /// Leaves a request in its place of which no span will be made.
    pub(super) fn take_visible(&mut self) -> Self {
        let visible = Self {
            exchange: self.exchange.take(),
            ..*self
        };
        self.timed_out |= visible.exchange.is_some();
        visible
    }
}

/// A final response, or as much of it as passed.
#[derive(Debug)]
pub(super) struct Response {
    /// `None` when it could not be parsed.
    pub head: Option<exchange::Response>,
    /// That of its request.
    pub number: Option<NonZeroU32>,
    pub task: Task,
    /// It is read, and not written.
    pub is_received: bool,
    /// Of its first byte if it is written.
    pub coroutine: Option<Coroutine>,
    /// Of its first byte if it is written.
    pub maker: Option<Maker>,
    /// Of its first byte if it is written, of the last that was seen if it is read.
    pub moment: Option<Moment>,
    pub start: BootNanos,
    /// When the last of its bytes that was seen passed.
    pub last: BootNanos,
    pub gap: Option<Gap>,
    /// Offset of its first body byte.
    pub body_start: u64,
    /// Length of its body; `None` before its end was seen, or when that is not known.
    pub body: Option<u64>,
    pub body_by_head: Coding,
    /// No more of it will come.
    pub done: bool,
    /// Bytes of it are missing.
    pub damaged: bool,
    /// Why it is not whole, and when that was known.
    pub failure: Option<(Failure, BootNanos)>,
}

impl Response {
    pub(super) fn new(head: Option<ResponseHead>, beginning: Beginning) -> Self {
        let (head, body_by_head) = match head {
            Some(head) => (Some(head.response), head.body),
            None => (None, Coding::Unsaid),
        };
        Self {
            damaged: head.is_none(),
            head,
            number: beginning.number,
            task: beginning.task,
            is_received: beginning.is_received,
            coroutine: beginning.coroutine,
            maker: beginning.maker.filter(|_| !beginning.is_received),
            moment: beginning.moment,
            start: beginning.start,
            last: beginning.start,
            gap: None,
            body_start: 0,
            body: None,
            body_by_head,
            done: false,
            failure: None,
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.status)
    }

    /// After a 101, and after a 2xx to CONNECT, the exchange is over with the head (RFC 9110 §9.3.6, §15.2.2).
    pub(super) fn end_if_tunnel(&mut self, request: &Request) {
        let accepted = self.status().is_some_and(|status| (200..300).contains(&status));
        if self.status() == Some(101) || (request.method == Method::Connect && accepted) {
            self.done = true;
            self.body = None;
            self.body_by_head = Coding::Unsaid;
        }
    }

    /// After the head of a response to HEAD there is no body, whatever the head says (RFC 9110 §9.3.2). The kernel side does not know that
    /// where it did not see the request, or took the response for that to another. Whether it took something for a body.
    pub(super) fn end_if_bodiless(&mut self, request: &Request) -> bool {
        let ends = request.method == Method::Head && !self.done;
        if ends {
            self.done = true;
            self.body = Some(0);
        }
        ends
    }

    /// Ends a response whose connection ended before it did.
    pub(super) fn cut(&mut self, word: LastWord) {
        self.done = true;
        let total = word.responses_end.map(|end| end.saturating_sub(self.body_start));
        let last = word.responses_last.unwrap_or(self.last).max(self.last);
        match self.body_by_head {
            Coding::Unsaid if word.orderly && self.head.is_some() => {
                self.body = total;
                self.last = last;
            }
            Coding::Length(length) if word.responses_lost && total.is_some_and(|total| total >= length) => {
                self.body = Some(length);
                self.damaged = true;
                if total == Some(length) {
                    self.last = last;
                }
            }
            Coding::Unseen => self.damaged = true,
            _ => match word.failure {
                Some(failure) if !word.responses_lost => self.failure = Some(failure),
                _ => self.damaged = true,
            },
        }
    }
}
