//! One end of a connection, told step by step; what comes out are the records of the kernel side.

use tracer_common::record::{UnixEnd, data_flags, kind, open_flags};

use crate::capture::record::Record;

/// Bytes of a data record before those that were captured.
const DATA_BYTES: u32 = 96;
/// Bytes of an open record before the path.
const OPEN_BYTES: usize = 112;

/// Nanoseconds that pass with each step.
pub const STEP_NS: u64 = 1_000;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// The process reads.
    Received,
    /// The process writes.
    Sent,
}

/// One end of a connection and the records it has made so far.
///
/// Every step takes [`STEP_NS`]: a call is entered at [`End::now`] and returns at the same time, so that what
/// comes later in the script is later.
#[derive(Clone, Debug)]
pub struct End {
    connection: u64,
    now: u64,
    offsets: [u64; 2],
    last: [u64; 2],
    tgid: u32,
    tid: u32,
    addresses: [([u8; 4], u16); 2],
    /// Of a Unix socket: the pair, whether this is its first end, and the path.
    unix: Option<(u64, bool, Vec<u8>)>,
    netns: u32,
    /// Heads so far each way, if the kernel side counts them.
    heads: Option<[u32; 2]>,
    records: Vec<Vec<u8>>,
}

impl End {
    /// An end with nothing said yet, not even its open record. The peer of connection `n` is `n ^ 1`.
    pub fn new(connection: u64) -> Self {
        let port = |odd: u64| if odd == 0 { 80 } else { 40_000 };
        let side = connection & 1;
        Self {
            connection,
            now: 1_000_000,
            offsets: [0; 2],
            last: [0; 2],
            tgid: 100 + u32::try_from(side).unwrap_or_default(),
            tid: 100 + u32::try_from(side).unwrap_or_default(),
            addresses: [([10, 0, 0, 1], port(side)), ([10, 9, 9, 9], port(side ^ 1))],
            unix: None,
            netns: 1,
            heads: None,
            records: Vec::new(),
        }
    }

    /// A server's end, accepted.
    pub fn accepted(connection: u64) -> Self {
        Self::new(connection).open(open_flags::ACCEPTED)
    }

    /// A client's end, connected.
    pub fn connected(connection: u64) -> Self {
        Self::new(connection).open(open_flags::CONNECTED)
    }

    /// An end that was open before it was first seen.
    pub fn joined(connection: u64) -> Self {
        Self::new(connection).open(open_flags::MID_STREAM)
    }

    /// Sets the addresses, the local one first.
    #[must_use]
    pub fn between(mut self, local: ([u8; 4], u16), peer: ([u8; 4], u16)) -> Self {
        self.addresses = [local, peer];
        self
    }

    /// Makes it a Unix socket.
    #[must_use]
    pub fn over_unix(mut self, pair: u64, first: bool, path: &[u8]) -> Self {
        self.unix = Some((pair, first, path.to_vec()));
        self
    }

    /// The kernel side sees every byte and numbers the exchanges. (Interim responses would be counted too.)
    #[must_use]
    pub fn counted(mut self) -> Self {
        self.heads = Some([0; 2]);
        self
    }

    /// Sets the network namespace.
    #[must_use]
    pub fn in_netns(mut self, netns: u32) -> Self {
        self.netns = netns;
        self
    }

    /// The time of the next step.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Lets time pass.
    #[must_use]
    pub fn wait(mut self, nanos: u64) -> Self {
        self.now += nanos;
        self
    }

    /// Steps back in time by one step: the next call is the same as the last.
    #[must_use]
    pub fn same_call(mut self) -> Self {
        self.now -= STEP_NS;
        self
    }

    /// The open record, with these [`open_flags`].
    #[must_use]
    pub fn open(self, flags: u32) -> Self {
        let (pair, first, path) = self.unix.clone().unwrap_or_default();
        let size = u32::try_from(OPEN_BYTES + path.len()).unwrap_or(u32::MAX);
        let flags = flags | if self.unix.is_some() { open_flags::UNIX } else { 0 };
        let mut record = Vec::with_capacity(OPEN_BYTES + path.len());
        record.extend(kind::OPEN.to_ne_bytes());
        record.extend(size.to_ne_bytes());
        record.extend(self.connection.to_ne_bytes());
        record.extend(self.now.to_ne_bytes());
        record.extend(self.now.to_ne_bytes());
        for word in [self.tgid, self.tid, self.netns, flags] {
            record.extend(word.to_ne_bytes());
        }
        if self.unix.is_some() {
            for first in [first, !first] {
                let first = u64::from(first);
                record.extend(UnixEnd { pair, first }.bytes());
            }
            record.extend([0; 4]);
        } else {
            for (address, _) in self.addresses {
                record.extend([0; 10]);
                record.extend([0xff; 2]);
                record.extend(address);
            }
            for (_, port) in self.addresses {
                record.extend(port.to_ne_bytes());
            }
        }
        record.extend(u32::try_from(path.len()).unwrap_or(u32::MAX).to_ne_bytes());
        record.extend(*b"script\0\0\0\0\0\0\0\0\0\0");
        record.extend(0u64.to_ne_bytes());
        record.extend(path);
        self.push(record)
    }

    /// A whole message: its head in one piece, then `body` bytes if there are any. `|` in the head stands for
    /// a line end; the blank line is added.
    #[must_use]
    pub fn message(self, way: Way, head: &str, body: u64) -> Self {
        let end = if body == 0 { data_flags::MESSAGE_END } else { 0 };
        let begun = self.head(way, &text(head), end);
        if body == 0 { begun } else { begun.last(way, body) }
    }

    /// A message received whole.
    #[must_use]
    pub fn receive(self, head: &str, body: u64) -> Self {
        self.message(Way::Received, head, body)
    }

    /// A message sent whole.
    #[must_use]
    pub fn send(self, head: &str, body: u64) -> Self {
        self.message(Way::Sent, head, body)
    }

    /// The head of a message of which the body follows by other steps.
    #[must_use]
    pub fn begin(self, way: Way, head: &str) -> Self {
        self.head(way, &text(head), 0)
    }

    /// A whole head in one piece, byte for byte, with more [`data_flags`].
    #[must_use]
    pub fn head(self, way: Way, head: &[u8], flags: u32) -> Self {
        let whole = data_flags::HEAD | data_flags::HEAD_START | data_flags::HEAD_END;
        self.data(way, head, head.len() as u64, whole | flags)
    }

    /// A message without body, its head in pieces that end at these places.
    #[must_use]
    pub fn split(mut self, way: Way, head: &[u8], ends: &[usize]) -> Self {
        let mut from = 0;
        for to in ends.iter().copied().chain([head.len()]) {
            let to = to.clamp(from, head.len());
            let mut flags = data_flags::HEAD;
            if from == 0 {
                flags |= data_flags::HEAD_START;
            }
            if to == head.len() {
                flags |= data_flags::HEAD_END | data_flags::MESSAGE_END;
            }
            let piece = head.get(from..to).unwrap_or_default();
            if !piece.is_empty() {
                self = self.data(way, piece, piece.len() as u64, flags);
            }
            from = to;
        }
        self
    }

    /// A run of body bytes.
    #[must_use]
    pub fn body(self, way: Way, len: u64) -> Self {
        self.data(way, &[], len, 0)
    }

    /// The last run of body bytes of a message.
    #[must_use]
    pub fn last(self, way: Way, len: u64) -> Self {
        self.data(way, &[], len, data_flags::MESSAGE_END)
    }

    /// Any data record.
    #[must_use]
    pub fn data(mut self, way: Way, captured: &[u8], len: u64, flags: u32) -> Self {
        let lane = usize::from(way == Way::Sent);
        let sent = if way == Way::Sent { data_flags::SENT } else { 0 };
        let captured_len = u32::try_from(captured.len()).unwrap_or(u32::MAX);
        let [received, sent_offset] = &mut self.offsets;
        let offset = if lane == 1 { sent_offset } else { received };
        let mut number = 0;
        if let Some([received, sent]) = &mut self.heads
            && flags & data_flags::HEAD != 0
        {
            let count = if lane == 1 { sent } else { received };
            *count += u32::from(flags & data_flags::HEAD_START != 0);
            number = *count;
        }
        let mut record = Vec::with_capacity(DATA_BYTES as usize + captured.len());
        record.extend(kind::DATA.to_ne_bytes());
        record.extend((DATA_BYTES + captured_len).to_ne_bytes());
        for word in [self.connection, *offset, len, self.now, self.now, 0] {
            record.extend(word.to_ne_bytes());
        }
        let seq = u32::try_from(*offset & 0xffff_ffff).unwrap_or_default();
        for word in [self.tgid, self.tid, seq, flags | sent, captured_len, number] {
            record.extend(word.to_ne_bytes());
        }
        record.extend([0; 16]);
        record.extend(captured);
        *offset += len;
        let [received_last, sent_last] = &mut self.last;
        *(if lane == 1 { sent_last } else { received_last }) = self.now;
        self.push(record)
    }

    /// The last record is lost; its bytes passed all the same.
    #[must_use]
    pub fn lost(mut self) -> Self {
        self.records.pop();
        self
    }

    /// An orderly close.
    #[must_use]
    pub fn close(self) -> Self {
        self.close_with(0, false)
    }

    /// A close with this `errno`, of a connection that was established or `failed` to be.
    #[must_use]
    pub fn close_with(self, errno: u32, failed: bool) -> Self {
        let mut record = Vec::with_capacity(64);
        record.extend(kind::CLOSE.to_ne_bytes());
        record.extend(64_u32.to_ne_bytes());
        let [received, sent] = self.offsets;
        let [last_received, last_sent] = self.last;
        for word in [
            self.connection,
            self.now,
            received,
            sent,
            last_received,
            last_sent,
        ] {
            record.extend(word.to_ne_bytes());
        }
        record.extend(errno.to_ne_bytes());
        record.extend(u32::from(failed).to_ne_bytes());
        self.push(record)
    }

    /// The records, encoded as in the ring.
    pub fn encoded(&self) -> &[Vec<u8>] {
        &self.records
    }

    /// The records, decoded. What cannot be decoded is left out, and nothing the script makes is such.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter().filter_map(|bytes| Record::decode(bytes).ok())
    }

    fn push(mut self, record: Vec<u8>) -> Self {
        self.records.push(record);
        self.now += STEP_NS;
        self
    }
}

fn text(head: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(head.len() + 16);
    for line in head.split('|') {
        bytes.extend_from_slice(line.trim().as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}
