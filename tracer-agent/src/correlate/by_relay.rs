//! What is known of calls once the response to their request is written: by what was read last at the head of its row (`relays`), the rung `turn`;
//! and by who has written it (`workers`), the rung `task`.

use crate::{
    ids::Pid,
    protocols::{
        Exchange, ExchangeId,
        exchange::{Ending, Side},
    },
};

use super::{Correlator, Evidence, Linked, by_turn::ByTurn, relays::Origin};

impl Correlator {
    /// What a call was made for by what was read last by the thread that had others make it.
    pub(super) fn by_relay(&mut self, outbound: &Exchange) -> ByTurn {
        let pid = outbound.pid();
        let origin = self.relays.origin(pid, outbound.maker);
        let Some(origin) = origin.filter(|origin| self.known.contains(origin.request)) else {
            return ByTurn::Unknown;
        };
        self.relays.called(pid, outbound.id, origin.read);
        ByTurn::Waits(Some(origin.request))
    }

    /// An exchange is over: the response of a call was read, or that of a request written, which tells for what the calls were made that led to it.
    pub(super) fn note_row(&mut self, id: ExchangeId, ending: &Ending, out: &mut Vec<Linked>) {
        let live = self.known.live(id);
        let (Some((live, exchange)), Some(task)) = (
            live.and_then(|live| Some((live, live.exchange()?))),
            ending.response_task,
        ) else {
            return;
        };
        let (pid, last) = (exchange.pid(), (task, ending.end));
        match exchange.side {
            Side::Outbound => {
                // Where it runs an event loop, each read is noted.
                if ending.moment.is_none() {
                    self.relays.read(last, id, live.works_for(), &mut self.counters);
                }
            }
            Side::Inbound => {
                let made = self.workers.answered(exchange, last, &mut self.counters);
                self.decide_made(made, Evidence::Task, out);
                // Of a request that is alone everything is, whatever threads do.
                let origin = self.relays.origin(pid, ending.maker);
                if let Some(origin) = origin.filter(|_| self.timing.serves_several(pid)) {
                    self.close_row(id, pid, origin, out);
                }
            }
        }
    }

    /// A response was written for what was read, for its own request or for another's.
    fn close_row(&mut self, request: ExchangeId, pid: Pid, origin: Origin, out: &mut Vec<Linked>) {
        if origin.request == request {
            let made = self.relays.confirmed(pid, origin, &mut self.counters);
            return self.decide_made(made, Evidence::Turn, out);
        }
        for call in self.relays.refuted(pid, origin, &mut self.counters) {
            if let Some(live) = self.known.live_mut(call) {
                live.guess = None;
            }
        }
    }
}
