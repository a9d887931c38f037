//! The two ends of one exchange: the `connection` rung.

use std::{collections::HashMap, net::IpAddr};

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
/// Packed, since four keys of an exchange are hashed: an IPv4 address as the IPv6 address it is mapped to, an end of a Unix
/// socket as an address of zeroes but for its number, with ports that no two ends have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wire {
    client: u128,
    server: u128,
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
            client: u128::from(exchange.0),
            server: u128::MAX,
            rest: 0,
        }
    }
}

fn packed(address: Address) -> u128 {
    match address {
        Address::Ip(address) => match address.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        },
        Address::Unix(Pair::Inode(pair) | Pair::Alone(ConnectionId(pair)), _) => u128::from(pair),
    }
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
    outbound: HashMap<Wire, ExchangeId>,
    waiting: HashMap<Wire, ExchangeId>,
}

impl Pairs {
    pub fn outbound(&self, wire: Wire) -> Option<ExchangeId> {
        self.outbound.get(&wire).copied()
    }

    pub fn waiting(&self, wire: Wire) -> Option<ExchangeId> {
        self.waiting.get(&wire).copied()
    }

    pub fn sent(&mut self, wire: Wire, outbound: ExchangeId) {
        self.outbound.insert(wire, outbound);
    }

    pub fn wait(&mut self, wire: Wire, inbound: ExchangeId) {
        self.waiting.insert(wire, inbound);
    }

    pub fn forget_outbound(&mut self, wire: Wire, outbound: ExchangeId) {
        if self.outbound(wire) == Some(outbound) {
            self.outbound.remove(&wire);
        }
    }

    pub fn stop_waiting(&mut self, wire: Wire, inbound: ExchangeId) {
        if self.waiting(wire) == Some(inbound) {
            self.waiting.remove(&wire);
        }
    }
}
