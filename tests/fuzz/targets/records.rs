//! The core from the ring on: records that no kernel side would write, with the time going on between them.
#![no_main]

use fuzz::Records;
use libfuzzer_sys::fuzz_target;
use tracer_agent::capture::{HostInfo, Input};
use tracer_agent::ids::BootNanos;
use tracer_agent::pipeline::{Pipeline, Settings};

fuzz_target!(|input: &[u8]| {
    let mut pipeline = Pipeline::new(Settings::default());
    let mut spans = Vec::new();
    pipeline.push(&Input::Host(HostInfo::default()), &mut spans);
    let mut now = 0u64;
    for record in Records(input) {
        pipeline.push(&Input::Record(&record), &mut spans);
        now += (record.len() as u64) << 24;
        pipeline.push(&Input::Tick(BootNanos(now)), &mut spans);
    }
    pipeline.push(&Input::End(BootNanos(now)), &mut spans);
});
