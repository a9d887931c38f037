//! Both formats, in all their forms, written byte by byte.

use std::path::Path;

use proptest::prelude::*;

use super::*;

const FRAME: &[u8] = b"a frame of whatever";

/// Writes numbers in one byte order.
struct Bytes(Vec<u8>, Order);

impl Bytes {
    /// A number whose bytes these are, the highest first.
    fn number<const N: usize>(mut self, mut bytes: [u8; N]) -> Self {
        if self.1 != Order::Big {
            bytes.reverse();
        }
        self.0.extend(bytes);
        self
    }

    fn u16(self, number: u16) -> Self {
        self.number(number.to_be_bytes())
    }

    fn u32(self, number: u32) -> Self {
        self.number(number.to_be_bytes())
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn u64(self, number: u64) -> Self {
        self.number(number.to_be_bytes())
    }

    fn padded(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        let len = self.0.len().next_multiple_of(4);
        self.0.resize(len, 0);
        self
    }

    fn block(self, kind: u32, body: Self) -> Self {
        let len = u32::try_from(body.0.len()).unwrap() + 12;
        self.u32(kind).u32(len).raw(&body.0).u32(len)
    }

    fn section(self, order: Order) -> Self {
        let body = bytes(order).u32(0x1a2b_3c4d).u16(1).u16(0).u64(u64::MAX);
        let next = bytes(order).block(0x0a0d_0d0a, body);
        Self([self.0, next.0].concat(), order)
    }

    fn interface(self, link: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Self {
        let mut body = bytes(self.1).u16(link).u16(0).u32(snaplen);
        for (code, value) in options {
            body = body
                .u16(*code)
                .u16(u16::try_from(value.len()).unwrap())
                .padded(value);
        }
        self.block(1, body.u32(0))
    }

    fn packet(self, interface: u32, ticks: u64, frame: &[u8]) -> Self {
        let body = bytes(self.1)
            .u32(interface)
            .u32(u32::try_from(ticks >> 32).unwrap());
        let low = u32::try_from(ticks & 0xffff_ffff).unwrap();
        let len = u32::try_from(frame.len()).unwrap();
        self.block(6, body.u32(low).u32(len).u32(len).padded(frame))
    }
}

fn bytes(order: Order) -> Bytes {
    Bytes(Vec::new(), order)
}

fn classic(magic: u32, order: Order, link: u32) -> Bytes {
    // A longest packet of 1 byte is what some programs write.
    bytes(order)
        .u32(magic)
        .u16(2)
        .u16(4)
        .u32(0)
        .u32(0)
        .u32(1)
        .u32(link)
}

/// A packet as time, link and bytes.
type Found = (u64, u16, Vec<u8>);

/// Every packet, and how it ended.
fn read(file: &[u8]) -> (Vec<Found>, Result<Option<u64>, String>) {
    let mut found = Vec::new();
    let mut packets = match Packets::start(file, Path::new("f")) {
        Ok(packets) => packets,
        Err(error) => return (found, Err(error.to_string())),
    };
    loop {
        match packets.next() {
            Ok(Next::Packet(packet)) => found.push((packet.at, packet.link.0, packet.bytes.to_vec())),
            Ok(Next::Homeless) => found.push((0, u16::MAX, Vec::new())),
            Ok(Next::End) => return (found, Ok(None)),
            Ok(Next::CutOff(at)) => return (found, Ok(Some(at))),
            Err(error) => return (found, Err(error.to_string())),
        }
    }
}

#[test]
fn pcap_is_read_in_both_byte_orders_and_with_each_unit_of_time() {
    for order in [Order::Little, Order::Big] {
        for (magic, nanos, more) in [
            (0xa1b2_c3d4, 7_000, 0),
            (0xa1b2_3c4d, 7, 0),
            (0xa1b2_cd34, 7_000, 8),
        ] {
            let file = classic(magic, order, 1)
                .u32(5)
                .u32(7)
                .u32(19)
                .u32(60)
                .raw(&[9; 8][..more])
                .raw(FRAME);
            assert!(is_capture(&file.0));
            assert_eq!(
                read(&file.0),
                (vec![(5_000_000_000 + nanos, 1, FRAME.to_vec())], Ok(None))
            );
        }
    }
}

#[test]
fn the_upper_half_of_the_link_type_is_something_else() {
    let file = classic(0xa1b2_c3d4, Order::Little, 0x2400_0071)
        .u32(0)
        .u32(0)
        .u32(0)
        .u32(0);
    assert_eq!(read(&file.0).0, [(0, 113, Vec::new())]);
}

#[test]
fn pcapng_is_read_section_by_section_each_with_its_order_and_its_interfaces() {
    let file = bytes(Order::Little)
        .section(Order::Big)
        .interface(1, 0, &[])
        .interface(113, 0, &[(9, &[9])])
        .packet(1, 1_500, FRAME)
        .packet(0, 1_500, FRAME)
        .block(0x0bad, bytes(Order::Big).raw(&[0; 400]))
        .section(Order::Little)
        .interface(101, 0, &[(2, b"eth0"), (9, &[0x8a]), (14, &3_u64.to_le_bytes())])
        .packet(0, 1 << 9, b"");
    assert!(is_capture(&file.0));
    let expected = vec![
        (1_500, 113, FRAME.to_vec()),
        (1_500_000, 1, FRAME.to_vec()),
        (3_500_000_000, 101, Vec::new()),
    ];
    assert_eq!(read(&file.0), (expected, Ok(None)));
}

#[test]
fn old_and_simple_packets_of_pcapng_are_read_too() {
    for order in [Order::Little, Order::Big] {
        let begun = || bytes(order).section(order).interface(1, 10, &[]);
        let old = bytes(order)
            .u16(0)
            .u16(3)
            .u32(0)
            .u32(2)
            .u32(19)
            .u32(19)
            .padded(FRAME);
        let simple = bytes(order).u32(19).padded(&FRAME[..10]);
        let file = begun().block(2, old).block(3, simple);
        let expected = vec![(2_000, 1, FRAME.to_vec()), (2_000, 1, FRAME[..10].to_vec())];
        assert_eq!(read(&file.0), (expected, Ok(None)));
    }
}

#[test]
fn packets_of_an_interface_that_was_not_described_have_no_link() {
    let file = bytes(Order::Little)
        .section(Order::Little)
        .packet(0, 1, FRAME)
        .interface(1, 0, &[])
        .packet(0, 1_000, FRAME);
    assert_eq!(
        read(&file.0).0,
        [(0, u16::MAX, Vec::new()), (1_000_000, 1, FRAME.to_vec())]
    );
}

#[test]
fn times_that_no_clock_shows_are_the_nearest_that_can_be_said() {
    for (resolution, ticks, nanos) in [
        (0_u8, u64::MAX, u64::MAX),
        (9, u64::MAX, u64::MAX),
        (12, 5_000, 5),
        (127, u64::MAX, 0),
        (0xff, u64::MAX, 0),
        (0x80, 3, 3_000_000_000),
    ] {
        let file = bytes(Order::Big)
            .section(Order::Big)
            .interface(1, 0, &[(9, &[resolution])])
            .packet(0, ticks, b"");
        assert_eq!(read(&file.0).0, [(nanos, 1, Vec::new())], "{resolution}");
    }
    let before_1970 = (-5_i64).to_be_bytes();
    let file = bytes(Order::Big)
        .section(Order::Big)
        .interface(1, 0, &[(14, &before_1970)])
        .packet(0, 0, b"");
    assert_eq!(read(&file.0).0, [(0, 1, Vec::new())]);
}

#[test]
fn what_the_capturing_program_missed_is_told() {
    let missed = |count: u64| {
        let times = bytes(Order::Little).u32(0).u64(0);
        times.u16(5).u16(8).u64(count).u16(7).u16(8).u64(1).u32(0)
    };
    let file = bytes(Order::Little)
        .section(Order::Little)
        .interface(1, 0, &[])
        .block(5, missed(3))
        .block(5, missed(5))
        .section(Order::Little)
        .interface(1, 0, &[])
        .block(5, missed(1));
    let mut packets = Packets::start(file.0.as_slice(), Path::new("f")).unwrap();
    assert_eq!(packets.next().unwrap(), Next::End);
    assert_eq!(packets.missed(), 6 + 2);
}

#[test]
fn what_cannot_be_read_is_named_with_its_place() {
    let section = || bytes(Order::Little).section(Order::Little);
    let differing = section().u32(6).u32(12 + 4).u32(0).u32(13);
    for (file, said) in [
        (
            classic(0xa1b2_c3d4, Order::Big, 105),
            "capture f has packets of link type 105; read are Ethernet (1)",
        ),
        (
            bytes(Order::Little).u32(0xa1b2_c3d4).u16(3).u16(1).raw(&[0; 16]),
            "capture f has pcap version 3.1; only 2.x is read",
        ),
        (
            bytes(Order::Little).u32(0xa1b2_c3d4).u16(2),
            "capture f is corrupt at byte 0: it ends within its header",
        ),
        (
            classic(0xa1b2_c3d4, Order::Little, 1)
                .u32(0)
                .u32(0)
                .u32(1 << 21)
                .u32(0),
            "capture f is corrupt at byte 24: a packet is longer than any can be",
        ),
        (
            section().u32(6).u32(3),
            "capture f is corrupt at byte 28: a block has no possible length",
        ),
        (
            section().u32(6).u32(1 << 30),
            "capture f is corrupt at byte 28: a packet is longer than any can be",
        ),
        (
            differing,
            "capture f is corrupt at byte 28: the two lengths of a block differ",
        ),
        (
            section().block(6, bytes(Order::Little).u32(0)),
            "capture f is corrupt at byte 28: a block is shorter than what it holds",
        ),
        (
            bytes(Order::Little).raw(&MAGIC_OF_PCAPNG).u32(28).raw(&[1; 24]),
            "a section does not say its byte order",
        ),
        (
            bytes(Order::Little).block(
                0x0a0d_0d0a,
                bytes(Order::Little).u32(0x1a2b_3c4d).u16(2).u16(0).u64(0),
            ),
            "capture f has pcapng version 2.0; only 1.x is read",
        ),
    ] {
        let error = read(&file.0).1.unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

const MAGIC_OF_PCAPNG: [u8; 4] = pcapng::MAGIC;

proptest! {
    #[test]
    fn a_file_that_stops_anywhere_gives_the_packets_before(cut in any::<prop::sample::Index>(), is_pcapng in any::<bool>()) {
        let all = if is_pcapng {
            let begun = bytes(Order::Big).section(Order::Big).interface(1, 0, &[]);
            begun.packet(0, 1, FRAME).block(0x0bad, bytes(Order::Big).raw(&[0; 8])).packet(0, 2, FRAME).0
        } else {
            let packet = |file: Bytes| file.u32(0).u32(1).u32(19).u32(19).raw(FRAME);
            packet(packet(classic(0xa1b2_c3d4, Order::Big, 1))).0
        };
        let header = if is_pcapng { 28 } else { 24 };
        let len = header + cut.index(all.len() - header);
        let (packets, end) = read(&all[..len]);
        let (before, _) = read(&all);
        prop_assert_eq!(&packets[..], &before[..packets.len()]);
        prop_assert!(end == Ok(None) || end == Ok(Some(u64::try_from(len).unwrap())), "{:?}", end);
    }

    #[test]
    fn whatever_bytes_there_are_reading_them_ends(bytes in prop::collection::vec(any::<u8>(), 0..300), magic in 0..4_usize) {
        let magics: [&[u8]; 4] = [&[0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4], &[0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0], &MAGIC_OF_PCAPNG, &[]];
        let file = [magics[magic], &bytes].concat();
        let _ = read(&file);
    }
}
