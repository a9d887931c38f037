//! Which ends there are between two addresses.
//!
//! The same two addresses may be in use in several network namespaces at once, and a connection between two
//! namespaces of this host has the same addresses in both.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use super::connection::FarEnd;
use crate::{
    capture::{address::Address, record::Open},
    ids::ConnectionId,
};

/// Most addresses of this host that are remembered.
const LOCAL_ADDRESSES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct End {
    connection: ConnectionId,
    netns: u32,
    own: bool,
}

/// The known ends, by their addresses. Peers choose addresses, so the hasher is a keyed one.
#[derive(Debug, Default)]
pub(super) struct Ends {
    by_addresses: HashMap<(Address, Address), Vec<End>>,
    local_addresses: HashSet<IpAddr>,
    /// Number of ends that were ever added.
    added: u64,
}

impl Ends {
    /// Number of ends that were ever added: while it stays, no end becomes known.
    pub(super) fn added(&self) -> u64 {
        self.added
    }

    pub(super) fn insert(&mut self, open: &Open) {
        self.added += 1;
        if let Some(address) = open.local.host()
            && self.local_addresses.len() < LOCAL_ADDRESSES_MAX
        {
            self.local_addresses.insert(address);
        }
        // Nearly always there is one.
        let ends = self.by_addresses.entry((open.local, open.peer));
        let ends = ends.or_insert_with(|| Vec::with_capacity(1));
        if !ends.iter().any(|end| end.connection == open.connection) {
            ends.push(End {
                connection: open.connection,
                netns: open.netns,
                own: open.own,
            });
        }
    }

    pub(super) fn remove(&mut self, open: &Open) {
        let key = (open.local, open.peer);
        if let Some(ends) = self.by_addresses.get_mut(&key) {
            ends.retain(|end| end.connection != open.connection);
            if ends.is_empty() {
                self.by_addresses.remove(&key);
            }
        }
    }

    /// What is known of the end opposite to this one.
    pub(super) fn opposite(&self, open: &Open) -> FarEnd {
        let ends = self
            .by_addresses
            .get(&(open.peer, open.local))
            .map_or(&[][..], Vec::as_slice);
        let others = || ends.iter().filter(|end| end.connection != open.connection);
        let in_same_netns = others().any(|end| end.netns == open.netns);
        // A loopback connection never leaves its namespace; of others the near end is the likelier one.
        let only_same_netns = in_same_netns || open.peer.host().is_some_and(|peer| peer.is_loopback());
        let mut found = others().filter(|end| !only_same_netns || end.netns == open.netns);
        match found.next() {
            Some(first) if first.own && found.all(|end| end.own) => FarEnd::Own,
            Some(_) => FarEnd::Traced,
            None if open.mid_stream || self.is_of_this_host(open) => FarEnd::Maybe,
            None => FarEnd::Untraced,
        }
    }

    fn is_of_this_host(&self, open: &Open) -> bool {
        let Some(peer) = open.peer.host() else {
            // A Unix socket is nowhere else.
            return true;
        };
        peer.is_loopback() || Some(peer) == open.local.host() || self.local_addresses.contains(&peer)
    }
}
