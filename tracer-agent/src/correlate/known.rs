//! The exchanges that are known: those in flight, and what remains of those that were over a moment ago.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use crate::{
    ids::{BootNanos, Pid, TraceId},
    protocols::{
        Exchange, ExchangeId,
        exchange::{ConnectFailure, Ending, RemoteParent, Side},
    },
    sampling::Action,
};

use super::{Evidence, blocks::Blocks, contexts::Arrival, pairs::Wire};

/// Where the trace of an exchange comes from. Once set it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// It begins a trace.
    Root,
    /// It continues a context from the wire.
    Remote(RemoteParent),
    /// It is a child of another exchange of this host.
    Local(ExchangeId, Evidence),
}

/// The trace an exchange belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace: TraceId,
    pub sampled: bool,
    pub tracestate: Option<Arc<str>>,
    /// The last 7 bytes of the trace id are random.
    pub has_random_id: bool,
}

/// What began.
#[derive(Debug)]
pub enum Begun {
    Exchange(Box<Exchange>, Option<Box<Ending>>),
    ConnectFailed(Box<ConnectFailure>),
}

impl Begun {
    /// What the sampling rules say of it.
    pub fn rule(&self) -> Option<Action> {
        match self {
            Self::Exchange(exchange, _) => exchange.rule,
            Self::ConnectFailed(failure) => failure.rule,
        }
    }
}

/// An exchange that was not given out yet.
#[derive(Debug)]
pub struct Live {
    pub begun: Begun,
    /// `None` while it waits for its other end.
    pub edge: Option<Edge>,
    /// Of a call: the request that it was made for if its task proves to be what it seems to be, and by what evidence.
    pub guess: Option<(ExchangeId, Evidence)>,
    /// Of a call: what its event loop does later may yet tell.
    pub may_be_told: bool,
    /// `None` while it, or an exchange it descends from, waits.
    pub context: Option<Context>,
    /// When the waiting ends.
    pub deadline: Option<BootNanos>,
    /// Children that have no context because this one has none.
    pub waiters: Vec<ExchangeId>,
    /// Children that were not given out yet.
    pub dependents: u32,
    /// A span that was given out names this one, so it will be given out whatever is learned of its process.
    pub is_promised: bool,
    /// Its process was instrumented when its program ended.
    pub is_withheld: bool,
    /// How likely its parent is the true one, where that was estimated.
    pub confidence: Option<f64>,
    /// The exchange that may be its parent but is not proven to be, and what speaks for it.
    pub candidate: Option<(ExchangeId, Evidence)>,
}

/// What remains of an exchange that is over, for those that turn out to be its children.
#[derive(Debug)]
pub struct Over {
    pub start: BootNanos,
    pub context: Context,
    pub fate: Fate,
    pub dependents: u32,
    pub found_by: FoundBy,
}

/// What an exchange that is over can still be found by.
#[derive(Debug)]
pub enum FoundBy {
    /// Its id alone.
    Id,
    /// A client end by its server end.
    Wire(Wire),
    /// A server end by the context that it came with, when that goes out.
    Arrival(Arrival),
}

/// What became of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Exported,
    Withheld,
    Unsampled,
}

/// By ids that the agent makes. Never iterated where the order would be seen in what is given out.
pub type ById<T> = HashMap<ExchangeId, T, BuildHasherDefault<InOrder>>;

/// Hashes numbers that are counted up: neighbours stay neighbours, so what is known at the same time lies together in memory. The
/// highest bits, by which a table tells entries in one place apart, are spread.
#[derive(Debug, Default)]
pub struct InOrder(u64);

impl Hasher for InOrder {
    fn write(&mut self, bytes: &[u8]) {
        // Ids are written as a number.
        for byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        const PLACE: u64 = u64::MAX >> 7;
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 & PLACE | self.0.wrapping_mul(SPREAD) & !PLACE
    }
}

/// The exchanges that are known.
#[derive(Debug, Default)]
pub struct Known {
    // A table that held them would be half empty after it has grown, and twice as large while it grows.
    places: ById<Place>,
    live: Blocks<Live>,
    // In the order in which they began; holds some that are over too.
    begun: VecDeque<ExchangeId>,
    over: Blocks<Over>,
    // In the order in which they were over; each known one is in it exactly once.
    order: VecDeque<(BootNanos, ExchangeId)>,
}

/// Where what is known of an exchange is.
#[derive(Clone, Copy, Debug)]
enum Place {
    Live(u32),
    Over(u32),
}

impl Live {
    pub fn new(begun: Begun) -> Self {
        Self {
            begun,
            edge: None,
            guess: None,
            may_be_told: false,
            context: None,
            deadline: None,
            waiters: Vec::new(),
            dependents: 0,
            is_promised: false,
            is_withheld: false,
            confidence: None,
            candidate: None,
        }
    }

    pub fn exchange(&self) -> Option<&Exchange> {
        match &self.begun {
            Begun::Exchange(exchange, _) => Some(exchange),
            Begun::ConnectFailed(_) => None,
        }
    }

    /// The request that a task works for which reads something of it: itself, or what it was made for.
    pub fn works_for(&self) -> Option<ExchangeId> {
        let exchange = self.exchange()?;
        match (exchange.side, self.edge) {
            (Side::Inbound, _) => Some(exchange.id),
            (Side::Outbound, Some(Edge::Local(request, evidence))) if evidence != Evidence::Timing => {
                Some(request)
            }
            (Side::Outbound, _) => self.guess.map(|(request, _)| request),
        }
    }

    pub fn has_ended(&self) -> bool {
        !matches!(&self.begun, Begun::Exchange(_, None))
    }

    pub fn start(&self) -> BootNanos {
        match &self.begun {
            Begun::Exchange(exchange, _) => exchange.start,
            Begun::ConnectFailed(failure) => failure.start,
        }
    }
}

impl Known {
    /// An exchange that is not known began.
    pub fn begin(&mut self, id: ExchangeId, live: Live) {
        self.places.insert(id, Place::Live(self.live.insert(live)));
        self.begun.push_back(id);
        // One that lasts long keeps those behind it in the queue: they are taken out now and then.
        if self.begun.len() > 2 * self.live.len() + 64 {
            let places = &self.places;
            self.begun
                .retain(|id| matches!(places.get(id), Some(Place::Live(_))));
        }
    }

    /// Exchanges in flight.
    pub fn in_flight(&self) -> usize {
        self.live.len()
    }

    pub fn live(&self, id: ExchangeId) -> Option<&Live> {
        match self.places.get(&id)? {
            Place::Live(place) => self.live.get(*place),
            Place::Over(_) => None,
        }
    }

    pub fn live_mut(&mut self, id: ExchangeId) -> Option<&mut Live> {
        match self.places.get(&id)? {
            Place::Live(place) => self.live.get_mut(*place),
            Place::Over(_) => None,
        }
    }

    /// All in flight, in no order.
    pub fn all_live(&self) -> impl Iterator<Item = (ExchangeId, &Live)> {
        self.places.keys().filter_map(|id| Some((*id, self.live(*id)?)))
    }

    /// The same without their ids.
    pub fn all_live_mut(&mut self) -> impl Iterator<Item = &mut Live> {
        self.live.values_mut()
    }

    /// The exchange in flight that began first.
    pub fn oldest(&mut self) -> Option<ExchangeId> {
        while let Some(id) = self.begun.front() {
            if self.live(*id).is_some() {
                return Some(*id);
            }
            self.begun.pop_front();
        }
        None
    }

    pub fn over(&self, id: ExchangeId) -> Option<&Over> {
        match self.places.get(&id)? {
            Place::Live(_) => None,
            Place::Over(place) => self.over.get(*place),
        }
    }

    pub fn contains(&self, id: ExchangeId) -> bool {
        self.places.contains_key(&id)
    }

    pub fn start(&self, id: ExchangeId) -> Option<BootNanos> {
        match *self.places.get(&id)? {
            Place::Live(place) => self.live.get(place).map(Live::start),
            Place::Over(place) => self.over.get(place).map(|over| over.start),
        }
    }

    pub fn context(&self, id: ExchangeId) -> Option<&Context> {
        match *self.places.get(&id)? {
            Place::Live(place) => self.live.get(place)?.context.as_ref(),
            Place::Over(place) => self.over.get(place).map(|over| &over.context),
        }
    }

    /// Children of `id` that were not given out yet.
    pub fn dependents(&mut self, id: ExchangeId) -> Option<&mut u32> {
        match *self.places.get(&id)? {
            Place::Live(place) => self.live.get_mut(place).map(|live| &mut live.dependents),
            Place::Over(place) => self.over.get_mut(place).map(|over| &mut over.dependents),
        }
    }

    /// The requests in flight that this process serves, in the order in which they began.
    pub fn served_by(&self, pid: Pid) -> Vec<&Exchange> {
        let in_flight = self.live.values().filter(|live| !live.has_ended());
        let mut served: Vec<_> = in_flight
            .filter_map(Live::exchange)
            .filter(|exchange| exchange.side == Side::Inbound && exchange.pid() == pid)
            .collect();
        served.sort_unstable_by_key(|exchange| (exchange.start, exchange.id));
        served
    }

    /// Whether `id` is `ancestor` or descends from it. Only exchanges without a context are looked at: what has one
    /// does not descend from what has none.
    pub fn descends_without_context(&self, mut id: ExchangeId, ancestor: ExchangeId) -> bool {
        loop {
            if id == ancestor {
                return true;
            }
            match self.live(id) {
                Some(Live {
                    context: None,
                    edge: Some(Edge::Local(parent, _)),
                    ..
                }) => id = *parent,
                _ => return false,
            }
        }
    }

    /// An exchange is no longer in flight; what was known of it, of which this remains.
    pub fn finish(
        &mut self,
        id: ExchangeId,
        now: BootNanos,
        remains: impl FnOnce(&Live) -> Over,
    ) -> Option<Live> {
        let place = self.places.get_mut(&id)?;
        let Place::Live(of_live) = *place else {
            return None;
        };
        let live = self.live.remove(of_live)?;
        *place = Place::Over(self.over.insert(remains(&live)));
        self.order.push_back((now, id));
        Some(live)
    }

    /// The next exchange to forget: over before `until`, or the oldest when there are more than `bound`; those
    /// with children in flight stay as long as there are not twice as many. Looks at a few only, so that the cost of
    /// one call is bounded.
    pub fn forget(&mut self, until: BootNanos, bound: usize) -> Option<(Over, Forgotten)> {
        for _ in 0..8 {
            let too_many = self.over.len() > bound;
            let (since, id) = *self.order.front()?;
            if since > until && !too_many {
                return None;
            }
            self.order.pop_front();
            let has_children = self.over(id).is_some_and(|over| over.dependents > 0);
            if has_children && self.over.len() <= bound.saturating_mul(2) {
                self.order.push_back((since.max(until), id));
                continue;
            }
            let forgotten = Forgotten {
                id,
                early: since > until,
            };
            if let Some(Place::Over(place)) = self.places.remove(&id)
                && let Some(over) = self.over.remove(place)
            {
                return Some((over, forgotten));
            }
        }
        None
    }
}

/// Which exchange was forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Forgotten {
    pub id: ExchangeId,
    /// Before its time, because there were too many.
    pub early: bool,
}
