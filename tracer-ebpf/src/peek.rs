//! Reads members of kernel structs at the offsets that user space took from BTF, and memory of the process.

use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};
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

/// What user space asks for.
#[inline(always)]
pub fn settings() -> Settings {
    unsafe { core::ptr::read_volatile(&raw const SETTINGS) }
}

/// Reads a member; `None` if the kernel has none or the memory cannot be read.
#[inline(always)]
pub fn member<T>(base: u64, offset: u32) -> Option<T> {
    if offset == ABSENT || base == 0 {
        return None;
    }
    at(base.wrapping_add(offset as u64))
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
