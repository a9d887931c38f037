//! The kernel side's counters of losses, in the agent's own memory.

use std::{io, os::fd::AsFd as _};

use aya::{Ebpf, maps::Map};
use rustix::mm::ProtFlags;
use tracer_common::{Loss, Losses};

use super::{KernelError, pages::Pages};

/// The map of counters, an entry a CPU.
#[derive(Debug)]
pub(super) struct Counters {
    pages: Pages,
    cpus: usize,
}

impl Counters {
    /// Sees a map that has this many entries and was made with `BPF_F_MMAPABLE`.
    pub(super) fn of_map(loaded: &Ebpf, name: &'static str, cpus: usize) -> Result<Self, KernelError> {
        let Some(Map::Array(map)) = loaded.map(name) else {
            return Err(KernelError::Counters(io::ErrorKind::NotFound.into()));
        };
        let place = (0, cpus * size_of::<Losses>());
        let pages = Pages::of_map(map.fd().as_fd(), place, ProtFlags::READ).map_err(KernelError::Counters)?;
        Ok(Self { pages, cpus })
    }

    /// How often it happened, on any CPU.
    #[expect(unsafe_code, reason = "memory that is shared with the kernel")]
    pub(super) fn total(&self, cause: Loss) -> u64 {
        let counts = (0..self.cpus).filter_map(|cpu| {
            // SAFETY: it is mapped as long as `pages` are, an entry after the other from the start of a page. The kernel may write
            // meanwhile, whole words, and so it is read at once and as a whole.
            let losses = unsafe {
                self.pages
                    .at::<Losses>(cpu * size_of::<Losses>())?
                    .read_volatile()
            };
            losses.counts.get(cause as usize).copied()
        });
        counts.sum()
    }
}
