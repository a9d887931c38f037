//! The pcapng format: <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html>.
//!
//! ```text
//! file       section…
//! section    section header, then interface descriptions, packets and other blocks, in any order
//! block      type u32, length u32 of all of it, body padded to 4 bytes, length u32 again
//! ```
//!
//! Byte order is the section's; packets name their interface by its place in the section.

use std::io::Read;

use super::{super::error::CaptureError, LinkType, MAX_PACKET, Next, Order, Packet, Source, numbers::Fields};

/// A section header's type, the same in either byte order.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// Options of an interface description, §4.2.
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
/// Options of interface statistics, §4.6.
const ISB_IFDROP: u16 = 5;
const ISB_OSDROP: u16 = 7;

/// Head and tail of a block.
const FRAME: u32 = 12;
/// Room for options beside the packet.
const MAX_BODY: u32 = MAX_PACKET + 65_536;
const MAX_INTERFACES: usize = 65_536;

pub(super) struct Pcapng {
    order: Order,
    interfaces: Vec<Interface>,
    /// Of simple packets, which have none: that of the packet before.
    last: u64,
    /// Packets that sections that are over say were missed.
    missed: u64,
}

#[derive(Clone, Copy)]
struct Interface {
    link: LinkType,
    snaplen: u32,
    resolution: Resolution,
    offset_seconds: i64,
    missed: u64,
}

/// What a tick is: a power of ten, or of two, of a second.
#[derive(Clone, Copy)]
enum Resolution {
    Decimal(u32),
    Binary(u32),
}

/// What a block is to the reader.
enum Block {
    Packet {
        at: u64,
        link: LinkType,
        from: usize,
        len: usize,
    },
    Homeless,
    Other,
}

impl Pcapng {
    /// Reads the first section header, of which the type was read.
    pub fn start<R: Read>(source: &mut Source<R>) -> Result<Self, CaptureError> {
        let mut new = Self {
            order: Order::Little,
            interfaces: Vec::new(),
            last: 0,
            missed: 0,
        };
        let Some(len) = source.array()? else {
            return Err(source.corrupt(0, "it ends within its header"));
        };
        if !new.section(len, 0, source)? {
            return Err(source.corrupt(0, "it ends within its header"));
        }
        Ok(new)
    }

    pub fn missed(&self) -> u64 {
        let now = self.interfaces.iter().map(|interface| interface.missed);
        now.fold(self.missed, u64::saturating_add)
    }

    pub fn next<'s, R: Read>(&mut self, source: &'s mut Source<R>) -> Result<Next<'s>, CaptureError> {
        loop {
            let begin = source.offset();
            let Some(head) = source.array::<8>()? else {
                return Ok(match source.piece() {
                    [] => Next::End,
                    _ => Next::CutOff(source.offset()),
                });
            };
            let [a, b, c, d, len @ ..] = head;
            let kind = self.order.u32([a, b, c, d]);
            if kind == SECTION {
                if !self.section(len, begin, source)? {
                    return Ok(Next::CutOff(source.offset()));
                }
                continue;
            }
            let len = self.order.u32(len);
            let Some(body) = body_len(len) else {
                return Err(source.corrupt(begin, "a block has no possible length"));
            };
            if !matches!(
                kind,
                INTERFACE | OLD_PACKET | SIMPLE_PACKET | STATISTICS | ENHANCED_PACKET
            ) {
                if !source.skip(body + 4)? {
                    return Ok(Next::CutOff(source.offset()));
                }
                continue;
            }
            if body > MAX_BODY {
                return Err(source.corrupt(begin, "a packet is longer than any can be"));
            }
            if !source.read(body + 4)? {
                return Ok(Next::CutOff(source.offset()));
            }
            let Some((content, tail)) = source.piece().split_last_chunk() else {
                return Ok(Next::CutOff(source.offset()));
            };
            if self.order.u32(*tail) != len {
                return Err(source.corrupt(begin, "the two lengths of a block differ"));
            }
            match self.block(kind, content) {
                None => return Err(source.corrupt(begin, "a block is shorter than what it holds")),
                Some(Block::Other) => {}
                Some(Block::Homeless) => return Ok(Next::Homeless),
                Some(Block::Packet { at, link, from, len }) => {
                    self.last = at;
                    let bytes = source.piece().get(from..from + len).unwrap_or_default();
                    return Ok(Next::Packet(Packet { at, link, bytes }));
                }
            }
        }
    }

    /// Reads a section header from after its length; false where the file ends in it.
    fn section<R: Read>(
        &mut self,
        len: [u8; 4],
        begin: u64,
        source: &mut Source<R>,
    ) -> Result<bool, CaptureError> {
        let Some([a, b, c, d, rest @ ..]) = source.array::<16>()? else {
            return Ok(false);
        };
        let order = [Order::Little, Order::Big]
            .into_iter()
            .find(|order| order.u32([a, b, c, d]) == BYTE_ORDER);
        let Some(order) = order else {
            return Err(source.corrupt(begin, "a section does not say its byte order"));
        };
        let mut version = Fields { rest: &rest, order };
        let (major, minor) = (
            version.u16().unwrap_or_default(),
            version.u16().unwrap_or_default(),
        );
        if major != 1 {
            return Err(CaptureError::Version {
                path: source.path(),
                format: "pcapng",
                major,
                minor,
                known: "1.x",
            });
        }
        let Some(options) = body_len(order.u32(len)).and_then(|body| body.checked_sub(16)) else {
            return Err(source.corrupt(begin, "a block has no possible length"));
        };
        self.missed = self.missed();
        self.order = order;
        self.interfaces.clear();
        source.skip(options + 4)
    }

    /// Reads the body of a block; `None` if it is too short.
    fn block(&mut self, kind: u32, body: &[u8]) -> Option<Block> {
        let order = self.order;
        let mut fields = Fields { rest: body, order };
        let (interface, kept, ticks) = match kind {
            INTERFACE => {
                if self.interfaces.len() < MAX_INTERFACES {
                    self.interfaces.push(Interface::read(fields)?);
                }
                return Some(Block::Other);
            }
            STATISTICS => {
                self.statistics(fields)?;
                return Some(Block::Other);
            }
            SIMPLE_PACKET => {
                let len = fields.u32()?;
                let snaplen = self.interfaces.first().map_or(0, |interface| interface.snaplen);
                let there = u32::try_from(fields.rest.len()).unwrap_or(u32::MAX);
                let kept = if snaplen == 0 { len } else { len.min(snaplen) };
                (0, kept.min(there), None)
            }
            OLD_PACKET => {
                let (interface, _drops) = (fields.u16()?, fields.u16()?);
                let ticks = ticks(fields.u32()?, fields.u32()?);
                let (kept, _len) = (fields.u32()?, fields.u32()?);
                (u32::from(interface), kept, Some(ticks))
            }
            _ => {
                let interface = fields.u32()?;
                let ticks = ticks(fields.u32()?, fields.u32()?);
                let (kept, _len) = (fields.u32()?, fields.u32()?);
                (interface, kept, Some(ticks))
            }
        };
        let from = body.len() - fields.rest.len();
        let len = fields.bytes(usize::try_from(kept).ok()?)?.len();
        let interface = usize::try_from(interface).ok();
        let Some(interface) = interface.and_then(|place| self.interfaces.get(place)) else {
            return Some(Block::Homeless);
        };
        Some(Block::Packet {
            at: ticks.map_or(self.last, |ticks| interface.time(ticks)),
            link: interface.link,
            from,
            len,
        })
    }

    /// The counts are of the whole capture up to here, so the last ones stand.
    fn statistics(&mut self, mut fields: Fields<'_>) -> Option<()> {
        let interface = usize::try_from(fields.u32()?).ok()?;
        fields.bytes(8)?;
        let mut missed = 0_u64;
        for (code, value) in options(&mut fields) {
            if let (ISB_IFDROP | ISB_OSDROP, Ok(count)) = (code, value.try_into()) {
                missed = missed.saturating_add(self.order.u64(count));
            }
        }
        if let Some(interface) = self.interfaces.get_mut(interface) {
            interface.missed = missed;
        }
        Some(())
    }
}

impl Interface {
    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let order = fields.order;
        let (link, _reserved, snaplen) = (fields.u16()?, fields.u16()?, fields.u32()?);
        let mut interface = Self {
            link: LinkType(link),
            snaplen,
            resolution: Resolution::Decimal(6),
            offset_seconds: 0,
            missed: 0,
        };
        for (code, value) in options(&mut fields) {
            match (code, value) {
                (IF_TSRESOL, &[resolution, ..]) => {
                    let power = u32::from(resolution & 0x7f);
                    interface.resolution = if resolution & 0x80 == 0 {
                        Resolution::Decimal(power)
                    } else {
                        Resolution::Binary(power)
                    };
                }
                (IF_TSOFFSET, value) => {
                    let seconds = value.try_into().map_or(0, |value| order.u64(value));
                    interface.offset_seconds = seconds.cast_signed();
                }
                _ => {}
            }
        }
        Some(interface)
    }

    /// Nanoseconds of Unix time; what is before 1970 or after 2554 is the nearest that can be said.
    fn time(&self, ticks: u64) -> u64 {
        const SECOND: i128 = 1_000_000_000;
        let ticks = i128::from(ticks);
        let nanos = match self.resolution {
            Resolution::Decimal(power @ 0..=9) => ticks.saturating_mul(10_i128.pow(9 - power)),
            Resolution::Decimal(power) => 10_i128.checked_pow(power - 9).map_or(0, |unit| ticks / unit),
            Resolution::Binary(power) => ticks.saturating_mul(SECOND) >> power,
        };
        let nanos = nanos.saturating_add(i128::from(self.offset_seconds) * SECOND);
        u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
    }
}

fn ticks(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Length of the body of a block of this length.
fn body_len(len: u32) -> Option<u32> {
    len.checked_sub(FRAME).filter(|body| body % 4 == 0)
}

/// Options, §3.5: code and length, then a value padded to 4 bytes. One that is not whole ends them.
fn options<'f, 'a>(fields: &'f mut Fields<'a>) -> impl Iterator<Item = (u16, &'a [u8])> + use<'f, 'a> {
    std::iter::from_fn(move || {
        let (code, len) = (fields.u16()?, usize::from(fields.u16()?));
        let value = fields.bytes(len)?;
        let padding = len.next_multiple_of(4) - len;
        fields.bytes(padding.min(fields.rest.len()))?;
        (code != 0).then_some((code, value))
    })
}
