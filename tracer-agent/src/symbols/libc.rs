//! Where the library of C keeps the values that a thread has for keys (`pthread_getspecific`).
//!
//! glibc describes its own structs for debuggers, in variables that `libthread_db` reads: three numbers for each member, the size of
//! it in bits, how many there are, and its offset. musl describes nothing, and is not looked into.

use super::{
    Elf,
    names::{Symbols, TABLES},
};

/// `specific` of `struct pthread`: pointers to blocks of values.
const SPECIFIC: &[u8] = b"_thread_db_pthread_specific";
/// Values in a block, each behind a number that says whether it counts, and the size of both.
const IN_BLOCK: u32 = 32;
const VALUE: u32 = 16;
const BEHIND_NUMBER: u32 = 8;
/// The struct takes 2,304 bytes.
const MAX_OFFSET: u32 = 1 << 16;

/// Where it keeps what threads have for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// Offset of `specific` in what the thread's own register points to.
    specific: u32,
}

impl Threads {
    pub(super) fn read(elf: &Elf<'_>) -> Option<Self> {
        let symbols = Symbols::read(elf, TABLES[0])?;
        let mut described = symbols.starting(&[SPECIFIC]);
        let described = described.find(|symbol| symbol.name == SPECIFIC)?;
        let words: [u8; 12] = elf.read(elf.offset_of(described.address)?).ok()?;
        let [.., o0, o1, o2, o3] = words;
        let specific = u32::from_ne_bytes([o0, o1, o2, o3]);
        (specific < MAX_OFFSET).then_some(Self { specific })
    }

    /// Where the value for a key is: the offset of the pointer to its block, and that of the value in there.
    pub fn place(self, key: u32) -> Option<(u32, u32)> {
        const POINTER: u32 = 8;
        const MAX_KEYS: u32 = 1024;
        (key < MAX_KEYS).then(|| {
            let (block, value) = (key / IN_BLOCK, key % IN_BLOCK);
            (self.specific + block * POINTER, value * VALUE + BEHIND_NUMBER)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::Path};

    use super::*;

    #[test]
    fn the_place_of_a_key_is_in_the_block_that_has_it() {
        let threads = Threads { specific: 1296 };
        assert_eq!(threads.place(0), Some((1296, 8)));
        assert_eq!(threads.place(3), Some((1296, 56)));
        assert_eq!(threads.place(33), Some((1304, 24)));
        assert_eq!(threads.place(1024), None);
    }

    #[test]
    fn the_library_of_this_host_describes_itself() {
        let path = Path::new("/usr/lib/x86_64-linux-gnu/libc.so.6");
        let Ok(file) = File::open(path) else { return };
        let threads = Threads::read(&Elf::open(&file).unwrap()).unwrap();
        assert!(threads.specific >= 704, "{threads:?}");
        let own = File::open("/proc/self/exe").unwrap();
        assert_eq!(Elf::open(&own).and_then(|elf| Threads::read(&elf)), None);
    }
}
