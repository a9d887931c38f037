//! The framer: hostile bytes in any cut. Records cover each direction without holes, and never hold more than
//! they cover.
#![no_main]

use fuzz::{Calls, Connection};
use libfuzzer_sys::fuzz_target;
use tracer_common::record::data_flags;

fuzz_target!(|input: &[u8]| {
    let mut connection = Connection::new();
    let mut ends = [0u64; 2];
    for (sent, bytes) in Calls(input) {
        connection.call(sent, bytes, &mut |record, captured| {
            let end = &mut ends[usize::from(record.flags & data_flags::SENT != 0)];
            assert_eq!(record.offset, *end, "a hole or an overlap");
            assert!(captured.len() as u64 <= record.len);
            *end += record.len;
        });
    }
});
