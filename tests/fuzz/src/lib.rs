//! What the targets share: an input read as calls on a connection, and the framer run over them.

pub mod elf;
pub mod http2;

use tracer_agent::capture::{HostInfo, Input};
use tracer_agent::ids::BootNanos;
use tracer_agent::pipeline::{Pipeline, Settings};
use tracer_common::framer::Waiting;
use tracer_common::record::{DataRecord, OpenRecord, open_flags};
use tracer_common::testing::Stream;

/// The connection that every target talks about, and its process.
pub const CONNECTION: u64 = 1;
pub const PID: u32 = 7;

/// One call: a byte that says which way and how many bytes the program moved, then those bytes.
pub struct Calls<'a>(pub &'a [u8]);

impl<'a> Iterator for Calls<'a> {
    type Item = (bool, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[head, low], rest) = self.0.split_first_chunk::<2>()?;
        let len = usize::from(u16::from_le_bytes([low, head & 0x0f])).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        self.0 = rest;
        Some((head & 0x80 != 0, bytes))
    }
}

/// Records that no kernel side would write: each behind a byte that is its length, with its size put right, since such a one gets further.
pub struct Records<'a>(pub &'a [u8]);

impl Iterator for Records<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Self::Item> {
        let (len, rest) = self.0.split_first()?;
        let (record, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        self.0 = rest;
        let mut record = record.to_vec();
        let size = (record.len() as u32).to_le_bytes();
        // The second word.
        if let Some(place) = record.get_mut(4..8) {
            place.copy_from_slice(&size);
        }
        Some(record)
    }
}

/// Both directions of one end of a connection, framed as in the kernel.
pub struct Connection {
    /// What is received, and what is sent.
    streams: [Stream; 2],
    waiting: Waiting,
    now: u64,
}

impl Connection {
    #[expect(
        clippy::new_without_default,
        reason = "a connection is made, not defaulted to"
    )]
    pub fn new() -> Self {
        let streams = [false, true].map(|sent| {
            let mut stream = Stream::new(sent);
            stream.follows_sampling = false;
            stream.identify(DataRecord {
                connection: CONNECTION,
                tgid: PID,
                tid: PID,
                ..DataRecord::default()
            });
            stream
        });
        Self {
            streams,
            waiting: Waiting::default(),
            now: 1000,
        }
    }

    /// One call; each record that comes of it is given to `out`.
    pub fn call(&mut self, sent: bool, bytes: &[u8], out: &mut dyn FnMut(&DataRecord, &[u8])) {
        self.now += 1000;
        let stream = &mut self.streams[usize::from(sent)];
        stream.now = self.now;
        stream.call(bytes, &[], &mut self.waiting);
        for (record, captured) in stream.records.drain(..) {
            out(&record, &captured);
        }
        stream.lost.clear();
    }
}

/// The whole core over these calls. Bits of `first`: 1, the end was accepted; 2, every eighth record gets lost.
pub fn core<'a>(first: u8, calls: impl Iterator<Item = (bool, &'a [u8])>) {
    let mut pipeline = Pipeline::new(Settings::default());
    let mut spans = Vec::new();
    pipeline.push(&Input::Host(HostInfo::default()), &mut spans);
    pipeline.push(&Input::Record(&open(first & 1 != 0)), &mut spans);
    let mut connection = Connection::new();
    for (sent, bytes) in calls {
        connection.call(sent, bytes, &mut |record, captured| {
            if first & 2 == 0 || record.offset % 8 != 0 {
                pipeline.push(&Input::Record(&data(record, captured)), &mut spans);
            }
        });
    }
    pipeline.push(&Input::End(BootNanos(u64::MAX / 2)), &mut spans);
    for span in &spans {
        assert!(span.start_unix_ns <= span.end_unix_ns, "{span:?}");
    }
}

/// The record of the connection's begin, accepted or made by this end.
pub fn open(accepted: bool) -> Vec<u8> {
    let mut addr = [0; 16];
    addr[15] = 1;
    let flags = if accepted {
        open_flags::ACCEPTED
    } else {
        open_flags::CONNECTED
    };
    let record = OpenRecord {
        kind: tracer_common::record::kind::OPEN,
        size: size_of::<OpenRecord>() as u32,
        connection: CONNECTION,
        start_ns: 500,
        established_ns: 600,
        tgid: PID,
        tid: PID,
        netns: 1,
        flags,
        local_addr: addr,
        peer_addr: addr,
        local_port: 80,
        peer_port: 40000,
        path: 0,
        comm: *b"fuzz\0\0\0\0\0\0\0\0\0\0\0\0",
        turn: 0,
        reads: 0,
    };
    as_bytes(&record).to_vec()
}

/// A data record as it lies in the ring.
pub fn data(record: &DataRecord, captured: &[u8]) -> Vec<u8> {
    [as_bytes(record), captured].concat()
}

/// The bytes of a record.
fn as_bytes<Record: Copy>(record: &Record) -> &[u8] {
    // SAFETY: records are repr(C) of integers without padding, which their size assertions prove.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(record).cast(), size_of::<Record>()) }
}
