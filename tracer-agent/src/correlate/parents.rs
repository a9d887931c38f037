//! Where an exchange comes from: the ladder of evidence, and the truth table of contexts.

use crate::{
    ids::{BootNanos, Task},
    protocols::{
        Exchange, ExchangeId,
        exchange::{ConnectFailure, OtherEnd, RemoteParent, Sampled},
    },
};

use super::{
    Correlator, Evidence, Linked,
    contexts::Arrival,
    known::{Begun, Edge, Fate, Live},
    pairs::Wire,
    threads::Holder,
};

/// Which inbound exchanges a context that goes out came in with.
enum Source {
    None,
    One(ExchangeId),
    Several,
}

impl Correlator {
    pub(super) fn begin_inbound(&mut self, inbound: Box<Exchange>, out: &mut Vec<Linked>) {
        let (id, wire) = (inbound.id, Wire::of(&inbound));
        if self.processes.keeps_to_threads(inbound.pid()) {
            self.threads.hold(&inbound, &mut self.counters);
        }
        if let Some(arrival) = Arrival::of(&inbound) {
            self.contexts.insert(arrival);
        }
        let client_end = self.pairs.outbound(wire);
        let edge = client_end.and_then(|client_end| self.edge_to(client_end, &inbound));
        let edge = edge.or_else(|| match inbound.other_end {
            OtherEnd::Untraced => Some(alone(&inbound)),
            OtherEnd::Traced | OtherEnd::Maybe => None,
        });
        let wait_ns = match inbound.other_end {
            OtherEnd::Traced => self.settings.wait_traced_ns,
            OtherEnd::Maybe | OtherEnd::Untraced => self.settings.wait_maybe_ns,
        };
        let mut live = Live::new(Begun::Exchange(inbound, None));
        if edge.is_none() {
            // Counted from now: events that come late come late from both ends.
            let deadline = self.now.plus(wait_ns);
            live.deadline = Some(deadline);
            self.deadlines.insert((deadline, id));
            self.pairs.wait(wire, id);
        }
        self.known.begin(id, live);
        if let Some(edge) = edge {
            self.decide(id, edge, out);
        }
    }

    pub(super) fn begin_outbound(&mut self, outbound: Box<Exchange>, out: &mut Vec<Linked>) {
        let (id, wire) = (outbound.id, Wire::of(&outbound));
        let (edge, candidate) = self.cause(&outbound);
        let mut live = Live::new(Begun::Exchange(outbound, None));
        live.candidate = candidate;
        self.known.begin(id, live);
        self.pairs.sent(wire, id);
        self.decide(id, edge, out);
        let Some(server_end) = self.pairs.waiting(wire) else {
            return;
        };
        let inbound = self.known.live.get(&server_end).and_then(Live::exchange).cloned();
        if let Some(edge) = inbound.and_then(|inbound| self.edge_to(id, &inbound)) {
            self.decide(server_end, edge, out);
        }
    }

    pub(super) fn fail_connect(&mut self, failure: Box<ConnectFailure>, out: &mut Vec<Linked>) {
        let id = failure.id;
        let (edge, candidate) = self.by_task(failure.task, failure.start);
        let mut live = Live::new(Begun::ConnectFailed(failure));
        live.candidate = candidate;
        self.known.begin(id, live);
        self.decide(id, edge, out);
    }

    /// Decides an exchange that waits, without its other end.
    pub(super) fn decide_alone(&mut self, id: ExchangeId, out: &mut Vec<Linked>) {
        let waiting = self.known.live.get(&id).filter(|live| live.edge.is_none());
        let Some(inbound) = waiting.and_then(Live::exchange) else {
            return;
        };
        self.counters.counterpart_missed += u64::from(inbound.other_end == OtherEnd::Traced);
        let edge = alone(inbound);
        self.decide(id, edge, out);
    }

    /// The edge of an inbound exchange whose client end was seen: a span that names itself on the wire is the
    /// parent only where ours stands aside for it. `None` if the two cannot be ends of one exchange.
    fn edge_to(&mut self, client_end: ExchangeId, inbound: &Exchange) -> Option<Edge> {
        let starts_after = self
            .known
            .start(client_end)
            .is_some_and(|start| start <= inbound.start);
        if !starts_after || self.known.descends_without_context(client_end, inbound.id) {
            self.counters.counterpart_refused += 1;
            return None;
        }
        let stands_aside = match self.known.live.get(&client_end) {
            Some(live) => self.stands_aside(live),
            None => self.known.over(client_end)?.fate == Fate::Withheld,
        };
        Some(if stands_aside {
            alone(inbound)
        } else {
            Edge::Local(client_end, Evidence::Connection)
        })
    }

    /// The edge of an outbound exchange, and its candidate where that is not a parent.
    fn cause(&mut self, outbound: &Exchange) -> (Edge, Option<ExchangeId>) {
        let (pid, task, start) = (outbound.pid(), outbound.task, outbound.start);
        let Some(context) = outbound.context.parent else {
            let cause = self.by_task(task, start);
            return match (outbound.context.decision, cause.0) {
                (Some(Sampled::No), Edge::Local(inbound, _)) if !self.is_unsampled(inbound) => {
                    // Its process has decided so itself.
                    self.processes.made_context(pid, &mut self.counters);
                    (Edge::Root, None)
                }
                _ => cause,
            };
        };
        match self.source(outbound, &context) {
            Source::One(inbound) => {
                self.processes.passed_context(pid, &mut self.counters);
                (Edge::Local(inbound, Evidence::Header), None)
            }
            Source::Several => {
                self.processes.passed_context(pid, &mut self.counters);
                let (by_task, _) = self.by_task(task, start);
                let came_with_it = |id| self.contexts.with(pid, &context).any(|other| other == id);
                if matches!(by_task, Edge::Local(inbound, _) if came_with_it(inbound)) {
                    return (by_task, None);
                }
                self.counters.ambiguous_context += 1;
                (
                    Edge::Remote(RemoteParent {
                        span: None,
                        ..context
                    }),
                    None,
                )
            }
            Source::None if context.span.is_some() => {
                self.processes.made_context(pid, &mut self.counters);
                (Edge::Remote(context), None)
            }
            // A format that names the trace alone does not tell who made it.
            Source::None => match self.by_task(task, start) {
                (edge @ Edge::Local(..), _) => (edge, None),
                _ => (Edge::Remote(context), None),
            },
        }
    }

    /// Whether a request came with the decision that it is not sampled, or descends from one that did.
    fn is_unsampled(&self, inbound: ExchangeId) -> bool {
        let came_so = |exchange: &Exchange| {
            let parent = exchange.context.parent.map(|parent| parent.sampled);
            parent.or(exchange.context.decision) == Some(Sampled::No)
        };
        let context = self.known.context(inbound);
        context.is_some_and(|context| !context.sampled)
            || self
                .known
                .live
                .get(&inbound)
                .and_then(Live::exchange)
                .is_some_and(came_so)
    }

    /// Where a context that goes out came in: in flight if any is, else over a moment ago.
    fn source(&self, outbound: &Exchange, context: &RemoteParent) -> Source {
        let starts_before = |id: &ExchangeId| {
            let start = self.known.start(*id);
            start.is_some_and(|start| start <= outbound.start)
        };
        let in_flight = |id: &ExchangeId| self.known.live.get(id).is_some_and(|live| !live.has_ended());
        let came = || self.contexts.with(outbound.pid(), context).filter(starts_before);
        let one_of = |mut ids: Box<dyn Iterator<Item = ExchangeId> + '_>| match (ids.next(), ids.next()) {
            (Some(id), None) => Source::One(id),
            (Some(_), Some(_)) => Source::Several,
            (None, _) => Source::None,
        };
        match one_of(Box::new(came().filter(in_flight))) {
            Source::None => one_of(Box::new(came())),
            found => found,
        }
    }

    fn by_task(&mut self, task: Task, start: BootNanos) -> (Edge, Option<ExchangeId>) {
        if !self.processes.keeps_to_threads(task.pid) {
            return (Edge::Root, None);
        }
        match self.threads.holder(task, start) {
            Holder::One(inbound) if self.known.contains(inbound) => {
                (Edge::Local(inbound, Evidence::Task), None)
            }
            Holder::After(inbound) => (Edge::Root, Some(inbound)),
            Holder::Several => {
                self.counters.ambiguous_task += 1;
                (Edge::Root, None)
            }
            Holder::One(_) | Holder::Unknown => (Edge::Root, None),
        }
    }
}

/// The edge of an inbound exchange whose client end is not seen or stands aside.
fn alone(inbound: &Exchange) -> Edge {
    inbound.context.parent.map_or(Edge::Root, Edge::Remote)
}
