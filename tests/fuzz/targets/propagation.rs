//! The trace-context parsers: any headers, one a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer_agent::protocols::propagation::extract;

const NAMES: [&str; 14] = [
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-tags",
    "x-amzn-trace-id",
    "X-Cloud-Trace-Context",
];

fuzz_target!(|input: &[u8]| {
    let headers: Vec<_> = input
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let (name, value) = line.split_first()?;
            Some(httparse::Header {
                name: NAMES[usize::from(*name) % NAMES.len()],
                value,
            })
        })
        .collect();
    let _ = extract(&headers);
});
