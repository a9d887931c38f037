//! The pcap format: <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-06.html>.
//!
//! ```text
//! file    magic u32, version u16.u16, zone i32, accuracy u32, snaplen u32, link type u32, packet…
//! packet  seconds u32, fraction u32, kept u32, length u32, bytes
//! ```
//!
//! Byte order and the unit of the fraction are those of the magic number. What the file says of zone, accuracy and the
//! longest packet is not relied on: programs write anything there.

use std::io::Read;

use super::{
    super::{error::CaptureError, link},
    LinkType, MAX_PACKET, Next, Order, Packet, Source,
    numbers::Fields,
};

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// The format of Alexey Kuznetsov's patched libpcap: eight more bytes before each packet.
const MODIFIED: u32 = 0xa1b2_cd34;
const MAJOR: u16 = 2;

pub(super) struct Classic {
    order: Order,
    /// Nanoseconds.
    fraction: u64,
    packet_head: u32,
    link: LinkType,
}

impl Classic {
    pub fn is_magic(magic: [u8; 4]) -> bool {
        Self::of_magic(magic).is_some()
    }

    fn of_magic(magic: [u8; 4]) -> Option<Self> {
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            let (fraction, packet_head) = match order.u32(magic) {
                MICROSECONDS => (1_000, 16),
                NANOSECONDS => (1, 16),
                MODIFIED => (1_000, 24),
                _ => return None,
            };
            Some(Self {
                order,
                fraction,
                packet_head,
                link: LinkType(0),
            })
        })
    }

    /// Reads the rest of the header.
    pub fn start<R: Read>(magic: [u8; 4], source: &mut Source<R>) -> Result<Self, CaptureError> {
        let classic = Self::of_magic(magic).ok_or_else(|| source.corrupt(0, "it has no magic number"))?;
        source.read(20)?;
        let order = classic.order;
        let mut fields = Fields {
            rest: source.piece(),
            order,
        };
        let header = (|| {
            let version = (fields.u16()?, fields.u16()?);
            let [_zone, _accuracy, _snaplen] = [fields.u32()?, fields.u32()?, fields.u32()?];
            Some((version, fields.u32()?))
        })();
        let Some(((major, minor), link)) = header else {
            return Err(source.corrupt(0, "it ends within its header"));
        };
        if major != MAJOR {
            return Err(CaptureError::Version {
                path: source.path(),
                format: "pcap",
                major,
                minor,
                known: "2.x",
            });
        }
        // The upper half says how long the checksum of a frame is; the length of an IP packet is its own.
        let [low, high, ..] = link.to_le_bytes();
        let link = LinkType(u16::from_le_bytes([low, high]));
        if !link::is_known(link) {
            return Err(CaptureError::LinkType {
                path: source.path(),
                link_type: link.0,
            });
        }
        Ok(Self { link, ..classic })
    }

    pub fn next<'s, R: Read>(&self, source: &'s mut Source<R>) -> Result<Next<'s>, CaptureError> {
        let begin = source.offset();
        if !source.read(self.packet_head)? {
            return Ok(match source.piece() {
                [] => Next::End,
                _ => Next::CutOff(source.offset()),
            });
        }
        let mut fields = Fields {
            rest: source.piece(),
            order: self.order,
        };
        let [seconds, fraction, kept] = [(); 3].map(|()| fields.u32().unwrap_or_default());
        if kept > MAX_PACKET {
            return Err(source.corrupt(begin, "a packet is longer than any can be"));
        }
        if !source.read(kept)? {
            return Ok(Next::CutOff(source.offset()));
        }
        let at = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.fraction;
        Ok(Next::Packet(Packet {
            at,
            link: self.link,
            bytes: source.piece(),
        }))
    }
}
