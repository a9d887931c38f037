//! Tokio: where a thread keeps the number of the task that it polls, and where tasks are woken and made.
//!
//! The number is in `CONTEXT`, which each thread has a copy of. Where in there is the compiler's choice, so the function is looked at that changes
//! it: `tokio::runtime::context::set_current_task_id`, which loads the old number and stores the new one in its place. What is read from a wrong place
//! is harmless: tasks are believed only after they have proven to tell requests apart.
//!
//! All of it is found by names, which a program has unless it was stripped; and the function is there unless it was put into others (`lto`).

use std::{fs::File, sync::Arc};

use super::{
    Elf,
    names::{Named, Symbol, Symbols, TABLES},
};

/// How names begin that rustc makes, or has made, and what is in all that are looked for.
const STARTS: &[&[u8]] = &[b"_ZN5tokio7runtime", b"_R"];
const RUNTIME: &[u8] = b"5tokio7runtime";
const CONTEXT: &[u8] = b"5tokio7runtime7context7CONTEXT";
const CHANGES: &[u8] = b"5tokio7runtime7context19set_current_task_id";
const WAKES: [&[u8]; 2] = [
    b"5tokio7runtime4task5waker11wake_by_ref",
    b"5tokio7runtime4task5waker11wake_by_val",
];
const MAKES: [&[u8]; 2] = [b"5tokio7runtime4task4list", b"10bind_inner"];

/// Who compiled a part of the file, for the file's readers.
const COMPILERS: &str = ".comment";
const RUSTC: &[u8] = b"rustc version ";
/// Bytes of that which are looked at.
const COMPILERS_MAX: u64 = 4096;
/// Bytes of the function that are looked at; it has some 90.
const FUNCTION: usize = 192;
/// Bytes that threads have for themselves.
const MAX_DISTANCE: u64 = 1 << 20;

/// A process that runs tasks of tokio.
#[derive(Clone, Debug)]
pub struct Tokio {
    /// Its executable, open: whatever becomes of the process, it is this one.
    pub file: Arc<File>,
    /// What is known of it.
    pub program: Arc<TokioProgram>,
}

/// A file with tokio in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokioProgram {
    /// How far in front of a thread's own memory the number of its task is.
    pub distance: u32,
    /// Where in the file the functions are that wake a task.
    pub wakes: Vec<u64>,
    /// Where those are to which a new one comes.
    pub makes: Vec<u64>,
}

impl TokioProgram {
    pub(super) fn read(elf: &Elf<'_>) -> Option<Self> {
        // Elsewhere the function looks otherwise, and the kernel side does not find the thread's own memory.
        if !cfg!(target_arch = "x86_64") || !is_by_rustc(elf) {
            return None;
        }
        let symbols = Symbols::read(elf, TABLES[1])?;
        let found: Vec<Symbol<'_>> = symbols
            .starting(STARTS)
            .filter(|symbol| contains(symbol.name, RUNTIME))
            .collect();
        let with = |parts: &[&[u8]], named| {
            let mut places: Vec<_> = found
                .iter()
                .filter(|symbol| {
                    symbol.named == named && parts.iter().all(|part| contains(symbol.name, part))
                })
                .map(|symbol| symbol.address)
                .collect();
            places.sort_unstable();
            places.dedup();
            places
        };
        // Of two versions in one program each has numbers of its own.
        let [context] = with(&[CONTEXT], Named::OfThreads)[..] else {
            return None;
        };
        let [changes] = with(&[CHANGES], Named::Function)[..] else {
            return None;
        };
        let code: [u8; FUNCTION] = elf.read(elf.offset_of(changes)?).ok()?;
        let distance = match place_of_number(&code)? {
            Place::InContext(offset) => elf.size_of_thread()?.checked_sub(context + offset)?,
            Place::InFront(distance) => distance,
        };
        let in_file = |places: Vec<u64>| {
            places
                .into_iter()
                .filter_map(|place| elf.offset_of(place))
                .collect()
        };
        let wakes = WAKES.iter().flat_map(|name| with(&[name], Named::Function));
        Some(Self {
            distance: u32::try_from(distance).ok().filter(|_| distance < MAX_DISTANCE)?,
            wakes: in_file(wakes.collect()),
            makes: in_file(with(&MAKES, Named::Function)),
        })
    }
}

fn is_by_rustc(elf: &Elf<'_>) -> bool {
    let Some(place) = elf.section(&[COMPILERS]) else {
        return false;
    };
    let len = usize::try_from(place.len.min(COMPILERS_MAX)).unwrap_or_default();
    let mut compilers = vec![0; len];
    elf.fill(&mut compilers, place.offset).is_ok() && contains(&compilers, RUSTC)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Where the number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// From the start of `CONTEXT`.
    InContext(u64),
    /// In front of the thread's own memory.
    InFront(u64),
}

/// What is loaded and then stored to.
fn place_of_number(code: &[u8]) -> Option<Place> {
    let mut loaded = Vec::new();
    for at in 0..code.len() {
        match code.get(at..).and_then(Access::read) {
            Some(access) if !access.is_store => loaded.push(access.memory),
            Some(access) if loaded.contains(&access.memory) => return Some(access.memory.place()),
            _ => {}
        }
    }
    None
}

/// A move of eight bytes between a register and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    is_store: bool,
    memory: Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    /// The register with the address to which `displacement` is added; `None`: that of the thread's own memory.
    base: Option<u8>,
    displacement: i32,
}

impl Memory {
    const fn place(self) -> Place {
        let distance = self.displacement.unsigned_abs() as u64;
        if self.displacement < 0 {
            Place::InFront(distance)
        } else {
            Place::InContext(distance)
        }
    }
}

impl Access {
    /// `mov r64, [base + displacement]` or `mov [base + displacement], r64`, the base no stack pointer; or the same by `fs:[displacement]`.
    fn read(code: &[u8]) -> Option<Self> {
        const FS: u8 = 0x64;
        const LOAD: u8 = 0x8b;
        const STORE: u8 = 0x89;
        let (by_fs, code) = match code.split_first()? {
            (&FS, rest) => (true, rest),
            _ => (false, code),
        };
        let [rex @ 0x48..=0x4f, opcode @ (LOAD | STORE), operands, rest @ ..] = code else {
            return None;
        };
        let memory = match (by_fs, operands >> 6, operands & 7) {
            // An address without a base, as a second byte says.
            (true, 0, 4) => match rest {
                [0x25, rest @ ..] => Memory {
                    base: None,
                    displacement: i32::from_le_bytes(*rest.first_chunk()?),
                },
                _ => return None,
            },
            (true, ..) | (_, _, 4) => return None,
            (_, 1, base) => Memory {
                base: Some((rex & 1) << 3 | base),
                displacement: i32::from(rest.first()?.cast_signed()),
            },
            (_, 2, base) => Memory {
                base: Some((rex & 1) << 3 | base),
                displacement: i32::from_le_bytes(*rest.first_chunk()?),
            },
            _ => return None,
        };
        Some(Self {
            is_store: *opcode == STORE,
            memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_where_the_old_one_is_loaded_and_the_new_one_stored() {
        // `push r14; mov rax, fs:0; lea rax, [rax-0x158]; mov rcx, [rax+0x30]; mov [rax+0x30], rbx`
        let by_address = [
            0x41, 0x56, 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0x48, 0x8d, 0x80, 0xa8, 0xfe, 0xff, 0xff,
            0x48, 0x8b, 0x48, 0x30, 0x48, 0x89, 0x58, 0x30,
        ];
        assert_eq!(place_of_number(&by_address), Some(Place::InContext(0x30)));
        // `mov rax, fs:[-0x128]; mov fs:[-0x128], rbx`
        let by_segment = [
            0x64, 0x48, 0x8b, 0x04, 0x25, 0xd8, 0xfe, 0xff, 0xff, 0x64, 0x48, 0x89, 0x1c, 0x25, 0xd8, 0xfe,
            0xff, 0xff,
        ];
        assert_eq!(place_of_number(&by_segment), Some(Place::InFront(0x128)));
        // `mov rcx, [r8-0x128]; mov [r8-0x128], rbx`
        let by_distance = [
            0x49, 0x8b, 0x88, 0xd8, 0xfe, 0xff, 0xff, 0x49, 0x89, 0x98, 0xd8, 0xfe, 0xff, 0xff,
        ];
        assert_eq!(place_of_number(&by_distance), Some(Place::InFront(0x128)));
        // Another register, another place, and a store without a load.
        assert_eq!(
            place_of_number(&[0x48, 0x8b, 0x48, 0x30, 0x49, 0x89, 0x58, 0x30]),
            None
        );
        assert_eq!(
            place_of_number(&[0x48, 0x8b, 0x48, 0x30, 0x48, 0x89, 0x58, 0x38]),
            None
        );
        assert_eq!(place_of_number(&[0x48, 0x89, 0x58, 0x30]), None);
        for cut in 0..by_address.len() - 1 {
            assert_eq!(place_of_number(&by_address[..cut]), None);
        }
    }
}
