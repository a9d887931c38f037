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

    /// The IP address, where it has one.
    pub fn host(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix(..) => None,
        }
    }
}

impl<T: Into<SocketAddr>> From<T> for Address {
    fn from(address: T) -> Self {
        Self::Ip(address.into())
    }
}
