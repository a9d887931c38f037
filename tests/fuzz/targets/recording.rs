//! The recording reader: any bytes, and recordings that were changed after they were written.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tracer_agent::capture::recording::{Content, Reader, Recording};
use tracer_agent::capture::{HostInfo, Input};
use tracer_agent::ids::BootNanos;

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else {
        return;
    };
    if first & 1 == 0 {
        read(input);
    } else {
        read(&changed(input));
    }
});

/// A recording of a few records, with the bytes that the input names replaced.
fn changed(input: &[u8]) -> Vec<u8> {
    let path = Path::new("fuzzed");
    let mut bytes = Vec::new();
    if let Ok(mut writer) = Recording::start(&mut bytes, path, Content::Raw) {
        let _ = writer.write(&Input::Host(HostInfo::default()));
        for record in input.chunks(100) {
            let _ = writer.write(&Input::Record(record));
        }
        let _ = writer.write(&Input::End(BootNanos(1)));
        let _ = writer.finish();
    }
    for change in input.chunks_exact(4) {
        if let &[low, high, value, 0] = change
            && let Some(byte) = bytes.get_mut(usize::from(u16::from_le_bytes([low, high])))
        {
            *byte = value;
        }
    }
    bytes
}

fn read(bytes: &[u8]) {
    if let Ok(mut reader) = Reader::start(Cursor::new(bytes), Path::new("fuzzed")) {
        while let Ok(Some(_)) = reader.next_input() {}
    }
}
