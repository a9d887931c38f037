//! The core from the framer to spans, as `http1` has it, on a connection that has begun in HTTP/2.
#![no_main]

use fuzz::http2::begun;
use fuzz::{Calls, core};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else {
        return;
    };
    let is_server = first & 1 != 0;
    core(*first, begun(is_server).into_iter().chain(Calls(input)));
});
