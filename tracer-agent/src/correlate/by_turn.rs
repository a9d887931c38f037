//! The rung `turn`: calls of event loops are given to the requests for which was read last (`turns`), or some turns before (`lags`); and the rung
//! `task` where loops run coroutines (`coroutines`).

use crate::{
    ids::{Moment, Task},
    protocols::{
        Exchange, ExchangeId,
        exchange::{Ending, Side},
    },
};

use super::{
    Correlator, Evidence, Linked,
    known::Live,
    lags::{Cause, Made},
    turns::Act,
};

/// What a call of an event loop was made for, by what was read last when it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByTurn {
    /// This request.
    For(ExchangeId),
    /// It may be known later; for this one, if the thread turns out to be of those that act on what they read as it comes.
    Waits(Option<ExchangeId>),
    /// That does not tell.
    Unknown,
}

impl Correlator {
    pub(super) fn by_turn(&mut self, outbound: &Exchange) -> ByTurn {
        let Some(moment) = outbound.moment else {
            return self.by_relay(outbound);
        };
        let task = outbound.task;
        let last_read = self.turns.last_read(task, moment);
        let Some(request) = last_read.filter(|request| self.known.contains(*request)) else {
            return ByTurn::Unknown;
        };
        if !self.turns.is_certain(task, moment, Act::Call(outbound.id)) {
            return ByTurn::Waits(None);
        }
        self.loops.called(task.pid, outbound.id, request);
        if self.tells_by_turn(task) {
            ByTurn::For(request)
        } else {
            ByTurn::Waits(Some(request))
        }
    }

    /// Whether a task acts on what it reads as it comes, and on nothing that others have read.
    pub(super) fn tells_by_turn(&self, task: Task) -> bool {
        self.turns.trusts(task) && self.processes.is_proven(task.pid) && self.loops.trusts(task.pid)
    }

    /// A task of an event loop read something of an exchange: what it does next is done for the request that this belongs to.
    pub(super) fn note_read(&mut self, id: ExchangeId, task: Task, moment: Moment, out: &mut Vec<Linked>) {
        let request = self.known.live(id).and_then(Live::works_for);
        self.relays
            .read((task, moment.at), id, request, &mut self.counters);
        self.turn_reads(task, moment, request, out);
    }

    /// An exchange is over: the response of a call was read, or that of a request written, which tells whether what is read last
    /// tells for what things are written.
    pub(super) fn note_ending(&mut self, id: ExchangeId, ending: &Ending, out: &mut Vec<Linked>) {
        let Some(task) = ending.response_task else {
            return;
        };
        let Some(exchange) = self.known.live(id).and_then(Live::exchange) else {
            return;
        };
        let (side, pid) = (exchange.side, exchange.pid());
        if let (Side::Inbound, Some(coroutine), Some(at)) = (side, ending.coroutine, ending.answered_at()) {
            let by = (task, at, ending.end);
            let made = self
                .coroutines
                .answered(exchange, coroutine, by, &mut self.counters);
            self.decide_made(made, Evidence::Task, out);
        }
        let Some(moment) = ending.moment else { return };
        match side {
            Side::Outbound => {
                self.note_read(id, task, moment, out);
                self.lag_reads(task, moment, Cause::Answered(id), out);
            }
            Side::Inbound => {
                let act = Act::Answer(id);
                self.lags.acted(task, moment, act);
                let has_others = self.timing.serves_several(pid);
                let is_own = self.turns.last_read(task, moment) == Some(id);
                if self.loops.answered(pid, id, has_others, is_own) {
                    self.decide_proven(|exchange| exchange.pid() == pid, out);
                }
                // Of a request that is alone everything is, whatever the loop does.
                if has_others {
                    if self.turns.is_certain(task, moment, act) {
                        self.certain(task, moment, act, out);
                    } else {
                        self.turns.answered_doubtfully(task, moment, id);
                    }
                }
            }
        }
    }

    /// A call was made, in whatever way its request is found.
    pub(super) fn note_call(&mut self, outbound: &Exchange) {
        if let Some(moment) = outbound.moment {
            self.lags.acted(outbound.task, moment, Act::Call(outbound.id));
        }
    }

    /// A task of an event loop read something that it may act on some turns later.
    pub(super) fn lag_reads(&mut self, task: Task, moment: Moment, cause: Cause, out: &mut Vec<Linked>) {
        if self.turns.trusts(task) {
            return self.lags.drop_thread(task);
        }
        let made = self.lags.read(task, moment, cause, &mut self.counters);
        self.decide_by_lags(task, made, out);
    }

    /// The wait of a call is over: what its task has done by then is all that will tell.
    pub(super) fn flush_lags(&mut self, call: ExchangeId, out: &mut Vec<Linked>) {
        let waiting = self.known.live(call).filter(|live| live.may_be_told);
        if let Some(task) = waiting.and_then(Live::exchange).map(|exchange| exchange.task) {
            let made = self.lags.flush(task, &mut self.counters);
            self.decide_by_lags(task, made, out);
        }
    }

    fn decide_by_lags(&mut self, task: Task, made: Vec<Made>, out: &mut Vec<Linked>) {
        if self.processes.is_proven(task.pid) && self.loops.trusts(task.pid) {
            self.decide_made(made, Evidence::Turn, out);
        }
    }

    pub(super) fn decide_made(&mut self, made: Vec<Made>, evidence: Evidence, out: &mut Vec<Linked>) {
        for (call, request) in made {
            self.decide_guess(call, (request, evidence), out);
        }
    }

    /// A task of an event loop read something, for this request if that is known.
    pub(super) fn turn_reads(
        &mut self,
        task: Task,
        moment: Moment,
        request: Option<ExchangeId>,
        out: &mut Vec<Linked>,
    ) {
        for (at, act) in self.turns.read(task, moment, request, &mut self.counters) {
            self.certain(task, at, act, out);
        }
    }

    /// This was done for what was read last, if the task is of those that act on what they read as it comes.
    fn certain(&mut self, task: Task, moment: Moment, act: Act, out: &mut Vec<Linked>) {
        match act {
            Act::Answer(request) => {
                if self.turns.answered(task, moment, request, &mut self.counters) {
                    self.decide_proven(|exchange| exchange.task == task, out);
                }
            }
            Act::Call(call) => {
                let last_read = self.turns.last_read(task, moment);
                let guess = last_read.map(|request| (request, Evidence::Turn));
                match guess.filter(|_| self.tells_by_turn(task)) {
                    Some(guess) => self.decide_guess(call, guess, out),
                    None => {
                        if let Some(live) = self.known.live_mut(call) {
                            live.guess = guess;
                        }
                    }
                }
            }
        }
    }
}
