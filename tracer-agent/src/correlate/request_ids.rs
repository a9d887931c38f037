//! The ids that requests came in with: the rung `request-id`.
//!
//! An id is evidence for the one request of its process that came with it. Where a second one has come with the same, none of them is
//! known to be the one: a client tried again, a gateway asks the same service several times, or it is no id at all.

use crate::{
    ids::Pid,
    protocols::{Exchange, ExchangeId, propagation::RequestId},
};

use super::{Counters, Settings, table::Table};

/// Who came with each id.
#[derive(Debug)]
pub struct RequestIds {
    came: Table<(Pid, RequestId), Came>,
}

#[derive(Debug, Default)]
enum Came {
    #[default]
    Nobody,
    One(ExchangeId),
    Several,
}

impl RequestIds {
    pub fn new(settings: &Settings) -> Self {
        Self {
            came: Table::new(settings.max_request_ids),
        }
    }

    /// A request came in.
    pub fn came(&mut self, inbound: &Exchange, counters: &mut Counters) {
        for id in different(inbound) {
            let came = self
                .came
                .entry((inbound.pid(), id), &mut counters.evicted_request_ids);
            *came = match came {
                Came::Nobody => Came::One(inbound.id),
                Came::One(_) | Came::Several => Came::Several,
            };
        }
    }

    /// The only request of the process that came with an id of this one.
    pub fn source(&self, outbound: &Exchange) -> Option<ExchangeId> {
        different(outbound).find_map(|id| match self.came.get((outbound.pid(), id)) {
            Some(Came::One(inbound)) => Some(*inbound),
            Some(Came::Nobody | Came::Several) | None => None,
        })
    }

    /// The program of this process ended.
    pub fn forget(&mut self, pid: Pid) {
        self.came
            .remove_range((pid, RequestId::LOWEST)..=(pid, RequestId::HIGHEST));
    }
}

/// One that stands in both headers counts once.
fn different(exchange: &Exchange) -> impl Iterator<Item = RequestId> {
    let [first, second] = exchange.context.request_ids;
    [first, second.filter(|second| Some(*second) != first)]
        .into_iter()
        .flatten()
}
