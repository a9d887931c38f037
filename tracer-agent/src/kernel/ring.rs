//! The ring of records, in the agent's own memory.
//!
//! The kernel offers its pages twice in a row, so that a record which goes over the end is whole there, and counts what is mapped as
//! memory of the agent, touched or not. So they are mapped once, and after them the first few again: as many as one record takes.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    slice,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use rustix::{mm::ProtFlags, param::page_size};
use tracer_common::{framer::HEAD_MAX, record::DataRecord};

use super::{KernelError, pages::Pages};

/// Before each record, and a multiple of it long (`BPF_RINGBUF_HDR_SZ`): its length and two marks, then what is the kernel's own.
const HEADER: usize = 8;
/// It is being written (`BPF_RINGBUF_BUSY_BIT`).
const BUSY: u32 = 1 << 31;
/// It was given up (`BPF_RINGBUF_DISCARD_BIT`).
const DISCARDED: u32 = 1 << 30;
/// Bytes of the longest record.
const RECORD_MAX: usize = size_of::<DataRecord>() + HEAD_MAX as usize;

/// The one reader of the ring.
#[derive(Debug)]
pub(super) struct Ring {
    map: MapData,
    /// Begins with how far was read.
    consumer: Pages,
    /// Begins with how far was written; the records are in the pages after that.
    producer: Pages,
    /// Of the records, a power of two.
    bytes: usize,
    read: usize,
    /// As it was when that was last looked at.
    written: usize,
}

impl Ring {
    /// Reads a ring of so many bytes.
    pub(super) fn take(loaded: &mut Ebpf, name: &'static str, bytes: u32) -> Result<Self, KernelError> {
        let Some(Map::RingBuf(map)) = loaded.take_map(name) else {
            return Err(KernelError::Ring(io::ErrorKind::NotFound.into()));
        };
        let (bytes, page) = (bytes as usize, page_size());
        let again = (HEADER + RECORD_MAX).next_multiple_of(page).min(bytes);
        let pages = |place, access| Pages::of_map(map.fd().as_fd(), place, access).map_err(KernelError::Ring);
        let consumer = pages((0, page), ProtFlags::READ | ProtFlags::WRITE)?;
        let producer = pages((page, page + bytes + again), ProtFlags::READ)?;
        let read = word(&consumer).map_or(0, |read| read.load(Ordering::Acquire));
        Ok(Self {
            map,
            consumer,
            producer,
            bytes,
            read,
            written: read,
        })
    }

    /// Readable when there are records.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.fd().as_fd()
    }

    /// Hands over the next record that is whole; `None` if there is none.
    pub(super) fn next(&mut self, each: &mut dyn FnMut(&[u8])) -> Option<()> {
        loop {
            if self.read == self.written {
                // Who waits next is woken for what is written after this look: it was told how far was read.
                fence(Ordering::SeqCst);
                self.written = word(&self.producer)?.load(Ordering::Acquire);
            }
            if self.read == self.written {
                return None;
            }
            let at = page_size() + self.read % self.bytes;
            let header = header(&self.producer, at)?.load(Ordering::Acquire);
            if header & BUSY != 0 {
                return None;
            }
            let len = (header & !DISCARDED) as usize;
            if header & DISCARDED == 0 {
                each(record(&self.producer, at + HEADER, len)?);
            }
            self.read = self.read.wrapping_add((HEADER + len).next_multiple_of(HEADER));
            word(&self.consumer)?.store(self.read, Ordering::Release);
            if header & DISCARDED == 0 {
                return Some(());
            }
        }
    }
}

/// The word that they begin with.
#[expect(unsafe_code, reason = "memory that is shared with the kernel")]
fn word(pages: &Pages) -> Option<&AtomicUsize> {
    // SAFETY: it is mapped as long as `pages` are, begins a page, and is read and written as a whole on both sides.
    Some(unsafe { pages.at(0)?.as_ref() })
}

/// The first half of the header of the record there.
#[expect(unsafe_code, reason = "memory that is shared with the kernel")]
fn header(pages: &Pages, at: usize) -> Option<&AtomicU32> {
    // SAFETY: as above; records begin at multiples of the size of a header.
    Some(unsafe { pages.at(at)?.as_ref() })
}

/// A record that is whole, and was not told to be read.
#[expect(unsafe_code, reason = "memory that is shared with the kernel")]
fn record(pages: &Pages, at: usize, len: usize) -> Option<&[u8]> {
    // SAFETY: so much is mapped as long as `pages` are, and the kernel does not write to it before it is told to be read.
    Some(unsafe { slice::from_raw_parts(pages.row(at, len)?.as_ptr(), len) })
}
