//! The connections: one entry an end, keyed by its `struct sock`, with an id that is never used again.

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use tracer_common::{
    Loss,
    framer::Waiting,
    lane::{Lane, State},
    record::{CloseRecord, OpenRecord, kind, open_flags},
};

use super::{
    emit,
    select::{self, Current},
};
use crate::peek::{layout, member};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;

/// `TCP_CLOSE` of the kernel's socket states.
pub const TCP_CLOSE: u8 = 7;

/// States after the peer's end of the stream has come.
const TCP_TIME_WAIT: u8 = 6;
const TCP_CLOSE_WAIT: u8 = 8;
const TCP_LAST_ACK: u8 = 9;
const TCP_CLOSING: u8 = 11;

/// Everything that was sent is acknowledged as far as the application is concerned: it closed both directions.
const SHUTDOWN_MASK: u8 = 3;

/// Bits of [`Connection::flags`] beside those of [`open_flags`].
mod own_flags {
    /// The open record was delivered.
    pub const REPORTED: u32 = 1 << 16;
    /// The sequence numbers of the lanes are set.
    pub const NUMBERED: u32 = 1 << 17;
    /// Not HTTP/1: nothing more is looked at.
    pub const OPAQUE: u32 = 1 << 18;
}

/// One end of a TCP connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Connection {
    /// Never used again.
    pub id: u64,
    start_ns: u64,
    established_ns: u64,
    tgid: u32,
    tid: u32,
    flags: u32,
    ports: u32,
    /// Requests without response.
    pub waiting: Waiting,
    /// What the process reads.
    pub received: Lane,
    /// What the process writes.
    pub sent: Lane,
}

impl Connection {
    const NEW: Self = Self {
        id: 0,
        start_ns: 0,
        established_ns: 0,
        tgid: 0,
        tid: 0,
        flags: 0,
        ports: 0,
        waiting: Waiting {
            methods: 0,
            pushed: 0,
            popped: 0,
        },
        received: Lane::NEW,
        sent: Lane::NEW,
    };

    /// Nothing more of this connection is of interest.
    #[inline(always)]
    pub fn ignored(&self) -> bool {
        self.flags & (own_flags::OPAQUE | open_flags::OWN) != 0
    }

    /// The connection is not HTTP/1 from here on.
    #[inline(always)]
    pub fn turn_opaque(&mut self) {
        self.flags |= own_flags::OPAQUE;
        self.received.state = State::OPAQUE;
        self.sent.state = State::OPAQUE;
    }
}

/// `struct sock *` to its connection.
#[map]
static CONNECTIONS: HashMap<u64, Connection> = HashMap::with_max_entries(16384, 0);

/// Who makes connections: each has an area of its own to do it in, because one may be preempted by another.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Maker {
    /// A call that reads.
    Read,
    /// A call that writes.
    Write,
    /// A change of state.
    State,
}

/// A connection too large for the stack, made here.
#[map]
static BLANK: PerCpuArray<Connection> = PerCpuArray::with_max_entries(3, 0);

/// Connections made on this CPU.
#[map]
static MADE: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// A `struct sock` of a TCP connection.
#[derive(Clone, Copy)]
pub struct Sock(pub u64);

impl Sock {
    /// The sock, if it is one of TCP over IPv4 or IPv6.
    #[inline(always)]
    pub fn tcp(address: u64) -> Option<Self> {
        let family: u16 = member(address, layout().sock_family)?;
        if family != AF_INET && family != AF_INET6 {
            return None;
        }
        let protocol: u16 = member(address, layout().sock_protocol)?;
        (protocol == IPPROTO_TCP).then_some(Self(address))
    }

    /// TCP sequence number of the next byte that the process writes.
    #[inline(always)]
    pub fn write_seq(self) -> u32 {
        member(self.0, layout().tcp_write_seq).unwrap_or(0)
    }

    /// TCP sequence number of the next byte that the process reads.
    #[inline(always)]
    pub fn copied_seq(self) -> u32 {
        member(self.0, layout().tcp_copied_seq).unwrap_or(0)
    }

    /// The same, without the number that the end of the stream takes when the process has been told of it.
    #[inline(always)]
    pub fn copied_bytes(self) -> u32 {
        let copied = self.copied_seq();
        let state: u8 = member(self.0, layout().sock_state).unwrap_or(0);
        let ended = matches!(state, TCP_CLOSE_WAIT | TCP_LAST_ACK | TCP_CLOSING | TCP_TIME_WAIT);
        if ended && member(self.0, layout().tcp_rcv_nxt) == Some(copied) {
            copied.wrapping_sub(1)
        } else {
            copied
        }
    }

    /// Local port, host byte order.
    #[inline(always)]
    pub fn local_port(self) -> u16 {
        member(self.0, layout().sock_num).unwrap_or(0)
    }

    /// Both ports: tells a new connection from an old one at the same address.
    #[inline(always)]
    fn ports(self) -> u32 {
        let peer: u16 = member(self.0, layout().sock_dport).unwrap_or(0);
        (self.local_port() as u32) << 16 | peer as u32
    }

    /// Whether a byte passed before now.
    #[inline(always)]
    fn used(self) -> bool {
        let sent: u64 = member(self.0, layout().tcp_bytes_sent).unwrap_or(1);
        let arrived: u64 = member(self.0, layout().tcp_bytes_received).unwrap_or(1);
        let next: u32 = member(self.0, layout().tcp_rcv_nxt).unwrap_or(0);
        let unread = next.wrapping_sub(self.copied_seq());
        sent != 0 || arrived != unread as u64
    }
}

/// The connection of a sock, if it is known.
#[inline(always)]
pub fn get(sock: Sock) -> Option<*mut Connection> {
    CONNECTIONS.get_ptr_mut(sock.0)
}

/// The connection of a sock that the current thread is about to use; made if it is new.
#[inline(always)]
pub fn used(sock: Sock, current: Current, maker: Maker) -> Option<*mut Connection> {
    if let Some(known) = get(sock) {
        let connection = unsafe { &mut *known };
        if connection.flags & own_flags::NUMBERED != 0 && connection.ports == sock.ports() {
            report_open(sock, connection);
            return Some(known);
        }
        // Its end was missed, or it never came to be: what follows is another connection at the same address.
        let _ = CONNECTIONS.remove(sock.0);
    }
    let state: u8 = member(sock.0, layout().sock_state)?;
    if state == TCP_CLOSE || sock.ports() as u16 == 0 {
        return None;
    }
    let joined = sock.used();
    let flags = if joined {
        open_flags::MID_STREAM
    } else {
        open_flags::ACCEPTED
    };
    let made = make(sock, current, flags, maker)?;
    let connection = unsafe { &mut *made };
    number(sock, connection);
    if joined {
        connection.received.state = State::SEEK;
        connection.sent.state = State::SEEK;
    }
    select::seen(current.tgid);
    report_open(sock, connection);
    Some(made)
}

/// `connect` was called.
#[inline(always)]
pub fn connecting(sock: Sock, current: Current) {
    let own = select::is_agent(current.tgid);
    if !own && !select::selected(current.tgid) {
        return;
    }
    let flags = open_flags::CONNECTED | if own { open_flags::OWN } else { 0 };
    let _ = make(sock, current, flags, Maker::State);
}

/// A connection was established. Runs in whatever context received the packet.
#[inline(always)]
pub fn established(sock: Sock) {
    let Some(known) = get(sock) else { return };
    let connection = unsafe { &mut *known };
    if connection.flags & open_flags::CONNECTED == 0 {
        return;
    }
    connection.established_ns = unsafe { bpf_ktime_get_boot_ns() };
    number(sock, connection);
    report_open(sock, connection);
}

/// The process, or the connection, is done: reported once.
#[inline(always)]
pub fn closing(sock: Sock, state: u8) {
    let Some(known) = get(sock) else { return };
    let shutdown: u8 = member(sock.0, layout().sock_shutdown).unwrap_or(0);
    if state != TCP_CLOSE && shutdown & SHUTDOWN_MASK != SHUTDOWN_MASK {
        return;
    }
    let connection = unsafe { &mut *known };
    let failed = connection.flags & own_flags::NUMBERED == 0;
    report_open(sock, connection);
    emit::fixed(&CloseRecord {
        kind: kind::CLOSE,
        size: size_of::<CloseRecord>() as u32,
        connection: connection.id,
        at_ns: unsafe { bpf_ktime_get_boot_ns() },
        received: connection.received.offset,
        sent: connection.sent.offset,
        last_received_ns: connection.received.last_ns,
        last_sent_ns: connection.sent.last_ns,
        errno: member(sock.0, layout().sock_err).unwrap_or(0),
        failed: failed as u32,
    });
    let _ = CONNECTIONS.remove(sock.0);
}

#[inline(always)]
fn make(sock: Sock, current: Current, flags: u32, maker: Maker) -> Option<*mut Connection> {
    let made = BLANK.get_ptr_mut(maker as u32)?;
    let count = MADE.get_ptr_mut(0)?;
    let blank = unsafe { &mut *made };
    unsafe {
        *count += 1;
        *made = Connection::NEW;
        blank.id = (bpf_get_smp_processor_id() as u64 + 1) << 40 | *count;
        blank.start_ns = bpf_ktime_get_boot_ns();
    }
    blank.tgid = current.tgid;
    blank.tid = current.tid;
    blank.flags = flags;
    #[expect(
        clippy::needless_borrows_for_generic_args,
        reason = "by value it would be copied to the stack, where there is no room for it"
    )]
    let inserted = CONNECTIONS.insert(sock.0, &*blank, 0);
    if inserted.is_err() {
        emit::lost(Loss::ConnectionsFull);
        return None;
    }
    get(sock)
}

/// Ties the lanes to the sequence numbers of TCP, which both ends share.
#[inline(always)]
fn number(sock: Sock, connection: &mut Connection) {
    connection.received.seq = sock.copied_seq();
    connection.sent.seq = sock.write_seq();
    connection.ports = sock.ports();
    connection.flags |= own_flags::NUMBERED;
}

#[inline(always)]
fn report_open(sock: Sock, connection: &mut Connection) {
    if connection.flags & own_flags::REPORTED != 0 {
        return;
    }
    let layout = layout();
    let net: u64 = member(sock.0, layout.sock_net).unwrap_or(0);
    let mut record = OpenRecord {
        kind: kind::OPEN,
        size: size_of::<OpenRecord>() as u32,
        connection: connection.id,
        start_ns: connection.start_ns,
        established_ns: connection.established_ns,
        tgid: connection.tgid,
        tid: connection.tid,
        netns: member(net, layout.net_inum).unwrap_or(0),
        flags: connection.flags & 0xffff,
        local_addr: [0; 16],
        peer_addr: [0; 16],
        local_port: sock.local_port(),
        peer_port: u16::from_be(member(sock.0, layout.sock_dport).unwrap_or(0)),
        reserved: 0,
        comm: [0; 16],
    };
    if connection.established_ns == 0 {
        // Otherwise this runs in the context that received the packet, not in the process.
        select::current_name(&mut record.comm);
    }
    let family: u16 = member(sock.0, layout.sock_family).unwrap_or(0);
    if family == AF_INET {
        record.local_addr = mapped(member(sock.0, layout.sock_rcv_saddr).unwrap_or([0; 4]));
        record.peer_addr = mapped(member(sock.0, layout.sock_daddr).unwrap_or([0; 4]));
    } else {
        record.local_addr = member(sock.0, layout.sock_v6_rcv_saddr).unwrap_or([0; 16]);
        record.peer_addr = member(sock.0, layout.sock_v6_daddr).unwrap_or([0; 16]);
    }
    // If it does not fit, the next call on the connection tries again.
    if emit::fixed(&record) {
        connection.flags |= own_flags::REPORTED;
    }
}

#[inline(always)]
fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = v4;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}
