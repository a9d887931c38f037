//! Tables of symbols: what a file calls the places in it.

use super::{Elf, Stretch};

/// Where symbols are, and their names: those that other files may use, and all.
pub(super) const TABLES: [(&str, &str); 2] = [(".dynsym", ".dynstr"), (".symtab", ".strtab")];
/// The most that is read of either. OpenSSL has 600 symbols, Node 75,000, of 24 bytes each.
const MAX_TABLE: u64 = 16 << 20;
/// What a file of 64 bits begins with whose numbers begin with the lowest byte.
const IDENT: [u8; 6] = *b"\x7fELF\x02\x01";

/// What a symbol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// `STT_OBJECT`
    Variable,
    /// `STT_FUNC`
    Function,
    /// `STT_TLS`: each thread has one; its address is that in the memory of a thread.
    OfThreads,
}

/// A place in this file that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol<'a> {
    pub name: &'a [u8],
    pub named: Named,
    /// Where it is in memory, as the file has it.
    pub address: u64,
}

/// The symbols of a file with their names.
pub(super) struct Symbols {
    symbols: Vec<u8>,
    names: Vec<u8>,
}

impl Symbols {
    /// The table of these sections, if the file has it.
    pub fn read(elf: &Elf<'_>, (symbols, names): (&str, &str)) -> Option<Self> {
        if elf.read(0).ok()? != IDENT {
            return None;
        }
        let part = |name| whole(elf, elf.section(&[name])?);
        Some(Self {
            symbols: part(symbols)?,
            names: part(names)?,
        })
    }

    /// Those that are in the file itself and have one of these starts.
    pub fn starting<'a>(&'a self, starts: &'a [&[u8]]) -> impl Iterator<Item = Symbol<'a>> {
        let symbols = self.symbols.as_chunks().0.iter();
        symbols.filter_map(|symbol| read(symbol, &self.names, starts))
    }
}

/// `Elf64_Sym`: `st_name` of four bytes, `st_info`, `st_other`, `st_shndx` of two, `st_value` and `st_size` of eight.
fn read<'a>(symbol: &[u8; 24], names: &'a [u8], starts: &[&[u8]]) -> Option<Symbol<'a>> {
    let [n0, n1, n2, n3, info, _, s0, s1, value @ ..] = symbol;
    let name = names.get(u32::from_le_bytes([*n0, *n1, *n2, *n3]) as usize..)?;
    let is_defined = [*s0, *s1] != [0, 0];
    if !is_defined || !starts.iter().any(|start| name.starts_with(start)) {
        return None;
    }
    let named = match info & 0xf {
        1 => Named::Variable,
        2 => Named::Function,
        6 => Named::OfThreads,
        _ => return None,
    };
    let len = name.iter().position(|byte| *byte == 0)?;
    Some(Symbol {
        name: name.get(..len)?,
        named,
        address: u64::from_le_bytes(*value.first_chunk()?),
    })
}

fn whole(elf: &Elf<'_>, place: Stretch) -> Option<Vec<u8>> {
    let len = usize::try_from(place.len)
        .ok()
        .filter(|_| place.len <= MAX_TABLE)?;
    let mut bytes = vec![0; len];
    elf.fill(&mut bytes, place.offset).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_counts_if_it_is_in_the_file_and_its_name_has_an_end() {
        let names = b"\0SSL_read\0SSL_read_ex\0ssl_read\0SSL_rea";
        let symbol = |name: u32, info: u8, section: u16| {
            let mut symbol = [0; 24];
            symbol[..4].copy_from_slice(&name.to_le_bytes());
            symbol[4] = info;
            symbol[6..8].copy_from_slice(&section.to_le_bytes());
            symbol[8..16].copy_from_slice(&0x1234_u64.to_le_bytes());
            read(&symbol, names, &[b"SSL_"])
        };
        let found = |name: &'static [u8], named| {
            Some(Symbol {
                name,
                named,
                address: 0x1234,
            })
        };
        assert_eq!(symbol(1, 0x12, 7), found(b"SSL_read", Named::Function));
        assert_eq!(symbol(10, 0x12, 7), found(b"SSL_read_ex", Named::Function));
        assert_eq!(symbol(1, 0x11, 7), found(b"SSL_read", Named::Variable));
        assert_eq!(symbol(1, 0x13, 7), None, "a section");
        assert_eq!(symbol(22, 0x12, 7), None, "another start");
        assert_eq!(symbol(31, 0x12, 7), None, "a name without an end");
        assert_eq!(symbol(1, 0x12, 0), None, "of another file");
        assert_eq!(symbol(4000, 0x12, 7), None, "a name that is not there");
    }
}
