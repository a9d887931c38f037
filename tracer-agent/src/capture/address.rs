//! Where an end of a connection is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tracer_common::record::UnixEnd;

use crate::ids::ConnectionId;

/// One end of a connection; two ends that name each other are of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Of TCP. IPv4 and v4-mapped addresses are both given as IPv4.
    Ip(SocketAddr),
    /// Of a Unix socket: which connection, and which of its ends.
    Unix(Pair, bool),
}

/// A connection between two Unix sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pair {
    /// By the inode number of one of them.
    Inode(u64),
    /// Known from one end only.
    Alone(ConnectionId),
}

impl Address {
    /// As it stands in a record.
    pub fn ip(bytes: [u8; 16], port: u16) -> Self {
        Self::Ip(SocketAddr::new(Ipv6Addr::from(bytes).to_canonical(), port))
    }

    /// As it stands in a record of this connection.
    pub fn unix(bytes: [u8; 16], connection: ConnectionId) -> Self {
        let UnixEnd { pair, first } = UnixEnd::of(bytes);
        let pair = match pair {
            0 => Pair::Alone(connection),
            inode => Pair::Inode(inode),
        };
        Self::Unix(pair, first != 0)
    }

    /// It in three words' room: an IPv4 address as the IPv6 address it is mapped to with its port; an end of a Unix socket as an address
    /// of zeroes but for its number, with a port that no two ends have: what kind of number it is, and which end.
    pub fn packed(&self) -> ([u64; 2], u16) {
        match self {
            Self::Ip(address) => {
                let bits = match address.ip() {
                    IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
                    IpAddr::V6(address) => address.to_bits(),
                };
                (halves(bits), address.port())
            }
            Self::Unix(Pair::Inode(pair), first) => ([0, *pair], u16::from(*first)),
            Self::Unix(Pair::Alone(pair), first) => ([0, pair.0], 2 | u16::from(*first)),
        }
    }

    /// The IP address, where it has one.
    pub fn host(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix(..) => None,
        }
    }
}

fn halves(bits: u128) -> [u64; 2] {
    [bits >> 64, bits & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or_default())
}

impl<T: Into<SocketAddr>> From<T> for Address {
    fn from(address: T) -> Self {
        Self::Ip(address.into())
    }
}
