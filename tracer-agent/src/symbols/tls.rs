//! Libraries of TLS: where in a file those functions are by which programs have them read and write. OpenSSL, what has its functions
//! (BoringSSL), and GnuTLS by their symbols; Go's own by its table of functions.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    Elf,
    names::{Named, Symbol, Symbols, TABLES},
    pclntab,
};

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
        Self::in_go(elf).or_else(|| {
            TABLES.into_iter().find_map(|table| {
                let entries = functions(elf, &Symbols::read(elf, table)?);
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
fn functions(elf: &Elf<'_>, symbols: &Symbols) -> Vec<(Session, u64)> {
    let mut functions = Vec::new();
    for symbol in symbols.starting(&FUNCTIONS) {
        if let Some(session) = session(symbol)
            && let Some(offset) = elf.offset_of(symbol.address)
            && !functions.iter().any(|(other, _)| *other == session)
        {
            functions.push((session, offset));
        }
    }
    functions
}

fn session(symbol: Symbol<'_>) -> Option<Session> {
    if symbol.named != Named::Function {
        return None;
    }
    Session::C.into_iter().find(|known| {
        let mut functions = known.functions().iter();
        functions.any(|function| symbol.name == function.as_bytes())
    })
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
    fn a_function_counts_by_its_whole_name() {
        let session = |name: &[u8], named| {
            session(Symbol {
                name,
                named,
                address: 0x1234,
            })
        };
        assert_eq!(session(b"SSL_read", Named::Function), Some(Session::Read));
        assert_eq!(session(b"SSL_read_ex", Named::Function), Some(Session::ReadEx));
        assert_eq!(session(b"SSL_reader", Named::Function), None);
        assert_eq!(session(b"SSL_read", Named::Variable), None);
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
