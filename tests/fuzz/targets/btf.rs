//! The BTF reader: bytes that claim to describe the kernel's types, raw or behind a right header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer_agent::kernel::btf::Btf;

/// Names of one letter, which an input finds by itself.
const STRINGS: &[u8] = b"\0a\0b\0s\0";
const HEADER_LEN: u32 = 24;

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else {
        return;
    };
    if first & 1 == 0 {
        look(input);
    } else {
        look(&[&header(input.len() as u32), input, STRINGS].concat());
    }
});

/// `struct btf_header`, for so many bytes of types and then the strings.
fn header(types: u32) -> Vec<u8> {
    let magic_version_flags = 0x0001_eb9f_u32;
    [
        magic_version_flags,
        HEADER_LEN,
        0,
        types,
        types,
        STRINGS.len() as u32,
    ]
    .iter()
    .flat_map(|word| word.to_le_bytes())
    .collect()
}

fn look(bytes: &[u8]) {
    if let Ok(btf) = Btf::parse(bytes) {
        for (structure, path) in [("s", "a"), ("s", "a.b.a"), ("a", "s"), ("", "")] {
            let _ = btf.member_offset(structure, path);
            let _ = btf.enumerator(structure, path);
            let _ = btf.functions(&[structure]);
        }
    }
}
