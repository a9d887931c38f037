//! Packet captures: any bytes, and files whose frame is right so that what is in the packets gets further.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tracer_agent::capture::pcap::Capture;
use tracer_agent::pipeline::{Pipeline, Settings};

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else {
        return;
    };
    match first % 4 {
        0 => read(input),
        1 => read(&file(input, 1, &[])),
        // Raw IP, or a connection between two addresses of which each packet says the rest.
        2 => read(&file(input, 101, &[])),
        _ => read(&file(
            input,
            101,
            &[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 1],
        )),
    }
});

/// A pcap file of packets: each begins with a byte that says how long it is, and one that says how much later it is.
fn file(input: &[u8], link: u32, head: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, link] {
        file.extend(u32::to_le_bytes(word));
    }
    let mut rest = input;
    let mut seconds = 0u32;
    while let Some((&[len, later], after)) = rest.split_first_chunk::<2>() {
        let (packet, after) = after.split_at(usize::from(len).min(after.len()));
        seconds += u32::from(later >> 4);
        let len = (head.len() + packet.len()) as u32;
        for word in [seconds, u32::from(later) * 1_000, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(head);
        file.extend(packet);
        rest = after;
    }
    file
}

fn read(bytes: &[u8]) {
    let Ok(mut capture) = Capture::start(bytes, Path::new("fuzzed")) else {
        return;
    };
    let mut pipeline = Pipeline::new(Settings::default());
    let mut spans = Vec::new();
    loop {
        match capture.next_input() {
            Ok(Some(input)) => pipeline.push(&input, &mut spans),
            Ok(None) => break,
            Err(_) => {}
        }
        spans.clear();
    }
    assert_eq!(pipeline.counters()[0], ("capture", "malformed_records", 0));
}
