//! OpenSSL, or what has its functions (BoringSSL): where in a file those are by which programs have it read and write.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{Elf, Stretch};

/// Where symbols are, and their names: those that other files may use, and all.
const TABLES: [(&str, &str); 2] = [(".dynsym", ".dynstr"), (".symtab", ".strtab")];
/// The most that is read of either. The library has 600 symbols, Node 75,000, of 24 bytes each.
const MAX_TABLE: u64 = 16 << 20;
/// What a file of 64 bits begins with whose numbers begin with the lowest byte.
const IDENT: [u8; 6] = *b"\x7fELF\x02\x01";
/// `STT_FUNC`
const FUNCTION: u8 = 2;

/// Folders of libraries, and how many such libraries in them are looked at.
const FOLDERS: [&str; 7] = [
    "usr/lib/x86_64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "lib64",
    "lib",
    "usr/local/lib64",
    "usr/local/lib",
];
const MAX_FILES: usize = 64;

/// What a program has a session do, by the name of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// `SSL_do_handshake`, which `SSL_connect` and `SSL_accept` call.
    Handshake,
    /// `SSL_read`
    Read,
    /// `SSL_read_ex`, from 1.1.1 on.
    ReadEx,
    /// `SSL_write`
    Write,
    /// `SSL_write_ex`, from 1.1.1 on.
    WriteEx,
    /// `SSL_free`
    Free,
}

impl Session {
    /// All of them. The handshake last: a session that is seen to begin is seen as a whole.
    pub const ALL: [Self; 6] = [
        Self::Free,
        Self::Read,
        Self::ReadEx,
        Self::Write,
        Self::WriteEx,
        Self::Handshake,
    ];

    /// Whether what it returns is looked at.
    pub const fn returns(self) -> bool {
        !matches!(self, Self::Free)
    }

    /// Its name.
    pub const fn function(self) -> &'static str {
        match self {
            Self::Handshake => "SSL_do_handshake",
            Self::Read => "SSL_read",
            Self::ReadEx => "SSL_read_ex",
            Self::Write => "SSL_write",
            Self::WriteEx => "SSL_write_ex",
            Self::Free => "SSL_free",
        }
    }
}

/// The functions of a library, by their offset in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSsl {
    /// What it has of [`Session`]; the handshake and both directions among them.
    pub functions: Vec<(Session, u64)>,
}

impl OpenSsl {
    /// Whether a file of this name can be that library: `libssl.so.3`, `libssl.so.1.1`, and `libssl-0123abcd.so.3` as Python wheels bring it.
    pub fn is_named(name: &str) -> bool {
        name.strip_prefix("libssl")
            .is_some_and(|rest| rest.starts_with(".so") || (rest.starts_with('-') && rest.contains(".so")))
    }

    /// Where distributions keep it, below this root.
    pub fn usual_files(root: &Path) -> Vec<PathBuf> {
        let folders = FOLDERS
            .iter()
            .filter_map(|folder| fs::read_dir(root.join(folder)).ok());
        let files = folders.flatten().filter_map(Result::ok);
        files
            .filter(|file| file.file_name().to_str().is_some_and(Self::is_named))
            .map(|file| file.path())
            .take(MAX_FILES)
            .collect()
    }

    /// What the file says of itself; `None` if it lacks what is needed.
    pub fn read(file: &File) -> Option<Self> {
        let elf = Elf::open(file)?;
        if elf.read(0).ok()? != IDENT {
            return None;
        }
        TABLES.iter().find_map(|(symbols, names)| {
            let functions = functions(&elf, elf.section(&[symbols])?, elf.section(&[names])?)?;
            let has = |wanted| functions.iter().any(|(known, _)| *known == wanted);
            (has(Session::Handshake) && has(Session::Read) && has(Session::Write))
                .then_some(Self { functions })
        })
    }
}

/// Those of [`Session`] that a table of symbols has.
fn functions(elf: &Elf<'_>, symbols: Stretch, names: Stretch) -> Option<Vec<(Session, u64)>> {
    let (symbols, names) = (table(elf, symbols)?, table(elf, names)?);
    let mut functions = Vec::new();
    for symbol in symbols.as_chunks().0 {
        let Some((session, address)) = session(symbol, &names) else {
            continue;
        };
        if let Some(offset) = elf.offset_of(address)
            && !functions.iter().any(|(other, _)| *other == session)
        {
            functions.push((session, offset));
        }
    }
    Some(functions)
}

/// `Elf64_Sym`: `st_name` of four bytes, `st_info`, `st_other`, `st_shndx` of two, `st_value` and `st_size` of eight.
fn session(symbol: &[u8; 24], names: &[u8]) -> Option<(Session, u64)> {
    let [n0, n1, n2, n3, info, _, s0, s1, value @ ..] = symbol;
    let name = names.get(u32::from_le_bytes([*n0, *n1, *n2, *n3]) as usize..)?;
    let is_defined = [*s0, *s1] != [0, 0];
    if !name.starts_with(b"SSL_") || info & 0xf != FUNCTION || !is_defined {
        return None;
    }
    let session = Session::ALL.into_iter().find(|known| {
        let rest = name.strip_prefix(known.function().as_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&0))
    })?;
    Some((session, u64::from_le_bytes(*value.first_chunk()?)))
}

fn table(elf: &Elf<'_>, place: Stretch) -> Option<Vec<u8>> {
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
    fn the_library_is_known_by_its_name_however_it_is_packed() {
        for name in [
            "libssl.so.3",
            "libssl.so.1.1",
            "libssl.so",
            "libssl-9a1c3e.so.1.1",
        ] {
            assert!(OpenSsl::is_named(name), "{name}");
        }
        for name in [
            "libssl3.so",
            "libssl.a",
            "libcrypto.so.3",
            "ssl.so",
            "libssl_conf.so",
            "",
        ] {
            assert!(!OpenSsl::is_named(name), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_no_such_library_has_no_functions() {
        let own = File::open("/proc/self/exe").unwrap();
        assert_eq!(OpenSsl::read(&own), None);
        let text = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        assert_eq!(OpenSsl::read(&text), None);
    }

    #[test]
    fn a_symbol_counts_if_it_is_a_function_of_that_very_name_which_is_there() {
        let names = b"\0SSL_read\0SSL_read_ex\0SSL_reader\0ssl_read\0SSL_rea";
        let symbol = |name: u32, info: u8, section: u16| {
            let mut symbol = [0; 24];
            symbol[..4].copy_from_slice(&name.to_le_bytes());
            symbol[4] = info;
            symbol[6..8].copy_from_slice(&section.to_le_bytes());
            symbol[8..16].copy_from_slice(&0x1234_u64.to_le_bytes());
            session(&symbol, names)
        };
        assert_eq!(symbol(1, 0x12, 7), Some((Session::Read, 0x1234)));
        assert_eq!(symbol(10, 0x12, 7), Some((Session::ReadEx, 0x1234)));
        assert_eq!(symbol(22, 0x12, 7), None, "another name");
        assert_eq!(symbol(33, 0x12, 7), None, "another name");
        assert_eq!(symbol(42, 0x12, 7), None, "a name without an end");
        assert_eq!(symbol(1, 0x11, 7), None, "a variable");
        assert_eq!(symbol(1, 0x12, 0), None, "of another file");
        assert_eq!(symbol(4000, 0x12, 7), None, "a name that is not there");
    }

    #[test]
    fn the_functions_of_the_library_of_this_host_are_where_its_symbols_say() {
        let path = Path::new("/usr/lib/x86_64-linux-gnu/libssl.so.3");
        let Ok(file) = File::open(path) else { return };
        let library = OpenSsl::read(&file).unwrap();
        let mut offsets: Vec<_> = library.functions.iter().map(|(_, offset)| *offset).collect();
        offsets.sort_unstable();
        offsets.dedup();
        assert_eq!(offsets.len(), Session::ALL.len(), "{library:?}");
    }
}
