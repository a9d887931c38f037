//! Calls of which a task seems to tell what they were made for, and which wait until it has proven that it does.
//!
//! ```text
//! waiting ──► proven ─────────────────────────────────► decided as it seemed
//!    └─ the wait is over, or the program ends
//!         ├─ nothing speaks against the thread ────────► decided as it seemed
//!         ├─ times are sure ───────────────────────────► decided by them
//!         └─ else ─────────────────────────────────────► none
//! ```

use crate::{
    ids::{Maker, Pid, Task},
    protocols::{
        Exchange, ExchangeId,
        exchange::{Ending, Side},
    },
};

use super::{
    Correlator, Evidence, Linked,
    by_turn::ByTurn,
    known::{Edge, Live},
    parents::Cause,
};

/// What is made of a cause at first.
pub(super) struct Judged {
    pub cause: Cause,
    /// The call waits, for this to be proven if it is known.
    pub guess: Option<(ExchangeId, Evidence)>,
    pub waits: bool,
    /// See [`Live::may_be_told`].
    pub may_be_told: bool,
}

impl Correlator {
    /// What a call was made for, as far as its task has proven to tell.
    pub(super) fn judge(&mut self, cause: Cause, outbound: &Exchange) -> Judged {
        let judged = |cause, guess, waits| Judged {
            cause,
            guess,
            waits,
            may_be_told: false,
        };
        let by_thread = match cause {
            Cause::Edge(Edge::Local(request, evidence @ (Evidence::Task | Evidence::Handoff)))
                if !outbound.task.is_goroutine() =>
            {
                Some((request, evidence))
            }
            Cause::Unknown => None,
            // Or for what another has read since.
            Cause::After(_) if self.workers.hands_on(outbound.pid()) => None,
            Cause::Edge(_) | Cause::After(_) => return judged(cause, None, false),
        };
        let follows =
            |(request, evidence): &_| *evidence == Evidence::Handoff || self.follows_from(*request, outbound);
        let pid = outbound.pid();
        if let Some(guess) = by_thread.filter(follows) {
            if outbound.moment.is_some() {
                self.loops.called(pid, outbound.id, guess.0);
            }
            let is_proven = self.processes.is_proven(pid) && self.keeps_to_itself(outbound);
            if !self.timing.serves_several(pid) || is_proven {
                return judged(cause, None, false);
            }
            if outbound.maker.as_ref().is_some_and(Maker::was_woken) {
                // Who was woken may tell where threads do not keep to their requests.
                self.relays.called(pid, outbound.id, guess.0);
            }
            return judged(Cause::Unknown, Some(guess), true);
        }
        let by_turn = if outbound.is_by_any_thread() && self.timing.serves_several(pid) {
            ByTurn::Unknown
        } else {
            self.by_turn(outbound)
        };
        match by_turn {
            ByTurn::For(request) => judged(Cause::Edge(Edge::Local(request, Evidence::Turn)), None, false),
            by_turn @ (ByTurn::Waits(_) | ByTurn::Unknown) => {
                let is_serving = self.timing.serves(outbound.pid());
                let by_coroutine = self.coroutines.called(outbound, is_serving, &mut self.counters);
                let by_lags = outbound.moment.is_some() && is_serving && self.lags.may_tell(outbound.task);
                let by_relay = outbound.moment.is_none() && matches!(by_turn, ByTurn::Waits(_));
                let by_worker = self.workers.called(outbound, is_serving);
                let may_be_told = by_coroutine || by_lags || by_relay || by_worker;
                let (guess, waits) = match by_turn {
                    ByTurn::Waits(request) => (request.map(|request| (request, Evidence::Turn)), true),
                    _ => (None, may_be_told),
                };
                Judged {
                    may_be_told,
                    ..judged(Cause::Unknown, guess, waits)
                }
            }
        }
    }

    /// Whether what a thread sends is for what it has read itself: of several event loops one that has a single request has it by chance.
    fn keeps_to_itself(&self, outbound: &Exchange) -> bool {
        outbound.moment.is_none() || self.loops.trusts(outbound.pid())
    }

    /// Whether a thread can have made a call because of the request that it holds: one that runs an event loop may be at work for
    /// what was answered long ago, unless it has read that request last.
    fn follows_from(&self, request: ExchangeId, outbound: &Exchange) -> bool {
        outbound.moment.is_none_or(|moment| {
            !moment.timer && self.turns.last_read(outbound.task, moment) == Some(request)
        })
    }

    /// A request is over: who answered it tells whether threads of its process keep to their requests.
    pub(super) fn note_answer(&mut self, id: ExchangeId, ending: &Ending, out: &mut Vec<Linked>) {
        let inbound = self.known.live(id).and_then(Live::exchange);
        let (Some(inbound), Some(answerer)) = (inbound, ending.response_task) else {
            return;
        };
        let pid = inbound.pid();
        let is_kept = inbound.task == answerer;
        if inbound.side == Side::Inbound
            && self.timing.serves_several(pid)
            && self.processes.answered(pid, is_kept, &mut self.counters)
        {
            self.decide_proven(|exchange| exchange.pid() == pid, out);
        }
    }

    /// The program of a process ends: nothing more will be proven of it.
    pub(super) fn decide_guesses(&mut self, pid: Pid, out: &mut Vec<Linked>) {
        for call in self.guessed(|exchange| exchange.pid() == pid) {
            self.decide_alone(call, out);
        }
    }

    /// Decides the calls that waited for this to be proven of their tasks.
    pub(super) fn decide_proven(&mut self, is_proven: impl Fn(&Exchange) -> bool, out: &mut Vec<Linked>) {
        for call in self.guessed(is_proven) {
            let is_proven = |guess: &(ExchangeId, Evidence)| self.has_proven(call, *guess);
            let guess = self.known.live(call).and_then(|live| live.guess);
            if let Some(guess) = guess.filter(is_proven) {
                self.decide_guess(call, guess, out);
            }
        }
    }

    /// The calls that wait so, in order.
    fn guessed(&self, is_meant: impl Fn(&Exchange) -> bool) -> Vec<ExchangeId> {
        let waits = |live: &Live| {
            live.edge.is_none()
                && (live.guess.is_some() || live.may_be_told)
                && live.exchange().is_some_and(&is_meant)
        };
        let waiting = self.known.all_live().filter(|(_, live)| waits(live));
        let mut waiting: Vec<_> = waiting.map(|(id, _)| id).collect();
        waiting.sort_unstable();
        waiting
    }

    /// Whether the task of a call is proven to tell this.
    fn has_proven(&self, call: ExchangeId, (_, evidence): (ExchangeId, Evidence)) -> bool {
        let Some(exchange) = self.known.live(call).and_then(Live::exchange) else {
            return false;
        };
        match evidence {
            // That waits for its row.
            Evidence::Turn if exchange.moment.is_none() => false,
            Evidence::Turn => self.tells_by_turn(exchange.task),
            _ => self.processes.is_proven(exchange.pid()) && self.is_unrefuted(exchange, evidence),
        }
    }

    /// Whether nothing speaks against the thread that tells what a call was made for.
    fn is_unrefuted(&self, call: &Exchange, evidence: Evidence) -> bool {
        let is_trusted = |task| self.processes.keeps_to_request(task) && self.threads.trusts(task);
        match (evidence, call.maker) {
            (Evidence::Handoff, Some(Maker::Thread { taker, waker, .. })) => {
                let mut tellers = [taker, waker]
                    .map(|tid| Task::thread(call.pid(), tid))
                    .into_iter();
                tellers.any(is_trusted)
            }
            _ => is_trusted(call.task) && self.keeps_to_itself(call),
        }
    }

    pub(super) fn decide_guess(
        &mut self,
        call: ExchangeId,
        (request, evidence): (ExchangeId, Evidence),
        out: &mut Vec<Linked>,
    ) {
        let waiting = self.known.live(call).filter(|live| live.edge.is_none());
        let Some(pid) = waiting.and_then(Live::exchange).map(Exchange::pid) else {
            return;
        };
        if self.known.contains(request) {
            self.timing.knows_now(pid, call, request);
            self.decide(call, Edge::Local(request, evidence), out);
        }
    }

    /// What becomes of a call when its wait is over.
    pub(super) fn edge_after_wait(&self, live: &Live) -> Option<Edge> {
        let exchange = live
            .exchange()
            .filter(|exchange| exchange.side == Side::Outbound)?;
        match (live.guess, live.candidate) {
            (Some((request, evidence @ (Evidence::Task | Evidence::Handoff))), _)
                if self.is_unrefuted(exchange, evidence) && self.known.contains(request) =>
            {
                Some(Edge::Local(request, evidence))
            }
            (Some((request, Evidence::Turn)), _)
                if exchange.moment.is_none()
                    && self.relays.believes(exchange.pid())
                    && self.known.contains(request) =>
            {
                Some(Edge::Local(request, Evidence::Turn))
            }
            (_, Some((request, Evidence::Timing)))
                if live.confidence >= Some(self.settings.min_confidence) && self.known.contains(request) =>
            {
                Some(Edge::Local(request, Evidence::Timing))
            }
            _ => None,
        }
    }
}
