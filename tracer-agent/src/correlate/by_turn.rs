//! The rung `turn`: calls of event loops are given to the requests for which was read last.

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
    turns::{Act, LastRead},
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
            return ByTurn::Unknown;
        };
        let request = match self.turns.last_read(outbound.task, moment) {
            LastRead::Trusted(request) | LastRead::Unproven(request) if !self.known.contains(request) => {
                return ByTurn::Unknown;
            }
            LastRead::Trusted(request) => ByTurn::For(request),
            LastRead::Unproven(request) => ByTurn::Waits(Some(request)),
            LastRead::Unknown => return ByTurn::Unknown,
        };
        if self
            .turns
            .is_certain(outbound.task, moment, Act::Call(outbound.id))
        {
            request
        } else {
            ByTurn::Waits(None)
        }
    }

    /// A task of an event loop read something of an exchange: what it does next is done for the request that this belongs to.
    pub(super) fn note_read(&mut self, id: ExchangeId, task: Task, moment: Moment, out: &mut Vec<Linked>) {
        let request = self.known.live.get(&id).and_then(Live::works_for);
        self.turn_reads(task, moment, request, out);
    }

    /// An exchange is over: the response of a call was read, or that of a request written, which tells whether what is read last
    /// tells for what things are written.
    pub(super) fn note_ending(&mut self, id: ExchangeId, ending: &Ending, out: &mut Vec<Linked>) {
        let (Some(task), Some(moment)) = (ending.response_task, ending.moment) else {
            return;
        };
        let Some(exchange) = self.known.live.get(&id).and_then(Live::exchange) else {
            return;
        };
        let (side, pid) = (exchange.side, exchange.pid());
        match side {
            Side::Outbound => self.note_read(id, task, moment, out),
            // Of one that is alone everything is.
            Side::Inbound if self.timing.serves_several(pid) => {
                let act = Act::Answer(id);
                if self.turns.is_certain(task, moment, act) {
                    self.certain(task, moment, act, out);
                } else {
                    self.turns.answered_doubtfully(task, moment, id);
                }
            }
            Side::Inbound => {}
        }
    }

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
            Act::Call(call) => match self.turns.last_read(task, moment) {
                LastRead::Trusted(request) => self.decide_guess(call, (request, Evidence::Turn), out),
                LastRead::Unproven(request) => {
                    if let Some(live) = self.known.live.get_mut(&call) {
                        live.guess = Some((request, Evidence::Turn));
                    }
                }
                LastRead::Unknown => {}
            },
        }
    }
}
