//! The recording file: every [`Input`] of a run in the order in which the core was told it, so that `replay`
//! gives the spans that were given live.
//!
//! ```text
//! file    header, entry…            whole only if the last entry is End
//! header  magic          8 bytes    89 't' 'r' 'r' 'e' 'c' 0d 0a: a text-mode copy breaks it
//!         version        u32
//!         agent version  32 bytes   ASCII, zeroes after it
//!         flags          u32        bit 0: redacted
//!         crc            u32        CRC-32 of all of the header before it
//! entry   length         u32        of the payload, at most 1 MiB
//!         kind           u32        1 Host, 2 Record, 3 Process, 4 Lost, 5 Tick, 6 End, 7 Shed
//!         crc            u32        CRC-32 of kind and payload
//!         payload                   Host, Process: JSON. Record: as the kernel side made it.
//!                                   Lost: cause u32, count u64. Tick, End: time u64. Shed: cpu u8, memory u8
//! ```
//!
//! Version 2: records of data name the maker of their task. Version 3: they name the turn of the thread's event loop, and so do
//! records of ends. Those of older versions are brought up to date as they are read (`older`). Version 5: what was shed
//! stands in it, and Host may come again.
//!
//! Kept true: numbers are little-endian; magic, version and agent version keep their place in every version to
//! come, so that an older reader can say which version to get; nothing follows End; unless the caller asks for
//! [`Content::Raw`], no secret is written (see `redaction`), and records keep their length.

mod format;
mod older;
mod reader;
mod redaction;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::{ReadError, Reader};
pub use writer::{Content, Recording, Summary, WriteError};

#[cfg(doc)]
use super::Input;

/// Whether a file that begins so is a recording.
pub fn is_recording(head: &[u8]) -> bool {
    head.starts_with(&format::MAGIC)
}
