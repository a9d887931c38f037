//! CPython: which version it is, and where it keeps the `contextvars.Context` that a thread runs in.
//!
//! Offsets are by the compiler (`offsetof`), from headers of 3.9.18, 3.10.13, 3.11.7, 3.12.1, 3.13.0, 3.13.18 and 3.14.10 on x86-64. What is
//! read by wrong ones is harmless: coroutines are believed only after they have proven to tell requests apart.

use std::{fs::File, sync::Arc};

use tracer_common::layout;

use super::{
    Elf,
    names::{Symbol, Symbols, TABLES},
};

/// `autoTSSkey` in `_PyRuntime`, and `context` in `PyThreadState`.
#[derive(Clone, Copy)]
struct Offsets {
    minor: u32,
    key: u64,
    context: u32,
}

const OFFSETS: [Offsets; 6] = [
    of(9, 584, 240),
    of(10, 584, 240),
    of(11, 592, 224),
    of(12, 1544, 208),
    of(13, 2160, 208),
    of(14, 2336, 208),
];

const fn of(minor: u32, key: u64, context: u32) -> Offsets {
    Offsets { minor, key, context }
}

/// The state of the interpreter; its version, from 3.11 on; and functions that 3.9 and 3.10 brought.
const RUNTIME: &[u8] = b"_PyRuntime";
const VERSION: &[u8] = b"Py_Version";
const OF_9: &[u8] = b"PyModule_AddType";
const OF_10: &[u8] = b"Py_NewRef";

/// What makes the context of a new coroutine: `PyObject *PyContext_CopyCurrent(void)`.
const COPIES: &[u8] = b"PyContext_CopyCurrent";

/// A process that runs CPython.
#[derive(Clone, Debug)]
pub struct Interpreter {
    /// The file that has it, open: whatever becomes of the process, it is this one.
    pub file: Arc<File>,
    /// What is known of it.
    pub python: Arc<Python>,
    /// Where in this process a thread finds its coroutine.
    pub coroutines: layout::Coroutines,
}

/// A file with CPython in it, of a version that is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// 11 of 3.11.
    pub minor: u32,
    /// Where it keeps the key by which a thread finds its `PyThreadState`, from where the first byte of the file is in memory.
    pub key: u64,
    /// Offset of `context` in `PyThreadState`.
    pub context: u32,
    /// Where in the file the function is that makes the contexts of coroutines.
    pub copies: Option<u64>,
}

impl Python {
    /// `CPython 3.11`
    pub fn version(&self) -> String {
        format!("CPython 3.{}", self.minor)
    }

    pub(super) fn read(elf: &Elf<'_>) -> Option<Self> {
        // Elsewhere the offsets may be others, and the kernel side does not find the thread's own memory.
        if !cfg!(target_arch = "x86_64") {
            return None;
        }
        let symbols = Symbols::read(elf, TABLES[0])?;
        let wanted = [RUNTIME, VERSION, OF_9, OF_10, COPIES];
        let found: Vec<Symbol<'_>> = symbols.starting(&wanted).collect();
        let named = |name| found.iter().find(|symbol| symbol.name == name);
        let runtime = named(RUNTIME)?.address;
        let minor = match named(VERSION) {
            Some(version) => {
                let number = u64::from_ne_bytes(elf.read(elf.offset_of(version.address)?).ok()?);
                minor(number)?
            }
            None if named(OF_10).is_some() => 10,
            None if named(OF_9).is_some() => 9,
            None => return None,
        };
        let offsets = OFFSETS.iter().find(|offsets| offsets.minor == minor)?;
        let key = runtime.checked_add(offsets.key)?;
        Some(Self {
            minor,
            key: key.checked_sub(elf.first_address()?)?,
            context: offsets.context,
            copies: named(COPIES).and_then(|function| elf.offset_of(function.address)),
        })
    }
}

/// `Py_Version`: a byte each for major and minor version, patch, and what kind of release it is.
fn minor(version: u64) -> Option<u32> {
    let [0, 0, 0, 0, 3, minor, _, _] = version.to_be_bytes() else {
        return None;
    };
    Some(u32::from(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_as_the_interpreter_has_it() {
        assert_eq!(minor(0x030b_07f0), Some(11));
        assert_eq!(minor(0x030d_00f0), Some(13));
        assert_eq!(minor(0x040b_07f0), None);
        assert_eq!(minor(0x1_030b_07f0), None);
        assert_eq!(minor(0), None);
    }
}
