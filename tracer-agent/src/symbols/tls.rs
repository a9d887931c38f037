//! Libraries of TLS: where in a file those functions are by which programs have them read and write. OpenSSL, what has its functions
//! (BoringSSL), and GnuTLS by their symbols; Go's own by its table of functions.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{Elf, Stretch, pclntab};

/// Where symbols are, and their names: those that other files may use, and all.
const TABLES: [(&str, &str); 2] = [(".dynsym", ".dynstr"), (".symtab", ".strtab")];
/// The most that is read of either. OpenSSL has 600 symbols, Node 75,000, of 24 bytes each.
const MAX_TABLE: u64 = 16 << 20;
/// What a file of 64 bits begins with whose numbers begin with the lowest byte.
const IDENT: [u8; 6] = *b"\x7fELF\x02\x01";
/// `STT_FUNC`
const FUNCTION: u8 = 2;

/// Folders of libraries, and how many such libraries in them are looked at.
const FOLDERS: [&str; 8] = [
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "lib64",
    "lib",
    "usr/local/lib64",
    "usr/local/lib",
];
const MAX_FILES: usize = 64;

/// How the names of libraries begin.
const LIBRARIES: [&str; 2] = ["libssl", "libgnutls"];
/// How the names of their functions do.
const FUNCTIONS: [&[u8]; 2] = [b"SSL_", b"gnutls_"];

/// What a program has a session do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Agree on keys with the other end.
    Handshake,
    /// Give what has come.
    Read,
    /// The same, where how much that is does not come back as the result.
    ReadEx,
    /// Take what is to be sent.
    Write,
    /// The same, where how much was taken does not come back as the result.
    WriteEx,
    /// Forget it.
    Free,
    /// [`Self::Handshake`] in Go.
    GoHandshake,
    /// [`Self::Read`] in Go.
    GoRead,
    /// [`Self::Write`] in Go.
    GoWrite,
}

impl Session {
    /// All of them. The handshakes last: a session that is seen to begin is seen as a whole.
    pub const ALL: [Self; 9] = [
        Self::Free,
        Self::Read,
        Self::ReadEx,
        Self::Write,
        Self::WriteEx,
        Self::Handshake,
        Self::GoRead,
        Self::GoWrite,
        Self::GoHandshake,
    ];

    /// What of it is by symbols.
    const C: [Self; 6] = [
        Self::Free,
        Self::Read,
        Self::ReadEx,
        Self::Write,
        Self::WriteEx,
        Self::Handshake,
    ];

    /// Whether what it returns is looked at.
    const fn returns(self) -> bool {
        !matches!(self, Self::Free)
    }

    /// The names of the function, as the libraries have it.
    const fn functions(self) -> &'static [&'static str] {
        match self {
            // `SSL_connect` and `SSL_accept` call it.
            Self::Handshake => &["SSL_do_handshake", "gnutls_handshake"],
            Self::Read => &["SSL_read", "gnutls_record_recv"],
            // From OpenSSL 1.1.1 on.
            Self::ReadEx => &["SSL_read_ex"],
            Self::Write => &["SSL_write", "gnutls_record_send"],
            Self::WriteEx => &["SSL_write_ex"],
            Self::Free => &["SSL_free", "gnutls_deinit"],
            // `HandshakeContext`, which every `Read` and `Write` calls, calls them once.
            Self::GoHandshake => &[
                "crypto/tls.(*Conn).clientHandshake",
                "crypto/tls.(*Conn).serverHandshake",
            ],
            Self::GoRead => &["crypto/tls.(*Conn).Read"],
            Self::GoWrite => &["crypto/tls.(*Conn).Write"],
        }
    }
}

/// Where a function ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Wherever the one that begins at this offset in the file returns.
    Of(u64),
    /// By the instruction there: what is written in Go may not find its return address changed.
    By(u64),
}

/// The functions of a library, by their offset in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Where they begin: the handshake and both directions among them.
    pub entries: Vec<(Session, u64)>,
    /// Where those end of which that is looked at.
    pub exits: Vec<Exit>,
}

impl Library {
    /// Whether a file of this name can be one: `libssl.so.3`, `libgnutls.so.30`, and `libssl-0123abcd.so.3` as Python wheels bring it.
    pub fn is_named(name: &str) -> bool {
        let rest = LIBRARIES.iter().find_map(|library| name.strip_prefix(library));
        rest.is_some_and(|rest| rest.starts_with(".so") || (rest.starts_with('-') && rest.contains(".so")))
    }

    /// Where distributions keep them, below this root.
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
        Self::of(&Elf::open(file)?)
    }

    pub(super) fn of(elf: &Elf<'_>) -> Option<Self> {
        if elf.read(0).ok()? != IDENT {
            return None;
        }
        Self::in_go(elf).or_else(|| {
            TABLES.iter().find_map(|(symbols, names)| {
                let entries = functions(elf, elf.section(&[symbols])?, elf.section(&[names])?)?;
                let has = |wanted| entries.iter().any(|(known, _)| *known == wanted);
                let is_whole = has(Session::Handshake) && has(Session::Read) && has(Session::Write);
                let returning = entries.iter().filter(|(session, _)| session.returns());
                let exits = returning.map(|(_, offset)| Exit::Of(*offset)).collect();
                is_whole.then_some(Self { entries, exits })
            })
        })
    }

    /// In a program written in Go that uses it at either end.
    fn in_go(elf: &Elf<'_>) -> Option<Self> {
        let sessions = [Session::GoRead, Session::GoWrite, Session::GoHandshake];
        let names = sessions.map(Session::functions);
        let [&[read], &[write], &[client, server]] = names else {
            return None;
        };
        let [read, write, client, server] = pclntab::find(elf, [read, write, client, server])?;
        let (read, write) = (read?, write?);
        let handshakes = [client, server].into_iter().flatten();
        let handshakes: Vec<_> = handshakes
            .map(|function| (Session::GoHandshake, function.entry))
            .collect();
        if handshakes.is_empty() || read.returns.is_empty() || write.returns.is_empty() {
            return None;
        }
        // Not where they begin: what has its stack grow begins twice.
        let calls = [(Session::GoRead, read.body?), (Session::GoWrite, write.body?)];
        Some(Self {
            entries: calls.into_iter().chain(handshakes).collect(),
            exits: read
                .returns
                .into_iter()
                .chain(write.returns)
                .map(Exit::By)
                .collect(),
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
    let may_be = FUNCTIONS.iter().any(|start| name.starts_with(start));
    if !may_be || info & 0xf != FUNCTION || !is_defined {
        return None;
    }
    let session = Session::C.into_iter().find(|known| {
        let mut functions = known.functions().iter();
        functions.any(|function| {
            let rest = name.strip_prefix(function.as_bytes());
            rest.is_some_and(|rest| rest.first() == Some(&0))
        })
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
            "libgnutls.so.30",
        ] {
            assert!(Library::is_named(name), "{name}");
        }
        for name in [
            "libssl3.so",
            "libssl.a",
            "libcrypto.so.3",
            "ssl.so",
            "libssl_conf.so",
            "libgnutlsxx.so.30",
            "",
        ] {
            assert!(!Library::is_named(name), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_no_such_library_has_no_functions() {
        let own = File::open("/proc/self/exe").unwrap();
        assert_eq!(Library::read(&own), None);
        let text = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        assert_eq!(Library::read(&text), None);
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
    fn the_functions_of_the_libraries_of_this_host_are_where_their_symbols_say() {
        for (name, count, returning) in [("libssl.so.3", 6, 5), ("libgnutls.so.30", 4, 3)] {
            let path = Path::new("/usr/lib/x86_64-linux-gnu").join(name);
            let Ok(file) = File::open(path) else { continue };
            let library = Library::read(&file).unwrap();
            let mut offsets: Vec<_> = library.entries.iter().map(|(_, offset)| *offset).collect();
            offsets.sort_unstable();
            offsets.dedup();
            assert_eq!(
                (offsets.len(), library.exits.len()),
                (count, returning),
                "{library:?}"
            );
        }
    }
}
