//! Tokio: where a thread keeps the number of the task that it polls, and where tasks are woken and made.
//!
//! The number is in `CONTEXT`, which each thread has a copy of. Where in there is the compiler's choice, so the function is looked at that changes
//! it: `tokio::runtime::context::set_current_task_id`, which loads the old number and stores the new one in its place. Where that was put into others
//! (`lto`), those that poll tasks are looked at, `tokio::runtime::task::raw::poll`, of which there is one for each kind of task: all do the same. What is
//! read from a wrong place is harmless: tasks are believed only after they have proven to tell requests apart.
//!
//! All of it is found by names, which a program has unless it was stripped.

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
const POLLS: &[u8] = b"5tokio7runtime4task3raw4poll";
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
/// Bytes of that function that are looked at; it has some 90.
const CHANGES_LEN: usize = 192;
/// Bytes of each that polls, where it is done after some 430, and how many of them.
const POLLS_LEN: usize = 1024;
const POLLS_MAX: usize = 32;
/// Bytes of `CONTEXT`, which has 80, and more than it ever had.
const CONTEXT_MAX: u64 = 256;
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
        // Elsewhere functions look otherwise, and the kernel side does not find the thread's own memory.
        if !cfg!(target_arch = "x86_64") || !is_by_rustc(elf) {
            return None;
        }
        let symbols = Symbols::read(elf, TABLES[1])?;
        let found = symbols
            .starting(STARTS)
            .filter(|symbol| contains(symbol.name, RUNTIME))
            .collect();
        let names = Names(found);
        let distance = distance(elf, &names)?;
        let in_file = |places: Vec<u64>| {
            let places = places.into_iter();
            places.filter_map(|place| elf.offset_of(place))
        };
        let wakes = WAKES.iter().map(|name| names.with(&[name], Named::Function));
        let wakes: Vec<_> = wakes.flat_map(in_file).collect();
        // Without them what one was made for would be all that it ever seems to do.
        if wakes.is_empty() {
            return None;
        }
        Some(Self {
            distance: u32::try_from(distance).ok()?,
            wakes,
            makes: in_file(names.with(&MAKES, Named::Function)).collect(),
        })
    }
}

/// What of the file has to do with the runtime.
struct Names<'a>(Vec<Symbol<'a>>);

impl Names<'_> {
    /// Where they are whose names have all of these parts.
    fn with(&self, parts: &[&[u8]], named: Named) -> Vec<u64> {
        let is_meant = |symbol: &&Symbol<'_>| {
            symbol.named == named && parts.iter().all(|part| contains(symbol.name, part))
        };
        let mut places: Vec<_> = self
            .0
            .iter()
            .filter(is_meant)
            .map(|symbol| symbol.address)
            .collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// How far in front of a thread's own memory the number of its task is.
fn distance(elf: &Elf<'_>, names: &Names<'_>) -> Option<u64> {
    // Of two versions in one program each has numbers of its own.
    let [context] = names.with(&[CONTEXT], Named::OfThreads)[..] else {
        return None;
    };
    let in_front = elf
        .size_of_thread()?
        .checked_sub(context)
        .filter(|distance| *distance < MAX_DISTANCE)?;
    let places = |function: u64, len: usize| {
        let mut code = vec![0; len];
        elf.fill(&mut code, elf.offset_of(function)?).ok()?;
        Some(places(&code))
    };
    let by_segment = |place: &Place| match place {
        Place::InFront(distance) => Some(*distance).filter(|distance| {
            let offset = in_front.checked_sub(*distance);
            offset.is_some_and(|offset| offset < CONTEXT_MAX)
        }),
        Place::Behind(_) => None,
    };
    let by_any = |place: &Place| match place {
        Place::Behind(offset) => in_front.checked_sub(*offset).filter(|_| *offset < CONTEXT_MAX),
        Place::InFront(_) => by_segment(place),
    };
    match names.with(&[CHANGES], Named::Function)[..] {
        [changes] => places(changes, CHANGES_LEN)?.iter().find_map(by_any),
        [] => {
            let polls = names.with(&[POLLS], Named::Function).into_iter();
            let mut all = polls
                .take(POLLS_MAX)
                .filter_map(|poll| places(poll, POLLS_LEN)?.iter().find_map(by_segment));
            let first = all.next()?;
            all.all(|other| other == first).then_some(first)
        }
        _ => None,
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

/// Where a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// So far from an address that the code has, which may be that of `CONTEXT`.
    Behind(u64),
    /// In front of the thread's own memory.
    InFront(u64),
}

/// What is loaded and then stored to, by the order of the stores.
fn places(code: &[u8]) -> Vec<Place> {
    let mut loaded = Vec::new();
    let mut places = Vec::new();
    for access in (0..code.len()).filter_map(|at| Access::read(code.get(at..)?)) {
        if !access.is_store {
            loaded.push(access.memory);
        } else if loaded.contains(&access.memory) {
            places.push(access.memory.place());
        }
    }
    places
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
            Place::Behind(distance)
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
        assert_eq!(places(&by_address), [Place::Behind(0x30)]);
        // `mov rax, fs:[-0x128]; mov fs:[-0x128], rbx`
        let by_segment = [
            0x64, 0x48, 0x8b, 0x04, 0x25, 0xd8, 0xfe, 0xff, 0xff, 0x64, 0x48, 0x89, 0x1c, 0x25, 0xd8, 0xfe,
            0xff, 0xff,
        ];
        assert_eq!(places(&by_segment), [Place::InFront(0x128)]);
        // `mov rcx, [r8-0x128]; mov [r8-0x128], rbx`
        let by_distance = [
            0x49, 0x8b, 0x88, 0xd8, 0xfe, 0xff, 0xff, 0x49, 0x89, 0x98, 0xd8, 0xfe, 0xff, 0xff,
        ];
        assert_eq!(places(&by_distance), [Place::InFront(0x128)]);
        // Another register, another place, and a store without a load.
        assert_eq!(places(&[0x48, 0x8b, 0x48, 0x30, 0x49, 0x89, 0x58, 0x30]), []);
        assert_eq!(places(&[0x48, 0x8b, 0x48, 0x30, 0x48, 0x89, 0x58, 0x38]), []);
        assert_eq!(places(&[0x48, 0x89, 0x58, 0x30]), []);
        for cut in 0..by_address.len() - 1 {
            assert_eq!(places(&by_address[..cut]), []);
        }
    }
}
