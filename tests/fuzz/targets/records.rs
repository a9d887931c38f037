//! The core from the ring on: records that no kernel side would write, with the time going on between them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer_agent::capture::{HostInfo, Input};
use tracer_agent::ids::BootNanos;
use tracer_agent::pipeline::{Pipeline, Settings};

fuzz_target!(|input: &[u8]| {
    let mut pipeline = Pipeline::new(Settings::default());
    let mut spans = Vec::new();
    pipeline.push(&Input::Host(HostInfo::default()), &mut spans);
    let mut rest = input;
    let mut now = 0u64;
    while let Some((len, after)) = rest.split_first() {
        let (record, after) = after.split_at(usize::from(*len).min(after.len()));
        // A record's size is its second word; one that is right gets further.
        let mut record = record.to_vec();
        let size = (record.len() as u32).to_le_bytes();
        if let Some(place) = record.get_mut(4..8) {
            place.copy_from_slice(&size);
        }
        pipeline.push(&Input::Record(&record), &mut spans);
        now += u64::from(*len) << 24;
        pipeline.push(&Input::Tick(BootNanos(now)), &mut spans);
        rest = after;
    }
    pipeline.push(&Input::End(BootNanos(now)), &mut spans);
});
