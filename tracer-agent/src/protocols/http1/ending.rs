//! Makes the [`Ending`] of an exchange.

use super::{
    head::Coding,
    message::{Method, Request, Response},
};
use crate::{
    ids::BootNanos,
    protocols::{
        context::Context,
        exchange::{Ending, ExchangeEvent, Failure},
    },
};

/// What is known when no more records of a connection will come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastWord {
    /// How what is unfinished failed, and when; `None` when that is not known.
    pub failure: Option<(Failure, BootNanos)>,
    /// The connection was closed without an error.
    pub orderly: bool,
    /// Bytes of the responses may be missing at the end.
    pub responses_lost: bool,
    /// Stream offset at which the responses ended.
    pub responses_end: Option<u64>,
    /// When the last byte of the responses passed.
    pub responses_last: Option<BootNanos>,
}

impl LastWord {
    /// Nothing is known.
    pub(super) const UNKNOWN: Self = Self {
        failure: None,
        orderly: false,
        responses_lost: true,
        responses_end: None,
        responses_last: None,
    };

    pub(super) fn failed(failure: Failure, at: BootNanos) -> Self {
        Self {
            failure: Some((failure, at)),
            ..Self::default()
        }
    }
}

/// Ends the exchange of a request and its response.
pub(super) fn ended(request: Request, response: Response, cx: &mut Context<'_>) {
    let Some(exchange) = request.exchange else {
        cx.counters.responses_late += u64::from(request.timed_out);
        return;
    };
    let disagrees = request_disagrees(&request) || response_disagrees(&request, &response);
    cx.counters.length_disagreements += u64::from(disagrees);
    let (failure, end) = match response.failure {
        Some((failure, at)) => (Some(failure), at.max(response.last)),
        None => (None, response.last),
    };
    cx.end(
        exchange,
        Ending {
            end,
            response_task: response.head.is_some().then_some(response.task),
            coroutine: response.coroutine,
            maker: response.maker,
            moment: response.moment,
            response: response.head,
            request_body: request.body,
            response_body: response.body,
            failure,
            incomplete: request.damaged || response.damaged || disagrees,
        },
    );
}

/// Ends the exchange of a request without a response.
pub(super) fn unanswered(request: Request, word: LastWord, cx: &mut Context<'_>) {
    let Some(exchange) = request.exchange else {
        return;
    };
    let failure = word.failure.filter(|_| !word.responses_lost);
    cx.end(
        exchange,
        Ending {
            end: failure.map_or(request.last, |(_, at)| at.max(request.last)),
            response: None,
            response_task: None,
            coroutine: None,
            maker: None,
            moment: None,
            request_body: request.body,
            response_body: None,
            failure: failure.map(|(failure, _)| failure),
            incomplete: request.damaged || failure.is_none(),
        },
    );
}

fn request_disagrees(request: &Request) -> bool {
    matches!((request.body_by_head, request.body), (Coding::Length(said), Some(seen)) if said != seen)
}

fn response_disagrees(request: &Request, response: &Response) -> bool {
    // These have no body whatever their Content-Length says (RFC 9110 §8.6).
    let bodyless = matches!(request.method, Method::Head | Method::Unknown)
        || matches!(response.status(), Some(204 | 304));
    !bodyless
        && matches!((response.body_by_head, response.body), (Coding::Length(said), Some(seen)) if said != seen)
}

impl Context<'_> {
    fn end(&mut self, exchange: crate::protocols::ExchangeId, ending: Ending) {
        self.counters.exchanges_incomplete += u64::from(ending.incomplete);
        *self.running = self.running.saturating_sub(1);
        self.out.push(ExchangeEvent::Ended(exchange, ending));
    }
}
