//! Packet captures. In: a pcap or pcapng file. Out: the [`Input`]s that a kernel side would have told of the HTTP/1
//! messages in it, so that all stages behind are the same.
//!
//! ```text
//! file ─ packet ─▶ link, segment ─▶ flows ─▶ flow, half ─▶ story ─▶ told
//!        time      addresses, TCP   table    order, holes  framer   records
//! ```
//!
//! What a capture is taken for:
//! - **Both ends.** What passes on a wire is sent by one end and received by the other, so each connection is told as two
//!   ends with the same sequence numbers, and an exchange becomes the span of the client and the span of the server,
//!   linked by their connection. Both have the times of the capture: where it was made is not known.
//! - **An address is a process.** A capture knows no programs. What comes in to an address and goes out from it again (a
//!   trace header, a request id) links requests; threads do not, since every end has one of its own, and times do not,
//!   since what an address serves and what it calls need not be one program.
//! - **Roles** are given by the SYN and, as live, by what is said: who sends a request is the client. No port is
//!   believed. A connection whose SYN is not in the capture is told from wherever a message begins.
//! - **The clock** is Unix time, as the packets have it. It goes on with the latest packet; packets may be out of order.
//! - **What is missing** is told as bytes that passed unseen: after a second if the other end has acknowledged them, after
//!   ten if it has not. The end of a connection is told only where FIN or RST was seen.
//!
//! Not looked into: fragments of IP packets, tunnels, checksums (hardware makes them after the capture), VLAN numbers.
//! Kept true: a file gives the same inputs each time; memory is bounded; nothing in a file makes it panic.

mod counters;
mod encode;
mod error;
mod file;
mod flow;
mod flows;
mod half;
mod hosts;
mod link;
mod segment;
mod sides;
mod story;
#[cfg(test)]
mod tests;
mod told;

use std::{
    io::{self, Read},
    path::Path,
};

pub use counters::CaptureCounters;
pub use error::CaptureError;

use super::{HostInfo, Input};
use crate::ids::BootNanos;
use file::{Next, Packets};
use flows::Flows;
use segment::{Segment, Skipped};
use story::Teller;

/// How much of a file decides about the ids of its traces.
const SEED_BYTES: u64 = 64 << 10;
/// How often the time is told.
const TICK_NS: u64 = 1_000_000;

/// A packet capture being read.
pub struct Capture<R> {
    packets: Packets<io::Chain<io::Cursor<Vec<u8>>, R>>,
    flows: Flows,
    teller: Teller,
    seed: [u64; 2],
    /// The latest time of any packet, and what of it was told.
    now: u64,
    ticked: u64,
    expect: Expect,
    cut_off: Option<u64>,
}

/// What is given next, once what was told is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Host,
    Packet,
    End,
    Nothing,
}

/// Whether a file that begins so is a packet capture.
pub fn is_capture(head: &[u8]) -> bool {
    file::is_capture(head)
}

impl<R: Read> Capture<R> {
    /// Begins to read a capture from `source`; `path` is its name in errors.
    ///
    /// # Errors
    /// Any [`CaptureError`].
    pub fn start(mut source: R, path: &Path) -> Result<Self, CaptureError> {
        let mut head = Vec::new();
        let read = source.by_ref().take(SEED_BYTES).read_to_end(&mut head);
        read.map_err(|source| CaptureError::Io {
            path: path.to_owned(),
            source,
        })?;
        let seed = seed(&head);
        let packets = Packets::start(io::Cursor::new(head).chain(source), path)?;
        Ok(Self {
            packets,
            flows: Flows::default(),
            teller: Teller::new(),
            seed,
            now: 0,
            ticked: 0,
            expect: Expect::Host,
            cut_off: None,
        })
    }

    /// The next input, lent until the one after it is asked for; `None` after [`Input::End`].
    ///
    /// # Errors
    /// [`CaptureError::Corrupt`] and [`CaptureError::Io`], once: what was read before it is given after it.
    pub fn next_input(&mut self) -> Result<Option<Input<'_>>, CaptureError> {
        while self.teller.told.is_empty() {
            self.teller.told.clear();
            match self.expect {
                Expect::Host => {
                    self.expect = Expect::Packet;
                    // Nothing is known of the hosts, and the clock is that of the packets.
                    return Ok(Some(Input::Host(HostInfo {
                        id_seed: self.seed,
                        ..HostInfo::default()
                    })));
                }
                Expect::Packet => {
                    if let Err(error) = self.packet() {
                        self.finish();
                        return Err(error);
                    }
                }
                Expect::End => {
                    self.expect = Expect::Nothing;
                    return Ok(Some(Input::End(BootNanos(self.now))));
                }
                Expect::Nothing => return Ok(None),
            }
        }
        Ok(self.teller.told.give())
    }

    /// Where the file stops in the middle of a packet, if it does: all before was given.
    pub fn cut_off(&self) -> Option<u64> {
        self.cut_off
    }

    /// What was read, passed over and missed so far.
    pub fn counters(&self) -> CaptureCounters {
        CaptureCounters {
            missed_by_capture: self.packets.missed(),
            cut_off: u64::from(self.cut_off.is_some()),
            ..self.teller.counters
        }
    }

    fn packet(&mut self) -> Result<(), CaptureError> {
        let packet = match self.packets.next()? {
            Next::Packet(packet) => packet,
            Next::Homeless => {
                self.teller.counters.packets += 1;
                self.teller.counters.unknown_link += 1;
                return Ok(());
            }
            Next::CutOff(at) => {
                self.cut_off = Some(at);
                self.finish();
                return Ok(());
            }
            Next::End => {
                self.finish();
                return Ok(());
            }
        };
        let counters = &mut self.teller.counters;
        counters.packets += 1;
        self.now = self.now.max(packet.at);
        if self.now.saturating_sub(self.ticked) >= TICK_NS {
            self.ticked = self.now;
            self.flows.tick(self.now, &mut self.teller);
            self.teller.told.tick(self.now);
        }
        match Segment::read(&packet) {
            Ok(segment) => self.flows.push(&segment, &mut self.teller),
            Err(skipped) => self.teller.counters.skip(skipped),
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.flows.finish(self.now, &mut self.teller);
        self.expect = Expect::End;
    }
}

impl CaptureCounters {
    fn skip(&mut self, skipped: Skipped) {
        let counter = match skipped {
            Skipped::NotIp => &mut self.not_ip,
            Skipped::NotTcp => &mut self.not_tcp,
            Skipped::Fragment => &mut self.fragments,
            Skipped::BadHeader => &mut self.bad_headers,
            Skipped::UnknownLink => &mut self.unknown_link,
        };
        *counter += 1;
    }
}

/// Two FNV-1a hashes (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv-21>) from different beginnings: the
/// same file gives the same ids, and two captures hardly ever do.
fn seed(head: &[u8]) -> [u64; 2] {
    [0xcbf2_9ce4_8422_2325, 0x6c62_272e_07bb_0142].map(|basis| {
        head.iter().fold(basis, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    })
}
