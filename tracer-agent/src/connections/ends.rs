//! Which ends there are between two addresses.
//!
//! The same two addresses may be in use in several network namespaces at once, and a connection between two
//! namespaces of this host has the same addresses in both.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    hash::{Hash, Hasher},
    net::IpAddr,
    slice,
};

use super::connection::FarEnd;
use crate::{
    capture::{address::Address, record::Open},
    ids::ConnectionId,
};

/// Most addresses of this host that are remembered.
const LOCAL_ADDRESSES_MAX: usize = 4096;

/// Two addresses, packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Between([u64; 5]);

/// The ends between two addresses, of which there is nearly always one.
#[derive(Debug)]
enum Known {
    One(End),
    More(Vec<End>),
}

#[derive(Clone, Copy, Debug)]
struct End {
    connection: ConnectionId,
    netns: u32,
    own: bool,
}

/// The known ends, by their addresses. Peers choose addresses, so the hasher is a keyed one.
#[derive(Debug, Default)]
pub(super) struct Ends {
    by_addresses: HashMap<Between, Known>,
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
        let end = End {
            connection: open.connection,
            netns: open.netns,
            own: open.own,
        };
        match self.by_addresses.entry(Between::new(open.local, open.peer)) {
            Entry::Vacant(place) => {
                place.insert(Known::One(end));
            }
            Entry::Occupied(known) => known.into_mut().add(end),
        }
    }

    pub(super) fn remove(&mut self, open: &Open) {
        let Entry::Occupied(mut known) = self.by_addresses.entry(Between::new(open.local, open.peer)) else {
            return;
        };
        if let Known::More(ends) = known.get_mut() {
            ends.retain(|end| end.connection != open.connection);
        }
        if known
            .get()
            .as_slice()
            .iter()
            .all(|end| end.connection == open.connection)
        {
            known.remove();
        }
    }

    /// What is known of the end opposite to this one.
    pub(super) fn opposite(&self, open: &Open) -> FarEnd {
        let ends = self
            .by_addresses
            .get(&Between::new(open.peer, open.local))
            .map_or(&[][..], Known::as_slice);
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

impl Between {
    fn new(local: Address, peer: Address) -> Self {
        let (([a, b], local), ([c, d], peer)) = (local.packed(), peer.packed());
        Self([a, b, c, d, u64::from(local) << 16 | u64::from(peer)])
    }
}

/// All of it at once: a keyed hasher takes as long for a word as for a few.
impl Hash for Between {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.map(u64::to_ne_bytes).as_flattened());
    }
}

impl Known {
    fn as_slice(&self) -> &[End] {
        match self {
            Self::One(end) => slice::from_ref(end),
            Self::More(ends) => ends,
        }
    }

    fn add(&mut self, end: End) {
        match self {
            Self::One(one) if one.connection == end.connection => {}
            Self::One(one) => *self = Self::More(vec![*one, end]),
            Self::More(ends) if ends.iter().any(|known| known.connection == end.connection) => {}
            Self::More(ends) => ends.push(end),
        }
    }
}
