//! What becomes of an exchange once its edge is set: its context, and whether it is given out.

use crate::{
    ids::{BootNanos, TraceId},
    protocols::{
        Exchange, ExchangeId,
        exchange::{ContextFormat, Ending, Sampled, Side},
    },
    sampling::Action,
};

use super::{
    Candidate, Correlator, Counters, Evidence, Linked, Observed, Parent,
    contexts::Arrival,
    known::{Begun, Context, Edge, Fate, FoundBy, Live, Over},
    pairs::Wire,
    sampler::{Caller, Decided, Sampler},
};

impl Correlator {
    /// Sets the edge of an exchange, once; its context follows now or with that of its parent. What would be its own ancestor is no parent,
    /// whatever speaks for it: two times may be the same.
    pub(super) fn decide(&mut self, id: ExchangeId, edge: Edge, out: &mut Vec<Linked>) {
        let edge = match edge {
            Edge::Local(parent, _) if self.known.descends_without_context(parent, id) => Edge::Root,
            edge => edge,
        };
        let Some(live) = self.known.live_mut(id) else {
            return;
        };
        live.edge = Some(edge);
        if matches!(edge, Edge::Local(..)) {
            live.candidate = None;
        }
        let is_unsure = edge == Edge::Root && matches!(live.candidate, Some((_, Evidence::Timing)));
        self.counters.unsure_timing += u64::from(is_unsure);
        if let (Some(deadline), Some(exchange)) = (live.deadline.take(), live.exchange()) {
            self.pairs.stop_waiting(Wire::of(exchange), id);
            self.deadlines.remove(&(deadline, id));
        }
        let rule = live.begun.rule();
        let exchange = live.exchange();
        let decision = exchange.and_then(|exchange| exchange.context.decision);
        let context = match edge {
            Edge::Root => Some(self.new_context(id, decision, rule)),
            Edge::Remote(parent) => {
                let context = exchange.map(|exchange| &exchange.context);
                let context = context.filter(|_| parent.format == ContextFormat::W3c);
                let state = context.and_then(|context| context.tracestate.as_deref());
                let caller = Caller {
                    sampled: Some(parent.sampled),
                    tracestate: state,
                };
                let counters = &mut self.counters;
                let decided = decided(
                    self.settings.sampler,
                    self.one_in,
                    parent.trace,
                    caller,
                    rule,
                    counters,
                );
                Some(Context {
                    trace: parent.trace,
                    sampled: decided.sampled,
                    tracestate: decided.tracestate,
                    has_random_id: context.is_some_and(|context| context.random_trace_id),
                })
            }
            Edge::Local(parent, _) => {
                if let Some(dependents) = self.known.dependents(parent) {
                    *dependents += 1;
                }
                self.known.context(parent).cloned()
            }
        };
        let unresolved = match edge {
            Edge::Local(parent, _) => self.known.live_mut(parent),
            Edge::Root | Edge::Remote(_) => None,
        };
        match (context, unresolved) {
            (Some(context), _) => self.resolve(id, context, out),
            (None, Some(parent)) => parent.waiters.push(id),
            // The parent is forgotten: it will not be named, and the trace begins here.
            (None, None) => {
                let context = self.new_context(id, decision, rule);
                self.resolve(id, context, out);
            }
        }
    }

    /// Gives a context to an exchange and to all that waited for it.
    fn resolve(&mut self, id: ExchangeId, context: Context, out: &mut Vec<Linked>) {
        let mut next = Some((id, context));
        let mut waiting = Vec::new();
        while let Some((id, mut context)) = next {
            if let Some(live) = self.known.live_mut(id) {
                // Also where the sampler is another than that of the run that was recorded.
                let is_unseen = live.exchange().is_some_and(|exchange| exchange.unseen);
                let is_dropped = live.begun.rule() == Some(Action::Drop);
                context.sampled &= !is_unseen && !is_dropped;
                let waiters = live.waiters.drain(..);
                waiting.extend(waiters.map(|waiter| (waiter, context.clone())));
                live.context = Some(context);
                self.give_out(id, out);
            }
            next = waiting.pop();
        }
    }

    fn new_context(&mut self, id: ExchangeId, decision: Option<Sampled>, rule: Option<Action>) -> Context {
        let trace = self.identity.trace(id);
        let caller = Caller {
            sampled: decision,
            tracestate: None,
        };
        let counters = &mut self.counters;
        let decided = decided(self.settings.sampler, self.one_in, trace, caller, rule, counters);
        Context {
            trace,
            sampled: decided.sampled,
            tracestate: decided.tracestate,
            has_random_id: true,
        }
    }

    /// Whether this exchange leaves its place to a span that its process exports itself.
    pub(super) fn stands_aside(&self, live: &Live) -> bool {
        let pid = match &live.begun {
            Begun::Exchange(exchange, _) => exchange.pid(),
            Begun::ConnectFailed(failure) => failure.task.pid,
        };
        !live.is_promised && (live.is_withheld || self.is_withheld(pid))
    }

    /// Gives out an exchange that has both its context and its end.
    pub(super) fn give_out(&mut self, id: ExchangeId, out: &mut Vec<Linked>) {
        let Some(live) = self.known.live(id) else {
            return;
        };
        let (Some(context), Some(edge), true) = (live.context.clone(), live.edge, live.has_ended()) else {
            return;
        };
        // What its process counts itself is not counted here either.
        let stands_aside = self.stands_aside(live);
        let fate = match (context.sampled, stands_aside) {
            (false, _) => Fate::Unsampled,
            (true, true) => Fate::Withheld,
            (true, false) => Fate::Exported,
        };
        let finished = self
            .known
            .finish(id, self.now, |live| remains(live, context.clone(), fate));
        let Some(live) = finished else { return };
        let local_parent = match edge {
            Edge::Local(parent, _) => Some(parent),
            Edge::Root | Edge::Remote(_) => None,
        };
        if let Some(dependents) = local_parent.and_then(|parent| self.known.dependents(parent)) {
            *dependents = dependents.saturating_sub(1);
        }
        match fate {
            Fate::Exported => {
                let linked = self.link(id, live, edge, context);
                self.count(&linked);
                out.push(linked);
            }
            Fate::Withheld => self.counters.withheld += 1,
            Fate::Unsampled => {
                self.counters.unsampled += 1;
                if self.settings.gives_unsampled && !stands_aside {
                    let linked = self.link(id, live, edge, context);
                    out.push(linked);
                }
            }
        }
        self.forget_crowd();
    }

    fn link(&mut self, id: ExchangeId, live: Live, edge: Edge, context: Context) -> Linked {
        let (parent, evidence) = match edge {
            Edge::Root => (None, None),
            Edge::Remote(remote) => {
                let parent = remote.span.map(|span| Parent {
                    span,
                    is_remote: true,
                    is_local: false,
                });
                (parent, Some(Evidence::Header))
            }
            // What is not exported names its parent without a promise: nobody will look for it.
            Edge::Local(parent, evidence) if !context.sampled || self.promise(parent) => {
                let parent = Parent {
                    span: self.identity.span(parent),
                    is_remote: evidence == Evidence::Connection,
                    is_local: true,
                };
                (Some(parent), Some(evidence))
            }
            Edge::Local(..) => {
                self.counters.parent_withheld += 1;
                (None, None)
            }
        };
        let candidate = live
            .candidate
            .filter(|_| context.sampled)
            .and_then(|(id, evidence)| self.candidate(id, evidence, live.confidence));
        let observed = match live.begun {
            Begun::ConnectFailed(failure) => Observed::ConnectFailed(failure),
            Begun::Exchange(exchange, ending) => {
                let ending = ending.unwrap_or_else(|| Box::new(cut_short(&exchange)));
                Observed::Exchange(exchange, ending)
            }
        };
        Linked {
            observed,
            trace: context.trace,
            is_sampled: context.sampled,
            span: self.identity.span(id),
            parent,
            evidence,
            confidence: live.confidence.filter(|_| evidence == Some(Evidence::Timing)),
            tracestate: context.tracestate,
            has_random_id: context.has_random_id,
            candidates: candidate.into_iter().collect(),
        }
    }

    fn candidate(
        &mut self,
        id: ExchangeId,
        evidence: Evidence,
        confidence: Option<f64>,
    ) -> Option<Candidate> {
        let context = self.known.context(id).filter(|context| context.sampled)?;
        let trace = context.trace;
        self.promise(id).then(|| Candidate {
            trace,
            span: self.identity.span(id),
            evidence,
            confidence,
        })
    }

    /// Makes sure that a span which is about to be named is given out; false if that is too late.
    fn promise(&mut self, id: ExchangeId) -> bool {
        match self.known.live_mut(id) {
            Some(live) => {
                live.is_promised = true;
                true
            }
            None => self
                .known
                .over(id)
                .is_some_and(|over| over.fate == Fate::Exported),
        }
    }

    fn count(&mut self, linked: &Linked) {
        let counters = &mut self.counters;
        counters.exported += 1;
        match linked.evidence {
            Some(Evidence::Header) => counters.linked_header += 1,
            Some(Evidence::Connection) => counters.linked_connection += 1,
            Some(Evidence::RequestId) => counters.linked_request_id += 1,
            Some(Evidence::Task) => counters.linked_task += 1,
            Some(Evidence::Handoff) => counters.linked_handoff += 1,
            Some(Evidence::Turn) => counters.linked_turn += 1,
            Some(Evidence::Timing) => counters.linked_timing += 1,
            None => counters.roots += 1,
        }
    }

    /// Gives out an exchange now, whatever it waits for. True if its end was not known.
    pub(super) fn give_up(&mut self, id: ExchangeId, out: &mut Vec<Linked>) -> bool {
        let mut undecided = id;
        while let Some(Edge::Local(parent, _)) = self.known.live(undecided).and_then(|live| live.edge)
            && self.known.context(parent).is_none()
            && self.known.live(parent).is_some()
        {
            undecided = parent;
        }
        self.decide_alone(undecided, out);
        let Some(live) = self.known.live_mut(id) else {
            return false;
        };
        if let Begun::Exchange(exchange, ending @ None) = &mut live.begun {
            self.threads.abandon(exchange);
            if exchange.side == Side::Inbound {
                self.timing.left(exchange, None);
            }
            *ending = Some(Box::new(cut_short(exchange)));
        }
        self.give_out(id, out);
        true
    }

    /// Forgets what was over too long ago to become a parent.
    pub(super) fn forget_old(&mut self) {
        let until = BootNanos(self.now.0.saturating_sub(self.settings.linger_ns));
        while self.forget_one(until) {}
    }

    fn forget_crowd(&mut self) {
        self.forget_one(BootNanos::default());
    }

    fn forget_one(&mut self, until: BootNanos) -> bool {
        let Some((over, forgotten)) = self.known.forget(until, self.settings.max_over) else {
            return false;
        };
        self.counters.evicted_over += u64::from(forgotten.early);
        match over.found_by {
            FoundBy::Id => {}
            FoundBy::Wire(wire) => self.pairs.forget_outbound(wire, forgotten.id),
            FoundBy::Arrival(arrival) => self.contexts.remove(&arrival),
        }
        true
    }
}

/// Whether a trace is sampled; under pressure one in so many of those that would be.
fn decided(
    sampler: Sampler,
    one_in: u64,
    trace: TraceId,
    caller: Caller<'_>,
    rule: Option<Action>,
    counters: &mut Counters,
) -> Decided {
    let decided = sampler.decide(trace, caller, rule);
    if one_in == 1 || !decided.sampled {
        return decided;
    }
    let thinned = sampler.thin_out(decided, trace, caller, one_in);
    counters.shed_sampling += u64::from(!thinned.sampled);
    thinned
}

fn remains(live: &Live, context: Context, fate: Fate) -> Over {
    let found_by = live.exchange().map(|exchange| match exchange.side {
        Side::Outbound => FoundBy::Wire(Wire::of(exchange)),
        Side::Inbound => Arrival::of(exchange).map_or(FoundBy::Id, FoundBy::Arrival),
    });
    Over {
        start: live.start(),
        context,
        fate,
        dependents: live.dependents,
        found_by: found_by.unwrap_or(FoundBy::Id),
    }
}

/// The end of an exchange that is given out before its end: nothing is said but that it is incomplete.
fn cut_short(exchange: &Exchange) -> Ending {
    Ending {
        end: exchange.head_end.max(exchange.start),
        response: None,
        response_task: None,
        coroutine: None,
        maker: None,
        moment: None,
        request_body: None,
        response_body: None,
        failure: None,
        incomplete: true,
    }
}
