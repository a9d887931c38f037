//! The two ends of one exchange: the `connection` rung.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{Hash, Hasher},
    net::IpAddr,
};

use crate::{
    capture::address::{Address, Pair},
    ids::ConnectionId,
    protocols::{
        Exchange, ExchangeId,
        exchange::{Cover, Side},
    },
};

/// What both ends of one exchange agree on, whatever network namespace each is in. The sequence number keeps
/// apart the requests of one connection, and connections of different hosts that share private addresses.
///
/// Packed, since every exchange is looked up by one: an IPv4 address as the IPv6 address it is mapped to, an end of a Unix
/// socket as an address of zeroes but for its number, with ports that no two ends have.
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
        let [client_port, server_port] = [client, server].map(port);
        Self {
            client: packed(client),
            server: packed(server),
            rest: client_port << 48 | server_port << 32 | u64::from(exchange.request_seq),
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

fn packed(address: Address) -> [u64; 2] {
    match address {
        Address::Ip(address) => match address.ip() {
            IpAddr::V4(address) => halves(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => halves(address.to_bits()),
        },
        Address::Unix(Pair::Inode(pair) | Pair::Alone(ConnectionId(pair)), _) => [0, pair],
    }
}

fn halves(bits: u128) -> [u64; 2] {
    [bits >> 64, bits & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or_default())
}

/// Of a Unix socket what kind of number it has, and which end it is.
fn port(address: Address) -> u64 {
    match address {
        Address::Ip(address) => u64::from(address.port()),
        Address::Unix(Pair::Inode(_), first) => u64::from(first),
        Address::Unix(Pair::Alone(_), first) => 2 | u64::from(first),
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
