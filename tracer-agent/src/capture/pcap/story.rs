//! What is told of a connection: the records that the kernel side would make of both its ends.
//!
//! All bytes go through the same framer as in the kernel. Both ends see the same bytes at the same time, that of the
//! capture, so each direction is framed once and told twice: first as sent at the one end, then as received at the
//! other. Nothing is told of a connection before a byte passes.

use std::net::SocketAddr;

use tracer_common::{
    Loss,
    framer::{self, Port, Step, Waiting, Work},
    lane::{Lane, State, fact},
    record::{CloseRecord, DataRecord, OpenRecord, data_flags, kind, open_flags},
};

use super::{
    counters::CaptureCounters,
    encode::{encode_close, encode_data, encode_open, octets},
    half::How,
    hosts::Hosts,
    segment::Seq,
    sides::{Both, Side},
    told::Told,
};

const ECONNRESET: u32 = 104;
const ECONNREFUSED: u32 = 111;
/// How a connection ended is not known. Never exported: where it is said, bytes are missing too, which says more.
const UNKNOWN_END: u32 = 103;

/// What the stories of all connections are told with.
pub(super) struct Teller {
    work: Box<Work>,
    hosts: Hosts,
    pub told: Told,
    pub counters: CaptureCounters,
}

/// What was told of a connection so far.
#[derive(Debug)]
pub(super) struct Story {
    addresses: Both<SocketAddr>,
    /// How the ends are named in records: never the same number twice.
    connections: Both<u64>,
    processes: Both<u32>,
    lanes: Both<Lane>,
    waiting: Waiting,
    begun: Begun,
    is_open: bool,
    pub is_opaque: bool,
    has_heads: bool,
    /// Messages may have been missed, so that which response is whose is known by their order only.
    is_unsettled: bool,
    /// The next request is the first since then.
    is_to_be_settled: bool,
}

/// How a connection was seen to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Begun {
    /// When it was first seen.
    pub at: u64,
    /// When both ends had agreed to it, if that was seen.
    pub established: Option<u64>,
    /// A SYN was seen.
    pub with_handshake: bool,
}

impl Teller {
    pub fn new() -> Self {
        Self {
            work: Box::default(),
            hosts: Hosts::default(),
            told: Told::default(),
            counters: CaptureCounters::default(),
        }
    }
}

impl Story {
    /// The story of connection `number`, with nothing told.
    pub fn new(number: u64, addresses: Both<SocketAddr>) -> Self {
        Self {
            addresses,
            connections: Both {
                first: number.wrapping_mul(2).wrapping_add(1),
                second: number.wrapping_mul(2).wrapping_add(2),
            },
            processes: Both::default(),
            lanes: Both {
                first: Lane::NEW,
                second: Lane::NEW,
            },
            waiting: Waiting::default(),
            begun: Begun::default(),
            is_open: false,
            is_opaque: false,
            has_heads: false,
            is_unsettled: false,
            is_to_be_settled: false,
        }
    }

    /// Tells that the connection is there, if that was not told. A direction of which the beginning was not seen is
    /// told from wherever a message begins.
    pub fn open(&mut self, begun: Begun, from_start: Both<bool>, teller: &mut Teller) {
        if self.is_open {
            return;
        }
        self.is_open = true;
        self.begun = begun;
        teller.counters.tcp_connections += 1;
        for side in Side::BOTH {
            if !from_start.of(side) {
                self.lanes.of_mut(side).state = State::SEEK;
            }
        }
        for side in Side::BOTH {
            self.open_end(side, teller);
        }
    }

    fn open_end(&mut self, side: Side, teller: &mut Teller) {
        let (pid, info) = teller.hosts.process(self.addresses.of(side).ip());
        *self.processes.of_mut(side) = pid;
        if let Some(info) = info {
            teller.told.process(info);
        }
        let origin = match (self.begun.with_handshake, side) {
            // Not told as joined in the middle, where what is missed at first would be taken for what passed before:
            // here every byte that is missed since then is told.
            (false, _) => 0,
            (true, Side::First) => open_flags::CONNECTED,
            (true, Side::Second) => open_flags::ACCEPTED,
        };
        let [local, peer] = [side, side.other()].map(|side| self.addresses.of(side));
        let connection = *self.connections.of(side);
        encode_open(
            &OpenRecord {
                kind: kind::OPEN,
                connection,
                start_ns: self.begun.at,
                established_ns: self.begun.established.unwrap_or_default(),
                tgid: pid,
                tid: thread(connection),
                flags: origin,
                local_addr: octets(local.ip()),
                peer_addr: octets(peer.ip()),
                local_port: local.port(),
                peer_port: peer.port(),
                ..OpenRecord::default()
            },
            &mut teller.told,
        );
    }

    /// Bytes passed from one end to the other, all that one segment brought.
    pub fn pass(&mut self, from: Side, seq: Seq, bytes: &[u8], at: u64, teller: &mut Teller) {
        self.settle(from, bytes);
        if self.lanes.of(from).state == State::SEEK && !begins_message(bytes) {
            // A segment may begin anywhere: "T / HTTP/1.1" is not the beginning of a request.
            self.frame(from, seq, &[], at, teller, |work, port| {
                framer::pass_unseen(work, port, bytes.len() as u64);
                framer::flush(work, port);
            });
            return;
        }
        self.frame(from, seq, bytes, at, teller, |work, port| {
            work.buffer(0, bytes.len() as u64);
            while work.left > 0 && work.lane.state != State::OPAQUE {
                if framer::step(work, port) == Step::Done {
                    break;
                }
            }
            // What may hold messages is told with the time at which it passed, and not with all that follows.
            if work.lane.state == State::SEEK {
                framer::flush(work, port);
            }
        });
    }

    /// So many bytes passed that are not in the capture.
    pub fn pass_unseen(&mut self, from: Side, seq: Seq, len: u32, at: u64, teller: &mut Teller) {
        self.frame(from, seq, &[], at, teller, |work, port| {
            framer::pass_unseen(work, port, u64::from(len));
            framer::flush(work, port);
        });
        if self.lanes.of(from).state == State::SEEK {
            (self.is_unsettled, self.is_to_be_settled) = (true, true);
        }
    }

    /// After messages may have been missed, a client that begins a request has its responses, as nearly all have: the
    /// framer would else take the response to HEAD for that to another request, and wait for its body.
    fn settle(&mut self, from: Side, bytes: &[u8]) {
        let lane = self.lanes.of(from);
        let is_between = lane.state == State::IDLE || lane.state == State::SEEK;
        let is_request = is_between && begins_message(bytes) && !bytes.starts_with(b"HTTP/1.");
        let answers = self.lanes.of_mut(from.other());
        if is_request && self.is_unsettled && answers.is(fact::RESPONSE) && answers.state != State::IDLE {
            answers.state = State::SEEK;
        }
        if self.is_to_be_settled && is_request {
            self.is_to_be_settled = false;
            let Waiting { pushed, popped, .. } = &mut self.waiting;
            let missed = pushed.wrapping_sub(*popped).cast_signed();
            if missed > 0 {
                *popped = *pushed;
            } else {
                *pushed = *popped;
            }
        }
    }

    fn frame(
        &mut self,
        from: Side,
        seq: Seq,
        bytes: &[u8],
        at: u64,
        teller: &mut Teller,
        frame: impl FnOnce(&mut Work, &mut Ends<'_>),
    ) {
        if self.is_opaque {
            return;
        }
        let Teller {
            work, told, counters, ..
        } = teller;
        let mut port = Ends {
            bytes,
            sender: (*self.connections.of(from), *self.processes.of(from)),
            receiver: (
                *self.connections.of(from.other()),
                *self.processes.of(from.other()),
            ),
            has_heads: &mut self.has_heads,
            is_unsettled: &mut self.is_unsettled,
            told,
            counters,
        };
        (work.lane, work.waiting) = (*self.lanes.of(from), self.waiting);
        (work.start_ns, work.end_ns, work.sent) = (at, at, 1);
        work.lane.seq = seq.0;
        work.begin();
        frame(work, &mut port);
        framer::finish(work, &mut port);
        (*self.lanes.of_mut(from), self.waiting) = (work.lane, work.waiting);
        self.is_opaque |= work.turned_opaque != 0;
    }

    /// Nothing more of the connection will be told. A direction whose end was not seen, or in which messages may have
    /// been missed, is told to have one byte more than was told, so that nothing is concluded from what did not come.
    pub fn close(&mut self, ended: Both<Option<How>>, at: u64, teller: &mut Teller) {
        if !self.is_open {
            return;
        }
        for side in Side::BOTH {
            let lane = self.lanes.of(side);
            self.is_unsettled |= lane.state == State::SEEK;
            if lane.is(fact::RUN) {
                let (seq, at) = (Seq(lane.seq), lane.last_ns);
                self.frame(side, seq, &[], at, teller, |work, port| framer::flush(work, port));
            }
        }
        if !self.has_heads && !self.is_opaque {
            teller.counters.connections_without_http += 1;
        }
        let is_reset_by = |side| ended.of(side) == &Some(How::Reset);
        let is_reset = Side::BOTH.into_iter().any(is_reset_by);
        let total = |side| {
            let is_known = (ended.of(side).is_some() || is_reset) && !self.is_unsettled;
            self.lanes.of(side).offset.saturating_add(u64::from(!is_known))
        };
        // Where the responses end, no more of one can come.
        let has_ended = is_reset
            || (ended.first.is_some() && ended.second.is_some())
            || Side::BOTH
                .into_iter()
                .any(|side| ended.of(side).is_some() && self.lanes.of(side).is(fact::RESPONSE));
        let is_over = has_ended && !self.is_unsettled;
        for side in Side::BOTH {
            let errno = match (is_over, is_reset_by(side.other())) {
                (false, _) => UNKNOWN_END,
                (true, true) => ECONNRESET,
                (true, false) => 0,
            };
            encode_close(
                &CloseRecord {
                    kind: kind::CLOSE,
                    connection: *self.connections.of(side),
                    at_ns: at,
                    received: total(side.other()),
                    sent: total(side),
                    last_received_ns: self.lanes.of(side.other()).last_ns,
                    last_sent_ns: self.lanes.of(side).last_ns,
                    errno,
                    ..CloseRecord::default()
                },
                &mut teller.told,
            );
        }
    }

    /// The connection was refused: there is one end only.
    pub fn refuse(&mut self, begun: Begun, at: u64, teller: &mut Teller) {
        if self.is_open {
            return;
        }
        (self.is_open, self.begun) = (true, begun);
        self.open_end(Side::First, teller);
        encode_close(
            &CloseRecord {
                kind: kind::CLOSE,
                connection: self.connections.first,
                at_ns: at,
                errno: ECONNREFUSED,
                failed: 1,
                ..CloseRecord::default()
            },
            &mut teller.told,
        );
    }
}

/// Whether a message begins here, as sure as can be without what was before: no method ends in another one.
fn begins_message(bytes: &[u8]) -> bool {
    const METHODS: [&[u8]; 10] = [
        b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"CONNECT", b"TRACE", b"PRI",
    ];
    let is_request = |method| {
        bytes
            .strip_prefix(method)
            .is_some_and(|rest| rest.starts_with(b" "))
    };
    bytes.starts_with(b"HTTP/1.") || METHODS.into_iter().any(is_request) || framer::starts_frame(bytes)
}

/// The ends of the connection whose bytes are being framed.
struct Ends<'a> {
    bytes: &'a [u8],
    /// Connection and process.
    sender: (u64, u32),
    receiver: (u64, u32),
    has_heads: &'a mut bool,
    is_unsettled: &'a mut bool,
    told: &'a mut Told,
    counters: &'a mut CaptureCounters,
}

impl Port for Ends<'_> {
    #[expect(unsafe_code, reason = "the port's contract")]
    unsafe fn read(&mut self, to: *mut u8, len: u32, from: u64) -> bool {
        let bytes = usize::try_from(from).ok().zip(usize::try_from(len).ok());
        let Some(bytes) = bytes.and_then(|(from, len)| self.bytes.get(from..)?.get(..len)) else {
            return false;
        };
        // SAFETY: the framer gives room for `len` bytes, which is how many there are.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        true
    }

    fn emit(&mut self, work: &mut Work) {
        let captured = usize::try_from(work.record.captured).unwrap_or(usize::MAX);
        let captured = work.payload.get(..captured).unwrap_or_default();
        if work.record.flags & (data_flags::HEAD | data_flags::HTTP2) != 0 && !*self.has_heads {
            *self.has_heads = true;
            // A response to what was asked before: if that was HEAD, what is taken for its body is not.
            *self.is_unsettled |= captured.starts_with(b"HTTP/1.");
        }
        for ((connection, process), flags) in [
            (self.sender, work.record.flags),
            (self.receiver, work.record.flags & !data_flags::SENT),
        ] {
            let record = DataRecord {
                connection,
                tgid: process,
                tid: thread(connection),
                flags,
                ..work.record
            };
            encode_data(&record, captured, self.told);
        }
    }

    fn lost(&mut self, cause: Loss) {
        match cause {
            Loss::HeadTruncated => self.counters.heads_truncated += 1,
            Loss::HeadEndless => self.counters.heads_endless += 1,
            // Counted where the hole is found; or the sender's own framing of chunks is broken.
            _ => {}
        }
    }

    /// What is not sampled is decided behind, from the same header.
    fn follows_sampling(&self) -> bool {
        false
    }
}

/// Every end has a thread of its own, so that threads are no evidence in a capture. It begins again after 2^31
/// connections.
fn thread(connection: u64) -> u32 {
    let [low, middle, high, top, ..] = connection.to_le_bytes();
    u32::from_le_bytes([low, middle, high, top])
}
