//! OpenSSL as a shared library: where in its file the functions are by which programs have it read and write.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use object::{Object as _, ObjectSymbol as _, SymbolKind, read::ReadCache};

use super::Elf;

/// Symbols that are looked at; the library has some 600.
const MAX_SYMBOLS: usize = 1 << 16;

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
}

impl Session {
    /// All of them. The handshake last: a session that is seen to begin is seen as a whole.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::ReadEx,
        Self::Write,
        Self::WriteEx,
        Self::Handshake,
    ];

    /// Its name.
    pub const fn function(self) -> &'static str {
        match self {
            Self::Handshake => "SSL_do_handshake",
            Self::Read => "SSL_read",
            Self::ReadEx => "SSL_read_ex",
            Self::Write => "SSL_write",
            Self::WriteEx => "SSL_write_ex",
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
        let cache = ReadCache::new(file);
        let parsed = object::File::parse(&cache).ok()?;
        let symbols = parsed.dynamic_symbols().take(MAX_SYMBOLS);
        let mut functions = Vec::new();
        for symbol in symbols.filter(|symbol| symbol.is_definition() && symbol.kind() == SymbolKind::Text) {
            let Ok(name) = symbol.name() else { continue };
            let known = Session::ALL.into_iter().find(|known| known.function() == name);
            if let (Some(known), Some(offset)) = (known, elf.offset_of(symbol.address()))
                && !functions.iter().any(|(other, _)| *other == known)
            {
                functions.push((known, offset));
            }
        }
        let has = |wanted| functions.iter().any(|(known, _)| *known == wanted);
        (has(Session::Handshake) && has(Session::Read) && has(Session::Write)).then_some(Self { functions })
    }
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
