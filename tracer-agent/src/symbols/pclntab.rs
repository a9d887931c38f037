//! Go's table of functions (`.gopclntab`), which a program carries even where its symbols were stripped.
//!
//! ```text
//! header    magic u32, 0 u16, quantum u8, size of a pointer u8,
//!           number of functions, of files, address of the text (0 from Go 1.26 on),
//!           then where names, units, files, tables and functions begin: each the size of a pointer, counted from here
//! names     each ended by a zero
//! functions for each: entry u32, counted from the text; where more stands of it u32, counted from the first of these
//!           of which: entry u32, where its name begins u32
//! ```

use super::{Elf, Stretch};

/// Magic numbers of Go 1.18 and 1.20, little-endian.
const MAGICS: [u32; 2] = [0xffff_fff0, 0xffff_fff1];
const POINTER: usize = 8;
/// More functions than any program has.
const MAX_FUNCTIONS: u64 = 1 << 22;
/// More bytes of names than any program has.
const MAX_NAMES: u64 = 256 << 20;
/// Bytes that are read of the file at once.
const CHUNK: usize = 64 << 10;
/// How a function begins that looks whether its stack is large enough: `cmp rsp, [r14+16]`, or `lea r12, [rsp-N]` before it.
const PROLOGUES: [&[u8]; 3] = [
    &[0x49, 0x3b, 0x66, 0x10],
    &[0x4c, 0x8d, 0x64, 0x24],
    &[0x4c, 0x8d, 0xa4, 0x24],
];

/// Where in the file a function begins. Only if it begins as functions do: a breakpoint anywhere else would break the program.
pub(super) fn entry_of(elf: &Elf<'_>, name: &str) -> Option<u64> {
    let table = elf.section(&[".gopclntab", ".data.rel.ro.gopclntab"])?;
    let header: [u8; 8 + 8 * POINTER] = elf.read(table.offset).ok()?;
    let (start, numbers) = header.split_first_chunk::<8>()?;
    let [a, b, c, d, 0, 0, _, 8] = *start else {
        return None;
    };
    if !MAGICS.contains(&u32::from_le_bytes([a, b, c, d])) {
        return None;
    }
    let (numbers, _) = numbers.as_chunks::<POINTER>();
    let number = |place: usize| numbers.get(place).copied().map(u64::from_le_bytes);
    let (count, text) = (number(0)?.min(MAX_FUNCTIONS), number(2)?);
    let (names, units, functions) = (number(3)?, number(4)?, table.behind(number(7)?)?);
    let names = table
        .behind(names)?
        .first(units.checked_sub(names)?.min(MAX_NAMES))?;
    let name_at = u32::try_from(find(elf, names, name)?).ok()?;
    let entry = u64::from(entry_by_name(elf, functions, count, name_at)?);
    let sections = elf.section(&[".text"]).map(|section| section.address);
    // Where it is 0 the section begins with it, unless there is C code before it.
    [Some(text).filter(|text| *text != 0), sections]
        .into_iter()
        .flatten()
        .find_map(|text| {
            let offset = elf.offset_of(text.checked_add(entry)?)?;
            let first: [u8; 4] = elf.read(offset).ok()?;
            PROLOGUES.contains(&first.as_slice()).then_some(offset)
        })
}

/// Where a name stands among the names.
fn find(elf: &Elf<'_>, names: Stretch, name: &str) -> Option<u64> {
    let wanted: Vec<u8> = [b"\0", name.as_bytes(), b"\0"].concat();
    let mut window = Window::new(elf);
    let mut at = 0;
    while at < names.len {
        let len = (CHUNK as u64).min(names.len - at);
        let bytes = window.bytes(names.offset + at, usize::try_from(len).ok()?)?;
        let found = bytes
            .windows(wanted.len())
            .position(|bytes| bytes == wanted.as_slice());
        if let Some(found) = found {
            return Some(at + found as u64 + 1);
        }
        // The next begins with what a name at the end of this may begin with.
        at += len.saturating_sub(wanted.len() as u64).max(1);
    }
    None
}

/// Entry of the function whose name stands there, counted from the text.
fn entry_by_name(elf: &Elf<'_>, functions: Stretch, count: u64, name: u32) -> Option<u32> {
    let (mut table, mut details) = (Window::new(elf), Window::new(elf));
    for function in 0..count {
        let [entry, behind] = table.words(functions.behind(function * 8)?.offset)?;
        let more = functions.behind(u64::from(behind))?;
        let [_, its_name] = details.words(more.offset)?;
        if its_name == name {
            return Some(entry);
        }
    }
    None
}

/// The part of the file that was read last.
struct Window<'a> {
    elf: &'a Elf<'a>,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(elf: &'a Elf<'a>) -> Self {
        Self {
            elf,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// So many bytes from there, at most a chunk; `None` behind the end of the file.
    fn bytes(&mut self, offset: u64, len: usize) -> Option<&[u8]> {
        let place = offset
            .checked_sub(self.start)
            .and_then(|place| usize::try_from(place).ok());
        let place = match place.filter(|place| place.saturating_add(len) <= self.bytes.len()) {
            Some(place) => place,
            None => {
                self.read(offset);
                0
            }
        };
        self.bytes.get(place..place.checked_add(len)?)
    }

    fn words(&mut self, offset: u64) -> Option<[u32; 2]> {
        let (words, _) = self.bytes(offset, 8)?.as_chunks::<4>();
        let [first, second] = words else { return None };
        Some([u32::from_le_bytes(*first), u32::from_le_bytes(*second)])
    }

    fn read(&mut self, offset: u64) {
        use std::os::unix::fs::FileExt as _;
        self.start = offset;
        self.bytes.resize(CHUNK, 0);
        let mut have = 0;
        while let Some(room) = self.bytes.get_mut(have..).filter(|room| !room.is_empty()) {
            match self.elf.file.read_at(room, offset + have as u64) {
                Ok(0) | Err(_) => break,
                Ok(more) => have += more,
            }
        }
        self.bytes.truncate(have);
    }
}
