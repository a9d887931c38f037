//! From a packet to a TCP segment.

use std::net::{IpAddr, SocketAddr};

use etherparse::{LaxIpPayloadSlice, LaxNetSlice, TransportSlice, ip_number};

use super::{file::Packet, link};

/// A place in the sequence numbers of one direction, which go round (RFC 9293 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seq(pub u32);

impl Seq {
    pub fn plus(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// How far behind `other` it is; negative if it is before it. Right if they are less than 2 GiB apart.
    pub fn since(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// How many bytes it is behind `other`; `None` if it is not.
    pub fn beyond(self, other: Self) -> Option<u32> {
        u32::try_from(self.since(other)).ok().filter(|bytes| *bytes > 0)
    }
}

/// One TCP segment, as much of it as was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    /// Nanoseconds of Unix time.
    pub at: u64,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub seq: Seq,
    pub ack: Option<Seq>,
    pub syn: bool,
    pub fin: bool,
    pub rst: bool,
    pub payload: &'a [u8],
    /// Bytes behind the payload that passed and were not kept.
    pub cut: u32,
}

/// Why a packet gives no segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// Neither IPv4 nor IPv6.
    NotIp,
    /// Not TCP.
    NotTcp,
    /// A part of an IP packet.
    Fragment,
    /// Its headers are broken, or cut off.
    BadHeader,
    /// Of a link that is not read.
    UnknownLink,
}

impl<'a> Segment<'a> {
    /// The segment in a packet.
    pub fn read(packet: &Packet<'a>) -> Result<Self, Skipped> {
        if !link::is_known(packet.link) {
            return Err(Skipped::UnknownLink);
        }
        let headers = link::headers(packet.link, packet.bytes).ok_or(Skipped::BadHeader)?;
        let is_broken = headers.stop_err.is_some();
        let (from, to, payload, missing) = match headers.net {
            Some(LaxNetSlice::Ipv4(ip)) => {
                let header = ip.header();
                let kept = header.slice().len()
                    + ip.extensions().auth.map_or(0, |auth| auth.slice().len())
                    + ip.payload().payload.len();
                let missing = usize::from(header.total_len()).saturating_sub(kept);
                let [from, to] = [header.source_addr(), header.destination_addr()].map(IpAddr::from);
                (from, to, ip.payload().clone(), missing)
            }
            Some(LaxNetSlice::Ipv6(ip)) => {
                let header = ip.header();
                let kept = ip.extensions().slice().len() + ip.payload().payload.len();
                let missing = usize::from(header.payload_length()).saturating_sub(kept);
                let [from, to] = [header.source_addr(), header.destination_addr()].map(IpAddr::from);
                (from, to, ip.payload().clone(), missing)
            }
            _ if is_broken => return Err(Skipped::BadHeader),
            Some(LaxNetSlice::Arp(_)) | None => return Err(Skipped::NotIp),
        };
        let tcp = match headers.transport {
            Some(TransportSlice::Tcp(tcp)) => tcp,
            _ => return Err(why_not_tcp(&payload, is_broken)),
        };
        let segment = Self {
            at: packet.at,
            from: SocketAddr::new(from.to_canonical(), tcp.source_port()),
            to: SocketAddr::new(to.to_canonical(), tcp.destination_port()),
            seq: Seq(tcp.sequence_number()),
            ack: tcp.ack().then(|| Seq(tcp.acknowledgment_number())),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            payload: tcp.payload(),
            cut: if payload.incomplete {
                u32::try_from(missing).unwrap_or(u32::MAX)
            } else {
                0
            },
        };
        // Who sent it cannot be told.
        let is_loop = segment.from == segment.to;
        if is_loop {
            Err(Skipped::BadHeader)
        } else {
            Ok(segment)
        }
    }
}

fn why_not_tcp(payload: &LaxIpPayloadSlice<'_>, is_broken: bool) -> Skipped {
    if payload.ip_number != ip_number::TCP && !is_broken {
        Skipped::NotTcp
    } else if payload.fragmented {
        Skipped::Fragment
    } else if is_broken {
        Skipped::BadHeader
    } else {
        Skipped::NotTcp
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            file::LinkType,
            tests::wire::{self, Conversation, Sent},
        },
        *,
    };

    fn sent() -> Sent {
        let asked = Conversation::begun().request(b"GET / HTTP/1.1\r\n\r\n");
        asked.segments.last().unwrap().clone()
    }

    fn read(link: u16, bytes: &[u8]) -> Result<Segment<'_>, Skipped> {
        let link = LinkType(link);
        Segment::read(&Packet { at: 1, link, bytes })
    }

    /// The payload, if it is that of the request, whole.
    fn is_request(link: u16, bytes: &[u8]) -> bool {
        let sent = sent();
        let segment = read(link, bytes).unwrap();
        assert_eq!((segment.from.port(), segment.to.port()), (40_000, 80));
        assert_eq!((segment.seq, segment.ack), (Seq(sent.seq), Some(Seq(sent.ack))));
        segment.payload == sent.payload && segment.cut == 0
    }

    #[test]
    fn every_kind_of_link_leads_to_the_same_segment() {
        let ip = sent().ipv4();
        let ip6 = wire::ipv6(6, &sent().tcp());
        let behind = |head: &[u8], ip: &[u8]| [head, ip].concat();
        for (link, packet) in [
            (1, wire::ethernet(0x0800, &ip)),
            (1, wire::ethernet(0x86dd, &ip6)),
            (101, ip.clone()),
            (101, ip6.clone()),
            (12, ip.clone()),
            (228, ip.clone()),
            (229, ip6.clone()),
            (113, behind(&[&[0; 14][..], &[0x08, 0x00]].concat(), &ip)),
            (113, behind(&[&[0; 14][..], &[0x86, 0xdd]].concat(), &ip6)),
            (276, behind(&[&[0x08, 0x00][..], &[0; 18]].concat(), &ip)),
            (0, behind(&2_u32.to_le_bytes(), &ip)),
            (0, behind(&2_u32.to_be_bytes(), &ip)),
            (0, behind(&30_u32.to_le_bytes(), &ip6)),
            (108, behind(&24_u32.to_be_bytes(), &ip6)),
        ] {
            assert!(is_request(link, &packet), "{link}");
        }
    }

    #[test]
    fn vlan_tags_are_passed_over_two_of_them_too() {
        let ip = sent().ipv4();
        let tagged = wire::ethernet(0x8100, &[&[0, 5, 0x08, 0x00], ip.as_slice()].concat());
        assert!(is_request(1, &tagged));
        let twice = wire::ethernet(
            0x88a8,
            &[&[0, 5, 0x81, 0x00, 0, 7, 0x08, 0x00], ip.as_slice()].concat(),
        );
        assert!(is_request(1, &twice));
        let cooked = [&[0x81, 0x00][..], &[0; 18], &[0, 5, 0x08, 0x00], &ip].concat();
        assert!(is_request(276, &cooked));
    }

    #[test]
    fn extension_headers_of_ipv6_are_passed_over() {
        // Hop-by-hop, then destination options, each 8 bytes.
        let options = [60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0];
        let ip = wire::ipv6(0, &[&options[..], &sent().tcp()].concat());
        assert!(is_request(101, &ip));
        let fragment = wire::ipv6(44, &[&[6, 0, 0, 1, 0, 0, 0, 9][..], &sent().tcp()].concat());
        assert_eq!(read(101, &fragment), Err(Skipped::Fragment));
    }

    #[test]
    fn a_v4_address_mapped_into_v6_is_the_v4_address() {
        let mut ip = wire::ipv6(6, &sent().tcp());
        ip[8..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
        assert_eq!(read(101, &ip).unwrap().from, "10.0.0.1:40000".parse().unwrap());
    }

    #[test]
    fn padding_and_checksums_of_frames_are_no_payload() {
        let mut sent = sent();
        sent.payload.clear();
        let frame = [sent.packet(), vec![0xee; 10]].concat();
        assert_eq!(read(1, &frame).unwrap().payload, b"");
    }

    #[test]
    fn what_was_not_kept_of_a_packet_is_counted_in_bytes_of_the_stream() {
        for (link, whole) in [(1, sent().packet()), (101, wire::ipv6(6, &sent().tcp()))] {
            let segment = read(link, &whole[..whole.len() - 5]).unwrap();
            assert_eq!(segment.cut, 5);
            assert_eq!(segment.payload.len(), sent().payload.len() - 5);
        }
        assert_eq!(read(1, &sent().packet()[..40]), Err(Skipped::BadHeader));
    }

    #[test]
    fn a_packet_larger_than_its_length_field_can_say_is_as_long_as_it_was_kept() {
        let mut ip = sent().ipv4();
        ip[2..4].fill(0);
        assert!(is_request(101, &ip));
    }
}
