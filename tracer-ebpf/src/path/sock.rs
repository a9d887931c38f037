//! What a `struct sock` says: who the ends of a connection are, and how far its streams are.

use tracer_common::record::UnixEnd;

use crate::peek::{layout, member, member_or_zero};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const SOCK_STREAM: u16 = 1;

/// States after the peer's end of the stream has come.
const TCP_TIME_WAIT: u8 = 6;
const TCP_CLOSE_WAIT: u8 = 8;
const TCP_LAST_ACK: u8 = 9;
const TCP_CLOSING: u8 = 11;

/// How often a sock has to say that bytes have passed before that is believed.
const LOOKS: u32 = 8;

/// A `struct sock` of a stream. Of which kind is known where the program is compiled.
#[derive(Clone, Copy)]
pub struct Sock {
    /// Where it is.
    pub address: u64,
    /// A Unix socket, else TCP.
    pub unix: bool,
    /// Of TCP its identity, as it was when it was looked at.
    ports: u32,
}

impl Sock {
    /// The sock, if it is one of TCP over IPv4 or IPv6.
    #[inline(always)]
    pub fn tcp(address: u64) -> Option<Self> {
        Self::inet(address).filter(|sock| sock.is_tcp())
    }

    /// The sock, if it is one of IPv4 or IPv6: whose connection is known is of TCP, and is not asked again.
    #[inline(always)]
    pub fn inet(address: u64) -> Option<Self> {
        let (ports, family) = head(address)?;
        (family == AF_INET || family == AF_INET6).then_some(Self {
            address,
            unix: false,
            ports,
        })
    }

    /// Whether one of IPv4 or IPv6 is of TCP.
    #[inline(always)]
    pub fn is_tcp(self) -> bool {
        member::<u16>(self.address, layout().sock_protocol) == Some(IPPROTO_TCP)
    }

    /// The sock at an address that was one of its kind before.
    #[inline(always)]
    pub fn again(address: u64, unix: bool) -> Self {
        let ports = if unix {
            0
        } else {
            head(address).unwrap_or((0, 0)).0
        };
        Self { address, unix, ports }
    }

    /// The sock, if it is a Unix socket of the kind that is a stream.
    #[inline(always)]
    pub fn unix(address: u64) -> Option<Self> {
        let family: u16 = member(address, layout().sock_family)?;
        if family != AF_UNIX {
            return None;
        }
        let kind: u16 = member(address, layout().sock_type)?;
        (kind == SOCK_STREAM).then_some(Self {
            address,
            unix: true,
            ports: 0,
        })
    }

    /// The sock of a call on TCP that is going on, which was looked at when it began: who its ends are is not asked again.
    #[inline(always)]
    pub fn moving(address: u64) -> Self {
        Self {
            address,
            unix: false,
            ports: 0,
        }
    }

    /// Whether its address is of IPv4.
    #[inline(always)]
    pub fn is_v4(self) -> bool {
        member(self.address, layout().sock_family) == Some(AF_INET)
    }

    /// Its state: one of TCP's, for Unix sockets too.
    #[inline(always)]
    pub fn state(self) -> Option<u8> {
        member(self.address, layout().sock_state)
    }

    /// TCP sequence number of the next byte that the process writes.
    #[inline(always)]
    pub fn write_seq(self) -> u32 {
        member_or_zero(self.address, layout().tcp_write_seq)
    }

    /// TCP sequence number of the next byte that the process reads.
    #[inline(always)]
    pub fn copied_seq(self) -> u32 {
        member_or_zero(self.address, layout().tcp_copied_seq)
    }

    /// The same, without the number that the end of the stream takes when the process has been told of it.
    #[inline(always)]
    pub fn copied_bytes(self) -> u32 {
        let copied = self.copied_seq();
        let state: u8 = member_or_zero(self.address, layout().sock_state);
        let ended = matches!(state, TCP_CLOSE_WAIT | TCP_LAST_ACK | TCP_CLOSING | TCP_TIME_WAIT);
        if ended && member(self.address, layout().tcp_rcv_nxt) == Some(copied) {
            copied.wrapping_sub(1)
        } else {
            copied
        }
    }

    /// Local port, host byte order.
    #[inline(always)]
    pub fn local_port(self) -> u16 {
        member_or_zero(self.address, layout().sock_num)
    }

    /// Tells a new connection from an old one at the same address: both ports, or the inode. 0 if it is not connected.
    #[inline(always)]
    pub fn identity(self) -> u32 {
        if self.unix {
            self.inode() as u32
        } else {
            self.ports
        }
    }

    /// Whether a byte passed before now, but for so many that were just read.
    ///
    /// Bytes may arrive on another CPU meanwhile, which the kernel tells in two places, one after the other: it adds them to
    /// `bytes_received`, then it moves `rcv_nxt` (`tcp_rcv_nxt_update`). Where it comes in between, they disagree for as long as a
    /// line of cache takes to go from one CPU to the other: so it is looked at again.
    #[inline(always)]
    pub fn used(self, read: u32) -> bool {
        let mut looks = 0;
        while looks < LOOKS {
            if !self.seems_used(read) {
                return false;
            }
            looks += 1;
        }
        true
    }

    /// What arrives between the two reads makes more unread than has arrived, which says nothing of what was read.
    #[inline(always)]
    fn seems_used(self, read: u32) -> bool {
        let sent: u64 = member(self.address, layout().tcp_bytes_sent).unwrap_or(1);
        let arrived: u64 = member(self.address, layout().tcp_bytes_received).unwrap_or(u64::MAX);
        sent != 0 || arrived > self.unread() as u64 + read as u64
    }

    /// Bytes that came and were not read.
    #[inline(always)]
    pub fn unread(self) -> u32 {
        let next: Option<u32> = member(self.address, layout().tcp_rcv_nxt);
        next.map_or(0, |next| next.wrapping_sub(self.copied_seq()))
    }

    /// Inode number of the socket that a process holds it by, 0 where none does.
    #[inline(always)]
    fn inode(self) -> u64 {
        let socket: u64 = member_or_zero(self.address, layout().sock_socket);
        member_or_zero(socket, layout().socket_inode)
    }

    /// This end and the other one of a connection between Unix sockets: numbered by the inode of that which has no path,
    /// the client as a rule.
    #[inline(always)]
    pub fn unix_ends(self) -> (UnixEnd, UnixEnd) {
        let peer = Self {
            address: member_or_zero(self.address, layout().unix_peer),
            unix: true,
            ports: 0,
        };
        let first = match (self.path_address(), peer.path_address()) {
            (0, path) if path != 0 => true,
            (path, 0) if path != 0 => false,
            _ => self.address < peer.address,
        };
        let pair = if first { self.inode() } else { peer.inode() };
        let end = |first: bool| UnixEnd {
            pair,
            first: first as u64,
        };
        (end(first), end(!first))
    }

    /// The `struct unix_address` that the server of this connection listens on: an accepted socket has that of its listener.
    #[inline(always)]
    pub fn server_path(self) -> u64 {
        let own = self.path_address();
        if own != 0 {
            return own;
        }
        let peer = member_or_zero(self.address, layout().unix_peer);
        member_or_zero(peer, layout().unix_address)
    }

    #[inline(always)]
    fn path_address(self) -> u64 {
        member_or_zero(self.address, layout().unix_address)
    }
}

/// Both ports, 0 if it is not connected, and the family: what every sock is asked for in every call. They stand next to each other in
/// all kernels that are known, and are then read at once.
#[inline(always)]
fn head(address: u64) -> Option<(u32, u16)> {
    let layout = layout();
    let (peer, local, family) =
        if layout.sock_num == layout.sock_dport + 2 && layout.sock_family == layout.sock_dport + 4 {
            let head: u64 = member(address, layout.sock_dport)?;
            (head as u16, (head >> 16) as u16, (head >> 32) as u16)
        } else {
            (
                member(address, layout.sock_dport)?,
                member(address, layout.sock_num)?,
                member(address, layout.sock_family)?,
            )
        };
    let ports = (local as u32) << 16 | peer as u32;
    Some((if peer == 0 { 0 } else { ports }, family))
}
