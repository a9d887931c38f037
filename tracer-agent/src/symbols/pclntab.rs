//! Go's table of functions (`.gopclntab`), which a program carries even where its symbols were stripped.
//!
//! ```text
//! header    magic u32, 0 u16, quantum u8, size of a pointer u8,
//!           number of functions, of files, address of the text (0 from Go 1.26 on),
//!           then where names, units, files, tables and functions begin: each the size of a pointer, counted from here
//! names     each ended by a zero
//! functions for each: entry u32, counted from the text; where more stands of it u32, counted from the first of these
//!           of which: entry u32, where its name begins u32, two more, where its use of the stack is told among the tables u32
//! ```

use super::{Elf, Stretch};

/// Magic numbers of Go 1.18 and 1.20, little-endian.
const MAGICS: [u32; 2] = [0xffff_fff0, 0xffff_fff1];
const POINTER: usize = 8;
/// More functions than any program has.
const MAX_FUNCTIONS: u64 = 1 << 22;
/// More bytes of names than any program has.
const MAX_NAMES: u64 = 256 << 20;
/// Where it is said of a function in which table its use of the stack is told.
const STACK_AT: u64 = 16;
/// Bytes that are read of such a table; each piece takes two or three.
const MAX_PIECES: u64 = 16 << 10;
/// More returns than any function has in which there is to be a breakpoint: `crypto/tls` has eight or nine.
const MAX_RETURNS: usize = 32;
/// Parts of a file that are read to find functions: many times what the largest programs take.
const MAX_CHUNKS: u32 = 16 << 10;
/// Bytes that are read where a return is to be: as many as any of these take, and more.
const BEFORE_RETURN: usize = 32;
/// Bytes that are read of the file at once.
const CHUNK: usize = 64 << 10;
/// A function in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Where it begins; if its stack has to grow it begins twice.
    pub entry: u64,
    /// Where it goes on when its stack is large enough, with its arguments where they were; if that is known.
    pub body: Option<u64>,
    /// Its instructions that return, if they are known.
    pub returns: Vec<u64>,
}

/// Where these functions are in the file, those that it has. Only what begins as functions do, and returns where a return is: a breakpoint
/// anywhere else would break the program.
pub(super) fn find<const COUNT: usize>(
    elf: &Elf<'_>,
    wanted: [&str; COUNT],
) -> Option<[Option<Function>; COUNT]> {
    let table = elf.section(&[".gopclntab", ".data.rel.ro.gopclntab"])?;
    let header: [u8; 8 + 8 * POINTER] = elf.read(table.offset).ok()?;
    let (start, numbers) = header.split_first_chunk::<8>()?;
    let [a, b, c, d, 0, 0, quantum, 8] = *start else {
        return None;
    };
    if !MAGICS.contains(&u32::from_le_bytes([a, b, c, d])) || quantum != elf.machine.quantum {
        return None;
    }
    let (numbers, _) = numbers.as_chunks::<POINTER>();
    let number = |place: usize| numbers.get(place).copied().map(u64::from_le_bytes);
    let (count, text) = (number(0)?.min(MAX_FUNCTIONS), number(2)?);
    let (names, units) = (number(3)?, number(4)?);
    let (pieces, functions) = (table.behind(number(6)?)?, table.behind(number(7)?)?);
    let names = table
        .behind(names)?
        .first(units.checked_sub(names)?.min(MAX_NAMES))?;
    let names_at = names_at(elf, names, wanted);
    let section = elf.section(&[".text"]).map(|section| section.address);
    // Where it is 0 the section begins with it, unless there is C code before it.
    let texts = [Some(text).filter(|text| *text != 0), section];
    let placed = |named: Named| {
        texts.into_iter().flatten().find_map(|text| {
            let entry = elf.offset_of(text.checked_add(u64::from(named.entry))?)?;
            let first: [u8; 4] = elf.read(entry).ok()?;
            elf.machine.prologues.contains(&first).then(|| {
                let known = body_and_returns(elf, entry, pieces, named.stack);
                let (body, returns) = known.unzip();
                Function {
                    entry,
                    body,
                    returns: returns.unwrap_or_default(),
                }
            })
        })
    };
    let named = by_name(elf, functions, count, names_at);
    Some(named.map(|named| placed(named?)))
}

/// Where these stand among the names.
fn names_at<const COUNT: usize>(
    elf: &Elf<'_>,
    names: Stretch,
    wanted: [&str; COUNT],
) -> [Option<u32>; COUNT] {
    let mut window = Window::new(elf);
    let mut found = [None; COUNT];
    // Of a name that is longer than a chunk the rest is no name.
    let (mut at, mut is_rest) = (0, false);
    while at < names.len && found.contains(&None) {
        let len = (CHUNK as u64).min(names.len - at);
        let bytes = usize::try_from(len)
            .ok()
            .and_then(|len| window.bytes(names.offset + at, len));
        let Some(bytes) = bytes else { break };
        let Some(last) = bytes.iter().rposition(|byte| *byte == 0) else {
            (at, is_rest) = (at + len, true);
            continue;
        };
        let mut start = at;
        for name in bytes.get(..last).unwrap_or_default().split(|byte| *byte == 0) {
            if !std::mem::take(&mut is_rest)
                && let Some(place) = wanted.iter().position(|wanted| wanted.as_bytes() == name)
                && let Some(found) = found.get_mut(place)
            {
                *found = u32::try_from(start).ok();
            }
            start += name.len() as u64 + 1;
        }
        at += last as u64 + 1;
    }
    found
}

/// What is said of a function.
#[derive(Clone, Copy)]
struct Named {
    /// Counted from the text.
    entry: u32,
    /// Where the size of its stack is told, piece by piece.
    stack: u32,
}

/// The functions whose names stand there.
fn by_name<const COUNT: usize>(
    elf: &Elf<'_>,
    functions: Stretch,
    count: u64,
    names: [Option<u32>; COUNT],
) -> [Option<Named>; COUNT] {
    let (mut table, mut details) = (Window::new(elf), Window::new(elf));
    let mut found = [None; COUNT];
    let mut left = names.iter().flatten().count();
    for function in 0..count {
        let mut read = || {
            let [entry, behind] = table.words(functions.behind(function.checked_mul(8)?)?.offset)?;
            let more = functions.behind(u64::from(behind))?;
            let [_, name] = details.words(more.offset)?;
            Some((name, entry, more))
        };
        let Some((name, entry, more)) = (left > 0).then(&mut read).flatten() else {
            break;
        };
        let places = found.iter_mut().zip(&names);
        if let Some((place, _)) = places
            .into_iter()
            .find(|(place, wanted)| place.is_none() && **wanted == Some(name))
        {
            left -= 1;
            *place = details
                .words(more.offset.saturating_add(STACK_AT))
                .map(|[stack, _]| Named { entry, stack });
        }
    }
    found
}

/// Where a function goes on, and its instructions that return. Go says for each piece of it how much of the stack it uses: nothing before it has
/// looked whether there is enough, and nothing after it has given back what it used, where the return is. What is reached by a jump from the
/// beginning, to have the stack grow, stands last and is no return.
fn body_and_returns(elf: &Elf<'_>, entry: u64, pieces: Stretch, stack: u32) -> Option<(u64, Vec<u64>)> {
    let place = pieces.behind(u64::from(stack))?;
    let len = place.len.min(MAX_PIECES);
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    elf.fill(&mut bytes, place.offset).ok()?;
    let (first, unused) = unused(&bytes, u64::from(elf.machine.quantum))?;
    let mut returns = Vec::new();
    let mut left = unused.iter();
    while let Some(start) = left.next() {
        let at = entry.checked_add(*start)?;
        match elf.machine.return_at(&elf.read::<BEFORE_RETURN>(at).ok()?) {
            Some(behind) => returns.push(at.checked_add(behind)?),
            None if left.len() == 0 => {}
            None => return None,
        }
    }
    (returns.len() <= MAX_RETURNS).then_some((entry.checked_add(first)?, returns))
}

/// How long the first piece is, and where pieces begin, after it, in which nothing of the stack is used. Each piece is told by two numbers, of as
/// many bytes as they need: how much more it uses than the one before (twice that, or one less than twice what it is less), and how long it is, counted in
/// so many bytes.
fn unused(bytes: &[u8], quantum: u64) -> Option<(u64, Vec<u64>)> {
    let mut numbers = bytes.iter();
    let (mut used, mut at, mut first) = (-1_i64, 0_u64, 0);
    let mut unused = Vec::new();
    loop {
        let change = number(&mut numbers)?;
        if change == 0 && at > 0 {
            return Some((first, unused));
        }
        let half = i64::try_from(change / 2).ok()?;
        used = used.checked_add(if change % 2 == 0 { half } else { -half - 1 })?;
        if used == 0 && at > 0 {
            unused.push(at);
        }
        at = at.checked_add(number(&mut numbers)?.checked_mul(quantum)?)?;
        if first == 0 {
            first = at;
        }
    }
}

/// Seven bits a byte, the lowest first; the last byte is below 128.
fn number(bytes: &mut std::slice::Iter<'_, u8>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..35).step_by(7) {
        let byte = bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The part of the file that was read last.
struct Window<'a> {
    elf: &'a Elf<'a>,
    start: u64,
    bytes: Vec<u8>,
    /// How many there may be yet.
    left: u32,
}

impl<'a> Window<'a> {
    fn new(elf: &'a Elf<'a>) -> Self {
        Self {
            elf,
            start: 0,
            bytes: Vec::new(),
            left: MAX_CHUNKS,
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
                self.left = self.left.checked_sub(1)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_use_nothing_of_the_stack_are_found_as_go_writes_them() {
        // 0 for 10 bytes, 8 for 3, 24 for 400, 8 for 1, 0 for 1, 24 for 20, 0 for 2; as zigzag of the changes, from -1.
        let table = [2, 10, 16, 3, 32, 0x90, 3, 31, 1, 15, 1, 48, 20, 47, 2, 0];
        assert_eq!(unused(&table, 1), Some((10, vec![414, 435])));
        assert_eq!(unused(&table, 4), Some((40, vec![1656, 1740])));
        assert_eq!(unused(&table[..15], 1), None, "it is cut off");
        assert_eq!(unused(&[0xff; 64], 1), None, "a number without an end");
        assert_eq!(unused(&[], 1), None);
    }
}
