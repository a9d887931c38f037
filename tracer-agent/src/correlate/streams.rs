//! Requests that a connection carries with others at once: whoever reads or writes them does so for all, so it is told who works on each.

use crate::protocols::{
    ExchangeId,
    exchange::{Side, Worker},
};

use super::{
    Correlator, Linked,
    known::{Begun, Edge},
    parents::Cause,
};

impl Correlator {
    /// This task works on a request that came in, or has had one sent.
    pub(super) fn taken(&mut self, id: ExchangeId, worker: Worker, out: &mut Vec<Linked>) {
        let Some(live) = self.known.live_mut(id) else {
            return;
        };
        let Begun::Exchange(exchange, None) = &mut live.begun else {
            return;
        };
        match exchange.side {
            Side::Inbound => {
                exchange.task = worker.task;
                self.threads.take(exchange, &mut self.counters);
            }
            Side::Outbound if live.edge.is_none() => {
                let start = exchange.start;
                let cause = self.by_goroutine(worker.task, worker.maker, start);
                if let Cause::Edge(Edge::Local(request, evidence)) = cause {
                    self.decide_guess(id, (request, evidence), out);
                }
            }
            Side::Outbound => {}
        }
    }
}
