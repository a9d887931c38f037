//! The connections: one entry an end, keyed by its `struct sock`, with an id that is never used again.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, generated},
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use aya_log_ebpf::debug;
use tracer_common::{
    Loss,
    framer::Waiting,
    lane::{Lane, State, fact},
    layout::{ABSENT, mark},
    record::{CloseRecord, OpenRecord, PATH_MAX, data_flags, kind, open_flags},
};

use super::{
    emit,
    select::{self, Current},
    sock::Sock,
    task::{self, Task},
    turn,
};
use crate::peek::{layout, member_or_zero};

/// `TCP_CLOSE` of the kernel's socket states.
pub const TCP_CLOSE: u8 = 7;

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
    /// What passes is TLS: the lanes are of what a library gives, if any does.
    pub const TLS: u32 = 1 << 19;
    /// A library gives it.
    pub const JOINED: u32 = 1 << 20;
    /// It may have given some before that was seen.
    pub const APART: u32 = 1 << 21;
    /// Something of it was received, and sent.
    pub const HEARD: u32 = 1 << 22;
    pub const SPOKE: u32 = 1 << 23;
}

/// What is written next in TLS is the caller's: how far it was written may not be told yet when the next request is handed on.
pub const NEXT_WRITE: u64 = u64::MAX;

/// The first that is written is the caller's.
const FIRST_WRITE: u64 = u64::MAX - 1;

/// One end of a connection.
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
    /// See [`OpenRecord::turn`].
    turn: u32,
    /// See [`OpenRecord::reads`].
    reads: u32,
    /// See [`Sock::identity`].
    identity: u32,
    /// The goroutine that has handed a request to the one that writes, or the thread that has looked at the connection.
    pub caller: Task,
    /// Sequence number of the first byte of that request: what is written there is the caller's, and nothing else. Or [`NEXT_WRITE`], or
    /// [`FIRST_WRITE`].
    pub caller_seq: u64,
    /// 1 while a library that says where it works is asked for what has come.
    reading: u64,
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
        turn: 0,
        reads: 0,
        identity: 0,
        caller: Task::NONE,
        caller_seq: 0,
        reading: 0,
        waiting: Waiting {
            methods: 0,
            pushed: 0,
            popped: 0,
        },
        received: Lane::NEW,
        sent: Lane::NEW,
    };

    /// See [`Sock::identity`].
    #[inline(always)]
    pub fn identity(&self) -> u32 {
        self.identity
    }

    /// Whether it is the connection of this sock, which says who it is. A Unix socket that has begun to connect is connected where it is used.
    #[inline(always)]
    fn is_of(&self, sock: Sock, identity: u32) -> bool {
        (sock.unix || self.flags & own_flags::NUMBERED != 0) && self.identity == identity
    }

    /// Whether what is written now is the caller's, by who has connected.
    #[inline(always)]
    pub fn is_of_caller(&self) -> bool {
        self.caller_seq == FIRST_WRITE && self.sent.offset == 0
    }

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

    /// What passes is TLS.
    #[inline(always)]
    pub fn is_tls(&self) -> bool {
        self.flags & own_flags::TLS != 0
    }

    /// What passes is TLS, or can be as far as was seen: of a connection that was there before.
    #[inline(always)]
    pub fn may_be_tls(&self) -> bool {
        self.is_tls()
            || (self.flags & open_flags::MID_STREAM != 0
                && self.sent.state == State::SEEK
                && self.received.state == State::SEEK)
    }

    /// The connection's first bytes are TLS: from here on the lanes are those of what is in it, from its beginning.
    #[inline(always)]
    pub fn turn_tls(&mut self) {
        self.flags |= own_flags::TLS;
        begin_anew(&mut self.received);
        begin_anew(&mut self.sent);
    }

    /// A library that says so is asked for what has come here; whether it has told how the time before ended.
    #[inline(always)]
    pub fn begin_read(&mut self) -> bool {
        let ended = self.reading == 0;
        self.reading = 1;
        ended
    }

    /// It returns.
    #[inline(always)]
    pub fn end_read(&mut self) {
        self.reading = 0;
    }

    /// A library gives what is in it; from its beginning, or from anywhere.
    #[inline(always)]
    pub fn join(&mut self, begins: bool) {
        if self.is_joined() {
            return;
        }
        if !begins || !self.is_tls() {
            self.flags |= own_flags::APART;
            set_adrift(&mut self.received);
            set_adrift(&mut self.sent);
        }
        self.flags |= own_flags::TLS | own_flags::JOINED;
    }

    /// A library gives what is in it.
    #[inline(always)]
    pub fn is_joined(&self) -> bool {
        self.flags & own_flags::JOINED != 0
    }

    /// Whether these are the first bytes of TLS in a direction.
    #[inline(always)]
    pub fn is_first(&mut self, sent: bool) -> bool {
        let flag = if sent { own_flags::SPOKE } else { own_flags::HEARD };
        let first = self.flags & flag == 0;
        self.flags |= flag;
        first
    }

    /// The flags of records of what a library gives.
    #[inline(always)]
    pub fn decrypted(&self) -> u32 {
        if self.flags & own_flags::APART != 0 {
            data_flags::DECRYPTED | data_flags::APART
        } else {
            data_flags::DECRYPTED
        }
    }
}

/// Back to where the connection began.
#[inline(always)]
fn begin_anew(lane: &mut Lane) {
    lane.seq = lane.seq.wrapping_sub(lane.offset as u32);
    lane.offset = 0;
    lane.facts = 0;
    lane.state = State::IDLE;
}

/// To anywhere in what is in it. What is held was TLS, and is not spoken of.
#[inline(always)]
fn set_adrift(lane: &mut Lane) {
    if lane.is(fact::RUN) {
        lane.offset = lane.run_offset;
    }
    lane.facts = fact::UNCOUNTED;
    lane.state = State::SEEK;
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
    /// `connect` between Unix sockets.
    Connect,
    /// `accept` between Unix sockets.
    Accept,
}

/// A connection too large for the stack, made here.
#[map]
static BLANK: PerCpuArray<Connection> = PerCpuArray::with_max_entries(5, 0);

/// Connections made on this CPU, by who makes them.
#[map]
static MADE: PerCpuArray<u64> = PerCpuArray::with_max_entries(5, 0);

/// The connection of a `struct sock`, if it is known.
#[inline(always)]
pub fn get(sock: u64) -> Option<*mut Connection> {
    CONNECTIONS.get_ptr_mut(sock)
}

/// The connection of a sock, if it is known and still that one.
#[inline(always)]
pub fn known(sock: Sock) -> Option<*mut Connection> {
    let known = get(sock.address)?;
    unsafe { (*known).is_of(sock, sock.identity()) }.then_some(known)
}

/// The connection of a sock that the current thread uses, and has read so many bytes of in its call so far; made if it is new.
#[inline(always)]
pub fn used(sock: Sock, maker: Maker, read: u32) -> Option<*mut Connection> {
    if let Some(known) = known(sock)
        && unsafe { (*known).flags } & own_flags::REPORTED != 0
    {
        return Some(known);
    }
    if tracer_meet(sock.address, sock.unix as u32, maker as u32, read) == 0 {
        return None;
    }
    get(sock.address)
}

/// The same where it is new, or was not told yet. 1 if there is one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tracer_meet(address: u64, unix: u32, maker: u32, read: u32) -> u32 {
    meet(Sock::again(address, unix != 0), maker, read).is_some() as u32
}

#[inline(always)]
fn meet(sock: Sock, maker: u32, read: u32) -> Option<()> {
    let identity = sock.identity();
    let mut met = get(sock.address);
    if let Some(known) = met {
        let connection = unsafe { &mut *known };
        if connection.is_of(sock, identity) {
            connection.flags |= own_flags::NUMBERED;
        } else {
            // Its end was missed, or it never came to be: what follows is another connection at the same address.
            let _ = CONNECTIONS.remove(sock.address);
            met = None;
        }
    }
    if met.is_none() {
        met = meet_new(sock, identity, maker, read);
    }
    report_open(sock, unsafe { &mut *met? });
    Some(())
}

#[inline(always)]
fn meet_new(sock: Sock, identity: u32, maker: u32, read: u32) -> Option<*mut Connection> {
    if sock.state()? == TCP_CLOSE || identity == 0 || !(sock.unix || sock.is_tcp()) {
        return None;
    }
    // Of a Unix socket nothing says how much has passed: that it was made before is all that is known.
    let joined = sock.unix || sock.used(read);
    let flags = if joined {
        open_flags::MID_STREAM
    } else {
        open_flags::ACCEPTED
    };
    let current = Current::get();
    let made = make(sock, current, flags, maker)?;
    let connection = unsafe { &mut *made };
    number(sock, connection, read);
    debug!(
        (),
        "connection {} of process {}, first used{}",
        connection.id,
        current.tgid,
        if joined { " after it was open" } else { "" }
    );
    if joined {
        connection.received.state = State::SEEK;
        connection.sent.state = State::SEEK;
    }
    select::seen(current.tgid);
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
    let maker = if sock.unix { Maker::Connect } else { Maker::State };
    if let Some(made) = make(sock, current, flags, maker as u32) {
        let connection = unsafe { &mut *made };
        if let Some(current) = select::followed()
            && current.kind == mark::POOLS
        {
            connection.caller = task::taking(current, true);
            connection.caller_seq = FIRST_WRITE;
        }
        debug!(
            (),
            "connection {} of process {}, connects", connection.id, current.tgid
        );
    }
}

/// The current thread accepted a connection between Unix sockets. For TCP its first use tells: there is a count of what passed.
#[inline(always)]
pub fn accepted(sock: Sock, current: Current) {
    if !select::selected(current.tgid) {
        return;
    }
    if let Some(made) = make(sock, current, open_flags::ACCEPTED, Maker::Accept as u32) {
        let connection = unsafe { &mut *made };
        number(sock, connection, 0);
        select::seen(current.tgid);
        // Now, because the client may be gone when it is used.
        report_open(sock, connection);
    }
}

/// A connection was established. Runs in whatever context received the packet.
#[inline(always)]
pub fn established(sock: Sock) {
    let Some(known) = get(sock.address) else { return };
    let connection = unsafe { &mut *known };
    if connection.flags & open_flags::CONNECTED == 0 {
        return;
    }
    connection.established_ns = unsafe { bpf_ktime_get_boot_ns() };
    number(sock, connection, 0);
    report_open(sock, connection);
}

/// The process, or the connection, is done: reported once.
#[inline(always)]
pub fn closing(sock: Sock, state: u8) {
    let Some(known) = get(sock.address) else { return };
    let shutdown: u8 = member_or_zero(sock.address, layout().sock_shutdown);
    if state != TCP_CLOSE && shutdown & SHUTDOWN_MASK != SHUTDOWN_MASK {
        return;
    }
    let connection = unsafe { &mut *known };
    let failed = connection.flags & own_flags::NUMBERED == 0;
    if sock.unix && failed {
        // Never connected, or never used: which of them is not known.
        let _ = CONNECTIONS.remove(sock.address);
        return;
    }
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
        errno: member_or_zero(sock.address, layout().sock_err),
        failed: failed as u32,
    });
    let _ = CONNECTIONS.remove(sock.address);
}

#[inline(always)]
fn make(sock: Sock, current: Current, flags: u32, maker: u32) -> Option<*mut Connection> {
    let made = BLANK.get_ptr_mut(maker)?;
    let count = MADE.get_ptr_mut(maker)?;
    let blank = unsafe { &mut *made };
    unsafe {
        *count += 1;
        *made = Connection::NEW;
        blank.id = (bpf_get_smp_processor_id() as u64 + 1) << 40 | (maker as u64) << 37 | *count;
        blank.start_ns = bpf_ktime_get_boot_ns();
    }
    blank.tgid = current.tgid;
    blank.tid = current.tid;
    blank.flags = flags;
    if flags & open_flags::CONNECTED != 0 {
        let moment = turn::moment(current, blank.start_ns);
        blank.turn = moment.turn;
        blank.reads = moment.reads;
        if moment.timer {
            blank.flags |= open_flags::TIMER;
        }
    }
    blank.identity = sock.identity();
    #[expect(
        clippy::needless_borrows_for_generic_args,
        reason = "by value it would be copied to the stack, where there is no room for it"
    )]
    let inserted = CONNECTIONS.insert(sock.address, &*blank, 0);
    if inserted.is_err() {
        emit::lost(Loss::ConnectionsFull);
        return None;
    }
    get(sock.address)
}

/// Ties the lanes to the sequence numbers of TCP, which both ends share, now that it has both ports. Between Unix sockets both
/// count from 0. So many bytes of it have just been read, and are still to be told.
#[inline(always)]
fn number(sock: Sock, connection: &mut Connection, read: u32) {
    if !sock.unix {
        connection.received.seq = sock.copied_bytes().wrapping_sub(read);
        connection.sent.seq = sock.write_seq();
        connection.identity = sock.identity();
    }
    connection.flags |= own_flags::NUMBERED;
}

#[inline(always)]
fn report_open(sock: Sock, connection: &mut Connection) {
    if connection.flags & own_flags::REPORTED != 0 {
        return;
    }
    let layout = layout();
    let net: u64 = member_or_zero(sock.address, layout.sock_net);
    let mut record = OpenRecord {
        kind: kind::OPEN,
        size: size_of::<OpenRecord>() as u32,
        connection: connection.id,
        start_ns: connection.start_ns,
        established_ns: connection.established_ns,
        tgid: connection.tgid,
        tid: connection.tid,
        netns: member_or_zero(net, layout.net_inum),
        flags: connection.flags & 0xffff,
        local_addr: [0; 16],
        peer_addr: [0; 16],
        local_port: 0,
        peer_port: 0,
        path: 0,
        comm: [0; 16],
        turn: connection.turn,
        reads: connection.reads,
    };
    if connection.established_ns == 0 {
        // Otherwise this runs in the context that received the packet, not in the process.
        select::current_name(&mut record.comm);
    }
    let delivered = if sock.unix {
        report_unix(sock, &mut record)
    } else {
        addresses(sock, &mut record);
        emit::fixed(&record)
    };
    // If it does not fit, the next call on the connection tries again.
    if delivered {
        connection.flags |= own_flags::REPORTED;
    }
}

#[inline(always)]
fn addresses(sock: Sock, record: &mut OpenRecord) {
    let layout = layout();
    record.local_port = sock.local_port();
    record.peer_port = u16::from_be(member_or_zero(sock.address, layout.sock_dport));
    if sock.is_v4() {
        record.local_addr = mapped(member_or_zero(sock.address, layout.sock_rcv_saddr));
        record.peer_addr = mapped(member_or_zero(sock.address, layout.sock_daddr));
    } else {
        record.local_addr = member_or_zero(sock.address, layout.sock_v6_rcv_saddr);
        record.peer_addr = member_or_zero(sock.address, layout.sock_v6_daddr);
    }
}

/// The record with the path of the socket behind it: together too large for the stack, so made where the agent reads it.
#[repr(C)]
struct WithPath {
    open: OpenRecord,
    path: [u64; PATH_WORDS],
}

/// Room for the longest path, and a power of two, by which the verifier sees that a length is within.
const PATH_WORDS: usize = 16;
const PATH_MASK: u32 = PATH_WORDS as u32 * 8 - 1;
const _: () = assert!(PATH_MASK as usize >= PATH_MAX);

#[inline(always)]
fn report_unix(sock: Sock, record: &mut OpenRecord) -> bool {
    record.flags |= open_flags::UNIX;
    record.size = size_of::<WithPath>() as u32;
    // In the middle the ends count from different places, and which bytes are the same is not known.
    if record.flags & open_flags::MID_STREAM == 0 {
        let (local, peer) = sock.unix_ends();
        record.local_addr = local.bytes();
        record.peer_addr = peer.bytes();
    }
    let Some(mut entry) = emit::reserve::<WithPath>() else {
        return false;
    };
    let place = entry.as_mut_ptr();
    let path = unsafe { &raw mut (*place).path }.cast::<u64>();
    for word in 0..PATH_WORDS {
        unsafe { path.add(word).write_volatile(0) };
    }
    let address = sock.server_path();
    let name = layout().address_name;
    let len: u32 = member_or_zero(address, layout().address_len);
    // The family comes first.
    if len > 2 && name != ABSENT {
        let len = core::hint::black_box(len - 2) & PATH_MASK;
        let from = address.wrapping_add(name as u64 + 2);
        if unsafe { generated::bpf_probe_read_kernel(path.cast(), len, from as *const c_void) } == 0 {
            record.path = len;
        }
    }
    unsafe { (&raw mut (*place).open).write(*record) };
    entry.submit(0);
    true
}

#[inline(always)]
fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = v4;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}
