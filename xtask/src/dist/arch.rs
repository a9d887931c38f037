//! The processors that files are made for, under the names that each world has for them. The kernel side reads registers and
//! numbers of system calls of x86-64, so there is one.

use clap::ValueEnum;

/// A kind of processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arch {
    /// x86-64
    Amd64,
}

impl Arch {
    /// As Debian and OCI images call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
        }
    }

    /// The target of rustc whose programs need no library.
    pub fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
        }
    }

    /// As ELF headers call it.
    pub fn machine(self) -> u16 {
        match self {
            Self::Amd64 => object::elf::EM_X86_64,
        }
    }
}
