//! The kernel side's counters of losses, in the agent's own memory.

use std::{io, ptr::NonNull};

use aya::{Ebpf, maps::Map};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use tracer_common::{Loss, Losses};

use super::KernelError;

/// The map of counters, an entry a CPU.
#[derive(Debug)]
pub(super) struct Counters {
    first: NonNull<Losses>,
    cpus: usize,
}

#[expect(unsafe_code, reason = "memory that is shared with the kernel")]
impl Counters {
    /// Sees a map that has this many entries and was made with `BPF_F_MMAPABLE`.
    pub(super) fn of_map(loaded: &Ebpf, name: &'static str, cpus: usize) -> Result<Self, KernelError> {
        let Some(Map::Array(map)) = loaded.map(name) else {
            return Err(KernelError::Counters(io::ErrorKind::NotFound.into()));
        };
        // SAFETY: it goes where the kernel finds room.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                cpus * size_of::<Losses>(),
                ProtFlags::READ,
                MapFlags::SHARED,
                map.fd(),
                0,
            )
        };
        let start = start.map_err(|error| KernelError::Counters(error.into()))?;
        let first =
            NonNull::new(start.cast()).ok_or(KernelError::Counters(io::ErrorKind::OutOfMemory.into()))?;
        Ok(Self { first, cpus })
    }

    /// How often it happened, on any CPU.
    pub(super) fn total(&self, cause: Loss) -> u64 {
        let counts = (0..self.cpus).map(|cpu| {
            // SAFETY: so many are mapped, from the start of a page, until this is dropped. The kernel may write meanwhile, whole
            // words, and so it is read at once and as a whole.
            let losses = unsafe { self.first.add(cpu).read_volatile() };
            losses.counts.get(cause as usize).copied().unwrap_or(0)
        });
        counts.sum()
    }
}

#[expect(unsafe_code, reason = "memory that is shared with the kernel")]
impl Drop for Counters {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and nothing refers to it any more. It is mapped, so it can be unmapped.
        let _ = unsafe { munmap(self.first.as_ptr().cast(), self.cpus * size_of::<Losses>()) };
    }
}

#[expect(unsafe_code, reason = "a pointer says nothing of threads")]
// SAFETY: the memory is no thread's own.
unsafe impl Send for Counters {}
