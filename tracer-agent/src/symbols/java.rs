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
