//! Memory of a map, in the agent's own.

use std::{io, os::fd::BorrowedFd, ptr::NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Pages of a map, until it is dropped. The kernel may write to them at any time.
#[derive(Debug)]
pub(super) struct Pages {
    first: NonNull<u8>,
    len: usize,
}

#[expect(unsafe_code, reason = "memory that is shared with the kernel")]
impl Pages {
    /// So many bytes of a map from there on, which is where a page begins.
    pub(super) fn of_map(
        map: BorrowedFd<'_>,
        (from, len): (usize, usize),
        access: ProtFlags,
    ) -> io::Result<Self> {
        // SAFETY: it goes where the kernel finds room.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                access,
                MapFlags::SHARED,
                map,
                from as u64,
            )
        }?;
        let first = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { first, len })
    }

    /// Where a value begins that lies in them as a whole; `None` if it does not.
    pub(super) fn at<T>(&self, at: usize) -> Option<NonNull<T>> {
        self.row(at, 1)
    }

    /// The same of so many in a row.
    pub(super) fn row<T>(&self, at: usize, count: usize) -> Option<NonNull<T>> {
        let end = size_of::<T>().checked_mul(count)?.checked_add(at)?;
        // SAFETY: it is within what was mapped.
        (end <= self.len).then(|| unsafe { self.first.add(at) }.cast())
    }
}

#[expect(unsafe_code, reason = "memory that is shared with the kernel")]
impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and nothing refers to it any more. It is mapped, so it can be unmapped.
        let _ = unsafe { munmap(self.first.as_ptr().cast(), self.len) };
    }
}

#[expect(unsafe_code, reason = "a pointer says nothing of threads")]
// SAFETY: the memory is no thread's own.
unsafe impl Send for Pages {}
