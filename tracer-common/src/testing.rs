//! Framing without a kernel: the memory of the traced program is a slice.
#![expect(
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    reason = "used by tests and fuzz targets only"
)]

extern crate std;

use std::{boxed::Box, vec::Vec};

use crate::{
    Loss,
    framer::{self, Port, Step, Waiting, Work},
    lane::{Lane, State},
    record::DataRecord,
};

/// A record with its captured bytes.
pub type Delivered = (DataRecord, Vec<u8>);

/// Memory that begins at address 0, and what was delivered of it.
struct Memory<'a> {
    bytes: &'a [u8],
    follows_sampling: bool,
    out: &'a mut Vec<Delivered>,
    lost: &'a mut Vec<Loss>,
}

impl Port for Memory<'_> {
    #[expect(unsafe_code, reason = "the port's contract")]
    unsafe fn read(&mut self, to: *mut u8, len: u32, from: u64) -> bool {
        let bytes = usize::try_from(from)
            .ok()
            .and_then(|from| self.bytes.get(from..)?.get(..len as usize));
        let Some(bytes) = bytes else {
            return false;
        };
        // SAFETY: the framer gives room for `len` bytes.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        true
    }

    fn emit(&mut self, work: &mut Work) {
        let captured = work.payload[..work.record.captured as usize].to_vec();
        self.out.push((work.record, captured));
    }

    fn lost(&mut self, cause: Loss) {
        self.lost.push(cause);
    }

    fn follows_sampling(&self) -> bool {
        self.follows_sampling
    }
}

/// One direction of a connection.
pub struct Stream {
    work: Box<Work>,
    /// Where it stands.
    pub lane: Lane,
    /// What was delivered.
    pub records: Vec<Delivered>,
    /// What was lost.
    pub lost: Vec<Loss>,
    /// The time of the last call.
    pub now: u64,
    /// See [`Port::follows_sampling`].
    pub follows_sampling: bool,
}

impl Stream {
    /// What the process sends, or what it receives, from its first byte.
    pub fn new(sent: bool) -> Self {
        let mut work = Box::<Work>::default();
        work.sent = u32::from(sent);
        Self {
            work,
            lane: Lane::NEW,
            records: Vec::new(),
            lost: Vec::new(),
            now: 1,
            follows_sampling: true,
        }
    }

    /// What the records say of the connection and the thread.
    pub fn identify(&mut self, record: DataRecord) {
        self.work.record = record;
    }

    /// One call that moves `bytes` in buffers of `sizes`, the last of which takes the rest.
    pub fn call(&mut self, bytes: &[u8], sizes: &[usize], waiting: &mut Waiting) {
        self.framed(bytes, waiting, |work, memory| {
            let mut at = 0;
            for size in sizes.iter().copied().chain([usize::MAX]) {
                let len = size.min(bytes.len() - at);
                work.buffer(at as u64, len as u64);
                while work.left > 0 && work.lane.state != State::OPAQUE {
                    if framer::step(work, memory) == Step::Done {
                        break;
                    }
                }
                at += len;
            }
        });
    }

    /// Passes bytes that cannot be read.
    pub fn unseen(&mut self, len: u64) {
        self.framed(&[], &mut Waiting::default(), |work, memory| {
            framer::pass_unseen(work, memory, len);
        });
    }

    fn framed(
        &mut self,
        bytes: &[u8],
        waiting: &mut Waiting,
        frame: impl FnOnce(&mut Work, &mut Memory<'_>),
    ) {
        let mut memory = Memory {
            bytes,
            follows_sampling: self.follows_sampling,
            out: &mut self.records,
            lost: &mut self.lost,
        };
        let work = &mut *self.work;
        self.now += 1;
        (work.lane, work.waiting, work.start_ns, work.end_ns) = (self.lane, *waiting, self.now, self.now);
        work.begin();
        frame(work, &mut memory);
        framer::finish(work, &mut memory);
        (self.lane, *waiting) = (work.lane, work.waiting);
    }
}
