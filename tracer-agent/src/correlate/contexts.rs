//! The contexts that came in, to tell a context that is passed on from one that the process made.

use std::collections::BTreeSet;

use crate::{
    ids::{Pid, SpanId, TraceId},
    protocols::{Exchange, ExchangeId, exchange::RemoteParent},
};

/// How many inbound requests with one and the same context are looked at, newest first.
const MAX_COMPARED: usize = 16;

/// A context with the process and the exchange that it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    pid: Pid,
    trace: TraceId,
    span: Option<SpanId>,
    exchange: ExchangeId,
}

impl Arrival {
    /// The context that this inbound exchange came with.
    pub fn of(inbound: &Exchange) -> Option<Self> {
        let context = inbound.context.parent?;
        Some(Self {
            pid: inbound.pid(),
            trace: context.trace,
            span: context.span,
            exchange: inbound.id,
        })
    }
}

/// The context of every inbound exchange that is in flight or was over a moment ago.
#[derive(Debug, Default)]
pub struct Contexts {
    seen: BTreeSet<Arrival>,
}

impl Contexts {
    pub fn insert(&mut self, arrival: Arrival) {
        self.seen.insert(arrival);
    }

    pub fn remove(&mut self, arrival: &Arrival) {
        self.seen.remove(arrival);
    }

    /// The inbound exchanges of this process that came with exactly this context, newest first.
    pub fn with(&self, pid: Pid, context: &RemoteParent) -> impl Iterator<Item = ExchangeId> {
        let same = |exchange| Arrival {
            pid,
            trace: context.trace,
            span: context.span,
            exchange: ExchangeId(exchange),
        };
        let same = self.seen.range(same(0)..=same(u64::MAX));
        same.rev().take(MAX_COMPARED).map(|arrival| arrival.exchange)
    }
}
