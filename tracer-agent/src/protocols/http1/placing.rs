//! A head that was seen finds its place: an exchange begins, or a response waits to be paired.

use super::{
    conversation::{Conversation, opposite},
    head::{self, Coding, Head, RequestHead, ResponseHead},
    message::{self, Gap, Method},
    stream::{Beginning, Body, Ends},
};
use crate::{
    capture::record::{Direction, Marks, Open, Origin},
    ids::{BootNanos, Maker, Moment, Task},
    protocols::{
        begin::{self, Begins, begin},
        context::Context,
        exchange::{ExchangeId, Request, Sampled, WireContext},
    },
};

/// A head, or what was seen of it.
pub(super) struct SeenHead<'a> {
    pub direction: Direction,
    pub beginning: Beginning,
    /// When the last of its bytes that was seen passed.
    pub last: BootNanos,
    pub bytes: &'a [u8],
    /// Some of it is missing.
    pub cut: bool,
    /// It is not to be seen.
    pub unsampled: Option<Unsampled>,
}

/// A head that the kernel side left uncaptured, since the caller of its request has decided that it is not sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsampled {
    Request,
    Response,
}

impl Unsampled {
    /// What these marks say.
    pub(super) fn of(marks: Marks) -> Option<Self> {
        if marks.unsampled_request() {
            Some(Self::Request)
        } else if marks.unsampled_response() {
            Some(Self::Response)
        } else {
            None
        }
    }
}

/// All that is known of the head of a request that is not sampled.
fn unseen() -> RequestHead {
    RequestHead {
        request: Request::default(),
        context: WireContext {
            decision: Some(Sampled::No),
            ..WireContext::default()
        },
        body: Coding::Unsaid,
    }
}

impl Conversation {
    /// Gives a message its place. The body it has, with an end counted from its own start; `None` for an
    /// interim response, which has none.
    pub(super) fn place(&mut self, seen: &SeenHead<'_>, cx: &mut Context<'_>) -> Option<Body> {
        let first = !std::mem::replace(&mut self.stream(seen.direction).began, true);
        let known = self.requests_in.map(|requests| requests != seen.direction);
        let is_response = known.unwrap_or_else(|| match seen.unsampled {
            Some(unsampled) => unsampled == Unsampled::Response,
            None => head::is_response(seen.bytes),
        });
        let read = match seen.unsampled {
            Some(Unsampled::Request) => Some(Head::Request(unseen())),
            Some(Unsampled::Response) => None,
            None => head::read(seen.bytes, seen.cut, cx.settings),
        };
        let ends = match read {
            Some(Head::Response(head)) if is_response => {
                self.requests_in = Some(opposite(seen.direction));
                if is_interim(head.response.status) || head.turns_to_http2 {
                    cx.counters.informational_responses += 1;
                    return None;
                }
                self.place_response(Some(head), seen, cx)
            }
            Some(Head::Request(head)) if !is_response => {
                self.requests_in = Some(seen.direction);
                self.place_request(Some(head), seen, first, cx)
            }
            None if seen.unsampled == Some(Unsampled::Response) && is_response => {
                self.requests_in = Some(opposite(seen.direction));
                self.place_response(None, seen, cx)
            }
            _ => {
                let counters = &mut *cx.counters;
                counters.responses_unparsable += u64::from(is_response);
                counters.requests_unparsable += u64::from(!is_response);
                match known {
                    Some(true) => self.place_response(None, seen, cx),
                    Some(false) => self.place_request(None, seen, first, cx),
                    None => {
                        // A message that cannot be placed is as good as lost.
                        let gap = Gap {
                            until: seen.last,
                            holds_message: true,
                        };
                        self.set_lost(seen.direction, gap);
                        None
                    }
                }
            }
        };
        Some(Body {
            start: 0,
            ends: ends.unwrap_or(Ends::Unknown),
            in_pairing: ends.is_some(),
        })
    }

    fn place_response(
        &mut self,
        head: Option<ResponseHead>,
        seen: &SeenHead<'_>,
        cx: &mut Context<'_>,
    ) -> Option<Ends> {
        let gap = self.stream(seen.direction).lost.take();
        if self.pairing.is_unpairable() {
            cx.counters.responses_unpairable += 1;
            return None;
        }
        let mut response = message::Response::new(head, seen.beginning);
        response.last = seen.last;
        response.gap = gap;
        if seen.unsampled.is_some() {
            response.damaged = false;
        } else if seen.cut {
            response.damaged = true;
            response.body_by_head = Coding::Unseen;
        }
        let ends = match response.body_by_head {
            Coding::Unsaid if response.head.is_some() => Ends::AtClose,
            other => ends(other),
        };
        self.pairing.push_response(response, cx);
        Some(ends)
    }

    fn place_request(
        &mut self,
        head: Option<RequestHead>,
        seen: &SeenHead<'_>,
        first: bool,
        cx: &mut Context<'_>,
    ) -> Option<Ends> {
        let unseen_before = Gap {
            until: BootNanos(0),
            holds_message: false,
        };
        let joined = (first && self.joined_late).then_some(unseen_before);
        let stream = self.stream(seen.direction);
        let gap = stream.lost.take().or(joined);
        if stream.adrift.take().is_some_and(|at| *at >= seen.beginning.start) {
            // One call passed the rest of the request before and this one.
            self.pairing.saw_pipelining();
        }
        if !self.pairing.is_unpairable() && self.pairing.waiting() >= cx.settings.exchanges_per_connection {
            self.pairing.give_up(cx);
        }
        if self.pairing.is_unpairable() {
            cx.counters.requests_unpairable += u64::from(head.is_some());
            return None;
        }
        let method = head
            .as_ref()
            .map_or(Method::Unknown, |head| Method::of(&head.request.method));
        let body_by_head = head.as_ref().map_or(Coding::Unsaid, |head| head.body);
        let exchange = head.and_then(|head| begin_exchange(head, seen, first, cx));
        let request = message::Request {
            exchange,
            timed_out: false,
            number: seen.beginning.number,
            method,
            start: seen.beginning.start,
            last: seen.last,
            gap,
            body: None,
            body_by_head,
            damaged: seen.cut && seen.unsampled.is_none(),
        };
        self.pairing.push_request(request, cx);
        Some(ends(body_by_head))
    }
}

fn begin_exchange(
    head: RequestHead,
    seen: &SeenHead<'_>,
    first: bool,
    cx: &mut Context<'_>,
) -> Option<ExchangeId> {
    let beginning = &seen.beginning;
    let open = begin::open(cx);
    let connecting = open.filter(|_| first).and_then(|open| connected(open, seen));
    let moment = open.map_or(beginning.moment, |open| asked(open, seen, first));
    begin(
        Begins {
            direction: seen.direction,
            start: beginning.start,
            head_end: seen.last,
            seq: beginning.seq,
            cover: beginning.cover,
            task: beginning.task,
            maker: beginning.maker.or(connecting),
            coroutine: beginning.coroutine,
            handed: beginning.handed,
            multiplexed: false,
            moment,
            request: head.request,
            context: head.context,
            unseen: seen.unsampled.is_some(),
            incomplete: seen.cut && seen.unsampled.is_none(),
        },
        cx,
    )
}

/// The thread that has connected for the first request, if another has sent that.
fn connected(open: &Open, seen: &SeenHead<'_>) -> Option<Maker> {
    let (sender, thread) = (seen.beginning.task, Task::thread(open.pid, open.tid));
    let is_other = !sender.is_goroutine() && sender.pid == open.pid && sender != thread;
    (seen.direction == Direction::Sent && open.origin == Origin::Connected && is_other)
        .then_some(Maker::took(open.tid))
}

/// When it was asked for. The first request on a connection waits until that is established, and is asked for with it.
fn asked(open: &Open, seen: &SeenHead<'_>, first: bool) -> Option<Moment> {
    let beginning = &seen.beginning;
    if first && seen.direction == Direction::Sent && open.origin == Origin::Connected {
        let is_same = Task::thread(open.pid, open.tid) == beginning.task;
        return open.moment.filter(|_| is_same);
    }
    beginning.moment
}

/// The body's end counted from its start; the caller knows where that is.
fn ends(coding: Coding) -> Ends {
    match coding {
        Coding::Length(len) => Ends::At(len),
        Coding::Transfer | Coding::Unsaid | Coding::Unseen => Ends::Unknown,
    }
}

fn is_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}
