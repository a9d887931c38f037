//! The memory of a message inside the kernel: `struct iov_iter` in all its layouts.
//!
//! The members have moved and were renamed (`type` and `iter_type`, `iov` and `__iov`), the values of the kinds were
//! bits once and are numbers now, and a single buffer got a kind of its own (`ITER_UBUF`): all of it is taken from BTF.

use crate::{
    path::call::{Memory, Shape},
    peek::{layout, member},
};

/// What `struct msghdr` of the kernel describes, before anything of it is used up.
#[inline(always)]
pub fn memory(message: u64, sent: bool) -> Memory {
    described(message, sent).unwrap_or(Memory::unseen(sent))
}

#[inline(always)]
fn described(message: u64, sent: bool) -> Option<Memory> {
    let layout = layout();
    let iter = message.wrapping_add(layout.msghdr_iter as u64);
    let kind: u8 = member(iter, layout.iter_kind)?;
    let kind = kind as u32 & layout.iter_kind_mask;
    let skip: u64 = member(iter, layout.iter_offset)?;
    let (shape, address, count) = if kind == layout.iter_kind_buffer {
        (Shape::Buffer, member(iter, layout.iter_buffer)?, 0)
    } else if kind == layout.iter_kind_vector {
        (
            Shape::KernelVector,
            member(iter, layout.iter_vector)?,
            member(iter, layout.iter_segments)?,
        )
    } else {
        // Pages or memory of the kernel itself: nothing there is of the process.
        return None;
    };
    Some(Memory {
        address,
        count,
        skip,
        shape,
        sent: sent as u32,
    })
}
