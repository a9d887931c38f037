//! The core from the framer to spans: one end of one connection, hostile bytes in any cut. Every span ends
//! after it begins.
#![no_main]

use fuzz::{Calls, core};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((first, input)) = input.split_first() {
        core(*first, Calls(input));
    }
});
