//! Virtual threads of Java. Each runs in whatever thread carries it, of which HotSpot keeps its own `JavaThread` in a register (`arch`), where native code
//! that calls the kernel leaves it: so it is found as a goroutine is, if the stack pointer lies within that thread's stack.

use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, macros::map, maps::HashMap};
use tracer_common::layout::JavaThreads;

use super::{select::Current, task};
use crate::{
    arch::saved,
    peek::{at, user},
};

/// Processes whose version of Java is known.
const PROCESSES: u32 = 256;
/// Process to where it keeps what tells.
#[map]
static JAVA: HashMap<u32, JavaThreads> = HashMap::with_max_entries(PROCESSES, BPF_F_NO_PREALLOC);

/// The number of the virtual thread that the current thread carries.
#[inline(always)]
pub fn running(current: Current) -> Option<u64> {
    match tracer_virtual_thread(current.tgid) {
        0 => None,
        number => Some(number),
    }
}

/// The same, 0 if it is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tracer_virtual_thread(tgid: u32) -> u64 {
    mounted(tgid).unwrap_or(0)
}

#[inline(always)]
fn mounted(tgid: u32) -> Option<u64> {
    let offsets = unsafe { JAVA.get(tgid) }.copied()?;
    let registers = task::registers()?;
    let thread: u64 = at(registers.wrapping_add(saved::JAVA_THREAD))?;
    let stack: u64 = at(registers.wrapping_add(saved::STACK))?;
    let base: u64 = user(thread.wrapping_add(offsets.stack_base as u64))?;
    let size: u64 = user(thread.wrapping_add(offsets.stack_size as u64))?;
    if stack >= base || base - stack > size {
        return None;
    }
    let continuation: u64 = user(thread.wrapping_add(offsets.continuation as u64))?;
    if continuation == 0 {
        return None;
    }
    user(thread.wrapping_add(offsets.id as u64))
}
