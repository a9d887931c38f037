//! Java's virtual machine (HotSpot): where it describes its own structs for debuggers.

use super::{
    Elf,
    names::{Symbols, TABLES},
};

/// Points to the first `VMStructEntry`.
const STRUCTS: &[u8] = b"gHotSpotVMStructs";

/// A file with HotSpot in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotSpot {
    /// Where it points to the descriptions, from where the first byte of the file is in memory.
    pub structs: u64,
}

impl HotSpot {
    pub(super) fn read(elf: &Elf<'_>) -> Option<Self> {
        let symbols = Symbols::read(elf, TABLES[0])?;
        let mut described = symbols.starting(&[STRUCTS]);
        let described = described.find(|symbol| symbol.name == STRUCTS)?;
        Some(Self {
            structs: described.address.checked_sub(elf.first_address()?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn each_virtual_machine_of_this_host_says_where_it_describes_itself() {
        let homes = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
        for home in homes {
            // Some are links to others, or to nothing.
            let Ok(file) = File::open(home.path().join("lib/server/libjvm.so")) else {
                continue;
            };
            let hotspot = HotSpot::read(&Elf::open(&file).unwrap());
            assert!(hotspot.is_some_and(|hotspot| hotspot.structs > 0), "{home:?}");
        }
        let own = File::open("/proc/self/exe").unwrap();
        assert_eq!(Elf::open(&own).and_then(|elf| HotSpot::read(&elf)), None);
    }
}
