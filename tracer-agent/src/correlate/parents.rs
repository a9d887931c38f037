//! Where an exchange comes from: the ladder of evidence, and the truth table of contexts.

use crate::{
    ids::{BootNanos, Maker, Task},
    protocols::{
        Exchange, ExchangeId,
        exchange::{ConnectFailure, OtherEnd, RemoteParent, Sampled, Side},
    },
};

use super::{
    Correlator, Evidence, Linked,
    contexts::Arrival,
    guess::Judged,
    known::{Begun, Edge, Fate, Live},
    lags,
    pairs::Wire,
    threads::{Holder, MadeFor},
    timing::Answer,
};

/// How many goroutines are looked at, each the maker of the one before.
const GENERATIONS: usize = 3;

/// Which inbound exchanges a context that goes out came in with.
enum Source {
    None,
    One(ExchangeId),
    Several,
}

/// What a call was made for, as far as the wire and threads tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// They tell.
    Edge(Edge),
    /// For none that is known, by a thread that answered this request a moment ago.
    After(ExchangeId),
    /// They do not.
    Unknown,
}

impl Cause {
    fn edge(self) -> Edge {
        match self {
            Self::Edge(edge) => edge,
            Self::After(_) | Self::Unknown => Edge::Root,
        }
    }

    fn candidate(self) -> Option<(ExchangeId, Evidence)> {
        match self {
            Self::After(inbound) => Some((inbound, Evidence::Task)),
            Self::Edge(_) | Self::Unknown => None,
        }
    }
}

impl Correlator {
    pub(super) fn begin_inbound(&mut self, inbound: Box<Exchange>, out: &mut Vec<Linked>) {
        let (id, wire) = (inbound.id, Wire::of(&inbound));
        if self.processes.keeps_to_request(inbound.task) && !inbound.multiplexed {
            self.threads.hold(&inbound, &mut self.counters);
        }
        self.relays.came(&inbound, &mut self.counters);
        self.loops.came(&inbound, &mut self.counters);
        self.coroutines.came(&inbound);
        if let Some(moment) = inbound.moment {
            self.turn_reads(inbound.task, moment, Some(id), out);
            self.lag_reads(inbound.task, moment, lags::Cause::Came(id), out);
        }
        self.timing.came(&inbound);
        self.request_ids.came(&inbound, &mut self.counters);
        if let Some(arrival) = Arrival::of(&inbound) {
            self.contexts.insert(arrival);
        }
        // One whose client end cannot come does not wait for it.
        let client_end = match inbound.other_end {
            OtherEnd::Untraced => self.pairs.outbound(wire),
            OtherEnd::Traced | OtherEnd::Maybe => self.pairs.wait(wire, id),
        };
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
        } else {
            self.pairs.stop_waiting(wire, id);
        }
        self.known.begin(id, live);
        if let Some(edge) = edge {
            self.decide(id, edge, out);
        }
    }

    pub(super) fn begin_outbound(&mut self, outbound: Box<Exchange>, out: &mut Vec<Linked>) {
        let (id, wire) = (outbound.id, Wire::of(&outbound));
        let cause = self.cause(&outbound);
        let Judged {
            cause,
            guess,
            waits,
            may_be_told,
        } = self.judge(cause, &outbound);
        self.note_call(&outbound);
        let hint = outbound
            .moment
            .filter(|_| self.loops.trusts(outbound.pid()))
            .and_then(|moment| self.turns.hint(outbound.task, moment));
        let in_flight = || self.known.served_by(outbound.pid());
        let is_timed =
            cause == Cause::Unknown && self.timing.called(&outbound, hint, in_flight, &mut self.counters);
        // Who had it sent may tell so after it was.
        let may_be_taken = cause == Cause::Unknown && outbound.multiplexed && outbound.task.is_goroutine();
        let wait_ns = if is_timed || waits {
            self.settings.wait_timing_ns
        } else {
            self.settings.wait_maybe_ns
        };
        let waits = is_timed || waits || may_be_taken;
        if let Cause::Edge(Edge::Local(request, _)) = cause {
            self.timing.knows(&outbound, request);
        }
        let mut live = Live::new(Begun::Exchange(outbound, None));
        live.candidate = cause.candidate();
        (live.guess, live.may_be_told) = (guess, may_be_told);
        if waits {
            let deadline = self.now.plus(wait_ns);
            live.deadline = Some(deadline);
            self.deadlines.insert((deadline, id));
        }
        self.known.begin(id, live);
        let server_end = self.pairs.sent(wire, id);
        if !waits {
            self.decide(id, cause.edge(), out);
        }
        let Some(server_end) = server_end else {
            return;
        };
        let inbound = self.known.live(server_end).and_then(Live::exchange).cloned();
        if let Some(edge) = inbound.and_then(|inbound| self.edge_to(id, &inbound)) {
            self.decide(server_end, edge, out);
        }
    }

    pub(super) fn fail_connect(&mut self, failure: Box<ConnectFailure>, out: &mut Vec<Linked>) {
        let id = failure.id;
        let cause = self.by_task(failure.task, failure.start);
        let mut live = Live::new(Begun::ConnectFailed(failure));
        live.candidate = cause.candidate();
        self.known.begin(id, live);
        self.decide(id, cause.edge(), out);
    }

    /// Decides an exchange that waits, without its other end.
    pub(super) fn decide_alone(&mut self, id: ExchangeId, out: &mut Vec<Linked>) {
        self.flush_lags(id, out);
        let waiting = self.known.live(id).filter(|live| live.edge.is_none());
        let Some((live, exchange)) = waiting.and_then(|live| Some((live, live.exchange()?))) else {
            return;
        };
        let is_missed = exchange.side == Side::Inbound && exchange.other_end == OtherEnd::Traced;
        let edge = self.edge_after_wait(live).unwrap_or_else(|| alone(exchange));
        self.counters.counterpart_missed += u64::from(is_missed);
        self.decide(id, edge, out);
    }

    /// Decides calls that waited for it by their times.
    pub(super) fn decide_timed(&mut self, out: &mut Vec<Linked>) {
        for answer in self.timing.answers(self.now) {
            self.decide_by(&answer, out);
        }
    }

    pub(super) fn decide_by(&mut self, answer: &Answer, out: &mut Vec<Linked>) {
        let may_be = |request: &ExchangeId| {
            self.known.contains(*request) && !self.known.descends_without_context(*request, answer.call)
        };
        let request = answer.request.filter(may_be);
        let waiting = self.known.live_mut(answer.call);
        let Some(live) = waiting.filter(|live| live.edge.is_none()) else {
            return;
        };
        live.confidence = Some(answer.confidence);
        live.candidate = request.map(|request| (request, Evidence::Timing));
        let is_sure = answer.confidence >= self.settings.min_confidence;
        // What its task tells is better, if that is proven yet.
        let may_be_better =
            live.may_be_told || matches!(live.guess, Some((_, Evidence::Task | Evidence::Handoff)));
        match request.filter(|_| is_sure) {
            _ if may_be_better => {}
            Some(request) => self.decide(answer.call, Edge::Local(request, Evidence::Timing), out),
            None if live.guess.is_none() => self.decide(answer.call, Edge::Root, out),
            None => {}
        }
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
        let stands_aside = match self.known.live(client_end) {
            Some(live) => self.stands_aside(live),
            None => self.known.over(client_end)?.fate == Fate::Withheld,
        };
        Some(if stands_aside {
            alone(inbound)
        } else {
            Edge::Local(client_end, Evidence::Connection)
        })
    }

    /// What an outbound exchange was sent for, as far as the wire and threads tell.
    fn cause(&mut self, outbound: &Exchange) -> Cause {
        let pid = outbound.pid();
        let Some(context) = outbound.context.parent else {
            let cause = self.by_id_or_worker(outbound);
            return match (outbound.context.decision, cause) {
                (Some(Sampled::No), Cause::Edge(Edge::Local(inbound, _))) if !self.is_unsampled(inbound) => {
                    // Its process has decided so itself.
                    self.processes.made_context(pid, &mut self.counters);
                    Cause::Edge(Edge::Root)
                }
                (Some(Sampled::No), Cause::Unknown) => Cause::Edge(Edge::Root),
                _ => cause,
            };
        };
        match self.source(outbound, &context) {
            Source::One(inbound) => {
                self.processes.passed_context(pid, &mut self.counters);
                Cause::Edge(Edge::Local(inbound, Evidence::Header))
            }
            Source::Several => {
                self.processes.passed_context(pid, &mut self.counters);
                let by_task = self.by_worker(outbound);
                let came_with_it = |id| self.contexts.with(pid, &context).any(|other| other == id);
                if matches!(by_task, Cause::Edge(Edge::Local(inbound, _)) if came_with_it(inbound)) {
                    return by_task;
                }
                self.counters.ambiguous_context += 1;
                Cause::Edge(Edge::Remote(RemoteParent {
                    span: None,
                    ..context
                }))
            }
            Source::None if context.span.is_some() => {
                self.processes.made_context(pid, &mut self.counters);
                Cause::Edge(Edge::Remote(context))
            }
            // A format that names the trace alone does not tell who made it.
            Source::None => match self.by_id_or_worker(outbound) {
                cause @ Cause::Edge(Edge::Local(..)) => cause,
                _ => Cause::Edge(Edge::Remote(context)),
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
                .live(inbound)
                .and_then(Live::exchange)
                .is_some_and(came_so)
    }

    /// Where a context that goes out came in: in flight if any is, else over a moment ago.
    fn source(&self, outbound: &Exchange, context: &RemoteParent) -> Source {
        let starts_before = |id: &ExchangeId| {
            let start = self.known.start(*id);
            start.is_some_and(|start| start <= outbound.start)
        };
        let in_flight = |id: &ExchangeId| self.known.live(*id).is_some_and(|live| !live.has_ended());
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

    /// What its id tells of a request that was sent, else what its task does.
    fn by_id_or_worker(&mut self, outbound: &Exchange) -> Cause {
        let starts_before = |id: &ExchangeId| {
            let start = self.known.start(*id);
            start.is_some_and(|start| start <= outbound.start)
        };
        match self.request_ids.source(outbound).filter(starts_before) {
            Some(inbound) => Cause::Edge(Edge::Local(inbound, Evidence::RequestId)),
            None => self.by_worker(outbound),
        }
    }

    /// What the task that sent a request, or had it sent, tells of it; else the goroutine that made that task.
    fn by_worker(&mut self, outbound: &Exchange) -> Cause {
        let (task, start) = (outbound.task, outbound.start);
        if outbound.is_by_any_thread() && self.timing.serves_several(outbound.pid()) {
            return Cause::Unknown;
        }
        if outbound.multiplexed {
            // One that was made to send this is no one that writes for all.
            return match self.by_makers(task, outbound.made_by(), start) {
                cause @ Cause::Edge(Edge::Local(..)) => cause,
                _ => Cause::Unknown,
            };
        }
        match self.by_goroutine(task, outbound.made_by(), start) {
            Cause::Edge(Edge::Local(inbound, Evidence::Task)) if outbound.handed => {
                Cause::Edge(Edge::Local(inbound, Evidence::Handoff))
            }
            Cause::Unknown => self.by_other_thread(outbound),
            cause => cause,
        }
    }

    /// What the thread tells that had another send a request.
    fn by_other_thread(&mut self, outbound: &Exchange) -> Cause {
        let Some(Maker::Thread { taker, waker, at }) = outbound.maker else {
            return Cause::Unknown;
        };
        let by = |tid| Task::thread(outbound.pid(), tid);
        let handed = |cause| match cause {
            Cause::Edge(Edge::Local(inbound, _)) => Cause::Edge(Edge::Local(inbound, Evidence::Handoff)),
            cause => cause,
        };
        match self.by_task(by(taker), outbound.start) {
            Cause::Unknown if waker != 0 => {}
            cause => return handed(cause),
        }
        let cause = self.by_task(by(waker), outbound.start);
        // What it has read since is not what it had in mind.
        let was_held = |inbound: ExchangeId| {
            let inbound = self.known.live(inbound).and_then(Live::exchange);
            inbound.is_some_and(|inbound| inbound.head_end <= at)
        };
        match cause {
            Cause::Edge(Edge::Local(inbound, _)) if !was_held(inbound) => Cause::Unknown,
            cause => handed(cause),
        }
    }

    /// What a task tells, else the goroutine that made it.
    pub(super) fn by_goroutine(&mut self, task: Task, maker: Option<Task>, start: BootNanos) -> Cause {
        match self.by_task(task, start) {
            Cause::Unknown => self.by_makers(task, maker, start),
            cause => cause,
        }
    }

    /// What the goroutine tells that made this one, or the one that made that.
    fn by_makers(&mut self, mut task: Task, mut maker: Option<Task>, start: BootNanos) -> Cause {
        for _ in 0..GENERATIONS {
            let Some(older) = maker else { break };
            match self.by_maker(older, task, start) {
                Cause::Unknown => (task, maker) = (older, self.threads.maker(older)),
                cause => return cause,
            }
        }
        Cause::Unknown
    }

    fn by_maker(&mut self, maker: Task, task: Task, start: BootNanos) -> Cause {
        let pid = task.pid;
        match self.threads.made_for(maker, task, start, &mut self.counters) {
            MadeFor::Held { inbound, is_first } if self.known.contains(inbound) => {
                if is_first || !self.processes.have_goroutines_outlived(pid) {
                    Cause::Edge(Edge::Local(inbound, Evidence::Handoff))
                } else {
                    Cause::Unknown
                }
            }
            MadeFor::Answered(inbound) => {
                self.processes.goroutines_outlive(pid, &mut self.counters);
                Cause::After(inbound)
            }
            MadeFor::Earlier => {
                self.processes.goroutines_outlive(pid, &mut self.counters);
                Cause::Unknown
            }
            MadeFor::Held { .. } | MadeFor::Unknown => Cause::Unknown,
        }
    }

    fn by_task(&mut self, task: Task, start: BootNanos) -> Cause {
        if !self.processes.keeps_to_request(task) {
            return Cause::Unknown;
        }
        match self.threads.holder(task, start) {
            Holder::One(inbound) if self.known.contains(inbound) => {
                Cause::Edge(Edge::Local(inbound, Evidence::Task))
            }
            Holder::After(inbound) => Cause::After(inbound),
            Holder::Several => {
                self.counters.ambiguous_task += 1;
                Cause::Unknown
            }
            Holder::One(_) | Holder::Unknown => Cause::Unknown,
        }
    }
}

/// The edge of an inbound exchange whose client end is not seen or stands aside, or of a call that nothing tells about.
fn alone(exchange: &Exchange) -> Edge {
    exchange.context.parent.map_or(Edge::Root, Edge::Remote)
}
