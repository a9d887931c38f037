//! The two formats of capture files. In: bytes. Out: packets, each with its time and the kind of link it was taken
//! from. Kept true: what is held is one packet, whatever lengths the file says; what is wrong is told with its place.

mod classic;
mod numbers;
mod pcapng;
mod source;

use std::{io::Read, path::Path};

use super::error::CaptureError;
use classic::Classic;
use numbers::Order;
use pcapng::Pcapng;
use source::Source;

/// The most bytes that a packet may have: four times the longest that tcpdump keeps.
const MAX_PACKET: u32 = 1 << 20;

/// Kinds of links, as <https://www.tcpdump.org/linktypes.html> numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkType(pub u16);

/// One packet, as much of it as was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    /// Nanoseconds of Unix time.
    pub at: u64,
    pub link: LinkType,
    pub bytes: &'a [u8],
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    Packet(Packet<'a>),
    /// A packet of which nothing can be made: its interface was not described.
    Homeless,
    /// Nothing.
    End,
    /// The file stops in the middle, here.
    CutOff(u64),
}

/// A capture file being read.
pub(super) struct Packets<R> {
    source: Source<R>,
    format: Format,
}

enum Format {
    Classic(Classic),
    Pcapng(Pcapng),
}

/// Whether a file that begins so is a packet capture.
pub(super) fn is_capture(head: &[u8]) -> bool {
    head.first_chunk()
        .is_some_and(|magic| Classic::is_magic(*magic) || *magic == pcapng::MAGIC)
}

impl<R: Read> Packets<R> {
    /// Begins to read `inner`, for which [`is_capture`] holds; `path` is its name in errors.
    pub fn start(inner: R, path: &Path) -> Result<Self, CaptureError> {
        let mut source = Source::new(inner, path);
        let magic = source.array::<4>()?.unwrap_or_default();
        let format = if magic == pcapng::MAGIC {
            Format::Pcapng(Pcapng::start(&mut source)?)
        } else {
            Format::Classic(Classic::start(magic, &mut source)?)
        };
        Ok(Self { source, format })
    }

    /// What comes next; nothing is to be asked for after anything but a packet.
    pub fn next(&mut self) -> Result<Next<'_>, CaptureError> {
        match &mut self.format {
            Format::Classic(classic) => classic.next(&mut self.source),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.source),
        }
    }

    /// Packets that whoever made the file says it missed.
    pub fn missed(&self) -> u64 {
        match &self.format {
            Format::Classic(_) => 0,
            Format::Pcapng(pcapng) => pcapng.missed(),
        }
    }
}

#[cfg(test)]
mod tests;
