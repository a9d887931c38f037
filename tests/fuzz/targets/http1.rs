//! The core from the framer to spans: one end of one connection, hostile bytes in any cut. Every span ends
//! after it begins.
#![no_main]

use fuzz::{Calls, Connection, data, open};
use libfuzzer_sys::fuzz_target;
use tracer_agent::capture::{HostInfo, Input};
use tracer_agent::ids::BootNanos;
use tracer_agent::pipeline::{Pipeline, Settings};

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else {
        return;
    };
    let mut pipeline = Pipeline::new(Settings::default());
    let mut spans = Vec::new();
    pipeline.push(&Input::Host(HostInfo::default()), &mut spans);
    pipeline.push(&Input::Record(&open(first & 1 != 0)), &mut spans);
    let mut connection = Connection::new();
    for (sent, bytes) in Calls(input) {
        connection.call(sent, bytes, &mut |record, captured| {
            // Every eighth record gets lost, where the input asks for it.
            if first & 2 == 0 || record.offset % 8 != 0 {
                pipeline.push(&Input::Record(&data(record, captured)), &mut spans);
            }
        });
    }
    pipeline.push(&Input::End(BootNanos(u64::MAX / 2)), &mut spans);
    for span in &spans {
        assert!(span.start_unix_ns <= span.end_unix_ns, "{span:?}");
    }
});
