//! Which response answers which request.
//!
//! The kernel side numbers requests and responses while it sees every byte of them, whatever becomes of its records: equal
//! numbers belong together. Where it has lost its place itself, there are no numbers.
//!
//! Responses come in the order of their requests (RFC 9112 §9.3.2), so without numbers the oldest of each belong together
//! as long as nothing was lost. After a loss it is not known how many messages were in it. What decides then:
//!
//! - a response does not begin before its request;
//! - a client that was never seen to send a request before the last one was answered (nearly all of them)
//!   sends a request only when every earlier one is answered;
//! - requests that follow each other without a gap have none in between.
//!
//! Where these do not decide, requests end as incomplete without a response. On a connection that pipelines,
//! pairing is given up at the first loss that matters, for good: a wrong pair would shift all that follow.

use std::{cmp::Ordering, collections::VecDeque, mem, num::NonZeroU32};

use super::{
    ending::{LastWord, ended, unanswered},
    message::{Gap, Method, Request, Response},
};
use crate::{
    ids::BootNanos,
    protocols::{
        context::Context,
        exchange::{ExchangeEvent, Failure},
    },
};

/// Responses that may wait for the record of their request.
const RESPONSES_HELD_MAX: usize = 64;

/// Requests and final responses of a connection that are not done with, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    requests: VecDeque<Request>,
    responses: VecDeque<Response>,
    /// The oldest of both belong together.
    paired: bool,
    /// The client was seen to send a request while an earlier one was not answered.
    pipelines: bool,
    /// See [`Self::ended_bodiless`].
    ended_bodiless: bool,
    /// A response without request was passed over since the last pair was made.
    stray_since_pair: bool,
    /// Given up.
    unpairable: bool,
}

/// Queues without anything in them, for the next connection that needs one: those where nothing runs have none, and most are of those.
#[derive(Debug, Default)]
pub(in crate::protocols) struct Spare {
    requests: Vec<VecDeque<Request>>,
    responses: Vec<VecDeque<Response>>,
}

/// Queues of a kind that are kept for others, each with room for no more than so many.
const SPARE_MAX: usize = 64;
const SPARE_ROOM_MAX: usize = 4;

/// Adds to a queue that nearly always holds one: its first room is for one.
fn push<T>(queue: &mut VecDeque<T>, item: T, spare: &mut Vec<VecDeque<T>>) {
    if queue.capacity() == 0 {
        *queue = spare.pop().unwrap_or_else(|| VecDeque::with_capacity(1));
    }
    queue.push_back(item);
}

/// Leaves the room of an empty queue to others.
fn give_back<T>(queue: &mut VecDeque<T>, spare: &mut Vec<VecDeque<T>>) {
    if queue.is_empty() && queue.capacity() > 0 {
        let queue = mem::take(queue);
        if spare.len() < SPARE_MAX && queue.capacity() <= SPARE_ROOM_MAX {
            spare.push(queue);
        }
    }
}

/// What else may come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// More records.
    Open,
    /// None, and the last request seen was the last one sent.
    NoMoreRequests,
    /// None, or none that help.
    Unknown,
}

impl Pairing {
    pub(super) fn is_unpairable(&self) -> bool {
        self.unpairable
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.responses.is_empty()
    }

    pub(super) fn waiting(&self) -> usize {
        self.requests.len()
    }

    /// Whether a request of which a span is to be made waits for the beginning of its response.
    pub(super) fn has_unanswered(&self) -> bool {
        let answered = usize::from(self.paired);
        self.requests
            .iter()
            .skip(answered)
            .any(|request| request.exchange.is_some())
    }

    /// When the oldest request began whose response has not.
    pub(super) fn oldest_unanswered(&self) -> Option<BootNanos> {
        let answered = usize::from(self.paired);
        self.requests.get(answered).map(|request| request.start)
    }

    /// The client sent a request while an earlier one was not answered.
    pub(super) fn saw_pipelining(&mut self) {
        self.pipelines = true;
    }

    pub(super) fn push_request(&mut self, request: Request, cx: &mut Context<'_>) {
        if let Some(before) = self.requests.back() {
            // Both were passed by one call.
            self.pipelines |= request.start <= before.last;
        }
        push(&mut self.requests, request, &mut cx.spare.requests);
    }

    /// The response seen last was to HEAD, and is taken for one with a body.
    pub(super) fn ended_bodiless(&self) -> bool {
        self.ended_bodiless
    }

    pub(super) fn push_response(&mut self, response: Response, cx: &mut Context<'_>) {
        self.ended_bodiless = false;
        if self.responses.len() >= RESPONSES_HELD_MAX && !self.paired {
            self.responses.pop_front();
            self.stray_since_pair = true;
            cx.counters.responses_without_request += 1;
        }
        push(&mut self.responses, response, &mut cx.spare.responses);
    }

    /// Nothing is kept where nothing runs.
    pub(super) fn rest(&mut self, cx: &mut Context<'_>) {
        give_back(&mut self.requests, &mut cx.spare.requests);
        give_back(&mut self.responses, &mut cx.spare.responses);
    }

    /// The request seen last, unless it is done with.
    pub(super) fn last_request(&mut self) -> Option<&mut Request> {
        self.requests.back_mut()
    }

    /// Takes the one request whose answer is to follow in HTTP/2.
    pub(super) fn take_upgraded(&mut self) -> Option<Request> {
        if self.paired || self.requests.len() != 1 {
            return None;
        }
        self.requests.pop_front()
    }

    /// The response seen last, unless it is done with.
    pub(super) fn last_response(&mut self) -> Option<&mut Response> {
        self.responses.back_mut()
    }

    /// Whether the response seen last can have a body: that is known only with the method of its request.
    pub(super) fn last_response_has_body(&self) -> bool {
        let last = self.responses.len().checked_sub(1).filter(|_| self.paired);
        let request = last.and_then(|last| self.requests.get(last));
        request.is_some_and(|request| !matches!(request.method, Method::Head | Method::Unknown))
    }

    /// Makes every pair that is certain and ends every exchange that is over.
    pub(super) fn resolve(&mut self, outlook: Outlook, cx: &mut Context<'_>) {
        loop {
            if self.paired {
                if !self.end_front(cx) {
                    return;
                }
            } else if !self.pair_front(outlook, cx) {
                return;
            }
        }
    }

    /// Ends the exchange at the front if its response is over.
    fn end_front(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.responses.front().is_some_and(|response| response.done) {
            return false;
        }
        if let (Some(request), Some(response)) = (self.requests.pop_front(), self.responses.pop_front()) {
            ended(request, response, cx);
        }
        self.paired = false;
        true
    }

    /// Decides about the oldest response; false when it has to wait, or there is none.
    fn pair_front(&mut self, outlook: Outlook, cx: &mut Context<'_>) -> bool {
        let number = self.responses.front().and_then(|response| response.number);
        if let Some(decided) = number.and_then(|number| self.pair_by_number(number, outlook, cx)) {
            return decided;
        }
        let Some(response) = self.responses.front() else {
            return false;
        };
        let candidates = self
            .requests
            .iter()
            .take_while(|request| request.start <= response.start)
            .count();
        let (Some(last), Some(first)) = (candidates.checked_sub(1), self.requests.front()) else {
            if self.requests.is_empty() && outlook == Outlook::Open {
                return false;
            }
            self.drop_response(cx);
            return true;
        };
        match (response.gap, first.gap) {
            (None, None) => {
                self.pipelines |= candidates > 1;
                self.pair(0, cx);
            }
            (None, Some(gap)) => self.pair_after_lost_requests(gap, candidates, cx),
            (Some(_), _) if self.pipelines => self.give_up(cx),
            (Some(gap), _) => return self.pair_after_lost_responses(gap, last, outlook, cx),
        }
        true
    }

    /// Decides about the oldest response if the requests are numbered as it is: `None` where they are not.
    fn pair_by_number(&mut self, number: NonZeroU32, outlook: Outlook, cx: &mut Context<'_>) -> Option<bool> {
        let newest = match self.requests.back() {
            Some(newest) => newest.number?.cmp(&number),
            None => Ordering::Less,
        };
        let place = self
            .requests
            .iter()
            .position(|request| request.number == Some(number));
        match (place, newest) {
            (Some(place), _) => self.pair(place, cx),
            // Its request may be told later; or it was lost, which the next one tells.
            (None, Ordering::Less) if outlook == Outlook::Open => return Some(false),
            (None, _) => self.drop_response(cx),
        }
        Some(true)
    }

    fn pair_after_lost_requests(&mut self, gap: Gap, candidates: usize, cx: &mut Context<'_>) {
        // A whole lost request of a client that does not pipeline was answered before the next was sent, and
        // that answer was seen.
        self.pipelines |= candidates > 1 || (gap.holds_message && !self.stray_since_pair);
        if self.pipelines {
            self.give_up(cx);
        } else {
            self.pair(0, cx);
        }
    }

    fn pair_after_lost_responses(
        &mut self,
        gap: Gap,
        last: usize,
        outlook: Outlook,
        cx: &mut Context<'_>,
    ) -> bool {
        let lost_before_last = self
            .requests
            .get(last)
            .is_some_and(|request| gap.until < request.start);
        if lost_before_last {
            self.pair(last, cx);
            return true;
        }
        // Was there another request after the last candidate, and is it lost? The next one tells.
        let next = self.requests.get(last + 1);
        match (next, outlook) {
            (None, Outlook::Open) => return false,
            (None, Outlook::NoMoreRequests) => self.pair(last, cx),
            (Some(next), _) if next.gap.is_none() => {
                let next_start = next.start;
                let another_answer = self
                    .responses
                    .get(1)
                    .is_some_and(|other| other.start < next_start);
                if another_answer {
                    self.pipelines = true;
                    self.give_up(cx);
                } else {
                    self.pair(last, cx);
                }
            }
            _ => {
                self.end_unanswered(last + 1, cx);
                self.responses.pop_front();
                self.stray_since_pair = true;
                cx.counters.responses_unpairable += 1;
            }
        }
        true
    }

    /// Pairs the oldest response with this request; those before it have lost theirs.
    fn pair(&mut self, place: usize, cx: &mut Context<'_>) {
        self.end_unanswered(place, cx);
        self.paired = true;
        self.stray_since_pair = false;
        if let (Some(request), Some(response)) = (self.requests.front(), self.responses.front_mut()) {
            response.end_if_tunnel(request);
            self.ended_bodiless = response.end_if_bodiless(request);
            if let (true, Some(exchange), Some(moment)) =
                (response.is_received, request.exchange, response.moment)
            {
                cx.out.push(ExchangeEvent::Read(exchange, response.task, moment));
            }
        }
    }

    /// Ends the oldest requests, whose responses were lost.
    fn end_unanswered(&mut self, count: usize, cx: &mut Context<'_>) {
        for request in self.requests.drain(..count.min(self.requests.len())) {
            unanswered(request, LastWord::UNKNOWN, cx);
        }
    }

    fn drop_response(&mut self, cx: &mut Context<'_>) {
        self.responses.pop_front();
        self.stray_since_pair = true;
        cx.counters.responses_without_request += 1;
    }

    /// No pair is certain on this connection from here on.
    pub(super) fn give_up(&mut self, cx: &mut Context<'_>) {
        if self.paired
            && let (Some(request), Some(mut response)) =
                (self.requests.pop_front(), self.responses.pop_front())
        {
            response.damaged = true;
            ended(request, response, cx);
        }
        self.paired = false;
        self.end_unanswered(usize::MAX, cx);
        cx.counters.responses_unpairable += self.responses.len() as u64;
        cx.counters.connections_unpairable += 1;
        self.responses.clear();
        self.unpairable = true;
    }

    /// Gives up the requests that no response has begun to answer; a late response still finds its place.
    pub(super) fn time_out(&mut self, at: BootNanos, responses_lost: bool, cx: &mut Context<'_>) {
        self.resolve(Outlook::Unknown, cx);
        let answered = usize::from(self.paired);
        let word = if responses_lost {
            LastWord::UNKNOWN
        } else {
            LastWord::failed(Failure::Unanswered, at)
        };
        for request in self.requests.iter_mut().skip(answered) {
            unanswered(request.take_visible(), word, cx);
        }
    }

    /// Ends everything: no more records will come.
    pub(super) fn close(&mut self, outlook: Outlook, word: LastWord, cx: &mut Context<'_>) {
        self.resolve(outlook, cx);
        if self.paired
            && let (Some(request), Some(mut response)) =
                (self.requests.pop_front(), self.responses.pop_front())
        {
            response.cut(word);
            ended(request, response, cx);
        }
        self.paired = false;
        for request in self.requests.drain(..) {
            unanswered(request, word, cx);
        }
        cx.counters.responses_without_request += self.responses.len() as u64;
        self.responses.clear();
    }
}
