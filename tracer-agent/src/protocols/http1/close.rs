//! What becomes of the exchanges of a connection end when nothing more of it will be told.

use super::{
    Conversation,
    ending::LastWord,
    head::{self, Coding},
    pairing::Outlook,
    placing::SeenHead,
    stream::{At, UnfinishedHead},
};
use crate::{
    capture::record::{Close, Direction},
    ids::BootNanos,
    protocols::{
        context::Context,
        exchange::{ExchangeId, Failure},
    },
};

/// A connection that turns to HTTP/2.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocols) struct Upgraded {
    /// Bytes that were received so far.
    pub received: u64,
    /// Bytes that were sent so far.
    pub sent: u64,
    /// The direction of the requests, if it is known.
    pub requests_in: Option<Direction>,
    /// The request that asked for it.
    pub request: Option<UpgradedRequest>,
}

/// A request that asked for HTTP/2.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocols) struct UpgradedRequest {
    /// Its exchange, if there is one.
    pub exchange: Option<ExchangeId>,
    /// Length of its body, where it is known.
    pub body: Option<u64>,
    /// When the last of its bytes that was seen passed.
    pub last: BootNanos,
}

impl Conversation {
    /// Whether bytes of it are still to be reported, going by the totals of its close record.
    pub(in crate::protocols) fn misses_bytes(&self, close: &Close) -> bool {
        !self.opaque && (self.received.seen < close.received || self.sent.seen < close.sent)
    }

    /// The connection turns to HTTP/2. What is known of it goes on there, and all else ends.
    pub(in crate::protocols) fn upgrade(&mut self, cx: &mut Context<'_>) -> Upgraded {
        let request = self.pairing.take_upgraded().map(|request| UpgradedRequest {
            exchange: request.exchange,
            body: request.body,
            last: request.last,
        });
        self.close(None, cx);
        Upgraded {
            received: self.received.seen,
            sent: self.sent.seen,
            requests_in: self.requests_in,
            request,
        }
    }

    /// Nothing is running on it.
    pub(in crate::protocols) fn is_at_rest(&self) -> bool {
        self.pairing.is_empty()
    }

    /// A request waits for its response to begin.
    pub(in crate::protocols) fn has_unanswered(&self) -> bool {
        self.pairing.has_unanswered()
    }

    /// Gives up the requests that are not answered.
    pub(in crate::protocols) fn time_out(&mut self, at: BootNanos, cx: &mut Context<'_>) {
        let responses_lost = self.opaque || self.lost_since_request(self.responses_in());
        self.pairing.time_out(at, responses_lost, cx);
    }

    /// Ends everything. Without a close record nothing is known of how.
    pub(in crate::protocols) fn close(&mut self, close: Option<&Close>, cx: &mut Context<'_>) {
        let responses = self.responses_in();
        for direction in [Direction::Received, Direction::Sent] {
            let at = &mut self.stream(direction).at;
            if matches!(at, At::Head(_))
                && let At::Head(unfinished) = std::mem::take(at)
            {
                *cx.unfinished = cx.unfinished.saturating_sub(unfinished.bytes.len());
                cx.counters.heads_cut += 1;
                self.cut_head(*unfinished, direction, cx);
            }
        }
        let Some(close) = close else {
            self.pairing.close(Outlook::Unknown, LastWord::UNKNOWN, cx);
            return;
        };
        let (responses_end, responses_last, requests_end) = match responses {
            Direction::Received => (close.received, close.last_received, close.sent),
            Direction::Sent => (close.sent, close.last_sent, close.received),
        };
        let requests = super::conversation::opposite(responses);
        let requests_lost = self.stream(requests).seen < requests_end
            || self.stream(requests).lost.is_some()
            || matches!(self.stream(requests).at, At::Lost);
        let word = LastWord {
            failure: Some((Failure::of_close(close.errno), close.at)),
            orderly: close.errno.is_none(),
            responses_lost: self.opaque
                || self.stream(responses).seen < responses_end
                || self.lost_since_request(responses),
            responses_end: Some(responses_end),
            responses_last,
        };
        let outlook = if requests_lost {
            Outlook::Unknown
        } else {
            Outlook::NoMoreRequests
        };
        self.pairing.close(outlook, word, cx);
    }

    /// A response of which the status line was seen was begun; of a request whose head is not whole nothing is
    /// told.
    fn cut_head(&mut self, unfinished: UnfinishedHead, direction: Direction, cx: &mut Context<'_>) {
        let is_response = self.requests_in.is_some_and(|requests| requests != direction);
        if is_response && head::read(&unfinished.bytes, true, cx.settings).is_some() {
            let message = SeenHead {
                unsampled: None,
                direction,
                beginning: unfinished.beginning,
                last: unfinished.last,
                bytes: &unfinished.bytes,
                cut: true,
            };
            let placed = self.place(&message, cx).is_some_and(|body| body.in_pairing);
            if let Some(response) = self.pairing.last_response().filter(|_| placed) {
                // Whatever its head would have said: it was not whole.
                response.body_by_head = Coding::Transfer;
            }
        }
    }

    fn responses_in(&self) -> Direction {
        self.requests_in
            .map_or(Direction::Received, super::conversation::opposite)
    }

    /// Bytes that may have answered the oldest request are missing.
    fn lost_since_request(&mut self, responses: Direction) -> bool {
        let in_body = matches!(self.stream(responses).at, At::Body(body) if body.in_pairing);
        if in_body && !self.pairing.last_response_has_body() {
            // What is taken for a body may be the responses that followed.
            return true;
        }
        let oldest = self.pairing.oldest_unanswered();
        self.stream(responses)
            .lost
            .is_some_and(|gap| oldest.is_some_and(|start| start <= gap.until))
    }
}
