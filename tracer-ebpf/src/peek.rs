//! Reads members of kernel structs at the offsets that user space took from BTF, and memory of the process.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user, generated};
use tracer_common::layout::{ABSENT, Layout, Settings};

/// Written by user space before the programs are loaded.
#[unsafe(no_mangle)]
static LAYOUT: Layout = Layout::UNKNOWN;

/// Written by user space before the programs are loaded.
#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings::NONE;

/// The offsets of this kernel.
#[inline(always)]
pub fn layout() -> &'static Layout {
    // The value is not the one the compiler sees: it must be read from memory.
    unsafe { &*core::hint::black_box(&raw const LAYOUT) }
}

/// What user space asks for. By reference: each place reads what it asks about, and nothing else.
#[inline(always)]
pub fn settings() -> &'static Settings {
    // As above.
    unsafe { &*core::hint::black_box(&raw const SETTINGS) }
}

/// Reads a member; `None` if the kernel has none or the memory cannot be read.
#[inline(always)]
pub fn member<T>(base: u64, offset: u32) -> Option<T> {
    if offset == ABSENT || base == 0 {
        return None;
    }
    at(base.wrapping_add(offset as u64))
}

/// Reads two members of a word each; at once where the second follows the first, as it does in all kernels that are known.
#[inline(always)]
pub fn members(base: u64, first: u32, second: u32) -> Option<[u64; 2]> {
    if second == first.wrapping_add(8) {
        member(base, first)
    } else {
        Some([member(base, first)?, member(base, second)?])
    }
}

/// A value of which all bits may be 0.
pub trait Plain: Copy {}

impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for u64 {}
impl<T: Plain, const LEN: usize> Plain for [T; LEN] {}

/// Reads a member; 0 if the kernel has none or the memory cannot be read. Without a branch: after one the verifier goes both ways, and what
/// has ten of these after each other goes a thousand.
#[inline(always)]
pub fn member_or_zero<T: Plain>(base: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    if offset != ABSENT {
        let place = base.wrapping_add(offset as u64) as *const c_void;
        // It leaves zeroes where it cannot read.
        unsafe { generated::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, place) };
    }
    unsafe { value.assume_init() }
}

/// Reads a member of what the verifier knows the type of: 0 where the memory cannot be read.
#[inline(always)]
pub fn typed<T: Copy>(base: *const u8, offset: u32) -> T {
    // The verifier is to see the number that stands in the frozen layout.
    unsafe { base.add(offset as usize).cast::<T>().read_volatile() }
}

/// Reads kernel memory.
#[inline(always)]
pub fn at<T>(address: u64) -> Option<T> {
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// Reads memory of the process.
#[inline(always)]
pub fn user<T>(address: u64) -> Option<T> {
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}
