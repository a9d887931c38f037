//! Records, byte for byte as the kernel side writes them.

use std::net::IpAddr;

use tracer_common::record::{CloseRecord, DataRecord, OpenRecord};

use super::told::Told;

pub(super) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

pub(super) fn encode_data(record: &DataRecord, captured: &[u8], told: &mut Told) {
    let words = [
        record.connection,
        record.offset,
        record.len,
        record.start_ns,
        record.end_ns,
        record.task,
    ];
    let halves = [
        record.tgid,
        record.tid,
        record.seq,
        record.flags,
        record.captured,
        record.exchange,
    ];
    told.record(&[
        &record.kind.to_ne_bytes(),
        &record.size.to_ne_bytes(),
        words.map(u64::to_ne_bytes).as_flattened(),
        halves.map(u32::to_ne_bytes).as_flattened(),
        &record.maker.to_ne_bytes(),
        &record.turn.to_ne_bytes(),
        &record.reads.to_ne_bytes(),
        captured,
    ]);
}

pub(super) fn encode_open(record: &OpenRecord, told: &mut Told) {
    told.record(&[
        &record.kind.to_ne_bytes(),
        &u32::try_from(size_of::<OpenRecord>())
            .unwrap_or(u32::MAX)
            .to_ne_bytes(),
        [record.connection, record.start_ns, record.established_ns]
            .map(u64::to_ne_bytes)
            .as_flattened(),
        [record.tgid, record.tid, record.netns, record.flags]
            .map(u32::to_ne_bytes)
            .as_flattened(),
        &record.local_addr,
        &record.peer_addr,
        &record.local_port.to_ne_bytes(),
        &record.peer_port.to_ne_bytes(),
        &record.path.to_ne_bytes(),
        &record.comm,
        &record.turn.to_ne_bytes(),
        &record.reads.to_ne_bytes(),
    ]);
}

pub(super) fn encode_close(record: &CloseRecord, told: &mut Told) {
    told.record(&[
        &record.kind.to_ne_bytes(),
        &u32::try_from(size_of::<CloseRecord>())
            .unwrap_or(u32::MAX)
            .to_ne_bytes(),
        [
            record.connection,
            record.at_ns,
            record.received,
            record.sent,
            record.last_received_ns,
            record.last_sent_ns,
        ]
        .map(u64::to_ne_bytes)
        .as_flattened(),
        &record.errno.to_ne_bytes(),
        &record.failed.to_ne_bytes(),
    ]);
}
