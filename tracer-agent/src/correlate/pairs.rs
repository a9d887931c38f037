//! The two ends of one exchange: the `connection` rung.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{Hash, Hasher},
};

use crate::protocols::{
    Exchange, ExchangeId,
    exchange::{Cover, Side},
};

/// What both ends of one exchange agree on, whatever network namespace each is in. The sequence number keeps
/// apart the requests of one connection, and connections of different hosts that share private addresses.
///
/// With packed addresses, since every exchange is looked up by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    client: [u64; 2],
    server: [u64; 2],
    /// Both ports and the sequence number.
    rest: u64,
}

impl Wire {
    pub fn of(exchange: &Exchange) -> Self {
        if exchange.cover == Cover::Apart {
            return Self::of_one_end(exchange.id);
        }
        let (client, server) = match exchange.side {
            Side::Inbound => (exchange.peer, exchange.local),
            Side::Outbound => (exchange.local, exchange.peer),
        };
        let [(client, client_port), (server, server_port)] = [client, server].map(|end| end.packed());
        let ports = u64::from(client_port) << 16 | u64::from(server_port);
        Self {
            client,
            server,
            rest: ports << 32 | u64::from(exchange.request_seq),
        }
    }

    /// What no other end agrees on: there is no server at such an address.
    fn of_one_end(exchange: ExchangeId) -> Self {
        Self {
            client: [0, exchange.0],
            server: [u64::MAX; 2],
            rest: 0,
        }
    }
}

/// All of it at once: a keyed hasher, which peers who choose addresses make necessary, takes as long for a word as for a few.
impl Hash for Wire {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ([a, b], [c, d]) = (self.client, self.server);
        state.write([a, b, c, d, self.rest].map(u64::to_ne_bytes).as_flattened());
    }
}

/// Client ends that were seen, and server ends that wait for theirs. Bounded by the exchanges that are known.
#[derive(Debug, Default)]
pub struct Pairs {
    ends: HashMap<Wire, Ends>,
}

/// What is known of the two ends: one at least.
#[derive(Debug, Default)]
struct Ends {
    outbound: Option<ExchangeId>,
    waiting: Option<ExchangeId>,
}

impl Pairs {
    /// The client end, if it was seen.
    pub fn outbound(&self, wire: Wire) -> Option<ExchangeId> {
        self.ends.get(&wire)?.outbound
    }

    /// A client end was seen; the server end that waits for it.
    pub fn sent(&mut self, wire: Wire, outbound: ExchangeId) -> Option<ExchangeId> {
        let ends = self.ends.entry(wire).or_default();
        ends.outbound = Some(outbound);
        ends.waiting
    }

    /// A server end waits from now on; the client end, if it was seen.
    pub fn wait(&mut self, wire: Wire, inbound: ExchangeId) -> Option<ExchangeId> {
        let ends = self.ends.entry(wire).or_default();
        ends.waiting = Some(inbound);
        ends.outbound
    }

    pub fn forget_outbound(&mut self, wire: Wire, outbound: ExchangeId) {
        self.forget(wire, outbound, |ends| &mut ends.outbound);
    }

    pub fn stop_waiting(&mut self, wire: Wire, inbound: ExchangeId) {
        self.forget(wire, inbound, |ends| &mut ends.waiting);
    }

    fn forget(&mut self, wire: Wire, id: ExchangeId, which: fn(&mut Ends) -> &mut Option<ExchangeId>) {
        let Entry::Occupied(mut entry) = self.ends.entry(wire) else {
            return;
        };
        let end = which(entry.get_mut());
        // Another may have taken its place.
        if *end == Some(id) {
            *end = None;
        }
        if entry.get().outbound.is_none() && entry.get().waiting.is_none() {
            entry.remove();
        }
    }
}
