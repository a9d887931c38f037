//! Executable files and libraries: bytes that claim to be one, or Go's table of functions in a file that is right otherwise.
#![no_main]

use std::{env, fs, process};

use libfuzzer_sys::fuzz_target;
use tracer_agent::symbols::{Executables, Library};

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else {
        return;
    };
    let bytes = if first & 1 == 0 { input.to_vec() } else { go(input) };
    let file = env::temp_dir().join(format!("fuzz-elf-{}", process::id()));
    if fs::write(&file, bytes).is_ok() {
        let _ = Executables::default().go(&file);
        let _ = fs::File::open(&file).map(|file| Library::read(&file));
    }
});

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// Where the file is in memory.
const BASE: u64 = 0x40_0000;
const NAMES: &[u8] = b"\0.go.buildinfo\0.gopclntab\0.text\0.shstrtab\0";

/// A program of Go 1.26 with this table.
fn go(table: &[u8]) -> Vec<u8> {
    let mut info = b"\xff Go buildinf:\x08\x02".to_vec();
    info.resize(32, 0);
    info.extend(b"\x06go1.26");
    let text = [0x49, 0x3b, 0x66, 0x10];
    let mut bytes = vec![0; HEADER + PROGRAM_HEADER];
    let mut sections = vec![[0_u64; 4]];
    for (name, content) in [(1, info.as_slice()), (15, table), (26, &text), (32, NAMES)] {
        sections.push([
            name,
            BASE + bytes.len() as u64,
            bytes.len() as u64,
            content.len() as u64,
        ]);
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    let at = bytes.len();
    for (place, [name, address, offset, len]) in sections.iter().enumerate() {
        // `SHT_NULL`, `SHT_STRTAB` or `SHT_PROGBITS`.
        let kind = [0_u32, 1, 1, 1, 3].get(place).copied().unwrap_or_default();
        bytes.extend((*name as u32).to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        for word in [0, *address, *offset, *len, 0, 1, 0] {
            bytes.extend(u64::to_le_bytes(word));
        }
    }
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [BASE, HEADER as u64, at as u64] {
        header.extend(word.to_le_bytes());
    }
    header.extend(0_u32.to_le_bytes());
    for half in [HEADER, PROGRAM_HEADER, 1, 64, sections.len(), sections.len() - 1] {
        header.extend((half as u16).to_le_bytes());
    }
    // `PT_LOAD`, readable and executable: all of the file.
    header.extend(1_u32.to_le_bytes());
    header.extend(5_u32.to_le_bytes());
    for word in [0, BASE, BASE, bytes.len() as u64, bytes.len() as u64, 8] {
        header.extend(word.to_le_bytes());
    }
    bytes.splice(..header.len(), header);
    bytes
}
