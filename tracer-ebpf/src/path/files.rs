//! From a file descriptor of the current task to the socket behind it.
//!
//! Where the kernel hands out the task by its type, its members are read by plain loads, which take a tenth of the time of a call that reads:
//! as far as the array of files, whose entries have no type for the verifier.

use aya_ebpf::helpers::{bpf_get_current_task, generated::bpf_get_current_task_btf};
use tracer_common::layout::registers;

use super::sock::Sock;
use crate::peek::{at, layout, member, member_or_zero, members, settings, typed};

/// The kind of a file in `inode.i_mode`, and that of a regular one.
const S_IFMT: u16 = 0o170_000;
const S_IFREG: u16 = 0o100_000;

/// The sock behind a file descriptor, if it may be one of TCP.
#[inline(always)]
pub fn socket(fd: u64) -> Option<Sock> {
    let layout = layout();
    let file = file(fd)?;
    let socket: u64 = member(file, layout.file_private_data)?;
    // Only a socket points back at its file.
    let [owner, sock] = members(socket, layout.socket_file, layout.socket_sk)?;
    if owner != file || file == 0 {
        return None;
    }
    Sock::inet(sock)
}

/// Whether a file descriptor is of anything but a regular file: those are always ready, and wake no loop.
#[inline(always)]
pub fn can_be_waited_for(fd: u64) -> bool {
    let inode = file(fd).and_then(|file| member(file, layout().file_inode));
    let mode = inode.and_then(|inode: u64| member::<u16>(inode, layout().inode_mode));
    mode.is_none_or(|mode| mode & S_IFMT != S_IFREG)
}

/// What says whether the current task makes a 32-bit call.
#[inline(always)]
pub fn compat() -> u32 {
    if is_typed() {
        typed(task(), layout().task_compat)
    } else {
        member_or_zero(unsafe { bpf_get_current_task() }, layout().task_compat)
    }
}

/// The file behind a file descriptor.
#[inline(always)]
fn file(fd: u64) -> Option<u64> {
    let fd = fd as u32;
    let (size, slots) = files()?;
    if fd >= size {
        return None;
    }
    at(slots.wrapping_add(fd as u64 * 8))
}

/// How many files there is room for, and where they are.
#[inline(always)]
fn files() -> Option<(u32, u64)> {
    let layout = layout();
    if is_typed() {
        let files: *const u8 = typed(task(), layout.task_files);
        let table: *const u8 = typed(files, layout.files_fdt);
        let size = typed(table, layout.fdtable_max_fds);
        return Some((size, typed(table, layout.fdtable_fd)));
    }
    let files: u64 = member(unsafe { bpf_get_current_task() }, layout.task_files)?;
    let table: u64 = member(files, layout.files_fdt)?;
    // The number is half a word.
    let [size, slots] = members(table, layout.fdtable_max_fds, layout.fdtable_fd)?;
    Some((size as u32, slots))
}

/// Whether the kernel hands out the task by its type. It has learned that before it hands out registers.
#[inline(always)]
fn is_typed() -> bool {
    settings().registers == registers::BY_HELPER
}

#[inline(always)]
fn task() -> *const u8 {
    unsafe { bpf_get_current_task_btf() }.cast()
}
