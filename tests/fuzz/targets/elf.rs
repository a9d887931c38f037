//! Executable files and libraries: bytes that claim to be one, or what Go and libraries of TLS say in a file that is right otherwise. Where
//! Go's own tables are believed, a breakpoint goes to the beginning of a function or to a return.
#![no_main]

use std::path::PathBuf;
use std::{env, fs, process};

use fuzz::elf;
use libfuzzer_sys::fuzz_target;
use tracer_agent::symbols::{Executables, Exit, GoHook, Library, Session};

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else {
        return;
    };
    let bytes = match first % 4 {
        0 => input.to_vec(),
        1 => elf::go(&elf::build_info("go1.26.8", "v1.78.0"), input),
        2 => elf::go(input, &elf::table()),
        _ => {
            let Some((len, input)) = input.split_first_chunk() else {
                return;
            };
            let len = usize::from(u16::from_le_bytes(*len)).min(input.len());
            let (symbols, names) = input.split_at(len);
            elf::library(symbols, names)
        }
    };
    look(&bytes);
});

/// A file of this process, in memory where the system has such a place.
fn place() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { env::temp_dir() };
    folder.join(format!("fuzz-elf-{}", process::id()))
}

fn look(bytes: &[u8]) {
    let place = place();
    if fs::write(&place, bytes).is_err() {
        return;
    }
    if let Some(go) = Executables::default().go(&place) {
        for (hook, offset) in &go.program.hooks {
            match hook {
                GoHook::GrpcCalled => returns(bytes, *offset),
                _ => begins(bytes, *offset),
            }
        }
    }
    let Some(library) = fs::File::open(&place).ok().and_then(|file| Library::read(&file)) else {
        return;
    };
    for exit in &library.exits {
        match exit {
            Exit::By(offset) => returns(bytes, *offset),
            Exit::Of(offset) => assert!(library.entries.iter().any(|(_, entry)| entry == offset)),
        }
    }
    let is_handshake = |session| matches!(session, Session::Handshake | Session::GoHandshake);
    assert!(library.entries.iter().any(|(session, _)| is_handshake(*session)));
    for (session, offset) in &library.entries {
        if *session == Session::GoHandshake {
            begins(bytes, *offset);
        }
    }
}

/// A function of Go looks first whether its stack is large enough.
fn begins(bytes: &[u8], offset: u64) {
    let prologues: [&[u8]; 3] = [
        &[0x49, 0x3b, 0x66, 0x10],
        &[0x4c, 0x8d, 0x64, 0x24],
        &[0x4c, 0x8d, 0xa4, 0x24],
    ];
    let code = &bytes[offset as usize..];
    assert!(prologues.iter().any(|prologue| code.starts_with(prologue)));
}

fn returns(bytes: &[u8], offset: u64) {
    assert_eq!(bytes[offset as usize], 0xc3);
}
