//! Beside the way: what an executable file says of itself. In: an ELF file, which may be anything. Out: what the kernel side needs
//! to tell its goroutines or coroutines apart, and where its breakpoints go. Kept true: nothing is believed, reads are bounded, nothing panics, and
//! a file is looked at once.

mod build_info;
mod go;
mod grpc_go;
mod java;
mod libc;
mod machine;
mod names;
mod pclntab;
mod python;
#[cfg(test)]
mod tests;
mod tls;
mod tokio;

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use object::{Object as _, ObjectSection as _, ObjectSegment as _, read::ReadCache};
use tracer_common::layout::JavaThreads;

use machine::Machine;

pub use go::{GOROUTINES, Go, GoHook, GoProgram, Goroutines};
pub use java::HotSpot;
pub use libc::Threads;
pub use python::{Interpreter, Python};
pub use tokio::{Tokio, TokioProgram};

/// What a process runs, where its threads alone do not tell what is done for which request.
#[derive(Clone, Debug)]
pub enum Runtime {
    /// CPython.
    Python(Interpreter),
    /// A virtual machine for Java, and where it keeps its virtual threads, if it is known and has such.
    Java(Option<JavaThreads>),
    /// The tasks of tokio, for a program in Rust.
    Tokio(Tokio),
}

impl Runtime {
    /// Whether this executable is the launcher of Java, which loads the virtual machine a moment later.
    pub fn is_java(exe: &str) -> bool {
        exe.rsplit('/').next() == Some("java")
    }

    /// It, for people.
    pub fn version(&self) -> String {
        match self {
            Self::Python(interpreter) => interpreter.python.version(),
            Self::Java(_) => "Java".to_owned(),
            Self::Tokio(_) => "tokio".to_owned(),
        }
    }
}

pub use tls::{Exit, Library, Session};

/// Files that are remembered; past it all are forgotten and looked at again.
const MAX_FILES: usize = 1024;

/// A file, told from an earlier one at the same place.
type FileId = (u64, u64, u64, i64);

/// What is known of executable files and libraries.
#[derive(Debug, Default)]
pub struct Executables {
    go: Known<GoProgram>,
    python: Known<Python>,
    libc: Known<Threads>,
    java: Known<HotSpot>,
    tokio: Known<TokioProgram>,
}

/// Files that were looked at, and what was found.
#[derive(Debug)]
struct Known<T> {
    files: Mutex<HashMap<FileId, Option<Arc<T>>>>,
}

impl Executables {
    /// The Go program in a file; `None` if it is no such, or cannot be read.
    pub fn go(&self, path: &Path) -> Option<Go> {
        let file = File::open(path).ok()?;
        let program = self.go.of(&file, go::read)?;
        Some(Go {
            file: Arc::new(file),
            program,
        })
    }

    /// The CPython in a file; `None` if there is none, or none that is known here.
    pub fn python(&self, file: &File) -> Option<Arc<Python>> {
        self.python.of(file, Python::read)
    }

    /// The virtual machine for Java in a file; `None` if there is none.
    pub fn hotspot(&self, file: &File) -> Option<Arc<HotSpot>> {
        self.java.of(file, HotSpot::read)
    }

    /// The tasks of tokio in an executable; `None` if it has none, or they are not found.
    pub fn tokio(&self, file: &File) -> Option<Arc<TokioProgram>> {
        self.tokio.of(file, TokioProgram::read)
    }

    /// Where the library of C in a file keeps what threads have for themselves.
    pub fn threads(&self, file: &File) -> Option<Arc<Threads>> {
        self.libc.of(file, Threads::read)
    }
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            files: Mutex::default(),
        }
    }
}

impl<T> Known<T> {
    fn of(&self, file: &File, read: fn(&Elf<'_>) -> Option<T>) -> Option<Arc<T>> {
        let about = file.metadata().ok()?;
        let id = (about.dev(), about.ino(), about.size(), about.mtime());
        if let Some(known) = self.files().get(&id) {
            return known.clone();
        }
        let found = Elf::open(file).and_then(|elf| read(&elf)).map(Arc::new);
        let mut files = self.files();
        if files.len() >= MAX_FILES {
            files.clear();
        }
        files.insert(id, found.clone());
        found
    }

    fn files(&self) -> std::sync::MutexGuard<'_, HashMap<FileId, Option<Arc<T>>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stretch of the file.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// Where its first byte is in the file.
    offset: u64,
    /// Where it is in memory.
    address: u64,
    len: u64,
}

impl Stretch {
    /// The bytes from `from` on.
    fn behind(self, from: u64) -> Option<Self> {
        Some(Self {
            offset: self.offset.checked_add(from)?,
            address: self.address.checked_add(from)?,
            len: self.len.checked_sub(from)?,
        })
    }

    /// The first `len` bytes.
    fn first(self, len: u64) -> Option<Self> {
        (len <= self.len).then_some(Self { len, ..self })
    }
}

/// An executable file by its sections and segments.
struct Elf<'a> {
    file: &'a File,
    machine: &'static Machine,
    sections: Vec<(String, Stretch)>,
    segments: Vec<Stretch>,
}

/// Sections and segments of a file that are looked at.
const MAX_PARTS: usize = 512;

impl<'a> Elf<'a> {
    /// One that this processor runs.
    fn open(file: &'a File) -> Option<Self> {
        Self::open_for(Machine::THIS, file)
    }

    fn open_for(machine: &'static Machine, file: &'a File) -> Option<Self> {
        let cache = ReadCache::new(file);
        let parsed = object::File::parse(&cache).ok()?;
        if !machine.runs(parsed.architecture()) {
            return None;
        }
        let stretch = |(offset, len), address| Stretch { offset, address, len };
        let sections = parsed.sections().take(MAX_PARTS).filter_map(|section| {
            let place = stretch(section.file_range()?, section.address());
            Some((section.name().ok()?.to_owned(), place))
        });
        let segments = parsed.segments().take(MAX_PARTS);
        Some(Self {
            file,
            machine,
            sections: sections.collect(),
            segments: segments
                .map(|segment| stretch(segment.file_range(), segment.address()))
                .collect(),
        })
    }

    /// The section with one of these names.
    fn section(&self, names: &[&str]) -> Option<Stretch> {
        let named = |(name, _): &&(String, Stretch)| names.contains(&name.as_str());
        self.sections.iter().find(named).map(|(_, place)| *place)
    }

    /// Where in the file is what is at an address in memory.
    fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let behind = address.checked_sub(segment.address)?;
            (behind < segment.len).then(|| segment.offset.checked_add(behind))?
        })
    }

    /// Where in memory its first byte is, as the file has it.
    fn first_address(&self) -> Option<u64> {
        let first = self.segments.iter().find(|segment| segment.offset == 0)?;
        Some(first.address)
    }

    /// How much each thread has for itself in front of its own memory, of an executable: the size of `PT_TLS`, in whole units of its alignment.
    fn size_of_thread(&self) -> Option<u64> {
        /// `e_phoff` and `e_phnum` in the header of the file, whose numbers begin with the lowest byte.
        const TABLE: u64 = 32;
        const COUNT: u64 = 56;
        /// `Elf64_Phdr`: two numbers of four bytes, six of eight.
        const SIZE: usize = 56;
        const PT_TLS: [u8; 4] = [7, 0, 0, 0];
        let table = u64::from_le_bytes(self.read(TABLE).ok()?);
        let count = u16::from_le_bytes(self.read(COUNT).ok()?);
        let mut headers = (0..u64::from(count).min(MAX_PARTS as u64)).map_while(|number| {
            let place = table.checked_add(number * SIZE as u64)?;
            self.read::<SIZE>(place).ok()
        });
        let header = headers.find(|header| header.starts_with(&PT_TLS))?;
        let [_, _, _, _, _, size, align] = *header.as_chunks().0 else {
            return None;
        };
        let [size, align] = [size, align].map(u64::from_le_bytes);
        size.checked_next_multiple_of(align.max(1))
    }

    /// Bytes of the file: as many as asked for, or an error.
    fn read<const LEN: usize>(&self, offset: u64) -> io::Result<[u8; LEN]> {
        let mut bytes = [0; LEN];
        self.fill(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// The same, as many as there is room for.
    fn fill(&self, room: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(room, offset)
    }
}
